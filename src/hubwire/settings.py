"""
Settings of the process: command-line options over environment (`HUBWIRE_NAME`) over a TOML file over defaults.

What belongs to a hub or a resource is not here: that is the resource tree's. Every setting is described in
docs/reference/settings.md; a test holds the two together.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import FieldInfo

__all__ = ["BadSetting", "LogFormat", "LogLevel", "Settings", "load"]

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

_PREFIX = "HUBWIRE_"
_SHOWN = 100


class BadSetting(Exception):  # noqa: N818
    """A setting that cannot be used. The text is one line that names it."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    One frozen value, made once at start.

    Attributes:
        host: addresses to listen on; the default is this machine only.
        port: 0 takes a free one.
        https: listen on HTTPS, too.
        https_port: 0 takes a free one; None is 8443, or a free one where `port` takes one.
        client_certificate_header: in which a trusted proxy names the certificate that it was shown.
        certificate, private_key: PEM files to show instead of what the local authority issues; both or none.
        data: folder of the database, the lock and the control socket.
        store: URL of a database to keep the store in; None is the file in `data`. May hold a password.
        journal_fsync: bring each group of the journal to the disk before anybody is told of it, or once in an interval.
        journal_fsync_interval_s: that interval.
        ready_file: written once the server listens, removed at exit.
        public_endpoints: URLs under which clients reach this server, the first one canonical.
        trusted_proxies: addresses or networks whose X-Forwarded-* headers are believed.
        cors_origins: origins of web pages that may call REST; "*" for any.
        log_off: categories of records to leave out: connectivity, messaging, http.
        token_leeway_s: clock difference that tokens may have.
        local_issuer: issue tokens to applications and managed identities, and take them.
        managed_identity: endpoints where processes of this machine get tokens: none, the one of App Service, which
            demands a secret header, or that of virtual machines as well ("imds").
        user_tokens: let users get tokens, by password or of the operator.
        trusted_issuers: further issuers whose tokens are taken, as their `iss` has it.
        trusted_audiences: that tokens may be for besides the service's own.
        failed_authentications_per_minute: of one address, before it is slowed down; 0 is no limit.
        foreign_resources: what becomes of resources in a template whose type is not known here.
        max_connections: client connections at once; one more is answered 429.
        max_sockets: sockets at once on a listener, of any kind.
        max_head_bytes, head_timeout_s: of one request head, first line included.
        idle_timeout_s: a kept-alive HTTP connection without a request.
        max_message_bytes: of a client's message and of a REST body.
        max_groups_per_connection: more are refused; the service documents no limit.
        max_streams_per_connection: that a client may have open at once.
        stream_in_flight_bytes: of a client's streams, accepted and not yet handed to subscribers; then reading pauses.
        group_state_entries, group_state_bytes: of the state of one connection in one group.
        group_state_groups: in which one connection may have a state, and as many whose states it is told.
        group_states_bytes: of all states in one group, as they are sent to who subscribes to them.
        client_buffer_bytes: waiting for one client that reads too slowly.
        reliable_queue_messages, reliable_queue_bytes: unacknowledged for one reliable client.
        recovery_s: how long a dropped reliable client may come back.
        inbox_requests: waiting requests of one client before reading from it pauses.
        shutdown_grace_s: for saying goodbye at SIGTERM.
        shutdown_events_s: and then for what event handlers are still to be told; the rest is told at the next start.
        handler_timeout_s: of one call of an event handler.
        blocking_event_s: for all attempts of one event that a client waits for.
        invocation_timeout_s: for all attempts of one invocation.
        invocations_per_connection: that may be pending; one more is refused.
        handler_retries_s: pauses before a call is repeated; as many as there are.
        handler_in_flight, handler_waiting: calls of each handler at once, and of those that wait for that.
        handler_response_bytes: of a handler's response.
        connection_state_bytes: of what handlers keep with a connection.
        validate_handlers: what becomes of settings with a handler that answers the validation with a refusal.
        refusal_bodies: is the body of a handler's refusal sent to the client.
        handler_networks: the only addresses that handlers may have; empty is all but link-local ones and our own.
        handler_ca: PEM file of authorities that handlers and vaults may be vouched for by, besides the usual ones.
        missing_client_certificate: what `connect` events say of a client that was asked and showed none.
        thumbprint_case: of certificates in `connect` events.
        identity_source: where tokens of resources' managed identities come from.
        identity_authority, identity_tenant, identity_client_id: of client credentials.
        identity_client_secret_file, identity_certificate, identity_token_file: that prove it; one of them.
        vault_hosts: hosts of Key Vaults besides Azure's, or ".SUFFIX" for all below one.
        secret_refresh_s: after which a secret is read again.
        secret_stale_s: for how long the last value is used while the vault fails.
        communication_clock_skew_s: how far the date of a signed request to a communication service may be off; 0 is
            any.
        communication_principals: object or client ids of those whose tokens communication services take; empty is all
            of the local issuer.
        communication_limits: how often in 30 seconds each thing may be asked of a communication service: `azure` for
            what the service has, and OPERATION=NUMBER.
        mqtt_compatibility: what the three settings after it are where they are not given; see `mqtt_clients`.
        mqtt_client_ids: which client ids are taken.
        mqtt_keep_alive: which keep-alive intervals of MQTT 3.1.1 are taken.
        mqtt_retain: what becomes of a publication that is to be retained.
        mqtt_retained_messages, mqtt_retained_bytes: of each hub, that are kept.
        mqtt_session_takeover: who may go on with a session of somebody else, or end it.
        mqtt_v4_text: take payloads of MQTT 3.1.1 for text where they are UTF-8.
        mqtt_session_expiry_s: how long a session may outlive its socket; 0 is not at all, 4294967295 for ever. None for
            what `mqtt_compatibility` says.
        mqtt_durable_sessions: sessions that outlive their sockets outlive the process, too; None as before.
        mqtt_durable_sessions_limit: how many there may be.
        mqtt_durable_queue_messages, mqtt_durable_queue_bytes: unacknowledged for one of them.
        mqtt_receive_maximum: QoS 1 and 2 publications of a client that wait for their acknowledgement at once.
        mqtt_topic_alias_maximum: topics that a client of 5.0 may give numbers to; None for what
            `mqtt_compatibility` says.
        mqtt_wildcards: may subscriptions have wildcards; None for what `mqtt_compatibility` says.
        mqtt_reserved_topics: what becomes of messages with QoS 0 for topics such as `$SYS/…`; None for the same.
        mqtt_shared_subscriptions: may clients share subscriptions; None for the same.
        mqtt_connect_timeout_s: from the upgrade to the CONNECT packet.
        loop: uvloop where it is installed ("auto"), or one of the two.
    """

    host: tuple[str, ...] = ("127.0.0.1", "::1")
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    https: bool = True
    https_port: Annotated[int, Meta(ge=0, le=65535)] | None = None
    certificate: str | None = None
    private_key: str | None = None
    client_certificate_header: str | None = None
    data: str = "data"
    store: str | None = None
    journal_fsync: Literal["always", "interval"] = "always"
    journal_fsync_interval_s: Annotated[float, Meta(gt=0, le=60)] = 1.0
    ready_file: str | None = None
    public_endpoints: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    log_format: LogFormat = "text"
    log_level: LogLevel = "info"
    log_off: tuple[Literal["connectivity", "messaging", "http"], ...] = ()
    token_leeway_s: Annotated[int, Meta(ge=0, le=300)] = 60
    local_issuer: bool = True
    managed_identity: Literal["off", "app-service", "imds"] = "app-service"
    user_tokens: bool = False
    trusted_issuers: tuple[str, ...] = ()
    trusted_audiences: tuple[str, ...] = ()
    failed_authentications_per_minute: Annotated[int, Meta(ge=0, le=1_000_000)] = 120
    foreign_resources: Literal["refuse", "ignore"] = "refuse"
    max_connections: Annotated[int, Meta(ge=1)] = 100_000
    max_sockets: Annotated[int, Meta(ge=1)] = 120_000
    max_head_bytes: Annotated[int, Meta(ge=1024, le=1 << 20)] = 64 * 1024
    head_timeout_s: Annotated[float, Meta(gt=0, le=300)] = 10.0
    idle_timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 75.0
    max_message_bytes: Annotated[int, Meta(ge=1024, le=1 << 27)] = 1 << 20
    max_groups_per_connection: Annotated[int, Meta(ge=1)] = 10_000
    max_streams_per_connection: Annotated[int, Meta(ge=1)] = 100
    stream_in_flight_bytes: Annotated[int, Meta(ge=1024)] = 1 << 20
    group_state_entries: Annotated[int, Meta(ge=1)] = 100
    group_state_bytes: Annotated[int, Meta(ge=1)] = 8192
    group_state_groups: Annotated[int, Meta(ge=1)] = 100
    group_states_bytes: Annotated[int, Meta(ge=1024)] = 1 << 20
    client_buffer_bytes: Annotated[int, Meta(ge=1024)] = 4 << 20
    reliable_queue_messages: Annotated[int, Meta(ge=1)] = 1000
    reliable_queue_bytes: Annotated[int, Meta(ge=1024)] = 16 << 20
    recovery_s: Annotated[float, Meta(gt=0, le=3600)] = 32.0
    inbox_requests: Annotated[int, Meta(ge=1)] = 64
    shutdown_grace_s: Annotated[float, Meta(ge=0, le=600)] = 5.0
    shutdown_events_s: Annotated[float, Meta(ge=0, le=600)] = 10.0
    handler_timeout_s: Annotated[float, Meta(gt=0, le=600)] = 30.0
    blocking_event_s: Annotated[float, Meta(gt=0, le=600)] = 60.0
    invocation_timeout_s: Annotated[float, Meta(gt=0, le=600)] = 60.0
    invocations_per_connection: Annotated[int, Meta(ge=1, le=10_000)] = 100
    handler_retries_s: tuple[Annotated[float, Meta(ge=0, le=60)], ...] = (1.0, 3.0, 5.0)
    handler_in_flight: Annotated[int, Meta(ge=1, le=10_000)] = 64
    handler_waiting: Annotated[int, Meta(ge=0, le=1_000_000)] = 1024
    handler_response_bytes: Annotated[int, Meta(ge=1024, le=1 << 27)] = 16 << 20
    connection_state_bytes: Annotated[int, Meta(ge=0, le=1 << 20)] = 8192
    validate_handlers: Literal["lenient", "strict"] = "lenient"
    refusal_bodies: Literal["drop", "forward"] = "drop"
    handler_networks: tuple[str, ...] = ()
    handler_ca: str | None = None
    missing_client_certificate: Literal["null", "empty"] = "null"
    thumbprint_case: Literal["lower", "upper"] = "lower"
    identity_source: Literal["builtin", "imds", "app-service", "client-credentials"] = "builtin"
    identity_authority: str = "https://login.microsoftonline.com"
    identity_tenant: str | None = None
    identity_client_id: str | None = None
    identity_client_secret_file: str | None = None
    identity_certificate: str | None = None
    identity_token_file: str | None = None
    vault_hosts: tuple[str, ...] = ()
    secret_refresh_s: Annotated[float, Meta(gt=0, le=86400)] = 300.0
    secret_stale_s: Annotated[float, Meta(ge=0, le=604800)] = 3600.0
    communication_clock_skew_s: Annotated[int, Meta(ge=0, le=86400)] = 900
    communication_principals: tuple[str, ...] = ()
    communication_limits: tuple[str, ...] = ()
    mqtt_compatibility: Literal["lenient", "azure"] = "lenient"
    mqtt_client_ids: Literal["lenient", "azure"] | None = None
    mqtt_keep_alive: Literal["any", "limited"] | None = None
    mqtt_retain: Literal["keep", "ignore", "refuse"] | None = None
    mqtt_retained_messages: Annotated[int, Meta(ge=1)] = 10_000
    mqtt_retained_bytes: Annotated[int, Meta(ge=1024)] = 64 << 20
    mqtt_session_takeover: Literal["same-user", "azure"] = "same-user"
    mqtt_v4_text: bool = False
    mqtt_session_expiry_s: Annotated[int, Meta(ge=0, le=4294967295)] | None = None
    mqtt_durable_sessions: bool | None = None
    mqtt_durable_sessions_limit: Annotated[int, Meta(ge=1)] = 100_000
    mqtt_durable_queue_messages: Annotated[int, Meta(ge=1)] = 10_000
    mqtt_durable_queue_bytes: Annotated[int, Meta(ge=1024)] = 16 << 20
    mqtt_receive_maximum: Annotated[int, Meta(ge=1, le=65535)] = 1024
    mqtt_topic_alias_maximum: Annotated[int, Meta(ge=0, le=255)] | None = None
    mqtt_wildcards: bool | None = None
    mqtt_reserved_topics: Literal["drop", "refuse"] | None = None
    mqtt_shared_subscriptions: bool | None = None
    mqtt_connect_timeout_s: Annotated[float, Meta(gt=0, le=300)] = 10.0
    loop: Literal["auto", "uvloop", "asyncio"] = "auto"

    def __repr__(self) -> str:
        values = msgspec.structs.asdict(self).items()
        shown = (f"{name}={'…' if name in _SECRET else repr(value)}" for name, value in values)
        return f"Settings({', '.join(shown)})"


_SECRET = frozenset({"store"})
"""May hold a password, so their values are never shown."""

_LISTS = frozenset(
    {
        "host",
        "public_endpoints",
        "trusted_proxies",
        "cors_origins",
        "log_off",
        "trusted_issuers",
        "trusted_audiences",
        "handler_retries_s",
        "handler_networks",
        "vault_hosts",
        "communication_principals",
        "communication_limits",
    }
)


def load(
    options: Mapping[str, Any],
    environ: Mapping[str, str] = os.environ,
    file: Path | None = None,
    spelled: Mapping[str, str] | None = None,
) -> Settings:
    """
    Put the sources together; the strongest that names a setting wins.

    Args:
        options: from the command line, by the name of the setting; None values are left out.
        environ: lists are comma-separated there.
        file: TOML with the names of the settings at its top level.
        spelled: by the name of a setting, how the user named the option, such as "--port"; for errors.

    Raises:
        BadSetting: unknown name, wrong type, out of range, or an unreadable file.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    if file is not None:
        for name, value in _read(file).items():
            values[name], sources[name] = value, f"settings file {file}: {name}"
            if name not in Settings.__struct_fields__:
                raise BadSetting(f"settings file {file}: {_unknown(name)}")
    for name in Settings.__struct_fields__:
        variable = _PREFIX + name.upper()
        text = environ.get(variable)
        if text is not None:
            values[name] = [part.strip() for part in text.split(",") if part.strip()] if name in _LISTS else text
            sources[name] = variable
    for name, value in options.items():
        if name not in Settings.__struct_fields__:
            raise BadSetting(_unknown(name))
        if value is not None:
            values[name], sources[name] = value, (spelled or {}).get(name, name)
    for field in msgspec.structs.fields(Settings):
        if field.name in values:
            _check(sources[field.name], values[field.name], field)
    return msgspec.convert(values, Settings, strict=False)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise BadSetting(f"settings file {file}: not UTF-8 text") from error
    except OSError as error:
        raise BadSetting(f"settings file {file}: {error.strerror or error}") from error
    except tomllib.TOMLDecodeError as error:
        raise BadSetting(f"settings file {file}: {error}") from error


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), Settings.__struct_fields__, 1)
    return f"there is no setting {_quoted(name)}" + (f"; did you mean {near[0]!r}?" if near else "")


