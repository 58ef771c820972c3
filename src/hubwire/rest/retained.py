"""
Retained messages of MQTT: what is kept, and taking it away. The service has none, so these operations are ours; their
paths begin with `/hubwire`, where none of the service's do.

Lists go on after a topic: `after` is the last one of the page before.
"""

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from hubwire.model.errors import BadRequest, NotFound
from hubwire.model.names import HubKey, is_group_name
from hubwire.model.topic_filters import is_topic_filter
from hubwire.rest.bodies import json_reply
from hubwire.rest.call import Call
from hubwire.rest.checks import checked_hub
from hubwire.rest.operation import Handler, Operation, Reply
from hubwire.rest.ports import Kept, Retained

__all__ = ["RetainedTable"]

_ALL: Final = "/hubwire/hubs/{hub}/retained"
_ONE: Final = _ALL + "/{topic}"
_READ: Final = "group/read"
_WRITE: Final = "group/send/action"
_PAGE: Final = 100
_MOST: Final = 1000


class RetainedTable:
    """The handlers."""

    def __init__(self, retained: Retained) -> None:
        self._retained = retained

    def operations(self) -> tuple[Operation, ...]:
        """The table. To clear takes what to publish does, since clients clear by that."""

        def row(method: str, path: str, name: str, handler: Handler, action: str, *statuses: int) -> Operation:
            return Operation(method, path, name, handler, statuses, action=action)

        return (
            row("GET", _ALL, "ListRetained", self._list, _READ, 200, 400),
            row("DELETE", _ALL, "ClearAllRetained", self._clear_all, _WRITE, 200, 400),
            row("GET", _ONE, "GetRetained", self._get, _READ, 200, 400, 404),
            row("DELETE", _ONE, "ClearRetained", self._clear, _WRITE, 204, 400, 404),
        )

    async def _list(self, call: Call) -> Reply:
        hub = _hub(call)
        limit = call.query.number("limit", 1, _MOST) or _PAGE
        after = call.query.one("after") or ""
        page = self._retained.page(hub, _filter(call) or "#", after, limit + 1)
        messages, size_bytes = self._retained.counts(hub)
        document = {
            "value": [self._document(kept) for kept in page[:limit]],
            "after": page[limit - 1].message.group if len(page) > limit else None,
            "messages": messages,
            "bytes": size_bytes,
        }
        return json_reply(document)

    async def _get(self, call: Call) -> Reply:
        kept = self._retained.get(_hub(call), _topic(call))
        if kept is None:
            raise _nothing()
        body = kept.message.data.body
        document = self._document(kept)
        document["payload"] = base64.b64encode(body).decode("ascii")
        try:
            document["text"] = body.decode("utf-8")
        except UnicodeDecodeError:
            pass  # it is none
        return json_reply(document)

    async def _clear(self, call: Call) -> Reply:
        if not self._retained.forget(_hub(call), _topic(call)):
            raise _nothing()
        await self._retained.written()
        return Reply()

    async def _clear_all(self, call: Call) -> Reply:
        hub, wanted = _hub(call), _filter(call)
        if wanted is None:
            # A path that ends where a topic should stand would else clear all there is.
            raise BadRequest("The parameter 'filter' is required; # is all.", "filter")
        cleared = await self._retained.forget_all(hub, wanted)
        await self._retained.written()
        return json_reply({"cleared": cleared})

    def _document(self, kept: Kept) -> dict[str, Any]:
        """Everything but the payload; what is not there is left out."""
        message = kept.message
        said = message.publication
        assert said is not None, "only MQTT has retained messages"
        told, left_s = self._retained.told(kept)
        correlation = said.correlation_data
        document = {
            "topic": message.group,
            "qos": said.qos,
            "payloadBytes": len(message.data.body),
            "publishedAt": datetime.fromtimestamp(kept.kept_at, UTC).isoformat(timespec="seconds"),
            "clientId": said.publisher,
            "userId": message.from_user_id,
            "expiresInSeconds": None if left_s is None or told.publication is None else told.publication.expiry_s,
            "contentType": said.content_type,
            "payloadFormatIndicator": None if said.is_text is None else int(said.is_text),
            "responseTopic": said.response_topic,
            "correlationData": None if correlation is None else base64.b64encode(correlation).decode("ascii"),
            "userProperties": list(_pairs(said.user_properties)) or None,
        }
        return {name: value for name, value in document.items() if value is not None}


def _hub(call: Call) -> HubKey:
    return HubKey(call.caller.resource, checked_hub(call.names["hub"]).lower())


def _topic(call: Call) -> str:
    topic = call.names["topic"]
    if not is_group_name(topic):
        raise BadRequest("A topic has 1 to 1024 characters and is not only white space.", "topic")
    return topic


def _filter(call: Call) -> str | None:
    text = call.query.one("filter")
    if text is not None and not is_topic_filter(text):
        raise BadRequest("The parameter 'filter' is no topic filter of MQTT.", "filter")
    return text


def _nothing() -> NotFound:
    return NotFound("No message is retained for this topic.", "topic")


def _pairs(user_properties: Iterable[tuple[str, str]]) -> Iterable[dict[str, str]]:
    for name, value in user_properties:
        yield {"name": name, "value": value}
