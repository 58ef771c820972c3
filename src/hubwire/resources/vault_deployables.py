"""Key Vaults, their access policies and their secrets in templates."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from hubwire.model.errors import BadRequest, NotFound
from hubwire.model.secret_references import is_secret_name
from hubwire.model.vaults import SecretVersion
from hubwire.resources.deployable import Deployable, PlainType, SplitId, properties_of
from hubwire.resources.templates import Planned
from hubwire.resources.vault_access import SecretAccess
from hubwire.resources.vault_documents import (
    SECRET_TYPE,
    VAULT_TYPE,
    StoredVault,
    policies_document,
    secret_document,
    vault_document,
)
from hubwire.resources.vault_properties import (
    PolicyChange,
    changed_policies,
    given_changes,
    given_secret,
    ignored,
    policies_of,
)
from hubwire.resources.vaults import Vaults

__all__ = ["POLICY_CHANGES", "VaultTypes"]

POLICY_CHANGES: Final[Mapping[str, PolicyChange]] = {"add": "add", "replace": "replace", "remove": "remove"}
"""What can be done with access policies, by the name of such a resource."""

Uri = Callable[[StoredVault], str]
"""Where a vault is reached, with a slash at its end."""


class VaultTypes:
    """
    The resource types of Key Vault.

    Args:
        tenants: whose tokens are taken, in lower case.

    Attributes:
        types: by name, in lower case.
    """

    def __init__(self, vaults: Vaults, access: SecretAccess, uri: Uri, tenants: Collection[str]) -> None:
        self._vaults = vaults
        self._uri = uri
        self.types: Final[Mapping[str, Deployable]] = {
            VAULT_TYPE.lower(): _Vault(vaults, uri, tenants),
            SECRET_TYPE.lower(): _Secret(vaults, access, uri),
            f"{VAULT_TYPE}/accessPolicies".lower(): _Policies(vaults),
        }

    def documents(self, subscription: str, group: str | None = None) -> list[dict[str, Any]]:
        """The vaults of a subscription or of one of its groups, as the resource manager shows them."""
        return [vault_document(vault, self._uri(vault)) for vault in self._vaults.all(subscription, group)]


class _Vault(PlainType):
    action = f"{VAULT_TYPE}/write"

    def __init__(self, vaults: Vaults, uri: Uri, tenants: Collection[str]) -> None:
        self._vaults = vaults
        self._uri = uri
        self._tenants = tenants

    def check(self, planned: Planned, body: Mapping[str, Any], coming: Collection[str]) -> None:  # noqa: ARG002  a port
        self._made(planned, body)

    def _made(self, planned: Planned, body: Mapping[str, Any]) -> StoredVault:
        return self._vaults.check(planned.subscription_id, planned.resource_group, planned.name, body)

    async def apply(self, planned: Planned, body: Mapping[str, Any]) -> bool:
        _, is_new = await self._vaults.put(planned.subscription_id, planned.resource_group, planned.name, body)
        return is_new

    def shown(self, found: SplitId) -> dict[str, Any] | None:
        vault = _vault_of(self._vaults, found)
        return None if vault is None else vault_document(vault, self._uri(vault))

    def expected(self, planned: Planned, body: Mapping[str, Any], coming: Collection[str]) -> dict[str, Any]:  # noqa: ARG002  a port
        made = self._made(planned, body)
        return vault_document(made, self._uri(made))

    def warnings(self, planned: Planned, body: Mapping[str, Any]) -> list[str]:
        made = self._made(planned, body)
        return [*ignored(made.properties), *self._vaults.warnings(made, self._tenants)]

    async def delete(self, found: SplitId) -> None:
        await self._vaults.delete(found.subscription, found.group, found.names[0])


class _Secret(PlainType):
    """A secret, of which a new version is made only where something is new."""

    action = f"{SECRET_TYPE}/write"

    def __init__(self, vaults: Vaults, access: SecretAccess, uri: Uri) -> None:
        self._vaults = vaults
        self._access = access
        self._uri = uri

    def check(self, planned: Planned, body: Mapping[str, Any], coming: Collection[str]) -> None:
        _parent(self._vaults, planned, coming)
        vault, _, name = planned.name.partition("/")
        if not is_secret_name(name):
            raise BadRequest("The name of a secret is 1 to 127 letters, digits and hyphens.", "name")
        given = given_secret("properties", properties_of(body), body.get("tags"))
        if given is None and self._present(vault, name) is None:
            raise BadRequest("properties.value is required for a secret that is not there yet.", "properties.value")

    async def apply(self, planned: Planned, body: Mapping[str, Any]) -> bool:
        self.check(planned, body, ())
        vault, _, name = planned.name.partition("/")
        present = self._present(vault, name)
        given = given_secret("properties", properties_of(body), body.get("tags"))
        if given is None:
            changes = given_changes("properties", properties_of(body), body.get("tags"))
            if any(getattr(present, field) != value for field, value in changes.items()):
                await self._access.update(vault, name, None, changes, None)
        elif not await self._access.holds(vault, name, given):
            await self._access.set(vault, name, given, None)
        return present is None

    def shown(self, found: SplitId) -> dict[str, Any] | None:
        vault = _vault_of(self._vaults, found)
        secret = None if vault is None else self._present(vault.name, found.names[1])
        return None if vault is None or secret is None else secret_document(vault, self._uri(vault), secret)

    def expected(self, planned: Planned, body: Mapping[str, Any], coming: Collection[str]) -> dict[str, Any]:  # noqa: ARG002  a port
        """Without the value, whatever else is wrong."""
        vault, _, name = planned.name.partition("/")
        there, known = self._vaults.named(vault), self._present(vault, name)
        if there is not None and known is not None:
            document = secret_document(there, self._uri(there), known)
        else:
            document = {"id": planned.id, "name": name, "type": planned.type, "tags": {}, "properties": {}}
        properties = body.get("properties")
        given = properties if isinstance(properties, dict) else {}
        content_type = {key: value for key, value in given.items() if key == "contentType"}
        changed = {**document["properties"], **content_type}
        return {**document, "properties": changed, "tags": body.get("tags") or {}}

    async def delete(self, found: SplitId) -> None:
        vault = _vault_of(self._vaults, found)
        if vault is not None and self._present(vault.name, found.names[1]) is not None:
            await self._access.delete(vault.name, found.names[1], None)

    def _present(self, vault: str, name: str) -> SecretVersion | None:
        try:
            return self._vaults.kept.find(vault, name)
        except NotFound:
            return None


class _Policies(PlainType):
    """A change of a vault's access policies, which is called by what it does."""

    action = f"{VAULT_TYPE}/accessPolicies/write"

    def __init__(self, vaults: Vaults) -> None:
        self._vaults = vaults

    def check(self, planned: Planned, body: Mapping[str, Any], coming: Collection[str]) -> None:
        _parent(self._vaults, planned, coming)
        _change_of(planned)
        policies_of(properties_of(body))

    async def apply(self, planned: Planned, body: Mapping[str, Any]) -> bool:
        self.check(planned, body, ())
        vault = planned.name.partition("/")[0]
        await self._vaults.change_policies(vault, _change_of(planned), policies_of(properties_of(body)))
        return False

    def shown(self, found: SplitId) -> dict[str, Any] | None:
        vault = _vault_of(self._vaults, found)
        return None if vault is None else policies_document(vault, found.names[1])

    def expected(self, planned: Planned, body: Mapping[str, Any], coming: Collection[str]) -> dict[str, Any]:  # noqa: ARG002  a port
        vault = self._vaults.named(planned.name.partition("/")[0])
        old = [] if vault is None else vault.properties["accessPolicies"]
        changed = changed_policies(old, _change_of(planned), policies_of(properties_of(body)))
        name = planned.name.partition("/")[2]
        return {"id": planned.id, "name": name, "type": planned.type, "properties": {"accessPolicies": changed}}

    async def delete(self, found: SplitId) -> None:
        """They go with their vault."""


def _vault_of(vaults: Vaults, found: SplitId) -> StoredVault | None:
    try:
        return vaults.find(found.subscription, found.group, found.names[0])
    except NotFound:
        return None


def _parent(vaults: Vaults, planned: Planned, coming: Collection[str]) -> None:
    """
    Raises:
        NotFound: the vault is not there, and will not be.
    """
    if planned.id.rsplit("/", 2)[0].lower() not in coming:
        vaults.find(planned.subscription_id, planned.resource_group, planned.name.partition("/")[0])


def _change_of(planned: Planned) -> PolicyChange:
    name = planned.name.partition("/")[2].lower()
    if name not in POLICY_CHANGES:
        raise BadRequest("Access policies are changed by a resource with the name add, replace or remove.", "name")
    return POLICY_CHANGES[name]
