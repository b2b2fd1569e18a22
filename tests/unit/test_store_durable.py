from __future__ import annotations

import pytest

from colonnade.base.errors import UnavailableError
from colonnade.store import durable


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "file"
    durable.write(path, b"one")
    durable.write(path, b"another")
    assert path.read_bytes() == b"another"
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_keeps_the_old_file_and_no_temporary_one(tmp_path, monkeypatch):
    path = tmp_path / "file"
    durable.write(path, b"one")

    def broken(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fsync", broken)
    with pytest.raises(UnavailableError, match=r"CN-DISK-002.*Input/output"):
        durable.write(path, b"another")
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]
