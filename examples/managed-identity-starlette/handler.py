"""
An event handler that takes events from one managed identity and from nobody else, with Starlette and PyJWT.

It knows the URL of a discovery document and its own audience. Everything else it reads from there.
"""

import json
import os
from functools import cache
from typing import Any
from urllib.request import urlopen

import jwt
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

DISCOVERY_URL = os.environ["DISCOVERY_URL"]
AUDIENCE = os.environ["AUDIENCE"]
OBJECT_ID = os.environ.get("OBJECT_ID")
"""The identity that may send events; without it, every one that gets a token for our audience."""


@cache
def issuer() -> tuple[str, jwt.PyJWKClient]:
    """Whose tokens we take, and its keys. These are read again once a token names another one."""
    with urlopen(DISCOVERY_URL, timeout=10) as response:  # noqa: S310  the operator named it
        document = json.load(response)
    return document["issuer"], jwt.PyJWKClient(document["jwks_uri"], timeout=10)


def claims_of(token: str) -> dict[str, Any]:
    """
    Raises:
        PyJWTError: not by our issuer, not for us, or not any more.
    """
    name, keys = issuer()
    key = keys.get_signing_key_from_jwt(token)
    return jwt.decode(
        token,
        key,
        algorithms=["RS256"],
        audience=AUDIENCE,
        issuer=name,
        options={"require": ["aud", "exp", "iss", "oid"]},
    )


async def events(request: Request) -> Response:
    """Everything that the server sends."""
    if request.method == "OPTIONS":
        # May events be sent to this URL? This question never brings a token.
        return Response(headers={"WebHook-Allowed-Origin": "*"})
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return refused("no bearer token")
    try:
        claims = await run_in_threadpool(claims_of, token)
    except (OSError, jwt.PyJWKClientConnectionError) as error:
        print(f"the issuer cannot be asked: {error}", flush=True)
        return Response(status_code=503)  # the event comes again in a moment
    except jwt.PyJWTError as error:
        return refused(str(error))
    if OBJECT_ID not in (None, claims["oid"]):
        return refused(f"{claims['oid']} is another identity")
    print(f"{request.headers['ce-type']} from {claims['oid']}", flush=True)
    return Response(status_code=204)


def refused(reason: str) -> Response:
    """The reason is for our log. Who sends tokens that are none learns nothing."""
    print(f"refused: {reason}", flush=True)
    return Response(status_code=401, headers={"WWW-Authenticate": "Bearer"})


app = Starlette(routes=[Route("/events", events, methods=["OPTIONS", "POST"])])
