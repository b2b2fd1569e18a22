"""``data quarantine`` and ``data release``: bad rows, and stopped batches, on their way on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

import click
import polars as pl

from colonnade.base.errors import NotFoundError, UsageError
from colonnade.base.text import closest
from colonnade.cli import render
from colonnade.cli.render import json_option, project_command, rows_option
from colonnade.data import mend as mending
from colonnade.data import quarantine as place
from colonnade.data import release as releasing
from colonnade.data import sheet
from colonnade.govern.session import Session
from colonnade.project import Source
from colonnade.records.ref import Ref
from colonnade.wiring import Workspace

P = ParamSpec("P")
R = TypeVar("R")


@click.group("quarantine")
def quarantine() -> None:
    """Rows that broke their contract: see, mend, try again, drop."""


def _choice(function: Callable[P, R]) -> Callable[P, R]:
    """The options that choose rows."""
    for option in (
        click.option("--batch", help="Only rows of this landing file (path, name or digest)."),
        click.option("--reason", help="Only rows with this reason, such as distance|minimum."),
        click.option("--row", "ids", multiple=True, help="Only the row with this id; repeatable."),
    ):
        function = option(function)
    return function


@quarantine.command("ls")
@json_option
@project_command
def ls(workspace: Workspace, as_json: bool) -> None:
    """How many rows of each source are open, mended, replayed, dropped, and why.

    Example: colonnade data quarantine ls
    """
    session = workspace.session("data quarantine ls")
    found = [place.summary(session, source) for source in place.sources(session)]
    if as_json:
        render.as_json("data quarantine ls", found)
        return
    rows = [
        (
            each.source, each.bad, each.open, each.mended, each.replayed, each.dropped,
            each.left_out, ", ".join(f"{name} {count}" for name, count in each.reasons.items()),
        )
        for each in found
    ]  # fmt: skip
    names = (
        "source", "bad", "open", "mended", "replayed", "dropped", "left out", "reasons of the open",
    )  # fmt: skip
    render.table(names, rows)


@quarantine.command("show")
@click.argument("source")
@_choice
@click.option("--all", "every", is_flag=True, help="Rows that are settled or left out, too.")
@rows_option
@json_option
@project_command
def show(
    workspace: Workspace, /, source: str, every: bool, rows: int, as_json: bool, **choice: object
) -> None:
    """The open rows of a source, with every reason.

    Example: colonnade data quarantine show flights --reason "distance|minimum"
    """
    found = _chosen(workspace.session("data quarantine show"), source, choice, every=every)
    if as_json:
        render.as_json("data quarantine show", found.head(rows).to_dicts())
        return
    shown = f"; the first {rows}" if found.height > rows else ""
    what = "rows in quarantine" if every else "open rows in quarantine"
    click.echo(f"{source}: {found.height:,} {what}, counted from 0{shown}")
    for row in found.head(rows).iter_rows(named=True):
        reasons = ", ".join(row["reasons"]) or "none left"
        click.echo(f"{row['id']}  {row['file']} row {row['row']}: {reasons}{_fate(row)}")
        click.echo(f"  {row['cells']}")


@quarantine.command("export")
@click.argument("source")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_choice
@json_option
@project_command
def export(
    workspace: Workspace, /, source: str, file: Path, as_json: bool, **choice: object
) -> None:
    """Write open rows to a file (.csv, .jsonl, .parquet) to mend there.

    Example: colonnade data quarantine export flights bad.csv
    """
    session = workspace.session("data quarantine export")
    found = _chosen(session, source, choice)
    sheet.export(session, found, file)
    if as_json:
        render.as_json("data quarantine export", {"file": str(file), "rows": found.height})
    else:
        click.echo(f"{found.height:,} rows in {file}")


@quarantine.command("mend")
@click.argument("source")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@_choice
@click.option("--set", "cells", multiple=True, metavar="COLUMN=VALUE", help="One cell, mended.")
@click.option("--because", help="Why, in words.")
@json_option
@project_command
def mend(
    workspace: Workspace,
    /,
    source: str,
    file: Path | None,
    as_json: bool,
    **options: object,
) -> int:
    """Try corrected rows through the contract; those that pass come in. Ends with 1 if one fails.

    Example: colonnade data quarantine mend flights bad.csv
    """
    session = workspace.session("data quarantine mend")
    cells, because = options.pop("cells"), options.pop("because")
    if (file is None) == (not cells):
        raise UsageError(
            "CN-USAGE-001",
            "colonnade data quarantine mend: give a FILE of corrected rows, or --set",
            "see: colonnade data quarantine mend --help",
        )
    made_from = []
    if file is not None:
        corrections: Mapping[str, Mapping[str, str | None]] = sheet.corrections(session, file)
        made_from = [f"file/{session.digest_of(file)}"]
    else:
        found = _chosen(session, source, options)
        corrections = dict.fromkeys(found["id"].to_list(), _cells(cells))
    why = None if because is None else str(because)
    tried = mending.mend(
        session,
        _declared(workspace, session, source),
        workspace.folder,
        corrections,
        made_from,
        why,
    )
    _tell("data quarantine mend", source, tried, "mended", as_json=as_json)
    return 1 if tried.failed else 0


@quarantine.command("replay")
@click.argument("source")
@_choice
@json_option
@project_command
def replay(workspace: Workspace, /, source: str, as_json: bool, **choice: object) -> None:
    """Try open rows again as they are: what passes the contract of now comes in.

    Example: colonnade data quarantine replay flights
    """
    session = workspace.session("data quarantine replay")
    found = _chosen(session, source, choice) if any(choice.values()) else None
    ids = None if found is None else found["id"].to_list()
    tried = mending.replay(session, _declared(workspace, session, source), workspace.folder, ids)
    _tell("data quarantine replay", source, tried, "replayed", as_json=as_json)


@quarantine.command("drop")
@click.argument("source")
@click.argument("rows", nargs=-1, required=True)
@click.option("--reason", required=True, help="Why, in words.")
@json_option
@project_command
def drop(
    workspace: Workspace, source: str, rows: Sequence[str], reason: str, as_json: bool
) -> None:
    """Say that rows, by their ids, will never come in.

    Example: colonnade data quarantine drop flights 3fa94b21c07d-17 --reason "a test of ours"
    """
    session = workspace.session("data quarantine drop")
    dropped = mending.drop(session, source, rows, reason)
    if as_json:
        render.as_json("data quarantine drop", {"dropped": dropped})
    else:
        click.echo(f"{source}: {dropped:,} rows dropped, {len(set(rows)) - dropped:,} were before")


@click.command("release")
@click.argument("source")
@click.option("--because", help="Why, in words.")
@json_option
@project_command
def release(workspace: Workspace, source: str, because: str | None, as_json: bool) -> None:
    """Let the next run take over a stopped batch: good rows in, bad ones to quarantine.

    Example: colonnade data release flights --because "a new airport"
    """
    entry = releasing.release(workspace.session("data release"), source, because)
    if as_json:
        render.as_json("data release", entry)
    else:
        files = len(entry.made_from)
        click.echo(f"{source}: {files:,} files may pass as they are; go on: colonnade run {source}")


def _chosen(
    session: Session, source: str, choice: Mapping[str, object], *, every: bool = False
) -> pl.DataFrame:
    found = place.rows(session, source)
    ids, reason, file = choice["ids"], choice["reason"], choice["batch"]
    found = place.chosen(
        found,
        ids=ids if isinstance(ids, tuple) else (),
        reason=None if reason is None else str(reason),
        file=None if file is None else str(file),
    )
    return found if every else found.filter(pl.col("state") == "open")


def _cells(words: object) -> dict[str, str | None]:
    cells: dict[str, str | None] = {}
    for word in words if isinstance(words, tuple) else ():
        name, equals, value = str(word).partition("=")
        if not equals or not name:
            raise UsageError(
                "CN-USAGE-001",
                "colonnade data quarantine mend: a --set is no COLUMN=VALUE",
                "write --set distance=1089; --set distance= for a missing value",
            )
        cells[name] = value or None
    return cells


def _fate(row: Mapping[str, object]) -> str:
    if row["state"] in ("open", "left out"):
        return "" if row["state"] == "open" else "; left out: its file is not in the table"
    became = f" into {row['became']}" if row["became"] else ""
    because = f" ({row['because']})" if row["because"] else ""
    return f"; {row['state']} by {row['by']} at {row['at']}{became}{because}"


def _tell(command: str, source: str, tried: mending.Tried, word: str, *, as_json: bool) -> None:
    if as_json:
        answer = {
            "passed": tried.passed,
            "failed": tried.failed,
            "before": tried.before,
            "unchanged": tried.unchanged,
            "version": tried.entry.ref.short,
        }
        render.as_json(command, json.loads(json.dumps(answer)))
        return
    click.echo(
        f"{source}: {len(tried.passed):,} rows {word}, {len(tried.failed):,} stay; "
        f"{tried.entry.ref.short}"
    )
    for count, what in (
        (len(tried.before), f"were {word} before"),
        (len(tried.unchanged), "came as they were, and are not mended"),
    ):
        if count:
            click.echo(f"  {count:,} {what}")
    for identifier, reasons in list(tried.failed.items())[:10]:
        click.echo(f"  {identifier}: {', '.join(reasons)}")


def _declared(workspace: Workspace, session: Session, name: str) -> Source:
    """The declaration of a source: its contract may be a class in the project."""
    session.version(Ref("table", name))
    known = workspace.project.sources
    if name not in known:
        raise NotFoundError(
            "CN-RUN-001",
            f"project {workspace.project.name} declares no source {name!r}",
            closest(name, known),
        )
    return known[name]
