from __future__ import annotations

import asyncio

import pytest
import uvicorn

from colonnade.serve.wire import Protocol


class Connection(asyncio.Transport):
    """A transport that keeps what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def answer(scope, receive, send):
    message = await receive()
    body = message["body"] or b"nothing"
    length = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    await send({"type": "http.response.body", "body": body})


def exchange(*parts: bytes, responses: int = 1) -> Connection:
    """What a connection was written when these bytes came in."""

    async def run() -> Connection:
        config = uvicorn.Config(answer, http=Protocol, ws="none", lifespan="off", log_config=None)
        config.load()
        server = uvicorn.Server(config)
        protocol = Protocol(config, server.server_state, {})
        connection = Connection()
        protocol.connection_made(connection)
        for part in parts:
            protocol.data_received(part)
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            done = server.server_state
            while done.total_requests < responses and not connection.closed:  # noqa: ASYNC110
                await asyncio.sleep(0)
        protocol._unset_keepalive_if_required()
        return connection

    return asyncio.run(run())


def test_head_and_body_leave_in_one_write():
    connection = exchange(b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nhi")
    (written,) = connection.writes
    assert written.startswith(b"HTTP/1.1 200 OK\r\n")
    assert written.endswith(b"\r\n\r\nhi")


def test_a_head_without_a_body_leaves_too():
    (written,) = exchange(b"HEAD / HTTP/1.1\r\n\r\n").writes
    assert written.endswith(b"content-length: 7\r\n\r\n")


def test_the_go_ahead_for_a_body_is_not_held_back():
    head = b"POST / HTTP/1.1\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n"
    connection = exchange(head, b"hi")
    assert connection.writes[0] == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert connection.writes[1].endswith(b"hi")


def test_pipelined_requests_are_answered_one_by_one():
    one = b"POST / HTTP/1.1\r\ncontent-length: 1\r\n\r\n"
    connection = exchange(one + b"a" + one + b"b", responses=2)
    assert [written[-1:] for written in connection.writes] == [b"a", b"b"]


@pytest.mark.parametrize("request_", [b"POST / HTTP/1.1\r\nconnection: close\r\n\r\n", b"nonsense"])
def test_a_connection_that_closes_is_written_everything_first(request_):
    connection = exchange(request_)
    assert connection.closed
    assert b"".join(connection.writes).startswith(b"HTTP/1.1 ")
