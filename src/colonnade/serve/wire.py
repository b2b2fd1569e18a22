"""uvicorn's HTTP protocol, with an answer in one write.

uvicorn writes the head of a response when it is told the status and the body after it, and looks
at every header for what an application must not send: two system calls, two packets and a third of
the time that a small answer takes. Our application gives both at once, and its headers are its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from colonnade.web.problem import MEDIA_TYPE, HttpError, problem

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application, ASGISendEvent

CLOSE = (b"connection", b"close")


class Protocol(HttpToolsProtocol):
    """The protocol of one connection, for an application that sends a body in one piece."""

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, and close: what comes behind it cannot be told apart."""
        del msg  # uvicorn's words, which name nothing
        error = HttpError(
            400,
            "CN-HTTP-010",
            "the bytes are no HTTP request that can be read",
            "send one content-length or chunks, never both, and headers as RFC 9112 has them",
        )
        body = problem(error)
        head = (b"content-type", MEDIA_TYPE), (b"content-length", b"%d" % len(body)), CLOSE
        lines = [b"%b: %b\r\n" % header for header in head]
        self.transport.write(b"".join((STATUS_LINE[400], *lines, b"\r\n", body)))
        self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        cycle.__class__ = Cycle  # uvicorn asks nobody which class its cycles are of
        super()._start_asgi_task(cycle, app)


class Cycle(RequestResponseCycle):
    """One request and its answer.

    Attributes:
        head: status line and headers, while they wait for the body.
    """

    head: bytes

    async def send(self, message: ASGISendEvent) -> None:
        """Take the head, or write it with the whole body."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.start":
            self.response_started = True
            headers = [*self.default_headers, *message["headers"]]
            self._keep_or_close(headers)
            lines = [b"%b: %b\r\n" % header for header in headers]
            self.head = b"".join((STATUS_LINE[message["status"]], *lines, b"\r\n"))
        elif message["type"] == "http.response.body":
            body = b"" if self.scope["method"] == "HEAD" else message["body"]
            self.transport.write(self.head + body)
            self._complete()

    def _keep_or_close(self, headers: list[tuple[bytes, bytes]]) -> None:
        if CLOSE in headers:
            self.keep_alive = False
        elif not self.keep_alive:
            headers.append(CLOSE)

    def _complete(self) -> None:
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
