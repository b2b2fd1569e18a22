"""Rows out of quarantine: mended or tried again, through the same contract, exactly once.

All is decided under the writer lease of the source's table: which rows are still open is read
there, and the rows come in with the same commit that says so. What was tried is kept first, in
the quarantine table; killed in between, the same call goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import polars as pl

from colonnade.base.errors import NotFoundError, UsageError
from colonnade.data import bind, check, quarantine
from colonnade.data.bind import Bound
from colonnade.data.summary import profile_of
from colonnade.govern.session import Session
from colonnade.govern.writer import Writer
from colonnade.project import Source
from colonnade.records import canonical, cell
from colonnade.records.contract import Contract
from colonnade.records.entry import Entry
from colonnade.records.quarantine import PREFIX, Dropped, Landed, Settled, spans
from colonnade.records.ref import Ref
from colonnade.records.source import JSON_SUFFIXES
from colonnade.records.table import TableVersion

Cells = dict[str, str | None]
_NAMED_ROWS: Final = 1_000  # of more, the version's spans tell which they were
_TYPED: Final = (*JSON_SUFFIXES, ".parquet")
_COLUMNS: Final = f"{cell.MALFORMED.partition('|')[0]}|columns"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What a mend or a replay came to.

    Attributes:
        entry: the version that the rows came with; the newest one where none did.
        passed: ids of rows that came in.
        failed: id -> the reasons for which a row stays.
        before: ids of rows of which the same was done before.
        unchanged: ids of rows that came as they were: they are not mended.
    """

    entry: Entry
    passed: tuple[str, ...] = ()
    failed: dict[str, list[str]] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A quarantined row as it is kept, and the cells that are tried now."""

    id: str
    file: str
    file_sha256: str
    number: int
    reasons: list[str]
    cells: str
    given: Cells

    @property
    def key(self) -> tuple[str, int]:
        return self.file_sha256, self.number


def mend(
    session: Session,
    source: Source,
    folder: Path,
    corrections: Mapping[str, Mapping[str, str | None]],
    made_from: Iterable[str] = (),
    because: str | None = None,
) -> Tried:
    """Try rows again with other cells; those that pass come in, the others stay.

    Args:
        session: whose actor may write; the version's entry names it as the mender.
        source: the declaration.
        folder: of the project.
        corrections: id of a row -> the cells that are other now; cells not named stay.
        made_from: what the corrections came from.
        because: why, in words.

    Raises:
        NotFoundError: CN-QUARANTINE-001, an id names no row; CN-REF-002, no such source.
        UsageError: CN-QUARANTINE-002, a row is not open any more; CN-QUARANTINE-003, a column
            that the contract does not have. Nothing is taken over.
    """
    with session.writer(source.name) as writer:
        newest = _newest(session, source.name, writer)
        bound = bind.bound(session, source, folder)
        contract = bound.contract
        _check_columns(contract, corrections)
        found = quarantine.chosen(quarantine.rows(session, source.name), ids=list(corrections))
        rows, before, unchanged = [], [], []
        for known in found.iter_rows(named=True) if corrections else ():
            row = _row(known, _merged(known["cells"], contract, corrections[known["id"]]))
            same = row.given == _merged(known["cells"], contract, {})
            if known["state"] != "open":
                if not same:
                    raise _not_open(source.name, known)
                before.append(row.id)
            elif same and row.reasons:
                unchanged.append(row.id)
            else:
                rows.append(row)
        try_ = _Try(session, source.name, writer, bound)
        tried = try_.settle(newest, rows, "mended", made_from, because)
    return replace(tried, before=tuple(before), unchanged=tuple(unchanged))


def replay(
    session: Session, source: Source, folder: Path, found: Sequence[str] | None = None
) -> Tried:
    """Try open rows again as they are: the contract may have changed, or the rows beside them.

    Args:
        session: whose actor may write.
        source: the declaration.
        folder: of the project.
        found: ids of the rows; None for all that are open.

    Raises:
        NotFoundError: CN-QUARANTINE-001, CN-REF-002.
    """
    with session.writer(source.name) as writer:
        newest = _newest(session, source.name, writer)
        bound = bind.bound(session, source, folder)
        open_ = quarantine.chosen(quarantine.rows(session, source.name), ids=found or ())
        open_ = open_.filter(pl.col("state") == "open")
        rows = [
            _row(known, cells)
            for known in open_.iter_rows(named=True)
            if (cells := cells_of(known["cells"])) is not None
        ]
        try_ = _Try(session, source.name, writer, bound)
        return try_.settle(newest, rows, "replayed")


def drop(session: Session, source: str, ids: Sequence[str], because: str) -> int:
    """Say that rows will never come in; returns how many were open until now.

    Raises:
        NotFoundError: CN-QUARANTINE-001, an id names no row; CN-REF-002, no such source.
        UsageError: CN-QUARANTINE-002, a row came in already. Nothing is dropped.
    """
    with session.writer(source) as writer:
        found = quarantine.chosen(quarantine.rows(session, source), ids=ids)
        for known in found.iter_rows(named=True):
            if known["state"] not in ("open", "dropped"):
                raise _not_open(source, known)
        waiting = found.filter(pl.col("state") == "open")
        if waiting.height:
            rows = {
                str(digest): spans(part["row"])
                for (digest,), part in waiting.group_by("file_sha256", maintain_order=True)
            }
            refs = [*(f"file/{digest}" for digest in rows), *_row_refs(waiting["id"])]
            subject = Ref("table", PREFIX + source)
            writer.record("drop", Dropped(rows=rows, because=because), refs, subject)
    return waiting.height


@dataclass(frozen=True, slots=True)
class _Try:
    """Rows against the contract, under the writer lease of the source's table."""

    session: Session
    source: str
    writer: Writer
    bound: Bound

    @property
    def contract(self) -> Contract:
        return self.bound.contract

    def settle(
        self,
        newest: Entry,
        rows: list[_Row],
        state: Landed,
        made_from: Iterable[str] = (),
        because: str | None = None,
    ) -> Tried:
        """Take over the rows that pass, and keep of the others why they do not."""
        if not rows:
            return Tried(entry=newest)
        good, failed = self._judge(newest, rows)
        attempts = self._keep(rows, failed, made_from, mended=state == "mended")
        passed = [row for row in rows if row.id not in failed]
        if not passed:
            return Tried(entry=newest, failed=failed)
        settled = tuple(_settled(passed, attempts, state, because))
        before = newest.read(TableVersion)
        version = replace(
            before,
            mode="merge" if before.mode == "merge" else "append",
            step=canonical.digest(
                {"contract": str(self.bound.ref), "rows": [r.id for r in passed]}
            ),
            landed=(),
            segments=(),
            profile=profile_of(self.session, good, newest),
            report=self._report(len(rows), failed),
            settled=settled,
            settled_before=before.settled_by(newest.ref.version),
        )
        refs = [str(self.bound.ref), newest.subject, *made_from]
        kept = self.session.newest("table", PREFIX + self.source)
        refs += [] if kept is None else [kept.subject]
        refs += dict.fromkeys(f"file/{row.file_sha256}" for row in passed)
        refs += _row_refs([row.id for row in passed])
        entry = self.writer.write(good, version, refs)
        return Tried(entry=entry, passed=tuple(row.id for row in passed), failed=failed)

    def _judge(self, newest: Entry, rows: list[_Row]) -> tuple[pl.DataFrame, dict[str, list[str]]]:
        """The rows that pass, typed, in their order; and of the others every reason."""
        names = [column.name for column in self.contract.columns]
        values = {name: [self._value(row, name) for row in rows] for name in names}
        frame = pl.DataFrame(values, schema=dict.fromkeys(names, pl.String))
        known = bind.known(self.session, self.bound, newest.read(TableVersion), "append")
        found = check.check(frame.lazy(), self.contract, f"rows of {self.source}", known)
        reasons: dict[int, list[str]] = dict(
            zip(found.bad["row"], found.bad["reasons"].to_list(), strict=True)
        )
        left = [place for place in range(len(rows)) if place not in reasons]
        good = found.good
        for place, rule in self._taken(newest, good):
            reasons.setdefault(left[place], []).append(rule)
        for place, row in enumerate(rows):
            if wrong := _wrong(row, self.contract):
                reasons[place] = [*wrong, *(r for r in reasons.get(place, []) if r not in wrong)]
        good = good.filter(pl.Series([place not in reasons for place in left], dtype=pl.Boolean))
        return good, {rows[place].id: why for place, why in sorted(reasons.items())}

    def _value(self, row: _Row, name: str) -> str | None:
        """A cell; a text for a missing value is one where the file's cells were texts."""
        text = row.given.get(name)
        typed = row.file.endswith(_TYPED)
        return None if not typed and text in self.contract.missing else text

    def _taken(self, newest: Entry, good: pl.DataFrame) -> Iterator[tuple[int, str]]:
        """The rows whose value of a unique column, or of several, is in the table already.

        Where rows are merged by a key, the row that is there came later than the bad one.
        """
        version = newest.read(TableVersion)
        rules = list(check.unique(self.contract))
        if version.mode == "merge":
            rule = f"{','.join(version.key)}|key"
            rules.append((version.key, rule))
            for place in good.select(version.key).is_duplicated().arg_true():
                yield place, rule
        for columns, rule in rules:
            if version.columns.keys() >= set(columns):
                table = self.session.scan(newest.ref, columns)
                wanted = good.lazy().select(columns).with_row_index("# place")
                for place in wanted.join(table, on=columns, how="semi").collect()["# place"]:
                    yield place, rule

    def _keep(
        self,
        rows: list[_Row],
        failed: Mapping[str, list[str]],
        made_from: Iterable[str],
        *,
        mended: bool,
    ) -> dict[str, int]:
        """Keep what was tried in the quarantine table; returns the number of each attempt."""
        with self.session.writer(PREFIX + self.source) as writer:
            newest = writer.newest
            assert newest is not None  # noqa: S101 (the rows are in it)
            known = quarantine.attempts(self.session, self.source)
            last = {
                (row["file_sha256"], row["row"]): row
                for row in known.sort("attempt").iter_rows(named=True)
            }
            numbers, new = {}, []
            for row in rows:
                before, why = last[row.key], failed.get(row.id, [])
                cells = _encoded(row.given) if mended else row.cells
                same = before["cells"] == cells and (
                    sorted(before["reasons"]) == sorted(why) or not (mended or why)
                )
                numbers[row.id] = before["attempt"] + (0 if same else 1)
                if not same:
                    new.append((row.file, *row.key, why, cells, numbers[row.id]))
            if new:
                frame = pl.DataFrame(new, schema=known.schema, orient="row")
                step = canonical.digest([[row[1], row[2], row[5]] for row in new])
                version = replace(
                    newest.read(TableVersion), mode="append", step=step, landed=(), segments=()
                )
                writer.write(frame, version, [newest.subject, *made_from])
        return numbers

    def _report(self, count: int, failed: Mapping[str, list[str]]) -> str:
        reasons: dict[str, int] = {}
        for why in failed.values():
            for reason in why:
                reasons[reason] = reasons.get(reason, 0) + 1
        report = {
            "contract": str(self.bound.ref),
            "files": [],
            "rows": count,
            "good": count - len(failed),
            "bad": len(failed),
            "reasons": reasons,
            "stop_above": self.contract.stop_above,
        }
        return self.session.put_blob(canonical.encode(report))


