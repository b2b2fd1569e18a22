"""Two versions of a contract: what changed, in words, and whether it breaks anybody.

A change is breaking when a file or a request that fulfilled the old contract may be refused by
the new one, or when who reads the table may find what the old contract ruled out: a column that
is gone or has another type, a missing cell, two rows with one key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from colonnade.records.contract import Column, Contract, Reference, Scalar

Kind = Literal["breaking", "additive"]
_LOOSER: Final = {"stop": 0, "ignore": 1, "add": 2}
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference.

    Attributes:
        column: the column that it is about; None for the whole contract.
        words: what was, what is.
    """

    kind: Kind
    column: str | None
    words: str


def compare(before: Contract, after: Contract) -> tuple[Change, ...]:
    """Every difference that binds, columns first in the order of the new contract."""
    return (*_columns(before, after), *_keys(before, after), *_whole(before, after))


def breaks(changes: Iterable[Change]) -> bool:
    """Whether any of them breaks somebody."""
    return any(change.kind == "breaking" for change in changes)


def _columns(before: Contract, after: Contract) -> Iterator[Change]:
    old = {column.name: column for column in before.columns}
    new = {column.name: column for column in after.columns}
    for name, column in old.items():
        if name not in new:
            yield _breaking(f"the column is gone (it was {column.type})", name)
    for name, column in new.items():
        if name in old:
            yield from _column(old[name], column)
        elif column.required:
            yield _breaking(f"a new {column.type} that must not be missing", name)
        else:
            yield _additive(f"a new {column.type}, may be missing", name)


def _column(old: Column, new: Column) -> Iterator[Change]:
    name = new.name
    if old.type != new.type:
        yield _breaking(f"the type was {old.type}, is {new.type}", name)
        return  # bounds of another type do not compare
    if new.required and not old.required:
        yield _breaking("may not be missing any more", name)
    if old.required and not new.required:
        yield _breaking("may be missing now: who reads the table meets missing cells", name)
    if new.unique and not old.unique:
        yield _breaking("no two rows may have the same value any more", name)
    if old.unique and not new.unique:
        yield _breaking("rows may have the same value now: joins on it may double", name)
    yield from _bound(name, "minimum", (old.minimum, new.minimum), lambda a, b: b > a)
    yield from _bound(name, "maximum", (old.maximum, new.maximum), lambda a, b: b < a)
    yield from _bound(name, "minLength", (old.min_length, new.min_length), lambda a, b: b > a)
    yield from _bound(name, "maxLength", (old.max_length, new.max_length), lambda a, b: b < a)
    if old.pattern != new.pattern:
        kind = _additive if new.pattern is None else _breaking
        yield kind(f"the pattern was {_said(old.pattern)}, is {_said(new.pattern)}", name)
    yield from _enum(name, old.enum, new.enum)
    if new.personal != old.personal:
        kind = _breaking if new.personal else _additive
        yield kind("is personal data now" if new.personal else "is no personal data now", name)
    elif old.classification != new.classification:
        was, now = _said(old.classification), _said(new.classification)
        yield _additive(f"the classification was {was}, is {now}", name)


def _bound(
    name: str,
    rule: str,
    values: tuple[Scalar | None, Scalar | None],
    narrower: Callable[..., bool],
) -> Iterator[Change]:
    old, new = values
    if old == new:
        return
    words = f"the {rule} was {_said(old)}, is {_said(new)}"
    if new is None:
        yield _additive(words, name)
    elif old is None or narrower(old, new):
        yield _breaking(words, name)
    else:
        yield _additive(words, name)


def _enum(name: str, old: Sequence[Scalar], new: Sequence[Scalar]) -> Iterator[Change]:
    if set(old) == set(new):
        return
    if not new:
        yield _additive("any value is allowed now", name)
    elif not old:
        yield _breaking(f"only {len(new)} values are allowed now", name)
    else:
        if gone := [str(value) for value in old if value not in new]:
            yield _breaking(f"not allowed any more: {', '.join(gone[:10])}", name)
        if come := [str(value) for value in new if value not in old]:
            yield _additive(f"allowed now: {', '.join(come[:10])}", name)


