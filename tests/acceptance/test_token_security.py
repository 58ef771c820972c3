"""
Tokens that must not be taken, each against a real server: made with its own key, and wrong in one thing only. The same
token made right is accepted.
"""

import base64
import hashlib
import hmac
import json
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, NamedTuple
from urllib.parse import quote
from uuid import uuid4

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from jwt.algorithms import RSAAlgorithm

from acceptance.directory import (
    ASSERTION,
    SCOPE,
    WEB_PUBSUB,
    App,
    Key,
    ask_token,
    assign,
    bearer,
    by_hand,
    claims_of,
    client_pem,
    create_app,
    minted,
    secret_of,
    stored_keys,
    token_of,
)
from acceptance.servers import Server, StartServer, running, wait_until
from acceptance.wire import Answer, RawClient, client_target, client_token, http_request, signed, trusting

HOUR_S: Final = 3600
ASK: Final = "chat/users/nobody"
"""The path of a question; who is taken for somebody hears 404."""


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that is attacked, and slows nobody down for it."""
    folder = tmp_path_factory.mktemp("target")
    with running(folder, "--set", "failed_authentications_per_minute=0", "--log-level", "debug") as server:
        yield server


@pytest.fixture(scope="module")
def key(target: Server) -> Key:
    """The one that signs now."""
    return stored_keys(target)[0]


@pytest.fixture(scope="module")
def good(target: Server) -> str:
    """A token of the development principal, as the server issues it."""
    return token_of(target)


@pytest.fixture(scope="module")
def attacker() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def by_hmac(secret: bytes) -> Callable[[bytes], bytes]:
    """Signs as HS256 does."""
    return lambda text: hmac.digest(secret, text, "sha256")


def by_rsa(key: rsa.RSAPrivateKey) -> Callable[[bytes], bytes]:
    """Signs as RS256 does, whatever the header says."""
    algorithm = RSAAlgorithm(RSAAlgorithm.SHA256)
    return lambda text: algorithm.sign(text, key)


def refused(server: Server, token: str) -> Answer:
    """What a caller hears who asks and who sends, with this token."""
    asked, sent = bearer(server, token, "HEAD", ASK), bearer(server, token)
    assert (asked.status, sent.status) == (401, 401)
    assert sent.headers["www-authenticate"] == "Bearer"
    assert sent.body == b"", "who proves nothing learns nothing"
    return sent


@pytest.fixture(autouse=True)
def _accepted(target: Server, good: str, key: Key) -> None:
    """The positive control of all tests: what the server issues is accepted, and so is the same made by us."""
    for token in (good, minted(good, key.private)):
        assert bearer(target, token, "HEAD", ASK).status == 404
        assert bearer(target, token).status == 202


# Algorithms


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", ""])
@pytest.mark.parametrize("signature", [b"", b"x" * 256], ids=["unsigned", "signed with anything"])
def test_token_without_an_algorithm(target: Server, good: str, name: str, signature: bytes) -> None:
    header = {**jwt.get_unverified_header(good), "alg": name}
    refused(target, by_hand(header, claims_of(good), lambda _: signature))


def public_forms(key: Key) -> dict[str, bytes]:
    public = key.private.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    number = public.public_numbers().n.to_bytes(256, "big")
    return {
        "PEM": pem,
        "PEM without its last line end": pem.rstrip(),
        "DER": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "PKCS 1": public.public_bytes(Encoding.DER, PublicFormat.PKCS1),
        "modulus": number,
        "modulus as published": base64.urlsafe_b64encode(number).rstrip(b"="),
        "certificate": key.certificate.public_bytes(Encoding.PEM),
        "certificate as published": base64.b64encode(key.certificate.public_bytes(Encoding.DER)),
        "JSON Web Key": RSAAlgorithm.to_jwk(public).encode(),
        "nothing": b"",
    }


def test_public_key_is_no_secret_of_an_hmac(target: Server, good: str, key: Key) -> None:
    """In whichever form an attacker finds it."""
    header = {**jwt.get_unverified_header(good), "alg": "HS256"}
    url = f"{target.endpoint}/api/hubs/{ASK}"
    for form in public_forms(key).values():
        for claims in (claims_of(good), {**claims_of(good), "aud": url}):
            refused(target, by_hand(header, claims, by_hmac(form)))


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256", "PS512"])
def test_other_algorithm_with_the_right_key(target: Server, good: str, key: Key, algorithm: str) -> None:
    refused(target, minted(good, key.private, algorithm=algorithm))


@pytest.mark.parametrize("name", ["HS256", "PS256", "RS512", "ES256", "rs256", "RS256 ", 7, ["RS256"], None], ids=repr)
def test_header_that_names_another_algorithm_than_it_was_signed_with(
    target: Server, good: str, key: Key, name: Any
) -> None:
    header = {**jwt.get_unverified_header(good), "alg": name}
    refused(target, by_hand(header, claims_of(good), by_rsa(key.private)))


def test_token_whose_signature_or_content_was_changed(target: Server, good: str) -> None:
    head, body, signature = good.split(".")
    claims = base64.urlsafe_b64encode(json.dumps({**claims_of(good), "oid": str(uuid4())}).encode()).decode()
    middle = len(signature) // 2
    other = "A" if signature[middle] != "A" else "B"
    for token in (
        f"{head}.{claims.rstrip('=')}.{signature}",
        f"{head}.{body}.{signature[:middle]}{other}{signature[middle + 1 :]}",
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{head}.{body}.{signature}.{signature}",
        f".{body}.{signature}",
    ):
        refused(target, token)


# Claims


@pytest.mark.parametrize(
    "audience",
    [
        "https://management.azure.com",
        "https://webpubsub.azure.com.example.org",
        "https://WEBPUBSUB.azure.com",
        "http://webpubsub.azure.com",
        "webpubsub.azure.com",
        "",
        None,
        7,
        [],
        [WEB_PUBSUB],
        {WEB_PUBSUB: WEB_PUBSUB},
    ],
    ids=repr,
)
def test_token_for_another_audience(target: Server, good: str, key: Key, audience: Any) -> None:
    refused(target, minted(good, key.private, {"aud": audience}))


def test_token_that_the_issuer_gave_for_another_resource(target: Server) -> None:
    app = create_app(target, "--id-uri", f"api://{uuid4()}")
    for scope in ("https://vault.azure.net/.default", f"{app.client_id}/.default"):
        refused(target, token_of(target, scope=scope))


def test_token_of_another_issuer(target: Server, good: str, key: Key) -> None:
    issuer = claims_of(good)["iss"]
    for other in (
        f"{issuer}/",
        issuer.upper(),
        issuer.removesuffix("/v2.0"),
        issuer.replace("https:", "http:"),
        issuer.replace(target.tenant_id, str(uuid4())),
        issuer.replace("localhost", "127.0.0.1"),
        f"https://sts.windows.net/{target.tenant_id}/",
        f"https://login.microsoftonline.com/{target.tenant_id}/v2.0",
        "",
        None,
        [issuer],
        [issuer, "https://other.example.org"],
    ):
        assert other != issuer
        refused(
            target, by_hand(jwt.get_unverified_header(good), {**claims_of(good), "iss": other}, by_rsa(key.private))
        )


@pytest.mark.parametrize("tenant", [str(uuid4()), "", None, "common"], ids=["another", "empty", "none", "shared"])
def test_token_of_another_tenant(target: Server, good: str, key: Key, tenant: str | None) -> None:
    refused(target, minted(good, key.private, {"tid": tenant}))


@pytest.mark.parametrize(
    "times",
    [
        {"exp": -HOUR_S},
        {"exp": -90},
        {"exp": None},
        {"nbf": HOUR_S},
        {"nbf": 90},
        {"nbf": HOUR_S, "iat": HOUR_S, "exp": 2 * HOUR_S},
    ],
    ids=["long over", "just over", "without an end", "long to come", "just to come", "of tomorrow"],
)
def test_token_at_another_time(target: Server, good: str, key: Key, times: dict[str, int | None]) -> None:
    """More than the minute that clocks may differ."""
    now = int(time.time())
    refused(
        target,
        minted(good, key.private, {name: None if offset is None else now + offset for name, offset in times.items()}),
    )


@pytest.mark.parametrize("moment", ["4102444800", [4102444800], {"at": 4102444800}, True, None], ids=repr)
def test_token_whose_end_is_no_number(target: Server, good: str, key: Key, moment: Any) -> None:
    claims = {**claims_of(good), "exp": moment}
    refused(target, by_hand(jwt.get_unverified_header(good), claims, by_rsa(key.private)))


def test_clocks_may_differ_a_little(target: Server, good: str, key: Key) -> None:
    now = int(time.time())
    for times in ({"exp": now - 20}, {"nbf": now + 20}):
        assert bearer(target, minted(good, key.private, times)).status == 202


def test_token_that_names_nobody(target: Server, good: str, key: Key) -> None:
    refused(target, minted(good, key.private, {"oid": None, "sub": None}))


def test_token_of_somebody_without_a_role_is_no_failed_proof(target: Server, good: str, key: Key) -> None:
    assert bearer(target, minted(good, key.private, {"oid": str(uuid4())})).status == 403


# Keys


@pytest.mark.parametrize(
    "kid",
    [
        "unknown",
        "",
        None,
        "../../etc/passwd",
        "/dev/null",
        "file:///dev/null",
        "' OR '1'='1",
        "x' UNION SELECT 'secret' --",
        "\x00",
        "k" * 8000,
    ],
)
def test_name_of_an_unknown_key(
    target: Server, good: str, key: Key, attacker: rsa.RSAPrivateKey, kid: str | None
) -> None:
    """Signed with our key, with another one, and with what such a file holds."""
    for private in (key.private, attacker):
        refused(target, minted(good, private, header={"kid": kid}))
    header = {name: value for name, value in {**jwt.get_unverified_header(good), "kid": kid}.items() if value}
    for secret in (b"", b"secret"):
        with_secret = {**header, "alg": "HS256"}
        refused(target, by_hand(with_secret, claims_of(good), by_hmac(secret)))


@pytest.mark.parametrize("kid", [7, ["x"], {"x": "x"}, True], ids=repr)
def test_name_of_a_key_that_is_no_text(target: Server, good: str, key: Key, kid: Any) -> None:
    header = {**jwt.get_unverified_header(good), "kid": kid}
    refused(target, by_hand(header, claims_of(good), by_rsa(key.private)))


def test_known_name_with_another_key(target: Server, good: str, attacker: rsa.RSAPrivateKey) -> None:
    refused(target, minted(good, attacker))


def test_key_that_a_header_brings_along_is_not_looked_at(
    target: Server, good: str, key: Key, attacker: rsa.RSAPrivateKey
) -> None:
    """Nor is one fetched from where the header says."""
    jwk = json.loads(RSAAlgorithm.to_jwk(attacker.public_key()))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/keys"
        own = base64.b64encode(key.certificate.public_bytes(Encoding.DER)).decode()
        for header in (
            {"jwk": jwk},
            {"jwk": {**jwk, "kid": "mine"}, "kid": "mine"},
            {"jku": url},
            {"jku": url, "kid": "mine"},
            {"x5u": url, "kid": "mine"},
            {"x5c": [own], "kid": "mine"},
            {"x5c": [own], "x5t": "mine"},
        ):
            refused(target, minted(good, attacker, header=header))
            # With our own key the rest counts, and is good.
            if "kid" not in header:
                assert bearer(target, minted(good, key.private, header=header)).status == 202
        for issuer in (url.removesuffix("/keys"), f"{url.removesuffix('keys')}{target.tenant_id}/v2.0"):
            refused(target, minted(good, attacker, {"iss": issuer}))
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize("header", [{"crit": ["exp"]}, {"b64": False, "crit": ["b64"]}, {"b64": False}], ids=repr)
def test_token_that_demands_an_extension(target: Server, good: str, key: Key, header: dict[str, Any]) -> None:
    full = {**jwt.get_unverified_header(good), **header}
    refused(target, by_hand(full, claims_of(good), by_rsa(key.private)))


def test_token_that_is_too_long(target: Server, good: str, key: Key) -> None:
    """The limit is 16 KiB; the same claim fits below it."""
    assert bearer(target, minted(good, key.private, {"more": "x" * 10_000})).status == 202
    token = minted(good, key.private, {"more": "x" * 12_500})
    assert 16 * 1024 < len(token) < 18 * 1024
    refused(target, token)


@pytest.mark.parametrize("depth", [1_000, 3_000])
def test_token_that_is_nested_too_deep(target: Server, good: str, depth: int) -> None:
    nested = base64.urlsafe_b64encode(b'{"alg":"RS256","x":' + b"[" * depth + b"]" * depth + b"}").decode().rstrip("=")
    _, body, signature = good.split(".")
    refused(target, f"{nested}.{body}.{signature}")
    refused(target, f"{good.partition('.')[0]}.{nested}.{signature}")


# Tokens for elsewhere


def test_token_of_a_client_is_none_for_rest(target: Server, hub: str) -> None:
    for token in (client_token(target, "chat"), client_token(target, "chat", roles=["webpubsub.sendToGroup"])):
        refused(target, token)
    made = bearer(target, token_of(target), "POST", "chat/:generateToken").json()["token"]
    refused(target, made)


def test_token_of_the_issuer_is_none_for_a_client(target: Server, good: str, hub: str) -> None:
    with RawClient(target, client_target(hub, good)) as by_query:
        assert by_query.status == 401
    with RawClient(target, client_target(hub, None), headers={"Authorization": f"Bearer {good}"}) as by_header:
        assert by_header.status == 401
    with RawClient(target, client_target(hub, client_token(target, hub))) as control:
        assert control.status == 101


def test_token_of_an_access_key_is_for_one_url(target: Server) -> None:
    path = "/api/hubs/one/users/u?api-version=2024-12-01"
    others = [
        "/api/hubs/two/users/u?api-version=2024-12-01",
        "/api/hubs/one/users/v?api-version=2024-12-01",
        "/api/hubs/one/groups/u?api-version=2024-12-01",
        "/api/hubs/one/users/u%2Fgroups?api-version=2024-12-01",
    ]
    headers = {"Authorization": f"Bearer {signed(target, target.endpoint + path)}"}

    assert http_request(target, "HEAD", path, headers=headers).status == 404
    assert [http_request(target, "HEAD", other, headers=headers).status for other in others] == [401] * 4


def test_token_of_another_server(target: Server, server: Server) -> None:
    """Each has a tenant and keys of its own."""
    token = token_of(server)
    assert bearer(server, token).status == 202
    refused(target, token)
    strange = stored_keys(server)[0]
    assert jwt.decode(token, strange.private.public_key(), ["RS256"], audience=WEB_PUBSUB)
    refused(target, minted(token_of(target), strange.private))


def test_token_of_a_deleted_application_allows_nothing(target: Server) -> None:
    app = create_app(target)
    assign(target, app, "owner")
    token = token_of(target, app)
    assert bearer(target, token).status == 202
    assert target.cli("app", "delete", app.client_id).returncode == 0
    assert (bearer(target, token).status, bearer(target, token, "HEAD", ASK).status) == (403, 403)


def test_role_holds_at_its_scope_and_below(target: Server) -> None:
    app = create_app(target)
    token = token_of(target, app)
    subscription = f"/subscriptions/{target.subscription_id}"
    group = f"{subscription}/resourceGroups/hubwire"
    resource = f"{group}/providers/Microsoft.SignalRService/webPubSub"
    statuses = {}
    for scope in (
        "/",
        subscription,
        subscription.upper(),
        group,
        f"{resource}/default",
        f"{resource}/other",
        f"{group}2",
        subscription[:-1],
        f"/subscriptions/{uuid4()}",
        f"{resource}/default/hubs/chat",
    ):
        assign(target, app, "owner", "--scope", scope)
        statuses[scope] = bearer(target, token).status
        assign(target, app, "owner", "--scope", scope, "--remove")
        assert bearer(target, token).status == 403

    assert list(statuses.values()) == [202] * 5 + [403] * 5, statuses


# Managed identities


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the endpoint of a virtual machine."""
    with running(tmp_path_factory.mktemp("machine"), "--set", "managed_identity=imds") as server:
        yield server


