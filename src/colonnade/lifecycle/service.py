"""The loops of the long-running roles: an endpoint server, and a worker of jobs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from colonnade.base.errors import ColonnadeError
from colonnade.govern.session import Session
from colonnade.lifecycle import pipeline, retrain, schedule
from colonnade.lifecycle.pipeline import Step
from colonnade.lifecycle.schedule import Retries
from colonnade.project import Project
from colonnade.serve.flush import flush
from colonnade.serve.rollout import Rollout
from colonnade.serve.supervisor import Options, Supervisor

TICK_S: Final = 0.2
IDLE_S: Final = 1.0  # between two looks of a worker that found nothing to do
FLUSH_EVERY_S: Final = 1.0
RETRIES: Final = Retries()
SETTLED_S: Final = 2.0  # a landing file is whole when nobody wrote to it for so long

Say = Callable[[str], None]
Stopping = Callable[[], bool]


def serve(session: Session, options: Options, stopping: Stopping, say: Say) -> None:
    """Answer requests until `stopping`: workers, switches, flushing, sealing; then drain.

    Flushing has a thread of its own: it may wait for another process that writes the table, and a
    worker that died must be replaced meanwhile.

    Raises:
        UnavailableError: CN-SERVE-001, the port is taken.
    """
    supervisor = Supervisor(options)
    rollout = Rollout(session, supervisor)
    news = _News(say)
    early: list[str] = []  # said behind the address, for which a caller waits
    supervisor.start(lambda: _reconcile(rollout, _News(early.append)))
    for text in (f"listening on {supervisor.url}", *early):
        say(text)
    drained = threading.Event()

    def keep() -> None:
        while not drained.wait(FLUSH_EVERY_S):
            _keep(session, options.spool, news)

    keeper = threading.Thread(target=keep, name="flusher")
    keeper.start()
    try:
        while not stopping():
            for death in supervisor.poll():
                say(
                    f"worker {death.worker} ended ({death.exit_code}); again in {death.next_in_s} s"
                )
            _reconcile(rollout, news)
            time.sleep(TICK_S)
    finally:
        supervisor.drain()
        drained.set()
        keeper.join()
        _keep(session, options.spool, news)


def _reconcile(rollout: Rollout, news: _News) -> None:
    with news.trouble("deployments"):
        for change in rollout.reconcile():
            news.say(*change.split(": ", 1))


def work(
    session: Session,
    project: Project,
    folder: Path,
    stopping: Stopping,
    say: Say,
    retries: Retries = RETRIES,
) -> None:
    """Take over what lands, do what is due and carry out jobs, until `stopping`.

    What fails is said and recorded; files that were refused are looked at again when one of them
    was written anew, or another one waits.
    """
    refused: dict[str, int] = {}
    news = _News(say)
    while not stopping():
        busy = False
        with news.trouble("worker"):
            waiting = pipeline.arrived(session, project, folder, SETTLED_S)
            if waiting and waiting != refused:
                refused = waiting
                _tell(pipeline.run(session, project, folder), say)
                refused = {}
                busy = True
        with news.trouble("schedule"):
            schedule.enqueue(session, project)
            steps = schedule.work(session, project, folder, retries)
            _tell(steps or [], say)
            busy |= steps is not None
        with news.trouble("jobs"):
            action = retrain.work(session, project, folder)
            if action is not None:
                say(f"{action.subject}: {action.body['action']}: {action.body['reason']}")
                busy = True
            session.seal()
        if not busy:
            time.sleep(IDLE_S)


def _tell(steps: list[Step], say: Say) -> None:
    for step in steps:
        say(f"{step.state} {step.kind} {step.made or step.name}: {step.detail}")


class _News:
    """Says what is new about a thing: a trouble that lasts is said once, not every second."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._last: dict[str, str] = {}

    def say(self, thing: str, text: str) -> None:
        """Say it, unless it was the last that was said of this thing."""
        if self._last.get(thing) != text:
            self._last[thing] = text
            self._say(f"{thing}: {text}")

    @contextmanager
    def trouble(self, thing: str) -> Iterator[None]:
        """Say what goes wrong with a thing and go on: the rest of the loop must not wait for it."""
        try:
            yield
        except ColonnadeError as error:
            self.say(thing, str(error))
        except Exception as error:  # noqa: BLE001 (a damaged store must not end the answering)
            text = str(error).partition("\n")[0]
            self.say(thing, f"{type(error).__name__}: {text}")
        else:
            self._last.pop(thing, None)


def _keep(session: Session, spool: Path, news: _News) -> None:
    """Flush every endpoint's spool and seal; a damaged segment is left where it is."""
    endpoints = []
    with news.trouble("spool"):
        endpoints = sorted(folder.name for folder in spool.iterdir()) if spool.is_dir() else []
    for endpoint in endpoints:
        with news.trouble(f"predictions of {endpoint}"):
            flush(session, endpoint, spool)
    with news.trouble("ledger"):
        session.seal()
