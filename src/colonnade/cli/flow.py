"""``run`` and ``status``."""

from __future__ import annotations

from typing import cast

import click

from colonnade.cli import render
from colonnade.cli.render import json_option, project_command
from colonnade.lifecycle import pipeline
from colonnade.lifecycle import status as overview
from colonnade.lifecycle.pipeline import Step
from colonnade.records.canonical import Json
from colonnade.wiring import Workspace

_AFTER_GATES = (
    "what was live stays live. Give the model better columns or more rows, or set the gate in "
    "project.py to what you can live with, then: colonnade run"
)
_COLOURS = {"done": "green", "up to date": "bright_black", "left": "yellow", "rejected": "red"}


@click.command()
@click.argument("names", nargs=-1)
@click.option("--why", is_flag=True, help="Say what differed from the last time.")
@click.option("--from", "first", metavar="MONTH", help="Make a table from this month or day on.")
@click.option("--to", "last", metavar="MONTH", help="Up to this one, with it; the same, if none.")
@json_option
@project_command
def run(
    workspace: Workspace,
    names: tuple[str, ...],
    why: bool,
    first: str | None,
    last: str | None,
    as_json: bool,
) -> int:
    """Ingest, check, transform, fit, test; what is up to date is not done again.

    NAMES are sources, tables or models; none means all. With --from, one table is made month by
    month or day by day, each a version of its own.

    Example: colonnade run departures --from 2013-01 --to 2013-03
    """

    def say(step: Step) -> None:
        if as_json:
            return
        state = click.style(f"{step.state:<10}", fg=_COLOURS[step.state])
        click.echo(f"{state} {step.kind:<8} {step.made or step.name:<28} {step.detail}")
        for reason in step.why if why else ():
            click.echo(f"{'':>10} {'':<8} because {reason}")

    session = workspace.session("run")
    project, folder = workspace.project, workspace.folder
    if first is None and last is None:
        steps = pipeline.run(session, project, folder, names, say)
    elif len(names) != 1 or first is None:
        raise click.UsageError(
            "--from and --to are for one table: colonnade run TABLE --from 2013-01"
        )
    else:
        steps = pipeline.backfill(session, project, folder, names[0], (first, last or first), say)
    rejected = [step.name for step in steps if step.state == "rejected"]
    if as_json:
        render.as_json("run", steps)
    elif rejected:
        click.echo(f"  fix: {', '.join(rejected)} did not pass; {_AFTER_GATES}", err=True)
    return 1 if rejected else 0


@click.command()
@json_option
@project_command
def status(workspace: Workspace, as_json: bool) -> None:
    """What is up to date, live, alarming.

    Example: colonnade status
    """
    found = overview.status(workspace.session("status"), workspace.project, workspace.folder)
    if as_json:
        render.as_json("status", found)
        return
    examples = {
        name: body.pop("example")
        for name, body in cast("dict[str, dict[str, Json]]", found["endpoints"]).items()
    }
    render.tree(f"{workspace.project.name}", found)
    for name, example in examples.items():
        if isinstance(example, dict):
            click.echo(render.curl(workspace.settings.serving, name, example))
