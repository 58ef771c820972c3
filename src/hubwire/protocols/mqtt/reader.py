"""
Where one MQTT packet ends and the next one begins, however WebSocket messages cut the stream.

    reader = PacketReader(max_packet_bytes)
    packet = reader.feed_first(payload)             what says which version this is; then
    for first, body in reader.feed(payload): ...    first everything that was complete,
    if reader.fault is not None: ...                then the end of the connection

Source: OASIS MQTT 5.0, 1.5.5, 2.1 and 6; OASIS MQTT 3.1.1, 2.2.3.
"""

from typing import Final

from hubwire.protocols.mqtt.reasons import MqttViolation, Reason

__all__ = ["PacketReader"]

_TOO_BIG: Final = 1009
_ALL: Final = 1 << 30


class PacketReader:
    """
    Cuts a stream into packets. Holds no buffer while no packet is incomplete.

    Attributes:
        strict: a remaining length that takes more bytes than it needs is a fault, as in 5.0 [1.5.5-1]. 3.1.1 says
            nothing of that, so it is read all the same there, and until the version is known.
        padded: there was one.
        fault: why nothing more is read; None while all is well. Its code is 0x95 for a packet that announces more
            than it may have, and 0x81 for a remaining length that is none.

    Args:
        max_packet_bytes: of a whole packet, its first bytes included.
    """

    __slots__ = ("_buffer", "_max", "_need", "_taken", "fault", "padded", "strict")

    def __init__(self, max_packet_bytes: int) -> None:
        self.strict = False
        self.padded = False
        self.fault: MqttViolation | None = None
        self._max = max_packet_bytes
        self._buffer: bytearray | None = None
        self._taken = False
        self._need = 0  # bytes that the buffer must hold before it is worth another look

    def has_taken(self) -> bool:
        """Has a packet become complete since somebody asked."""
        taken, self._taken = self._taken, False
        return taken

    def feed_first(self, data: bytes) -> tuple[int, bytes] | None:
        """
        As `feed`, up to the end of one packet; what came behind that is with what `feed` returns next.

        Returns:
            None if it is not complete.
        """
        packets = self._take(data, 1)
        return packets[0] if packets else None

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """
        The next bytes of the stream, in pieces of any size. Never raises.

        Returns:
            first byte and body of each packet that became complete, in order. When `fault` is set afterwards, these
            still came before it. After a fault everything is ignored.
        """
        if self._buffer is None:
            # Nearly always: one whole packet, and not a long one.
            size = len(data)
            if size >= 2 and data[1] == size - 2 and size < 130 and size <= self._max and self.fault is None:
                self._taken = True
                return [(data[0], data[2:])]
        return self._take(data, _ALL)

    def _take(self, data: bytes, most: int) -> list[tuple[int, bytes]]:
        buffer = self._buffer
        if buffer is not None:
            buffer += data
            if len(buffer) < self._need:
                return []
            data = bytes(buffer)
            self._buffer = None
        packets: list[tuple[int, bytes]] = []
        if self.fault is None:
            position = self._read(data, packets, most)
            if position < len(data):
                self._buffer = bytearray(memoryview(data)[position:])
            if packets:
                self._taken = True
        return packets

    def _read(self, data: bytes, packets: list[tuple[int, bytes]], most: int) -> int:
        """
        Take whole packets, all of them or the first.

        Returns:
            where the first incomplete one begins; `_need` says how many bytes from there are worth another look.
            After a fault, the end of `data`.
        """
        end = len(data)
        position = 0
        while position + 2 <= end and len(packets) < most:
            start = position + 2
            length = data[position + 1]
            if length >= 0x80:
                length &= 0x7F
                shift = 7
                while True:
                    if start >= end:
                        self._need = start + 1 - position
                        return position
                    byte = data[start]
                    start += 1
                    length |= (byte & 0x7F) << shift
                    if byte < 0x80:
                        break
                    if shift == 21:
                        self.fault = MqttViolation(Reason.MALFORMED_PACKET, "remaining length of more than four bytes")
                        return end
                    shift += 7
                if not byte:
                    self.padded = True
                    if self.strict:
                        self.fault = MqttViolation(Reason.MALFORMED_PACKET, "remaining length not in its shortest form")
                        return end
            stop = start + length
            if stop - position > self._max:
                self.fault = MqttViolation(Reason.PACKET_TOO_LARGE, "packet too large", _TOO_BIG)
                return end
            if stop > end:
                self._need = stop - position
                return position
            packets.append((data[position], data[start:stop]))
            position = stop
        self._need = 2
        return position
