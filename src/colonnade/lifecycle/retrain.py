"""From report to action: ask the trigger, fit again on a pinned snapshot, promote or keep.

The decision and the job that carries it out are one transaction; the job's result and the action
that follows are one transaction too, fenced by the job's lease. A worker killed in between leaves
a job that the next one takes over, and a run that was finished is not made again.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

from colonnade.base import ids
from colonnade.base.errors import ColonnadeError, NotFoundError, UnavailableError
from colonnade.base.text import closest
from colonnade.govern.session import Session
from colonnade.lifecycle import pipeline, promote
from colonnade.project import Endpoint, Model, Project
from colonnade.records.action import Action
from colonnade.records.entry import Entry
from colonnade.records.job import Job
from colonnade.records.ref import Ref, parse
from colonnade.records.report import Report
from colonnade.train import fit

JOB: Final = "retrain"


def decide(session: Session, endpoint: Endpoint, table: str, report: Entry) -> Entry:
    """Ask an endpoint's trigger of a report and record the answer, once.

    Asked again with nothing changed, the answer is the one that was recorded, and its job is
    wanted again only where it has failed.

    Args:
        session: whose actor may report.
        endpoint: the declaration.
        table: the table that the endpoint's model learns from; its newest version is pinned.
        report: the entry of the report.

    Returns:
        The entry of the action: ``none``, or ``retrain`` with its job enqueued.
    """
    facts = report.read(Report).facts
    holds = None if endpoint.retrain is None else endpoint.retrain.holds(facts)
    live = promote.live(session, endpoint.name)
    snapshot = session.version(Ref("table", table)).ref.short
    action = Action(
        endpoint=endpoint.name,
        action="retrain" if holds else "none",
        reason=_reason(endpoint, holds),
        trigger=None if endpoint.retrain is None else str(endpoint.retrain),
        facts=facts,
        snapshot=snapshot if holds else None,
        model=None if live is None else live.model,
    )
    subject = Ref("action", ids.uuid7())
    with session.change("report", subject) as change:
        change.queue(Ref("action", report.ref.short))
        made = [entry for entry in session.made_from(report.subject) if entry.verb == "decide"]
        same = [place for place, entry in enumerate(made) if entry.read(Action) == action]
        if not same:
            same, made = (
                [len(made)],
                [*made, change.append("decide", subject, action, [report.subject])],
            )
        entry = made[same[0]]
        if holds:
            body = {"action": entry.subject, "endpoint": endpoint.name, "snapshot": snapshot}
            change.enqueue(JOB, _key(report, same[0]), {**body}, entry)
    return entry


def _key(report: Entry, place: int) -> str:
    """Of the job that a report's first decision wants, or a later one (on newer rows)."""
    key = f"{JOB}/{report.ref.name}/{report.ref.version}"
    return key if place == 0 else f"{key}.{place + 1}"


def work(session: Session, project: Project, folder: Path) -> Entry | None:
    """Carry out one waiting retrain job; None where there is none.

    Raises:
        UnavailableError: a disk or database is not there; the job waits for it.
        Exception: what the run raises, foreseen or not; the job is marked failed with its message,
            so that nobody takes it up again and again.
    """
    job = session.claim_job([JOB])
    if job is None:
        return None
    try:
        return _carry_out(session, project, folder, job)
    except UnavailableError:
        with suppress(ColonnadeError):  # else it waits until its lease has run out
            session.give_back(job)
        raise


def _carry_out(session: Session, project: Project, folder: Path, job: Job) -> Entry:
    name = str(job.body["endpoint"])
    decision = str(job.body["action"])
    try:
        model = _model(project, name)
        table = session.version(parse(f"table/{job.body['snapshot']}"))
        champion = promote.champion(session, name)
        with session.holding(job):
            found, _ = pipeline.fitted(session, model, folder, table, champion, decision)
    except UnavailableError:
        raise
    except Exception as error:
        with session.change("train", Ref("job", job.key)) as change:
            failure = fit.failure(error)
            change.append("fail", Ref("job", job.key), failure, [decision])
            change.finish(job, failure["message"], failed=True)
        raise
    return _conclude(session, name, job, found)


def _model(project: Project, endpoint: str) -> Model:
    if endpoint not in project.endpoints:
        raise NotFoundError(
            "CN-DEPLOY-003",
            f"project {project.name} declares no endpoint {endpoint!r} any more",
            closest(endpoint, project.endpoints),
        )
    return project.models[project.endpoints[endpoint].model]


def _conclude(session: Session, endpoint: str, job: Job, found: fit.Fitted) -> Entry:
    deployment = promote.live(session, endpoint)
    live = None if deployment is None else deployment.model
    obstacle = _obstacle(session, found, live)
    version = None if obstacle else found.version
    action = Action(
        endpoint=endpoint,
        action="keep" if version is None else "promote",
        reason=obstacle or "; ".join(v.reason for v in found.result.gates),
        run=found.run,
        snapshot=str(job.body["snapshot"]),
        model=live if version is None else version.ref.short,
    )
    subject = Ref("action", ids.uuid7())
    made_from = [str(job.body["action"]), f"run/{found.run}"]
    with session.change("promote", Ref("deployment", endpoint)) as change:
        entry = change.append("conclude", subject, action, made_from)
        if version is not None:
            why = ("promote", action.reason)
            promote.deploy(change, endpoint, version, why, [entry.subject])
        change.finish(job, entry.subject)
    return entry


def _obstacle(session: Session, found: fit.Fitted, live: str | None) -> str:
    """Why what was fitted does not take the place of what is live, else empty."""
    if found.version is None:
        return "; ".join(f"{v.gate}: {v.reason}" for v in fit.failed(found.result.gates))
    name = found.version.ref.short
    if pipeline.was_deployed(session, found):
        return f"{name} is what this code makes of these rows, and it was live before"
    if live != found.result.champion:
        return f"{name} was judged beside {found.result.champion}, but {live} is live by now"
    return ""


def _reason(endpoint: Endpoint, holds: bool | None) -> str:
    if endpoint.retrain is None:
        return "the endpoint declares no trigger"
    if holds is None:
        return f"not known whether {endpoint.retrain}: a value is missing"
    return f"{endpoint.retrain}" if holds else f"not {endpoint.retrain}"
