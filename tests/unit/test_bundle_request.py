from __future__ import annotations

import json
from datetime import UTC, date, datetime

import msgspec
import pytest

from colonnade.bundle.request import MAX_PROBLEMS, Problem, RequestError, RequestReader
from colonnade.records.model import Admitted, Feature, Field, Signature

SIGNATURE = Signature(
    features=(
        Feature(name="distance", kind="number"),
        Feature(name="hour", kind="integer"),
        Feature(name="holiday", kind="flag"),
        Feature(name="carrier", kind="category", categories=("UA", "DL")),
        Feature(name="wind speed", kind="number"),
    ),
    task="binary",
    classes=("false", "true"),
    key=(
        Field(name="carrier", kind="category"),
        Field(name="flight", kind="integer"),
        Field(name="day", kind="date"),
    ),
    time="departs_at",
)
ROW = {"distance": 1.5, "hour": 5, "holiday": True, "carrier": "UA", "wind speed": None}


def body(*rows: object) -> bytes:
    return json.dumps({"rows": rows}).encode()


def problems(data: bytes, *, code: str = "CN-REQUEST-002") -> tuple[Problem, ...]:
    with pytest.raises(RequestError) as caught:
        READER.decode(data)
    assert caught.value.code == code
    assert caught.value.http_status == 422
    return caught.value.problems


READER = RequestReader(SIGNATURE)


def test_a_row_is_decoded_by_the_names_of_its_columns() -> None:
    more = {"flight": 1545, "day": "2013-01-01", "departs_at": "2013-01-01T05:00:00-05:00"}
    (row,) = READER.decode(body({**ROW, **more}))
    assert READER.names == (*ROW, "flight", "day", "departs_at")
    assert msgspec.structs.astuple(row)[:7] == (
        1.5, 5, True, "UA", None, 1545, date(2013, 1, 1),
    )  # fmt: skip
    assert READER.getter(["departs_at"])(row)[0] == datetime(2013, 1, 1, 10, tzinfo=UTC)


def test_key_and_time_may_be_absent() -> None:
    (row,) = READER.decode(body(ROW))
    assert READER.getter(["flight", "day", "departs_at"])(row) == (None, None, None)


def test_a_getter_returns_a_tuple_for_none_one_and_many_columns() -> None:
    (row,) = READER.decode(body(ROW))
    assert READER.getter([])(row) == ()
    assert READER.getter(["wind speed"])(row) == (None,)
    assert READER.getter(["hour", "carrier"])(row) == (5, "UA")


@pytest.mark.parametrize("name", ["class", "__slots__", "a-b", "_0", "ä", "1", "", "self"])
def test_a_column_may_have_any_name(name: str) -> None:
    features = (Feature(name=name, kind="number"), Feature(name="b", kind="number"))
    reader = RequestReader(Signature(features=features, task="regression"))
    (row,) = reader.decode(body({name: 1, "b": 2}))
    assert reader.getter([name, "b"])(row) == (1.0, 2.0)


def test_a_whole_number_may_be_written_with_a_decimal_point() -> None:
    (row,) = READER.decode(body({**ROW, "hour": 5.0}))
    assert READER.getter(["hour"])(row) == (5,)


def test_a_key_beyond_double_precision_keeps_its_digits() -> None:
    (row,) = READER.decode(body({**ROW, "flight": 2**53 + 1}))
    assert READER.getter(["flight"])(row) == (2**53 + 1,)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("distance", "far", "expected a number"),
        ("distance", True, "expected a number"),
        ("distance", 1e39, "single precision"),
        ("distance", 10**400, "single precision"),
        ("hour", 5.5, "expected a whole number"),
        ("hour", 10**30 + 0.5, None),
        ("hour", [], "expected a whole number"),
        ("holiday", 1, "expected true, false or null"),
        ("holiday", "true", "expected true, false or null"),
        ("carrier", 3, "expected a text"),
        ("flight", "x", "expected a whole number"),
        ("day", "yesterday", "YYYY-MM-DD"),
        ("departs_at", "2013-01-01", "YYYY-MM-DDTHH:MM:SSZ"),
        ("departs_at", 5, "YYYY-MM-DDTHH:MM:SSZ"),
    ],
)
def test_a_value_of_another_kind_is_named_with_row_field_and_reason(
    field: str, value: object, reason: str | None
) -> None:
    data = body(ROW, {**ROW, field: value})
    if reason is None:
        assert len(READER.decode(data)) == 2
        return
    (problem,) = problems(data)
    assert (problem.row, problem.field) == (1, field)
    assert reason in problem.reason


@pytest.mark.parametrize("literal", ["1e999", "-1e999", "1" + "0" * 400])
def test_a_number_that_overflows_is_refused(literal: str) -> None:
    (problem,) = problems(body(ROW).replace(b"1.5", literal.encode()))
    assert problem == Problem(0, "distance", problem.reason)
    assert "single precision" in problem.reason


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_json_does_not_have_is_refused(literal: str) -> None:
    (problem,) = problems(body(ROW).replace(b"1.5", literal.encode()), code="CN-REQUEST-001")
    assert "not readable as JSON" in problem.reason


