"""Seeds of random tests: a few fixed ones in the suite, others on request."""

import os

__all__ = ["seeds"]


def seeds(default: str) -> list[int]:
    """
    The numbers that `HUBWIRE_FAULT_SEEDS` names, else those of `default`.

    Args:
        default: numbers and ranges, such as "1,4-6".
    """
    found: list[int] = []
    for part in os.environ.get("HUBWIRE_FAULT_SEEDS", default).split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found
