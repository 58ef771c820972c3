"""Calls out: bus, store and other outside systems, one file each."""