def test_a_misspelt_field_is_named_with_what_was_meant() -> None:
    row = {("distnace" if name == "distance" else name): value for name, value in ROW.items()}
    missing, unknown = problems(body(row))
    assert missing == Problem(0, "distance", "missing; send null where the value is not known")
    assert unknown == Problem(0, "distnace", "unknown field; did you mean 'distance'?")


def test_a_field_too_many_is_named_with_the_nearest_known_one() -> None:
    (problem,) = problems(body({**ROW, "flihgt": 1}))
    assert problem == Problem(0, "flihgt", "unknown field; did you mean 'flight'?")


def test_every_problem_is_told_up_to_ten() -> None:
    bad = {**ROW, "distance": "x", "hour": 1.5}
    found = problems(body(ROW, bad, 7, bad))
    assert [(p.row, p.field) for p in found] == [
        (1, "distance"), (1, "hour"), (2, None), (3, "distance"), (3, "hour"),
    ]  # fmt: skip
    assert len(problems(body(*[bad] * 100))) == MAX_PROBLEMS


def test_the_message_names_three_problems_and_no_value() -> None:
    secret = "Mrs Miller"
    with pytest.raises(RequestError) as caught:
        READER.decode(body(*[{**ROW, "distance": secret}] * 4))
    assert str(caught.value).count("row ") == 3
    assert secret not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not readable as JSON"),
        (b"{", "not readable as JSON"),
        (b"\xff\xfe", "not readable as JSON"),
        (b"[]", "expected an object"),
        (b"{}", "'rows' is missing"),
        (b'{"rows":3}', "is not a list"),
        (b'{"rows":[]}', "0 rows; expected 1 to 10000"),
        (b'{"rows":[],"row":1}', "unknown field 'row'"),
        (b'{"rows":' + b"[" * 100_000, "not readable as JSON"),
    ],
    ids=range(9),
)
def test_a_body_without_rows_is_refused_as_a_whole(data: bytes, reason: str) -> None:
    (problem,) = problems(data, code="CN-REQUEST-001")
    assert (problem.row, problem.field) == (None, None)
    assert reason in problem.reason


def test_too_many_rows_are_refused_by_number() -> None:
    with pytest.raises(RequestError, match="3 rows; expected 1 to 2"):
        RequestReader(SIGNATURE, max_rows=2).decode(body(ROW, ROW, ROW))


@pytest.mark.parametrize("text", [b'"\\ud800"', b'"\xff"', b'"\xed\xa0\x80"'])
def test_a_text_that_is_not_unicode_is_refused(text: bytes) -> None:
    with pytest.raises(RequestError):
        READER.decode(body(ROW).replace(b'"UA"', text))


def test_a_long_unknown_name_is_cut() -> None:
    (problem,) = problems(body({**ROW, "x" * 1000: 1}))
    assert problem.field == "x" * 64


BOUND = Signature(
    features=(
        Feature(
            name="distance",
            kind="number",
            admitted=Admitted(contract="flights@2", minimum=0.5, maximum=10),
        ),
        Feature(name="hour", kind="integer", admitted=Admitted(contract="flights@2", maximum=23)),
        Feature(
            name="origin",
            kind="category",
            admitted=Admitted(contract="flights@2", values=("EWR", "JFK")),
        ),
        Feature(
            name="carrier",
            kind="category",
            admitted=Admitted(contract="flights@2", min_length=2, max_length=3),
        ),
        Feature(name="holiday", kind="flag", admitted=Admitted(contract="flights@2", minimum=0)),
    ),
    task="regression",
)
FITS = {"distance": 0.5, "hour": 23, "origin": "JFK", "carrier": "UA", "holiday": True}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"distance": 10},
        {"hour": -5},
        {"hour": 7.0},
        {"carrier": "ÄÖÜ"},
        dict.fromkeys(FITS),
    ],
)
def test_what_the_contract_admits_is_read(change: dict) -> None:
    assert RequestReader(BOUND).decode(body({**FITS, **change}))


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("distance", 0.4, "expected a number within single precision, at least 0.5 and at most 10"),
        ("distance", 11, "as contract flights@2 says, or null"),
        ("distance", "1", "expected a number"),
        ("hour", 24, "expected a whole number, at most 23 as contract flights@2 says, or null"),
        ("hour", 24.0, "at most 23"),
        ("hour", 7.5, "expected a whole number"),
        ("origin", "LGA", "expected a text, one of the 2 values as contract flights@2 says"),
        ("origin", "", "one of the 2 values"),
        ("carrier", "U", "expected a text, at least 2 characters and at most 3 characters"),
        ("carrier", "UAAA", "at most 3 characters"),
    ],
)
def test_what_the_contract_refuses_is_said_with_its_version(
    field: str, value: object, reason: str
) -> None:
    with pytest.raises(RequestError) as caught:
        RequestReader(BOUND).decode(body(FITS, {**FITS, field: value}))
    (problem,) = caught.value.problems
    assert (problem.row, problem.field) == (1, field)
    assert reason in problem.reason
    assert str(value) not in problem.reason.replace("flights@2", "") or len(str(value)) < 3
