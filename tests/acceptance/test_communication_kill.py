"""A server that is killed while it makes, revokes and deletes users of a communication service, and started again."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from itertools import count
from typing import Final

import pytest

from acceptance.communication import Service, V, call, first_service, introspect, quoted
from acceptance.servers import DEADLINE_S, Server, StartServer, fixed_ports, wait_until
from acceptance.wire import Answer
from postgresql import PostgresqlServer

CALLERS: Final = 4
LEAST: Final = 60


@dataclass
class Known:
    """
    What the server has answered about one user, whom it made.

    Attributes:
        custom_id: with which the user was asked for.
        before, after: a token from before the revocation, and one from after it; empty if it was not answered.
        asked, answered: what was begun with the user last, and what was done at the end: "create", "revoke", "issue"
            or "delete".
    """

    custom_id: str
    user: str = ""
    before: str = ""
    after: str = ""
    asked: str = "create"
    answered: str = ""


class Caller:
    """Makes one user after the other until the server is gone; revokes the tokens of some, and deletes some."""

    def __init__(self, service: Service, name: int) -> None:
        self.known: list[Known] = []
        self._service = service
        self._name = name

    def run(self) -> None:
        try:
            for number in count():
                self._live(number)
        except (OSError, HTTPException):
            return

    def _live(self, number: int) -> None:
        one = Known(f"{self._name}-{number}")
        self.known.append(one)
        made = self._ask(one, "create", "", {"customId": one.custom_id, "createTokenWithScopes": ["chat"]}).json()
        one.user, one.before = made["identity"]["id"], made["accessToken"]["token"]
        one.answered = "create"
        if number % 3:
            self._ask(one, "revoke", "/:revokeAccessTokens")
            one.answered = "revoke"
            one.after = self._ask(one, "issue", "/:issueAccessToken", {"scopes": ["voip"]}).json()["token"]
            one.answered = "issue"
        if number % 3 != 1:
            self._ask(one, "delete", "")
            one.answered = "delete"

    def _ask(self, one: Known, what: str, verb: str, document: object = None) -> Answer:
        one.asked = what
        method = "DELETE" if what == "delete" else "POST"
        below = f"/{quoted(one.user)}{verb}" if one.user else ""
        answer = call(self._service, method, f"/identities{below}{V}", document)
        assert answer.status in (200, 201, 204), answer
        return answer


def answered(server: Server, service: Service) -> Iterator[Known]:
    """What was answered before the server was killed, in the midst of its work."""
    callers = [Caller(service, name) for name in range(CALLERS)]
    with ThreadPoolExecutor(CALLERS) as threads:
        running = [threads.submit(caller.run) for caller in callers]
        try:
            wait_until(
                lambda: any(one.done() for one in running) or sum(len(caller.known) for caller in callers) >= LEAST,
                f"{LEAST} users",
                3 * DEADLINE_S,  # some hundred requests, each with a TLS handshake of its own
            )
        finally:
            server.signal(signal.SIGKILL)
            server.wait()
    for one in running:
        one.result()
    for caller in callers:
        yield from (one for one in caller.known if one.answered)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Options for a server that keeps users in one of the stores."""
    if request.param == "sqlite":
        return ()
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    return ("--store", server.new_database())


def test_what_was_answered_before_a_kill_is_so_after_it(start_server: StartServer, store: tuple[str, ...]) -> None:
    # The ports are in the issuer of the tokens.
    options = (*fixed_ports(), *store)
    server = start_server(*options)
    known = list(answered(server, first_service(server)))
    assert len(known) >= LEAST - CALLERS
    assert {one.answered for one in known} >= {"issue", "delete"}

    again = start_server(*options, data=server.data)
    service = first_service(again)
    for one in known:
        check(service, again, one)


def check(service: Service, server: Server, one: Known) -> None:
    """One user is as it was answered; what was asked and not answered is done or not."""
    found = call(service, "GET", f"/identities/{quoted(one.user)}{V}")
    before, after = (
        bool(token) and introspect(service, server, token).json()["active"] for token in (one.before, one.after)
    )
    if one.answered == "delete" or (one.asked == "delete" and found.status == 401):
        assert (found.status, before, after) == (401, False, False)
        return
    assert (found.status, found.json()["customId"]) == (200, one.custom_id)
    same = call(service, "POST", f"/identities{V}", {"customId": one.custom_id})
    assert same.json()["identity"]["id"] == one.user
    if one.answered != "create":
        assert not before
    elif one.asked != "revoke":
        assert before
    assert after is bool(one.after)
