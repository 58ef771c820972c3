"""
What the local operator may do with the users of communication services, over the control socket only: all that their
callers may do, under the name of a service; and to list, to take along and to bring back all users of one.

Answers to some rows hold tokens.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from hubwire.communication.restoring import ExportedUser
from hubwire.communication.users import Users
from hubwire.model.communication import CommunicationCaller
from hubwire.model.errors import IdentityNotOwned, NotFound
from hubwire.model.listeners import listener_name
from hubwire.rest.bodies import json_reply, read_json
from hubwire.rest.call import Call
from hubwire.rest.communication import service_of, shown_user
from hubwire.rest.operation import Handler, Operation, Reply
from hubwire.rest.ports import CommunicationDoor

__all__ = ["CommunicationControl"]

_SERVICES: Final = "/control/communication"
_ONE: Final = _SERVICES + "/{service}"
_USERS: Final = _ONE + "/identities"
_MOST_USERS: Final = 1000
_SOME_USERS: Final = 100
_LONGEST_USER: Final = 16 * 1024
"""In an import. With a custom id of 256 characters, each escaped, it has some 3,500 bytes."""
_OPERATOR: Final = CommunicationCaller("operator", "operator")


class _Import(Struct, forbid_unknown_fields=True):
    """Body of `POST /control/communication/{service}/identities/:import`."""

    value: Annotated[list[Raw], Meta(max_length=_MOST_USERS)]


class CommunicationControl:
    """
    The handlers.

    Args:
        rows: what callers of a service may do.
    """

    def __init__(self, users: Users, rows: Sequence[Operation], door: CommunicationDoor) -> None:
        self._users = users
        self._rows = rows
        self._door = door

    def operations(self) -> tuple[Operation, ...]:
        """The table."""

        def row(
            method: str, path: str, name: str, handler: Handler, *statuses: int, body_bytes: int | None = None
        ) -> Operation:
            known = self._as_operator(handler)
            return Operation(
                method, path, name, known, statuses, surface="operator", personal=True, body_bytes=body_bytes
            )

        of_callers = [
            row(
                one.method,
                _ONE + one.path,
                f"Operator_{one.name}",
                one.handler,
                *(*(status for status in one.statuses if status < 300), 400, 404, 409),
                body_bytes=one.body_bytes,
            )
            for one in self._rows
            if not one.anonymous
        ]
        return (
            row("GET", _USERS, "ListCommunicationUsers", self._list, 200, 400, 404),
            row("GET", _USERS + "/:export", "ExportCommunicationUsers", self._export, 200, 400, 404),
            row(
                "POST",
                _USERS + "/:import",
                "ImportCommunicationUsers",
                self._import,
                *(200, 400, 404, 409),
                body_bytes=_MOST_USERS * _LONGEST_USER,
            ),
            *of_callers,
        )

    def _as_operator(self, handler: Handler) -> Handler:
        """The same for the operator, to whom a user that is not there is nothing but that."""

        async def handle(call: Call) -> Reply:
            call.service = self._door.service(listener_name("communication", call.names["service"]))
            call.bearer = _OPERATOR
            try:
                return await handler(call)
            except IdentityNotOwned:
                raise NotFound("There is no such user of this communication service.", "id") from None

        return handle

    async def _list(self, call: Call) -> Reply:
        users = await self._users.list(service_of(call), *_page(call))
        return _paged(call, [shown_user(user) for user in users])

    async def _export(self, call: Call) -> Reply:
        users = await self._users.export(service_of(call), *_page(call))
        return _paged(call, [msgspec.to_builtins(user) for user in users])

    async def _import(self, call: Call) -> Reply:
        given = [_exported(one) for one in (await read_json(call, _Import)).value]
        results = await self._users.restore(service_of(call), given)
        return json_reply({"value": [{"result": result} for result in results]})


def _exported(one: Raw) -> ExportedUser | None:
    """None for what is no user: the others of a file are not to be lost with it."""
    try:
        return msgspec.json.decode(one, type=ExportedUser)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _page(call: Call) -> tuple[str | None, int]:
    """After which user a list goes on, and how long it may be."""
    return call.query.one("after"), call.query.number("limit", 1, _MOST_USERS) or _SOME_USERS


def _paged(call: Call, users: list[Any]) -> Reply:
    """A list that is as long as it may be says after whom it goes on; there may be nobody."""
    _, limit = _page(call)
    return json_reply({"value": users, **({"after": users[-1]["id"]} if len(users) == limit else {})})
