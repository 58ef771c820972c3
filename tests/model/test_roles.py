import pytest

from hubwire.model.roles import (
    BUILT_IN,
    CONTRIBUTOR,
    OWNER,
    READER,
    RESOURCE_OWNER,
    RESOURCE_READER,
    SECRETS_OFFICER,
    SECRETS_USER,
    WEB_PUBSUB_CONTRIBUTOR,
    Role,
    allows,
    covers,
    full_name,
    manages,
    may_with_secrets,
    role_named,
    role_with_id,
)

SUBSCRIPTION = "/subscriptions/22222222-aaaa-4000-8000-000000000002"
GROUP = f"{SUBSCRIPTION}/resourceGroups/hubwire"
RESOURCE = f"{GROUP}/providers/Microsoft.SignalRService/webPubSub/default"

READS = ("clientConnection/read", "group/read", "livetrace/read", "user/read")
OTHERS = (
    "auth/accessKey/action",
    "auth/accessToken/action",
    "clientConnection/generateToken/action",
    "clientConnection/send/action",
    "clientConnection/write",
    "group/send/action",
    "group/write",
    "hub/send/action",
    "livetrace/write",
    "user/send/action",
)


@pytest.mark.parametrize("action", READS + OTHERS)
def test_owner_may_everything(action: str) -> None:
    assert allows(OWNER, action)


def test_reader_may_read_and_nothing_else() -> None:
    assert [action for action in READS + OTHERS if allows(READER, action)] == list(READS)


@pytest.mark.parametrize("action", ["read", "group/readAll", "group/read/action", "group/spread", ""])
def test_action_that_only_looks_like_reading_is_none_of_a_readers(action: str) -> None:
    assert not allows(READER, action)


def test_roles_have_the_ids_of_azure() -> None:
    assert {role.name: role.id for role in BUILT_IN} == {
        "Web PubSub Service Owner": "12cf5a90-567b-43ae-8102-96cf46c7d9b4",
        "Web PubSub Service Reader": "bfb1c7d2-fb1a-466b-b2ba-aee63b92deaf",
        "Owner": "8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
        "Contributor": "b24988ac-6180-42a0-ab88-20f7382dd24c",
        "Reader": "acdd72a7-3385-48ef-bd42-f606fba81ae7",
        "SignalR/Web PubSub Contributor": "8cf5e20a-e4b2-4e9d-b3a1-5ceb692c2761",
        "Key Vault Secrets User": "4633458b-17de-408a-b874-0445c86b69e6",
        "Key Vault Secrets Officer": "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
    }


def test_action_is_spelled_out_as_role_definitions_have_it() -> None:
    assert full_name("group/send/action") == "Microsoft.SignalRService/WebPubSub/group/send/action"


@pytest.mark.parametrize(
    "text",
    ["owner", "OWNER", "oWner", " owner ", "Web PubSub Service Owner", "web pubsub service owner", OWNER.id.upper()],
)
def test_role_has_a_name_a_short_name_and_an_id(text: str) -> None:
    assert role_named(text) is OWNER


@pytest.mark.parametrize(
    ("text", "role"),
    [
        ("Owner", RESOURCE_OWNER),
        (" Owner ", RESOURCE_OWNER),
        ("resource-owner", RESOURCE_OWNER),
        ("Reader", RESOURCE_READER),
        ("reader", READER),
        ("Resource-Reader", RESOURCE_READER),
        ("Contributor", CONTRIBUTOR),
        ("contributor", CONTRIBUTOR),
        ("signalr/web pubsub contributor", WEB_PUBSUB_CONTRIBUTOR),
        ("webpubsub-contributor", WEB_PUBSUB_CONTRIBUTOR),
    ],
)
def test_spelling_tells_a_role_from_another_ones_short_name(text: str, role: Role) -> None:
    assert role_named(text) is role


def test_every_name_short_name_and_id_is_one_roles_alone() -> None:
    for role in BUILT_IN:
        assert role_named(role.name) is role_named(role.short) is role_named(role.id) is role


