"""Bytes to values and back, and the state machine of each client protocol. No clock, socket or coroutine."""
