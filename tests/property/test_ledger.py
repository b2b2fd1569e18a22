"""What holds for every record, every value and every chain."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import pkgutil
import typing
from types import NoneType, UnionType

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colonnade import records
from colonnade.records import canonical
from colonnade.records.entry import GENESIS, Entry, merkle_root, seal
from colonnade.records.ref import KINDS, Ref, parse

_INTEGERS = st.integers(-(2**53) + 1, 2**53 - 1)
_FLOATS = st.floats(allow_nan=False, allow_infinity=False)
_JSON = st.recursive(
    st.none() | st.booleans() | _INTEGERS | _FLOATS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_SCALARS = {
    str: st.text(),
    int: _INTEGERS,
    float: _FLOATS,
    bool: st.booleans(),
    NoneType: st.none(),
}


def _values(kind):  # noqa: PLR0911 (one line a type)
    """Any value of a type that a record's field may have."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in _SCALARS:
        return _SCALARS[kind]
    if dataclasses.is_dataclass(kind):
        return _records(kind)
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin in (UnionType, typing.Union):
        return st.one_of(*map(_values, arguments))
    if origin is frozenset:
        return st.frozensets(_values(arguments[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(_values(arguments[0]), _values(arguments[1]), max_size=3)
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(_values(arguments[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*map(_values, arguments))
    assert kind is typing.Any, kind
    return _JSON


def _records(record):
    hints = typing.get_type_hints(record)
    return st.builds(record, **{field: _values(kind) for field, kind in hints.items()})


# What a user declares, what a plan passes on and what the online store holds: no entry has them.
IN_NO_ENTRY = ("source.Sql", "source.Rest", "table.Span", "online.Fact")


def _all_records():
    for module in pkgutil.iter_modules(records.__path__):
        found = vars(importlib.import_module(f"{records.__name__}.{module.name}"))
        for thing in found.values():
            if dataclasses.is_dataclass(thing) and thing.__module__.endswith("." + module.name):
                name = f"{module.name}.{thing.__name__}"
                if "._" not in name and module.name != "condition" and name not in IN_NO_ENTRY:
                    yield pytest.param(thing, id=name)


@pytest.mark.parametrize("record", list(_all_records()))
@settings(max_examples=40)
@given(data=st.data())
def test_a_record_survives_its_canonical_json(record, data):
    value = data.draw(_records(record))
    text = canonical.encode(value)
    again = msgspec.convert(canonical.decode(text), record)
    assert again == value
    assert canonical.encode(again) == text


@given(_JSON)
def test_a_canonical_text_is_read_and_written_as_itself(value):
    text = canonical.encode(value)
    assert canonical.encode(canonical.decode(text)) == text


@given(st.dictionaries(st.text(), _JSON), st.randoms(use_true_random=False))
def test_equal_values_have_equal_digests_whatever_their_order(value, random):
    items = list(value.items())
    random.shuffle(items)
    assert canonical.digest(dict(items)) == canonical.digest(value)


@given(
    st.sampled_from(KINDS),
    st.text(st.characters(exclude_characters="@", exclude_categories=["Cs"]), min_size=1).filter(
        lambda name: not any(character.isspace() for character in name)
    ),
    st.none() | st.integers(1, 10**9 - 1),
)
def test_a_reference_is_read_as_it_was_written(kind, name, version):
    ref = Ref(kind, name, version)
    assert parse(str(ref)) == ref


def _tree(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + _tree(leaves[:k]) + _tree(leaves[k:])).digest()


@given(st.lists(st.binary(max_size=32), min_size=1, max_size=200))
def test_the_merkle_root_is_the_one_of_the_rfc(leaves):
    assert merkle_root(leaves) == _tree(leaves)


_ENTRIES = st.builds(
    Entry,
    id=st.uuids().map(str),
    at=st.text(),
    actor=st.text(),
    verb=st.text(),
    kind=st.text(),
    subject=st.text(),
    made_from=st.lists(st.text()).map(tuple),
    body=st.dictionaries(st.text(), _JSON),
)
_FIELDS = ("id", "at", "actor", "verb", "kind", "subject", "made_from", "body")


@given(_ENTRIES, _ENTRIES, st.sampled_from(_FIELDS))
def test_a_hash_covers_every_field(entry, other, field):
    changed = dataclasses.replace(entry, **{field: getattr(other, field)})
    same = canonical.encode(changed) == canonical.encode(entry)
    assert (seal(changed, 1, GENESIS) == seal(entry, 1, GENESIS)) == same


@given(_ENTRIES, st.integers(1, 10**9))
def test_a_hash_covers_its_place_in_the_chain(entry, seq):
    assert seal(entry, seq, GENESIS) != seal(entry, seq + 1, GENESIS)
    assert seal(entry, seq, GENESIS) != seal(entry, seq, "1" * 64)
