"""Cookies of a connection's event handlers: which come back, where, and how many are kept."""

from collections.abc import Sequence

import pytest

from hubwire.adapters.cookies import HandlerCookies

URL = "https://app.example.com/api/hubs/chat/connect?code=1"
HOST = "https://app.example.com"
NOW = 1_800_000_000.0  # Friday, 15 January 2027, 08:00:00


class Clock:
    """Seconds since 1970 that pass when they are told to."""

    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cookies(clock: Clock) -> HandlerCookies:
    return HandlerCookies(clock)


def kept(cookies: HandlerCookies, *lines: str, url: str = URL) -> HandlerCookies:
    cookies.keep(url, lines)
    return cookies


def test_nothing_is_sent_before_a_handler_set_something(cookies: HandlerCookies) -> None:
    assert cookies.header(URL) is None

    assert kept(cookies).header(URL) is None


def test_cookie_comes_back_as_it_was_set(cookies: HandlerCookies) -> None:
    kept(cookies, "ARRAffinity=a81c; Path=/; HttpOnly; Secure; SameSite=None", 'q="x, y"; Path=/', "e=; Path=/")
    kept(cookies, "\tb = =a=b= ;Path=/")

    assert cookies.header(URL) == 'ARRAffinity=a81c; q="x, y"; e=; b==a=b='


def test_later_line_takes_the_place_of_an_earlier_one(cookies: HandlerCookies) -> None:
    kept(cookies, "a=1; Path=/", "b=2; Path=/", "a=3; Path=/")
    assert cookies.header(URL) == "a=3; b=2"

    kept(cookies, "a=4; Path=/")
    assert cookies.header(URL) == "a=4; b=2"


def test_copy_goes_on_apart(cookies: HandlerCookies, clock: Clock) -> None:
    kept(cookies, "a=1; Path=/", "b=2; Path=/; Max-Age=10")
    copy = cookies.copy()
    assert copy.header(URL) == "a=1; b=2"

    kept(cookies, "a=3; Path=/")
    kept(copy, "c=4; Path=/")
    assert (cookies.header(URL), copy.header(URL)) == ("a=3; b=2", "a=1; b=2; c=4")

    clock.now += 10
    assert (cookies.header(URL), copy.header(URL)) == ("a=3", "a=1; c=4")


def test_longer_paths_go_first_and_then_older_cookies(cookies: HandlerCookies) -> None:
    kept(cookies, "a=1; Path=/", "b=2; Path=/api/hubs", "c=3; Path=/", "d=4; Path=/api", "e=5; Path=/api/hubs")

    assert cookies.header(URL) == "b=2; e=5; d=4; a=1; c=3"


def test_cookies_of_one_name_are_told_apart_by_domain_and_path(cookies: HandlerCookies) -> None:
    kept(cookies, "a=flat; Path=/", "a=deep; Path=/api/hubs", "a=wide; Path=/; Domain=example.com", "a=no; Path=/x")

    assert cookies.header(URL) == "a=deep; a=flat; a=wide"
    assert cookies.header(f"{HOST}/") == "a=flat; a=wide"
    assert cookies.header("https://b.example.com/") == "a=wide"


# Where to.


@pytest.mark.parametrize(
    ("line", "there", "elsewhere"),
    [
        ("a=1", ["/api/hubs/chat", "/api/hubs/chat/x?y"], ["/api/hubs", "/api/hubs/chatx", ""]),
        ("a=1; Path=/", ["/", "", "?x", "/x", "//x"], []),
        ("a=1; Path=/api", ["/api", "/api/", "/api/x", "/api?/x"], ["/", "/apix", "/API", "/%61pi"]),
        ("a=1; Path=/api/", ["/api/", "/api/x"], ["/api", "/"]),
        ("a=1; Path=x", ["/api/hubs/chat/x"], ["/x"]),
        ("a=1; Path=/; Path=/api", ["/api"], ["/"]),
    ],
)
def test_path_says_where_on_the_host(
    cookies: HandlerCookies, line: str, there: Sequence[str], elsewhere: Sequence[str]
) -> None:
    """By itself it is that of the request, without its last part."""
    kept(cookies, line)

    assert {path: cookies.header(f"{HOST}{path}") for path in there} == dict.fromkeys(there, "a=1")
    assert {path: cookies.header(f"{HOST}{path}") for path in elsewhere} == dict.fromkeys(elsewhere)


