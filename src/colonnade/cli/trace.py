"""``trace``: where a thing came from, and what came of it, in words; all of it with ``--json``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import click

from colonnade.cli import render
from colonnade.cli.render import json_option, project_command
from colonnade.lifecycle import trace as tracing
from colonnade.lifecycle.trace import Answer
from colonnade.records.canonical import Json
from colonnade.wiring import Workspace


@click.command()
@click.argument("what")
@json_option
@project_command
def trace(workspace: Workspace, what: str, as_json: bool) -> None:
    """Provenance, both ways.

    WHAT is a prediction, run, action or entry by its id, a table, model, deployment or report as
    name@version, a landing file by its path or SHA-256, or a row that was in quarantine.
    Every line ends with the id of the ledger entry that it comes from; --json gives every detail.

    Example: colonnade trace late_departure@1
    """
    found = tracing.trace(workspace.session("trace"), what, workspace.folder)
    if as_json:
        render.as_json("trace", found)
        return
    tell(found)


def tell(found: Answer) -> None:
    """Print a traced answer in words."""
    for depth, line in _story(found):
        click.echo("  " * depth + line)


def _story(found: Answer) -> Iterator[tuple[int, str]]:
    then, since = _part(found, "then"), _part(found, "since")
    if "prediction" in then:
        yield from _prediction(then)
    elif "sha256" in then:
        yield 0, f"file {then['file'] or ''} SHA-256 {then['sha256']}"
        for entry in _parts(then, "taken_over_by"):
            yield 1, f"taken over by {_line(entry)}"
    elif "settled_by" in then:
        yield 0, f"row {then['row']}, which was in quarantine"
        for entry in _parts(then, "settled_by"):
            yield 1, f"settled by {_line(entry)}"
    else:
        for root in _parts(then, "chain") or [then]:
            yield from _lineage(root, 0, set())
    if since:
        yield 0, "since then"
        yield from _since(since)


def _prediction(then: Answer) -> Iterator[tuple[int, str]]:
    row, log, model = (_part(then, name) for name in ("prediction", "log", "model"))
    score = row.get("score", row.get("scores"))
    yield 0, f"prediction {row['prediction_id']}: score {score} by {row['model']}@{row['version']}"
    yield (
        1,
        f"made {row['predicted_at']} for {row['caller']} ({row['route']}, {row['latency_us']} µs)",
    )
    yield 1, f"about {row.get('key', 'no key')}, event time {row.get('event_time', 'not given')}"
    prefix = "feature_"
    features = {n.removeprefix(prefix): v for n, v in row.items() if n.startswith(prefix)}
    yield 1, "features " + ", ".join(f"{name}={value}" for name, value in features.items())
    state = "rows verified" if log["digest_matches"] else "ROWS DIFFER FROM WHAT WAS LOGGED"
    yield 1, f"logged in {log['table']}, segment {log['segment']}: {state}  [{log['entry']}]"
    if then["deployment"] is not None:
        yield from _deployment(_part(then, "deployment"))
    yield from _lineage(model, 0, set())
    yield 0, f"explanation: {then['explanation'] or 'none was recorded'}"
    yield from _monitoring(_part(then, "monitoring"))


def _deployment(found: Answer) -> Iterator[tuple[int, str]]:
    yield (
        0,
        (
            f"answered by deployment {found['revision']}: {found['verb']} by {found['by']} at "
            f"{found['at']}  [{found['entry']}]"
        ),
    )
    yield 1, f"because {found['reason']}"
    loaded = found["signature_verified"]
    if isinstance(loaded, dict):
        yield (
            1,
            (
                f"signature of {loaded['model']} verified with key {loaded['key_id']} over "
                f"manifest {str(loaded['digest'])[:16]}… when it was loaded, {loaded['at']}  "
                f"[{loaded['entry']}]"
            ),
        )
    for action in _parts(found, "decided_by"):
        yield from _lineage(action, 1, set(), only=("action", "report"))


def _monitoring(found: Answer) -> Iterator[tuple[int, str]]:
    yield 0, "monitoring at that moment"
    report, action = found["report"], found["action"]
    if isinstance(report, dict):
        what = _part(report, "what")
        facts = ", ".join(f"{n} {_short(v)}" for n, v in _part(what, "facts").items())
        window = " to ".join(str(end)[:10] for end in cast("list[str]", what["window"]))
        yield 1, f"report on {window}: {facts}  [{report['entry']}]"
    if isinstance(action, dict):
        what = _part(action, "what")
        yield 1, f"action {what['action']}: {what['reason']}  [{action['entry']}]"
    if report is None and action is None:
        yield 1, "no report had been made yet"


def _lineage(
    node: Answer, depth: int, told: set[str], only: tuple[str, ...] = ()
) -> Iterator[tuple[int, str]]:
    """A node and what it was made from; what was told once is named once."""
    ref = str(node["ref"])
    kind = tracing.parse_kind(ref)
    if only and kind not in only:
        return
    if "entry" not in node or ref in told:
        yield depth, ref + ("" if "entry" not in node else " (above)")
        return
    told.add(ref)
    yield depth, _line(node)
    for line in _details(kind, _part(node, "what")):
        yield depth + 1, line
    for parent in _parts(node, "from"):
        if tracing.parse_kind(str(parent["ref"])) in ("file", "code"):
            continue  # the details above name them
        grown = _name(str(parent["ref"])) == _name(ref)  # the version that this one was added to
        yield from _lineage(parent, depth if grown else depth + 1, told, only)


def _name(ref: str) -> str:
    return ref.partition("@")[0]


def _line(node: Answer) -> str:
    by = f" by {node['actor']}" if "actor" in node else ""
    return f"{node['ref']}: {node['verb']}{by} at {node['at']}  [{node['entry']}]"


def _details(kind: str, what: Answer) -> Iterator[str]:
    if kind == "model":
        yield f"manifest {what['digest']}, signed with key {what['key_id']}"
    elif kind == "run":
        yield from _run(what)
    elif kind == "table" and "rows" in what:
        report = what.get("validation")
        checked = "" if not isinstance(report, dict) else f", {report['bad']} bad rows set apart"
        yield f"{what['rows']} rows, {what['rows_added']} added{checked}"
        if what["code"] is not None:
            yield _code(_part(what, "code"))
        for file in _parts(what, "landed"):
            yield f"file {file['path']} SHA-256 {file['sha256']}"
    elif kind == "action":
        yield f"{what['action']}: {what['reason']}"
    elif kind == "report":
        yield ", ".join(f"{n} {_short(v)}" for n, v in _part(what, "facts").items())


def _code(code: Answer) -> str:
    files = ", ".join(_part(code, "files"))
    commit = code["commit"] or "no commit"
    diff = f", uncommitted diff {str(code['diff'])[:16]}…" if code["diff"] else ""
    untracked = ", ".join(cast("list[str]", code["untracked"])) or "none"
    return f"code {commit}{diff}; files {files}; untracked: {untracked}"


def _run(what: Answer) -> Iterator[str]:
    yield _code(_part(what, "code"))
    finish = what.get("finish")
    if isinstance(finish, dict):
        split = _part(finish, "split")
        newest = f", the newest, from {split['newest_from']}" if split["newest_from"] else ""
        yield f"{finish['state']}; judged on {split['newest']} held-out rows{newest}"
        for gate in _parts(finish, "gates"):
            mark = {True: "passed", False: "FAILED", None: "not judged"}[
                cast("bool", gate["passed"])
            ]
            yield f"gate {gate['gate']} {mark}: {gate['reason']}"


def _since(since: Answer) -> Iterator[tuple[int, str]]:
    for label in _parts(since, "labels"):
        yield (
            1,
            (
                f"label {label['label']}, observed {label['observed_at']}, "
                f"recorded {label['recorded_at']}"
            ),
        )
    for name, found in since.items():
        if name not in ("labels", "predictions"):
            for entry in _parts(since, name):
                yield 1, _line(entry)
        elif isinstance(found, dict):
            for version, count in found.items():
                yield 1, f"{count} predictions by {version}"


def _part(body: Answer, name: str) -> Answer:
    found = body.get(name)
    return found if isinstance(found, dict) else {}


def _parts(body: Answer, name: str) -> list[Answer]:
    found = body.get(name)
    return [part for part in found if isinstance(part, dict)] if isinstance(found, list) else []


def _short(value: Json) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
