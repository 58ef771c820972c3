"""Whole conversations, drawn at random: whatever is said, and whenever sockets are lost."""

from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from hubwire.model.errors import QueueOverflow
from hubwire.model.messages import AckError, ClientRequest, EventAnswer, SendEvent, SendToGroup
from hubwire.protocols.mqtt.arrival import Policy
from hubwire.protocols.mqtt.packets import (
    NO_PROPERTIES,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Filter,
    Packet,
    Pingreq,
    Pingresp,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    encode,
)
from hubwire.protocols.reliable import QueueLimits
from protocols.mqtt.pretend import FORBIDDEN, NOW, Acknowledged, Client, batch, from_mqtt

# Anything at all


TOPICS = st.sampled_from(
    [
        "a",
        "b/c",
        "x" * 1025,
        "$SYS",
        "a/+",
        "#",
        "$share/g/a",
        "$webpubsub/server/messages",
        "$webpubsub/server/events/e",
        "$webpubsub/server/events/e/failed",
        "$webpubsub/server/events/",
    ]
)
IDS = st.integers(1, 4)
CODES = st.sampled_from([0, 0x10, 0x80, 0x87, 0x92])
PROPERTIES = st.sampled_from(
    [
        NO_PROPERTIES,
        Properties(content_type="no type"),
        Properties(content_type="application/json", message_expiry_s=0),
        Properties(message_expiry_s=0xFFFFFFFF, payload_format=1, user_properties=(("a", "b"),)),
        Properties(topic_alias=3),
        Properties(subscription_ids=(5,)),
    ]
)


@st.composite
def publishes(draw: st.DrawFn) -> Packet:
    qos = draw(st.integers(0, 2))
    return Publish(
        draw(TOPICS),
        draw(st.sampled_from([b"", b"text", b"\xff", b"x" * 300])),
        qos,
        draw(st.booleans()),
        qos > 0 and draw(st.booleans()),
        draw(IDS) if qos else None,
        draw(PROPERTIES),
    )


FILTERS = st.lists(st.builds(Filter, TOPICS, st.integers(0, 2), st.booleans()), min_size=1, max_size=4).map(tuple)
SUBSCRIBES = st.builds(
    Subscribe, IDS, FILTERS, st.sampled_from([NO_PROPERTIES, Properties(subscription_ids=(268_435_455,))])
)
UNSUBSCRIBES = st.builds(Unsubscribe, IDS, st.lists(TOPICS, min_size=1, max_size=3).map(tuple))
ACKNOWLEDGEMENTS = st.one_of([st.builds(kind, IDS, CODES) for kind in (Puback, Pubrec, Pubrel, Pubcomp)])
RARE: st.SearchStrategy[Packet] = st.sampled_from(
    [
        Pingreq(),
        Disconnect(),
        Disconnect(4, Properties(session_expiry_s=3)),
        Connect(5, "me", True, 0),
        Connack(False),
        Pingresp(),
        Auth(0),
    ]
)
PACKETS: st.SearchStrategy[Packet] = st.one_of(
    publishes(), publishes(), SUBSCRIBES, UNSUBSCRIBES, ACKNOWLEDGEMENTS, RARE
)
STEPS = st.one_of(
    st.tuples(st.just("say"), st.lists(PACKETS, min_size=1, max_size=4)),
    st.tuples(st.just("bytes"), st.binary(min_size=1, max_size=12)),
    st.tuples(st.just("deliver"), st.tuples(st.sampled_from(["a", "b/c"]), st.integers(0, 2), st.integers(0, 200))),
    st.tuples(st.just("ack"), st.sampled_from([None, FORBIDDEN, AckError("InternalServerError", "no", True)])),
    st.tuples(st.just("socket"), st.booleans()),
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([4, 5]), st.sampled_from([None, 1, 3]), st.sampled_from([None, 60]), st.lists(STEPS, max_size=30)
)
def test_nothing_that_a_client_says_is_raised(
    version: int, window: int | None, most: int | None, steps: list[tuple[str, object]]
) -> None:
    properties = Properties(session_expiry_s=30, receive_maximum=window, maximum_packet_size=most)
    client = Client(
        version,
        properties=properties if version == 5 else NO_PROPERTIES,
        clean_start=False,
        limits=QueueLimits(5, 1000),
        policy=Policy(receive_maximum=3, retain="refuse", wildcards=True, shared_subscriptions=True),
    )
    client.answers = []
    open_requests: deque[ClientRequest] = deque()
    for step, what in steps:
        if step == "say":
            assert isinstance(what, list)
            open_requests += client.say(*[one for one in what if version == 5 or not isinstance(one, Auth)])
        elif step == "bytes":
            assert isinstance(what, bytes)
            open_requests += client.say(what)
        elif step == "deliver":
            assert isinstance(what, tuple)
            group, qos, size = what
            try:
                packets = client.deliver(from_mqtt("x" * size, qos, group, expiry_s=size), expires_at=NOW + 1 + size)
            except QueueOverflow:
                return
            assert most is None or version == 4 or all(len(encode(one, version)) <= most for one in packets)
        elif step == "ack" and open_requests:
            request = open_requests.popleft()
            if isinstance(request, SendEvent):
                client.tell(EventAnswer(request, 200 if what is None else 500, body=b"x" * 100))
            if isinstance(request, Acknowledged) and request.ack_id is not None:
                assert what is None or isinstance(what, AckError)
                client.ack(request, what)
        elif step == "socket":
            client.session.lost()
            if client.session.fault is not None or not client.session.recoverable:
                return
            client.back()
        if client.session.fault is not None and client.session.ending is None:
            assert client.say(Pingreq()) == []
            assert client.answers == []


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([4, 5]), st.lists(st.one_of(publishes(), SUBSCRIBES, UNSUBSCRIBES), max_size=12), st.data())
def test_each_packet_is_answered_once(version: int, packets: list[Packet], data: st.DataObject) -> None:
    """In the order of the packets of each kind, whoever decides on them."""
    client = Client(version)
    expected: list[tuple[type[Packet], int]] = []
    said: list[Packet] = []
    for number, packet in enumerate(packets, start=1):
        match packet:
            case Publish(topic, payload, qos, _, _, _, _):
                if "+" in topic or "#" in topic or (qos == 0 and topic[0] in "$x"):
                    continue
                packet = Publish(topic, payload, qos, packet_id=number if qos else None)
                if qos:
                    expected.append((Puback if qos == 1 else Pubrec, number))
            case Subscribe(_, filters):
                packet = Subscribe(number, filters)
                expected.append((Suback, number))
            case Unsubscribe(_, filters):
                packet = Unsubscribe(number, filters)
                expected.append((Unsuback, number))
        said.append(packet)
    requests = client.say(*said)
    answers = list(client.answers)
    for request in requests:
        if isinstance(request, SendToGroup | SendEvent) and request.ack_id is None:
            continue
        answers += client.ack(request, data.draw(st.sampled_from([None, FORBIDDEN])))

    assert client.session.fault is None
    for kind in (Puback, Pubrec, Suback, Unsuback):
        found = [answer.packet_id for answer in answers if isinstance(answer, kind)]
        wanted = [number for one, number in expected if one is kind]
        assert sorted(found) == wanted
        if kind in (Puback, Pubrec):
            assert found == wanted


