"""What this room asks of the rooms below it, and nothing more of them."""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from hubwire.model.commands import Answer, Command, Query
from hubwire.model.communication import CommunicationCaller, CommunicationService
from hubwire.model.hubs import AccessKeys, KeyKind
from hubwire.model.messages import GroupMessage
from hubwire.model.names import HubKey
from hubwire.model.vaults import VaultCaller
from hubwire.rest.call import Call, Caller

__all__ = [
    "Callers",
    "Catalog",
    "CommunicationDoor",
    "Kept",
    "Managers",
    "Node",
    "Principals",
    "Retained",
    "Server",
    "VaultDoor",
]


class Node(Protocol):
    """This node among nodes."""

    def execute(self, command: Command, /) -> None:
        """Carry out what nobody answers. Never waits, and an unknown target is no fault."""

    def accepted(self) -> Awaitable[None] | None:
        """
        None if everything that was accepted so far is as safe as it is going to be; else to be awaited before anybody
        is told that it is accepted.
        """

    async def ask(self, query: Query, /) -> Answer:
        """
        The answers of all nodes as one: `count` summed, `members` merged in order and cut to the limit, `allowed`,
        `limit_reached` and `untakable` true if one node says so.
        """


class Kept(Protocol):
    """A retained message, and when it was published, in Unix seconds."""

    @property
    def message(self) -> GroupMessage: ...

    @property
    def kept_at(self) -> float: ...


class Retained(Protocol):
    """Retained messages of all hubs."""

    def page(self, hub: HubKey, topic_filter: str, after: str, limit: int, /) -> Sequence[Any]:
        """Those that a filter means, as `Kept`, in the order of their topics, after one of them."""

    def get(self, hub: HubKey, topic: str, /) -> Kept | None:
        """The one of a topic."""

    def told(self, kept: Any, /) -> tuple[GroupMessage, float | None]:
        """As it is told to a subscriber now, and how many seconds it has left; None for ever."""

    def counts(self, hub: HubKey, /) -> tuple[int, int]:
        """How many a hub has, and how many bytes they count for."""

    def forget(self, hub: HubKey, topic: str, /) -> bool:
        """Keep nothing for a topic. False if nothing was."""

    async def forget_all(self, hub: HubKey, topic_filter: str, /) -> int:
        """Keep nothing of what a filter means. Returns how much that was."""

    async def written(self) -> None:
        """Wait until that is on the disk."""


class Callers(Protocol):
    """Who is calling."""

    async def caller(
        self,
        authorization: str | None,
        resource: str,
        host: str,
        raw_path: str,
        action: str | None,
        client_ip: str | None,
        /,
    ) -> object:
        """
        Args:
            authorization: the header as it came.
            host: authority that the caller used.
            raw_path: still percent-encoded, without the query; the audience of an access-key token must name it.
            action: data action that the request takes.
            client_ip: None if nobody knows it.

        Raises:
            Unauthorized: no credential, or one that proves nothing for this path.
            Throttled: the same, from an address that failed too often.
            Forbidden: a known caller who may not do this.
            Unavailable: it cannot be told now.
        """


class Managers(Protocol):
    """Who is calling the resource manager."""

    async def caller(self, authorization: str | None, client_ip: str | None, /) -> Any:
        """
        Whoever brought a token, for `check` and `sees`.

        Raises:
            Unauthorized: no credential, or one that proves nothing here.
            Throttled: the same, from an address that failed too often.
            Unavailable: it cannot be told now.
        """

    def check(self, bearer: Any, action: str, scope: str, /) -> None:
        """Raises Forbidden: they may not do this there."""

    def may(self, bearer: Any, action: str, scope: str, /) -> bool:
        """The same, as an answer."""

    def sees(self, bearer: Any, scope: str, /) -> bool:
        """Have they any role at a scope, above or below it."""


