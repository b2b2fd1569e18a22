"""What is pushed to the control server: acknowledged when it lasts, taken over once."""

from __future__ import annotations

import stat

import polars as pl
import pytest

from tests.projects import carry_out
from tests.pushed import ARROW, Server, arrow, body, event, pushed, table


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server that the tests of this module push to; each makes rows of its own."""
    server = Server(pushed(tmp_path_factory.mktemp("pushed")))
    yield server
    server.stop()


def run(server):
    """`colonnade run` of what is pushed and what is made from it."""
    return [step.state for step in carry_out(server.folder, "twice")]


def kept(server, first, last):
    """The rows of these numbers as the table has them."""
    found = table(server.folder).filter(pl.col("event_id").is_between(first, last))
    return found.sort("event_id").to_dicts()


def waiting(server):
    return {path.stem for path in (server.folder / ".colonnade/landing/events").iterdir()}


def test_rows_are_acknowledged_taken_over_once_and_carried_through(server):
    status, answer = server.push(body(1, 2, 3), "first")
    assert status == 202
    assert (answer["source"], answer["rows"]) == ("events", 3)
    file = server.folder / f".colonnade/landing/events/{answer['batch']}.parquet"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert run(server) == ["done", "done"]
    assert run(server) == ["up to date", "up to date"]
    assert kept(server, 1, 3) == [event(number) for number in (1, 2, 3)]
    assert waiting(server) == set()
    assert server.push(body(1, 2, 3), "first") == (202, answer)
    assert run(server) == ["up to date", "up to date"]


def test_an_arrow_stream_is_as_good_as_json(server):
    rows = [event(number) for number in (11, 12)]
    status, answer = server.push(arrow(pl.DataFrame(rows)), content_type=ARROW)
    assert (status, answer["rows"]) == (202, 2)
    run(server)
    assert kept(server, 11, 12) == rows
