"""URL templates: taken apart once, filled in for each event, and nobody who names things changes where they lead."""

from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubwire.model.errors import BadRequest
from hubwire.model.names import is_event_name, is_hub_name
from hubwire.upstream.url_templates import parse_template

ONE = "https://v.example/secrets/one"
TWO = "https://v.example/secrets/two/0123"
SECRET_ONE = f"{{@Microsoft.KeyVault(SecretUri={ONE})}}"
SECRET_TWO = f"{{@Microsoft.KeyVault(SecretUri={TWO})}}"


def resolved(template: str, hub: str = "chat", event: str = "connect", **secrets: str) -> str:
    """With secrets `one` and `two`."""
    return parse_template(template).resolve(hub, event, {ONE: secrets.get("one", ""), TWO: secrets.get("two", "")})


@pytest.mark.parametrize(
    ("template", "url"),
    [
        ("http://h/api", "http://h/api"),
        ("http://h/{hub}/{event}", "http://h/chat/connect"),
        ("http://h/{Hub}-{EVENT}", "http://h/chat-connect"),
        ("https://h:8443/?h={hub}&e={event}&code=a%20b", "https://h:8443/?h=chat&e=connect&code=a%20b"),
        ("http://h/{hub}{hub}", "http://h/chatchat"),
        ("http://h/{other}/{hub2}/{}", "http://h/{other}/{hub2}/{}"),
        ("http://h/ä b/%20?é", "http://h/%C3%A4%20b/%20?%C3%A9"),
        ("tunnel:///eventhandler/{event}", "tunnel:///eventhandler/connect"),
    ],
)
def test_placeholders_are_filled_in_whatever_their_letter_case_and_all_else_that_can_be_sent_stays(
    template: str, url: str
) -> None:
    assert resolved(template) == url


@pytest.mark.parametrize(
    ("name", "encoded"),
    [("room_1.a-b", "room_1.a-b"), ("a[`],b", "a%5B%60%5D%2Cb"), ("a/b?c#d&e=f%g", "a%2Fb%3Fc%23d%26e%3Df%25g")],
)
def test_all_but_unreserved_characters_of_names_are_encoded(name: str, encoded: str) -> None:
    assert resolved("http://h/{hub}/{event}", hub=name, event=name) == f"http://h/{encoded}/{encoded}"


def test_secrets_are_put_in_as_they_are() -> None:
    url = resolved(f"https://h/{{event}}?code={SECRET_ONE}&more={SECRET_TWO}&again={SECRET_ONE}", one="k==%2F", two="2")

    assert url == "https://h/connect?code=k==%2F&more=2&again=k==%2F"


def test_secrets_that_it_needs_are_named_once_and_in_their_order() -> None:
    template = parse_template(f"https://h/{SECRET_TWO}?{SECRET_ONE}&{SECRET_TWO}")

    assert template.secrets == (TWO, ONE)


def test_nothing_in_a_secret_is_a_placeholder() -> None:
    """What is put in is never looked at again."""
    assert resolved(f"https://h/?{SECRET_ONE}", one="{event}{hub}") == "https://h/?{event}{hub}"


def test_placeholders_in_a_secret_that_is_the_whole_url_count() -> None:
    """Nobody could write them elsewhere."""
    assert resolved(SECRET_ONE, one="https://h/{hub}/{Event}?code=k") == "https://h/chat/connect?code=k"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "k",
        "ftp://h/",
        "tunnel:///x",
        "https://",
        "https:///path",
        "https://h/a b",
        "https://h/\r\nX: y",
        "\nhttps://h/",
        "https://h/\n",
    ],
)
def test_secret_that_is_to_be_the_whole_url_and_is_none_is_not_called(value: str) -> None:
    with pytest.raises(BadRequest) as refused:
        resolved(SECRET_ONE, one=value)

    assert refused.value.target == "urlTemplate"
    assert not value.strip() or value not in refused.value.message


@pytest.mark.parametrize(
    "value", ["https://{event}/", "https://{hub}.example/", "https://h{event}", "https://h:{hub}/"]
)
def test_secret_that_is_the_whole_url_has_no_placeholder_in_its_host(value: str) -> None:
    """Else a client would choose the host by the name of its event."""
    with pytest.raises(BadRequest):
        resolved(SECRET_ONE, event="elsewhere.example", one=value)


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("https://h/{hub}/{Event}?code=key", "https://h/{hub}/{event}"),
        ("https://h/x#key", "https://h/x"),
        (f"https://h/{SECRET_ONE}/x?{SECRET_TWO}", "https://h/{…}/x"),
        (f"https://h/x?code={SECRET_ONE}", "https://h/x"),
        (SECRET_ONE, "{…}"),
        ("tunnel:///x?y", "tunnel:///x"),
    ],
)
def test_what_is_shown_has_neither_keys_nor_secrets(template: str, shown: str) -> None:
    assert parse_template(template).shown == shown


@pytest.mark.parametrize(
    ("template", "is_tunnel"),
    [("tunnel:///x", True), ("TUNNEL:///x", True), ("http://tunnel/", False), (SECRET_ONE, False)],
)
def test_tunnel_is_told_by_its_scheme(template: str, is_tunnel: bool) -> None:
    assert parse_template(template).is_tunnel is is_tunnel


def test_malformed_reference_is_refused() -> None:
    with pytest.raises(BadRequest):
        parse_template("https://h/?code={@Microsoft.KeyVault(SecretUri=nonsense)}")


_LEGAL = st.one_of(
    st.from_regex(r"[a-z][a-z0-9_`,.\[\]]{0,30}", fullmatch=True).filter(is_hub_name),
    st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,30}", fullmatch=True).filter(is_event_name),
)
_ANY = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
_TEMPLATE = "https://app.example:8443/api/{hub}/x{event}y/?code=k&e={event}&h={hub}&z=1"


@settings(deadline=None)
@given(hub=st.one_of(_LEGAL, _ANY), event=st.one_of(_LEGAL, _ANY))
def test_no_name_changes_the_host_or_adds_a_segment_or_a_parameter(hub: str, event: str) -> None:
    for url in (resolved(_TEMPLATE, hub, event), resolved(SECRET_ONE, hub, event, one=_TEMPLATE)):
        assert url.isascii()
        assert url.isprintable()
        parts = urlsplit(url)
        assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "app.example:8443", "")
        assert [unquote(segment) for segment in parts.path.split("/")] == ["", "api", hub, f"x{event}y", ""]
        assert parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True) == [
            ("code", "k"),
            ("e", event),
            ("h", hub),
            ("z", "1"),
        ]


@settings(deadline=None)
@given(hub=_LEGAL.filter(is_hub_name), event=_LEGAL.filter(is_event_name))
def test_no_legal_name_is_a_step_in_the_path(hub: str, event: str) -> None:
    """Such as `..`, which would be taken out by whoever normalises."""
    path = urlsplit(resolved("https://h/{hub}/{event}", hub, event)).path

    assert not {".", ".."} & set(path.split("/"))
