"""Everything that can be called over HTTP, as tables of operations."""
