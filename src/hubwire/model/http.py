"""HTTP requests as the edge read them, for those who decide on an upgrade or answer them, and answers."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from hubwire.model.hubs import DEFAULT_RESOURCE

__all__ = ["Fields", "RequestHead", "WholeAnswer", "WholeRequest", "by_name"]

Fields = Mapping[str, Sequence[str]]
"""Headers by their name in lower case, each with its values in the order in which they came."""


def by_name(headers: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Headers as `Fields`."""
    fields: dict[str, list[str]] = {}
    for name, value in headers:
        fields.setdefault(name.lower(), []).append(value)
    return fields


class RequestHead(Struct, frozen=True):
    """
    Attributes:
        method: as sent, such as "GET".
        target: the raw request target (path and query), still percent-encoded.
        headers: name and value in the order and spelling in which they came.
        fields: the same by name, for those who look for one.
        scheme: "http" or "https", what the client used (a trusted proxy's word counts).
        host: authority that the client asked for (`Host`, or a trusted proxy's word); lower-case, with its port.
        client_ip: address of the client (a trusted proxy's word counts).
        client_certificate: DER of the certificate that the client showed and holds the key of (a trusted proxy's word
            counts); None if it showed none or was not asked. Whether anybody vouches for it is not looked at.
        resource: name of the resource that the listener, or the host, belongs to.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    fields: Fields
    scheme: str
    host: str
    client_ip: str
    client_certificate: bytes | None = None
    resource: str = DEFAULT_RESOURCE

    def header(self, name: str) -> str | None:
        """The first value of a header, `name` in lower case; None when it is absent."""
        values = self.fields.get(name)
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        """The members of a comma-separated list header, over all its lines, stripped; empty ones left out."""
        return [item for value in self.fields.get(name, ()) for part in value.split(",") if (item := part.strip())]


class WholeRequest(Struct, frozen=True):
    """
    A request with all of its body.

    Attributes:
        method, target, fields, scheme, host, resource: see `RequestHead`.
        client_ip: the same; empty if nobody knows it, as on the control socket.
        control: came over the control socket.
        own_ip: address of ours that the connection came to; None if nobody knows it.
        sent_host: the `Host` header as it came, whatever a proxy or the target says; empty without one.
    """

    method: str
    target: str
    fields: Fields
    scheme: str
    host: str
    client_ip: str
    resource: str
    control: bool
    own_ip: str | None
    sent_host: str
    body: bytes


class WholeAnswer(Struct, frozen=True):
    """
    What a request is answered.

    Attributes:
        status: 200 to 599.
        headers: names in lower case, each once; the length of the body is among them where the status allows a body.
            Date and framing are the edge's, except that a "connection: close" is obeyed.
        body: empty for HEAD, whatever the length says.
    """

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes
