"""Where a thing came from, and what came of it: one answer that an auditor can follow.

Everything is read from entries and from the versions that they name, never from what is current:
``then`` stays the same word for word, whatever is promoted, relabelled or rotated afterwards;
``since`` is what was added later.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, cast
from uuid import UUID

import msgspec
import polars as pl

from colonnade.base import clock
from colonnade.base.errors import NotFoundError
from colonnade.govern.session import Session
from colonnade.records import canonical
from colonnade.records.canonical import Json
from colonnade.records.deployment import Deployment
from colonnade.records.entry import Entry
from colonnade.records.model import ModelVersion
from colonnade.records.prediction import PREDICTION_ID, labels_of, predictions_of
from colonnade.records.ref import KINDS, Ref, named, parse
from colonnade.records.table import TableVersion
from colonnade.serve.flush import rows_digest

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_NAME: Final = re.compile(r"[^@\s]+(@[1-9][0-9]{0,8})?")
_ROW: Final = re.compile(r"[0-9a-f]{12}-[0-9]+")
_NAMED: Final = ("table", "model", "deployment", "report", "contract")
Answer = dict[str, Json]


def trace(session: Session, what: str, folder: Path) -> Answer:
    """Trace a prediction, run, action, entry, ``name@version``, landing file, digest or row.

    A row is one that was in quarantine, by its id.

    Raises:
        NotFoundError: CN-TRACE-001, nothing goes by this name; CN-TRACE-002, a file that was
            never taken over.
    """
    path = folder / what
    if _is_file(path) and not _is_uuid(what):
        digest = session.digest_of(path)
        return _file(session, digest, _within(folder, path))
    if _SHA256.fullmatch(what):
        return _file(session, what, None)
    if _ROW.fullmatch(what) and (made := session.made_from(f"row/{what}")):
        told: list[Json] = [_entry(entry) for entry in made]
        return {
            "then": {"row": what, "settled_by": told},
            "since": forwards(session, f"row/{what}"),
        }
    if _is_uuid(what):
        found = _by_id(session, what)
        if found is not None:
            return found
    elif (entry := _by_name(session, what)) is not None:
        return {"then": backwards(session, entry), "since": forwards(session, entry.subject)}
    raise NotFoundError(
        "CN-TRACE-001",
        f"nothing goes by {what!r}: no prediction, run, version, landing file or entry",
        "a prediction is found when it is flushed, about a second after its answer; "
        "see ids with: colonnade runs ls, colonnade data ls, colonnade audit ls",
    )


def backwards(session: Session, entry: Entry, seen: frozenset[str] = frozenset()) -> Answer:
    """An entry and, under ``from``, all that it was made from, to the landing files.

    The versions that a source's table was added to stand beside one another, not in one another:
    there may be thousands. Those of our own tables (predictions, labels) are named only.
    """
    node = _node(session, entry, seen)
    parents = cast("list[Json]", node["from"])
    grown = _grown_from(entry)
    while grown is not None and not _is_ours(entry):
        earlier = session.version(parse(grown))
        parents.append(_node(session, earlier, seen))
        grown = _grown_from(earlier)
    return node


def _node(session: Session, entry: Entry, seen: frozenset[str]) -> Answer:
    """An entry with what it was made from, but for the version that it was added to."""
    below, grown = seen | {entry.subject}, _grown_from(entry)
    parents: list[Json] = []
    for ref in entry.made_from:
        made = None if ref in below or ref == grown else _maker(session, ref)
        if made is not None:
            parents.append(backwards(session, made, below))
        elif ref != grown or _is_ours(entry):
            parents.append({"ref": ref})
    return {
        "ref": entry.subject,
        "entry": entry.id,
        "at": entry.at,
        "actor": entry.actor,
        "verb": entry.verb,
        "what": _brief(session, entry),
        "from": parents,
    }


def _grown_from(entry: Entry) -> str | None:
    """The version of the same table that an entry added to."""
    thing = entry.subject.partition("@")[0]
    return next((ref for ref in entry.made_from if ref.partition("@")[0] == thing), None)


def forwards(session: Session, ref: str) -> Answer:
    """What was made from a thing, step by step, and how many predictions it touched."""
    reached: dict[str, Entry] = {}
    waiting = [ref]
    while waiting:
        for entry in session.made_from(waiting.pop()):
            if entry.subject not in reached:
                reached[entry.subject] = entry
                if not _ends(entry):
                    waiting.append(entry.subject)
    by_kind: dict[str, list[Json]] = {}
    for subject, entry in sorted(reached.items(), key=lambda item: item[1].id):
        by_kind.setdefault(entry.kind, []).append(
            {"ref": subject, "entry": entry.id, "at": entry.at, "verb": entry.verb}
        )
    models = [subject for subject, entry in reached.items() if entry.kind == "model"]
    if parse_kind(ref) == "model":
        models.append(ref)
    return {**by_kind, "predictions": _predictions(session, models)}


def parse_kind(ref: str) -> str:
    """The kind of a reference's text."""
    return ref.partition("/")[0]


