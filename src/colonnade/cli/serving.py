"""``serve``, ``worker`` and ``up``: the long-running roles."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Self

import click

from colonnade.cli.render import project_command
from colonnade.lifecycle import service
from colonnade.lifecycle.schedule import Retries
from colonnade.serve.log import LogSettings
from colonnade.serve.segment import SpoolKey
from colonnade.serve.supervisor import Options
from colonnade.wiring import Workspace

_PORT = click.IntRange(0, 65_535)


class _Stop:
    """Turns true at SIGTERM or SIGINT."""

    def __init__(self) -> None:
        self._asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def __call__(self) -> bool:
        return self._asked

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True


def _say(text: str) -> None:
    click.echo(text)
    sys.stdout.flush()


@click.command()
@click.option("--port", type=_PORT, help="Default: serving.port of the settings.")
@project_command
def serve(workspace: Workspace, port: int | None) -> None:
    """Answer requests: endpoint workers, and the flusher of their predictions.

    Example: colonnade serve --port 8500
    """
    _serve(workspace, port, _Stop())


@click.command()
@click.option("--port", type=_PORT, help="Default: server.port of the settings.")
@project_command
def server(workspace: Workspace, port: int | None) -> None:
    """Take in pushed rows, and tell what is there, over HTTP.

    Example: colonnade server --port 8400
    """
    from colonnade.server.run import run  # noqa: PLC0415 (an endpoint needs none of it)

    run(workspace, port, _Stop(), _say)


@click.command()
@project_command
def worker(workspace: Workspace) -> None:
    """Carry out jobs: retraining that a report asked for.

    Example: colonnade worker
    """
    stop = _Stop()
    session = workspace.session("worker")
    project = workspace.project
    settings = workspace.settings.worker
    retries = Retries(tries=settings.tries, wait_s=settings.wait_s)
    _say("waiting for jobs, and for files that land")
    service.work(session, project, workspace.folder, stop, _say, retries)


@click.command()
@click.option("--port", type=_PORT, help="Default: serving.port of the settings.")
@project_command
def up(workspace: Workspace, port: int | None) -> None:
    """Everything on one machine: endpoints, flusher, a worker and the control server.

    Example: colonnade up
    """
    workspace.project  # noqa: B018 (a broken project.py is said before anything is started)
    stop = _Stop()
    with _Roles(workspace, ("worker", "server")) as roles:
        _serve(workspace, port, lambda: stop() or roles.ended())


class _Roles:
    """Processes of other roles, which live as long as this one."""

    def __init__(self, workspace: Workspace, roles: tuple[str, ...]) -> None:
        self._words = [
            [sys.executable, "-m", "colonnade", role, "--project", str(workspace.folder)]
            for role in roles
        ]
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self._processes = [subprocess.Popen(words) for words in self._words]
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait()

    def ended(self) -> bool:
        """Whether one of them is gone: then the rest is not everything."""
        return any(process.poll() is not None for process in self._processes)


def _serve(workspace: Workspace, port: int | None, stopping: service.Stopping) -> None:
    session = workspace.session("serve", actor="endpoint")
    settings = workspace.settings.serving
    key_id, secret = list(session.spool_keys().items())[-1]
    options = Options(
        spool=Path(workspace.spool),
        key=SpoolKey(id=key_id, secret=secret),
        host=settings.host,
        port=settings.port if port is None else port,
        workers=settings.workers,
        log=LogSettings(mode=settings.log),
    )
    service.serve(session, options, stopping, _say)
