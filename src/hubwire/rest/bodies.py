"""JSON in and out, for all tables but the data plane's."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from hubwire.model.errors import BadRequest
from hubwire.rest.call import Call
from hubwire.rest.faults import JSON
from hubwire.rest.operation import Reply

__all__ = ["json_reply", "read_json"]

Body = TypeVar("Body")


async def read_json(call: Call, kind: type[Body]) -> Body:
    """
    Raises:
        BadRequest: not JSON, or not what this operation takes.
    """
    try:
        return msgspec.json.decode(await call.body(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # Its text names the field, and never a value.
        raise BadRequest(f"The body cannot be used: {error}.", "Body") from None


def json_reply(document: Mapping[str, Any], headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """An answer that holds `document`."""
    return Reply(msgspec.json.encode(document), JSON, headers)
