from __future__ import annotations

import sys
import zipfile
from datetime import date, datetime

import pytest
import xlsxwriter

from colonnade import store
from colonnade.base.errors import UnavailableError, UsageError
from colonnade.store import sources


def workbook(path, *rows, formula=None, more=()):
    with xlsxwriter.Workbook(path) as book:
        day = book.add_format({"num_format": "yyyy-mm-dd"})
        for sheet in (book.add_worksheet("first"), *(book.add_worksheet(name) for name in more)):
            for number, row in enumerate(rows):
                for place, value in enumerate(row):
                    if isinstance(value, date):
                        sheet.write_datetime(number, place, value, day)
                    else:
                        sheet.write(number, place, value)
            if formula:
                sheet.write_formula(len(rows), 0, "=1/0", None, formula)
    return path


def test_cells_of_the_first_sheet_are_texts(tmp_path):
    noon = datetime(2013, 1, 31, 12, 30)  # noqa: DTZ001 (a workbook has no zones)
    midnight = datetime(2013, 2, 1)  # noqa: DTZ001
    path = workbook(
        tmp_path / "a.xlsx",
        ["i", "n", "s", "b", "d", "t"],
        [7, 0.25, "007", True, date(2013, 1, 31), noon],
        [-1, "NA", None, False, date(2013, 2, 1), midnight],
        more=["other"],
    )
    rows = sources.open_file(path, ["NA"]).collect()
    assert rows.columns == ["i", "n", "s", "b", "d", "t"]
    assert rows.rows() == [
        ("7", "0.25", "007", "true", "2013-01-31", "2013-01-31 12:30:00"),
        ("-1", None, None, "false", "2013-02-01", "2013-02-01 00:00:00"),
    ]


@pytest.mark.parametrize(
    ("rows", "formula", "said"),
    [
        ([], None, "its first sheet is empty"),
        ([["a", "a"], [1, 2]], None, "names the column 'a' twice"),
        ([["a"], [1]], "#DIV/0!", "cell A3 holds an error"),
    ],
)
def test_a_sheet_that_is_no_table_is_refused(tmp_path, rows, formula, said):
    path = workbook(tmp_path / "a.xlsx", *rows, formula=formula)
    with pytest.raises(UsageError, match="CN-SOURCE-003") as refused:
        sources.open_file(path, ())
    assert said in refused.value.message


@pytest.mark.parametrize("content", [b"", b"PK no zip", b"a,b\n1,2\n"])
def test_what_is_no_workbook_is_refused(tmp_path, content):
    (tmp_path / "a.xlsx").write_bytes(content)
    with pytest.raises(UsageError, match="CN-SOURCE-003"):
        sources.open_file(tmp_path / "a.xlsx", ())
    with zipfile.ZipFile(tmp_path / "b.xlsx", "w") as archive:
        archive.writestr("a.csv", content)
    with pytest.raises(UsageError, match="it is no workbook"):
        sources.open_file(tmp_path / "b.xlsx", ())


def test_a_workbook_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    path = workbook(tmp_path / "a.xlsx", ["a"], *[[n] for n in range(5_000)])
    monkeypatch.setattr(sources, "MAX_UNZIPPED_BYTES", 10_000)
    with pytest.raises(UsageError, match="expected 10,000 at most"):
        sources.open_file(path, ())


def test_without_what_reads_it_the_extra_is_named(tmp_path, monkeypatch):
    path = workbook(tmp_path / "a.xlsx", ["a"], [1])
    monkeypatch.delitem(sys.modules, "colonnade.store.excel", raising=False)
    monkeypatch.delattr(store, "excel", raising=False)
    monkeypatch.setitem(sys.modules, "fastexcel", None)
    with pytest.raises(UnavailableError, match="CN-SOURCE-005") as missing:
        sources.open_file(path, ())
    assert "colonnade[excel]" in missing.value.fix
