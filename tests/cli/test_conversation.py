"""Typed lines to frames, and frames to lines to read."""

import json

import pytest

from hubwire.cli.conversation import BadLine, JsonConversation, RawConversation, Word


def sent(line: str) -> object:
    """The frame of a first line, as JSON."""
    frame = JsonConversation().say(line)
    assert isinstance(frame, str)
    return json.loads(frame)


@pytest.mark.parametrize(
    ("line", "frame"),
    [
        ("join room", {"type": "joinGroup", "group": "room", "ackId": 1}),
        ("  leave   room ", {"type": "leaveGroup", "group": "room", "ackId": 1}),
        ('join "my room"', {"type": "joinGroup", "group": "my room", "ackId": 1}),
        (r'join "say \"hi\""', {"type": "joinGroup", "group": 'say "hi"', "ackId": 1}),
        ("join räume/ü", {"type": "joinGroup", "group": "räume/ü", "ackId": 1}),
        (
            "send room hello  there",
            {"type": "sendToGroup", "group": "room", "dataType": "text", "data": "hello  there", "ackId": 1},
        ),
        (
            'send "my room" "quoted" text',
            {"type": "sendToGroup", "group": "my room", "dataType": "text", "data": '"quoted" text', "ackId": 1},
        ),
        (
            'sendjson room {"a": [1, null]}',
            {"type": "sendToGroup", "group": "room", "dataType": "json", "data": {"a": [1, None]}, "ackId": 1},
        ),
        ("event ping a b", {"type": "event", "event": "ping", "dataType": "text", "data": "a b", "ackId": 1}),
    ],
)
def test_line_becomes_the_frame_of_the_subprotocol(line: str, frame: dict[str, object]) -> None:
    """Each asks for an ack, so that what became of it can be shown."""
    assert sent(line) == frame


def test_json_is_sent_as_it_was_typed() -> None:
    """Receivers get the sender's own spelling, numbers that no program could hold included."""
    frame = JsonConversation().say('sendjson room { "a" : 1.10, "b":123456789012345678901234567890 }')

    assert isinstance(frame, str)
    assert '{ "a" : 1.10, "b":123456789012345678901234567890 }' in frame


def test_ack_ids_count_from_one() -> None:
    """One space for all kinds of requests."""
    conversation = JsonConversation()
    frames = [conversation.say(line) for line in ("join a", "send a x", "event e")]

    assert [json.loads(str(frame))["ackId"] for frame in frames] == [1, 2, 3]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("jion room", "unknown word jion; try help"),
        ("join", "like this: join GROUP"),
        ("join a b", "join takes one group; "),
        ('join " "', "like this: join GROUP"),
        ('join "unended', "the double quote is not closed"),
        ('send "my room hello', "the double quote is not closed"),
        ('send "my room\\" hello', "the double quote is not closed"),
        ('send "', "the double quote is not closed"),
        ('send "my"room hello', "like this: send GROUP TEXT"),
        ('join "bad \\q"', "a name in quotes is not a JSON string: "),
        ("send", "like this: send GROUP TEXT"),
        ("send room", "like this: send GROUP TEXT"),
        ("send room  ", "like this: send GROUP TEXT"),
        ('send "my room"', "like this: send GROUP TEXT"),
        ("sendjson room", "like this: sendjson GROUP JSON"),
        ("sendjson room {", "not JSON: "),
        ("sendjson room {} {}", "not JSON: "),
        ("sendjson room " + "[" * 2_000, "not JSON: "),
        ("event 9lives", "an event's name is "),
        (f"join {'x' * 1025}", "like this: join GROUP"),
        ("\x1b[2J", "unknown word "),
    ],
)
def test_line_that_means_nothing_is_explained_and_not_sent(line: str, reason: str) -> None:
    """The reason can be shown as it is."""
    conversation = JsonConversation()

    with pytest.raises(BadLine) as caught:
        conversation.say(line)

    assert str(caught.value).startswith(reason)
    assert str(caught.value).isprintable()
    assert conversation.outstanding == 0


@pytest.mark.parametrize(
    ("line", "word"), [("help", Word.HELP), ("?", Word.HELP), (" quit ", Word.QUIT), ("exit", Word.QUIT)]
)
def test_words_for_us_are_not_sent(line: str, word: Word) -> None:
    """Help and the end."""
    assert JsonConversation().say(line) is word


