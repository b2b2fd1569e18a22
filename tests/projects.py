"""Small projects to test on: each state is made once in a process and copied for every test."""

from __future__ import annotations

import atexit
import http.client
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl

from colonnade.cli.main import run as command
from colonnade.compute import code
from colonnade.lifecycle import pipeline
from colonnade.records.prediction import FEATURE, predictions_of
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion
from colonnade.wiring import Workspace, create, open_workspace
from tests import databases

START = datetime(2013, 1, 1, tzinfo=UTC)
STEP = timedelta(minutes=30)  # 336 rows a week
PROJECT = """
import polars as pl
from lightgbm import LGBMClassifier

import colonnade as co

project = co.Project("small")
project.source("rows", "landing/rows*.csv")


@project.table(key="id", time="at")
def examples(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.with_columns(high=pl.col("x") > 0.5)


@project.model(label="y", features=["x", "w", "high"], gates=["auc >= 0.60", "auc > champion"])
def risk(examples):
    return LGBMClassifier(n_estimators=10, n_jobs=1, verbose=-1).fit(examples.X, examples.y)


project.deploy(risk, retrain="auc < 0.65 or drift")
"""


def rows(first: int, count: int, *, law: float = 1.0, shift: float = 0.0) -> pl.DataFrame:
    """Rows of the source: `x` says `y` as `law` is 1, its opposite as it is -1.

    Args:
        first: number of the first row; the same number is the same row.
        count: how many.
        law: how `x` and `y` belong together.
        shift: added to `x`.
    """
    random = np.random.default_rng([first, count])
    x = random.uniform(0, 1, count).round(6)
    noise = random.normal(0, 0.25, count)
    return pl.DataFrame(
        {
            "id": np.arange(first, first + count),
            "at": [START + STEP * number for number in range(first, first + count)],
            "x": x + shift,
            "w": random.choice(["a", "b", "c"], count, p=[0.6, 0.3, 0.1]),
            "y": law * (x - 0.5) + noise > 0,
        }
    ).with_columns(pl.col("at").dt.strftime("%Y-%m-%dT%H:%M:%SZ"))


def land(folder: Path, name: str, frame: pl.DataFrame) -> Path:
    """Put a CSV into the project's landing folder."""
    path = folder / "landing" / name
    path.parent.mkdir(exist_ok=True)
    frame.write_csv(path)
    return path


def empty(folder: Path, project: str = PROJECT) -> Path:
    """A project that was opened once and in which nothing has landed."""
    return _copy(_empty(), folder, project)


def fitted(folder: Path, project: str = PROJECT) -> Path:
    """A project of which 2,000 rows landed and risk@1 was fitted and deployed."""
    return _copy(_fitted(), folder, project)


def made(folder: Path, project: str = PROJECT) -> Path:
    """A project of which 400 rows landed and examples@1 was made; nothing was fitted."""
    return _copy(_made(), folder, project)


def carry_out(folder: Path, *names: str) -> list[pipeline.Step]:
    """`colonnade run` in this process."""
    with open_workspace(folder) as workspace:
        return pipeline.run(workspace.session("test"), workspace.project, workspace.folder, names)


def within(folder: Path, work: Callable[[Workspace], object]) -> object:
    """Open a project, do something, seal."""
    with open_workspace(folder) as workspace:
        return work(workspace)


def colonnade(folder: Path, *words: str) -> int:
    """A command in this process; returns its exit code."""
    return command([*words, "--project", str(folder)])


