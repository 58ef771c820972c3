"""
Clients that are known by their certificates: the example as it stands, deployed by its template, with certificates that
`openssl` made.
"""

import json
import os
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from azure.mgmt.webpubsub import WebPubSubManagementClient
from azure.mgmt.webpubsub import models as m

from acceptance.examples import EXAMPLES, Program, example, trust
from acceptance.mqtt import VERSIONS as MQTT_VERSIONS
from acceptance.mqtt import MqttClient
from acceptance.sdk import Manager, Resource, manager, resource_at
from acceptance.servers import DEADLINE_S, Server, StartServer, running
from acceptance.upstreams import Upstream, await_line, configure
from acceptance.wire import JSON, RawClient, Target, client_target, client_token, signed, trusting

EXAMPLE: Final = "client-certificates"
TEMPLATE: Final = EXAMPLES / EXAMPLE / "main.bicep"
MADE: Final = ("hubwire", "wps-certificates")
"""Group and name of the resource that the template makes."""
RETRIES: Final = ("--set", "handler_retries_s=0.05,0.05,0.05")
VERSIONS: Final = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class Shown(NamedTuple):
    """A certificate with what its authority is vouched for by, if anything, and its key: PEM files."""

    certificate: Path
    key: Path

    @property
    def thumbprint(self) -> str:
        """As handlers get it, by openssl."""
        return fingerprint("-in", str(self.certificate)).lower()

    def context(self, server: Server, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
        """Of a client that shows it."""
        context = trusting(server.ca)
        context.minimum_version = context.maximum_version = version
        context.load_cert_chain(str(self.certificate), str(self.key))
        return context


def openssl(*arguments: str, said: bytes = b"") -> str:
    done = subprocess.run(["openssl", *arguments], input=said, capture_output=True, check=False, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def fingerprint(*arguments: str, digest: str = "-sha1", said: bytes = b"") -> str:
    """Upper case, without colons."""
    return (
        openssl("x509", "-noout", "-fingerprint", digest, *arguments, said=said)
        .rpartition("=")[2]
        .strip()
        .replace(":", "")
    )


EC: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


def signed_by_itself(folder: Path, name: str, *options: str, key: tuple[str, ...] = EC) -> Shown:
    made = Shown(folder / f"{name}.pem", folder / f"{name}.key")
    files = ("-keyout", str(made.key), "-out", str(made.certificate))
    openssl("req", "-x509", *key, "-nodes", "-subj", f"/CN={name}", *options, *files)
    return made


def signed_by(folder: Path, name: str, authority: Shown | None, days: str = "30") -> Shown:
    """By an authority, whose certificate is in the same file; or by itself, for a number of days that may be none."""
    made, request = Shown(folder / f"{name}.pem", folder / f"{name}.key"), str(folder / f"{name}.csr")
    openssl("req", *EC, "-new", "-nodes", "-subj", f"/CN={name}", "-keyout", str(made.key), "-out", request)
    signer: tuple[str, ...] = ("-signkey", str(made.key))
    if authority is not None:
        signer = ("-CA", str(authority.certificate), "-CAkey", str(authority.key), "-CAcreateserial")
    openssl("x509", "-req", "-in", request, *signer, "-days", days, "-out", str(made.certificate))
    if authority is not None:
        with made.certificate.open("ab") as file:
            file.write(authority.certificate.read_bytes())
    return made


KNOWN: Final = ("rsa", "ec", "expired", "with a chain", "for servers")
"""Certificates that the handler knows."""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Shown]:
    folder = tmp_path_factory.mktemp("certificates")
    return {
        "rsa": signed_by_itself(folder, "rsa", key=("-newkey", "rsa:2048")),
        "ec": signed_by_itself(folder, "ec"),
        "expired": signed_by(folder, "expired", None, days="-1"),
        "with a chain": signed_by(folder, "leaf", signed_by_itself(folder, "authority")),
        "for servers": signed_by_itself(folder, "usage", "-addext", "extendedKeyUsage=serverAuth"),
        "unknown": signed_by_itself(folder, "unknown"),
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module. Each test has a hub of its own."""
    with running(tmp_path_factory.mktemp("certificates"), *RETRIES) as server:
        yield server


@pytest.fixture(scope="module")
def program(certificates: Mapping[str, Shown], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The example, which lets in those that are known."""
    thumbprints = ",".join(certificates[name].thumbprint for name in KNOWN)
    with example(tmp_path_factory.mktemp("example"), EXAMPLE, {"THUMBPRINTS": thumbprints}) as program:
        yield program


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Manager]:
    with manager(WebPubSubManagementClient, server) as client:
        yield client


@pytest.fixture(scope="module")
def url(server: Server, program: Program) -> str:
    """For clients of the hub that the template makes, and that the example decides about."""
    done = server.cli("deploy", str(TEMPLATE), "-p", f"handlerUrl={program.url}", "--json")
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["properties"]["outputs"]["url"]["value"])


