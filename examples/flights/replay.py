"""Replay 2013: a model is fitted, served, watched, fitted again, and promoted or kept.

January to March are learnt from. Each later month is scored over HTTP by a running endpoint
process; the labels of a month land before the month after next is scored. Each report is judged by
the endpoint's own trigger, each new fit by the model's own gates.

    python examples/flights/replay.py --folder .demo/flights
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import landing
import msgspec
import polars as pl
import scoreboard
from endpoint import Endpoint, EndpointError, running, wait_for
from landing import Year
from rich.console import Console
from scoreboard import Month

from colonnade.base.errors import ColonnadeError
from colonnade.data.label import take_labels
from colonnade.govern.models import open_version
from colonnade.lifecycle import pipeline, retrain
from colonnade.monitor import watch
from colonnade.records.deployment import Deployment
from colonnade.records.prediction import predictions_of
from colonnade.records.quarantine import PREFIX
from colonnade.records.ref import Ref, parse
from colonnade.records.table import TableVersion
from colonnade.wiring import Workspace, create, open_workspace

ENDPOINT: Final = "late_departure"
HERE: Final = Path(__file__).resolve().parent
MARK: Final = ".replay"  # a folder with this file in it is ours to make anew
KEY: Final = "api.key"
RESULT: Final = "result.json"
SETTINGS: Final = 'key_file = "root.key"\nheads_file = "heads.jsonl"\n'
TRAINED: Final = landing.MONTHS[:3]
SCORED: Final = landing.MONTHS[3:]
DELAY: Final = 2  # the labels of a month are there when the month after next is scored
BATCH_ROWS: Final = 2_000
SINGLE_ROWS: Final = 5_000  # requests that carry one row, over all months
PLAIN_WIDTH: Final = 120  # of the table, where the output is no terminal


class ReplayError(RuntimeError):
    """The replay cannot go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which months are learnt from, which are scored, and how.

    Attributes:
        single_rows: requests that carry one row, spread over the scored months.
    """

    trained: Sequence[str] = TRAINED
    scored: Sequence[str] = SCORED
    single_rows: int = SINGLE_ROWS

    def singles_of(self, month: str) -> int:
        """How many rows of a month are sent one by one."""
        place, months = self.scored.index(month), len(self.scored)
        return self.single_rows * (place + 1) // months - self.single_rows * place // months


@dataclass
class Replay:
    """A replay under way.

    Attributes:
        months: the months whose labels have landed.
        single_ms: what each request of one row took, as the caller saw it.
        acknowledged: rows that the endpoint has answered.
        samples: by model version, the first prediction that it made.
    """

    workspace: Workspace
    year: Year
    console: Console
    plan: Plan
    months: list[Month] = field(default_factory=list)
    single_ms: list[float] = field(default_factory=list)
    acknowledged: int = 0
    samples: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder = self.workspace.folder
        self.landing = self.folder / "landing"
        self.session = self.workspace.session("replay")
        self.declared = self.workspace.project.endpoints[ENDPOINT]
        self.model = self.workspace.project.models[self.declared.model]

    def run(self, key: str) -> None:
        """Replay every month of the plan; `key` opens the endpoint.

        Raises:
            ColonnadeError: a step failed.
            EndpointError: the endpoint process does not answer.
        """
        self._begin()
        with running(self.folder, ENDPOINT, key) as endpoint:
            for place, month in enumerate(self.plan.scored):
                known = self.plan.scored[place - DELAY] if place >= DELAY else None
                self._know(month, known)
                wait_for(lambda: endpoint.serves(self._live()), "the endpoint to switch")
                with self._told(f"{month}: score over HTTP"):
                    self._score(endpoint, month)
            for month in self.plan.scored[-DELAY:]:
                self._know(None, month)
        self._check_each_once()

    def _begin(self) -> None:
        """Land the first months, then what `colonnade run` does: check, fit, judge, deploy."""
        first, last = self.plan.trained[0], self.plan.trained[-1]
        with self._told(f"{first} to {last}: land, check, fit the first model"):
            self.year.land_planes(self.landing)
            for month in self.plan.trained:
                for kind in ("flights", "weather", "outcomes"):
                    self.year.land(self.landing, kind, month)
            steps = pipeline.run(self.session, self.workspace.project, self.folder)
        for step in steps:
            self.console.print(f"{step.made or step.name:>20}  {step.detail}", highlight=False)
        if any(step.state == "rejected" for step in steps):
            raise ReplayError("the first model did not pass its gates, see above")

    def _know(self, month: str | None, known: str | None) -> None:
        """The schedule of `month` and the outcomes of `known` land; the loop acts on them."""
        what = [f"land the labels of {known}"] if known else []
        what += [f"land the schedule of {month}"] if month else []
        with self._told("; ".join(what)):
            if month is not None:
                self.year.land(self.landing, "flights", month)
                self.year.land(self.landing, "weather", month)
            if known is not None:
                self.year.land(self.landing, "outcomes", known)
            pipeline.run(self.session, self.workspace.project, self.folder)
        if known is not None:
            with self._told(f"{known}: label, report, act"):
                line = self._close(known)
            self.console.print(f"{'':>20}  {line.done}: {line.reason}", highlight=False)

    def _close(self, month: str) -> Month:
        """Labels, report, decision and what follows from it, as `colonnade label` and `report`."""
        live = self.session.version(Ref("model", self.model.name, self._live()))
        signature = open_version(self.session, live).signature
        path = self.landing / f"outcomes-{month}.csv"
        take_labels(self.session, ENDPOINT, signature, self.model.label, path)
        wait_for(self._flushed, "the predictions to be flushed")
        chain = [watch.report(self.session, ENDPOINT, watch.window_of(window(month)))]
        chain.append(retrain.decide(self.session, self.declared, self.model.table, chain[0]))
        while done := retrain.work(self.session, self.workspace.project, self.folder):
            chain.append(done)
        first = self.session.version(Ref("model", self.model.name, 1))
        line = scoreboard.month_of(self.session, month, chain, first)
        self.months.append(line)
        return line

    def _score(self, endpoint: Endpoint, month: str) -> None:
        """Send every flight of a month once; some of them alone, all through the month."""
        rows = self._rows(month)
        count = self.plan.singles_of(month)
        alone = {place * len(rows) // count for place in range(count)}
        rest = [row for place, row in enumerate(rows) if place not in alone]
        answers = []
        for place in sorted(alone):
            start = time.perf_counter()
            answers.append(endpoint.predict([rows[place]]))
            self.single_ms.append((time.perf_counter() - start) * 1e3)
        parts = [rest[begin : begin + BATCH_ROWS] for begin in range(0, len(rest), BATCH_ROWS)]
        answers += map(endpoint.predict, parts)
        versions = {answer.model_version for answer in answers}
        if versions != {f"{self.model.name}@{self._live()}"}:
            raise ReplayError(f"{month} was answered by {', '.join(sorted(versions))}")
        self.samples.setdefault(versions.pop(), answers[0].predictions[0].id)
        self.acknowledged += sum(len(answer.predictions) for answer in answers)

    def _rows(self, month: str) -> list[dict[str, object]]:
        """The month's flights as requests carry them: key, time and features, by name."""
        table = self.session.version(Ref("table", self.model.table))
        version = table.read(TableVersion)
        time_column = str(version.time)
        columns = list(dict.fromkeys([time_column, *version.key, *self.model.features]))
        start, end = watch.window_of(window(month))
        inside = (pl.col(time_column) >= start) & (pl.col(time_column) < end)
        flights = self.session.scan(table.ref, columns).filter(inside)
        return flights.sort(time_column, *version.key).collect().to_dicts()

    def _flushed(self) -> bool:
        """Whether every acknowledged prediction is in the prediction table."""
        newest = self.session.newest("table", predictions_of(ENDPOINT))
        return newest is not None and newest.read(TableVersion).rows >= self.acknowledged

    def _check_each_once(self) -> None:
        """Every flight of the scored months has exactly one prediction.

        Raises:
            ReplayError: it has not.
        """
        table = self.session.version(Ref("table", predictions_of(ENDPOINT)))
        keys = self.session.scan(table.ref, ["key"]).collect()["key"]
        if (keys.len(), keys.n_unique()) != (self.acknowledged, self.acknowledged):
            raise ReplayError(
                f"{self.acknowledged} flights were answered; the prediction table has "
                f"{keys.len()} rows for {keys.n_unique()} flights"
            )

    def _live(self) -> int:
        """The version of the model that is deployed."""
        deployment = self.session.version(Ref("deployment", ENDPOINT)).read(Deployment)
        return parse(f"model/{deployment.model}").version or 0

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Show what is being done, then how long it took."""
        start = time.perf_counter()
        with self.console.status(what):
            yield
        self.console.print(f"{time.perf_counter() - start:18.1f} s  {what}", highlight=False)


def window(month: str) -> str:
    """The window of a month's report; New York's last evening of 2013 is 2014 by UTC."""
    return f"{month}-01..2014-01-02" if month == landing.MONTHS[-1] else month


def make(folder: Path) -> tuple[Workspace, str]:
    """A new project of this example in `folder`; returns it and its first API key.

    Raises:
        ReplayError: the folder holds something else than an earlier replay; it is left as it is.
    """
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARK).is_file():
            raise ReplayError(f"{folder} is not empty and holds no earlier replay: left as it is")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).write_text("Made by examples/flights/replay.py, which makes it anew.\n")
    shutil.copy(HERE / "project.py", folder)
    shutil.copytree(HERE / "contracts", folder / "contracts")
    create(folder, "flights", extra=SETTINGS)
    workspace = open_workspace(folder)
    key = str(workspace.first_key)
    (folder / KEY).touch(mode=0o600)
    (folder / KEY).write_text(key)
    return workspace, key


def replay(folder: Path, console: Console, plan: Plan) -> Replay:
    """Make the project anew and replay the plan; its figures are left in ``result.json``.

    Raises:
        ReplayError: the folder is no replay's, or the replay cannot go on.
        EndpointError: the endpoint process does not answer.
        ColonnadeError: a step failed.
        ModuleNotFoundError: the data's package is not installed.
    """
    start = time.perf_counter()
    workspace, key = make(folder)
    with workspace:
        played = Replay(workspace, landing.read(landing.data_folder()), console, plan)
        played.run(key)
    result = {
        "months": [msgspec.to_builtins(line) | {"gain": line.gain} for line in played.months],
        "conclusions": scoreboard.conclusions(played.months),
        "quarantine": quarantine(played),
        "http": http_figures(played),
        "seconds": time.perf_counter() - start,
    }
    (folder / RESULT).write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    return played


def http_figures(played: Replay) -> dict[str, float]:
    """Rows and requests that went over HTTP; times as the caller saw them."""
    return {
        "rows": played.acknowledged,
        "single_row_requests": len(played.single_ms),
        "single_row_median_ms": statistics.median(played.single_ms),
        "single_row_p99_ms": statistics.quantiles(played.single_ms, n=100)[98],
    }


def quarantine(played: Replay) -> dict[str, int]:
    """Rows that break a contract, by source."""
    found = {}
    for source in played.workspace.project.sources:
        entry = played.session.newest("table", PREFIX + source)
        found[source] = 0 if entry is None else entry.read(TableVersion).rows
    return found


def commands(played: Replay, folder: Path) -> list[str]:
    """Four commands to try next, with ids of this replay."""
    newest = played.session.version(Ref("model", played.model.name)).ref.short
    landed = f"landing/flights-{played.plan.scored[0]}.csv"
    prediction = list(played.samples.values())[-1]
    words = (f"trace {prediction}", f"trace {landed}", f"trace {newest}", "audit verify")
    return [f"{_colonnade()} {word} --project {_shortest(folder)}" for word in words]


def show(played: Replay, folder: Path, took_s: float) -> None:
    """Print the table, what went over HTTP, and what to try next."""
    console = played.console
    scoreboard.show(console, played.months)
    http = http_figures(played)
    bad = ", ".join(f"{name} {rows}" for name, rows in quarantine(played).items() if rows)
    median_ms, p99_ms = http["single_row_median_ms"], http["single_row_p99_ms"]
    took_ms = f"median {median_ms:.1f} ms, p99 {p99_ms:.1f} ms"
    lines = [
        f"over HTTP: {http['rows']:,} flights, each once",
        f"  {http['single_row_requests']:,} of them one by one: {took_ms}",
        f"in quarantine: {bad or 'nothing'}",
        f"{took_s:.0f} s; the figures as JSON: {_shortest(folder / RESULT)}",
        "\nTry next:",
        *(f"  {command}" for command in commands(played, folder)),
        f"Serve it again: {_colonnade()} up --project {_shortest(folder)}",
        f"  (the API key lies in {_shortest(folder / KEY)})",
    ]
    console.print("\n".join(lines), highlight=False, soft_wrap=True)


def _colonnade() -> Path:
    return _shortest(Path(sys.executable).with_name("colonnade"))


def _shortest(path: Path) -> Path:
    """Relative to the working directory where the path is below it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path(".demo/flights"))
    parser.add_argument("--picture", type=Path, help="draw the table at the end as an SVG")
    chosen = parser.parse_args()
    folder = chosen.folder.absolute()
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    start = time.perf_counter()
    try:
        played = replay(folder, console, Plan())
    except (ColonnadeError, EndpointError, ReplayError, ModuleNotFoundError) as error:
        console.print(str(error), style="red", highlight=False, markup=False)
        return 1
    show(played, folder, time.perf_counter() - start)
    if chosen.picture is not None:
        scoreboard.picture(played.months, chosen.picture)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
