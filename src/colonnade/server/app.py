"""The control server's ASGI application: a raw callable over a table of routes.

    explain → route → identify → permit → handle

No answer repeats a cell. Whatever waits for a disk or a database does so in a thread: the loop
answers others meanwhile.
"""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from typing import Final, TypedDict

from colonnade.base.errors import ColonnadeError, UnavailableError
from colonnade.base.text import NAME, closest
from colonnade.govern.session import Session
from colonnade.server.route import Answer, Call, Route
from colonnade.web.auth import key_of
from colonnade.web.limits import Gate, Message, Receive
from colonnade.web.problem import MEDIA_TYPE, HttpError, problem, status_of

Send = Callable[[Message], Awaitable[None]]
Identify = Callable[[str, str], Session | None]  # digest of a key, purpose -> a session

RETRY_S: Final = 5
_DRAIN_S: Final = 5.0
_DRAINED: Final = 4  # times the limit: whoever sends more is cut off


class Scope(TypedDict):
    """What we read of ASGI's scope of a request."""

    method: str
    path: str
    headers: list[tuple[bytes, bytes]]


class App:
    """The callable that the server calls."""

    def __init__(self, routes: Sequence[Route], identify: Identify, gate: Gate) -> None:
        self._routes = routes
        self._identify = identify
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI 3 has it."""
        call = Call(
            method=scope["method"],
            path=scope["path"],
            headers=dict(scope["headers"]),
            receive=receive,
        )
        answer = await self._explained(call)
        if answer.status == 413 and b"expect" not in call.headers:
            await self._drain(call)
        headers = [
            (b"content-type", answer.media_type),
            (b"content-length", b"%d" % len(answer.body)),
            *answer.headers,
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _explained(self, call: Call) -> Answer:
        try:
            return await self._answer(call)
        except ColonnadeError as error:
            return _refusal(error)
        except Exception as error:  # noqa: BLE001 - the edge of the process: a bug is a 500
            where = "".join(traceback.format_tb(error.__traceback__))
            kind = type(error).__name__  # and not its text, which may repeat a value
            print(f"CN-SERVE-012: {kind}\n{where}", file=sys.stderr, flush=True)  # noqa: T201
            fix = "see the server's output; nothing was acknowledged"
            return _refusal(HttpError(500, "CN-SERVE-012", "the server failed", fix))

    async def _answer(self, call: Call) -> Answer:
        route = self._route(call)
        if route.action is not None:
            await asyncio.to_thread(self._let_in, call, route)
        self._gate.enter()
        try:
            return await route.handle(call)
        finally:
            self._gate.leave()

    def _route(self, call: Call) -> Route:
        methods = []
        for route in self._routes:
            holes = route.match(call.path)
            if holes is None:
                continue
            if route.method == call.method:
                call.holes = holes
                return route
            methods.append(route.method)
        if methods:
            raise HttpError(
                405,
                "CN-HTTP-002",
                f"{call.path[:200]} does not answer {call.method[:16]}",
                f"use {', '.join(methods)}",
                headers=((b"allow", ", ".join(methods).encode()),),
            )
        known = [route.path for route in self._routes]
        raise HttpError(404, "CN-SERVE-010", f"there is no {call.path[:200]}",
                        closest(call.path, known))  # fmt: skip

    def _let_in(self, call: Call, route: Route) -> None:
        """The caller has a key that opens, and a role that may.

        Raises:
            HttpError: 401 CN-HTTP-001.
            RefusedError: 403 CN-ACCESS-001; the refusal is recorded.
        """
        key = key_of(call.headers)
        purpose = f"{route.method} {route.path}"
        session = None if key is None else self._identify(sha256(key).hexdigest(), purpose)
        if session is None or route.action is None:
            raise HttpError(
                401,
                "CN-HTTP-001",
                "the request carries no key that opens",
                "send authorization: Bearer <key>; colonnade access key makes one",
                headers=((b"www-authenticate", b"Bearer"),),
            )
        named = all(NAME.fullmatch(hole) for hole in call.holes.values())
        session.require(route.action, route.ref(call.holes if named else _NAMELESS))
        call.session = session

    async def _drain(self, call: Call) -> None:
        """Let a sender that was refused finish, within bounds: else it may miss the answer."""
        left = self._gate.limits.body_bytes * _DRAINED
        until_s = time.monotonic() + _DRAIN_S
        try:
            async with asyncio.timeout(_DRAIN_S):
                while left > 0 and time.monotonic() < until_s:
                    message = await call.receive()
                    body = message.get("body", b"")
                    left -= len(body) if isinstance(body, bytes) else 0
                    if message["type"] == "http.disconnect" or not message.get("more_body"):
                        return
        except TimeoutError:
            return


_NAMELESS: Final = {"name": "-"}  # what is no name reaches no ledger


def _refusal(error: ColonnadeError) -> Answer:
    headers = error.headers if isinstance(error, HttpError) else ()
    if isinstance(error, UnavailableError):
        headers = ((b"retry-after", str(RETRY_S).encode()),)
    return Answer(
        status=status_of(error), body=problem(error), media_type=MEDIA_TYPE, headers=headers
    )
