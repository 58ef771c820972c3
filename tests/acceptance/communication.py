"""
Callers of communication services without an official library: requests signed with an access key as those libraries
sign them, verifiers of tokens, and the local operator at the control socket.
"""

import base64
import hashlib
import hmac
import http.client
import json
import socket
import ssl
import time
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode, urlsplit

from acceptance.servers import DEADLINE_S, Server
from acceptance.wire import Answer, http_request, trusting

__all__ = ["Service", "V", "call", "first_service", "introspect", "operate", "quoted", "signed_headers"]

V: Final = "?api-version=2023-10-01"
"""Ends the target of nearly every request."""


class Service(NamedTuple):
    """
    A communication service as its callers know it.

    Attributes:
        connection_string: has one of its access keys.
        immutable_id: as the ids of its users have it.
    """

    host: str
    port: int
    https_port: int
    endpoint: str
    access_key: str
    connection_string: str
    immutable_id: str
    secure: ssl.SSLContext

    @property
    def name_and_port(self) -> str:
        """The Host header of a request over HTTPS."""
        return f"{self.host}:{self.https_port}"


def first_service(server: Server) -> Service:
    """The one that is there from the start."""
    ready = json.loads(server.ready_file.read_text(encoding="utf-8"))
    return service_of(server, ready["communicationConnectionString"], server.port)


def service_of(server: Server, connection_string: str, port: int) -> Service:
    """The one of a connection string. Its first user tells its id."""
    endpoint, _, key = connection_string.removeprefix("endpoint=").partition(";accesskey=")
    url = urlsplit(endpoint)
    host, https_port = url.hostname or "", url.port or 0
    known = Service(host, port, https_port, endpoint.rstrip("/"), key, connection_string, "", trusting(server.ca))
    made = call(known, "POST", "/identities" + V)
    assert made.status == 201, made
    return known._replace(immutable_id=made.json()["identity"]["id"].removeprefix("8:acs:").partition("_")[0])


def quoted(user: str) -> str:
    """An id as most clients write it in a path."""
    return user.replace(":", "%3A")


def signed_headers(
    key: str, method: str, target: str, host: str, body: bytes = b"", *, signed: str = "", at: float | None = None
) -> dict[str, str]:
    """
    What the official clients send with a request.

    Args:
        signed: the target that is signed, if it is not the one that is sent.
        at: seconds since 1970; now unless given.
    """
    date = formatdate(time.time() if at is None else at, usegmt=True)
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    text = f"{method}\n{signed or target}\n{date};{host};{digest}"
    signature = hmac.digest(base64.b64decode(key), text.encode(), "sha256")
    names = "SignedHeaders=x-ms-date;host;x-ms-content-sha256"
    return {
        "x-ms-date": date,
        "x-ms-content-sha256": digest,
        "Authorization": f"HMAC-SHA256 {names}&Signature={base64.b64encode(signature).decode()}",
    }


def call(
    service: Service,
    method: str,
    target: str,
    document: object = None,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    bearer: str | None = None,
    key: str = "",
    signed: str = "",
    signed_host: str = "",
    at: float | None = None,
    plain: bool = False,
) -> Answer:
    """
    One request to a service.

    Args:
        document: is sent as JSON; `body` as it is.
        headers: besides those that prove the caller.
        bearer: a token, instead of a signature.
        key: that signs, if it is not that of the service.
        signed, signed_host: what is signed, where that is not what is sent.
        at: when it is signed; now unless given.
        plain: without TLS.
    """
    content = body if body is not None else b"" if document is None else json.dumps(document).encode()
    host = f"{service.host}:{service.port}" if plain else service.name_and_port
    lines = {"Host": host, "Content-Type": "application/json", **(headers or {})}
    if bearer is not None:
        lines["Authorization"] = f"Bearer {bearer}"
    elif "Authorization" not in lines:
        known = key or service.access_key
        proof = signed_headers(known, method, target, signed_host or lines["Host"], content, signed=signed, at=at)
        lines = {**proof, **lines}
    return http_request(service, method, target, body=content, headers=lines, secure=None if plain else service.secure)


def introspect(service: Service, server: Server, token: str, *, user: str = "", password: str = "") -> Answer:
    """What a service says of a token to whoever shows an access key as a password."""
    proof = base64.b64encode(f"{user or service.immutable_id}:{password or service.access_key}".encode()).decode()
    return http_request(
        server,
        "POST",
        f"/communication/{service.immutable_id}/introspect",
        body=urlencode({"token": token}).encode(),
        headers={"Authorization": f"Basic {proof}", "Content-Type": "application/x-www-form-urlencoded"},
        secure=service.secure,
    )


class _Control(http.client.HTTPConnection):
    """HTTP over the control socket of a server."""

    def __init__(self, server: Server) -> None:
        super().__init__("localhost", timeout=DEADLINE_S)
        self._path = str(server.data / "control.sock")

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(DEADLINE_S)
        self.sock.connect(self._path)


def operate(server: Server, method: str, path: str, document: Any = None) -> Answer:
    """A request of the local operator."""
    connection = _Control(server)
    try:
        connection.request(method, path, body=None if document is None else json.dumps(document).encode())
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())
    finally:
        connection.close()
