"""``data versions``, ``files``, ``compact``, ``vacuum``, ``hold`` and ``lift``: upkeep."""

from __future__ import annotations

from typing import Final

import click

from colonnade.cli import render
from colonnade.cli.render import json_option, project_command
from colonnade.lifecycle import upkeep
from colonnade.records.canonical import Json, plain
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion
from colonnade.wiring import Workspace


@click.command("versions")
@click.argument("table")
@json_option
@project_command
def versions(workspace: Workspace, table: str, as_json: bool) -> None:
    """All versions of a table: which rows came how, and which were removed.

    Example: colonnade data versions departures
    """
    session = workspace.session("data versions")
    session.version(Ref("table", table))
    gone = session.removed(table)
    rows: list[tuple[object, ...]] = []
    for entry in session.versions(table):
        version = entry.read(TableVersion)
        state = "removed" if entry.ref.version in gone else "there"
        made = (version.mode if entry.verb in ("write", "adopt") else entry.verb, version.rows)
        rows.append((entry.ref.short, *made, version.rows_added, state, entry.at, entry.id))
    names = ("version", "made", "rows", "came", "state", "at", "entry")
    if as_json:
        render.as_json("data versions", [dict(zip(names, row, strict=True)) for row in rows])
    else:
        render.table(names, rows)


@click.command("files")
@click.argument("table")
@json_option
@project_command
def files(workspace: Workspace, table: str, as_json: bool) -> None:
    """The Parquet files of a table version, for DuckDB and other programs.

    They hold these rows for as long as the version is there, whoever writes meanwhile.

    Example: colonnade data files departures@2
    """
    session = workspace.session("data files")
    entry = session.find("table", table)
    paths = [str(path.resolve()) for path in session.files(entry.ref)]
    if as_json:
        render.as_json("data files", {"version": entry.ref.short, "files": plain(paths)})
        return
    for path in paths:
        click.echo(path)


@click.command("compact")
@click.argument("tables", nargs=-1, metavar="[TABLE]...")
@json_option
@project_command
def compact(workspace: Workspace, tables: tuple[str, ...], as_json: bool) -> None:
    """Make few files of many small ones; versions and rows stay as they are.

    It also happens by itself with every fiftieth write.

    Example: colonnade data compact departures
    """
    session = workspace.session("data compact")
    names = tables or session.names("table")
    done = {name: upkeep.compact(session, name) is not None for name in names}
    if as_json:
        render.as_json("data compact", {name: {"compacted": made} for name, made in done.items()})
        return
    for name, made in done.items():
        click.echo(f"{name}: {'compacted' if made else 'its files are large enough already'}")


@click.command("vacuum")
@click.argument("tables", nargs=-1, metavar="[TABLE]...")
@click.option(
    "--retention",
    type=float,
    default=upkeep.RETENTION_DAYS,
    show_default=True,
    help="Days for which a version stays after it was the newest.",
)
@click.option("--full", is_flag=True, help="Also delete files that no version ever had.")
@click.option("--plan", is_flag=True, help="Only say what would be removed.")
@json_option
@project_command
def vacuum(
    workspace: Workspace,
    tables: tuple[str, ...],
    retention: float,
    full: bool,
    plan: bool,
    as_json: bool,
) -> None:
    """Remove old versions that nothing needs, and the files that only they had.

    Example: colonnade data vacuum departures --retention 30 --plan
    """
    session = workspace.session("data vacuum")
    done = [
        upkeep.vacuum(session, name, retention, full=full, plan=plan)
        for name in tables or session.names("table")
    ]
    if as_json:
        render.as_json("data vacuum", done)
        return
    for found in done:
        went = (
            "would be removed" if plan else f"removed, {found.files} files, {found.bytes:,} bytes"
        )
        click.echo(f"{found.table}: {len(found.removed)} versions {went}")
        for kept in found.kept:
            click.echo(f"  {kept.version} stays: {kept.why}")


@click.command("hold")
@click.argument("version")
@click.option("--why", "reason", required=True, help="Why it must stay.")
@json_option
@project_command
def hold(workspace: Workspace, version: str, reason: str, as_json: bool) -> None:
    """Keep a table version whatever the retention says, until the hold is lifted.

    Example: colonnade data hold departures@2 --why "audit of May"
    """
    _note(workspace, "hold", version, {"reason": reason}, as_json=as_json)


@click.command("lift")
@click.argument("version")
@json_option
@project_command
def lift(workspace: Workspace, version: str, as_json: bool) -> None:
    """Let a held version go when the retention says so.

    Example: colonnade data lift departures@2
    """
    _note(workspace, "lift", version, {}, as_json=as_json)


def _note(
    workspace: Workspace, verb: str, text: str, body: dict[str, Json], *, as_json: bool
) -> None:
    session = workspace.session(f"data {verb}")
    entry = session.find("table", text)
    session.files(entry.ref)  # what was removed cannot be held
    noted = session.record("write", verb, entry.ref, body)
    if as_json:
        render.as_json(f"data {verb}", noted)
    else:
        click.echo(f"{entry.ref.short}: {'held' if verb == 'hold' else 'held no more'}")


COMMANDS: Final = (versions, files, compact, vacuum, hold, lift)
