"""
Why MQTT says no: the codes of both versions, and what whoever owns a device can do about each.

Source: OASIS MQTT 5.0, 2.4; OASIS MQTT 3.1.1, 3.2.2.3.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from hubwire.model.errors import ProtocolViolation

__all__ = ["ADVICE", "MqttViolation", "Reason", "ReturnCode", "return_code"]


class Reason(IntEnum):
    """
    The reason codes of MQTT 5.0. From 0x80 on they say that something failed.

    0x00 is also called "normal disconnection" and "granted QoS 0", depending on the packet.
    """

    SUCCESS = 0x00
    GRANTED_QOS_1 = 0x01
    GRANTED_QOS_2 = 0x02
    DISCONNECT_WITH_WILL = 0x04
    NO_MATCHING_SUBSCRIBERS = 0x10
    NO_SUBSCRIPTION_EXISTED = 0x11
    CONTINUE_AUTHENTICATION = 0x18
    REAUTHENTICATE = 0x19
    UNSPECIFIED_ERROR = 0x80
    MALFORMED_PACKET = 0x81
    PROTOCOL_ERROR = 0x82
    IMPLEMENTATION_ERROR = 0x83
    UNSUPPORTED_PROTOCOL_VERSION = 0x84
    CLIENT_ID_NOT_VALID = 0x85
    BAD_USER_NAME_OR_PASSWORD = 0x86
    NOT_AUTHORIZED = 0x87
    SERVER_UNAVAILABLE = 0x88
    SERVER_BUSY = 0x89
    BANNED = 0x8A
    SERVER_SHUTTING_DOWN = 0x8B
    BAD_AUTHENTICATION_METHOD = 0x8C
    KEEP_ALIVE_TIMEOUT = 0x8D
    SESSION_TAKEN_OVER = 0x8E
    TOPIC_FILTER_INVALID = 0x8F
    TOPIC_NAME_INVALID = 0x90
    PACKET_ID_IN_USE = 0x91
    PACKET_ID_NOT_FOUND = 0x92
    RECEIVE_MAXIMUM_EXCEEDED = 0x93
    TOPIC_ALIAS_INVALID = 0x94
    PACKET_TOO_LARGE = 0x95
    MESSAGE_RATE_TOO_HIGH = 0x96
    QUOTA_EXCEEDED = 0x97
    ADMINISTRATIVE_ACTION = 0x98
    PAYLOAD_FORMAT_INVALID = 0x99
    RETAIN_UNSUPPORTED = 0x9A
    QOS_UNSUPPORTED = 0x9B
    USE_ANOTHER_SERVER = 0x9C
    SERVER_MOVED = 0x9D
    SHARED_SUBSCRIPTIONS_UNSUPPORTED = 0x9E
    CONNECTION_RATE_EXCEEDED = 0x9F
    MAXIMUM_CONNECT_TIME = 0xA0
    SUBSCRIPTION_IDS_UNSUPPORTED = 0xA1
    WILDCARDS_UNSUPPORTED = 0xA2


class ReturnCode(IntEnum):
    """The return codes of a CONNACK of MQTT 3.1.1, which has no others."""

    ACCEPTED = 0
    UNACCEPTABLE_PROTOCOL_VERSION = 1
    IDENTIFIER_REJECTED = 2
    SERVER_UNAVAILABLE = 3
    BAD_USER_NAME_OR_PASSWORD = 4
    NOT_AUTHORIZED = 5


_RETURN_CODES: Final = {
    Reason.SUCCESS: ReturnCode.ACCEPTED,
    Reason.UNSUPPORTED_PROTOCOL_VERSION: ReturnCode.UNACCEPTABLE_PROTOCOL_VERSION,
    Reason.CLIENT_ID_NOT_VALID: ReturnCode.IDENTIFIER_REJECTED,
    Reason.BAD_USER_NAME_OR_PASSWORD: ReturnCode.BAD_USER_NAME_OR_PASSWORD,
    # What trying again later, or somewhere else, may mend.
    Reason.UNSPECIFIED_ERROR: ReturnCode.SERVER_UNAVAILABLE,
    Reason.IMPLEMENTATION_ERROR: ReturnCode.SERVER_UNAVAILABLE,
    Reason.SERVER_UNAVAILABLE: ReturnCode.SERVER_UNAVAILABLE,
    Reason.SERVER_BUSY: ReturnCode.SERVER_UNAVAILABLE,
    Reason.SERVER_SHUTTING_DOWN: ReturnCode.SERVER_UNAVAILABLE,
    Reason.MESSAGE_RATE_TOO_HIGH: ReturnCode.SERVER_UNAVAILABLE,
    Reason.QUOTA_EXCEEDED: ReturnCode.SERVER_UNAVAILABLE,
    Reason.USE_ANOTHER_SERVER: ReturnCode.SERVER_UNAVAILABLE,
    Reason.SERVER_MOVED: ReturnCode.SERVER_UNAVAILABLE,
    Reason.CONNECTION_RATE_EXCEEDED: ReturnCode.SERVER_UNAVAILABLE,
}


def return_code(reason: Reason) -> ReturnCode:
    """
    What a CONNACK of MQTT 3.1.1 says for a reason of 5.0.

    What has no code of its own there (a will's topic or payload, a ban, ...) is "not authorized" when the client would
    have to change for another answer, and "server unavailable" when it would not.
    """
    return _RETURN_CODES.get(reason, ReturnCode.NOT_AUTHORIZED)


ADVICE: Final[Mapping[Reason, str]] = {
    Reason.SUCCESS: "All is well.",
    Reason.GRANTED_QOS_1: "The subscription is granted, with QoS 1 at most.",
    Reason.GRANTED_QOS_2: "The subscription is granted, with QoS 2 at most.",
    Reason.DISCONNECT_WITH_WILL: "The device left and asked for its will to be published.",
    Reason.NO_MATCHING_SUBSCRIBERS: "The message was taken, but nothing is there to receive it.",
    Reason.NO_SUBSCRIPTION_EXISTED: "The device was not subscribed to this topic.",
    Reason.CONTINUE_AUTHENTICATION: "The authentication goes on with another AUTH packet.",
    Reason.REAUTHENTICATE: "The device wants to authenticate again.",
    Reason.UNSPECIFIED_ERROR: "Look into the log of the server, or of the event handler that refused, for the cause.",
    Reason.MALFORMED_PACKET: "The device sent bytes that are no MQTT packet; update its MQTT library.",
    Reason.PROTOCOL_ERROR: "The device sent what MQTT does not allow here; check how its MQTT library is used.",
    Reason.IMPLEMENTATION_ERROR: "Look into the log of the server for the cause, and try again.",
    Reason.UNSUPPORTED_PROTOCOL_VERSION: "Set the device's MQTT version to 3.1.1 or 5.0.",
    Reason.CLIENT_ID_NOT_VALID: (
        "Choose another client identifier: 1 to 128 characters, no `/`, `?`, `#`, `%` or control characters "
        "(mode azure: letters, digits and `_` only), used by nobody else."
    ),
    Reason.BAD_USER_NAME_OR_PASSWORD: "Correct the user name and password that the device sends.",
    Reason.NOT_AUTHORIZED: (
        "Give the device a token with the roles that this needs (`webpubsub.joinLeaveGroup` to subscribe, "
        "`webpubsub.sendToGroup` to publish), or let the event handler grant them."
    ),
    Reason.SERVER_UNAVAILABLE: "Check that the event handler runs and can be reached, then connect again.",
    Reason.SERVER_BUSY: "Connect again after a while.",
    Reason.BANNED: "Ask whoever runs the event handler why this device is banned.",
    Reason.SERVER_SHUTTING_DOWN: "Connect again; the server is being restarted.",
    Reason.BAD_AUTHENTICATION_METHOD: "Connect without an authentication method; tokens go into the URL or a header.",
    Reason.KEEP_ALIVE_TIMEOUT: "Let the device send a PINGREQ within its keep alive interval, or look at its network.",
    Reason.SESSION_TAKEN_OVER: "Give each device a client identifier of its own; another connection used this one.",
    Reason.TOPIC_FILTER_INVALID: "Subscribe to a topic of 1 to 1024 characters, without a leading `$`.",
    Reason.TOPIC_NAME_INVALID: "Publish to a topic of 1 to 1024 characters, without `+`, `#` and a leading `$`.",
    Reason.PACKET_ID_IN_USE: "Let the device use each packet identifier for one packet at a time.",
    Reason.PACKET_ID_NOT_FOUND: "The session that this packet belongs to is over; start with a clean one.",
    Reason.RECEIVE_MAXIMUM_EXCEEDED: (
        "Let the device wait for acknowledgements, with no more than `mqtt_receive_maximum` messages open at a time."
    ),
    Reason.TOPIC_ALIAS_INVALID: "Let the device send topics in full; an alias was 0, or above the CONNACK's maximum.",
    Reason.PACKET_TOO_LARGE: "Send smaller packets: at most `max_message_bytes`, in a will 2,000 bytes of payload.",
    Reason.MESSAGE_RATE_TOO_HIGH: "Let the device publish less often.",
    Reason.QUOTA_EXCEEDED: "A limit is reached: let the device read faster, use fewer groups, or raise the limit.",
    Reason.ADMINISTRATIVE_ACTION: "An operator or the application closed this connection.",
    Reason.PAYLOAD_FORMAT_INVALID: "Send a content type that is a valid media type, and a payload that agrees with it.",
    Reason.RETAIN_UNSUPPORTED: "Publish without the retain flag.",
    Reason.QOS_UNSUPPORTED: "Publish with a lower QoS.",
    Reason.USE_ANOTHER_SERVER: "Connect to the other server for now.",
    Reason.SERVER_MOVED: "Connect to the other server from now on.",
    Reason.SHARED_SUBSCRIPTIONS_UNSUPPORTED: "Subscribe to the topic itself, not to `$share/...`.",
    Reason.CONNECTION_RATE_EXCEEDED: "Let the device wait longer between its attempts to connect.",
    Reason.MAXIMUM_CONNECT_TIME: "Connect again; the time that this connection was given is over.",
    Reason.SUBSCRIPTION_IDS_UNSUPPORTED: "Subscribe without a subscription identifier.",
    Reason.WILDCARDS_UNSUPPORTED: "Subscribe to each topic by its full name, without `+` and `#`.",
}
"""One sentence for each code, for the owner of a device. It holds nothing of what anybody sent."""


class MqttViolation(ProtocolViolation):
    """
    A client broke MQTT.

    Args:
        code: what a CONNACK or DISCONNECT of 5.0 says; in 3.1.1 the connection is closed without a word.
        reason: generic text, safe to show to the peer and in a log; never a copy of what it sent.
        close_code: of the WebSocket, where no packet can say more.
    """

    def __init__(self, code: Reason, reason: str, close_code: int = 1002) -> None:
        super().__init__(reason, close_code)
        self.code = code
