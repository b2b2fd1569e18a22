"""A server whose disk is full or fails: 503, nothing half-visible, and it goes on by itself."""

from __future__ import annotations

import os
import re
import signal

import pytest

from tests.disks import Fault, small_disk
from tests.projects import carry_out, until
from tests.pushed import Server, body, event, pushed, table

pytestmark = pytest.mark.timeout(180)


class Forked(Server):
    """`colonnade server` under faults of its disk."""

    def __init__(self, forks, folder, fault=None):
        self.folder = folder
        self.key = (folder / "api.key").read_text()
        self.command = forks.start(folder, "server", "--port", "0", fault=fault)
        until(lambda: "listening" in self.command.said)
        self.port = int(re.search(r":(\d+)\n", self.command.said)[1])

    def end(self):
        os.kill(self.command.pid, signal.SIGTERM)
        ended = self.command.wait()
        assert "Traceback" not in ended.said
        assert ended.code == 0, ended.said


def files(folder):
    return sorted(path.name for path in (folder / ".colonnade/landing/events").iterdir())


@pytest.mark.own_mounts
def test_a_full_disk_is_503_until_there_is_room(forks, tmp_path):
    with small_disk(tmp_path / "disk", "16m") as disk:
        folder = pushed(disk.path / "project")
        server = Forked(forks, folder)
        assert server.push(body(1), "before")[0] == 202
        kept = files(folder)
        disk.leave(0)
        status, answer, headers = server.ask(
            "POST", "/v1/sources/events/rows", body(2), idempotency_key="while"
        )
        assert (status, answer["code"]) in ((503, "CN-DISK-001"), (503, "CN-DATABASE-002"))
        assert int(headers["retry-after"]) > 0
        disk.empty()
        assert files(folder) == kept
        assert server.push(body(2), "while")[0] == 202
        server.end()
        carry_out(folder, "events")
        assert table(folder).sort("event_id").to_dicts() == [event(1), event(2)]


@pytest.mark.parametrize("fault", [
    Fault(".incoming", "write"),
    Fault(".rows", "write", how="ENOSPC"),
    Fault("/landing/", "sync"),
], ids=lambda fault: f"{fault.path} {fault.call}")  # fmt: skip
def test_a_disk_that_fails_acknowledges_nothing(forks, tmp_path, fault):
    folder, lasts = pushed(tmp_path / "project"), tmp_path / "fails"
    server = Forked(forks, folder, Fault(fault.path, fault.call, fault.how, lasts=lasts))
    assert server.push(body(1), "before")[0] == 202
    lasts.touch()
    status, answer = server.push(body(2), "while")
    assert (status, answer["code"][:8]) == (503, "CN-DISK-")
    assert server.command.hits
    lasts.unlink()
    assert server.push(body(2), "while")[0] == 202
    server.end()
    carry_out(folder, "events")
    assert table(folder).sort("event_id").to_dicts() == [event(1), event(2)]


def test_bytes_that_are_written_by_halves_are_whole_in_the_end(forks, tmp_path):
    folder = pushed(tmp_path / "project")
    server = Forked(forks, folder, Fault(".incoming", "write", how="half", times=3))
    assert server.push(body(*range(100)), "halves")[0] == 202
    assert server.command.hits
    server.end()
    carry_out(folder, "events")
    assert table(folder).sort("event_id").to_dicts() == [event(number) for number in range(100)]