def ask_machine(server: Server, path: str = "/metadata/identity/oauth2/token", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    target = f"{path}?api-version=2018-02-01&resource={quote(WEB_PUBSUB, safe='')}"
    return http_request(server, "GET", target, headers=named)


@pytest.mark.parametrize("path", ["/metadata/identity/oauth2/token", "/metadata/identity/oauth2/token/"])
def test_machine_is_told_from_who_was_led_here(machine: Server, path: str) -> None:
    """A page that was made to fetch a URL cannot set the header, and a proxy tells of itself."""
    assert bearer(machine, ask_machine(machine, path, Metadata="true").json()["access_token"]).status == 202
    for headers, status in (
        ({}, 400),
        ({"Metadata": "false"}, 400),
        ({"Metadata": "true", "X_Forwarded_For": "127.0.0.1"}, 403),
        ({"Metadata": "true", "Forwarded": "for=127.0.0.1"}, 403),
        ({"Metadata": "true", "Via": "1.1 proxy"}, 403),
        ({"Metadata": "true", "Host": "rebound.example.org"}, 403),
        ({"Metadata": "true", "Host": "127.0.0.1.example.org"}, 403),
    ):
        answer = ask_machine(machine, path, **headers)
        assert (answer.status, "access_token" in answer.json()) == (status, False), headers


def test_endpoint_of_app_service_demands_its_secret(machine: Server, target: Server) -> None:
    lines = machine.cli("env").stdout.splitlines()
    named = dict(line.removeprefix("export ").split("=", 1) for line in lines)
    header = named["IDENTITY_HEADER"]

    for server in (machine, target):
        assert [ask_machine(server, "/msi/token", **one).status for one in ({}, {"X_IDENTITY_HEADER": "wrong"})] == [
            401
        ] * 2
        assert ask_machine(server, "/msi/token", Metadata="true").status == 401
    assert ask_machine(target, "/msi/token", X_IDENTITY_HEADER=header).status == 401, "it is another server's"
    answer = ask_machine(machine, "/msi/token", X_IDENTITY_HEADER=header)
    assert bearer(machine, answer.json()["access_token"]).status == 202
    forwarded = ask_machine(machine, "/msi/token", X_IDENTITY_HEADER=header, X_Forwarded_For="127.0.0.1")
    assert forwarded.status == 403
    assert header not in machine.log()


def test_endpoint_of_a_machine_is_not_there_unless_asked_for(target: Server) -> None:
    assert ask_machine(target, Metadata="true").status == 404


# Assertions


class Client(NamedTuple):
    """An application with a certificate, and its key."""

    app: App
    private: rsa.RSAPrivateKey
    certificate: x509.Certificate

    def assertion(self, server: Server, *, key: rsa.RSAPrivateKey | None = None, **claims: Any) -> str:
        """What proves the application, once."""
        now = int(time.time())
        digest = hashlib.sha256(self.certificate.public_bytes(Encoding.DER)).digest()
        content = {
            "aud": f"{server.authority}/{server.tenant_id}/oauth2/v2.0/token",
            "iss": self.app.client_id,
            "sub": self.app.client_id,
            "jti": str(uuid4()),
            "exp": now + 600,
            **claims,
        }
        thumbprint = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        return jwt.encode(content, key or self.private, "PS256", headers={"x5t#S256": thumbprint})


@pytest.fixture(scope="module")
def client(target: Server, tmp_path_factory: pytest.TempPathFactory) -> Client:
    app, path = create_app(target, "--no-secret"), client_pem(tmp_path_factory.mktemp("client"))
    assert target.cli("app", "certificate", app.client_id, str(path)).returncode == 0
    private = load_pem_private_key(path.read_bytes(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    return Client(app, private, x509.load_pem_x509_certificate(path.read_bytes()))


def with_assertion(server: Server, client: Client, assertion: str, scope: str = SCOPE, source: str = "") -> Answer:
    fields = {
        "grant_type": "client_credentials",
        "client_id": client.app.client_id,
        "client_assertion_type": ASSERTION,
        "client_assertion": assertion,
        "scope": scope,
    }
    return ask_token(server, fields, source=source)


def test_assertion_that_is_replayed(target: Server, client: Client) -> None:
    assertion = client.assertion(target)
    assert with_assertion(target, client, assertion).status == 200

    again, elsewhere = (with_assertion(target, client, assertion, source=source) for source in ("", "127.0.0.2"))
    other = with_assertion(target, client, assertion, "https://vault.azure.net/.default", source="127.0.0.2")
    for answer in (again, elsewhere, other):
        assert (answer.status, answer.json()["error_codes"]) == (401, [700027])
        assert "used before" in answer.json()["error_description"]


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"aud": "https://login.example.org/common/oauth2/v2.0/token"}, 700023),
        ({"aud": None}, 700023),
        ({"iss": str(uuid4())}, 700027),
        ({"sub": str(uuid4())}, 700027),
        ({"exp": 1}, 700024),
        ({"exp": 4102444800}, 700024),
        ({"nbf": 4102444800}, 700024),
    ],
    ids=["another audience", "no audience", "issuer", "subject", "over", "without an end", "to come"],
)
def test_assertion_that_is_wrong_in_one_thing(
    target: Server, client: Client, claims: dict[str, Any], code: int
) -> None:
    answer = with_assertion(target, client, client.assertion(target, **claims))

    assert (answer.status, answer.json()["error"], answer.json()["error_codes"]) == (401, "invalid_client", [code])


