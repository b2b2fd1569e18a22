"""A push: what was sent becomes a landing file that lasts, is acknowledged, and waits.

Acknowledged means: the file and its folder are on the disk, and the receipt is committed. The
same key is the same push: sent again it is answered as it was, and no row comes twice. From there
on it is a piece like any landing file (`data.arrive`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from colonnade.base import disk, ids
from colonnade.base.errors import NotFoundError, UsageError, VerdictError
from colonnade.base.text import closest
from colonnade.bundle.request import Problem, RequestError
from colonnade.data import arrive, odcs, schema, shape
from colonnade.data.shape import Shape
from colonnade.govern.session import Session
from colonnade.project import Source
from colonnade.records.push import Receipt
from colonnade.records.source import Push
from colonnade.records.table import TableVersion

JSON: Final = "application/json"
ARROW: Final = "application/vnd.apache.arrow.stream"
READERS: Final[Mapping[str, Callable[[Path, Shape | None], tuple[pl.DataFrame, Shape]]]] = {
    JSON: shape.from_json,
    ARROW: shape.from_arrow,
}
MAX_KEY: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A request's body as it was received.

    Attributes:
        path: where its bytes are.
        media_type: one of `READERS`.
        sha256: of its bytes.
        key: the sender's own name for this push; None: the same bytes are the same push.
    """

    path: Path
    media_type: str
    sha256: str
    key: str | None


def pushable(sources: Mapping[str, Source], name: str) -> Source:
    """The source that is pushed to.

    Raises:
        NotFoundError: CN-PUSH-005, there is none of this name.
        VerdictError: CN-PUSH-006, its rows come from elsewhere.
    """
    if name not in sources:
        raise NotFoundError(
            "CN-PUSH-005",
            f"the project declares no source {name[:64]!r}",
            closest(name, [s.name for s in sources.values() if isinstance(s.origin, Push)]),
        )
    source = sources[name]
    if not isinstance(source.origin, Push):
        raise VerdictError(
            "CN-PUSH-006",
            f"the rows of source {name} are not pushed: its origin is "
            f"{type(source.origin).__name__}",
            f'declare it as project.source("{name}", co.Push())',
        )
    return source


def check_key(key: str | None) -> str | None:
    """The idempotency key of a request.

    Raises:
        UsageError: CN-PUSH-004, it cannot be one.
    """
    if key is not None and (not 1 <= len(key) <= MAX_KEY or not key.isprintable()):
        raise UsageError(
            "CN-PUSH-004",
            f"the idempotency key has {len(key)} characters, expected 1 to {MAX_KEY} that print",
            "send a UUID, made once for each push and sent again with it",
        )
    return key


def receive(session: Session, source: Source, folder: Path, sent: Sent) -> Receipt:
    """Acknowledge what was sent, once.

    Raises:
        RequestError: CN-PUSH-001, -002, the body cannot be read or has another shape; CN-PUSH-003,
            another body came under this key; nothing is kept.
        RefusedError: CN-ACCESS-001.
        UnavailableError: CN-DISK-001, CN-DISK-002, CN-DATABASE-002; nothing is acknowledged.
    """
    inbox = session.inbox("write", source.name)
    key = _key(sent)
    known = inbox.find(key)
    if known is None:
        known = _keep(session, source, folder, sent)
    if known.sha256 != sent.sha256:
        reason = f"another body was acknowledged under this idempotency key at {known.at}"
        fix = "make a new key for each push; send a key again with the same bytes only"
        raise RequestError("CN-PUSH-003", [Problem(None, None, reason)], fix)
    return known


def _keep(session: Session, source: Source, folder: Path, sent: Sent) -> Receipt:
    newest = session.newest("table", source.name)
    after = arrive.position(None if newest is None else newest.read(TableVersion))
    inbox = session.inbox("write", source.name)
    bound = _bound(source, folder)
    first = None if bound is not None else inbox.first(after)
    wanted = bound if first is None else first.shape
    frame, found = READERS[sent.media_type](sent.path, wanted)
    draft = Receipt(
        source=source.name, key=_key(sent), number=0, batch=ids.uuid7(), actor="", at="",
        sha256=sent.sha256, file_sha256="", size_bytes=sent.path.stat().st_size,
        rows=frame.height, shape=dict(found),
    )  # fmt: skip

    def agree(oldest: Receipt | None) -> None:
        """Two first pushes at once: the later one has the shape of the earlier, or is refused."""
        if wanted is None and oldest is not None and oldest.shape != draft.shape:
            reason = f"other columns or types than those of push {oldest.batch}, which came first"
            fix = f"send the same columns, or write contracts/{source.name}.yaml"
            raise RequestError("CN-PUSH-002", [Problem(None, None, reason)], fix)

    written = sent.path.with_suffix(".rows")
    try:
        _write(frame, written, draft.batch)
        return inbox.acknowledge(draft, written, agree, after)
    finally:
        written.unlink(missing_ok=True)


def _write(frame: pl.DataFrame, path: Path, batch: str) -> None:
    """The rows as a file of their own: what two pushes hold alike are two files."""
    try:
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            frame.write_parquet(file, metadata={"colonnade.push": batch})
    except (OSError, pl.exceptions.PolarsError) as error:
        raise disk.refused(error, path) from error


def _bound(source: Source, folder: Path) -> Shape | None:
    """The shape that the contract says; None where there is none yet."""
    path = folder / "contracts" / f"{source.name}.yaml"
    if source.contract is not None:
        contract = schema.contract_of(source.name, source.contract).contract
    elif path.exists():
        contract = odcs.read(path)
    else:
        return None
    return {column.name: column.type for column in contract.columns}


def _key(sent: Sent) -> str:
    text = f"body {sent.sha256}" if sent.key is None else f"key {sent.key}"
    return hashlib.sha256(text.encode()).hexdigest()
