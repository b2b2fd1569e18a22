"""``doctor``: what would break, before anything is written."""

from __future__ import annotations

from pathlib import Path

import click

from colonnade.cli import render
from colonnade.cli.render import folder_option, json_option
from colonnade.lifecycle.doctor import examine
from colonnade.records.finding import Finding
from colonnade.wiring import places

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red", "untried": "bright_black"}


@click.command()
@folder_option("Folder of a project, or where one is to be; default: this one.")
@json_option
def doctor(folder: Path, as_json: bool) -> int:
    """Say what would break: file system, locks, SQLite, disk, clock, keys, ledger, spool, port.

    Each thing is tried, in files that are gone again afterwards; nothing of a project is changed.
    The exit code is 1 when there is a problem; warnings are not counted.

    Example: colonnade doctor
    """
    findings: list[Finding] = []
    for finding in examine(folder, places):
        findings.append(finding)
        if not as_json:
            _say(finding)
    problems = [finding for finding in findings if finding.state == "problem"]
    if as_json:
        render.as_json("doctor", findings)
    elif problems:
        click.echo(f"{len(problems)} of {len(findings)} would break", err=True)
    return 1 if problems else 0


def _say(finding: Finding) -> None:
    state = click.style(f"{finding.state:<8}", fg=_COLOURS[finding.state])
    click.echo(f"{state} {finding.check:<12} {finding.found}")
    if finding.fix:
        click.echo(f"{'':<8} {'':<12} fix: {finding.fix}")
