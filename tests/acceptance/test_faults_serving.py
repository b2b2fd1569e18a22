"""A server whose disks are full or fail: it stays up, answers 503 where it must, and recovers.

What was acknowledged is in the prediction table once at the end, whatever failed in between.
"""

from __future__ import annotations

import os
import signal

import pytest

from tests.disks import Fault, small_disk
from tests.projects import fitted, predictions, until
from tests.served import Served, assert_kept, load, more

pytestmark = pytest.mark.timeout(240)


@pytest.mark.own_mounts
def test_a_full_disk_is_503_until_there_is_room_also_for_a_worker_that_starts_on_it(
    forks, tmp_path
):
    with small_disk(tmp_path / "disk", "16m") as disk:
        folder = fitted(disk.path / "project")
        server = Served(forks, folder)
        with load(server) as threads:
            disk.leave(0)
            until(lambda: all("CN-LOG-001" in thread.refused for thread in threads))
            assert server.ready() == 503
            killed = server.worker
            os.kill(killed, signal.SIGKILL)
            until(lambda: server.worker not in (0, killed))
            seen = [len(thread.refused) for thread in threads]
            until(lambda: all(len(t.refused) > n + 5 for t, n in zip(threads, seen, strict=True)))
            until(lambda: "CN-LOG-001: the prediction log of risk cannot" in server.command.said)
            disk.empty()
            until(lambda: server.ready() == 200)
            until(lambda: "the prediction log of risk is written again" in server.command.said)
            more(threads)
        assert {code for thread in threads for code in thread.refused} == {"CN-LOG-001"}
        said = server.end()
        print(said)
        assert "Traceback" not in said
        assert_kept(folder, threads)


@pytest.mark.parametrize(
    ("path", "call"), [("/spool/", "write"), ("/spool/", "sync"), ("/spool/", "truncate")]
)
def test_a_spool_whose_disk_fails_is_503_until_it_does_not(forks, tmp_path, path, call):
    folder, lasts = fitted(tmp_path / "project"), tmp_path / "fails"
    server = Served(forks, folder, Fault(path, call, lasts=lasts))
    with load(server) as threads:
        lasts.touch()
        if call == "truncate":  # met only where a write is undone, or a segment is closed
            until(lambda: server.command.hits)
        else:
            until(lambda: all("CN-LOG-001" in thread.refused for thread in threads))
        lasts.unlink()
        until(lambda: server.ready() == 200)
        more(threads)
    said = server.end()
    assert {code for thread in threads for code in thread.refused} <= {"CN-LOG-001"}
    assert "Traceback" not in said
    assert_kept(folder, threads)


@pytest.mark.parametrize(
    ("path", "call", "trouble"),
    [
        ("/tables/predictions.risk/", "write", "predictions of risk: CN-DISK-002"),
        ("/tables/predictions.risk/", "sync", "predictions of risk: CN-DISK-002"),
        ("/meta.db", "write", "predictions of risk: CN-DATABASE-002"),
        ("/heads.jsonl", "write", "ledger: CN-LEDGER-001"),
    ],
)
def test_a_store_that_fails_does_not_end_the_answering_and_is_caught_up_with(
    forks, tmp_path, path, call, trouble
):
    folder, lasts = fitted(tmp_path / "project"), tmp_path / "fails"
    server = Served(forks, folder, Fault(path, call, lasts=lasts))
    with load(server) as threads:
        lasts.touch()
        until(lambda: trouble in server.command.said)
        more(threads)
        lasts.unlink()
        more(threads)
    said = server.end()
    print(said)
    assert [thread.refused for thread in threads] == [[], [], []]
    assert "Traceback" not in said
    assert_kept(folder, threads)
    assert not list((folder / ".colonnade" / "spool").rglob("*.seg"))


def test_predictions_that_could_not_be_flushed_before_the_end_are_flushed_by_the_next_start(
    forks, tmp_path
):
    folder, lasts = fitted(tmp_path / "project"), tmp_path / "fails"
    lasts.touch()
    server = Served(forks, folder, Fault("/tables/predictions.risk/", lasts=lasts))
    with load(server) as threads:
        pass
    server.end()
    assert predictions(folder) == {}
    Served(forks, folder).end()
    assert_kept(folder, threads)


def test_writes_of_a_server_that_are_done_by_half_are_carried_on(forks, tmp_path):
    folder = fitted(tmp_path / "project")
    server = Served(forks, folder, Fault(str(folder), how="half"))
    with load(server) as threads:
        more(threads)
    server.end()
    assert any("/spool/" in hit for hit in server.command.hits)
    assert_kept(folder, threads)
