"""``data``: tables, their versions, quarantine."""

from __future__ import annotations

import click
import polars as pl

from colonnade.cli import render
from colonnade.cli.render import json_option, limit_option, project_command, rows_option
from colonnade.data.ingest import QUARANTINE
from colonnade.lifecycle.schedule import next_due, scheduled
from colonnade.lifecycle.timeline import timeline
from colonnade.records.ref import Ref, named
from colonnade.records.table import TableVersion
from colonnade.wiring import Workspace


@click.group()
def data() -> None:
    """Tables, their versions and their bad rows."""


@data.command("ls")
@json_option
@project_command
def ls(workspace: Workspace, as_json: bool) -> None:
    """The newest version of every table.

    Example: colonnade data ls
    """
    session = workspace.session("data ls")
    rows = []
    for name in session.names("table"):
        entry = session.version(Ref("table", name))
        version = entry.read(TableVersion)
        rows.append((entry.ref.short, version.rows, len(version.columns), entry.at, entry.id))
    if as_json:
        names = ("version", "rows", "columns", "at", "entry")
        render.as_json("data ls", [dict(zip(names, row, strict=True)) for row in rows])
    else:
        render.table(("version", "rows", "columns", "at", "entry"), rows)


@data.command("show")
@click.argument("table")
@rows_option
@json_option
@project_command
def show(workspace: Workspace, table: str, rows: int, as_json: bool) -> None:
    """One version: how it was made, its columns, some rows.

    Example: colonnade data show departures@2
    """
    session = workspace.session("data show")
    entry = session.version(named("table", table))
    if as_json:
        render.as_json("data show", entry)
        return
    version = entry.read(TableVersion)
    click.echo(f"{entry.ref.short}: {version.rows:,} rows, by {entry.actor} at {entry.at}")
    with pl.Config(tbl_cols=-1, tbl_hide_dataframe_shape=True):
        click.echo(session.scan(entry.ref).head(rows).collect())


@data.command("log")
@click.argument("name")
@limit_option(20)
@json_option
@project_command
def log(workspace: Workspace, name: str, limit: int, as_json: bool) -> None:
    """The last runs of a source, table or model: when, by whom, rows, failures, what is due.

    Example: colonnade data log flights
    """
    session = workspace.session("data log")
    moments = timeline(session, workspace.project, name, limit)
    due = {
        subject.name: next_due(session, subject, line)
        for subject, line in scheduled(workspace.project).items()
    }.get(name)
    if as_json:
        render.as_json("data log", {"moments": moments, "due": due})
        return
    names = ("at", "actor", "what", "made", "rows", "bad", "took_ms", "detail")
    render.table(names, [[getattr(moment, each) for each in names] for moment in moments])
    if due is not None:
        click.echo(f"due next: {due}")


@data.command("quarantine")
@click.argument("source")
@rows_option
@json_option
@project_command
def quarantine(workspace: Workspace, source: str, rows: int, as_json: bool) -> None:
    """The rows of a source that broke its contract, with every reason.

    Example: colonnade data quarantine flights
    """
    session = workspace.session("data quarantine")
    name = QUARANTINE + source
    newest = session.newest("table", name)
    if newest is None:
        session.version(Ref("table", source))  # a source without bad rows is there all the same
    bad = pl.DataFrame() if newest is None else session.scan(newest.ref).collect()
    if as_json:
        render.as_json("data quarantine", bad.head(rows).to_dicts())
        return
    shown = f"; the first {rows}, rows counted from 0" if bad.height > rows else ""
    click.echo(f"{source}: {bad.height:,} rows in quarantine{shown}")
    for row in bad.head(rows).iter_rows(named=True):
        click.echo(f"{row['file']} row {row['row']}: {', '.join(row['reasons'])}")
        click.echo(f"  {row['cells']}")
