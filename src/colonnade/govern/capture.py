"""What a step needs to be understood and made again, taken without a word from the user."""

from __future__ import annotations

import locale
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Final

import psutil

from colonnade.compute import code
from colonnade.govern.session import Session
from colonnade.records.code import Code

_GIT_TIMEOUT_S: Final = 20
_THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "PYTHONHASHSEED", "LANG")


def capture_code(session: Session, folder: Path, digest: str, *beside: str) -> Code:
    """Store every file of the project that is imported, and where git stands.

    Landing data is never among them: only what Python imported, and the files named by `beside`
    (of a query, relative to the folder).
    """
    root = folder.resolve()
    files = (*code.local_files(folder), *(root / name for name in beside))
    names = {path: path.relative_to(root).as_posix() for path in files}
    tracked = _tracked(folder)
    diff = _git(folder, "diff", "--binary", "HEAD", "--", *names.values()) if tracked else None
    return Code(
        digest=digest,
        commit=_text(_git(folder, "rev-parse", "HEAD")),
        diff=session.put_blob(diff) if diff else None,
        files={name: session.put_blob(path.read_bytes()) for path, name in names.items()},
        untracked=tuple(sorted(name for name in names.values() if name not in tracked)),
    )


def machine() -> dict[str, str]:
    """The hardware that a run sees."""
    return {
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": str(psutil.cpu_count() or 1),
        "memory_bytes": str(psutil.virtual_memory().total),
        "accelerators": ", ".join(_accelerators()) or "none",
    }


def process() -> dict[str, str]:
    """What of the process can change a result: interpreter, locale, threads, hash seed."""
    found = {name.lower(): os.environ[name] for name in _THREAD_VARIABLES if name in os.environ}
    return found | {
        "implementation": sys.implementation.name,
        "platform": platform.platform(),
        "locale": ".".join(part or "" for part in locale.getlocale()),
    }


def _tracked(folder: Path) -> frozenset[str]:
    listing = _git(folder, "ls-files", "-z")
    return frozenset((listing or b"").decode(errors="replace").split("\0"))


def _git(folder: Path, *words: str) -> bytes | None:
    """What git prints, None where it is missing or this is no repository with a commit."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            capture_output=True,
            timeout=_GIT_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _text(output: bytes | None) -> str | None:
    return output.decode().strip() if output else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _accelerators() -> list[str]:
    try:
        listing = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            timeout=_GIT_TIMEOUT_S,
            check=True,
            text=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return listing.stdout.split("\n")[:-1]
