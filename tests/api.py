"""A real HTTP server on loopback that answers with pages of rows, as a test wants it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit


class Asked(NamedTuple):
    """One request as it came."""

    path: str
    params: dict[str, str]
    headers: dict[str, str]


class Answer(NamedTuple):
    """What to send back; a body that is no bytes is sent as JSON."""

    body: object = b""
    status: int = 200
    headers: dict[str, str] = {}  # noqa: RUF012 (never changed)


class Api:
    """Answers each request by a function, until it is closed."""

    def __init__(self, answer: Callable[[Asked], Answer | object]) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(parts.path, dict(parse_qsl(parts.query)), headers)
                api.asked.append(asked)
                found = api.answer(asked)
                found = found if isinstance(found, Answer) else Answer(found)
                body = found.body
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(found.status)
                for name, value in {"content-length": str(len(data)), **found.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    self.wfile.write(data)
                except ConnectionError:  # whoever asked has had enough
                    self.close_connection = True

            def log_message(self, *words: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def url(self, path: str = "/orders") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
