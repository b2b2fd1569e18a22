from __future__ import annotations

import math

import pytest

from colonnade.base.errors import UsageError
from colonnade.records.condition import (
    METRICS,
    AllOf,
    AnyOf,
    Comparison,
    Word,
    compare,
    parse_gate,
    parse_trigger,
)


def message_of(parse, text):
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert caught.value.code == "CN-CONDITION-001"
    return caught.value.message


def caret_of(parse, text):
    """The column that the caret of the message points at."""
    return message_of(parse, text).splitlines()[-1].index("^") - 4


@pytest.mark.parametrize(
    ("text", "metric", "op", "value", "by"),
    [
        ("auc >= 0.60", "auc", ">=", 0.60, None),
        ("auc > champion", "auc", ">", None, None),
        ("logloss <= champion", "logloss", "<=", None, None),
        ("auc >= 0.55 by carrier", "auc", ">=", 0.55, "carrier"),
        ("p99_ms <= 5", "p99_ms", "<=", 5.0, None),
        ("  rmse<1e3  ", "rmse", "<", 1000.0, None),
        ("r2 > -.5", "r2", ">", -0.5, None),
        ("mae < 2.", "mae", "<", 2.0, None),
        ("accuracy > 0.5 by Straße", "accuracy", ">", 0.5, "Straße"),
    ],
)
def test_a_gate_is_read(text, metric, op, value, by):
    gate = parse_gate(text)
    assert gate == Comparison(metric=metric, op=op, value=value, by=by)
    assert gate.text == text.strip()


def test_gates_written_differently_are_equal():
    assert parse_gate("auc>=0.60") == parse_gate("auc  >= .6")
    assert str(parse_gate("auc>=0.60")) == "auc >= 0.6"
    assert str(parse_gate("p99_ms <= 5")) == "p99_ms <= 5"


@pytest.mark.parametrize(
    ("text", "at", "expected"),
    [
        ("", 0, "expected a metric"),
        ("acu >= 0.6", 0, "did you mean 'auc'?"),
        ("drift", 0, "expected a metric"),
        ("0.6 < auc", 0, "expected a metric"),
        ("auc = 0.6", 4, "one of >= > <= <"),
        ("auc => 0.6", 4, "one of >= > <= <"),
        ("auc >> 0.6", 5, "expected a number or the word champion"),
        ("auc >=", 6, "the text ends"),
        ("auc >= best", 7, "found 'best'"),
        ("auc >= 60", 7, "a number between 0 and 1 for auc"),
        ("rmse <= 1e999", 8, "a number between 0 and inf"),
        ("auc < champion", 4, "> or >=: a higher auc is the better one"),
        ("rmse > champion", 5, "< or <=: a lower rmse is the better one"),
        ("auc >= 0.6 carrier", 11, "`by` and a column, or the end"),
        ("auc >= 0.6 by", 13, "a column name"),
        ("auc >= 0.6 by 7", 14, "a column name"),
        ("auc >= 0.6 by carrier and", 22, "expected the end"),
        ("p99_ms <= 5 by carrier", 12, "it has no slices"),
        ("p99_ms < champion", 9, "p99_ms is not compared with the champion's"),
        ("size_mb <= champion", 11, "size_mb is not compared with the champion's"),
        ("auc > champion by carrier", 15, "a champion is not compared by slices"),
        ("auc >= 0.6 or drift", 11, "found 'or'"),
    ],
)
def test_a_wrong_gate_is_shown_with_a_caret_under_the_offending_character(text, at, expected):
    assert expected in message_of(parse_gate, text)
    assert caret_of(parse_gate, text) == at


def test_the_message_shows_the_text_and_the_caret_below_it():
    assert message_of(parse_gate, "auc >> 0.6") == (
        "the gate cannot be read: found '>', expected a number or the word champion\n"
        "    auc >> 0.6\n"
        "         ^"
    )


