"""Versions of the identity interface: which are taken, and what is said of those that are not."""

import pytest

from hubwire.rest.communication_faults import CommunicationFault
from hubwire.rest.communication_versions import COMMUNICATION_VERSIONS, communication_version
from hubwire.rest.query import QueryString


@pytest.mark.parametrize(
    "version", [*COMMUNICATION_VERSIONS, "2021-03-07-preview", "2026-09-23", "2031-01-01-preview2"]
)
def test_version_from_the_first_one_on_is_taken(version: str) -> None:
    assert communication_version(QueryString(f"x=1&Api-Version={version}".encode())) == version


@pytest.mark.parametrize("query", [b"", b"api-version", b"api-version=", b"apiversion=2023-10-01"])
def test_version_that_is_missing_is_asked_for(query: bytes) -> None:
    with pytest.raises(CommunicationFault) as caught:
        communication_version(QueryString(query))
    assert caught.value.code == "ApiVersionUnspecified"


@pytest.mark.parametrize(
    "query",
    [
        b"api-version=2021-03-06",
        b"api-version=2020-07-20-preview1",
        b"api-version=1",
        b"api-version=2023-10-01-beta",
        b"api-version=2023-10-1",
        b"api-version=%202023-10-01",
        b"api-version=2023-10-01%0A",
        b"api-version=%D9%A2%D9%A0%D9%A2%D9%A3-10-01",
        b"api-version=2023-10-01&api-version=2023-10-01",
    ],
)
def test_version_that_cannot_be_one_is_refused(query: bytes) -> None:
    with pytest.raises(CommunicationFault) as caught:
        communication_version(QueryString(query))
    assert caught.value.code == "UnsupportedApiVersion"
