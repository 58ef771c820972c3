"""Telling the application's server: event handlers, what they are called with, and what their answers mean."""
