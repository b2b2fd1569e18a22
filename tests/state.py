"""What an unbroken and a broken way to the same end must agree in.

Left out are the wall clock and what is made of it, ids (the same one becomes the same number), and
what a kill rightly leaves: the entry of a run that was begun and never ended with its rows; a
version that was adopted instead of written; a read that was repeated; blobs that no entry names.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import sqlalchemy as sa

from colonnade.records.entry import Entry
from colonnade.records.ref import parse
from colonnade.records.table import TableVersion
from colonnade.store import schema
from colonnade.wiring import Workspace, heads_file, open_workspace

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ROOT_KEY = re.compile(r"key/[0-9a-f]{8}(?!-)")
# What holds the clock or a digest over it; of a table's files, the rows are compared instead.
_CLOCK = {"as_of", "wall_s", "took_ms", "rows_digest", "manifest.json", "manifest.sig", "parts"}
_CLOCK_OF = {"model": {"digest"}, "deployment": {"digest"}, "key": {"ed25519"}}  # by kind of entry
_CLOCK_COLUMNS = ("recorded_at",)
_STRAY = re.compile(
    r"#\d+$|(^|/)tmp[^/]*$|(^|/)\.[^/]*\.[0-9a-f-]{12,}$"
)  # Delta's, contracts', ours

State = dict[str, object]


def state(folder: Path) -> State:
    """The state of a project, in which every named row was read and the ledger was verified."""
    workspace = open_workspace(folder)
    assert workspace.verify().problems == ()
    entries = list(reversed(workspace.stores.ledger.select()))
    told, reads = _told(entries), [entry for entry in entries if entry.verb == "read"]
    ended = {_run_of(entry) for entry in told if entry.kind == "run"}
    known: dict[str, str] = {}
    return {
        "entries": [_entry(entry, known) for entry in told],
        "reads": sorted({_entry(entry, {}) for entry in reads}),
        "rows": {e.subject: _rows(workspace, e) for e in told if e.kind == "table"},
        "blobs": _blobs(workspace, told),
        "jobs": _table(workspace, schema.jobs, ("key", "kind", "state", "result"), known),
        "segments": _table(workspace, schema.segments, ("spool", "number", "rows", "version"), {}),
        "versions": _table(workspace, schema.versions, ("kind", "name", "version"), {}),
        "actors": _table(workspace, schema.actors, ("name", "roles"), {}),
        "keys": _table(workspace, schema.api_keys, ("actor",), {}),
        "params": _of_runs(workspace, schema.params, ("name", "value"), ended),
        "metrics": _of_runs(workspace, schema.metrics, ("name", "step"), ended),
        "files": _files(folder),
    }


def sealed(folder: Path) -> bool:
    """Whether no entry waits for the sealer, and the newest head was exported."""
    workspace = open_workspace(folder)
    heads, exported = (
        workspace.stores.ledger.heads(),
        _lines(heads_file(folder, workspace.settings)),
    )
    return workspace.stores.ledger.unsealed() == 0 and len(exported) == len(heads)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def begun(folder: Path) -> int:
    """How many runs were begun and never ended."""
    entries = open_workspace(folder).stores.ledger.select()
    return len(entries) - len(_told(entries)) - sum(entry.verb == "read" for entry in entries)


def strays(folder: Path) -> list[str]:
    """Files under temporary names, which somebody who was killed has left."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if _STRAY.search(name))


def _told(entries: list[Entry]) -> list[Entry]:
    """All but reads and the starts of runs that never ended."""
    ended = {entry.subject for entry in entries if entry.verb in ("finish", "fail")}
    return [
        entry
        for entry in entries
        if entry.verb != "read" and (entry.verb != "start" or entry.subject in ended)
    ]


def _run_of(entry: Entry) -> str:
    return entry.subject.removeprefix("run/")


def _entry(entry: Entry, known: dict[str, str]) -> str:
    body = _timeless(entry.body, _CLOCK | _CLOCK_OF.get(entry.kind, set()))
    verb = "write" if entry.verb == "adopt" else entry.verb
    line = [entry.actor, verb, entry.subject, list(entry.made_from), body]
    return _numbered(_ROOT_KEY.sub("key/root", json.dumps(line, sort_keys=True)), known)


def _timeless(body: object, names: set[str]) -> object:
    if isinstance(body, dict):
        known = {name: value for name, value in body.items() if name not in names}
        return {name: _timeless(value, names) for name, value in known.items()}
    return [_timeless(value, names) for value in body] if isinstance(body, list) else body


def _numbered(text: str, known: dict[str, str]) -> str:
    """The text with every id as the number of its first appearance."""
    return _UUID.sub(lambda found: known.setdefault(found.group(), f"id {len(known) + 1}"), text)


def _rows(workspace: Workspace, entry: Entry) -> str:
    """SHA-256 over the logical rows of a table version, in no order."""
    version = entry.read(TableVersion)
    frame = workspace.stores.tables.scan(parse(entry.subject).name, version.delta_version).collect()
    assert frame.height == version.rows
    lines = sorted(frame.drop(_CLOCK_COLUMNS, strict=False).write_ndjson().splitlines())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _blobs(workspace: Workspace, told: list[Entry]) -> Counter[str]:
    """How many of the stored blobs the entries of each kind and verb name; each is opened."""
    root = workspace.folder / ".colonnade" / "blobs"
    stored = {path.name for path in root.rglob("*") if not path.name.startswith(".")}
    named: Counter[str] = Counter()
    for entry in told:
        for digest in set(re.findall(r"[0-9a-f]{64}", json.dumps(entry.body))) & stored:
            workspace.stores.blobs.get(digest)
            named[entry.kind] += 1
    return named


def _table(
    workspace: Workspace, table: sa.Table, names: tuple[str, ...], known: dict[str, str]
) -> list[str]:
    with workspace.stores.database.read() as connection:
        rows = connection.execute(sa.select(*(table.c[name] for name in names))).all()
    return sorted(_numbered(json.dumps(list(row)), known) for row in rows)


def _of_runs(
    workspace: Workspace, table: sa.Table, names: tuple[str, ...], runs: set[str]
) -> list[str]:
    with workspace.stores.database.read() as connection:
        query = sa.select(*(table.c[name] for name in names)).where(table.c.run.in_(runs))
        return sorted(json.dumps(list(row)) for row in connection.execute(query))


def _files(folder: Path) -> dict[str, str]:
    """The files that a person sees, by digest: the contract that was proposed, what was written."""
    seen = [
        path
        for path in folder.rglob("*")
        if path.is_file() and ".colonnade" not in path.relative_to(folder).parts
    ]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in seen
        if path.suffix not in (".key", ".heads", ".jsonl", ".toml", ".pyc")
        and not _STRAY.search(path.name)
    }