@pytest.fixture(scope="module")
def resource(client: Manager, url: str) -> Resource:
    """What the template has made."""
    found = resource_at(client, *MADE)
    assert url == f"{found.https_endpoint}/client/hubs/echo"
    return found


def ask(client: Manager, hub: str, url: str) -> None:
    """Let a handler decide about another hub of the same resource."""
    handler = m.EventHandler(url_template=url, system_events=["connect"])
    body = m.WebPubSubHub(
        properties=m.WebPubSubHubProperties(anonymous_connect_policy="allow", event_handlers=[handler])
    )
    client.web_pub_sub_hubs.begin_create_or_update(hub, *MADE, body).result()


def status(target: Target, hub: str, context: ssl.SSLContext) -> int:
    """What a client without a token is answered."""
    with RawClient(target, client_target(hub, None), protocols=[JSON], secure=context) as client:
        return client.status


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", KNOWN)
def test_client_with_a_known_certificate_is_let_in(
    server: Server, resource: Resource, certificates: Mapping[str, Shown], name: str, version: ssl.TLSVersion
) -> None:
    """Whoever signed it, if anybody, and whatever it was meant for."""
    assert status(resource, "echo", certificates[name].context(server, version)) == 101


@pytest.mark.parametrize("version", VERSIONS)
def test_client_with_another_certificate_or_none_is_refused(
    server: Server, resource: Resource, certificates: Mapping[str, Shown], version: ssl.TLSVersion
) -> None:
    none = trusting(server.ca)
    none.minimum_version = none.maximum_version = version

    assert status(resource, "echo", certificates["unknown"].context(server, version)) == 403
    assert status(resource, "echo", none) == 403


