"""Disks that are full, fail or write by half: one clear error, nothing half-visible, it goes on.

Each row of docs/faults.md has its cases here. The commands are real processes. A full disk is a
real one (a small tmpfs, or a write refused with ENOSPC where the table says so), an I/O error and
a short write are made by a library that is loaded before libc's (`tests/faulty.c`).
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from colonnade.wiring import open_workspace
from tests.disks import Disk, Ended, Fault, Forks, small_disk
from tests.projects import PROJECT, contents, empty, fitted, land, rows

pytestmark = pytest.mark.timeout(240)

CODE = re.compile(r"^(CN-[A-Z]+-\d{3}): ", re.MULTILINE)
WITHOUT_CHAMPION = PROJECT.replace(', "auc > champion"', "")


def prepared(folder: Path) -> Path:
    """A project in which everything that a command here works on is there."""
    fitted(folder, WITHOUT_CHAMPION)
    land(folder, "rows2.csv", rows(2000, 300))
    rows(3000, 50).with_columns(high=pl.col("x") > 0.5).drop("y").write_csv(folder / "asked.csv")
    rows(0, 40).select("id", "at", "y").write_csv(folder / "outcomes.csv")
    return folder


def one_error(ended: Ended, *codes: str) -> str:
    """The only error that a command ended with."""
    assert ended.code == 4, ended.said
    assert "Traceback" not in ended.said
    found = CODE.findall(ended.said)
    assert len(found) == 1, ended.said
    assert found[0] in codes, ended.said
    assert "\n  fix: " in ended.said
    return ended.said


def no_leftovers(folder: Path) -> None:
    """No file that nobody names and nobody removes."""
    odd = re.compile(r"#\d+$|\.tmp$|/\.[^/]+\.[0-9a-f-]{16,}$")
    assert [path for path in folder.rglob("*") if odd.search(str(path))] == []


COMMANDS: dict[str, tuple[str, ...]] = {
    "run": ("run",),
    "run risk": ("run", "risk"),
    "label": ("label", "risk", "{folder}/outcomes.csv"),
    "predict": ("predict", "risk", "--in", "{folder}/asked.csv", "--out", "{folder}/scored.csv"),
    "promote": ("model", "promote", "risk@1"),
    "rotate": ("access", "rotate"),
}


def words(command: str, folder: Path) -> list[str]:
    return [word.format(folder=folder) for word in COMMANDS[command]]


@pytest.fixture(scope="module")
def unbroken(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], object]:
    """What a command comes to where nothing goes wrong."""

    @cache
    def result(command: str) -> object:
        folder = prepared(tmp_path_factory.mktemp("unbroken") / "project")
        ended = forks.run(folder, *words(command, folder))
        assert ended.code == 0, ended.said
        return outcome(folder)

    return result


def outcome(folder: Path) -> object:
    scored = folder / "scored.csv"
    return contents(folder), pl.read_csv(scored)["score"].to_list() if scored.exists() else None


class Case(NamedTuple):
    """A command, the files that it writes on a disk that fails, and what it says then."""

    what: str  # a row of docs/faults.md
    command: str
    path: str
    call: str = "write"
    how: str = "EIO"
    code: str = "CN-DISK-002"


TABLE, DATABASE, HEADS = "a table", "the metadata database", "exported heads"
BLOBS, CONTRACT, KEYS, OUTPUT = "blobs", "a proposed contract", "the key file", "an output file"
FULL = "CN-DISK-001"
CASES = [
    Case(TABLE, "run", "/tables/rows/part-"),
    Case(TABLE, "run", "/tables/rows/part-", how="ENOSPC", code=FULL),
    Case(TABLE, "run", "/tables/rows/part-", "sync"),
    Case(TABLE, "run", "/tables/examples/_delta_log/"),
    Case(TABLE, "run", "/tables/examples/_delta_log/", "sync"),
    Case(TABLE, "label", "/tables/labels.risk/"),
    Case(TABLE, "predict", "/tables/predictions.risk/"),
    Case(DATABASE, "run", "/meta.db", code="CN-DATABASE-002"),
    Case(DATABASE, "run", "/meta.db-wal", "sync", code="CN-DATABASE-002"),
    Case(DATABASE, "promote", "/meta.db-wal", how="ENOSPC", code="CN-DATABASE-002"),
    Case(HEADS, "run", "/heads.jsonl", how="ENOSPC", code="CN-LEDGER-001"),
    Case(HEADS, "run", "/heads.jsonl", "sync", code="CN-LEDGER-001"),
    Case(BLOBS, "run risk", "/blobs/"),
    Case(BLOBS, "run risk", "/blobs/", "sync"),
    Case(BLOBS, "run risk", "/blobs/", how="ENOSPC", code=FULL),
    Case(CONTRACT, "run", "/contracts/"),
    Case(CONTRACT, "run", "/contracts/", how="ENOSPC", code=FULL),
    Case(KEYS, "rotate", "/.root.key."),
    Case(KEYS, "rotate", "/.root.key.", "sync"),
    Case(KEYS, "rotate", "/.root.key.", how="ENOSPC", code=FULL),
    Case(OUTPUT, "predict", "/.scored.csv."),
    Case(OUTPUT, "predict", "/.scored.csv.", "sync"),
    Case(OUTPUT, "predict", "/.scored.csv.", how="ENOSPC", code=FULL),
]


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_a_disk_that_refuses_is_one_error_and_the_same_command_goes_on(
    forks, unbroken, tmp_path, case
):
    folder = prepared(tmp_path / "project")
    if case.what == CONTRACT:
        shutil.rmtree(folder / "contracts")
    asked = words(case.command, folder)
    ended = forks.run(folder, *asked, fault=Fault(case.path, case.call, case.how))
    assert ended.hits
    print(ended.said)
    one_error(ended, case.code)
    contents(folder)
    again = forks.run(folder, *asked)
    assert again.code == 0, again.said
    assert outcome(folder) == unbroken(case.command)
    no_leftovers(folder)


@pytest.mark.parametrize("command", COMMANDS)
def test_writes_that_are_done_by_half_are_carried_on(forks, unbroken, tmp_path, command):
    folder = prepared(tmp_path / "project")
    ended = forks.run(folder, *words(command, folder), fault=Fault(str(folder), how="half"))
    assert (ended.code, len(ended.hits) > 1) == (0, True), ended.said
    assert outcome(folder) == unbroken(command)


def room_for(disk: Disk, room: int, command: Callable[[], Ended]) -> Ended:
    """Run a command while so much room is left, then make room again."""
    disk.leave(room)
    try:
        return command()
    finally:
        disk.empty()


@pytest.mark.own_mounts
def test_a_first_run_on_a_disk_that_is_full_sooner_or_later(forks, tmp_path):
    land(empty(tmp_path / "unbroken"), "rows1.csv", rows(0, 12_000))
    assert forks.run(tmp_path / "unbroken", "run").code == 0
    with small_disk(tmp_path / "disk", "16m") as disk:
        folder = empty(disk.path / "project")
        land(folder, "rows1.csv", rows(0, 12_000))
        codes = []
        while (ended := room_for(disk, len(codes) * 32_768, lambda: forks.run(folder, "run"))).code:
            one_error(ended, "CN-DISK-001", "CN-DATABASE-002", "CN-LEDGER-001")
            codes += CODE.findall(ended.said)
            contents(folder)
        print(codes)
        assert {"CN-DISK-001", "CN-DATABASE-002"} <= {*codes}
        assert contents(folder) == contents(tmp_path / "unbroken")
        no_leftovers(folder)


@pytest.mark.parametrize("how", ["EIO", "ENOSPC"])
def test_a_retraining_waits_for_its_disk(forks, tmp_path, how):
    folder = prepared(tmp_path / "project")
    (folder / "project.py").write_text(WITHOUT_CHAMPION.replace("auc < 0.65", "auc < 0.999"))
    rows(2000, 300).select("id", "at", "y").write_csv(folder / "outcomes.csv")
    asked = rows(2000, 300).with_columns(high=pl.col("x") > 0.5).drop("y")
    asked.write_csv(folder / "asked.csv")
    for command in ("run", "predict", "label"):
        assert forks.run(folder, *words(command, folder)).code == 0
    report = ("report", "risk", "--window", "2013-02-01..2013-03-01")
    code = "CN-DISK-001" if how == "ENOSPC" else "CN-DISK-002"
    one_error(forks.run(folder, *report, fault=Fault("/blobs/", how=how)), code)
    with open_workspace(folder) as workspace:
        assert [job.state for job in workspace.session("test").open_jobs()] == ["waiting"]
    again = forks.run(folder, *report)
    assert "  promote: " in again.said
    assert contents(folder)["report"] == "report/risk@1"
    assert contents(folder)["deployment"] == "deployment/risk@2"


PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
ELSEWHERE = {  # rows that other tests than those of CASES hold
    "a new project": "test_an_init_on_a_disk_that_is_full_sooner_or_later",
    "rows that were asked for": "test_what_does_not_fit_on_the_disk_leaves_nothing",
    "an online table": "test_a_full_disk_is_said_and_the_version_before_stays",
    "a retraining": "test_a_retraining_waits_for_its_disk",
    "a push": "test_a_full_disk_is_503_until_there_is_room",
    "a scheduled run": "test_a_run_that_fails_is_tried_again_later_and_later_and_then_given_up",
    "the spool": "test_a_spool_whose_disk_fails_is_503_until_it_does_not",
    "the prediction table, from the spool": "test_a_store_that_fails_does_not_end_the_answering",
    "the ledger, while serving": "test_a_store_that_fails_does_not_end_the_answering",
}


def test_the_page_has_a_row_for_each_writer_and_says_its_codes():
    lines = PAGE.read_text().split("## Two at once")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    page = {row[0]: row for row in cells[2:]}
    assert {*page} == {case.what for case in CASES} | {*ELSEWHERE}
    for case in CASES:
        cell = page[case.what][2 if case.how == "ENOSPC" else 3]
        assert case.code in cell, case
    tests = "".join(path.read_text() for path in Path(__file__).parents[1].glob("*/test_*.py"))
    assert all(f"def {name}" in tests for name in ELSEWHERE.values())


@pytest.mark.own_mounts
def test_an_init_on_a_disk_that_is_full_sooner_or_later(forks, tmp_path):
    with small_disk(tmp_path / "disk", "4m") as disk:
        folder, home = disk.path / "first", {"HOME": str(disk.path)}
        said, room = "", 0
        while True:
            ended = room_for(
                disk, room, lambda: forks.run(folder, "init", str(folder), environment=home)
            )
            said += ended.said
            if ended.code == 0:
                break
            one_error(ended, "CN-DISK-001", "CN-DATABASE-002", "CN-LEDGER-001")
            room += 12_288
        shown = re.findall(r"shown this once: (cn_\S+)", said)[-1]  # earlier ones never opened
        with closing(sqlite3.connect(folder / ".colonnade" / "meta.db")) as connection:
            opening = connection.execute("SELECT sha256 FROM api_keys").fetchall()
        assert opening == [(hashlib.sha256(shown.encode()).hexdigest(),)]
        assert {path.name for path in folder.iterdir()} == {
            "colonnade.toml", "project.py", "landing", ".colonnade",
        }  # fmt: skip
        assert (folder / ".colonnade" / ".gitignore").read_text() == "*\n"
        assert len(list((disk.path / ".config" / "colonnade").glob("*.key"))) == 1
        no_leftovers(disk.path)
