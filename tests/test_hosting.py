"""Which resource a host belongs to, and the listeners of those that have ports of their own."""

import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from typing import Any, cast

import pytest

from acceptance.servers import free_port
from hubwire.auth.principals import Principals
from hubwire.edge.server import Listeners, bind
from hubwire.hosting import Hosts, OwnPorts, Places
from hubwire.model.errors import Unavailable
from hubwire.model.hubs import AccessKeys
from hubwire.resources.catalog import Catalog
from hubwire.resources.documents import StoredResource
from hubwire.resources.resource_documents import Place
from hubwire.rest.ports import Server
from hubwire.shown_certificates import ShownCertificates
from rest.issuing import MemoryStore

LOOPBACK = ("127.0.0.1",)


async def catalog_with(*names: str) -> Catalog:
    catalog = await Catalog.load(MemoryStore())
    for name in names:
        await put(catalog, name)
    return catalog


async def put(catalog: Catalog, name: str, **properties: Any) -> None:
    group = "hubwire" if name == "default" else "g"
    body = {"location": "eastus", "properties": properties}
    await catalog.put_resource(catalog.subscription_id, group, name, body)


# Hosts


@pytest.mark.parametrize(
    ("host", "resource"),
    [
        ("wps-one.webpubsub.localhost", "wps-one"),
        ("wps-one.webpubsub.localhost:8080", "wps-one"),
        ("wps-one.webpubsub.azure.com", "wps-one"),
        ("wps-one.webpubsub", "wps-one"),
        ("wps-one.hub.example.com.:8443", "wps-one"),
        ("hub.example.com.", "default"),
        ("wps-one.hub.example.com", "wps-one"),
        ("wps-one.hub.example.com:8443", "wps-one"),
        ("default.webpubsub.localhost:8080", "default"),
        ("wps-two.webpubsub.localhost", "default"),
        ("wps-one", "default"),
        ("wps-one:8080", "default"),
        ("wps-one.localhost:8080", "default"),
        ("wps-one.example.com", "default"),
        ("wps-one.other.hub.example.com", "default"),
        ("wps-one.webpubsubs.localhost", "default"),
        ("x.wps-one.webpubsub.localhost", "default"),
        ("hub.example.com", "default"),
        ("localhost:8080", "default"),
        ("127.0.0.1:8080", "default"),
        ("[::1]:8080", "default"),
        ("[::ffff:127.0.0.1]:8080", "default"),
        ("", "default"),
        (".", "default"),
        (".webpubsub.localhost", "default"),
        ("wps-one.", "default"),
    ],
)
async def test_host_that_begins_with_the_name_of_a_resource_is_one_of_it(host: str, resource: str) -> None:
    hosts = Hosts(await catalog_with("Wps-One"), ("https://hub.example.com:8443", "http://10.0.0.1:8080"))

    assert hosts.resource_of(host) == resource


@pytest.mark.parametrize("host", ["wps-one.webpubsub.example.com", "wps-one.webpubsub.example.com:8443"])
async def test_published_host_is_the_first_resources_whatever_others_are_called(host: str) -> None:
    hosts = Hosts(await catalog_with("wps-one"), ("https://wps-one.webpubsub.example.com",))

    assert hosts.resource_of(host) == "default"
    assert hosts.resource_of("wps-one.webpubsub.example.org") == "wps-one"


@pytest.mark.parametrize("name", ["hub", "wps-one", "Hub"])
@pytest.mark.parametrize(
    "published", ["https://{}.example.com", "http://{}.webpubsub.local:8080", "https://{}.localhost"]
)
async def test_resource_that_is_called_like_a_published_host_does_not_take_it(name: str, published: str) -> None:
    """Neither one that is there at the start nor one that is made later."""
    catalog = await catalog_with()
    also = "https://example.com"
    label = name.lower()
    hosts = Hosts(catalog, (also, published.format(label)))
    host = published.format(label).partition("//")[2]
    bare = host.partition(":")[0]

    await put(catalog, name)

    for asked in (host, bare, f"{bare}.", f"{bare}:8443"):
        assert hosts.resource_of(asked) == "default"
    assert not hosts.asks(host.upper())
    # It has names of its own, also below what is published.
    for asked in (f"{label}.{bare}", f"{label}.webpubsub.azure.com"):
        assert hosts.resource_of(asked) == label


