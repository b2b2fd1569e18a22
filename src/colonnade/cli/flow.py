"""``run`` and ``status``."""

from __future__ import annotations

import click

from colonnade.cli import render
from colonnade.cli.render import json_option, project_command
from colonnade.lifecycle import pipeline
from colonnade.lifecycle import status as overview
from colonnade.lifecycle.pipeline import Step
from colonnade.wiring import Workspace

_COLOURS = {"done": "green", "up to date": "bright_black", "left": "yellow", "rejected": "red"}


@click.command()
@click.argument("names", nargs=-1)
@click.option("--why", is_flag=True, help="Say what differed from the last time.")
@json_option
@project_command
def run(workspace: Workspace, names: tuple[str, ...], why: bool, as_json: bool) -> int:
    """Ingest, check, transform, fit, test; what is up to date is not done again.

    NAMES are sources, tables or models; none means all.

    Example: colonnade run --why
    """

    def say(step: Step) -> None:
        if as_json:
            return
        state = click.style(f"{step.state:<10}", fg=_COLOURS[step.state])
        click.echo(f"{state} {step.kind:<8} {step.made or step.name:<28} {step.detail}")
        for reason in step.why if why else ():
            click.echo(f"{'':>10} {'':<8} because {reason}")

    session = workspace.session("run")
    steps = pipeline.run(session, workspace.project, workspace.folder, names, say)
    if as_json:
        render.as_json("run", steps)
    return 1 if any(step.state == "rejected" for step in steps) else 0


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
    render.tree(f"{workspace.project.name}", found)
