"""
The official Python libraries, synchronous and asynchronous alike: the asynchronous ones run on a loop in a thread, and
each call waits for its result, so that one test serves both.
"""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

import azure.identity
import azure.identity.aio
from azure.communication.chat import CommunicationTokenCredential
from azure.communication.chat.aio import CommunicationTokenCredential as AsyncCommunicationTokenCredential
from azure.communication.identity import CommunicationIdentityClient
from azure.communication.identity.aio import CommunicationIdentityClient as AsyncCommunicationIdentityClient
from azure.core.credentials import AccessToken, AzureKeyCredential
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.keyvault.secrets import SecretClient
from azure.keyvault.secrets.aio import SecretClient as AsyncSecretClient
from azure.messaging.webpubsubclient import WebPubSubClient
from azure.messaging.webpubsubclient.aio import WebPubSubClient as AsyncWebPubSubClient
from azure.messaging.webpubsubclient.models import CallbackType, WebPubSubDataType, WebPubSubProtocolType
from azure.messaging.webpubsubservice import WebPubSubServiceClient
from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient as AsyncWebPubSubServiceClient

from acceptance.directory import App
from acceptance.servers import DEADLINE_S, Server, wait_until

__all__ = [
    "KINDS",
    "MANAGEMENT",
    "Identity",
    "Kind",
    "Manager",
    "Requests",
    "Resource",
    "SdkClient",
    "Service",
    "identity",
    "identity_client",
    "manager",
    "pages",
    "resource_at",
    "sdk_client",
    "service_client",
    "token_credential",
]

Kind = Literal["sync", "aio"]
KINDS: Final[tuple[Kind, ...]] = ("sync", "aio")

Service = Any
"""A service client: the library's own, or an asynchronous one behind `_Blocking`."""

_PATIENCE_S: Final = 5.0
"""
The synchronous client begins to wait for an ack only after it has sent, so that it may miss the notification of an
early one, and then waits for the whole of this time before it sees that all is well; so, too, when it connects. Not
less: what it takes for lost it sends again as another message.
"""


class _Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loop of an asynchronous client")
        self._thread.start()

    def run(self, awaitable: Awaitable[Any]) -> Any:
        async def result() -> Any:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(result(), self._loop).result(DEADLINE_S * 2)

    def end(self) -> None:
        async def cancel() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.run(cancel())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()


class _Blocking:
    """An asynchronous object, called like a synchronous one."""

    def __init__(self, loop: _Loop, inner: Any) -> None:
        self._loop = loop
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        if not callable(attribute):
            return attribute

        def call(*arguments: Any, **options: Any) -> Any:
            async def begin() -> Any:
                result = attribute(*arguments, **options)
                return await result if inspect.isawaitable(result) else result

            result = self._loop.run(begin())
            return _Blocking(self._loop, result) if hasattr(result, "__aiter__") else result

        return call

    def __iter__(self) -> Iterator[Any]:
        async def collect(items: AsyncIterable[Any]) -> list[Any]:
            return [
                await collect(item) if hasattr(item, "__aiter__") else item  # a page is an iterator itself
                async for item in items
            ]

        return iter(self._loop.run(collect(self._inner)))


@contextmanager
def service_client(kind: Kind, connection_string: str, hub: str, **options: Any) -> Iterator[Service]:
    """The service library's client, closed at the end."""
    if kind == "sync":
        with WebPubSubServiceClient.from_connection_string(connection_string, hub, **options) as client:
            yield client
        return
    loop = _Loop()
    try:
        asynchronous = AsyncWebPubSubServiceClient.from_connection_string(connection_string, hub, **options)
        try:
            yield _Blocking(loop, asynchronous)
        finally:
            loop.run(asynchronous.close())
    finally:
        loop.end()


class Identity:
    """
    A credential of the identity library, or an asynchronous one with the loop that it runs on.

    Attributes:
        credential: the library's own.
    """

    def __init__(self, credential: Any, loop: _Loop | None) -> None:
        self.credential = credential
        self._loop = loop

    def token(self, scope: str) -> str:
        """A token, as it goes over the wire."""
        found = self.credential.get_token(scope)
        return str((found if self._loop is None else self._loop.run(found)).token)

    @contextmanager
    def service(self, server: Server, hub: str, endpoint: str = "") -> Iterator[Service]:
        """
        The service library's client with this credential, which goes over HTTPS alone; closed at the end.

        Args:
            endpoint: of a resource of the server, unless it is the main one.
        """
        options = {"connection_verify": str(server.ca)}
        endpoint = endpoint or server.https_endpoint
        if self._loop is None:
            with WebPubSubServiceClient(endpoint, hub, self.credential, **options) as client:
                yield client
            return
        asynchronous = AsyncWebPubSubServiceClient(endpoint, hub, self.credential, **options)
        try:
            yield _Blocking(self._loop, asynchronous)
        finally:
            self._loop.run(asynchronous.close())

    def calling(self, client: Any) -> Any:
        """A client with this credential, called like a synchronous one."""
        return client if self._loop is None else _Blocking(self._loop, client)

    @contextmanager
    def secrets(self, server: Server, vault_url: str) -> Iterator[Any]:
        """The Key Vault library's client with this credential and no option but whom to trust; closed at the end."""
        if self._loop is None:
            with SecretClient(vault_url, self.credential, connection_verify=str(server.ca)) as client:
                yield client
            return
        asynchronous = AsyncSecretClient(vault_url, self.credential, connection_verify=str(server.ca))
        try:
            yield _Blocking(self._loop, asynchronous)
        finally:
            self._loop.run(asynchronous.close())


