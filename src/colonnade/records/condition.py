"""The small language of conditions: what a gate asks of a fit, and what triggers a retraining.

A gate is one comparison, ``metric op value [by column]``, where the value is a number or the
word ``champion``: ``auc >= 0.60``, ``auc > champion``, ``auc >= 0.55 by carrier``. A trigger
joins comparisons with numbers and the words ``drift`` and ``never`` by ``and`` and ``or``
(``and`` binds tighter, parentheses are allowed): ``auc < 0.70 or drift``.

Conditions are read when they are declared, so that a mistake is shown at its character and
not weeks later. Records store a condition as its text (``str`` of it) and read it again.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, get_args

from colonnade.base.errors import UsageError
from colonnade.base.text import closest

Op = Literal[">=", ">", "<=", "<"]
WordName = Literal["drift", "never"]
Facts = Mapping[str, float | bool | None]

_OPS: Final[Mapping[Op, Callable[[float, float], bool]]] = MappingProxyType(
    {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}
)
_WORDS: Final[tuple[WordName, ...]] = get_args(WordName)
_MAX_DEPTH = 16
_EXCERPT = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A number that conditions speak of.

    Attributes:
        better: which direction is the good one.
        low: the smallest value it can have.
        high: the largest value it can have.
        of_rows: whether it is computed from labelled rows, and so exists for a slice of them.
    """

    name: str
    better: Literal["higher", "lower"]
    low: float = 0.0
    high: float = math.inf
    of_rows: bool = True


