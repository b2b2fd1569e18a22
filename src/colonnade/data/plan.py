"""What of a table has to be made: nothing, what came anew, some stretches of time, or all of it.

A table is made step by step where the result must be that of making it as a whole:

* ``append`` and ``merge`` follow the first input. As long as rows are only added to it (for
  ``merge`` also changed or taken away), the step is given these rows alone.
* a ``partition`` follows every input that has the table's time: the stretches in which rows came,
  changed or went are made anew, from all their rows.

Any other input is looked up as a whole, so a change of it makes the table anew, as a change of
the code does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import polars as pl

from colonnade.base.errors import NotFoundError, UsageError
from colonnade.compute.task import StepKey, why
from colonnade.data import spans
from colonnade.govern.session import Session
from colonnade.project import Table
from colonnade.records import canonical
from colonnade.records.entry import Entry
from colonnade.records.ref import named
from colonnade.records.table import TableVersion

_COUNT: Final = "# rows"
_REST: Final = "# rest"
_TOLD: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to make.

    Attributes:
        part: ``all``, the ``rows`` that came, or ``spans`` of time.
        why: one sentence a reason.
        came: rows that the first input got.
        went: rows of it that were changed or are gone, as they were.
        labels: the stretches to make.
        made: of a table with stretches: what each is made from, once this is done.
    """

    part: Literal["all", "rows", "spans"]
    why: tuple[str, ...]
    came: pl.LazyFrame = field(default_factory=pl.LazyFrame)
    went: pl.DataFrame = field(default_factory=pl.DataFrame)
    labels: tuple[str, ...] = ()
    made: Made | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What the stretches of a table are made from; kept as the version's cursor.

    Attributes:
        labels: stretch -> the name of what it was made from.
        sources: by that name: the versions of the inputs that have the table's time, and a
            digest of all the rest.
        whole: whether every stretch of the inputs is among them.
    """

    labels: dict[str, str]
    sources: dict[str, dict[str, str]]
    whole: bool


def plan(
    session: Session,
    table: Table,
    key: StepKey,
    before: Entry | None,
    bounds: tuple[str, str] | None = None,
) -> Plan | None:
    """What to make of a table; None where it is up to date.

    Args:
        session: which reads.
        table: the declaration.
        key: of the step with the inputs as they are.
        before: the newest version, read under the writer lease.
        bounds: the first and the last stretch of time that are wanted; None: all.

    Raises:
        UsageError: CN-TABLE-011, no input has the time that the table's stretches are of.
    """
    old = None if before is None else before.read(TableVersion)
    if old is not None and old.step == key.digest:
        return None
    reasons = tuple(why(_earlier(old), key))
    if table.partition is not None and table.time is not None:
        return _by_spans(session, table, key, old, bounds)
    if old is None or table.mode == "replace" or not old.step_parts:
        return Plan(part="all", why=reasons)
    return _by_rows(session, table, key, old)


def _by_rows(session: Session, table: Table, key: StepKey, old: TableVersion) -> Plan:
    """The rows that the first input got, where nothing else changed."""
    earlier = canonical.read(old.step_parts, StepKey)
    first = table.inputs[0]
    same = replace(earlier, inputs={**earlier.inputs, first: key.inputs.get(first, "")})
    reasons = tuple(why(earlier, key))
    if why(same, key) or first not in earlier.inputs:
        return Plan(part="all", why=reasons)
    found = between(session, earlier.inputs[first], key.inputs[first])
    if isinstance(found, str):
        return Plan(part="all", why=(*reasons, f"made anew as a whole: {found}"))
    came, went = found
    if went.height and (table.mode == "append" or old.cursor.get("made", old.rows) != old.rows):
        told = f"{went.height} rows of {earlier.inputs[first]} were changed or are gone"
        return Plan(part="all", why=(*reasons, f"made anew as a whole: {told}"))
    told = f"made from what came to {first} since {earlier.inputs[first]}"
    return Plan(part="rows", why=(*reasons, told), came=came, went=went)


def between(session: Session, before: str, now: str) -> tuple[pl.LazyFrame, pl.DataFrame] | str:
    """The rows that came to a table between two versions, and those that went.

    Returns:
        The rows; or why they cannot be told.
    """
    old, new = named("table", before), named("table", now)
    try:
        came, went = session.changed(old, new)
        columns = [session.version(ref).read(TableVersion).columns for ref in (old, new)]
    except NotFoundError:
        return f"{before} was removed, so what came since is not known"
    if any(columns[1].get(name, "") != dtype for name, dtype in columns[0].items()):
        return f"the columns of {now} are not those of {before}"
    if went.select(pl.len()).collect().item() == 0:
        return came, went.collect()
    return _difference(came, went)


def timed_inputs(session: Session, table: Table, key: StepKey) -> tuple[str, ...]:
    """The inputs that have the table's time: of those, single stretches are read.

    Raises:
        UsageError: CN-TABLE-011, there is none.
    """
    found = tuple(
        name
        for name, ref in key.inputs.items()
        if session.version(named("table", ref))
        .read(TableVersion)
        .columns.get(table.time or "", "")
        .startswith("Date")
    )
    if not found:
        raise UsageError(
            "CN-TABLE-011",
            f"table {table.name}: none of its inputs ({', '.join(key.inputs)}) has its time "
            f"{table.time}, so a {table.partition} of it cannot be made by itself",
            "call the input's column of time the same, or take partition= away",
        )
    return found


def _difference(came: pl.LazyFrame, went: pl.LazyFrame) -> tuple[pl.LazyFrame, pl.DataFrame]:
    """Without the rows that are in both: their files were only written anew."""
    names = came.collect_schema().names()
    both = [
        came.with_columns(pl.lit(1).alias(_COUNT)),
        went.with_columns(pl.lit(-1).alias(_COUNT)),
    ]
    counted = pl.concat(both).group_by(names).agg(pl.col(_COUNT).sum()).collect()
    new, gone = counted.filter(pl.col(_COUNT) > 0), counted.filter(pl.col(_COUNT) < 0)
    return _repeated(new, names).lazy(), _repeated(gone, names)


def _repeated(rows: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """Each row as often as it is counted."""
    counts = rows[_COUNT].abs().to_list()
    return rows.select(names)[[place for place, count in enumerate(counts) for _ in range(count)]]


def _by_spans(
    session: Session,
    table: Table,
    key: StepKey,
    old: TableVersion | None,
    bounds: tuple[str, str] | None,
) -> Plan | None:
    """The stretches that are not made from what there is now."""
    inputs = timed_inputs(session, table, key)
    now = _Source.of(key, inputs)
    known = _made(old)
    if old is not None and known is None:
        bounds = None  # it was made without stretches: nobody knows which rows are of which
    stale, reasons = _stale(session, table, now, known)
    todo = {label for label in stale if _is_wanted(label, bounds)}
    if bounds is not None and not todo:
        return None
    before = Made(labels={}, sources={}, whole=True) if known is None else known
    kept = {label: source for label, source in before.labels.items() if label not in todo}
    if todo == stale:
        kept = dict.fromkeys(kept, key.digest)
    labels = kept | dict.fromkeys(todo, key.digest)
    sources = {name: before.sources[name] for name in {*kept.values()} - {key.digest}}
    made = Made(labels=labels, sources=sources | {key.digest: now.noted}, whole=todo == stale)
    if not kept and made.whole and bounds is None:
        return Plan(part="all", why=(*why(_earlier(old), key), *reasons), made=made)
    names = ", ".join(sorted(todo)[:_TOLD]) or f"no {table.partition}, none has other rows"
    told = f"made: {names}{' …' if len(todo) > _TOLD else ''}"
    return Plan(
        part="spans",
        why=(*why(_earlier(old), key), *reasons, told),
        labels=tuple(sorted(todo)),
        made=made,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """What a stretch is made from."""

    timed: dict[str, str]
    rest: str

    @classmethod
    def of(cls, key: StepKey, timed: Iterable[str]) -> _Source:
        looked_up = {name: ref for name, ref in key.inputs.items() if name not in timed}
        rest = canonical.digest([key.code.digest, key.settings, key.environment, looked_up])
        return cls(timed={name: key.inputs[name] for name in timed}, rest=rest)

    @property
    def noted(self) -> dict[str, str]:
        return {**self.timed, _REST: self.rest}


def _stale(
    session: Session, table: Table, now: _Source, known: Made | None
) -> tuple[set[str], list[str]]:
    """The stretches to make, and why more than those in which rows changed."""
    assert table.time is not None and table.partition is not None  # noqa: S101, PT018 (declared so)
    stale: set[str] = set()
    reasons: list[str] = []
    everything = known is None or not known.whole
    for name, source in ({} if known is None else known.sources).items():
        labels = {label for label, made in known.labels.items() if made == name} if known else set()
        changed = _changed(session, table, source, now)
        if source.get(_REST) != now.rest:
            stale |= labels
        if isinstance(changed, str):
            reasons.append(f"made anew as a whole: {changed}")
            stale |= labels
            everything = True
        else:
            have = set() if known is None else set(known.labels)
            stale |= changed & labels | changed - have
    if everything:
        frames = [session.scan(named("table", ref)) for ref in now.timed.values()]
        found = spans.labels_in(frames, table.time, table.partition)
        stale |= found - (set() if known is None else set(known.labels))
    return stale, reasons


def _changed(
    session: Session, table: Table, source: Mapping[str, str], now: _Source
) -> set[str] | str:
    """The stretches in which rows came, changed or went since; or why they cannot be told."""
    assert table.time is not None and table.partition is not None  # noqa: S101, PT018 (declared so)
    labels: set[str] = set()
    for name, ref in now.timed.items():
        if source.get(name) == ref:
            continue
        found = between(session, source[name], ref) if name in source else f"{name} is new"
        if isinstance(found, str):
            return found
        frames = [found[0], found[1].lazy()]
        labels |= spans.labels_in(frames, table.time, table.partition)
    return labels


def _is_wanted(label: str, bounds: tuple[str, str] | None) -> bool:
    if bounds is None:
        return True
    span, first, last = map(spans.span_of, (label, *bounds))
    return first.start <= span.start and span.end <= last.end


def _made(old: TableVersion | None) -> Made | None:
    if old is None or "labels" not in old.cursor:
        return None
    return canonical.read(old.cursor, Made)


def _earlier(before: TableVersion | None) -> StepKey | None:
    if before is None or not before.step_parts:
        return None
    return canonical.read(before.step_parts, StepKey)
