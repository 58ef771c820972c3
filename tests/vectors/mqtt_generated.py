"""Any legal MQTT packet, for tests that hold for all of them."""

from collections.abc import Callable
from typing import Any, Final

from hypothesis import strategies as st

from hubwire.protocols.mqtt.packets import (
    CODES,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Filter,
    Packet,
    Pingreq,
    Pingresp,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
)
from hubwire.protocols.mqtt.properties import TABLE

__all__ = ["PACKETS", "VALUES", "packets"]

_TEXTS: Final = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
_TOPICS: Final = st.text(st.characters(codec="utf-8", exclude_characters="\0+#"), max_size=20)
_TOPIC_NAMES: Final = st.text(st.characters(codec="utf-8", exclude_characters="\0+#"), min_size=1, max_size=20)
_BYTES: Final = st.binary(max_size=20)
# Now and then longer than one byte of remaining length can say, and than two can.
_PAYLOADS: Final = st.one_of(_BYTES, _BYTES, st.binary(min_size=90, max_size=140), st.just(bytes(16_400)))
_IDS: Final = st.integers(1, 0xFFFF)
_TWO: Final = st.integers(0, 0xFFFF)
_FOUR: Final = st.integers(0, 0xFFFF_FFFF)
_FLAGS: Final = st.integers(0, 1)
_QOS: Final = st.integers(0, 2)

VALUES: Final[dict[str, st.SearchStrategy[Any]]] = {
    "payload_format": _FLAGS,
    "message_expiry_s": _FOUR,
    "content_type": _TEXTS,
    "response_topic": _TOPICS.filter(bool),
    "correlation_data": _BYTES,
    "subscription_ids": st.lists(st.integers(1, 268_435_455), min_size=1, max_size=3).map(tuple),
    "session_expiry_s": _FOUR,
    "assigned_client_id": _TEXTS,
    "server_keep_alive_s": _TWO,
    "authentication_method": _TEXTS,
    "authentication_data": _BYTES,
    "request_problem_information": _FLAGS,
    "will_delay_s": _FOUR,
    "request_response_information": _FLAGS,
    "response_information": _TEXTS,
    "server_reference": _TEXTS,
    "reason_string": _TEXTS,
    "receive_maximum": st.integers(1, 0xFFFF),
    "topic_alias_maximum": _TWO,
    "topic_alias": st.integers(1, 0xFFFF),
    "maximum_qos": _FLAGS,
    "retain_available": _FLAGS,
    "user_properties": st.lists(st.tuples(_TEXTS, _TEXTS), min_size=1, max_size=3).map(tuple),
    "maximum_packet_size": st.integers(1, 0xFFFF_FFFF),
    "wildcard_available": _FLAGS,
    "subscription_ids_available": _FLAGS,
    "shared_available": _FLAGS,
}
"""What each property may be, where it is there at all."""


def _properties(version: int, packet: int) -> st.SearchStrategy[Properties]:
    if version == 4:
        return st.just(Properties())
    values = {row.field: VALUES[row.field] for row in TABLE if packet in row.packets}
    if packet == 8:
        values["subscription_ids"] = values["subscription_ids"].map(lambda several: several[:1])
    return st.fixed_dictionaries({}, optional=values).map(_sound)


def _sound(values: dict[str, Any]) -> Properties:
    if "authentication_method" not in values:
        values.pop("authentication_data", None)
    return Properties(**values)


def _with_name(properties: Properties, method: str, code: int) -> Auth:
    """An AUTH has a method, unless it is empty."""
    if not code and properties == Properties():
        return Auth()
    values = {field: getattr(properties, field) for field in properties.__struct_fields__}
    return Auth(code, Properties(**{**values, "authentication_method": method}))


def _publish(packet: Publish, packet_id: int, topic: str) -> Publish:
    """With an identifier where there is one, and a topic where there is no alias."""
    return Publish(
        packet.topic if packet.properties.topic_alias is not None else topic,
        packet.payload,
        packet.qos,
        packet.retain,
        packet.dup and packet.qos > 0,
        packet_id if packet.qos else None,
        packet.properties,
    )


def _connack(packet: Connack) -> Connack:
    return Connack(packet.session_present and not packet.code, packet.code, packet.properties)


def _connect(packet: Connect) -> Connect:
    if packet.version == 5 or packet.username is not None or packet.password is None:
        return packet
    return Connect(packet.version, packet.client_id, packet.clean_start, packet.keep_alive_s, packet.will)


def _codes(version: int, packet: int) -> st.SearchStrategy[int]:
    return st.sampled_from(sorted(CODES[version][packet]))


def _acknowledgements(version: int, number: int, kind: Callable[..., Packet]) -> st.SearchStrategy[Packet]:
    codes = st.just(0) if version == 4 else _codes(version, number)
    return st.builds(kind, _IDS, codes, _properties(version, number))


def packets(version: int) -> st.SearchStrategy[Packet]:
    """Of this version, from either side."""
    filters: st.SearchStrategy[Filter] = (
        st.builds(Filter, _TEXTS, _QOS)
        if version == 4
        else st.builds(Filter, _TEXTS, _QOS, st.booleans(), st.booleans(), st.integers(0, 2))
    )
    wills = st.builds(Will, _TEXTS, _BYTES, _QOS, st.booleans(), _properties(version, 0))
    kinds: list[st.SearchStrategy[Packet]] = [
        st.builds(
            Connect,
            st.just(version),
            _TEXTS,
            st.booleans(),
            _TWO,
            st.none() | wills,
            st.none() | _TEXTS,
            st.none() | _BYTES,
            _properties(version, 1),
        ).map(_connect),
        st.builds(Connack, st.booleans(), _codes(version, 2), _properties(version, 2)).map(_connack),
        st.builds(
            _publish,
            st.builds(
                Publish,
                st.just(""),
                _PAYLOADS,
                _QOS,
                st.booleans(),
                st.booleans(),
                st.none(),
                _properties(version, 3),
            ),
            _IDS,
            _TOPIC_NAMES,
        ),
        _acknowledgements(version, 4, Puback),
        _acknowledgements(version, 5, Pubrec),
        _acknowledgements(version, 6, Pubrel),
        _acknowledgements(version, 7, Pubcomp),
        st.builds(Subscribe, _IDS, st.lists(filters, min_size=1, max_size=4).map(tuple), _properties(version, 8)),
        st.builds(
            Suback, _IDS, st.lists(_codes(version, 9), min_size=1, max_size=4).map(tuple), _properties(version, 9)
        ),
        st.builds(Unsubscribe, _IDS, st.lists(_TEXTS, min_size=1, max_size=4).map(tuple), _properties(version, 10)),
        st.builds(
            Unsuback,
            _IDS,
            st.just(()) if version == 4 else st.lists(_codes(version, 11), min_size=1, max_size=4).map(tuple),
            _properties(version, 11),
        ),
        st.just(Pingreq()),
        st.just(Pingresp()),
        st.builds(Disconnect, st.just(0) if version == 4 else _codes(version, 14), _properties(version, 14)),
    ]
    if version == 5:
        kinds.append(st.builds(_with_name, _properties(version, 15), _TEXTS, _codes(version, 15)))
    return st.one_of(kinds)


PACKETS: Final[st.SearchStrategy[tuple[int, Packet]]] = st.one_of(
    [st.tuples(st.just(version), packets(version)) for version in (4, 5)]
)
"""Version and packet."""