@pytest.mark.parametrize(
    ("frame", "line"),
    [
        (
            {"type": "system", "event": "connected", "userId": "alice", "connectionId": "c1"},
            "* connected as alice, connection c1",
        ),
        ({"type": "system", "event": "connected", "userId": "", "connectionId": "c1"}, "* connected, connection c1"),
        ({"type": "system", "event": "connected", "userId": None, "connectionId": "c1"}, "* connected, connection c1"),
        ({"type": "system", "event": "disconnected", "message": "bye"}, "* the server ends the connection: bye"),
        (
            {"type": "message", "from": "group", "group": "g", "fromUserId": "bob", "dataType": "text", "data": "hi"},
            "[g] bob> hi",
        ),
        ({"type": "message", "from": "group", "group": "g", "dataType": "text", "data": "hi"}, "[g]> hi"),
        ({"type": "message", "from": "group", "group": "server", "dataType": "text", "data": "x"}, "[server]> x"),
        ({"type": "message", "from": "server", "dataType": "text", "data": "x"}, "server> x"),
        ({"type": "message", "from": "server", "dataType": "json", "data": "x"}, 'server> "x"'),
        ({"type": "message", "from": "server", "dataType": "json", "data": None}, "server> null"),
        ({"type": "message", "from": "server", "dataType": "binary", "data": "AQI="}, "server> (binary, base64) AQI="),
        (
            {"type": "message", "from": "server", "dataType": "text", "data": "x", "metadata": {"k": "v", "l": "w"}},
            "server> (k=v l=w) x",
        ),
        ({"type": "ack", "ackId": 7, "success": True}, "* done: request 7"),
        ({"type": "news", "x": 1}, '* not understood: {"type": "news", "x": 1}'),
        ([1], "* not understood: [1]"),
        ({"type": "ack", "success": True}, '* not understood: {"type": "ack", "success": true}'),
    ],
)
def test_frame_becomes_a_line_to_read(frame: object, line: str) -> None:
    """Every frame is shown, also one that we do not know."""
    assert JsonConversation().hear(json.dumps(frame)) == line


def test_json_is_shown_as_it_came() -> None:
    """With its own spelling."""
    frame = '{"type":"message","from":"server","dataType":"json","data":{ "a" :  1.10 }}'

    assert JsonConversation().hear(frame) == 'server> { "a" :  1.10 }'


def test_pong_is_not_shown() -> None:
    """Nobody asked for it."""
    assert JsonConversation().hear('{"type":"pong"}') is None


@pytest.mark.parametrize("payload", ["{", "", b"\xff\xfe"])
def test_what_is_no_frame_is_shown_all_the_same(payload: str | bytes) -> None:
    """A person debugs with this tool."""
    shown = JsonConversation().hear(payload)

    assert shown is not None
    assert shown.startswith("* not understood: ")


def test_nothing_that_others_send_reaches_the_terminal_as_a_control() -> None:
    """Group, user, text, JSON, metadata, reasons: all of it is somebody else's."""
    evil = "a\x1b[2J\r\nb\x9b1m\u202e"
    conversation = JsonConversation()
    frames: list[dict[str, object]] = [
        {"type": "message", "from": "group", "group": evil, "fromUserId": evil, "dataType": "text", "data": evil},
        {"type": "message", "from": "server", "dataType": "json", "data": evil, "metadata": {evil: evil}},
        {"type": "message", "from": "server", "dataType": evil, "data": evil},
        {"type": "system", "event": "connected", "userId": evil, "connectionId": evil},
        {"type": "system", "event": "disconnected", "message": evil},
        {"type": "ack", "ackId": 1, "success": False, "error": {"name": evil, "message": evil}},
        {"type": evil},
    ]

    for ascii_only in (True, False):
        for frame in frames:
            shown = conversation.hear(json.dumps(frame, ensure_ascii=ascii_only))
            assert shown is not None
            assert shown.isprintable(), shown
    raw = RawConversation().hear(evil)
    assert raw is not None
    assert raw.isprintable()


def test_ack_is_shown_with_what_it_answers() -> None:
    """And it is no longer outstanding."""
    conversation = JsonConversation()
    conversation.say("join room")
    conversation.say("send room x")
    conversation.say("event e")
    assert conversation.outstanding == 3

    assert conversation.hear('{"type":"ack","ackId":2,"success":true}') == "* done: send to room"
    assert (
        conversation.hear('{"type":"ack","ackId":1,"success":false,"error":{"name":"Forbidden","message":"no"}}')
        == "* refused: join room: Forbidden: no"
    )
    assert conversation.hear('{"type":"ack","ackId":3,"success":false}') == "* refused: event e: no reason"

    assert (conversation.outstanding, conversation.refused) == (0, 2)


def test_message_that_is_nested_too_deeply_to_be_read_is_shown_as_it_is() -> None:
    """Other clients decide what is in there, and must not end ours."""
    conversation = JsonConversation()
    deep = '{"type":"message","from":"group","group":"g","dataType":"json","data":' + "[" * 60_000 + "]" * 60_000 + "}"

    assert conversation.hear(deep) == f"* not understood: {deep}"


def test_reliable_server_is_told_the_highest_number_once() -> None:
    """Nothing new, nothing to tell."""
    conversation = JsonConversation()
    assert conversation.acknowledge() is None
    for number in (1, 2, 3):
        conversation.hear(
            json.dumps({"type": "message", "from": "server", "dataType": "text", "data": "", "sequenceId": number})
        )

    assert json.loads(conversation.acknowledge() or "") == {"type": "sequenceAck", "sequenceId": 3}
    assert conversation.acknowledge() is None


def test_simple_client_says_and_hears_bare_messages() -> None:
    """No word is special."""
    conversation = RawConversation()

    assert conversation.say("quit") == "quit"
    assert conversation.hear("hello") == "hello"
    assert conversation.hear(b"\x01\x02") == "(binary, base64) AQI="
    assert (conversation.outstanding, conversation.refused, conversation.acknowledge()) == (0, 0, None)