@contextmanager
def identity_client(kind: Kind, server: Server, way: str, connection_string: str) -> Iterator[Any]:
    """
    The communication identity library's client, closed at the end if it can be.

    Args:
        way: how it gets there: "https" has the connection string, "http" endpoint and key of the plain port, "slash"
            the same with a slash behind the endpoint, and "entra" a credential of the development principal.
    """
    library: Any = CommunicationIdentityClient if kind == "sync" else AsyncCommunicationIdentityClient
    endpoint, _, key = connection_string.removeprefix("endpoint=").partition(";accesskey=")
    trust = {"connection_verify": str(server.ca)}
    if way == "entra":
        arguments = (server.tenant_id, server.client_id, server.client_secret)
        with identity(kind, "ClientSecretCredential", server, *arguments) as who:
            client = who.calling(library(endpoint, who.credential, **trust))
            try:
                yield client
            finally:
                if kind == "aio":
                    client.close()
        return
    if way == "https":
        client = library.from_connection_string(connection_string, **trust)
    else:
        client = library(server.endpoint + ("/" if way == "slash" else ""), AzureKeyCredential(key))
    if kind == "sync":
        yield client
        return
    loop = _Loop()
    try:
        try:
            yield _Blocking(loop, client)
        finally:
            loop.run(client.close())
    finally:
        loop.end()


@contextmanager
def token_credential(
    kind: Kind, token: str, refresher: Callable[[], AccessToken] | None = None, *, proactive: bool = False
) -> Iterator[Callable[[], AccessToken]]:
    """
    What the credential of the communication libraries gives them to send, closed at the end.

    Args:
        token: of a user.
        refresher: has another one when that is over.
        proactive: ask for it before.
    """
    if kind == "sync":
        waiting: Any = CommunicationTokenCredential(token, token_refresher=refresher, proactive_refresh=proactive)
        with waiting:
            yield waiting.get_token
        return

    async def refreshed() -> AccessToken:
        assert refresher is not None
        return refresher()

    options: Any = {"token_refresher": refresher and refreshed, "proactive_refresh": proactive}
    loop = _Loop()
    try:
        credential: Any = _Blocking(loop, AsyncCommunicationTokenCredential(token, **options))
        # By name: the interpreter looks for these at the class, which is not the library's here.
        credential.__aenter__()
        try:
            yield credential.get_token
        finally:
            credential.close()
    finally:
        loop.end()


@contextmanager
def identity(kind: Kind, name: str, server: Server, *arguments: Any, **options: Any) -> Iterator[Identity]:
    """
    A credential of the identity library that asks the token issuer of `server`, closed at the end.

    Args:
        name: of its class.
    """
    options = {
        "authority": server.authority,
        "connection_verify": str(server.ca),
        "disable_instance_discovery": True,
        **options,
    }
    if kind == "sync":
        with getattr(azure.identity, name)(*arguments, **options) as credential:
            yield Identity(credential, None)
        return
    loop = _Loop()
    try:
        credential = getattr(azure.identity.aio, name)(*arguments, **options)
        try:
            yield Identity(credential, loop)
        finally:
            loop.run(credential.close())
    finally:
        loop.end()


MANAGEMENT: Final = "https://management.azure.com/.default"
"""Scope of tokens for the resource manager."""

Manager = Any
"""A management library's client. Their models declare what only the service says as None."""


class Requests(SansIOHTTPPolicy[Any, Any]):
    """
    A step of a library's pipeline that sees everything go out.

    Attributes:
        sent: method and path of each request so far.
    """

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    def on_request(self, request: PipelineRequest[Any]) -> None:
        self.sent.append((request.http_request.method, urlsplit(request.http_request.url).path))


@contextmanager
def manager(
    library: Callable[..., Manager],
    server: Server,
    app: App | None = None,
    *,
    scope: str = MANAGEMENT,
    subscription: str = "",
    requests: Requests | None = None,
    **options: Any,
) -> Iterator[Manager]:
    """
    A management library's client of the server's resource manager, closed at the end.

    Args:
        library: its class.
        app: whose secret it proves itself by, the development principal unless another one.
        subscription: the server's own unless another one.
        requests: sees what it sends.
    """
    name, secret = (app.client_id, app.secret) if app is not None else (server.client_id, server.client_secret)
    options |= {"per_call_policies": [requests]} if requests is not None else {}
    with identity("sync", "ClientSecretCredential", server, server.tenant_id, name, secret) as proved:
        client = library(
            proved.credential,
            subscription or server.subscription_id,
            base_url=server.https_endpoint,
            credential_scopes=[scope],
            connection_verify=str(server.ca),
            **options,
        )
        with client:
            yield client


