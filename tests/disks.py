"""Disks that fail: a small one that is full, and writes that are refused or done by half.

A command runs as a process of its own, forked from one that has imported everything: an import of
the engines takes longer than most commands.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.tools import missing, needed

SHIM = Path(__file__).with_name("faulty.c")
_FORKS = """
import json, os, sys
import lightgbm, onnxmltools, sklearn.linear_model, skl2onnx
from colonnade.cli import access, audit, data, flow, model, prediction, runs, serving, start, trace
from colonnade.bundle import export
from colonnade.cli.main import run

def child(request):
    os.environ.update(request["environment"])
    os.setsid()
    out = os.open(request["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    return run(request["words"])

print("ready", flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if "wait" in request:
        print(os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1]), flush=True)
    elif pid := os.fork():
        print(pid, flush=True)
    else:
        code = 99  # what no command ends with: it raised, and its traceback is in what it said
        try:
            code = child(request)
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
"""


@dataclass(frozen=True)
class Fault:
    """What a disk does wrong, and to which files.

    Attributes:
        path: a part of the paths of the files that are meant.
        call: ``write``, ``sync`` or ``truncate``.
        how: ``EIO``, ``ENOSPC``; ``half``: half of the bytes are written, and the call says so;
            ``stop``: the process stops before the call, as at SIGSTOP.
        first: the first call on such a file that is hit, from 1.
        times: how many are hit.
        lasts: a file; the disk fails only while it is there.
    """

    path: str
    call: str = "write"
    how: str = "EIO"
    first: int = 1
    times: int = 1_000_000
    lasts: Path | None = None

    def environment(self, log: Path) -> dict[str, str]:
        """The variables that tell the shim."""
        return {
            "FAULT_PATH": self.path,
            "FAULT_CALL": self.call,
            "FAULT_HOW": self.how,
            "FAULT_FROM": str(self.first),
            "FAULT_TIMES": str(self.times),
            "FAULT_WHILE": "" if self.lasts is None else str(self.lasts),
            "FAULT_LOG": str(log),
        }


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, what it printed, and which writes were hit."""

    code: int
    said: str
    hits: list[str]


class Command:
    """A command that runs."""

    def __init__(self, forks: Forks, pid: int, out: Path, log: Path) -> None:
        self.pid = pid
        self._forks = forks
        self._out = out
        self._log = log

    @property
    def said(self) -> str:
        """What it printed so far."""
        return self._out.read_text()

    @property
    def hits(self) -> list[str]:
        """The writes that were hit so far: call and path."""
        return self._log.read_text().splitlines() if self._log.exists() else []

    def wait(self) -> Ended:
        """Let it end."""
        return Ended(int(self._forks.tell({"wait": self.pid})), self.said, self.hits)


class Forks:
    """Starts commands as processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        shim = _shim(folder)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _FORKS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "LD_PRELOAD": str(shim), "OMP_NUM_THREADS": "1"},
        )
        assert self._process.stdout
        assert self._process.stdout.readline() == "ready\n"

    def start(
        self,
        folder: Path,
        *words: str,
        fault: Fault | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Command:
        """Start a command on a project."""
        self._count += 1
        out, log = (self._folder / f"{self._count}.{kind}" for kind in ("out", "hits"))
        out.touch()
        variables = {"FAULT_CALL": ""} if fault is None else fault.environment(log)
        request = {
            "words": [*words, "--project", str(folder)] if words[0] != "init" else list(words),
            "environment": variables | dict(environment or {}),
            "out": str(out),
        }
        return Command(self, int(self.tell(request)), out, log)

    def run(self, folder: Path, *words: str, **options: object) -> Ended:
        """Run a command on a project to its end."""
        return self.start(folder, *words, **options).wait()

    def tell(self, request: object) -> str:
        """One request, one line of answer."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()

    def end(self) -> None:
        """End the process that forks."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


@contextmanager
def forking() -> Iterator[Forks]:
    """A process that forks commands, and the folder of what they print."""
    with tempfile.TemporaryDirectory(prefix="colonnade-forks-") as folder:
        forks = Forks(Path(folder))
        try:
            yield forks
        finally:
            forks.end()


def _shim(folder: Path) -> Path:
    compiler = needed("cc", "apt-get install gcc libc6-dev")
    shim = folder / "faulty.so"
    words = [compiler, "-shared", "-fPIC", "-O1", "-o", str(shim), str(SHIM), "-ldl"]
    subprocess.run(words, check=True)
    return shim


class Disk:
    """A small disk of its own (tmpfs)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    @property
    def free_bytes(self) -> int:
        """What can still be written."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def leave(self, free_bytes: int) -> None:
        """Fill it so that this much can still be written."""
        self.empty()
        with self._ballast.open("wb") as file:
            while (size := self.free_bytes - free_bytes) > 0:
                with suppress(OSError):  # a server wrote in between: look again
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, size)

    def empty(self) -> None:
        """Make room again."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Disk]:
    """Mount a tmpfs of a size; only where this process may mount (see `with_own_mounts`)."""
    path.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        missing(f"this user may not mount a tmpfs: {done.stderr.strip()}")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def with_own_mounts(item: pytest.Function) -> bool:
    """Run a test again as root of a user namespace of its own, if this user is not root.

    Returns:
        Whether the test was run so.
    """
    if os.geteuid() == 0:
        return False
    _may_unshare()
    words = ["unshare", "-rm", sys.executable, "-m", "pytest", "-q", item.nodeid]
    done = subprocess.run(
        words, cwd=item.config.rootpath, capture_output=True, text=True, check=False
    )
    if done.returncode != 0 or " passed" not in done.stdout:
        pytest.fail(done.stdout + done.stderr)
    return True


@functools.cache
def _may_unshare() -> None:
    needed("unshare", "apt-get install util-linux")
    done = subprocess.run(["unshare", "-rm", "true"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        missing(f"this user may not mount a disk of its own: {done.stderr.strip()}")
