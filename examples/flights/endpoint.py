"""The endpoint as its callers see it: a process of its own, and rows sent to it over HTTP."""

from __future__ import annotations

import http.client
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

LISTENING: Final = re.compile(r"listening on (http://\S+)")
WAIT_S: Final = 60.0
POLL_S: Final = 0.02
STOP_S: Final = 30.0


class EndpointError(RuntimeError):
    """The endpoint did not do what it was asked."""


class Prediction(msgspec.Struct):
    """One row of an answer."""

    id: str
    score: float


class Predictions(msgspec.Struct):
    """An answer."""

    model_version: str
    predictions: list[Prediction]


class _Model(msgspec.Struct):
    """What the model's page says, of which only the version is read."""

    versions: list[str]


@dataclass
class Endpoint:
    """A connection to the running endpoint process."""

    name: str
    key: str
    connection: http.client.HTTPConnection

    def predict(self, rows: Sequence[dict[str, object]]) -> Predictions:
        """Score rows, by field name.

        Raises:
            EndpointError: the answer is not 200.
        """
        body = msgspec.json.encode({"rows": rows})
        status, answer = self._ask("POST", f"/v1/endpoints/{self.name}/predict", body)
        if status != http.HTTPStatus.OK:
            raise EndpointError(f"POST predict answered {status}: {answer.decode()[:500]}")
        return msgspec.json.decode(answer, type=Predictions)

    def ready(self) -> bool:
        """Whether the server answers with a model."""
        return self._ask("GET", "/v2/health/ready")[0] == http.HTTPStatus.OK

    def serves(self, version: int) -> bool:
        """Whether requests are answered with this version of the model by now."""
        status, answer = self._ask("GET", f"/v2/models/{self.name}")
        if status != http.HTTPStatus.OK:
            return False
        return msgspec.json.decode(answer, type=_Model).versions == [str(version)]

    def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        self.connection.request(method, path, body, headers)
        response = self.connection.getresponse()
        return response.status, response.read()


@contextmanager
def running(folder: Path, name: str, key: str) -> Iterator[Endpoint]:
    """Run ``colonnade serve`` on a free port of this machine; what it says goes to ``serve.log``.

    Raises:
        EndpointError: it ended, or did not get ready in time.
    """
    log = folder / "serve.log"
    words = [sys.executable, "-m", "colonnade", "serve", "--port", "0", "--project", str(folder)]
    with log.open("wb") as out, subprocess.Popen(words, stdout=out, stderr=out) as process:
        try:
            wait_for(lambda: _address(process, log) is not None, "the endpoint to listen")
            url = urlsplit(_address(process, log) or "")
            connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=WAIT_S)
            endpoint = Endpoint(name, key, connection)
            wait_for(endpoint.ready, "the endpoint to be ready")
            yield endpoint
            connection.close()
        finally:
            _stop(process)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds.

    Raises:
        EndpointError: it does not within `WAIT_S`.
    """
    until = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > until:
            raise EndpointError(f"waited {WAIT_S:.0f} s for {what}")
        time.sleep(POLL_S)


def _address(process: subprocess.Popen[bytes], log: Path) -> str | None:
    said = log.read_text(errors="replace")
    if process.poll() is not None:
        raise EndpointError(f"the endpoint ended with {process.returncode}: {said[-1000:]}")
    found = LISTENING.search(said)
    return found[1] if found else None


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Let it drain: what it acknowledged is flushed before it ends."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
