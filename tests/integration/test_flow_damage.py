"""Damaged and foreign files: one clear error or rows in quarantine, the table as it was."""

from __future__ import annotations

import gzip
import io
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest

from colonnade.base.errors import ColonnadeError
from colonnade.data.ingest import ingest
from colonnade.project import Project
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion
from colonnade.wiring import open_workspace
from tests.projects import empty

CONTRACT = """\
schema:
- name: rows
  properties:
  - {name: i, logicalType: integer}
  - {name: n, logicalType: number}
  - {name: d, logicalType: date}
  - {name: t, logicalType: timestamp}
  - {name: s, logicalType: string}
customProperties:
- {property: stopAbove, value: 0.5}
"""
HEADER = "i,n,d,t,s\n"
GOOD = "1,0.5,2013-01-31,2013-01-31T12:00:00Z,x\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project of which one good row is in the table."""
    empty(tmp_path)
    (tmp_path / "landing").mkdir()
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "rows.yaml").write_text(CONTRACT)
    (tmp_path / "landing" / "rows0.csv").write_text(HEADER + GOOD)
    take(tmp_path)
    return tmp_path


def take(folder: Path) -> TableVersion:
    with open_workspace(folder) as workspace:
        source = Project("p").source("rows", "landing/rows*")
        return ingest(workspace.session("test"), source, folder).entry.read(TableVersion)


def rows(folder: Path, name: str = "rows") -> pl.DataFrame:
    with open_workspace(folder) as workspace:
        return workspace.session("test").scan(Ref("table", name)).collect()


def land(folder: Path, name: str, content: bytes | str) -> None:
    data = content.encode() if isinstance(content, str) else content
    (folder / "landing" / name).write_bytes(data)


def parquet(**columns) -> bytes:
    out = io.BytesIO()
    pl.DataFrame(columns).write_parquet(out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("line", "reasons"),
    [
        ("1,NaN,,,x", ["n|number"]),
        ("1,inf,,,x", ["n|number"]),
        ("1,1e999,,,x", ["n|number"]),
        ("9223372036854775808,1,,,x", ["i|integer"]),
        ("2.75,1,,,x", ["i|integer"]),
        ("7.0,1,,,x", ["i|integer"]),
        ('1,"1,5",,,x', ["n|number"]),
        ("1,1,5,,,x", ["line|malformed"]),
        ("1,1,,x", ["line|malformed"]),
        ("1,1,0000-01-01,,x", None),
        ("1,1,31.01.2013,1,x", ["d|date", "t|timestamp"]),
        ('1,1,,,a"b', ["line|malformed"]),
    ],
)
def test_a_cell_that_means_nothing_is_a_bad_row(folder, line, reasons):
    land(folder, "rows1.csv", HEADER + GOOD + line + "\n" + GOOD)
    version = take(folder)
    assert version.landed[0].rows == 3
    if reasons is None:
        assert rows(folder).height == 4
        return
    assert rows(folder).height == 3
    found = rows(folder, "quarantine.rows")
    assert (found["row"].to_list(), found["reasons"].to_list()) == ([1], [reasons])


def test_what_is_unusual_and_right_is_taken_as_it_is(folder):
    text = '-9223372036854775808,1e-300,0001-01-01,0001-01-01T00:00:00Z,"a\nb"\n'
    text += '9223372036854775807,-0.0,9999-12-31,9999-12-31T23:59:59.999999Z,"""quoted"", said"\n'
    land(folder, "rows1.csv", HEADER + text)
    take(folder)
    found = rows(folder).select("i", "d", "t", "s").sort("i")
    assert found["i"].to_list() == [-(2**63), 1, 2**63 - 1]
    assert found["d"].to_list()[::2] == [date(1, 1, 1), date(9999, 12, 31)]
    assert [t.year for t in found["t"].to_list()[::2]] == [1, 9999]
    assert found["s"].to_list() == ["a\nb", "x", '"quoted", said']


