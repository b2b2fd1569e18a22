"""Where an error that nobody foresaw is written down, for those who mend it."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

_FOLDER: Final = "--project"


def save(error: BaseException, words: Sequence[str]) -> Path:
    """Write the frames of an error into the project's logs, else into the temporary folder.

    What an exception says may quote a cell, and the words of a command may be a name: neither is
    written, only its type and the lines of code.
    """
    place = _project(words) / ".colonnade"
    handle, name = tempfile.mkstemp(
        prefix="colonnade-defect-", suffix=".txt", dir=_logs(place) if place.is_dir() else None
    )
    lines = [f"colonnade {version('colonnade')}, Python {sys.version}", f"command: {_first(words)}"]
    known: BaseException | None = error
    while known is not None:
        lines.append(type(known).__qualname__)
        lines += traceback.format_tb(known.__traceback__)
        known = known.__cause__ or known.__context__
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write("\n".join(lines) + "\n")
    return Path(name)


def _logs(state: Path) -> Path:
    logs = state / "logs"
    logs.mkdir(exist_ok=True)
    return logs


def _project(words: Sequence[str]) -> Path:
    """The folder that the command was about, as far as its words say."""
    for word, value in zip(words, [*words[1:], ""], strict=True):
        if word == _FOLDER:
            return Path(value)
        if word.startswith(f"{_FOLDER}="):
            return Path(word.removeprefix(f"{_FOLDER}="))
    return Path(os.environ.get("COLONNADE_FOLDER", ""))


def _first(words: Sequence[str]) -> str:
    return next((word for word in words if not word.startswith("-")), "")
