from __future__ import annotations

import pytest

from colonnade.base.errors import RefusedError
from colonnade.records.job import Job
from colonnade.store.jobs import ATTEMPTS, LEASE_S


@pytest.fixture
def want(stores, append):
    """Enqueues a job together with an entry that wants it."""

    def one(key, kind="retrain", **body):
        entry = append("action/a", "decide")
        with stores.database.write() as connection:
            stores.jobs.enqueue(connection, Job(key=key, kind=kind, body=body, wanted_by=entry.id))

    return one


def _finish(stores, job, state="done", result="r"):
    with stores.database.write() as connection:
        stores.jobs.finish(connection, job, state, result)


def test_jobs_are_claimed_oldest_first_and_by_kind(stores, want):
    want("a", ratio=1e20)
    want("b", "flush")
    want("c")
    first = stores.jobs.claim("host-a:1:0", ["retrain"])
    assert (first.key, first.state, first.owner, first.attempt) == ("a", "running", "host-a:1:0", 1)
    assert first.body == {"ratio": 1e20}
    assert stores.jobs.claim("host-a:1:0", ["retrain"]).key == "c"
    assert stores.jobs.claim("host-a:1:0", ["retrain"]) is None
    assert stores.jobs.claim("host-a:1:0", []) is None
    assert stores.jobs.claim("host-a:1:0", ["retrain", "flush"]).key == "b"


def test_the_same_key_is_one_job_whatever_its_state(stores, want):
    want("a", n=1)
    want("a", n=2)
    assert stores.jobs.get("a").body == {"n": 1}
    _finish(stores, stores.jobs.claim("host-a:1:0", ["retrain"]))
    want("a", n=3)
    assert stores.jobs.get("a").state == "done"
    assert stores.jobs.claim("host-a:1:0", ["retrain"]) is None


def test_a_finished_job_is_no_longer_open(stores, want):
    want("a")
    want("b")
    _finish(stores, stores.jobs.claim("host-a:1:0", ["retrain"]), result="run/r")
    assert stores.jobs.get("a").result == "run/r"
    assert [job.key for job in stores.jobs.open()] == ["b"]
    assert stores.jobs.get("nothing") is None


def test_a_failed_job_stays_in_sight_and_is_not_taken_again(stores, want):
    want("a")
    _finish(stores, stores.jobs.claim("host-a:1:0", ["retrain"]), "failed")
    assert [job.state for job in stores.jobs.open()] == ["failed"]
    assert stores.jobs.claim("host-a:1:0", ["retrain"]) is None


def test_a_failed_job_that_is_wanted_again_is_tried_again_from_the_start(stores, want):
    want("a", n=1)
    _finish(stores, stores.jobs.claim("host-a:1:0", ["retrain"]), "failed")
    want("a", n=2)
    again = stores.jobs.claim("host-a:1:0", ["retrain"])
    assert (again.body, again.attempt) == ({"n": 1}, 1)


def test_a_job_that_is_given_back_waits_and_was_not_tried(stores, want):
    want("a")
    for _ in range(ATTEMPTS + 1):
        job = stores.jobs.claim("host-a:1:0", ["retrain"])
        assert job.attempt == 1
        stores.jobs.give_back(job)
    assert stores.jobs.get("a").state == "waiting"
    with pytest.raises(RefusedError, match="CN-JOB-001"):
        stores.jobs.give_back(job)


def test_a_silent_owner_loses_its_job_and_cannot_finish_it(stores, want, monkeypatch):
    want("a")
    first = stores.jobs.claim("host-a:1:0", ["retrain"])
    assert stores.jobs.claim("host-b:1:0", ["retrain"]) is None
    with monkeypatch.context() as later:
        later.setattr("time.time", lambda: first.lease_until + 1)
        second = stores.jobs.claim("host-b:1:0", ["retrain"])
    assert (second.key, second.attempt, second.fence) == ("a", 2, first.fence + 1)
    with pytest.raises(RefusedError, match="CN-JOB-001"):
        _finish(stores, first)
    with pytest.raises(RefusedError, match="CN-JOB-001"):
        stores.jobs.prolong(first)
    _finish(stores, second)