MANAGED = (
    "Microsoft.SignalRService/webPubSub/read",
    "Microsoft.SignalRService/webPubSub/hubs/read",
    "Microsoft.SignalRService/webPubSub/write",
    "Microsoft.SignalRService/webPubSub/listKeys/action",
    "Microsoft.Resources/subscriptions/resourceGroups/read",
    "Microsoft.Resources/subscriptions/resourceGroups/write",
    "Microsoft.Resources/deployments/write",
    "Microsoft.Authorization/roleAssignments/read",
    "Microsoft.Authorization/roleAssignments/write",
    "Microsoft.Authorization/roleAssignments/delete",
)


@pytest.mark.parametrize(
    ("role", "managed"),
    [
        (RESOURCE_OWNER, MANAGED),
        (CONTRIBUTOR, MANAGED[:8]),
        (RESOURCE_READER, (MANAGED[0], MANAGED[1], MANAGED[4], MANAGED[7])),
        (WEB_PUBSUB_CONTRIBUTOR, (*MANAGED[:5], *MANAGED[6:8])),
        (OWNER, ()),
        (READER, ()),
    ],
)
def test_role_manages_what_azures_definition_says(role: Role, managed: tuple[str, ...]) -> None:
    assert tuple(action for action in MANAGED if manages(role, action)) == managed
    assert tuple(action for action in MANAGED if manages(role, action.upper())) == managed


@pytest.mark.parametrize("role", [RESOURCE_OWNER, CONTRIBUTOR, RESOURCE_READER, WEB_PUBSUB_CONTRIBUTOR])
def test_whoever_manages_a_resource_may_nothing_at_its_data_plane(role: Role) -> None:
    assert not any(allows(role, action) for action in READS + OTHERS)


@pytest.mark.parametrize("text", ["", " ", "Contributors", "owner,reader", "own", OWNER.id[:-1]])
def test_unknown_role_is_none(text: str) -> None:
    assert role_named(text) is None
    assert role_with_id(text) is None


def test_role_is_found_by_its_id_in_any_case() -> None:
    assert role_with_id(READER.id) is role_with_id(READER.id.upper()) is READER
    assert role_with_id("reader") is None


@pytest.mark.parametrize(
    "scope",
    [
        RESOURCE,
        GROUP,
        SUBSCRIPTION,
        "/",
        f"{RESOURCE}/",
        f"{GROUP}/",
        RESOURCE.upper(),
        RESOURCE.lower(),
        f"{GROUP}/providers/Microsoft.SignalRService",
        f"{GROUP}//providers",
    ],
)
def test_what_is_assigned_above_holds_below(scope: str) -> None:
    assert covers(scope, RESOURCE)


@pytest.mark.parametrize(
    "scope",
    [
        f"{RESOURCE}/hubs/chat",
        f"{RESOURCE}2",
        RESOURCE[:-1],
        f"{GROUP}/providers/Microsoft.SignalRService/webPubSub/other",
        f"{GROUP}/providers/Microsoft.SignalRService/signalR/default",
        GROUP[:-1],
        f"{GROUP}2",
        f"{SUBSCRIPTION}/resourceGroups/other",
        SUBSCRIPTION[:-1],
        "/subscriptions/22222222-aaaa-4000-8000-000000000003",
        "/hubwire",
        "subscription",
    ],
)
def test_what_is_assigned_elsewhere_or_below_does_not(scope: str) -> None:
    assert not covers(scope, RESOURCE)


def test_roles_of_key_vaults_are_for_secrets_alone() -> None:
    """And no other role lets anybody read one."""
    words = ("get", "list", "set", "delete")

    assert [word for word in words if may_with_secrets(SECRETS_USER, word)] == ["get", "list"]
    assert [word for word in words if may_with_secrets(SECRETS_OFFICER, word)] == [*words]
    for role in BUILT_IN:
        if role in (SECRETS_USER, SECRETS_OFFICER):
            assert not any(allows(role, action) for action in READS + OTHERS)
            assert not any(manages(role, action) for action in MANAGED)
        else:
            assert not any(may_with_secrets(role, word) for word in words)
