"""``access``: API keys and the root key."""

from __future__ import annotations

import click

from colonnade.cli import render
from colonnade.cli.render import json_option, project_command
from colonnade.govern import access as doors
from colonnade.wiring import Workspace


@click.group()
def access() -> None:
    """Who may come in."""


@access.command("who")
@json_option
@project_command
def who(workspace: Workspace, as_json: bool) -> None:
    """Every actor, its roles, and the ids of its API keys that open.

    Example: colonnade access who
    """
    found = doors.who(workspace.session("access who"), workspace.stores)
    rows = [(actor.name, sorted(actor.roles), keys) for actor, keys in found]
    if as_json:
        names = ("actor", "roles", "keys")
        render.as_json("access who", [dict(zip(names, row, strict=True)) for row in rows])
    else:
        texts = [(name, ", ".join(roles), ", ".join(keys)) for name, roles, keys in rows]
        render.table(("actor", "roles", "keys"), texts)


@access.command("key")
@click.argument("actor", default="admin")
@json_option
@project_command
def key(workspace: Workspace, actor: str, as_json: bool) -> None:
    """Make an API key for an actor; its text is shown this once.

    Example: colonnade access key admin
    """
    made = doors.add_key(workspace.session("access key"), workspace.stores, actor)
    if as_json:
        render.as_json("access key", {"id": made[0], "key": made[1]})
    else:
        click.echo(f"{made[1]}\n  id {made[0]}, actor {actor}")


@access.command("revoke")
@click.argument("key")
@json_option
@project_command
def revoke(workspace: Workspace, key: str, as_json: bool) -> None:
    """Shut an API key out, by its id; running endpoints follow within seconds.

    Example: colonnade access revoke 01a204d7-7ab1-7066-89d8-55a238e1cfc8
    """
    doors.revoke_key(workspace.session("access revoke"), workspace.stores, key)
    if as_json:
        render.as_json("access revoke", {"id": key})
    else:
        click.echo(f"{key} opens nothing any more")


@access.command("rotate")
@json_option
@project_command
def rotate(workspace: Workspace, as_json: bool) -> None:
    """Sign and encrypt with a new root key from now on; old bytes stay readable.

    Example: colonnade access rotate
    """
    key_id = doors.rotate_root(workspace.session("access rotate"), workspace.stores)
    if as_json:
        render.as_json("access rotate", {"key": key_id})
    else:
        click.echo(f"root key {key_id} signs and encrypts from now on")