@pytest.mark.parametrize(
    ("host", "vault"),
    [
        ("vault-one.vault.azure.net", "vault-one"),
        ("vault-one.vault.azure.net.:443", "vault-one"),
        ("vault-one.vault.localhost:8443", "vault-one"),
        ("nobodys.vault.azure.net", "nobodys"),
        ("x.vault-one.vault.azure.net", None),
        ("a--b.vault.azure.net", None),
        (".vault.azure.net", None),
        ("vault.azure.net", None),
        ("vault-one.vault.azure.cn", None),
        ("vault-one.vault.example.com", None),
    ],
)
async def test_host_that_names_a_vault_is_no_resources(host: str, vault: str | None) -> None:
    """Be there such a vault or not, so that nobody else answers for it; and no client is asked for a certificate."""
    catalog = await catalog_with("vault-one")
    await put(catalog, "default", tls={"clientCertEnabled": True})
    hosts = Hosts(catalog, ())

    assert hosts.resource_of(host) == ("default" if vault is None else f"vault/{vault}")
    assert hosts.asks(host) == (vault is None)


@pytest.mark.parametrize("host", ["acs-one.communication.azure.com", "nobodys.communication.localhost:8443"])
async def test_host_that_names_a_communication_service_is_no_resources(host: str) -> None:
    """Be there such a service or not; and no client is asked for a certificate."""
    catalog = await catalog_with("acs-one")
    await put(catalog, "default", tls={"clientCertEnabled": True})
    hosts = Hosts(catalog, ())

    assert hosts.resource_of(host) == f"communication/{host.partition('.')[0]}"
    assert not hosts.asks(host)


async def test_published_host_of_a_communication_service_is_the_first_ones() -> None:
    hosts = Hosts(await catalog_with(), ("https://chat.communication.localhost:8443",))

    assert hosts.resource_of("chat.communication.localhost:8443") == "default"
    assert hosts.resource_of("other.communication.localhost:8443") == "communication/other"


async def test_deleted_resource_leaves_its_host_to_the_first_one() -> None:
    catalog = await catalog_with("wps-one")
    hosts = Hosts(catalog, ())
    assert hosts.resource_of("wps-one.webpubsub.localhost") == "wps-one"

    await catalog.delete_resource(catalog.subscription_id, "g", "wps-one")

    assert hosts.resource_of("wps-one.webpubsub.localhost") == "default"


async def test_client_is_asked_for_a_certificate_by_the_host_that_it_wants() -> None:
    catalog = await catalog_with("wps-one", "wps-two")
    hosts = Hosts(catalog, ())
    at_one, at_nowhere = hosts.asks_at("wps-one"), hosts.asks_at("nowhere")
    assert not hosts.asks_some()

    await put(catalog, "wps-one", tls={"clientCertEnabled": True})

    names = ("", "localhost", "WPS-ONE.webpubsub.localhost", "wps-two.webpubsub.localhost")
    assert [hosts.asks(name) for name in names] == [False, False, True, False]
    assert (hosts.asks_some(), at_one(), at_nowhere()) == (True, True, False)
    await catalog.delete_resource(catalog.subscription_id, "g", "wps-one")
    assert (hosts.asks_some(), at_one()) == (False, False)


async def test_everybody_is_asked_where_the_first_resource_does() -> None:
    catalog = await catalog_with("wps-one")
    hosts = Hosts(catalog, ())
    await put(catalog, "default", tls={"clientCertEnabled": True})

    names = ("", "localhost", "wps-one.webpubsub.localhost", "wps-two.webpubsub.localhost")
    assert [hosts.asks(name) for name in names] == [True, True, False, True]


# Own ports


class Sockets:
    """
    Stands for the listeners: sockets that are listened on, by resource.

    Attributes:
        tls: of each resource.
        failing: nobody can listen.
        is_short: there are no descriptors for more.
    """

    def __init__(self) -> None:
        self.open: dict[str, list[socket.socket]] = {}
        self.secure: dict[str, int] = {}
        self.tls: dict[str, ssl.SSLContext | None] = {}
        self.failing = False
        self.is_short = False

    async def add(
        self,
        resource: str,
        sockets: Sequence[socket.socket],
        secure: Sequence[socket.socket],
        tls: ssl.SSLContext | None,
    ) -> None:
        self.open[resource] = [*sockets, *secure]
        self.secure[resource] = len(secure)
        self.tls[resource] = tls
        if self.failing:
            raise OSError(24, "Too many open files")
        for one in self.open[resource]:
            one.listen()

    def remove(self, resource: str) -> None:
        for one in self.open.pop(resource):
            one.close()


