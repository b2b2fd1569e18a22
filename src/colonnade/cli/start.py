"""``init``: a new project that runs, blank or of an own file."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final

import click

from colonnade.base.errors import UsageError
from colonnade.base.text import NAME
from colonnade.cli import render, template
from colonnade.lifecycle import starter
from colonnade.records.outline import Outline
from colonnade.wiring import SETTINGS, Workspace, create, open_data, open_workspace, there_already

COPY_BYTES: Final = 2**30
LANDING: Final = "landing"


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option("--name", help="Default: the folder's name.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="An own file (.csv, .jsonl, .xlsx, .parquet, …) to make the project of.",
)
@click.option("--label", metavar="COLUMN", help="The column of the file to predict.")
@click.option("--key", metavar="COLUMN", multiple=True, help="What tells its rows apart.")
@click.option("--time", metavar="COLUMN", help="When they happened.")
def init(
    folder: Path | None,
    name: str | None,
    data: Path | None,
    label: str | None,
    key: tuple[str, ...],
    time: str | None,
) -> None:
    """Make a new project: settings, a first project.py, keys and an administrator.

    One that was begun and not finished is carried on. With --data and --label it is a project of
    an own file: what its columns are good for is decided from all its rows and said. FOLDER is
    then called like the file if it is not given.

    Example: colonnade init --data credit.csv --label status
    """
    if data is None:
        if label or key or time:
            raise click.UsageError("--label, --key and --time speak of a file: give it with --data")
        if folder is None:
            raise click.UsageError("name the FOLDER of the project, or a file with --data")
        if folder == Path():
            raise click.BadParameter("name the folder: it may not be empty", param_hint="FOLDER")
        _blank(folder.resolve(), name)
    elif label is None:
        raise click.UsageError("--data needs --label: the column to predict")
    else:
        wishes = starter.Wishes(label=label, key=key, time=time)
        _of_file(folder, name, data.absolute(), wishes)


def _blank(folder: Path, name: str | None) -> None:
    name = _name_of(folder) if name is None else name
    if not (folder / SETTINGS).exists():
        create(folder, name, files={"project.py": template.BLANK.format(name=name)})
    (folder / LANDING).mkdir(exist_ok=True)
    with open_workspace(folder, render.first_key) as workspace:
        if workspace.first_key is None:
            raise there_already(folder)
        click.echo(f"project {workspace.settings.project.name} in {folder}")
    click.echo("next: put CSV files into landing/, adapt project.py, then: colonnade run")


def _of_file(folder: Path | None, name: str | None, data: Path, wishes: starter.Wishes) -> None:
    """Decide, then write: what is refused leaves nothing behind."""
    if data.is_file():
        _check_size(data)
    suffix, rows = open_data(data)
    called = template.slug(data.name.removesuffix(suffix), "data")
    where = Path(called) if folder is None else folder
    folder = where.resolve()
    if name is None:
        name = called if where == Path(called) else _name_of(folder)
    outline = starter.outline(data.name, rows, wishes)
    text = template.text(name, data.name, suffix, outline)
    if (folder / "project.py").exists() and (folder / "project.py").read_text() != text:
        raise UsageError(
            "CN-SETTINGS-003", f"{folder} has a project.py already", "choose another folder"
        )
    if not (folder / SETTINGS).exists():
        create(folder, name, files={"project.py": text, f"{LANDING}/{data.name}": data})
    with open_workspace(folder, render.first_key) as workspace:
        if workspace.first_key is None:
            raise there_already(folder)
        _say(workspace, data.name, outline)
        _say_next(workspace, where, outline)


def _check_size(data: Path) -> None:
    size = data.stat().st_size
    if size > COPY_BYTES:
        raise UsageError(
            "CN-INIT-005",
            f"{data.name} has {size / 2**30:.1f} GiB; a first file is copied and read as a whole, "
            f"so it may have {COPY_BYTES / 2**30:.0f} GiB at most",
            "begin with a part of its rows; later ones land beside it, file by file",
        )


def _say(workspace: Workspace, file: str, outline: Outline) -> None:
    """What was decided, a line each."""
    click.echo(f"project {workspace.settings.project.name} in {workspace.folder}")
    click.echo(f"  data      {outline.rows:,} rows of {file}, copied to {LANDING}/")
    kinds = f"{outline.task}: {', '.join(outline.classes[:8])}" if outline.classes else outline.task
    more = f" and {len(outline.classes) - 8} more" if len(outline.classes) > 8 else ""
    click.echo(f"  label     {outline.label} ({kinds}{more})")
    if outline.unlabelled:
        click.echo(f"            {outline.unlabelled:,} rows have none; they teach nothing")
    if outline.rare:
        rare = ", ".join(map(str, outline.rare[:5])) + (", …" if len(outline.rare) > 5 else "")
        click.echo(f"            rows with {rare} are left out: too few to learn from")
    how = "the newest fifth" if outline.time else "a random fifth"
    click.echo(f"  key       {', '.join(outline.key) or 'none'}: {outline.why_key}")
    click.echo(
        f"  time      {outline.time or 'none'}: {outline.why_time}; {how} of the rows judges"
    )
    click.echo(f"  features  {len(outline.features)}: {', '.join(outline.features)}")
    for column, reason in outline.left_out.items():
        click.echo(f"  left out  {column}: {reason}")
    click.echo("  All this stands in project.py: it is yours now, change what you know better.")


def _say_next(workspace: Workspace, where: Path, outline: Outline) -> None:
    click.echo("\nnext:\n")
    example = render.curl(
        workspace.settings.serving, template.model_name(outline), outline.features
    )
    for line in (
        f"cd {shlex.quote(str(where))}",
        f"export KEY={workspace.first_key}",
        "colonnade run",
        "colonnade up &",
        *example.splitlines(),
    ):
        click.echo(f"  {line}")


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
