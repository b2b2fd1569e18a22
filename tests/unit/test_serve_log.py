from __future__ import annotations

import asyncio
import resource
import shutil
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from colonnade.base.errors import UnavailableError
from colonnade.serve.collect import collect
from colonnade.serve.log import Entry, Log, LogSettings, Source
from colonnade.serve.segment import SpoolKey
from colonnade.serve.spool import Spool

KEY = SpoolKey(id="k1", secret=bytes(32))
SOURCE = Source("r1", "late_departure", 3, ("hour",))
AT = datetime(2013, 1, 1, 5, tzinfo=UTC)


@contextmanager
def full_disk():
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def entry(name: str) -> Entry:
    at_us = 1_357_016_400_000_001
    return Entry("r1", at_us, "tower", "predict", 55, [name], [0.25], [(7.5,)], ["UA/1545"], [AT])


def log(tmp_path, mode, **settings) -> Log:
    spool = Spool(tmp_path, "late", KEY, durable=mode == "commit")
    return Log(spool, LogSettings(mode=mode, retry_s=0.01, **settings))


def ids(tmp_path) -> list[str]:
    found = collect(tmp_path / "late", {KEY.id: KEY.secret})
    return [row.prediction_id for segment in found for row in segment.rows]


async def until(condition) -> None:
    while not condition():  # noqa: ASYNC110 - the log tells nobody of its retries
        await asyncio.sleep(0.001)


def test_what_is_committed_is_on_disk_when_the_future_is_done(tmp_path):
    async def run() -> None:
        writer = log(tmp_path, "commit")
        await asyncio.gather(*(writer.append(SOURCE, entry(f"p{i}")) for i in range(50)))
        shutil.copytree(tmp_path, tmp_path / "crash")  # nobody holds the copy's lock
        assert ids(tmp_path / "crash") == [f"p{i}" for i in range(50)]
        await writer.close()

    asyncio.run(run())


def test_requests_that_arrive_together_share_a_frame(tmp_path):
    async def run() -> None:
        writer = log(tmp_path, "commit")
        await asyncio.gather(*(writer.append(SOURCE, entry(f"p{i}")) for i in range(50)))
        assert writer._spool._segment.frames == 1
        await writer.close()

    asyncio.run(run())


def test_a_buffered_entry_is_answered_at_once_and_written_soon(tmp_path):
    async def run() -> None:
        writer = log(tmp_path, "buffered", delay_s=0.001, age_s=0.001)
        assert writer.append(SOURCE, entry("p0")) is None
        await until(lambda: ids(tmp_path) == ["p0"])
        assert writer.state().pending_rows == 0
        await writer.close()

    asyncio.run(run())


def test_a_row_comes_back_with_its_key_and_features_by_name(tmp_path):
    async def run() -> None:
        writer = log(tmp_path, "commit")
        await writer.append(SOURCE, entry("p0"))
        await writer.close()

    asyncio.run(run())
    (segment,) = collect(tmp_path / "late", {KEY.id: KEY.secret})
    (row,) = segment.rows
    assert (row.key, row.event_time, row.caller) == ("UA/1545", AT, "tower")
    assert (row.features, row.score) == ({"hour": 7.5}, 0.25)
    assert row.predicted_at.isoformat() == "2013-01-01T05:00:00.000001+00:00"
    assert (row.model, row.version, row.revision) == ("late_departure", 3, "r1")
    assert segment.features() == {"hour": [7.5]}
    assert segment.columns()["prediction_id"] == ["p0"]


def test_a_commit_that_fails_is_not_acknowledged_and_new_requests_are_refused_until_it_works(
    tmp_path,
):
    async def run() -> None:
        writer = log(tmp_path, "commit")
        await writer.append(SOURCE, entry("p0"))
        with full_disk():
            with pytest.raises(UnavailableError, match="CN-LOG-001"):
                await writer.append(SOURCE, entry("lost"))
            with pytest.raises(UnavailableError, match="CN-LOG-001"):
                writer.check()
            assert writer.state().broken
            assert writer.state().failures >= 1
        await until(lambda: not writer.state().broken)
        writer.check()
        await writer.append(SOURCE, entry("p1"))
        await writer.close()

    asyncio.run(run())
    assert ids(tmp_path) == ["p0", "p1"]


def test_what_was_answered_but_not_written_is_kept_until_the_disk_works(tmp_path):
    async def run() -> None:
        writer = log(tmp_path, "buffered", delay_s=0.001)
        with full_disk():
            writer.append(SOURCE, entry("p0"))
            await until(lambda: writer.state().failures >= 2)
            writer.append(SOURCE, entry("p1"))
            assert writer.state().lag_s > 0
        await until(lambda: not writer.state().broken)
        assert await writer.close() == 0

    asyncio.run(run())
    assert ids(tmp_path) == ["p0", "p1"]


def test_closing_writes_what_is_pending(tmp_path):
    async def run() -> None:
        writer = log(tmp_path, "buffered", delay_s=60.0)
        for i in range(5):
            writer.append(SOURCE, entry(f"p{i}"))
        assert await writer.close() == 0

    asyncio.run(run())
    assert ids(tmp_path) == [f"p{i}" for i in range(5)]


def test_closing_on_a_broken_disk_says_how_many_rows_are_lost(tmp_path):
    async def run() -> int:
        writer = log(tmp_path, "buffered", delay_s=0.001)
        with full_disk():
            writer.append(SOURCE, entry("p0"))
            await until(lambda: writer.state().broken)
            return await writer.close()

    assert asyncio.run(run()) == 1


def test_a_log_that_is_far_behind_refuses_new_requests(tmp_path):
    async def run() -> None:
        writer = log(tmp_path, "buffered", delay_s=60.0, pending_rows=1)
        for _ in range(2):
            writer.check()
            writer.append(SOURCE, entry("p"))
        with pytest.raises(UnavailableError, match="CN-LOG-002"):
            writer.check()
        await writer.close()

    asyncio.run(run())


def test_a_request_that_is_cancelled_takes_no_other_with_it(tmp_path):
    async def run() -> None:
        writer = log(tmp_path, "commit")
        gone = writer.append(SOURCE, entry("p0"))
        stays = writer.append(SOURCE, entry("p1"))
        gone.cancel()
        await stays
        await writer.close()

    asyncio.run(run())
    assert ids(tmp_path) == ["p0", "p1"]
