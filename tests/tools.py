"""Programs that tests need beside Python's packages: found or built, else skipped with a reason."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_HERE = Path(__file__).parent
# Debian's, not in everybody's PATH.
_FOLDERS = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), Path("/usr/sbin")]


def needed(program: str, how: str) -> str:
    """Where a program is. Without it a test is skipped on a person's machine and fails in CI."""
    path = os.pathsep.join([os.environ["PATH"], *map(str, _FOLDERS)])
    found = shutil.which(program, path=path)
    return found or missing(f"{program} is missing: {how}")


def missing(reason: str) -> str:
    """Skip for a reason that lies in this machine; CI has to be a machine that has it all."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def preload(source: str, folder: Path) -> Path:
    """Build a C file of the tests as a library for LD_PRELOAD."""
    compiler = needed("cc", "apt-get install gcc libc6-dev")
    library = folder / Path(source).with_suffix(".so").name
    words = [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([*words, "-o", library, _HERE / source, "-ldl"], check=True)
    return library
