"""Communication services as they arrive."""

from typing import Any

import pytest

from hubwire.model.errors import BadRequest
from hubwire.resources.communication_properties import (
    FeatureMissing,
    completed,
    ignored,
    kind_and_identities,
    merged,
)
from resources.communicating import IDENTITY

COMPLETE = {"publicNetworkAccess": "Enabled", "disableLocalAuth": False, "dataLocation": "United States"}


@pytest.mark.parametrize("given", ["United States", "united states", "UnitedStates"])
def test_known_place_of_data_has_one_spelling(given: str) -> None:
    assert completed({"DATALOCATION": given}) == COMPLETE


def test_what_only_the_service_says_is_left_out_and_what_nobody_knows_is_kept() -> None:
    said = {"hostName": "x", "version": "y", "provisioningState": "z", "immutableResourceId": 1, "notificationHubId": 2}

    assert completed({**COMPLETE, **said, "linkedDomains": [], "more": {"a": 1}}) == {
        **COMPLETE,
        "linkedDomains": [],
        "more": {"a": 1},
    }


@pytest.mark.parametrize(
    ("properties", "target"),
    [
        (None, "properties.dataLocation"),
        ({}, "properties.dataLocation"),
        (1, "properties"),
        ({"dataLocation": 1}, "properties.dataLocation"),
        ({"dataLocation": ""}, "properties.dataLocation"),
        ({"dataLocation": "UK", "disableLocalAuth": "yes"}, "properties.disableLocalAuth"),
        ({"dataLocation": "UK", "publicNetworkAccess": "maybe"}, "properties.publicNetworkAccess"),
        ({"dataLocation": "UK", "linkedDomains": "x"}, "properties.linkedDomains"),
    ],
)
def test_property_that_cannot_be_is_refused(properties: Any, target: str) -> None:
    with pytest.raises(BadRequest) as refused:
        completed(properties)
    assert refused.value.target == target


def test_linked_domain_is_a_feature_that_is_not_there() -> None:
    with pytest.raises(FeatureMissing) as refused:
        merged(COMPLETE, {"linkedDomains": ["/subscriptions/s/…/domains/d"]})
    assert refused.value.code == "FeatureNotAvailable"


def test_patch_takes_the_place_of_what_is_there() -> None:
    changed = merged(COMPLETE, {"disableLocalAuth": True})

    assert changed == {**COMPLETE, "disableLocalAuth": True}
    assert merged(changed, {"disableLocalAuth": None}) == COMPLETE
    with pytest.raises(BadRequest):
        merged(COMPLETE, {"dataLocation": None})
    with pytest.raises(BadRequest):
        merged(COMPLETE, [])


@pytest.mark.parametrize(
    ("identity", "found"),
    [
        (None, ("None", ())),
        ({}, ("None", ())),
        ({"type": "none"}, ("None", ())),
        ({"type": "SYSTEMassigned"}, ("SystemAssigned", ())),
        ({"type": "SystemAssigned", "userAssignedIdentities": {IDENTITY: None}}, ("SystemAssigned", ())),
        ({"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}}, ("UserAssigned", (IDENTITY,))),
        (
            {"type": "UserAssigned,SystemAssigned", "userAssignedIdentities": {IDENTITY: {}, f"{IDENTITY}2": {}}},
            ("SystemAssigned,UserAssigned", (IDENTITY, f"{IDENTITY}2")),
        ),
    ],
)
def test_identity_has_a_type_and_ids_that_fit(identity: Any, found: tuple[str, tuple[str, ...]]) -> None:
    assert kind_and_identities(identity) == found


@pytest.mark.parametrize(
    "identity",
    [
        1,
        {"type": 1},
        {"type": "Other"},
        {"type": "UserAssigned"},
        {"type": "UserAssigned", "userAssignedIdentities": []},
        {"type": "UserAssigned", "userAssignedIdentities": {"one": {}}},
        {"type": "SystemAssigned", "userAssignedIdentities": {IDENTITY: {}}},
        {"userAssignedIdentities": {IDENTITY: {}}},
    ],
)
def test_identity_that_cannot_be_is_refused(identity: Any) -> None:
    with pytest.raises(BadRequest):
        kind_and_identities(identity)


def test_what_does_not_act_is_told() -> None:
    assert ignored("global", "None", COMPLETE) == []
    strange = {**COMPLETE, "dataLocation": "Atlantis", "publicNetworkAccess": "SecuredByPerimeter", "more": 1}

    told = ignored("eastus", "SystemAssigned", strange)

    assert len(told) == 5
    for word in ("eastus", "Atlantis", "identity", "SecuredByPerimeter", "properties.more"):
        assert any(word in text for text in told)
