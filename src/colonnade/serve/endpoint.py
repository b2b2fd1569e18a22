"""A worker process: answers requests on a socket that its supervisor bound.

    python -m colonnade.serve.endpoint --listen FD --control FD

Everything else comes over the control socket (`control`). SIGTERM, an order to stop and the death
of the supervisor do the same: accept no more, answer what is in flight, write the log, exit 0.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import socket
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import uvicorn
import uvloop

from colonnade.base.errors import ColonnadeError
from colonnade.bundle.load import open_bundle
from colonnade.bundle.manifest import MANIFEST, SEAL, digest
from colonnade.bundle.predict import Predictor
from colonnade.records.model import Feature
from colonnade.serve import control
from colonnade.serve.app import App
from colonnade.serve.log import Log, LogSettings
from colonnade.serve.meter import Meter
from colonnade.serve.revision import Revision, revision_of
from colonnade.serve.segment import SpoolKey
from colonnade.serve.spool import Spool
from colonnade.serve.wire import Protocol
from colonnade.web.auth import AccessSnapshot
from colonnade.web.limits import Limits

SWITCH_INTERVAL_S = 0.0005  # how soon the log's thread gets its turn
GC_THRESHOLD = (50_000, 20, 50)  # a request makes few cycles; collecting them often costs latency
KEEP_ALIVE_S = 75  # longer than the 60 s of common proxies, so that they close first
SAMPLE_S = 1.0
WARM_RUNS = 20


class Server(uvicorn.Server):
    """uvicorn's server, told to stop by us and not by signals."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.entered = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals to the worker: uvicorn would raise them again after a clean drain."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, and say so."""
        await super().startup(sockets)
        self.entered.set()


class Worker:
    """Carries out the supervisor's orders.

    Args:
        begin: what holds for the worker's whole life.
        server: the server of `app`.
        listener: the bound socket.
    """

    def __init__(
        self, begin: control.Begin, app: App, server: Server, listener: socket.socket
    ) -> None:
        self._begin = begin
        self._app = app
        self._server = server
        self._listener = listener
        self._serving: asyncio.Task[None] | None = None
        self._loaded: dict[str, Revision] = {}
        self._logs: dict[str, Log] = {}
        self._access: dict[str, AccessSnapshot] = {}

    async def carry_out(self, order: control.Order) -> control.Reply | None:
        """Do what was ordered; the reply is None where none is awaited."""
        match order:
            case control.Load():
                return await self._load(order)
            case control.Switch():
                return self._switch(order)
            case control.Drop():
                self._loaded.pop(order.revision, None)
            case control.Access():
                self._access[order.endpoint] = _snapshot(order)
                self._app.allow(order.endpoint, _snapshot(order))
            case control.Enter():
                return await self._enter()
            case control.Begin() | control.Stop():
                pass
        return None

    async def drain(self) -> None:
        """Accept no more, answer what is in flight, write what was answered."""
        if self._serving is not None:
            self._server.should_exit = True
            await self._serving
        for endpoint, log in self._logs.items():
            if lost := await log.close():
                _tell(f"CN-LOG-003: {lost} predictions of {endpoint} could not be written")

    async def sample(self) -> None:
        """Keep the gauges fresh, for the workers that answer a scrape for this one too.

        A disk that takes no writes is told when it begins and when it is over.
        """
        broken: dict[str, str] = {}
        while True:
            self._app.sample()
            for endpoint, log in self._logs.items():
                trouble = log.trouble()
                if trouble != broken.get(endpoint, ""):
                    broken[endpoint] = trouble
                    _tell(trouble or f"the prediction log of {endpoint} is written again")
            await asyncio.sleep(SAMPLE_S)

    async def _load(self, order: control.Load) -> control.Reply:
        began = time.perf_counter()
        try:
            predictor = await asyncio.to_thread(_open, order)
            log = self._log(order.endpoint)
        except ColonnadeError as error:
            return control.Refused(order.revision, error.code, error.message, error.fix)
        access = _snapshot(order.access)
        self._access[order.endpoint] = access
        self._loaded[order.revision] = revision_of(
            order.revision, order.endpoint, predictor, access, log
        )
        return control.Loaded(
            revision=order.revision,
            digest=digest(order.files[MANIFEST]),
            key_id=msgspec.json.decode(order.files[SEAL])["key_id"],
            took_ms=(time.perf_counter() - began) * 1000,
        )

    def _switch(self, order: control.Switch) -> control.Reply:
        revision = self._loaded.pop(order.revision, None)
        if revision is None or revision.endpoint != order.endpoint:
            return control.Refused(
                order.revision,
                "CN-SERVE-005",
                f"revision {order.revision} of {order.endpoint} was not loaded",
                "load it first",
            )
        self._app.put(revision)
        self._app.allow(order.endpoint, self._access[order.endpoint])
        return control.Switched(order.revision)

    async def _enter(self) -> control.Reply:
        gc.collect()
        gc.freeze()
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        await self._server.entered.wait()
        return control.Entered()

    def _log(self, endpoint: str) -> Log | None:
        """The endpoint's log, opened with its first revision."""
        begin = self._begin
        if begin.mode == "off":
            return None
        if endpoint not in self._logs:
            spool = Spool(
                Path(begin.spool),
                endpoint,
                SpoolKey(id=begin.key_id, secret=begin.secret),
                durable=begin.mode == "commit",
                segment_bytes=begin.segment_bytes,
            )
            settings = LogSettings(mode=begin.mode, delay_s=begin.delay_s, age_s=begin.age_s)
            self._logs[endpoint] = Log(spool, settings)
        return self._logs[endpoint]


