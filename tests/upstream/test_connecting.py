"""What a handler is asked about a client, and what follows if it says no."""

from typing import Any

import msgspec
import pytest

from handlers import answer
from hubwire.upstream.cloudevents import BadResponse, ConnectVerdict
from hubwire.upstream.connecting import ConnectRequest
from hubwire.upstream.mqtt_events import MqttConnect, MqttRefusal

BY_CODE = {"mqtt": {"code": 135}}


def request(mqtt: MqttConnect | None = None) -> ConnectRequest:
    return ConnectRequest({"sub": "u"}, (("q", "1"),), (("Host", "h"),), ("a",), "a", None, lambda: True, mqtt)


DEVICE = request(MqttConnect(5, True))


def fields(of: ConnectRequest) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(of.body())
    return found


def test_body_is_that_of_the_kind_of_client() -> None:
    assert "mqtt" not in fields(request())
    assert (fields(request())["subprotocols"], fields(request())["clientCertificates"]) == (["a"], None)
    assert fields(DEVICE)["mqtt"]["protocolVersion"] == 5
    assert (fields(DEVICE)["subprotocols"], fields(DEVICE)["clientCertificates"]) == (["mqtt"], [])


@pytest.mark.parametrize(
    ("status", "body", "any_client", "device"),
    [
        (400, None, True, True),
        (499, None, True, True),
        (399, None, False, False),
        (500, None, False, False),
        (500, BY_CODE, False, True),
        (302, BY_CODE, False, True),
    ],
)
def test_refusal_is_a_status_of_400_to_499_and_for_mqtt_a_code_as_well(
    status: int, body: object, any_client: bool, device: bool
) -> None:
    response = answer(status, body)

    assert (request().is_refused(response), DEVICE.is_refused(response)) == (any_client, device)


def test_code_is_the_last_word_for_mqtt_only() -> None:
    assert DEVICE.is_refused_by_code(answer(500, BY_CODE))
    assert not DEVICE.is_refused_by_code(answer(400))
    assert not request().is_refused_by_code(answer(500, BY_CODE))


def test_refusal_carries_the_answer_and_for_mqtt_what_it_means() -> None:
    response = answer(401, BY_CODE)

    plain, device = request().refusal(response), DEVICE.refusal(response)

    for refusal in (plain, device):
        assert (refusal.status, refusal.body, refusal.content_type) == (401, response.body, "application/json")
    assert (plain.mqtt, device.mqtt) == (None, MqttRefusal(135))


def test_acceptance_is_read_as_that_of_the_kind_of_client() -> None:
    properties = answer(200, {"mqtt": {"userProperties": [{"name": "n", "value": "v"}]}})

    assert request().verdict(properties) == ConnectVerdict()
    assert DEVICE.verdict(properties) == ConnectVerdict(user_properties=(("n", "v"),))
    assert request().verdict(answer(200, {"subprotocol": "a"})) == ConnectVerdict(subprotocol="a")
    with pytest.raises(BadResponse, match="subprotocol"):
        DEVICE.verdict(answer(200, {"subprotocol": "a"}))
