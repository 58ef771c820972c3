"""
Code and documentation say the same: settings, commands, operations, errors, metrics, records and dependencies are all
documented, what is documented exists, and no link leads nowhere.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

import click
import msgspec
import pytest

from hubwire.cli.commands import commands
from hubwire.model.directory import Tenant
from hubwire.model.messages import AckError
from hubwire.model.telemetry import CloseCategory
from hubwire.protocols.mqtt.reasons import ADVICE, Reason, ReturnCode
from hubwire.settings import Settings

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
SOURCE = ROOT / "src" / "hubwire"
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        *DOCS.rglob("*.md"),
        *(ROOT / "changelog.d").glob("*.md"),
        ROOT / "examples" / "README.md",
        *(ROOT / "examples").glob("*/README.md"),
    ]
)


def page(name: str) -> str:
    """The text of a page below docs/."""
    return (DOCS / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """A section without its heading, up to the next heading of the same or a higher level."""
    level = len(heading) - len(heading.lstrip("#"))
    found = re.search(rf"^{re.escape(heading)}$\n(.*?)(?=^#{{1,{level}}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"no section {heading!r}"
    return found[1]


def rows(text: str) -> Iterator[list[str]]:
    """The cells of every row of every table, its head left out."""
    for line in text.splitlines():
        if line.startswith("|") and not re.fullmatch(r"[|\s:-]+", line):
            yield [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def codes(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


# Settings.


def documented_settings() -> dict[str, list[str]]:
    """The rows of the page of settings, by name."""
    return {codes(row[0])[0]: row for row in rows(page("reference/settings.md")) if codes(row[0])}


def test_every_setting_is_documented_and_no_other() -> None:
    """Name for name."""
    assert sorted(documented_settings()) == sorted(Settings.__struct_fields__)


@pytest.mark.parametrize("field", msgspec.structs.fields(Settings), ids=lambda field: field.name)
def test_setting_is_documented_with_its_variable_default_and_range(field: msgspec.structs.FieldInfo) -> None:
    """As the code has them."""
    _, variable, default, range_, meaning = documented_settings()[field.name]
    described = msgspec.json.schema(Settings)["$defs"]["Settings"]["properties"][field.name]
    bounds = [
        choice[name]
        for name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
        for choice in (described, *described.get("anyOf", ()))
        if choice.get(name) is not None
    ]
    values = [
        value
        for choice in (described, described.get("items", {}), *described.get("anyOf", ()))
        for value in choice.get("enum", ())
    ]

    assert codes(variable) == [f"HUBWIRE_{field.name.upper()}"]
    if isinstance(field.default, tuple):
        assert codes(default) == [f"{x:g}" if isinstance(x, float) else x for x in field.default] or (
            default == "none" and not field.default
        )
        assert range_.startswith("list of ")
    elif field.default is None:
        assert default == "none"
    elif isinstance(field.default, bool):
        assert default == str(field.default).lower()
    elif isinstance(field.default, str):
        assert codes(default) == [field.default]
    else:
        assert float(default) == float(field.default)
    for bound in bounds:
        assert re.search(rf"(?<![\d.]){bound:g}(?![\d.])", range_) or str(bound) in range_, bound
    assert sorted(codes(range_)) == sorted(values) or not values
    assert meaning


# Commands.


def every_command(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, under the words that call it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from every_command(command, (*words, name))
        else:
            yield " ".join((*words, name)), command


COMMANDS = dict(every_command(commands))


def documented_commands() -> list[str]:
    """The headings of the page of commands."""
    return re.findall(r"^## `hubwire (.+)`$", page("reference/cli.md"), re.MULTILINE)


def test_every_command_is_documented_and_no_other() -> None:
    """Each has a section."""
    assert sorted(documented_commands()) == sorted(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_is_documented_and_no_other(name: str) -> None:
    """In its section, but for those that all commands share."""
    text = page("reference/cli.md")
    own = section(text, f"## `hubwire {name}`")
    options = {
        max(parameter.opts, key=len) for parameter in COMMANDS[name].params if isinstance(parameter, click.Option)
    }
    shared = {"--help", "--json", "--data"}
    in_table = {word for row in rows(own) for word in re.findall(r"--[a-z][a-z-]+", row[0])}
    named = set(re.findall(r"--[a-z][a-z-]+", own))

    assert options - shared <= in_table
    assert in_table - options == set()
    assert {option for option in named if option in options | shared} >= options - shared


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_choices_and_variables_of_options_are_documented(name: str) -> None:
    """What one may choose from, and the environment variables that count."""
    own = section(page("reference/cli.md"), f"## `hubwire {name}`")
    intro = page("reference/cli.md").split("\n## ")[0]
    for parameter in COMMANDS[name].params:
        if isinstance(parameter.type, click.Choice) and name != "serve":
            assert all(str(choice) in own for choice in parameter.type.choices), parameter.name
        if isinstance(parameter.envvar, str):
            assert parameter.envvar in own or parameter.envvar in intro


def fenced(text: str) -> Iterator[str]:
    """The lines of all blocks of shell commands, continuation lines joined."""
    for block in re.findall(r"^```(?:sh|ini)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield from block.replace("\\\n", " ").splitlines()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_command_lines_in_pages_exist(path: Path) -> None:
    """Each `hubwire …` that a page tells one to run has a command and options of ours."""
    for line in fenced(path.read_text(encoding="utf-8")):
        for call in re.findall(r"\bhubwire ([a-z][^|$)&<>]*)", line):
            words = call.split()
            name = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
            assert name in COMMANDS, line
            known = {option for given in COMMANDS[name].params for option in (*given.opts, *given.secondary_opts)}
            assert {word for word in words if re.fullmatch(r"--[a-z-]+", word)} <= known, line


# REST.


class Documented(msgspec.Struct, frozen=True):
    """An operation, as a row of the page or of a table in the code."""

    name: str
    method: str
    path: str
    statuses: tuple[int, ...]


def documented_operations(heading: str) -> list[Documented]:
    """The rows below a heading of one of the pages of operations."""
    both = page("reference/rest.md") + page("reference/resource-manager.md")
    found = []
    for row in rows(section(both, heading)):
        called = re.fullmatch(r"`([A-Z]+) (\S+)`", row[1])
        if called:
            found.append(Documented(row[0], called[1], called[2], tuple(map(int, row[-1].split(", ")))))
    return found


def rest_tables() -> dict[str, list[Documented]]:
    """The tables of the code by the heading under which they are documented. Only their rows are looked at."""
    from hubwire.rest.communication import CommunicationTable
    from hubwire.rest.communication_access import AccessTable
    from hubwire.rest.communication_control import CommunicationControl
    from hubwire.rest.communication_services import CommunicationServiceTable
    from hubwire.rest.communication_verification import VerificationTable
    from hubwire.rest.control import Control
    from hubwire.rest.dataplane import DataPlane
    from hubwire.rest.deployments import DeploymentTable
    from hubwire.rest.directory import DirectoryTable
    from hubwire.rest.identities import IdentityTable
    from hubwire.rest.issuer import IssuerTable
    from hubwire.rest.managed_identity import ManagedIdentityTable
    from hubwire.rest.metrics import Probes
    from hubwire.rest.retained import RetainedTable
    from hubwire.rest.secrets import SecretTable
    from hubwire.rest.subscriptions import SubscriptionTable
    from hubwire.rest.vault_control import VaultControl
    from hubwire.rest.vaults import VaultTable
    from hubwire.rest.web_pubsub import WebPubSubTable

    nobody = cast("Any", None)
    users = (
        *CommunicationTable(nobody, nobody).operations(),
        *AccessTable(nobody, nobody, nobody, nobody, nobody).operations(),
    )
    plane = DataPlane(nobody, nobody, nobody, public_endpoint=None, own_endpoint="")
    control = Control(nobody, nobody, nobody, nobody)
    tenant = Tenant("", "", "", "", "", "")
    identity = ManagedIdentityTable(nobody, tenant, "imds", "", nobody, nobody)
    probes = Probes(nobody, lambda: True)
    subscriptions = SubscriptionTable(nobody, nobody, "", "", "", nobody, ())
    tables = {
        "## Operations": plane.operations(),
        "## Retained messages": RetainedTable(nobody).operations(),
        "## Control socket": control.operations(),
        "## Directory": DirectoryTable(nobody, nobody, "").operations(),
        "## Token issuer": IssuerTable(nobody, nobody).operations(),
        "## Managed identity": identity.operations(),
        "## Web PubSub resources": WebPubSubTable(nobody, nobody, "", nobody, nobody).operations(),
        "## Key Vaults": VaultTable(nobody, nobody, nobody, (), nobody).operations(),
        "## Communication services": CommunicationServiceTable(nobody, nobody).operations(),
        "## Secrets": SecretTable(nobody, nobody).operations(),
        "## Communication users": users,
        "## Communication users on the control socket": CommunicationControl(nobody, users, nobody).operations(),
        "## Verification of communication tokens": VerificationTable(nobody, nobody, nobody).operations(),
        "## Vaults on the control socket": VaultControl(nobody, nobody, nobody).operations(),
        "## User-assigned identities": IdentityTable(nobody, nobody).operations(),
        "## Subscriptions and resource groups": subscriptions.operations(),
        "## Deployments": DeploymentTable(nobody, nobody, nobody, None, "").operations(),
        "## Probes": tuple(row for row in probes.operations() if row.method == "GET"),
    }
    return {
        heading: [Documented(row.name, row.method, row.path, row.statuses) for row in table]
        for heading, table in tables.items()
    }


@pytest.mark.parametrize("heading", rest_tables())
def test_every_operation_is_documented_with_its_statuses(heading: str) -> None:
    """Row for row, in the same order."""
    table = rest_tables()[heading]

    assert len(table) > 2
    assert documented_operations(heading) == table


def test_there_are_as_many_operations_as_the_data_plane_has() -> None:
    """25 at version 2024-12-01."""
    assert len(rest_tables()["## Operations"]) == 25


def texts(path: str, pattern: str) -> set[str]:
    """What a pattern finds in a source file; it must find something, or this test would hold nothing together."""
    found = set(re.findall(pattern, (SOURCE / path).read_text(encoding="utf-8")))
    assert found, f"{pattern} finds nothing in {path}"
    return found


def test_every_rest_error_code_is_documented_and_no_other() -> None:
    """With its status."""
    table = {
        (codes(row[0])[0], int(row[1]))
        for row in rows(section(page("reference/errors.md"), "## REST error codes"))
        if codes(row[0])
    }
    source = (SOURCE / "rest" / "faults.py").read_text(encoding="utf-8")
    known = {(code, int(status)) for status, code in re.findall(r'\((\d{3}), "(Error\.[A-Za-z]+)"', source)}

    assert {code for code, _ in known} == texts("rest/faults.py", r'"(Error\.[A-Za-z]+)"')
    assert table == known


def test_every_data_action_is_documented() -> None:
    """With the operation that takes it."""
    from hubwire.rest.dataplane import DataPlane

    nobody = cast("Any", None)
    plane = DataPlane(nobody, nobody, nobody, public_endpoint=None, own_endpoint="")
    table = {
        row[0]: codes(row[1])[0] for row in rows(section(page("reference/rest.md"), "## Data actions")) if codes(row[1])
    }

    assert table == {row.name: row.action for row in plane.operations() if row.action is not None}


def test_every_number_of_the_token_issuer_is_documented_with_its_status_and_error() -> None:
    """Number for number."""
    from hubwire.auth.refusals import NUMBERS

    table = section(page("reference/errors.md"), "## Errors of the token issuer")
    documented = {int(row[0]): (int(row[1]), codes(row[2])[0]) for row in rows(table) if row[0].isdigit()}

    assert documented == NUMBERS


def test_every_error_code_of_communication_services_is_documented_and_no_other() -> None:
    """With its status."""
    table = section(page("reference/errors.md"), "## Errors of communication services")
    documented = {(codes(row[0])[0], int(row[1])) for row in rows(table) if codes(row[0])}
    source = (SOURCE / "rest" / "communication_faults.py").read_text(encoding="utf-8")
    by_status = {(code, int(status)) for status, code in re.findall(r'(\d{3}): "(\w+)"', source)}
    raised = texts("rest/communication_faults.py", r'code(?:, message, headers)? = "([A-Z]\w+)"')
    raised |= texts("rest/communication_versions.py", r'"(\w+[a-z]ApiVersion|ApiVersion\w+)"')

    assert by_status <= documented
    assert {code for code, _ in documented - by_status} == raised


# Errors of clients.


def test_every_ack_error_is_documented_and_no_other() -> None:
    """By its name on the wire."""
    documented = [
        codes(row[0])[0] for row in rows(section(page("reference/errors.md"), "## Ack errors")) if codes(row[0])
    ]

    assert sorted(documented) == sorted(get_args(get_type_hints(AckError)["name"]))


def test_every_close_category_is_documented_and_no_other() -> None:
    """By its value in metrics and records."""
    table = section(page("reference/errors.md"), "## Close categories")

    assert sorted(codes(row[0])[0] for row in rows(table) if codes(row[0])) == sorted(CloseCategory)


def test_every_close_code_that_we_send_is_documented() -> None:
    """Wherever one is written in the code that closes."""
    table = section(page("reference/errors.md"), "## Close codes")
    documented = {row[0] for row in rows(table) if row[0].isdigit()}
    sent = set()
    for path in (
        "gateway/gateway.py",
        "gateway/requests.py",
        "edge/websocket.py",
        "cluster/node.py",
        "model/errors.py",
    ):
        source = (SOURCE / path).read_text(encoding="utf-8")
        sent |= set(re.findall(r"(?:close\((?:connection, )?|close_code: int = )(10[01]\d)\b", source))
    sent |= texts("protocols/frames.py", r"_[A-Z_]+: Final = (10[01]\d)\n")

    assert {"1001", "1007", "1008", "1011"} <= sent
    assert sent <= documented


# MQTT.


def spoken(code: IntEnum) -> str:
    """The name of a code as the log and the page have it."""
    return code.name.replace("_", " ").capitalize()


def test_every_reason_code_of_mqtt_is_documented_with_what_the_log_advises() -> None:
    """Number, name and sentence; and each says when it is used, or that it is not."""
    table = [row for row in rows(section(page("mqtt.md"), "## Reason codes")) if row[0].startswith("0x")]

    assert [(row[0], row[1], row[2], row[4]) for row in table] == [
        (f"0x{code:02X}", str(int(code)), spoken(code), ADVICE[code]) for code in Reason
    ]
    assert all(row[3] for row in table)


def test_every_return_code_of_mqtt_is_documented() -> None:
    """With when it is used and, unless all is well, what to do."""
    table = [row for row in rows(section(page("mqtt.md"), "## Return codes")) if row[0].isdigit()]

    assert [(int(row[0]), row[1]) for row in table] == [(int(code), spoken(code)) for code in ReturnCode]
    assert all(row[2] for row in table)
    assert all(row[3] for row in table[1:])


def test_every_setting_of_mqtt_is_on_its_page() -> None:
    """Besides in the table of all settings."""
    settings = {name for name in Settings.__struct_fields__ if name.startswith("mqtt_")}

    assert settings == set(re.findall(r"`(mqtt_[a-z0-9_]+)(?: = [a-z]+)?`", page("mqtt.md")))


def test_every_close_code_of_mqtt_sockets_is_documented() -> None:
    """And none that such a socket is never closed with."""
    table = section(page("mqtt.md"), "## Close codes")
    documented = {row[0] for row in rows(table) if row[0].isdigit()}
    gateway = [path for path in (SOURCE / "gateway").glob("*.py") if "MqttSession" in path.read_text(encoding="utf-8")]
    sent = texts("protocols/mqtt/reasons.py", r"close_code: int = (10\d\d)\b")
    for path in (SOURCE / "edge" / "mqtt_socket.py", *(SOURCE / "protocols" / "mqtt").glob("*.py"), *gateway):
        sent |= set(re.findall(r"_[A-Z_]+: Final = (10\d\d)\n", path.read_text(encoding="utf-8")))

    assert gateway
    # These two become 1000, behind a packet that says more.
    assert documented == sent - {"1001", "1008"}


# Operating.


def test_every_metric_is_documented_and_no_other() -> None:
    """By the name under which it is scraped."""
    table = section(page("guide/operating.md"), "## Metrics")
    documented = {name.split("{")[0] for row in rows(table) for name in codes(row[0])}
    source = (SOURCE / "rest" / "metrics.py").read_text(encoding="utf-8")
    gauges = set(re.findall(r'(?:_gauge|GaugeMetricFamily)\(\s*"([a-z_]+)"', source))
    counters = set(re.findall(r'(?:_counter|CounterMetricFamily)\(\s*"([a-z_]+)"', source))

    assert gauges
    assert counters
    assert documented == gauges | {f"{name}_total" for name in counters}


def test_every_record_of_connectivity_is_documented() -> None:
    """By its operation name."""
    known = texts("gateway/records.py", r'"(Connection[A-Z][A-Za-z]+)"')

    assert known == {name for name in codes(section(page("guide/operating.md"), "## Logs")) if name in known}


def test_what_the_front_refuses_is_documented_as_it_is_recorded_and_counted() -> None:
    """Under one name in both places, and with every status that it answers."""
    from hubwire.edge.records import REQUEST_REFUSED

    statuses = {
        int(status)
        for path in ("edge/front.py", "edge/head.py", "edge/body.py")
        for status in texts(path, r"(?:_refuse|refusal|RequestFault)\((\d{3}), ")
    }
    told = section(page("reference/errors.md"), "## REST error codes").partition("Before a request")[2]

    assert REQUEST_REFUSED in section(page("guide/operating.md"), "## Metrics")
    assert REQUEST_REFUSED in section(page("guide/operating.md"), "## Logs")
    assert {400, 408, 431, 501, 503, 505} <= statuses
    assert statuses == {int(status) for status in re.findall(r"\b\d{3}(?= \()", told)}


def test_every_category_of_records_is_documented() -> None:
    """Those that can be switched off, and the one that cannot."""
    from hubwire.logs import CATEGORIES

    table = {codes(row[0])[0]: row for row in rows(section(page("guide/operating.md"), "## Logs")) if codes(row[0])}

    assert set(table) == {*CATEGORIES.values(), "ServerLogs"}
    for switch, category in CATEGORIES.items():
        assert codes(table[category][-1]) == [f"--log-off {switch}"]


def test_every_dependency_has_its_reason() -> None:
    """Those of the package in the table, those of development by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    text = page("decisions/0002-dependencies.md")
    name = re.compile(r"[A-Za-z0-9_-]+")

    def names(requirements: list[str]) -> list[str]:
        return sorted(found[0] for requirement in requirements if (found := name.match(requirement)))

    reasons = {row[0]: row for row in rows(text)}
    del reasons["dependency"]
    assert sorted(reasons) == names(project["project"]["dependencies"])
    assert all(all(row) for row in reasons.values())
    assert set(names(project["dependency-groups"]["dev"])) == set(re.findall(r"\*\*([a-z][a-z-]+)\*\*", text))


# Pages.


def anchors(text: str) -> set[str]:
    """What the headings of a page are called in links."""
    found = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    """To a file that is there, and to a heading in it."""
    text = path.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


def test_index_leads_to_every_page() -> None:
    """Directly; of the decisions, to the first, whose folder has the others."""
    linked = {(DOCS / link.split("#")[0]).resolve() for link in re.findall(r"\]\(([^)\s]+)\)", page("index.md"))}
    expected = {path.resolve() for path in DOCS.rglob("*.md") if path.parent.name != "decisions"}

    assert expected - linked == {(DOCS / "index.md").resolve()}


@pytest.mark.parametrize("path", sorted((DOCS / "decisions").glob("*.md")), ids=lambda path: path.name)
def test_decision_has_the_form_of_a_record(path: Path) -> None:
    """Number and matter, status, context, decision, and when to ask again."""
    text = path.read_text(encoding="utf-8")

    assert re.match(rf"# {int(path.name[:4])}\. \S", text)
    assert all(f"**{part}" in text for part in ("Status", "Context", "Decision", "Revisit"))


@pytest.mark.parametrize("path", sorted((ROOT / "changelog.d").iterdir()), ids=lambda path: path.name)
def test_fragment_of_the_changelog_is_named_as_one(path: Path) -> None:
    """So that a release puts it under the right heading."""
    kinds = "added|changed|deprecated|removed|fixed|security"

    assert path.name == "README.md" or re.fullmatch(rf"(\d+|\+[a-z0-9-]+)\.({kinds})\.md", path.name)
    assert path.read_text(encoding="utf-8").strip()


def test_table_of_protocols_names_the_tests_that_show_it() -> None:
    """All of them, and no others."""
    file = ROOT / "tests" / "acceptance" / "test_matrix.py"
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:xdist", str(file)]
    collected = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False).stdout
    there = set(re.findall(r"test_matrix\.py::(.+)$", collected, re.MULTILINE))
    assert there, collected
    named: set[str] = set()
    head, *table = rows(page("protocols.md"))
    for feature, *cells in table:
        function = codes(feature)[-1]
        assert len(cells) == len(head) - 1
        for cell in cells:
            assert cell, feature
            for code in codes(cell):
                if code.endswith(".py"):
                    assert any((ROOT / "tests").rglob(code)), code
                elif code.startswith(("[", "test_")):
                    named.add(f"{function}{code}" if code.startswith("[") else code)
    assert named == there
