from __future__ import annotations

import contextlib
import math

from hypothesis import given
from hypothesis import strategies as st

from colonnade.base.errors import UsageError
from colonnade.records.condition import METRICS, AllOf, AnyOf, parse_gate, parse_trigger

OPS = st.sampled_from([">=", ">", "<=", "<"])
SPACES = st.sampled_from([" ", "  ", "\t"])


@st.composite
def comparisons(draw):
    metric = METRICS[draw(st.sampled_from(sorted(METRICS)))]
    low, high = max(metric.low, -1e300), min(metric.high, 1e300)
    value = draw(st.floats(low, high))
    space = draw(SPACES)
    return f"{metric.name}{space}{draw(OPS)}{space}{value!r}"


@st.composite
def gates(draw):
    text = draw(comparisons())
    column = draw(st.from_regex(r"[a-zA-Z_]\w{0,10}", fullmatch=True))
    sliced = draw(st.booleans()) and METRICS[text.split()[0]].of_rows
    return f"{text} by {column}" if sliced else text


def joined(terms):
    return st.one_of(
        st.tuples(terms, st.sampled_from([" or ", " and "]), terms).map("".join),
        terms.map(lambda term: f"({term})"),
    )


TRIGGERS = st.recursive(
    st.one_of(comparisons(), st.just("drift"), st.just("never")), joined, max_leaves=12
).filter(lambda text: text.count("(") <= 16)

FACTS = st.dictionaries(
    st.sampled_from([*METRICS, "drift"]),
    st.one_of(st.none(), st.booleans(), st.floats(-10, 10), st.just(float("nan"))),
)

SIGNS = [">=", ">", "<=", "<", "=", "(", ")", "\n", "é", "\x00"]
PLAIN = ["0.6", "5", "-1", "champion", "by", "carrier", "or", "and", "drift", "never"]
WORDS = st.sampled_from([*METRICS, *SIGNS, *PLAIN])
TEXTS = st.one_of(st.text(max_size=80), st.lists(WORDS, max_size=12).map(" ".join))


@given(gates())
def test_a_gate_survives_being_written(text):
    gate = parse_gate(text)
    assert parse_gate(str(gate)) == gate
    assert parse_gate(gate.text) == gate


@given(TRIGGERS)
def test_a_trigger_survives_being_written(text):
    trigger = parse_trigger(text)
    assert parse_trigger(str(trigger)) == trigger


@given(TEXTS)
def test_any_text_is_read_or_refused_by_one_error(text):
    for parse in (parse_gate, parse_trigger):
        try:
            condition = parse(text)
        except UsageError as error:
            shown, caret = error.message.splitlines()[-2:]
            assert caret.strip() == "^"
            assert len(caret) <= len(shown) + 1
        else:
            assert parse(str(condition)) == condition


def known(facts, trigger):
    """What a person would say of a trigger whose facts are all known: plain two-valued logic."""
    if isinstance(trigger, AllOf):
        return all(known(facts, term) for term in trigger.terms)
    if isinstance(trigger, AnyOf):
        return any(known(facts, term) for term in trigger.terms)
    return trigger.holds(facts)


@given(TRIGGERS, FACTS, st.floats(-10, 10), st.booleans())
def test_what_is_decided_stays_so_whatever_the_unknown_turns_out_to_be(text, facts, value, drift):
    trigger = parse_trigger(text)
    decided = trigger.holds(facts)
    filled = dict.fromkeys(METRICS, value) | {"drift": drift}
    filled |= {k: v for k, v in facts.items() if v is not None and not math.isnan(v)}
    full = trigger.holds(filled)
    assert full is known(filled, trigger)
    if decided is not None:
        assert full is decided


@given(st.integers(0, 2_000))
def test_no_depth_of_parentheses_breaks_the_parser(depth):
    with contextlib.suppress(UsageError):
        parse_trigger("(" * depth + "drift" + ")" * depth)
