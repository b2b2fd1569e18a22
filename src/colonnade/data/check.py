"""Rows against a contract: good ones typed, bad ones with every reason, in one lazy pass.

dataframely does the rules. What it does not do is done here: columns that nobody declared (it
would drop them silently), cells that are not of their type, and numbers that a cast would cut.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeGuard

import dataframely as dy
import polars as pl

from colonnade.base.errors import UsageError
from colonnade.base.text import closest
from colonnade.data.cells import (
    DTYPES,
    READABLE,
    ROW,
    as_text,
    check_names,
    logical,
    read_text,
    reading,
)
from colonnade.records.contract import Column, Contract, LogicalType, Reference, RowRule, Scalar
from colonnade.records.source import why_unreadable

_TYPES: Final[dict[LogicalType, Callable[..., dy.Column]]] = {
    "string": partial(dy.String, nullable=True),
    "integer": partial(dy.Int64, nullable=True),
    "number": partial(dy.Float64, nullable=True),
    "boolean": partial(dy.Bool, nullable=True),
    "date": partial(dy.Date, nullable=True),
    "timestamp": partial(dy.Datetime, nullable=True, time_zone="UTC"),
}


_FOUND: Final = "# reference "  # prefix of the flag that a key is in the other table


@dataclass(frozen=True, slots=True)
class Known:
    """What the rows of a file are checked against beside the contract.

    Attributes:
        keys: for each reference of the contract, in order, the keys that the other table has: as
            many columns as the reference, in its order and types.
        absent: columns that a file may lack; all its cells are missing then.
        versions: the table versions that the keys are from.
        coded: the contract's rules in code, by name: a record holds only their words.
    """

    keys: tuple[pl.LazyFrame, ...] = ()
    absent: Collection[str] = ()
    versions: tuple[str, ...] = ()
    coded: Mapping[str, pl.Expr] = field(default_factory=dict)


NOTHING: Final = Known()


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of the rows of one file.

    Attributes:
        good: the rows that fulfil the contract, in its types.
        bad: ``row`` (from 0), ``reasons`` (list of ``column|rule``) and ``cells`` (the row as it
            came, JSON).
        reasons: how many rows break each rule.
        left_out: columns of the file that are not the contract's (``drift: ignore``).
    """

    good: pl.DataFrame
    bad: pl.DataFrame
    reasons: dict[str, int]
    left_out: tuple[str, ...] = ()


def check(frame: pl.LazyFrame, contract: Contract, what: str, known: Known = NOTHING) -> Checked:
    """Split the rows of one file.

    Raises:
        UsageError: CN-CONTRACT-005, the file's columns are not the contract's; CN-CONTRACT-006, a
            column has another type; CN-CONTRACT-007, a row rule cannot be evaluated;
            CN-CONTRACT-010, a column has a name of ours; CN-SOURCE-003, the file cannot be read.
    """
    left_out = _check_columns(frame.collect_schema(), contract, what, known)
    absent = [name for name in known.absent if name not in frame.collect_schema()]
    frame = frame.with_columns(pl.lit(None, pl.String).alias(name) for name in absent)
    raw = frame.with_row_index(ROW)
    typed = raw.select(
        pl.col(ROW).cast(pl.Int64),
        *(
            expression
            for column in contract.columns
            for expression in _typed(column, frame.collect_schema()[column.name], what)
        ),
    )
    typed = _with_references(typed, contract, known)
    rules: dict[str, pl.Expr] = {}
    for name, condition in _rules(contract, known):  # a column may be called row, or a,b
        rules[name if name not in rules else f"{name} ({len(rules)})"] = condition
    _check_rules(contract, rules)
    try:
        good, failure = _schema(contract, rules.values()).filter(typed).collect_all()
    except pl.exceptions.PolarsError as error:
        with reading(what):  # the file, or a rule?
            frame.select(pl.all().null_count()).collect()
        raise UsageError(
            "CN-CONTRACT-007",
            f"contract {contract.name}: a rule cannot be evaluated: {_first_line(error)}",
            "mend the rowRule or the pattern in the contract",
        ) from error
    except pl.exceptions.PanicException as error:
        raise UsageError(
            "CN-SOURCE-003",
            f"{what} cannot be read: {why_unreadable(error)}",
            "mend the file (a CSV in UTF-8 with commas, or Parquet) and run again",
        ) from error
    names = [column.name for column in contract.columns]
    places = dict(zip(map(_place, range(len(rules))), rules, strict=True))
    details = failure.details()
    reasons = pl.concat_list(
        pl.when(pl.col(place) == "invalid").then(pl.lit(rule)) for place, rule in places.items()
    ).list.drop_nulls()
    bad = details.select(pl.col(ROW).alias("row"), reasons.alias("reasons"))
    return Checked(
        good=good.select(names),
        bad=_with_cells(raw, bad, names),
        reasons={places[place]: count for place, count in failure.counts().items()},
        left_out=left_out,
    )


