"""A file that nobody has described: what its columns are good for, each decision with its reason.

Nothing is written here and nothing is guessed silently: what cannot be used is left out with a
sentence, a label that cannot be predicted is refused with one. What is decided becomes the user's
own `project.py`, to be changed there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NoReturn, cast

import polars as pl

from colonnade.base.errors import UsageError
from colonnade.base.text import closest
from colonnade.data.cells import DTYPES, read_text, reading
from colonnade.data.propose import propose
from colonnade.records.contract import Contract, LogicalType
from colonnade.records.model import Task
from colonnade.records.outline import Outline, Value
from colonnade.stats.profile import MIN_ROWS as MIN_TOLD
from colonnade.train.build import MAX_CLASSES, MIN_ROWS

HOLDOUT: Final = 0.2  # the default of a model's declaration
MAX_WORDS: Final = 100
MIN_PER_WORD: Final = 5
MIN_PER_CLASS: Final = 10
FEW: Final = 20  # an id with so few values is a category all the same
LONG: Final = 40  # mean characters of what a person writes as text

_ID_WORDS: Final = frozenset({"id", "ids", "key", "uuid", "guid", "nr", "no", "number", "ref"})
_COUNTER_WORDS: Final = frozenset({"rownames", "rowname", "row", "index", "unnamed", "x", "column"})
_PERSONAL: Final = re.compile(
    r"e_?mail|phone|mobile|fax|ssn|passport|iban|(first|last|full|sur|user|middle|given)_?name"
    r"|street|address|birth|dob"
)
_COMMA: Final = r"^[+-]?[0-9]+(\.[0-9]{3})*,[0-9]+$"
_OTHER_DATE: Final = (
    r"^([0-9]{1,2}[./-][0-9]{1,2}[./-][0-9]{2,4}|[0-9]{4}[./][0-9]{1,2}[./][0-9]{1,2})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the user said about the file."""

    label: str
    key: tuple[str, ...] = ()
    time: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One column of the file.

    Attributes:
        missing: rows without a value.
        distinct: different values.
        rises: whether it is a whole number that is larger in every row than in the one before.
        typical: the median, or the most frequent word, of no single row; None where none is.
        characters: mean length of a text, else 0.
        written: ``comma`` or ``date`` where all texts are numbers or dates in another spelling.
    """

    name: str
    kind: LogicalType
    rows: int
    missing: int
    distinct: int
    rises: bool
    typical: Value | None
    characters: float
    written: str

    @property
    def unique(self) -> bool:
        """Whether every row has a value of its own."""
        return self.missing == 0 and self.distinct == self.rows

    @property
    def is_time(self) -> bool:
        """Whether it holds dates or times."""
        return self.kind in ("date", "timestamp")


def outline(name: str, frame: pl.LazyFrame, wishes: Wishes) -> Outline:
    """Look at every row of a file and decide what to declare.

    Args:
        name: the file, for messages.
        frame: its rows; the cells of a CSV are texts.
        wishes: what the user said; it is checked and never overruled.

    Raises:
        UsageError: CN-INIT-001, a column that was named is not there; CN-INIT-002, the label
            cannot be predicted; CN-INIT-003, no column is left to predict it from; CN-INIT-004,
            the key or the time cannot be one; CN-TABLE-008, two names differ only in case; what
            `propose` raises.
    """
    schema = frame.collect_schema()
    _check_names(name, schema, wishes)
    contract = propose(name, [frame])
    with reading(name):
        rows = frame.select(_typed(contract, schema)).collect()
    facts = {fact.name: fact for fact in _facts(rows, contract)}
    label = _label(facts[wishes.label], rows[wishes.label])
    key, why_key = _key(facts, rows, wishes)
    time, why_time = _time(facts, rows, wishes, label)
    features: dict[str, Value | None] = {}
    left_out: dict[str, str] = {}
    for fact in facts.values():
        if fact.name in (wishes.label, time, *key):
            continue
        if reason := _no_feature(fact):
            left_out[fact.name] = reason
        else:
            features[fact.name] = fact.typical
    if not features:
        told = "; ".join(f"{column}: {reason}" for column, reason in list(left_out.items())[:5])
        told = told or "there is no other column"
        raise UsageError(
            "CN-INIT-003",
            f"{name}: no column is left to predict {wishes.label} from ({told})",
            "add columns with numbers, flags or categories, or derive them before init",
        )
    return Outline(
        rows=rows.height,
        label=wishes.label,
        task=label.task,
        cast=label.cast,
        classes=label.classes,
        base=label.base,
        rare=label.rare,
        unlabelled=facts[wishes.label].missing,
        key=key,
        why_key=why_key,
        time=time,
        why_time=why_time,
        untimed=0 if time is None else facts[time].missing,
        features=features,
        left_out=left_out,
    )


def _check_names(name: str, schema: pl.Schema, wishes: Wishes) -> None:
    for said, column in (
        ("--label", wishes.label),
        *(("--key", column) for column in wishes.key),
        *([("--time", wishes.time)] if wishes.time else []),
    ):
        if column not in schema:
            raise UsageError(
                "CN-INIT-001",
                f"{name} has no column {column!r}, which {said} names",
                closest(column, schema),
            )
    if wishes.label in (*wishes.key, wishes.time):
        _refuse(wishes.label, "it is the key or the time of the rows as well")
    lower = [column.lower() for column in schema]
    for place, column in enumerate(schema):
        if (first := lower.index(column.lower())) < place:
            raise UsageError(
                "CN-TABLE-008",
                f"{name}: the columns {schema.names()[first]!r} and {column!r} differ only in case",
                "rename one of them in the file",
            )


def _typed(contract: Contract, schema: pl.Schema) -> Iterator[pl.Expr]:
    """Every column in the contract's type, as the first run will read it."""
    for column in contract.columns:
        cell = pl.col(column.name)
        if schema[column.name] == pl.String:
            text = pl.when(~cell.is_in(list(contract.missing))).then(cell)
            yield read_text(text, column.type).alias(column.name)
        else:
            value = cell.cast(DTYPES[column.type], strict=False)
            if column.type == "number":
                value = pl.when(value.is_finite()).then(value)
            yield value.alias(column.name)