def test_a_long_or_broken_text_is_shown_in_one_short_line():
    message = message_of(parse_gate, "auc >= 0.6 \n\t" + "x" * 10_000)
    assert len(message) < 400
    assert len(message.splitlines()) == 3


def test_and_binds_tighter_than_or():
    trigger = parse_trigger("drift or auc < 0.7 and rmse > 2")
    both = AllOf(
        terms=(
            Comparison(metric="auc", op="<", value=0.7),
            Comparison(metric="rmse", op=">", value=2.0),
        )
    )
    assert trigger == AnyOf(terms=(Word(word="drift"), both))


def test_parentheses_bind_first_and_are_written_where_they_matter():
    trigger = parse_trigger("((drift) or auc < 0.7) and (mae > 1 and r2 < 0.1)")
    assert isinstance(trigger, AllOf)
    assert str(trigger) == "(drift or auc < 0.7) and mae > 1 and r2 < 0.1"
    assert parse_trigger(str(trigger)) == trigger


@pytest.mark.parametrize(
    ("text", "at", "expected"),
    [
        ("drfit", 0, "did you mean 'drift'?"),
        ("auc < 0.7 or", 12, "the text ends"),
        ("auc < 0.7 drift", 10, "`and`, `or` or the end"),
        ("(auc < 0.7", 10, "`)`"),
        ("auc < 0.7)", 9, "`and`, `or` or the end"),
        ("auc < champion", 6, "expected a number\n"),
        ("auc < 0.7 by carrier", 10, "`and`, `or` or the end"),
        ("(" * 17 + "drift" + ")" * 17, 16, "at most 16 parentheses"),
    ],
)
def test_a_wrong_trigger_is_shown_with_a_caret_under_the_offending_character(text, at, expected):
    assert expected in message_of(parse_trigger, text)
    assert caret_of(parse_trigger, text) == at


@pytest.mark.parametrize(
    ("text", "facts", "holds"),
    [
        ("auc < 0.7", {"auc": 0.69}, True),
        ("auc < 0.7", {"auc": 0.7}, False),
        ("auc < 0.7", {"auc": None}, None),
        ("auc < 0.7", {"auc": math.nan}, None),
        ("auc < 0.7", {}, None),
        ("drift", {"drift": True}, True),
        ("drift", {}, None),
        ("never", {"never": True}, False),
        ("auc < 0.7 or drift", {"auc": None, "drift": True}, True),
        ("auc < 0.7 or drift", {"auc": None, "drift": False}, None),
        ("auc < 0.7 or drift", {"auc": 0.8, "drift": False}, False),
        ("auc < 0.7 and drift", {"auc": None, "drift": False}, False),
        ("auc < 0.7 and drift", {"auc": None, "drift": True}, None),
        ("auc < 0.7 and drift", {"auc": 0.6, "drift": True}, True),
        ("never or drift", {"drift": None}, None),
    ],
)
def test_a_trigger_has_three_answers(text, facts, holds):
    assert parse_trigger(text).holds(facts) is holds


def test_a_comparison_with_the_champion_is_not_known_from_facts():
    assert parse_gate("auc > champion").holds({"auc": 0.9}) is None


@pytest.mark.parametrize(
    ("value", "op", "bound", "expected"),
    [
        (1.0, ">=", 1.0, True),
        (1.0, ">", 1.0, False),
        (1.0, "<=", 1.0, True),
        (1.0, "<", 1.0, False),
        (math.nan, ">=", 0.0, False),
    ],
)
def test_compare_means_what_the_sign_says(value, op, bound, expected):
    assert compare(value, op, bound) is expected


def test_every_metric_knows_its_direction():
    lower = {name for name, metric in METRICS.items() if metric.better == "lower"}
    assert lower == {"logloss", "brier", "rmse", "mae", "p99_ms", "size_mb"}
    assert set(METRICS) - lower == {"auc", "accuracy", "r2"}
