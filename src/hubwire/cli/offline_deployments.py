"""The same as `deployments` with no server running: on the store of a data folder, under its lock."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from hubwire.app import offline_deployments
from hubwire.cli.changes import STEP_WORDS, Step
from hubwire.cli.deployments import Request, not_begun
from hubwire.cli.faults import BadCommandLine, CommandFailed
from hubwire.cli.offline import check_store, in_words
from hubwire.resources.catalog import Catalog
from hubwire.resources.deployments import Deployments, Invalid, Operation, Order, StoredDeployment
from hubwire.resources.export import export
from hubwire.resources.template_faults import TemplateFault
from hubwire.settings import BadSetting, load

__all__ = ["deploy", "exported", "what_if"]

T = TypeVar("T")

_POLL_S: Final = 0.1


def what_if(folder: Path, request: Request) -> dict[str, Any]:
    """
    What a deployment would change, in the form of the what-if operation.

    Raises:
        NoServer: nor is there a store.
        CommandFailed: the template, or a resource of it, is at fault; or the folder cannot be used.
    """

    async def look(catalog: Catalog, deployments: Deployments) -> dict[str, Any]:
        changes = await deployments.what_if(_order(catalog, request), _may)
        return {"status": "Succeeded", "properties": {"changes": changes}}

    with _faults(request):
        return _offline(folder, look)


def deploy(folder: Path, request: Request, told: Callable[[Step], None]) -> dict[str, Any]:
    """
    Deploy, and show the deployment when it has ended, well or not.

    Args:
        told: of each resource as soon as it is done.

    Raises: as `what_if`, and nothing was done.
    """

    async def act(catalog: Catalog, deployments: Deployments) -> StoredDeployment:
        order = _order(catalog, request)
        before = deployments.find(order.subscription, order.group, order.name)
        shown = 0

        def tell() -> None:
            nonlocal shown
            found = deployments.find(order.subscription, order.group, order.name)
            if found is None or (before is not None and found.correlation_id == before.correlation_id):
                return
            for done in found.operations[shown:]:
                told(_step(done))
            shown = len(found.operations)

        deploying = asyncio.ensure_future(deployments.deploy(order, _may))
        while not (await asyncio.wait((deploying,), timeout=_POLL_S))[0]:
            tell()
        ended = await deploying
        tell()
        return ended

    with _faults(request):
        return _document(_offline(folder, act))


def exported(folder: Path, group: str) -> dict[str, Any]:
    """
    The template of a resource group.

    Raises:
        NoServer: nor is there a store.
        CommandFailed: there is no such group; or the folder cannot be used.
    """

    async def look(catalog: Catalog, deployments: Deployments) -> dict[str, Any]:
        if catalog.group(catalog.subscription_id, group) is None:
            raise CommandFailed(f"there is no resource group {group}")
        others = deployments.documents(catalog.subscription_id, group)
        return await export(catalog, catalog.subscription_id, group, others)

    return _offline(folder, look)


def _offline(folder: Path, action: Callable[[Catalog, Deployments], Awaitable[T]]) -> T:
    try:
        settings = load({"data": str(folder)}, os.environ)
    except BadSetting as error:
        raise BadCommandLine(str(error)) from error
    check_store(settings)
    with in_words():
        return offline_deployments(settings, action)


def _order(catalog: Catalog, request: Request) -> Order:
    return Order(
        subscription=catalog.subscription_id,
        group=request.group,
        name=request.name,
        template=request.template.value,
        parameters=request.parameters,
        complete=request.complete,
        locate=request.template.locate,
    )


def _may(_action: str, _scope: str) -> None:
    """Whoever may open the store may do everything."""


@contextmanager
def _faults(request: Request) -> Iterator[None]:
    try:
        yield
    except CommandFailed as error:
        match error.__cause__:
            case TemplateFault() as fault:
                raise request.template.fault(fault.message, fault.path, fault.line, fault.column) from fault
            case Invalid() as invalid:
                raise not_begun(request, list(invalid.details)) from invalid
            case _:
                raise


def _step(done: Operation) -> Step:
    word = STEP_WORDS.get(done.kind, "created" if done.is_new else "updated")
    why = "" if done.error is None else str(done.error["message"])
    return Step(done.id, "failed" if why else word, done.ended_at - done.started_at, why, tuple(done.warnings))


def _document(deployment: StoredDeployment) -> dict[str, Any]:
    """The parts of the resource manager's document that are known without a server."""
    properties: dict[str, Any] = {
        "mode": "Complete" if deployment.complete else "Incremental",
        "provisioningState": deployment.state,
        "parameters": deployment.parameters,
        "outputs": deployment.outputs,
        "outputResources": [
            {"id": done.id} for done in deployment.operations if done.state == "Succeeded" and done.kind == "Create"
        ],
    }
    if deployment.error is not None:
        properties["error"] = deployment.error
    document = {"id": deployment.id, "name": deployment.name, "type": "Microsoft.Resources/deployments"}
    return {**document, "properties": properties}
