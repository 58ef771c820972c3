"""
Wiring: settings in, a running service out. Knows everybody, and nobody knows it but the command line.
"""

import asyncio
import contextlib
import gc
import json
import logging
import os
import re
import resource
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from hubwire import __version__
from hubwire.adapters.bus_memory import MemoryExchange
from hubwire.adapters.data_folder import DataFolder, replace_file
from hubwire.adapters.heap import Heap, heap
from hubwire.adapters.issuer_keys import IssuerKeys
from hubwire.adapters.journal_sql import open_journal
from hubwire.adapters.store_sql import SqlStore, open_store
from hubwire.adapters.vault_azure import AzureVaults
from hubwire.auth.bearers import DATA_PLANE, MANAGEMENT, VAULTS, Bearers
from hubwire.auth.bearers import Service as CalledService
from hubwire.auth.communication_callers import CLIENTS, COMMUNICATION, TEAMS, CommunicationCallers
from hubwire.auth.failures import Failures
from hubwire.auth.issuer import Issuer
from hubwire.auth.key_ring import new_token_key
from hubwire.auth.managers import Managers
from hubwire.auth.principals import Principals, public_authority
from hubwire.auth.rest_callers import RestCallers
from hubwire.auth.tunnel_callers import TunnelCallers
from hubwire.auth.vault_callers import VaultCallers
from hubwire.cluster.commits import Commits
from hubwire.cluster.durable import DurableSessions
from hubwire.cluster.node import Node
from hubwire.cluster.retained import Retained
from hubwire.cluster.retained_portions import PortionLimits
from hubwire.communication_services import Communication, load_communication
from hubwire.communication_users import CommunicationEntrance, CommunicationUsers, limits_of
from hubwire.edge import fanout
from hubwire.edge.clients import Clients
from hubwire.edge.context import FrontContext
from hubwire.edge.proxies import TrustedProxies
from hubwire.edge.records import refused
from hubwire.edge.server import Listeners, address_of, authorities, bind, connectable
from hubwire.edge.tunnel_socket import TunnelSockets
from hubwire.edge.upgrades import upgrade
from hubwire.event_handlers import EventHandlers, IdentitySource, authorities_of, origin_of
from hubwire.event_handlers import check as check_handlers
from hubwire.gateway.events import ConnectionEvents, Shown
from hubwire.gateway.gateway import Gateway
from hubwire.gateway.tunnel_handshake import TunnelEntrance
from hubwire.hosting import Hosts, OwnPorts, Places
from hubwire.hub.group_state import StateLimits
from hubwire.hub.retained import RetainedLimits
from hubwire.hub.streams import StreamLimits
from hubwire.key_vaults import KeyVaults, VaultEntrance, load_vaults
from hubwire.logs import configure, flush_records
from hubwire.model.directory import TokenKey, is_issuer_url
from hubwire.model.errors import NotStored, Refused, StartFailed, Unavailable
from hubwire.model.hubs import DEFAULT_RESOURCE, connection_string
from hubwire.model.ports import Journal, SecretSource, Store
from hubwire.model.roles import covers
from hubwire.model.telemetry import Telemetry
from hubwire.mqtt_clients import mqtt_options
from hubwire.periodic import Every
from hubwire.protocols.catalog import QueueLimits
from hubwire.resources.catalog import Catalog
from hubwire.resources.communication_services import CommunicationServices
from hubwire.resources.deployable import ResourceTypes
from hubwire.resources.deployables import Deployables, split_id
from hubwire.resources.deployments import Deployments, Order
from hubwire.resources.directory import Directory
from hubwire.resources.documents import StoredResource
from hubwire.resources.identities import UserIdentities, join
from hubwire.resources.resource_documents import Place
from hubwire.resources.template_faults import TemplateFault
from hubwire.rest.app import build_app
from hubwire.rest.deployments import DeploymentTable
from hubwire.rest.directory import DirectoryTable
from hubwire.rest.handlers import HandlerTable
from hubwire.rest.identities import IdentityTable
from hubwire.rest.issuer import IssuerTable
from hubwire.rest.managed_identity import ManagedIdentityTable
from hubwire.rest.operation import Operation
from hubwire.rest.ports import Server
from hubwire.rest.retained import RetainedTable
from hubwire.rest.subscriptions import SubscriptionTable
from hubwire.rest.web_pubsub import WebPubSubTable
from hubwire.settings import BadSetting, Settings
from hubwire.shown_certificates import ShownCertificates

__all__ = ["Announcement", "StartTemplate", "offline", "offline_deployments", "offline_directory", "run"]

_log = logging.getLogger("hubwire.server")

_S = TypeVar("_S")
_T = TypeVar("_T")