def _check(source: str, value: Any, field: FieldInfo) -> None:
    """
    Raises:
        BadSetting: the value is none of this setting.
    """
    if _fits(value, field.type):
        return
    described = msgspec.json.schema(Settings)["$defs"]["Settings"]["properties"][field.name]
    if "items" in described:
        if not isinstance(value, (list, tuple)):
            raise BadSetting(f"{source}: {_quoted(value)} is not a list")
        item, *_ = get_args(field.type)
        value = next(one for one in value if not _fits(one, item))
        described = described["items"]
    shown = "what it has" if field.name in _SECRET else _quoted(value)
    raise BadSetting(f"{source}: {shown} is not {_wanted(described)}")


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind, strict=False)
    except (msgspec.ValidationError, UnicodeEncodeError):
        return False  # the second: a variable of bytes that are no UTF-8, which Python gives us as half characters
    return True


def _wanted(described: Mapping[str, Any]) -> str:
    """What a JSON schema asks of a single value, in words."""
    if "enum" in described:
        return f"one of {', '.join(described['enum'])}"
    for choice in described.get("anyOf", ()):
        if choice.get("type") != "null":
            return _wanted(choice)
    if described["type"] == "boolean":
        return "true or false"
    kind = {"integer": "a whole number", "number": "a number"}.get(described["type"])
    if kind is None:
        return "text"
    highest = described.get("maximum")
    if (above := described.get("exclusiveMinimum")) is not None:
        return f"{kind} above {above:g} and up to {highest:g}"
    lowest = described["minimum"]
    return f"{kind} of at least {lowest}" if highest is None else f"{kind} from {lowest:.10g} to {highest:.10g}"


def _quoted(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
