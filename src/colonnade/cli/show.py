"""``data show``: a version's schema, quality and distributions, or how two differ."""

from __future__ import annotations

import click
import polars as pl

from colonnade.cli import render
from colonnade.cli.render import MANY, json_option, project_command
from colonnade.data.describe import ColumnLook, Difference, Look, Value, describe, differ
from colonnade.wiring import Workspace

_BARS = " ▁▂▃▄▅▆▇█"


@click.command("show")
@click.argument("table")
@click.option("--rows", type=click.IntRange(0, MANY), default=0, help="Rows to print below.")
@click.option(
    "--diff", nargs=2, metavar="V1 V2", help="Two versions of TABLE, or days: how V2 differs."
)
@json_option
@project_command
def show(
    workspace: Workspace, table: str, rows: int, diff: tuple[str, str] | None, as_json: bool
) -> None:
    """One version: how it was made, its columns, their quality and distributions.

    TABLE is a name, a version (departures@2), or what was the newest at the end of a day, UTC, or
    at an instant (departures@2013-05-01).

    Example: colonnade data show departures --diff 1 2
    """
    session = workspace.session("data show")
    if diff is not None:
        before, now = (session.find("table", f"{table}@{version}") for version in diff)
        found = differ(session, before, now)
        if as_json:
            render.as_json("data show", found)
        else:
            _difference(found)
        return
    entry = session.find("table", table)
    look = describe(session, entry)
    if as_json:
        render.as_json("data show", {"entry": entry, "look": look})
        return
    _look(look)
    if rows:
        with pl.Config(tbl_cols=-1, tbl_hide_dataframe_shape=True):
            click.echo(session.scan(entry.ref).head(rows).collect())


def _look(look: Look) -> None:
    click.echo(f"{look.version}: {look.rows:,} rows, by {look.actor} at {look.at}")
    if (quality := look.quality) is not None:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in quality.reasons.items())
        click.echo(
            f"landed with it: {quality.rows:,} rows, {quality.good:,} good, {quality.bad:,} bad "
            f"under {quality.contract}{f': {reasons}' if reasons else ''}"
        )
    columns = ("column", "type", "missing", "low", "mean", "high", "distribution")
    render.table(columns, [_row(column) for column in look.columns])


def _row(column: ColumnLook) -> tuple[object, ...]:
    return (
        column.name,
        column.type,
        _share(column.missing),
        _text(column.low),
        _text(column.mean),
        _text(column.high),
        _words(column.words) if column.words is not None else _bars(column.shares),
    )


def _difference(found: Difference) -> None:
    before, now = found.rows
    click.echo(f"{found.before}: {before:,} rows; {found.now}: {now:,} rows ({now - before:+,})")
    columns = ("column", "type", "change", "missing", "mean", "ks", "total variation")
    render.table(
        columns,
        [
            (
                column.name,
                column.type,
                column.change,
                _pair(*map(_share, column.missing)),
                _pair(*map(_text, column.mean)),
                _decimals(column.ks),
                _decimals(column.total_variation),
            )
            for column in found.columns
        ],
    )


def _pair(before: str, now: str) -> str:
    return before if before == now else f"{before} -> {now}"


def _bars(shares: tuple[float, ...]) -> str:
    """Rows per stretch, the fullest as a whole block; what is not empty is seen."""
    most = max(shares, default=0)
    steps = len(_BARS) - 1
    return "".join(_BARS[max(int(share > 0), round(share / most * steps))] for share in shares)


def _words(words: dict[str, float]) -> str:
    return ", ".join(f"{word[:20]} {share:.0%}" for word, share in words.items())


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _text(value: Value) -> str:
    return f"{value:,.6g}" if isinstance(value, float) else value or ""


def _decimals(number: float | None) -> str:
    return "" if number is None else f"{number:.3f}"
