"""
Events as others read them: by the `cloudevents` package, and held against schemas. What is no event fails the test.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jsonschema  # type: ignore[import-untyped]
import msgspec
from cloudevents.core.bindings.http import HTTPMessage, from_binary_event

from hubwire.model.webhooks import OutgoingRequest
from vectors.event_schemas import BODIES, HEADERS, MQTT_BODIES, MQTT_HEADERS, USER_EVENT_TYPES

__all__ = ["Event", "parsed", "parsed_all"]


def _checked(schema: Mapping[str, Any]) -> Any:
    """
    A schema that is one, ready for use. Checked once: to check it for each event took most of the time of tests that
    have thousands of them.
    """
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


_HEADERS = _checked(HEADERS)
_MQTT_HEADERS = _checked(MQTT_HEADERS)
_BODIES = {type: _checked(schema) for type, schema in BODIES.items()}
_MQTT_BODIES = {type: _checked(schema) for type, schema in MQTT_BODIES.items()}


class Event(NamedTuple):
    """
    Attributes:
        type: without its prefix, such as "sys.connect".
        attributes: by their names in lower case, percent-decoded.
        data: of JSON its value, of what is UTF-8 a string, of nothing None, else bytes.
        headers: of the request, by their names in lower case; the last of those of one name.
    """

    type: str
    attributes: Mapping[str, Any]
    data: Any
    headers: Mapping[str, str]


def parsed(request: OutgoingRequest) -> Event:
    """One request as the event that it brings."""
    assert request.method == "POST"
    names = [name.lower() for name, _ in request.headers]
    once = [name for name in names if not name.startswith("mqtt-")]
    assert len(once) == len(set(once)), "each header once, but for user properties"
    headers = {name.lower(): value for name, value in request.headers}
    is_mqtt = "ce-physicalconnectionid" in headers
    (_MQTT_HEADERS if is_mqtt else _HEADERS).validate(headers)
    event = from_binary_event(HTTPMessage(dict(request.headers), request.body))
    attributes = event.get_attributes()
    type = attributes["type"]
    assert isinstance(type, str)
    kind = type.removeprefix("azure.webpubsub.")
    assert kind.partition(".")[2] == attributes["eventname"]
    path = f"/hubs/{attributes['hub']}/client/{attributes['connectionid']}"
    if is_mqtt:
        path += f"/{attributes['physicalconnectionid']}"
        assert ("sessionid" in attributes) == (kind != "sys.connect")
    assert attributes["source"] == path
    if kind.startswith("user."):
        assert is_mqtt or headers["content-type"].partition(";")[0] in USER_EVENT_TYPES
    else:
        assert headers["content-type"] == "application/json; charset=utf-8"
        (_MQTT_BODIES if is_mqtt else _BODIES)[type].validate(msgspec.json.decode(request.body))
    return Event(kind, attributes, event.get_data(), headers)


def parsed_all(requests: Sequence[OutgoingRequest]) -> list[Event]:
    """The same for several."""
    return [parsed(request) for request in requests]
