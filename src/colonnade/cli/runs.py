"""``runs``: what was fitted, from what, and what it reached."""

from __future__ import annotations

import click

from colonnade.base.errors import NotFoundError
from colonnade.cli import render
from colonnade.cli.render import json_option, limit_option, project_command
from colonnade.govern.session import Session
from colonnade.records.canonical import Json
from colonnade.records.entry import Entry
from colonnade.records.run import Run
from colonnade.wiring import Workspace


@click.group()
def runs() -> None:
    """Runs: fitted models, their params, metrics and gates."""


@runs.command("ls")
@limit_option(50)
@json_option
@project_command
def ls(workspace: Workspace, limit: int, as_json: bool) -> None:
    """The newest runs first.

    Example: colonnade runs ls
    """
    session = workspace.session("runs ls")
    rows = []
    for start in session.entries(kind="run", verb="start", limit=limit):
        run = start.read(Run)
        end = _end(session, start)
        metrics = {} if end is None else _values(end)
        state = "running" if end is None else str(end.body.get("state", end.verb))
        text = " ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        rows.append((run.id, run.model, state, run.table, start.at, text))
    names = ("run", "model", "state", "table", "at", "metrics")
    if as_json:
        render.as_json("runs ls", [dict(zip(names, row, strict=True)) for row in rows])
    else:
        render.table(names, rows)


@runs.command("show")
@click.argument("run")
@json_option
@project_command
def show(workspace: Workspace, run: str, as_json: bool) -> None:
    """One run: code, table, settings, split, params, metrics, gates.

    Example: colonnade runs show 01a204d7-7ab1-7066-89d8-55a238e1cfc8
    """
    session = workspace.session("runs show")
    entries = session.entries(kind="run", subject=f"run/{run}")
    if not entries:
        raise NotFoundError("CN-RUN-002", f"there is no run {run!r}", "colonnade runs ls")
    params, points, digest = session.run_rows(run)
    end = entries[0].body if len(entries) > 1 else {}
    body: dict[str, Json] = {
        "start": entries[-1].body,
        "end": end,
        "params": {**params},
        "metrics": {name: value for name, _, value in points},
        "rows_digest_matches": end.get("rows_digest") == digest if end else None,
    }
    if as_json:
        render.as_json("runs show", body)
    else:
        render.tree(f"run {run}", body)


def _end(session: Session, start: Entry) -> Entry | None:
    newest = session.entries(kind="run", subject=start.subject, limit=1)[0]
    return None if newest.verb == "start" else newest


def _values(end: Entry) -> dict[str, float]:
    metrics = end.body.get("metrics")
    found = {}
    for name, estimate in metrics.items() if isinstance(metrics, dict) else ():
        value = estimate.get("value") if isinstance(estimate, dict) else None
        if isinstance(value, int | float):
            found[name] = float(value)
    return found