def _by_id(session: Session, identifier: str) -> Answer | None:
    for endpoint, version in session.segments_of(identifier):
        found = _prediction(session, endpoint, version, identifier)
        if found is not None:
            return found
    for kind in ("run", "action"):
        entries = session.entries(kind=kind, subject=f"{kind}/{identifier}")
        if entries:
            chain: list[Json] = [backwards(session, entry) for entry in reversed(entries)]
            return {"then": {"chain": chain}, "since": forwards(session, entries[0].subject)}
    entry = session.entry(identifier)
    if entry is None:
        return None
    return {"then": backwards(session, entry), "since": forwards(session, entry.subject)}


def _by_name(session: Session, what: str) -> Entry | None:
    kinds: tuple[str, ...] = _NAMED
    if what.partition("/")[0] in KINDS and "/" in what:
        ref = parse(what)
        kinds, name, version = (ref.kind,), ref.name, ref.version
    else:
        if _NAME.fullmatch(what) is None:
            return None
        ref = named("table", what)  # of which kind, the names say
        name, version = ref.name, ref.version
    for kind in kinds:
        if name in session.names(kind):
            return session.version(Ref(kind, name, version))
    return None


def _prediction(session: Session, endpoint: str, version: int, identifier: str) -> Answer | None:
    table = session.version(Ref("table", predictions_of(endpoint), version))
    rows = session.scan(table.ref).filter(pl.col(PREDICTION_ID) == identifier).collect()
    if rows.is_empty():
        return None
    row = msgspec.to_builtins(rows.row(0, named=True))
    at = clock.stamp(rows["predicted_at"][0])
    model = session.version(Ref("model", row["model"], row["version"]))
    then: Answer = {
        "prediction": {name: value for name, value in row.items() if value is not None},
        "log": _log(session, table, rows),
        "deployment": _deployment(session, str(row["revision"]), at)
        if row["route"] != "batch"
        else None,
        "model": _model(session, model),
        "explanation": None,
        "monitoring": _monitoring(session, endpoint, at),
    }
    return {"then": then, "since": {"labels": _labels(session, endpoint, row)}}


def _log(session: Session, table: Entry, rows: pl.DataFrame) -> Answer:
    """The segment that the row was flushed in, its digest computed again."""
    spool, number = rows["spool"][0], rows["segment"][0]
    version = table.read(TableVersion)
    named = next(s for s in version.segments if (s.spool, s.number) == (spool, number))
    same = (pl.col("spool") == spool) & (pl.col("segment") == number)
    digest = rows_digest(session.scan(table.ref).filter(same).collect())
    return {
        "table": table.ref.short,
        "entry": table.id,
        "segment": f"{spool}/{number}",
        "rows": named.rows,
        "digest": named.digest,
        "digest_matches": digest == named.digest,
    }


def _deployment(session: Session, revision: str, at: str) -> Answer:
    entry = session.version(parse(f"deployment/{revision}"))
    loads = session.entries(kind="deployment", verb="load", subject=entry.subject, before=at)
    body = entry.read(Deployment)
    return {
        "revision": revision,
        "entry": entry.id,
        "at": entry.at,
        "by": entry.actor,
        "verb": entry.verb,
        "reason": body.reason,
        "previous": body.previous,
        "signature_verified": {"entry": loads[0].id, "at": loads[0].at, **loads[0].body}
        if loads
        else None,
        "decided_by": [backwards(session, made) for made in _decisions(session, entry)],
    }


def _decisions(session: Session, entry: Entry) -> Iterator[Entry]:
    """The action that this deployment concluded; its own chain leads to the report."""
    for ref in entry.made_from:
        made = _maker(session, ref) if parse_kind(ref) == "action" else None
        if made is not None:
            yield made


def _model(session: Session, entry: Entry) -> Answer:
    version = entry.read(ModelVersion)
    found: Answer = {"digest": version.digest, "signed_by": version.key_id}
    return {**found, **backwards(session, entry)}


