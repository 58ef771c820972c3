"""
What a person types and what a connection says, translated into one another. Pure.

A line of a person becomes a frame, a request for help, or the end; a frame of the server becomes a line to read. One
conversation is one connection.
"""

import base64
import re
from enum import Enum, auto
from typing import Any, Final, Protocol, TypeAlias

import msgspec
from msgspec import Raw, Struct

from hubwire.cli.text import printable
from hubwire.model.names import is_event_name, is_group_name

__all__ = ["HELP", "BadLine", "Conversation", "JsonConversation", "RawConversation", "Word"]

HELP: Final = (
    "join GROUP             receive what is sent to a group",
    "leave GROUP            receive it no more",
    "send GROUP TEXT        send text to a group",
    "sendjson GROUP JSON    send a JSON value to a group",
    "event NAME TEXT        send an event to the application's server",
    "help                   this list",
    "quit                   close the connection and end",
    'A name with blanks stands in double quotes: send "my room" hello',
)

_LINE: Final = re.compile(r"\s*(\S+)(?:\s+(.*))?", re.DOTALL)
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_ARGUMENTS: Final = re.compile(r'("(?:[^"\\]|\\.)*"|[^\s"]\S*)(?:\s(.*))?', re.DOTALL)


class BadLine(Exception):  # noqa: N818  the line is at fault
    """What was typed cannot be sent. The text says what would be right."""


class Word(Enum):
    """Lines that are for us and not for the server."""

    HELP = auto()
    QUIT = auto()


Step: TypeAlias = str | Word


class Conversation(Protocol):
    """One connection's two languages."""

    @property
    def greeting(self) -> str | None:
        """What a person reads when the connection is open; None where the server says it."""

    @property
    def outstanding(self) -> int:
        """How many requests were not answered yet."""

    @property
    def refused(self) -> int:
        """How many requests were answered with a no."""

    def say(self, line: str) -> Step:
        """
        A line that somebody typed (not blank) to the text frame to send, or to a word for us.

        Raises:
            BadLine: it means nothing here.
        """

    def hear(self, payload: str | bytes) -> str | None:
        """A message of the server as a line to show; None for one that nobody needs to see."""

    def acknowledge(self) -> str | None:
        """A frame that tells a reliable server what arrived since the last one; None when there is nothing to tell."""


class _Error(Struct):
    name: str = ""
    message: str = ""


class _Heard(Struct, rename="camel"):
    """Any frame of the JSON subprotocols, as far as we show it."""

    type: str
    event: str | None = None
    connection_id: str | None = None
    user_id: str | None = None
    message: str | None = None
    ack_id: int | None = None
    success: bool | None = None
    error: _Error | None = None
    origin: str | None = msgspec.field(name="from", default=None)
    group: str | None = None
    from_user_id: str | None = None
    data_type: str | None = None
    data: Raw = msgspec.field(default_factory=Raw)
    sequence_id: int | None = None
    metadata: dict[str, str] | None = None


_heard: Final = msgspec.json.Decoder(_Heard)


