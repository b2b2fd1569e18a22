"""The supervisor's end of one worker process: the process and what is said to it."""

from __future__ import annotations

import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from colonnade.base.errors import UnavailableError
from colonnade.serve import control

SEND_S = 5.0
_CHUNK_BYTES = 65_536


class WorkerProcess:
    """A running `colonnade.serve.endpoint`.

    Args:
        listener: the bound socket that it is to accept from.
        tls: paths of certificate chain and private key.
        environment: its whole environment; no secrets.
    """

    def __init__(
        self,
        listener: socket.socket,
        tls: tuple[Path, Path] | None,
        environment: dict[str, str],
    ) -> None:
        self._socket, theirs = socket.socketpair()
        command = [sys.executable, "-m", "colonnade.serve.endpoint"]
        command += ["--listen", str(listener.fileno()), "--control", str(theirs.fileno())]
        if tls is not None:
            command += ["--tls", str(tls[0]), str(tls[1])]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            pass_fds=(listener.fileno(), theirs.fileno()),
            env=environment,
        )
        theirs.close()
        self._began_s = time.monotonic()
        self._heard = bytearray()
        self._replies: list[control.Reply] = []
        self._entered = False

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def age_s(self) -> float:
        """How long ago it was started."""
        return time.monotonic() - self._began_s

    def ended(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._process.poll()

    def send(self, order: control.Order, within_s: float = SEND_S) -> None:
        """Say something; a worker that does not hear it is ended, and comes back up to date."""
        self._socket.settimeout(within_s)
        try:
            self._socket.sendall(control.pack(order))
        except OSError:
            self.signal(signal.SIGKILL)

    def reply(self, revision: str, within_s: float) -> control.Reply | None:
        """What it answers about a revision; None when it died or hangs (then it is ended)."""
        deadline = time.monotonic() + within_s
        with suppress(UnavailableError):
            while True:
                for reply in self._replies:
                    if not isinstance(reply, control.Entered) and reply.revision == revision:
                        self._replies.remove(reply)
                        return reply
                self._wait(deadline)
        return None

    def await_entered(self, within_s: float) -> None:
        """Wait until it accepts connections.

        Raises:
            UnavailableError: CN-SERVE-004, it died or hangs.
        """
        deadline = time.monotonic() + within_s
        while not self._entered:
            self._wait(deadline)

    def listen(self) -> None:
        """Take in what it has said; one that refuses what is live is ended."""
        with suppress(UnavailableError):
            while select.select([self._socket], [], [], 0)[0]:
                self._hear()
        if any(isinstance(reply, control.Refused) for reply in self._replies):
            self.signal(signal.SIGKILL)
        self._replies.clear()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; one that is gone hears nothing."""
        self._process.send_signal(number)

    def await_end(self, within_s: float) -> None:
        """Wait until it has ended; kill it when it takes too long."""
        try:
            self._process.wait(max(within_s, 0.0))
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self._process.wait()
        self.close()

    def close(self) -> None:
        """Give the socket up."""
        self._socket.close()

    def _wait(self, deadline: float) -> None:
        """Hear something before the deadline."""
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not select.select([self._socket], [], [], left_s)[0]:
            raise self._lost("does not answer")
        self._hear()

    def _hear(self) -> None:
        try:
            part = self._socket.recv(_CHUNK_BYTES)
        except OSError as error:
            raise self._lost("broke the connection") from error
        if not part:
            raise self._lost("died")
        self._heard += part
        while (reply := self._next()) is not None:
            self._entered |= isinstance(reply, control.Entered)
            self._replies.append(reply)

    def _next(self) -> control.Reply | None:
        start = control.LENGTH.size
        if len(self._heard) < start:
            return None
        (length,) = control.LENGTH.unpack_from(self._heard)
        if len(self._heard) < start + length:
            return None
        reply: control.Reply = control.decode_reply(bytes(self._heard[start : start + length]))
        del self._heard[: start + length]
        return reply

    def _lost(self, how: str) -> UnavailableError:
        """End a worker that cannot be talked to; the supervisor starts another."""
        self.signal(signal.SIGKILL)
        return UnavailableError(
            "CN-SERVE-004",
            f"endpoint worker {self.pid} {how}",
            "see its output; it is started again by itself",
        )
