"""`hubwire deploy` and `hubwire export`, against a stand-in on a control socket."""

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Run
from cli.standin import DEADLINE_S, Asked, StandIn

SUBSCRIPTION = "9a3d108d-153b-486b-ac7c-16d420807f2e"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/hubwire"
DEPLOYMENT = f"{GROUP}/providers/Microsoft.Resources/deployments/main"
WPS = f"{GROUP}/providers/Microsoft.SignalRService/webPubSub/wps"
TEMPLATE = """{
  // a comment
  "parameters": {"units": {"type": "int"}},
  "resources": []
}
"""


@pytest.fixture
def manager(server: StandIn, tmp_path: Path) -> StandIn:
    """A server that tells its subscription, and a template beside it."""
    server.on("GET", "/control/status", 200, {"subscriptionId": SUBSCRIPTION})
    (tmp_path / "main.json").write_text(TEMPLATE)
    return server


def deployment(**properties: Any) -> dict[str, Any]:
    """As the resource manager shows one that has ended."""
    return {"name": "main", "properties": {"provisioningState": "Succeeded", "outputs": {}, **properties}}


def operation(number: int, resource_id: str, **properties: Any) -> dict[str, Any]:
    """One of a deployment."""
    return {
        "operationId": str(number),
        "properties": {
            "provisioningOperation": "Create",
            "provisioningState": "Succeeded",
            "duration": "PT0.01S",
            "statusCode": "Created",
            "targetResource": {"id": resource_id},
            **properties,
        },
    }


def sent(server: StandIn, method: str) -> list[Asked]:
    """The requests of a method."""
    return [asked for asked in server.asked if asked.method == method]


def test_file_is_sent_as_it_is_so_that_its_lines_stay(run: Run, manager: StandIn) -> None:
    """One line of ours before it, comments and all; values by their types."""
    manager.on("PUT", DEPLOYMENT, 201, deployment())
    manager.on("GET", DEPLOYMENT, 200, deployment())

    result = run("deploy", "main.json", "-p", "units=2")

    assert (result.exit_code, result.output) == (0, "")
    (put,) = sent(manager, "PUT")
    head, _, rest = put.body.decode().partition("\n")
    assert rest == f"{TEMPLATE}\n}}}}"
    assert json.loads(f"{head}0}}}}")["properties"] == {
        "mode": "Incremental",
        "parameters": {"units": {"value": 2}},
        "template": 0,
    }
    assert put.path == f"{DEPLOYMENT}?api-version=2025-04-01"


def test_group_name_and_mode_are_the_users(run: Run, manager: StandIn) -> None:
    path = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/my%28group%29/providers/Microsoft.Resources/deployments/first"
    manager.on("PUT", path, 201, deployment())
    manager.on("GET", path, 200, deployment())

    result = run("deploy", "main.json", "--group", "my(group)", "--name", "first", "--complete")

    assert result.exit_code == 0
    assert b'"mode":"Complete"' in sent(manager, "PUT")[0].body


def test_each_resource_is_told_as_soon_as_it_is_done(run: Run, manager: StandIn) -> None:
    """While the deployment goes on; once; and not what an earlier deployment of this name did."""
    done = [operation(0, f"{WPS}/hubs/old")]
    progress, seen = threading.Event(), threading.Event()
    put = threading.Event()

    async def operations(asked: Asked) -> object:
        if put.is_set() and not progress.is_set():
            done[:] = [operation(1, WPS)]
            progress.set()
        elif progress.is_set():
            seen.set()
        return {"value": list(done)}

    async def deploy(asked: Asked) -> object:
        put.set()
        assert await asyncio.to_thread(seen.wait, DEADLINE_S)
        done.append(operation(2, f"{WPS}/hubs/chat", statusCode="OK", statusMessage={"warnings": ["it is kept"]}))
        return deployment()

    manager.on_call("GET", f"{DEPLOYMENT}/operations", operations)
    manager.on_call("PUT", DEPLOYMENT, deploy)
    outputs = {"host": {"type": "String", "value": "h"}, "key": {"type": "SecureString"}}
    manager.on("GET", DEPLOYMENT, 200, deployment(outputs=outputs, outputResources=[{"id": WPS}]))

    result = run("deploy", "main.json")

    assert result.stdout.splitlines() == [
        "created  Microsoft.SignalRService/webPubSub       wps  10 ms",
        "updated  Microsoft.SignalRService/webPubSub/hubs  wps/chat  10 ms",
        "  warning  it is kept",
        "outputs:",
        "  host  h",
        "  key   (secret)",
    ]
    assert result.stderr == "hubwire: connection string of wps: hubwire resource keys wps\n"


