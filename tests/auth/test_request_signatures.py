"""Requests that were signed with an access key: as the official clients sign them, and changed on their way."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubwire.auth.request_signatures import SignedRequest, matching_key
from hubwire.model.communication import CommunicationKeys
from hubwire.model.errors import Unauthorized
from vectors.signed_requests import DATE, HOST, KEY, NOW, RECORDED, SIGNED_HEADERS, Recorded

OTHER = base64.b64encode(bytes(range(64, 128))).decode()
KEYS = CommunicationKeys(KEY, OTHER)
SKEW_S = 900
IDS = [f"{one.client}-{one.method}-{number}" for number, one in enumerate(RECORDED)]


class Parts(NamedTuple):
    """A request, with each part in one piece that a test can change."""

    method: str = "POST"
    target: bytes = b"/identities?api-version=2023-10-01"
    body: bytes = b""
    date: str = DATE
    host: str = HOST
    signature: str = ""
    signed_headers: str = SIGNED_HEADERS
    content: str | None = None
    forwarded: str = ""
    authorization: str | None = None
    more: Mapping[str, list[str]] = {}

    def request(self) -> SignedRequest:
        digest = hashlib.sha256(self.body).digest()
        said = f"HMAC-SHA256 SignedHeaders={self.signed_headers}&Signature={self.signature}"
        headers = {
            "authorization": [said if self.authorization is None else self.authorization],
            "host": [self.host],
            "x-ms-date": [self.date],
            "x-ms-content-sha256": [base64.b64encode(digest).decode() if self.content is None else self.content],
        }
        return SignedRequest(self.method, self.target, {**headers, **self.more}, digest, self.forwarded)

    def signed(self, *, target: str | None = None, host: str | None = None, key: str = KEY) -> "Parts":
        """Signed as somebody does who writes target and host in this way."""
        written = self.target.decode() if target is None else target
        digest = base64.b64encode(hashlib.sha256(self.body).digest()).decode()
        text = f"{self.method}\n{written}\n{self.date};{self.host if host is None else host};{digest}"
        return self._replace(signature=sign(text, key))

    def key(self, now: float = NOW, skew_s: float = SKEW_S) -> str:
        return matching_key(self.request(), KEYS, now, skew_s)


def sign(text: str, key: str = KEY) -> str:
    return base64.b64encode(hmac.digest(base64.b64decode(key), text.encode(), "sha256")).decode()


def recorded(one: Recorded) -> Parts:
    parts = Parts(one.method, one.target.encode(), one.body.encode(), signature=one.signature)
    return parts._replace(content=one.content_sha256)


def piece(parts: Parts, name: str) -> bytes:
    value = parts._asdict()[name]
    return value if isinstance(value, bytes) else str(value).encode("latin-1")


def changed(parts: Parts, name: str, data: bytes) -> Parts:
    """The same with another value of one part."""
    value = data if isinstance(parts._asdict()[name], bytes) else data.decode("latin-1")
    return Parts(**{**parts._asdict(), name: value})


def refused(parts: Parts, now: float = NOW) -> str:
    """Why it is."""
    with pytest.raises(Unauthorized) as error:
        parts.key(now)
    return error.value.message


# What the official clients send


@pytest.mark.parametrize("one", RECORDED, ids=IDS)
def test_request_of_an_official_client_is_proved(one: Recorded) -> None:
    assert recorded(one).key() == "primary"
    assert matching_key(recorded(one).request(), CommunicationKeys(OTHER, KEY), NOW, SKEW_S) == "secondary"


@pytest.mark.parametrize("one", RECORDED, ids=IDS)
def test_request_of_an_official_client_proves_nothing_to_other_keys(one: Recorded) -> None:
    with pytest.raises(Unauthorized):
        matching_key(recorded(one).request(), CommunicationKeys(OTHER, OTHER), NOW, SKEW_S)


@given(
    one=st.sampled_from(RECORDED),
    part=st.sampled_from(["method", "target", "body", "date", "host", "signature", "content"]),
    data=st.data(),
)
def test_request_with_one_changed_byte_is_refused(one: Recorded, part: str, data: st.DataObject) -> None:
    """Whichever byte of whatever part that the signature is of, and whatever it is changed to."""
    old = piece(recorded(one), part)
    if not old:
        return
    place = data.draw(st.integers(0, len(old) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda other: other != old[place]))

    refused(changed(recorded(one), part, old[:place] + bytes([byte]) + old[place + 1 :]))


@given(one=st.sampled_from(RECORDED), part=st.sampled_from(["target", "body"]), data=st.data())
def test_request_with_a_byte_more_or_less_is_refused(one: Recorded, part: str, data: st.DataObject) -> None:
    old = piece(recorded(one), part)
    place = data.draw(st.integers(0, len(old)))
    more = old[:place] + data.draw(st.binary(min_size=1, max_size=1)) + old[place:]

    refused(changed(recorded(one), part, more))
    if place < len(old):
        refused(changed(recorded(one), part, old[:place] + old[place + 1 :]))


@pytest.mark.parametrize("one", RECORDED, ids=IDS)
def test_signature_has_one_spelling(one: Recorded) -> None:
    """Two bits of its last digit stand for nothing, and still have to be as they were."""
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = one.signature[-2]
    sibling = digits[digits.index(last) ^ 1]
    assert base64.b64decode(one.signature) == base64.b64decode(f"{one.signature[:-2]}{sibling}=")

    refused(recorded(one)._replace(signature=f"{one.signature[:-2]}{sibling}="))


# Spellings


@pytest.mark.parametrize(
    ("target", "written"),
    [
        (b"/identities?", "/identities"),
        (b"/identities?", "/identities?"),
        (b"/identities?x=a%20b", "/identities?x=a+b"),
        (b"/identities?x=a~b*c", "/identities?x=a%7Eb*c"),
        (b"/identities?x&y=", "/identities?x=&y="),
        (b"/identities?x=%c3%a4:", "/identities?x=%C3%A4%3A"),
        (b"/identities/8%3Aacs%3Ax?api-version=1", "/identities/8:acs:x?api-version=1"),
        (b"//access//entra", "//access//entra"),
        (b"http://127.0.0.1:45195/identities?x=1", "/identities?x=1"),
        (b"HTTPS://127.0.0.1:45195?x=1", "/?x=1"),
        (b"http://127.0.0.1:45195", "/"),
    ],
)
def test_target_may_be_signed_as_clients_write_it(target: bytes, written: str) -> None:
    """As it is sent, with the query written as forms are, or decoded; without what a proxy needs to find the host."""
    assert Parts(target=target).signed(target=written).key() == "primary"


@pytest.mark.parametrize(
    ("target", "written"),
    [
        (b"/identities", "/identities?"),
        (b"/identities?x=1", "/identities"),
        (b"/identities?x=1&y=2", "/identities?y=2&x=1"),
        (b"/a%0Ab", "/a\nb"),
        (b"/A", "/a"),
        (b"/a/../b", "/b"),
        (b"http://127.0.0.1:45195/a", "http://127.0.0.1:45195/b"),
        (b"http://127.0.0.1:45196/a", "/a"),
        (b"ftp://127.0.0.1:45195/a", "/a"),
    ],
)
def test_target_that_is_another_one_is_refused(target: bytes, written: str) -> None:
    refused(Parts(target=target).signed(target=written))


@pytest.mark.parametrize(
    ("host", "forwarded", "written"),
    [
        ("hub.example:8443", "", "hub.example:8443/"),
        ("hub.example", "", "hub.example/"),
        ("hub.example", "", "hub.example:443"),
        ("hub.example", "", "hub.example:443/"),
        ("hub.example:443", "", "hub.example"),
        ("[::1]", "", "[::1]:80"),
        ("10.0.0.1:8080", "hub.example", "hub.example"),
        ("10.0.0.1:8080", "hub.example", "hub.example:443/"),
        ("10.0.0.1:8080", "hub.example", "10.0.0.1:8080"),
    ],
)
def test_host_may_be_signed_as_clients_write_it(host: str, forwarded: str, written: str) -> None:
    assert Parts(host=host, forwarded=forwarded).signed(host=written).key() == "primary"


@pytest.mark.parametrize(
    ("host", "written"),
    [
        ("hub.example:8443", "hub.example"),
        ("hub.example", "hub.example:8443"),
        ("hub.example:8443", "hub.example:8443:443"),
        ("hub.example", "other.example"),
        ("hub.example", "hub.example//"),
        ("hub.example", ""),
    ],
)
def test_host_that_is_another_one_is_refused(host: str, written: str) -> None:
    """A forwarded host counts only where the request's own reader trusts whoever says so."""
    refused(Parts(host=host, more={"x-forwarded-host": ["other.example"]}).signed(host=written))


