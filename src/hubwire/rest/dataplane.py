"""
The data plane: hubs, groups, users, connections, permissions and client tokens, in 25 operations.

Every stable api-version has all of them. Names and statuses are those of the REST definition of 2024-12-01; official
clients take exactly the first status of each row for a success.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from hubwire.model.commands import (
    AddToGroups,
    Answer,
    Close,
    Exists,
    ListMembers,
    Permission,
    PermissionRule,
    RemoveFromGroups,
    Send,
)
from hubwire.model.errors import BadRequest, Conflict, NotFound, UnsupportedMedia
from hubwire.model.filters import compile_filter
from hubwire.model.hubs import DEFAULT_RESOURCE
from hubwire.model.messages import DataMessage, FromServer, GroupMessage
from hubwire.model.names import HubKey, is_group_name
from hubwire.model.targets import Target, to_connection, to_group, to_hub, to_user
from hubwire.model.telemetry import Telemetry
from hubwire.rest.audience import TOKEN_MINUTES, base_url, client_url, known_client_type
from hubwire.rest.call import Call
from hubwire.rest.checks import checked_groups, checked_hub, checked_user
from hubwire.rest.operation import Handler, Operation, Reply
from hubwire.rest.paging import continuation, next_link, position
from hubwire.rest.payload import data_of, json_text, media_type, metadata_of, sendable
from hubwire.rest.ports import Node, Principals

__all__ = ["DataPlane"]

_JSON: Final = "application/json"
_DONE: Final = Reply()
_PERMISSIONS: Final[dict[str, Permission]] = {"joinLeaveGroup": "joinLeaveGroup", "sendToGroup": "sendToGroup"}
_SENT: Final = (202, 400, 415)
_TTL_S: Final = 300
_PAGE_LIMIT: Final = 200
_INT32: Final = 2**31 - 1

_HUB: Final = "/api/hubs/{hub}"
_CONNECTION: Final = _HUB + "/connections/{connectionId}"
_GROUP: Final = _HUB + "/groups/{group}"
_MEMBER: Final = _GROUP + "/connections/{connectionId}"
_USER: Final = _HUB + "/users/{userId}"
_USER_GROUP: Final = _USER + "/groups/{group}"
_SEND: Final = "/:send"
_CLOSE: Final = "/:closeConnections"
_REMOVE: Final = "/:removeFromGroups"
_PERMISSION: Final = _HUB + "/permissions/{permission}/connections/{connectionId}"

_ACTIONS: Final[dict[str, str]] = {
    "AddConnectionsToGroups": "group/write",
    "RemoveConnectionsFromGroups": "group/write",
    "CloseAllConnections": "clientConnection/write",
    "GenerateClientToken": "clientConnection/generateToken/action",
    "SendToAll": "hub/send/action",
    "CloseConnection": "clientConnection/write",
    "ConnectionExists": "clientConnection/read",
    "SendToConnection": "clientConnection/send/action",
    "RemoveConnectionFromAllGroups": "group/write",
    "GroupExists": "group/read",
    "CloseGroupConnections": "clientConnection/write",
    "SendToGroup": "group/send/action",
    "ListConnectionsInGroup": "group/read",
    "AddConnectionToGroup": "group/write",
    "RemoveConnectionFromGroup": "group/write",
    "CheckPermission": "clientConnection/read",
    "GrantPermission": "clientConnection/write",
    "RevokePermission": "clientConnection/write",
    "UserExists": "user/read",
    "CloseUserConnections": "clientConnection/write",
    "SendToUser": "user/send/action",
    "RemoveUserFromAllGroups": "group/write",
    "AddUserToGroup": "group/write",
    "RemoveUserFromGroup": "group/write",
}
"""What each operation takes of a caller whose rights are roles, without the prefix that all data actions have."""


class _Bulk(Struct):
    """Body of `:addToGroups` and `:removeFromGroups`. What else it holds is ignored."""

    groups: list[str]
    filter: str | None = None


class _Item(Struct, rename="camel"):
    connection_id: str
    user_id: str | None


class _Page(Struct, rename="camel"):
    value: list[_Item]
    next_link: str | None = None


_Whom: TypeAlias = Callable[[Call], Target]

_bulk_decoder: Final = msgspec.json.Decoder(_Bulk)


class DataPlane:
    """
    The handlers of the data plane.

    Args:
        public_endpoint: canonical URL of the server, if one is configured: base of links and audiences.
        own_endpoint: the same for the local operator when none is.
    """

    def __init__(
        self,
        node: Node,
        principals: Principals,
        telemetry: Telemetry,
        *,
        public_endpoint: str | None,
        own_endpoint: str,
    ) -> None:
        self._node = node
        self._principals = principals
        self._telemetry = telemetry
        self._public_endpoint = public_endpoint
        self._own_endpoint = own_endpoint

    def operations(self) -> tuple[Operation, ...]:
        """The table."""
        row, all_of, group, user, one = _row, self._all, self._group, self._user, self._connection
        send, close, exists, add = self._send, self._close, self._exists, self._add
        remove, leave, rule = self._remove, self._leave_all, self._change_rule
        return (
            Operation("HEAD", "/api/health", "GetServiceStatus", _health, (200, 400), anonymous=True),
            row("POST", _HUB + "/:addToGroups", "AddConnectionsToGroups", self._add_to_groups, (200, 400, 409, 415)),
            row("POST", _HUB + _REMOVE, "RemoveConnectionsFromGroups", self._remove_from_groups, (200, 400, 415)),
            row("POST", _HUB + _CLOSE, "CloseAllConnections", partial(close, all_of, excluded=True), (204, 400)),
            row("POST", _HUB + "/:generateToken", "GenerateClientToken", self._generate_token, (200, 400)),
            row("POST", _HUB + _SEND, "SendToAll", partial(send, all_of, excluded=True, filtered=True), _SENT),
            row("DELETE", _CONNECTION, "CloseConnection", partial(close, one), (204, 400)),
            row("HEAD", _CONNECTION, "ConnectionExists", partial(exists, one), (200, 400, 404)),
            row("POST", _CONNECTION + _SEND, "SendToConnection", partial(send, one), _SENT),
            row("DELETE", _CONNECTION + "/groups", "RemoveConnectionFromAllGroups", partial(leave, one), (204, 400)),
            row("HEAD", _GROUP, "GroupExists", partial(exists, group), (200, 400, 404)),
            row("POST", _GROUP + _CLOSE, "CloseGroupConnections", partial(close, group, excluded=True), (204, 400)),
            row("POST", _GROUP + _SEND, "SendToGroup", partial(send, group, excluded=True, filtered=True), _SENT),
            row("GET", _GROUP + "/connections", "ListConnectionsInGroup", self._list_connections, (200, 400)),
            row("PUT", _MEMBER, "AddConnectionToGroup", partial(add, one), (200, 400, 404, 409)),
            row("DELETE", _MEMBER, "RemoveConnectionFromGroup", partial(remove, one), (204, 400)),
            row("HEAD", _PERMISSION, "CheckPermission", self._check_rule, (200, 400, 404)),
            row("PUT", _PERMISSION, "GrantPermission", partial(rule, "grant"), (200, 400, 404, 409)),
            row("DELETE", _PERMISSION, "RevokePermission", partial(rule, "revoke"), (204, 400, 409)),
            row("HEAD", _USER, "UserExists", partial(exists, user), (200, 400, 404)),
            row("POST", _USER + _CLOSE, "CloseUserConnections", partial(close, user, excluded=True), (204, 400)),
            row("POST", _USER + _SEND, "SendToUser", partial(send, user, filtered=True), _SENT),
            row("DELETE", _USER + "/groups", "RemoveUserFromAllGroups", partial(leave, user), (204, 400)),
            row("PUT", _USER_GROUP, "AddUserToGroup", partial(add, user), (200, 400, 404, 409)),
            row("DELETE", _USER_GROUP, "RemoveUserFromGroup", partial(remove, user), (204, 400)),
        )

    # What the places of a path name.

    @staticmethod
    def _hub(call: Call) -> HubKey:
        return HubKey(call.caller.resource, checked_hub(call.names["hub"]).lower())

    def _all(self, call: Call) -> Target:
        return to_hub(self._hub(call))

    def _group(self, call: Call) -> Target:
        return to_group(self._hub(call), _group_name(call))

    def _user(self, call: Call) -> Target:
        return to_user(self._hub(call), checked_user(call.names["userId"]))

    def _connection(self, call: Call) -> Target:
        return to_connection(self._hub(call), call.names["connectionId"])

    # Sending and closing.

    async def _send(self, whom: _Whom, call: Call, *, excluded: bool = False, filtered: bool = False) -> Reply:
        """202 means accepted: nobody waits for a delivery, and an unknown target is no fault."""
        target = whom(call)
        without = call.query.all("excluded") if excluded else ()
        filter_text = _valid_filter(call.query.one("filter")) if filtered else None
        ttl_s = call.query.number("messageTtlSeconds", 0, _TTL_S) or 0
        metadata = metadata_of(call.headers)
        media = sendable(media_type(call.headers))
        data = data_of(media, await call.body())
        message: DataMessage
        if target.kind == "group":
            message = GroupMessage(target.name, data, metadata=metadata)
        else:
            message = FromServer(data, metadata=metadata)
        self._node.execute(Send(target, message, without, filter_text, ttl_s))
        self._telemetry.inbound_messages += 1
        # For members that outlive this server; nobody waits where there is none.
        waiting = self._node.accepted()
        if waiting is not None:
            await waiting
        return _DONE

    async def _close(self, whom: _Whom, call: Call, *, excluded: bool = False) -> Reply:
        """Who has gone already is closed as well as can be, so this always succeeds."""
        target = whom(call)
        without = call.query.all("excluded") if excluded else ()
        await self._node.ask(Close(target, without, call.query.one("reason") or ""))
        return _DONE

    # Asking who is there.

    async def _exists(self, whom: _Whom, call: Call) -> Reply:
        answer = await self._node.ask(Exists(whom(call)))
        if answer.count == 0:
            raise NotFound("Nobody is there.")
        return _DONE

    async def _list_connections(self, call: Call) -> Reply:
        target = self._group(call)
        page_size = call.query.number("maxpagesize", 1, _PAGE_LIMIT) or _PAGE_LIMIT
        top = call.query.number("top", 1, _INT32)
        token = call.query.one("continuationToken")
        after = "" if token is None else position(target, token)
        wanted = page_size if top is None else min(page_size, top)
        # One more than is shown, to know whether there is a next page.
        found = (await self._node.ask(ListMembers(target, after, wanted + 1))).members
        shown = found[:wanted]
        left = None if top is None else top - len(shown)
        link = None
        if len(found) > wanted and left != 0:
            link = next_link(
                self._base_url(call),
                call.names["hub"],
                target.name,
                api_version=call.api_version,
                page_size=page_size,
                top=left,
                token=continuation(target, shown[-1].connection_id),
            )
        page = _Page([_Item(member.connection_id, member.user_id) for member in shown], link)
        return Reply(msgspec.json.encode(page), _JSON)

    # Groups. An answer says that the membership holds: whoever sends afterwards reaches them.

    async def _add(self, whom: _Whom, call: Call) -> Reply:
        """
        A user's connections are many, so those whose protocol has no such group are left out without a word. Of one
        connection that would be a lie.
        """
        target = whom(call)
        answer = await self._node.ask(AddToGroups(target, (_group_name(call),)))
        if answer.count == 0:
            raise NotFound("There is no such connection.")
        if answer.untakable and target.kind == "connection":
            raise BadRequest("The connection's protocol has no such group: MQTT has no such topic.", "group")
        return self._added(answer)

    @staticmethod
    def _added(answer: Answer) -> Reply:
        if answer.limit_reached:
            raise Conflict("A connection is in as many groups as it may be.")
        return _DONE

    async def _remove(self, whom: _Whom, call: Call) -> Reply:
        await self._node.ask(RemoveFromGroups(whom(call), (_group_name(call),)))
        return _DONE

    async def _leave_all(self, whom: _Whom, call: Call) -> Reply:
        await self._node.ask(RemoveFromGroups(whom(call), None))
        return _DONE

    async def _add_to_groups(self, call: Call) -> Reply:
        target = self._all(call)
        groups, filter_text = await _bulk(call)
        return self._added(await self._node.ask(AddToGroups(target, groups, filter_text)))

    async def _remove_from_groups(self, call: Call) -> Reply:
        target = self._all(call)
        groups, filter_text = await _bulk(call)
        await self._node.ask(RemoveFromGroups(target, groups, filter_text))
        return _DONE

    # Permissions.

    async def _check_rule(self, call: Call) -> Reply:
        answer = await self._node.ask(self._rule(call, "check"))
        if not answer.allowed:
            raise NotFound("There is no such permission.")
        return _DONE

    async def _change_rule(self, action: Literal["grant", "revoke"], call: Call) -> Reply:
        answer = await self._node.ask(self._rule(call, action))
        if answer.limit_reached:
            raise Conflict("The connection has as many permission rules as it may have.", "targetName")
        if answer.count == 0 and action == "grant":
            raise NotFound("There is no such connection.")
        return _DONE

    def _rule(self, call: Call, action: Literal["check", "grant", "revoke"]) -> PermissionRule:
        target = self._connection(call)
        permission = _PERMISSIONS.get(call.names["permission"])
        if permission is None:
            raise BadRequest("The permission must be joinLeaveGroup or sendToGroup.", "permission")
        group = call.query.one("targetName")
        if group is None or not is_group_name(group):
            raise BadRequest("The parameter 'targetName' must name a group.", "targetName")
        return PermissionRule(action, target, permission, group)

    # Client tokens.

    async def _generate_token(self, call: Call) -> Reply:
        self._hub(call)
        query = call.query
        user_id = query.one("userId") or None
        client_type = known_client_type(query.one("clientType", "clientProtocol"))
        token = self._principals.issue_client_token(
            call.caller.resource,
            client_url(self._base_url(call), client_type, call.names["hub"]),
            checked_user(user_id) if user_id is not None else None,
            query.all("role", "roles"),
            checked_groups(query.all("group", "groups"), "group"),
            query.number("minutesToExpire", 0, _INT32) or TOKEN_MINUTES,
        )
        return Reply(msgspec.json.encode({"token": token}), _JSON)

    def _base_url(self, call: Call) -> str:
        # The public endpoint leads to the resource that answers for every host, and to no other one.
        public = self._public_endpoint if call.caller.resource == DEFAULT_RESOURCE else None
        return base_url(call.caller, public, self._own_endpoint)


def _row(method: str, path: str, name: str, handler: Handler, statuses: tuple[int, ...]) -> Operation:
    return Operation(method, path, name, handler, statuses, action=_ACTIONS[name])


async def _health(call: Call) -> Reply:  # noqa: ARG001  handlers look alike
    return _DONE


def _group_name(call: Call) -> str:
    return checked_groups((call.names["group"],), "group")[0]


def _valid_filter(text: str | None) -> str | None:
    """
    An expression that the hub will understand; None where none is given, or an empty one.

    Raises:
        BadRequest: it does not parse, or its types do not fit.
    """
    if not text:
        return None
    compile_filter(text)
    return text


async def _bulk(call: Call) -> tuple[tuple[str, ...], str | None]:
    """
    Groups and filter of a bulk operation, checked as a whole before anything changes.

    Raises:
        UnsupportedMedia: the body is not said to be JSON.
        BadRequest: it is not what this operation takes.
    """
    media = media_type(call.headers)
    if media is None or media.name != _JSON:
        raise UnsupportedMedia("The content type must be application/json.", "Content-Type")
    try:
        bulk = _bulk_decoder.decode(json_text(media, await call.body()))
    except (msgspec.DecodeError, RecursionError):
        raise BadRequest("The body must be an object with 'groups', an array of names.", "Body") from None
    if not bulk.groups:
        raise BadRequest("The array 'groups' must not be empty.", "groups")
    return checked_groups(bulk.groups, "groups"), _valid_filter(bulk.filter)
