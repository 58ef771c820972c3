"""Communication users at the gateway: let in when the store has answered, and out as soon as that is taken back."""

import asyncio
import json
from collections.abc import Callable, Sequence
from urllib.parse import urlencode

import pytest
from msgspec.structs import replace

from auth.entra import rsa_key
from doubles import ALL_ROLES, HUB, RecordingSink, done, head, settle
from gateway.devices import URL as MQTT_URL
from gateway.devices import Device
from gateway.house import JSON, RELIABLE, URL, Client, House
from gateway.written import Written
from handlers import answer, handler
from hubwire.auth.callers import ClientClaims
from hubwire.auth.logins import Login
from hubwire.auth.signatures import sign_rs256
from hubwire.gateway.attempt import HandshakeRefused
from hubwire.gateway.logged_in import OVER
from hubwire.gateway.opening import Deciding
from hubwire.model.errors import Unauthorized, Unavailable
from hubwire.model.hubs import CommunicationLogin, HubSettings
from hubwire.model.telemetry import CloseCategory
from hubwire.protocols.mqtt.packets import Connack
from hubwire.protocols.mqtt.reasons import Reason

USER = "8:acs:2dee53b4-1111-4222-8333-8493fb117652_00000005-0000-7000-8000-000000000001"
TOKEN = sign_rs256({"skypeid": "x"}, rsa_key(), {"kid": "1"})
"""It looks like one of a communication user; the stand-in does not read it."""
ON = HubSettings(communication_identity=CommunicationLogin("acs", ("chat",), ("webpubsub.joinLeaveGroup",)))


class Logins:
    """
    A stand-in for communication services.

    Attributes:
        gate: awaited before each answer; None lets them pass.
        error: raised instead of an answer.
        made: logins in their order.
    """

    def __init__(self) -> None:
        self.gate: asyncio.Future[None] | None = None
        self.error: Exception | None = None
        self.made: list[Login] = []
        self.asked: list[CommunicationLogin] = []
        self.on_over: Callable[[Sequence[Login]], None] = lambda _logins: None

    async def log_in(self, token: str, wanted: CommunicationLogin) -> Login:
        assert token == TOKEN
        self.asked.append(wanted)
        if self.gate is not None:
            await self.gate
        if self.error is not None:
            raise self.error
        self.made.append(Login(ClientClaims(USER, wanted.roles, (), {"sub": USER})))
        return self.made[-1]

    def is_of_user(self, token: str) -> bool:
        return token == TOKEN

    def end(self, *logins: Login) -> None:
        for login in logins:
            login.is_over = True
        self.on_over(logins)


@pytest.fixture
def logins() -> Logins:
    return Logins()


@pytest.fixture
def house(logins: Logins) -> House:
    house = House(logins=logins)
    house.directory.hubs[HUB] = ON
    return house


def user(house: House, *offers: str) -> "asyncio.Future[Client]":
    """Somebody with such a token."""
    return asyncio.ensure_future(house.client(*offers, access_token=TOKEN))


class Phone(Device):
    """An MQTT client with such a token."""

    def __init__(self, house: House, client_id: str = "phone") -> None:
        super().__init__(house, client_id, access_token=TOKEN)
        self.house = house

    async def arrives(self) -> None:
        """A new socket, behind its 101."""
        request = head(f"{MQTT_URL}?{urlencode({'access_token': TOKEN})}", offers=("mqtt",))
        opening = await self.house.ask(request)
        self.sink = RecordingSink()
        assert self.house.gateway.begin(opening, self.sink) is None
        self._newcomer = opening.newcomer


# Coming in


async def test_user_is_let_in_when_the_store_has_answered(house: House, logins: Logins) -> None:
    client = await user(house, JSON)

    assert client.connection.user_id == USER
    assert client.sink.received[0]["userId"] == USER
    assert logins.asked == [ON.communication_identity]
    join = {"type": "joinGroup", "group": "g", "ackId": 1}
    send = {"type": "sendToGroup", "group": "g", "ackId": 2, "dataType": "text", "data": "x"}
    assert [answer["success"] for answer in await client.say(join, send)] == [True, False]


async def test_nobody_else_waits_for_the_store(house: House, logins: Logins) -> None:
    """Neither whoever has a token of an access key, nor who is refused by what the token is."""
    await house.json(user_id="ann")
    assert house.refusal(JSON, access_token="nonsense") is not None
    assert house.refusal(JSON) is not None

    assert logins.asked == []