def test_other_headers_may_be_signed_in_any_order() -> None:
    digest = base64.b64encode(hashlib.sha256(b"").digest()).decode()
    names = "Content-Type;x-ms-content-sha256;HOST;Date"
    text = f"POST\n/identities?api-version=2023-10-01\napplication/json;{digest};{HOST};{DATE}"
    more = {"content-type": ["application/json"], "date": [DATE]}
    parts = Parts(signature=sign(text), signed_headers=names, more=more)

    assert parts.key() == "primary"
    refused(parts._replace(more={**more, "content-type": ["text/plain"]}))
    refused(parts._replace(more={"date": [DATE]}))


@pytest.mark.parametrize(
    "authorization",
    [
        "hmac-sha256 SignedHeaders={names}&Signature={signature}",
        "HMAC-SHA256  Credential=somebody&SignedHeaders={names}&Signature={signature}",
        "HMAC-SHA256 SignedHeaders={names}, Signature={signature}",
        "HMAC-SHA256 Credential=x,Signature={signature},SignedHeaders={names}",
    ],
)
def test_header_is_read_in_each_of_its_forms(authorization: str) -> None:
    parts = Parts().signed()

    said = authorization.format(names=SIGNED_HEADERS, signature=parts.signature)

    assert parts._replace(authorization=said).key() == "primary"


