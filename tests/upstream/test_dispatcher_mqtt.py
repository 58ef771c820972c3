"""Handlers and MQTT clients: sessions that begin, go on and end, refusals in codes of MQTT, and events both ways."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_events import Event, parsed, parsed_all
from doubles import HUB, settle
from handlers import NOTHING, answer, handler
from hubwire.model.errors import EventUndelivered
from hubwire.model.webhooks import IncomingResponse, OutgoingRequest, WebhookFailed
from hubwire.upstream import records
from hubwire.upstream.calls import EventFailed, Limits
from hubwire.upstream.cloudevents import ConnectVerdict
from hubwire.upstream.connecting import ConnectRefused, ConnectRequest
from hubwire.upstream.dispatcher import NoHandler
from hubwire.upstream.mqtt_events import MqttConnect, MqttRefusal
from hubwire.upstream.sources import EventSource, MqttEnding
from upstream.house import House as AnyHouse
from upstream.house import Restarted

BYE = MqttEnding(initiated_by_client=True, code=0)
GONE = WebhookFailed("nobody is there", "unreachable")


class House(AnyHouse):
    """One handler that is told everything of MQTT clients."""

    @staticmethod
    def arriving(client_id: str = "dev", physical_id: str = "p1", user_id: str | None = "u") -> EventSource:
        """Of a client of whom nobody knows yet to which session it comes."""
        return EventSource(HUB, client_id, "hub.example", user_id, None, physical_id)

    async def ask(
        self, source: EventSource, version: int = 5, wanted: Callable[[], bool] = lambda: True
    ) -> ConnectVerdict:
        mqtt = MqttConnect(version, True, "name", b"pw", (("n", "v"),) if version == 5 else ())
        request = ConnectRequest({"sub": "u"}, (), (("Host", "h"),), ("mqtt", "x"), "mqtt", None, wanted, mqtt)
        return await self.dispatcher.connect(source, request)

    async def begun(self, client_id: str = "dev", session_id: str = "s1", physical_id: str = "p1") -> EventSource:
        """A session that has just begun."""
        source = self.arriving(client_id, physical_id)
        await self.ask(source)
        source.session_id = session_id
        self.dispatcher.connected(source)
        await settle()
        return source

    async def publish(
        self, source: EventSource, event: str = "temp", content_type: str = "text/plain", **more: Any
    ) -> IncomingResponse:
        return await self.dispatcher.mqtt_event(source, event, content_type, b"21", **more)

    def parsed(self) -> Sequence[Event]:
        return parsed_all(self.webhook.events)

    @property
    def last(self) -> Event:
        return parsed(self.webhook.events[-1])


@pytest.fixture(autouse=True)
def loud(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was told to the operator yet."""
    monkeypatch.setattr(records, "_quiet", records._Quiet())


# connect


@pytest.mark.parametrize("version", [4, 5])
async def test_connect_tells_what_the_first_packet_says(version: int) -> None:
    house = House()

    assert await house.ask(house.arriving(), version) == ConnectVerdict()

    event = house.last
    assert (event.type, event.attributes["id"], event.attributes["subprotocol"]) == ("sys.connect", "0", "mqtt")
    assert event.attributes["source"] == "/hubs/chat/client/dev/p1"
    assert event.data["subprotocols"] == ["mqtt"]
    assert event.data["clientCertificates"] == []
    assert event.data["mqtt"] == {
        "protocolVersion": version,
        "cleanStart": True,
        "username": "name",
        "password": "cHc=",
        "userProperties": [{"name": "n", "value": "v"}] if version == 5 else None,
    }
    assert house.counts() == {("connect", "succeeded"): 1}


async def test_what_the_answer_says_holds_for_all_later_events_of_a_session() -> None:
    house = House()
    source = house.arriving()
    said = {"userId": "v", "groups": ["a/b"], "mqtt": {"userProperties": [{"name": "n", "value": "v"}]}}
    house.webhook.say(answer(200, said, ce_connectionState="s", Set_Cookie="k=1; Path=/"), NOTHING)

    verdict = await house.ask(source)
    source.session_id = "s1"
    house.dispatcher.connected(source)
    await settle()

    assert verdict == ConnectVerdict(user_id="v", groups=("a/b",), user_properties=(("n", "v"),))
    event = house.last
    assert (event.type, event.data) == ("sys.connected", {})
    names = ("userid", "connectionstate", "subprotocol", "sessionid", "physicalconnectionid")
    assert [event.attributes[name] for name in names] == ["v", "s", "mqtt", "s1", "p1"]
    assert event.headers["cookie"] == "k=1"