class JsonConversation:
    """The language of `json.webpubsub.azure.v1` and its reliable sister. Every request asks for an ack."""

    greeting = None

    def __init__(self) -> None:
        self.refused = 0
        self._asked: dict[int, str] = {}
        self._next_ack_id = 1
        self._highest = 0
        self._acknowledged = 0

    @property
    def outstanding(self) -> int:
        return len(self._asked)

    def say(self, line: str) -> Step:
        word, rest = _first(_LINE, line)
        match word:
            case "help" | "?":
                return Word.HELP
            case "quit" | "exit":
                return Word.QUIT
            case "join" | "leave":
                group, more = _name(rest, f"{word} GROUP")
                if more.strip():
                    raise BadLine(
                        f'{word} takes one group; a name with blanks stands in double quotes: {word} "my room"'
                    )
                return self._ask(f"{word} {_group(group)}", {"type": f"{word}Group", "group": group})
            case "send":
                group, text = _addressed(rest, "send GROUP TEXT")
                return self._publish(group, "text", text)
            case "sendjson":
                group, text = _addressed(rest, "sendjson GROUP JSON")
                try:
                    msgspec.json.decode(text)
                except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
                    raise BadLine(f"not JSON: {error}") from error
                # As it was typed: receivers get the sender's own spelling.
                return self._publish(group, "json", Raw(text.encode()))
            case "event":
                event, text = _name(rest, "event NAME TEXT")
                if not is_event_name(event):
                    raise BadLine("an event's name is a letter and at most 127 more letters, digits, _, . or -")
                return self._ask(f"event {event}", {"type": "event", "event": event, "dataType": "text", "data": text})
            case _:
                raise BadLine(f"unknown word {printable(word)}; try help")

    def hear(self, payload: str | bytes) -> str | None:
        try:
            frame = _heard.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # the last is its answer to deep nesting
            return f"* not understood: {_shown(payload)}"
        if frame.sequence_id is not None:
            self._highest = max(self._highest, frame.sequence_id)
        match frame.type:
            case "message":
                return _message(frame)
            case "ack" if frame.ack_id is not None:
                return self._answered(frame.ack_id, frame)
            case "system" if frame.event == "connected":
                who = f" as {printable(frame.user_id)}" if frame.user_id else ""
                return f"* connected{who}, connection {printable(frame.connection_id or '')}"
            case "system" if frame.event == "disconnected":
                return f"* the server ends the connection: {printable(frame.message or 'it gave no reason')}"
            case "pong":
                return None
            case _:
                return f"* not understood: {_shown(payload)}"

    def acknowledge(self) -> str | None:
        if self._highest == self._acknowledged:
            return None
        self._acknowledged = self._highest
        return _frame({"type": "sequenceAck", "sequenceId": self._highest})

    def _publish(self, group: str, data_type: str, data: str | Raw) -> str:
        request = {"type": "sendToGroup", "group": group, "dataType": data_type, "data": data}
        return self._ask(f"send to {_group(group)}", request)

    def _ask(self, title: str, request: dict[str, Any]) -> str:
        frame = _frame({**request, "ackId": self._next_ack_id})
        self._asked[self._next_ack_id] = title
        self._next_ack_id += 1
        return frame

    def _answered(self, ack_id: int, frame: _Heard) -> str:
        title = self._asked.pop(ack_id, f"request {ack_id}")
        if frame.success:
            return f"* done: {title}"
        self.refused += 1
        error = frame.error or _Error("no reason")
        reason = printable(f"{error.name}: {error.message}" if error.message else error.name)
        return f"* refused: {title}: {reason}"


class RawConversation:
    """Simple clients: each line is a message as it is, each message a line. Nothing is answered."""

    greeting = "* connected; every line is one message"
    outstanding = 0
    refused = 0

    def say(self, line: str) -> Step:
        return line

    def hear(self, payload: str | bytes) -> str | None:
        return _shown(payload)

    def acknowledge(self) -> str | None:
        return None


def _message(frame: _Heard) -> str:
    """Groups stand in brackets, so that no group's name can be taken for the server."""
    user = f" {printable(frame.from_user_id)}" if frame.from_user_id else ""
    origin = f"[{printable(frame.group or '')}]{user}" if frame.origin == "group" else "server"
    metadata = "".join(f" {printable(key)}={printable(value)}" for key, value in (frame.metadata or {}).items())
    return f"{origin}>{f' ({metadata.strip()})' if metadata else ''} {_data(frame)}"


def _data(frame: _Heard) -> str:
    raw = bytes(frame.data)
    if frame.data_type == "json":
        return printable(raw.decode())
    try:
        text = msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError:
        return printable(raw.decode())
    if frame.data_type == "text":
        return printable(text)
    return f"({printable(frame.data_type or 'no data type')}, base64) {printable(text)}"


def _shown(payload: str | bytes) -> str:
    if isinstance(payload, str):
        return printable(payload)
    return f"(binary, base64) {base64.b64encode(payload).decode('ascii')}"


def _first(pattern: re.Pattern[str], text: str) -> tuple[str, str]:
    found = pattern.fullmatch(text)
    return ("", "") if found is None else (found[1], found[2] or "")


def _name(rest: str, usage: str) -> tuple[str, str]:
    """The name that a line begins with, and what follows it after one blank."""
    name, more = _first(_ARGUMENTS, rest)
    if name.startswith('"'):
        try:
            name = msgspec.json.decode(name, type=str)
        except msgspec.DecodeError as error:
            raise BadLine(f"a name in quotes is not a JSON string: {error}") from error
    if rest.startswith('"') and not _QUOTED.match(rest):
        raise BadLine("the double quote is not closed")
    if not is_group_name(name):
        raise BadLine(f"like this: {usage}")
    return name, more


def _addressed(rest: str, usage: str) -> tuple[str, str]:
    """A name and the content behind it, which must be there."""
    name, content = _name(rest, usage)
    if not content.strip():
        raise BadLine(f"like this: {usage}")
    return name, content


def _group(name: str) -> str:
    return printable(name)


def _frame(request: dict[str, Any]) -> str:
    return msgspec.json.encode(request).decode()
