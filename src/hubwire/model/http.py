"""The head of an HTTP request, as the edge read it, for those who decide on an upgrade."""

from msgspec import Struct

__all__ = ["RequestHead"]


class RequestHead(Struct, frozen=True):
    """
    Attributes:
        method: as sent, such as "GET".
        target: the raw request target (path and query), still percent-encoded.
        headers: name and value in the order and spelling in which they came.
        scheme: "http" or "https", what the client used (a trusted proxy's word counts).
        host: authority that the client asked for (`Host`, or a trusted proxy's word); lower-case, with its port.
        client_ip: address of the client (a trusted proxy's word counts).
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    scheme: str
    host: str
    client_ip: str

    def header(self, name: str) -> str | None:
        """The first value of a header, `name` in lower case; None when it is absent."""
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return None

    def all(self, name: str) -> list[str]:
        """The members of a comma-separated list header, over all its lines, stripped; empty ones left out."""
        return [
            item
            for key, value in self.headers
            if key.lower() == name
            for part in value.split(",")
            if (item := part.strip())
        ]
