from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from colonnade.stats.profile import MIN_ROWS, Profile, merge, summarise

floats = st.floats() | st.sampled_from([0.0, -0.0, 1.0, -999.0]) | st.floats(-10, 10)
numbers = st.lists(floats, max_size=60)
words = st.lists(st.sampled_from(["a", "b", "c", "d", "", None]) | st.text(max_size=2), max_size=60)
rows = st.tuples(numbers, words)


def profile(part: tuple[list[float], list[str | None]], reference: Profile | None = None):
    xs, cs = part
    return summarise({"x": np.array(xs, np.float64), "c": Counter(cs)}, reference)


@given(rows, rows, rows)
def test_the_merge_of_two_profiles_is_the_profile_of_both(first, a, b):
    reference = profile(first)
    both = (a[0] + b[0], a[1] + b[1])
    assert merge(profile(a, reference), profile(b, reference)) == profile(both, reference)


@given(rows, rows, rows, rows)
def test_the_order_and_grouping_of_merges_do_not_matter(first, a, b, c):
    reference = profile(first)
    x, y, z = (profile(part, reference) for part in (a, b, c))
    assert merge(x, y) == merge(y, x)
    assert merge(merge(x, y), z) == merge(x, merge(y, z))


@given(rows, rows)
def test_json_gives_the_same_profile_and_the_same_bytes(first, a):
    there = profile(a, profile(first))
    written = msgspec.json.encode(there)
    back = msgspec.json.decode(written, type=Profile)
    assert back == there
    assert msgspec.json.encode(back) == written


@given(rows, rows)
def test_every_row_is_counted_once(first, a):
    there = profile(a, profile(first))
    assert there.numbers["x"].rows == len(a[0])
    assert there.words["c"].rows == len(a[1])


@given(rows, st.randoms())
def test_the_order_of_rows_does_not_matter(first, random):
    xs = list(first[0])
    random.shuffle(xs)
    assert profile((xs, first[1])).numbers == profile(first).numbers


@given(rows)
def test_edges_ascend_and_words_are_named_for_enough_rows(first):
    there = profile(first)
    edges = there.numbers["x"].edges.values
    assert list(edges) == sorted(set(edges))
    assert all(count >= MIN_ROWS for count in there.words["c"].counts)
