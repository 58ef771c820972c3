"""
Users of communication services who come to hubs with the tokens that they have, and what ends that before the token
does: revocation, deletion of the user or the service, and an access key that is made anew.
"""

from collections.abc import Callable, Iterable, Sequence
from weakref import WeakSet, WeakValueDictionary

from hubwire.auth.callers import ClientClaims
from hubwire.auth.logins import Login
from hubwire.communication.tokens import TEAMS_PREFIX, TokenFacts, Tokens, Verifier
from hubwire.model.communication import CommunicationService
from hubwire.model.errors import NotFound, Unauthorized
from hubwire.model.hubs import CommunicationLogin

__all__ = ["UserLogins"]


class _OfUser:
    """The logins of one user; it is there as long as one of them."""

    __slots__ = ("__weakref__", "logins")

    def __init__(self) -> None:
        self.logins: WeakSet[_UserLogin] = WeakSet()


class _UserLogin(Login):
    __slots__ = ("facts", "of_user")

    def __init__(self, claims: ClientClaims, facts: TokenFacts, of_user: _OfUser) -> None:
        super().__init__(claims)
        self.facts = facts
        self.of_user = of_user
        of_user.logins.add(self)


class UserLogins:
    """
    Logins of this process; each is known until nobody holds it any more. The `Logins` of a gateway.

    Args:
        service: by its name; raises NotFound.
    """

    def __init__(self, tokens: Tokens, verifier: Verifier, service: Callable[[str], CommunicationService]) -> None:
        self._tokens = tokens
        self._verifier = verifier
        self._service = service
        self._users: WeakValueDictionary[str, _OfUser] = WeakValueDictionary()
        self.on_over: Callable[[Sequence[Login]], None] = lambda _logins: None

    async def log_in(self, token: str, wanted: CommunicationLogin) -> Login:
        """Raises: see `Logins`."""
        try:
            service = self._service(wanted.service)
        except NotFound as error:
            raise Unauthorized(f"there is no communication service {wanted.service}") from error
        facts = self._tokens.read(service, token)
        if facts.user.startswith(TEAMS_PREFIX):
            raise Unauthorized("token is of a user of Teams, whom no communication service has")
        missing = [scope for scope in wanted.scopes if scope not in facts.scopes]
        if missing:
            raise Unauthorized(f"token does not have the scope {' or '.join(missing)}")
        of_user = self._users.setdefault(facts.user, _OfUser())
        # Known before the store is asked: a revocation is either seen there, or finds the login here.
        login = _UserLogin(_claims(facts, wanted.roles), facts, of_user)
        await self._verifier.check(service, facts)
        if login.is_over:
            raise Unauthorized("token was revoked")
        return login

    def is_of_user(self, token: str) -> bool:
        """See `Logins`."""
        return self._tokens.names_us(token)

    def revoked(self, _service: CommunicationService, identity: str) -> None:
        """A user's tokens were revoked, or the user was deleted."""
        of_user = self._users.get(identity)
        if of_user is not None:
            self._end(list(of_user.logins))

    def service_changed(self, old: CommunicationService | None, new: CommunicationService | None) -> None:
        """A service is another one now, or is gone."""
        if old is None or (new is not None and new.keys == old.keys):
            return
        self._end(
            login
            for of_user in list(self._users.values())
            for login in list(of_user.logins)
            if login.facts.audience == old.immutable_id
            and (new is None or not self._tokens.has_authority(new, login.facts))
        )

    def _end(self, logins: Iterable[Login]) -> None:
        over = [login for login in logins if not login.is_over]
        for login in over:
            login.is_over = True
        if over:
            self.on_over(over)


def _claims(facts: TokenFacts, roles: Sequence[str]) -> ClientClaims:
    """Event handlers are told what verifiers are, by the names of the token."""
    said = {
        "sub": facts.user,
        "acsScope": ",".join(facts.scopes),
        "iss": facts.issuer,
        "aud": facts.audience,
        "iat": facts.issued_at,
        "exp": facts.expires_at,
        "jti": facts.token_id,
    }
    return ClientClaims(facts.user, tuple(roles), (), said)
