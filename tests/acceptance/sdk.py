"""
The official Python libraries, synchronous and asynchronous alike: the asynchronous ones run on a loop in a thread, and
each call waits for its result, so that one test serves both.
"""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal

import azure.identity
import azure.identity.aio
from azure.messaging.webpubsubclient import WebPubSubClient
from azure.messaging.webpubsubclient.aio import WebPubSubClient as AsyncWebPubSubClient
from azure.messaging.webpubsubclient.models import CallbackType, WebPubSubDataType, WebPubSubProtocolType
from azure.messaging.webpubsubservice import WebPubSubServiceClient
from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient as AsyncWebPubSubServiceClient

from acceptance.servers import DEADLINE_S, Server, wait_until

__all__ = ["KINDS", "Identity", "Kind", "SdkClient", "Service", "identity", "pages", "sdk_client", "service_client"]

Kind = Literal["sync", "aio"]
KINDS: Final[tuple[Kind, ...]] = ("sync", "aio")

Service = Any
"""A service client: the library's own, or an asynchronous one behind `_Blocking`."""

_ACK_TIMEOUT_S: Final = 2.0
"""
The synchronous client begins to wait for an ack only after it has sent, so that it may miss the notification of an
early one, and then waits for the whole of this time before it sees that all is well.
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
    """A credential of the identity library, or an asynchronous one with the loop that it runs on."""

    def __init__(self, credential: Any, loop: _Loop | None) -> None:
        self._credential = credential
        self._loop = loop

    def token(self, scope: str) -> str:
        """A token, as it goes over the wire."""
        found = self._credential.get_token(scope)
        return str((found if self._loop is None else self._loop.run(found)).token)

    @contextmanager
    def service(self, server: Server, hub: str) -> Iterator[Service]:
        """The service library's client with this credential, which goes over HTTPS alone; closed at the end."""
        options = {"connection_verify": str(server.ca)}
        if self._loop is None:
            with WebPubSubServiceClient(server.https_endpoint, hub, self._credential, **options) as client:
                yield client
            return
        asynchronous = AsyncWebPubSubServiceClient(server.https_endpoint, hub, self._credential, **options)
        try:
            yield _Blocking(self._loop, asynchronous)
        finally:
            self._loop.run(asynchronous.close())


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
            "ack_timeout": _ACK_TIMEOUT_S,
            "start_timeout": _ACK_TIMEOUT_S,
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
