"""What a request may say of a feature: the contract of the source that it comes from.

A feature comes unchanged from a source when the source's column has its name and its type, and
every value of it in training is one of the source's. Who computes a column under the name that it
came by has values that the source does not: no contract is asked of those.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from colonnade.govern.session import Session
from colonnade.records.contract import Column, Contract
from colonnade.records.entry import Entry
from colonnade.records.model import Admitted
from colonnade.records.ref import Ref, parse

_NUMBERS = ("integer", "number")


def admitted(session: Session, table: Entry, rows: pl.DataFrame) -> dict[str, Admitted]:
    """Column -> what the contract of its source admits, where it says anything.

    Args:
        session: whose actor may read the sources.
        table: the table version that is learnt from.
        rows: its rows.
    """
    found: dict[str, list[Admitted]] = {}
    for source, bound in _sources(session, table):
        said = {column.name: _says(bound.ref, column) for column in bound.read(Contract).columns}
        says = {name: each for name, each in said.items() if each and name in rows.columns}
        theirs = session.scan(source.ref, list(says)) if says else pl.LazyFrame()
        for name, each in says.items():
            if _same(rows[name], theirs.select(name)):
                found.setdefault(name, []).append(each)
    # Where two sources have such a column nobody knows which of them is meant.
    return {name: says[0] for name, says in found.items() if len(says) == 1}


def _sources(session: Session, table: Entry) -> Iterator[tuple[Entry, Entry]]:
    """The source versions that a table version is made from, each with its contract."""
    waiting, seen = [table], {table.subject}
    while waiting:
        entry = waiting.pop()
        contract = [ref for ref in entry.made_from if ref.startswith("contract/")]
        if contract:
            yield entry, session.version(parse(contract[0]))
            continue
        for ref in entry.made_from:
            if ref.startswith("table/") and ref not in seen:
                seen.add(ref)
                waiting.append(session.version(parse(ref)))


def _says(contract: Ref, column: Column) -> Admitted | None:
    """What the contract says of a column that a request can be asked.

    A pattern is not: the engine of the check needs time in proportion to a text, the one that
    reads requests may need for ever.
    """
    numeric = column.type in _NUMBERS
    says = Admitted(
        contract=contract.short,
        minimum=_number(column.minimum) if numeric else None,
        maximum=_number(column.maximum) if numeric else None,
        min_length=column.min_length,
        max_length=column.max_length,
        values=tuple(str(value) for value in column.enum) if column.type == "string" else (),
    )
    return None if says == Admitted(contract=contract.short) else says


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _same(ours: pl.Series, theirs: pl.LazyFrame) -> bool:
    """Whether all our values are among theirs, in the same type."""
    if theirs.collect_schema()[ours.name] != ours.dtype:
        return False
    values = ours.drop_nulls().unique().to_frame().lazy()
    return values.join(theirs.unique(), on=ours.name, how="anti").collect().is_empty()