async def test_client_that_comes_back_is_asked_about_with_the_state_of_its_session() -> None:
    house = House()
    session = await house.begun()
    session.state = "before"
    arrival = house.arriving(physical_id="p2")
    arrival.state = session.state

    await house.ask(arrival)
    session.state = "changed by an event meanwhile"
    house.dispatcher.resumed(session, arrival)

    assert house.last.attributes["connectionstate"] == "before"
    assert session.state == "changed by an event meanwhile"


async def test_session_that_begins_instead_of_the_one_asked_about_has_no_state_of_that() -> None:
    house = House()
    arrival = house.arriving()
    arrival.state = "of a session that has ended since"

    await house.ask(arrival)

    assert arrival.state is None


# Refusals


@pytest.mark.parametrize("status", [300, 302, 400, 401, 403, 404, 408, 429, 500, 501, 503, 600])
async def test_any_answer_but_a_success_refuses_the_client(status: int) -> None:
    house = House(limits=Limits(retries_s=()))
    source = house.arriving()
    house.webhook.say(answer(status, {"mqtt": {"code": 138, "reason": "r"}}, ce_connectionState="s"))

    with pytest.raises(ConnectRefused) as refused:
        await house.ask(source)
    await settle()

    assert refused.value.status == status
    assert refused.value.mqtt == MqttRefusal(138, "r")
    assert house.counts() == {("connect", "refused"): 1}
    assert [event.type for event in house.parsed()] == ["sys.connect"]
    assert (house.journal.kept, source.state) == ({}, None)


async def test_refusal_of_another_client_says_nothing_of_mqtt() -> None:
    house = House()
    house.webhook.say(answer(401, {"mqtt": {"code": 138}}))

    with pytest.raises(ConnectRefused) as refused:
        await house.connect(house.source())

    assert refused.value.mqtt is None


