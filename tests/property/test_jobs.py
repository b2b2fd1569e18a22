"""The jobs table as a state machine: whatever happens, one owner at a time, and done stays done."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from colonnade.base.errors import RefusedError
from colonnade.records.entry import Entry
from colonnade.records.job import Job
from colonnade.store.database import Database
from colonnade.store.jobs import ATTEMPTS, LEASE_S, Jobs
from colonnade.store.ledger import Ledger
from tests import databases

pytestmark = pytest.mark.timeout(240)
OWNERS = st.sampled_from(["host-a:1:0", "host-b:1:0", "host-c:1:0"])
KEYS = st.sampled_from(["k1", "k2", "k3", "k4"])


class JobsMachine(RuleBasedStateMachine):
    """A model beside the table: who holds what, until when."""

    claims = Bundle("claims")

    @initialize()
    def begin(self):
        self.patch = pytest.MonkeyPatch()
        self.now = 1_000.0
        self.patch.setattr("time.time", lambda: self.now)
        self.folder = tempfile.TemporaryDirectory()
        database = Database(databases.fresh(Path(self.folder.name)))
        self.database, self.jobs, self.ledger = database, Jobs(database), Ledger(database)
        self.ids = itertools.count(1)
        self.order: list[str] = []
        self.held: dict[str, tuple[Job, float]] = {}
        self.closed: dict[str, str] = {}
        self.fences: dict[str, int] = {}
        self.attempts: dict[str, int] = {}

    @rule(key=KEYS)
    def enqueue(self, key):
        entry = Entry(
            id=f"{next(self.ids):036d}", at="", actor="", verb="", kind="", subject="",
            made_from=(), body={},
        )  # fmt: skip
        with self.database.write() as connection:
            self.ledger.append(connection, entry)
            job = Job(key=key, kind="retrain", body={}, wanted_by=entry.id)
            self.jobs.enqueue(connection, job)
        if self.closed.get(key) == "failed":  # wanted again, it waits again
            del self.closed[key]
            self.attempts[key] = 0
        if key not in self.order:
            self.order.append(key)

    @rule(target=claims, owner=OWNERS)
    def claim(self, owner):
        free = [
            key
            for key in self.order
            if key not in self.closed and (key not in self.held or self.held[key][1] < self.now)
        ]
        for key in [key for key in free if self.attempts.get(key) == ATTEMPTS]:
            free.remove(key)  # given up: it ended as many owners
            del self.held[key]
            self.closed[key] = "failed"
        job = self.jobs.claim(owner, ["retrain"])
        assert (None if job is None else job.key) == next(iter(free), None)
        if job is None:
            return multiple()
        assert job.fence == self.fences.get(job.key, 0) + 1
        self.fences[job.key] = job.fence
        self.attempts[job.key] = job.attempt
        assert (job.owner, job.state) == (owner, "running")
        self.held[job.key] = (job, self.now + LEASE_S)
        return job

    @rule(job=claims)
    def prolong(self, job):
        if self._holds(job):
            self.jobs.prolong(job)
            self.held[job.key] = (job, self.now + LEASE_S)
        else:
            with pytest.raises(RefusedError, match="CN-JOB-001"):
                self.jobs.prolong(job)

    @rule(job=consumes(claims), state=st.sampled_from(["done", "failed"]))
    def finish(self, job, state):
        if self._holds(job):
            self._finish(job, state)
            del self.held[job.key]
            self.closed[job.key] = state
        else:
            with pytest.raises(RefusedError, match="CN-JOB-001"):
                self._finish(job, state)

    @rule(seconds=st.sampled_from([1.0, LEASE_S / 2, LEASE_S + 1]))
    def wait(self, seconds):
        self.now += seconds

    @invariant()
    def the_table_says_what_the_model_says(self):
        for key in self.order:
            job = self.jobs.get(key)
            if key in self.closed:
                assert job.state == self.closed[key]
            elif key in self.held:
                assert (job.state, job.owner, job.fence) == (
                    "running",
                    self.held[key][0].owner,
                    self.held[key][0].fence,
                )
            else:
                assert (job.state, job.attempt) == ("waiting", 0)
        waiting = [key for key in self.order if self.closed.get(key) != "done"]
        assert [job.key for job in self.jobs.open()] == waiting

    def teardown(self):
        if hasattr(self, "folder"):
            self.database.close()
            self.folder.cleanup()
            self.patch.undo()

    def _holds(self, job):
        return job.key in self.held and self.held[job.key][0].fence == job.fence

    def _finish(self, job, state):
        with self.database.write() as connection:
            self.jobs.finish(connection, job, state, "r")


TestJobs = JobsMachine.TestCase
TestJobs.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
