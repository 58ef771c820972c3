"""Whole MQTT packets of a client as bytes, put together by the pages of the standards and not with our own code."""

from typing import Final, NamedTuple

from vectors.mqtt_packets import binary, properties, text, whole

__all__ = [
    "PINGREQ",
    "PUBACK",
    "PUBCOMP",
    "PUBREC",
    "PUBREL",
    "Will",
    "acknowledge",
    "connect",
    "disconnect",
    "four",
    "publish",
    "subscribe",
    "two",
    "unsubscribe",
    "user_property",
]

PUBACK: Final = 0x40
PUBREC: Final = 0x50
PUBREL: Final = 0x62
PUBCOMP: Final = 0x70
PINGREQ: Final = b"\xc0\x00"


class Will(NamedTuple):
    """`said` are its properties, in 5.0."""

    topic: str
    payload: bytes = b"gone"
    qos: int = 0
    retain: bool = False
    said: tuple[bytes, ...] = ()


def two(value: int) -> bytes:
    return value.to_bytes(2, "big")


def four(value: int) -> bytes:
    return value.to_bytes(4, "big")


def user_property(name: str, value: str) -> bytes:
    return b"\x26" + text(name) + text(value)


def connect(
    version: int,
    client_id: str = "",
    *,
    clean: bool = True,
    keep_alive_s: int = 60,
    expiry_s: int | None = None,
    will: Will | None = None,
    user: str | None = None,
    password: bytes | None = None,
    said: tuple[bytes, ...] = (),
) -> bytes:
    """
    Args:
        expiry_s: of the session, in 5.0.
        said: further properties.
    """
    flags = clean << 1
    payload = text(client_id)
    if will is not None:
        flags |= 4 | will.qos << 3 | will.retain << 5
        payload += (properties(*will.said) if version == 5 else b"") + text(will.topic) + binary(will.payload)
    if user is not None:
        flags |= 0x80
        payload += text(user)
    if password is not None:
        flags |= 0x40
        payload += binary(password)
    head = text("MQTT") + bytes((version, flags)) + two(keep_alive_s)
    if version == 5:
        said = said if expiry_s is None else (b"\x11" + four(expiry_s), *said)
        head += properties(*said)
    return whole(0x10, head, payload)


def publish(
    version: int,
    topic: str,
    payload: bytes = b"",
    qos: int = 0,
    packet_id: int = 0,
    *,
    dup: bool = False,
    retain: bool = False,
    said: tuple[bytes, ...] = (),
) -> bytes:
    """`said` are properties, in 5.0."""
    first = 0x30 | dup << 3 | qos << 1 | retain
    number = two(packet_id) if qos else b""
    return whole(first, text(topic), number, properties(*said) if version == 5 else b"", payload)


def acknowledge(first: int, packet_id: int, code: int | None = None, *said: bytes) -> bytes:
    """PUBACK, PUBREC, PUBREL or PUBCOMP. A code, and properties behind it, are in 5.0 only."""
    rest = b"" if code is None else bytes((code,)) + (properties(*said) if said else b"")
    return whole(first, two(packet_id), rest)


def subscribe(version: int, packet_id: int, *filters: tuple[str, int], said: tuple[bytes, ...] = ()) -> bytes:
    """Filters and their options byte."""
    payload = b"".join(text(name) + bytes((options,)) for name, options in filters)
    return whole(0x82, two(packet_id), properties(*said) if version == 5 else b"", payload)


def unsubscribe(version: int, packet_id: int, *filters: str, said: tuple[bytes, ...] = ()) -> bytes:
    return whole(0xA2, two(packet_id), properties(*said) if version == 5 else b"", *map(text, filters))


def disconnect(code: int | None = None, *said: bytes) -> bytes:
    """A code, and properties behind it, are in 5.0 only."""
    return whole(0xE0, b"" if code is None else bytes((code,)) + (properties(*said) if said else b""))
