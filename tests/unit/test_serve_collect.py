from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from colonnade.base.errors import RefusedError, VerdictError
from colonnade.serve.collect import collect, discard, segments, set_aside
from colonnade.serve.log import Entry, Group, Source
from colonnade.serve.segment import SpoolKey
from colonnade.serve.spool import Spool

KEY = SpoolKey(id="k1", secret=bytes(32))
KEYS = {KEY.id: KEY.secret}
OLD = Source("r1", "late_departure", 1, ("hour",))
NEW = Source("r2", "late_departure", 2, ("carrier", "hour"))
encode = msgspec.msgpack.Encoder().encode


def entry(source: Source, name: str, *values: object, **more) -> msgspec.Raw:
    at_us = 1_357_016_400_123_456
    made = Entry(source.revision, at_us, "tower", "predict", 9, [name], [0.5], [values], **more)
    return msgspec.Raw(encode(made))


def write(tmp_path, *groups: Group) -> None:
    """One closed segment for each group."""
    spool = Spool(tmp_path, "late", KEY, durable=False)
    for group in groups:
        spool.write(encode(group))
        spool.rotate()
    spool.close()


def test_rows_of_several_revisions_share_columns_and_lack_what_they_do_not_have(tmp_path):
    at = datetime(2013, 1, 1, 5, tzinfo=UTC)
    first = entry(OLD, "p0", 5.0)
    second = entry(NEW, "p1", "UA", 6.0, keys=["UA/7"], times=[at])
    write(tmp_path, Group([OLD, NEW], [first, second]))
    (segment,) = collect(tmp_path / "late", KEYS)
    assert segment.features() == {"hour": [5.0, 6.0], "carrier": [None, "UA"]}
    columns = segment.columns()
    assert columns["prediction_id"] == ["p0", "p1"]
    assert columns["version"] == [1, 2]
    assert columns["key"] == [None, "UA/7"]
    assert columns["event_time"] == [None, at]
    assert columns["predicted_at"] == [datetime(2013, 1, 1, 5, 0, 0, 123456, tzinfo=UTC)] * 2
    assert "features" not in columns


def test_what_is_discarded_is_not_collected_again(tmp_path):
    write(tmp_path, Group([OLD], [entry(OLD, "p0", 5.0)]), Group([OLD], [entry(OLD, "p1", 5.0)]))
    first, second = collect(tmp_path / "late", KEYS)
    assert (first.number, second.number) == (0, 1)
    discard(first)
    discard(first)
    assert [found.number for found in segments(tmp_path / "late")] == [1]


def test_a_damaged_segment_stops_the_collection_until_it_is_set_aside(tmp_path):
    write(tmp_path, Group([OLD], [entry(OLD, "p0", 5.0)]), Group([OLD], [entry(OLD, "p1", 5.0)]))
    first, _ = segments(tmp_path / "late")
    data = bytearray(first.path.read_bytes())
    data[3] ^= 1
    first.path.write_bytes(data)
    with pytest.raises(VerdictError, match="CN-SPOOL-001"):
        list(collect(tmp_path / "late", KEYS))
    assert set_aside(first.path).suffix == ".bad"
    (left,) = collect(tmp_path / "late", KEYS)
    assert [row.prediction_id for row in left.rows] == ["p1"]


def test_without_its_key_nothing_is_collected_and_nothing_lost(tmp_path):
    write(tmp_path, Group([OLD], [entry(OLD, "p0", 5.0)]))
    with pytest.raises(RefusedError, match="CN-SPOOL-004"):
        list(collect(tmp_path / "late", {}))
    assert len(list(collect(tmp_path / "late", KEYS))) == 1