_HTTPS_PORT: Final = 8443
_HTTP: Final = {"ws": "http", "wss": "https"}
_TOKEN_KEYS_S: Final = 3600.0
"""Between two looks at the keys of the token issuer."""

_HEAP_S: Final = 30.0
"""Between two looks at the memory that nobody uses: giving back 200 MiB takes 40 ms, for which everybody waits."""

_RETAINED_S: Final = 1.0
"""Between two looks at the time of retained messages. What is over is told nobody before; this makes room."""

_LAST_EVENTS_S: Final = 5.0
"""For what handlers are to be told of a resource's connections before it is deleted."""

_SPARE_DESCRIPTORS: Final = 256
"""For what is no client's socket: listeners, database, log."""


class Announcement(Struct, frozen=True):
    """
    What a server has to say once it listens.

    Attributes:
        endpoint: URL under which clients reach it.
        connection_string: for SDKs; holds the primary access key.
        data: path of its data folder, and where its store is if that is elsewhere.
        warnings: what the operator should know, a line each.
        https_endpoint: URL over HTTPS; None where that is not served.
        communication: connection string of the first communication service; holds its primary access key.
    """

    endpoint: str
    connection_string: str
    data: str
    warnings: tuple[str, ...]
    https_endpoint: str | None = None
    communication: str = ""

    def __repr__(self) -> str:
        return f"Announcement({self.endpoint!r}, …)"


class StartTemplate(Struct, frozen=True):
    """
    A template that is deployed before the main ports open.

    Attributes:
        file: that it is from, for errors.
        template: as it was read.
        parameters: each as `{"value": …}`.
        group: resource group in the server's own subscription.
        locate: line and column of a place in the template.
    """

    file: str
    template: Any
    parameters: dict[str, Any]
    group: str
    locate: Callable[[tuple[str | int, ...]], tuple[int, int] | None] = lambda _: None


def run(settings: Settings, announce: Callable[[Announcement], None], template: StartTemplate | None = None) -> int:
    """
    Serve until SIGTERM or SIGINT.

    Args:
        announce: called once, when the server listens.
        template: to deploy first; the server does not start if that fails.

    Returns:
        exit code: 0 after a graceful end.

    Raises:
        BadSetting: nothing was begun.
        StartFailed: the operator can mend why.
    """
    _fill_standard_descriptors()
    trusted = _checked(settings)
    settings = replace(settings, public_endpoints=tuple(map(_as_http, settings.public_endpoints)))
    configure(settings.log_format, settings.log_level, settings.log_off, f"/{DEFAULT_RESOURCE}")
    try:
        with asyncio.Runner(loop_factory=_loop_factory(settings)) as runner:
            return runner.run(_serve(settings, trusted, announce, template))
    except Unavailable as error:
        raise StartFailed(error.message) from error  # the store went away while it was read
    finally:
        flush_records()


def offline(settings: Settings, action: Callable[[Catalog], Awaitable[_T]]) -> _T:
    """
    Do something with the stored resource tree while no server runs on it.

    Raises:
        StartFailed: a server has the data folder, or it cannot be read.
    """

    return asyncio.run(_with_store(settings, Catalog.load, action))


def offline_deployments(settings: Settings, action: Callable[[Catalog, Deployments], Awaitable[_T]]) -> _T:
    """The same with the resource tree and what deploys templates to it."""

    async def act(store: Store) -> _T:
        directory = await _load_directory(store)
        catalog = await _load_catalog(store, directory)

        def nowhere(resource: StoredResource) -> Place:
            return Place(
                f"http://localhost:{settings.port}",
                "localhost",
                resource.ports[1] or resource.ports[0],
                resource.ports[1] or resource.ports[0],
            )

        vaults = KeyVaults(settings, await load_vaults(Path(settings.data), store, catalog, directory), directory)
        main = f"https://localhost:{_https_port(settings)}" if settings.https else f"http://localhost:{settings.port}"
        communication = Communication(await load_communication(store, catalog, directory), main)
        more = (vaults.types, communication.types)
        return await action(catalog, await _load_deployments(settings, store, catalog, directory, nowhere, more))

    return asyncio.run(_with_store(settings, _itself, act))


async def _itself(store: Store) -> Store:
    return store


def offline_directory(settings: Settings, action: Callable[[Directory], Awaitable[_T]]) -> _T:
    """The same with the stored directory of the token issuer."""
    return asyncio.run(_with_store(settings, _load_directory, action))


async def _with_store(
    settings: Settings, load: Callable[[Store], Awaitable[_S]], action: Callable[[_S], Awaitable[_T]]
) -> _T:
    folder = DataFolder(settings.data)
    try:
        store = await _open_store(settings, folder)
        try:
            return await action(await load(store))
        finally:
            await store.close()
    finally:
        folder.close()


