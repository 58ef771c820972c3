"""
What a server must answer to each packet of MQTT, well-formed and ill-formed, in both versions, and how it ends the
connection: each row is what a client says and all that it hears.

The bytes are put together here, by the pages of OASIS MQTT 5.0 and 3.1.1 and not with our own code. Numbers in brackets
are their sections. Where these leave a choice, the row says what is chosen here.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from vectors.mqtt_packets import binary, length, properties, text, whole
from vectors.mqtt_wire import (
    PINGREQ,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    Will,
    acknowledge,
    connect,
    disconnect,
    four,
    publish,
    subscribe,
    two,
    unsubscribe,
    user_property,
)

__all__ = ["DIALOGUES", "LIMIT_BYTES", "OPENING", "RECEIVE_MAXIMUM", "Dialogue", "Outcome"]

LIMIT_BYTES: Final = 1 << 20
"""The largest packet that is taken."""

RECEIVE_MAXIMUM: Final = 8
"""How many publications may be open, for the servers that these rows are played to."""

NORMAL: Final = 1000
PROTOCOL_ERROR: Final = 1002
"""Where MQTT has no words for it."""
TOO_BIG: Final = 1009


class Outcome(NamedTuple):
    """
    Attributes:
        hear: all packets, in order, as the client writes them down: kind, packet id, codes in hex.
        close: code of the server's close frame; None if it goes on.
    """

    hear: tuple[str, ...] = ()
    close: int | None = None


class Dialogue(NamedTuple):
    """
    Attributes:
        version: 4 or 5; of the CONNECT that comes first, unless the row has its own.
        say: in a frame each, without waiting for anything.
        azure: what else comes of it in that mode; None if it is the same.
        bare: no CONNECT comes before it.
        denied: the client has no role.
    """

    name: str
    version: int
    say: tuple[bytes, ...]
    outcome: Outcome
    azure: Outcome | None = None
    bare: bool = False
    denied: bool = False

    def __str__(self) -> str:
        return f"v{self.version}-{self.name.replace(' ', '-')}"


GOES_ON: Final = Outcome()
LEFT: Final = Outcome((), NORMAL)
SILENTLY_CLOSED: Final = Outcome((), PROTOCOL_ERROR)
OPENING: Final = Outcome(("CONNACK 0 00",))
VERSIONS: Final = (4, 5)

_ID: Final = 10
_USER: Final = user_property("name", "value")
_REASON: Final = b"\x1f" + text("why")
_MQTT: Final = text("MQTT")


def heard(*packets: str) -> Outcome:
    """These, and it goes on."""
    return Outcome(packets)


def fault(version: int, code: int) -> Outcome:
    """The end, with a reason in 5.0; 3.1.1 has none [4.13; 3.1.1, 4.8]."""
    return Outcome((f"DISCONNECT {code:02x}",), NORMAL) if version == 5 else SILENTLY_CLOSED


def no_entry(version: int, code: int) -> Outcome:
    """A CONNACK that refuses. 3.1.1 has one to some questions only: code 0 is the end without."""
    return Outcome((f"CONNACK 0 {code:02x}",), NORMAL) if code else SILENTLY_CLOSED


def acknowledged(kind: str, version: int, code: int = 0, packet_id: int = _ID) -> str:
    """A PUBACK, PUBREC, PUBREL, PUBCOMP or UNSUBACK. In 3.1.1 it has no code."""
    return f"{kind} {packet_id} {code:02x}" if version == 5 else f"{kind} {packet_id}"


# CONNECT.


def _entry(name: str, wire: bytes, outcome: Outcome = OPENING, azure: Outcome | None = None) -> Dialogue:
    """A CONNECT by its own. Its version is in it, behind a name of mostly four letters."""
    version = 5 if b"\x05" in wire[7:10] else 4
    return Dialogue(f"connect {name}", version, (wire,), outcome, azure, bare=True)


_WILL_SAID: Final = (
    b"\x01\x01",
    b"\x02" + four(60),
    b"\x03" + text("text/plain"),
    b"\x08" + text("answers"),
    b"\x09" + binary(b"\x00\xff"),
    b"\x18" + four(0),
    _USER,
    _USER,
)
_CONNECT_SAID: Final = (
    b"\x11" + four(0),
    b"\x17\x00",
    b"\x19\x01",
    b"\x21" + two(65535),
    b"\x22" + two(65535),
    _USER,
    _USER,
    b"\x27" + four(0xFFFF_FFFF),
)


def _bare_connect(version: int, flags: int, *rest: bytes, name: bytes = _MQTT, level: int | None = None) -> bytes:
    """With flags of any kind. In 5.0 the properties are in the rest."""
    return whole(0x10, name, bytes((version if level is None else level, flags)), two(60), *rest)


def _connects(version: int) -> Iterator[Dialogue]:
    said: tuple[bytes, ...] = () if version == 4 else (b"\x00",)
    malformed = no_entry(version, 0x81 if version == 5 else 0)
    unwanted_id = no_entry(version, 0x85 if version == 5 else 2)
    unwanted_will = no_entry(version, 0x90 if version == 5 else 5)

    yield _entry("of the least", connect(version))
    yield _entry("with everything", connect(version, "c", user="u", password=b"\x00p", will=Will("w", b"x", 2)))
    yield _entry("with an empty user name", connect(version, "c", user=""))
    yield _entry("with an empty password", connect(version, "c", user="u", password=b""))
    for qos in (0, 1, 2):
        yield _entry(f"with a will of qos {qos}", connect(version, "c", will=Will("w", b"", qos)))
        yield _entry(
            f"with a retained will of qos {qos}",
            connect(version, "c", will=Will("w", b"", qos, retain=True)),
            azure=no_entry(5, 0x9A) if version == 5 else None,
        )
    yield _entry("with a will as large as may be", connect(version, "c", will=Will("w", bytes(2000))))
    yield _entry(
        "with a will too large",
        connect(version, "c", will=Will("w", bytes(2001))),
        no_entry(version, 0x95 if version == 5 else 5),
    )
    yield _entry("with a will to a long topic", connect(version, "c", will=Will("w" * 1024)))
    for name, topic in (
        ("an empty topic", ""),
        ("a blank topic", "  "),
        ("a topic too long", "w" * 1025),
        ("a plus", "w/+"),
        ("a hash", "#"),
        ("a topic of the server", "$SYS/w"),
        ("an event", "$webpubsub/server/events/e"),
    ):
        yield _entry(f"with a will to {name}", connect(version, "c", will=Will(topic)), unwanted_will)

    # Client identifiers: what the service documents is less than what common libraries make by themselves.
    for name, client_id in (
        ("letters and digits", "abcXYZ019"),
        ("an underscore", "mqttjs_0123abcd"),
        ("128 characters", "i" * 128),
    ):
        yield _entry(f"of {name}", connect(version, client_id))
    for name, client_id in (
        ("a hyphen", "a-b"),
        ("a colon and a dot", "a:b.c"),
        ("a blank", "a b"),
        ("128 characters of two planes", "\u00e9\U0001f600" * 64),
    ):
        yield _entry(f"of {name}", connect(version, client_id), azure=unwanted_id)
    for name, client_id in (
        ("129 characters", "i" * 129),
        ("a slash", "a/b"),
        ("a question mark", "a?b"),
        ("a hash", "a#b"),
        ("a percent sign", "a%b"),
        ("a control character", "a\x1fb"),
        ("a delete character", "a\x7fb"),
    ):
        yield _entry(f"of {name}", connect(version, client_id), unwanted_id)

    # Keep alive: 3.1.1 cannot tell a client another one.
    for seconds in (1, 180):
        yield _entry(f"with {seconds} s of keep alive", connect(version, "c", keep_alive_s=seconds))
    for seconds in (0, 181, 65535):
        yield _entry(
            f"with {seconds} s of keep alive",
            connect(version, "c", keep_alive_s=seconds),
            azure=no_entry(4, 3) if version == 4 else None,
        )

    # Flags [3.1.2.3 to 3.1.2.9].
    topic_and_payload = text("w") + binary(b"")
    will = (*said, topic_and_payload) if version == 5 else (topic_and_payload,)
    for name, flags, rest in (
        ("the reserved flag", 0x03, ()),
        ("qos 1 of no will", 0x0A, ()),
        ("qos 2 of no will", 0x12, ()),
        ("qos 3 of no will", 0x1A, ()),
        ("the retain flag of no will", 0x22, ()),
        ("qos 3 of its will", 0x1E, will),
        ("a will and no will", 0x06, ()),
        ("a user name and none", 0x82, ()),
        ("a password and none", 0xC2, (text("u"),)),
        ("no user name and one", 0x02, (text("u"),)),
        ("no will and one", 0x02, will),
        ("every flag there is", 0xFF, (*will, text("u"), binary(b"p"))),
    ):
        yield _entry(f"with {name}", _bare_connect(version, flags, *said, text("c"), *rest), malformed)
    password_alone = _bare_connect(version, 0x42, *said, text("c"), binary(b"p"))
    yield _entry("with a password alone", password_alone, OPENING if version == 5 else SILENTLY_CLOSED)
    yield _entry("with a byte too many", connect(version, "c")[:1] + _longer(connect(version, "c")[1:]), malformed)

    # The fields before the version is known for sure.
    yield _entry("in small letters", _bare_connect(version, 2, *said, text("c"), name=text("mqtt")), SILENTLY_CLOSED)
    yield _entry("of another protocol", _bare_connect(version, 2, *said, text("c"), name=text("AMQP")), SILENTLY_CLOSED)
    yield _entry("of no protocol", _bare_connect(version, 2, *said, text("c"), name=text("")), SILENTLY_CLOSED)
    yield _entry("of a name cut", _bare_connect(version, 2, *said, text("c"), name=text("MQT")), SILENTLY_CLOSED)
    yield _entry("of a name too long", _bare_connect(version, 2, *said, text("c"), name=text("MQTTT")), SILENTLY_CLOSED)

    # Cut anywhere, with a remaining length that says so.
    pieces = [_MQTT, bytes((version,)), b"\xc6", two(60)]
    if version == 5:
        pieces.append(properties(*_CONNECT_SAID))
    pieces.append(text("client"))
    if version == 5:
        pieces.append(properties(*_WILL_SAID))
    pieces += [text("w"), binary(b"gone"), text("user"), binary(b"secret")]
    body = b"".join(pieces)
    yield _entry("with all fields", whole(0x10, body))
    for size in range(len(body)):
        known = version == 5 and size > len(_MQTT)
        yield Dialogue(
            f"connect cut after {size} bytes",
            version,
            (whole(0x10, body[:size]),),
            malformed if known else SILENTLY_CLOSED,
            bare=True,
        )
    for first in (0x11, 0x12, 0x14, 0x18, 0x1F):
        wire = bytes((first,)) + connect(version, "c")[1:]
        yield Dialogue(f"connect with first byte {first:#x}", version, (wire,), malformed, bare=True)


def _longer(rest: bytes) -> bytes:
    """A remaining length and what follows, with one byte more."""
    return bytes((rest[0] + 1,)) + rest[1:] + b"\x00"


_OTHER_CONNECTS: Final = (
    _entry("of 3.1", whole(0x10, text("MQIsdp"), b"\x03\x02\x00\x3c", text("c")), no_entry(4, 1)),
    *(
        _entry(f"of level {level}", whole(0x10, _MQTT, bytes((level, 2)), b"\x00\x3c", text("c")), no_entry(4, 1))
        for level in (0, 1, 2, 3, 0x83, 0x84)
    ),
    *(
        Dialogue(
            f"connect of level {level}",
            5,
            (whole(0x10, _MQTT, bytes((level, 2)), b"\x00\x3c", b"\x00", text("c")),),
            no_entry(5, 0x84),
            bare=True,
        )
        for level in (6, 0x7F, 0x85, 0xFF)
    ),
    _entry("with clean session 0 and no id", connect(4, clean=False), no_entry(4, 2)),
    _entry("with clean start 0 and no id", connect(5, clean=False)),
    _entry("with all properties", connect(5, "c", will=Will("w", b"x", 1, said=_WILL_SAID), said=_CONNECT_SAID)),
    _entry("with an expiry without an end", connect(5, "c", expiry_s=0xFFFF_FFFF)),
    _entry("with a password alone of some length", connect(5, "c", password=b"token" * 1000)),
    _entry("with an authentication method", connect(5, "c", said=(b"\x15" + text("SCRAM-SHA-1"),)), no_entry(5, 0x8C)),
    _entry(
        "with an authentication method and data",
        connect(5, "c", said=(b"\x15" + text("m"), b"\x16" + binary(b"d"))),
        no_entry(5, 0x8C),
    ),
    _entry("with authentication data alone", connect(5, "c", said=(b"\x16" + binary(b"d"),)), no_entry(5, 0x82)),
)


# What a client that is in may send, whole.


def _well_formed(version: int) -> Iterator[Dialogue]:
    def row(name: str, say: bytes | tuple[bytes, ...], outcome: Outcome = GOES_ON) -> Dialogue:
        return Dialogue(name, version, say if isinstance(say, tuple) else (say,), outcome)

    puback = acknowledged("PUBACK", version)
    pubrec = acknowledged("PUBREC", version)
    pubcomp = acknowledged("PUBCOMP", version)
    unsuback = acknowledged("UNSUBACK", version, 0x11)

    yield row("pingreq", PINGREQ, heard("PINGRESP"))
    yield row("pingreq three times", (PINGREQ,) * 3, heard(*["PINGRESP"] * 3))
    yield row("disconnect", b"\xe0\x00", LEFT)
    yield row("disconnect and more", (b"\xe0\x00", PINGREQ), LEFT)

    yield row("publish of qos 0", publish(version, "t", b"x"))
    yield row("publish of qos 0 and nothing", publish(version, "t"))
    yield row("publish of qos 1", publish(version, "t", b"x", 1, _ID), heard(puback))
    yield row("publish again of qos 1", publish(version, "t", b"x", 1, _ID, dup=True), heard(puback))
    yield row("publish of qos 2", publish(version, "t", b"x", 2, _ID), heard(pubrec))
    yield row("publish again of qos 2", publish(version, "t", b"x", 2, _ID, dup=True), heard(pubrec))
    yield row(
        "publish of the greatest id",
        publish(version, "t", b"x", 1, 65535),
        heard(acknowledged("PUBACK", version, packet_id=65535)),
    )
    for name, topic in (
        ("1024 characters", "t" * 1024),
        ("1024 characters of two planes", "\u00e9\U0001f600" * 512),
        ("a blank in the middle", "a b"),
        ("slashes alone", "///"),
        ("a byte order mark", "\ufeff"),
        ("a control character", "a\x01"),
        ("a character that is none", "a\uffff"),
        ("a dollar sign later", "a/$b"),
        ("the last character of all", "\U0010ffff"),
    ):
        yield row(f"publish to {name}", publish(version, topic, b"x", 1, _ID), heard(puback))
        yield row(f"subscribe to {name}", subscribe(version, _ID, (topic, 1)), heard(f"SUBACK {_ID} 01"))
        yield row(f"unsubscribe from {name}", unsubscribe(version, _ID, topic), heard(unsuback))
    for size in (0, 1, 127, 128, 16383, 16384, 65536):
        packet = publish(version, "t", bytes(size), 1, _ID)
        yield row(f"publish of {size} bytes", packet, heard(puback))
    overhead = len(publish(version, "t", bytes(LIMIT_BYTES // 2), 1, _ID)) - LIMIT_BYTES // 2
    yield row("publish as large as may be", publish(version, "t", bytes(LIMIT_BYTES - overhead), 1, _ID), heard(puback))

    yield row(
        "pubrel of a publication",
        (publish(version, "t", b"", 2, _ID), acknowledge(PUBREL, _ID)),
        heard(pubrec, pubcomp),
    )
    yield row(
        "publish of qos 2 twice and then pubrel twice",
        (*(publish(version, "t", b"", 2, _ID, dup=dup) for dup in (False, True)), *[acknowledge(PUBREL, _ID)] * 2),
        heard(pubrec, pubrec, pubcomp, acknowledged("PUBCOMP", version, 0x92)),
    )
    yield row(
        "publish of qos 2 is delivered once",
        (
            subscribe(version, 1, ("t2", 0)),
            *(publish(version, "t2", b"once", 2, _ID, dup=dup) for dup in (False, True, True)),
            acknowledge(PUBREL, _ID),
        ),
        heard("SUBACK 1 00", pubrec, pubrec, pubrec, "PUBLISH t2 0 once", pubcomp),
    )
    yield row(
        "publish of an id that is free again",
        (
            subscribe(version, 1, ("t3", 0)),
            *[publish(version, "t3", b"each", 2, _ID), acknowledge(PUBREL, _ID)] * 2,
        ),
        heard("SUBACK 1 00", pubrec, "PUBLISH t3 0 each", pubcomp, pubrec, "PUBLISH t3 0 each", pubcomp),
    )
    yield row("puback of nothing", acknowledge(PUBACK, _ID))
    yield row("pubrec of nothing", acknowledge(PUBREC, _ID), heard(acknowledged("PUBREL", version, 0x92)))
    yield row("pubrel of nothing", acknowledge(PUBREL, _ID), heard(acknowledged("PUBCOMP", version, 0x92)))
    yield row("pubcomp of nothing", acknowledge(PUBCOMP, _ID))

    for qos in (0, 1, 2):
        yield row(f"subscribe of qos {qos}", subscribe(version, _ID, ("t", qos)), heard(f"SUBACK {_ID} {qos:02x}"))
    yield row(
        "subscribe to several",
        subscribe(version, 65535, ("a", 2), ("b", 0), ("c", 1), ("a", 0)),
        heard("SUBACK 65535 02 00 01 00"),
    )
    yield row(
        "subscribe to a hundred",
        subscribe(version, _ID, *((f"t/{number}", number % 3) for number in range(100))),
        heard(f"SUBACK {_ID} " + " ".join(f"{number % 3:02x}" for number in range(100))),
    )
    yield row(
        "subscribe twice",
        (subscribe(version, _ID, ("t", 2)), subscribe(version, _ID, ("t", 0))),
        heard(f"SUBACK {_ID} 02", f"SUBACK {_ID} 00"),
    )
    yield row("unsubscribe from nothing there", unsubscribe(version, _ID, "t"), heard(unsuback))
    yield row(
        "unsubscribe",
        (subscribe(version, 1, ("t", 2)), unsubscribe(version, _ID, "t"), unsubscribe(version, _ID, "t")),
        heard("SUBACK 1 02", acknowledged("UNSUBACK", version), unsuback),
    )
    yield row(
        "unsubscribe from several",
        (subscribe(version, 1, ("a", 0), ("c", 0)), unsubscribe(version, _ID, "a", "b", "c")),
        heard("SUBACK 1 00 00", f"UNSUBACK {_ID} 00 11 00" if version == 5 else f"UNSUBACK {_ID}"),
    )
    yield row(
        "one of each",
        (
            PINGREQ,
            subscribe(version, 1, ("o", 0)),
            publish(version, "o", b"x"),
            unsubscribe(version, 2, "o"),
            publish(version, "o", b"y", 1, 3),
            b"\xe0\x00",
        ),
        Outcome(
            (
                "PINGRESP",
                "SUBACK 1 00",
                "PUBLISH o 0 x",
                acknowledged("UNSUBACK", version, packet_id=2),
                acknowledged("PUBACK", version, packet_id=3),
            ),
            NORMAL,
        ),
    )
    # In mode azure retained messages are not offered, which 5.0 is told in the CONNACK and 3.1.1 cannot be.
    for qos, answers in ((0, ()), (1, (puback,)), (2, (pubrec,))):
        for payload in (b"x", b""):
            yield Dialogue(
                f"publish to be retained of qos {qos} and {len(payload)} bytes",
                version,
                (publish(version, "t", payload, qos, _ID, retain=True),),
                Outcome(answers),
                fault(5, 0x9A) if version == 5 else None,
            )
    # Kept, sent to who subscribes, taken away, and so sent to nobody.
    kept, none = publish(version, "kept", b"x", 1, 2, retain=True), publish(version, "kept", b"", 1, 2, retain=True)
    acked = acknowledged("PUBACK", version, packet_id=2)
    yield Dialogue(
        "publish to be retained, subscribe, unsubscribe, publish to take it away and subscribe",
        version,
        (
            kept,
            subscribe(version, 3, ("kept", 0)),
            unsubscribe(version, 4, "kept"),
            none,
            subscribe(version, 5, ("kept", 0)),
        ),
        Outcome(
            (
                acked,
                "SUBACK 3 00",
                "PUBLISH kept 0 x retain",
                acknowledged("UNSUBACK", version, packet_id=4),
                acked,
                "SUBACK 5 00",
            )
        ),
        fault(5, 0x9A)
        if version == 5
        else Outcome((acked, "SUBACK 3 00", acknowledged("UNSUBACK", 4, packet_id=4), acked, "SUBACK 5 00")),
    )


_MESSAGE_SAID: Final = (
    b"\x01\x01",
    b"\x02" + four(60),
    b"\x03" + text("application/json"),
    b"\x08" + text("answers"),
    b"\x09" + binary(b"\x00\xff"),
    _USER,
    _USER,
)


def _well_formed_5() -> Iterator[Dialogue]:
    """What is in 5.0 alone."""

    def row(name: str, wire: bytes, outcome: Outcome = GOES_ON) -> Dialogue:
        return Dialogue(name, 5, (wire,), outcome)

    yield row(
        "publish with all properties", publish(5, "t", b"{}", 1, _ID, said=_MESSAGE_SAID), heard(f"PUBACK {_ID} 00")
    )
    yield row(
        "publish with properties in another order",
        publish(5, "t", b"{}", 1, _ID, said=_MESSAGE_SAID[::-1]),
        heard(f"PUBACK {_ID} 00"),
    )
    yield row(
        "publish with many properties",
        publish(5, "t", b"", 1, _ID, said=(user_property("n" * 50, "v" * 50),) * 300),
        heard(f"PUBACK {_ID} 00"),
    )
    yield row(
        "publish of text that is none",
        publish(5, "t", b"\xff", 1, _ID, said=(b"\x01\x01",)),
        heard(f"PUBACK {_ID} 00"),
    )
    yield row(
        "publish without time", publish(5, "t", b"x", 1, _ID, said=(b"\x02" + four(0),)), heard(f"PUBACK {_ID} 00")
    )
    answers: Mapping[int, str | None] = {
        PUBACK: None,
        PUBREC: f"PUBREL {_ID} 92",
        PUBREL: f"PUBCOMP {_ID} 92",
        PUBCOMP: None,
    }
    names = {PUBACK: "puback", PUBREC: "pubrec", PUBREL: "pubrel", PUBCOMP: "pubcomp"}
    published = (0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99)
    for first, answer in answers.items():
        for code in published if first in (PUBACK, PUBREC) else (0x00, 0x92):
            # Who refuses a publication waits for no PUBREL, and who says that it is gone for no answer [4.3.3].
            said = answer if first != PUBREC or code < 0x80 else None
            outcome = GOES_ON if said is None else heard(said)
            yield row(f"{names[first]} of nothing with code {code:02x}", acknowledge(first, _ID, code), outcome)
        outcome = GOES_ON if answer is None else heard(answer)
        yield row(
            f"{names[first]} with no properties",
            acknowledge(first, _ID, 0)[:1] + b"\x04" + two(_ID) + b"\x00\x00",
            outcome,
        )
        yield row(f"{names[first]} with all properties", acknowledge(first, _ID, 0, _REASON, _USER, _USER), outcome)
    for options in (0x04, 0x08, 0x0C, 0x10, 0x20, 0x2E, 0x21):
        yield row(
            f"subscribe with options {options:#x}",
            subscribe(5, _ID, ("t", options)),
            heard(f"SUBACK {_ID} {options & 3:02x}"),
        )
    for number in (1, 127, 128, 268_435_455):
        yield row(
            f"subscribe with identifier {number}",
            subscribe(5, _ID, ("t", 1), said=(b"\x0b" + length(number), _USER, _USER)),
            heard(f"SUBACK {_ID} 01"),
        )
    yield row(
        "unsubscribe with all properties", unsubscribe(5, _ID, "t", said=(_USER, _USER)), heard(f"UNSUBACK {_ID} 11")
    )
    for code in (0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99):
        yield row(f"disconnect of code {code:02x}", disconnect(code), LEFT)
    yield row("disconnect with no properties", whole(0xE0, b"\x00\x00"), LEFT)
    yield row("disconnect with all properties", disconnect(0, b"\x11" + four(0), _REASON, _USER, _USER), LEFT)


# Topics and filters.


def _names(version: int) -> Iterator[Dialogue]:
    unwanted = {
        "a blank": "  ",
        "1025 characters": "t" * 1025,
        "what is the server's": "$SYS/t",
        "what is shared": "$share/g/t",
        "what begins as a topic of the application": "$webpubsubs/t",
        "messages of the application": "$webpubsub/server/messages",
        "nothing of the application": "$webpubsub/t",
        "no event": "$webpubsub/server/events/",
        "an answer": "$webpubsub/server/events/e/succeeded",
    }
    for name, topic in unwanted.items():
        # 5.0 tells what cannot be published; 3.1.1 has no way to say so but the end.
        end = fault(version, 0x90)
        passed_over = topic[0] == "$" and not topic.startswith("$webpubsub/")
        yield Dialogue(
            f"publish to {name} of qos 0",
            version,
            (publish(version, topic, b"x"),),
            GOES_ON if passed_over else end,
            azure=end if passed_over else None,
        )
        for qos, kind in ((1, "PUBACK"), (2, "PUBREC")):
            yield Dialogue(
                f"publish to {name} of qos {qos}",
                version,
                (publish(version, topic, b"x", qos, _ID),),
                heard(acknowledged(kind, version, 0x90)),
            )
    for name, topic in (
        ("plus", "+"),
        ("hash", "#"),
        ("plus later", "a/+/b"),
        ("plus within", "a+"),
        ("hash last", "a/#"),
    ):
        for qos in (0, 1, 2):
            yield Dialogue(
                f"publish to a {name} of qos {qos}",
                version,
                (publish(version, topic, b"x", qos, _ID),),
                fault(version, 0x90),
            )
    for qos in (0, 1, 2):
        wire = publish(version, "", b"x", qos, _ID)
        yield Dialogue(f"publish to an empty topic of qos {qos}", version, (wire,), fault(version, 0x82))
    filters = {
        "nothing": ("", 0x8F),
        "a blank": (" ", 0x8F),
        "1025 characters": ("t" * 1025, 0x8F),
        "a plus": ("+/none", 0xA2),
        "a hash": ("none/#", 0xA2),
        "a plus and a hash": ("+/none/#", 0xA2),
        "a plus that is nothing": ("/none/+/", 0xA2),
        "a plus within": ("a+", 0x8F),
        "a hash within": ("a#", 0x8F),
        "a hash before the end": ("a/#/b", 0x8F),
        "two hashes": ("##", 0x8F),
        "what is shared": ("$share/g/t", 0x9E),
        "what is shared of wildcards": ("$share/g/none/#", 0x9E),
        "what is the server's": ("$SYS/t", 0x8F),
        "nothing of the application": ("$webpubsub/t", 0x8F),
    }
    for name, (topic_filter, code) in filters.items():
        said = code if version == 5 else 0x80
        refused = heard(f"SUBACK {_ID} 01 {said:02x} 02")
        is_taken = code in (0xA2, 0x9E)
        yield Dialogue(
            f"subscribe to {name}",
            version,
            (subscribe(version, _ID, ("a", 1), (topic_filter, 1), ("b", 2)),),
            heard(f"SUBACK {_ID} 01 01 02") if is_taken else refused,
            azure=refused if is_taken else None,
        )
    # What is the server's is for no wildcard, as a whole level or below others [4.7.2].
    for name, topic_filter in (
        ("a hash", "$SYS/#"),
        ("a plus", "$SYS/+"),
        ("a plus of the application", "$webpubsub/+"),
    ):
        taken_for, missing = (0x8F, 0xA2) if version == 5 else (0x80, 0x80)
        yield Dialogue(
            f"subscribe to {name} below what is the server's",
            version,
            (subscribe(version, _ID, (topic_filter, 1)),),
            heard(f"SUBACK {_ID} {taken_for:02x}"),
            azure=heard(f"SUBACK {_ID} {missing:02x}"),
        )
    for name, shared in (
        ("no name", "$share//t"),
        ("no filter", "$share/g"),
        ("an empty filter", "$share/g/"),
        ("a wildcard in its name", "$share/g+/t"),
        ("what is the server's", "$share/g/$SYS/t"),
        ("a plus within", "$share/g/t+"),
    ):
        invalid, missing = (0x8F, 0x9E) if version == 5 else (0x80, 0x80)
        yield Dialogue(
            f"subscribe to a share of {name}",
            version,
            (subscribe(version, _ID, (shared, 1)), unsubscribe(version, 2, shared)),
            heard(f"SUBACK {_ID} {invalid:02x}", acknowledged("UNSUBACK", version, 0x8F, 2)),
            azure=heard(f"SUBACK {_ID} {missing:02x}", acknowledged("UNSUBACK", version, 0x11, 2)),
        )
    yield from _matches(version)
    yield from _shares(version)
    for name, served in (
        ("messages of the application", "$webpubsub/server/messages"),
        ("successes of an event", "$webpubsub/server/events/e/succeeded"),
        ("failures of an event", "$webpubsub/server/events/e/failed"),
    ):
        yield Dialogue(
            f"subscribe to {name}",
            version,
            (subscribe(version, 1, (served, 2)), unsubscribe(version, 2, served)),
            heard("SUBACK 1 02", acknowledged("UNSUBACK", version, packet_id=2)),
        )


def _matches(version: int) -> Iterator[Dialogue]:
    """What comes by filters, and what does not [4.7.1]; where there are none, nothing does."""
    unwanted = 0xA2 if version == 5 else 0x80
    for number, (topic_filter, topics, others) in enumerate(
        (
            ("/+", ("", "b", "ü", " ", "b.c"), ("b/c", "/")),
            ("/+/c", ("b/c", "/c"), ("c", "b/d", "b/b/c")),
            ("/#", ("", "b", "b/c", "/", "$b"), ()),
            ("#", ("", "/b"), ()),
            ("/b/#", ("b", "b/", "b/c/d"), ("bc", "B", "")),
            ("/+/#", ("", "b", "b/c"), ()),
            ("/+/+/d", ("b/c/d",), ("b/d", "b/c/d/")),
        )
    ):
        place = f"filters/{version}/{number}"
        wanted = f"{place}{topic_filter}" if topic_filter != "#" else f"{place}/#"
        root = f"{place}/"
        said = tuple(publish(version, root + topic, b"x") for topic in (*topics, *others))
        come = [f"PUBLISH {root}{topic} 0 x" for topic in topics]
        # The name alone, without the slash: it is a level less, which a hash stands for too.
        said += (publish(version, place, b"y"),)
        if topic_filter in ("/#", "#"):
            come.append(f"PUBLISH {place} 0 y")
        yield Dialogue(
            f"filter {number}",
            version,
            (subscribe(version, 1, (wanted, 1)), *said, unsubscribe(version, 2, wanted), *said),
            heard("SUBACK 1 01", *come, acknowledged("UNSUBACK", version, packet_id=2)),
            azure=heard(f"SUBACK 1 {unwanted:02x}", acknowledged("UNSUBACK", version, 0x11, 2)),
        )
    both = (f"overlap/{version}/+", f"overlap/{version}/#", f"overlap/{version}/b")
    topic = both[2]
    yield Dialogue(
        "filters that overlap",
        version,
        (
            subscribe(version, 1, (both[0], 0), (both[1], 2), (topic, 1)),
            publish(version, topic, b"x", 2, 7),
            unsubscribe(version, 2, both[1]),
            publish(version, topic, b"y", 2, 8),
            unsubscribe(version, 3, both[0], topic),
            publish(version, topic, b"z", 2, 9),
        ),
        heard(
            "SUBACK 1 00 02 01",
            f"PUBLISH {topic} 2 x",
            acknowledged("PUBREC", version, packet_id=7),
            acknowledged("UNSUBACK", version, packet_id=2),
            f"PUBLISH {topic} 1 y",
            acknowledged("PUBREC", version, packet_id=8),
            "UNSUBACK 3 00 00" if version == 5 else "UNSUBACK 3",
            acknowledged("PUBREC", version, packet_id=9),
        ),
        azure=heard(
            f"SUBACK 1 {unwanted:02x} {unwanted:02x} 01",
            f"PUBLISH {topic} 1 x",
            acknowledged("PUBREC", version, packet_id=7),
            acknowledged("UNSUBACK", version, 0x11, 2),
            f"PUBLISH {topic} 1 y",
            acknowledged("PUBREC", version, packet_id=8),
            "UNSUBACK 3 11 00" if version == 5 else "UNSUBACK 3",
            acknowledged("PUBREC", version, packet_id=9),
        ),
    )


def _shares(version: int) -> Iterator[Dialogue]:
    """A client that shares with nobody gets all, by each share once; where there are none it gets what is its own."""
    missing = 0x9E if version == 5 else 0x80
    topic = f"shares/{version}"
    names = (f"$share/g/{topic}", f"$share/h/{topic}")
    yield Dialogue(
        "shares beside a subscription",
        version,
        (
            subscribe(version, 1, (topic, 0), (names[0], 0), (names[1], 0)),
            publish(version, topic, b"x"),
            unsubscribe(version, 2, names[0]),
            publish(version, topic, b"y"),
            unsubscribe(version, 3, topic, names[1]),
            publish(version, topic, b"z"),
        ),
        heard(
            "SUBACK 1 00 00 00",
            *[f"PUBLISH {topic} 0 x"] * 3,
            acknowledged("UNSUBACK", version, packet_id=2),
            *[f"PUBLISH {topic} 0 y"] * 2,
            "UNSUBACK 3 00 00" if version == 5 else "UNSUBACK 3",
        ),
        azure=heard(
            f"SUBACK 1 00 {missing:02x} {missing:02x}",
            f"PUBLISH {topic} 0 x",
            acknowledged("UNSUBACK", version, 0x11, 2),
            f"PUBLISH {topic} 0 y",
            "UNSUBACK 3 00 11" if version == 5 else "UNSUBACK 3",
        ),
    )
    if version == 5:
        # What is sent to one of many has no place where it could be left out [3.8.3-4].
        yield Dialogue(
            "share with no local",
            version,
            (subscribe(version, _ID, (names[0], 0b101)),),
            fault(version, 0x82),
            azure=heard(f"SUBACK {_ID} {missing:02x}"),
        )


# Bytes that are no packet, or none of this version.


class Form(NamedTuple):
    """
    A packet as its fields.

    Attributes:
        fields: in order.
        ends: after how many of them it may end; with a code where that is another fault than being cut.
    """

    name: str
    version: int
    first: int
    fields: tuple[bytes, ...]
    ends: Mapping[int, int | None] = {}


_FORMS: Final = (
    Form("publish of qos 0", 4, 0x30, (text("topic"),)),
    Form("publish of qos 1", 4, 0x32, (text("topic"), two(_ID))),
    Form("publish of qos 2", 4, 0x34, (text("topic"), two(_ID))),
    Form("publish of qos 0", 5, 0x30, (text("topic"), properties(*_MESSAGE_SAID))),
    Form("publish of qos 1", 5, 0x32, (text("topic"), two(_ID), b"\x00")),
    Form("publish of qos 2", 5, 0x34, (text("topic"), two(_ID), properties(_USER))),
    *(
        Form(name, 4, first, (two(_ID),))
        for name, first in (("puback", 0x40), ("pubrec", 0x50), ("pubrel", 0x62), ("pubcomp", 0x70))
    ),
    *(
        Form(name, 5, first, (two(_ID), b"\x00", properties(_REASON, _USER)), {1: None, 2: None})
        for name, first in (("puback", 0x40), ("pubrec", 0x50), ("pubrel", 0x62), ("pubcomp", 0x70))
    ),
    Form("subscribe", 4, 0x82, (two(_ID), text("a/b"), b"\x01", text("c"), b"\x02"), {1: 0x82, 3: None}),
    Form(
        "subscribe",
        5,
        0x82,
        (two(_ID), properties(b"\x0b\x80\x01", _USER), text("a/b"), b"\x01", text("c"), b"\x02"),
        {2: 0x82, 4: None},
    ),
    Form("unsubscribe", 4, 0xA2, (two(_ID), text("a/b"), text("c")), {1: 0x82, 2: None}),
    Form("unsubscribe", 5, 0xA2, (two(_ID), properties(_USER), text("a/b"), text("c")), {2: 0x82, 3: None}),
    Form("disconnect", 5, 0xE0, (b"\x00", properties(_REASON, _USER)), {0: None, 1: None}),
    Form("auth", 5, 0xF0, (b"\x18", properties(b"\x15" + text("m"), b"\x16" + binary(b"d"))), {0: 0x82}),
)


def _cuts() -> Iterator[Dialogue]:
    for form in _FORMS:
        body = b"".join(form.fields)
        ends = {sum(map(len, form.fields[:count])): code for count, code in form.ends.items()}
        for size in range(len(body)):
            code = ends.get(size, 0x81)
            if code is not None:
                yield Dialogue(
                    f"{form.name} cut after {size} bytes",
                    form.version,
                    (whole(form.first, body[:size]),),
                    fault(form.version, code),
                )


def _too_long() -> Iterator[Dialogue]:
    for version in VERSIONS:
        for name, wire in (
            ("pingreq", whole(0xC0, b"\x00")),
            ("subscribe", whole(0x82, subscribe(version, _ID, ("t", 0))[2:], b"\x00")),
            ("subscribe by half a filter", whole(0x82, subscribe(version, _ID, ("t", 0))[2:], b"\x00\x05ab")),
            ("unsubscribe", whole(0xA2, unsubscribe(version, _ID, "t")[2:], b"\x00")),
            *(
                (name, whole(first, two(_ID), b"" if version == 4 else b"\x00\x00", b"\x00"))
                for name, first in (("puback", 0x40), ("pubrec", 0x50), ("pubrel", 0x62), ("pubcomp", 0x70))
            ),
            ("disconnect", whole(0xE0, b"\x00" if version == 4 else b"\x00\x00\x00")),
        ):
            yield Dialogue(f"{name} longer than it is", version, (wire,), fault(version, 0x81))
    for name, first in (("puback", 0x40), ("pubrec", 0x50), ("pubrel", 0x62), ("pubcomp", 0x70)):
        wire = whole(first, two(_ID), b"\x00\x00")
        yield Dialogue(f"{name} of 5.0", 4, (wire,), fault(4, 0x81))


def _first_bytes() -> Iterator[Dialogue]:
    """Flags that are not free, turned over one by one; types of nobody and of the server [2.1.2, 2.1.3]."""
    for version in VERSIONS:
        bodies = {
            0x40: two(_ID),
            0x50: two(_ID),
            0x62: two(_ID),
            0x70: two(_ID),
            0x82: subscribe(version, _ID, ("t", 0))[2:],
            0xA2: unsubscribe(version, _ID, "t")[2:],
            0xC0: b"",
            0xE0: b"",
        }
        if version == 5:
            bodies[0xF0] = b"\x18" + properties(b"\x15" + text("m"))
        for first, body in bodies.items():
            for bit in (1, 2, 4, 8):
                wire = whole(first ^ bit, body)
                yield Dialogue(f"first byte {first ^ bit:#04x}", version, (wire,), fault(version, 0x81))
        yield Dialogue("first byte 0x00", version, (b"\x00\x00",), fault(version, 0x81))
        yield Dialogue("first byte 0x0f", version, (b"\x0f\x02ab",), fault(version, 0x81))
        said = b"" if version == 4 else b"\x00"
        for name, wire in (
            ("connack", whole(0x20, b"\x00\x00", said)),
            ("suback", whole(0x90, two(_ID), said, b"\x00")),
            ("unsuback", whole(0xB0, two(_ID), said, b"" if version == 4 else b"\x00")),
            ("pingresp", b"\xd0\x00"),
        ):
            yield Dialogue(f"{name} of a client", version, (wire,), fault(version, 0x82))
        # DUP, QoS and RETAIN of a PUBLISH [3.3.1].
        for retain in (0, 1):
            for name, flags in (("dup of qos 0", 0x08), ("qos 3", 0x06), ("dup of qos 3", 0x0E)):
                wire = whole(0x30 | flags | retain, text("t"), two(_ID), said)
                yield Dialogue(f"publish with {name}{' and retain' * retain}", version, (wire,), fault(version, 0x81))
    for wire in (b"\xf0\x00", whole(0xF0, b"\x18", properties(b"\x15" + text("m")))):
        yield Dialogue(f"auth of {len(wire)} bytes", 4, (wire,), fault(4, 0x82))
        yield Dialogue(f"auth of {len(wire)} bytes", 5, (wire,), fault(5, 0x82))
    for code in (0x00, 0x18, 0x19):
        wire = whole(0xF0, bytes((code,)), properties(b"\x15" + text("m"), b"\x16" + binary(b"d"), _REASON, _USER))
        yield Dialogue(f"auth of code {code:02x} that nobody asked for", 5, (wire,), fault(5, 0x82))
    for code in (0x01, 0x80, 0xFF):
        wire = whole(0xF0, bytes((code,)), properties(b"\x15" + text("m")))
        yield Dialogue(f"auth of code {code:02x}", 5, (wire,), fault(5, 0x82))


def _lengths() -> Iterator[Dialogue]:
    """Remaining lengths [1.5.5]."""
    for version in VERSIONS:
        yield Dialogue("length of five bytes", version, (b"\xc0\x80\x80\x80\x80\x00",), fault(version, 0x81))
        yield Dialogue("length of five full bytes", version, (b"\x30" + b"\xff" * 5,), fault(version, 0x81))
        too_large = fault(5, 0x95) if version == 5 else Outcome((), TOO_BIG)
        yield Dialogue("length of the most", version, (b"\x30\xff\xff\xff\x7f",), too_large)
        yield Dialogue("length one too many", version, (b"\x30" + length(LIMIT_BYTES - 3),), too_large)
        yield Dialogue("length one too many of a type of nobody", version, (b"\x00" + length(LIMIT_BYTES),), too_large)
        # The shortest form is a must since 5.0 [1.5.5-1].
        padded = fault(5, 0x81) if version == 5 else heard("PINGRESP")
        yield Dialogue("length of two bytes for 0", version, (b"\xc0\x80\x00",), padded)
        yield Dialogue("length of four bytes for 0", version, (b"\xc0\x80\x80\x80\x00",), padded)
        wire = connect(version, "c")
        padded_first = wire[:1] + bytes((wire[1] | 0x80, 0)) + wire[2:]
        yield Dialogue(
            "first length of two bytes for one",
            version,
            (padded_first,),
            no_entry(5, 0x81) if version == 5 else OPENING,
            bare=True,
        )
        yield Dialogue(
            "length of two bytes for 0 right behind the first packet",
            version,
            (wire + PINGREQ + b"\xc0\x80\x00",),
            Outcome((*OPENING.hear, "PINGRESP", *padded.hear), padded.close),
            bare=True,
        )
    yield Dialogue("first length of five bytes", 5, (b"\x10\x80\x80\x80\x80\x00",), SILENTLY_CLOSED, bare=True)
    yield Dialogue("first length of the most", 5, (b"\x10\xff\xff\xff\x7f",), Outcome((), TOO_BIG), bare=True)


def _ids() -> Iterator[Dialogue]:
    """Packet identifier 0 [2.2.1]."""
    for version in VERSIONS:
        for name, wire in (
            ("publish of qos 1", publish(version, "t", b"x", 1, 0)),
            ("publish of qos 2", publish(version, "t", b"x", 2, 0)),
            ("puback", acknowledge(PUBACK, 0)),
            ("pubrec", acknowledge(PUBREC, 0)),
            ("pubrel", acknowledge(PUBREL, 0)),
            ("pubcomp", acknowledge(PUBCOMP, 0)),
            ("subscribe", subscribe(version, 0, ("t", 0))),
            ("unsubscribe", unsubscribe(version, 0, "t")),
        ):
            yield Dialogue(f"{name} of packet id 0", version, (wire,), fault(version, 0x82))
    for name, first in (("puback", PUBACK), ("pubrec", PUBREC), ("pubrel", PUBREL), ("pubcomp", PUBCOMP)):
        yield Dialogue(
            f"{name} of packet id 0 with a code",
            5,
            (acknowledge(first, 0, 0x92 if first in (PUBREL, PUBCOMP) else 0x80),),
            fault(5, 0x82),
        )


def _codes() -> Iterator[Dialogue]:
    """Codes that a packet may not have, of nobody and of other packets [2.4]."""
    strange = {
        PUBACK: (0x01, 0x18, 0x7F, 0x81, 0x8F, 0x92, 0xA2, 0xFF),
        PUBREC: (0x01, 0x18, 0x7F, 0x81, 0x8F, 0x92, 0xA2, 0xFF),
        PUBREL: (0x01, 0x10, 0x80, 0x91, 0xFF),
        PUBCOMP: (0x01, 0x10, 0x80, 0x91, 0xFF),
    }
    for first, codes in strange.items():
        for code in codes:
            wire = acknowledge(first, _ID, code)
            yield Dialogue(f"first byte {first:#x} of code {code:02x}", 5, (wire,), fault(5, 0x82))
    for code in (
        0x01,
        0x02,
        0x10,
        0x18,
        0x7F,
        0x84,
        0x87,
        0x89,
        0x8B,
        0x8D,
        0x8E,
        0x8F,
        0x9A,
        0x9E,
        0xA0,
        0xA2,
        0xA3,
        0xFF,
    ):
        yield Dialogue(f"disconnect of code {code:02x}", 5, (disconnect(code),), fault(5, 0x82))
    for options in (0x03, 0x07, 0x30, 0x32):
        wire = subscribe(5, _ID, ("t", options))
        yield Dialogue(f"subscribe with options {options:#x}", 5, (wire,), fault(5, 0x82))
    for options in (0x40, 0x80, 0xC0, 0xFF):
        wire = subscribe(5, _ID, ("t", options))
        yield Dialogue(f"subscribe with options {options:#x}", 5, (wire,), fault(5, 0x81))
    for options in (0x03, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF):
        wire = subscribe(4, _ID, ("t", options))
        yield Dialogue(f"subscribe with options {options:#x}", 4, (wire,), SILENTLY_CLOSED)
        wire = subscribe(4, _ID, ("a", 0), ("t", options))
        yield Dialogue(f"subscribe with options {options:#x} later", 4, (wire,), SILENTLY_CLOSED)


# Text.

_NO_TEXT: Final = {
    "no text": b"\xff",
    "an overlong null": b"\xc0\x80",
    "an overlong slash": b"\xe0\x80\xaf",
    "a surrogate": b"\xed\xa0\x80",
    "a pair of surrogates": b"\xed\xa0\xbd\xed\xb8\x80",
    "half a character": b"a\xe2\x82",
    "a character beyond the last": b"\xf4\x90\x80\x80",
    "a byte of a character": b"a\x80",
    "a null": b"a\x00b",
}


def _texts() -> Iterator[Dialogue]:
    """Every field that is text, with every kind of what is none [1.5.4]."""
    for name, data in _NO_TEXT.items():
        bad = binary(data)
        pair = (b"\x26" + bad + text("v"), b"\x26" + text("n") + bad)
        for version in VERSIONS:
            said: tuple[bytes, ...] = () if version == 4 else (b"\x00",)
            entries = (
                ("client id", _bare_connect(version, 0x02, *said, bad)),
                ("user name", _bare_connect(version, 0x82, *said, text("c"), bad)),
                ("will topic", _bare_connect(version, 0x06, *said, text("c"), *said, bad, binary(b""))),
            )
            for field, wire in entries:
                yield _entry(f"with {name} as {field}", wire, no_entry(version, 0x81 if version == 5 else 0))
            rows = (
                ("topic of qos 0", whole(0x30, bad, *said)),
                ("topic of qos 1", whole(0x32, bad, two(_ID), *said)),
                ("filter", whole(0x82, two(_ID), *said, bad, b"\x00")),
                ("second filter", whole(0x82, two(_ID), *said, text("t"), b"\x00", bad, b"\x00")),
                ("filter to end", whole(0xA2, two(_ID), *said, bad)),
            )
            for field, wire in rows:
                yield Dialogue(f"{name} as {field}", version, (wire,), fault(version, 0x81))
        for field, item in (("method", b"\x15" + bad), ("user property's name", pair[0]), ("user property", pair[1])):
            yield _entry(f"with {name} as {field}", connect(5, "c", said=(item,)), no_entry(5, 0x81))
        for field, item in (
            ("content type", b"\x03" + bad),
            ("response topic", b"\x08" + bad),
            ("name", pair[0]),
            ("value", pair[1]),
        ):
            will = Will("w", said=(item,))
            yield _entry(f"with {name} as {field} of its will", connect(5, "c", will=will), no_entry(5, 0x81))
            yield Dialogue(f"publish with {name} as {field}", 5, (publish(5, "t", said=(item,)),), fault(5, 0x81))
        for field, item in (("reason", b"\x1f" + bad), ("name", pair[0]), ("value", pair[1])):
            for kind, first in (("puback", PUBACK), ("pubrec", PUBREC), ("pubrel", PUBREL), ("pubcomp", PUBCOMP)):
                wire = acknowledge(first, _ID, 0, item)
                yield Dialogue(f"{kind} with {name} as {field}", 5, (wire,), fault(5, 0x81))
            yield Dialogue(f"disconnect with {name} as {field}", 5, (disconnect(0, item),), fault(5, 0x81))
        for field, item in (("name", pair[0]), ("value", pair[1])):
            wire = subscribe(5, _ID, ("t", 0), said=(item,))
            yield Dialogue(f"subscribe with {name} as {field}", 5, (wire,), fault(5, 0x81))
            wire = unsubscribe(5, _ID, "t", said=(item,))
            yield Dialogue(f"unsubscribe with {name} as {field}", 5, (wire,), fault(5, 0x81))


# Properties.

_VALUES: Final = {
    0x01: b"\x01",
    0x02: four(60),
    0x03: text("text/plain"),
    0x08: text("answers"),
    0x09: binary(b"\x00\xff"),
    0x0B: b"\x81\x01",
    0x11: four(0),
    0x12: text("abc"),
    0x13: two(60),
    0x15: text("m"),
    0x16: binary(b"d"),
    0x17: b"\x01",
    0x18: four(1),
    0x19: b"\x01",
    0x1A: text("answers/"),
    0x1C: text("other"),
    0x1F: text("why"),
    0x21: two(20),
    0x22: two(10),
    0x23: two(1),
    0x24: b"\x01",
    0x25: b"\x01",
    0x26: text("name") + text("value"),
    0x27: four(1 << 20),
    0x28: b"\x01",
    0x29: b"\x01",
    0x2A: b"\x01",
}
"""One good value of each [2.2.2.2]."""

_MAY_HAVE: Final = {
    "connect": {0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27},
    "will": {0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26},
    "publish": {0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x23, 0x26},
    "puback": {0x1F, 0x26},
    "pubrec": {0x1F, 0x26},
    "pubrel": {0x1F, 0x26},
    "pubcomp": {0x1F, 0x26},
    "subscribe": {0x0B, 0x26},
    "unsubscribe": {0x26},
    "disconnect": {0x11, 0x1C, 0x1F, 0x26},
    "auth": {0x15, 0x16, 0x1F, 0x26},
}

_ANSWERS_OF_GOOD: Final = {
    "connect": OPENING,
    "will": OPENING,
    "publish": heard(f"PUBACK {_ID} 00"),
    "puback": GOES_ON,
    "pubrec": heard(f"PUBREL {_ID} 92"),
    "pubrel": heard(f"PUBCOMP {_ID} 92"),
    "pubcomp": GOES_ON,
    "subscribe": heard(f"SUBACK {_ID} 01"),
    "unsubscribe": heard(f"UNSUBACK {_ID} 11"),
    "disconnect": LEFT,
    "auth": fault(5, 0x82),
}


def _with(kind: str, *said: bytes) -> bytes:
    """A packet of 5.0 with these properties."""
    match kind:
        case "connect":
            return connect(5, "c", said=said)
        case "will":
            return connect(5, "c", will=Will("w", said=said))
        case "publish":
            return publish(5, "t", b"x", 1, _ID, said=said)
        case "subscribe":
            return subscribe(5, _ID, ("t", 1), said=said)
        case "unsubscribe":
            return unsubscribe(5, _ID, "t", said=said)
        case "disconnect":
            return whole(0xE0, b"\x00", properties(*said))
        case "auth":
            return whole(0xF0, b"\x18", properties(*said))
    first = {"puback": PUBACK, "pubrec": PUBREC, "pubrel": PUBREL, "pubcomp": PUBCOMP}[kind]
    return whole(first, two(_ID), b"\x00", properties(*said))


def _property_row(kind: str, name: str, said: tuple[bytes, ...], code: int | None) -> Dialogue:
    """`code`: of the fault; None if it is none."""
    early = kind in ("connect", "will")
    refused = no_entry if early else fault
    outcome = _ANSWERS_OF_GOOD[kind] if code is None else refused(5, code)
    return Dialogue(f"{kind} with {name}", 5, (_with(kind, *said),), outcome, bare=early)


_SPECIAL: Final[Mapping[tuple[str, int], int]] = {
    ("connect", 0x15): 0x8C,  # no method is known here
    ("connect", 0x16): 0x82,  # data of no method [3.1.2.11.10]
    ("publish", 0x0B): 0x82,  # a server's [3.3.2.3.8]
}
"""Properties that a packet may have, but not here."""

_TOPIC_ALIAS: Final = ("publish", 0x23)
"""In the mode azure the CONNACK allows none."""


def _property_rows() -> Iterator[Dialogue]:
    for kind, allowed in _MAY_HAVE.items():
        for identifier, value in _VALUES.items():
            item = bytes((identifier,)) + value
            name = f"property {identifier:#04x}"
            if identifier not in allowed:
                # Malformed by the letter [2.2.2.2]; a protocol error to most brokers, and to the service.
                yield _property_row(kind, name, (item,), 0x82)
                yield _property_row(kind, f"{name} cut off", (item[:1],), 0x81)
                continue
            row = _property_row(kind, name, (item,), _SPECIAL.get((kind, identifier)))
            yield row._replace(azure=fault(5, 0x94)) if (kind, identifier) == _TOPIC_ALIAS else row
            twice = None if identifier == 0x26 else 0x82
            yield _property_row(kind, f"{name} twice", (item, item), twice)
            yield _property_row(kind, f"{name} twice and another between", (item, _USER, item), twice)
            for size in range(len(value)):
                if kind == "auth" or (identifier == 0x0B and not size):
                    continue
                yield _property_row(kind, f"{name} cut after {size} bytes", (item[: 1 + size],), 0x81)
        for identifier in (0x00, 0x04, 0x07, 0x0A, 0x14, 0x1B, 0x1E, 0x20, 0x2B, 0x7F):
            yield _property_row(kind, f"unknown property {identifier:#04x}", (bytes((identifier, 0, 0, 0, 0)),), 0x81)
        yield _property_row(kind, "an identifier of two bytes", (b"\x80\x01\x00",), 0x81)
        yield _property_row(kind, "an identifier in a long form", (b"\xa6\x00" + _USER[1:],), 0x81)
        yield _property_row(kind, "a good property and an unknown one", (_USER, b"\x05\x00"), 0x81)
    for kind, name, item, code in (
        ("connect", "a receive maximum of 0", b"\x21\x00\x00", 0x82),
        ("connect", "a maximum packet size of 0", b"\x27" + four(0), 0x82),
        ("connect", "a half request for problems", b"\x17\x02", 0x82),
        ("connect", "a whole byte of request for problems", b"\x17\xff", 0x82),
        ("connect", "a half request for responses", b"\x19\x02", 0x82),
        ("will", "a strange format", b"\x01\x02", 0x82),
        ("will", "a response topic of wildcards", b"\x08" + text("a/+"), 0x82),
        ("will", "an empty response topic", b"\x08" + text(""), 0x82),  # no topic is empty [4.7.3]
        ("publish", "an empty response topic", b"\x08" + text(""), 0x82),
        ("publish", "a strange format", b"\x01\x02", 0x82),
        ("publish", "the strangest format", b"\x01\xff", 0x82),
        ("publish", "a response topic of wildcards", b"\x08" + text("#"), 0x82),
        ("publish", "topic alias 0", b"\x23\x00\x00", 0x94),
        ("publish", "the last topic alias", b"\x23\xff\xff", 0x94),
        ("publish", "subscription identifier 0", b"\x0b\x00", 0x82),
        ("subscribe", "subscription identifier 0", b"\x0b\x00", 0x82),
        ("subscribe", "an identifier of five bytes", b"\x0b\x80\x80\x80\x80\x01", 0x81),
        ("subscribe", "an identifier longer than it has to be", b"\x0b\x81\x00", 0x81),
        ("disconnect", "an expiry after none", b"\x11" + four(1), 0x82),
    ):
        yield _property_row(kind, name, (item,), code)
    # Lengths of properties [2.2.2.1].
    for name, stated in (
        ("more than there is", b"\x7f"),
        ("the most", b"\xff\xff\xff\x7f"),
        ("five bytes", b"\x80\x80\x80\x80\x01"),
        ("two bytes for 0", b"\x80\x00"),
    ):
        for kind, head, tail in (
            ("publish", b"\x32\x00" + text("t") + two(_ID), b"x"),
            ("subscribe", b"\x82\x00" + two(_ID), text("t") + b"\x01"),
            ("unsubscribe", b"\xa2\x00" + two(_ID), text("t")),
            ("puback", b"\x40\x00" + two(_ID) + b"\x00", b""),
            ("disconnect", b"\xe0\x00\x00", b""),
        ):
            wire = whole(head[0], head[2:], stated, tail)
            yield Dialogue(f"{kind} with properties of {name}", 5, (wire,), fault(5, 0x81))
        wire = _bare_connect(5, 0x02, stated, text("c"))
        yield _entry(f"with properties of {name}", wire, no_entry(5, 0x81))
    # Topic aliases [3.3.2.3.4]: 16 of them are offered, or none.
    for name, alias, topics, ended in (
        ("an alias alone", 1, ("",), 0x82),
        ("the alias of another topic alone", 2, ("",), 0x82),
        ("the highest alias", 16, ("t", ""), None),
        ("an alias that is higher", 17, ("t",), 0x94),
        ("an alias for one topic and then for another", 1, ("t", "", "u", ""), None),
    ):
        wires = tuple(publish(5, topic, b"x", said=(b"\x23" + two(alias),)) for topic in topics)
        yield Dialogue(f"publish to {name}", 5, wires, GOES_ON if ended is None else fault(5, ended), fault(5, 0x94))


# What is right at another time.


def _states() -> Iterator[Dialogue]:
    for version in VERSIONS:
        for name, wire in (
            ("publish", publish(version, "t", b"x")),
            ("publish of qos 1", publish(version, "t", b"x", 1, _ID)),
            ("puback", acknowledge(PUBACK, _ID)),
            ("pubrec", acknowledge(PUBREC, _ID)),
            ("pubrel", acknowledge(PUBREL, _ID)),
            ("pubcomp", acknowledge(PUBCOMP, _ID)),
            ("subscribe", subscribe(version, _ID, ("t", 0))),
            ("unsubscribe", unsubscribe(version, _ID, "t")),
            ("pingreq", PINGREQ),
            ("disconnect", b"\xe0\x00"),
            ("auth", b"\xf0\x00"),
            ("connack", b"\x20\x02\x00\x00"),
            ("nothing", b"\x00\x00"),
        ):
            # Nothing can be said to somebody whose version is not known [3.1.0-1].
            yield Dialogue(f"{name} before a connect", version, (wire, connect(version)), SILENTLY_CLOSED, bare=True)
        yield Dialogue("connect again", version, (connect(version),), fault(version, 0x82))
        yield Dialogue("connect again in other words", version, (connect(9 - version, "other"),), fault(version, 0x82))
        yield Dialogue(
            "connect and what follows at once",
            version,
            (connect(version) + PINGREQ + publish(version, "t", b"x", 1, _ID),),
            heard(*OPENING.hear, "PINGRESP", acknowledged("PUBACK", version)),
            bare=True,
        )
        yield Dialogue(
            "connect twice at once",
            version,
            (connect(version, "c") + connect(version, "c") + PINGREQ,),
            Outcome((*OPENING.hear, *fault(version, 0x82).hear), fault(version, 0x82).close),
            bare=True,
        )
        yield Dialogue(
            "everything at once",
            version,
            (
                connect(version, "c", will=Will("w"))
                + subscribe(version, 1, ("once", 1), ("once/more", 0))
                + publish(version, "once", b"x", 2, 2)
                + unsubscribe(version, 3, "once")
                + publish(version, "once", b"y", 1, 4)
                + publish(version, "once/more", b"z")
                + PINGREQ
                + b"\xe0\x00"
                + publish(version, "once/more", b"too late"),
            ),
            Outcome(
                (
                    *OPENING.hear,
                    "SUBACK 1 01 00",
                    "PUBLISH once 1 x",
                    acknowledged("PUBREC", version, packet_id=2),
                    acknowledged("UNSUBACK", version, packet_id=3),
                    acknowledged("PUBACK", version, packet_id=4),
                    "PUBLISH once/more 0 z",
                    "PINGRESP",
                ),
                NORMAL,
            ),
            bare=True,
        )
        yield Dialogue(
            "connect and disconnect at once",
            version,
            (connect(version, "c", clean=False) + b"\xe0\x00" + PINGREQ,),
            Outcome(OPENING.hear, NORMAL),
            bare=True,
        )
        yield Dialogue(
            "subscribe anew behind its end at once",
            version,
            (
                subscribe(version, 1, ("anew", 2))
                + unsubscribe(version, 2, "anew")
                + subscribe(version, 3, ("anew", 0))
                + publish(version, "anew", b"x", 1, 4),
            ),
            heard(
                "SUBACK 1 02",
                acknowledged("UNSUBACK", version, packet_id=2),
                "SUBACK 3 00",
                "PUBLISH anew 0 x",
                acknowledged("PUBACK", version, packet_id=4),
            ),
        )
        # What a client says of a flow that is not there ends no other.
        yield Dialogue(
            "flow of qos 2 with what belongs to others in between",
            version,
            (
                publish(version, "t", b"", 2, _ID),
                acknowledge(PUBACK, _ID),
                acknowledge(PUBCOMP, _ID),
                publish(version, "t", b"", 2, _ID, dup=True),
                acknowledge(PUBREL, _ID),
                publish(version, "t", b"", 1, _ID),
            ),
            heard(
                acknowledged("PUBREC", version),
                acknowledged("PUBREC", version),
                acknowledged("PUBCOMP", version),
                acknowledged("PUBACK", version),
            ),
        )
        yield Dialogue(
            "subscribe of the id of a message to the client",
            version,
            (
                subscribe(version, 7, ("ids", 1)),
                publish(version, "ids", b"x", 1, 7),
                subscribe(version, 1, ("ids", 1)),
                publish(version, "ids", b"y", 1, 1),
            ),
            # Each side has identifiers of its own [2.2.1].
            heard(
                "SUBACK 7 01",
                "PUBLISH ids 1 x",
                acknowledged("PUBACK", version, packet_id=7),
                "SUBACK 1 01",
                "PUBLISH ids 1 y",
                acknowledged("PUBACK", version, packet_id=1),
            ),
        )
        yield Dialogue(
            "connect refused and what follows at once",
            version,
            (connect(version, "a/b") + publish(version, "t", b"x", 1, _ID) + PINGREQ,),
            no_entry(version, 0x85 if version == 5 else 2),
            bare=True,
        )
        yield Dialogue(
            "good packets before a bad one",
            version,
            (PINGREQ + publish(version, "t", b"", 1, _ID) + b"\xc1\x00" + PINGREQ,),
            Outcome(
                ("PINGRESP", acknowledged("PUBACK", version), *fault(version, 0x81).hear), fault(version, 0x81).close
            ),
        )
    # An answer has a code for each filter, and is never larger than the client takes [3.1.2.11.4].
    small = connect(5, "small", said=(b"\x27" + four(64),))
    for count, more in ((59, False), (60, True)):
        names = tuple(f"t{number}" for number in range(count))
        yield Dialogue(
            f"subscribe with an answer {'too large' if more else 'as large as may be'}",
            5,
            (small, subscribe(5, _ID, *((name, 1) for name in names))),
            Outcome((*OPENING.hear, "DISCONNECT 95"), NORMAL)
            if more
            else heard(*OPENING.hear, f"SUBACK {_ID}" + " 01" * count),
            bare=True,
        )
        yield Dialogue(
            f"unsubscribe with an answer {'too large' if more else 'as large as may be'}",
            5,
            (small, unsubscribe(5, _ID, *names)),
            Outcome((*OPENING.hear, "DISCONNECT 95"), NORMAL)
            if more
            else heard(*OPENING.hear, f"UNSUBACK {_ID}" + " 11" * count),
            bare=True,
        )
    # An identifier that an open publication has [2.2.1]. 3.1.1 has no word for it.
    opened, pubrec = publish(5, "t", b"", 2, _ID), f"PUBREC {_ID} 00"
    for name, wire, answer in (
        ("publish of qos 1", publish(5, "t", b"", 1, _ID), f"PUBACK {_ID} 91"),
        ("subscribe", subscribe(5, _ID, ("a", 0), ("b", 1)), f"SUBACK {_ID} 91 91"),
        ("unsubscribe", unsubscribe(5, _ID, "a", "b"), f"UNSUBACK {_ID} 91 91"),
    ):
        yield Dialogue(
            f"{name} of an id in use",
            5,
            (opened, wire, acknowledge(PUBREL, _ID), publish(5, "t", b"", 1, _ID)),
            heard(pubrec, answer, f"PUBCOMP {_ID} 00", f"PUBACK {_ID} 00"),
        )
    opened, pubrec = publish(4, "t", b"", 2, _ID), f"PUBREC {_ID}"
    for name, wire in (
        ("publish of qos 1", publish(4, "t", b"", 1, _ID)),
        ("unsubscribe", unsubscribe(4, _ID, "a", "b")),
    ):
        yield Dialogue(f"{name} of an id in use", 4, (opened, wire), Outcome((pubrec,), PROTOCOL_ERROR))
    wire = subscribe(4, _ID, ("a", 0), ("b", 1))
    yield Dialogue("subscribe of an id in use", 4, (opened, wire), heard(pubrec, f"SUBACK {_ID} 80 80"))
    # Flow control [3.3.4, 4.9]: 3.1.1 knows none, but no server keeps everything.
    numbers = range(1, RECEIVE_MAXIMUM + 1)
    older = tuple(publish(4, "t", b"", 2, number) for number in numbers)
    yield Dialogue("as many open as may be", 4, older, heard(*(f"PUBREC {number}" for number in numbers)))
    yield Dialogue(
        "one open too many",
        4,
        (*older, publish(4, "t", b"", 2, RECEIVE_MAXIMUM + 1)),
        Outcome(tuple(f"PUBREC {number}" for number in numbers), PROTOCOL_ERROR),
    )
    open_ones = tuple(publish(5, "t", b"", 2, number) for number in range(1, RECEIVE_MAXIMUM + 1))
    answers = tuple(f"PUBREC {number} 00" for number in range(1, RECEIVE_MAXIMUM + 1))
    yield Dialogue("as many open as may be", 5, open_ones, Outcome(answers))
    yield Dialogue(
        "one open too many",
        5,
        (*open_ones, publish(5, "t", b"", 2, RECEIVE_MAXIMUM + 1)),
        Outcome((*answers, "DISCONNECT 93"), NORMAL),
    )
    yield Dialogue(
        "one open too many of qos 1",
        5,
        (*open_ones, publish(5, "t", b"", 1, RECEIVE_MAXIMUM + 1)),
        Outcome((*answers, "DISCONNECT 93"), NORMAL),
    )
    yield Dialogue(
        "as many open as may be and qos 0",
        5,
        (*open_ones, *[publish(5, "t")] * 3, open_ones[0]),
        Outcome((*answers, answers[0])),
    )
    yield Dialogue(
        "one closed before another is opened",
        5,
        (*open_ones, acknowledge(PUBREL, 1), publish(5, "t", b"", 2, 100)),
        Outcome((*answers, "PUBCOMP 1 00", "PUBREC 100 00")),
    )
    yield Dialogue(
        "as many open as may be again and again",
        5,
        tuple(publish(5, "t", b"", 1, number) for number in range(1, 10 * RECEIVE_MAXIMUM)),
        Outcome(tuple(f"PUBACK {number} 00" for number in range(1, 10 * RECEIVE_MAXIMUM))),
    )


# What a client without any role gets.


def _denied(version: int) -> Iterator[Dialogue]:
    def row(name: str, say: tuple[bytes, ...], outcome: Outcome, azure: Outcome | None = None) -> Dialogue:
        return Dialogue(f"{name} without a role", version, say, outcome, azure, denied=True)

    refused, unsupported = (0x87, 0xA2) if version == 5 else (0x80, 0x80)
    yield row(
        "subscribe",
        (subscribe(version, _ID, ("t", 2), ("$webpubsub/server/messages", 1), ("#", 0)),),
        heard(f"SUBACK {_ID} {refused:02x} 01 {refused:02x}"),
        azure=heard(f"SUBACK {_ID} {refused:02x} 01 {unsupported:02x}"),
    )
    yield row("unsubscribe", (unsubscribe(version, _ID, "t"),), heard(acknowledged("UNSUBACK", version, 0x87)))
    yield row(
        "unsubscribe from a filter",
        (unsubscribe(version, _ID, "t/+"),),
        heard(acknowledged("UNSUBACK", version, 0x87)),
        azure=heard(acknowledged("UNSUBACK", version, 0x11)),
    )
    # No fault of the packet: 3.1.1 is closed without one, too.
    yield row(
        "publish of qos 0",
        (publish(version, "t", b"x"), PINGREQ),
        fault(5, 0x87) if version == 5 else LEFT,
    )
    puback, pubrec = acknowledged("PUBACK", version, 0x87), acknowledged("PUBREC", version, 0x87)
    yield row("publish of qos 1", (publish(version, "t", b"x", 1, _ID),), heard(puback))
    # A PUBREC that refuses ends the flow in 5.0; in 3.1.1, which has none, it goes to its end [4.3.3].
    yield row(
        "publish of qos 2",
        (publish(version, "t", b"x", 2, _ID), acknowledge(PUBREL, _ID)),
        heard(pubrec, acknowledged("PUBCOMP", version, 0x92)),
    )
    yield row(
        "many publications",
        tuple(publish(version, "t", b"x", 1 + number % 2, number) for number in range(1, 2 * RECEIVE_MAXIMUM)),
        heard(
            *(
                acknowledged(("PUBACK", "PUBREC")[number % 2], version, 0x87, number)
                for number in range(1, 2 * RECEIVE_MAXIMUM)
            )
        ),
    )


DIALOGUES: Final[Mapping[str, tuple[Dialogue, ...]]] = {
    "connects of 3.1.1": tuple(_connects(4)),
    "connects of 5.0": tuple(_connects(5)),
    "other connects": _OTHER_CONNECTS,
    "well-formed packets of 3.1.1": tuple(_well_formed(4)),
    "well-formed packets of 5.0": (*_well_formed(5), *_well_formed_5()),
    "topics and filters": (*_names(4), *_names(5)),
    "packets that are cut": tuple(_cuts()),
    "packets that are too long": tuple(_too_long()),
    "first bytes": tuple(_first_bytes()),
    "remaining lengths": tuple(_lengths()),
    "packet identifiers": tuple(_ids()),
    "codes and options": tuple(_codes()),
    "texts": tuple(_texts()),
    "properties": tuple(_property_rows()),
    "states": tuple(_states()),
    "without a role": (*_denied(4), *_denied(5)),
}
"""By what is tried. But for the last, the client may do everything."""