@pytest.mark.parametrize(
    ("domain", "there", "elsewhere"),
    [
        ("", ["app.example.com", "APP.Example.Com:81"], ["example.com", "x.app.example.com", "b.example.com"]),
        ("; Domain=", ["app.example.com"], ["x.app.example.com"]),
        ("; Domain=.", ["app.example.com"], ["x.app.example.com"]),
        ("; Domain", ["app.example.com"], ["x.app.example.com"]),
        ("; Domain=app.example.com", ["app.example.com", "x.app.example.com"], ["example.com", "b.example.com"]),
        ("; Domain=example.com", ["example.com", "app.example.com", "a.b.example.com:8000"], ["badexample.com", "com"]),
        ("; domain = .EXAMPLE.com ", ["example.com", "app.example.com"], ["other.com"]),
        ("; Domain=x.com; Domain=example.com", ["app.example.com"], ["x.com"]),
        ("; Domain=com", [], ["app.example.com", "other.com", "com"]),
        ("; Domain=other.com", [], ["app.example.com", "other.com"]),
        ("; Domain=x.app.example.com", [], ["app.example.com", "x.app.example.com"]),
        ("; Domain=ple.com", [], ["app.example.com", "ple.com"]),
        ("; Domain=app.example.com.", [], ["app.example.com", "app.example.com."]),
    ],
)
def test_domain_says_to_which_hosts(
    cookies: HandlerCookies, domain: str, there: Sequence[str], elsewhere: Sequence[str]
) -> None:
    kept(cookies, f"a=1; Path=/{domain}")

    assert {host: cookies.header(f"https://{host}/") for host in there} == dict.fromkeys(there, "a=1")
    assert {host: cookies.header(f"https://{host}/") for host in elsewhere} == dict.fromkeys(elsewhere)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
@pytest.mark.parametrize("domain", ["", "; Domain={}", "; Domain=.{}"])
def test_handler_may_be_named_by_an_address_or_a_single_label(cookies: HandlerCookies, host: str, domain: str) -> None:
    """Ports and schemes do not matter; nothing is below it."""
    kept(cookies, f"a=1; Path=/{domain.format(host.strip('[]'))}", url=f"http://{host}:8000/x")

    assert cookies.header(f"https://{host}:8001/y") == "a=1"
    assert cookies.header(f"http://x.{host}:8000/y" if host == "localhost" else "http://127.0.0.2:8000/y") is None


@pytest.mark.parametrize("domain", ["0.0.1", "0.1", "1"])
def test_end_of_an_address_is_no_domain(cookies: HandlerCookies, domain: str) -> None:
    kept(cookies, f"a=1; Path=/; Domain={domain}", url="http://127.0.0.1/")

    assert cookies.header("http://127.0.0.1/") is None


def test_secure_cookie_goes_over_https_only(cookies: HandlerCookies) -> None:
    kept(cookies, "a=1; Path=/; Secure", "b=2; Path=/; secure=no", "c=3; Path=/")

    assert cookies.header("https://app.example.com/") == "a=1; b=2; c=3"
    assert cookies.header("http://app.example.com/") == "c=3"


# For how long.


@pytest.mark.parametrize(
    "end",
    [
        "Max-Age=0",
        "Max-Age=-1",
        "Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "Expires=Thu, 01-Jan-70 00:00:00 GMT",
        "Expires=Thu, 01-Jan-1970 00:00:00 GMT; Path=/",
        "Expires=Mon, 01 Jan 0001 00:00:00 GMT",
        "Max-Age=0; Expires=Thu, 01 Jan 2099 00:00:00 GMT",
    ],
)
def test_cookie_ends_where_a_line_says_so(cookies: HandlerCookies, end: str) -> None:
    assert kept(cookies, "a=1; Path=/", "b=2; Path=/").header(URL) == "a=1; b=2"

    assert kept(cookies, f"a=; Path=/; {end}").header(URL) == "b=2"
    assert kept(cookies, f"b=; Path=/; {end}").header(URL) is None


@pytest.mark.parametrize(
    ("attributes", "lives_s"),
    [
        ("", None),
        ("Max-Age=60", 60),
        ("max-age = 60 ", 60),
        ("Max-Age=10; Max-Age=60", 60),
        ("Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", 60),
        ("Max-Age=x; Expires=Fri, 15 Jan 2027 08:01:00 GMT", 60),
        ("Max-Age=999999999999999999", None),
        ("Max-Age=9" + "9" * 5000, None),
        ("Expires=Fri, 15 Jan 2027 08:01:00 GMT", 60),
        ("Expires=Friday, 15-January-27 8:1:0 GMT", 60),
        ("Expires=Fri Jan 15 08:01:00 2027", 60),
        ("Expires=Thu, 01 Jan 2099 00:00:00 GMT", None),
        ("Expires=Fri, 32 Jan 2027 08:01:00 GMT", None),
        ("Expires=Fri, 15 Foo 2027 08:01:00 GMT", None),
        ("Expires=Fri, 15 Jan 2027 25:01:00 GMT", None),
        ("Expires=Fri, 15 Jan 2027", None),
        ("Expires=08:01:00", None),
        ("Expires=soon", None),
        ("Expires", None),
    ],
)
def test_cookie_lives_for_the_time_that_it_names(
    cookies: HandlerCookies, clock: Clock, attributes: str, lives_s: int | None
) -> None:
    kept(cookies, f"a=1; Path=/; {attributes}")
    clock.now = NOW + 59
    assert cookies.header(URL) == "a=1"

    clock.now = NOW + 60
    assert cookies.header(URL) == (None if lives_s == 60 else "a=1")


