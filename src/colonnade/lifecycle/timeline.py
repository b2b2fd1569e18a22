"""What became of a source, table or model, run by run, newest first: read from the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from colonnade.base.errors import NotFoundError
from colonnade.base.text import closest
from colonnade.govern.session import Session
from colonnade.project import Project
from colonnade.records.entry import Entry
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion

_RUNS = ("due", "fail", "finish", "schedule")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One line of a timeline.

    Attributes:
        what: the entry's verb: ``write``, ``stop``, ``due``, ``finish``, ``fail``, …
        rows: rows that came; of a source the good ones.
        bad: rows that went into quarantine; None where nothing says.
    """

    at: str
    actor: str
    what: str
    made: str | None = None
    rows: int | None = None
    bad: int | None = None
    took_ms: int | None = None
    detail: str = ""


def timeline(session: Session, project: Project, name: str, limit: int) -> list[Moment]:
    """The newest moments of a source, table or model.

    Raises:
        NotFoundError: CN-RUN-001, the project declares nothing of this name.
    """
    kinds = {"source": project.sources, "table": project.tables, "model": project.models}
    kind = next((kind for kind, declared in kinds.items() if name in declared), None)
    if kind is None:
        raise NotFoundError(
            "CN-RUN-001",
            f"project {project.name} declares no {name!r}",
            closest(name, [known for declared in kinds.values() for known in declared]),
        )
    entries = [
        entry
        for verb in _RUNS
        for entry in session.entries(
            kind=kind, verb=verb, subject=str(Ref(kind, name)), limit=limit
        )
    ]
    if kind == "model":
        entries += _versions(session, Ref("model", name), limit)
    else:
        entries += _versions(session, Ref("table", name), limit)
        entries += session.entries(
            kind="table", verb="stop", subject=str(Ref("table", name)), limit=limit
        )
    newest = sorted(entries, key=lambda entry: (entry.at, entry.id), reverse=True)
    return [_moment(entry) for entry in newest[:limit]]


def _versions(session: Session, subject: Ref, limit: int) -> Iterator[Entry]:
    newest = session.newest(subject.kind, subject.name)
    last = 0 if newest is None else newest.ref.version or 0
    for number in range(last, max(0, last - limit), -1):
        yield session.version(Ref(subject.kind, subject.name, number))


def _moment(entry: Entry) -> Moment:
    if entry.kind == "table" and entry.verb != "stop" and "delta_version" in entry.body:
        version = entry.read(TableVersion)
        came = sum(file.rows for file in version.landed)
        return Moment(
            at=entry.at, actor=entry.actor, what=entry.verb, made=entry.ref.short,
            rows=version.rows_added, bad=came - version.rows_added if version.landed else None,
            took_ms=version.took_ms, detail=f"{version.rows:,} rows in all",
        )  # fmt: skip
    took_ms = entry.body.get("took_ms")
    return Moment(
        at=entry.at, actor=entry.actor, what=entry.verb,
        made=entry.ref.short if entry.ref.version else None,
        took_ms=took_ms if isinstance(took_ms, int) else None, detail=_detail(entry),
    )  # fmt: skip


def _detail(entry: Entry) -> str:
    body = entry.body
    if entry.verb == "fail":
        again = f"again at {body['again_at']}" if body["again_at"] else "given up"
        return f"try {body['try']} of {body['of']}: {body['code']}: {body['message']}; {again}"
    if entry.verb == "finish":
        made, rejected = body["made"], body["rejected"]
        texts = [f"made {', '.join(map(str, made))}" if isinstance(made, list) and made else ""]
        texts.append(f"rejected {rejected}" if rejected else "")
        return "; ".join(text for text in texts if text) or "everything was up to date"
    words = {
        "due": f"due at {body.get('due')}",
        "schedule": f"taken up: {body.get('cron')}",
        "stop": "too many bad rows; nothing was taken over",
    }
    return words.get(entry.verb, "")