@pytest.mark.parametrize(("version", "code"), [(5, 0x88), (4, 3)])
async def test_handler_that_fails_refuses_the_client_and_counts_as_one_that_fails(
    version: int, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    house = House()
    house.webhook.say(answer(500, b"secret of the upstream"))

    with pytest.raises(ConnectRefused) as refused:
        await house.ask(house.arriving(), version)

    assert refused.value.mqtt == MqttRefusal(code)
    assert house.counts() == {("connect", "failed"): 1}
    assert house.pauses == [1, 3, 5]
    assert "answered 500" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("status", [408, 500, 503])
async def test_refusal_with_a_code_is_not_asked_for_again(status: int) -> None:
    """Else the client would hear of it nine seconds late: what stands for some codes is a status that is repeated."""
    house = House()
    house.webhook.say(answer(status, {"mqtt": {"code": 136}}), NOTHING)

    with pytest.raises(ConnectRefused):
        await house.ask(house.arriving())

    assert (len(house.webhook.events), house.pauses) == (1, [])
    assert house.counts() == {("connect", "refused"): 1}


async def test_failure_before_a_refusal_with_a_code_is_repeated_and_the_code_is_the_last_word() -> None:
    house = House()
    house.webhook.say(answer(500, b"starting"), answer(503, {"mqtt": {"code": 3}}), NOTHING)

    with pytest.raises(ConnectRefused) as refused:
        await house.ask(house.arriving(), 4)

    assert refused.value.mqtt == MqttRefusal(3)
    assert house.pauses == [1]


async def test_code_that_is_none_of_the_clients_version_is_no_reason_not_to_ask_again() -> None:
    house = House()
    house.webhook.say(answer(503, {"mqtt": {"code": 3}}), NOTHING)

    assert await house.ask(house.arriving(), 5) == ConnectVerdict()

    assert house.pauses == [1]


@pytest.mark.parametrize("said", [GONE, WebhookFailed("no answer", "timeout"), WebhookFailed("bad", "invalid")])
async def test_no_answer_is_no_refusal(said: WebhookFailed) -> None:
    house = House()
    house.webhook.say(said)

    with pytest.raises(EventUndelivered):
        await house.ask(house.arriving())

    assert house.counts() == {("connect", "failed"): 1}


async def test_answer_that_takes_too_long_is_no_refusal() -> None:
    house = House(limits=Limits(blocking_s=0.02))
    house.hold()

    with pytest.raises(EventFailed, match="blocking_event_s"):
        await house.ask(house.arriving())


async def test_handler_that_does_not_want_our_events_refuses_nobody() -> None:
    house = House()
    house.webhook.validation = lambda _: answer(401, {"mqtt": {"code": 135}})

    with pytest.raises(EventUndelivered, match="AbuseProtectionResponseInvalidStatusCode"):
        await house.ask(house.arriving())


@pytest.mark.parametrize(
    "said",
    [
        answer(200, b"{"),
        answer(200, {"userId": 7}),
        answer(200, {"subprotocol": "json.webpubsub.azure.v1"}),
        answer(200, {"mqtt": {"userProperties": "x"}}),
        answer(200, ce_connectionState="s" * 8193),
    ],
)
async def test_acceptance_that_cannot_be_used_lets_nobody_in_and_no_end_is_told(said: IncomingResponse) -> None:
    """No session has begun, so there is none that could end."""
    house = House()
    house.webhook.say(said, NOTHING)

    with pytest.raises(EventUndelivered):
        await house.ask(house.arriving())
    await settle()

    assert house.events() == [("sys.connect", 0)]
    assert house.counts() == {("connect", "failed"): 1}
    assert house.journal.kept == {}


# Sessions


async def test_client_that_was_accepted_and_never_came_in_has_no_end() -> None:
    house = House()
    source = house.arriving()
    await house.ask(source)
    assert house.journal.kept == {}

    house.dispatcher.disconnected(source, "The connection was not established.")
    await settle()

    assert house.events() == [("sys.connect", 0)]
    assert house.journal.kept == {}
    assert await Restarted(house).dispatcher.recover() == 0


async def test_end_of_a_session_is_in_the_journal_once_it_has_begun() -> None:
    house = House()

    await house.begun()

    assert house.journalled == [
        {
            "resource": "default",
            "hub": "chat",
            "connection_id": "dev",
            "origin": "hub.example",
            "user_id": "u",
            "subprotocol": "mqtt",
            "physical_id": "p1",
            "session_id": "s1",
        }
    ]


async def test_session_of_which_no_handler_was_asked_is_in_the_journal_as_well_and_its_end_is_told() -> None:
    house = House(handler(systemEvents=["disconnected"]))
    source = house.arriving()
    source.session_id = "s1"
    house.dispatcher.connected(source)
    await settle()
    assert len(house.journalled) == 1

    house.dispatcher.disconnected(source, None, BYE)
    await settle()

    assert [event.type for event in house.parsed()] == ["sys.disconnected"]
    assert house.journal.kept == {}


async def test_end_of_a_session_that_nobody_was_told_of_is_told_where_a_handler_came_to_be_since() -> None:
    house = House()
    source = house.arriving()
    source.session_id = "s1"

    house.dispatcher.disconnected(source, None, BYE)
    await settle()

    assert house.events() == [("sys.disconnected", 1)]


async def test_end_says_what_the_last_packet_said() -> None:
    house = House()
    source = await house.begun()

    house.dispatcher.disconnected(source, "bye", MqttEnding(True, 4, (("n", "v"),)))
    await settle()

    assert house.last.data == {
        "reason": "bye",
        "mqtt": {
            "initiatedByClient": True,
            "disconnectPacket": {"code": 4, "userProperties": [{"name": "n", "value": "v"}]},
        },
    }
    assert house.events() == [("sys.connect", 0), ("sys.connected", 1), ("sys.disconnected", 2)]
    assert house.journal.kept == {}


async def test_end_of_which_nothing_is_known_has_all_that_handlers_rely_on() -> None:
    house = House()
    source = await house.begun()

    house.dispatcher.disconnected(source, None)
    await settle()

    assert house.last.data == {"reason": None, "mqtt": {"initiatedByClient": False, "disconnectPacket": None}}


async def test_session_that_goes_on_has_its_new_socket_in_all_later_events() -> None:
    house = House()
    source = await house.begun()
    house.webhook.say(answer(204, ce_connectionState="new", Set_Cookie="k=2; Path=/"), NOTHING)
    arrival = house.arriving(physical_id="p2")
    await house.ask(arrival)

    house.dispatcher.resumed(source, arrival)
    await settle()
    (entry,) = house.journalled
    house.dispatcher.disconnected(source, None, BYE)
    await settle()

    assert (entry["physical_id"], entry["session_id"], entry["state"]) == ("p2", "s1", "new")
    event = house.last
    assert event.attributes["source"] == "/hubs/chat/client/dev/p2"
    assert [event.attributes[name] for name in ("physicalconnectionid", "sessionid", "connectionstate", "id")] == [
        "p2",
        "s1",
        "new",
        "2",
    ]
    assert event.headers["cookie"] == "k=2"
    assert [event.type for event in house.parsed()] == ["sys.connect", "sys.connected", "sys.connect", event.type]
    assert house.journal.kept == {}


async def test_session_that_goes_on_keeps_what_the_new_answer_does_not_replace() -> None:
    house = House()
    source = house.arriving()
    house.webhook.say(answer(204, ce_connectionState="old", Set_Cookie="k=1; Path=/"), NOTHING)
    await house.ask(source)
    source.session_id = "s1"
    house.dispatcher.connected(source)

    arrival = house.arriving(physical_id="p2", user_id="somebody else")
    house.dispatcher.resumed(source, arrival)
    house.dispatcher.disconnected(source, None)
    await settle()

    event = house.last
    assert (event.attributes["connectionstate"], event.attributes["userid"]) == ("old", "u")
    assert event.headers["cookie"] == "k=1"


# The journal


async def test_end_that_was_not_told_is_told_after_a_crash_as_that_of_a_session() -> None:
    house = House()
    await house.begun("tüs")

    after = Restarted(house)
    assert await after.dispatcher.recover() == 1
    await settle()

    event = parsed(after.webhook.events[-1])
    assert event.data == {
        "reason": "The server ended unexpectedly.",
        "mqtt": {"initiatedByClient": False, "disconnectPacket": None},
    }
    assert event.attributes["connectionid"] == "tüs"
    assert (event.attributes["sessionid"], event.attributes["subprotocol"]) == ("s1", "mqtt")
    for name in ("ce-source", "ce-signature", "ce-physicalConnectionId"):
        assert after.headers()[name] == house.headers()[name]
    assert after.journal.kept == {}


async def test_end_that_could_not_be_told_is_told_at_the_next_start_with_what_the_last_packet_said() -> None:
    house = House()
    source = await house.begun()
    house.webhook.say(GONE)
    house.dispatcher.disconnected(source, "bye", MqttEnding(True, 4, (("n", "v"),)))
    await settle()
    assert await house.dispatcher.drain(0) == 1
    first = house.last

    after = Restarted(house)
    await after.dispatcher.recover()
    await settle()

    again = parsed(after.webhook.events[-1])
    assert (again.data, again.attributes["id"]) == (first.data, first.attributes["id"])
    assert again.data["mqtt"]["disconnectPacket"]["code"] == 4
    assert after.journal.kept == {}


async def test_two_sessions_of_one_client_have_an_end_each() -> None:
    """The handler is away when the first one ends; meanwhile the client has begun another one under the same id."""
    house = House()
    first = await house.begun(session_id="s1")
    house.webhook.answers = lambda request: GONE if request.url.endswith("disconnected") else NOTHING
    house.dispatcher.disconnected(first, "one", BYE)
    await settle()
    await house.begun(session_id="s2", physical_id="p2")
    assert len(house.journalled) == 2
    await house.dispatcher.drain(0)

    after = Restarted(house)
    assert await after.dispatcher.recover() == 2
    await settle()

    ends = {event.attributes["sessionid"]: event.data["reason"] for event in parsed_all(after.webhook.events)}
    assert ends == {"s1": "one", "s2": "The server ended unexpectedly."}
    assert after.journal.kept == {}


async def test_end_of_a_session_that_is_told_leaves_the_next_one_of_its_client_in_the_journal() -> None:
    house = House()
    first = await house.begun(session_id="s1")
    await house.begun(session_id="s2")

    house.dispatcher.disconnected(first, None, BYE)
    await settle()

    assert [entry["session_id"] for entry in house.journalled] == ["s2"]


async def test_entry_that_was_written_before_there_were_mqtt_clients_is_told() -> None:
    house = House()
    house.journal.kept["connection", "default/chat/c1"] = (
        b'{"resource":"default","hub":"chat","connection_id":"c1","origin":"h","subprotocol":"p","event_id":4,'
        b'"reason":"r"}'
    )

    assert await house.dispatcher.recover() == 1
    await settle()

    event = house.last
    assert (event.data, event.attributes["id"], event.attributes["subprotocol"]) == ({"reason": "r"}, "4", "p")
    assert house.journal.kept == {}


# User events


async def test_event_is_told_with_its_type_and_its_user_properties() -> None:
    house = House()
    source = await house.begun()
    properties = (("Trace", "a b"), ("bad name", "x"), ("Trace", "é"))

    assert await house.publish(source, content_type="application/cbor", user_properties=properties) == NOTHING

    request = house.webhook.events[-1]
    assert (request.url, request.body) == ("http://app.example/chat/temp", b"21")
    assert [pair for pair in request.headers if pair[0].startswith("mqtt-")] == [
        ("mqtt-Trace", "a%20b"),
        ("mqtt-Trace", "%C3%A9"),
    ]
    event = house.last
    assert (event.type, event.headers["content-type"], event.attributes["id"]) == ("user.temp", "application/cbor", "2")
    assert event.attributes["sessionid"] == "s1"
    assert house.counts()["user", "succeeded"] == 1


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (answer(200, b"<p>", Content_Type="text/html", mqtt_a="1"), "succeeded"),
        (answer(204), "succeeded"),
        (answer(200, b"{", Content_Type="application/json"), "succeeded"),
        (answer(400, b"no"), "failed"),
        (answer(302), "failed"),
        (answer(404), "failed"),
        (answer(500, b"no", mqtt_a="1"), "failed"),
    ],
)
async def test_answer_to_an_event_is_the_clients_whatever_its_status(said: IncomingResponse, outcome: str) -> None:
    house = House(limits=Limits(retries_s=()))
    source = await house.begun()
    house.webhook.say(said)

    assert await house.publish(source) == said

    assert house.counts()["user", outcome] == 1