def _keys(before: Contract, after: Contract) -> Iterator[Change]:
    if before.primary_key != after.primary_key:
        was, now = (", ".join(key) or "none" for key in (before.primary_key, after.primary_key))
        yield _breaking(f"the primary key was {was}, is {now}")
    for key in _gone(before.unique, after.unique):
        yield _breaking(f"rows may have the same {', '.join(key)} now: joins on it may double")
    for key in _gone(after.unique, before.unique):
        yield _breaking(f"no two rows may have the same {', '.join(key)} any more")
    for reference in _gone(after.references, before.references):
        yield _breaking(f"{_target(reference)} must be there now")
    for reference in _gone(before.references, after.references):
        yield _breaking(f"{_target(reference)} need not be there any more: joins may find no row")


def _whole(before: Contract, after: Contract) -> Iterator[Change]:
    old, new = ({rule.name: rule.sql for rule in (*c.rules, *c.coded)} for c in (before, after))
    for name in _gone(new, old):
        yield _breaking(f"a new rule {name}: {new[name]}")
    for name in _gone(old, new):
        yield _additive(f"the rule {name} is gone")
    for name in [name for name in new if name in old and new[name] != old[name]]:
        yield _breaking(f"the rule {name} was {old[name]}, is {new[name]}")
    for text in _gone(before.missing, after.missing):
        yield _breaking(f"{text!r} is a value again, no missing one")
    for text in _gone(after.missing, before.missing):
        yield _breaking(f"{text!r} means a missing value now")
    yield from _demands(before, after)
    yield from _duties(before, after)


def _demands(before: Contract, after: Contract) -> Iterator[Change]:
    """What is asked of whole batches."""
    if before.stop_above != after.stop_above:
        kind = _breaking if after.stop_above < before.stop_above else _additive
        yield kind(f"stopAbove was {before.stop_above:g}, is {after.stop_above:g}")
    if before.drift != after.drift:
        kind = _breaking if _LOOSER[after.drift] < _LOOSER[before.drift] else _additive
        yield kind(f"drift was {before.drift}, is {after.drift}")
    old = {rule.name: rule for rule in before.batch}
    new = {rule.name: rule for rule in after.batch}
    ages = {f"freshness of {age.column}": age for age in before.freshness}
    ages_now = {f"freshness of {age.column}": age for age in after.freshness}
    for was, now in ((old, new), (ages, ages_now)):
        for name, rule in now.items():
            if was.get(name) != rule:
                kind = _breaking if rule.severity == "stop" else _additive
                yield kind(f"{'changed' if name in was else 'new'} rule of a batch: {name}")
        for name in _gone(was, now):
            yield _additive(f"the rule of a batch is gone: {name}")


def _duties(before: Contract, after: Contract) -> Iterator[Change]:
    """Who answers for the data, what for, how long."""
    for what, old, new in (
        ("owner", before.owner, after.owner),
        ("purpose", before.purpose, after.purpose),
        ("subject key", before.subject, after.subject),
    ):
        if old != new:
            yield _additive(f"the {what} was {_said(old)}, is {_said(new)}")
    if before.retention_d != after.retention_d:
        longest = float("inf")
        shorter = (after.retention_d or longest) < (before.retention_d or longest)
        kind = _breaking if shorter else _additive
        yield kind(f"retention in days was {_said(before.retention_d)}, is "
                   f"{_said(after.retention_d)}")  # fmt: skip


def _gone(old: Iterable[_T], new: Iterable[_T]) -> list[_T]:
    there = list(new)
    return [each for each in old if each not in there]


def _target(reference: Reference) -> str:
    return f"{', '.join(reference.columns)} in {reference.table} ({', '.join(reference.to)})"


def _said(value: object) -> str:
    return "none" if value is None else str(value)


def _breaking(words: str, column: str | None = None) -> Change:
    return Change(kind="breaking", column=column, words=words)


def _additive(words: str, column: str | None = None) -> Change:
    return Change(kind="additive", column=column, words=words)
