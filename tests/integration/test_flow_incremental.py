"""Tables that are made step by step: what is made equals what a whole making would have made."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from colonnade.base.errors import ColonnadeError, UsageError, VerdictError
from colonnade.data.transform import Built, transform
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion
from colonnade.wiring import open_workspace
from tests.projects import carry_out, colonnade, empty, land, process, until

HEAD = """
import polars as pl
import colonnade as co

project = co.Project("small")
project.source("rows", "landing/rows*.csv", mode={mode!r}, key="id")
project.source("names", "landing/names.csv")

"""
BY_ROWS = """
@project.table(key="id", time="at", mode="append")
def examples(rows, names):
    return rows.filter(pl.col("x") != 13).join(names, on="w", how="left")
"""
BY_KEY = BY_ROWS.replace('"append"', '"merge"')
BY_MONTH = BY_ROWS.replace('mode="append"', 'partition="month"')
WHOLE = BY_ROWS.replace(', mode="append"', "")
NAMES = pl.DataFrame({"w": ["a", "b"], "name": ["ah", "be"]})


def rows(*numbers: int, month: int = 1, x: int = 0) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "id": list(numbers),
            "at": [f"2013-{month:02}-{1 + number % 28:02}T00:00:00Z" for number in numbers],
            "x": [x + number for number in numbers],
            "w": ["abc"[number % 3] for number in numbers],
        }
    )


def declared(folder: Path, table: str, mode: str = "append") -> Path:
    empty(folder, HEAD.format(mode=mode) + table)
    land(folder, "names.csv", NAMES)
    return folder


def declare(folder: Path, table: str, mode: str = "append") -> None:
    (folder / "project.py").write_text(HEAD.format(mode=mode) + table)


def make(folder: Path, bounds: tuple[str, str] | None = None) -> Built:
    with open_workspace(folder) as workspace:
        project = workspace.project
        session = workspace.session("test")
        carry_out(folder, "rows", "names")
        return transform(session, project.tables["examples"], workspace.folder, bounds)


def table(folder: Path, name: str = "examples") -> list[tuple]:
    with open_workspace(folder) as workspace:
        found = workspace.session("test").scan(Ref("table", name)).collect()
        return sorted(found.select(sorted(found.columns)).rows(), key=repr)


def version(folder: Path) -> TableVersion:
    with open_workspace(folder) as workspace:
        return workspace.session("test").version(Ref("table", "examples")).read(TableVersion)


def whole(folder: Path) -> list[tuple]:
    """What the function makes of all that there is, in a table of its own."""
    with open_workspace(folder) as workspace:
        session = workspace.session("test")
        inputs = {name: session.scan(Ref("table", name)) for name in ("rows", "names")}
        declared = workspace.project.tables["examples"]
        found = declared.function(**inputs).collect()
    return sorted(found.select(sorted(found.columns)).rows(), key=repr)


def test_only_what_came_anew_is_made_and_added(tmp_path):
    declared(tmp_path, BY_ROWS)
    land(tmp_path, "rows1.csv", rows(1, 2, 13))
    assert make(tmp_path).why == ("it was not done before",)
    land(tmp_path, "rows2.csv", rows(4, 5))
    built = make(tmp_path)
    assert built.why == (
        "input rows is now rows@2, was rows@1",
        "made from what came to rows since rows@1",
    )
    found = version(tmp_path)
    assert (found.mode, found.rows_added, found.rows) == ("append", 2, 4)
    assert table(tmp_path) == whole(tmp_path)
    assert not make(tmp_path).done
    assert built.entry.made_from[:3] == ("table/rows@2", "table/names@1", "table/examples@1")


def test_another_input_or_code_makes_the_table_anew_and_says_so(tmp_path):
    declared(tmp_path, BY_ROWS)
    land(tmp_path, "rows1.csv", rows(1, 2))
    make(tmp_path)
    land(tmp_path, "names.csv", NAMES.head(1))
    land(tmp_path, "rows2.csv", rows(3))
    built = make(tmp_path)
    assert built.why == (
        "input names is now names@2, was names@1", "input rows is now rows@2, was rows@1",
    )  # fmt: skip
    assert version(tmp_path).mode == "replace"
    assert table(tmp_path) == whole(tmp_path)
    declare(tmp_path, BY_ROWS.replace("13", "1"))
    assert make(tmp_path).why == ("function examples changed",)
    assert table(tmp_path) == whole(tmp_path)


def test_an_input_that_was_not_only_added_to_makes_the_table_anew_and_says_so(tmp_path):
    declared(tmp_path, BY_ROWS, "merge")
    land(tmp_path, "rows1.csv", rows(1, 2, 4))
    make(tmp_path)
    land(tmp_path, "rows2.csv", rows(4, 5, x=100))
    why = make(tmp_path).why
    assert why[-1] == "made anew as a whole: 1 rows of rows@1 were changed or are gone"
    assert table(tmp_path) == whole(tmp_path)


def test_a_key_that_the_table_has_is_refused_as_in_a_whole_making(tmp_path):
    declared(tmp_path, BY_ROWS)
    land(tmp_path, "rows1.csv", rows(1, 2))
    make(tmp_path)
    land(tmp_path, "rows2.csv", rows(2, 3, x=1))
    with pytest.raises(VerdictError, match=r"CN-TABLE-006: .* 1 of the new rows"):
        make(tmp_path)
    assert version(tmp_path).rows == 2


def test_a_correction_is_merged_and_what_is_made_of_it_no_more_leaves(tmp_path):
    declared(tmp_path, BY_KEY, "merge")
    land(tmp_path, "rows1.csv", rows(1, 2, 4, 5))
    make(tmp_path)
    land(tmp_path, "rows2.csv", rows(4, 6, x=100))
    land(tmp_path, "rows3.csv", rows(5, x=8))  # it is 13 now, so the function leaves it out
    built = make(tmp_path)
    assert built.why[-1] == "made from what came to rows since rows@1"
    found = version(tmp_path)
    assert (found.mode, found.rows) == ("merge", 4)
    assert table(tmp_path) == whole(tmp_path)
    land(tmp_path, "rows4.csv", rows(5, x=20))
    make(tmp_path)
    assert table(tmp_path) == whole(tmp_path)
    assert version(tmp_path).rows == 5


def test_a_late_row_makes_its_month_anew_and_no_other(tmp_path):
    declared(tmp_path, BY_MONTH)
    land(tmp_path, "rows1.csv", pl.concat([rows(1, 2), rows(3, 4, month=2), rows(5, month=3)]))
    make(tmp_path)
    land(tmp_path, "rows2.csv", pl.concat([rows(6, month=2), rows(7, month=4)]))
    built = make(tmp_path)
    assert built.why[-1] == "made: 2013-02, 2013-04"
    found = version(tmp_path)
    assert (found.mode, found.rows_added, found.rows) == ("replace", 4, 7)
    assert table(tmp_path) == whole(tmp_path)
    assert not make(tmp_path).done


def test_a_backfill_makes_one_month_after_another_and_goes_on_where_it_was(tmp_path):
    declared(tmp_path, BY_MONTH)
    months = [rows(month, month + 14, month=month) for month in (1, 2, 3, 4)]
    land(tmp_path, "rows1.csv", pl.concat(months))
    bounds = ("2013-01", "2013-03")
    first = make(tmp_path, bounds)
    assert (first.done, version(tmp_path).rows) == (True, 2)
    assert colonnade(tmp_path, "run", "examples", "--from", "2013-01", "--to", "2013-03") == 0
    assert version(tmp_path).rows == 6
    assert not make(tmp_path, bounds).done
    land(tmp_path, "rows2.csv", rows(6, month=2))
    built = make(tmp_path, bounds)
    assert built.why[-1] == "made: 2013-02"
    assert not make(tmp_path, bounds).done
    built = make(tmp_path)
    assert built.why[-1] == "made: 2013-04"
    assert table(tmp_path) == whole(tmp_path)


def test_a_backfill_that_is_killed_goes_on_where_it_was(tmp_path):
    slow = BY_MONTH.replace("    return", "    import time\n    time.sleep(0.1)\n    return")
    declared(tmp_path, slow)
    months = range(1, 9)
    land(tmp_path, "rows1.csv", pl.concat([rows(month, month=month) for month in months]))
    carry_out(tmp_path, "rows", "names")
    words = ("run", "examples", "--from", "2013-01", "--to", "2013-08")

    def versions() -> int:
        with open_workspace(tmp_path) as workspace:
            return len(workspace.session("test").versions("examples"))

    running = process(tmp_path, *words)
    until(lambda: versions() >= 2)
    running.kill()
    running.communicate()
    stood = versions()
    assert 2 <= stood < len(months)
    assert colonnade(tmp_path, *words) == 0
    assert table(tmp_path) == whole(tmp_path)
    with open_workspace(tmp_path) as workspace:
        entries = workspace.session("test").versions("examples")
    made = [entry.read(TableVersion) for entry in entries if entry.verb in ("write", "adopt")]
    assert [version.rows for version in made] == list(range(1, len(months) + 1))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("examples", "--from", "2013-1"), "CN-RUN-004"),
        (("examples", "--from", "march"), "CN-RUN-004"),
        (("rows", "--from", "2013-01"), "CN-RUN-003"),
        (("exampels", "--from", "2013-01"), "CN-RUN-001"),
        (("--from", "2013-01"), "CN-USAGE-001"),
        (("examples", "--to", "2013-01"), "CN-USAGE-001"),
    ],
)
def test_a_backfill_that_cannot_be_is_refused(tmp_path, capsys, words, code):
    declared(tmp_path, BY_MONTH)
    land(tmp_path, "rows1.csv", rows(1))
    assert colonnade(tmp_path, "run", *words) != 0
    assert code in capsys.readouterr().err


def twice(folder: Path) -> None:
    make(folder)
    land(folder, "rows2.csv", rows(2, month=2))
    make(folder)


def failed(folder: Path, table: str) -> ColonnadeError:
    declared(folder, table)
    land(folder, "rows1.csv", rows(1, month=1))
    with pytest.raises(ColonnadeError) as caught:
        twice(folder)
    return caught.value


def test_a_row_of_another_month_than_was_asked_for_is_refused(tmp_path):
    moved = BY_MONTH.replace("return rows", 'return rows.with_columns(at=pl.col("at").max())')
    shifted = moved.replace('pl.col("at").max()', 'pl.col("at").dt.offset_by("1mo")')
    assert failed(tmp_path, shifted).code == "CN-TABLE-012"


def test_a_month_needs_an_input_that_has_the_time(tmp_path):
    renamed = BY_MONTH.replace('time="at"', 'time="when"').replace(
        "return rows", 'return rows.rename({"at": "when"})'
    )
    assert failed(tmp_path, renamed).code == "CN-TABLE-011"


@pytest.mark.parametrize(
    "settings",
    ['mode="upsert"', 'partition="week"', 'partition="month"', 'mode="merge"',
     'time="at", mode="append", partition="day"'],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(tmp_path, settings):
    declared(tmp_path, f"@project.table({settings})\ndef examples(rows):\n    return rows\n")
    with pytest.raises(UsageError, match="CN-PROJECT-009"):
        make(tmp_path)


def test_a_new_column_makes_the_table_anew(tmp_path):
    """The code is the same: what it makes depends on the rows."""
    declared(
        tmp_path,
        BY_ROWS.replace("return rows", "return _wide(rows)")
        + """

def _wide(rows):
    import polars as pl
    big = rows.select(pl.col("x").max()).collect().item() > 50
    return rows.with_columns(big=pl.lit(1)) if big else rows
""",
    )
    land(tmp_path, "rows1.csv", rows(1, 2))
    make(tmp_path)
    land(tmp_path, "rows2.csv", rows(3, x=100))
    built = make(tmp_path)
    assert built.why[-1] == "made anew as a whole: the result has other columns than examples@1"
    assert version(tmp_path).rows == 3
    assert "big" in version(tmp_path).columns
