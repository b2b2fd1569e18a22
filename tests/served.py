"""`colonnade serve` under load: callers that keep what was acknowledged, and the comparison."""

from __future__ import annotations

import http.client
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.disks import Command, Fault, Forks
from tests.projects import Endpoint, asked, contents, predictions, until


class Served(Endpoint):
    """`colonnade serve` as a process group of its own, with a disk that may fail."""

    def __init__(
        self, forks: Forks, folder: Path, fault: Fault | None = None, port: int = 0
    ) -> None:
        self.name = "risk"
        self.key = (folder / "api.key").read_text()
        self.command: Command = forks.start(folder, "serve", "--port", str(port), fault=fault)
        until(lambda: "risk: answers with" in self.command.said)
        self.port = int(re.findall(r"listening on http://.*:(\d+)", self.command.said)[0])

    @property
    def worker(self) -> int:
        """The process id of the one worker; 0 where there is none now."""
        children = psutil.Process(self.command.pid).children()
        running = [child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE]
        return running[0] if running else 0

    def ready(self) -> int:
        """The status of the readiness page."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", "/v2/health/ready")
        status = connection.getresponse().status
        connection.close()
        return status

    def kill(self) -> None:
        """End all of it as the kernel does when memory runs out."""
        os.killpg(self.command.pid, signal.SIGKILL)
        self.command.wait()

    def end(self) -> str:
        """Let it drain; returns what it said."""
        os.kill(self.command.pid, signal.SIGTERM)
        ended = self.command.wait()
        assert ended.code == 0, ended.said
        return ended.said


class Caller(threading.Thread):
    """Asks without a pause, and keeps what was acknowledged: id -> number of the row and score."""

    def __init__(self, server: Served, first: int) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._number = first
        self.go_on = True
        self.acknowledged: dict[str, tuple[int, float]] = {}
        self.refused: list[str] = []

    def run(self) -> None:
        while self.go_on:
            with suppress(OSError, http.client.HTTPException):  # a worker was killed
                self._ask()

    def _ask(self) -> None:
        self._number += 1
        status, answer = self._server.ask([asked(self._number)], self._server.key)
        if status == 200:
            (prediction,) = answer["predictions"]
            self.acknowledged[prediction["id"]] = (self._number, prediction["score"])
        else:
            self.refused.append(answer["code"])


@contextmanager
def load(server: Served, callers: int = 3, first: int = 0) -> Iterator[list[Caller]]:
    """Callers at work, from this number on; each was answered before the block begins."""
    threads = [Caller(server, (first + n) * 100_000) for n in range(callers)]
    for thread in threads:
        thread.start()
    try:
        more(threads)
        yield threads
    finally:
        for thread in threads:
            thread.go_on = False
        for thread in threads:
            thread.join(60)


def more(threads: list[Caller], count: int = 10) -> None:
    """Wait until every caller was acknowledged some more."""
    before = [len(thread.acknowledged) for thread in threads]
    until(
        lambda: all(
            len(thread.acknowledged) >= n + count for thread, n in zip(threads, before, strict=True)
        )
    )


def assert_kept(folder: Path, threads: list[Caller]) -> None:
    """What was acknowledged is in the table once, with what was asked and answered.

    What was not acknowledged, its number asked once, is there at most once.
    """
    contents(folder)
    kept = predictions(folder)
    assert len({number for number, _ in kept.values()}) == len(kept)
    acknowledged = {k: v for thread in threads for k, v in thread.acknowledged.items()}
    assert {k: kept.get(k) for k in acknowledged} == acknowledged
