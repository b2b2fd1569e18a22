"""A report: how an endpoint did in a window of event time, as far as was known when it was made."""

from __future__ import annotations

from dataclasses import dataclass

from colonnade.records.canonical import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionReport:
    """One model version in the window.

    Attributes:
        labelled: of its predictions, how many have a label.
        metrics: name -> estimate with its interval.
    """

    model: str
    predictions: int
    labelled: int
    metrics: dict[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was seen.

    Attributes:
        window: first moment (in) and last (out), event time.
        as_of: wall clock; labels recorded later are not in it.
        labelled: of the predictions, how many have a label.
        unscored: of the predictions, how many were answered with null; no metric counts them.
        base_rate: share of the second class among the labels; mean label of a regression.
        metrics: name -> estimate over all predictions of the window, whoever made them.
        drift: per column: in how many of the window's weeks it drifted, and the newest evidence.
        alarms: the columns whose drift is an alarm.
        reference: the model version whose training rows the drift is measured from.
        facts: what a trigger may ask for: metric values and ``drift``.
    """

    endpoint: str
    window: tuple[str, str]
    as_of: str
    predictions: int
    labelled: int
    base_rate: float | None
    metrics: dict[str, Json]
    unscored: int = 0
    versions: tuple[VersionReport, ...]
    drift: dict[str, Json]
    alarms: tuple[str, ...]
    reference: str | None
    facts: dict[str, float | bool | None]

    @property
    def coverage(self) -> float | None:
        """Share of the predictions that have a label."""
        return self.labelled / self.predictions if self.predictions else None
