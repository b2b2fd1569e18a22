from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest

from colonnade.base import clock, ids, text
from colonnade.base.errors import ColonnadeError, RefusedError, UsageError


def test_an_id_is_a_uuid_of_version_7_and_tells_when_it_was_made(monkeypatch):
    at = datetime(2013, 1, 1, 5, 0, tzinfo=UTC)
    monkeypatch.setattr("time.time", at.timestamp)
    identifier = ids.uuid7()
    assert uuid.UUID(identifier).version == 7
    assert uuid.UUID(identifier).variant == uuid.RFC_4122
    assert ids.made_at(identifier) == at


def test_ids_differ_and_sort_by_time(monkeypatch):
    moments = iter(range(1_000, 1_200))
    monkeypatch.setattr("time.time", lambda: next(moments))
    made = [ids.uuid7() for _ in range(200)]
    assert made == sorted(made)
    assert len(set(made)) == 200


def test_a_random_uuid_has_no_time_of_making():
    with pytest.raises(ValueError, match="version 4"):
        ids.made_at(str(uuid.uuid4()))


def test_a_stamp_reads_back_and_sorts_like_its_time():
    east = datetime(2013, 7, 1, 12, 0, tzinfo=timezone(timedelta(hours=2)))
    later = datetime(2013, 7, 1, 10, 0, 0, 1, tzinfo=UTC)
    assert clock.instant(clock.stamp(east)) == east
    assert clock.stamp(east) < clock.stamp(later)


def test_a_text_without_an_offset_is_utc():
    assert clock.instant("2013-07-01T10:00:00") == datetime(2013, 7, 1, 10, tzinfo=UTC)


def test_an_error_shows_its_code_its_message_and_its_fix():
    error = RefusedError("CN-X-001", "the thing is closed", "open it")
    assert str(error) == "CN-X-001: the thing is closed\n  fix: open it"
    assert isinstance(error, ColonnadeError)
    assert (error.exit_code, error.http_status) == (3, 403)


@pytest.mark.parametrize("name", ["Flights", "1st", "a-b", "", "a" * 64, "a.b", "a\n"])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(UsageError, match="CN-NAME-001"):
        text.check_name("table", name)


def test_a_name_is_returned():
    assert text.check_name("table", "late_departure2") == "late_departure2"


def test_a_misspelt_word_gets_a_hint():
    assert text.closest("fligths", ["flights", "weather"]) == "did you mean 'flights'?"
    assert text.closest("zzz", ["b", "a"]) == "known: a, b"
    assert text.closest("zzz", []) == "known: none yet"