TABLE = {
    "i": [1], "n": [0.5], "d": [date(2013, 1, 31)], "s": ["x"],
    "t": [datetime(2013, 1, 31)],  # noqa: DTZ001
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("rows1.csv.gz", gzip.compress((HEADER + GOOD * 999).encode())[:-20], "CN-SOURCE-003",
         "it ends in the middle"),
        ("rows1.jsonl.gz", b"\x1f\x8b torn", "CN-SOURCE-003", "cannot be read"),
        ("rows1.csv", "i,n,d,t,i\n" + GOOD, "CN-SOURCE-003", "names the column 'i' twice"),
        ("rows1.csv", HEADER + '1,1,,,"x\n' + GOOD, "CN-SOURCE-003", "line 2 opens a quote"),
        ("rows1.csv", (HEADER + GOOD).encode("utf-16"), "CN-SOURCE-003", "UTF-8"),
        ("rows1.csv", HEADER + "1,1,,,é\n" + GOOD + "2,2,,,\xff\n", None, ""),
        ("rows1.jsonl", '{"i": 1, "z": 2}\n', "CN-CONTRACT-005", "z is not in the contract"),
        ("rows1.csv", HEADER.replace("s", "S") + GOOD, "CN-CONTRACT-005", "column s is missing"),
        ("rows1.parquet", parquet(**(TABLE | {"i": [2.75]})), "CN-CONTRACT-006", "i is Float64"),
        ("rows1.parquet", parquet(**(TABLE | {"i": ["x"]})), None, ""),
        ("rows1.parquet", parquet(i=[1]), "CN-CONTRACT-005", "n, s, t is missing"),
        ("rows1.parquet", parquet(**TABLE)[:-9], "CN-SOURCE-003", "cannot be read"),
        ("rows1.xlsx", "no workbook", "CN-SOURCE-003", "not a zip"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_what_was_agreed_is_refused_and_the_table_is_as_it_was(
    folder, name, content, code, said
):
    before = rows(folder)
    land(folder, name, content if isinstance(content, bytes) else content.encode("latin-1"))
    if code is None:
        with pytest.raises(ColonnadeError, match="CN-INGEST-003"):
            take(folder)
    else:
        with pytest.raises(ColonnadeError) as refused:
            take(folder)
        assert refused.value.code == code
        assert said in refused.value.message
    assert rows(folder).equals(before)
    (folder / "landing" / name).unlink()
    land(folder, "rows2.csv", HEADER + GOOD.replace("1,", "5,", 1))
    assert take(folder).rows == 2


def test_an_unsigned_column_that_is_too_large_is_a_bad_row(folder):
    big = TABLE | {"i": pl.Series([1, 2**64 - 1], dtype=pl.UInt64)}
    land(folder, "rows1.parquet", parquet(**{k: v * 2 if k != "i" else v for k, v in big.items()}))
    take(folder)
    assert rows(folder).height == 2
    found = rows(folder, "quarantine.rows")
    assert found["reasons"].to_list() == [["i|integer"]]
    assert str(2**64 - 1) in found["cells"][0]


@pytest.mark.parametrize("bound", [True, False])
def test_each_form_of_the_same_rows_makes_the_same_table(tmp_path, bound):
    frame = pl.DataFrame(
        {"i": [1, None], "n": [0.5, 1e300], "d": ["2013-01-31", "0001-01-01"],
         "t": ["2013-01-31T12:00:00Z", None], "s": ['ü,"\n', "007"]}
    )  # fmt: skip
    found = []
    for suffix in (".csv", ".csv.gz", ".jsonl", ".ndjson.gz", ".parquet", ".xlsx"):
        folder = tmp_path / suffix.replace(".", "_")
        empty(folder)
        for name in ("landing", "contracts"):
            (folder / name).mkdir()
        if bound:
            (folder / "contracts" / "rows.yaml").write_text(CONTRACT)
        path = folder / "landing" / f"rows{suffix}"
        if suffix == ".xlsx":
            frame.write_excel(path)
        elif suffix == ".parquet":
            frame.write_parquet(path)
        else:
            text = frame.write_csv() if "csv" in suffix else frame.write_ndjson()
            data = text.encode()
            path.write_bytes(gzip.compress(data) if suffix.endswith(".gz") else data)
        version = take(folder)
        assert version.rows == 2, suffix
        found.append(rows(folder).select("i", "n", "d", "t", "s").sort("n"))
    assert all(table.equals(found[0]) for table in found)
