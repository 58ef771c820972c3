"""What is legal as a name, and in the metadata of a message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubwire.model.names import (
    HubKey,
    is_event_name,
    is_group_name,
    is_hub_name,
    is_user_id,
    metadata_fault,
    shown_user_id,
)


@pytest.mark.parametrize("name", ["a", "Chat", "chat_1", "a`b", "a,b", "a.b", "a[0]", "a" * 128])
def test_hub_name_is_taken(name: str) -> None:
    """1 to 128 characters, a letter first."""
    assert is_hub_name(name)


@pytest.mark.parametrize(
    "name", ["", "1a", "_a", ".a", "a-b", "a b", "a/b", "a%2F", "ä", "aé", "a\n", "\na", "a" * 129, "a１", "\u212a"]
)
def test_hub_name_is_refused(name: str) -> None:
    """Also a line break at its end, and letters and digits of other scripts."""
    assert not is_hub_name(name)


@pytest.mark.parametrize("name", ["a", "Message", "a_b", "a.b", "a-b", "a1", "a" * 128])
def test_event_name_is_taken(name: str) -> None:
    """1 to 128 characters, a letter first."""
    assert is_event_name(name)


@pytest.mark.parametrize("name", ["", "1a", "-a", ".a", "a b", "a/b", "a,b", "ä", "aé", "a\n", "a" * 129])
def test_event_name_is_refused(name: str) -> None:
    """Also a line break at its end."""
    assert not is_event_name(name)


@pytest.mark.parametrize("text", ["a", " ", "a@b.example", "ünïcode 🙂", "\x85\u2028", "u" * 5000])
def test_user_id_is_taken(text: str) -> None:
    assert is_user_id(text)


@pytest.mark.parametrize("text", ["", "\r", "a\nb", "a\r\nX: y", "a\0", "\0a", "a\tb", "\x7f", "\x1b[2J"])
def test_user_id_is_refused(text: str) -> None:
    """What would end a header, and begin another one."""
    assert not is_user_id(text)


@pytest.mark.parametrize("name", ["a", " a ", "*", "a/b", "ünïcode 🙂", "\x00", "a\n", "a" * 1024, "🙂" * 1024])
def test_group_name_is_taken(name: str) -> None:
    """Any 1 to 1024 characters that are not all white space."""
    assert is_group_name(name)


@pytest.mark.parametrize("name", ["", " ", "\t\n ", "\u2003", "a" * 1025, " " * 1024])
def test_group_name_is_refused(name: str) -> None:
    """None, only white space, or too many."""
    assert not is_group_name(name)


def test_hub_keys_of_one_hub_are_equal() -> None:
    """They are keys of dictionaries."""
    assert {HubKey("default", "chat"): 1}[HubKey("default", "chat")] == 1
    assert HubKey("default", "chat") != HubKey("other", "chat")


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"a": ""},
        {"A-1": "text"},
        {"!#$%&'*+-.^_`|~": "\x00 \t\x7f"},
        {"k" * 256: "v" * 1024},
        {"k" * 256: "v" * 1024} | {f"{number:0256}": "v" * 1024 for number in range(5)} | {"k": "v" * 511},
    ],
)
def test_metadata_is_taken(metadata: dict[str, str]) -> None:
    """Keys of HTTP token characters, values of ASCII, and all at their limits; the last one is 8192 bytes."""
    assert metadata_fault(metadata) is None


@pytest.mark.parametrize(
    ("metadata", "fault"),
    [
        ({"": "v"}, "key"),
        ({"a b": "v"}, "key"),
        ({"a:": "v"}, "key"),
        ({"a\n": "v"}, "key"),
        ({"ä": "v"}, "key"),
        ({"k" * 257: "v"}, "key"),
        ({"k": "ä"}, "value"),
        ({"k": "\x80"}, "value"),
        ({"k": "v" * 1025}, "value"),
        ({"good": "v", "bad key": "v"}, "key"),
        ({"k" * 256: "v" * 1024} | {f"{number:0256}": "v" * 1024 for number in range(5)} | {"k": "v" * 512}, "8192"),
    ],
)
def test_metadata_is_refused_with_its_fault(metadata: dict[str, str], fault: str) -> None:
    """The fault names what is wrong and repeats nothing of what was sent."""
    found = metadata_fault(metadata)

    assert found is not None
    assert fault in found


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3))
def test_fault_of_metadata_repeats_nothing_of_it(metadata: dict[str, str]) -> None:
    """It may be shown to others, and stand in a log."""
    assert metadata_fault(metadata) in (
        None,
        "metadata key is not an HTTP token of 1 to 256 characters",
        "metadata value is not ASCII of at most 1024 characters",
    )


@pytest.mark.parametrize(
    ("user_id", "shown"),
    [
        (None, None),
        ("ann", "ann"),
        ("8:orgid:x", "8:orgid:x"),
        ("8:acs:2dee53b4-1111-4222-8333-8493fb117652_00000005-0000-7000-8000-00000000002a", "…00000000002a"),
    ],
)
def test_communication_users_are_cut_in_records(user_id: str | None, shown: str | None) -> None:
    assert shown_user_id(user_id) == shown
