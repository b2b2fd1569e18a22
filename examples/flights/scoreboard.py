"""The table at the end: by month, the first model as it would have done, the managed one as it did.

The managed column, base rates, drift and actions are read from the ledger's entries. The frozen
column is version 1 on the very rows that the endpoint logged, scored in this process through the
same verified bundle: a month that version 1 answered itself shows the same figure twice.
"""

from __future__ import annotations

import io
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table

from colonnade.base import clock
from colonnade.govern.models import open_version
from colonnade.govern.session import Session
from colonnade.monitor.join import joined
from colonnade.records.action import Action
from colonnade.records.entry import Entry
from colonnade.records.prediction import FEATURE
from colonnade.records.report import Report
from colonnade.records.run import RunResult, Verdict
from colonnade.stats import quality

_REMOTE_FONT: Final = re.compile(r"@font-face \{.*?\}", re.DOTALL)
SUMMER: Final = ("2013-05", "2013-06", "2013-07", "2013-08", "2013-09")


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """One line of the table.

    Attributes:
        flights: predictions in the month's window.
        labelled: of these, the flights that arrived and so have an outcome.
        base_rate: share of late flights among them.
        answered_by: the model version, ``name@version``.
        frozen_auc: of version 1 on the same rows.
        managed_auc: of what was answered.
        drift: the columns whose drift is an alarm.
        columns: how many columns were watched.
        done: the action that the report led to.
        why: what decided it, in short.
        reason: what decided it, in the ledger's words.
        report: the report, ``endpoint@n``.
    """

    month: str
    flights: int
    labelled: int
    base_rate: float
    answered_by: str
    frozen_auc: float
    managed_auc: float
    drift: tuple[str, ...]
    columns: int
    done: str
    why: str
    reason: str
    report: str

    @property
    def gain(self) -> float:
        """How much better the managed model was; negative where it lost."""
        return self.managed_auc - self.frozen_auc


def month_of(session: Session, name: str, chain: Sequence[Entry], first: Entry) -> Month:
    """Read one line out of the ledger.

    Args:
        session: whose actor may read the predictions.
        name: the month.
        chain: the report's entry, then those of the actions that followed it.
        first: the entry of the frozen model version.
    """
    report = chain[0].read(Report)
    action = chain[-1].read(Action)
    gates = _gates(session, action)
    managed = cast("dict[str, float]", report.metrics["auc"])["value"]
    return Month(
        month=name,
        flights=report.predictions,
        labelled=report.labelled,
        base_rate=report.base_rate or 0.0,
        answered_by=", ".join(version.model for version in report.versions),
        frozen_auc=_frozen_auc(session, report, first),
        managed_auc=managed,
        drift=report.alarms,
        columns=len(report.drift),
        done="none" if action.run is None else f"{action.action} {action.model}",
        why="; ".join(map(_short, gates)) or action.reason,
        reason=action.reason,
        report=chain[0].ref.short,
    )


def show(console: Console, months: Sequence[Month]) -> None:
    """Print the table, and below it what it says."""
    table = Table("month", box=box.SIMPLE_HEAD, title="2013, month by month", padding=(0, 1))
    for heading in ("flights", "late", "AUC frozen", "AUC managed", "gain", "drift"):
        table.add_column(heading, justify="right")
    table.add_column("by", no_wrap=True)
    table.add_column("done after its report, and why")
    for line in months:
        colour = "green" if line.gain > 0 else "red" if line.gain < 0 else "dim"
        table.add_row(
            line.month,
            f"{line.flights:,}",
            f"{line.base_rate:.3f}",
            f"{line.frozen_auc:.3f}",
            f"{line.managed_auc:.3f}",
            f"[{colour}]{line.gain:+.3f}",
            f"{len(line.drift)}/{line.columns}",
            line.answered_by.removeprefix("late_departure"),
            f"{line.done}: {line.why}",
        )
    console.print(table)
    for sentence in conclusions(months):
        console.print(sentence, highlight=False)


def picture(months: Sequence[Month], path: Path) -> None:
    """Draw what `show` prints as an SVG that loads nothing from elsewhere."""
    console = Console(record=True, file=io.StringIO(), width=120)
    show(console, months)
    drawing = console.export_svg(title="make demo", clear=True)
    path.write_text(_REMOTE_FONT.sub("", drawing), encoding="utf-8")


def conclusions(months: Sequence[Month]) -> list[str]:
    """What the table says; a loss is said as one."""
    gains = {line.month: line.gain for line in months}
    said = [
        "late: share of flights more than 15 minutes late; drift: columns that alarm; by: version",
        "managed: what the endpoint answered; frozen: version 1 on the same rows, in this process",
    ]
    if summer := [gains[month] for month in SUMMER if month in gains]:
        said.append(f"May to September: better by {statistics.fmean(summer):+.4f} on average")
    said.append(f"all months: better by {statistics.fmean(gains.values()):+.4f} on average")
    lost = [f"LOST {month}: {gain:+.4f}" for month, gain in gains.items() if gain < 0]
    return said + (lost or ["no month was lost"])


def _frozen_auc(session: Session, report: Report, first: Entry) -> float:
    """Version 1 on the labelled rows of the report, as the prediction log has them."""
    predictor = open_version(session, first)
    names = [feature.name for feature in predictor.signature.features]
    window = (clock.instant(report.window[0]), clock.instant(report.window[1]))
    columns = [FEATURE + name for name in names]
    rows = joined(session, report.endpoint, window, clock.instant(report.as_of), columns)
    known = rows.filter(pl.col("label").is_not_null())
    scores = predictor.score_columns({name: known[FEATURE + name].to_list() for name in names})
    late = (known["label"] == predictor.signature.classes[1]).to_numpy()
    return quality.estimate("auc", late, scores).value or 0.0


def _gates(session: Session, action: Action) -> list[Verdict]:
    """The verdicts that decided: those that failed, else the one against the champion."""
    if action.run is None:
        return []
    finished = session.entries(kind="run", verb="finish", subject=f"run/{action.run}", limit=1)
    verdicts = finished[0].read(RunResult).gates
    failed = [verdict for verdict in verdicts if verdict.passed is False]
    return failed or [verdict for verdict in verdicts if "champion" in verdict.gate]


def _short(verdict: Verdict) -> str:
    """``+0.0120, surely +0.0094, on 13,997 newer rows`` for a champion, else the reason."""
    found = cast("dict[str, float | None]", verdict.evidence)
    value, low, rows = (found.get(name) for name in ("value", "low", "n"))
    if "champion" not in verdict.gate or value is None or low is None or rows is None:
        return f"{verdict.gate}: {verdict.reason}"
    return f"{value:+.4f} (90 % sure of {low:+.4f}) on {rows:,} new rows"
