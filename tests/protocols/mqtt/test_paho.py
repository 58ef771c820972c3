"""Our packets and those of a client that others wrote, paho-mqtt: each reads what the other one writes."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from hubwire.protocols.mqtt.packets import (
    Connack,
    Connect,
    Disconnect,
    Filter,
    Packet,
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
    decode,
    encode,
)
from hubwire.protocols.mqtt.reader import PacketReader

_MESSAGE: dict[str, Any] = {
    "payload_format": 1,
    "message_expiry_s": 3600,
    "content_type": "text/plain",
    "response_topic": "answers/é",
    "correlation_data": b"\x00\xff",
    "user_properties": (("a", "1"), ("a", "2")),
}


def _paho(packet_type: int, **values: Any) -> PahoProperties:
    properties = PahoProperties(packet_type)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


def _paho_message(packet_type: int, **others: Any) -> PahoProperties:
    return _paho(
        packet_type,
        PayloadFormatIndicator=1,
        MessageExpiryInterval=3600,
        ContentType="text/plain",
        ResponseTopic="answers/é",
        CorrelationData=b"\x00\xff",
        UserProperty=[("a", "1"), ("a", "2")],
        **others,
    )


class _Wired(Client):
    """A client whose server is this test."""

    def __init__(self, version: int) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            "client",
            clean_session=True if version == 4 else None,
            protocol=MQTTv311 if version == 4 else MQTTv5,
        )
        self.version = version
        self.heard: list[tuple[Any, ...]] = []
        self.reader = PacketReader(1 << 20)
        self.near, self.far = socket.socketpair()
        self.far.setblocking(False)
        self.on_connect = lambda _c, _u, flags, code, _p: self._note("connect", flags.session_present, code.value)
        self.on_subscribe = lambda _c, _u, mid, codes, _p: self._note("subscribe", mid, [code.value for code in codes])
        self.on_unsubscribe = lambda _c, _u, mid, codes, _p: self._note(
            "unsubscribe", mid, [code.value for code in codes]
        )
        self.on_publish = lambda _c, _u, mid, code, _p: self._note("publish", mid, code.value)
        self.on_disconnect = lambda _c, _u, _f, code, _p: self._note("disconnect", code.value)
        self.on_message = lambda _c, _u, message: self.heard.append(("message", message))

    def _create_socket(self) -> socket.socket:
        return self.near

    def end(self) -> None:
        self._reset_sockets()
        self.near.close()
        self.far.close()

    def _note(self, *what: Any) -> None:
        self.heard.append(what)

    def said(self) -> list[Packet]:
        """What it sent since it was asked last. Written again by us, it has the same length and means the same."""
        while self.want_write():
            self.loop_write()
        try:
            data = self.far.recv(1 << 20)
        except BlockingIOError:
            return []
        pieces = self.reader.feed(data)
        assert self.reader.fault is None
        packets = [decode(first, body, self.version) for first, body in pieces]
        assert sum(len(encode(packet, self.version)) for packet in packets) <= len(data)
        return packets

    def told(self, packet: Packet) -> list[tuple[Any, ...]]:
        """What it makes of a packet of ours."""
        self.far.sendall(encode(packet, self.version))
        self.loop_read()
        heard, self.heard = self.heard, []
        return heard


@pytest.fixture(params=[4, 5], ids=["v4", "v5"])
def client(request: pytest.FixtureRequest) -> Iterator[_Wired]:
    """Connected."""
    client = _Wired(request.param)
    client.connect("localhost", keepalive=30)
    assert client.said() == [Connect(client.version, "client", True, 30)]
    assert client.told(Connack(False)) == [("connect", False, 0)]
    yield client
    client.end()


@pytest.mark.parametrize("version", [4, 5])
def test_connect_with_all_it_may_have_is_read(version: int) -> None:
    client = _Wired(version)
    client.username_pw_set("user", "pässword")
    properties = Properties()
    if version == 5:
        client.will_set("t", b"gone", 1, True, _paho_message(PacketTypes.WILLMESSAGE, WillDelayInterval=5))
        will = Will("t", b"gone", 1, True, Properties(**_MESSAGE, will_delay_s=5))
        properties = Properties(
            session_expiry_s=30,
            receive_maximum=20,
            maximum_packet_size=4096,
            topic_alias_maximum=3,
            request_problem_information=0,
            request_response_information=1,
            authentication_method="m",
            authentication_data=b"d",
            user_properties=(("a", "1"),),
        )
        sent = _paho(
            PacketTypes.CONNECT,
            SessionExpiryInterval=30,
            ReceiveMaximum=20,
            MaximumPacketSize=4096,
            TopicAliasMaximum=3,
            RequestProblemInformation=0,
            RequestResponseInformation=1,
            AuthenticationMethod="m",
            AuthenticationData=b"d",
            UserProperty=("a", "1"),
        )
        client.connect("localhost", keepalive=30, clean_start=False, properties=sent)
    else:
        client.will_set("t", b"gone", 1, True)
        will = Will("t", b"gone", 1, True)
        client.connect("localhost", keepalive=30)

    assert client.said() == [
        Connect(version, "client", version == 4, 30, will, "user", "pässword".encode(), properties)
    ]
    client.end()


def test_refusal_is_understood() -> None:
    """Of both versions, with the code that each has for it."""
    for version, code in ((4, 5), (5, 0x87)):
        client = _Wired(version)
        client.connect("localhost")
        client.said()
        [(what, present, heard), *_] = client.told(Connack(False, code, Properties(reason_string="no")))

        assert (what, present, heard) == ("connect", False, 0x87)
        client.end()


def test_publish_of_each_qos_is_acknowledged(client: _Wired) -> None:
    """The client takes our answers for what they are."""
    sent = _paho_message(PacketTypes.PUBLISH) if client.version == 5 else None
    properties = Properties(**_MESSAGE) if client.version == 5 else Properties()
    for qos in (0, 1, 2):
        client.publish("a/é", b"\x00" * 200, qos, True, sent)
    first, second = 2, 3

    assert client.said() == [
        Publish("a/é", bytes(200), 0, True, properties=properties),
        Publish("a/é", bytes(200), 1, True, packet_id=first, properties=properties),
        Publish("a/é", bytes(200), 2, True, packet_id=second, properties=properties),
    ]
    client.heard = []
    code = 0x10 if client.version == 5 else 0
    assert client.told(Puback(first, code)) == [("publish", first, code)]
    assert client.told(Pubrec(second)) == []
    assert client.said() == [Pubrel(second)]
    assert client.told(Pubcomp(second)) == [("publish", second, 0)]


def test_message_of_each_qos_is_received(client: _Wired) -> None:
    """With all of its properties, in order."""
    properties = Properties(**_MESSAGE, subscription_ids=(1, 300)) if client.version == 5 else Properties()
    for qos in (0, 1, 2):
        message = Publish("a/é", b"\xff" * 300, qos, packet_id=7 if qos else None, properties=properties)
        heard = client.told(message)
        if qos == 1:
            assert client.said() == [Puback(7)]
        elif qos == 2:
            assert client.said() == [Pubrec(7)]
            heard += client.told(Pubrel(7))
            assert client.said() == [Pubcomp(7)]
        [(what, received)] = heard
        assert what == "message"
        assert isinstance(received, MQTTMessage)
        assert (received.topic, received.payload, received.qos) == ("a/é", b"\xff" * 300, qos)
        if client.version == 5:
            assert received.properties is not None
            values = received.properties.json()  # type: ignore[no-untyped-call]
            assert values == {
                "PayloadFormatIndicator": 1,
                "MessageExpiryInterval": 3600,
                "ContentType": "text/plain",
                "ResponseTopic": "answers/é",
                "CorrelationData": "00ff",
                "SubscriptionIdentifier": [1, 300],
                "UserProperty": [("a", "1"), ("a", "2")],
            }


def test_subscription_is_asked_for_granted_and_ended(client: _Wired) -> None:
    gone: tuple[int, ...] = ()
    if client.version == 5:
        client.subscribe(
            [("a", SubscribeOptions(2, True, True, 1)), ("b/+", SubscribeOptions(0))],
            properties=_paho(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=300, UserProperty=("a", "1")),
        )
        filters = (Filter("a", 2, True, True, 1), Filter("b/+", 0))
        properties = Properties(subscription_ids=(300,), user_properties=(("a", "1"),))
        codes, gone = (2, 0xA2), (0, 0x11)
    else:
        client.subscribe([("a", 2), ("b/+", 0)])
        filters, properties = (Filter("a", 2), Filter("b/+", 0)), Properties()
        codes = (2, 0x80)

    assert client.said() == [Subscribe(1, filters, properties)]
    assert client.told(Suback(1, codes)) == [("subscribe", 1, list(codes))]
    client.unsubscribe(["a", "b/+"])
    assert client.said() == [Unsubscribe(2, ("a", "b/+"))]
    assert client.told(Unsuback(2, gone)) == [("unsubscribe", 2, list(gone))]


def test_goodbye_of_either_side_is_understood(client: _Wired) -> None:
    """With a code and a reason, which the older version does not have."""
    if client.version == 5:
        reason = Properties(reason_string="see you", user_properties=(("a", "1"),))
        assert client.told(Disconnect(0x98, reason)) == [("disconnect", 0x98)]
        return
    client.disconnect()
    assert client.said() == [Disconnect()]


def test_goodbye_of_a_client_keeps_its_code_and_properties() -> None:
    client = _Wired(5)
    client.connect("localhost")
    client.said()
    client.told(Connack(True))
    client.disconnect(
        ReasonCode(PacketTypes.DISCONNECT, identifier=4),
        _paho(PacketTypes.DISCONNECT, SessionExpiryInterval=0, ReasonString="bye", UserProperty=("a", "1")),
    )

    assert client.said() == [
        Disconnect(4, Properties(session_expiry_s=0, reason_string="bye", user_properties=(("a", "1"),)))
    ]
    client.end()