async def test_event_whose_answer_may_be_another_one_next_time_is_told_again() -> None:
    """Also where it has a code: that is for `connect` only."""
    house = House()
    source = await house.begun()
    house.webhook.say(answer(503, {"mqtt": {"code": 136}}), NOTHING)

    assert await house.publish(source) == NOTHING

    assert house.pauses == [1]
    assert house.webhook.events[-1] == house.webhook.events[-2]


async def test_answer_of_a_handler_that_fails_is_told_to_the_operator_without_its_body(
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = House()
    source = await house.begun()
    house.webhook.say(answer(400, b"secret of the upstream"))

    await house.publish(source)

    assert "answered 400" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("said", [GONE, WebhookFailed("no answer", "timeout")])
async def test_event_without_an_answer_is_undelivered(said: WebhookFailed) -> None:
    house = House()
    source = await house.begun()
    house.webhook.say(said)

    with pytest.raises(EventUndelivered):
        await house.publish(source)

    assert house.counts()["user", "failed"] == 1


async def test_event_of_a_client_that_is_gone_is_not_told_again() -> None:
    house = House()
    source = await house.begun()
    house.webhook.say(answer(503), NOTHING)

    assert (await house.publish(source, wanted=lambda: False)).status == 503


async def test_event_that_nobody_is_told_of_has_no_number() -> None:
    house = House(handler(userEventPattern="temp*"))
    source = await house.begun()

    with pytest.raises(NoHandler):
        await house.publish(source, "other")
    await house.publish(source, "temperature")

    assert house.events()[-1] == ("user.temperature", 2)


@pytest.mark.parametrize("name", [".", ".."])
async def test_event_whose_name_would_lead_elsewhere_on_the_handlers_host_is_nobodys(name: str) -> None:
    house = House()
    source = await house.begun()
    before = len(house.webhook.events)

    with pytest.raises(NoHandler):
        await house.publish(source, name)

    assert len(house.webhook.events) == before


@pytest.mark.parametrize("name", ["a b", "Größe", "%2e%2e", "a\\..\\b", "?x=1", "#", "\r\nX: y", "..."])
async def test_name_of_an_event_is_one_part_of_the_url(name: str) -> None:
    house = House()
    source = await house.begun()

    await house.publish(source, name)

    url = house.webhook.events[-1].url
    assert url.startswith("http://app.example/chat/")
    assert not set(url.removeprefix("http://app.example/chat/")) & set("/?#\\ \r\n")
    assert house.last.attributes["eventname"] == name


@pytest.mark.parametrize("content_type", ["", "a/b\r\nce-userId: root", "a/é"])
async def test_event_whose_type_no_header_can_have_fails_and_is_not_told(content_type: str) -> None:
    house = House()
    source = await house.begun()
    before = len(house.webhook.events)

    with pytest.raises(EventFailed, match="content type"):
        await house.publish(source, content_type=content_type)

    assert len(house.webhook.events) == before
    assert house.counts()["user", "failed"] == 1


async def test_state_is_replaced_by_a_success_and_kept_in_the_journal() -> None:
    house = House()
    source = await house.begun()
    house.webhook.say(
        answer(204, ce_connectionState="1"), answer(400, ce_connectionState="2"), answer(204, ce_connectionState="")
    )
    states: list[str | None] = []
    for _ in range(3):
        await house.publish(source)
        states.append(source.state)
    await settle()

    assert states == ["1", "1", ""]
    assert house.journalled[0]["state"] == ""


@pytest.mark.parametrize("state", ["s" * 8193, "\xff"])
async def test_state_that_cannot_be_kept_fails_the_event(state: str) -> None:
    house = House()
    source = await house.begun()
    house.webhook.say(answer(200, b"x", ce_connectionState=state))

    with pytest.raises(EventFailed, match="ce-connectionState"):
        await house.publish(source)

    assert source.state is None
    assert house.counts()["user", "failed"] == 1


async def test_events_of_a_session_and_of_another_kind_of_client_are_told_side_by_side() -> None:
    house = House()
    session, other = await house.begun("same"), house.source("same")
    await house.connect(other)
    house.dispatcher.connected(other)
    house.dispatcher.disconnected(session, None, BYE)
    house.dispatcher.disconnected(other, "x")
    await settle()

    ends = [event for event in house.parsed() if event.type == "sys.disconnected"]
    assert {event.attributes["source"]: set(event.data) for event in ends} == {
        "/hubs/chat/client/same/p1": {"reason", "mqtt"},
        "/hubs/chat/client/same": {"reason"},
    }
    assert house.journal.kept == {}


# Whatever happens


_SAID = st.one_of(
    st.just(NOTHING),
    st.builds(
        lambda status, body: answer(status, body),
        st.sampled_from([200, 302, 400, 401, 403, 429, 500, 503, 600]),
        st.one_of(
            st.binary(max_size=20),
            st.fixed_dictionaries(
                {"mqtt": st.fixed_dictionaries({"code": st.integers(-1, 200), "reason": st.text(max_size=5)})}
            ),
        ),
    ),
    st.builds(lambda state: answer(204, ce_connectionState=state), st.text(st.characters(max_codepoint=255))),
    st.just(GONE),
)


@settings(deadline=None, max_examples=60)
@given(said=_SAID, version=st.sampled_from([4, 5]), comes_in=st.booleans())
def test_each_session_that_began_has_one_end_and_no_other_has_any(
    said: IncomingResponse | WebhookFailed, version: int, comes_in: bool
) -> None:
    async def run() -> None:
        records._quiet = records._Quiet()  # type: ignore[misc]
        house = House(limits=Limits(retries_s=()))

        def answers(request: OutgoingRequest) -> IncomingResponse | WebhookFailed:
            return NOTHING if request.url.endswith("disconnected") else said

        house.webhook.answers = answers
        source = house.arriving()
        accepted, refusal = False, None
        try:
            await house.ask(source, version)
            accepted = True
        except ConnectRefused as refused:
            refusal = refused.mqtt or MqttRefusal(0)
        except EventUndelivered:
            pass
        assert refusal is None or refusal.code in (range(128, 160) if version == 5 else range(1, 6))
        if accepted and comes_in:
            source.session_id = "s1"
            house.dispatcher.connected(source)
            try:
                await house.publish(source)
            except EventUndelivered:
                pass
        if accepted:
            house.dispatcher.disconnected(source, None)
        await settle()
        ends = [event for event in house.parsed() if event.type == "sys.disconnected"]
        assert len(ends) == (accepted and comes_in)
        assert house.journal.kept == {}

    logging.disable(logging.CRITICAL)
    try:
        asyncio.run(run())
    finally:
        logging.disable(logging.NOTSET)
