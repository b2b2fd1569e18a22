"""Programs that tests start and that Python's package index does not bring."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def needed(name: str, package: str) -> str:
    """The path of a program; a test skips where it is missing, but never in CI."""
    found = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *map(str, FOLDERS)]))
    if found is None:
        reason = f"{name} is not installed: apt-get install {package}"
        if "CI" in os.environ:
            pytest.fail(reason)
        pytest.skip(reason)
    return found