# What is malformed


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "HMAC-SHA256",
        "HMAC-SHA256 ",
        "HMAC-SHA512 SignedHeaders={names}&Signature={signature}",
        "Bearer {signature}",
        "HMAC-SHA256 Signature={signature}",
        "HMAC-SHA256 SignedHeaders={names}",
        "HMAC-SHA256 SignedHeaders={names}&Signature=",
        "HMAC-SHA256 SignedHeaders={names}&Signature=!{signature}",
        "HMAC-SHA256 SignedHeaders={names}&Signature=ä",
        "HMAC-SHA256 SignedHeaders={names}&Signature={signature}&Signature={signature}",
        "HMAC-SHA256 SignedHeaders={names};&Signature={signature}",
        "HMAC-SHA256 SignedHeaders={names};host&Signature={signature}",
        "HMAC-SHA256 SignedHeaders=host;x-ms-content-sha256&Signature={signature}",
        "HMAC-SHA256 SignedHeaders=x-ms-date;x-ms-content-sha256&Signature={signature}",
        "HMAC-SHA256 SignedHeaders=x-ms-date;host&Signature={signature}",
        "HMAC-SHA256 SignedHeaders={names};x-missing&Signature={signature}",
    ],
)
def test_header_that_says_less_or_something_else_is_refused(authorization: str) -> None:
    parts = Parts().signed()

    refused(parts._replace(authorization=authorization.format(names=SIGNED_HEADERS, signature=parts.signature)))


@pytest.mark.parametrize("name", ["authorization", "host", "x-ms-date", "x-ms-content-sha256"])
def test_header_that_is_missing_or_there_twice_is_refused_and_named(name: str) -> None:
    parts = Parts().signed()
    value = parts.request().headers[name][0]

    assert name in refused(parts._replace(more={name: []}))
    assert name in refused(parts._replace(more={name: [value, value]}))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        base64.b64encode(hashlib.sha256(b"x").digest()).decode(),
    ],
)
def test_hash_of_another_body_or_in_another_form_is_refused(content: str) -> None:
    """Even where the signature is over this very hash."""
    text = f"POST\n/identities?api-version=2023-10-01\n{DATE};{HOST};{content}"

    assert "hash" in refused(Parts(content=content, signature=sign(text)))


@pytest.mark.parametrize("off_s", [0, 899, 900, -900])
def test_date_in_the_window_is_taken(off_s: float) -> None:
    assert Parts().signed().key(NOW + off_s) == "primary"


@pytest.mark.parametrize("off_s", [901, -901, 86_400, -86_400 * 365])
def test_stale_and_future_dates_are_refused_unless_any_date_will_do(off_s: float) -> None:
    parts = Parts().signed()

    assert "clock" in refused(parts, NOW + off_s)
    assert parts.key(NOW + off_s, skew_s=0) == "primary"


@pytest.mark.parametrize(
    "date",
    [
        "",
        "now",
        "1795858261",
        "2026-11-28T09:31:01Z",
        "Sat, 28 Nov 2026 09:31:01",
        "Sat, 28 Nov 2026 09:31:01 +0000",
        "Sat, 28 Xyz 2026 09:31:01 GMT",
        "Sat, 28 Nov 0000 09:31:01 GMT",
        "Sat, 00 Nov 9999 99:99:99 GMT",
        "Sat, 28 Nov 2026 09:31:01 GMT ",
        "Saturday, 28-Nov-26 09:31:01 GMT",
    ],
)
def test_date_that_is_none_is_refused(date: str) -> None:
    assert "date" in refused(Parts(date=date).signed())


def test_reason_never_repeats_what_was_sent() -> None:
    parts = Parts().signed()

    for other in (
        parts._replace(authorization="HMAC-SHA256 SignedHeaders=s3cret;host&Signature=x"),
        parts._replace(date="s3cret"),
        parts._replace(signature="s3cret=="),
        parts._replace(content="s3cret"),
        parts._replace(target=b"/s3cret"),
    ):
        assert "s3cret" not in refused(other)
