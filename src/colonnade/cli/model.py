"""``model``: versions, what is live, promotion and roll-back."""

from __future__ import annotations

import click

from colonnade.base.errors import NotFoundError
from colonnade.base.text import closest
from colonnade.cli import render
from colonnade.cli.render import json_option, project_command
from colonnade.cli.trace import tell
from colonnade.govern.models import open_version
from colonnade.govern.session import Session
from colonnade.lifecycle import promote as promotion
from colonnade.lifecycle.trace import backwards
from colonnade.project import Project
from colonnade.records import canonical
from colonnade.records.model import ModelVersion
from colonnade.records.ref import Ref, named
from colonnade.wiring import Workspace


@click.group()
def model() -> None:
    """Model versions and what the endpoints answer with."""


@model.command("ls")
@json_option
@project_command
def ls(workspace: Workspace, as_json: bool) -> None:
    """Every model version.

    Example: colonnade model ls
    """
    session = workspace.session("model ls")
    live = _live(session)
    rows = []
    for entry in session.entries(kind="model", verb="register"):
        version = entry.read(ModelVersion)
        where = ", ".join(e for e, short in live.items() if short == entry.ref.short)
        rows.append((entry.ref.short, where, version.digest[:16], version.run, entry.at))
    names = ("version", "live", "digest", "run", "at")
    if as_json:
        render.as_json("model ls", [dict(zip(names, row, strict=True)) for row in rows])
    else:
        render.table(names, rows)


@model.command("show")
@click.argument("version")
@json_option
@project_command
def show(workspace: Workspace, version: str, as_json: bool) -> None:
    """One version: verified over its bytes, its signature, its run, gates and tables.

    Example: colonnade model show late_departure@1
    """
    session = workspace.session("model show")
    entry = session.version(named("model", version))
    predictor = open_version(session, entry)
    made = backwards(session, entry)
    if as_json:
        signature = canonical.plain(predictor.signature)
        render.as_json("model show", {"verified": True, "signature": signature, **made})
        return
    click.echo(f"{entry.ref.short}: its bytes are what was signed")
    for feature in predictor.signature.features:
        known = f"{len(feature.categories)} categories" if feature.categories else ""
        seen = known or f"{feature.low} to {feature.high} in training"
        click.echo(f"  {feature.name} ({feature.kind}): {seen}")
    tell({"then": made})


@model.command("promote")
@click.argument("version")
@click.option("--endpoint", help="Default: the endpoint that the project deploys the model to.")
@click.option("--reason", default="promoted by hand", show_default=True)
@json_option
@project_command
def promote(
    workspace: Workspace, version: str, endpoint: str | None, reason: str, as_json: bool
) -> None:
    """Answer with a version from now on.

    Example: colonnade model promote late_departure@2 --reason "better on rainy days"
    """
    session = workspace.session("model promote")
    entry = session.version(named("model", version))
    open_version(session, entry)  # what is not what was signed is not promoted
    name = _endpoint(workspace.project, entry.ref.name, endpoint)
    made = promotion.promote(session, name, entry, reason)
    _say(as_json, "model promote", made.ref, entry.ref.short)


@model.command("rollback")
@click.argument("endpoint")
@click.option("--reason", default="rolled back by hand", show_default=True)
@json_option
@project_command
def rollback(workspace: Workspace, endpoint: str, reason: str, as_json: bool) -> None:
    """Answer with the version before the live one again.

    Example: colonnade model rollback late_departure
    """
    session = workspace.session("model rollback")
    known = session.names("deployment")
    if endpoint not in known:
        raise NotFoundError(
            "CN-DEPLOY-003",
            f"no endpoint {endpoint!r} has ever answered with a model",
            closest(endpoint, known),
        )
    made = promotion.rollback(session, endpoint, reason)
    _say(as_json, "model rollback", made.ref, str(made.body["model"]))


def _say(as_json: bool, command: str, deployment: Ref, version: str) -> None:
    if as_json:
        render.as_json(command, {"deployment": deployment.short, "model": version})
    else:
        click.echo(f"{deployment.name} answers with {version} ({deployment.short})")


def _live(session: Session) -> dict[str, str]:
    names = session.names("deployment")
    found = {name: promotion.live(session, name) for name in names}
    return {name: deployment.model for name, deployment in found.items() if deployment}


def _endpoint(project: Project, model_name: str, wanted: str | None) -> str:
    """The endpoint that was named, or the one that the project deploys the model to."""
    if wanted is not None and wanted not in project.endpoints:
        raise NotFoundError(
            "CN-DEPLOY-003",
            f"project {project.name} declares no endpoint {wanted!r}",
            closest(wanted, project.endpoints),
        )
    found = [e.name for e in project.endpoints.values() if e.model == model_name]
    if wanted is None and not found:
        raise NotFoundError(
            "CN-DEPLOY-002",
            f"the project deploys no model {model_name}; {closest(model_name, project.endpoints)}",
            "declare project.deploy(...), or name the endpoint with --endpoint",
        )
    return wanted or found[0]
