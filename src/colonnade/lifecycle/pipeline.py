"""``colonnade run``: everything that is declared and not up to date, in the order of the flow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from colonnade.base import clock
from colonnade.base.errors import NotFoundError, UsageError
from colonnade.base.text import closest
from colonnade.compute.task import StepKey, why
from colonnade.data import online
from colonnade.data.arrive import position
from colonnade.data.ingest import ingest
from colonnade.data.spans import span_of
from colonnade.data.transform import Built, transform
from colonnade.govern.session import Session
from colonnade.lifecycle import promote
from colonnade.project import Model, Project, Source, Table
from colonnade.records import canonical
from colonnade.records.deployment import Deployment
from colonnade.records.entry import Entry
from colonnade.records.model import ModelVersion
from colonnade.records.ref import Ref
from colonnade.records.run import Run, RunResult
from colonnade.records.schedule import ON_ARRIVAL
from colonnade.records.source import Files, Push
from colonnade.records.table import TableVersion
from colonnade.train import fit

State = Literal["done", "up to date", "left", "rejected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What became of one step.

    Attributes:
        state: ``left``: another part decides (an endpoint's trigger); ``rejected``: a gate failed.
        made: the version that holds now, ``name@version``.
        why: what differed from the last time.
    """

    kind: Literal["source", "table", "model", "endpoint"]
    name: str
    state: State
    made: str | None
    detail: str
    why: tuple[str, ...] = ()


Progress = Callable[[Step], None]


def run(
    session: Session,
    project: Project,
    folder: Path,
    names: Sequence[str] = (),
    progress: Progress = lambda _: None,
    forced: bool = True,
) -> list[Step]:
    """Carry out what is wanted and not up to date.

    Args:
        session: whose actor may write, train and promote.
        project: the declarations.
        folder: the project's folder.
        names: only these and what they are made from; empty for all. A model that is named is
            fitted even where an endpoint's trigger would decide.
        progress: told about each step when it is over.
        forced: whether a model that is named is fitted whatever its endpoint's trigger says.

    Raises:
        NotFoundError: CN-RUN-001, a name is not declared.
        ColonnadeError: what the step that failed raises; steps before it stand.
    """
    steps: list[Step] = []

    def over(step: Step) -> None:
        steps.append(step)
        progress(step)

    for part in _wanted(project, names):
        if isinstance(part, Source):
            over(_source(session, part, folder))
        elif isinstance(part, Table):
            over(_table(session, part, folder))
        else:
            named = forced and part.name in names
            for step in _model(session, project, part, folder, forced=named):
                over(step)
    return steps


def backfill(
    session: Session,
    project: Project,
    folder: Path,
    name: str,
    bounds: tuple[str, str],
    progress: Progress = lambda _: None,
) -> list[Step]:
    """Make the months or days of a table one by one, each a version of its own.

    What is up to date is not done again, so a backfill that was cut off goes on where it was.

    Args:
        session: whose actor may write.
        project: the declarations.
        folder: the project's folder.
        name: of the table.
        bounds: the first and the last month or day.
        progress: told about each step when it is over.

    Raises:
        NotFoundError: CN-RUN-001, the table is not declared.
        UsageError: CN-RUN-003, it is not made of months or days; CN-RUN-004, the bounds are none.
    """
    table = project.tables.get(name)
    if table is None or table.partition is None:
        _wanted(project, [name])
        raise UsageError(
            "CN-RUN-003",
            f"{name} is not made month by month or day by day, so no part of it is made by itself",
            'declare the table with partition="month" or "day", or run it without --from and --to',
        )
    for bound in bounds:
        span_of(bound)
    steps = run(session, project, folder, table.inputs, progress) if table.inputs else []
    built = transform(session, table, folder, bounds)
    steps.append(_step(table, built))
    progress(steps[-1])
    while built.done and (built := transform(session, table, folder, bounds)).done:
        steps.append(_step(table, built))
        progress(steps[-1])
    if table.online:  # once, and not with each stretch of time
        online.publish(session, table, built.entry)
    return steps