def _monitoring(session: Session, endpoint: str, at: str) -> Answer:
    """The newest report and action that were known at that moment."""
    subject = str(Ref("report", endpoint))
    reports = session.entries(kind="report", verb="report", subject=subject, before=at, limit=1)
    actions = [
        entry
        for entry in session.entries(kind="action", before=at)
        if entry.body.get("endpoint") == endpoint
    ][:1]
    return {
        "report": _entry(reports[0]) if reports else None,
        "action": _entry(actions[0]) if actions else None,
    }


def _labels(session: Session, endpoint: str, row: Answer) -> list[Json]:
    newest = session.newest("table", labels_of(endpoint))
    if newest is None:
        return []
    mine = (pl.col(PREDICTION_ID) == row[PREDICTION_ID]) | (pl.col("key") == row["key"])
    found = session.scan(newest.ref).filter(mine).sort("recorded_at").collect()
    labels: list[Json] = msgspec.to_builtins(found.rows(named=True))
    return labels


def _file(session: Session, digest: str, name: str | None) -> Answer:
    made = session.made_from(f"file/{digest}")
    if not made:
        raise NotFoundError(
            "CN-TRACE-002",
            f"{name or 'the file'} (SHA-256 {digest}) was never taken over" + _was(session, name),
            "compare the file with the one that landed",
        )
    taken: list[Json] = [_entry(entry) for entry in made]
    then: Answer = {"file": name, "sha256": digest, "taken_over_by": taken}
    return {"then": then, "since": forwards(session, f"file/{digest}")}


def _was(session: Session, name: str | None) -> str:
    """What a file of this name was when it was taken over."""
    for table in session.names("table") if name else []:
        version = session.version(Ref("table", table)).read(TableVersion)
        if name in version.files:
            return f"; a file of this name was, with SHA-256 {version.files[name]}: it has changed"
    return ""


def _maker(session: Session, ref: str) -> Entry | None:
    """The entry that made a thing; None for what only has a digest."""
    kind = parse_kind(ref)
    if kind in ("file", "code", "row"):
        return None
    if kind in ("run", "action"):
        return next(reversed(session.entries(kind=kind, subject=ref)), None)
    return session.version(parse(ref))


def _brief(session: Session, entry: Entry) -> Answer:
    """The body; a run's result and a table's validation report are read in."""
    if entry.kind == "run" and entry.verb == "start":
        ends = session.entries(kind="run", subject=entry.subject)
        results: Answer = {end.verb: end.body for end in ends if end.verb in ("finish", "fail")}
        return {**entry.body, **results}
    if entry.kind == "table" and entry.verb in ("write", "adopt", "undo"):
        version = entry.read(TableVersion)
        return {
            "rows": version.rows,
            "rows_added": version.rows_added,
            "step": version.step,
            "delta_version": version.delta_version,
            "code": canonical.plain(version.code),
            "landed": canonical.plain(version.landed),
            "validation": _report(session, version),
        }
    return dict(entry.body)


def _report(session: Session, version: TableVersion) -> Json:
    if version.report is None:
        return None
    report: Json = msgspec.json.decode(session.blob(version.report))
    return report


def _entry(entry: Entry) -> Answer:
    return {"ref": entry.subject, "entry": entry.id, "at": entry.at, "verb": entry.verb,
            "what": dict(entry.body)}  # fmt: skip


def _ends(entry: Entry) -> bool:
    """Whether nothing that is made from it holds its rows."""
    return entry.kind in ("report", "deployment", "action") or _is_ours(entry)


def _is_ours(entry: Entry) -> bool:
    """Whether it is a table of the platform's own: predictions, labels, quarantine."""
    return entry.kind == "table" and "." in entry.ref.name


def _predictions(session: Session, models: list[str]) -> Answer:
    """How many predictions each model version made, over all endpoints."""
    counts: Counter[str] = Counter()
    wanted = {parse(model).short for model in models}
    for table in session.names("table") if wanted else []:
        if table.startswith(predictions_of("")):
            rows = session.scan(Ref("table", table), ["model", "version"]).collect()
            for model, version, count in (
                rows.group_by("model", "version").len().sort("version").rows()
            ):
                if f"{model}@{version}" in wanted:
                    counts[f"{model}@{version}"] += count
    return {**counts}


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # longer than a name may be
        return False


def _within(folder: Path, path: Path) -> str:
    """The name under which a landing file is recorded."""
    found = path.resolve()
    return (found.relative_to(folder) if found.is_relative_to(folder) else path).as_posix()


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
