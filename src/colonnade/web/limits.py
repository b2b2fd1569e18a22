"""How much a server takes on: the size of a body, the time it may take, requests in flight.

What cannot be taken on is refused at once and with a reason: a queue without a bound turns a
short overload into a long one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass

from colonnade.web.auth import Headers
from colonnade.web.problem import HttpError

# ASGI's own types of a message; msgspec or pydantic would only slow what uvicorn has checked.
Message = MutableMapping[str, object]
Receive = Callable[[], Awaitable[Message]]

CLOSE = (b"connection", b"close")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of one server process.

    Attributes:
        body_bytes: the largest body of one request.
        bodies_bytes: the bodies that are being received, all together.
        body_s: how long a client may take to send its body.
        in_flight: requests that are being answered at once.
        retry_after_s: what a refused client is told.
    """

    body_bytes: int = 16 * 1024 * 1024
    bodies_bytes: int = 256 * 1024 * 1024
    body_s: float = 30.0
    in_flight: int = 1024
    retry_after_s: int = 1


class Gate:
    """Counts what is in flight and receives bodies within `limits`; one per process."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.in_flight = 0
        self._receiving_bytes = 0

    def enter(self) -> None:
        """Take on one more request; the caller leaves in a ``finally``.

        Raises:
            HttpError: 503 CN-HTTP-008, as many are in flight as the limit allows.
        """
        if self.in_flight >= self.limits.in_flight:
            raise self._busy(f"{self.in_flight} requests are in flight, the limit")
        self.in_flight += 1

    def leave(self) -> None:
        """The request that entered is answered."""
        self.in_flight -= 1

    async def body(self, headers: Headers, receive: Receive) -> bytes:
        """Receive the body of a request.

        Raises:
            HttpError: 411 without a length, 413 too large, 408 too slow, 503 too many bodies
                at once, 400 when the client went away.
        """
        expected = self._expected(headers)
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            return _part(message, 0, self.limits.body_bytes)
        return await self._rest(message, receive, expected)

    async def parts(self, headers: Headers, receive: Receive) -> AsyncIterator[bytes]:
        """The body of a request part by part, for what is too large to be held in memory.

        Raises:
            HttpError: as `body` does, but for the memory of all.
        """
        self._expected(headers)
        size, more = 0, True
        while more:
            try:
                async with asyncio.timeout(self.limits.body_s):  # silence, not the whole body
                    message = await receive()
            except TimeoutError:
                raise _too_slow(self.limits.body_s) from None
            part = _part(message, size, self.limits.body_bytes)
            size += len(part)
            more = bool(message.get("more_body"))
            yield part

    def _expected(self, headers: Headers) -> int:
        length = headers.get(b"content-length")
        if length is not None:
            if int(length) > self.limits.body_bytes:
                raise _too_large(self.limits.body_bytes)
            return int(length)
        if b"transfer-encoding" in headers:
            return self.limits.body_bytes
        raise HttpError(
            411, "CN-HTTP-004", "the request says no length for its body", "send content-length"
        )

    async def _rest(self, message: Message, receive: Receive, expected: int) -> bytes:
        if self._receiving_bytes + expected > self.limits.bodies_bytes:
            raise self._busy("too many large bodies are being received")
        self._receiving_bytes += expected
        try:
            async with asyncio.timeout(self.limits.body_s):
                return await self._join(message, receive)
        except TimeoutError:
            raise _too_slow(self.limits.body_s) from None
        finally:
            self._receiving_bytes -= expected

    async def _join(self, message: Message, receive: Receive) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            parts.append(_part(message, size, self.limits.body_bytes))
            size += len(parts[-1])
            if not message.get("more_body"):
                return b"".join(parts)
            message = await receive()

    def _busy(self, why: str) -> HttpError:
        wait = str(self.limits.retry_after_s)
        return HttpError(
            503,
            "CN-HTTP-008",
            why,
            f"try again after {wait} s, or run more workers",
            headers=((b"retry-after", wait.encode()),),
        )


def _part(message: Message, size: int, limit: int) -> bytes:
    if message["type"] == "http.disconnect":
        raise HttpError(
            400, "CN-HTTP-007", "the client went away before its body was complete", "try again"
        )
    part = message.get("body", b"")
    if not isinstance(part, bytes):
        raise TypeError(f"an ASGI server sends a body as bytes, not as {type(part).__name__}")
    if size + len(part) > limit:
        raise _too_large(limit)
    return part


def _too_slow(within_s: float) -> HttpError:
    return HttpError(
        408,
        "CN-HTTP-006",
        f"the body did not arrive within {within_s:g} s",
        "send it faster, or in smaller requests",
        headers=(CLOSE,),
    )


def _too_large(limit: int) -> HttpError:
    return HttpError(
        413,
        "CN-HTTP-005",
        f"the body is larger than the limit of {limit} bytes",
        "send the rows in several requests, or use batch inference",
        headers=(CLOSE,),
    )
