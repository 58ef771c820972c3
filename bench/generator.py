"""
Runs of the load generator, and of what measures what it cannot: their command lines, and what came of them.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from bench.figures import Failed, Outcome, Result, read_result
from bench.machine import Cores, Others, pinned
from bench.servers import SERVERS, Running
from bench.workloads import CALL_TARGET, SIGNATURE, SYNC, Candidate, Workload

__all__ = ["Generator", "floor_arguments", "run_limit_s", "server_arguments"]

_CONNECT_S: Final = 30
_DRAIN_S: Final = 10
_MODES_WITH_TIME: Final = {"fanout", "echo", "calls", "publish", "churn"}
_GRACE_S: Final = 10.0
_ROOT: Final = Path(__file__).parent.parent
_TOKENS_OF_CHURN: Final = 20_000
"""So many that a cache of tokens, were there one, would not find any again."""

_PUBLISHERS_AND_SPARE: Final = 100
"""Tokens besides those of the members."""


def run_limit_s(workload: Workload) -> int:
    """Seconds after which a run of this workload is given up."""
    return int(_CONNECT_S + workload.warmup_s + workload.duration_s + _DRAIN_S + workload.extra_s)


def server_arguments(workload: Workload, candidate: Candidate, server: Running) -> list[str]:
    """The command line of a run against a server, but for the program and the cores."""
    kind = SERVERS[candidate.server]
    tokens = _TOKENS_OF_CHURN if workload.mode == "churn" else workload.connections + _PUBLISHERS_AND_SPARE
    address, trust = server.address, []
    if candidate.tls:
        assert server.secure is not None, "only Hubwire is measured over TLS"
        address, trust = server.secure[0], ["--tls", server.secure[1]]
    protocol = candidate.protocol or kind.protocol
    arguments = [workload.mode, "--address", address, "--protocol", protocol, *trust]
    arguments += server.clients(tokens, workload.groups_claimed, protocol)
    if server.handler_port:
        arguments += ["--handler", str(server.handler_port)]
    arguments += ["--pid", str(server.process.pid), "--limit-s", str(run_limit_s(workload))]
    if workload.mode in _MODES_WITH_TIME:
        arguments += ["--warmup-s", f"{workload.warmup_s:g}", "--duration-s", f"{workload.duration_s:g}"]
    if workload.operation is not None:
        arguments += ["--requests", str(_written_requests(workload, server))]
    elif workload.mode == "calls" and server.issuer is not None:
        arguments += ["--path", CALL_TARGET, "--header", f"Authorization: Bearer {server.issuer.call_token()}"]
    return arguments + _flat(workload, candidate)


def _written_requests(workload: Workload, server: Running) -> Path:
    """Signed anew for each run: a signature is good for some minutes only."""
    assert server.identities is not None, "such rows have servers with users"
    assert workload.operation is not None, "nobody else needs them"
    path = server.folder / "requests"
    path.write_bytes(server.identities.requests(workload.operation))
    return path


def floor_arguments(workload: Workload, candidate: Candidate, cores: Cores) -> list[str]:
    """The command line of a run against bare sockets."""
    arguments = ["floor", "--sender-cpu", str(cores.server), "--reader-cpu", str(cores.generator)]
    arguments += ["--duration-s", f"{workload.duration_s:g}"]
    return arguments + [word for option in candidate.options for word in option]


def _flat(workload: Workload, candidate: Candidate) -> list[str]:
    return [word for option in (*workload.options, *candidate.options) for word in option]


@dataclass(frozen=True)
class Generator:
    """
    Attributes:
        binary: the program.
        cores: which of them it runs on.
    """

    binary: Path
    cores: Cores

    def run(self, workload: Workload, candidate: Candidate, server: Running | None) -> Outcome:
        """
        One run of a workload.

        Args:
            server: that of the candidate; `None` for the floor.
        """
        others = Others(self.cores, server.process.pid if server is not None else None)
        limit_s = run_limit_s(workload) + _GRACE_S
        if candidate.server in _MODULES:
            with pinned(self.cores.server):
                outcome = _run([*_PYTHON, _MODULES[candidate.server], f"{workload.duration_s:g}"], limit_s)
        elif server is None:
            outcome = self.call(floor_arguments(workload, candidate, self.cores), limit_s)
        elif candidate.official:
            outcome = self._call_officially(workload, server, limit_s)
        else:
            arguments = [*server_arguments(workload, candidate, server), "--cpu", str(self.cores.generator)]
            outcome = self.call(arguments, limit_s)
        return msgspec.structs.replace(outcome, others_cpu=others.share()) if isinstance(outcome, Result) else outcome

    def call(self, arguments: Sequence[str], timeout_s: float) -> Outcome:
        """Run the program to its end; whatever happens, it becomes an outcome."""
        return _run([str(self.binary), *arguments], timeout_s)

    def _call_officially(self, workload: Workload, server: Running, limit_s: float) -> Outcome:
        assert server.identities is not None, "such rows have servers with users"
        assert workload.operation is not None, "the library calls nothing else"
        times = [f"{workload.warmup_s:g}", f"{workload.duration_s:g}"]
        words = [workload.operation, f"http://{server.address}", str(server.process.pid), *times]
        with pinned(self.cores.generator):
            return _run([*_PYTHON, "bench.official", *words], limit_s, {"BENCH_ACCESS_KEY": server.identities.key})


_PYTHON: Final = (sys.executable, "-m")
_MODULES: Final = {SIGNATURE: "bench.signing", SYNC: "bench.syncing"}
"""That measure what takes no server."""


def _run(command: Sequence[str], timeout_s: float, env: Mapping[str, str] | None = None) -> Outcome:
    try:
        done = subprocess.run(
            command,
            cwd=_ROOT,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Failed(f"the generator did not end within {timeout_s:g} s")
    except OSError as fault:
        return Failed(f"the generator cannot be run: {fault.strerror}")
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return Failed(lines[-1].strip() if lines else f"the generator ended with {done.returncode} and said nothing")
    return read_result(done.stdout)