def test_deployment_as_json_is_the_document_alone(run: Run, manager: StandIn) -> None:
    """For programs."""
    manager.on("PUT", DEPLOYMENT, 201, deployment())
    manager.on("GET", DEPLOYMENT, 200, deployment(outputResources=[{"id": WPS}]))
    manager.on("GET", f"{DEPLOYMENT}/operations", 200, {"value": []})

    result = run("deploy", "main.json", "--json")

    assert json.loads(result.output) == deployment(outputResources=[{"id": WPS}])


def test_failed_deployment_says_which_resource_and_why(run: Run, manager: StandIn) -> None:
    """Its PUT is answered as accepted; what became of it is asked for."""
    details = [{"code": "Conflict", "message": "the name is taken", "target": WPS}]
    manager.on("PUT", DEPLOYMENT, 201, deployment(provisioningState="Accepted"))
    manager.on("GET", DEPLOYMENT, 200, deployment(provisioningState="Failed", error={"details": details}))

    result = run("deploy", "main.json")

    assert (result.exit_code, result.stderr) == (
        1,
        "hubwire: the deployment main has failed: Microsoft.SignalRService/webPubSub wps: the name is taken\n",
    )


def test_failure_of_no_resource_says_why(run: Run, manager: StandIn) -> None:
    """Such as of an output."""
    manager.on("PUT", DEPLOYMENT, 201, deployment())
    manager.on("GET", DEPLOYMENT, 200, deployment(error={"code": "X", "message": "the server ended"}))

    assert run("deploy", "main.json").stderr == "hubwire: the deployment main has failed: the server ended\n"


def test_progress_that_cannot_be_asked_for_is_told(run: Run, manager: StandIn) -> None:
    """Before anything is done."""
    manager.on("GET", f"{DEPLOYMENT}/operations", 503, {"error": {"code": "X", "message": "busy"}})

    assert run("deploy", "main.json").stderr == "hubwire: busy\n"
    assert sent(manager, "PUT") == []


def test_fault_of_the_template_is_told_at_its_line(run: Run, manager: StandIn) -> None:
    """Of the file, not of what was sent."""
    error = {
        "code": "InvalidTemplate",
        "message": "Deployment template validation failed at line 4, column 18: 'It is wrong.'.",
        "additionalInfo": [
            {"type": "TemplateViolation", "info": {"lineNumber": 4, "linePosition": 18, "path": "parameters"}}
        ],
    }
    manager.on("PUT", DEPLOYMENT, 400, {"error": error})
    manager.on("POST", f"{DEPLOYMENT}/whatIf", 400, {"error": error})

    for options in ([], ["--what-if"]):
        result = run("deploy", "main.json", *options)

        assert (result.exit_code, result.stderr) == (1, "hubwire: main.json(3,18): It is wrong.\n")


@pytest.mark.parametrize(
    ("details", "lines"),
    [
        (["bad sku"], ["hubwire: main.json cannot be deployed: Microsoft.SignalRService/webPubSub wps: bad sku"]),
        (
            ["bad sku", "bad name"],
            [
                "hubwire: main.json cannot be deployed",
                "  Microsoft.SignalRService/webPubSub wps: bad sku",
                "  Microsoft.SignalRService/webPubSub wps: bad name",
            ],
        ),
    ],
)
def test_resources_that_cannot_be_so_are_all_told(
    run: Run, manager: StandIn, details: list[str], lines: list[str]
) -> None:
    found = [{"code": "InvalidParameter", "message": message, "target": WPS} for message in details]
    error = {"code": "InvalidTemplateDeployment", "message": "not valid", "details": found}
    manager.on("PUT", DEPLOYMENT, 400, {"error": error})

    result = run("deploy", "main.json")

    assert (result.exit_code, result.stdout, result.stderr.splitlines()) == (1, "", lines)


def test_other_refusals_are_passed_on(run: Run, manager: StandIn) -> None:
    """Such as of a deployment of the same name that has not ended."""
    manager.on("PUT", DEPLOYMENT, 409, {"error": {"code": "Conflict", "message": "it is carried out now"}})

    result = run("deploy", "main.json")

    assert (result.exit_code, result.stderr) == (1, "hubwire: it is carried out now\n")


