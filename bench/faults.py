"""What can go wrong before anything is measured. A single run that fails is no fault: it is shown in its cell."""

__all__ = ["Unusable"]


class Unusable(Exception):  # noqa: N818
    """Nothing can be measured at all. Its text is one line for whoever started the benchmark, and says what to do."""