def arrived(session: Session, project: Project, folder: Path, settled_s: float) -> dict[str, int]:
    """The files that wait for sources with ``schedule="on arrival"``.

    A file counts when it was not written to for `settled_s` seconds.

    Returns:
        Path in the project -> nanoseconds since 1970.
    """
    before_ns = int((clock.now_s() - settled_s) * 1e9)
    waiting: dict[str, int] = {}
    for source in project.sources.values():
        if source.schedule != ON_ARRIVAL:
            continue
        newest = session.newest("table", source.name)
        if isinstance(source.origin, Push):
            waiting |= _pushed(session, source, newest)
            continue
        known = {} if newest is None else newest.read(TableVersion).files
        if not isinstance(source.origin, Files):
            continue
        for path in folder.glob(source.origin.path):
            name, written_ns = path.relative_to(folder).as_posix(), path.stat().st_mtime_ns
            if name not in known and written_ns < before_ns:
                waiting[name] = written_ns
    return waiting


def _pushed(session: Session, source: Source, newest: Entry | None) -> dict[str, int]:
    after = position(None if newest is None else newest.read(TableVersion))
    waiting = session.inbox("read", source.name).after(after)
    return {f"push/{source.name}/{receipt.batch}": receipt.number for receipt in waiting}


def endpoint_of(project: Project, model: Model) -> str | None:
    """The endpoint that answers with a model, None where it is not deployed."""
    return next((e.name for e in project.endpoints.values() if e.model == model.name), None)


def fitted(
    session: Session, model: Model, folder: Path, table: Entry, champion: Entry | None, reason: str
) -> tuple[fit.Fitted, bool]:
    """The run of a model on a table version: the one that was made before, or a new one.

    A run that a gate rejected is made again when it would meet another champion. Who wants the
    same model at the same moment waits, and finds the run made.

    Returns:
        The run, and whether this call made it.
    """
    found = _made(session, model, folder, table, champion)
    if found is not None:
        return found, False
    with session.alone("train", Ref("model", model.name)):
        found = _made(session, model, folder, table, champion)
        if found is not None:
            return found, False
        return fit.fit(session, model, folder, table, champion, reason), True


def _made(
    session: Session, model: Model, folder: Path, table: Entry, champion: Entry | None
) -> fit.Fitted | None:
    key = fit.key_of(model, folder, table).digest
    against = None if champion is None else champion.ref.short
    for start in session.entries(kind="run", verb="start"):
        known = start.read(Run)
        if known.model != model.name or known.step != key:
            continue
        made = session.made_from(start.subject)
        version = next((entry for entry in made if entry.verb == "register"), None)
        for finish in session.entries(kind="run", verb="finish", subject=start.subject):
            result = finish.read(RunResult)
            if version is not None or result.champion == against:
                return fit.Fitted(known.id, result, version)
    return None


def was_deployed(session: Session, found: fit.Fitted) -> bool:
    """Whether the version was live at any time: what a person took back stays back."""
    subject = "" if found.version is None else found.version.subject
    return any(entry.kind == "deployment" for entry in session.made_from(subject))


def _wanted(project: Project, names: Sequence[str]) -> list[Source | Table | Model]:
    known = {**project.sources, **project.tables, **project.models}
    for name in names:
        if name not in known:
            raise NotFoundError(
                "CN-RUN-001",
                f"project {project.name} declares no {name!r}",
                closest(name, known),
            )
    needed, waiting = set(), list(names or known)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += project.inputs_of(name)
    parts: list[Source | Table | Model] = [
        *project.sources.values(),
        *project.order(),
        *project.models.values(),
    ]
    return [part for part in parts if part.name in needed]


