"""A client that shows whether a server still asks for signs of life."""

import threading

from acceptance.servers import DEADLINE_S, wait_until
from acceptance.wire import RawClient

__all__ = ["Answering"]


class Answering(threading.Thread):
    """
    A client that does nothing but answer pings, at once.

    Attributes:
        pings: how many came so far.
        ended: it has lost its connection.
    """

    def __init__(self, client: RawClient) -> None:
        super().__init__(name="answers pings")
        self._client = client
        self.pings = 0
        self.ended = False
        self.start()

    def run(self) -> None:
        try:
            while True:
                if self._client.receive_frame()[0] == 9:
                    self.pings += 1
                    self._client.send_frame(10)
        except (EOFError, OSError):
            self.ended = True

    def await_pings(self, count: int) -> None:
        """Wait for so many more, one of which comes in each keep-alive interval."""
        seen = self.pings
        wait_until(lambda: self.ended or self.pings >= seen + count, f"{count} more pings")
        assert not self.ended

    def end(self) -> None:
        """Close the connection in order."""
        self._client.close_frame(1000)
        self.join(DEADLINE_S)
