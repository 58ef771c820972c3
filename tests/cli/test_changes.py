"""Lines of what a deployment would change, and of what it does."""

from typing import Any

import pytest

from hubwire.cli.changes import Paint, Step, change_lines, step_lines, step_of

PROVIDER = "/subscriptions/s/resourceGroups/g/providers/Microsoft.SignalRService/webPubSub"
PLAIN, COLOURED = Paint(False), Paint(True)


def change(kind: str, *delta: dict[str, Any], name: str = "wps") -> dict[str, Any]:
    """One of the what-if operation."""
    return {"resourceId": f"{PROVIDER}/{name}", "changeType": kind, "delta": list(delta)}


def modified(path: str, before: object, after: object, kind: str = "Modify") -> dict[str, Any]:
    """A property that changes."""
    return {"path": path, "propertyChangeType": kind, "before": before, "after": after}


def test_each_kind_of_change_has_its_sign_and_they_are_counted() -> None:
    changes = [change(kind) for kind in ("Create", "Modify", "Delete", "NoChange", "Ignore", "Unsupported", "NoChange")]

    lines = list(change_lines(changes, PLAIN))

    assert [line[:12].rstrip() for line in lines[:-1]] == [
        "+ create",
        "~ modify",
        "- delete",
        "= no change",
        "* stays",
        "x left out",
        "= no change",
    ]
    assert all(line.split()[-2:] == ["Microsoft.SignalRService/webPubSub", "wps"] for line in lines[:-1])
    assert lines[-1] == "1 create, 1 modify, 1 delete, 2 no change, 1 stays, 1 left out"


def test_changed_property_is_shown_before_and_after() -> None:
    """On one line, or on three where that would be long."""
    long = ["x" * 60]
    delta = (
        modified("sku.capacity", 1, 2),
        modified("tags.a", None, "b", "Create"),
        modified("tags.c", "d", None, "Delete"),
        modified("properties.eventHandlers", [], long),
    )

    lines = list(change_lines([change("Modify", *delta)], PLAIN))[1:-1]

    assert lines == [
        "    ~ sku.capacity  1 -> 2",
        '    + tags.a  "b"',
        '    - tags.c  "d"',
        "    ~ properties.eventHandlers",
        "        []",
        f'     -> ["{"x" * 60}"]',
    ]


def test_template_without_resources_changes_nothing() -> None:
    assert list(change_lines([], PLAIN)) == ["the template has no resources"]


def test_names_that_others_gave_cannot_move_the_cursor() -> None:
    """They come from a template."""
    lines = list(change_lines([change("Modify", modified("tags.\x1b[2J", "\x1b[2J", ""), name="w\x1b[2J")], PLAIN))

    assert not any("\x1b" in line for line in lines)


def test_colours_are_switched_off_again_on_each_line() -> None:
    lines = list(change_lines([change("Modify", modified("a", 1, 2))], COLOURED))

    assert all(line.count("\x1b[0m") == 1 for line in lines[:-1])
    assert [line.replace("\x1b[33m", "").replace("\x1b[0m", "") for line in lines] == list(
        change_lines([change("Modify", modified("a", 1, 2))], PLAIN)
    )


def operation(**properties: Any) -> dict[str, Any]:
    """As the resource manager shows one."""
    return {
        "operationId": "1",
        "properties": {
            "provisioningOperation": "Create",
            "provisioningState": "Succeeded",
            "duration": "PT0.0123S",
            "statusCode": "OK",
            "targetResource": {"id": f"{PROVIDER}/wps/hubs/chat"},
            **properties,
        },
    }


@pytest.mark.parametrize(
    ("properties", "line"),
    [
        ({"statusCode": "Created"}, "created  Microsoft.SignalRService/webPubSub/hubs  wps/chat  12 ms"),
        ({}, "updated  Microsoft.SignalRService/webPubSub/hubs  wps/chat  12 ms"),
        ({"provisioningOperation": "Delete"}, "deleted  Microsoft.SignalRService/webPubSub/hubs  wps/chat  12 ms"),
        ({"duration": "PT61.5S"}, "updated  Microsoft.SignalRService/webPubSub/hubs  wps/chat  61.5 s"),
        ({"duration": "PT1e-05S"}, "updated  Microsoft.SignalRService/webPubSub/hubs  wps/chat  0 ms"),
        ({"duration": "soon"}, "updated  Microsoft.SignalRService/webPubSub/hubs  wps/chat  0 ms"),
    ],
)
def test_what_was_done_to_a_resource_is_one_line(properties: dict[str, Any], line: str) -> None:
    assert list(step_lines(step_of(operation(**properties)), PLAIN)) == [line]


def test_failed_resource_says_why() -> None:
    failed = operation(
        provisioningState="Failed", statusCode="BadRequest", statusMessage={"error": {"message": "no\nport"}}
    )

    first, why = step_lines(step_of(failed), PLAIN)

    assert first.startswith("failed ")
    assert why == "  no port"


def test_what_does_not_act_is_told_below_the_resource() -> None:
    step = step_of(operation(statusMessage={"status": "Succeeded", "warnings": ["a is kept", "b is kept"]}))

    assert step == Step(f"{PROVIDER}/wps/hubs/chat", "updated", 0.0123, "", ("a is kept", "b is kept"))
    assert list(step_lines(step, PLAIN))[1:] == ["  warning  a is kept", "  warning  b is kept"]


def test_resource_group_has_a_name_alone() -> None:
    """It is under no provider."""
    (line,) = step_lines(Step("/subscriptions/s/resourceGroups/g", "deleted", 0), PLAIN)

    assert line.endswith("/subscriptions/s/resourceGroups/g  0 ms")
