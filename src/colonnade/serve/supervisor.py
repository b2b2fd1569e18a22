"""Keeps endpoint workers running on one bound socket, all on the same revisions.

It has no thread and no loop of its own: whoever owns a loop calls `poll`. It gets keys, bundles
and access snapshots as plain values and knows nothing of where they come from.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead

from colonnade.base.errors import RefusedError, UnavailableError
from colonnade.base.text import check_name
from colonnade.serve import control
from colonnade.serve.log import LogSettings
from colonnade.serve.segment import SpoolKey
from colonnade.serve.spool import SEGMENT_BYTES
from colonnade.serve.worker import WorkerProcess
from colonnade.web.limits import Limits

BACKLOG = 2048
MAX_PORT = 65_535
LOAD_S = 60.0
STEADY_S = 10.0  # a worker that lived this long died of something new
LONGEST_WAIT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How endpoints are served.

    Attributes:
        spool: folder of this replica's spools.
        key: what the spools are encrypted under.
        port: 0 takes a free one.
        tls: paths of certificate chain and private key.
        plain_text: serve plain HTTP on a public address all the same, where TLS ends before us.
        drain_s: how long a stopping worker may take for what is in flight.
    """

    spool: Path
    key: SpoolKey
    host: str = "127.0.0.1"
    port: int = 8500
    workers: int = 1
    tls: tuple[Path, Path] | None = None
    plain_text: bool = False
    log: LogSettings = field(default_factory=LogSettings)
    segment_bytes: int = SEGMENT_BYTES
    limits: Limits = field(default_factory=Limits)
    drain_s: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """A worker that ended without being told to.

    Attributes:
        exit_code: negative where a signal ended it.
        next_in_s: when its place is filled again.
    """

    worker: int
    pid: int
    exit_code: int
    next_in_s: float


@dataclass(slots=True)
class _Place:
    """One of the workers' places, and who fills it."""

    number: int
    process: WorkerProcess | None = None
    deaths: int = 0
    due_s: float = 0.0


