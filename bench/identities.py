"""
Users of Hubwire's communication service: how a server comes to have many of them, and what its callers send.

Requests are signed before they are sent, so that the load generator has nothing to do but to send them.
"""

import base64
import hashlib
import hmac
import http.client
import json
import random
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Final
from urllib.parse import quote

from bench.installation import Available
from bench.workloads import Operation

__all__ = ["Identities", "fill"]

_VERSION: Final = "?api-version=2025-06-30"
_REQUESTS: Final = 5000
_TOKENS: Final = 200
"""To be asked about: enough for the store not to be asked for the same user all the time."""

_FILL_S: Final = 900.0
_SIGNED: Final = "x-ms-date;host;x-ms-content-sha256"


@dataclass(frozen=True)
class Identities:
    """
    The users that a server has, and how one calls it about them.

    Attributes:
        address: host and port of the server.
        key: an access key of its communication service.
        service: immutable id of that.
        count: of users.
        tokens: of some of them.
    """

    address: str
    key: str = field(repr=False)
    service: str
    count: int
    tokens: Sequence[str] = field(repr=False, default=())

    def id(self, number: int) -> str:
        """Of a user, counted from 0. Numbered ids are as long as others, and the index is as deep."""
        return f"8:acs:{self.service}_{number:08x}-0000-7000-a000-{number:012x}"

    def requests(self, operation: Operation) -> bytes:
        """What the load generator sends in turn, about users that chance chooses: each ended by a zero."""
        return b"".join(request + b"\0" for request in self._requests(operation))

    def _requests(self, operation: Operation) -> Iterator[bytes]:
        if operation == "introspect":
            yield from map(self._introspection, self.tokens)
            return
        if operation == "create":
            yield self._signed("POST", f"/identities{_VERSION}", b"{}")
            return
        for number in random.choices(range(self.count), k=_REQUESTS):
            path = f"/identities/{quote(self.id(number), safe='')}"
            if operation == "get":
                yield self._signed("GET", path + _VERSION)
            else:
                yield self.issuing(path)

    def issuing(self, path: str) -> bytes:
        """The request for a token of the user at a path."""
        return self._signed("POST", f"{path}/:issueAccessToken{_VERSION}", b'{"scopes":["chat"]}')

    def _signed(self, method: str, target: str, body: bytes = b"") -> bytes:
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        date = formatdate(usegmt=True)
        text = f"{method}\n{target}\n{date};{self.address};{digest}".encode()
        signature = base64.b64encode(hmac.digest(base64.b64decode(self.key), text, hashlib.sha256)).decode()
        headers = [
            f"x-ms-date: {date}",
            f"x-ms-content-sha256: {digest}",
            f"Authorization: HMAC-SHA256 SignedHeaders={_SIGNED}&Signature={signature}",
        ]
        return self._request(method, target, [*headers, *(["Content-Type: application/json"] if body else [])], body)

    def _introspection(self, token: str) -> bytes:
        shown = base64.b64encode(f"default:{self.key}".encode()).decode()
        headers = [f"Authorization: Basic {shown}", "Content-Type: application/x-www-form-urlencoded"]
        target = f"/communication/{self.service}/introspect"
        return self._request("POST", target, headers, f"token={token}".encode())

    def _request(self, method: str, target: str, headers: Sequence[str], body: bytes) -> bytes:
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self.address}", *headers]
        if method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode("ascii") + body


def fill(available: Available, folder: Path, address: str, key: str, count: int) -> Identities:
    """
    Let a server have so many users, by an import as an operator would do it, and tokens of some of them.

    Args:
        folder: that the server was started in.

    Raises:
        OSError, ValueError, subprocess.SubprocessError, http.client.HTTPException: it does not do it.
    """
    made = json.loads(_command(available, folder, "create", "--json"))
    service = made["identity"]["id"].removeprefix("8:acs:").partition("_")[0]
    bare = Identities(address, key, service, count)
    file = folder / "users.jsonl"
    with file.open("w", encoding="ascii") as users:
        for number in range(count):
            users.write(f'{{"id":"{bare.id(number)}","generation":1,"createdAt":1800000000}}\n')
    _command(available, folder, "import", str(file), "--json")
    file.unlink()
    return Identities(address, key, service, count, tuple(_tokens(bare)))


def _command(available: Available, folder: Path, *words: str) -> str:
    command = [*available.command, "identity", *words, "--data", str(folder / "data")]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_FILL_S, check=True)
    return done.stdout.decode()


def _tokens(users: Identities) -> Iterator[str]:
    connection = http.client.HTTPConnection(users.address, timeout=10)
    try:
        for number in random.sample(range(users.count), min(_TOKENS, users.count)):
            head, _, body = users.issuing(f"/identities/{quote(users.id(number), safe='')}").partition(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            connection.request("POST", first.split(" ")[1], body, headers)
            yield json.loads(connection.getresponse().read())["token"]
    finally:
        connection.close()
