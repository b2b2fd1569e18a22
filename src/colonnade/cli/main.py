"""The entry point: one lazy group of commands, one way to fail.

A command's module is imported when the command is called: `colonnade --help` loads no engine.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Sequence
from typing import Final

import click

from colonnade.base import disk
from colonnade.base.errors import ColonnadeError, DefectError, UsageError
from colonnade.base.text import closest
from colonnade.cli.defect import save

# Before any engine is loaded: with two threads beside other work LightGBM and BLAS took ten times
# as long as with one. A user's own value wins.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

COMMANDS: Final = {  # command -> its module, and its line in the list of commands
    "init": ("start", "Make a new project that runs."),
    "run": ("flow", "Ingest, check, transform, fit, test; what is up to date is not done again."),
    "up": (
        "serving",
        "Everything on one machine: endpoints, flusher, a worker and the control server.",
    ),
    "serve": ("serving", "Answer requests."),
    "server": ("serving", "Take in pushed rows, over HTTP."),
    "worker": ("serving", "Carry out jobs: retraining that a report asked for."),
    "status": ("flow", "What is up to date, live, alarming."),
    "data": ("data", "Tables, their versions and their bad rows."),
    "runs": ("runs", "Runs: fitted models, their params, metrics and gates."),
    "model": ("model", "Model versions and what the endpoints answer with."),
    "predict": ("prediction", "Score every row of a file with a model version."),
    "label": ("prediction", "Take over late labels, by prediction id or by business key."),
    "report": ("prediction", "How an endpoint did in a window; then the action that follows."),
    "trace": ("trace", "Provenance, both ways."),
    "audit": ("audit", "The ledger: who did what, and whether it was changed since."),
    "doctor": ("doctor", "What would break, said before anything is written."),
    "access": ("access", "API keys and the root key."),
}


class Lazy(click.Group):
    """A group that imports a command's module when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in the order of the flow."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"colonnade.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="colonnade")
def colonnade() -> None:
    """Take a model from a laptop to production and keep it there.

    Example: colonnade init my_project
    """


def main(words: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code."""
    sys.exit(run(words))


def run(words: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code.

    0 done, 1 negative verdict, 2 usage, 3 refused by policy, 4 a dependency is unavailable,
    70 a defect of ours.
    """
    words = list(sys.argv[1:] if words is None else words)
    try:
        result = colonnade.main(words, prog_name="colonnade", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except SystemExit:  # the reader of a pipe went away
        raise
    except BaseException as error:  # noqa: BLE001 (the edge; a panic of an engine is no Exception)
        told = _told(error, words)
        _show(told, as_json="--json" in words)
        return told.exit_code
    return result if isinstance(result, int) else 0


def _told(error: BaseException, words: Sequence[str]) -> ColonnadeError:
    """What the user is told of an error: what is ours to say, or that it is a defect."""
    if isinstance(error, ColonnadeError):
        return error
    if isinstance(error, click.ClickException):
        return _usage(error)
    if isinstance(error, OSError) and error.strerror:
        return disk.refused(error)
    return DefectError(
        "CN-BUG-001",
        f"colonnade met something that it did not foresee ({type(error).__name__}); where is "
        f"written in {save(error, words)}",
        "it is a defect of colonnade: report it with that file, which holds none of your data",
    )


def _usage(error: click.ClickException) -> UsageError:
    """What click says of the words of a command, in our form."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context else "colonnade"
    fix = f"see: {path} --help"
    if isinstance(error, click.exceptions.NoSuchCommand) and context is not None:
        group = context.command
        known = group.list_commands(context) if isinstance(group, click.Group) else []
        fix = closest(error.command_name, known)
    return UsageError("CN-USAGE-001", f"{path}: {error.format_message()}", fix)


def _show(error: ColonnadeError, *, as_json: bool) -> None:
    if as_json:
        body = {"code": error.code, "message": error.message, "fix": error.fix}
        click.echo(json.dumps({"error": body}))
        return
    trace = getattr(error, "traceback", "")
    if trace:
        click.echo(_printable(trace.rstrip()), err=True)
    click.secho(_printable(f"{error.code}: {error.message}"), fg="red", err=True)
    click.echo(_printable(f"  fix: {error.fix}"), err=True)


def _printable(text: str) -> str:
    """The text without what would steer the terminal: a file may be called anything."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )
