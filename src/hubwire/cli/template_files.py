"""What is to be deployed, from files and options: a template in Bicep or JSON, and values for its parameters."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Final

import click
from msgspec import Struct

from hubwire.cli.faults import BadCommandLine, CommandFailed
from hubwire.cli.json_files import placed, read_json, read_text
from hubwire.cli.options import Command, file_path
from hubwire.cli.output import compact

__all__ = ["TemplateFile", "deployment_name", "parameter_options", "parameters_of", "read_template"]

_At = tuple[str | int, ...]
_SAID: Final = re.compile(r"Deployment template validation failed(?: at line \d+, column \d+)?: '(.*)'\.", re.DOTALL)
_DECLARATIONS: Final = {"parameters": "param", "variables": "var", "outputs": "output"}
_NOT_NAME: Final = re.compile(r"[^\w.()-]")
_BARE: Final = re.compile(r"true|false", re.IGNORECASE)
_FILE_PARTS: Final = frozenset({"$schema", "contentversion", "parameters"})


class TemplateFile(Struct, frozen=True):
    """
    A template as it was read.

    Attributes:
        file: as the user named it.
        value: the template.
        text: JSON, perhaps in the wide sense, as the file has it.
        program: the Bicep that it was compiled from; None if it was JSON.
        locate: line and column of a place in the file; None where that is not known.
    """

    file: str
    value: Any
    text: str
    program: str | None
    locate: Callable[[_At], tuple[int, int] | None]

    def fault(self, message: str, path: str, line: int | None, column: int | None) -> CommandFailed:
        """
        What the template engine finds wrong, at its place in the file.

        Args:
            path: such as `resources[0].name`; empty for the root.
            line, column: in the JSON; they say nothing of a Bicep program.
        """
        said = _SAID.fullmatch(message)
        message = said[1] if said else message
        if self.program is None:
            return CommandFailed(placed(self.file, line, column, message))
        place = self.locate(tuple(path.split(".")))
        if place is not None:
            return CommandFailed(placed(self.file, *place, message))
        where = f" ({path} of the template that it makes)" if path else ""
        return CommandFailed(f"{self.file}: {message}{where}")


def read_template(file: str) -> TemplateFile:
    """
    Read a template, and compile it if it is Bicep.

    Raises:
        OSError: it cannot be read.
        CommandFailed: it is not what its name says; with line and column.
    """
    suffix = PurePath(file).suffix.lower()
    if suffix == ".bicepparam":
        raise BadCommandLine(f"{file} has parameters in Bicep, which is not available; give them as JSON, or by -p")
    if suffix != ".bicep":
        parsed = read_json(file)
        return TemplateFile(file, parsed.value, parsed.text, None, parsed.locate)

    # Here, not above: only this needs the grammar.
    from hubwire.resources.bicep import BicepFault, compile_bicep

    program = read_text(file)
    try:
        value = compile_bicep(program)
    except BicepFault as error:
        raise CommandFailed(placed(file, error.line, error.column, error.message)) from error
    return TemplateFile(file, value, compact(value), program, lambda at: _declared_at(program, at))


def deployment_name(file: str) -> str:
    """What a deployment of a file is called."""
    return _NOT_NAME.sub("-", PurePath(file).stem)[:64] or "deployment"


def parameter_options(command: Command) -> Command:
    """How parameters of a template are given."""
    for option in (
        click.option(
            "--parameters",
            "parameters_file",
            type=file_path,
            metavar="FILE",
            help="JSON file with values for its parameters; -p wins.",
        ),
        click.option(
            "-p",
            "--param",
            "values",
            multiple=True,
            metavar="NAME=VALUE",
            help="Value for a parameter; JSON or @FILE for all but strings; repeatable.",
        ),
    ):
        command = option(command)
    return command


def parameters_of(template: Any, values: Sequence[str], file: str | None) -> dict[str, Any]:
    """
    Values for the parameters of a template, each as `{"value": …}`. Names compare without case, and the last word
    counts.

    Args:
        values: `name=value` each; they win over the file.
        file: of parameters, in the form that Azure has for it, or just names and values.

    Raises:
        OSError: the file cannot be read.
        CommandFailed: it is no such file.
        BadCommandLine: an assignment that cannot be used.
    """
    given = {} if file is None else _from_file(file)
    for assignment in values:
        name, equals, text = assignment.partition("=")
        name = name.strip()
        if not equals or not name:
            raise BadCommandLine(f"-p wants NAME=VALUE, not {assignment!r}")
        for other in [other for other in given if other.lower() == name.lower()]:
            del given[other]
        given[name] = {"value": _value(name, text, _declared_type(template, name))}
    return given


def _from_file(file: str) -> dict[str, Any]:
    if file.lower().endswith(".bicepparam"):
        raise BadCommandLine(f"{file} has parameters in Bicep, which is not available; give them as JSON, or by -p")
    try:
        value = read_json(file).value
    except FileNotFoundError:
        if "=" in file:
            raise BadCommandLine(f"there is no file {file}; a single parameter is given by -p {file}") from None
        raise
    if not isinstance(value, dict):
        raise CommandFailed(placed(file, 1, 1, "the parameters must be an object"))
    inner = value.get("parameters")
    if isinstance(inner, dict) and {name.lower() for name in value} <= _FILE_PARTS:
        return inner
    return {name: what if _is_wrapped(what) else {"value": what} for name, what in value.items()}


def _is_wrapped(value: Any) -> bool:
    names = {name.lower() for name in value} if isinstance(value, dict) else set()
    return bool(names) and names <= {"value", "metadata", "reference"} and names != {"metadata"}


def _declared_type(template: Any, name: str) -> str:
    """In lower case; "string" where the template does not say, which is for the template engine to complain about."""
    # Here, not above: only this needs the template language.
    from hubwire.resources.template_faults import TemplateFault
    from hubwire.resources.template_parameters import declaration

    declared = _member(template, "parameters")
    document = _member(declared, name)
    definitions = _member(template, "definitions")
    try:
        return declaration(document, definitions if isinstance(definitions, dict) else {}, ()).type.lower()
    except TemplateFault:
        return "string"


def _member(value: Any, name: str) -> Any:
    if not isinstance(value, Mapping):
        return None
    return next((inner for key, inner in value.items() if key.lower() == name.lower()), None)


def _value(name: str, text: str, kind: str) -> Any:
    if kind in ("string", "securestring"):
        return text
    if text.startswith("@"):
        return read_json(text[1:]).value

    # Here, not above: other commands start without loading it.
    from hubwire.resources.lenient_json import Unreadable, parse

    if _BARE.fullmatch(text.strip()):
        text = text.lower()
    try:
        return parse(text).value
    except Unreadable as error:
        # The value is not quoted: it may be a secret.
        article = "an" if kind[0] in "aio" else "a"
        raise BadCommandLine(f"-p {name} is {article} {kind}, and its value is not JSON") from error


def _declared_at(program: str, at: _At) -> tuple[int, int] | None:
    """Where a Bicep program declares the parameter, variable or output that a place in the template is of."""
    if len(at) < 2 or at[0] not in _DECLARATIONS:
        return None
    pattern = rf"^([ \t]*){_DECLARATIONS[at[0]]}[ \t]+{re.escape(str(at[1]))}\b"
    found = re.search(pattern, program, re.MULTILINE)
    if found is None:
        return None
    return program.count("\n", 0, found.start()) + 1, len(found[1]) + 1
