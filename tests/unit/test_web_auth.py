from __future__ import annotations

from hashlib import sha256

import pytest

from colonnade.web.auth import AccessSnapshot, key_of

KEY = b"cn_2b1f"
SNAPSHOT = AccessSnapshot(
    actors={sha256(KEY).hexdigest(): "tower"}, made_at_s=1_000.0, valid_s=60.0
)


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer " + KEY)],
        [(b"authorization", b"bearer  " + KEY)],
        [(b"accept", b"*/*"), (b"x-api-key", KEY)],
    ],
)
def test_a_known_key_is_an_actor_however_it_is_sent(headers):
    assert SNAPSHOT.actor(dict(headers)) == "tower"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"Basic " + KEY)],
        [(b"authorization", b"Bearer " + KEY + b"x")],
        [(b"x-api-key", b"")],
        [(b"x-api-key", sha256(KEY).hexdigest().encode())],
    ],
)
def test_no_key_or_an_unknown_one_is_nobody(headers):
    assert SNAPSHOT.actor(dict(headers)) is None


def test_a_request_with_another_scheme_may_still_carry_a_key():
    assert key_of({b"authorization": b"Basic x", b"x-api-key": KEY}) == KEY


def test_a_snapshot_is_believed_for_a_stated_time():
    assert not SNAPSHOT.expired(1_060.0)
    assert SNAPSHOT.expired(1_060.1)
