from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import msgspec
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from colonnade.data import odcs
from colonnade.data.cells import DTYPES, read_text
from colonnade.data.check import check
from colonnade.data.document import text_of
from colonnade.data.propose import propose
from colonnade.records import canonical
from colonnade.records.contract import (
    BATCHES,
    BatchRule,
    Column,
    Contract,
    Freshness,
    Metric,
    Operator,
    Reference,
    RowRule,
)

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zl", "Zp")))
NAMES = WORDS.filter(lambda name: name != "" and name[0] not in "#?*^")
WHOLE = st.integers(-(2**53) + 1, 2**53 - 1)
REAL = st.floats(allow_nan=False, allow_infinity=False)
TIMES = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
TEXTS = {
    "string": WORDS.filter(bool),
    "integer": WHOLE.map(str),
    "number": REAL.map(repr),
    "boolean": st.sampled_from(["true", "False", "0", "1"]),
    "date": st.dates(datetime(1000, 1, 1).date()).map(str),  # noqa: DTZ001
    "timestamp": TIMES.map(str) | TIMES.map(datetime.isoformat),
}


@st.composite
def columns(draw) -> tuple[Column, ...]:
    names = st.lists(NAMES, min_size=1, max_size=5, unique=True)
    return tuple(draw(column(name)) for name in draw(names))


@st.composite
def column(draw, name: str) -> Column:
    kind = draw(st.sampled_from(list(TEXTS)))
    values = {"integer": WHOLE, "number": WHOLE | REAL, "boolean": st.booleans()}
    value = values.get(kind, TEXTS[kind])
    bound = st.none() if kind in ("string", "boolean") else st.none() | value
    length = st.none() | st.integers(0, 99) if kind == "string" else st.none()
    return Column(
        name=name,
        type=kind,
        required=draw(st.booleans()),
        unique=draw(st.booleans()),
        minimum=draw(bound),
        maximum=draw(bound),
        min_length=draw(length),
        max_length=draw(length),
        pattern=draw(st.none() | WORDS) if kind == "string" else None,
        enum=tuple(draw(st.lists(value, max_size=3))),
    )


SEVERITY = st.sampled_from(["stop", "warn"])
TABLES = st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True)
OPERATORS = st.sampled_from(get_args(Operator))


@st.composite
def contracts(draw) -> Contract:
    """Contracts that use every part."""
    found = draw(columns())
    names = [each.name for each in found]
    some = st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)
    rules = OPERATORS.flatmap(lambda said: batch_rule(said, some))
    key = draw(st.just([]) | some)
    alone = key if len(key) == 1 else []
    found = tuple(
        replace(
            each,
            required=each.required or each.name in key,
            unique=each.unique or each.name in alone,
            classification=draw(st.none() | st.sampled_from(["internal", "public"])),
            added=draw(st.booleans()),
        )
        for each in found
    )
    times = [each.name for each in found if each.type in ("date", "timestamp")]
    age = st.builds(
        Freshness,
        column=st.sampled_from(times) if times else st.nothing(),
        within_s=st.integers(1, 10**9),
        severity=SEVERITY,
    )
    return Contract(
        name="rows",
        version="1.2.3",
        columns=found,
        rules=tuple(draw(st.lists(RULE, max_size=3, unique_by=lambda rule: rule.name))),
        missing=tuple(draw(st.lists(WORDS, max_size=3))),
        stop_above=draw(st.floats(0, 1)),
        primary_key=tuple(key),
        unique=tuple(tuple(each) for each in draw(st.lists(some, max_size=2)) if len(each) > 1),
        references=tuple(draw(st.lists(some.flatmap(reference), max_size=2))),
        batch=tuple(draw(st.lists(rules, max_size=3))),
        freshness=tuple(draw(st.lists(age, max_size=2))) if times else (),
        drift=draw(st.sampled_from(["stop", "ignore", "add"])),
        owner=draw(st.none() | WORDS.filter(bool)),
        purpose=draw(st.none() | WORDS.filter(bool)),
        subject=draw(st.none() | st.sampled_from(names)),
        retention_d=draw(st.none() | st.integers(1, 9999)),
    )