async def _open_store(settings: Settings, folder: DataFolder) -> SqlStore:
    """The one of the settings, or the one in the data folder; nobody else has it meanwhile."""
    return await open_store(settings.store or folder.database_url, alone=True)


async def _load_catalog(store: Store, directory: Directory) -> Catalog:
    catalog = await Catalog.load(store, subscription_id=directory.tenant.subscription_id)

    join(catalog, directory)
    return catalog


async def _load_deployments(
    settings: Settings,
    store: Store,
    catalog: Catalog,
    directory: Directory,
    place: Callable[[StoredResource], Place],
    more: Sequence[ResourceTypes],
) -> Deployments:
    tenant_id = directory.tenant.tenant_id
    deployables = Deployables(catalog, directory, place, tenant_id, more)
    ignore = settings.foreign_resources == "ignore"
    deployments = Deployments(store, catalog, deployables, tenant_id, time.time, ignore_foreign=ignore)
    await deployments.load()
    catalog.on_end.append(deployments.forget)
    return deployments


async def _load_directory(store: Store) -> Directory:
    return await Directory.load(store, _new_key, time.time())


def _new_key(active_from: int) -> TokenKey:
    return new_token_key(int(time.time()), active_from)


def _checked(settings: Settings) -> TrustedProxies:
    """
    What only its user can tell to be good or bad, looked at before anything is made.

    Raises:
        BadSetting: naming it.
    """
    try:
        check_handlers(settings)
        limits_of(settings)
        for endpoint in settings.public_endpoints:
            public_authority(endpoint)
        for issuer in settings.trusted_issuers:
            if not is_issuer_url(issuer):
                example = "https://login.microsoftonline.com/TENANT/v2.0"
                raise ValueError(f"trusted issuer {issuer!r} is not a URL such as {example}")
        if (settings.certificate is None) != (settings.private_key is None):
            raise BadSetting("a certificate and its private key are given together: --cert FILE --key FILE")
        if settings.certificate is not None and not settings.https:
            raise BadSetting("a certificate is given, but HTTPS is left out: take away --cert and --key, or --no-https")
        if settings.client_certificate_header is not None and not settings.trusted_proxies:
            raise BadSetting("client_certificate_header counts from trusted proxies only: name them by --trusted-proxy")
        return TrustedProxies(settings.trusted_proxies)
    except (StartFailed, ValueError) as error:
        raise BadSetting(f"bad setting: {error}") from error