class VaultDoor(Protocol):
    """Who is calling a Key Vault, and how it is called itself."""

    async def caller(self, asked: Caller, authorization: str | None, /) -> VaultCaller:
        """
        Args:
            asked: with the vault's listeners, or what its host stands for, as its `resource`.
            authorization: the header as it came.

        Raises:
            NotFound: there is no such vault.
            Forbidden: its network rules keep the caller out.
            Unauthorized: no credential, or one that proves nothing here.
            Throttled: the same, from an address that failed too often.
            Unavailable: it cannot be told now.
        """

    def challenge(self, asked: Caller, /) -> str:
        """Where to get a token and for what, as the header of an answer."""

    def base(self, asked: Caller, /) -> str:
        """URL of the vault as this caller knows it, without a slash at the end."""


class CommunicationDoor(Protocol):
    """Which communication service is called, and who calls it."""

    def service(self, resource: str, /) -> CommunicationService:
        """
        Args:
            resource: of the caller: the service's listeners, or what its host stands for; the first service is at the
                main ports.

        Raises:
            NotFound: there is no such service.
        """

    def known_as(self, immutable_id: str, /) -> CommunicationService:
        """
        The service that has an id; letter case does not count.

        Raises:
            NotFound: there is none.
        """

    def endpoint(self, service: CommunicationService, /) -> str:
        """Base URL under which a service is reached, without a slash at its end."""

    async def caller(self, service: CommunicationService, call: Call, /) -> CommunicationCaller:
        """
        Raises:
            BodyTooLarge, BodyLate: the body, which a signature vouches for, cannot be read.
            Unauthorized: no credential, or one that proves nothing for this service.
            Throttled: the same, from an address that failed too often.
            Unavailable: it cannot be told now.
        """

    async def verifier(self, service: CommunicationService, call: Call, /) -> CommunicationCaller:
        """The same for whoever wants to know what a token is worth, who may show a key as a password as well."""


class Principals(Protocol):
    """Tokens of clients."""

    def issue_client_token(
        self,
        resource: str,
        audience: str,
        user_id: str | None,
        roles: Sequence[str],
        groups: Sequence[str],
        minutes: int,
        /,
    ) -> str:
        """A client's token, signed with the primary key of `resource`."""


class Catalog(Protocol):
    """Keys and hubs of the resource tree. A hub is `{"name", "properties"}`."""

    def access_keys(self, resource: str, /) -> AccessKeys:
        """The keys that hold now."""

    async def rotate_key(self, resource: str, kind: KeyKind, /) -> AccessKeys:
        """Replace one key; tokens of the old one are refused from then on."""

    async def put_hub(self, name: str, properties: dict[str, Any], /) -> Mapping[str, Any]:
        """
        Create or replace the settings of a hub.

        Raises:
            BadRequest: the properties are not those of a hub.
        """

    async def patch_hub(self, name: str, properties: dict[str, Any], /) -> Mapping[str, Any]:
        """
        Change the properties that are named.

        Raises:
            BadRequest: as for `put_hub`.
            NotFound: nobody configured such a hub.
        """

    async def get_hub(self, name: str, /) -> Mapping[str, Any] | None:
        """The settings of a hub, or None if nobody configured it."""

    async def list_hubs(self) -> Sequence[Mapping[str, Any]]:
        """The configured hubs, by name."""

    def hub_warnings(self, name: str, /) -> Sequence[str]:
        """What of a hub's settings does not act."""

    async def delete_hub(self, name: str, /) -> bool:
        """Back to the defaults. False if nobody had configured it."""


class Server(Struct, frozen=True):
    """
    What the server knows of itself once it listens.

    Attributes:
        endpoint: base URL that connection strings name, without a slash at the end.
        version: of this package.
        pid: of this process.
        data_folder: absolute path.
        started_at: seconds on the monotonic clock.
        https_endpoint: as `endpoint`, over HTTPS; None where that is not served.
        own_https_endpoint: the same by an address of this machine, whatever the public one is.
        ca_certificate: path of the certificate that clients of it must trust; None where the operator brought one.
    """

    endpoint: str
    version: str
    pid: int
    data_folder: str
    started_at: float
    https_endpoint: str | None = None
    own_https_endpoint: str | None = None
    ca_certificate: str | None = None