async def test_hub_takes_no_such_token_unless_it_is_set(house: House, logins: Logins, written: Written) -> None:
    house.directory.hubs[HUB] = HubSettings()

    refusal = house.refusal(JSON, access_token=TOKEN)

    assert refusal is not None
    assert refusal.status == 401
    assert "communicationIdentity is off (hubwire hub set chat --identities SERVICE)" in refusal.cause
    assert written.operations == ["ConnectionRefused"], "said once"
    assert refusal.cause in written.text
    assert TOKEN not in written.text
    assert logins.asked == []


async def test_token_of_somebody_else_is_refused_for_what_it_is(house: House) -> None:
    """Whatever the hub is set to, it would not take it."""
    house.directory.hubs[HUB] = HubSettings()

    refusal = house.refusal(JSON, access_token=sign_rs256({"iss": "https://elsewhere"}, rsa_key(), {"kid": "1"}))

    assert refusal is not None
    assert refusal.cause == "token is not signed with HS256"


async def test_bad_token_is_refused_with_the_reason_in_the_log(house: House, logins: Logins, written: Written) -> None:
    logins.error = Unauthorized("token was revoked")

    with pytest.raises(HandshakeRefused) as refused:
        await user(house, JSON)

    assert (refused.value.status, refused.value.text) == (401, "The client access token is not valid.")
    assert refused.value.cause == "token was revoked"
    assert house.telemetry.closed[CloseCategory.UNAUTHORIZED] == 1
    assert TOKEN not in str(written.records)


async def test_store_that_does_not_answer_is_no_verdict(house: House, logins: Logins) -> None:
    logins.error = Unavailable("the database is away")

    with pytest.raises(HandshakeRefused) as refused:
        await user(house, JSON)

    assert (refused.value.status, refused.value.cause) == (503, "the database is away")
    assert refused.value.headers == {"Retry-After": "1"}


async def test_what_holds_when_the_store_has_answered_counts(house: House, logins: Logins) -> None:
    logins.gate = asyncio.get_running_loop().create_future()
    waiting = user(house, JSON)
    await settle()
    house.gateway.stop()
    logins.gate.set_result(None)

    with pytest.raises(HandshakeRefused) as refused:
        await waiting

    assert refused.value.status == 503


@pytest.mark.parametrize("target", [URL, MQTT_URL])
async def test_client_that_leaves_meanwhile_leaves_its_place(house: House, target: str) -> None:
    offers = (JSON,) if target == URL else ("mqtt",)
    deciding = house.gateway.decide(head(f"{target}?{urlencode({'access_token': TOKEN})}", offers=offers))
    assert isinstance(deciding, Deciding)
    opening = await deciding.outcome()
    assert house.gateway._admission.places(HUB.resource) == (1, 1)

    house.gateway.abandon(opening)

    assert house.gateway._admission.places(HUB.resource) == (0, 0)


# Being out


async def test_login_that_is_over_closes_its_connection_alone(house: House, logins: Logins) -> None:
    client, another, ordinary = await user(house, JSON), await user(house, JSON), await house.json(user_id=USER)

    logins.end(logins.made[0])

    assert client.sink.received[-1] == {"type": "system", "event": "disconnected", "message": OVER}
    assert client.sink.closed == (1008, OVER)
    assert house.ended == [(client.connection, CloseCategory.UNAUTHORIZED, 1008, OVER)]
    assert another.sink.closed is ordinary.sink.closed is None


async def test_reliable_client_does_not_come_back_after_that(house: House, logins: Logins) -> None:
    client, waiting = await user(house, RELIABLE), await user(house, RELIABLE)
    waiting.drop()
    recoveries = [client.recovery, waiting.recovery]

    logins.end(*logins.made)

    assert not client.connection.alive
    assert not waiting.connection.alive
    for recovery in recoveries:
        sink = RecordingSink()
        await done(house.gateway.begin(house.decide(RELIABLE, **recovery), sink))
        assert sink.closed is not None
        assert sink.closed[0] == 1008


async def test_reliable_client_that_came_back_still_hangs_on_its_login(house: House, logins: Logins) -> None:
    client = await user(house, RELIABLE)
    client.drop()
    sink = RecordingSink()
    await house.begin(house.decide(RELIABLE, **client.recovery), sink)
    assert sink.closed is None

    logins.end(*logins.made)

    assert sink.closed == (1008, OVER)


