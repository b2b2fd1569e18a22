"""Sources whose rows are merged by key: the newest row wins, and the profile is right at once."""

from __future__ import annotations

from pathlib import Path

import msgspec
import polars as pl
import pytest

from colonnade.base.errors import ColonnadeError, UsageError, VerdictError
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion
from colonnade.stats import frame, profile
from colonnade.stats.profile import Profile
from colonnade.wiring import open_workspace
from tests.projects import carry_out, empty, land

PROJECT = """
import colonnade as co

project = co.Project("small")
project.source("rows", "landing/rows*.csv", mode={mode!r}, key={key!r})
"""


def declared(folder: Path, mode: str = "merge", key: str | list[str] = "id") -> Path:
    return empty(folder, PROJECT.format(mode=mode, key=key))


def rows(*pairs: tuple[int | None, float]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "id": [a for a, _ in pairs],
            "x": [float(b) for _, b in pairs],
            "flag": [b > 2 for _, b in pairs],
        }
    )


def state(folder: Path) -> tuple[list[tuple], TableVersion, Profile]:
    with open_workspace(folder) as workspace:
        session = workspace.session("test")
        entry = session.version(Ref("table", "rows"))
        version = entry.read(TableVersion)
        found = session.scan(entry.ref).select("id", "x").collect()
        kept = msgspec.json.decode(session.blob(version.profile), type=Profile)
        whole = session.scan(entry.ref).collect()
        again = profile.summarise(frame.columns(whole), kept)
        assert kept == again
        return sorted(found.rows()), version, kept


def test_the_row_of_a_newer_file_takes_the_place_of_the_older(tmp_path):
    declared(tmp_path)
    land(tmp_path, "rows1.csv", rows((1, 1), (2, 2), (3, 3)))
    carry_out(tmp_path)
    land(tmp_path, "rows2.csv", rows((2, 20), (4, 4)))
    land(tmp_path, "rows3.csv", rows((2, 21), (5, 5)))
    carry_out(tmp_path)
    found, version, kept = state(tmp_path)
    assert found == [(1, 1.0), (2, 21.0), (3, 3.0), (4, 4.0), (5, 5.0)]
    assert (version.mode, version.key, version.rows, version.rows_added) == ("merge", ("id",), 5, 3)
    assert kept.numbers["x"].high == 21.0
    assert kept.rows == 5


def test_an_extreme_that_was_replaced_is_gone_from_the_profile(tmp_path):
    declared(tmp_path)
    land(tmp_path, "rows1.csv", rows(*((number, number) for number in range(50)), (99, 1000)))
    carry_out(tmp_path)
    land(tmp_path, "rows2.csv", rows((99, 7), (0, 8)))
    carry_out(tmp_path)
    _, _, kept = state(tmp_path)
    assert (kept.numbers["x"].low, kept.numbers["x"].high) == (1.0, 49.0)


@pytest.mark.parametrize("pairs", [((1, 1), (1, 2)), ((1, 1), (None, 2))])
def test_a_key_twice_in_a_file_or_missing_is_refused(tmp_path, pairs):
    declared(tmp_path)
    land(tmp_path, "rows1.csv", rows((7, 7)))
    carry_out(tmp_path)
    contract = tmp_path / "contracts" / "rows.yaml"
    contract.write_text(contract.read_text().replace("required: true", "required: false"))
    land(tmp_path, "rows2.csv", rows(*pairs))
    with pytest.raises(VerdictError, match=r"CN-TABLE-010: table rows, landing/rows2.csv"):
        carry_out(tmp_path)
    assert state(tmp_path)[0] == [(7, 7.0)]


def test_a_key_that_is_no_column_is_refused(tmp_path):
    declared(tmp_path, key="idd")
    land(tmp_path, "rows1.csv", rows((1, 1)))
    with pytest.raises(UsageError, match=r"CN-INGEST-006: .*'idd'"):
        carry_out(tmp_path)


def test_a_table_in_which_a_key_is_twice_is_not_merged_into(tmp_path):
    declared(tmp_path, mode="append")
    land(tmp_path, "rows1.csv", rows((1, 1), (1, 2)))
    contract = tmp_path / "contracts" / "rows.yaml"
    carry_out(tmp_path)
    assert "unique: true" not in contract.read_text()
    (tmp_path / "project.py").write_text(PROJECT.format(mode="merge", key="id"))
    land(tmp_path, "rows2.csv", rows((1, 3)))
    with pytest.raises(VerdictError, match=r"CN-TABLE-010: .* 1 rows have one twice"):
        carry_out(tmp_path)


@pytest.mark.parametrize(
    ("mode", "key"), [("merge", []), ("merge", ["id", "id"]), ("upsert", "id")]
)
def test_a_merge_needs_a_key(tmp_path, mode, key):
    declared(tmp_path, mode=mode, key=key)
    with pytest.raises(ColonnadeError, match="CN-PROJECT-009"):
        carry_out(tmp_path)
