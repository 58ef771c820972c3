def send_all(descriptors: list[int], data: bytes) -> list[tuple[int, int]]:
    """
    Send `data` once on each socket, without waiting.

    Args:
        descriptors: of open sockets that do not block.

    Returns:
        those that did not take all of it, in order: the position in `descriptors`, and how many bytes were taken.
        Whether a socket is full or broken is for the next write to find out.
    """
