"""The users of communication services, and their tokens."""