METRICS: Final[Mapping[str, Metric]] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric(name="auc", better="higher", high=1.0),
            Metric(name="accuracy", better="higher", high=1.0),
            Metric(name="logloss", better="lower"),
            Metric(name="brier", better="lower", high=1.0),
            Metric(name="rmse", better="lower"),
            Metric(name="mae", better="lower"),
            Metric(name="r2", better="higher", low=-math.inf, high=1.0),
            Metric(name="p99_ms", better="lower", of_rows=False),
            Metric(name="size_mb", better="lower", of_rows=False),
        )
    }
)
"""The one list of metric names; ``stats.quality``, the gates and the monitor use these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """``metric op value [by column]``.

    Attributes:
        value: the bound; None stands for the champion's value of the same metric.
        by: the column whose every large enough slice must fulfil it; None for all rows at once.
        text: what the user wrote; equal conditions may be written differently.
    """

    metric: str
    op: Op
    value: float | None
    by: str | None = None
    text: str = field(default="", compare=False)

    def __str__(self) -> str:
        bound = "champion" if self.value is None else repr(self.value).removesuffix(".0")
        slices = "" if self.by is None else f" by {self.by}"
        return f"{self.metric} {self.op} {bound}{slices}"

    def holds(self, facts: Facts) -> bool | None:
        """Whether it holds; None where the metric is not known, or the bound is a champion."""
        fact = _known(facts, self.metric)
        if fact is None or self.value is None:
            return None
        return compare(fact, self.op, self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """``drift``: an alarm of the monitor stands. ``never``: does not hold at any time."""

    word: WordName

    def __str__(self) -> str:
        return self.word

    def holds(self, facts: Facts) -> bool | None:
        """Whether it holds; None where the facts do not say."""
        if self.word == "never":
            return False
        fact = _known(facts, self.word)
        return None if fact is None else bool(fact)


@dataclass(frozen=True, slots=True, kw_only=True)
class AllOf:
    """Terms joined by ``and``."""

    terms: tuple[Trigger, ...]

    def __str__(self) -> str:
        return " and ".join(f"({t})" if isinstance(t, AnyOf) else str(t) for t in self.terms)

    def holds(self, facts: Facts) -> bool | None:
        """False if one term is false, else None if one is not known, else True."""
        values = [term.holds(facts) for term in self.terms]
        return False if False in values else None if None in values else True


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyOf:
    """Terms joined by ``or``."""

    terms: tuple[Trigger, ...]

    def __str__(self) -> str:
        return " or ".join(map(str, self.terms))

    def holds(self, facts: Facts) -> bool | None:
        """True if one term is true, else None if one is not known, else False."""
        values = [term.holds(facts) for term in self.terms]
        return True if True in values else None if None in values else False


Trigger = Comparison | Word | AllOf | AnyOf
"""What fires when ``holds(facts) is True``: what is not known never fires."""


def compare(value: float, op: Op, bound: float) -> bool:
    """Whether ``value op bound``; never for a NaN.

    >>> compare(0.71, ">=", 0.70)
    True
    """
    return _OPS[op](value, bound)


def parse_gate(text: str) -> Comparison:
    """Read a gate.

    >>> gate = parse_gate("auc >= 0.55 by carrier")
    >>> gate.metric, gate.op, gate.value, gate.by
    ('auc', '>=', 0.55, 'carrier')

    Raises:
        UsageError: CN-CONDITION-001, with a caret under the offending character.
    """
    parser = _Parser("gate", text)
    gate = parser.comparison()
    parser.end("`by` and a column, or the end" if gate.by is None else "the end")
    return gate


def parse_trigger(text: str) -> Trigger:
    """Read a trigger.

    >>> parse_trigger("auc < 0.70 or drift").holds({"auc": None, "drift": True})
    True

    Raises:
        UsageError: CN-CONDITION-001, with a caret under the offending character.
    """
    parser = _Parser("trigger", text)
    trigger = parser.either()
    parser.end("`and`, `or` or the end")
    return trigger


def _known(facts: Facts, name: str) -> float | None:
    """A fact, or None: a NaN is what was computed from nothing."""
    fact = facts.get(name)
    return None if fact is None or math.isnan(fact) else fact


class _Token(NamedTuple):
    """One word, number or sign of the text; ``kind`` is empty behind the last one."""

    kind: str
    text: str
    at: int


_TOKEN = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<word>[^\W\d]\w*)|(?P<op>[<>]=?)|(?P<sign>\S)"
)


class _Parser:
    """Recursive descent over the tokens of one condition."""

    def __init__(self, what: Literal["gate", "trigger"], text: str) -> None:
        self.what = what
        self.text = text
        self.tokens = [
            _Token(match.lastgroup or "", match.group(), match.start())
            for match in _TOKEN.finditer(text)
        ]
        self.next = 0
        self.depth = 0

    def either(self) -> Trigger:
        """``both (or both)*``."""
        terms = [self.both()]
        while self.accept("or"):
            terms.append(self.both())
        flat = tuple(_flatten(AnyOf, terms))
        return flat[0] if len(flat) == 1 else AnyOf(terms=flat)

    def both(self) -> Trigger:
        """``term (and term)*``."""
        terms = [self.term()]
        while self.accept("and"):
            terms.append(self.term())
        flat = tuple(_flatten(AllOf, terms))
        return flat[0] if len(flat) == 1 else AllOf(terms=flat)

    def term(self) -> Trigger:
        """A word, a comparison, or a trigger in parentheses."""
        for word in _WORDS:
            if self.accept(word):
                return Word(word=word)
        if self.peek().text != "(":
            return self.comparison()
        if self.depth == _MAX_DEPTH:
            raise self.error(f"at most {_MAX_DEPTH} parentheses in one another")
        self.next += 1
        self.depth += 1
        inner = self.either()
        self.depth -= 1
        if not self.accept(")"):
            raise self.error("`)`, `and` or `or`")
        return inner

    def comparison(self) -> Comparison:
        """``metric op value [by column]``; a trigger knows neither champion nor slices."""
        start = self.peek().at
        metric = self.metric()
        op = self.op()
        value = self.value(metric, op)
        by = self.column(metric, value) if self.what == "gate" and self.accept("by") else None
        last = self.tokens[self.next - 1]
        text = self.text[start : last.at + len(last.text)]
        return Comparison(metric=metric.name, op=op, value=value, by=by, text=text)

    def metric(self) -> Metric:
        token = self.peek()
        if token.text in METRICS:
            self.next += 1
            return METRICS[token.text]
        words = _WORDS if self.what == "trigger" else ()
        names = (*METRICS, *words)
        if token.kind == "word":
            raise self.error(f"a metric; {closest(token.text, names)}")
        raise self.error(f"a metric ({', '.join(names)})")

    def op(self) -> Op:
        token = self.peek()
        for op in _OPS:
            if token.text == op:
                self.next += 1
                return op
        raise self.error("one of " + " ".join(_OPS))

    def value(self, metric: Metric, op: Op) -> float | None:
        if self.what == "gate" and self.peek().text == "champion":
            if (">" in op) != (metric.better == "higher"):
                self.next -= 1
                better = "> or >=" if metric.better == "higher" else "< or <="
                raise self.error(f"{better}: a {metric.better} {metric.name} is the better one")
            if not metric.of_rows:
                raise self.error(f"a number: {metric.name} is not compared with the champion's")
            self.next += 1
            return None
        if self.peek().kind != "number":
            raise self.error("a number or the word champion" if self.what == "gate" else "a number")
        value = float(self.peek().text)
        if math.isinf(value) or not metric.low <= value <= metric.high:
            raise self.error(
                f"a number between {metric.low:g} and {metric.high:g} for {metric.name}"
            )
        self.next += 1
        return value

    def column(self, metric: Metric, value: float | None) -> str:
        if not metric.of_rows or value is None:
            self.next -= 1
            why = f"{metric.name} is a number of the model, it has no slices"
            raise self.error(
                f"the end: {why if value is not None else 'a champion is not compared by slices'}"
            )
        if self.peek().kind != "word":
            raise self.error("a column name")
        self.next += 1
        return self.tokens[self.next - 1].text

    def peek(self) -> _Token:
        if self.next < len(self.tokens):
            return self.tokens[self.next]
        return _Token("", "", len(self.text))

    def accept(self, text: str) -> bool:
        found = self.peek().text == text
        self.next += found
        return found

    def end(self, expected: str) -> None:
        if self.peek().kind:
            raise self.error(expected)

    def error(self, expected: str) -> UsageError:
        token = self.peek()
        found = f"found {token.text[:_EXCERPT]!r}" if token.kind else "the text ends"
        example = "auc >= 0.60" if self.what == "gate" else "auc < 0.70 or drift"
        return UsageError(
            "CN-CONDITION-001",
            f"the {self.what} cannot be read: {found}, expected {expected}\n"
            + _point(self.text, token.at),
            f"write it as in {example!r}",
        )


def _flatten(kind: type[AllOf | AnyOf], terms: Iterable[Trigger]) -> Iterable[Trigger]:
    """``(a or b) or c`` is ``a or b or c``: one meaning, one shape."""
    for term in terms:
        if isinstance(term, kind):
            yield from term.terms
        else:
            yield term


def _point(text: str, at: int) -> str:
    """The text around the character, and a caret under it."""
    start = max(0, at - _EXCERPT)
    shown = "".join(c if c.isprintable() else " " for c in text[start : at + _EXCERPT])
    return f"    {shown}\n    {' ' * (at - start)}^"