# Losses


class Device:
    """
    A client that does with QoS 1 and 2 what the standard says, and a wire that can be lost in between.

    Messages that the hub has accepted are handed over when its turn ends, and answers to the client wait behind them,
    as in the real one; and so does what the client has made room for.
    """

    def __init__(self, version: int, window: int | None) -> None:
        properties = Properties(session_expiry_s=30, receive_maximum=window) if version == 5 else NO_PROPERTIES
        self.client = Client(version, properties=properties, clean_start=False, limits=QueueLimits(10_000, 1 << 30))
        self.client.ask(Subscribe(1, (Filter("news", 2),)))
        self.window = window if version == 5 else None
        self.connected = True
        self.up: deque[Packet] = deque()
        self.down: deque[Packet] = deque()
        self.accepted: list[str] = []
        self.replies: list[Packet] = []
        self.is_late = False
        self.requests: deque[SendToGroup] = deque()
        self.sent = 0
        # What the device remembers of each direction.
        self.got: list[str] = []
        self.got_ids: set[int] = set()
        self.unfinished: set[int | None] = set()
        self.open: dict[int, Publish | Pubrel] = {}
        self.published = 0
        self.taken: list[str] = []

    def accept(self, qos: int) -> None:
        """The hub accepts a message for the device."""
        self.sent += 1
        self.accepted.append(f"{self.sent}/{qos}")

    def flush(self) -> None:
        if self.accepted:
            messages = [from_mqtt(text, int(text[-1])) for text in self.accepted]
            self.accepted = []
            frames = self.client.session.deliver(batch(self.client.version, *messages), NOW)
            if self.connected:
                self.hand_over(self.client.hear(frames))
        if self.connected:
            self.hand_over(self.replies)
        self.replies = []
        if self.is_late:
            self.hand_over(self.client.release())
            self.is_late = False

    def hand_over(self, packets: list[Packet]) -> None:
        """To the wire, with no more unfinished messages on it than the device takes."""
        self.down += packets
        self.unfinished |= {packet.packet_id for packet in packets if isinstance(packet, Publish)}
        assert self.window is None or len(self.unfinished) <= self.window

    def publish(self, qos: int) -> None:
        """The device publishes something."""
        if self.connected and len(self.open) < 20:
            self.published += 1
            packet_id = next(number for number in range(1, 100) if number not in self.open)
            packet = Publish("up", f"{self.published}/{qos}".encode(), qos, packet_id=packet_id)
            self.open[packet_id] = packet
            self.up.append(packet)

    def step_up(self) -> None:
        """One packet of the device arrives."""
        if self.up:
            for request in self.client.say(self.up.popleft(), release=False):
                assert isinstance(request, SendToGroup)
                self.requests.append(request)
                self.taken.append(request.data.body.decode())
            self.replies += self.client.answers
            self.is_late = self.is_late or self.client.session.has_late
            assert self.client.session.fault is None

    def carry_out(self) -> None:
        """The outcome of one request is known."""
        if self.requests:
            self.replies += self.client.ack(self.requests.popleft())

    def step_down(self) -> None:
        """One packet for the device arrives."""
        if not self.down:
            return
        packet = self.down.popleft()
        match packet:
            case Publish(_, payload, 1, _, _, packet_id):
                self.got.append(payload.decode())
                self.unfinished.discard(packet_id)
                self.up.append(Puback(packet_id or 0))
            case Publish(_, payload, 2, _, _, packet_id):
                assert packet_id is not None
                if packet_id not in self.got_ids:
                    self.got_ids.add(packet_id)
                    self.got.append(payload.decode())
                self.up.append(Pubrec(packet_id))
            case Pubrel(packet_id):
                self.got_ids.discard(packet_id)
                self.unfinished.discard(packet_id)
                self.up.append(Pubcomp(packet_id))
            case Puback(packet_id) | Pubcomp(packet_id):
                self.open.pop(packet_id, None)
            case Pubrec(packet_id):
                if packet_id in self.open:
                    del self.open[packet_id]
                    self.open[packet_id] = Pubrel(packet_id)
                self.up.append(Pubrel(packet_id))
            case _:
                raise AssertionError(packet)

    def lose(self) -> None:
        """The wire is cut, with everything on it."""
        if self.connected:
            self.connected = False
            self.up.clear()
            self.down.clear()
            self.client.session.lost()

    def come_back(self, window: int | None) -> None:
        """Another wire, also while nobody has noticed the end of the other one."""
        if self.client.version == 5:
            self.window = window
            self.client.take_over(Properties(session_expiry_s=30, receive_maximum=window))
        else:
            self.client.take_over()
        self.connected = False  # what is written to the other one does not matter any more
        self.flush()
        self.up.clear()
        self.down.clear()
        self.connected = True
        self.unfinished.clear()
        self.hand_over(self.client.resume())
        for packet_id, packet in self.open.items():
            if isinstance(packet, Publish):
                packet = Publish(packet.topic, packet.payload, packet.qos, dup=True, packet_id=packet_id)
            self.up.append(packet)