def test_new_value_takes_the_end_of_the_old_one_away(cookies: HandlerCookies, clock: Clock) -> None:
    kept(cookies, "a=1; Path=/; Max-Age=60", "a=2; Path=/")

    clock.now = NOW + 61
    assert cookies.header(URL) == "a=2"


# Bad lines.


@pytest.mark.parametrize(
    "line",
    [
        "",
        " ",
        ";",
        "=",
        "=1",
        "a",
        "a; Path=/",
        "a\x00=1",
        "a=\x01",
        "a=\x7f",
        "a=1; Path=/\r\nEvil: 1",
        "a=\xff\xfe",
        "a=\u2028",
        "x" * 5000 + "=1",
        "a=" + "x" * 5000,
    ],
)
def test_line_that_is_no_cookie_is_left_out(cookies: HandlerCookies, line: str) -> None:
    kept(cookies, "before=1; Path=/", line, "after=2; Path=/")

    assert cookies.header(URL) == "before=1; after=2"


@pytest.mark.parametrize("attributes", ["", "Path", "Path=", ";;;", "=", "=x", "X=1", "; ".join(["x=y"] * 10_000)])
def test_attribute_that_is_none_does_nothing(cookies: HandlerCookies, attributes: str) -> None:
    kept(cookies, f"a=1; {attributes}")

    assert cookies.header(URL) == "a=1"


@pytest.mark.parametrize("url", ["", "http://[", "http://[x]/", "/x", "http://"])
def test_what_is_no_url_has_no_cookies(cookies: HandlerCookies, url: str) -> None:
    kept(cookies, "a=1; Path=/")

    assert cookies.header(url) is None
    assert kept(cookies, "b=1; Path=/", "c=1; Path=/; Domain=example.com", url=url).header(URL) == "a=1"
    assert cookies.header(url) is None


def test_bytes_beyond_ascii_come_back_as_the_same_bytes(cookies: HandlerCookies) -> None:
    """A response's header is read as Latin-1, a request's is written as UTF-8."""
    kept(cookies, "a=Zo\xc3\xab \xf0\x9f\x98\x80; Path=/")

    assert cookies.header(URL) == "a=Zoë 😀"


# Bounds.


def test_no_more_than_fifty_are_kept(cookies: HandlerCookies) -> None:
    for number in range(100):
        kept(cookies, f"c{number}={number}; Path=/")

    assert cookies.header(URL) == "; ".join(f"c{number}={number}" for number in range(50))


def test_response_with_very_many_sets_fifty(cookies: HandlerCookies) -> None:
    kept(cookies, *(f"c{number}={number}; Path=/" for number in range(10_000)))

    assert cookies.header(URL) == "; ".join(f"c{number}={number}" for number in range(50))


def test_no_more_than_sixteen_kibibytes_are_kept(cookies: HandlerCookies) -> None:
    for number in range(10):
        kept(cookies, f"c{number}={'x' * 2000}; Path=/{number}")
    kept(cookies, f"c3={'y' * 4000}; Path=/3")

    assert [number for number in range(10) if cookies.header(f"{HOST}/{number}")] == [0, 1, 2, 4, 5, 6, 7]


def test_full_jar_takes_new_values_and_what_takes_the_place_of_others(cookies: HandlerCookies, clock: Clock) -> None:
    kept(cookies, *(f"c{number}={number}; Path=/{number}; Max-Age=60" for number in range(50)))

    def header(number: int) -> str | None:
        return cookies.header(f"{HOST}/{number}")

    kept(cookies, "c7=new; Path=/7", "c8=; Path=/8; Max-Age=0", "c99=99; Path=/99", "c100=100; Path=/100")
    assert [header(number) for number in (7, 8, 9, 99, 100)] == ["c7=new", None, "c9=9", "c99=99", None]

    clock.now = NOW + 60
    kept(cookies, "c100=100; Path=/100")
    assert [header(number) for number in (7, 9, 99, 100)] == ["c7=new", None, "c99=99", "c100=100"]


def test_connections_do_not_share_cookies(cookies: HandlerCookies) -> None:
    kept(cookies, "a=1; Path=/")

    assert HandlerCookies().header(URL) is None
