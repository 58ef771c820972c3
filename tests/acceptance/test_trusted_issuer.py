"""
Tokens of another issuer that the operator trusts, as of a real tenant. The other one is a second server here: what it
serves is what Entra serves.
"""

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from acceptance.communication import V, call, first_service, introspect
from acceptance.directory import (
    ASSERTION,
    SCOPE,
    App,
    ask_token,
    assign,
    bearer,
    by_hand,
    claims_of,
    create_app,
    create_user,
    minted,
    stored_keys,
    token_of,
    token_of_user,
)
from acceptance.servers import DEADLINE_S, Server, StartServer, fixed_ports, run_command, wait_until
from acceptance.wire import http_request

ANSWERED_S = DEADLINE_S
"""However long an issuer is silent, a caller gets an answer before that."""


def issuer_of(server: Server) -> str:
    return f"{server.authority}/{server.tenant_id}/v2.0"


def trusting_server(start_server: StartServer, issuer: Server, *options: str) -> Server:
    """A server that trusts another one: its tokens, and its certificate."""
    bundle = issuer.ca.with_name("ca-bundle.pem")
    setting = f"trusted_issuers={issuer_of(issuer)}"
    return start_server("--set", setting, *options, environment={"SSL_CERT_FILE": str(bundle)})


def give_role(server: Server, issuer: Server, app: App, role: str = "owner", *options: str) -> None:
    """To a principal of the other tenant."""
    whose = ("--principal", app.object_id, "--tenant", issuer.tenant_id)
    done = server.cli("app", "assign", *whose, "--role", role, *options)
    assert done.returncode == 0, done.stderr


def with_unknown_key(claims: Mapping[str, Any]) -> str:
    """A token that names a key which nobody has."""
    return by_hand({"alg": "RS256", "typ": "JWT", "kid": "unknown"}, claims, lambda _: b"x" * 256)


def test_principal_of_a_trusted_tenant_may_do_what_is_assigned_to_it_here(start_server: StartServer) -> None:
    """What it may do there counts for nothing."""
    entra = start_server()
    server = trusting_server(start_server, entra)
    app = create_app(entra)
    assign(entra, app, "owner")
    token = token_of(entra, app)
    assert bearer(server, token).status == 403

    give_role(server, entra, app, "reader")
    assert (bearer(server, token, "HEAD", "chat/users/u").status, bearer(server, token).status) == (404, 403)
    give_role(server, entra, app)
    assert bearer(server, token).status == 202
    give_role(server, entra, app, "owner", "--remove")
    assert bearer(server, token).status == 403


def test_users_of_a_trusted_tenant_exchange_their_tokens_at_a_communication_service(start_server: StartServer) -> None:
    """As those of the local one, and the log does not say who they are."""
    entra = start_server("--user-tokens")
    server = trusting_server(start_server, entra)
    service, app, alice = first_service(server), create_app(entra), create_user(entra)
    teams = token_of_user(
        entra, app, *(f"https://auth.msft.communication.azure.com/Teams.Manage{what}" for what in ("Calls", "Chats"))
    )
    clients = token_of_user(entra, app, "https://communication.azure.com/clients/Chat")
    asked = {"token": teams, "appId": app.client_id, "userId": alice}
    assignment = {"tenantId": entra.tenant_id, "principalType": "user", "clientIds": [app.client_id]}

    of_teams = call(service, "POST", "/teamsUser/:exchangeAccessToken" + V, asked)
    early = call(service, "POST", "/access/entra/:exchangeAccessToken" + V, {}, bearer=clients)
    made = call(service, "PUT", f"/access/entra/assignments/{alice}{V}", assignment)
    of_entra = call(service, "POST", "/access/entra/:exchangeAccessToken" + V, {}, bearer=clients)

    assert (of_teams.status, early.status, made.status, of_entra.status) == (200, 403, 201, 200)
    for exchanged, token in ((of_teams.json()["token"], teams), (of_entra.json()["accessToken"]["token"], clients)):
        told = introspect(service, server, exchanged).json()
        assert told["sub"].endswith(alice)
        assert told["exp"] == claims_of(token)["exp"]
    assert alice not in server.log()


