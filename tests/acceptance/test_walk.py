"""The whole walk with real processes: from an empty folder to a retrained model that answers."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from colonnade.wiring import open_workspace
from tests import databases
from tests.projects import Endpoint, answered, land, rows, until

pytestmark = pytest.mark.timeout(240)
NAME = "first_model"


class Callers:
    """Somebody who asks an endpoint without a pause."""

    def __init__(self, endpoint: Endpoint, key: str) -> None:
        self.versions: list[str] = []
        self.failures: list[object] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._call, args=(endpoint, key), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _call(self, endpoint: Endpoint, key: str) -> None:
        while not self._stop.wait(0.03):
            status, found = endpoint.ask([{"x": 0.9}], key)
            if status == 200:
                self.versions.append(found["model_version"])
            else:
                self.failures.append(found)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLONNADE_DATABASE_URL", databases.fresh(tmp_path))
    return tmp_path / "first"


@pytest.fixture
def stopping() -> Iterator[list[Endpoint | Callers]]:
    """What a test started, to be stopped at its end, the newest first."""
    started: list[Endpoint | Callers] = []
    yield started
    for one in reversed(started):
        one.stop()


def told(folder: Path, *words: str, code: int = 0) -> str:
    """A command as a process; returns what it printed."""
    where = [] if words[0] == "init" else ["--project", str(folder)]
    command = [sys.executable, "-m", "colonnade", *words, *where]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def begun(folder: Path) -> str:
    """init, land, run: the first model is fitted and deployed; returns the API key."""
    said = told(folder, "init", str(folder))
    land(folder, "rows1.csv", rows(0, 400).rename({"y": "label"}))
    steps = answered(told(folder, "run", "--json"))
    assert [(step["name"], step["state"]) for step in steps] == [
        ("rows", "done"), ("examples", "done"), (NAME, "done"), (NAME, "done"),
    ]  # fmt: skip
    return next(word for word in said.split() if word.startswith("cn_"))


def turned(folder: Path, newer: pl.DataFrame, first: str) -> None:
    """The world has turned: labels say so, the report sees it, a new fit is made and promoted."""
    land(folder, "rows2.csv", newer.rename({"y": "label"}))
    newer.head(1000).select("id", label="y").write_csv(folder / "outcomes.csv")
    told(folder, "run", "examples")
    assert "1,000 labels" in told(folder, "label", NAME, str(folder / "outcomes.csv"))
    until(lambda: flushed(folder, first))
    made = answered(told(folder, "report", NAME, "--window", "2013-01-01..2013-03-01", "--json"))
    report = made["report"]["body"]
    assert (report["predictions"], report["labelled"]) == (1000, 1000)
    assert report["facts"]["auc"] < 0.5
    assert [action["body"]["action"] for action in made["actions"]] == ["retrain", "promote"]
    assert made["actions"][1]["body"]["model"] == f"{NAME}@2"


def flushed(folder: Path, identifier: str) -> bool:
    with open_workspace(folder) as workspace:
        return bool(workspace.session("test").segments_of(identifier))


def explained(folder: Path, first: str, label: str) -> None:
    """Every answer leads back to its rows, every deployment to the report that wanted it."""
    traced = answered(told(folder, "trace", first, "--json"))
    then = traced["then"]
    assert then["prediction"]["key"] == "400"
    assert then["deployment"]["signature_verified"]["model"] == f"{NAME}@1"
    assert then["model"]["from"][0]["from"][0]["ref"] == "table/examples@1"
    assert [found["label"] for found in traced["since"]["labels"]] == [label]
    deployed = answered(told(folder, "trace", f"deployment/{NAME}@2", "--json"))["then"]
    assert {node["ref"].partition("/")[0] for node in deployed["from"]} == {"model", "action"}
    assert json.dumps(deployed).count('"verb": "decide"') == 1
    assert f"report/{NAME}@1" in json.dumps(deployed)
    assert "the chain holds" in told(folder, "audit", "verify")


def test_from_an_empty_folder_to_a_retrained_model(folder, stopping):
    key = begun(folder)
    stopping.append(endpoint := Endpoint(folder, NAME))
    until(lambda: endpoint.ask([{"x": 0.9}], key)[0] == 200)
    stopping.append(callers := Callers(endpoint, key))
    newer = rows(400, 2000, law=-1.0)
    asked = newer.head(1000).select("id", "at", "x").to_dicts()
    status, found = endpoint.ask(asked, key)
    assert (status, found["model_version"], len(found["predictions"])) == (200, f"{NAME}@1", 1000)
    assert endpoint.ask(asked, "cn_wrong")[0] == 401
    first = found["predictions"][0]

    turned(folder, newer, first["id"])
    until(lambda: callers.versions[-1:] == [f"{NAME}@2"])
    callers.stop()
    assert callers.failures == []
    assert callers.versions == sorted(callers.versions)
    again = endpoint.ask(asked[:1], key)[1]["predictions"][0]
    assert abs(again["score"] - first["score"]) > 0.1
    explained(folder, first["id"], str(newer["y"][0]).lower())
