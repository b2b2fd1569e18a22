from __future__ import annotations

import resource
import shutil
from contextlib import contextmanager

import pytest

from colonnade.serve.collect import segments, sweep
from colonnade.serve.segment import SpoolKey, read_segment
from colonnade.serve.spool import Spool

KEY = SpoolKey(id="k1", secret=bytes(32))
KEYS = {KEY.id: KEY.secret}


@contextmanager
def full_disk(file_bytes: int):
    """Let no file of this process grow past a size: writes fail halfway, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def spool(tmp_path, **options) -> Spool:
    return Spool(tmp_path, "late", KEY, durable=True, **options)


def content(tmp_path) -> list[list[bytes]]:
    return [read_segment(found.path, KEYS)[1] for found in segments(tmp_path / "late")]


def test_a_live_worker_keeps_its_open_segment_to_itself(tmp_path):
    writer = spool(tmp_path)
    writer.write(b"one")
    assert content(tmp_path) == []
    writer.rotate()
    writer.write(b"two")
    assert content(tmp_path) == [[b"one"]]
    writer.close()
    assert content(tmp_path) == [[b"one"], [b"two"]]


def test_a_segment_is_closed_when_it_is_large(tmp_path):
    writer = spool(tmp_path, segment_bytes=1000)
    for number in range(6):
        writer.write(bytes([number]) * 400)
    assert [len(frames) for frames in content(tmp_path)] == [3, 3]
    writer.close()


def test_what_a_dead_worker_left_open_is_found_after_what_it_had_closed(tmp_path):
    writer = spool(tmp_path)
    writer.write(b"one")
    writer.rotate()
    writer.write(b"two")
    shutil.copytree(tmp_path, tmp_path / "crash")  # nobody holds the copy's lock
    assert content(tmp_path / "crash") == [[b"one"], [b"two"]]
    assert [found.number for found in segments(tmp_path / "crash" / "late")] == [0, 1]
    writer.close()


def test_numbers_of_a_new_start_never_meet_those_of_the_last(tmp_path):
    for _ in range(2):
        writer = spool(tmp_path)
        writer.write(b"x")
        writer.close()
    found = list(segments(tmp_path / "late"))
    assert len({(f.spool, f.number) for f in found}) == 2


def test_a_failed_write_leaves_only_what_was_acknowledged_and_the_next_one_goes_on(tmp_path):
    writer = spool(tmp_path)
    writer.write(b"one")
    with full_disk(2000), pytest.raises(OSError, match="too large"):
        writer.write(b"x" * 10_000)
    writer.write(b"two")
    writer.close()
    assert content(tmp_path) == [[b"one"], [b"two"]]


def test_while_the_disk_takes_nothing_each_probe_says_so_and_leaves_no_file(tmp_path):
    writer = spool(tmp_path)
    with full_disk(0):
        for _ in range(3):
            with pytest.raises(OSError, match="too large"):
                writer.probe()
    assert [path.name for path in writer.folder.iterdir()] == ["lock"]
    writer.probe()
    writer.write(b"one")
    writer.close()
    assert content(tmp_path) == [[b"one"]]


def test_a_spool_without_frames_leaves_nothing_behind(tmp_path):
    writer = spool(tmp_path)
    writer.probe()
    writer.rotate()
    writer.close()
    assert list((tmp_path / "late").iterdir()) == []


def test_sweeping_removes_emptied_folders_of_the_dead_and_none_of_the_living(tmp_path):
    dead, living = spool(tmp_path), spool(tmp_path)
    for writer in (dead, living):
        writer.write(b"one")
        writer.rotate()
    dead.close()
    sweep(tmp_path / "late")
    assert dead.folder.exists()
    for writer in (dead, living):
        next(writer.folder.glob("*.seg")).unlink()
    sweep(tmp_path / "late")
    assert not dead.folder.exists()
    assert living.folder.exists()
    living.close()


def test_files_are_readable_by_their_owner_only(tmp_path):
    writer = spool(tmp_path)
    writer.write(b"one")
    assert {path.stat().st_mode & 0o077 for path in writer.folder.iterdir()} == {0}
    assert writer.folder.stat().st_mode & 0o077 == 0
    writer.close()


def test_an_endpoint_that_never_ran_has_no_segments(tmp_path):
    assert list(segments(tmp_path / "late")) == []
