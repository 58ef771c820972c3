"""
Requests as the official clients sign them, recorded at a socket: azure-communication-identity 1.5.0 for Python, with
requests and with aiohttp, and @azure/communication-identity 1.3.1 for JavaScript. What they all have is said once:
`HOST`, `DATE` and the names of the signed headers.
"""

import base64
from typing import Final, NamedTuple

__all__ = ["DATE", "HOST", "KEY", "NOW", "RECORDED", "SIGNED_HEADERS", "Recorded"]

KEY: Final = base64.b64encode(bytes(range(64))).decode()
"""That all of them are signed with."""

HOST: Final = "127.0.0.1:45195"
DATE: Final = "Sat, 28 Nov 2026 09:31:01 GMT"
NOW: Final = 1_795_858_261.0
"""The same, in seconds since 1970."""

SIGNED_HEADERS: Final = "x-ms-date;host;x-ms-content-sha256"

_ESCAPED: Final = "/identities/8%3Aacs%3A2dee53b4-1111-4222-8333-8493fb117652_00000005-14a2-493b-8a72-5a3a0d000081"
_LITERAL: Final = "/identities/8:acs:2dee53b4-1111-4222-8333-8493fb117652_00000005-14a2-493b-8a72-5a3a0d000081"
_VERSION: Final = "?api-version=2023-10-01"


class Recorded(NamedTuple):
    """
    Attributes:
        client: "slash" is one whose endpoint ends in a slash.
    """

    client: str
    method: str
    target: str
    body: str
    content_sha256: str
    signature: str


