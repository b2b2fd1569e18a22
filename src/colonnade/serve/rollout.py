"""What is decided in the ledger becomes what the workers answer with.

The newest deployment of an endpoint is the wish; `reconcile` makes it true: the bundle's bytes go
to every worker, are verified there, and only then does any of them switch. A refusal leaves the
old version live everywhere and is recorded once.
"""

from __future__ import annotations

from typing import Final

from colonnade.base import clock
from colonnade.base.errors import ColonnadeError
from colonnade.govern.session import Session
from colonnade.records.deployment import Deployment, Loaded
from colonnade.records.entry import Entry
from colonnade.records.model import ModelVersion
from colonnade.records.ref import parse
from colonnade.serve.control import Access, Load
from colonnade.serve.supervisor import Supervisor

ACCESS_VALID_S: Final = 3600.0  # without a database, a key is believed for an hour
ACCESS_EVERY_S: Final = 2.0
NO_WORKER: Final = "CN-SERVE-003"


class Rollout:
    """Keeps a supervisor's workers on the newest deployments."""

    def __init__(self, session: Session, supervisor: Supervisor) -> None:
        self._session = session
        self._supervisor = supervisor
        self._seen: dict[str, str] = {}
        self._access_at_s = 0.0

    def reconcile(self) -> list[str]:
        """Load what was decided since the last time; returns ``endpoint: sentence`` for each."""
        changes = []
        for endpoint in self._session.names("deployment"):
            entry = self._session.newest("deployment", endpoint)
            if entry is not None and self._seen.get(endpoint) != entry.id:
                self._seen[endpoint] = entry.id
                changes.append(self._switch(endpoint, entry))
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
            if error.code == NO_WORKER:
                del self._seen[endpoint]  # nothing was tried: it is tried again
                return f"{endpoint}: {deployment.model} waits for a worker"
            body = {"code": error.code, "message": error.message, "model": deployment.model}
            self._session.record("predict", "refuse", entry.ref, body, [entry.subject])
            return f"{endpoint}: {deployment.model} was refused, the old version stays: {error}"
        loaded = Loaded(
            model=deployment.model,
            digest=found.digest,
            key_id=found.key_id,
            took_ms=found.took_ms,
            workers=len(self._supervisor.pids),
        )
        self._session.record("predict", "load", entry.ref, loaded, [f"model/{deployment.model}"])
        return f"{endpoint}: answers with {deployment.model} ({entry.ref.short})"

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
