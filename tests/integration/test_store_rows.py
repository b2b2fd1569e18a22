"""The small tables: params and metrics, people and keys, the index of segments."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import IntegrityError

from colonnade.base.errors import UsageError
from colonnade.records.actor import Actor
from colonnade.records.table import Segment


def test_metric_points_come_back_by_name_and_step(stores):
    stores.runs.log("r", [("loss", 1, 0.5), ("auc", 0, 0.7), ("loss", 0, 1e20)])
    stores.runs.log("other", [("loss", 0, 9.0)])
    assert stores.runs.points("r") == [("auc", 0, 0.7), ("loss", 0, 1e20), ("loss", 1, 0.5)]


def test_a_later_point_or_param_replaces_an_earlier_one(stores):
    stores.runs.log("r", [("loss", 0, 1.0)])
    stores.runs.log("r", [("loss", 0, 2.0)])
    stores.runs.set("r", {"depth": "3", "seed": "0"})
    stores.runs.set("r", {"depth": "4"})
    assert stores.runs.points("r") == [("loss", 0, 2.0)]
    assert stores.runs.params("r") == {"depth": "4", "seed": "0"}


def test_nothing_to_log_is_nothing(stores):
    stores.runs.log("r", [])
    stores.runs.set("r", {})
    assert (stores.runs.points("r"), stores.runs.params("r")) == ([], {})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_metric_that_is_no_number_is_refused_by_name(stores, value):
    with pytest.raises(UsageError, match=r"CN-METRIC-001.* loss "):
        stores.runs.log("r", [("auc", 0, 0.7), ("loss", 0, value)])
    assert stores.runs.points("r") == []


def test_the_digest_covers_params_and_points_and_no_order(stores):
    stores.runs.log("a", [("auc", 0, 0.7), ("loss", 0, 0.1)])
    stores.runs.log("b", [("loss", 0, 0.1)])
    stores.runs.log("b", [("auc", 0, 0.7)])
    assert stores.runs.digest("a") == stores.runs.digest("b")
    stores.runs.set("b", {"depth": "3"})
    assert stores.runs.digest("a") != stores.runs.digest("b")


def test_an_actor_has_the_roles_that_were_given_last(stores):
    with stores.database.write() as connection:
        stores.people.add(connection, Actor("ada", frozenset({"viewer"})))
        stores.people.add(connection, Actor("ada", frozenset({"engineer", "approver"})))
    assert stores.people.actor("ada") == Actor("ada", frozenset({"engineer", "approver"}))
    assert stores.people.actor("nobody") is None


def test_a_revoked_key_opens_nothing_any_more(stores):
    with stores.database.write() as connection:
        kept = stores.people.add_key(connection, "admin", "a" * 64)
        shut = stores.people.add_key(connection, "admin", "b" * 64)
        assert stores.people.revoke_key(connection, shut)
        assert not stores.people.revoke_key(connection, shut)
        assert not stores.people.revoke_key(connection, "no such key")
    assert stores.people.keys()["a" * 64] == "admin"
    assert stores.people.keys().get("b" * 64) is None
    assert kept != shut


def test_a_key_belongs_to_somebody_and_is_admitted_once(stores):
    with stores.database.write() as connection:
        stores.people.add_key(connection, "admin", "a" * 64)
    for actor, digest in [("nobody", "c" * 64), ("admin", "a" * 64)]:
        with pytest.raises(IntegrityError), stores.database.write() as connection:
            stores.people.add_key(connection, actor, digest)


def _segment(number, first, last, spool="s"):
    return Segment(
        endpoint="late", spool=spool, number=number, rows=3, first_id=first, last_id=last, digest=""
    )


def test_a_prediction_is_found_by_the_range_of_its_segment(stores):
    with stores.database.write() as connection:
        stores.segments.add(connection, 1, [_segment(1, "a1", "a5"), _segment(2, "a4", "a9")])
        stores.segments.add(connection, 2, [_segment(1, "b1", "b2", "other")])
        stores.segments.add(connection, 3, [])
    assert stores.segments.find("a1") == [("late", 1)]
    assert stores.segments.find("a4") == [("late", 1)]
    assert stores.segments.find("b2") == [("late", 2)]
    assert stores.segments.find("a95") == stores.segments.find("0") == []
    assert stores.segments.known("s") == {1, 2}
    assert stores.segments.known("nobody") == set()


def test_a_segment_is_flushed_once(stores):
    with stores.database.write() as connection:
        stores.segments.add(connection, 1, [_segment(1, "a", "b")])
    with pytest.raises(IntegrityError), stores.database.write() as connection:
        stores.segments.add(connection, 2, [_segment(1, "a", "b")])
