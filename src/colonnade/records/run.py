"""A run: what was fitted from what, by which code and where; what it reached, by which gates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from colonnade.records.canonical import Json
from colonnade.records.code import Code

RunState = Literal["registered", "rejected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What is known when a run starts.

    Attributes:
        settings: every setting of the model's declaration.
        environment: packages, lock digest, Python, locale, threads.
        hardware: machine, processor, memory, accelerators.
        reason: why it was started.
    """

    id: str
    model: str
    table: str
    step: str
    step_parts: dict[str, Json]
    code: Code
    settings: dict[str, Json]
    environment: dict[str, str]
    hardware: dict[str, str]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Which rows were learnt from and which judged.

    Attributes:
        rows: labelled rows of the snapshot, in the order of time and key.
        order: SHA-256 over that order (the rows' keys, or the rows), so that it can be made again.
        earlier: rows that the judged fit learnt from.
        newest: rows that judged it.
        newest_from: event time of the first of them; None without a time column.
        newest_until: newest event time in the snapshot.
        rule: how the boundary was chosen, in words.
    """

    rows: int
    order: str
    earlier: int
    newest: int
    newest_from: str | None
    newest_until: str | None
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One gate, judged, with its evidence.

    Attributes:
        passed: None where it could not be judged and was only shown.
        value: the metric of the candidate.
        bound: what it was compared with: the number, or the champion's value.
        evidence: intervals, slices, the test against the champion.
        reason: one sentence.
    """

    gate: str
    passed: bool | None
    value: float | None
    bound: float | None
    evidence: dict[str, Json]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What is known when a run ends.

    Attributes:
        metrics: name -> estimate of the judged fit on the newest rows.
        agreement: largest difference between the exported and the native model, and rows compared.
        rows_digest: SHA-256 over the params and metric points in the tracker.
        champion: the model version that it was compared with.
    """

    state: RunState
    split: Split
    metrics: dict[str, Json]
    agreement: dict[str, float]
    gates: tuple[Verdict, ...]
    rows_digest: str
    champion: str | None
    wall_s: dict[str, float] = field(default_factory=dict)
