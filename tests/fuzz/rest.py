"""What reads REST calls: paths, queries, tokens of pages, payloads, and the settings of hubs."""

from typing import Any, Final

import msgspec
from hypothesis import strategies as st

from doubles import HUB
from fuzz.inputs import TEXTS, damaged, json_objects, json_texts, tree
from fuzz.protocols import check_receivable
from fuzz.target import Target
from hubwire.model.errors import BadRequest, UnsupportedMedia
from hubwire.model.messages import GroupMessage
from hubwire.model.targets import to_group
from hubwire.resources.hub_properties import completed, merged, settings_of
from hubwire.rest.paging import continuation, position
from hubwire.rest.payload import data_of, json_text, media_type, metadata_of, sendable
from hubwire.rest.query import QueryString
from hubwire.rest.routing import Routes, segments

__all__ = ["TARGETS"]

_ROUTES: Final = Routes(
    [
        ("POST", "/api/hubs/{hub}/:send", "send"),
        ("GET", "/api/hubs/{hub}/groups/{group}/connections", "list"),
        ("PUT", "/api/hubs/{hub}/groups/{group}/connections/{connectionId}", "add"),
    ]
)


def _check_path(raw: bytes) -> None:
    try:
        assert all(segments(raw)) or b"%" in raw or segments(raw) == ()
        match = _ROUTES.match(raw)
    except BadRequest as refusal:
        assert refusal.target == "path"
        return
    if match is not None:
        for name in match.names.values():
            name.encode()


def _check_query(raw: bytes) -> None:
    try:
        query = QueryString(raw)
    except BadRequest:
        return
    for name in ("top", "filter", "TOP"):
        try:
            number = query.number(name, 1, 100)
        except BadRequest as refusal:
            assert refusal.target == name
        else:
            assert number is None or 1 <= number <= 100
        query.all(name)


def _check_paging(token: str, group: str) -> None:
    target = to_group(HUB, group.encode("utf-8", "replace").decode())
    try:
        after = position(target, token)
    except BadRequest:
        after = "abc"
    assert position(target, continuation(target, after)) == after


def _check_payload(content_type: str, body: bytes, metadata: list[tuple[str, str]]) -> None:
    try:
        metadata_of([("x-webpubsub-metadata-" + name.lower(), value) for name, value in metadata])
    except BadRequest:
        pass
    try:
        media = sendable(media_type([("content-type", content_type)]))
        data = data_of(media, body)
    except (UnsupportedMedia, BadRequest):
        return
    if data.kind != "binary":
        data.body.decode()
    if data.kind == "json":
        check_receivable(GroupMessage("room", data, "user"))
        assert json_text(media, body) == data.body


def _check_properties(old: bytes, new: bytes, depth: int) -> None:
    documents: list[dict[str, Any]] = []
    for text in (old, new):
        try:
            documents.append(msgspec.json.decode(text, type=dict[str, Any]))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
    documents[1]["unknown"] = tree(depth)
    try:
        first = completed(documents[0])
        second = merged(first, documents[1])
    except BadRequest as refusal:
        assert refusal.target
        return
    assert completed(second) == second
    settings_of(second)
    msgspec.json.encode(second)


_properties = json_objects(
    {
        "anonymousConnectPolicy": st.sampled_from(['"allow"', '"DENY"', '"x"']),
        "webSocketKeepAliveIntervalInSeconds": st.sampled_from(["1", "120", "121", "1.0", "true"]),
        "eventHandlers": st.sampled_from(["[]", "[{}]", "{}"]),
        "EVENTLISTENERS": st.just("[]"),
        "communicationIdentity": st.sampled_from(
            ["{}", '{"scopes":["chat"]}', '{"scopes":[]}', '{"Roles":["x"]}', "[]"]
        ),
        "x": json_texts,
    }
)

TARGETS: Final = {
    "paths": Target(
        (damaged(st.sampled_from([b"/api/hubs/chat/:send", b"/api/hubs/a/groups/b%2Fc/connections/d", b"//"])),),
        _check_path,
    ),
    "queries": Target(
        (
            damaged(
                st.sampled_from(
                    [b"top=3&filter=userId%20eq%20null", b"top=3&TOP=4", b"filter=+&top=99999999999999999999"]
                )
            ),
        ),
        _check_query,
    ),
    "paging": Target((TEXTS | st.just(continuation(to_group(HUB, "room"), "abc")), TEXTS), _check_paging),
    "payloads": Target(
        (
            st.sampled_from(
                [
                    "text/plain",
                    "application/json",
                    "application/json; charset=utf-16",
                    'text/plain;charset="gb18030"',
                    "text/plain;;charset=iso-2022-jp",
                    "application/octet-stream",
                    'text/plain; charset="',
                    "a/b;c",
                    "text/plain; charset=utf-32",
                ]
            )
            | TEXTS,
            damaged(json_texts.map(lambda text: text.encode("utf-8", "surrogatepass"))) | st.binary(max_size=200),
            st.lists(st.tuples(TEXTS, TEXTS), max_size=3),
        ),
        _check_payload,
    ),
    "properties": Target((_properties, _properties, st.integers(0, 40)), _check_properties),
}
