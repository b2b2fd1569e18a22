"""What to declare for a file that nobody has described yet: the first `project.py` as facts."""

from __future__ import annotations

from dataclasses import dataclass, field

from colonnade.records.model import Task

Value = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """Key, time, label and features of a file, each with the reason.

    Attributes:
        task: what the label makes of the model.
        cast: the type that the table gives the label, ``Int64`` or ``Float64``; None: its own.
        classes: texts of the classes; empty for a regression.
        base: share of the most frequent class; None for a regression.
        rare: values of the label that too few rows have; the table leaves those rows out.
        unlabelled: rows without a label; they stay in the table and nothing is learnt from them.
        key: the columns of the business key; empty where no column tells rows apart.
        untimed: rows without a time, which the table leaves out.
        features: column -> its value in the example of a request, typical and of no single row.
        left_out: column -> why it is no feature.
    """

    rows: int
    label: str
    task: Task
    cast: str | None
    classes: tuple[str, ...]
    base: float | None
    rare: tuple[Value, ...]
    unlabelled: int
    key: tuple[str, ...]
    why_key: str
    time: str | None
    why_time: str
    untimed: int
    features: dict[str, Value | None]
    left_out: dict[str, str] = field(default_factory=dict)
