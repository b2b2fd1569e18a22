from __future__ import annotations

import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from colonnade.bundle.key import key_text
from colonnade.bundle.request import RequestError, RequestReader
from colonnade.records.model import Feature, Field, Signature

SIGNATURE = Signature(
    features=(
        Feature(name="a", kind="number"),
        Feature(name="b", kind="integer"),
        Feature(name="c", kind="flag"),
        Feature(name="d", kind="category", categories=("x",)),
    ),
    task="regression",
    key=(Field(name="k", kind="datetime"),),
)
READER = RequestReader(SIGNATURE)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=4,
)
good_row = st.fixed_dictionaries(
    {
        "a": st.none() | st.floats(width=32, allow_nan=False, allow_infinity=False),
        "b": st.none() | st.integers(-(2**63), 2**63 - 1),
        "c": st.none() | st.booleans(),
        "d": st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    },
    optional={"k": st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat) | st.none()},
)
any_row = st.fixed_dictionaries({}, optional=dict.fromkeys("abcdek", anything))


def refusal(body: bytes) -> RequestError | None:
    try:
        READER.decode(body)
    except RequestError as error:
        return error
    return None


@given(st.lists(good_row, min_size=1, max_size=5))
def test_a_row_of_the_signature_is_always_accepted(rows: list[dict[str, object]]) -> None:
    decoded = READER.decode(json.dumps({"rows": rows}).encode())
    values = READER.getter(["a", "b", "c", "d"])
    assert [values(row) for row in decoded] == [tuple(r[n] for n in "abcd") for r in rows]


@given(st.lists(any_row | good_row, min_size=1, max_size=3))
def test_a_refusal_always_says_where(rows: list[dict[str, object]]) -> None:
    body = json.dumps({"rows": rows}).replace("Infinity", "1e999").replace("NaN", "null")
    error = refusal(body.encode())
    for problem in error.problems if error else ():
        assert problem.row in range(len(rows))
        assert problem.field in {"a", "b", "c", "d", "e", "k"}


@given(st.binary(max_size=60) | st.binary(max_size=30).map(lambda b: b'{"rows":[{"a":' + b))
def test_no_body_raises_anything_but_a_request_error(body: bytes) -> None:
    error = refusal(body)
    assert error is None or error.problems


@given(st.lists(st.text(), min_size=2, max_size=2), st.lists(st.text(), min_size=2, max_size=2))
def test_two_different_keys_never_share_a_text(one: list[str], other: list[str]) -> None:
    fields = [Field(name="a", kind="category"), Field(name="b", kind="category")]
    assert (key_text(one, fields) == key_text(other, fields)) == (one == other)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_text_of_a_number_reads_back(value: float) -> None:
    assert float(str(key_text([value], [Field(name="a", kind="number")]))) == value