def _source(session: Session, source: Source, folder: Path) -> Step:
    found = ingest(session, source, folder)
    version = found.entry.read(TableVersion)
    detail = f"{version.rows:,} rows"
    if found.done:
        late = f" ({found.late:,} of them late)" if found.late else ""
        detail = f"{found.good:,} rows taken over, {found.bad:,} into quarantine{late}; {detail}"
    detail = "; ".join([detail, *found.notes])
    return Step(
        kind="source",
        name=source.name,
        state="done" if found.done else "up to date",
        made=found.entry.ref.short,
        detail=detail,
    )


def _table(session: Session, table: Table, folder: Path) -> Step:
    """Make a table; an online one is published, also where a kill left that undone."""
    built = transform(session, table, folder)
    published = table.online and online.publish(session, table, built.entry)
    return _step(table, built, published=published)


def _step(table: Table, built: Built, *, published: bool = False) -> Step:
    rows = f"{built.entry.read(TableVersion).rows:,} rows"
    return Step(
        kind="table",
        name=table.name,
        state="done" if built.done or published else "up to date",
        made=built.entry.ref.short,
        detail=f"{rows}; published online" if published else rows,
        why=built.why,
    )


def _model(
    session: Session, project: Project, model: Model, folder: Path, *, forced: bool
) -> list[Step]:
    endpoint = endpoint_of(project, model)
    champion = None if endpoint is None else promote.champion(session, endpoint)
    trigger = None if endpoint is None else project.endpoints[endpoint].retrain
    if champion is not None and trigger is not None and not forced:
        return [_left(session, model, folder, champion, str(trigger))]
    table = session.version(Ref("table", model.table))
    found, done = fitted(session, model, folder, table, champion, "colonnade run")
    steps = [_fit_step(model, found, done=done)]
    deployment = None if endpoint is None else _deploy(session, endpoint, found)
    if deployment is not None:
        steps.append(
            Step(
                kind="endpoint",
                name=deployment.ref.name,
                state="done",
                made=deployment.ref.short,
                detail=f"answers with {deployment.read(Deployment).model}",
            )
        )
    return steps


def _deploy(session: Session, endpoint: str, found: fit.Fitted) -> Entry | None:
    """Answer with what was fitted; None where it may not, or was live at any time."""
    version = found.version
    if version is None or was_deployed(session, found):
        return None
    with session.change("promote", Ref("deployment", endpoint)) as change:
        change.queue(Ref("deployment", endpoint))
        if was_deployed(session, found):  # another command did it a moment ago
            return None
        why = ("promote", "all gates passed")
        return promote.deploy(change, endpoint, version, why, [f"run/{found.run}"])


def _left(session: Session, model: Model, folder: Path, champion: Entry, trigger: str) -> Step:
    """A model that its endpoint's trigger fits; a change that a person made is told."""
    table = session.version(Ref("table", model.table))
    start = session.entries(
        kind="run", verb="start", subject=f"run/{champion.read(ModelVersion).run}"
    )[0]
    now = fit.key_of(model, folder, table)
    before = canonical.read(start.read(Run).step_parts, StepKey)
    changes = tuple(why(replace(before, inputs=now.inputs), now))
    detail = f"its endpoint fits it again when {trigger}"
    if changes:
        detail = (
            f"what declares it has changed since {champion.ref.short}; {detail}, or now with: "
            f"colonnade run {model.name}"
        )
    return Step(
        kind="model",
        name=model.name,
        state="left",
        made=champion.ref.short,
        detail=detail,
        why=changes,
    )


def _fit_step(model: Model, found: fit.Fitted, *, done: bool) -> Step:
    stopped = fit.failed(found.result.gates)
    if found.version is None:
        detail = "; ".join(f"{verdict.gate}: {verdict.reason}" for verdict in stopped)
        return Step(
            kind="model", name=model.name, state="rejected", made=None, detail=f"run {found.run}: "
            f"{detail}",
        )  # fmt: skip
    passed = len(found.result.gates)
    return Step(
        kind="model",
        name=model.name,
        state="done" if done else "up to date",
        made=found.version.ref.short,
        detail=f"run {found.run}: {passed} gate{'' if passed == 1 else 's'} passed on "
        f"{found.result.split.newest:,} held-out rows",
    )
