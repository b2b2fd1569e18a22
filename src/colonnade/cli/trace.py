"""``trace``: where a thing came from, and what came of it."""

from __future__ import annotations

import click

from colonnade.cli import render
from colonnade.cli.render import json_option, project_command
from colonnade.lifecycle import trace as tracing
from colonnade.wiring import Workspace


@click.command()
@click.argument("what")
@json_option
@project_command
def trace(workspace: Workspace, what: str, as_json: bool) -> None:
    """Provenance, both ways.

    WHAT is a prediction, run, action or entry by its id, a table, model, deployment or report as
    name@version, or a landing file by its path or SHA-256.

    Example: colonnade trace late_departure@1
    """
    found = tracing.trace(workspace.session("trace"), what, workspace.folder)
    if as_json:
        render.as_json("trace", found)
    else:
        render.tree(what, found)
