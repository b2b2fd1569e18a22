from __future__ import annotations

import hashlib
import io
import zipfile

import polars as pl
import pytest

from colonnade.base.errors import UsageError
from colonnade.store import sources


def _zip(path, **files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("_", "."), text)
    return path


def test_files_are_found_in_the_order_of_their_names(tmp_path):
    for name in ("b.csv", "a.parquet", "c.csv.zip"):
        (tmp_path / name).touch()
    (tmp_path / "d.csv").mkdir()
    found = [path.name for path in sources.find(tmp_path, "*")]
    assert found == ["a.parquet", "b.csv", "c.csv.zip"]
    assert sources.find(tmp_path, "nothing*") == []


@pytest.mark.parametrize("pattern", ["/etc/*", "../*.csv", "landing/../../*.csv"])
def test_a_path_out_of_the_project_is_refused(tmp_path, pattern):
    with pytest.raises(UsageError, match="CN-SOURCE-001"):
        sources.find(tmp_path, pattern)


def test_a_format_that_is_not_read_is_refused(tmp_path):
    (tmp_path / "a.xls").touch()
    with pytest.raises(UsageError, match="CN-SOURCE-002"):
        sources.find(tmp_path, "*")


def test_a_digest_is_the_sha_256_of_the_bytes(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"a\n1\n" * 100_000)
    assert sources.digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_cells_of_a_csv_stay_texts(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("n,t\n007,NA\n,x\n")
    rows = sources.open_file(path, ["NA"]).collect()
    assert rows.rows() == [("007", None), (None, "x")]


def test_a_zipped_csv_is_read_like_a_plain_one(tmp_path):
    path = _zip(tmp_path / "a.csv.zip", a_csv="n\n1\n", readme_txt="hello")
    assert sources.open_file(path, ()).collect().rows() == [("1",)]


def test_parquet_keeps_its_types(tmp_path):
    pl.DataFrame({"n": [1, None]}).write_parquet(tmp_path / "a.parquet")
    rows = sources.open_file(tmp_path / "a.parquet", ["1"]).collect()
    assert rows.rows() == [(1,), (None,)]


def _two(path):
    _zip(path, a_csv="n\n", b_csv="n\n")


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("empty.csv", lambda path: path.touch()),
        ("a.parquet", lambda path: path.write_bytes(b"PAR1 no parquet")),
        ("a.csv.zip", lambda path: path.write_bytes(b"no zip")),
        ("a.csv.zip", _two),
        ("a.csv.zip", lambda path: _zip(path, readme_txt="hello")),
        ("gone.csv", lambda path: None),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path, name, write):
    write(tmp_path / name)
    with pytest.raises(UsageError, match="CN-SOURCE-003") as refused:
        sources.open_file(tmp_path / name, ())
    assert name in refused.value.message


def test_an_encrypted_zip_is_refused(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.csv", "n\n1\n")
    data = bytearray(buffer.getvalue())
    data[6] |= 1  # the flag in the local header, and in the central directory
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.csv.zip").write_bytes(data)
    with pytest.raises(UsageError, match="CN-SOURCE-003"):
        sources.open_file(tmp_path / "a.csv.zip", ())


@pytest.mark.parametrize(("header", "name"), [(",a", "column_1"), ("a,", "column_2")])
def test_a_column_without_a_name_is_called_by_its_place(tmp_path, header, name):
    path = tmp_path / "a.csv"
    path.write_text(f"{header}\n1,2\n")
    rows = sources.open_file(path, ()).collect()
    assert sorted(rows.columns) == ["a", name]
    assert rows.width == 2


@pytest.mark.parametrize("sign", [";", "\t", "|"])
def test_another_separator_is_refused_with_the_line_that_mends_it(tmp_path, sign):
    path = tmp_path / "a.csv"
    path.write_text(f"a{sign}b\n1,5{sign}2\n")
    with pytest.raises(UsageError, match="CN-SOURCE-004") as refused:
        sources.open_file(path, ())
    assert f"separator={sign!r}" in refused.value.fix


def test_one_column_is_no_other_separator(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a\n1;2\n")
    assert sources.open_file(path, ()).collect().rows() == [("1;2",)]


@pytest.mark.parametrize("suffix", sources.SUFFIXES)
def test_a_format_is_known_by_the_end_of_the_name(tmp_path, suffix):
    assert sources.check_format(tmp_path / f"a.b{suffix}") == suffix
