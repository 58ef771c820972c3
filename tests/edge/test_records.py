"""The record and the count of what the front refused."""

import json
import logging
from typing import Any

import pytest

from hubwire.edge.records import refused
from hubwire.logs import JsonLines
from hubwire.model.telemetry import Telemetry


def test_refusal_is_counted_as_a_request_and_leaves_one_record(caplog: pytest.LogCaptureFixture) -> None:
    """As a request's, in the category of those, at level warning."""
    telemetry = Telemetry(1)
    with caplog.at_level(logging.INFO, "hubwire.http"):
        refused(telemetry, 431, "the request head is too large", "192.0.2.1")

    (record,) = caplog.records
    line: dict[str, Any] = json.loads(JsonLines("/default").format(record))
    del line["time"], line["resourceId"], line["location"]
    assert line == {
        "level": "Warning",
        "category": "HttpRequestLogs",
        "operationName": "RequestRefused",
        "callerIpAddress": "192.0.2.1",
        "properties": {"message": "the request head is too large", "statusCode": 431},
    }
    assert telemetry.requests == {("RequestRefused", 431): 1}
    assert telemetry.refused == {}, "that counts upgrades"