def _check_columns(
    schema: pl.Schema, contract: Contract, what: str, known: Known
) -> tuple[str, ...]:
    """Columns that are lacking stop a file; of those that nobody named, the contract decides."""
    check_names(schema, what)
    declared = {column.name for column in contract.columns}
    lacking = [name for name in declared if name not in schema and name not in known.absent]
    extra = [name for name in schema if name not in declared]
    left_out = tuple(extra) if contract.drift != "stop" else ()
    if left_out:
        extra = []
    if not lacking and not extra:
        return left_out
    found = []
    if lacking:
        lacking.sort()
        found.append(f"column {', '.join(lacking)} is missing ({closest(lacking[0], schema)})")
    if extra:
        found.append(f"column {', '.join(extra)} is not in the contract")
    raise UsageError(
        "CN-CONTRACT-005",
        f"{what}: {'; '.join(found)}",
        f"mend the file, or change contracts/{contract.name}.yaml; nothing was taken over",
    )


def _typed(column: Column, dtype: pl.DataType, what: str) -> tuple[pl.Expr, pl.Expr]:
    cell = pl.col(column.name)
    flag = f"{READABLE}{column.name}"
    if dtype == pl.String:
        value = read_text(cell, column.type)
        return value.alias(column.name), (cell.is_null() | value.is_not_null()).alias(flag)
    found = logical(f"{column.name} of {what}", dtype)
    if found != column.type and (found, column.type) != ("integer", "number"):
        raise UsageError(
            "CN-CONTRACT-006",
            f"{what}: column {column.name} is {dtype}, the contract says {column.type}",
            "write the file with the contract's type; nothing is rounded or guessed",
        )
    value = cell.cast(DTYPES[column.type], strict=False)
    if column.type == "number":
        value = pl.when(value.is_finite()).then(value)
    return value.alias(column.name), (cell.is_null() | value.is_not_null()).alias(flag)


def _with_references(typed: pl.LazyFrame, contract: Contract, known: Known) -> pl.LazyFrame:
    """A flag for each reference: whether the other table has the key.

    A source that refers to itself finds the keys of this file too.
    """
    referring = typed
    for number, (reference, keys) in enumerate(zip(contract.references, known.keys, strict=True)):
        if reference.table == contract.name:
            keys = pl.concat([keys, referring.select(_renamed(reference))])  # noqa: PLW2901
        found = keys.drop_nulls().unique().with_columns(pl.lit(value=True).alias(_flag(number)))
        typed = typed.join(found, on=reference.columns, how="left", maintain_order="left")
    return typed


def _renamed(reference: Reference) -> Iterator[pl.Expr]:
    for column, to in zip(reference.columns, reference.to, strict=True):
        yield pl.col(to).alias(column)


def _flag(number: int) -> str:
    return f"{_FOUND}{number}"


def is_schema(value: object) -> TypeGuard[type[dy.Schema]]:
    """Whether a value is a schema class."""
    return isinstance(value, type) and issubclass(value, dy.Schema)


def _rules(contract: Contract, known: Known) -> Iterator[tuple[str, pl.Expr]]:
    """``column|rule`` or ``row|rule``, and what must not be false."""
    for column in contract.columns:
        for name, condition in _conditions(column):
            yield f"{column.name}|{name}", condition
    yield from _conditions_of_several(contract).items()
    for rule in contract.rules:
        yield f"row|{rule.name}", _row_condition(contract, rule)
    for rule in contract.coded:
        if rule.name not in known.coded:
            raise _bad_rule(contract, rule.name, "it is code of the project, which is not at hand")
        yield rule.name, known.coded[rule.name]


def unique(contract: Contract) -> Iterator[tuple[tuple[str, ...], str]]:
    """The columns, or sets of columns, whose values no two rows share, and the rule's name."""
    for column in contract.columns:
        if column.unique:
            yield (column.name,), f"{column.name}|unique"
    keys = [("primaryKey", contract.primary_key), *(("unique", key) for key in contract.unique)]
    for name, key in keys:
        if len(key) > 1:
            yield key, f"{','.join(key)}|{name}"


def _conditions_of_several(contract: Contract) -> dict[str, pl.Expr]:
    """What several columns must be together: keys, and what is in another table."""
    rules: dict[str, pl.Expr] = {}
    for key, name in unique(contract):
        if len(key) > 1:  # one column alone has its own rule
            rules[name] = pl.struct(key).is_unique() | _missing(key)
    for number, reference in enumerate(contract.references):
        found = pl.col(_flag(number)).fill_null(value=False) | _missing(reference.columns)
        name = f"{','.join(reference.columns)}|reference"
        rules[name] = rules[name] & found if name in rules else found
    return rules