def test_assertion_of_another_key(target: Server, client: Client, attacker: rsa.RSAPrivateKey) -> None:
    answer = with_assertion(target, client, client.assertion(target, key=attacker))

    assert (answer.status, answer.json()["error_codes"]) == (401, [700027])


# Who guesses


def test_guesses_are_slowed_down_by_address_and_hold_up_nobody_else(start_server: StartServer) -> None:
    """Who proves themselves to REST is not held up even at the same address."""
    server = start_server("--set", "failed_authentications_per_minute=5")
    wrong = {**secret_of(server), "client_secret": "wrong"}
    token = token_of(server)
    assert [ask_token(server, wrong).status for _ in range(5)] == [401] * 5

    slowed = ask_token(server, wrong)
    assert (slowed.status, slowed.json()["error"]) == (429, "temporarily_unavailable")
    assert 1 <= int(slowed.headers["retry-after"]) <= 60
    assert ask_token(server, secret_of(server)).status == 429, "or each guess could be tried"
    assert ask_token(server, secret_of(server), source="127.0.0.2").status == 200
    assert bearer(server, token).status == 202
    assert [bearer(server, "nonsense").status for _ in range(6)] == [401] * 5 + [429], "REST counts for itself"
    assert bearer(server, "nonsense", source="127.0.0.2").status == 401


