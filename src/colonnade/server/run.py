"""The control server's process: one loop on one socket, until it is told to stop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

import uvicorn
import uvloop

from colonnade.base.errors import ColonnadeError
from colonnade.govern.session import Session
from colonnade.serve.supervisor import bind
from colonnade.serve.wire import Protocol
from colonnade.server.app import App
from colonnade.server.routes import routes
from colonnade.web.limits import Gate, Limits
from colonnade.wiring import Workspace

IN_FLIGHT: Final = 64
SEAL_S: Final = 1.0
POLL_S: Final = 0.1
DRAIN_S: Final = 20
KEEP_ALIVE_S: Final = 75  # longer than the 60 s of common proxies, so that they close first

Say = Callable[[str], None]


class _Server(uvicorn.Server):
    """uvicorn's server, told to stop by us and not by signals."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals to the command."""
        yield


def run(workspace: Workspace, port: int | None, stopping: Callable[[], bool], say: Say) -> None:
    """Answer until `stopping`, then finish what is in flight.

    Raises:
        UnavailableError: CN-SERVE-001, the address is taken.
        RefusedError: CN-SERVE-002, it is public, and there is no TLS.
    """
    settings = workspace.settings.server
    gate = Gate(Limits(body_bytes=settings.body_bytes, in_flight=IN_FLIGHT))
    wanted = settings.port if port is None else port
    with bind(settings.host, wanted, guarded=False) as listener:
        uvloop.run(_run(workspace, gate, listener, stopping, say))


async def _run(
    workspace: Workspace,
    gate: Gate,
    listener: socket.socket,
    stopping: Callable[[], bool],
    say: Say,
) -> None:
    table = routes(workspace.project, workspace.folder, gate)
    server = _Server(_config(App(table, workspace.caller, gate)))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    keeping = asyncio.create_task(_keep_sealing(workspace.session("server"), say))
    host, port = listener.getsockname()[:2]
    say(f"listening on http://{f'[{host}]' if ':' in host else host}:{port}")
    while not stopping() and not serving.done():
        await asyncio.wait([serving], timeout=POLL_S)
    server.should_exit = True
    await serving
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def _keep_sealing(session: Session, say: Say) -> None:
    """Seal what was appended; a trouble that lasts is said once."""
    said = ""
    while True:
        try:
            await asyncio.to_thread(session.seal)
            said = ""
        except ColonnadeError as error:
            if said != error.code:
                said = error.code
                say(f"ledger: {error}")
        await asyncio.sleep(SEAL_S)


def _config(app: App) -> uvicorn.Config:
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
        timeout_graceful_shutdown=DRAIN_S,
    )
