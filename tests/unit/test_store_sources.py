from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import sys
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


def test_a_gzip_is_read_like_what_it_holds(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"n\n1\n"))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"n": 1}\n'))
    assert sources.open_file(tmp_path / "a.csv.gz", ()).collect().rows() == [("1",)]
    assert sources.open_file(tmp_path / "a.jsonl.gz", ()).collect().rows() == [(1,)]


@pytest.mark.parametrize("name", ["a.csv.gz", "a.ndjson.gz"])
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda data: data[:-12], "it ends in the middle"),
        (lambda data: data[:20] + b"\0\0\0" + data[23:], "cannot be read"),
        (lambda data: b"n\n1\n", "it is no gzip"),
        (lambda data: b"", ""),
    ],
)
def test_a_damaged_gzip_is_refused(tmp_path, name, spoil, said):
    data = gzip.compress(bytes(range(256)) * 400)
    (tmp_path / name).write_bytes(spoil(data))
    for read in (sources.open_file, lambda path, _: sources.open_lines(path, (), {"n": "string"})):
        if said or "json" not in name:
            with pytest.raises(UsageError, match="CN-SOURCE-003") as refused:
                read(tmp_path / name, ())
            assert said in refused.value.message


def test_a_gzip_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MAX_UNZIPPED_BYTES", 1_000)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"n\n" * 501))
    with pytest.raises(UsageError, match="more than 1,000 bytes"):
        sources.open_file(tmp_path / "a.csv.gz", ())


def test_a_damaged_file_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_bytes(b"n\n" * 501)
    monkeypatch.setattr(sources, "MAX_UNZIPPED_BYTES", 1_000)
    with pytest.raises(UsageError, match="damaged and larger than 1,000 bytes"):
        sources.open_lines(tmp_path / "a.csv", (), {})


def test_a_parquet_file_has_no_lines(tmp_path):
    pl.DataFrame({"n": [1]}).write_parquet(tmp_path / "a.parquet")
    assert sources.open_lines(tmp_path / "a.parquet", (), {}) is None
    assert not sources.is_ragged(tmp_path / "a.parquet", 2, 1)


LONG = """
import resource, sys
from pathlib import Path
from colonnade.base.errors import UsageError
from colonnade.store import sources
import polars
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    sources.open_file(Path(sys.argv[1]), ())
except UsageError as error:
    print(error.message)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_line_of_two_gigabytes_is_refused_in_little_memory(tmp_path, name):
    path = tmp_path / name
    with path.open("wb") as file:
        file.write(b'{"n": 1}\n')
        file.truncate(2 << 30)  # a hole: one line of zeros
    done = subprocess.run(
        [sys.executable, "-c", LONG, str(path)], capture_output=True, text=True, check=True
    )
    said, grown_kib = done.stdout.splitlines()
    assert said.endswith("line 2 is longer than 16,777,216 bytes")
    assert int(grown_kib) < 150_000
