"""How answers look: JSON for programs, tables and trees for people."""

from __future__ import annotations

import functools
import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import click
from rich.console import Console
from rich.tree import Tree

from colonnade.records import canonical
from colonnade.records.canonical import Json
from colonnade.wiring import ServingSettings, Workspace, open_workspace, unknown_variables

WIDE = 10_000  # what is piped is not cut
MANY = 1_000_000  # lines that anybody may want to see
SHAPE = 1  # grows when the shape of a --json answer changes incompatibly

P = ParamSpec("P")
R = TypeVar("R")


def folder_option(text: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """The option ``--project``, with its line of help."""
    kind = click.Path(path_type=Path, file_okay=False)
    return click.option(
        "--project", "folder", type=kind, default=Path(), envvar="COLONNADE_FOLDER", help=text
    )


def project_command(
    function: Callable[Concatenate[Workspace, P], R],
) -> Callable[P, R]:
    """Give a command the opened project of ``--project`` (default: this folder)."""

    @folder_option("Folder of the project; default: this one.")
    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> R:
        folder = kwargs.pop("folder")
        for variable, hint in unknown_variables(os.environ).items():
            click.echo(f"note: {variable} names no setting; {hint}", err=True)
        with open_workspace(Path(str(folder)), lambda key: first_key(key, err=True)) as workspace:
            return function(workspace, *args, **kwargs)

    return command


def json_option(function: Callable[P, R]) -> Callable[P, R]:
    """The option ``--json``."""
    option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
    return option(function)


def rows_option(function: Callable[P, R]) -> Callable[P, R]:
    """The option ``--rows``."""
    return click.option(
        "--rows",
        type=click.IntRange(0, MANY),
        default=10,
        show_default=True,
        help="How many rows to print.",
    )(function)


def limit_option(default: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """The option ``--limit``."""
    return click.option("--limit", type=click.IntRange(1, MANY), default=default, show_default=True)


def first_key(key: str, *, err: bool = False) -> None:
    """Show the administrator's key, the one time that it can be."""
    click.echo(f"The administrator's API key, shown this once: {key}", err=err)


def curl(settings: ServingSettings, endpoint: str, example: Mapping[str, object]) -> str:
    """A request to paste: it waits for a server that is just starting."""
    host = "localhost" if settings.host in ("127.0.0.1", "0.0.0.0") else settings.host  # noqa: S104
    body = json.dumps({"rows": [example]}, ensure_ascii=False)
    return (
        'curl -sS --retry 9 --retry-connrefused -H "x-api-key: $KEY" \\\n'
        f"    {host}:{settings.port}/v1/endpoints/{endpoint}/predict \\\n"
        f"    -d {shlex.quote(body)}"
    )


def as_json(command: str, body: object) -> None:
    """Print an answer for programs."""
    click.echo(json.dumps({"shape": SHAPE, "command": command, "answer": canonical.plain(body)}))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under headings; nothing is cut, so that an id can be copied."""
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *texts, strict=True)]
    for place, row in enumerate([list(columns), *texts]):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.secho(line.rstrip(), bold=place == 0)


def tree(title: str, body: Mapping[str, Json]) -> None:
    """Print nested values as a tree."""
    root = Tree(f"[bold]{title}")
    _grow(root, dict(body))
    Console(width=None if sys.stdout.isatty() else WIDE).print(root, soft_wrap=True)


def _grow(branch: Tree, body: Json) -> None:
    if isinstance(body, dict):
        for name, value in body.items():
            _leaf(branch, name, value)
    elif isinstance(body, list):
        for place, value in enumerate(body, start=1):
            _leaf(branch, str(place), value)


def _leaf(branch: Tree, name: str, value: Json) -> None:
    if isinstance(value, dict | list) and value:
        _grow(branch.add(f"[cyan]{name}"), value)
    else:
        text = "none recorded" if value in (None, [], {}) else str(value)
        branch.add(f"[cyan]{name}[/] {_escaped(text)}")


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")
