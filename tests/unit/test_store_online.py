"""The online store: whole or not at all, the newer version wins, any number of readers."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from colonnade.base.errors import UnavailableError
from colonnade.records.online import Fact, Published
from colonnade.store.online import Online
from tests import disks


@pytest.fixture
def online(tmp_path):
    online = Online(tmp_path / "online")
    yield online
    online.close()


def about(version):
    return Published(version=version, columns=("id", "value"))


def rows(*pairs):
    return [([key], [Fact(0, (key, value))]) for key, value in pairs]


def test_a_version_takes_the_place_of_an_older_one_whole(online):
    assert online.publish("t", about(1), rows(("a", 1), ("b", 2)))
    assert online.publish("t", about(2), rows(("a", 3)))
    assert online.get("t", ["a"], 0) == {"id": "a", "value": 3}
    assert online.get("t", ["b"], 0) is None
    assert online.published("t") == about(2)


def test_an_older_version_never_takes_the_place_of_a_newer_one(online):
    online.publish("t", about(2), rows(("a", 2)))
    assert not online.publish("t", about(1), rows(("a", 1)))
    assert not online.publish("t", about(2), rows(("a", 9)))
    assert online.get("t", ["a"], 0) == {"id": "a", "value": 2}


def test_what_was_not_published_is_not_there(online, tmp_path):
    assert online.published("t") is None
    assert online.get("t", ["a"], 0) is None
    assert not (tmp_path / "online").exists()


def test_numbers_and_texts_are_different_keys_and_long_keys_are_kept_apart(online):
    long = ["x" * 1_000, "x" * 999]
    online.publish("t", about(1), rows(("1", "text"), (1, "number"), *zip(long, "ab", strict=True)))
    found = [online.get("t", [key], 0)["value"] for key in ("1", 1, *long)]
    assert found == ["text", "number", "a", "b"]


def test_a_fact_is_seen_from_its_moment_on(online):
    online.publish("t", about(1), [(["a"], [Fact(10, ("a", 1)), Fact(20, ("a", 2))])])
    found = [online.get("t", ["a"], now) for now in (9, 10, 19, 20)]
    assert [row and row["value"] for row in found] == [None, 1, 1, 2]


def test_another_process_reads_what_was_published_and_what_follows(online, tmp_path):
    script = """
        import sys
        from pathlib import Path
        from colonnade.store.online import Online
        online = Online(Path(sys.argv[1]))
        for _ in sys.stdin:
            print(online.get("t", ["a"], 0)["value"], flush=True)
    """
    online.publish("t", about(1), rows(("a", 1)))
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "online")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as reader:  # fmt: skip

        def ask():
            reader.stdin.write("?\n")
            reader.stdin.flush()
            return int(reader.stdout.readline())

        assert ask() == 1
        online.publish("t", about(2), rows(("a", 2)))
        assert ask() == 2
        reader.stdin.close()


def test_a_writer_that_is_killed_leaves_the_version_before(online, tmp_path):
    script = """
        import os, signal, sys
        from pathlib import Path
        from colonnade.store.online import Online
        environment = Online(Path(sys.argv[1]))._environment("t")
        kept = environment.open_db(b"facts")
        # Killed inside the transaction, behind the first pages written.
        with environment.begin(write=True) as transaction:
            transaction.drop(kept, delete=False)
            transaction.put(b"key", b"y" * 1_000_000, db=kept)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    online.publish("t", about(1), rows(("a", 1)))
    script = textwrap.dedent(script)
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path / "online")], check=False)
    assert killed.returncode == -9
    assert online.get("t", ["a"], 0) == {"id": "a", "value": 1}
    assert online.publish("t", about(2), rows(("a", 2)))
    assert online.get("t", ["a"], 0) == {"id": "a", "value": 2}


def test_a_full_disk_is_said_and_the_version_before_stays(tmp_path):
    with disks.small_disk(tmp_path / "disk", "2m") as disk:
        online = Online(tmp_path / "disk" / "online")
        online.publish("t", about(1), rows(("a", 1)))
        with pytest.raises(UnavailableError, match="CN-DISK-001"):
            online.publish("t", about(2), rows(*((f"{n:08}", "x" * 1_000) for n in range(4_000))))
        assert online.get("t", ["a"], 0) == {"id": "a", "value": 1}
        disk.empty()
        assert online.publish("t", about(2), rows(("a", 2)))
        assert online.get("t", ["a"], 0) == {"id": "a", "value": 2}
        online.close()
