"""``audit``: the ledger's entries, and whether the chain holds."""

from __future__ import annotations

import click

from colonnade.cli import render
from colonnade.cli.render import json_option, limit_option, project_command
from colonnade.records.ref import KINDS, Ref
from colonnade.wiring import Workspace


@click.group()
def audit() -> None:
    """The ledger: who did what, and whether it was changed since."""


@audit.command("ls")
@limit_option(30)
@click.option("--kind", type=click.Choice(KINDS), help="Only entries about this kind of thing.")
@json_option
@project_command
def ls(workspace: Workspace, limit: int, kind: str | None, as_json: bool) -> None:
    """The newest entries first.

    Example: colonnade audit ls --kind deployment
    """
    session = workspace.session("audit ls")
    session.require("audit", Ref("project", "ledger"))
    entries = session.entries(kind=kind, limit=limit)
    if as_json:
        render.as_json("audit ls", entries)
        return
    rows = [(e.seq, e.at, e.actor, e.verb, e.subject, e.id) for e in entries]
    render.table(("seq", "at", "actor", "verb", "subject", "entry"), rows)


@audit.command("verify")
@json_option
@project_command
def verify(workspace: Workspace, as_json: bool) -> int:
    """Compute every hash, link, root and signature again; exit 1 where one does not hold.

    Example: colonnade audit verify
    """
    verdict = workspace.verify()
    if as_json:
        render.as_json("audit verify", verdict)
    else:
        for problem in verdict.problems:
            click.secho(problem, fg="red")
        outcome = "the chain holds" if verdict.holds else "the chain is broken"
        click.echo(
            f"{outcome}: {verdict.sealed:,} sealed entries, {verdict.unsealed:,} unsealed, "
            f"{verdict.heads:,} signed heads"
        )
    return 0 if verdict.holds else 1