RULE = st.builds(RowRule, name=WORDS, sql=WORDS)


def reference(columns: list[str]) -> st.SearchStrategy[Reference]:
    to = st.lists(NAMES, min_size=len(columns), max_size=len(columns))
    return st.builds(Reference, columns=st.just(tuple(columns)), table=TABLES, to=to.map(tuple))


@st.composite
def batch_rule(draw, operator: str, some: st.SearchStrategy[list[str]]) -> BatchRule:
    metric = draw(st.sampled_from(get_args(Metric)))
    of_columns = metric in ("nullValues", "duplicateValues")
    count = 2 if "Between" in operator else 1
    return BatchRule(
        name=draw(WORDS.filter(bool)),
        metric=metric,
        operator=operator,
        values=tuple(sorted(draw(st.lists(REAL, min_size=count, max_size=count)))),
        columns=tuple(draw(some)) if of_columns else (),
        percent=draw(st.booleans()) if of_columns else False,
        batches=draw(st.integers(1, 100)) if metric == "volume" else BATCHES,
        severity=draw(SEVERITY),
    )


@given(contracts())
@settings(deadline=None, max_examples=25)
def test_a_contract_that_is_written_is_read_as_it_was(contract):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.yaml"
        odcs.write(path, contract)
        found = odcs.load(path)
        assert replace(found.contract, document=None) == contract
        path.write_text(text_of(found.document), encoding="utf-8")
        assert odcs.load(path) == found
        body = canonical.decode(canonical.encode(contract))  # as the ledger keeps it
        assert msgspec.convert(body, Contract) == contract


@st.composite
def files(draw) -> pl.DataFrame:
    """Rows of a CSV: texts, each column of one kind or of several, cells missing here and there."""
    height = draw(st.integers(1, 5))
    cells = {}
    for name in draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)):
        kinds = draw(st.lists(st.sampled_from(list(TEXTS)), min_size=1, max_size=2))
        text = st.none() | st.one_of([TEXTS[kind] for kind in kinds])
        cells[name] = draw(st.lists(text, min_size=height, max_size=height))
    return pl.DataFrame(cells, schema=dict.fromkeys(cells, pl.String))


@given(files())
@settings(deadline=None, max_examples=60)
def test_a_proposed_contract_takes_the_rows_that_it_was_proposed_from(frame):
    contract = propose("rows", [frame.lazy()])
    found = check(frame.lazy(), contract, "rows.csv")
    assert found.bad.is_empty(), (contract, found.bad.to_dicts())
    assert found.good.height == frame.height
    assert found.good.null_count().row(0) == frame.null_count().row(0)


@given(st.sampled_from(list(TEXTS)), files())
@settings(deadline=None, max_examples=60)
def test_every_row_is_good_or_bad_and_none_is_both(kind, frame):
    contract = Contract(
        name="rows",
        version="1.0.0",
        columns=tuple(Column(name=name, type=kind, unique=True) for name in frame.columns),
    )
    found = check(frame.lazy(), contract, "rows.csv")
    assert found.good.height + found.bad.height == frame.height
    assert found.bad["row"].is_unique().all()
    assert all(found.bad["reasons"].list.len() > 0)
    assert sum(found.reasons.values()) == found.bad["reasons"].list.len().sum()


@given(st.sampled_from(list(TEXTS)), st.data())
@settings(deadline=None, max_examples=100)
def test_a_text_of_a_kind_is_read_as_what_python_reads(kind, data):
    text = data.draw(TEXTS[kind])
    read = {
        "string": str,
        "integer": int,
        "number": float,
        "boolean": lambda word: word.lower() in ("true", "1"),
        "date": lambda word: datetime.strptime(word, "%Y-%m-%d").date(),  # noqa: DTZ007
        "timestamp": datetime.fromisoformat,
    }[kind]
    frame = pl.DataFrame({"cell": [text]})
    found = frame.select(read_text(pl.col("cell"), kind)).to_series()
    assert found.dtype == DTYPES[kind]
    assert found.to_list() == [read(text)]
