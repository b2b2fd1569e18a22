"""``data contract``: what a contract says, and what a change of it breaks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import click

from colonnade.base.errors import NotFoundError
from colonnade.base.text import closest
from colonnade.cli import render
from colonnade.cli.render import json_option, project_command
from colonnade.data import bind, odcs
from colonnade.data.compare import Change, breaks, compare
from colonnade.data.document import text_of
from colonnade.govern.session import Session
from colonnade.lifecycle import impact
from colonnade.lifecycle.impact import Hit
from colonnade.project import Project
from colonnade.records.contract import Contract
from colonnade.records.ref import Ref, named
from colonnade.wiring import Workspace


@click.group()
def contract() -> None:
    """Contracts: what the rows of a source must be."""


@dataclass(frozen=True, slots=True)
class _Side:
    """One contract that was named; `owner` may differ between the two."""

    name: str
    contract: Contract
    names: tuple[str, ...]


@contract.command("show")
@click.argument("name")
@json_option
@project_command
def show(workspace: Workspace, name: str, as_json: bool) -> None:
    """The contract that binds a source, or a version of it, as a file.

    Example: colonnade data contract show flights@2
    """
    session = workspace.session("data contract show")
    entry = session.version(named("contract", name))
    bound = entry.read(Contract)
    document = bind.kept(session, bound)
    if as_json:
        answer = {"contract": entry.ref.short, "at": entry.at, "by": entry.actor}
        render.as_json("data contract show", {**answer, "document": document})
        return
    click.echo(f"# {entry.ref.short}: bound by {entry.actor} at {entry.at}")
    click.echo(text_of(document), nl=False)


@contract.command("diff")
@click.argument("before")
@click.argument("after")
@json_option
@project_command
def diff(workspace: Workspace, before: str, after: str, as_json: bool) -> int:
    """What changed from one contract to another; exit 1 where it breaks somebody.

    BEFORE and AFTER are files, or versions that are bound: NAME or NAME@VERSION.

    Example: colonnade data contract diff flights contracts/flights.yaml
    """
    session = workspace.session("data contract diff")
    old, new = _side(session, before), _side(session, after)
    changes = compare(old.contract, new.contract)
    breaking = breaks(changes)
    source = _source(workspace.project, old, new)
    columns = {change.column for change in changes if change.kind == "breaking"} - {None}
    found: tuple[Hit, ...] = ()
    if breaking and source is not None:
        found = impact.hits(session, workspace.project, source, [str(c) for c in columns])
    owners = [old.contract.owner, new.contract.owner, *(hit.owner for hit in found)]
    told = list(dict.fromkeys(owner for owner in owners if owner)) if breaking else []
    if as_json:
        answer = {"breaking": breaking, "source": source, "changes": changes}
        render.as_json("data contract diff", {**answer, "hits": found, "owners": told})
    else:
        _tell(changes, found, told, source)
    return 1 if breaking else 0


def _tell(
    changes: tuple[Change, ...], hits: tuple[Hit, ...], owners: list[str], source: str | None
) -> None:
    if not changes:
        click.echo("nothing that binds has changed")
        return
    for change in changes:
        of = f"{change.column}: " if change.column else ""
        click.secho(f"{change.kind}: {of}{change.words}", bold=change.kind == "breaking")
    counts = Counter(change.kind for change in changes)
    click.echo(f"{counts['breaking']} breaking, {counts['additive']} additive")
    if not counts["breaking"]:
        return
    if source is None:
        click.echo("hits nothing of this project: it declares no source of that name")
    for hit in hits:
        at = f" {hit.version}" if hit.version else " (not made yet)"
        names = f", names {', '.join(hit.columns)}" if hit.columns else ""
        click.echo(f"hits {hit.kind} {hit.name}:{at}{names}")
    click.echo(f"owners: {', '.join(owners) or 'none is stated'}")


def _side(session: Session, text: str) -> _Side:
    """A file, where there is one of this name; else a version in the ledger."""
    path = Path(text)
    if path.suffix in (".yaml", ".yml") or _is_file(path):
        loaded = odcs.load(path)
        return _Side(text, loaded.contract, (path.stem, *odcs.names_in(loaded)))
    ref = named("contract", text)
    known = session.names("contract")
    if ref.name not in known:
        raise NotFoundError(
            "CN-CONTRACT-013",
            f"{text!r} is neither a contract's file nor a contract that is bound",
            closest(ref.name, known),
        )
    entry = session.version(Ref("contract", ref.name, ref.version))
    return _Side(entry.ref.short, entry.read(Contract), (ref.name,))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # longer than a name may be
        return False


def _source(project: Project, old: _Side, new: _Side) -> str | None:
    """The source of this project that the two contracts are about."""
    names = (*old.names, *new.names)
    return next((name for name in names if name in project.sources), None)
