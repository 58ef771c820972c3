"""
What the build compiles, and the rules that these modules keep so that they are the same compiled as they are in Python.
Decision 9 has the reasons.
"""

import ast
import importlib
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"
HOOK = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"][
    "wheel"
]["hooks"]["custom"]
MODULES: list[str] = HOOK["modules"]

COMPILED = os.environ.get("HUBWIRE_EXPECT") == "compiled"

BASES = {"NamedTuple", "Enum", "IntEnum", "StrEnum", "Protocol", "HubwireError"}
"""Of classes in compiled modules, besides classes of these modules: what mypyc makes ordinary Python classes of."""


def faults(text: str, compiled_classes: set[str]) -> Iterator[str]:
    """What is in a module that compiling it would change, or that mypyc cannot compile."""
    tree = ast.parse(text)
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            bases = [ast.unparse(base) for base in node.bases]
            yield from (f"{node.name} is a {base}" for base in bases if base not in BASES | own | compiled_classes)
            if len(bases) > 1:
                yield f"{node.name} has several bases"
            if node.keywords:
                yield f"{node.name} has arguments for its class"
        elif isinstance(node, ast.AsyncFunctionDef) and any(isinstance(step, ast.Yield) for step in own_steps(node)):
            yield f"{node.name} is an asynchronous generator"


def own_steps(function: ast.AST) -> Iterator[ast.AST]:
    """All that is in a function, but for functions in it."""
    for step in ast.iter_child_nodes(function):
        if not isinstance(step, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield step
            yield from own_steps(step)


@cache
def classes_of_compiled_modules() -> set[str]:
    return {
        node.name
        for module in MODULES
        for node in ast.parse((SOURCE / module).read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    }


@pytest.mark.parametrize("module", MODULES)
def test_module_has_nothing_that_compiling_would_change(module: str) -> None:
    assert list(faults((SOURCE / module).read_text(encoding="utf-8"), classes_of_compiled_modules())) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("class A(Struct): ...", "A is a Struct"),
        ("class A(asyncio.Protocol): ...", "A is a asyncio.Protocol"),
        ("class A: ...\nclass B: ...\nclass C(A, B): ...", "C has several bases"),
        ("class A(NamedTuple, frozen=True): ...", "A has arguments for its class"),
        ("async def f():\n    if x:\n        yield 1", "f is an asynchronous generator"),
    ],
)
def test_checker_finds_each_kind_of_fault(text: str, fault: str) -> None:
    assert list(faults(text, set())) == [fault]


def test_list_of_modules_is_in_order_and_names_each_once() -> None:
    assert sorted(set(MODULES)) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_form_under_test_is_the_one_that_is_meant(module: str) -> None:
    """`make tests-compiled` says which one it means. A run on the wrong one would prove nothing."""
    loaded = importlib.import_module(module.removesuffix(".py").replace("/", "."))
    compiled = not str(loaded.__file__).endswith(".py")

    assert compiled == COMPILED


def test_servers_that_tests_start_are_of_the_same_form(tmp_path: Path) -> None:
    """Wherever they are started."""
    told = subprocess.run(
        [sys.executable, "-m", "hubwire", "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert told.stdout.strip().endswith("(compiled)" if COMPILED else "(pure Python)")
