"""An event handler without any SDK, with Starlette."""

import hashlib
import hmac
import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

ACCESS_KEY = os.environ["ACCESS_KEY"]
"""An access key of the server, with which it signs its events."""


async def events(request: Request) -> Response:
    """Everything that the server sends."""
    if request.method == "OPTIONS":
        # May events be sent to this URL? Asked before the first one, and again from time to time.
        return Response(headers={"WebHook-Allowed-Origin": "*"})
    if not is_signed(request):
        return Response(status_code=401)
    event = request.headers["ce-type"]
    if event == "azure.webpubsub.sys.connect":
        return await connect(request)
    if event.startswith("azure.webpubsub.user."):
        return await user_event(request)
    # `connected` and `disconnected` are told, not asked.
    print(f"{user_of(request)} is {request.headers['ce-eventName']}", flush=True)
    return Response(status_code=204)


def is_signed(request: Request) -> bool:
    """Is it from a server with our key? There is a signature for each of its two keys."""
    connection_id = request.headers.get("ce-connectionId", "")
    wanted = "sha256=" + hmac.new(ACCESS_KEY.encode(), connection_id.encode(), hashlib.sha256).hexdigest()
    signatures = request.headers.get("ce-signature", "").split(",")
    return any(hmac.compare_digest(wanted.encode(), signature.strip().encode()) for signature in signatures)


def user_of(request: Request) -> str | None:
    """The user of a connection, which comes in UTF-8; None where it has none."""
    user_id = request.headers.get("ce-userId")
    return user_id and user_id.encode("latin-1").decode()


async def connect(request: Request) -> Response:
    """A client wants in. 401 or 403 refuses it; it is accepted by 204, or by JSON that says more."""
    body = await request.json()
    names = body["query"].get("name", [])
    user_id = user_of(request) or next(iter(names), None)
    if user_id is None:
        return Response(status_code=401)
    return JSONResponse({"userId": user_id, "groups": ["everybody"]}, headers={"ce-connectionState": "0"})


async def user_event(request: Request) -> Response:
    """A message of a client, who waits for the answer: here the same. The state is the number of messages so far."""
    count = int(request.headers["ce-connectionState"]) + 1
    print(f"message {count} of {user_of(request)}", flush=True)
    headers = {"ce-connectionState": str(count), "Content-Type": request.headers["Content-Type"]}
    return Response(await request.body(), headers=headers)


app = Starlette(routes=[Route("/events", events, methods=["OPTIONS", "POST"])])
