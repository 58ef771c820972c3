"""`hubwire connect`: be a client, in a terminal or at the end of a pipe."""

import asyncio
import contextlib
import errno
import ipaddress
import shlex
from pathlib import Path
from typing import Final, Protocol

import aiohttp
import click
from yarl import URL

from hubwire.cli.access import client_url
from hubwire.cli.control import why_unreachable
from hubwire.cli.conversation import HELP, BadLine, Conversation, JsonConversation, RawConversation, Word
from hubwire.cli.faults import BadCommandLine, CommandFailed, Refusal
from hubwire.cli.options import client_options, data_folder
from hubwire.cli.program import data_option, program
from hubwire.cli.terminal import opened

__all__ = ["Screen", "connect", "converse", "open_socket", "parse_url", "read_refusal"]

_NOT_FOUND: Final = 404
_FAILED: Final = 500
_HANDLER_FAILED: Final = "The event handler failed."

_JSON: Final = "json.webpubsub.azure.v1"
_RELIABLE: Final = "json.reliable.webpubsub.azure.v1"
_SIMPLE: Final = "none"

_REACHED_S: Final = 15.0
# A server may ask an event handler about a client first, and ask again: a minute in all, unless it is given longer.
_ANSWERED_S: Final = 75.0
_ACK_TIMEOUT_S: Final = 10.0
_CLOSE_TIMEOUT_S: Final = 2.0
_HEARTBEAT_S: Final = 30.0
_ACKNOWLEDGE_EVERY_S: Final = 1.0
# A reliable server holds 1,000 messages for a client; a burst must not fill that before a second is over.
_ACKNOWLEDGE_EVERY: Final = 100
# A message of 1 MiB in base64, and whatever a server of other limits may send.
_LARGEST_MESSAGE_BYTES: Final = 256 << 20
_ENDS: Final = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED)
_SHOWN_REFUSAL: Final = 300
_CLIENT_PATH: Final = "/client/hubs/"
_UPGRADE_PATHS: Final = (_CLIENT_PATH, "/clients/", "/server/tunnel")
_SAMPLE: Final = f"one looks like ws://{{place}}{_CLIENT_PATH}HUB?access_token=TOKEN"


class Screen(Protocol):
    """Where lines come from and go to. See `terminal.Terminal`."""

    @property
    def interactive(self) -> bool:
        """A person sits there."""

    @property
    def stopped(self) -> asyncio.Event:
        """Set when the process shall end."""

    async def line(self) -> str | None:
        """The next line; None at the end."""

    def begin(self) -> None:
        """Lines can be typed now."""

    def show(self, line: str) -> None:
        """Write a line."""

    def complain(self, reason: str) -> None:
        """The last line cannot be sent."""


@click.command(short_help="Be a client.")
@click.argument("url", required=False, envvar="HUBWIRE_CLIENT_URL")
@click.option(
    "--subprotocol",
    type=click.Choice((_JSON, _RELIABLE, _SIMPLE)),
    default=_JSON,
    show_default=True,
    help="What to speak; with none every line is one message as it is.",
)
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0),
    default=0.5,
    show_default=True,
    metavar="SECONDS",
    help="With input from a pipe or file: how long to listen after its last line was answered.",
)
@click.option("--hub", metavar="HUB", help="Instead of a URL: ask the server of the data folder for one.")
@client_options
@data_folder
def connect(
    url: str | None,
    subprotocol: str,
    wait_s: float,
    hub: str | None,
    data: Path,
    user_id: str | None,
    roles: tuple[str, ...],
    groups: tuple[str, ...],
    minutes: int,
) -> None:
    """
    Connect as a client, to a client access URL such as `hubwire url` prints.

    Lines that you type: join GROUP, leave GROUP, send GROUP TEXT, sendjson GROUP JSON, event NAME TEXT, help, quit.
    Input may also come from a pipe. Ends with 0 when you end it, and with 1 when the server did or refused something.
    """
    if (url is None) == (hub is None):
        raise click.UsageError("name either a client access URL or a --hub")
    if hub is not None:
        url = client_url(data, hub, user_id, roles, groups, minutes, mqtt=False)
    elif user_id or roles or groups:
        raise click.UsageError("--user, --role and --group go with --hub; a URL already says who the client is")
    assert url is not None, "one of the two was given"
    place = parse_url(url)
    try:
        asyncio.run(_connect(place, subprotocol, wait_s))
    except Refusal as refusal:
        if refusal.status != _FAILED or _HANDLER_FAILED not in refusal.message:
            raise
        name = place.name if place.path.startswith(_CLIENT_PATH) else place.query.get("hub", "")
        look = f"{program()} hub show {shlex.quote(name)}{data_option(data)}"
        raise CommandFailed(f"{refusal.message} The server's log says why, and so may: {look}") from refusal


