"""One run: fit on the earlier rows, judge on the newest, refit on all, sign and register.

The version that is registered is the same code and settings fitted again on the whole snapshot;
what the gates judged is the fit that had not seen the newest rows. Both facts are in the record.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import cast

import msgspec
import numpy as np
import polars as pl

from colonnade.base import clock, ids
from colonnade.base.errors import ColonnadeError, UsageError
from colonnade.bundle import load, manifest
from colonnade.bundle.predict import Predictor
from colonnade.compute.code import CodeError
from colonnade.compute.digest import code_digest
from colonnade.compute.task import LOCK, StepKey, environment, run_user_code, step_key
from colonnade.govern import capture
from colonnade.govern.session import Session
from colonnade.project import Model
from colonnade.records import canonical
from colonnade.records.canonical import Json
from colonnade.records.entry import Entry
from colonnade.records.model import Manifest, ModelVersion, Signature
from colonnade.records.ref import Ref
from colonnade.records.run import Run, RunResult, Verdict
from colonnade.stats import drift, frame, profile, quality
from colonnade.stats.reference import Reference
from colonnade.train import build, gate, rival
from colonnade.train.build import Snapshot, TrainingSet

METRICS = {
    "binary": ("auc", "accuracy", "logloss", "brier"),
    "multiclass": ("accuracy", "logloss"),
    "regression": ("rmse", "mae", "r2"),
}


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a run came to.

    Attributes:
        run: the run's id.
        version: the entry of the registered model version; None where a gate did not pass.
    """

    run: str
    result: RunResult
    version: Entry | None


@dataclass(slots=True)
class _Work:
    """A run under way."""

    session: Session
    model: Model
    run: Run
    table: Entry
    wall_s: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Add the seconds of a block to the run's record."""
        start = time.perf_counter()
        yield
        self.wall_s[what] = self.wall_s.get(what, 0.0) + time.perf_counter() - start


def key_of(model: Model, folder: Path, table: Entry) -> StepKey:
    """The step key of a fit: code, table version, settings, environment."""
    return step_key(
        code_digest(model.function, folder),
        {model.table: table.ref.short},
        _settings(model),
        environment(folder / LOCK),
    )


def fit(
    session: Session, model: Model, folder: Path, table: Entry, champion: Entry | None, reason: str
) -> Fitted:
    """Carry out a run on a pinned table version.

    Args:
        session: whose actor may train and register.
        model: the declaration.
        folder: the project's folder.
        table: the entry of the table version.
        champion: the entry of the model version that is live, None if there is none.
        reason: why the run is made; recorded.

    Raises:
        UsageError: the declaration or the user's function is wrong; the run is marked failed.
        VerdictError: there is too little to learn from; the run is marked failed.
        RefusedError: the exported model differs from the native one, or the champion's bundle is
            not what was signed.
    """
    key = key_of(model, folder, table)
    run = Run(
        id=ids.uuid7(),
        model=model.name,
        table=table.ref.short,
        step=key.digest,
        step_parts=cast("dict[str, Json]", canonical.plain(key)),
        code=capture.capture_code(session, folder, key.code.digest),
        settings=_settings(model),
        environment=environment(folder / LOCK) | capture.process(),
        hardware=capture.machine(),
        reason=reason,
    )
    subject = Ref("run", run.id)
    session.record("train", "start", subject, run, [table.subject, f"code/{run.code.digest}"])
    try:
        return _carry_out(_Work(session, model, run, table), champion)
    except Exception as error:
        session.record("train", "fail", subject, failure(error), [table.subject])
        raise


def failure(error: Exception) -> dict[str, str]:
    """What the ledger keeps of an error: of the user's code only that it raised.

    An exception's text may quote a row; personal data must not get into the ledger.
    """
    if isinstance(error, CodeError):
        return {"code": error.code, "message": "the user's code raised"}
    if not isinstance(error, ColonnadeError):
        what = f"an error that was not foreseen ({type(error).__name__})"
        return {"code": "CN-BUG-001", "message": what}
    return {"code": error.code, "message": error.message}


def _carry_out(work: _Work, champion: Entry | None) -> Fitted:
    model = work.model
    beside = rival.opened(work.session, champion, work.table)
    with work.timed("read"):
        found = build.snapshot(work.session, model, work.table, rival.reads(beside))
        seen = None if champion is None else champion.read(ModelVersion).trained_until
        where = build.split(found, model.holdout, model.seed, seen)
        earlier, newest = build.parts(found, where, model.seed)
    signature = build.signature(found, earlier, model)
    build.check_classes(earlier, signature, model)
    estimator, onnx = _fit(work, earlier, signature)
    with work.timed("judge"):
        predictor = _open(work, signature, onnx)
        x = build.matrix(newest, signature)
        agreement = _exporter().check_equal(estimator, predictor, x)
        theirs, unjudged = rival.scores(beside, signature, newest, where, seen)
        trial = gate.Trial(
            predictor=predictor,
            rows=newest,
            y=build.labels(newest, signature, model.label),
            scores=rival.score(predictor, newest),
            size_bytes=len(onnx),
            champion=theirs,
            champion_version=None if champion is None else champion.ref.short,
            unjudged=unjudged,
        )
        verdicts = tuple(gate.judge(condition, trial) for condition in model.gates)
        metrics = {
            name: quality.estimate(name, trial.y, trial.scores) for name in METRICS[signature.task]
        }
    _log(work, estimator, metrics)
    passed = all(verdict.passed is not False for verdict in verdicts)
    result = RunResult(
        state="registered" if passed else "rejected",
        split=where,
        metrics=cast("dict[str, Json]", canonical.plain(metrics)),
        agreement={"rows": agreement.rows, "difference": agreement.difference},
        gates=verdicts,
        rows_digest=work.session.run_rows(work.run.id)[2],
        champion=trial.champion_version,
    )
    return _close(work, found, result, where.newest_until)