def process(folder: Path, *words: str, **options: object) -> subprocess.Popen[str]:
    """A command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "colonnade", *words, "--project", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


class Endpoint:
    """`colonnade serve` as a process on a free port, asked over HTTP."""

    def __init__(self, folder: Path, name: str = "risk") -> None:
        self.name = name
        self._process = process(folder, "serve", "--port", "0")
        said = self._process.stdout.readline() if self._process.stdout else ""
        assert said.startswith("listening on http://"), said
        self.port = int(said.rsplit(":", 1)[1])

    def ask(self, rows: list[dict], key: str) -> tuple[int, dict]:
        """Status and body of the answer to a prediction request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            body = json.dumps({"rows": rows})
            headers = {"authorization": f"Bearer {key}"}
            connection.request("POST", f"/v1/endpoints/{self.name}/predict", body, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def stop(self) -> str:
        """Let it drain; returns what it said. A process that does not end is killed."""
        self._process.terminate()
        try:
            said, _ = self._process.communicate(timeout=60)
        finally:
            self._process.kill()
        assert self._process.returncode == 0, said
        return said


def until(condition: Callable[[], object], within_s: float = 90.0) -> None:
    """Wait for a condition; the test fails when it does not come true."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


CHANCE = ("prediction_id", "predicted_at", "latency_us", "recorded_at", "observed_at")


def contents(folder: Path) -> dict[str, object]:
    """What is in a project, without ids and clocks: two ways to the same work must agree in it.

    The ledger and the rows of every version that it names are verified on the way.
    """
    with open_workspace(folder) as workspace:
        session = workspace.session("test")
        found: dict[str, object] = {}
        for name in session.names("table"):
            newest = session.version(Ref("table", name))
            for number in range(1, (newest.ref.version or 0) + 1):
                entry = session.version(Ref("table", name, number))
                version = entry.read(TableVersion)
                rows = session.scan(entry.ref).collect()
                assert rows.height == version.rows
                rows = rows.select(sorted(set(rows.columns) - {*CHANCE}))
                found[entry.subject] = (sorted(version.files), sorted(map(repr, rows.rows())))
        for kind in ("model", "deployment", "report"):
            for name in session.names(kind):
                found[kind] = session.version(Ref(kind, name)).subject
        assert workspace.verify().problems == ()
    return found


def asked(number: int) -> dict[str, object]:
    """A row of a request; its business key is its number."""
    x = number % 997 / 997
    at = (START + STEP * number).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"id": number, "at": at, "x": x, "w": "abc"[number % 3], "high": x > 0.5}


def predictions(folder: Path, endpoint: str = "risk") -> dict[str, tuple[int, float]]:
    """The predictions of rows that `asked` made: id -> number and score; none is there twice."""
    with open_workspace(folder) as workspace:
        session = workspace.session("test")
        newest = session.newest("table", predictions_of(endpoint))
        if newest is None:
            return {}
        kept = session.scan(newest.ref).collect()
    assert kept["prediction_id"].n_unique() == kept.height
    for row in kept.iter_rows(named=True):
        given = asked(int(row["key"]))
        assert all(row[FEATURE + name] == given[name] for name in ("x", "w", "high"))
    return {row["prediction_id"]: (int(row["key"]), row["score"]) for row in kept.to_dicts()}


def answered(text: str) -> object:
    """The answer in what a command printed with ``--json``."""
    return json.loads(text)["answer"]


def _copy(template: Path, folder: Path, project: str) -> Path:
    _unload()
    shutil.copytree(template, folder, dirs_exist_ok=True)
    databases.copied(folder)
    (folder / "project.py").write_text(project)
    return folder


def _unload() -> None:
    """Let go of the projects of earlier tests: each that is loaded slows the next load down."""
    code._forget()
    for name in [name for name in sys.modules if name.startswith(code._PREFIX)]:
        del sys.modules[name]


@cache
def _empty() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="colonnade-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    files = 'key_file = "root.key"\nheads_file = "heads.jsonl"\n'
    create(folder, "small", files + databases.settings())
    (folder / "project.py").write_text(PROJECT)
    with open_workspace(folder) as workspace:
        assert workspace.first_key is not None
        (folder / "api.key").write_text(workspace.first_key)
    return folder


@cache
def _fitted() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="colonnade-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    empty(folder)
    land(folder, "rows1.csv", rows(0, 2000))
    states = [step.state for step in carry_out(folder)]
    assert states == ["done"] * 4
    return folder


@cache
def _made() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="colonnade-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    empty(folder)
    land(folder, "rows1.csv", rows(0, 400))
    carry_out(folder, "examples")
    return folder
