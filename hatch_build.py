"""
The build of the package's wheel: the modules that every message and every new client passes are compiled by mypyc, from
the same Python that runs without it.

    HUBWIRE_NATIVE=auto       the default: compile where that can be done, else pure Python, with a line that says why
    HUBWIRE_NATIVE=require    compile, or fail
    HUBWIRE_NATIVE=off        pure Python

A wheel holds the Python of all modules in any case: whoever deletes the compiled files has the pure package. An
editable install is never compiled, since a change of the source would not be seen.
"""

import os
import shlex
import shutil
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_GROUP = "hubwire"
_C_OPTIONS = ["-O2", "-Wall", "-Wextra"]
_MODES = ("auto", "require", "off")


class NativeBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """
    Configuration:
        modules: files below `src` to compile.
        sources: extension modules that are written in C, each with its file below `src`.
    """

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        mode = os.environ.get("HUBWIRE_NATIVE", "auto")
        if mode not in _MODES:
            raise SystemExit(f"HUBWIRE_NATIVE is {mode!r} and must be one of {', '.join(_MODES)}")
        if version == "editable" or mode == "off":
            return
        root = Path(self.root)
        try:
            compiled = _compile(root, self.config["modules"], self.config["sources"], root / ".build" / "native")
        except (Exception, SystemExit) as fault:  # whatever keeps a compiler from working
            if mode == "require":
                raise
            reason = "mypyc refuses the sources" if isinstance(fault, SystemExit) else str(fault)
            self.app.display_warning(f"Hubwire is built without compiled modules, which is slower: {reason}")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["force_include"].update({str(path): str(path.relative_to(built)) for built, path in compiled})


def _compile(root: Path, modules: list[str], sources: dict[str, str], folder: Path) -> list[tuple[Path, Path]]:
    """
    Compile modules, and extensions that are written in C.

    Returns:
        extension modules, each with the folder that is the root of its package.
    """
    compiler, *_ = shlex.split(os.environ.get("CC", "")) or shlex.split(sysconfig.get_config_var("CC") or "cc")
    if shutil.which(compiler) is None:
        raise RuntimeError(f"there is no C compiler: {compiler!r} is not on the PATH")

    from mypyc.build import mypycify
    from setuptools import Distribution, Extension  # type: ignore[import-untyped]
    from setuptools.command.build_ext import build_ext  # type: ignore[import-untyped]

    class OnAllCores(build_ext):  # type: ignore[misc]
        """Compiles the files of one extension side by side, which setuptools does for extensions only."""

        def build_extensions(self) -> None:
            compiler = self.compiler

            def compile_all(
                sources: list[str],
                output_dir: str | None = None,
                macros: list[Any] | None = None,
                include_dirs: list[str] | None = None,
                debug: bool = False,
                extra_preargs: list[str] | None = None,
                extra_postargs: list[str] | None = None,
                depends: list[str] | None = None,
            ) -> list[str]:
                _, objects, after, macro_options, todo = compiler._setup_compile(
                    output_dir, macros, include_dirs, sources, depends, extra_postargs
                )
                before = compiler._get_cc_args(macro_options, debug, extra_preargs)
                with ThreadPoolExecutor(os.cpu_count()) as pool:
                    list(pool.map(lambda to: compiler._compile(to, *todo[to], before, after, macro_options), todo))
                return list(objects)

            compiler.compile = compile_all
            super().build_extensions()

    built = folder / f"lib-{sys.implementation.cache_tag}"
    before = Path.cwd()
    os.chdir(root / "src")
    try:
        extensions = mypycify(
            ["--config-file", str(root / "pyproject.toml"), "--cache-dir", str(folder / "mypy"), *modules],
            group_name=_GROUP,
            target_dir=str(folder / f"c-{sys.implementation.cache_tag}"),
            opt_level="2",
            debug_level="0",
            multi_file=True,
        )
        extensions += [Extension(name, [source], extra_compile_args=_C_OPTIONS) for name, source in sources.items()]
        command = OnAllCores(Distribution({"name": _GROUP, "ext_modules": extensions}))
        command.build_lib = str(built)
        command.build_temp = str(folder / f"objects-{sys.implementation.cache_tag}")
        command.force = True  # what was built with other options looks as new as what is not
        command.ensure_finalized()
        command.run()
    finally:
        os.chdir(before)
    return [(built, Path(output)) for output in command.get_outputs()]
