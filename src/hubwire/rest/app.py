"""The tables of this room put together."""

from collections.abc import Callable, Mapping, Sequence

from hubwire.model.telemetry import Telemetry
from hubwire.rest.control import Control
from hubwire.rest.dataplane import DataPlane
from hubwire.rest.metrics import Probes
from hubwire.rest.operation import Operation, RestApp
from hubwire.rest.ports import Callers, Catalog, CommunicationDoor, Managers, Node, Principals, Server, VaultDoor

__all__ = ["build_app"]


def build_app(
    node: Node,
    principals: Principals,
    callers: Callers,
    catalog: Catalog,
    telemetry: Telemetry,
    server: Server,
    *,
    ready: Callable[[], bool],
    more: Sequence[Operation] = (),
    principal: Callable[[], Mapping[str, str]] = dict,
    issuer_url: str = "",
    managers: Managers | None = None,
    vaults: VaultDoor | None = None,
    communication: CommunicationDoor | None = None,
    public_endpoints: Sequence[str] = (),
    cors_origins: Sequence[str] = (),
    max_message_bytes: int = 1 << 20,
    idle_timeout_s: float = 75.0,
) -> RestApp:
    """
    Everything that can be called over HTTP, as one ASGI application.

    Args:
        server: what it knows of itself; so it has to listen already.
        ready: false while the server starts or stops.
        more: further rows, such as those of a token issuer.
        principal: what a program needs to sign in with the token issuer.
        issuer_url: base URL of the token issuer.
        managers: who may call the resource manager.
        vaults: who may call Key Vaults.
        communication: who may call communication services.
        public_endpoints, cors_origins, max_message_bytes, idle_timeout_s: the settings of the same name.
    """
    plane = DataPlane(
        node,
        principals,
        telemetry,
        public_endpoint=public_endpoints[0] if public_endpoints else None,
        own_endpoint=server.endpoint,
    )
    control = Control(principals, catalog, telemetry, server, principal)
    probes = Probes(telemetry, ready)
    return RestApp(
        (*plane.operations(), *control.operations(), *probes.operations(), *more),
        callers=callers,
        telemetry=telemetry,
        cors_origins=cors_origins,
        max_message_bytes=max_message_bytes,
        idle_timeout_s=idle_timeout_s,
        issuer_url=issuer_url,
        managers=managers,
        vaults=vaults,
        communication=communication,
    )
