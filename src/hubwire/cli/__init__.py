"""The commands. They talk to a running server over its control socket."""
