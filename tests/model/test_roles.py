import pytest

from hubwire.model.roles import (
    BUILT_IN,
    OWNER,
    READER,
    allows,
    covers,
    full_name,
    resource_id,
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
    }


def test_action_is_spelled_out_as_role_definitions_have_it() -> None:
    assert full_name("group/send/action") == "Microsoft.SignalRService/WebPubSub/group/send/action"


@pytest.mark.parametrize(
    "text", ["owner", "OWNER", " owner ", "Web PubSub Service Owner", "web pubsub service owner", OWNER.id.upper()]
)
def test_role_has_a_name_a_short_name_and_an_id(text: str) -> None:
    assert role_named(text) is OWNER


@pytest.mark.parametrize("text", ["", " ", "Contributor", "owner,reader", "own", OWNER.id[:-1]])
def test_unknown_role_is_none(text: str) -> None:
    assert role_named(text) is None
    assert role_with_id(text) is None


def test_role_is_found_by_its_id_in_any_case() -> None:
    assert role_with_id(READER.id) is role_with_id(READER.id.upper()) is READER
    assert role_with_id("reader") is None


def test_resource_stands_in_the_tree_of_scopes() -> None:
    assert resource_id("22222222-aaaa-4000-8000-000000000002", "default") == RESOURCE


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
