"""Colonnade: the open production platform for machine learning.

A name is loaded when it is asked for: importing the package loads no engine.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from colonnade.base.errors import ColonnadeError as ColonnadeError
    from colonnade.data.asof import as_of as as_of
    from colonnade.project import Project as Project
    from colonnade.records.source import Push as Push
    from colonnade.records.source import Rest as Rest
    from colonnade.records.source import Sql as Sql
    from colonnade.train.build import TrainingSet as TrainingSet

_HOME: Final = {
    "ColonnadeError": "colonnade.base.errors",
    "Project": "colonnade.project",
    "Push": "colonnade.records.source",
    "Rest": "colonnade.records.source",
    "Sql": "colonnade.records.source",
    "TrainingSet": "colonnade.train.build",
    "as_of": "colonnade.data.asof",
}
__all__ = ["ColonnadeError", "Project", "Push", "Rest", "Sql", "TrainingSet", "as_of"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'colonnade' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