class Supervisor:
    """Starts, feeds, replaces and stops workers.

    Args:
        options: how to serve.

    Raises:
        UnavailableError: CN-SERVE-001, the address is taken or is not ours.
        RefusedError: CN-SERVE-002, plain HTTP on a public address.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._listener = bind(
            options.host, options.port, guarded=bool(options.tls) or options.plain_text
        )
        self._places = [_Place(number) for number in range(options.workers)]
        self._live: dict[str, control.Load] = {}
        self._entered = False  # whether workers are told to accept connections
        self._metrics = tempfile.mkdtemp(prefix="colonnade-") if options.workers > 1 else None

    @property
    def port(self) -> int:
        """The port that was bound."""
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Where the endpoints answer."""
        host = self._options.host
        scheme = "https" if self._options.tls else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers that run."""
        return [process.pid for process in self._running()]

    def start(self, prepare: Callable[[], None] = lambda: None) -> None:
        """Start all workers and wait until they accept connections.

        Args:
            prepare: what is to be live by then; who asks earlier waits and is not turned away.

        Raises:
            UnavailableError: CN-SERVE-004, a worker does not come up.
        """
        for place in self._places:
            self._fill(place)
        prepare()
        self._entered = True
        for process in self._running():
            process.send(control.Enter(), LOAD_S)
        for process in self._running():
            process.await_entered(LOAD_S)

    def deploy(self, load: control.Load) -> control.Loaded:
        """Answer an endpoint with a revision: loaded in all workers, then switched in all.

        Returns:
            What a worker said of the bundle that it verified.

        Raises:
            RefusedError: the code of the worker that refused; what was live stays live in all.
            UnavailableError: CN-SERVE-003 no worker runs, CN-SERVE-004 one died or hangs.
        """
        check_name("endpoint", load.endpoint)
        self.poll()
        processes = self._running()
        if not processes:
            raise UnavailableError(
                "CN-SERVE-003", "no endpoint worker runs", "see the workers' output, then try again"
            )
        for process in processes:
            process.send(load, LOAD_S)
        replies = [process.reply(load.revision, LOAD_S) for process in processes]
        loaded = [reply for reply in replies if isinstance(reply, control.Loaded)]
        if len(loaded) < len(processes):
            for process in processes:
                process.send(control.Drop(load.revision))
            raise _refusal(load, replies)
        self._live[load.endpoint] = load
        self._switch(processes, load)
        return loaded[0]

    def allow(self, access: control.Access) -> None:
        """Replace who may call an endpoint, in all workers, now and after a restart."""
        load = self._live.get(access.endpoint)
        if load is not None:
            self._live[access.endpoint] = control.Load(
                load.endpoint, load.revision, load.files, load.trusted, access
            )
        for process in self._running():
            process.send(access)

    def poll(self) -> list[Death]:
        """Replace what died, when it is time; call it several times a second."""
        deaths = []
        for place in self._places:
            if place.process is not None:
                place.process.listen()
                if place.process.ended() is not None:
                    deaths.append(self._bury(place, place.process))
            if place.process is None and time.monotonic() >= place.due_s:
                self._fill(place)
        return deaths

    def drain(self) -> None:
        """Stop all workers after what is in flight, and give the port up."""
        self._listener.close()
        for process in self._running():
            process.signal(signal.SIGTERM)
        deadline = time.monotonic() + self._options.drain_s + 5
        for process in self._running():
            process.await_end(deadline - time.monotonic())
        if self._metrics is not None:
            shutil.rmtree(self._metrics, ignore_errors=True)

    def _running(self) -> list[WorkerProcess]:
        found = [place.process for place in self._places if place.process is not None]
        return [process for process in found if process.ended() is None]

    def _fill(self, place: _Place) -> None:
        """Start a worker; it gets what is live before it is told to accept connections."""
        process = WorkerProcess(self._listener, self._options.tls, self._environment())
        place.process = process
        process.send(self._begin(), LOAD_S)
        for load in self._live.values():
            process.send(load, LOAD_S)
            process.send(control.Switch(load.endpoint, load.revision), LOAD_S)
        if self._entered:
            process.send(control.Enter(), LOAD_S)

    def _bury(self, place: _Place, process: WorkerProcess) -> Death:
        process.close()
        place.process = None
        place.deaths = 1 if process.age_s() > STEADY_S else place.deaths + 1
        wait_s = 0.0 if place.deaths == 1 else min(0.1 * 2**place.deaths, LONGEST_WAIT_S)
        place.due_s = time.monotonic() + wait_s
        if self._metrics is not None:
            mark_process_dead(process.pid, self._metrics)  # type: ignore[no-untyped-call]
        exit_code = process.ended() or 0
        return Death(worker=place.number, pid=process.pid, exit_code=exit_code, next_in_s=wait_s)

    def _switch(self, processes: list[WorkerProcess], load: control.Load) -> None:
        """Switch all; one that fails now is ended, and comes back with what is live."""
        for process in processes:
            process.send(control.Switch(load.endpoint, load.revision))
        for process in processes:
            if not isinstance(process.reply(load.revision, LOAD_S), control.Switched):
                process.signal(signal.SIGKILL)

    def _begin(self) -> control.Begin:
        options = self._options
        return control.Begin(
            spool=str(options.spool),
            key_id=options.key.id,
            secret=options.key.secret,
            mode=options.log.mode,
            delay_s=options.log.delay_s,
            age_s=options.log.age_s,
            segment_bytes=options.segment_bytes,
            body_bytes=options.limits.body_bytes,
            in_flight=options.limits.in_flight,
            drain_s=options.drain_s,
        )

    def _environment(self) -> dict[str, str]:
        """One thread a worker: more of them only take turns on the cores that workers need."""
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "passive",
        }
        environment.pop("PROMETHEUS_MULTIPROC_DIR", None)
        if self._metrics is not None:
            environment["PROMETHEUS_MULTIPROC_DIR"] = self._metrics
        return environment


def _refusal(
    load: control.Load, replies: list[control.Reply | None]
) -> RefusedError | UnavailableError:
    for reply in replies:
        if isinstance(reply, control.Refused):
            return RefusedError(reply.code, reply.message, reply.fix)
    return UnavailableError(
        "CN-SERVE-004",
        f"an endpoint worker died or hung while it loaded {load.revision} of {load.endpoint}",
        "see its output; it is started again by itself, then deploy again",
    )


def bind(host: str, port: int, *, guarded: bool) -> socket.socket:
    """Listen where endpoints answer.

    Args:
        host: the address.
        port: 0 takes a free one.
        guarded: whether TLS keeps what crosses a public address, here or before us.

    Raises:
        UnavailableError: CN-SERVE-001, the address is taken or is not ours.
        RefusedError: CN-SERVE-002, plain HTTP on a public address.
    """
    if not (guarded or _is_loopback(host)):
        raise RefusedError(
            "CN-SERVE-002",
            f"{host} is a public address, and keys would cross it unencrypted",
            "give a certificate, or bind 127.0.0.1",
        )
    if not 0 <= port <= MAX_PORT:  # the library would raise an error of another kind
        raise _unbound(host, port, f"a port is a number from 0 to {MAX_PORT}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise _unbound(host, port, why) from error


def _unbound(host: str, port: int, why: str) -> UnavailableError:
    return UnavailableError(
        "CN-SERVE-001",
        f"{host}:{port} cannot be bound: {why}",
        "stop what listens there, or choose another port",
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
