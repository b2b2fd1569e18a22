"""``predict``, ``label`` and ``report``: batch predictions, late labels, what became of both."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import click

from colonnade.base.errors import NotFoundError
from colonnade.base.text import closest
from colonnade.cli import render
from colonnade.cli.render import json_option, project_command
from colonnade.data.label import take_labels
from colonnade.govern.models import open_version
from colonnade.lifecycle import pipeline, promote, retrain
from colonnade.lifecycle import predict as batch
from colonnade.monitor import join, watch
from colonnade.project import Endpoint
from colonnade.records.action import Action
from colonnade.records.entry import Entry
from colonnade.records.ref import Ref, named, parse
from colonnade.records.report import Report
from colonnade.wiring import Workspace

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False, resolve_path=True)


@click.command()
@click.argument("model")
@click.option("--in", "source", type=_FILE, required=True, help="CSV or Parquet.")
@click.option(
    "--out",
    "target",
    type=click.Path(path_type=Path, dir_okay=False, resolve_path=True),
    required=True,
    help="CSV or Parquet; written whole or not at all.",
)
@json_option
@project_command
def predict(workspace: Workspace, model: str, source: Path, target: Path, as_json: bool) -> None:
    """Score every row of a file with a model version (default: the one that is live).

    Example: colonnade predict late_departure@1 --in flights.csv --out scored.csv
    """
    session = workspace.session("predict")
    ref = named("model", model)
    declared = workspace.project.models.get(ref.name)
    endpoint = (pipeline.endpoint_of(workspace.project, declared) if declared else None) or ref.name
    live = promote.live(session, endpoint) if ref.version is None else None
    version = session.version(ref if live is None else parse(f"model/{live.model}"))
    done = batch.predict(session, endpoint, version, source, target)
    if as_json:
        render.as_json("predict", done)
        return
    how = "scored" if done.done else "scored before, written out again"
    click.echo(
        f"{done.rows:,} rows {how} with {version.ref.short} into {target} "
        f"({done.table}, first prediction {done.first_id})"
    )


@click.command()
@click.argument("endpoint")
@click.argument("file", type=_FILE)
@json_option
@project_command
def label(workspace: Workspace, endpoint: str, file: Path, as_json: bool) -> None:
    """Take over late labels, by prediction id or by business key.

    Example: colonnade label late_departure landing/outcomes-2013-04.csv
    """
    declared = _endpoint(workspace, endpoint)
    session = workspace.session("label")
    version = promote.champion(session, endpoint) or session.version(Ref("model", declared.model))
    column = workspace.project.models[declared.model].label
    signature = open_version(session, version).signature
    taken = take_labels(session, endpoint, signature, column, file)
    table = taken.entry.ref
    met = join.met(session, endpoint, table, taken.digest)
    if as_json:
        answer = {"table": table.short, "rows": taken.rows, "done": taken.done, "met": met}
        render.as_json("label", answer)
        return
    if taken.done:
        click.echo(f"{taken.rows:,} labels taken over ({table.short})")
    else:
        click.echo(f"{file.name} was taken over before; nothing to do ({table.short})")
    click.echo(f"  {met:,} of them belong to a prediction of {endpoint} that is known by now")


@click.command()
@click.argument("endpoint")
@click.option("--window", required=True, help="2013-04, or 2013-04-01..2013-04-08.")
@click.option("--act/--no-act", default=True, help="Ask the endpoint's trigger and act on it.")
@json_option
@project_command
def report(workspace: Workspace, endpoint: str, window: str, act: bool, as_json: bool) -> None:
    """How an endpoint did in a window of event time; then the action that follows.

    On the same predictions and labels it is the same report; an action that was not carried out
    is carried on.

    Example: colonnade report late_departure --window 2013-04
    """
    declared = _endpoint(workspace, endpoint)
    session = workspace.session("report")
    made = watch.report(session, endpoint, watch.window_of(window))
    actions = []
    if act:
        table = workspace.project.models[declared.model].table
        actions.append(retrain.decide(session, declared, table, made))
        while concluded := retrain.work(session, workspace.project, workspace.folder):
            actions.append(concluded)
    if as_json:
        render.as_json("report", {"report": made, "actions": actions})
        return
    _show(made, actions)


def _show(made: Entry, actions: list[Entry]) -> None:
    found = made.read(Report)
    coverage = "" if found.coverage is None else f" ({found.coverage:.1%})"
    click.echo(
        f"{made.ref.short}: {found.predictions:,} predictions, "
        f"{found.labelled:,} labelled{coverage}"
    )
    for version in found.versions:
        for name, estimate in version.metrics.items():
            body = cast("dict[str, float | None]", estimate)
            if body["value"] is not None:
                low, high = body["low"], body["high"]
                click.echo(
                    f"  {version.model:<24} {name} {body['value']:.4f} [{low:.4f}, {high:.4f}]"
                )
    for name, estimate in found.metrics.items():
        reason = cast("dict[str, str]", estimate).get("reason")
        if reason:
            click.echo(f"  {name} is not known: {reason}")
    if found.unscored:
        click.echo(f"  {found.unscored:,} predictions were answered with null and judge nothing")
    click.echo(f"  drift: {', '.join(found.alarms) or 'none'}")
    for entry in actions:
        action = entry.read(Action)
        click.echo(f"  {action.action}: {action.reason}")


def _endpoint(workspace: Workspace, name: str) -> Endpoint:
    endpoints = workspace.project.endpoints
    if name not in endpoints:
        raise NotFoundError(
            "CN-DEPLOY-003",
            f"project {workspace.project.name} declares no endpoint {name!r}",
            closest(name, endpoints),
        )
    return endpoints[name]
