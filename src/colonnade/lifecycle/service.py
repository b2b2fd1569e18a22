"""The loops of the long-running roles: an endpoint server, and a worker of jobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from colonnade.base import clock
from colonnade.base.errors import ColonnadeError
from colonnade.govern.session import Session
from colonnade.lifecycle import pipeline, retrain
from colonnade.project import Project
from colonnade.serve.flush import flush
from colonnade.serve.rollout import Rollout
from colonnade.serve.supervisor import Options, Supervisor

TICK_S: Final = 0.2
FLUSH_EVERY_S: Final = 1.0
SETTLED_S: Final = 2.0  # a landing file is whole when nobody wrote to it for so long

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
    """Take over what lands and carry out jobs, until `stopping`.

    What fails is said and recorded; a source whose files were refused is looked at again when
    other files wait for it.
    """
    refused: list[str] = []
    while not stopping():
        try:
            waiting = pipeline.arrived(session, project, folder, SETTLED_S)
            if waiting and waiting != refused:
                refused = waiting
                for step in pipeline.run(session, project, folder):
                    say(f"{step.state} {step.kind} {step.made or step.name}: {step.detail}")
                refused = []
            action = retrain.work(session, project, folder)
        except ColonnadeError as error:
            say(str(error))
            continue
        session.seal()
        if action is not None:
            say(f"{action.subject}: {action.body['action']}: {action.body['reason']}")
        elif not waiting or waiting == refused:
            time.sleep(TICK_S)


def _flush(session: Session, spool: Path, say: Say) -> None:
    """Flush every endpoint's spool; a damaged segment is said and left where it is."""
    for folder in sorted(spool.iterdir()) if spool.is_dir() else []:
        try:
            flush(session, folder.name, spool)
        except ColonnadeError as error:
            say(f"{folder.name}: {error}")
