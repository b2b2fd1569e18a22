"""An endpoint is killed under load, twenty times; nothing acknowledged is lost or doubled."""

from __future__ import annotations

import os
import signal

import pytest

from tests.projects import fitted, predictions, until
from tests.served import Caller, Served, assert_kept, load, more

pytestmark = pytest.mark.timeout(240)
ROUNDS = 20


def test_twenty_kills_of_worker_and_server_lose_and_double_nothing_acknowledged(forks, tmp_path):
    folder = fitted(tmp_path / "project")
    callers: list[Caller] = []
    for _ in range(ROUNDS // 2):
        server = Served(forks, folder)
        with load(server, callers=4, first=len(callers)) as threads:
            callers += threads
            more(threads, 30)
            killed = server.worker
            os.kill(killed, signal.SIGKILL)
            until(lambda: server.worker not in (0, killed))  # noqa: B023
            more(threads, 40)
            server.kill()
    Served(forks, folder).end()
    acknowledged = sum(len(caller.acknowledged) for caller in callers)
    kept = predictions(folder)
    print(f"{acknowledged} acknowledged, {len(kept)} kept")
    assert acknowledged >= ROUNDS * len(threads) * 40
    assert_kept(folder, callers)
    assert not list((folder / ".colonnade" / "spool").rglob("*.seg"))
    assert not list((folder / ".colonnade" / "spool").rglob("*.open"))