def test_guesses_at_rest_are_slowed_down(start_server: StartServer) -> None:
    server = start_server("--set", "failed_authentications_per_minute=5")
    token = token_of(server)
    statuses = [bearer(server, f"{token[:-8]}AAAAAAA{number}").status for number in range(8)]

    assert statuses == [401] * 5 + [429] * 3
    slowed = bearer(server, "nonsense")
    assert 1 <= int(slowed.headers["retry-after"]) <= 60
    assert bearer(server, token).status == 202


# What stays inside


def test_no_private_key_and_no_secret_gets_out(target: Server) -> None:
    """Neither into the log, at its most talkative, nor into any answer over HTTP but what asks for a token."""
    app = create_app(target)
    assign(target, app, "owner")
    header = {"X-IDENTITY-HEADER": "wrong"}
    hidden = [target.client_secret, target.access_key, app.secret, "PRIVATE KEY"]
    for key in stored_keys(target):
        numbers = key.private.private_numbers()
        for number in (numbers.d, numbers.p, numbers.q):
            raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
            hidden.append(base64.urlsafe_b64encode(raw).decode().rstrip("="))
        # A line of the key's second half, where it is private; the modulus before that stands in certificates, too.
        lines = key.stored.splitlines()
        hidden.append(lines[len(lines) * 2 // 3])
    token = token_of(target, app)
    answers = [
        ask_token(target, fields)
        for fields in (
            secret_of(target, app),
            {**secret_of(target, app), "client_id": target.client_id},
            {**secret_of(target, app), "client_id": app.secret},
            {**secret_of(target, app), "grant_type": app.secret},
            {**secret_of(target, app), "client_assertion": token},
            {**secret_of(target, app), app.secret: "x"},
        )
    ]
    tenant = target.tenant_id
    for path in (
        f"/{tenant}/v2.0/.well-known/openid-configuration",
        f"/{tenant}/.well-known/openid-configuration",
        "/common/v2.0/.well-known/openid-configuration",
        f"/{tenant}/discovery/v2.0/keys",
        f"/{tenant}/discovery/keys",
        "/common/discovery/instance?authorization_endpoint=" + quote(f"{target.authority}/{tenant}/oauth2/authorize"),
        f"/{tenant}/oauth2/v2.0/authorize",
        "/common/userrealm/alice@example.com?api-version=1.0",
        "/msi/token?resource=x",
        "/metadata/identity/oauth2/token?resource=x",
        "/metrics",
        "/healthz",
        "/",
        "/control/status",
        "/control/apps",
        "/control/environment",
        "/control/keys",
        f"/control/apps/{app.client_id}",
    ):
        answers.append(http_request(target, "GET", path, headers=header, secure=trusting(target.ca)))
        answers.append(http_request(target, "GET", path, headers=header))
        if path.startswith("/control"):
            assert {one.status for one in answers[-2:]} == {404}, "the operator's paths are not there for others"
    answers += [
        bearer(target, token),
        bearer(target, f"{token}x"),
        bearer(target, token, "POST", "chat/:generateToken"),
    ]

    told = "\n".join(f"{answer.headers} {answer.body.decode('latin-1')}" for answer in answers)
    fence = f"/{uuid4()}"
    http_request(target, "GET", fence)
    wait_until(lambda: fence in target.log(), "the record of the last request")
    # Not even where it was sent in the place of something else.
    for text in hidden:
        assert text not in told
        assert text not in target.log()
    assert token not in target.log()


def test_data_folder_is_its_owners_and_secrets_of_applications_are_hashed(start_server: StartServer) -> None:
    server = start_server("--set", "user_tokens=true")
    app = create_app(server)
    more = json.loads(server.cli("app", "secret", app.client_id, "--json").stdout)["clientSecret"]
    password = f"pass {uuid4()}"
    assert server.cli("user", "create", "alice@example.com", "--password-stdin", said=password).returncode == 0
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (server.data, *server.data.rglob("*"))}
    for path, mode in modes.items():
        allowed = 0o700 if path.is_dir() or path.is_socket() else 0o600
        assert mode & ~allowed == 0, f"{path} has mode {mode:o}"
    server.stop()

    kept = b""
    for path in server.data.rglob("*"):
        with suppress(OSError):
            kept += path.read_bytes()
    for secret in (app.secret, more, password):
        assert secret.encode() not in kept
        assert secret.removeprefix("hws~").encode() not in kept
    digest = hashlib.sha256(app.secret.encode()).hexdigest()
    assert digest.encode() in kept