DEVICE_STEPS = st.sampled_from(
    [
        *["accept 1", "accept 2", "accept 2", "accept many"],
        *["publish 1", "publish 2", "publish 2"],
        *["flush", "up", "down", "carry out"] * 2,
        *["up all", "down all", "carry out all"],
        *["lose", "come back", "come back with 1", "come back with 2"],
    ]
)

CONGESTED_STEPS = st.sampled_from(["accept 1", "accept 1", "flush", "down all", "up all"])


def act(device: Device, step: str) -> None:
    match step.split():
        case ["accept", "many"]:
            for qos in (1, 1, 1, 2, 2):
                device.accept(qos)
        case ["accept", qos]:
            device.accept(int(qos))
        case ["publish", qos]:
            device.publish(int(qos))
        case ["flush"]:
            device.flush()
        case ["up", *more]:
            for _ in range(len(device.up) if more else 1):
                device.step_up()
        case ["down", *more]:
            for _ in range(len(device.down) if more else 1):
                device.step_down()
        case ["carry", "out", *more]:
            for _ in range(len(device.requests) if more else 1):
                device.carry_out()
        case ["lose"]:
            device.lose()
        case ["come", "back", *window]:
            device.come_back(int(window[1]) if window else None)


def first_ones(texts: list[str]) -> list[str]:
    return list(dict.fromkeys(texts))


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from([4, 5]),
    st.sampled_from([None, 1, 2, 5]),
    st.lists(DEVICE_STEPS, max_size=150),
)
def test_nothing_is_lost_doubled_or_reordered(version: int, window: int | None, steps: list[str]) -> None:
    """Doubled: with QoS 2, that is. With QoS 1 what is repeated may come twice."""
    device = Device(version, window)
    for step in steps:
        act(device, step)
    device.come_back(window)
    check_all(device)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 4), st.lists(CONGESTED_STEPS, min_size=30, max_size=80))
def test_narrow_window_does_not_change_the_order(window: int, steps: list[str]) -> None:
    device = Device(5, window)
    for step in steps:
        act(device, step)
    check_all(device)


def check_all(device: Device) -> None:
    """Let everything arrive that is still to come, and look at what has come of it."""
    quiet = False
    while not quiet:
        before = (len(device.got), len(device.taken))
        for _ in range(5 + len(device.up) + len(device.down) + len(device.requests)):
            for step in ("flush", "down", "up", "carry out"):
                act(device, step)
        idle = not (device.up or device.down or device.requests or device.replies or device.accepted or device.is_late)
        quiet = idle and before == (len(device.got), len(device.taken))

    assert device.client.session.held() == (0, 0)
    assert device.open == {}
    assert device.got_ids == set()
    for texts, count in ((device.got, device.sent), (device.taken, device.published)):
        twice = [text for text in texts if text.endswith("2")]
        assert twice == first_ones(twice)
        assert len(first_ones(texts)) == count
        for qos in "12":
            numbers = [int(text[:-2]) for text in first_ones(texts) if text.endswith(qos)]
            assert numbers == sorted(numbers)
