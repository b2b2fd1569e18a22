"""What is pushed to the control server: acknowledged when it lasts, taken over once."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import stat
import threading
from pathlib import Path

import dataframely as dy
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from colonnade.base.errors import NotFoundError
from colonnade.bundle.request import RequestError
from colonnade.data.receive import Sent, receive
from colonnade.project import Project
from colonnade.records.source import Push
from colonnade.wiring import open_workspace
from tests.projects import carry_out, until
from tests.pushed import ARROW, ROWS, Server, arrow, body, event, pushed, table


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


pytestmark = pytest.mark.timeout(180)


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


def refused(answer, code):
    """The problem document has this code, and every row's reason repeats no value."""
    assert answer["code"] == code, answer
    assert set(answer) >= {"type", "title", "status", "code", "detail", "fix"}
    return [(problem["row"], problem["field"]) for problem in answer.get("errors", ())]


WRONG = [
    (b"", "CN-PUSH-001", [(None, None)]),
    (b"{", "CN-PUSH-001", [(None, None)]),
    (b"[]", "CN-PUSH-001", [(None, None)]),
    (b'{"rows": {}}', "CN-PUSH-001", [(None, None)]),
    (b'{"rows": []}', "CN-PUSH-001", [(None, None)]),
    (b'{"row": [{}]}', "CN-PUSH-001", [(None, None)]),
    (b'{"rows": [{}], "more": 1}', "CN-PUSH-001", [(None, None)]),
    (b"\xff\xfe", "CN-PUSH-001", [(None, None)]),
    (b'{"rows": ' + b"[" * 100_000, "CN-PUSH-001", [(None, None)]),
    (b'{"rows": [7]}', "CN-PUSH-002", [(0, None)]),
    (b'{"rows": [{"event_id": 1, "amount": 1, "kind": "a"}]}', "CN-PUSH-002", [(0, "paid")]),
    (
        b'{"rows": [{"event_id": 1, "amount": 1, "kind": "a", "paid": true, "pai": 1}]}',
        "CN-PUSH-002",
        [(0, "pai")],
    ),
    (
        b'{"rows": [{"event_id": 1, "event_id": 2, "amount": 1, "kind": "a", "paid": true}]}',
        "CN-PUSH-002",
        [(0, "event_id")],
    ),
    (
        b'{"rows": [{"event_id": "1", "amount": "x", "kind": 1, "paid": 1}]}',
        "CN-PUSH-002",
        [(0, "amount"), (0, "event_id"), (0, "kind"), (0, "paid")],
    ),
    (
        b'{"rows": [{"event_id": 9223372036854775808, "amount": 1, "kind": "a", "paid": true}]}',
        "CN-PUSH-002",
        [(0, "event_id")],
    ),
    (
        b'{"rows": [{"event_id": 1.5, "amount": NaN, "kind": "a", "paid": true}]}',
        "CN-PUSH-001",
        [(None, None)],
    ),
]


@pytest.fixture(scope="module")
def bound(server):
    """The server of a source that has a contract."""
    server.push(body(90), "bound")
    run(server)
    return server


@pytest.mark.parametrize(("sent", "code", "places"), WRONG)
def test_rows_of_another_shape_are_refused_by_row_and_field(bound, sent, code, places):
    before = waiting(bound)
    status, answer = bound.push(sent, "wrong")
    assert status == 422
    assert sorted(refused(answer, code), key=str) == sorted(places, key=str)
    assert waiting(bound) == before


def test_of_many_wrong_rows_some_are_listed_and_none_is_kept(bound):
    before = waiting(bound)
    rows = [{"event_id": f"secret{number}"} for number in range(1000)]
    status, answer = bound.push(json.dumps({"rows": rows}).encode())
    assert status == 422
    assert len(refused(answer, "CN-PUSH-002")) == 20
    assert "secret" not in json.dumps(answer)
    assert waiting(bound) == before


@pytest.mark.parametrize(
    ("frame", "field"),
    [
        (pl.DataFrame([event(1)]).drop("paid"), "paid"),
        (pl.DataFrame([event(1)]).with_columns(other=1), "other"),
        (pl.DataFrame([event(1)]).with_columns(paid=pl.lit(1)), "paid"),
        (pl.DataFrame([event(1)]).with_columns(event_id=pl.lit(1.0)), "event_id"),
        (pl.DataFrame([event(1)]).with_columns(kind=pl.lit([1])), "kind"),
    ],
)
def test_an_arrow_stream_of_another_shape_is_refused_by_field(bound, frame, field):
    status, answer = bound.push(arrow(frame), "wrong", content_type=ARROW)
    assert status == 422
    assert refused(answer, "CN-PUSH-002") == [(None, field)]


@pytest.mark.parametrize("cut", [0, 10, 100, 300])
def test_an_arrow_stream_that_is_none_is_refused(bound, cut):
    sent = arrow(pl.DataFrame([event(1)]))[:cut]
    status, answer = bound.push(sent, "wrong", content_type=ARROW)
    assert status == 422
    refused(answer, "CN-PUSH-001")


