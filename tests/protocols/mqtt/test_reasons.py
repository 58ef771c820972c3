"""The codes of both versions."""

import pytest

from hubwire.model.errors import ProtocolViolation
from hubwire.protocols.mqtt.reasons import ADVICE, MqttViolation, Reason, ReturnCode, return_code


def test_there_is_one_sentence_of_advice_for_each_reason() -> None:
    """And each its own: two codes that ask for the same would tell nothing."""
    assert set(ADVICE) == set(Reason)
    assert len(set(ADVICE.values())) == len(Reason)
    for advice in ADVICE.values():
        assert advice[0].isupper()
        assert advice.endswith(".")
        assert "\n" not in advice


def test_every_code_of_the_standard_is_there() -> None:
    """Source: OASIS MQTT 5.0, 2.4: 43 codes, all but 8 of them failures."""
    successes = {0x00, 0x01, 0x02, 0x04, 0x10, 0x11, 0x18, 0x19}

    assert {int(reason) for reason in Reason} == successes | set(range(0x80, 0xA3))


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.SUCCESS, 0),
        (Reason.UNSUPPORTED_PROTOCOL_VERSION, 1),
        (Reason.CLIENT_ID_NOT_VALID, 2),
        (Reason.SERVER_UNAVAILABLE, 3),
        (Reason.SERVER_BUSY, 3),
        (Reason.QUOTA_EXCEEDED, 3),
        (Reason.CONNECTION_RATE_EXCEEDED, 3),
        (Reason.BAD_USER_NAME_OR_PASSWORD, 4),
        (Reason.NOT_AUTHORIZED, 5),
        (Reason.BANNED, 5),
        (Reason.TOPIC_NAME_INVALID, 5),
        (Reason.PACKET_TOO_LARGE, 5),
    ],
)
def test_reason_has_a_return_code_in_the_older_version(reason: Reason, code: int) -> None:
    assert return_code(reason) == code


def test_only_success_is_accepted_in_the_older_version() -> None:
    for reason in Reason:
        assert (return_code(reason) is ReturnCode.ACCEPTED) == (reason is Reason.SUCCESS)


def test_violation_says_what_a_packet_and_a_socket_say() -> None:
    violation = MqttViolation(Reason.PROTOCOL_ERROR, "too early")

    assert isinstance(violation, ProtocolViolation)
    assert (violation.code, violation.reason, violation.close_code) == (0x82, "too early", 1002)
    assert str(violation) == "too early"
