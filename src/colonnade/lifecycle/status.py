"""What is up to date, what is live, what is alarming, what waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from colonnade.base import clock
from colonnade.base.errors import ColonnadeError
from colonnade.data.arrive import position
from colonnade.govern.session import Session
from colonnade.lifecycle import promote, schedule
from colonnade.lifecycle.example import example
from colonnade.project import Endpoint, Model, Project, Source, Table
from colonnade.records.action import Action
from colonnade.records.canonical import Json
from colonnade.records.entry import Entry
from colonnade.records.job import Job
from colonnade.records.ref import Ref
from colonnade.records.report import Report
from colonnade.records.source import Files, Push
from colonnade.records.table import TableVersion

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 (in UTC)


def status(session: Session, project: Project, folder: Path) -> dict[str, Json]:
    """One answer over the whole project."""
    return {
        "sources": sources(session, project, folder),
        "tables": {
            name: {**_table(session, project, name), **_schedule(session, Ref("table", name), t)}
            for name, t in project.tables.items()
        },
        "models": {
            name: {**_model(session, name), **_schedule(session, Ref("model", name), m)}
            for name, m in project.models.items()
        },
        "endpoints": {name: _endpoint(session, e) for name, e in project.endpoints.items()},
        "jobs": [
            {
                "job": job.key,
                "state": job.state,
                "attempt": job.attempt,
                "failures": job.failures,
                "again_at": _again(job),
                "result": job.result,
            }
            for job in session.open_jobs()
        ],
    }


def _again(job: Job) -> str | None:
    """When a job that failed is tried again."""
    if job.state != "waiting" or not job.not_before:
        return None
    return clock.stamp(datetime.fromtimestamp(job.not_before, tz=UTC))


def sources(session: Session, project: Project, folder: Path) -> dict[str, Json]:
    """What each source has and what waits for it."""
    return {
        name: {
            **_source(session, source, folder),
            **_schedule(session, Ref("source", name), source),
        }
        for name, source in project.sources.items()
    }


def _schedule(session: Session, subject: Ref, part: Source | Table | Model) -> dict[str, Json]:
    """When it runs by itself; nothing where it does not."""
    if part.schedule is None:
        return {}
    due = schedule.next_due(session, subject, part.schedule)
    found: dict[str, Json] = {"schedule": part.schedule}
    return found if due is None else {**found, "due": due}


def _source(session: Session, source: Source, folder: Path) -> dict[str, Json]:
    newest = session.newest("table", source.name)
    before = {} if newest is None else newest.read(TableVersion).files
    origin = source.origin
    if isinstance(origin, Push):
        return _pushed(session, source, newest)
    landed = session.landing(folder, origin.path) if isinstance(origin, Files) else {}
    files = {path.relative_to(folder).as_posix(): digest for path, digest in landed.items()}
    asked = {} if isinstance(origin, Files) else {"asked": _asked(newest)}
    return {
        **asked,
        "version": None if newest is None else newest.ref.short,
        "rows": None if newest is None else newest.read(TableVersion).rows,
        "waiting": [name for name in sorted(files) if name not in before],
        "changed": [name for name in sorted(files) if before.get(name, files[name]) != files[name]],
    }


def _asked(newest: Entry | None) -> dict[str, Json]:
    """How far an origin that is asked was taken; it is not asked here."""
    cursor = {} if newest is None else newest.read(TableVersion).cursor
    by = cursor.get("by")
    return {
        "at": None if newest is None else newest.at,
        "cursor": by[0] if isinstance(by, list) and by else None,
        "end": _end(cursor),
        "taken": cursor.get("rows"),
    }


def _end(cursor: dict[str, Json]) -> Json:
    """The cursor's last value as people write it."""
    kind, end = cursor.get("kind"), cursor.get("end")
    if kind in ("timestamp", "zoneless") and isinstance(end, str):
        return str(_EPOCH + timedelta(microseconds=int(end)))
    if kind == "date" and isinstance(end, str):
        return str((_EPOCH + timedelta(days=int(end))).date())
    return end


def _pushed(session: Session, source: Source, newest: Entry | None) -> dict[str, Json]:
    version = None if newest is None else newest.read(TableVersion)
    waiting = session.inbox("read", source.name).after(position(version))
    return {
        "version": None if newest is None else newest.ref.short,
        "rows": None if version is None else version.rows,
        "waiting": [receipt.batch for receipt in waiting],
        "changed": [],
    }


def _table(session: Session, project: Project, name: str) -> dict[str, Json]:
    newest = session.newest("table", name)
    if newest is None:
        return {"version": None, "behind": list(project.inputs_of(name))}
    behind = []
    for table in project.inputs_of(name):
        made = session.newest("table", table)
        if made is not None and made.subject not in newest.made_from:
            behind.append(made.ref.short)
    rows = newest.read(TableVersion).rows
    return {"version": newest.ref.short, "rows": rows, "at": newest.at, "behind": [*behind]}


def _model(session: Session, name: str) -> dict[str, Json]:
    newest = session.newest("model", name)
    return {"newest": None if newest is None else newest.ref.short}


def _endpoint(session: Session, endpoint: Endpoint) -> dict[str, Json]:
    live = promote.live(session, endpoint.name)
    report = session.newest("report", endpoint.name)
    actions = [
        action
        for entry in session.entries(kind="action", limit=50)
        if entry.verb != "refuse" and (action := entry.read(Action)).endpoint == endpoint.name
    ]
    subject = str(Ref("deployment", endpoint.name))
    refused = session.entries(kind="deployment", verb="refuse", subject=subject, limit=1)
    return {
        "model": None if live is None else live.model,
        "since": None if live is None else live.reason,
        "retrain": None if endpoint.retrain is None else str(endpoint.retrain),
        "report": None if report is None else _report(report.read(Report)),
        "action": f"{actions[0].action}: {actions[0].reason}" if actions else None,
        "refused": refused[0].body if refused else None,
        "example": _example(session, endpoint),
    }


def _example(session: Session, endpoint: Endpoint) -> dict[str, Json] | None:
    try:
        found = example(session, endpoint.name)
    except ColonnadeError:  # a damaged bundle is told by whoever loads it; this is an overview
        return None
    return None if found is None else {**found}


def _report(report: Report) -> dict[str, Json]:
    return {
        "window": list(report.window),
        "predictions": report.predictions,
        "labelled": report.labelled,
        "facts": {**report.facts},
        "alarms": list(report.alarms),
    }