def test_bad_values_go_into_quarantine_and_the_rest_is_taken(tmp_path):
    folder = pushed(tmp_path)
    server = Server(folder)
    server.push(body(*range(40)))
    run(server)
    contract = folder / "contracts" / "events.yaml"
    text = contract.read_text()
    place = text.index("name: amount")
    end = text.index("logicalType: number", place)
    ruled = text[:end] + "logicalTypeOptions: {maximum: 11}\n    " + text[end:]
    contract.write_text(ruled)
    server.push(body(*range(41, 46)), "one above")
    server.push(body(*range(-30, 0)), "none above")
    run(server)
    server.stop()
    assert table(folder).height == 74
    bad = table(folder, "quarantine.events")
    assert bad["reasons"].to_list() == [["amount|maximum"]]
    assert bad["file"].item().startswith("push/events/")


def test_the_same_key_is_the_same_push_and_another_body_is_refused(server):
    status, answer = server.push(body(101), "key 101")
    assert status == 202
    assert server.push(body(101), "key 101") == (202, answer)
    status, other = server.push(body(102), "key 101")
    assert status == 422
    refused(other, "CN-PUSH-003")
    run(server)
    status, other = server.push(body(102), "key 101")
    assert (status, other["code"]) == (422, "CN-PUSH-003")
    assert kept(server, 101, 102) == [event(101)]


def test_without_a_key_the_same_bytes_are_the_same_push_and_with_two_keys_they_are_two(server):
    first, again = server.push(body(111)), server.push(body(111))
    assert first == again
    batches = {server.push(body(112), key)[1]["batch"] for key in ("a 112", "b 112")}
    assert len(batches) == 2
    run(server)
    assert kept(server, 111, 112) == [event(111), event(112), event(112)]


def test_one_key_at_two_servers_at_once_is_one_push(server):
    other = Server(server.folder)
    answers = []
    pushes = [
        threading.Thread(target=lambda at=at: answers.append(at.push(body(121), "key 121")))
        for at in (server, other) * 4
    ]
    for thread in pushes:
        thread.start()
    for thread in pushes:
        thread.join()
    other.stop()
    assert {status for status, _ in answers} == {202}
    assert len({answer["batch"] for _, answer in answers}) == 1
    run(server)
    assert kept(server, 121, 121) == [event(121)]


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there"])
def test_a_key_that_is_none_is_refused(server, key):
    status, answer = server.push(body(1), key)
    assert (status, answer["code"]) == (400, "CN-PUSH-004")


