"""What is decided in the ledger becomes what the workers answer with.

The newest deployment of an endpoint is the wish; `reconcile` makes it true: the bundle's bytes go
to every worker, are verified there, and only then does any of them switch. A refusal leaves the
old version live everywhere and is recorded once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from colonnade.base import clock
from colonnade.base.errors import ColonnadeError
from colonnade.govern.session import Session
from colonnade.records.deployment import Deployment, Loaded
from colonnade.records.entry import Entry
from colonnade.records.model import ModelVersion
from colonnade.records.ref import Ref, parse
from colonnade.serve.control import Access, Load
from colonnade.serve.supervisor import Supervisor

ACCESS_VALID_S: Final = 3600.0  # without a database, a key is believed for an hour
ACCESS_EVERY_S: Final = 2.0
NO_WORKER: Final = "CN-SERVE-003"
DIED: Final = "CN-SERVE-004"
TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class _Fact:
    """What became of a deployment, until it is in the ledger."""

    verb: str
    subject: Ref
    body: object
    made_from: str


class Rollout:
    """Keeps a supervisor's workers on the newest deployments."""

    def __init__(self, session: Session, supervisor: Supervisor) -> None:
        self._session = session
        self._supervisor = supervisor
        self._seen: dict[str, str] = {}
        self._tries: Counter[str] = Counter()
        self._facts: list[_Fact] = []
        self._access_at_s = 0.0

    def reconcile(self) -> list[str]:
        """Load what was decided since the last time; returns ``endpoint: sentence`` for each.

        What could not be recorded is recorded the next time, and not loaded again for that.
        """
        self._record()
        changes = []
        for endpoint in self._session.names("deployment"):
            entry = self._session.newest("deployment", endpoint)
            if entry is not None and self._seen.get(endpoint) != entry.id:
                changes.append(self._switch(endpoint, entry))
                self._record()
        self._refresh_access()
        return changes

    @property
    def endpoints(self) -> list[str]:
        """The endpoints that were deployed, whether their last switch succeeded or not."""
        return list(self._seen)

    def _switch(self, endpoint: str, entry: Entry) -> str:
        deployment = entry.read(Deployment)
        version = self._session.version(parse(f"model/{deployment.model}")).read(ModelVersion)
        try:
            load = Load(
                endpoint=endpoint,
                revision=entry.ref.short,
                files={n: self._session.blob(digest) for n, digest in version.files.items()},
                trusted=self._session.trusted_keys(),
                access=self._access(endpoint),
            )
            found = self._supervisor.deploy(load)
        except ColonnadeError as error:
            if self._is_tried_again(entry, error):
                return f"{endpoint}: {deployment.model} waits for a worker"
            self._seen[endpoint] = entry.id
            body = {"code": error.code, "message": error.message, "model": deployment.model}
            self._facts.append(_Fact("refuse", entry.ref, body, entry.subject))
            return f"{endpoint}: {deployment.model} was refused, the old version stays: {error}"
        self._seen[endpoint] = entry.id
        loaded = Loaded(
            model=deployment.model,
            digest=found.digest,
            key_id=found.key_id,
            took_ms=found.took_ms,
            workers=len(self._supervisor.pids),
        )
        self._facts.append(_Fact("load", entry.ref, loaded, f"model/{deployment.model}"))
        return f"{endpoint}: answers with {deployment.model} ({entry.ref.short})"

    def _is_tried_again(self, entry: Entry, error: ColonnadeError) -> bool:
        """A worker may die of something else, but not of the same bundle for ever."""
        self._tries[entry.id] += error.code == DIED
        return error.code == NO_WORKER or (error.code == DIED and self._tries[entry.id] < TRIES)

    def _record(self) -> None:
        while self._facts:
            fact = self._facts[0]
            self._session.record("predict", fact.verb, fact.subject, fact.body, [fact.made_from])
            del self._facts[0]

    def _access(self, endpoint: str) -> Access:
        return Access(
            endpoint=endpoint,
            actors=dict(self._session.access_snapshot()),
            made_at_s=clock.now_s(),
            valid_s=ACCESS_VALID_S,
        )

    def _refresh_access(self) -> None:
        now_s = clock.now_s()
        if now_s - self._access_at_s >= ACCESS_EVERY_S:
            self._access_at_s = now_s
            for endpoint in self._seen:
                self._supervisor.allow(self._access(endpoint))
