"""Servers that are killed at work: every acknowledged push is in the table once."""

from __future__ import annotations

import contextlib
import http.client
import threading

import pytest

from tests.projects import carry_out, process, until
from tests.pushed import Server, body, event, pushed, table

CLIENTS = 3


class Client(threading.Thread):
    """Pushes one row after the other, each under its own key, until it is told to stop.

    A push that was not answered is sent again, to the other server where this one is down.
    """

    def __init__(self, first: int, servers: list[Server]) -> None:
        super().__init__()
        self.number = first
        self.servers = servers
        self.over = threading.Event()
        self.acknowledged: dict[int, str] = {}
        self.unanswered = 0
        self.turn = first

    def run(self) -> None:
        while not self.over.is_set():
            server = self.servers[self.turn % len(self.servers)]
            try:
                status, answer = server.push(body(self.number), f"push {self.number}")
            except ConnectionRefusedError:
                self.turn += 1
                continue
            except (OSError, http.client.HTTPException):
                self.unanswered += 1
                self.turn += 1
                continue
            assert status == 202, answer
            self.acknowledged[self.number] = answer["batch"]
            self.number += CLIENTS


@contextlib.contextmanager
def clients(servers):
    """Threads that push; what they push goes to whatever is in `servers`."""
    pushing = [Client(number, servers) for number in range(CLIENTS)]
    for client in pushing:
        client.start()
    try:
        yield pushing
    finally:
        for client in pushing:
            client.over.set()
        for client in pushing:
            client.join(60)


def killed(server):
    server.process.kill()
    server.process.communicate()


def counted(pushing):
    return sum(len(client.acknowledged) for client in pushing)


@pytest.mark.timeout(300)
def test_every_acknowledged_push_is_in_the_table_once_whatever_is_killed(tmp_path, record_property):
    folder = pushed(tmp_path)
    servers = [Server(folder), Server(folder)]
    worker = process(folder, "worker")
    assert "waiting" in worker.stdout.readline()
    rounds = 6
    try:
        with clients(servers) as pushing:
            for number in range(rounds):
                enough = counted(pushing) + 10 + 3 * number
                until(lambda enough=enough: counted(pushing) >= enough)
                killed(servers[number % 2])
                if number % 2:
                    worker.kill()
                    worker.communicate()
                    worker = process(folder, "worker")
                servers[number % 2] = Server(folder)
            until(lambda: all(len(client.acknowledged) > 10 for client in pushing))
    finally:
        worker.kill()
        worker.communicate()
    unanswered = sum(client.unanswered for client in pushing)
    assert unanswered >= 1  # else nothing was killed at work
    acknowledged = {n: batch for client in pushing for n, batch in client.acknowledged.items()}
    for number, batch in list(acknowledged.items())[:: max(1, len(acknowledged) // 10)]:
        status, answer = servers[0].push(body(number), f"push {number}")
        assert (status, answer["batch"]) == (202, batch)  # sent again it is the same push
    for server in servers:
        server.stop()
    carry_out(folder, "events")
    found = table(folder)
    assert found["event_id"].n_unique() == found.height
    rows = {row["event_id"]: row for row in found.to_dicts()}
    assert {number: rows.get(number) for number in acknowledged} == {
        number: event(number) for number in acknowledged
    }
    # What is there and was not acknowledged is the last push of a client: it may have been cut off.
    assert len(rows) - len(acknowledged) <= CLIENTS
    record_property(
        "walked",
        f"push: {rounds} kills, {len(acknowledged)} acknowledged, {unanswered} unanswered, "
        "0 missing, 0 doubled",
    )