class Certificates:
    """Whom each listener asks."""

    def __init__(self) -> None:
        self.asks: dict[str, Any] = {}
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def add(self, name: str, asks: Any, asks_some: Any) -> ssl.SSLContext:
        self.asks[name] = (asks, asks_some)
        return self.context

    def remove(self, name: str) -> None:
        del self.asks[name]


class World:
    """Two resources without ports."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.listeners = Sockets()
        self.certificates = Certificates()
        self.principals = Principals(catalog, (), 0)
        self.reserved: set[int] = set()

    def ports(
        self,
        *,
        main: tuple[int, int] | None = None,
        public: str | None = None,
        https: bool = True,
        hosts: Sequence[str] = LOOPBACK,
    ) -> OwnPorts:
        return OwnPorts(
            hosts,
            main,
            public,
            cast("Listeners", self.listeners),  # a double: what is asked of them is what it has
            cast("ShownCertificates", self.certificates) if https else None,
            self.principals,
            Hosts(self.catalog, ()),
            lambda: self.reserved,
        )

    def reached(self, port: int) -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=10).close()
        except ConnectionRefusedError:
            return False
        return True

    def is_ours(self, authority: str) -> bool:
        return authority in self.principals._also


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World(await catalog_with("wps-one", "wps-two"))
    yield world
    for name in list(world.listeners.open):
        world.listeners.remove(name)


def resource(name: str = "wps-one") -> StoredResource:
    return StoredResource(name, AccessKeys("p" * 32, "s" * 32))


async def test_resource_is_reached_on_its_own_ports_until_they_are_closed(world: World) -> None:
    ports = world.ports()
    plain, secure = await ports.open("wps-one", (0, 0))

    assert len({0, plain, secure}) == 3
    assert world.reached(plain)
    assert world.reached(secure)
    assert world.listeners.secure == {"wps-one": 1}
    assert world.is_ours(f"127.0.0.1:{plain}")
    assert world.is_ours(f"localhost:{secure}")

    await ports.close("wps-one")
    assert not world.reached(plain)
    assert not world.reached(secure)
    assert not world.is_ours(f"127.0.0.1:{plain}")
    assert world.certificates.asks == {}
    assert ports.place(resource()) is None
    await ports.close("wps-one")


async def test_without_https_there_is_one_port(world: World) -> None:
    ports = world.ports(https=False)
    plain, secure = await ports.open("wps-one", (0, 0))

    assert (plain > 0, secure) == (True, 0)
    assert (world.listeners.secure, world.listeners.tls) == ({"wps-one": 0}, {"wps-one": None})
    assert ports.place(resource()) == Place(f"http://127.0.0.1:{plain}", "127.0.0.1", plain, plain)
    await ports.close("wps-one")


@pytest.mark.parametrize(
    ("name", "called"), [("wps-one", "resource wps-one"), ("vault/vault-one", "Key Vault vault-one")]
)
async def test_listeners_are_told_in_a_short_line(
    world: World, caplog: pytest.LogCaptureFixture, name: str, called: str
) -> None:
    """One URL of each scheme; all of them are for whoever looks closer."""
    caplog.set_level("DEBUG", "hubwire.server")
    plain, secure = await world.ports(hosts=("127.0.0.1", "::1")).open(name, (0, 0))

    short, whole = [record for record in caplog.records if record.name == "hubwire.server"]
    assert (short.levelname, whole.levelname) == ("INFO", "DEBUG")
    assert short.getMessage() == f"{called} listens on http://localhost:{plain} and https://localhost:{secure}"
    assert f"https://[::1]:{secure}" in whole.getMessage()


async def test_ports_are_the_same_after_each_start(world: World) -> None:
    first = await world.ports().open("wps-one", (0, 0))
    world.listeners.remove("wps-one")

    assert await world.ports().open("wps-one", first) == first


async def test_port_that_somebody_else_has_is_replaced(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        plain, _ = await world.ports().open("wps-one", (port, 0))

        assert plain != port
        assert f"port {port} is already in use" in caplog.text


async def test_search_for_ports_begins_behind_the_main_ones_and_each_gets_another(world: World) -> None:
    first = free_port()
    main = (first, first + 500)
    ports = world.ports(main=main)
    one = await ports.open("wps-one", (0, 0))
    world.reserved.update(one)
    two = await ports.open("wps-two", (0, 0))

    assert len({*main, *one, *two}) == 6
    for found in (one, two):
        assert 0 < found[0] - main[0] <= 1000
        assert 0 < found[1] - main[1] <= 1000


async def test_port_that_is_taken_is_passed_by_in_the_search(world: World) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        first = taken.getsockname()[1]

        plain, _ = await world.ports(main=(first - 1, free_port()), https=False).open("wps-one", (0, 0))

        assert first < plain <= first + 1000


async def test_ports_for_http_and_https_differ_though_the_search_for_both_begins_at_one(world: World) -> None:
    main = free_port()

    plain, secure = await world.ports(main=(main, main)).open("wps-one", (0, 0))

    assert plain != secure
    assert world.reached(plain)
    assert world.reached(secure)


async def test_no_port_at_all_is_told_and_nothing_stays_open(world: World) -> None:
    with pytest.raises(Unavailable, match="No port can be had for the resource"):
        await world.ports(main=(65535, 65535)).open("wps-one", (0, 0))
    with pytest.raises(Unavailable):
        await world.ports(hosts=("203.0.113.1",)).open("wps-one", (0, 0))
    plain = free_port()
    with pytest.raises(Unavailable):
        await world.ports(main=(plain - 1, 65535)).open("wps-one", (0, 0))

    with closing(bind(LOOPBACK, plain)[0][0]):
        assert world.listeners.open == {}
        assert world.certificates.asks == {}


async def test_ports_that_cannot_be_listened_on_are_given_up_and_told(world: World) -> None:
    world.listeners.failing = True

    with pytest.raises(Unavailable, match="Too many open files"):
        await world.ports().open("wps-one", (0, 0))

    assert world.listeners.open == {}
    assert world.certificates.asks == {}


async def test_no_port_is_opened_with_the_last_descriptors(world: World) -> None:
    world.listeners.is_short = True

    with pytest.raises(Unavailable, match="file descriptors"):
        await world.ports().open("wps-one", (0, 0))


async def test_port_of_a_resource_that_is_not_open_is_left_to_it(world: World) -> None:
    main = free_port()
    world.reserved.update(range(main + 1, main + 20))

    plain, _ = await world.ports(main=(main, free_port()), https=False).open("wps-one", (0, 0))

    assert plain >= main + 20


class Wished:
    """Ports that are given out without anybody listening: those that resources are to have had."""

    def __init__(self, *ports: int) -> None:
        self._ports = iter(ports)

    async def open(self, _name: str, _ports: tuple[int, int], /) -> tuple[int, int]:
        return next(self._ports), 0

    async def close(self, _name: str, /) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("first", ["wps-one", "wps-two"])
async def test_start_gives_no_resource_the_stored_port_of_another_one(world: World, first: str) -> None:
    """Whoever knows a resource by its port would meet another one there."""
    store, own = MemoryStore(), free_port()
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        lost = int(taken.getsockname()[1])
        before = await Catalog.load(store)
        before.ports = Wished(*((lost, own) if first == "wps-one" else (own, lost)))
        for name in ("wps-one", "wps-two"):
            await put(before, name)
        catalog = await Catalog.load(store)
        world.reserved = {port for found in catalog.resources() for port in found.ports}
        # The search begins at the port of the one that keeps its own.
        catalog.ports = world.ports(main=(own - 1, own - 1), https=False)

        ((moved, old, new),) = await catalog.open_ports()

    assert (moved, old) == (first, (lost, 0))
    assert new[0] not in (lost, own)
    other = "wps-two" if first == "wps-one" else "wps-one"
    found = {one.name: one.ports for one in (await Catalog.load(store)).resources() if any(one.ports)}
    assert found == {first: new, other: (own, 0)}


async def test_clients_of_a_resources_port_are_asked_by_its_own_setting(world: World) -> None:
    await world.ports().open("wps-one", (0, 0))
    asks, asks_some = world.certificates.asks["wps-one"]
    assert (asks("wps-two.webpubsub.localhost"), asks_some()) == (False, False)

    await put(world.catalog, "wps-one", tls={"clientCertEnabled": True})

    assert (asks("anything"), asks(""), asks_some()) == (True, True, True)


@pytest.mark.parametrize(
    ("public", "https", "endpoint"),
    [
        (None, True, "http://127.0.0.1:{plain}"),
        ("https://hub.example.com", True, "https://hub.example.com:{secure}"),
        ("https://hub.example.com:9443", True, "https://hub.example.com:{secure}"),
        ("https://hub.example.com", False, "http://hub.example.com:{plain}"),
        ("http://hub.example.com", True, "http://hub.example.com:{plain}"),
        ("https://[::1]:8443", True, "https://[::1]:{secure}"),
    ],
)
async def test_place_of_a_resource_is_under_the_public_host(
    world: World, public: str | None, https: bool, endpoint: str
) -> None:
    ports = world.ports(public=public, https=https)
    plain, secure = await ports.open("wps-one", (0, 0))

    place = ports.place(resource("Wps-One"))

    assert place is not None
    assert place.endpoint == endpoint.format(plain=plain, secure=secure)
    assert place.public_port == place.server_port == (secure or plain)
    assert ports.place(resource("wps-two")) is None


# Places


@pytest.mark.parametrize(
    ("endpoint", "https", "expected"),
    [
        ("http://localhost:8080", None, ("localhost", 8080)),
        ("http://localhost:8080", "https://localhost:8443", ("localhost", 8443)),
        ("https://hub.example.com", "https://hub.example.com", ("hub.example.com", 443)),
        ("http://hub.example.com", None, ("hub.example.com", 80)),
        ("http://[::1]:8080", None, ("::1", 8080)),
    ],
)
async def test_resource_without_ports_is_reached_where_the_server_is(
    world: World, endpoint: str, https: str | None, expected: tuple[str, int]
) -> None:
    server = Server(endpoint=endpoint, version="1", pid=1, data_folder="/", started_at=0.0, https_endpoint=https)
    places = Places(server)
    host, port = expected
    assert places(resource()) == Place(endpoint, host, port, port)

    places.own = world.ports()
    assert places(resource()) == Place(endpoint, host, port, port)
    await places.own.open("wps-one", (0, 0))

    assert places(resource()) == places.own.place(resource())
    assert places(resource("default")) == Place(endpoint, host, port, port)


async def test_vault_has_urls_the_best_one_first(world: World) -> None:
    ports = world.ports(hosts=("127.0.0.1", "::1"))
    plain, secure = await ports.open("vault/vault-one", (0, 0))

    assert ports.urls("vault/vault-one") == (
        f"https://127.0.0.1:{secure}",
        f"https://localhost:{secure}",
        f"https://[::1]:{secure}",
        f"http://127.0.0.1:{plain}",
        f"http://localhost:{plain}",
        f"http://[::1]:{plain}",
    )
    assert ports.urls("vault/other") == ()
    # Access keys sign for resources, and a vault is none.
    assert not world.is_ours(f"127.0.0.1:{secure}")
    await ports.close("vault/vault-one")
    assert ports.urls("vault/vault-one") == ()


@pytest.mark.parametrize("public", ["https://hub.example.com:8443", "http://hub.example.com"])
async def test_vault_is_reached_under_the_public_name(world: World, public: str) -> None:
    ports = world.ports(public=public)
    plain, secure = await ports.open("vault/vault-one", (0, 0))

    found = ports.urls("vault/vault-one")
    assert found[0] == f"https://hub.example.com:{secure}"
    assert f"http://hub.example.com:{plain}" in found


async def test_communication_service_has_ports_that_prove_nothing_for_resources(world: World) -> None:
    """Access keys of a webPubSub resource sign for URLs of that alone."""
    ports = world.ports()
    _, secure = await ports.open("communication/acs-one", (0, 0))

    assert ports.urls("communication/acs-one")[0] == f"https://127.0.0.1:{secure}"
    assert ports.urls("vault/acs-one") == ()
    assert not world.is_ours(f"127.0.0.1:{secure}")
    await ports.close("communication/acs-one")
    assert ports.urls("communication/acs-one") == ()
    assert not world.reached(secure)


async def test_vault_without_https_has_plain_urls(world: World) -> None:
    ports = world.ports(https=False, public="https://hub.example.com")
    plain, _ = await ports.open("vault/vault-one", (0, 0))

    assert ports.urls("vault/vault-one")[0] == f"http://hub.example.com:{plain}"
    assert not any(url.startswith("https:") for url in ports.urls("vault/vault-one"))
