"""Counters as text, and the two questions of supervisors."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hubwire.model.telemetry import CloseCategory, HandlerCounters, Telemetry
from hubwire.rest.metrics import TelemetryCollector
from rest.asgi import World


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_counters_come_as_prometheus_text(world: World) -> None:
    now = world.telemetry
    now.connections, now.opened, now.retained, now.queued_bytes = 50, 60, 3, 4
    now.kept_messages, now.kept_bytes = 31, 32
    now.unwritten = lambda: 33
    now.closed[CloseCategory.SLOW_CLIENT] = 2
    now.inbound_messages, now.outbound_messages = 7, 8
    now.inbound_bytes, now.outbound_bytes = 9, 10
    now.recoveries, now.recoveries_refused = 11, 12
    counters = now.handlers["default", "chat", "http://app/{event}"] = HandlerCounters()
    counters.in_flight, counters.waiting = 13, 14
    counters.count("connect", "refused")
    now.count_refused(401)
    now.count_ack_error("Forbidden")
    now.count_request("SendToAll", 202)
    reply = await world.call("GET", "/metrics", token=None)

    assert (reply.status, reply.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    found = samples(reply.body.decode())
    expected = {
        ("webpubsub_connection_count", ()): 50,
        ("webpubsub_connection_open_total", ()): 60,
        ("webpubsub_connection_close_total", ("SlowClient",)): 2,
        ("webpubsub_connection_close_total", ("Normal",)): 0,
        ("webpubsub_connection_quota_utilization", ()): 25,
        ("webpubsub_inbound_bytes_total", ()): 9,
        ("webpubsub_outbound_bytes_total", ()): 10,
        ("hubwire_connections_retained", ()): 3,
        ("hubwire_mqtt_retained_messages", ()): 31,
        ("hubwire_mqtt_retained_bytes", ()): 32,
        ("hubwire_queued_bytes", ()): 4,
        ("hubwire_journal_unwritten", ()): 33,
        ("hubwire_inbound_messages_total", ()): 7,
        ("hubwire_outbound_messages_total", ()): 8,
        ("hubwire_upgrades_refused_total", ("401",)): 1,
        ("hubwire_requests_total", ("SendToAll", "202")): 1,
        ("hubwire_ack_errors_total", ("Forbidden",)): 1,
        ("hubwire_recoveries_total", ("resumed",)): 11,
        ("hubwire_recoveries_total", ("refused",)): 12,
        ("hubwire_handler_calls", ("http://app/{event}", "chat", "default")): 13,
        ("hubwire_handler_waiting", ("http://app/{event}", "chat", "default")): 14,
        ("hubwire_handler_events_total", ("connect", "http://app/{event}", "chat", "refused", "default")): 1,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert ("webpubsub_server_load", ()) in found


async def test_every_close_category_is_there_from_the_start(world: World) -> None:
    found = samples((await world.call("GET", "/metrics", token=None)).body.decode())

    categories = {labels[0] for name, labels in found if name == "webpubsub_connection_close_total"}
    assert categories == {category.value for category in CloseCategory}


def test_server_load_is_percent_of_one_core_since_the_last_scrape() -> None:
    clock = {"at": 100.0, "cpu": 5.0}
    collector = TelemetryCollector(Telemetry(1), lambda: clock["at"], lambda: clock["cpu"])

    def load() -> float:
        return next(metric.samples[0].value for metric in collector.collect() if metric.name == "webpubsub_server_load")

    clock.update(at=110.0, cpu=7.0)
    assert load() == 20
    clock.update(at=112.0, cpu=8.0)
    assert load() == 50
    assert load() == 50, "no time has passed"
    clock.update(at=122.0)
    assert load() == 0


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
async def test_probes_need_no_token_and_answer_head_without_a_body(world: World, path: str) -> None:
    got = await world.call("GET", path, token=None)
    headed = await world.call("HEAD", path, token=None)

    assert (got.status, headed.status, headed.body) == (200, 200, b"")
    assert got.body
    assert headed.headers["content-type"] == got.headers["content-type"]
    assert "api-supported-versions" not in got.headers


async def test_server_that_starts_or_stops_lives_but_is_not_ready(world: World) -> None:
    world.ready = False

    assert (await world.call("GET", "/healthz", token=None)).status == 200
    assert (await world.call("GET", "/readyz", token=None)).status == 503
    assert (await world.call("HEAD", "/readyz", token=None)).status == 503
    world.ready = True
    assert (await world.call("GET", "/readyz", token=None)).status == 200


async def test_probes_take_whatever_query_comes(world: World) -> None:
    assert (await world.call("GET", "/healthz?api-version=1&api-version=2", token=None)).status == 200
