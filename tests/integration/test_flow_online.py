"""Online tables through the commands: published with the version, read by key, healed."""

from __future__ import annotations

import json
import shutil

import polars as pl
import pytest

from colonnade.base.errors import VerdictError
from colonnade.cli.main import run
from colonnade.wiring import open_workspace
from tests.projects import carry_out, empty, land

PROJECT = """
import polars as pl
import colonnade as co

project = co.Project("small")
project.source("landed", "landing/rows*.csv")

@project.table(key="plane", time=("since", "known"), online=True)
def planes(landed):
    return landed
"""


@pytest.fixture
def folder(tmp_path):
    empty(tmp_path, PROJECT)
    land(tmp_path, "rows1.csv", rows(("N1", 1, 1, 100), ("N1", 3, 3, 120), ("N2", 2, 2, 80)))
    carry_out(tmp_path)
    return tmp_path


def rows(*values):
    days = [(plane, f"2013-01-0{since}", f"2013-01-0{known}", seats)
            for plane, since, known, seats in values]  # fmt: skip
    return pl.DataFrame(days, schema=["plane", "since", "known", "seats"], orient="row")


def asked(folder, capsys, *words, table="planes"):
    capsys.readouterr()
    code = run(["data", "online", table, *words, "--json", "--project", str(folder)])
    return code, json.loads(capsys.readouterr().out)


def seats(folder, capsys, plane):
    return asked(folder, capsys, plane)[1]["answer"]["seats"]


def test_the_newest_row_of_a_key_is_answered(folder, capsys):
    assert seats(folder, capsys, "N1") == 120
    assert seats(folder, capsys, "N2") == 80


def test_a_row_that_comes_late_does_not_take_the_place_of_a_newer_one(folder, capsys):
    land(folder, "rows2.csv", rows(("N1", 2, 4, 110), ("N2", 5, 5, 90)))
    carry_out(folder)
    assert seats(folder, capsys, "N1") == 120
    assert seats(folder, capsys, "N2") == 90


def test_what_is_gone_is_published_again_by_the_next_run(folder, capsys):
    shutil.rmtree(folder / ".colonnade" / "online")
    assert asked(folder, capsys, "N1")[1]["error"]["code"] == "CN-FEATURE-003"
    carry_out(folder)
    assert seats(folder, capsys, "N1") == 120


def test_publishing_and_reading_are_in_the_ledger(folder, capsys):
    asked(folder, capsys, "N1")
    with open_workspace(folder) as workspace:
        entries = workspace.session("test").entries(subject="table/planes@1")
    assert [entry.verb for entry in entries] == ["read", "publish", "read", "write"]
    assert entries[0].body["purpose"] == "data online"


@pytest.mark.parametrize(
    ("table", "words", "code"),
    [
        ("plains", ["N1"], "CN-FEATURE-003"),
        ("landed", ["N1"], "CN-FEATURE-003"),
        ("planes", ["N9"], "CN-FEATURE-004"),
        ("planes", ["N1", "N2"], "CN-FEATURE-005"),
    ],
)
def test_what_cannot_be_answered_is_said(folder, capsys, table, words, code):
    ended, said = asked(folder, capsys, *words, table=table)
    assert (ended, said["error"]["code"]) == (2, code)


def test_two_rows_of_one_moment_are_refused(folder):
    land(folder, "rows2.csv", rows(("N1", 3, 3, 121)))
    with pytest.raises(VerdictError, match="CN-TABLE-006"):
        carry_out(folder)


def test_a_backfill_is_published_too(tmp_path, capsys):
    empty(tmp_path, PROJECT.replace("online=True", 'partition="day", online=True'))
    land(tmp_path, "rows1.csv", rows(("N1", 1, 1, 100), ("N1", 3, 3, 120)))
    words = ["run", "planes", "--from", "2013-01-01", "--to", "2013-01-01"]
    assert run([*words, "--project", str(tmp_path)]) == 0
    assert seats(tmp_path, capsys, "N1") == 100