def test_what_if_changes_nothing_and_shows_what_would(run: Run, manager: StandIn) -> None:
    """For people, and as JSON for programs."""
    delta = [{"path": "sku.capacity", "propertyChangeType": "Modify", "before": 1, "after": 2}]
    changes = [{"resourceId": WPS, "changeType": "Modify", "delta": delta}]
    answer = {"status": "Succeeded", "properties": {"changes": changes}}
    manager.on("POST", f"{DEPLOYMENT}/whatIf", 200, answer)

    result = run("deploy", "main.json", "--what-if")

    assert result.output.splitlines() == [
        "~ modify     Microsoft.SignalRService/webPubSub       wps",
        "    ~ sku.capacity  1 -> 2",
        "1 modify",
    ]
    assert json.loads(run("deploy", "main.json", "--what-if", "--json").output) == answer
    assert sent(manager, "PUT") == []


def test_bicep_is_compiled_here(run: Run, manager: StandIn, tmp_path: Path) -> None:
    """The server gets JSON, and its faults of parameters are told where the program declares them."""
    (tmp_path / "main.bicep").write_text("\nparam units int\n")
    manager.on("PUT", DEPLOYMENT, 201, deployment())
    manager.on("GET", DEPLOYMENT, 200, deployment())

    assert run("deploy", "main.bicep", "-p", "units=2").exit_code == 0
    body = sent(manager, "PUT")[0].document()
    assert isinstance(body, dict)
    assert body["properties"]["template"]["parameters"] == {"units": {"type": "int"}}
    assert body["properties"]["parameters"] == {"units": {"value": 2}}
    violation = {"lineNumber": 2, "linePosition": 40, "path": "parameters.units"}
    error = {
        "code": "InvalidTemplate",
        "message": "Deployment template validation failed at line 2, column 40: 'It is not provided.'.",
        "additionalInfo": [{"type": "TemplateViolation", "info": violation}],
    }
    manager.on("PUT", DEPLOYMENT, 400, {"error": error})
    assert run("deploy", "main.bicep").stderr == "hubwire: main.bicep(2,1): It is not provided.\n"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["missing.json"], 1, "missing.json: No such file or directory"),
        (["main.json", "-p", "units"], 2, "-p wants NAME=VALUE"),
        (["main.json", "-p", "units=x"], 2, "-p units is an int"),
        (["main.json", "--parameters", "units=2"], 2, "is given by -p units=2"),
        (["main.json", "--group", " "], 2, "have a name"),
        ([], 2, "FILE"),
    ],
)
def test_mistake_of_the_command_line_is_one_line_and_nothing_is_deployed(
    run: Run, manager: StandIn, arguments: list[str], exit_code: int, words: str
) -> None:
    result = run("deploy", *arguments)

    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (exit_code, "", 1)
    assert words in result.stderr
    assert sent(manager, "PUT") == []


def test_answer_that_is_no_deployment_is_one_line(run: Run, manager: StandIn) -> None:
    """Whoever answers."""
    manager.on("PUT", DEPLOYMENT, 201, {})
    manager.on("GET", DEPLOYMENT, 200, [])

    result = run("deploy", "main.json")

    assert result.exit_code == 1
    assert result.stderr.startswith("hubwire: the server's answer holds no deployment")


@pytest.mark.parametrize("command", [["deploy", "main.json"], ["deploy", "main.json", "--what-if"], ["export"]])
def test_without_server_and_store_the_command_says_how_to_start_one(run: Run, command: list[str]) -> None:
    """And makes none."""
    Path("main.json").write_text(TEMPLATE)

    result = run(*command, "--data", "other")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "hubwire serve --data other" in result.stderr
    assert not Path("other").exists()


def test_export_prints_the_template_or_writes_it(run: Run, manager: StandIn, tmp_path: Path) -> None:
    """As a file that can be deployed."""
    template = {"$schema": "s", "resources": [{"name": "ü"}]}
    manager.on("POST", f"{GROUP}/exportTemplate", 200, {"template": template})

    printed = run("export")
    written = run("export", "--output", "out.json")

    assert json.loads(printed.stdout) == template
    assert (written.exit_code, written.output) == (0, "")
    assert (tmp_path / "out.json").read_text(encoding="utf-8") == printed.stdout


def test_export_of_another_group_asks_for_it(run: Run, manager: StandIn) -> None:
    """One that is not there is told by the server."""
    path = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/other/exportTemplate"
    manager.on("POST", path, 404, {"error": {"code": "ResourceGroupNotFound", "message": "no group other"}})

    assert run("export", "--group", "other").stderr == "hubwire: no group other\n"