def _facts(rows: pl.DataFrame, contract: Contract) -> Iterator[Facts]:
    for column in contract.columns:
        values = rows[column.name].drop_nulls()
        text = values if column.type == "string" else pl.Series([], dtype=pl.String)
        yield Facts(
            name=column.name,
            kind=column.type,
            rows=rows.height,
            missing=rows.height - len(values),
            distinct=values.n_unique(),
            rises=len(values) == rows.height and _rises(values),
            typical=_typical(values, column.type),
            characters=cast("float", text.str.len_chars().mean() or 0.0),
            written=_written(text),
        )


def _rises(values: pl.Series) -> bool:
    return values.dtype == pl.Int64 and bool((values.diff()[1:] > 0).all())


def _written(text: pl.Series) -> str:
    if text.is_empty():
        return ""
    if text.str.contains(_COMMA).all():
        return "comma"
    return "date" if text.str.contains(_OTHER_DATE).all() else ""


def _typical(values: pl.Series, kind: LogicalType) -> Value | None:
    """The middle, or the most frequent word if it is no rare one: what a row may look like."""
    if values.is_empty() or kind in ("date", "timestamp"):
        return None
    if kind == "string":
        words = values.value_counts(sort=True, name="# rows").filter(pl.col("# rows") >= MIN_TOLD)
        first = words.sort(["# rows", values.name], descending=[True, False]).head(1)
        return first[values.name].item() if first.height else None
    return typical(cast("float", values.cast(pl.Float64).median()), kind)


