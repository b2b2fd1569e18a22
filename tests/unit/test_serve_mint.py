from __future__ import annotations

from uuid import RFC_4122, UUID

from colonnade.base import ids
from colonnade.serve.mint import Mint


def test_ids_are_uuids_of_version_7_that_tell_their_millisecond():
    identifier = Mint(lambda: 1_357_016_400_123)()
    assert UUID(identifier).version == 7
    assert UUID(identifier).variant == RFC_4122
    assert str(UUID(identifier)) == identifier
    assert ids.made_at(identifier).timestamp() * 1000 == 1_357_016_400_123


def test_ids_of_one_worker_sort_as_they_were_made_even_when_the_clock_steps_back():
    times = iter([5, 5, 4, 3, 6, 6, 2] * 100)
    mint = Mint(lambda: next(times))
    made = [mint() for _ in range(700)]
    assert made == sorted(made)
    assert len(set(made)) == 700


def test_more_ids_than_a_millisecond_can_count_go_on_in_the_next():
    mint = Mint(lambda: 7)
    made = [mint() for _ in range(10_000)]
    assert made == sorted(made)
    assert len(set(made)) == 10_000
    assert int(UUID(made[-1]).int >> 80) == 7 + 10_000 // 4096


def test_two_workers_never_make_the_same_id():
    one, other = Mint(lambda: 7), Mint(lambda: 7)
    assert not {one() for _ in range(5000)} & {other() for _ in range(5000)}