@pytest.mark.parametrize("held", [False, True])
async def test_login_that_is_over_on_the_way_in_does_not_stay(house: House, logins: Logins, held: bool) -> None:
    """Between the answer of the store and the first message; also where the bus takes its time."""
    request = head(f"{URL}?{urlencode({'access_token': TOKEN})}", offers=(JSON,))
    opening = await house.ask(request)
    sink = RecordingSink()
    if held:
        house.bus.gate = asyncio.get_running_loop().create_future()
        waiting = asyncio.ensure_future(done(house.gateway.begin(opening, sink)))
        await settle()
        logins.end(*logins.made)
        house.bus.gate.set_result(None)
        await waiting
    else:
        logins.end(*logins.made)
        await done(house.gateway.begin(opening, sink))

    assert sink.closed == (1008, OVER)
    assert house.telemetry.connections == 0
    assert house.gateway._admission.places(HUB.resource) == (0, 0)


async def test_thousands_are_closed_over_several_turns(logins: Logins) -> None:
    house = House(quota=1000, logins=logins)
    house.directory.hubs[HUB] = ON
    clients = [await user(house, JSON) for _ in range(450)]

    logins.end(*logins.made)
    assert 0 < house.telemetry.connections < 450
    await settle()

    assert house.telemetry.connections == 0
    assert all(client.sink.closed == (1008, OVER) for client in clients)


async def test_connection_that_has_ended_holds_no_login(house: House, logins: Logins) -> None:
    client = await user(house, JSON)
    client.drop(1000)

    logins.end(*logins.made)

    assert len(house.ended) == 1
    assert not house.gateway._logged_in._logins
    assert not house.gateway._logged_in._connections


# MQTT


async def test_mqtt_client_is_let_in_and_told_when_its_login_is_over(house: House, logins: Logins) -> None:
    phone = Phone(house)
    await phone.arrives()
    await phone.send(phone.packet())
    assert phone.connection.user_id == USER

    logins.end(*logins.made)

    assert phone.farewell is not None
    assert phone.farewell.code == Reason.NOT_AUTHORIZED
    assert phone.code == 1008
    assert not phone.connection.alive


async def test_mqtt_client_whose_login_is_over_before_its_connect_is_refused(house: House, logins: Logins) -> None:
    phone = Phone(house)
    await phone.arrives()
    logins.end(*logins.made)

    (connack,) = await phone.send(phone.packet())

    assert isinstance(connack, Connack)
    assert connack.code == Reason.NOT_AUTHORIZED
    assert house.gateway._admission.places(HUB.resource) == (0, 0)


async def test_mqtt_session_that_waits_ends_with_its_login(house: House, logins: Logins) -> None:
    phone = Phone(house)
    await phone.arrives()
    await phone.send(phone.packet(clean=False))
    session = phone.connection
    phone.lose()
    assert session.alive

    logins.end(*logins.made)

    assert not session.alive


async def test_mqtt_session_hangs_on_the_latest_login(house: House, logins: Logins) -> None:
    phone = Phone(house)
    for _ in range(2):
        await phone.arrives()
        await phone.send(phone.packet(clean=False))
    assert phone.connack.session_present
    session = phone.connection

    logins.end(logins.made[0])
    assert session.alive
    logins.end(logins.made[1])

    assert not session.alive


async def test_mqtt_session_that_goes_on_with_an_access_key_hangs_on_no_login(house: House, logins: Logins) -> None:
    phone = Phone(house)
    await phone.arrives()
    await phone.send(phone.packet(clean=False))
    device = Device(house, "phone", user_id=USER, roles=ALL_ROLES)
    await device.connect(clean=False)
    assert device.connack.session_present

    logins.end(*logins.made)

    assert device.connection.alive


# An event handler


async def test_event_handler_is_asked_about_a_user_and_what_it_says_counts(house: House, logins: Logins) -> None:
    house.directory.hubs[HUB] = replace(ON, event_handlers=(handler(systemEvents=["connect"]),))
    house.upstream.webhook.answers = lambda _: answer(200, {"roles": ["webpubsub.sendToGroup"]})
    client = await user(house, JSON)
    assert client.connection.user_id == USER
    (asked,) = [request for request in house.upstream.webhook.requests if request.method == "POST"]
    assert json.loads(asked.body)["claims"] == {"sub": [USER]}
    send = {"type": "sendToGroup", "group": "g", "ackId": 1, "dataType": "text", "data": "x"}
    assert [reply["success"] for reply in await client.say(send)] == [True]

    logins.end(*logins.made)

    assert client.sink.closed == (1008, OVER)
