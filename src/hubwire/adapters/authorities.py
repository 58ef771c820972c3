"""
Who vouches for the servers that we call over TLS: the authorities that this machine trusts, and the operator's.
"""

import ssl
from pathlib import Path

__all__ = ["trusting"]


def trusting(file: Path) -> ssl.SSLContext:
    """
    A context for calls over HTTP/1.1.

    Args:
        file: PEM, certificates of the operator's authorities.

    Raises:
        ValueError: it cannot be read, or is no such file; the text names it.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_verify_locations(file)
    except ssl.SSLError as error:
        raise ValueError(f"{file} is no PEM file of certificates") from error
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror or error}") from error
    return context
