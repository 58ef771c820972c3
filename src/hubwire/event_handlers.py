"""Wiring of what tells event handlers: settings in, a dispatcher out."""
