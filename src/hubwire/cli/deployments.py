"""Deployments by the running server: what one would change, and one with its progress, over the control socket."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import msgspec
from msgspec import Struct

from hubwire.cli.changes import Step, step_of, type_and_name
from hubwire.cli.control import Answer, answer_of, control_session
from hubwire.cli.faults import CommandFailed, Refusal
from hubwire.cli.management import DEPLOYMENTS_VERSION, Manager
from hubwire.cli.template_files import TemplateFile

__all__ = ["Request", "deploy", "failure", "not_begun", "what_if"]

_LONGEST_S: Final = 600.0
_POLL_S: Final = 0.1
"""Between two questions what is done so far; the end of the deployment is not waited for longer because of it."""


class Request(Struct, frozen=True):
    """
    What is to be deployed, and where.

    Attributes:
        name: of the deployment.
        parameters: each as `{"value": …}`.
        complete: delete what else is in the resource group.
    """

    name: str
    group: str
    template: TemplateFile
    parameters: dict[str, Any]
    complete: bool


def what_if(folder: Path, request: Request) -> dict[str, Any]:
    """
    The answer of the what-if operation.

    Raises:
        NoServer: see `control_session`.
        CommandFailed: the template, or a resource of it, is at fault.
    """
    path = _path(folder, request)
    return _checked(asyncio.run(_call(folder, request, "POST", f"{path}/whatIf")))


def deploy(folder: Path, request: Request, told: Callable[[Step], None]) -> dict[str, Any]:
    """
    Deploy, and show the deployment when it has ended, well or not.

    Args:
        told: of each resource as soon as it is done.

    Raises: as `what_if`, and nothing was done.
    """
    return _checked(asyncio.run(_deploy(folder, _path(folder, request), request, told)))


def failure(request: Request, error: Mapping[str, Any]) -> CommandFailed:
    """
    Why a deployment failed, or was not begun.

    Args:
        error: of the deployment; its details say for each resource what is wrong.
    """
    reasons = [_reason(detail) for detail in error.get("details") or ({"message": error.get("message")},)]
    message = f"the deployment {request.name} has failed"
    return CommandFailed(f"{message}: {reasons[0]}") if len(reasons) == 1 else CommandFailed(message, reasons)


def _reason(detail: Mapping[str, Any]) -> str:
    target = detail.get("target")
    if not target:
        return str(detail.get("message"))
    return f"{' '.join(filter(None, type_and_name(str(target))))}: {detail.get('message')}"


def _path(folder: Path, request: Request) -> str:
    group = Manager(folder).group(request.group)
    return f"{group}/providers/Microsoft.Resources/deployments/{quote(request.name, safe='')}"


def _body(request: Request) -> bytes:
    """
    As `az` sends it: the text of the file stands in it as it is, so that the server finds faults at their line, one
    below.
    """
    properties = {"mode": "Complete" if request.complete else "Incremental", "parameters": request.parameters}
    head = msgspec.json.encode(properties).removesuffix(b"}")
    return b'{"properties":%b,"template":\n%b\n}}' % (head, request.template.text.encode())


async def _call(folder: Path, request: Request, method: str, path: str) -> Answer:
    async with control_session(folder, _LONGEST_S) as session:
        return await _ordered(session, request, method, path)


async def _ordered(session: aiohttp.ClientSession, request: Request, method: str, path: str) -> Answer:
    try:
        return await answer_of(session, method, _versioned(path), _body(request))
    except Refusal as refusal:
        raise _fault(request, refusal) from refusal


async def _deploy(folder: Path, path: str, request: Request, told: Callable[[Step], None]) -> Answer:
    async with control_session(folder, _LONGEST_S) as session:
        # An earlier deployment of this name has operations of its own.
        known = {operation["operationId"] for operation in await _operations(session, path)}

        async def tell() -> None:
            for operation in await _operations(session, path):
                if operation["operationId"] not in known:
                    known.add(operation["operationId"])
                    told(step_of(operation))

        deploying = asyncio.ensure_future(_ordered(session, request, "PUT", path))
        try:
            while not (await asyncio.wait((deploying,), timeout=_POLL_S))[0]:
                await tell()
            await deploying
        finally:
            deploying.cancel()
            with suppress(asyncio.CancelledError, CommandFailed):
                await deploying
        await tell()
        return await answer_of(session, "GET", _versioned(path))


async def _operations(session: aiohttp.ClientSession, path: str) -> list[dict[str, Any]]:
    try:
        answer = await answer_of(session, "GET", _versioned(f"{path}/operations"))
    except Refusal as refusal:
        if refusal.status == 404:
            return []
        raise
    return list(answer.document["value"])


def _versioned(path: str) -> str:
    return f"{path}?api-version={DEPLOYMENTS_VERSION}"


def _checked(answer: Answer) -> dict[str, Any]:
    if not isinstance(answer.document, dict) or not isinstance(answer.document.get("properties"), dict):
        raise CommandFailed("the server's answer holds no deployment; is it a Hubwire server of another version?")
    return answer.document


def _fault(request: Request, refusal: Refusal) -> CommandFailed:
    """A refusal in terms of the file."""
    error = refusal.error
    for found in error.get("additionalInfo") or ():
        if found.get("type") == "TemplateViolation":
            place = found.get("info", {})
            line = place.get("lineNumber")
            return request.template.fault(
                refusal.message, place.get("path", ""), line - 1 if line else None, place.get("linePosition")
            )
    if error.get("code") == "InvalidTemplateDeployment" and error.get("details"):
        return not_begun(request, error["details"])
    return refusal


def not_begun(request: Request, details: list[Mapping[str, Any]]) -> CommandFailed:
    """A template of which resources cannot be so."""
    reasons = [_reason(detail) for detail in details]
    message = f"{request.template.file} cannot be deployed"
    return CommandFailed(f"{message}: {reasons[0]}") if len(reasons) == 1 else CommandFailed(message, reasons)
