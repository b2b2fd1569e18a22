"""A project that is pushed to, and its control server as a process."""

from __future__ import annotations

import http.client
import io
import json
from pathlib import Path

import polars as pl

from tests.projects import empty, process, within

PUSHED = """
import polars as pl
import colonnade as co

project = co.Project("small")
project.source("events", co.Push(), key="event_id", schedule="on arrival")
project.source("rows", "landing/rows*.csv")


@project.table(key="event_id")
def twice(events: pl.LazyFrame) -> pl.LazyFrame:
    return events.unique().with_columns(twice=pl.col("amount") * 2)
"""
ARROW = "application/vnd.apache.arrow.stream"
ROWS = "/v1/sources/events/rows"


def pushed(folder: Path) -> Path:
    """A project with a source that nothing was pushed to."""
    return empty(folder, PUSHED)


def event(number: int) -> dict[str, object]:
    """A row; the same number is the same row."""
    return {
        "event_id": number,
        "amount": number / 4,
        "kind": "abc"[number % 3],
        "paid": number % 2 == 0,
    }


def body(*numbers: int) -> bytes:
    """Rows as JSON."""
    return json.dumps({"rows": [event(number) for number in numbers]}).encode()


def arrow(frame: pl.DataFrame) -> bytes:
    """Rows as an Arrow IPC stream."""
    file = io.BytesIO()
    frame.write_ipc_stream(file)
    return file.getvalue()


def table(folder: Path, name: str = "events") -> pl.DataFrame:
    """What is in the newest version of a table, no row before any other."""

    def read(workspace):
        session = workspace.session("test")
        newest = session.newest("table", name)
        return pl.DataFrame() if newest is None else session.scan(newest.ref).collect()

    return within(folder, read)


class Server:
    """`colonnade server` as a process on a free port, asked over HTTP."""

    def __init__(self, folder: Path, **options: object) -> None:
        self.folder = folder
        self.key = (folder / "api.key").read_text()
        self.process = process(folder, "server", "--port", "0", **options)
        said = self.process.stdout.readline() if self.process.stdout else ""
        assert said.startswith("listening on http://"), said
        self.port = int(said.rsplit(":", 1)[1])

    def ask(
        self, method: str, path: str, sent: bytes | None = None, **headers: str | None
    ) -> tuple[int, dict, dict[str, str]]:
        """Status, body and headers of the answer; a header of None is left out."""
        said = {"x-api-key": self.key, "content-type": "application/json"}
        said |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, sent, {k: v for k, v in said.items() if v is not None})
            response = connection.getresponse()
            return response.status, json.loads(response.read()), dict(response.headers)
        finally:
            connection.close()

    def push(self, sent: bytes, key: str | None = None, **headers: str | None) -> tuple[int, dict]:
        """Status and body of the answer to a push."""
        status, answer, _ = self.ask("POST", ROWS, sent, idempotency_key=key, **headers)
        return status, answer

    def stop(self) -> str:
        """Let it finish; returns what it said. A process that does not end is killed."""
        self.process.terminate()
        try:
            said, _ = self.process.communicate(timeout=60)
        finally:
            self.process.kill()
        assert self.process.returncode == 0, said
        return said