def test_same_object_id_of_another_tenant_is_somebody_else(start_server: StartServer) -> None:
    entra = start_server()
    server = trusting_server(start_server, entra, "--user-tokens")
    app = create_app(entra)
    assert server.cli("user", "create", "alice", "--object-id", app.object_id).returncode == 0
    assert server.cli("app", "assign", "--principal", app.object_id, "--role", "owner").returncode == 0

    assert bearer(server, token_of(entra, app)).status == 403


def test_trusted_issuer_speaks_for_its_own_tenant_alone(start_server: StartServer) -> None:
    """Whatever tenant and principal its tokens name: nobody whom it vouches for is an owner here."""
    entra = start_server()
    server = trusting_server(start_server, entra)
    app = create_app(entra)
    give_role(server, entra, app)
    key, token, owner = stored_keys(entra)[0].private, token_of(entra, app), claims_of(token_of(server))

    assert bearer(server, minted(token, key)).status == 202
    for tenant in (server.tenant_id, server.tenant_id.upper(), entra.tenant_id, "", None, "v2.0", "tenant"):
        assert bearer(server, minted(token, key, {"tid": tenant, "oid": owner["oid"]})).status == 403
    assert bearer(server, minted(token, key, {"tid": server.tenant_id})).status == 403
    assert bearer(server, minted(token, key, {"iss": owner["iss"], "tid": server.tenant_id})).status == 401


def test_tokens_of_who_is_not_trusted_are_refused_and_nobody_is_asked(start_server: StartServer) -> None:
    """Those of the local issuer are taken beside those of the trusted one."""
    entra, stranger = start_server(), start_server()
    server = trusting_server(start_server, entra)

    assert bearer(server, token_of(stranger)).status == 401
    assert bearer(server, token_of(server)).status == 202
    stranger.stop()
    assert "/discovery/" not in stranger.log()
    assert "/.well-known/" not in stranger.log()


def test_keys_are_asked_for_once(start_server: StartServer) -> None:
    entra = start_server()
    server = trusting_server(start_server, entra)
    app = create_app(entra)
    give_role(server, entra, app)
    token = token_of(entra, app)

    assert [bearer(server, token).status for _ in range(5)] == [202] * 5
    assert [bearer(server, with_unknown_key(claims_of(token))).status for _ in range(5)] == [401] * 5
    entra.stop()
    assert entra.log().count("/discovery/v2.0/keys") == 1, "anybody can make up names"


def test_server_without_an_issuer_of_its_own_takes_the_trusted_one_alone(start_server: StartServer) -> None:
    entra = start_server()
    server = trusting_server(start_server, entra, "--set", "local_issuer=false")
    app = create_app(entra)
    give_role(server, entra, app)

    assert bearer(server, token_of(entra, app)).status == 202
    ready = json.loads(server.ready_file.read_text(encoding="utf-8"))
    assert not {"authority", "tenantId", "clientId", "clientSecret"} & set(ready)
    for path in ("/common/v2.0/.well-known/openid-configuration", "/common/discovery/keys", "/msi/token"):
        assert http_request(server, "GET", path).status == 404
    status = json.loads(server.cli("status", "--json").stdout)
    assert "clientSecret" not in status


def test_server_takes_no_token_of_its_own_issuer_once_that_is_off(start_server: StartServer) -> None:
    ports = fixed_ports()
    first = start_server(*ports)
    token = token_of(first)
    first.stop()
    second = start_server(*ports, "--set", "local_issuer=false", data=first.data)

    assert bearer(second, token).status == 401


def test_known_keys_go_on_when_the_issuer_is_gone(start_server: StartServer) -> None:
    """And what is signed with others is refused at once."""
    entra = start_server()
    server = trusting_server(start_server, entra)
    app = create_app(entra)
    give_role(server, entra, app)
    token = token_of(entra, app)
    assert bearer(server, token).status == 202
    entra.stop()

    assert [bearer(server, token).status for _ in range(3)] == [202] * 3
    began = time.monotonic()
    assert bearer(server, with_unknown_key(claims_of(token))).status == 401
    assert time.monotonic() - began < ANSWERED_S
    assert bearer(server, token).status == 202


def test_issuer_that_was_never_reached_is_told_from_a_bad_token(start_server: StartServer) -> None:
    """The caller may try again later; the operator reads why."""
    entra = start_server()
    app = create_app(entra)
    token = token_of(entra, app)
    entra.stop()
    server = trusting_server(start_server, entra)
    server.provoked = (" 503",)

    answer = bearer(server, token)
    assert (answer.status, answer.json()["code"]) == (503, "Error.ServiceUnavailable")
    wait_until(lambda: f"cannot fetch the keys of {issuer_of(entra)}" in server.log(), "the reason in the log")


