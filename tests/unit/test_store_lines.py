from __future__ import annotations

import base64
import io
import json

import polars as pl
import pytest

from colonnade.records import cell
from colonnade.store import lines


def parted(text: bytes):
    kept, places, bad = lines.split(io.BytesIO(text))
    return kept.getvalue(), places, [(row, cells) for row, _, cells in bad]


def line(text: str) -> str:
    return json.dumps({cell.LINE: text}, ensure_ascii=False)


def test_each_line_that_is_no_row_is_set_aside_with_its_number():
    kept, places, bad = parted(b'a,b\n1,2\n3\n4,5,6\n7,x"y\n8,"x"y\n\n9,"u\nv"\n10,11')
    assert kept == b'a,b\n1,2\n9,"u\nv"\n10,11\n'
    assert places == [0, 6, 7]
    assert bad == [
        (1, line("3")), (2, line("4,5,6")), (3, line('7,x"y')), (4, line('8,"x"y')), (5, line("")),
    ]  # fmt: skip


def test_what_is_no_text_is_kept_as_its_bytes():
    _, places, bad = parted(b"a,b\n1,\xff\n2,\xc3\xa9\n")
    assert places == [1]
    assert bad == [(0, json.dumps({cell.BYTES: base64.b64encode(b"1,\xff").decode()}))]


def test_carriage_returns_before_line_feeds_belong_to_the_ends_of_rows_only():
    kept, places, _ = parted(b'a,b\r\n1,"x\r\ny"\r\n2\r\n3,4\r\n')
    assert kept == b'a,b\n1,"x\r\ny"\n3,4\n'
    assert places == [0, 2]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (b'a,b\n1,2\n3,"4\n5,6\n', 3),
        (b'a,b\n1,2\n3,"4\n5,"6"\n', 3),
        (b'a,b\n1,"x\ny",3\n', 2),
        (b'a,"b\n1,2\n', 1),
        (b'a,b\n1,2\n3,"\xff\n"\n', 3),
    ],
)
def test_behind_a_quote_that_is_not_closed_nothing_is_certain(text, number):
    with pytest.raises(lines.LineError, match=rf"line {number} "):
        parted(text)


@pytest.mark.parametrize(
    ("text", "ragged"),
    [
        (b"a,b\n1,\n2,3", False),
        (b"a,b\n1\n2,3\n", True),
        (b'a,b\n1,"2,3"\n"a""b,",\n', False),
        (b'a,b\n1,"2,3"\n4\n', True),
        (b'a,b\n"1\n,",2\n', False),
    ],
)
def test_a_short_row_is_found_by_the_commas_outside_quotes(text, ragged):
    rows = pl.read_csv(text, infer_schema=False).height
    assert lines.is_ragged(io.BytesIO(text), 2, rows) is ragged


def test_a_quote_over_the_border_of_two_reads_stays_open(monkeypatch):
    monkeypatch.setattr(lines, "_CHUNK", 5)
    assert not lines.is_ragged(io.BytesIO(b'a,b\n1,"2,3,4,5,6,7"\n'), 2, 1)


@pytest.mark.parametrize("chunk", [3, 7])
def test_a_line_that_is_too_long_is_named_by_its_number(monkeypatch, chunk):
    monkeypatch.setattr(lines, "_CHUNK", chunk)
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 10)
    lines.check_lengths(io.BytesIO(b"0123456789\n" * 5))
    for text in (b"a\nb\n0123456789x\nc", b"a\nb\n" + b"x" * 100):
        with pytest.raises(lines.LineError, match="line 3 is longer than 10 bytes"):
            lines.check_lengths(io.BytesIO(text))
        with pytest.raises(lines.LineError, match="line 3 is longer than 10 bytes"):
            list(lines.each(io.BytesIO(text)))


def test_a_quote_that_is_open_for_too_long_is_given_up(monkeypatch):
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 10)
    with pytest.raises(lines.LineError, match="line 2 opens a quote"):
        parted(b'a,b\n1,"2\n' + b"3,4\n" * 9 + b'"\n')