def test_client_of_the_example_sees_what_its_page_says(
    server: Server, url: str, certificates: Mapping[str, Shown]
) -> None:
    def said(*arguments: str) -> str:
        done = subprocess.run(
            ["node", str(EXAMPLES / EXAMPLE / "client.mjs"), url, *arguments],
            env={**os.environ, **trust(server)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    known, unknown = certificates["rsa"], certificates["unknown"]
    assert said(str(known.certificate), str(known.key)) == "connected\n"
    assert said(str(unknown.certificate), str(unknown.key)) == "refused: 403\n"
    assert said() == "refused: 403\n"


def test_two_certificates_are_good_while_one_replaces_the_other(
    server: Server,
    client: Manager,
    resource: Resource,
    hub: str,
    certificates: Mapping[str, Shown],
    tmp_path: Path,
) -> None:
    """Whoever is in stays in when the old one is not good any more."""
    old, new = certificates["rsa"], certificates["ec"]
    with (
        example(tmp_path / "both", EXAMPLE, {"THUMBPRINTS": f"{old.thumbprint},{new.thumbprint}"}) as both,
        example(tmp_path / "after", EXAMPLE, {"THUMBPRINTS": new.thumbprint}) as after,
    ):
        ask(client, hub, both.url)
        assert status(resource, hub, new.context(server)) == 101
        with RawClient(resource, client_target(hub, None), protocols=[JSON], secure=old.context(server)) as connected:
            assert connected.receive_json()["event"] == "connected"
            ask(client, hub, after.url)
            assert status(resource, hub, new.context(server)) == 101
            assert status(resource, hub, old.context(server)) == 403
            connected.send_json({"type": "ping"})
            assert connected.receive_json() == {"type": "pong"}


def test_handler_is_told_the_certificate_as_openssl_has_it(
    server: Server, client: Manager, resource: Resource, hub: str, certificates: Mapping[str, Shown]
) -> None:
    with Upstream() as upstream:
        ask(client, hub, upstream.url())
        for name, shown in certificates.items():
            token = signed(resource, f"{resource.https_endpoint}/client/hubs/{hub}", sub=name)
            target = client_target(hub, token)
            with RawClient(resource, target, protocols=[JSON], secure=shown.context(server)) as connected:
                assert connected.status == 101
            body = upstream.events("connect")[-1].json()
            (told,) = body["clientCertificates"]
            assert body["claims"]["sub"] == [name]
            assert told["thumbprint"] == shown.thumbprint
            assert told["content"].count("\r\n") == told["content"].count("\n") >= 5
            for digest in ("-sha1", "-sha256"):
                given = fingerprint(digest=digest, said=told["content"].encode())
                assert given == fingerprint("-in", str(shown.certificate), digest=digest)
        assert status(resource, hub, trusting(server.ca)) == 101
        assert upstream.events("connect")[-1].json()["clientCertificates"] is None


@pytest.mark.parametrize("version", MQTT_VERSIONS)
def test_handler_is_told_the_certificate_of_an_mqtt_client(
    server: Server, client: Manager, resource: Resource, hub: str, certificates: Mapping[str, Shown], version: int
) -> None:
    """Of one that shows none it is told an empty list, whatever other clients' handlers are told."""
    with Upstream() as upstream:
        ask(client, hub, upstream.url())
        options: dict[str, Any] = {"version": version}
        options["token"] = signed(resource, f"{resource.https_endpoint}/clients/mqtt/hubs/{hub}")
        for name in ("rsa", "ec"):
            shown = certificates[name]
            with MqttClient(resource, hub, secure=shown.context(server), **options) as connected:
                connected.ping()
            (told,) = upstream.events("connect")[-1].json()["clientCertificates"]
            assert told["thumbprint"] == shown.thumbprint
        with MqttClient(resource, hub, secure=trusting(server.ca), **options) as connected:
            connected.ping()
        assert upstream.events("connect")[-1].json()["clientCertificates"] == []


def test_nobody_is_asked_where_the_resource_does_not_want_it(
    server: Server, hub: str, certificates: Mapping[str, Shown]
) -> None:
    with Upstream() as upstream:
        configure(server, hub, upstream.handler(systemEvents=["connect"]))
        target = client_target(hub, client_token(server, hub))
        context = certificates["rsa"].context(server)
        with RawClient(server, target, protocols=[JSON], secure=context) as client:
            assert client.status == 101
        (event,) = upstream.events("connect")

    assert event.json()["clientCertificates"] == []


def test_operator_chooses_how_certificates_and_their_absence_are_told(
    start_server: StartServer, certificates: Mapping[str, Shown], tmp_path: Path
) -> None:
    """Upper case, and an array also where there is none: on which the example, which looks at its first, fails."""
    shown = certificates["rsa"]
    with example(tmp_path, EXAMPLE, {"THUMBPRINTS": shown.thumbprint.upper()}) as program:
        settings = ("thumbprint_case=upper", "missing_client_certificate=empty")
        options = (*RETRIES, *(word for text in settings for word in ("--set", text)))
        server = start_server(*options, "--template", str(TEMPLATE), "-p", f"handlerUrl={program.url}")
        with manager(WebPubSubManagementClient, server) as client:
            resource = resource_at(client, *MADE)

        assert status(resource, "echo", shown.context(server)) == 101
        assert status(resource, "echo", certificates["unknown"].context(server)) == 403
        assert status(resource, "echo", trusting(server.ca)) == 500
        assert program.output().count("Cannot read properties of undefined") == 4
        await_line(server, "hub=echo event=connect", "the handler answered 500")
