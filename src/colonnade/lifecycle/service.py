"""The loops of the long-running roles: an endpoint server, and a worker of jobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from colonnade.base import clock
from colonnade.base.errors import ColonnadeError
from colonnade.govern.session import Session
from colonnade.lifecycle import retrain
from colonnade.project import Project
from colonnade.serve.flush import flush
from colonnade.serve.rollout import Rollout
from colonnade.serve.supervisor import Options, Supervisor

TICK_S: Final = 0.2
FLUSH_EVERY_S: Final = 1.0

Say = Callable[[str], None]
Stopping = Callable[[], bool]


def serve(session: Session, options: Options, stopping: Stopping, say: Say) -> None:
    """Answer requests until `stopping`: workers, switches, flushing, sealing; then drain.

    Raises:
        UnavailableError: CN-SERVE-001, the port is taken.
    """
    supervisor = Supervisor(options)
    rollout = Rollout(session, supervisor)
    supervisor.start()
    say(f"listening on {supervisor.url}")
    flushed_s = 0.0
    try:
        while not stopping():
            for death in supervisor.poll():
                say(
                    f"worker {death.worker} ended ({death.exit_code}); again in {death.next_in_s} s"
                )
            for change in rollout.reconcile():
                say(change)
            if clock.now_s() - flushed_s >= FLUSH_EVERY_S:
                _flush(session, options.spool, say)
                session.seal()
                flushed_s = clock.now_s()
            time.sleep(TICK_S)
    finally:
        supervisor.drain()
        _flush(session, options.spool, say)
        session.seal()


def work(session: Session, project: Project, folder: Path, stopping: Stopping, say: Say) -> None:
    """Carry out jobs until `stopping`; one that fails is marked and the next one taken."""
    while not stopping():
        try:
            action = retrain.work(session, project, folder)
        except ColonnadeError as error:
            say(f"a job failed: {error}")
            continue
        session.seal()
        if action is None:
            time.sleep(TICK_S)
        else:
            say(f"{action.subject}: {action.body['action']}: {action.body['reason']}")


def _flush(session: Session, spool: Path, say: Say) -> None:
    """Flush every endpoint's spool; a damaged segment is said and left where it is."""
    for folder in sorted(spool.iterdir()) if spool.is_dir() else []:
        try:
            flush(session, folder.name, spool)
        except ColonnadeError as error:
            say(f"{folder.name}: {error}")
