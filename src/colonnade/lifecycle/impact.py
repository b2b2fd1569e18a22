"""What a change of a contract hits: tables, models, endpoints, and who answers for them.

The declarations say what is made from what; the ledger says what is live, and who made it so.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from colonnade.govern.session import Session
from colonnade.project import Project
from colonnade.records.contract import Contract
from colonnade.records.deployment import Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One thing that reads the source, directly or through others.

    Attributes:
        version: the newest version that the ledger has; for an endpoint the model version that is
            live. None where there is none.
        columns: columns of the change that it names: its features, label, key, time.
        owner: the team or person that answers for it, as far as anybody said.
    """

    kind: str
    name: str
    version: str | None
    columns: tuple[str, ...] = ()
    owner: str | None = None


def hits(
    session: Session, project: Project, source: str, columns: Collection[str]
) -> tuple[Hit, ...]:
    """All that reads a source, in the order of the flow.

    Args:
        session: whose actor may read.
        project: the declarations.
        source: the source whose contract changes.
        columns: the columns that change.
    """
    reached = {source}
    found = [Hit(kind="source", name=source, version=_newest(session, "table", source),
                 owner=_owner(session, source))]  # fmt: skip
    for table in project.order():
        if reached & set(table.inputs):
            reached.add(table.name)
            named = [*table.key, *([table.time] if table.time else [])]
            found.append(_hit(session, "table", table.name, _both(named, columns)))
    for model in project.models.values():
        if model.table in reached:
            named = [*model.features, model.label]
            found.append(_hit(session, "model", model.name, _both(named, columns)))
            found += [
                _endpoint(session, endpoint.name)
                for endpoint in project.endpoints.values()
                if endpoint.model == model.name
            ]
    return tuple(found)


def _hit(session: Session, kind: str, name: str, columns: tuple[str, ...]) -> Hit:
    return Hit(kind=kind, name=name, version=_newest(session, kind, name), columns=columns)


def _endpoint(session: Session, name: str) -> Hit:
    entry = session.newest("deployment", name)
    live = None if entry is None else entry.read(Deployment).model
    owner = None if entry is None else entry.actor
    return Hit(kind="endpoint", name=name, version=live, owner=owner)


def _newest(session: Session, kind: str, name: str) -> str | None:
    entry = session.newest(kind, name)
    return None if entry is None else entry.ref.short


def _owner(session: Session, source: str) -> str | None:
    entry = session.newest("contract", source)
    return None if entry is None else entry.read(Contract).owner


def _both(named: Collection[str], columns: Collection[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in named if name in columns))
