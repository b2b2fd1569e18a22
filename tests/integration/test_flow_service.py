"""The worker's loop: what lands is taken over, what fails is said once and stands in no way."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import polars as pl

from colonnade.lifecycle import service
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion
from colonnade.wiring import Workspace, open_workspace
from tests.projects import PROJECT, empty, fitted, land, rows

ARRIVING = PROJECT.replace('"landing/rows*.csv"', '"landing/rows*.csv", schedule="on arrival"')


def settled(path: Path) -> Path:
    """A file to which nobody has written for an hour."""
    os.utime(path, (path.stat().st_mtime - 7200,) * 2)
    return path


def times(count: int) -> Callable[[], bool]:
    """Turns true at the call behind `count`."""
    left = iter([False] * count + [True] * 1000)
    return lambda: next(left)


def work(folder: Path, rounds: int) -> list[str]:
    said: list[str] = []

    def loop(workspace: Workspace) -> None:
        session = workspace.session("worker")
        service.work(session, workspace.project, workspace.folder, times(rounds), said.append)

    with open_workspace(folder) as workspace:
        loop(workspace)
    return said


def files(folder: Path) -> int:
    with open_workspace(folder) as workspace:
        newest = workspace.session("test").newest("table", "rows")
        return 0 if newest is None else len(newest.read(TableVersion).files)


def test_a_file_that_arrived_is_carried_through_to_the_model(tmp_path):
    empty(tmp_path, ARRIVING)
    settled(land(tmp_path, "rows1.csv", rows(0, 400)))
    said = work(tmp_path, 2)
    assert [line.split(":")[0] for line in said] == [
        "done source rows@1",
        "done table examples@1",
        "done model risk@1",
        "done endpoint risk@1",
    ]


def test_a_file_that_is_still_written_waits(tmp_path):
    fitted(tmp_path, ARRIVING)
    path = land(tmp_path, "rows2.csv", rows(2000, 10))
    os.utime(path, (path.stat().st_mtime + 3600,) * 2)
    assert work(tmp_path, 2) == []
    assert files(tmp_path) == 1
    settled(path)
    work(tmp_path, 2)
    assert files(tmp_path) == 2


def test_a_file_that_is_refused_is_said_once(tmp_path):
    fitted(tmp_path, ARRIVING)
    bad = settled(land(tmp_path, "rows2.csv", pl.DataFrame({"other": [1]})))
    said = work(tmp_path, 4)
    assert len(said) == 1
    assert said[0].startswith("worker: CN-CONTRACT-005: landing/rows2.csv")
    assert bad.exists()


def test_a_refused_file_that_was_mended_is_looked_at_again(tmp_path):
    fitted(tmp_path, ARRIVING)
    settled(land(tmp_path, "rows2.csv", pl.DataFrame({"other": [1]})))
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if "CN-CONTRACT-005" in text:
            settled(land(tmp_path, "rows2.csv", rows(2000, 10)))
            os.utime(tmp_path / "landing" / "rows2.csv", (0, 0))

    with open_workspace(tmp_path) as workspace:
        session = workspace.session("worker")
        service.work(session, workspace.project, workspace.folder, times(3), say)
    assert said[1].startswith("done source rows@2")
    assert files(tmp_path) == 2


def test_heads_that_cannot_be_exported_are_said_once_and_the_work_goes_on(tmp_path):
    fitted(tmp_path, ARRIVING)
    with open_workspace(tmp_path) as workspace:
        session = workspace.session("worker")
        (tmp_path / "heads.jsonl").rename(tmp_path / "kept.jsonl")
        (tmp_path / "heads.jsonl").mkdir()
        said: list[str] = []
        for number in range(3):
            session.record("write", "note", Ref("project", "p"), {"n": number})
            settled(land(tmp_path, f"rows{number}2.csv", rows(2000 + 10 * number, 10)))
            service.work(session, workspace.project, workspace.folder, times(1), said.append)
        (tmp_path / "heads.jsonl").rmdir()
        (tmp_path / "kept.jsonl").rename(tmp_path / "heads.jsonl")
    assert sum("CN-LEDGER-001" in line for line in said) == 3
    assert files(tmp_path) == 4
    with open_workspace(tmp_path) as workspace:
        assert workspace.verify().holds
