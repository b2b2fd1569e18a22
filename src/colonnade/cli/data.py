"""``data``: tables, their versions, quarantine."""

from __future__ import annotations

import click
import msgspec

from colonnade.cli import render
from colonnade.cli import table as upkeep
from colonnade.cli.contract import contract
from colonnade.cli.quarantine import quarantine, release
from colonnade.cli.render import json_option, limit_option, project_command
from colonnade.cli.show import show
from colonnade.data.online import look_up
from colonnade.lifecycle.schedule import next_due, scheduled
from colonnade.lifecycle.timeline import timeline
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion
from colonnade.wiring import Workspace


@click.group()
def data() -> None:
    """Tables, their versions and their bad rows."""


data.add_command(contract)


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


@data.command("online")
@click.argument("table")
@click.argument("key", nargs=-1, required=True)
@json_option
@project_command
def online(workspace: Workspace, table: str, key: tuple[str, ...], as_json: bool) -> None:
    """What an online table answers for a key now.

    Example: colonnade data online planes N14228
    """
    session = workspace.session("data online")
    row = look_up(session, workspace.project, table, key)
    if as_json:
        render.as_json("data online", msgspec.to_builtins(row))
    else:
        render.table(("column", "value"), list(row.items()))


data.add_command(quarantine)
data.add_command(show)
data.add_command(release)
for _command in upkeep.COMMANDS:
    data.add_command(_command)
