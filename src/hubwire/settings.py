"""
Settings of the process: command-line options over environment (`HUBWIRE_NAME`) over a TOML file over defaults.

What belongs to a hub or a resource is not here: that is the resource tree's. Every setting is described in
docs/reference/settings.md; a test holds the two together.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

__all__ = ["BadSetting", "LogFormat", "LogLevel", "Settings", "load"]

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

_PREFIX = "HUBWIRE_"


class BadSetting(Exception):  # noqa: N818
    """A setting that cannot be used. The text is one line that names it."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    One frozen value, made once at start.

    Attributes:
        host: addresses to listen on; the default is this machine only.
        port: 0 takes a free one.
        data: folder of the database, the lock and the control socket.
        ready_file: written once the server listens, removed at exit.
        public_endpoints: URLs under which clients reach this server, the first one canonical.
        trusted_proxies: addresses or networks whose X-Forwarded-* headers are believed.
        cors_origins: origins of web pages that may call REST; "*" for any.
        log_off: categories of records to leave out: connectivity, messaging, http.
        token_leeway_s: clock difference that tokens may have.
        max_connections: client connections at once; one more is answered 429.
        max_sockets: sockets at once on a listener, of any kind.
        max_head_bytes, head_timeout_s: of one request head, first line included.
        idle_timeout_s: a kept-alive HTTP connection without a request.
        max_message_bytes: of a client's message and of a REST body.
        max_groups_per_connection: more are refused; the service documents no limit.
        client_buffer_bytes: waiting for one client that reads too slowly.
        reliable_queue_messages, reliable_queue_bytes: unacknowledged for one reliable client.
        recovery_s: how long a dropped reliable client may come back.
        inbox_requests: waiting requests of one client before reading from it pauses.
        shutdown_grace_s: for saying goodbye at SIGTERM.
        loop: uvloop where it is installed ("auto"), or one of the two.
    """

    host: tuple[str, ...] = ("127.0.0.1", "::1")
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    data: str = "data"
    ready_file: str | None = None
    public_endpoints: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    log_format: LogFormat = "text"
    log_level: LogLevel = "info"
    log_off: tuple[Literal["connectivity", "messaging", "http"], ...] = ()
    token_leeway_s: Annotated[int, Meta(ge=0, le=300)] = 60
    max_connections: Annotated[int, Meta(ge=1)] = 100_000
    max_sockets: Annotated[int, Meta(ge=1)] = 120_000
    max_head_bytes: Annotated[int, Meta(ge=1024, le=1 << 20)] = 64 * 1024
    head_timeout_s: Annotated[float, Meta(gt=0, le=300)] = 10.0
    idle_timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 75.0
    max_message_bytes: Annotated[int, Meta(ge=1024, le=1 << 27)] = 1 << 20
    max_groups_per_connection: Annotated[int, Meta(ge=1)] = 10_000
    client_buffer_bytes: Annotated[int, Meta(ge=1024)] = 4 << 20
    reliable_queue_messages: Annotated[int, Meta(ge=1)] = 1000
    reliable_queue_bytes: Annotated[int, Meta(ge=1024)] = 16 << 20
    recovery_s: Annotated[float, Meta(gt=0, le=3600)] = 32.0
    inbox_requests: Annotated[int, Meta(ge=1)] = 64
    shutdown_grace_s: Annotated[float, Meta(ge=0, le=600)] = 5.0
    loop: Literal["auto", "uvloop", "asyncio"] = "auto"


_LISTS = frozenset({"host", "public_endpoints", "trusted_proxies", "cors_origins", "log_off"})


def load(options: Mapping[str, Any], environ: Mapping[str, str] = os.environ, file: Path | None = None) -> Settings:
    """
    Put the sources together; the strongest that names a setting wins.

    Args:
        options: from the command line, by the name of the setting; None values are left out.
        environ: lists are comma-separated there.
        file: TOML with the names of the settings at its top level.

    Raises:
        BadSetting: unknown name, wrong type, out of range, or an unreadable file.
    """
    values: dict[str, Any] = {}
    if file is not None:
        try:
            values.update(tomllib.loads(file.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise BadSetting(f"settings file {file}: {error}") from error
    for name in Settings.__struct_fields__:
        text = environ.get(_PREFIX + name.upper())
        if text is not None:
            values[name] = [part.strip() for part in text.split(",") if part.strip()] if name in _LISTS else text
    values.update({name: value for name, value in options.items() if value is not None})
    try:
        return msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise BadSetting(f"bad setting: {error}") from error