def typical(middle: float, kind: str) -> Value:
    """A median as a request would carry it: a whole number, a flag, or four digits."""
    if kind in ("boolean", "flag"):
        return middle >= 0.5
    return round(middle) if kind == "integer" else float(f"{middle:.4g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Label:
    """What the label makes of the model; see `Outline`."""

    task: Task
    cast: str | None = None
    classes: tuple[str, ...] = ()
    base: float | None = None
    rare: tuple[Value, ...] = ()


def _label(fact: Facts, column: pl.Series) -> _Label:
    """How a label can be learnt, or why it cannot."""
    values, present = column.drop_nulls(), fact.rows - fact.missing
    if present < MIN_ROWS:
        _refuse(fact.name, f"only {present} rows have one, at least {MIN_ROWS} are needed")
    if fact.distinct < 2:
        _refuse(fact.name, "every row has the same value, so there is nothing to tell apart")
    if fact.is_time:
        _refuse(fact.name, "it holds dates; a number, a flag or a category can be predicted")
    if fact.written == "comma":
        _refuse(fact.name, "its numbers are written with a decimal comma; write 3.14")
    if fact.rises and values[-1] - values[0] + 1 == fact.rows:
        _refuse(fact.name, "it only counts the rows")
    per_value = present / fact.distinct
    whole = fact.kind == "integer" or (
        fact.kind == "number" and bool((values == values.round()).all())
    )
    if fact.kind in ("integer", "number"):
        if not whole or fact.distinct > MAX_CLASSES:
            return _Label(task="regression")
        if per_value < MIN_PER_CLASS and fact.distinct > 2:
            return _Label(task="regression", cast="Float64" if fact.kind == "integer" else None)
    classes = values.cast(pl.Int64) if fact.kind == "number" else values
    return _classes(fact, classes, "Int64" if fact.kind == "number" else None)


def _classes(fact: Facts, values: pl.Series, cast_to: str | None) -> _Label:
    counted = values.value_counts(sort=True, name="# rows").sort(
        ["# rows", values.name], descending=[True, False]
    )
    kept = counted.filter(pl.col("# rows") >= MIN_PER_CLASS)
    rare = counted.filter(pl.col("# rows") < MIN_PER_CLASS)
    learnt, words = int(kept["# rows"].sum()), kept[fact.name]
    if fact.unique:
        _refuse(fact.name, f"it is different in every one of {fact.rows:,} rows")
    if kept.height > MAX_WORDS or learnt * 2 < len(values):
        form = "free text" if fact.characters > LONG else "too many different values"
        _refuse(fact.name, f"{fact.distinct:,} values in {len(values):,} rows: {form}")
    if kept.height < 2:
        _refuse(
            fact.name,
            f"all but {len(values) - learnt} of {len(values):,} rows have one and the same value; "
            f"at least {MIN_PER_CLASS} rows of a second one are needed",
        )
    return _Label(
        task="binary" if kept.height == 2 else "multiclass",
        cast=cast_to,
        classes=tuple(words.sort().cast(pl.String).to_list()),
        base=float(kept["# rows"][0]) / learnt,
        rare=tuple(rare[fact.name].sort().to_list()),
    )


def _key(
    facts: dict[str, Facts], rows: pl.DataFrame, wishes: Wishes
) -> tuple[tuple[str, ...], str]:
    """The natural columns that tell rows apart: said, or one that is called like an id."""
    if wishes.key:
        for column in wishes.key:
            if facts[column].kind == "number":
                _unusable("key", column, "holds numbers with fractions, which name nothing")
            if facts[column].missing:
                _unusable("key", column, f"is missing in {facts[column].missing:,} rows")
        different = rows.select(pl.struct(wishes.key).n_unique()).item()
        if different < rows.height:
            names = ", ".join(wishes.key)
            _unusable("key", names, f"is not unique: {different:,} of {rows.height:,} rows")
        return wishes.key, "as you said"
    for place, fact in enumerate(facts.values()):
        if fact.name == wishes.label or not fact.unique or fact.kind not in ("integer", "string"):
            continue
        if _called_id(fact.name):
            return (fact.name,), "different in every row, and called like an id"
        if place == 0 and fact.kind == "string" and fact.characters <= LONG:
            return (fact.name,), "the first column, and different in every row"
    return (), "no column is different in every row and called like an id"


def _time(
    facts: dict[str, Facts], rows: pl.DataFrame, wishes: Wishes, label: _Label
) -> tuple[str | None, str]:
    """The column of event time: said, or the only one that holds dates."""
    if wishes.time is not None:
        if not facts[wishes.time].is_time:
            _unusable("time", wishes.time, "holds no dates or times such as 2013-01-31T09:30:00Z")
        if why := _splits_badly(rows, wishes.time, wishes.label, label):
            _unusable("time", wishes.time, why)
        return wishes.time, "as you said"
    found = [fact for fact in facts.values() if fact.is_time and fact.name != wishes.label]
    if not found:
        return None, "no column holds dates or times"
    if len(found) > 1:
        names = ", ".join(fact.name for fact in found)
        return None, f"several columns hold dates ({names}); say which with --time"
    fact = found[0]
    if fact.missing:
        return None, f"{fact.name} is missing in {fact.missing:,} rows; --time leaves those out"
    if why := _splits_badly(rows, fact.name, wishes.label, label):
        return None, f"{fact.name} {why}"
    return fact.name, "the only column that holds dates or times"


def _splits_badly(rows: pl.DataFrame, time: str, label: str, found: _Label) -> str:
    """Why the newest rows could not judge what the earlier ones teach; empty where they can."""
    labelled = rows.select(time, label).drop_nulls().sort(time)
    if found.rare:
        labelled = labelled.filter(~pl.col(label).is_in(list(found.rare)))
    if labelled.is_empty():
        return "is missing in every labelled row"
    boundary = labelled[time][int(labelled.height * (1 - HOLDOUT))]
    earlier = labelled.filter(pl.col(time) < boundary)
    if earlier.is_empty():
        return "is the same in nearly every row, so no row is earlier than the newest ones"
    lacking = labelled[label].n_unique() - earlier[label].n_unique()
    if found.classes and lacking:
        return f"splits badly: {lacking} of the classes only come in the newest rows"
    return ""


def _no_feature(fact: Facts) -> str:
    """Why a column is left out; empty where it is a feature."""
    reasons = {
        "empty in every row": fact.distinct == 0,
        "the same in every row": fact.distinct == 1,
        "a date: derive a number from it in the table's function, such as its month": fact.is_time,
        "it only counts the rows": fact.rises and _called(fact.name, _COUNTER_WORDS | _ID_WORDS),
        "an id names a thing and says nothing of the next one": (
            _called_id(fact.name)
            and fact.distinct > FEW
            and (fact.kind != "number" and (fact.kind == "integer" or fact.distinct > MAX_WORDS))
        ),
        "it looks like personal data, for which there is no vault yet; "
        "best take it out of the file": (
            fact.distinct > FEW and bool(_PERSONAL.search(_words(fact.name)))
        ),
    }
    if reason := next((reason for reason, holds in reasons.items() if holds), ""):
        return reason
    return _no_category(fact) if fact.kind == "string" else ""


def _no_category(fact: Facts) -> str:
    if fact.written == "comma":
        return "its numbers are written with a decimal comma; write 3.14"
    if fact.written == "date":
        return "its dates are written in another way than 2013-01-31"
    many = f"{fact.distinct:,} different texts in {fact.rows - fact.missing:,} rows"
    if fact.distinct <= MAX_WORDS and fact.rows - fact.missing >= MIN_PER_WORD * fact.distinct:
        return ""
    return f"free text: {many}" if fact.characters > LONG else f"{many}: too many for a category"


def _words(name: str) -> str:
    """``customerID`` and ``Customer Id`` as ``customer_id``."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", parted.lower()).strip("_")


def _called(name: str, words: frozenset[str]) -> bool:
    return not words.isdisjoint(_words(name).split("_"))


def _called_id(name: str) -> bool:
    """An id is called so at one end of its name: ``order_id``, ``user_id_str``."""
    words = _words(name).removesuffix("_str").split("_")
    return words[-1] in _ID_WORDS or words[0] in ("id", "uuid", "guid")


def _refuse(label: str, why: str) -> NoReturn:
    raise UsageError(
        "CN-INIT-002",
        f"the label {label} cannot be predicted: {why}",
        "name a column with numbers, flags or categories: --label COLUMN",
    )


def _unusable(what: str, column: str, why: str) -> NoReturn:
    raise UsageError(
        "CN-INIT-004",
        f"{column} cannot be the {what}: it {why}",
        f"name another column, or leave --{what} out",
    )
