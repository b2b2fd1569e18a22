from __future__ import annotations

import pytest

from colonnade.base.errors import UsageError
from colonnade.records import canonical
from colonnade.records.actor import Actor


def test_the_canonical_form_is_the_one_of_the_rfc():
    value = {"\u20ac": "Euro", "\r": [1.0, 1e30, 0.002, 333333333.33333329], "1": None}
    wanted = '{"\\r":[1,1e+30,0.002,333333333.3333333],"1":null,"\u20ac":"Euro"}'
    assert canonical.encode(value).decode() == wanted


def test_a_digest_is_the_sha_256_of_the_canonical_form():
    wanted = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert canonical.digest({}) == canonical.sha256(b"{}") == wanted
    assert canonical.hash_bytes(b"{}").hex() == wanted


@pytest.mark.parametrize("value", [1e16, 2.0**53, -1e20, 9007199254740994.0])
def test_a_large_double_is_read_as_the_double_that_was_written(value):
    again = canonical.decode(canonical.encode({"value": value}))
    assert isinstance(again["value"], float)
    assert canonical.encode(again) == canonical.encode({"value": value})


def test_the_largest_exact_integers_stay_integers():
    text = canonical.encode([2**53 - 1, 1 - 2**53])
    assert canonical.decode(text) == [2**53 - 1, 1 - 2**53]
    assert all(isinstance(number, int) for number in canonical.decode(text))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, -(2**60), "\ud800"])
def test_what_json_cannot_say_is_refused_with_a_code(value):
    with pytest.raises(UsageError, match="CN-JSON-001"):
        canonical.encode({"value": value})


def test_a_set_is_written_in_one_order():
    actor = Actor("a", frozenset({"viewer", "engineer", "approver", "admin", "service"}))
    roles = canonical.plain(actor)["roles"]
    assert roles == sorted(roles)