def parse_url(text: str) -> URL:
    """
    A client access URL.

    Raises:
        BadCommandLine: it is none. The text never quotes it, since it holds a token.
    """
    if not text.strip():
        raise BadCommandLine("the URL is empty")
    try:
        url = URL(text)
        usable = url.scheme in ("ws", "wss", "http", "https") and bool(url.host) and url.port is not None
    except ValueError:
        usable = False
    if not usable:
        raise BadCommandLine(f"this is not a client access URL; {_SAMPLE.format(place='localhost:8080')}")
    if url.path.lower().startswith("/clients/mqtt/"):
        instead = f"{program()} connect --hub HUB"
        raise BadCommandLine(
            "this URL is for MQTT clients, such as mqtt.js and paho-mqtt over WebSocket; "
            f"connect speaks the JSON subprotocols only: {instead}"
        )
    return url


async def _connect(url: URL, subprotocol: str, wait_s: float) -> None:
    conversation: Conversation = RawConversation() if subprotocol == _SIMPLE else JsonConversation()
    with opened() as terminal:
        patience = aiohttp.ClientTimeout(sock_connect=_REACHED_S)
        async with aiohttp.ClientSession(middlewares=(read_refusal,), timeout=patience) as session:
            opening = asyncio.ensure_future(_opened(session, url, subprotocol))
            stopped = asyncio.ensure_future(terminal.stopped.wait())
            await asyncio.wait({opening, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if not opening.done():
                opening.cancel()
                return
            await converse(opening.result(), conversation, terminal, wait_s)


async def _opened(session: aiohttp.ClientSession, url: URL, subprotocol: str) -> aiohttp.ClientWebSocketResponse:
    return await open_socket(session, url, None if subprotocol == _SIMPLE else subprotocol, _ANSWERED_S)


async def open_socket(
    session: aiohttp.ClientSession, url: URL, subprotocol: str | None, patience_s: float = _REACHED_S
) -> aiohttp.ClientWebSocketResponse:
    """
    Open the WebSocket.

    Args:
        patience_s: for the server's answer.

    Raises:
        CommandFailed: nobody listens, the server refuses (its status and words are in the text), or it does not speak
            the subprotocol.
    """
    place = f"{url.host}:{url.port}"
    try:
        async with asyncio.timeout(patience_s):
            socket = await session.ws_connect(
                url,
                protocols=() if subprotocol is None else (subprotocol,),
                heartbeat=_HEARTBEAT_S,
                max_msg_size=_LARGEST_MESSAGE_BYTES,
                timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_TIMEOUT_S),
            )
    except aiohttp.ConnectionTimeoutError as error:
        raise CommandFailed(f"cannot reach {place}: no answer within {_REACHED_S:g} seconds") from error
    except TimeoutError as error:
        waiting = "; it may be waiting for an event handler" if patience_s > _REACHED_S else ""
        raise CommandFailed(f"{place} did not answer within {patience_s:g} seconds{waiting}") from error
    except aiohttp.ClientConnectorCertificateError as error:
        raise CommandFailed(f"the certificate of {place} is not trusted: {error.certificate_error}") from error
    except aiohttp.ClientConnectorError as error:
        begin = f"; is the server running? ({program()} serve starts one)" if _could_be_started(url, error) else ""
        raise CommandFailed(f"cannot reach {place}: {why_unreachable(error, 'ws')}{begin}") from error
    except aiohttp.WSServerHandshakeError as error:
        raise CommandFailed(f"{place} does not speak WebSocket here (status {error.status})") from None
    except aiohttp.ClientError as error:
        # Not its own text: that may quote the URL, and with it the token.
        raise CommandFailed(f"{place} broke off the opening ({type(error).__name__})") from None
    if subprotocol is not None and socket.protocol != subprotocol:
        await _close(socket)
        raise CommandFailed(f"{place} does not speak {subprotocol}")
    return socket


def _could_be_started(url: URL, error: aiohttp.ClientConnectorError) -> bool:
    """Would a server on this machine have answered."""
    if error.os_error.errno != errno.ECONNREFUSED or url.host is None:
        return False
    try:
        return ipaddress.ip_address(url.host).is_loopback
    except ValueError:
        return url.host == "localhost"


async def read_refusal(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """
    Take the body of a refused upgrade before the client library throws it away.

    Raises:
        Refusal: the answer is another one than 101; the text holds the server's own words.
    """
    response = await handler(request)
    if response.status == 101:
        return response
    body = (await response.content.read(4 * _SHOWN_REFUSAL)).decode(errors="replace").strip()
    token = request.url.query.get("access_token")
    if token:
        body = body.replace(token, "…")
    response.close()
    words = f": {body[:_SHOWN_REFUSAL]}" if body else ""
    phrase = f" {response.reason}" if response.reason else ""
    elsewhere = response.status == _NOT_FOUND and not request.url.path.startswith(_UPGRADE_PATHS)
    sample = f" ({_SAMPLE.format(place=request.url.authority)})" if elsewhere else ""
    text = f"the server refused the connection: {response.status}{phrase}{words}{sample}"
    raise Refusal(text, (), response.status)


async def converse(
    socket: aiohttp.ClientWebSocketResponse, conversation: Conversation, screen: Screen, wait_s: float
) -> None:
    """
    Talk until the person, the input or the server ends it, and close the socket.

    Args:
        wait_s: how long to listen after the last line of a pipe or file was answered.

    Raises:
        CommandFailed: the server ended the connection, or (without a person to see it) a line was not carried out.
    """
    talk = _Talk(socket, conversation, screen)
    screen.begin()
    if screen.interactive and conversation.greeting is not None:
        screen.show(conversation.greeting)
    hearing = asyncio.ensure_future(talk.hear())
    saying = asyncio.ensure_future(talk.say(wait_s))
    others = [asyncio.ensure_future(talk.acknowledge()), asyncio.ensure_future(screen.stopped.wait())]
    try:
        await asyncio.wait({hearing, saying, *others}, return_when=asyncio.FIRST_COMPLETED)
        if talk.broken:
            # A write found out first; the reader knows why, or will in a moment.
            await asyncio.wait({hearing}, timeout=_CLOSE_TIMEOUT_S)
        if hearing.done():
            raise CommandFailed(hearing.result())
        if talk.broken:
            raise CommandFailed("the connection was lost")
        if saying.done():
            saying.result()
        if not screen.interactive and not screen.stopped.is_set():
            _settle(talk.bad_lines, conversation)
    finally:
        for task in (hearing, saying, *others):
            task.cancel()
        await asyncio.gather(hearing, saying, *others, return_exceptions=True)
        await _close(socket)


async def _close(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Say goodbye with 1000. The library waits anew after each message that still comes, so here is an end to that."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_TIMEOUT_S):
            await socket.close(code=aiohttp.WSCloseCode.OK)


def _settle(bad_lines: int, conversation: Conversation) -> None:
    faults = [
        f"{count} {what}"
        for count, what in (
            (bad_lines, "not understood"),
            (conversation.refused, "refused"),
            (conversation.outstanding, "not answered"),
        )
        if count
    ]
    if faults:
        raise CommandFailed(f"not all lines were carried out: {', '.join(faults)}")


class _Talk:
    """The two directions of one connection."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, conversation: Conversation, screen: Screen) -> None:
        self.broken = False
        self.bad_lines = 0
        self._socket = socket
        self._conversation = conversation
        self._screen = screen
        self._answered = asyncio.Event()

    async def hear(self) -> str:
        """Show what arrives, until the connection ends; returns why it did."""
        count = 0
        while (message := await self._socket.receive()).type not in _ENDS:
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                continue
            shown = self._conversation.hear(message.data)
            if shown is not None:
                self._screen.show(shown)
            self._answered.set()
            count += 1
            if count % _ACKNOWLEDGE_EVERY == 0 and (frame := self._conversation.acknowledge()) is not None:
                await self._send(frame)
        code = self._socket.close_code
        if code is None or code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE:
            return "the connection was lost"
        reason = f": {message.extra}" if message.type is aiohttp.WSMsgType.CLOSE and message.extra else ""
        return f"the server closed the connection (code {code}){reason}"

    async def say(self, wait_s: float) -> None:
        """Send what is typed until the end; a pipe's last answers are waited for."""
        while (line := await self._screen.line()) is not None:
            if not line.strip():
                continue
            try:
                step = self._conversation.say(line)
            except BadLine as error:
                self.bad_lines += 1
                self._screen.complain(str(error))
                continue
            if step is Word.QUIT:
                break
            if isinstance(step, str):
                await self._send(step)
            else:
                for explanation in HELP:
                    self._screen.show(explanation)
        if not self._screen.interactive:
            await self._last_answers()
            await asyncio.sleep(wait_s)

    async def acknowledge(self) -> None:
        """Tell a reliable server now and then what arrived. Never ends."""
        while True:
            await asyncio.sleep(_ACKNOWLEDGE_EVERY_S)
            if (frame := self._conversation.acknowledge()) is not None:
                await self._send(frame)

    async def _last_answers(self) -> None:
        try:
            async with asyncio.timeout(_ACK_TIMEOUT_S):
                while self._conversation.outstanding:
                    self._answered.clear()
                    await self._answered.wait()
        except TimeoutError:
            # Whoever asks how many are outstanding will be told.
            return

    async def _send(self, frame: str) -> None:
        try:
            await self._socket.send_str(frame)
        except (ConnectionError, aiohttp.ClientError):
            self.broken = True
            await asyncio.Event().wait()
