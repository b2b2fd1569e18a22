"""The report on a window: realised quality, coverage of labels, drift. Judged, not acted upon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, cast

import numpy as np
import numpy.typing as npt
import polars as pl

from colonnade.base import clock
from colonnade.base.errors import UsageError
from colonnade.govern.session import Session
from colonnade.monitor.join import Window, joined
from colonnade.records import canonical
from colonnade.records.canonical import Json
from colonnade.records.entry import Entry
from colonnade.records.model import Manifest, ModelVersion, Signature
from colonnade.records.prediction import FEATURE, labels_of, predictions_of
from colonnade.records.ref import Ref, parse
from colonnade.records.report import Report, VersionReport
from colonnade.records.table import TableVersion
from colonnade.stats import drift, frame, profile, quality
from colonnade.stats.drift import ColumnDrift
from colonnade.stats.reference import Reference

_WEEK: Final = timedelta(days=7)
_METRICS: Final = {
    "binary": ("auc", "accuracy", "logloss", "brier"),
    "multiclass": ("accuracy", "logloss"),
    "regression": ("rmse", "mae", "r2"),
}


def window_of(text: str) -> Window:
    """The window that a person names: ``2013-04`` a month, ``2013-04-01..2013-04-08`` days.

    Raises:
        UsageError: CN-REPORT-001.
    """
    try:
        if ".." in text:
            first, last = map(clock.instant, text.split("..", 1))
        else:
            first = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
            last = (first + timedelta(days=32)).replace(day=1)
    except (ValueError, OverflowError):  # no date, or none that a calendar of 9999 years has
        first = last = datetime.min.replace(tzinfo=UTC)
    if first >= last:
        raise UsageError(
            "CN-REPORT-001",
            f"{text!r} is no window of event time",
            "write a month (2013-04) or two dates (2013-04-01..2013-04-08, the last is not in it)",
        )
    return first, last


def report(session: Session, endpoint: str, window: Window) -> Entry:
    """Make the report on a window and record it, as of now.

    The same window over the same predictions and labels is the same report: the one that was made.

    Raises:
        NotFoundError: CN-REF-002, the endpoint has made no prediction.
        UsageError: CN-REPORT-002, none falls into the window.
    """
    as_of = clock.now()
    newest = session.version(Ref("deployment", endpoint))
    predicted = session.version(Ref("table", predictions_of(endpoint)))
    columns = predicted.read(TableVersion).columns
    features = [name for name in columns if name.startswith(FEATURE)]
    rows = joined(session, endpoint, window, as_of, features)
    if rows.is_empty():
        raise UsageError(
            "CN-REPORT-002",
            f"endpoint {endpoint} made no prediction with an event time in "
            f"{clock.stamp(window[0])} to {clock.stamp(window[1])}",
            f"name a window that has some; the newest deployment is {newest.ref.short}",
        )
    versions = _versions(rows)
    body = _body(session, endpoint, window, clock.stamp(as_of), rows)
    subject = Ref("report", endpoint)
    labels = session.newest("table", labels_of(endpoint))
    made_from = [predicted.subject, *([labels.subject] if labels else [])]
    made_from += [f"model/{version}" for version in versions]
    with session.change("report", subject) as change:
        change.queue(subject)
        for entry in session.made_from(predicted.subject):
            if _is_report(entry, endpoint, made_from) and entry.read(Report).window == body.window:
                return entry
        return change.version("report", subject, lambda _: body, made_from)


def _is_report(entry: Entry, endpoint: str, made_from: list[str]) -> bool:
    named = (entry.kind, entry.ref.name, entry.made_from)
    return named == ("report", endpoint, tuple(made_from))


def _versions(rows: pl.DataFrame) -> list[str]:
    """``name@version`` of the models that answered, the newest last."""
    found = rows.select("model", "version").unique().sort("model", "version").rows()
    return [f"{model}@{version}" for model, version in found]


def _body(
    session: Session, endpoint: str, window: Window, as_of: str, rows: pl.DataFrame
) -> Report:
    versions = _versions(rows)
    manifests = {version: _manifest(session, version) for version in versions}
    signature = manifests[versions[-1]].signature
    labelled = rows.filter(pl.col("label").is_not_null())
    metrics = _metrics(labelled, signature)
    verdicts, alarms, reference = _drift(session, versions[-1], rows, signature)
    facts: dict[str, float | bool | None] = {name: found.value for name, found in metrics.items()}
    return Report(
        endpoint=endpoint,
        window=(clock.stamp(window[0]), clock.stamp(window[1])),
        as_of=as_of,
        predictions=rows.height,
        labelled=labelled.height,
        base_rate=_base_rate(labelled, signature),
        metrics=cast("dict[str, Json]", canonical.plain(metrics)),
        unscored=_unscored(rows, signature),
        versions=tuple(
            _version(version, rows, manifests[version].signature) for version in versions
        ),
        drift=verdicts,
        alarms=alarms,
        reference=reference,
        facts=facts | {"drift": bool(alarms)},
    )


def _version(version: str, rows: pl.DataFrame, signature: Signature) -> VersionReport:
    model, _, number = version.partition("@")
    mine = rows.filter(pl.col("model") == model, pl.col("version") == int(number))
    labelled = mine.filter(pl.col("label").is_not_null())
    return VersionReport(
        model=version,
        predictions=mine.height,
        labelled=labelled.height,
        metrics=cast("dict[str, Json]", canonical.plain(_metrics(labelled, signature))),
    )


def _metrics(labelled: pl.DataFrame, signature: Signature) -> dict[str, quality.Estimate]:
    """Over the rows that were given a score: a model may answer null to a missing value."""
    if signature.task != "multiclass":
        labelled = labelled.filter(pl.col("score").is_finite())
    y = _labels(labelled, signature)
    score = (
        np.array(labelled["scores"].to_list(), dtype=np.float64)
        if signature.task == "multiclass"
        else labelled["score"].to_numpy()
    )
    return {name: quality.estimate(name, y, score) for name in _METRICS[signature.task]}


def _unscored(rows: pl.DataFrame, signature: Signature) -> int:
    if signature.task == "multiclass":
        return 0
    return rows.height - int(rows["score"].is_finite().fill_null(value=False).sum())


def _labels(labelled: pl.DataFrame, signature: Signature) -> npt.NDArray[np.float64]:
    if signature.task == "regression":
        return labelled["label"].cast(pl.Float64).to_numpy()
    places = {word: float(place) for place, word in enumerate(signature.classes)}
    column = labelled["label"].replace_strict(places, default=None, return_dtype=pl.Float64)
    return column.to_numpy()


def _base_rate(labelled: pl.DataFrame, signature: Signature) -> float | None:
    if labelled.is_empty() or signature.task == "multiclass":
        return None
    value = float(_labels(labelled, signature).mean())
    return value if math.isfinite(value) else None


def _drift(
    session: Session, version: str, rows: pl.DataFrame, signature: Signature
) -> tuple[dict[str, Json], tuple[str, ...], str | None]:
    """Week by week against the training rows of the newest version that answered."""
    entry = session.version(parse(f"model/{version}"))
    files = entry.read(ModelVersion).files
    if "profile.json" not in files:
        return {}, (), None
    reference = canonical.read_json(session.blob(files["profile.json"]), Reference)
    names = [f.name for f in signature.features if FEATURE + f.name in rows.columns]
    verdicts = [
        drift.compare(
            reference.profile,
            profile.summarise(frame.columns(week), reference.profile),
            reference.floors,
        )
        for week in _weeks(rows, names)
    ]
    alarms = drift.alarm(verdicts)
    summary = {name: _summary(name, verdicts) for name in names}
    return summary, tuple(alarm.column for alarm in alarms), version


def _weeks(rows: pl.DataFrame, features: Sequence[str]) -> list[pl.DataFrame]:
    """The features by ISO week of event time, the oldest week first."""
    weeks = rows.sort("event_time").with_columns(pl.col("event_time").dt.truncate("1w"))
    return [
        week.select(pl.col(FEATURE + name).alias(name) for name in features)
        for week in weeks.partition_by("event_time", maintain_order=True)
    ]


def _summary(name: str, verdicts: Sequence[Sequence[ColumnDrift]]) -> Json:
    mine = [verdict for week in verdicts for verdict in week if verdict.column == name]
    drifted = [verdict for verdict in mine if verdict.drifted]
    newest = (drifted or mine)[-1:]
    return {
        "weeks": len(mine),
        "drifted": len(drifted),
        "newest": canonical.plain(newest[0]) if newest else None,
    }


def _manifest(session: Session, version: str) -> Manifest:
    entry = session.version(parse(f"model/{version}"))
    data = session.blob(entry.read(ModelVersion).files["manifest.json"])
    return canonical.read_json(data, Manifest)
