"""What one node remembers of its connections, in memory. No clock, socket or coroutine."""
