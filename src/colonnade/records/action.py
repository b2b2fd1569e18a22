"""An action: what was decided about a model after a report, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ActionKind = Literal["none", "retrain", "promote", "keep", "rollback"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One decision.

    Attributes:
        action: ``none`` and ``retrain`` follow a report; ``promote`` and ``keep`` follow a run.
        trigger: the condition that was asked, as declared.
        facts: what it was asked of.
        snapshot: for ``retrain``: the table version that the run is pinned to.
        run: for ``promote`` and ``keep``: the run.
        model: the model version that is live after the action.
    """

    endpoint: str
    action: ActionKind
    reason: str
    trigger: str | None = None
    facts: dict[str, float | bool | None] | None = None
    snapshot: str | None = None
    run: str | None = None
    model: str | None = None