class Resource(NamedTuple):
    """
    A resource with ports of its own, as its keys and its document tell.

    Attributes:
        host, port, https_port: where it listens.
        endpoint, https_endpoint: URLs of these.
        access_key, secondary_key: as they are now.
        connection_string: with the first of them.
    """

    name: str
    group: str
    host: str
    port: int
    https_port: int
    endpoint: str
    https_endpoint: str
    access_key: str
    secondary_key: str
    connection_string: str


def resource_at(client: Manager, group: str, name: str) -> Resource:
    """Where a resource is, and what opens it."""
    document = client.web_pub_sub.get(group, name)
    keys = client.web_pub_sub.list_keys(group, name)
    text = keys.primary_connection_string
    endpoint = dict(part.split("=", 1) for part in text.split(";") if part)["Endpoint"]
    url = urlsplit(endpoint)
    host, https_port = url.hostname or "", int(document.public_port)
    secure = f"https://{host}:{https_port}"
    first, second = keys.primary_key, keys.secondary_key
    return Resource(name, group, host, url.port or 0, https_port, endpoint, secure, first, second, text)


def pages(service: Service, **options: Any) -> list[list[Any]]:
    """The pages of a list of connections."""
    return [list(page) for page in service.list_connections(**options).by_page()]


class SdkClient:
    """
    The client library's client, and all that it has called back.

    Attributes:
        connected: ids of the connections that it has had, in order.
        disconnected: messages of the ends that it has told.
        group_messages, server_messages: what its callbacks were given. The library runs each callback in a thread or
            task of its own, so the order is not that of the wire.
        rejoin_failed: groups that it could not join again.
        stopped: how often it has given up.
    """

    def __init__(self, kind: Kind, url: str, reliable: bool, options: dict[str, Any]) -> None:
        protocol = WebPubSubProtocolType.JSON_RELIABLE if reliable else WebPubSubProtocolType.JSON
        options = {
            "protocol_type": protocol,
            "ack_timeout": _PATIENCE_S,
            "start_timeout": _PATIENCE_S,
            "message_retry_total": 1,
            "reconnect_retry_total": 20,
            "reconnect_retry_backoff_factor": 0.1,
            **options,
        }
        self.connected: list[str] = []
        self.users: list[str | None] = []
        self.disconnected: list[str | None] = []
        self.group_messages: list[Any] = []
        self.server_messages: list[Any] = []
        self.rejoin_failed: list[str] = []
        self.stopped = 0
        self._loop: _Loop | None = None
        if kind == "sync":
            self.calls: Any = WebPubSubClient(url, **options)
        else:
            self._loop = _Loop()
            self.calls = _Blocking(self._loop, AsyncWebPubSubClient(url, **options))
        for event, listener in (
            (CallbackType.CONNECTED, self._on_connected),
            (CallbackType.DISCONNECTED, lambda args: self.disconnected.append(args.message)),
            (CallbackType.GROUP_MESSAGE, self.group_messages.append),
            (CallbackType.SERVER_MESSAGE, self.server_messages.append),
            (CallbackType.REJOIN_GROUP_FAILED, lambda args: self.rejoin_failed.append(args.group)),
            (CallbackType.STOPPED, self._on_stopped),
        ):
            self.calls.subscribe(event, listener if kind == "sync" else _awaitable(listener))

    def _on_connected(self, arguments: Any) -> None:
        self.users.append(arguments.user_id)
        self.connected.append(arguments.connection_id)

    def _on_stopped(self) -> None:
        self.stopped += 1

    def open(self) -> None:
        """Connect, and wait until the library has called back."""
        before = len(self.connected)
        self.calls.open()
        wait_until(lambda: len(self.connected) > before, "the connected callback")

    def publish(self, group: str, content: Any, kind: WebPubSubDataType = WebPubSubDataType.TEXT, **more: Any) -> None:
        self.calls.send_to_group(group, content, kind, **more)

    def data(self, count: int) -> list[Any]:
        """Wait for so many messages to groups; their data, sorted."""
        wait_until(lambda: len(self.group_messages) >= count, f"{count} messages")
        return sorted(message.data for message in self.group_messages)

    def end(self) -> None:
        self.calls.close()
        if self._loop is not None:
            self._loop.end()


def _awaitable(listener: Callable[..., None]) -> Callable[..., Awaitable[None]]:
    async def listen(*arguments: Any) -> None:
        listener(*arguments)

    return listen


@contextmanager
def sdk_client(kind: Kind, url: str, *, reliable: bool = True, **options: Any) -> Iterator[SdkClient]:
    """A client that is open, and is closed at the end."""
    client = SdkClient(kind, url, reliable, options)
    try:
        client.open()
        yield client
    finally:
        client.end()