async def work(listener: socket.socket, orders: socket.socket, tls: list[str]) -> None:
    """Be a worker until it is time to stop.

    Args:
        listener: bound and listening.
        orders: the worker's end of the control socket pair.
        tls: paths of certificate chain and private key; empty for plain HTTP.
    """
    reader, writer = await asyncio.open_unix_connection(sock=orders)
    stop = asyncio.Event()
    begin = await _order(reader)
    if not isinstance(begin, control.Begin):
        return
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    app = App(Limits(body_bytes=begin.body_bytes, in_flight=begin.in_flight), Meter())
    worker = Worker(begin, app, Server(_config(app, begin, tls)), listener)
    tasks = [
        asyncio.create_task(_obey(worker, reader, writer, stop)),
        asyncio.create_task(worker.sample()),
    ]
    await stop.wait()
    await worker.drain()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    writer.close()


async def _obey(
    worker: Worker, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stop: asyncio.Event
) -> None:
    try:
        while not isinstance(order := await _order(reader), control.Stop | None):
            reply = await worker.carry_out(order)
            if reply is not None:
                writer.write(control.pack(reply))
                await writer.drain()
    finally:
        stop.set()


async def _order(reader: asyncio.StreamReader) -> control.Order | None:
    """The next order; None when the supervisor is gone."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        (length,) = control.LENGTH.unpack(await reader.readexactly(control.LENGTH.size))
        order: control.Order = control.decode_order(await reader.readexactly(length))
        return order
    return None


def _open(order: control.Load) -> Predictor:
    """Verify the bundle over the very bytes that came, and let it answer a request."""
    predictor = open_bundle(order.files, order.trusted)
    row = {feature.name: _admitted(feature) for feature in predictor.signature.features}
    body = msgspec.json.encode({"rows": [row]})
    for _ in range(WARM_RUNS):
        predictor.predict_rows(predictor.decode(body))
    return predictor


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 (a worker's own words, beside its metrics)


def _admitted(feature: Feature) -> str | float | bool | None:
    """A typical value, unless its contract has become narrower than the rows of training."""
    value = _typical(feature)
    if value is None or feature.admitted is None or feature.admitted.admits(value):
        return value
    return None


def _typical(feature: Feature) -> str | float | bool | None:
    """A value that the feature had in training."""
    match feature.kind:
        case "category":
            return feature.categories[0] if feature.categories else None
        case "flag":
            return False
        case "number" | "integer":
            return feature.low


def _snapshot(order: control.Access) -> AccessSnapshot:
    return AccessSnapshot(order.actors, order.made_at_s, order.valid_s)


def _config(app: App, begin: control.Begin, tls: list[str]) -> uvicorn.Config:
    certificate, key = tls or (None, None)
    return uvicorn.Config(
        app,
        interface="asgi3",
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(begin.drain_s),
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a worker on the sockets that were passed on."""
    parser = argparse.ArgumentParser(prog="colonnade.serve.endpoint")
    parser.add_argument("--listen", type=int, required=True)
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--tls", nargs=2, default=[], metavar=("CERTIFICATE", "KEY"))
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's to hear
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.set_threshold(*GC_THRESHOLD)
    listener, orders = socket.socket(fileno=chosen.listen), socket.socket(fileno=chosen.control)
    uvloop.run(work(listener, orders, chosen.tls))


if __name__ == "__main__":
    main()
