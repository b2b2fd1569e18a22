"""Programs that a test leans on and that are no Python packages."""

from __future__ import annotations

import os
import shutil

import pytest


def needed(tool: str, how_to_install: str) -> str:
    """The path of a program; without it the test is skipped, and in CI it fails."""
    found = shutil.which(tool)
    return found or missing(f"{tool} is not installed ({how_to_install})")


def missing(reason: str) -> str:
    """Skip for a reason that lies in this machine; CI has to be a machine that has it all."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