def _newest(session: Session, source: str, writer: Writer) -> Entry:
    newest = writer.newest
    if newest is None:
        session.version(Ref("table", source))
        raise NotFoundError("CN-REF-002", f"there is no table {source}", "colonnade run")
    return newest


def _row(known: dict[str, Any], given: Cells) -> _Row:
    return _Row(
        id=known["id"],
        file=known["file"],
        file_sha256=known["file_sha256"],
        number=known["row"],
        reasons=known["reasons"],
        cells=known["cells"],
        given=given,
    )


def cells_of(kept: str) -> Cells | None:
    """The cells of a row as texts; None of a line that could not be read."""
    found = json.loads(kept)
    if cell.LINE in found or cell.BYTES in found:
        return None
    if cell.OBJECT in found:
        return cell.texts(cell.members(found[cell.OBJECT].encode()) or {})
    cells: Cells = found
    return cells


def _merged(kept: str, contract: Contract, other: Mapping[str, str | None]) -> Cells:
    """A row with other cells; a line that could not be read has none of its own."""
    before = cells_of(kept) or {column.name: None for column in contract.columns}
    return {**before, **other}


def _wrong(row: _Row, contract: Contract) -> list[str]:
    """What the rules cannot see: kinds of JSON, and cells that no column takes."""
    names = {column.name for column in contract.columns}
    wrong = [_COLUMNS] if set(row.given) - names else []
    kept = json.loads(row.cells)
    if cell.OBJECT in kept:
        members = cell.members(kept[cell.OBJECT].encode()) or {}
        if row.given == cell.texts(members):
            types = {column.name: column.type for column in contract.columns}
            wrong += cell.wrong(members, types)
    return wrong


