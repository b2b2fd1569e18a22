from __future__ import annotations

import threading

import pytest

from colonnade.base.errors import RefusedError, UnavailableError
from colonnade.govern.beat import beating


class _Beats:
    """Counts beats; the n-th answers with the n-th of these errors."""

    def __init__(self, *errors):
        self.count = 0
        self.errors = dict(enumerate(errors))
        self.enough = threading.Event()

    def __call__(self):
        error = self.errors.get(self.count)
        self.count += 1
        if self.count == 3:
            self.enough.set()
        if error is not None:
            raise error


def test_it_beats_until_the_block_ends():
    beats = _Beats()
    with beating(beats, 0.001):
        assert beats.enough.wait(10)
    after = beats.count
    assert not any(thread.name == "heartbeat" for thread in threading.enumerate())
    assert beats.count == after


def test_a_block_that_fails_ends_the_beat():
    with pytest.raises(KeyError), beating(_Beats(), 0.001):
        raise KeyError
    assert not any(thread.name == "heartbeat" for thread in threading.enumerate())


def test_a_refused_beat_is_the_last_one():
    beats = _Beats(RefusedError("CN-LEASE-001", "lost", ""))
    with beating(beats, 0.001):
        for thread in threading.enumerate():  # it may have ended already
            if thread.name == "heartbeat":
                thread.join(10)
        assert not any(thread.name == "heartbeat" for thread in threading.enumerate())
    assert beats.count == 1


def test_a_store_that_was_away_for_a_moment_is_asked_again():
    beats = _Beats(UnavailableError("CN-DATABASE-002", "away", ""))
    with beating(beats, 0.001):
        assert beats.enough.wait(10)