RECORDED: Final = (
    Recorded(
        "python",
        "POST",
        f"/identities{_VERSION}",
        "",
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "SUNXt6yENIDYIbC3I7sfAUediuPVtHDkh3OFtLs1uUQ=",
    ),
    Recorded(
        "python",
        "POST",
        f"/identities{_VERSION}",
        '{"createTokenWithScopes": ["chat", "voip"]}',
        "V8+u8Ex0JoTgTgmpir8t4JxsTqBhz791KhW/8639K2A=",
        "qGPFmBpoUjhGlUxRbCugn/GjChHB5vvz/NzHR0YE37Y=",
    ),
    Recorded(
        "python",
        "POST",
        f"{_ESCAPED}/:issueAccessToken{_VERSION}",
        '{"scopes": ["chat"]}',
        "sZHRO4JkAmw3HcI1PyxrC5twHvkHIWjyMLVIkauXKRA=",
        "13bb6M/dFao7Z2vJ7uO1Fxwme2Na5wuLed2u41Gp7Wg=",
    ),
    Recorded(
        "python",
        "POST",
        f"{_ESCAPED}/:revokeAccessTokens{_VERSION}",
        "",
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "GEMLPLg6wzTDfP5FJsinj3zZqByG1QthCsO6t0kOKxg=",
    ),
    Recorded(
        "python",
        "DELETE",
        f"{_ESCAPED}{_VERSION}",
        "",
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "/r/dl43QKXT8vMZwHozNuGgYZAZbWXodjZXymjc4IGw=",
    ),
    Recorded(
        "python-slash",
        "POST",
        f"/identities{_VERSION}",
        "",
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "TLAcb5kIJ8h2w6i22w5climiNxTVIltXrpZFLB0QFLM=",
    ),
    Recorded(
        "python-slash",
        "POST",
        f"/identities{_VERSION}",
        '{"createTokenWithScopes": ["chat", "voip"]}',
        "V8+u8Ex0JoTgTgmpir8t4JxsTqBhz791KhW/8639K2A=",
        "KmDTeOh9xsD/8MyAn/chIvnnYHRHp2bAm0x1Mz9vvSA=",
    ),
    Recorded(
        "python-slash",
        "POST",
        f"{_ESCAPED}/:issueAccessToken{_VERSION}",
        '{"scopes": ["chat"]}',
        "sZHRO4JkAmw3HcI1PyxrC5twHvkHIWjyMLVIkauXKRA=",
        "2ELb4oh9gu5TE6IHGltia2z3JW9Lcb2UZDf/yN37QIM=",
    ),
    Recorded(
        "python-slash",
        "POST",
        f"{_ESCAPED}/:revokeAccessTokens{_VERSION}",
        "",
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "UASoag9QWPKCp0GMu16ECOufw0XJIBeYqc/HfVlDp78=",
    ),
    Recorded(
        "python-slash",
        "DELETE",
        f"{_ESCAPED}{_VERSION}",
        "",
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "s63WPZocQ7Ewi3+Ii3/hHTyEv943OTh5fWR+Js+x1CA=",
    ),
    Recorded(
        "python-async",
        "POST",
        f"/identities{_VERSION}",
        "",
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "SUNXt6yENIDYIbC3I7sfAUediuPVtHDkh3OFtLs1uUQ=",
    ),
    Recorded(
        "python-async",
        "POST",
        f"/identities{_VERSION}",
        '{"createTokenWithScopes": ["chat", "voip"]}',
        "V8+u8Ex0JoTgTgmpir8t4JxsTqBhz791KhW/8639K2A=",
        "qGPFmBpoUjhGlUxRbCugn/GjChHB5vvz/NzHR0YE37Y=",
    ),
    Recorded(
        "python-async",
        "POST",
        f"{_LITERAL}/:issueAccessToken{_VERSION}",
        '{"scopes": ["chat"]}',
        "sZHRO4JkAmw3HcI1PyxrC5twHvkHIWjyMLVIkauXKRA=",
        "Mj+j0N+agmC5V65+xho8XYGVpY3FKG9J+wFiXhORaEU=",
    ),
    Recorded(
        "python-async",
        "POST",
        f"{_LITERAL}/:revokeAccessTokens{_VERSION}",
        "",
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "gpApTJZ8AMrqinnbJIiPCmMyppk83VCfkImmi97Ao28=",
    ),
    Recorded(
        "python-async",
        "DELETE",
        f"{_LITERAL}{_VERSION}",
        "",
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "0xRtIjb0eeEw+/q+N+8zLUB02Vy/Yb3tvXGHulSyyGQ=",
    ),
    Recorded(
        "python-async-slash",
        "POST",
        f"{_LITERAL}/:issueAccessToken{_VERSION}",
        '{"scopes": ["chat"]}',
        "sZHRO4JkAmw3HcI1PyxrC5twHvkHIWjyMLVIkauXKRA=",
        "KTDWXBbjWySSTwqAnRI5CfelpPtIMbVXX0lqgv8DKY4=",
    ),
    Recorded(
        "javascript",
        "POST",
        f"/identities{_VERSION}",
        "",
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "SUNXt6yENIDYIbC3I7sfAUediuPVtHDkh3OFtLs1uUQ=",
    ),
    Recorded(
        "javascript",
        "POST",
        f"/identities{_VERSION}",
        '{"createTokenWithScopes":["chat","voip"]}',
        "fYTayOkxDFdoXd25BoJTvoTLLr5+QVfLFXvdJep6oNs=",
        "b87y47Xke2UW87E1aXqXrcMsFWlHhz3y4+QuntVPpEY=",
    ),
    Recorded(
        "javascript",
        "POST",
        f"{_ESCAPED}/:issueAccessToken{_VERSION}",
        '{"scopes":["chat"],"expiresInMinutes":60}',
        "E55T2AR1et0dXg9viVUjwxjce4gxp+nmLcQffc3NPsA=",
        "SnAt+MDAnXNrcqZukctAF9Hsh9nbr9CUXo3P+UJihMI=",
    ),
    Recorded(
        "javascript",
        "POST",
        f"{_ESCAPED}/:revokeAccessTokens{_VERSION}",
        "",
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "GEMLPLg6wzTDfP5FJsinj3zZqByG1QthCsO6t0kOKxg=",
    ),
    Recorded(
        "javascript",
        "DELETE",
        f"{_ESCAPED}{_VERSION}",
        "",
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "/r/dl43QKXT8vMZwHozNuGgYZAZbWXodjZXymjc4IGw=",
    ),
)
