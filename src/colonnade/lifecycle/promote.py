"""Which model version an endpoint answers with: promote, roll back, look up."""

from __future__ import annotations

from collections.abc import Iterable

from colonnade.base.errors import RefusedError, UsageError
from colonnade.govern.change import Change
from colonnade.govern.session import Session
from colonnade.records.deployment import Deployment
from colonnade.records.entry import Entry
from colonnade.records.model import ModelVersion
from colonnade.records.ref import Ref, parse


def live(session: Session, endpoint: str) -> Deployment | None:
    """The newest deployment of an endpoint, None where nothing was deployed yet."""
    entry = session.newest("deployment", endpoint)
    return None if entry is None else entry.read(Deployment)


def champion(session: Session, endpoint: str) -> Entry | None:
    """The model version that an endpoint answers with."""
    deployment = live(session, endpoint)
    return None if deployment is None else session.version(parse(f"model/{deployment.model}"))


def promote(
    session: Session, endpoint: str, version: Entry, reason: str, made_from: Iterable[str] = ()
) -> Entry:
    """Answer with `version` from now on.

    Raises:
        RefusedError: CN-ACCESS-001; CN-DEPLOY-004, somebody else decided at the same moment.
    """
    seen = session.newest("deployment", endpoint)
    with session.change("promote", Ref("deployment", endpoint)) as change:
        change.queue(Ref("deployment", endpoint))
        _check_unchanged(session, endpoint, seen)
        return deploy(change, endpoint, version, ("promote", reason), made_from)


def rollback(session: Session, endpoint: str, reason: str) -> Entry:
    """Answer with the version before the live one again.

    Raises:
        UsageError: CN-DEPLOY-001, there is none.
        RefusedError: CN-ACCESS-001; CN-DEPLOY-004, somebody else decided at the same moment.
    """
    seen = session.newest("deployment", endpoint)
    earlier = _before_live(_history(session, endpoint))
    if earlier is None:
        raise UsageError(
            "CN-DEPLOY-001",
            f"endpoint {endpoint} has had no other model version before the live one",
            "promote a version: colonnade model promote NAME@VERSION",
        )
    version = session.version(parse(f"model/{earlier}"))
    with session.change("promote", Ref("deployment", endpoint)) as change:
        change.queue(Ref("deployment", endpoint))
        _check_unchanged(session, endpoint, seen)
        return deploy(change, endpoint, version, ("rollback", reason), ())


def deploy(
    change: Change,
    endpoint: str,
    version: Entry,
    why: tuple[str, str],
    made_from: Iterable[str],
) -> Entry:
    """Append the deployment inside a transaction; `why` is the verb and the reason."""
    subject = Ref("deployment", endpoint)

    def body(number: int) -> Deployment:
        return Deployment(
            endpoint=endpoint,
            model=version.ref.short,
            digest=version.read(ModelVersion).digest,
            previous=Ref("deployment", endpoint, number - 1).short if number > 1 else None,
            reason=why[1],
        )

    return change.version(why[0], subject, body, [version.subject, *made_from])


def _check_unchanged(session: Session, endpoint: str, seen: Entry | None) -> None:
    """Of two that decide at once, the later one has not seen what is live now."""
    now = session.newest("deployment", endpoint)
    if now is not None and now != seen:
        raise RefusedError(
            "CN-DEPLOY-004",
            f"{now.actor} decided at the same moment: endpoint {endpoint} answers with "
            f"{now.read(Deployment).model} by now ({now.ref.short}); nothing was changed",
            "look at it with `colonnade status`, then run the command again if you still want it",
        )


def _history(session: Session, endpoint: str) -> list[tuple[str, str]]:
    """Verb and model of every deployment, the newest first; loads are not among them."""
    subject = str(Ref("deployment", endpoint))
    entries = session.entries(kind="deployment", subject=subject)
    made = [entry for entry in entries if entry.verb in ("promote", "rollback")]
    return [(entry.verb, entry.read(Deployment).model) for entry in made]


def _before_live(history: list[tuple[str, str]]) -> str | None:
    """What was live when the live version was promoted: a second roll-back goes further back."""
    if not history:
        return None
    live = history[0][1]
    promoted = history.index(("promote", live))
    return next((model for _, model in history[promoted:] if model != live), None)