def test_issuer_whose_certificate_is_not_trusted_is_not_believed(start_server: StartServer) -> None:
    entra = start_server()
    token = token_of(entra)
    server = start_server("--set", f"trusted_issuers={issuer_of(entra)}")
    server.provoked = (" 503",)

    assert bearer(server, token).status == 503
    wait_until(lambda: "CERTIFICATE_VERIFY_FAILED" in server.log(), "the reason in the log")


@contextmanager
def silent_issuer() -> Iterator[tuple[str, list[socket.socket]]]:
    """The URL of an issuer that takes connections and says nothing, and the connections."""
    ended = threading.Event()
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)

        def accept() -> None:
            while not ended.is_set():
                with suppress(TimeoutError):
                    taken.append(listener.accept()[0])

        thread = threading.Thread(target=accept, name="silent issuer")
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/tenant", taken
        finally:
            ended.set()
            thread.join(DEADLINE_S)
            for connection in taken:
                connection.close()


def test_silent_issuer_holds_up_neither_its_callers_nor_others(start_server: StartServer) -> None:
    with silent_issuer() as (url, _):
        server = start_server("--set", f"trusted_issuers={url}")
        server.provoked = (" 503",)
        token = with_unknown_key({**claims_of(token_of(server)), "iss": url})
        statuses: list[int] = []
        waiting = threading.Thread(target=lambda: statuses.append(bearer(server, token).status))
        waiting.start()
        own = token_of(server)
        for _ in range(5):
            began = time.monotonic()
            assert bearer(server, own).status == 202
            assert time.monotonic() - began < ANSWERED_S / 2
        waiting.join(ANSWERED_S)
        assert statuses == [503]


def test_server_that_waits_for_a_silent_issuer_ends_in_order(start_server: StartServer) -> None:
    with silent_issuer() as (url, taken):
        server = start_server("--set", f"trusted_issuers={url}", "--grace", "0.2")
        token = with_unknown_key({**claims_of(token_of(server)), "iss": url})
        with socket.create_connection((server.host, server.port), DEADLINE_S) as caller:
            head = f"HEAD /api/hubs/chat/users/u HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
            caller.sendall(head.encode())
            wait_until(lambda: bool(taken), "a question to the issuer")
            server.stop()


@pytest.mark.parametrize(
    "url",
    ["http://login.example.org/tenant/v2.0", "login.example.org", "ftp://login.example.org", "https://", "https:///x"],
)
def test_issuer_that_cannot_be_trusted_ends_the_start_in_a_line(tmp_path: Path, url: str) -> None:
    done = run_command("serve", "--data", str(tmp_path / "data"), "--set", f"trusted_issuers={url}")

    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert f"trusted issuer '{url}' is not a URL such as https://" in done.stderr


def test_federated_credential_is_a_token_of_another_issuer(start_server: StartServer) -> None:
    """As programs in a cluster sign in, whose issuer vouches for them."""
    entra = start_server()
    bundle = entra.ca.with_name("ca-bundle.pem")
    server = start_server(environment={"SSL_CERT_FILE": str(bundle)})
    workload = create_app(entra)
    exchange = create_app(entra, "--id-uri", "api://AzureADTokenExchange")
    app = create_app(server, "--no-secret")
    made = server.cli("app", "federated", app.client_id, "--issuer", issuer_of(entra), "--subject", workload.object_id)
    assert made.returncode == 0, made.stderr

    def ask(token: str) -> list[int]:
        fields = {
            "grant_type": "client_credentials",
            "client_id": app.client_id,
            "client_assertion_type": ASSERTION,
            "client_assertion": token,
            "scope": SCOPE,
        }
        answer = ask_token(server, fields)
        codes: list[int] = answer.json().get("error_codes", [])
        return codes

    assert ask(token_of(entra, workload, "api://AzureADTokenExchange/.default")) == []
    assert ask(token_of(entra, workload)) == [700213], "for another audience"
    assert ask(token_of(entra, exchange, "api://AzureADTokenExchange/.default")) == [700213], "of another subject"
