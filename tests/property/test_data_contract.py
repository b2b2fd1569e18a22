from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from colonnade.data import odcs
from colonnade.data.cells import DTYPES, read_text
from colonnade.data.check import check
from colonnade.data.propose import propose
from colonnade.records.contract import Column, Contract, RowRule

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
    return tuple(draw(column(name)) for name in draw(st.lists(NAMES, min_size=1, unique=True)))


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


@given(
    columns(),
    st.lists(st.builds(RowRule, name=WORDS, sql=WORDS), unique_by=lambda rule: rule.name),
    st.lists(WORDS),
    st.floats(0, 1),
)
@settings(deadline=None, max_examples=50)
def test_a_contract_that_is_written_is_read_as_it_was(found, rules, missing, stop_above):
    contract = Contract(
        name="rows",
        version="1.2.3",
        columns=found,
        rules=tuple(rules),
        missing=tuple(missing),
        stop_above=stop_above,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.yaml"
        odcs.write(path, contract)
        assert odcs.read(path) == contract


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
