def send_all(descriptors: list[int], data: list[bytes]) -> list[tuple[int, int]]:
    """
    Send on each socket what is at the same position in `data`, without waiting.

    Args:
        descriptors: of open sockets that do not block; a negative one takes nothing.

    Returns:
        those that did not take all of it, in order: the position in `descriptors`, and how many bytes were taken.
        Whether a socket is full or broken is for the next write to find out.
    """