def test_the_same_owner_is_fenced_too(stores, want, monkeypatch):
    want("a")
    first = stores.jobs.claim("host-a:1:0", ["retrain"])
    monkeypatch.setattr("time.time", lambda: first.lease_until + 1)
    assert stores.jobs.claim("host-a:1:0", ["retrain"]).fence == first.fence + 1
    with pytest.raises(RefusedError, match="CN-JOB-001"):
        _finish(stores, first)


def test_an_owner_that_says_it_is_alive_keeps_its_job(stores, want, monkeypatch):
    want("a")
    job = stores.jobs.claim("host-a:1:0", ["retrain"])
    monkeypatch.setattr("time.time", lambda: job.lease_until - 1)
    stores.jobs.prolong(job)
    monkeypatch.setattr("time.time", lambda: job.lease_until + LEASE_S - 2)
    assert stores.jobs.claim("host-b:1:0", ["retrain"]) is None


def test_a_job_is_finished_once(stores, want):
    want("a")
    job = stores.jobs.claim("host-a:1:0", ["retrain"])
    _finish(stores, job)
    with pytest.raises(RefusedError, match="CN-JOB-001"):
        _finish(stores, job)


def test_a_refused_finish_takes_its_whole_transaction_with_it(stores, want, monkeypatch):
    want("a")
    first = stores.jobs.claim("host-a:1:0", ["retrain"])
    monkeypatch.setattr("time.time", lambda: first.lease_until + 1)
    stores.jobs.claim("host-b:1:0", ["retrain"])

    def conclude():
        with stores.database.write() as connection:
            stores.people.add_key(connection, "admin", "1" * 64)
            stores.jobs.finish(connection, first, "done", "r")

    with pytest.raises(RefusedError):
        conclude()
    assert stores.people.keys().get("1" * 64) is None


def test_the_job_of_a_killed_process_is_taken_at_once(stores, want, start, opened, go):
    want("a")
    script = (
        opened
        + """
    from colonnade.store import process
    print(stores.jobs.claim(process.me(), ["retrain"]).key, flush=True)
    os.kill(os.getpid(), 9)
    """
    )
    assert go(start(script)) == ["a\n"]
    again = stores.jobs.claim("host-b:1:0", ["retrain"])
    assert (again.key, again.attempt) == ("a", 2)


def test_four_processes_claim_two_hundred_jobs_each_once(stores, append, start, opened, go):
    wanted_by = append("action/a", "decide").id
    with stores.database.write() as connection:
        for n in range(200):
            job = Job(key=f"job {n}", kind="retrain", body={}, wanted_by=wanted_by)
            stores.jobs.enqueue(connection, job)
    script = (
        opened
        + """
    from colonnade.store import process
    while (job := stores.jobs.claim(process.me(), ["retrain"])) is not None:
        with stores.database.write() as connection:
            stores.jobs.finish(connection, job, "done", process.me())
        print(job.key)
    """
    )
    answers = go(*(start(script) for _ in range(4)))
    claimed = [key for answer in answers for key in answer.splitlines()]
    assert sorted(claimed) == sorted(f"job {n}" for n in range(200))
    assert stores.jobs.open() == []


def test_a_job_that_ends_its_workers_is_given_up(stores, want):
    want("a")
    for _ in range(ATTEMPTS):
        assert stores.jobs.claim("host-a:1:0", ["retrain"]).key == "a"
        with stores.database.write() as connection:
            connection.exec_driver_sql("UPDATE jobs SET lease_until = 0")
    assert stores.jobs.claim("host-b:1:0", ["retrain"]) is None
    (job,) = stores.jobs.open()
    assert (job.state, job.attempt) == ("failed", ATTEMPTS)
    assert "given up" in job.result
