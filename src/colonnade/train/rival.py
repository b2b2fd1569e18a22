"""The champion beside the candidate: on the same rows, seen by neither, or why that cannot be."""

from __future__ import annotations

import polars as pl

from colonnade.base.errors import UsageError
from colonnade.bundle.predict import Predictor
from colonnade.govern import models
from colonnade.govern.session import Session
from colonnade.records.entry import Entry
from colonnade.records.model import Signature
from colonnade.records.run import Split
from colonnade.records.table import TableVersion
from colonnade.train.gate import Scores


def opened(session: Session, champion: Entry | None, table: Entry) -> Predictor | None:
    """The champion, where the table's time can tell which rows it has not seen.

    Raises:
        RefusedError: its bytes are not what was signed; recorded.
    """
    if champion is None or table.read(TableVersion).time is None:
        return None
    return models.open_version(session, champion)


def reads(rival: Predictor | None) -> list[str]:
    """The columns that the champion needs of the table; the candidate may need others."""
    return [] if rival is None else [feature.name for feature in rival.signature.features]


def scores(
    rival: Predictor | None,
    signature: Signature,
    newest: pl.DataFrame,
    where: Split,
    seen_until: str | None,
) -> tuple[Scores | None, str]:
    """The champion's scores of the rows that judge, or None and why.

    Args:
        rival: the champion.
        signature: of the candidate.
        newest: the rows.
        where: the split that they come from.
        seen_until: newest event time that the champion was fitted on.
    """
    if rival is None:
        return None, "the table has no time: no rows are known that the champion has not seen"
    name, theirs = rival.version, rival.signature
    if (where.newest_from or "") <= (seen_until or ""):
        return None, f"there is no row that {name} has not seen"
    if (theirs.task, theirs.classes) != (signature.task, signature.classes):
        return None, f"{name} answers another question: {theirs.task} {', '.join(theirs.classes)}"
    lacking = [column for column in reads(rival) if column not in newest.columns]
    if lacking:
        return None, f"{name} reads {', '.join(lacking)}, which the table does not have any more"
    try:
        return score(rival, newest), ""
    except UsageError as error:
        return None, f"{name} cannot read these rows: {error.message}"


def score(predictor: Predictor, rows: pl.DataFrame) -> Scores:
    """Score raw rows on the serving path."""
    columns = [feature.name for feature in predictor.signature.features]
    return predictor.score_columns({name: rows[name].to_list() for name in columns})
