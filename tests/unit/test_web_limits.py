from __future__ import annotations

import asyncio

import pytest

from colonnade.web.limits import Gate, Limits
from colonnade.web.problem import HttpError

LIMITS = Limits(body_bytes=10, bodies_bytes=15, body_s=0.01, in_flight=2)


def arriving(*parts: bytes):
    """An ASGI `receive` that hands out these parts of a body."""
    messages = iter(
        {"type": "http.request", "body": part, "more_body": i < len(parts) - 1}
        for i, part in enumerate(parts)
    )

    async def receive():
        return next(messages)

    return receive


async def never():
    await asyncio.Event().wait()


def read(headers, receive, limits=LIMITS):
    return asyncio.run(Gate(limits).body(headers, receive))


def length(n: int):
    return {b"content-length": b"%d" % n}


def refused(headers, receive) -> HttpError:
    with pytest.raises(HttpError) as caught:
        read(headers, receive)
    return caught.value


def test_a_body_is_joined_from_its_parts():
    assert read(length(6), arriving(b"abc", b"def")) == b"abcdef"
    assert read({b"transfer-encoding": b"chunked"}, arriving(b"abc", b"", b"d")) == b"abcd"
    assert read(length(3), arriving(b"abc")) == b"abc"


def test_a_body_needs_a_length():
    assert refused({}, arriving(b"")).status == 411


@pytest.mark.parametrize("parts", [(b"x" * 11,), (b"x" * 6, b"x" * 5)])
def test_a_body_that_is_too_large_is_refused_and_its_connection_closed(parts):
    error = refused({b"transfer-encoding": b"chunked"}, arriving(*parts))
    assert error.status == 413
    assert (b"connection", b"close") in error.headers


def test_a_length_that_is_too_large_is_refused_before_the_body_is_read():
    assert refused(length(11), never).status == 413


def test_a_slow_body_is_given_up():
    parts = iter([{"type": "http.request", "body": b"a", "more_body": True}])

    async def receive():
        return next(parts, None) or await never()

    assert refused(length(2), receive).status == 408


def test_a_client_that_goes_away_is_no_server_error():
    async def receive():
        return {"type": "http.disconnect"}

    assert refused(length(2), receive).status == 400


def test_large_bodies_have_a_bound_all_together():
    async def two() -> list[object]:
        gate = Gate(LIMITS)
        slow = iter([{"type": "http.request", "body": b"a", "more_body": True}])

        async def receive():
            return next(slow, None) or await never()

        first = asyncio.create_task(gate.body(length(10), receive))
        await asyncio.sleep(0)
        second = asyncio.create_task(gate.body(length(10), arriving(b"a", b"b")))
        return await asyncio.gather(first, second, return_exceptions=True)

    first, second = asyncio.run(two())
    assert isinstance(first, HttpError)
    assert first.status == 408
    assert isinstance(second, HttpError)
    assert second.status == 503
    assert (b"retry-after", b"1") in second.headers


def test_requests_in_flight_have_a_bound():
    gate = Gate(LIMITS)
    gate.enter()
    gate.enter()
    with pytest.raises(HttpError) as caught:
        gate.enter()
    assert caught.value.status == 503
    gate.leave()
    gate.enter()
