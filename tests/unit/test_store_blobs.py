from __future__ import annotations

import pytest

from colonnade.base.errors import NotFoundError, RefusedError, UnavailableError
from colonnade.records import canonical
from colonnade.store import keys
from colonnade.store.blobs import Blobs
from colonnade.store.keys import Keys


@pytest.fixture
def blobs(tmp_path):
    keys.make(tmp_path / "root.key")
    return Blobs(tmp_path / "blobs", Keys(tmp_path / "root.key"))


def _files(tmp_path):
    return [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 4096])
def test_bytes_come_back_under_their_digest(blobs, data):
    digest = blobs.put(data)
    assert digest == canonical.sha256(data)
    assert blobs.get(digest) == data


def test_the_same_bytes_are_stored_once(blobs, tmp_path):
    digest = blobs.put(b"model")
    written = blobs.path(digest).read_bytes()
    assert blobs.put(b"model") == digest
    assert _files(tmp_path) == [blobs.path(digest)]
    assert blobs.path(digest).read_bytes() == written


def test_no_plain_text_is_on_the_disk(blobs, tmp_path):
    blobs.put(b"somebody's name" * 100)
    assert all(b"somebody" not in path.read_bytes() for path in _files(tmp_path))


@pytest.mark.parametrize("place", [0, 8, 20, -1])
def test_a_changed_byte_is_refused(blobs, place):
    digest = blobs.put(b"model")
    changed = bytearray(blobs.path(digest).read_bytes())
    changed[place] ^= 1
    blobs.path(digest).write_bytes(changed)
    with pytest.raises(RefusedError, match="CN-BLOB-002"):
        blobs.get(digest)


def test_a_blob_under_another_ones_name_is_refused(blobs):
    one, other = blobs.put(b"good model"), blobs.put(b"evil model")
    blobs.path(one).write_bytes(blobs.path(other).read_bytes())
    with pytest.raises(RefusedError, match="CN-BLOB-002"):
        blobs.get(one)


def test_a_missing_blob_is_named(blobs):
    with pytest.raises(NotFoundError, match="CN-BLOB-001"):
        blobs.get("0" * 64)


def test_rotation_keeps_blobs_readable_and_uses_the_new_key(blobs, tmp_path):
    old = blobs.put(b"old")
    mine = Keys(tmp_path / "root.key")
    mine.rotate()
    later = Blobs(tmp_path / "blobs", mine)
    new = later.put(b"new")
    assert later.get(old) == b"old"
    assert later.path(new).read_bytes().startswith(mine.key_id.encode())
    assert not later.path(old).read_bytes().startswith(mine.key_id.encode())


def test_a_failed_write_leaves_nothing(blobs, tmp_path, monkeypatch):
    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UnavailableError, match=r"CN-DISK-001.*No space"):
        blobs.put(b"model")
    monkeypatch.undo()
    assert _files(tmp_path) == []
    assert blobs.get(blobs.put(b"model")) == b"model"