def _missing(columns: Iterable[str]) -> pl.Expr:
    return pl.any_horizontal(pl.col(column).is_null() for column in columns)


def _check_rules(contract: Contract, rules: dict[str, pl.Expr]) -> None:
    """Evaluate each rule on no rows: so an error names the rule, and nothing of ours."""
    columns = {column.name: DTYPES[column.type] for column in contract.columns}
    flags = {READABLE + name: pl.Boolean() for name in columns}
    flags |= {_flag(number): pl.Boolean() for number, _ in enumerate(contract.references)}
    of_columns = len(rules) - len(contract.rules) - len(contract.coded)
    for number, (name, condition) in enumerate(rules.items()):
        # What a user wrote sees the user's columns.
        schema = columns | flags if number < of_columns else columns
        try:
            found = pl.DataFrame(schema=schema).select(rule=condition).schema["rule"]
        except pl.exceptions.PolarsError as error:
            raise _bad_rule(contract, name, _first_line(error)) from error
        if found != pl.Boolean:
            raise _bad_rule(contract, name, f"it gives {found}, expected true or false")


def _bad_rule(contract: Contract, name: str, why: str) -> UsageError:
    return UsageError(
        "CN-CONTRACT-007",
        f"contract {contract.name}: the rule {name} cannot be evaluated: {why}",
        "mend the rowRule or the pattern in the contract",
    )


def _schema(contract: Contract, rules: Iterable[pl.Expr]) -> type[dy.Schema]:
    """Columns and rules by place: a column may be called as one of the class's own members."""
    members: dict[str, object] = {ROW: dy.Int64()}
    for number, column in enumerate(contract.columns):
        members[f"column {number}"] = _TYPES[column.type](alias=column.name)
        members[READABLE + column.name] = dy.Bool()
    for number, _ in enumerate(contract.references):
        members[_flag(number)] = dy.Bool(nullable=True)
    for number, condition in enumerate(rules):
        members[_place(number)] = _rule(condition)
    return type("Rows", (dy.Schema,), members)


def _place(number: int) -> str:
    return f"# rule {number}"


def _conditions(column: Column) -> Iterator[tuple[str, pl.Expr]]:
    cell, readable = pl.col(column.name), pl.col(READABLE + column.name)
    yield column.type, readable
    if column.required:
        yield "required", cell.is_not_null() | ~readable
    if column.unique:
        yield "unique", cell.is_unique() | cell.is_null()
    if column.minimum is not None:
        yield "minimum", cell >= _literal(column, column.minimum)
    if column.maximum is not None:
        yield "maximum", cell <= _literal(column, column.maximum)
    if column.min_length is not None:
        yield "minLength", cell.str.len_chars() >= column.min_length
    if column.max_length is not None:
        yield "maxLength", cell.str.len_chars() <= column.max_length
    if column.pattern is not None:
        yield "pattern", cell.str.contains(column.pattern)
    if column.enum:
        values = pl.concat([_literal(column, value) for value in column.enum])
        yield "enum", cell.is_in(values.implode())


def _literal(column: Column, value: Scalar) -> pl.Expr:
    if column.type in ("date", "timestamp"):
        text = str(value)
        literal = read_text(pl.lit(text), column.type)
        if pl.select(literal).item() is None:
            raise UsageError(
                "CN-CONTRACT-008",
                f"contract: column {column.name} is compared with {text!r}, which is no "
                f"{column.type}",
                "write 2013-01-31 for a date, 2013-01-31T00:00:00Z for a timestamp",
            )
        return literal
    return pl.lit(value, dtype=DTYPES[column.type])


def _row_condition(contract: Contract, rule: RowRule) -> pl.Expr:
    try:
        return pl.sql_expr(rule.sql)
    except pl.exceptions.PolarsError as error:
        raise UsageError(
            "CN-CONTRACT-007",
            f"contract {contract.name}: row rule {rule.name!r} is no condition: "
            f"{_first_line(error)}",
            "write a condition such as arr_time > dep_time",
        ) from error


def _rule(condition: pl.Expr) -> object:
    return dy.rule()(lambda _: condition)


def _with_cells(raw: pl.LazyFrame, bad: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    schema = raw.collect_schema()
    cells = pl.struct(as_text(name, schema[name]) for name in names).struct.json_encode()
    wanted = raw.with_columns(pl.col(ROW).cast(pl.Int64).alias("row"))
    wanted = wanted.join(bad.lazy().select("row"), on="row", how="semi")
    return bad.join(wanted.select("row", cells.alias("cells")).collect(), on="row", how="left")


def _first_line(error: Exception) -> str:
    """The first line, and where it only announces (``regex parse error:``) what follows."""
    first, *others = str(error).splitlines() or [""]
    return " ".join([first, *(line for line in others if line.startswith("error: "))])