@pytest.mark.parametrize(
    ("path", "status", "code", "fix"),
    [
        ("/v1/sources/event/rows", 404, "CN-PUSH-005", "did you mean 'events'?"),
        ("/v1/sources/rows/rows", 409, "CN-PUSH-006", "co.Push()"),
        ("/v1/sources/A%20b/rows", 404, "CN-PUSH-005", "known: events"),
        ("/v1/source", 404, "CN-SERVE-010", "did you mean '/v1/sources'?"),
        ("/healthz", 405, "CN-HTTP-002", "use GET"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(server, path, status, code, fix):
    found, answer, _ = server.ask("POST", path, body(1))
    assert (found, answer["code"]) == (status, code)
    assert fix in answer["fix"]


@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": None},
        {"content_type": "text/csv"},
        {"content_encoding": "gzip"},
    ],
)
def test_what_cannot_be_read_is_415(server, headers):
    status, answer = server.push(body(1), **headers)
    assert (status, answer["code"]) == (415, "CN-HTTP-011")


def test_a_body_without_a_length_may_come_in_chunks_and_must_come_somehow(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    headers = {"x-api-key": server.key, "content-type": "application/json"}
    connection.request("POST", ROWS, iter([body(131)[:9], body(131)[9:]]), headers)
    assert connection.getresponse().status == 202
    connection.close()
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as raw:
        head = f"POST {ROWS} HTTP/1.1\r\nhost: x\r\nx-api-key: {server.key}\r\n"
        raw.sendall(f"{head}content-type: application/json\r\n\r\n".encode())
        assert b" 411 " in raw.recv(1000)


def test_a_client_that_goes_away_leaves_nothing(server):
    before = waiting(server)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as raw:
        head = f"POST {ROWS} HTTP/1.1\r\nhost: x\r\nx-api-key: {server.key}\r\n"
        raw.sendall(f"{head}content-type: application/json\r\ncontent-length: 99\r\n\r\n".encode())
        raw.sendall(b'{"rows"')
        until(lambda: len(waiting(server)) > len(before))
    until(lambda: waiting(server) == before)


def grown(server, work):
    """By how many bytes the server's memory grew at most while something was done."""
    status = Path(f"/proc/{server.process.pid}/status")
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")

    def peak():
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024

    before = peak()
    found = work()
    return peak() - before, found


def test_a_push_of_100_mb_is_refused_and_not_held_in_memory(server):
    sent = bytes(100_000_000)
    grew, (status, answer) = grown(server, lambda: server.push(sent))
    assert (status, answer["code"]) == (413, "CN-HTTP-005")
    assert grew < 16_000_000

    def chunked():
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        headers = {"x-api-key": server.key, "content-type": "application/json"}
        parts = (sent[:1_000_000] for _ in range(100))
        connection.request("POST", ROWS, parts, headers)
        return connection.getresponse().status

    grew, status = grown(server, chunked)
    assert status == 413
    assert grew < 16_000_000
    assert not [name for name in waiting(server) if name.startswith(".")]


def test_a_push_of_100_mb_is_taken_where_the_setting_says_so(tmp_path):
    folder = pushed(tmp_path)
    server = Server(folder, env={**os.environ, "COLONNADE_SERVER__BODY_BYTES": "120000000"})
    count = 1_200_000
    frame = pl.DataFrame({"event_id": range(count)}).with_columns(
        amount=pl.col("event_id") / 4, kind=pl.lit("a"), paid=pl.col("event_id") % 2 == 0
    )
    sent = b'{"rows": ' + frame.write_json().encode() + b" " * 30_000_000 + b"}"
    assert len(sent) > 100_000_000
    grew, (status, answer) = grown(server, lambda: server.push(sent))
    assert (status, answer["rows"]) == (202, count)
    assert grew < 6 * len(sent)
    server.stop()
    carry_out(folder, "events")
    assert_frame_equal(table(folder).sort("event_id"), frame, check_column_order=False)


def test_the_first_push_decides_the_shape_until_there_is_a_contract(tmp_path):
    server = Server(pushed(tmp_path))
    server.push(body(1))
    status, answer = server.push(b'{"rows": [{"event_id": 2}]}')
    assert status == 422
    assert refused(answer, "CN-PUSH-002") == [(0, "amount"), (0, "kind"), (0, "paid")]
    status, _ = server.push(arrow(pl.DataFrame([event(2)])), content_type=ARROW)
    assert status == 202
    server.stop()
    carry_out(tmp_path, "events")
    assert table(tmp_path).sort("event_id").to_dicts() == [event(1), event(2)]


def test_files_that_were_never_acknowledged_are_swept_when_they_are_old(server):
    folder = server.folder / ".colonnade/landing/events"
    young, old = folder / "young.parquet", folder / ".old.incoming"
    young.write_bytes(b"x")
    old.write_bytes(b"x")
    os.utime(old, (0, 0))
    server.push(body(141))
    run(server)
    assert young.exists()
    assert not old.exists()
    young.unlink()


def test_a_file_that_somebody_deleted_is_named(server):
    _, answer = server.push(body(151))
    file = server.folder / f".colonnade/landing/events/{answer['batch']}.parquet"
    kept_bytes = file.read_bytes()
    file.unlink()
    with pytest.raises(NotFoundError, match="CN-PUSH-007"):
        run(server)
    file.write_bytes(kept_bytes)
    run(server)
    assert kept(server, 151, 151) == [event(151)]


def test_the_sources_are_told_with_what_waits(bound):
    run(bound)
    _, answer = bound.push(body(161))
    status, told, _ = bound.ask("GET", "/v1/sources")
    assert status == 200
    assert told["sources"]["events"]["waiting"] == [answer["batch"]]
    run(bound)
    _, told, _ = bound.ask("GET", "/v1/sources")
    assert told["sources"]["events"]["waiting"] == []


def test_the_push_is_in_the_ledger_with_who_pushed_and_no_key(server):
    _, answer = server.push(body(171), "who pushed 171")
    with open_workspace(server.folder) as workspace:
        session = workspace.session("test")
        entry = session.entries(kind="source", verb="push", subject="source/events", limit=1)[0]
        assert (entry.actor, entry.made_from) == ("admin", (answer["file"],))
        assert entry.body["batch"] == answer["batch"]
        assert hashlib.sha256(body(171)).hexdigest() == entry.body["sha256"] == answer["sha256"]
        assert "who pushed" not in str(entry.body)
    run(server)
    with open_workspace(server.folder) as workspace:
        made = workspace.session("test").made_from(answer["file"])
        assert [entry.kind for entry in made] == ["source", "table"]


def test_a_contract_that_is_a_class_is_the_shape_of_the_first_push(session, tmp_path):
    class Events(dy.Schema):
        event_id = dy.Int64()
        kind = dy.String()

    source = Project("p").source("events", Push(), contract=Events)

    def push(row):
        with session.inbox("write", "events").incoming() as path:
            path.write_text(json.dumps({"rows": [row]}))
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            sent = Sent(path=path, media_type="application/json", sha256=digest, key=None)
            return receive(session, source, tmp_path, sent)

    with pytest.raises(RequestError, match="CN-PUSH-002"):
        push({"event_id": "one", "kind": "a"})
    assert push({"event_id": 1, "kind": "a"}).rows == 1
