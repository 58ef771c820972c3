"""
The benchmark: the same workloads for Hubwire, for its peers and for bare sockets, in turn and in the same minutes.

`workloads` and `goals` are the tables; `installation` and `servers` bring up who is measured, `generator` runs the load
generator of `bench/load`, `rounds` interleaves them, `figures` reads what came out, and `report` shows it.
"""

__all__: list[str] = []
