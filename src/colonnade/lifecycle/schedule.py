"""Cron lines become jobs: each due time once, whoever asks for it, and again when it fails.

The first worker that sees a schedule takes it up: due times count from then on. Of those that
passed while no worker ran the newest is made up, once. The entry that says that a time was due
and the job that carries it out are one transaction, so two workers want it once; the job is
claimed and fenced like any other, and a `colonnade run` at the same time finds the work done, or
leaves it done.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from colonnade.base import clock
from colonnade.base.errors import ColonnadeError, NotFoundError
from colonnade.base.text import closest
from colonnade.govern.session import Session
from colonnade.lifecycle import pipeline
from colonnade.lifecycle.pipeline import Step
from colonnade.project import Project
from colonnade.records import schedule
from colonnade.records.entry import Entry
from colonnade.records.job import Job
from colonnade.records.ref import Ref, parse
from colonnade.records.schedule import ON_ARRIVAL
from colonnade.train import fit

JOB: Final = "run"
LONGEST_S: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How a run that failed is tried again.

    Attributes:
        tries: how often it is tried in all.
        wait_s: before the second try; each further wait is twice as long, an hour at most.
    """

    tries: int = 5
    wait_s: float = 60.0

    def after(self, failures: int) -> float | None:
        """How long to wait after so many failures; None when it is given up."""
        return None if failures >= self.tries else min(self.wait_s * 2 ** (failures - 1), LONGEST_S)


def scheduled(project: Project) -> Mapping[Ref, str]:
    """What has a cron line."""
    return dict(_lines(project))


def _lines(project: Project) -> Iterator[tuple[Ref, str]]:
    for kind, declared in (
        ("source", project.sources),
        ("table", project.tables),
        ("model", project.models),
    ):
        for name, part in declared.items():
            if part.schedule is not None and part.schedule != ON_ARRIVAL:
                yield Ref(kind, name), part.schedule


def enqueue(session: Session, project: Project) -> None:
    """Want a job for everything that is due by now."""
    for subject, line in scheduled(project).items():
        since = _since(session, subject, line)
        if since is None:
            _take_up(session, subject, line)
        elif (moment := schedule.last_due(line, since, clock.now())) is not None:
            _want(session, subject, line, moment)


def next_due(session: Session, subject: Ref, line: str) -> str | None:
    """When a thing is due next, as a stamp; None where no worker has taken its schedule up."""
    since = _since(session, subject, line)
    found = None if since is None else schedule.next_due(line, since)
    return None if found is None else clock.stamp(found)


def _since(session: Session, subject: Ref, line: str) -> datetime | None:
    """The moment behind which due times count; None where this line was not taken up."""
    taken = _newest(session, subject, "schedule")
    if taken is None or taken.body["cron"] != line:
        return None
    due = _newest(session, subject, "due")
    since = clock.instant(taken.at)
    return since if due is None else max(since, clock.instant(str(due.body["due"])))


def _newest(session: Session, subject: Ref, verb: str) -> Entry | None:
    found = session.entries(kind=subject.kind, verb=verb, subject=str(subject), limit=1)
    return next(iter(found), None)


def _take_up(session: Session, subject: Ref, line: str) -> None:
    with session.change("write", subject) as change:
        change.queue(subject)
        if _since(session, subject, line) is None:  # another worker was not faster
            change.append("schedule", subject, {"cron": line})


def _want(session: Session, subject: Ref, line: str, moment: datetime) -> None:
    key = f"{JOB}/{subject}/{moment:%Y-%m-%dT%H:%MZ}"
    with session.change("write", subject) as change:
        change.queue(subject)
        since = _since(session, subject, line)
        if since is None or since >= moment:  # another worker was faster
            return
        due = clock.stamp(moment)
        entry = change.append("due", subject, {"job": key, "due": due})
        change.enqueue(JOB, key, {"subject": str(subject), "due": due}, entry)


def work(session: Session, project: Project, folder: Path, retries: Retries) -> list[Step] | None:
    """Carry out one run that is due; None where there is none.

    Raises:
        Exception: what the run raises, foreseen or not; it is recorded, and the job waits to be
            tried again, or is marked failed.
    """
    job = session.claim_job([JOB])
    if job is None:
        return None
    subject, began_s = parse(str(job.body["subject"])), time.monotonic()
    try:
        with session.holding(job):
            steps = _run(session, project, folder, subject)
    except Exception as error:
        with suppress(ColonnadeError):  # else it waits until its lease has run out
            _fail(session, job, error, retries)
        raise
    body = {
        "job": job.key,
        "made": [step.made or step.name for step in steps if step.state == "done"],
        "rejected": [step.name for step in steps if step.state == "rejected"],
        "took_ms": round((time.monotonic() - began_s) * 1000),
    }
    with session.change("write", subject) as change:
        entry = change.append("finish", subject, body, [str(Ref("job", job.key))])
        change.finish(job, entry.id)
    return steps


def _run(session: Session, project: Project, folder: Path, subject: Ref) -> list[Step]:
    """A source with all that is made from it; a table or a model with all that it is made from."""
    known = {"source": project.sources, "table": project.tables, "model": project.models}
    if subject.name not in known[subject.kind]:
        raise NotFoundError(
            "CN-RUN-001",
            f"project {project.name} declares no {subject.kind} {subject.name!r} any more",
            closest(subject.name, known[subject.kind]),
        )
    if subject.kind != "source":
        return pipeline.run(session, project, folder, [subject.name])
    names = [subject.name]
    for name in (*(table.name for table in project.order()), *project.models):
        if not set(project.inputs_of(name)).isdisjoint(names):
            names.append(name)
    return pipeline.run(session, project, folder, names, forced=False)


def _fail(session: Session, job: Job, error: Exception, retries: Retries) -> None:
    """Record a failure; the job waits for its next try, or has failed for good."""
    failures = job.failures + 1
    wait_s = retries.after(failures)
    again_s = None if wait_s is None else clock.now_s() + wait_s
    again = None if again_s is None else clock.stamp(datetime.fromtimestamp(again_s, tz=UTC))
    told = fit.failure(error)
    subject = parse(str(job.body["subject"]))
    body = {"job": job.key, **told, "try": failures, "of": retries.tries, "again_at": again}
    with session.change("write", subject) as change:
        change.append("fail", subject, body, [str(Ref("job", job.key))])
        said = f"{told['code']}: {told['message']}"
        if again_s is None:
            change.finish(job, f"failed {failures} times; the last: {said}", failed=True)
        else:
            change.retry(job, again_s, f"try {failures} of {retries.tries} failed: {said}")