def _fill_standard_descriptors() -> None:
    """
    A process that was started without standard input, output or error has their numbers free, and the next file that
    is opened gets one: libuv aborts the process when it finds that it owns such a number.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)


def _loop_factory(settings: Settings) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if settings.loop == "asyncio":
        return None
    try:
        import uvloop
    except ImportError as error:
        if settings.loop == "uvloop":
            raise StartFailed("the setting loop asks for uvloop, which is not installed") from error
        return None
    return uvloop.new_event_loop


async def _serve(
    settings: Settings,
    trusted: TrustedProxies,
    announce: Callable[[Announcement], None],
    template: StartTemplate | None,
) -> int:
    stop = _stop_on_signals()
    warnings = _raise_descriptor_limit(settings)
    async with contextlib.AsyncExitStack() as stack:
        folder = DataFolder(settings.data)
        stack.callback(folder.close)
        store = await _open_store(settings, folder)
        stack.push_async_callback(store.close)
        interval_s = settings.journal_fsync_interval_s if settings.journal_fsync == "interval" else None
        journal = await open_journal(folder.journal_url, interval_s)
        stack.push_async_callback(journal.close)
        commits = Commits(journal)
        limits = RetainedLimits(settings.mqtt_retained_messages, settings.mqtt_retained_bytes)
        retained = Retained(commits, limits)
        await retained.load()
        directory = await _load_directory(store)
        catalog = await _load_catalog(store, directory)
        # Bound before anything is built: what we tell others about ourselves has the port in it.
        sockets, missing = bind(settings.host, settings.port)
        for bound in sockets:
            stack.callback(bound.close)
        secure: list[socket.socket] = []
        certificates = None
        if settings.https:
            secure, _ = bind(settings.host, _https_port(settings), "--https-port, or leave HTTPS out with --no-https")
            for bound in secure:
                stack.callback(bound.close)
            certificates = ShownCertificates(settings, folder)
            stack.callback(certificates.close)
        own, own_secure = f"http://{connectable(sockets)}", f"https://{connectable(secure)}" if secure else None
        public = settings.public_endpoints
        server = Server(
            public[0] if public else own,
            __version__,
            os.getpid(),
            str(folder.path),
            time.monotonic(),
            own_secure and next((url for url in public if url.startswith("https:")), own_secure),
            own_secure,
            None if certificates is None else certificates.authority,
        )
        # Our own endpoints are as good as public ones: a token that names one may come by another name of this machine.
        endpoints = (
            *public,
            *(f"http://{authority}" for authority in authorities(sockets)),
            *(f"https://{authority}" for authority in (authorities(secure) if secure else ())),
        )
        principals = Principals(catalog, endpoints, settings.token_leeway_s)
        entra = _Entra(settings, trusted, directory, catalog, principals, server, own, endpoints)
        stack.push_async_callback(entra.close)
        await entra.keep_keys()
        places = Places(server)
        vaults = KeyVaults(settings, await load_vaults(folder.path, store, catalog, directory), directory, endpoints)
        entra.issuer.is_vault = vaults.hosts.is_resource
        main = server.https_endpoint or server.endpoint
        communication = Communication(await load_communication(store, catalog, directory), main)
        more = (vaults.types, communication.types)
        deployments = await _load_deployments(settings, store, catalog, directory, places, more)
        users = entra.communication_users(store, communication.services)
        stack.push_async_callback(users.close)
        identity = IdentitySource(settings, entra.issuer)
        stack.push_async_callback(identity.close)
        elsewhere = AzureVaults(identity.tokens, settings.vault_hosts, authorities_of(settings))
        stack.push_async_callback(elsewhere.close)
        service = _Service(
            settings,
            trusted,
            catalog,
            principals,
            server,
            entra,
            deployments,
            places,
            identity,
            journal,
            commits,
            retained,
            vaults,
            vaults.secrets(elsewhere),
            communication,
            users,
        )

        async def before() -> None:
            if template is not None:
                warned.extend(await _deploy_first(template, catalog, deployments, server))

        warned = list(warnings + tuple(missing))
        await stack.enter_async_context(service.listening(sockets, secure, certificates, folder, before))
        key = catalog.access_keys(DEFAULT_RESOURCE).primary
        announcement = Announcement(
            server.endpoint,
            connection_string(server.endpoint, key),
            f"{folder.path}, store {store.address}" if settings.store else str(folder.path),
            tuple(warned),
            server.https_endpoint,
            communication.announced()["communicationConnectionString"],
        )
        if settings.ready_file is not None:
            more_to_know = {**communication.announced(), **entra.principal()}
            stack.enter_context(_ready_file(Path(settings.ready_file), server, key, more_to_know))
        announce(announcement)
        warnings = announcement.warnings
        for warning in warnings:
            _log.warning("%s", warning)
        # What was made so far stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        stack.callback(Every(_RETAINED_S, service.sweep_retained).cancel)
        if (own_heap := heap()) is not None:
            stack.callback(Every(_HEAP_S, partial(_give_back, own_heap)).cancel)
        _log.info("serving %s, listening on %s", server.endpoint, ", ".join(map(address_of, [*sockets, *secure])))
        await stop.wait()
        _log.info("stopping")
    _log.info("stopped")
    return 0


def _give_back(own_heap: Heap) -> None:
    started = time.perf_counter()
    if free := own_heap.give_back():
        spent_ms = (time.perf_counter() - started) * 1000
        _log.debug("of %d MiB free memory, whole pages are with the system; it took %.1f ms", free >> 20, spent_ms)


async def _deploy_first(first: StartTemplate, catalog: Catalog, deployments: Deployments, server: Server) -> list[str]:
    """
    Deploy a template in the operator's name.

    Returns:
        what of it does not act, a line each.

    Raises:
        StartFailed: it cannot be deployed, or not as a whole.
    """
    name = re.sub(r"[^\w.()-]", "-", Path(first.file).stem)[:64] or "start"
    order = Order(
        subscription=catalog.subscription_id,
        group=first.group,
        name=name,
        template=first.template,
        parameters=first.parameters,
        endpoint=server.https_endpoint or server.endpoint,
        locate=first.locate,
    )
    try:
        done = await deployments.deploy(order, lambda _action, _scope: None)
    except TemplateFault as error:
        place = f"({error.line},{error.column})" if error.line is not None else ""
        raise StartFailed(f"cannot deploy {first.file}{place}: {error.message}") from error
    except Refused as error:
        raise StartFailed(f"cannot deploy {first.file}: {error.message}") from error
    if done.error is not None:
        reasons = "; ".join(f"{detail['target']}: {detail['message']}" for detail in done.error["details"])
        raise StartFailed(f"the deployment of {first.file} has failed: {reasons}")
    _log.info("deployed %s: %s", first.file, _counted(len(done.operations), "resource"))
    return [f"{_short(step.id)}: {text}" for step in done.operations for text in step.warnings]


def _short(resource_id: str) -> str:
    """What a resource is called by people: its names, such as `wps/chat`."""
    found = split_id(resource_id)
    return resource_id if found is None else "/".join(found.names)


class _Service:
    """Everything of one server that lives between its listeners' beginning and end."""

    def __init__(
        self,
        settings: Settings,
        trusted: TrustedProxies,
        catalog: Catalog,
        principals: Principals,
        server: Server,
        entra: "_Entra",
        deployments: Deployments,
        places: Places,
        identity: IdentitySource,
        journal: Journal,
        commits: Commits,
        retained: Retained,
        vaults: KeyVaults,
        secrets: SecretSource,
        communication: Communication,
        users: CommunicationUsers,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._settings = settings
        self._catalog = catalog
        self._principals = principals
        self._hosts = Hosts(catalog, settings.public_endpoints)
        self._places = places
        self._retained = retained
        self._telemetry = Telemetry(settings.max_connections)
        self._commits = commits
        self._telemetry.unwritten = lambda: commits.asked - commits.safe
        node = Node(
            MemoryExchange().bus(),
            self._telemetry,
            loop,
            settings.recovery_s,
            settings.max_groups_per_connection,
            time.monotonic,
            fanout.SPREAD,
            StateLimits(
                settings.group_state_entries,
                settings.group_state_bytes,
                settings.group_state_groups,
                settings.group_states_bytes,
            ),
            commits=commits,
            retained=retained,
            # So that with as many again of other messages it is not more than a session may leave unacknowledged.
            portions=PortionLimits(
                max(1, min(100, settings.reliable_queue_messages // 2)), max(1, settings.reliable_queue_bytes // 4)
            ),
        )
        self._listeners: Listeners | None = None
        self._handlers = EventHandlers(
            settings,
            catalog,
            catalog,
            identity.tokens,
            secrets,
            journal,
            self._telemetry,
            lambda: self._listeners.addresses if self._listeners is not None else (),
            self._origin,
        )
        catalog.review = self._handlers.review
        self._vaults = vaults
        self._communication = communication
        vaults.vaults.on_change.append(partial(self._handlers.secrets.look_again, vaults.local.has))
        entrance_of_vaults = VaultEntrance(settings, vaults.vaults, vaults.hosts, entra.issuer, entra.vault_callers)
        callers = entra.communication_callers(communication.services)
        entrance_of_services = CommunicationEntrance(communication.services, callers)
        hidden = ("authorization", (settings.client_certificate_header or "authorization").lower())
        shown = Shown(
            origin=origin_of(settings.public_endpoints),
            otherwise=urlsplit(server.endpoint).hostname or "localhost",
            hidden_headers=frozenset(hidden),
            no_certificate=() if settings.missing_client_certificate == "empty" else None,
            upper_thumbprints=settings.thumbprint_case == "upper",
            refusal_bodies=settings.refusal_bodies == "forward",
        )
        limits = QueueLimits(settings.reliable_queue_messages, settings.reliable_queue_bytes)
        events = ConnectionEvents(self._handlers.dispatcher, shown)
        mqtt = mqtt_options(settings)
        streams = StreamLimits(settings.max_streams_per_connection, settings.stream_in_flight_bytes)
        durable = DurableSessions(commits, node.time, time.time, settings.mqtt_durable_sessions_limit)
        self._gateway = Gateway(
            node,
            principals,
            catalog,
            events,
            self._telemetry,
            limits,
            mqtt,
            users.logins,
            durable,
            invocations=settings.invocations_per_connection,
            streams=streams,
        )
        self._clients = Clients(
            self._gateway,
            self._telemetry,
            loop,
            max_message_bytes=settings.max_message_bytes,
            buffer_bytes=settings.client_buffer_bytes,
            # What waits for a reliable client is what it has not acknowledged, with frame heads and numbers around it:
            # a little more room, so that the queue limit decides, also when all of it is replayed at once.
            reliable_buffer_bytes=settings.reliable_queue_bytes * 5 // 4 + settings.max_message_bytes,
            inbox_requests=settings.inbox_requests,
            connect_timeout_s=settings.mqtt_connect_timeout_s,
        )
        entrance = TunnelEntrance(self._handlers.tunnels, entra.tunnel_callers, catalog)
        self._tunnels = TunnelSockets(entrance, loop, settings.handler_response_bytes)
        self._serving = False
        app = build_app(
            node,
            principals,
            entra.callers,
            catalog,
            self._telemetry,
            server,
            ready=lambda: self._serving,
            more=(
                *entra.operations(),
                *self._management(server, entra, deployments),
                *HandlerTable(self._handlers.review.states).operations(),
                *RetainedTable(retained).operations(),
                *vaults.operations(entra.managers, entrance_of_vaults),
                *communication.operations(entra.managers),
                *users.operations(entrance_of_services),
            ),
            principal=lambda: {**communication.announced(), **entra.principal()},
            issuer_url=entra.issuer.base_url,
            managers=entra.managers,
            vaults=entrance_of_vaults,
            communication=entrance_of_services,
            public_endpoints=settings.public_endpoints,
            cors_origins=settings.cors_origins,
            max_message_bytes=settings.max_message_bytes,
            idle_timeout_s=settings.idle_timeout_s,
        )
        self._front = FrontContext(
            app,
            partial(upgrade, self._clients, self._tunnels),
            answering=app.answer,
            max_head_bytes=settings.max_head_bytes,
            head_timeout_s=settings.head_timeout_s,
            idle_timeout_s=settings.idle_timeout_s,
            max_sockets=settings.max_sockets,
            upgraded=lambda: len(self._clients.sockets) + len(self._tunnels.sockets),
            trusted=trusted,
            certificate_header=settings.client_certificate_header,
            resource_of=self._hosts.resource_of,
            on_refused=partial(refused, self._telemetry),
        )

    def sweep_retained(self) -> None:
        """Forget retained messages whose time is over, and count the others."""
        self._telemetry.kept_messages, self._telemetry.kept_bytes = self._retained.sweep()

    def _origin(self, resource: str) -> str:
        """Our host name for event handlers, where no client has used one."""
        found = self._catalog.named(resource)
        return origin_of(self._settings.public_endpoints) or ("" if found is None else self._places(found).host)

    def _management(self, server: Server, entra: "_Entra", deployments: Deployments) -> tuple[Operation, ...]:
        """All rows of the resource manager."""

        async def restart(resource: str) -> None:
            await self._gateway.end_resource(resource, "The resource is restarting.", for_good=False)

        web_pubsub = WebPubSubTable(self._catalog, self._places, entra.tenant_id, restart, entra.managers).operations()
        subscriptions = SubscriptionTable(
            self._catalog,
            self._places,
            entra.tenant_id,
            entra.issuer.base_url,
            server.https_endpoint or server.endpoint,
            entra.managers,
            sorted({row.action for row in web_pubsub if row.action is not None}),
            (entra.identities.documents, self._vaults.types.documents, self._communication.types.documents),
        )
        public = self._settings.public_endpoints[0] if self._settings.public_endpoints else None
        deploying = DeploymentTable(self._catalog, deployments, entra.managers, public, server.endpoint)
        return (*web_pubsub, *subscriptions.operations(), *deploying.operations())

    @contextlib.asynccontextmanager
    async def listening(
        self,
        sockets: Sequence[socket.socket],
        secure: Sequence[socket.socket],
        certificates: ShownCertificates | None,
        folder: DataFolder,
        before: Callable[[], Awaitable[None]],
    ) -> AsyncIterator[None]:
        """
        Serve inside of this context; say goodbye to everybody at its end.

        Args:
            before: done when resources have their ports, and the main ones are not open yet.
        """
        if restored := await self._restore():
            _log.info("%s of an earlier process go on", _counted(restored, "session"))
        listeners = self._listeners = Listeners(self._front, self._clients)
        await listeners.listen_control(folder.bindable_control_socket())
        await self._listen_for_resources(listeners, sockets, secure, certificates)
        await before()
        tls = None if certificates is None else certificates.add("", self._hosts.asks, self._hosts.asks_some)
        await listeners.listen(sockets, secure, tls)
        if left := await self._handlers.dispatcher.recover():
            _log.info("event handlers are told of %s that ended with the server before", _counted(left, "connection"))
        self._serving = True
        try:
            yield
        finally:
            self._serving = False
            self._gateway.stop()
            self._tunnels.entrance.stop()
            self._catalog.on_change.remove(self._changed)
            self._catalog.on_end.remove(self._ending)
            cut = await listeners.stop(self._settings.shutdown_grace_s)
            await self._gateway.end()
            if late := await self._handlers.end():
                _log.warning(
                    "%s could not be told in time; ends of connections are told at the next start",
                    _counted(late, "event"),
                )
            self._commits.pass_on()  # the journal writes what it knows of, and is closed
            cut += await self._tunnels.end(asyncio.get_running_loop().time() + self._settings.shutdown_grace_s)
            if cut:
                _log.warning("cut off %s that did not end in time", _counted(cut, "connection"))

    async def _restore(self) -> int:
        """Let sessions go on that an earlier process has left, as far as they are still to outlive it."""
        # Hundreds of thousands of things are made, and none of them is garbage: looking for it takes half the time.
        gc.disable()
        try:
            return await self._gateway.restore()
        finally:
            gc.enable()

    async def _listen_for_resources(
        self,
        listeners: Listeners,
        sockets: Sequence[socket.socket],
        secure: Sequence[socket.socket],
        certificates: ShownCertificates | None,
    ) -> None:
        """Open the ports that resources have of their own, now and whenever one is made."""
        settings = self._settings
        main = None
        if settings.port:
            main = (settings.port, secure[0].getsockname()[1] if secure else settings.port)
        public = settings.public_endpoints[0] if settings.public_endpoints else None
        hosts = tuple(dict.fromkeys(bound.getsockname()[0] for bound in sockets))
        catalog = self._catalog

        vaults, services = self._vaults.vaults, self._communication.services

        def reserved() -> frozenset[int]:
            pairs = [resource.ports for resource in catalog.resources()]
            pairs += [vault.ports for vault in vaults.all()] + [service.ports for service in services.all()]
            return frozenset(port for pair in pairs for port in pair)

        ports = OwnPorts(hosts, main, public, listeners, certificates, self._principals, self._hosts, reserved)
        self._places.own = ports
        self._catalog.ports = vaults.ports = self._vaults.hosts.own = ports
        services.ports = self._communication.own = ports
        self._catalog.on_change.append(self._changed)
        self._catalog.on_end.insert(0, self._ending)
        for name, old, new in await self._catalog.open_ports():
            _log.warning("resource %s had the ports %s and has %s now", name, old, new)
        for name, old, new in await vaults.open_ports():
            _log.warning("Key Vault %s had the ports %s and has %s now", name, old, new)
        for name, old, new in await services.open_ports():
            _log.warning("communication service %s had the ports %s and has %s now", name, old, new)

    async def _ending(self, scope: str) -> None:
        """What is going to be deleted serves nobody any more, and its handlers hear of that while they are known."""
        for found in self._catalog.resources():
            key = found.name.lower()
            if covers(scope, self._catalog.policy(key).scope):
                await self._gateway.end_resource(key, "The resource is deleted.")
                await self._handlers.dispatcher.settle(key, _LAST_EVENTS_S)
                self._tunnels.entrance.end_resource(key, "The resource is deleted.", for_good=True)

    async def _changed(self, old: StoredResource | None, new: StoredResource | None) -> None:
        """A resource is another one now. Whoever it no longer serves is told so."""
        if old is None:
            return
        key = old.name.lower()
        if new is None:
            await self._gateway.end_resource(key, "The resource is deleted.")
            await self._retained.forget_resource(key)
        elif self._catalog.policy(key).stopped:
            await self._gateway.end_resource(key, "The resource is stopped.", for_good=False)


class _Entra:
    """
    The token issuer and who is trusted beside it, with everything that hangs on them.

    Args:
        own: URL of the plain listener.
        endpoints: all URLs under which this server is reached.
    """

    def __init__(
        self,
        settings: Settings,
        trusted: TrustedProxies,
        directory: Directory,
        catalog: Catalog,
        principals: Principals,
        server: Server,
        own: str,
        endpoints: Sequence[str],
    ) -> None:
        self._settings = settings
        self._trusted = trusted
        self._directory = directory
        self._catalog = catalog
        self._own = own
        self._foreign = IssuerKeys()
        # Apart from one another: whoever cannot call REST any more shall still get the token that lets them.
        at_rest, self._at_issuer, self._at_identity = (
            Failures(settings.failed_authentications_per_minute) for _ in range(3)
        )
        self._keeping: asyncio.Task[None] | None = None
        base_url = server.https_endpoint or server.endpoint
        self.issuer = Issuer(directory, base_url, endpoints, self._foreign, user_tokens=settings.user_tokens)
        bearers = self._bearers(DATA_PLANE, settings.trusted_audiences)
        self.callers = RestCallers(principals, bearers, at_rest, catalog)
        self.tunnel_callers = TunnelCallers(principals, bearers, at_rest, catalog)
        self.vault_callers = VaultCallers(self._bearers(VAULTS), at_rest)
        self.managers = Managers(self._bearers(MANAGEMENT, endpoints), at_rest)
        self._at_rest = at_rest
        self.identities = UserIdentities(catalog, directory)
        self._timer = Every(_TOKEN_KEYS_S, self._look)

    @property
    def tenant_id(self) -> str:
        """The one tenant."""
        return self._directory.tenant.tenant_id

    def communication_callers(self, services: CommunicationServices) -> CommunicationCallers:
        """Who may call communication services."""
        settings = self._settings
        return CommunicationCallers(
            self._bearers(COMMUNICATION),
            self._at_rest,
            services,
            settings.communication_clock_skew_s,
            self.tenant_id if settings.local_issuer else None,
            tuple(name.lower() for name in settings.communication_principals),
        )

    def communication_users(self, store: Store, services: CommunicationServices) -> CommunicationUsers:
        """The users of communication services."""
        teams, clients = self._bearers(TEAMS), self._bearers(CLIENTS)
        return CommunicationUsers(
            self._settings, store, self.issuer.ring, self.issuer.base_url, services, teams, clients
        )

    def _bearers(self, service: CalledService, audiences: Sequence[str] = ()) -> Bearers:
        """Who brings tokens of the issuers that are trusted, for one of our services."""
        settings = self._settings
        return Bearers(
            self._directory,
            self.issuer if settings.local_issuer else None,
            settings.trusted_issuers,
            self._foreign,
            audiences,
            settings.token_leeway_s,
            time.time,
            service,
        )

    def operations(self) -> tuple[Operation, ...]:
        """All rows that have to do with tokens of issuers."""
        directory, settings = self._directory, self._settings
        scope = self._catalog.policy(DEFAULT_RESOURCE).scope
        rows = DirectoryTable(directory, self.issuer, scope).operations()
        identity = ManagedIdentityTable(
            self.issuer,
            directory.tenant,
            settings.managed_identity if settings.local_issuer else "off",
            self._own,
            self._trusted.trusts,
            self._at_identity,
        )
        tokens = IssuerTable(self.issuer, self._at_issuer).operations() if settings.local_issuer else ()
        resources = IdentityTable(self.identities, self.managers).operations()
        return (*rows, *identity.operations(), *tokens, *resources)

    def principal(self) -> dict[str, str]:
        """What a program needs to sign in as the principal that is there from the first start."""
        tenant = self._directory.tenant
        found = {"subscriptionId": tenant.subscription_id}
        secret = self._directory.development_secret()
        if self._settings.local_issuer:
            found |= {"authority": self.issuer.base_url, "tenantId": tenant.tenant_id}
            if secret is not None:
                found |= {"clientId": tenant.development_app, "clientSecret": secret}
        return found

    async def keep_keys(self) -> None:
        """Let the keys that sign change when it is time."""
        try:
            if await self._directory.keep_keys(time.time()):
                _log.info("the token issuer has a new key")
        except NotStored as error:
            _log.error("the token issuer goes on with its old keys: %s", error.message)

    async def close(self) -> None:
        self._timer.cancel()
        if self._keeping is not None:
            await asyncio.wait((self._keeping,))
        await self._foreign.close()

    def _look(self) -> None:
        self._keeping = asyncio.get_running_loop().create_task(self.keep_keys())


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _as_http(endpoint: str) -> str:
    """A public endpoint as SDKs want it in a connection string, where it is given with a scheme of WebSocket."""
    scheme, separator, rest = endpoint.rstrip("/").partition("://")
    return f"{_HTTP.get(scheme.lower(), scheme.lower())}{separator}{rest}"


def _https_port(settings: Settings) -> int:
    if settings.https_port is not None:
        return settings.https_port
    return _HTTPS_PORT if settings.port else 0


def _stop_on_signals() -> asyncio.Event:
    """SIGTERM and SIGINT ask to stop; the second one stops at once."""
    stop = asyncio.Event()

    def asked() -> None:
        if stop.is_set():
            _log.warning("stopped at once by a second signal")
            for leftover in _leftovers:
                leftover.unlink(missing_ok=True)
            flush_records()
            os._exit(1)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked)
    return stop


_leftovers: set[Path] = set()
"""Files that would be wrong after the process is gone, for an end that does not unwind."""


def _raise_descriptor_limit(settings: Settings) -> tuple[str, ...]:
    """Each client needs a file descriptor; the usual limit of 1024 is too low by far."""
    wanted = settings.max_sockets + _SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    for new_soft, new_hard in ((wanted, max(wanted, hard) if hard != unlimited else hard), (hard, hard)):
        if soft != unlimited and soft < wanted and (hard == unlimited or new_soft <= new_hard):
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (new_soft, new_hard))
                soft = new_soft
    low = min(wanted, settings.max_connections + _SPARE_DESCRIPTORS, 10_000)
    if soft != unlimited and soft < low:
        return (f"only {soft} file descriptors are allowed (ulimit -n), so about as many clients can connect",)
    return ()


@contextlib.contextmanager
def _ready_file(path: Path, server: Server, key: str, more: Mapping[str, str]) -> Iterator[None]:
    """There from when the server listens until it ends; whole or not at all. Only its owner may read the key in it."""
    path = path.absolute()
    content: dict[str, str | int] = {
        "endpoint": server.endpoint,
        "connectionString": connection_string(server.endpoint, key),
        "pid": server.pid,
    }
    if server.https_endpoint is not None:
        content["httpsEndpoint"] = server.https_endpoint
        content["httpsConnectionString"] = connection_string(server.https_endpoint, key)
    if server.ca_certificate is not None:
        content["caCertificate"] = server.ca_certificate
    content |= more
    try:
        replace_file(path, json.dumps(content).encode())
    except OSError as error:
        raise StartFailed(f"cannot write the ready file {path}: {error.strerror or error}") from error
    _leftovers.add(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        _leftovers.discard(path)
