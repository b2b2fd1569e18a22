"""The table at the end: every month, the first model as it would have done, the managed one as it did.

The managed column, base rates and drift are read from the report entries of the ledger. The frozen
column is version 1 on the very rows that the endpoint logged, scored in this process through the
same verified bundle: a month that version 1 answered itself shows the same figure twice.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import polars as pl
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

SUMMER: Final = ("2013-05", "2013-06", "2013-07", "2013-08", "2013-09")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """How a month was scored.

    Attributes:
        model: the version that answered, ``name@version``.
        single_ms: what each request of one row took, as the caller saw it.
    """

    model: str
    single_ms: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """One line of the table.

    Attributes:
        labelled: of the flights, those that arrived somewhere as planned and have an outcome.
        model: the version that answered.
        frozen_auc: of version 1 on the same rows.
        managed_auc: of what was answered.
        drift: the columns whose drift is an alarm.
        columns: how many were watched.
        done: the action that followed the report, in short.
        why: the sentence of the gate or the trigger that decided.
        report: the ledger's entry that all of it is read from.
    """

    month: str
    flights: int
    labelled: int
    base_rate: float
    model: str
    frozen_auc: float
    managed_auc: float
    drift: tuple[str, ...]
    columns: int
    done: str
    why: str
    report: str
    median_single_ms: float
    p99_single_ms: float

    @property
    def gain(self) -> float:
        """How much better the managed model was."""
        return self.managed_auc - self.frozen_auc


def month_of(
    session: Session, name: str, sent: Sent, chain: Sequence[Entry], first: Entry
) -> Month:
    """Read one line out of the ledger.

    Args:
        session: whose actor may read the predictions.
        name: the month.
        sent: how it was scored.
        chain: the report, and the actions that followed it.
        first: the model version of the frozen column.
    """
    report = chain[0].read(Report)
    done, why = _done(session, [entry.read(Action) for entry in chain[1:]])
    auc = cast("dict[str, float]", report.metrics["auc"])
    return Month(
        month=name,
        flights=report.predictions,
        labelled=report.labelled,
        base_rate=report.base_rate or 0.0,
        model=sent.model,
        frozen_auc=_frozen_auc(session, report, first),
        managed_auc=auc["value"],
        drift=report.alarms,
        columns=len(report.drift),
        done=done,
        why=why,
        report=chain[0].ref.short,
        median_single_ms=statistics.median(sent.single_ms),
        p99_single_ms=statistics.quantiles(sent.single_ms, n=100)[98],
    )


def show(console: Console, months: Sequence[Month]) -> None:
    """Print the table, the averages, and every month that the managed model loses."""
    table = Table("month", title="2013, month by month")
    for heading in ("flights", "base rate", "AUC frozen", "AUC managed", "gain", "drift"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("answered by", "what was done after its report, and why"):
        table.add_column(heading)
    for line in months:
        table.add_row(
            line.month,
            f"{line.flights:,}",
            f"{line.base_rate:.3f}",
            f"{line.frozen_auc:.3f}",
            f"{line.managed_auc:.3f}",
            f"[{_colour(line.gain)}]{line.gain:+.3f}",
            f"{len(line.drift)} of {line.columns}",
            line.model,
            f"{line.done}\n[dim]{line.why}",
        )
    console.print(table)
    for sentence in conclusions(months):
        console.print(sentence, highlight=False)


def conclusions(months: Sequence[Month]) -> list[str]:
    """What the table says, a loss as a loss."""
    summer = [line.gain for line in months if line.month in SUMMER]
    said = [
        f"frozen: {months[0].model.partition('@')[0]}@1, scored in this process on the logged rows; "
        "managed: what the endpoint answered"
    ]
    if summer:
        said.append(f"May to September: the managed model is better by {_mean(summer):+.4f}")
    said.append(f"all months: better by {_mean([line.gain for line in months]):+.4f}")
    lost = [line for line in months if line.gain < 0]
    said += [f"LOST: {line.month} by {-line.gain:.4f} ({line.model})" for line in lost]
    return said + ([] if lost else ["no month was lost"])


def _frozen_auc(session: Session, report: Report, first: Entry) -> float:
    predictor = open_version(session, first)
    names = [feature.name for feature in predictor.signature.features]
    window = (clock.instant(report.window[0]), clock.instant(report.window[1]))
    columns = [FEATURE + name for name in names]
    rows = joined(session, report.endpoint, window, clock.instant(report.as_of), columns)
    known = rows.filter(pl.col("label").is_not_null())
    scores = predictor.score_columns({n: known[FEATURE + n].to_list() for n in names})
    truth = (known["label"] == predictor.signature.classes[1]).to_numpy()
    return quality.estimate("auc", truth, scores).value or 0.0


def _done(session: Session, actions: Sequence[Action]) -> tuple[str, str]:
    """What followed a report, in short, and the sentence that decided."""
    last = actions[-1]
    if last.run is None:
        return "nothing", last.reason
    gates = _gates(session, last.run)
    if last.action == "promote":
        decisive = next((gate for gate in gates if "champion" in gate.gate), gates[-1])
        return f"{actions[0].reason}: fitted again, promoted {last.model}", decisive.reason
    failed = [f"{gate.gate}: {gate.reason}" for gate in gates if gate.passed is False]
    return f"{actions[0].reason}: fitted again, kept {last.model}", "; ".join(failed)


def _gates(session: Session, run: str) -> tuple[Verdict, ...]:
    finished = session.entries(kind="run", verb="finish", subject=f"run/{run}", limit=1)
    return finished[0].read(RunResult).gates


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values)


def _colour(gain: float) -> str:
    return "green" if gain > 0 else "red" if gain < 0 else "default"
