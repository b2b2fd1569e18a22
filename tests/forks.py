"""Acts in processes of their own that may be killed at a point, at the price of a fork.

`Forks` starts ``python -m tests.forks``: a process that has imported everything and opened
nothing. Each act runs in a fork of it, as the process that a person would start.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests import tools

ROOT = Path(__file__).parents[1]
ENGINES = ("alembic.command", "lightgbm", "colonnade.bundle.export")  # loaded late by some commands


@dataclass(frozen=True)
class Done:
    """How an act ended.

    Attributes:
        code: its exit code; -9 where it was killed.
        calls: what it did to the disk, ``call path`` each; the last one did not happen any more
            where it was killed.
        said: what it printed.
    """

    code: int
    calls: list[str]
    said: str


class Forks:
    """The process that forks; `wrapped` are words before it, such as strace and its options."""

    def __init__(self, scratch: Path, wrapped: tuple[str, ...] = ()) -> None:
        self._calls, self._said = scratch / "calls", scratch / "said"
        library = tools.preload("killpoint.c", scratch)
        self._process = subprocess.Popen(
            [*wrapped, sys.executable, "-m", "tests.forks"],
            cwd=ROOT,
            env=os.environ | {"LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._read() == "ready"

    def act(self, *words: object, at: int = 0) -> Done:
        """Carry out a command, or an act of `ACTS`; killed at point `at`, untouched where 0."""
        wanted = {
            "words": [str(word) for word in words],
            "at": at,
            "calls": str(self._calls),
            "said": str(self._said),
        }
        assert self._process.stdin
        self._process.stdin.write(json.dumps(wanted) + "\n")
        self._process.stdin.flush()
        code = int(self._read())
        return Done(code, self._calls.read_text().splitlines(), self._said.read_text())

    def stop(self) -> None:
        """It ends when nobody asks it any more."""
        self._process.communicate()
        assert self._process.returncode == 0

    def _read(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


def flush(folder: str) -> int:
    """The flusher, as `colonnade serve` calls it every second."""
    from colonnade.serve.flush import flush as flusher  # noqa: PLC0415 (the parent of the tests
    from colonnade.wiring import open_workspace  # noqa: PLC0415 (needs no engine for `Forks`)

    workspace = open_workspace(Path(folder))
    flusher(workspace.session("serve", actor="endpoint"), "risk", workspace.spool)
    return 0


def seal(folder: str) -> int:
    """The sealer, as `colonnade serve` calls it every second."""
    from colonnade.wiring import open_workspace  # noqa: PLC0415

    open_workspace(Path(folder)).stores.sealer.seal()
    return 0


ACTS: dict[str, Callable[[str], int]] = {"flush": flush, "seal": seal}


def _serve() -> None:
    """Fork for every line that comes, and say how the fork ended."""
    main = importlib.import_module("colonnade.cli.main")
    for name in {f"colonnade.cli.{module}" for module, _ in main.COMMANDS.values()} | {*ENGINES}:
        importlib.import_module(name)
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _carry_out(json.loads(line), main.run)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _carry_out(wanted: dict, command: Callable[[list[str]], int]) -> None:
    """In the fork: never returns."""
    code = 70  # an exception that nobody foresaw
    try:
        for stream, path in ((0, os.devnull), (1, wanted["said"]), (2, wanted["said"])):
            flags = os.O_RDWR | os.O_CREAT | (os.O_TRUNC if stream == 1 else os.O_APPEND)
            os.dup2(os.open(path, flags), stream)
        calls = os.open(wanted["calls"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        name, *words = wanted["words"]
        ctypes.CDLL(None).killpoint_arm(ctypes.c_long(wanted["at"]), calls)
        code = ACTS[name](*words) if name in ACTS else command([name, *words])
    finally:
        if code == 70:
            sys.excepthook(*sys.exc_info())
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
