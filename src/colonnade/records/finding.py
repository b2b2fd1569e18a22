"""One thing that was looked at, and whether it would hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "problem", "untried"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check found.

    Attributes:
        state: ``problem``: something would break; ``untried``: it could not be tried, so nothing
            is known; never ``ok`` for what was not tried.
        found: what was tried and what came of it.
        fix: what mends it; empty where there is nothing to mend.
    """

    check: str
    state: State
    found: str
    fix: str = ""
