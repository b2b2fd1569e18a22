"""``init``: a new project that runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import click

from colonnade.base.errors import UsageError
from colonnade.base.text import NAME
from colonnade.cli import render
from colonnade.wiring import create, open_workspace

_PROJECT: Final = '''"""What this project declares. `colonnade run` carries it out."""

from __future__ import annotations

import polars as pl
from sklearn.linear_model import LogisticRegression

import colonnade as co

project = co.Project("{name}")
project.source("rows", "landing/*.csv")


@project.table(key="id", time="at")
def examples(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows


@project.model(label="label", features=["x"], gates=["auc >= 0.60", "auc > champion"])
def {name}_model(examples: co.TrainingSet) -> LogisticRegression:
    return LogisticRegression().fit(examples.X, examples.y)


project.deploy({name}_model, retrain="auc < 0.60 or drift")
'''


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--name", help="Default: the folder's name.")
def init(folder: Path, name: str | None) -> None:
    """Make a new project: settings, a first project.py, keys and an administrator.

    Example: colonnade init my_project
    """
    if folder == Path():
        raise click.BadParameter("name the folder: it may not be empty", param_hint="FOLDER")
    folder = folder.resolve()
    name = _name_of(folder) if name is None else name
    create(folder, name)
    if not (folder / "project.py").exists():
        (folder / "project.py").write_text(_PROJECT.format(name=name))
    (folder / "landing").mkdir(exist_ok=True)
    with open_workspace(folder) as workspace:
        click.echo(f"project {name} in {folder}")
        if workspace.first_key is not None:
            click.echo(render.first_key(workspace.first_key))
    click.echo("next: put CSV files into landing/, adapt project.py, then: colonnade run")


def _name_of(folder: Path) -> str:
    """The name that a folder gives its project."""
    name = re.sub(r"[^a-z0-9_]", "_", folder.name.lower())
    if not NAME.fullmatch(name):
        raise UsageError(
            "CN-NAME-001",
            f"the folder's name {folder.name!r} gives no name for a project",
            "say it: --name NAME (a lower-case letter, then letters, digits and _; 63 at most)",
        )
    return name
