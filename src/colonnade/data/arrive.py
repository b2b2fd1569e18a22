"""What a source has that its table has not: pieces to take over, each a file with its digest.

Whatever the origin, rows reach the check from a file: a landing file, or one that a slice of a
query, the pages of an answer or a push was written to. So every piece has a digest, is read
twice without asking the origin twice, and is there again after a kill.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from colonnade.base.errors import NotFoundError, UsageError
from colonnade.data import pull
from colonnade.govern.session import Session
from colonnade.project import Source
from colonnade.records.canonical import Json
from colonnade.records.entry import Entry
from colonnade.records.source import Files, Push
from colonnade.records.table import TableVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One file to take over.

    Attributes:
        name: what the ledger calls it; a landing file's path in the project.
    """

    name: str
    path: Path
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What one look at a source found.

    Attributes:
        pieces: what is new, in the order in which it is taken over.
        present: everything that can be read, taken over or not; a contract is proposed from it.
        cursor: where the next look begins; kept in the version that holds the pieces' rows.
        pulled: the slice that was asked for; None where files landed.
    """

    pieces: tuple[Piece, ...]
    present: tuple[Piece, ...]
    cursor: dict[str, Json] = field(default_factory=dict)
    pulled: pull.Slice | None = None


def look(session: Session, source: Source, folder: Path, newest: Entry | None) -> Arrival:
    """Look at a source, under its table's writer lease.

    Args:
        session: whose actor may read and write.
        source: the declaration.
        folder: of the project.
        newest: the newest version of the source's table.

    Raises:
        NotFoundError: CN-INGEST-001, nothing has landed yet.
        UsageError: CN-INGEST-002, a file that was taken over has changed; CN-SOURCE-…, a file
            cannot be read; CN-PULL-…, an origin that is asked refuses.
        UnavailableError: CN-PULL-…, an origin that is asked does not answer.
    """
    before = None if newest is None else newest.read(TableVersion)
    if isinstance(source.origin, Push):
        return _pushed(session, source, before)
    if not isinstance(source.origin, Files):
        return _asked(session, source, folder, newest)
    present = _landed(session, source, source.origin, folder)
    known = {} if before is None else before.files
    return Arrival(pieces=_new(source, present, known), present=present)


def known(source: Source, before: TableVersion | None) -> dict[str, str]:
    """The files that stay in the table beside new ones, by name.

    Pushes are counted by the cursor: a list of them all in each version would grow for ever.
    """
    gone = before is None or source.mode == "replace" or isinstance(source.origin, Push)
    return {} if before is None or gone else before.files


def keep(session: Session, source: Source, arrival: Arrival) -> None:
    """From here on the same bytes are taken over, also after a kill: some may be written."""
    if arrival.pulled is not None:
        pull.keep(session, source, arrival.pulled)


def done(session: Session, source: Source, arrival: Arrival) -> None:
    """A table version holds the rows: what was asked for or sent need not lie here any more."""
    if arrival.pulled is not None:
        session.clear_landing(source.name)
    elif isinstance(source.origin, Push):
        inbox = session.inbox("write", source.name)
        inbox.clear([piece.path for piece in arrival.pieces], _position(arrival.cursor))


def position(before: TableVersion | None) -> int:
    """The number of the newest push that the table has."""
    return 0 if before is None else _position(before.cursor)


def check_unchanged(session: Session, source: Source, pieces: tuple[Piece, ...]) -> None:
    """The rows that were read are those that the digests name.

    Raises:
        UsageError: CN-INGEST-004, a file is still being written.
    """
    for piece in pieces:
        if not piece.path.is_file() or session.digest_of(piece.path) != piece.sha256:
            raise UsageError(
                "CN-INGEST-004",
                f"source {source.name}: {piece.path.name} was written to while it was read",
                "run again when it is whole; write it elsewhere and rename it into place",
            )


def _asked(session: Session, source: Source, folder: Path, newest: Entry | None) -> Arrival:
    before = None if newest is None else newest.read(TableVersion)
    number = 1 + (0 if newest is None else newest.ref.version or 0)
    found = pull.pull(session, source, before, number)
    name = found.path.relative_to(folder).as_posix()
    piece = Piece(name=name, path=found.path, sha256=session.digest_of(found.path))
    if before is None and not found.rows:
        raise NotFoundError(
            "CN-INGEST-001",
            f"source {source.name}: what was asked has no rows yet",
            "run again when it has some",
        )
    same = before is not None and piece.sha256 in before.files.values()
    new = not same if source.mode == "replace" else found.rows > 0
    return Arrival(
        pieces=(piece,) if new else (), present=(piece,), cursor=found.cursor, pulled=found
    )


def _pushed(session: Session, source: Source, before: TableVersion | None) -> Arrival:
    inbox = session.inbox("write", source.name)
    receipts = inbox.after(position(before))
    if before is None and not receipts:
        raise NotFoundError(
            "CN-INGEST-001",
            f"source {source.name}: nothing was pushed yet",
            f"colonnade server, then: POST /v1/sources/{source.name}/rows",
        )
    pieces = tuple(
        Piece(
            name=f"push/{source.name}/{receipt.batch}",
            path=inbox.check_there(receipt),
            sha256=receipt.file_sha256,
        )
        for receipt in receipts
    )
    number = receipts[-1].number if receipts else position(before)
    return Arrival(pieces=pieces, present=pieces, cursor={"number": number})


def _position(cursor: dict[str, Json]) -> int:
    number = cursor.get("number", 0)
    return number if isinstance(number, int) else 0


def _landed(session: Session, source: Source, origin: Files, folder: Path) -> tuple[Piece, ...]:
    files = session.landing(folder, origin.path)
    if not files:
        raise NotFoundError(
            "CN-INGEST-001",
            f"source {source.name}: no file matches {origin.path}",
            f"put a CSV or Parquet file there, below {folder}",
        )
    return tuple(
        Piece(name=path.relative_to(folder).as_posix(), path=path, sha256=digest)
        for path, digest in files.items()
    )


def _new(source: Source, present: tuple[Piece, ...], known: dict[str, str]) -> tuple[Piece, ...]:
    if source.mode == "replace":
        return present if {piece.name: piece.sha256 for piece in present} != known else ()
    for piece in present:
        if known.get(piece.name, piece.sha256) != piece.sha256:
            raise UsageError(
                "CN-INGEST-002",
                f"source {source.name}: {piece.name} has changed since it was taken over "
                f"(it was {known[piece.name][:12]}…, it is {piece.sha256[:12]}…)",
                "put the old file back and land the new rows under a new name, "
                'or declare the source with mode="replace"',
            )
    return tuple(piece for piece in present if piece.name not in known)
