"""The contract that binds a source now: its file, proposed at first, widened where it says so.

What binds is a version in the ledger; the whole document of its file is a blob that the version
names, so that a description is kept and a person's name in it is in no entry.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from colonnade.base.errors import UsageError
from colonnade.base.text import closest
from colonnade.data import document, odcs, propose, schema, widen
from colonnade.data.arrive import Arrival
from colonnade.data.cells import DTYPES, logical
from colonnade.data.check import Known
from colonnade.data.document import Document
from colonnade.data.odcs import Loaded
from colonnade.data.read import proposal
from colonnade.govern.session import Session
from colonnade.project import Source
from colonnade.records.contract import Column, Contract, Reference
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion, WriteMode


@dataclass(frozen=True, slots=True)
class Bound:
    """A contract, the version of it that the ledger has, and its rules that are code."""

    contract: Contract
    ref: Ref
    coded: Mapping[str, pl.Expr] = field(default_factory=dict)


def bind(session: Session, source: Source, folder: Path, arrival: Arrival) -> Bound:
    """The contract that binds; the first time, one that is proposed from what is there.

    With ``drift: add`` a column that nobody named is added to the file before it binds: a kill
    in between leaves a file that the next call binds.

    Raises:
        UsageError: CN-CONTRACT-…, the file is no contract, or asks for what is not checked.
        RefusedError: CN-CONTRACT-003, a column is personal data.
    """
    path = folder / "contracts" / f"{source.name}.yaml"
    if source.contract is not None:
        return _bind_class(session, source, path)
    if not os.path.lexists(path):
        proposed = proposal(session, source.name, arrival.present)
        with session.new_file("write", path) as temporary:
            odcs.write(temporary, proposed)
    loaded = _load(path)
    if loaded.contract.drift == "add":
        loaded = _widened(session, path, loaded, arrival)
    return Bound(loaded.contract, _record(session, loaded.contract, loaded.document))


def bound(session: Session, source: Source, folder: Path) -> Bound:
    """The contract that binds a source whose rows were taken over before.

    Raises:
        UsageError: CN-CONTRACT-…, the file is no contract, or asks for what is not checked.
        RefusedError: CN-CONTRACT-003, a column is personal data.
    """
    path = folder / "contracts" / f"{source.name}.yaml"
    if source.contract is not None:
        return _bind_class(session, source, path)
    loaded = _load(path)
    return Bound(loaded.contract, _record(session, loaded.contract, loaded.document))


def _load(path: Path) -> Loaded:
    loaded = odcs.load(path)
    odcs.refuse_personal(path, loaded.contract)
    return loaded


def _bind_class(session: Session, source: Source, path: Path) -> Bound:
    """The contract that a class in the project states; there is no file beside it."""
    if os.path.lexists(path):
        raise UsageError(
            "CN-CONTRACT-014",
            f"source {source.name}: its declaration has contract=, and there is {path.name} too",
            f"keep one: delete contracts/{path.name}, or leave contract= out",
        )
    stated = schema.contract_of(source.name, source.contract)
    odcs.refuse_personal(Path(source.name), stated.contract)
    return Bound(stated.contract, _record(session, stated.contract, None), stated.coded)


def known(session: Session, bound: Bound, newest: TableVersion | None, mode: WriteMode) -> Known:
    """What a batch is checked against beside the contract.

    Args:
        session: whose actor may read the other tables.
        bound: the contract, with its references.
        newest: version of the table that the batch goes to.
        mode: how it goes there: rows that are replaced are no keys for those that come.

    Raises:
        UsageError: CN-CONTRACT-012, a table that is referred to cannot be compared with.
    """
    contract = bound.contract
    columns = {} if newest is None else newest.columns
    own = {} if mode == "replace" else columns
    found = [_keys(session, contract, reference, own) for reference in contract.references]
    return Known(
        keys=tuple(keys for _, keys in found),
        versions=tuple(dict.fromkeys(version for version, _ in found if version)),
        coded=bound.coded,
        absent=frozenset(c.name for c in contract.columns if c.added and c.name not in columns),
    )


def kept(session: Session, contract: Contract) -> Document:
    """All that the file of a bound contract said."""
    if contract.document is None:
        return document.document_of(contract)
    return document.from_bytes(session.blob(contract.document))


def _record(session: Session, contract: Contract, said: Document | None) -> Ref:
    """The version of the ledger: the newest, or a new one where something has changed."""
    newest = session.newest("contract", contract.name)
    if newest is not None and newest.read(Contract) == contract:
        return newest.ref
    if said is not None:
        session.put_blob(document.bytes_of(said))
    subject = Ref("contract", contract.name)
    with session.change("write", subject) as change:
        return change.version("bind", subject, lambda _: contract).ref


def _widened(session: Session, path: Path, loaded: Loaded, arrival: Arrival) -> Loaded:
    """The contract with the columns that the new files have and nobody named."""
    declared = {column.name.lower() for column in loaded.contract.columns}
    missing = loaded.contract.missing
    frames = [session.open_file(piece.path, missing) for piece in arrival.pieces]
    extra: dict[str, list[pl.LazyFrame]] = {}
    for frame in frames:
        for name in frame.collect_schema():
            if name.lower() not in declared:  # a table has no two columns that differ in case
                extra.setdefault(name, []).append(frame.select(name))
    columns = [column for name in extra if (column := _added(path.stem, extra[name]))]
    if not columns:
        return loaded
    text = widen.widened(path.read_text(encoding="utf-8-sig"), loaded, columns)
    with session.new_file("write", path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return odcs.load(path)


def _added(source: str, frames: Sequence[pl.LazyFrame]) -> Column | None:
    """The column as it is proposed; None where the files have no row to propose from."""
    try:
        proposed = propose.propose(source, frames)
    except UsageError as error:
        if error.code != "CN-CONTRACT-009":
            raise
        return None
    # A text for a missing value would be one in every column of the source.
    column = replace(proposed.columns[0], required=False, added=True)
    return replace(column, type="string") if proposed.missing else column


def _keys(
    session: Session, contract: Contract, reference: Reference, own: dict[str, str]
) -> tuple[str | None, pl.LazyFrame]:
    """The keys of the other table, in the names and types of the columns that refer to them.

    Returns:
        The version that has them, and the keys.
    """
    kinds = {column.name: DTYPES[column.type] for column in contract.columns}
    types = {name: kinds[name] for name in reference.columns}
    if reference.table == contract.name and not own:
        return None, pl.LazyFrame(schema=types)
    newest = session.newest("table", reference.table)
    if newest is None:
        raise _incomparable(
            contract,
            reference,
            "has no version yet",
            f"take it over first (colonnade run {reference.table}); "
            f"{closest(reference.table, session.names('table'))}",
        )
    columns = newest.read(TableVersion).columns
    for name in reference.to:
        if name not in columns:
            hint = closest(name, columns)
            raise _incomparable(contract, reference, f"has no column {name}", hint)
    found = session.scan(newest.ref, reference.to)
    have = found.collect_schema()
    for name, to in zip(reference.columns, reference.to, strict=True):
        if DTYPES[logical(to, have[to])] != types[name]:
            raise _incomparable(
                contract,
                reference,
                f"holds {to} as {have[to]}, the contract says {types[name]} of {name}",
                "give both columns the same type",
            )
    pairs = zip(reference.columns, reference.to, strict=True)
    keys = found.select(pl.col(to).cast(types[name]).alias(name) for name, to in pairs)
    return newest.subject, keys


def _incomparable(contract: Contract, reference: Reference, found: str, fix: str) -> UsageError:
    return UsageError(
        "CN-CONTRACT-012",
        f"contract {contract.name}: {', '.join(reference.columns)} refers to "
        f"{reference.table}, which {found}",
        fix,
    )
