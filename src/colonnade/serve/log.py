"""The prediction log of one endpoint in one worker: groups of requests, written by one thread.

While the thread writes one group, the requests of the next one gather; so many requests share one
`fdatasync`, and none waits longer than for two of them. Modes:

- ``commit``: a request is answered when its group is on disk. A failed write answers 503, and
  what was not acknowledged is not in the spool.
- ``buffered``: a request is answered at once and written within `delay_s`. Groups that cannot be
  written are kept and tried again; a crash loses at most what the delay and the operating system
  still held.
- ``off``: there is no log (and no object of this class).

While the disk takes no writes, `check` refuses new requests: an endpoint that must record what it
answers does not answer what it cannot record.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from queue import SimpleQueue
from typing import Literal

import msgspec

from colonnade.base.errors import UnavailableError
from colonnade.serve.spool import Spool

Mode = Literal["commit", "buffered", "off"]
Cell = str | int | float | bool | None

_encode = msgspec.msgpack.Encoder().encode


class Source(msgspec.Struct, frozen=True, array_like=True):
    """What the entries of a revision have in common; written once in each group.

    Attributes:
        revision: id of the deployment's revision.
        features: the names of a row's values, in order.
    """

    revision: str
    model: str
    version: int
    features: tuple[str, ...]


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One answered request; of every list one element a row.

    Attributes:
        revision: the `Source` that it belongs to.
        at_us: when it was answered, microseconds since 1970.
        route: how it came, ``predict`` or ``infer``.
        latency_us: from the complete body to the scores.
        ids: prediction ids.
        scores: a number, or the probabilities of all classes.
        rows: the features' raw values in the order of the source; absent ones are None.
        keys: the canonical text of the business key; empty where the model has none.
        times: event time; empty where the model has none.
    """

    revision: str
    at_us: int
    caller: str
    route: str
    latency_us: int
    ids: list[str]
    scores: Sequence[float | list[float]]
    rows: Sequence[Sequence[Cell]]
    keys: Sequence[str | None] = ()
    times: Sequence[datetime | None] = ()


class Group(msgspec.Struct, array_like=True):
    """The content of one frame."""

    sources: list[Source]
    entries: list[msgspec.Raw]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """How a log is kept.

    Attributes:
        delay_s: how long `buffered` waits for a group to fill.
        age_s: an open segment is closed when it is this old, so that it can be collected.
        retry_s: how often a disk that failed is tried again.
        pending_rows: more unwritten rows than this, and new requests are refused.
    """

    mode: Mode = "commit"
    delay_s: float = 0.02
    age_s: float = 2.0
    retry_s: float = 0.5
    pending_rows: int = 200_000


@dataclass(slots=True)
class _Pending:
    """A group while it fills and until it is written."""

    sources: dict[str, Source] = field(default_factory=dict)
    entries: list[msgspec.Raw] = field(default_factory=list)
    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    rows: int = 0
    since_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogState:
    """What a log says of itself to the metrics.

    Attributes:
        lag_s: how long the newest written group had waited, or how long writes have failed.
        written_bytes: since the start.
        failures: writes that failed, since the start.
    """

    lag_s: float
    pending_rows: int
    written_bytes: int
    failures: int
    broken: bool


