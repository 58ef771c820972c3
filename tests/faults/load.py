"""Traffic for a server that is to be busy while something happens to it; nobody looks at what it brings."""

import json
import selectors
import threading
from types import TracebackType
from typing import Final, Self

from acceptance.servers import Server
from acceptance.wire import JOIN, JSON, SEND, RawClient, client_target, client_token

__all__ = ["Load"]

_MEMBERS: Final = 20
_AHEAD_BYTES: Final = 1 << 20
_MESSAGE: Final = json.dumps({"type": "sendToGroup", "group": "load", "dataType": "text", "data": "x" * 200}).encode()
_READ_BYTES: Final = 1 << 16


class Load:
    """
    Members of a group, to whom messages are sent as fast as they are received, until the server has gone or the
    context ends.

    Attributes:
        received_bytes: by all of them so far.
    """

    def __init__(self, server: Server, hub: str) -> None:
        token = client_token(server, hub, roles=[JOIN, SEND], groups=["load"])
        self._members = [RawClient(server, client_target(hub, token), protocols=[JSON]) for _ in range(_MEMBERS)]
        self._thread = threading.Thread(target=self._run, name="load")
        self._ending = False
        self.received_bytes = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending = True
        self._thread.join()
        for member in self._members:
            member.socket.close()

    def _run(self) -> None:
        sent_bytes = 0
        with selectors.DefaultSelector() as selector:
            for member in self._members:
                selector.register(member.socket, selectors.EVENT_READ, member)
            try:
                while not self._ending:
                    # Not without end, or the members would be too slow for it.
                    while sent_bytes * _MEMBERS < self.received_bytes + _AHEAD_BYTES:
                        self._members[0].send_frame(1, _MESSAGE)
                        sent_bytes += len(_MESSAGE)
                    for key, _ in selector.select(0.1):
                        data = key.data.socket.recv(_READ_BYTES)
                        if not data:
                            return
                        self.received_bytes += len(data)
            except OSError:
                return