def _close(work: _Work, found: Snapshot, result: RunResult, until: str | None) -> Fitted:
    session, run = work.session, work.run
    subject = Ref("run", run.id)
    if result.state == "rejected":
        session.record("train", "finish", subject, _with_times(work, result), [work.table.subject])
        return Fitted(run.id, result, None)
    signature = build.signature(found, found.rows, work.model)
    _, onnx = _fit(work, found.rows, signature)
    with work.timed("profile"):
        reference = msgspec.json.encode(_reference(found, work.model))
    model = Ref("model", work.model.name)
    with session.change("register", model) as change:
        change.append("finish", subject, _with_times(work, result), [work.table.subject])
        entry = change.version(
            "register",
            model,
            lambda number: _seal(work, number, signature, until, onnx, reference),
            [str(subject)],
        )
    return Fitted(run.id, result, entry)


def _with_times(work: _Work, result: RunResult) -> RunResult:
    return replace(result, wall_s=dict(work.wall_s))


def _fit(work: _Work, rows: pl.DataFrame, signature: Signature) -> tuple[object, bytes]:
    model = work.model
    with work.timed("fit"):
        training_set = TrainingSet(rows, signature, model.label, model.seed)
        np.random.seed(model.seed)  # noqa: NPY002 (what the user's estimator may still draw from)
        estimator = run_user_code(f"model {model.name}", lambda: model.function(training_set))
    if estimator is None:
        raise UsageError(
            "CN-TRAIN-005",
            f"model {model.name}: the function returned nothing",
            "return the fitted estimator",
        )
    with work.timed("export"):
        return estimator, _exporter().to_onnx(estimator, signature)


def _exporter() -> ModuleType:
    # scikit-learn and the converters take seconds to load: only a command that fits waits for them
    from colonnade.bundle import export  # noqa: PLC0415

    return export


def _open(work: _Work, signature: Signature, onnx: bytes) -> Predictor:
    """The fit to be judged, through the same door as a served model: sealed, then verified."""
    files = manifest.seal(
        Manifest(
            name=work.model.name,
            version=1,
            run=work.run.id,
            made_at=clock.stamp(clock.now()),
            signature=signature,
            files={},
        ),
        {manifest.MODEL: onnx},
        work.session,
    )
    return load.open_bundle(files, work.session.trusted_keys())


def _seal(
    work: _Work,
    number: int,
    signature: Signature,
    until: str | None,
    onnx: bytes,
    reference: bytes,
) -> ModelVersion:
    files = manifest.seal(
        Manifest(
            name=work.model.name,
            version=number,
            run=work.run.id,
            made_at=clock.stamp(clock.now()),
            signature=signature,
            files={},
            trained_until=until,
            snapshot=(work.table.ref.short,),
            environment=work.run.environment,
        ),
        {manifest.MODEL: onnx, manifest.PROFILE: reference},
        work.session,
    )
    return ModelVersion(
        run=work.run.id,
        digest=manifest.digest(files[manifest.MANIFEST]),
        key_id=work.session.sign(b"")[0],
        files={name: work.session.put_blob(data) for name, data in files.items()},
        task=signature.task,
        trained_until=until,
    )


def _reference(found: Snapshot, model: Model) -> Reference:
    """The profile of the snapshot, and the floors from its own ISO weeks."""
    features = list(model.features)
    whole = profile.summarise(frame.columns(found.rows, features))
    if found.time is None:
        return Reference(profile=whole, floors=drift.calibrate([]))
    weeks = found.rows.with_columns(pl.col(found.time).dt.truncate("1w").alias("# week"))
    blocks = [
        profile.summarise(frame.columns(week, features), whole)
        for week in weeks.partition_by("# week", maintain_order=True)
    ]
    return Reference(profile=whole, floors=drift.calibrate(blocks))


def _log(work: _Work, estimator: object, metrics: dict[str, quality.Estimate]) -> None:
    get_params = getattr(estimator, "get_params", dict)
    params = {f"estimator.{name}": repr(value) for name, value in get_params().items()}
    params |= {name: repr(value) for name, value in work.run.settings.items()}
    work.session.log_params(work.run.id, params)
    points = [(name, 0, found.value) for name, found in metrics.items() if found.value is not None]
    points += [(f"wall_s.{what}", 0, seconds) for what, seconds in work.wall_s.items()]
    work.session.log_metrics(work.run.id, points)


def _settings(model: Model) -> dict[str, Json]:
    return {
        "table": model.table,
        "label": model.label,
        "features": list(model.features),
        "gates": [str(condition) for condition in model.gates],
        "seed": model.seed,
        "holdout": model.holdout,
    }


def failed(verdicts: tuple[Verdict, ...]) -> list[Verdict]:
    """The gates that stand in the way."""
    return [verdict for verdict in verdicts if verdict.passed is False]
