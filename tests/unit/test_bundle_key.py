from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from colonnade.bundle.key import KeyValue, key_text
from colonnade.records.model import Field, FieldKind

NEW_YORK = timezone(timedelta(hours=-5))


def text_of(kind: FieldKind, value: KeyValue) -> str | None:
    return key_text([value], [Field(name="k", kind=kind)])


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("integer", 1545, "1545"),
        ("integer", 5.0, "5"),
        ("integer", -0.0, "0"),
        ("integer", 2**60 + 1, "1152921504606846977"),
        ("number", 0.1, "0.1"),
        ("number", 5.0, "5"),
        ("number", 1e300, str(int(1e300))),
        ("flag", True, "true"),
        ("flag", False, "false"),
        ("flag", 0.0, "false"),
        ("category", "UA", "UA"),
        ("category", "a/b%", "a%2Fb%25"),
        ("date", date(2013, 1, 2), "2013-01-02"),
        ("date", datetime(2013, 1, 2, 3, tzinfo=UTC), "2013-01-02"),
        ("datetime", datetime(2013, 1, 1, 5, tzinfo=NEW_YORK), "2013-01-01T10:00:00Z"),
        ("datetime", datetime(2013, 1, 1, 5, tzinfo=UTC), "2013-01-01T05:00:00Z"),
        ("datetime", datetime(2013, 1, 1, 5), "2013-01-01T05:00:00Z"),  # noqa: DTZ001
        (
            "datetime",
            datetime(2013, 1, 1, microsecond=5, tzinfo=UTC),
            "2013-01-01T00:00:00.000005Z",
        ),
    ],
)
def test_each_kind_has_one_text(kind: FieldKind, value: KeyValue, expected: str) -> None:
    assert text_of(kind, value) == expected


def test_the_parts_are_joined_by_a_stroke_in_the_order_of_the_fields() -> None:
    fields = [Field(name="carrier", kind="category"), Field(name="flight", kind="integer")]
    assert key_text(["UA", 1545], fields) == "UA/1545"


@pytest.mark.parametrize("absent", [None, float("nan")])
def test_a_key_with_an_absent_part_is_no_key(absent: float | None) -> None:
    fields = [Field(name="carrier", kind="category"), Field(name="flight", kind="number")]
    assert key_text(["UA", absent], fields) is None


def test_no_fields_are_no_key() -> None:
    assert key_text([], []) is None


def test_a_number_of_values_other_than_the_fields_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="zip"):
        key_text(["UA"], [])


@pytest.mark.parametrize("kind", ["integer", "number", "date", "datetime"])
def test_a_value_of_another_kind_keeps_its_own_text(kind: FieldKind) -> None:
    assert text_of(kind, "as/is") == "as%2Fis"