class Log:
    """Groups entries and has them written. All methods belong to the event loop's thread."""

    def __init__(self, spool: Spool, settings: LogSettings) -> None:
        self._spool = spool
        self._settings = settings
        self._commit = settings.mode == "commit"
        self._loop = asyncio.get_running_loop()
        self._group = _Pending()
        self._busy = False
        self._scheduled = False
        self._broken: Exception | None = None
        self._rotation: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._lag_s = 0.0
        self._written_bytes = 0
        self._failures = 0
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"log {spool.endpoint}")
        self._thread.start()
        self._send()  # a disk that takes no writes is known before the first request

    def check(self) -> None:
        """Refuse what could not be recorded.

        Raises:
            UnavailableError: CN-LOG-001 the disk takes no writes, CN-LOG-002 it is behind.
        """
        if self._broken is not None:
            raise _unwritable(self._spool.endpoint, self._broken)
        if self._group.rows > self._settings.pending_rows:
            raise UnavailableError(
                "CN-LOG-002",
                f"{self._group.rows} predictions of {self._spool.endpoint} wait to be written",
                "try again soon, or give the spool a faster disk",
            )

    def trouble(self) -> str:
        """Why it cannot be written, else empty."""
        return "" if self._broken is None else str(_unwritable(self._spool.endpoint, self._broken))

    def append(self, source: Source, entry: Entry) -> asyncio.Future[None] | None:
        """Take an entry; in ``commit`` mode the caller awaits what is returned.

        The future raises UnavailableError CN-LOG-001 when the entry could not be written.
        """
        raw = msgspec.Raw(_encode(entry))
        group = self._group
        if not group.entries:
            group.since_s = time.monotonic()
        group.entries.append(raw)
        group.rows += len(entry.ids)
        group.sources[source.revision] = source
        if not (self._scheduled or self._busy):
            self._schedule()
        if not self._commit:
            return None
        waiting = self._loop.create_future()
        group.waiting.append(waiting)
        return waiting

    def state(self) -> LogState:
        """A summary for the metrics."""
        waits = self._broken is not None and self._group.entries
        return LogState(
            lag_s=time.monotonic() - self._group.since_s if waits else self._lag_s,
            pending_rows=self._group.rows,
            written_bytes=self._written_bytes,
            failures=self._failures,
            broken=self._broken is not None,
        )

    async def close(self) -> int:
        """Write what is pending, close the spool and end the thread.

        Returns:
            Rows that could not be written and are lost (``buffered`` on a broken disk).
        """
        if self._rotation is not None:
            self._rotation.cancel()
        while self._busy or (self._group.entries and self._broken is None):
            self._idle.clear()
            self._send()
            await self._idle.wait()
        if self._group.entries:  # the last try on a disk that failed
            self._idle.clear()
            self._send()
            await self._idle.wait()
        self._tasks.put(None)
        await self._loop.run_in_executor(None, self._thread.join)
        return self._group.rows

    def _schedule(self) -> None:
        self._scheduled = True
        if self._commit:
            self._loop.call_soon(self._send)
        else:
            self._loop.call_later(self._settings.delay_s, self._send)

    def _send(self) -> None:
        """Hand the gathered group to the thread, or try the disk when there is none."""
        self._scheduled = False
        if self._busy:
            return
        self._busy = True
        group, self._group = self._group, _Pending()
        self._tasks.put(lambda: self._write(group))

    def _sent(self, group: _Pending, written_bytes: int, error: Exception | None) -> None:
        """Back in the loop: the thread is done with a group."""
        self._busy = False
        self._broken = error
        if error is None:
            self._acknowledge(group, written_bytes)
        else:
            self._fail(group, error)
        self._idle.set()
        if self._group.entries and not self._scheduled and error is None:
            self._schedule()

    def _acknowledge(self, group: _Pending, written_bytes: int) -> None:
        for waiting in group.waiting:
            if not waiting.done():
                waiting.set_result(None)
        if group.entries:
            self._lag_s = time.monotonic() - group.since_s
            self._written_bytes += written_bytes
        if self._rotation is None:
            self._rotation = self._loop.call_later(self._settings.age_s, self._rotate)

    def _fail(self, group: _Pending, error: Exception) -> None:
        for waiting in group.waiting:
            if not waiting.done():
                waiting.set_exception(_unwritable(self._spool.endpoint, error))
        if not self._commit:
            self._keep(group)
        self._failures += 1
        self._scheduled = True
        self._loop.call_later(self._settings.retry_s, self._send)

    def _keep(self, group: _Pending) -> None:
        """Put a group that was answered but not written before the one that is gathering."""
        later = self._group
        self._group = _Pending(
            sources=group.sources | later.sources,
            entries=group.entries + later.entries,
            rows=group.rows + later.rows,
            since_s=group.since_s,
        )

    def _rotate(self) -> None:
        self._rotation = None
        self._tasks.put(self._try_rotation)

    # Below: the writer's thread.

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
        self._try_close()

    def _write(self, group: _Pending) -> None:
        written_bytes = 0
        error: Exception | None = None
        try:
            if group.entries:
                frame = _encode(Group(list(group.sources.values()), group.entries))
                written_bytes = self._spool.write(frame)
            else:
                self._spool.probe()
        except Exception as failure:  # noqa: BLE001 - requests wait: a bug must not let them hang
            error = failure
        self._loop.call_soon_threadsafe(self._sent, group, written_bytes, error)

    def _try_rotation(self) -> None:
        try:
            self._spool.rotate()
        except OSError:
            return  # it stays open; the next write finds the fault and answers for it

    def _try_close(self) -> None:
        try:
            self._spool.close()
        except OSError:
            return  # the lock is given up, so that the collector takes the segment as it is


def _unwritable(endpoint: str, error: Exception) -> UnavailableError:
    return UnavailableError(
        "CN-LOG-001",
        f"the prediction log of {endpoint} cannot be written: {error}",
        "free space on the spool's disk, or mend it; the endpoint tries again by itself",
    )