def _check_columns(contract: Contract, corrections: Mapping[str, Mapping[str, str | None]]) -> None:
    names = {column.name for column in contract.columns}
    given = {name for cells in corrections.values() for name in cells}
    if unknown := sorted(given - names):
        raise UsageError(
            "CN-QUARANTINE-003",
            f"source {contract.name}: the corrections have the column {unknown[0]!r}, which is not "
            "in the contract; nothing was taken over",
            f"name the columns as contracts/{contract.name}.yaml does",
        )


def _settled(
    rows: list[_Row], attempts: Mapping[str, int], state: Landed, because: str | None
) -> Iterator[Settled]:
    groups: dict[tuple[str, int], list[int]] = {}
    for row in rows:
        groups.setdefault((row.file_sha256, attempts[row.id]), []).append(row.number)
    for (digest, attempt), found in groups.items():
        yield Settled(
            file_sha256=digest, state=state, attempt=attempt, rows=spans(found), because=because
        )


def _encoded(cells: Cells) -> str:
    return json.dumps(cells, ensure_ascii=False, separators=(",", ":"))


def _row_refs(ids: Iterable[str]) -> list[str]:
    found = [f"row/{each}" for each in ids]
    return found if len(found) <= _NAMED_ROWS else []


def _not_open(source: str, known: Mapping[str, object]) -> UsageError:
    left_out = known["state"] == "left out"
    what = "its file is not in the table" if left_out else f"{known['state']} by {known['by']}"
    when = "" if left_out else f" at {known['at']}"
    return UsageError(
        "CN-QUARANTINE-002",
        f"source {source}: row {known['id']} is not open: {what}{when}; nothing was done",
        f"leave it out; see it: colonnade data quarantine show {source} --all",
    )
