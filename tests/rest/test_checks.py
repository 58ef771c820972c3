"""Names that several tables check alike."""

import pytest

from hubwire.model.errors import BadRequest
from hubwire.rest.checks import checked_groups, checked_hub, checked_user


def test_legal_names_pass_as_they_were_spelt() -> None:
    assert checked_hub("Chat_1`,.[]") == "Chat_1`,.[]"
    assert checked_user(" u ") == " u "
    assert checked_groups(["b", "a", "b", "A"], "groups") == ("b", "a", "A")
    assert checked_groups([], "groups") == ()


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a" * 129, "a b", "ä", "a/b"])
def test_illegal_hub_is_a_bad_request(name: str) -> None:
    with pytest.raises(BadRequest) as caught:
        checked_hub(name)

    assert caught.value.target == "hub"


@pytest.mark.parametrize("name", ["", " ", "\t\n", "g" * 1025])
def test_illegal_group_is_a_bad_request(name: str) -> None:
    with pytest.raises(BadRequest) as caught:
        checked_groups(["ok", name], "groups")

    assert caught.value.target == "groups"


@pytest.mark.parametrize("user_id", ["", " ", "\t"])
def test_blank_user_is_a_bad_request(user_id: str) -> None:
    with pytest.raises(BadRequest) as caught:
        checked_user(user_id)

    assert caught.value.target == "userId"


@pytest.mark.parametrize("user_id", ["a\rb", "a\n", "\0", "a\r\nX-Header: b"])
def test_user_with_a_line_break_or_a_nul_is_a_bad_request(user_id: str) -> None:
    """It could not be told to an event handler."""
    with pytest.raises(BadRequest) as caught:
        checked_user(user_id)

    assert caught.value.target == "userId"
