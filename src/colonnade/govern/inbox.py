"""The door to what is pushed to one source; made by `Session.inbox`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from colonnade.base import clock
from colonnade.base.errors import NotFoundError, UsageError
from colonnade.govern.change import Change
from colonnade.govern.stores import Stores
from colonnade.records.push import Receipt
from colonnade.records.ref import Ref
from colonnade.store import sources


class Inbox:
    """The pushes of one source."""

    def __init__(self, stores: Stores, actor: str, source: str) -> None:
        self._stores = stores
        self._inbox = stores.inbox
        self._actor = actor
        self._source = source

    def incoming(self) -> AbstractContextManager[Path]:
        """A name for bytes that arrive; what is there at the end of the block is deleted."""
        return self._inbox.incoming(self._source)

    def find(self, key: str) -> Receipt | None:
        """The push that was acknowledged under this key."""
        return self._inbox.find(self._source, key)

    def first(self, after: int) -> Receipt | None:
        """The oldest push behind a position."""
        return next(iter(self._inbox.after(self._source, after, 1)), None)

    def after(self, number: int) -> list[Receipt]:
        """The pushes behind a position, in the order of their acknowledgement."""
        return self._inbox.after(self._source, number)

    def path(self, receipt: Receipt) -> Path:
        """The landing file of a push that waits."""
        return self._inbox.path(self._source, receipt.batch)

    def acknowledge(
        self, draft: Receipt, written: Path, agree: Callable[[Receipt | None], None], after: int
    ) -> Receipt:
        """Make the file of a push last, then say so: its receipt and its entry appear together.

        Args:
            draft: the receipt, without number, time and digest of the file.
            written: the file; it is gone from this name.
            agree: told the oldest push that waits, before anything is said; raises what it thinks.
            after: the position behind which pushes wait.

        Returns:
            The receipt; of whoever was faster with the same key.

        Raises:
            UnavailableError: CN-DISK-001, CN-DISK-002; nothing is acknowledged.
        """
        path = self._inbox.keep(self._source, draft.batch, written)
        draft = replace(draft, file_sha256=sources.digest(path), actor=self._actor)
        try:
            said = self._say(draft, agree, after)
        except UsageError:  # else the receipt may be there: a commit can succeed and not say so
            self._inbox.discard(self._source, draft.batch)
            raise
        if said.batch != draft.batch:
            self._inbox.discard(self._source, draft.batch)
        return said

    def _say(self, draft: Receipt, agree: Callable[[Receipt | None], None], after: int) -> Receipt:
        subject = Ref("source", self._source)
        with self._stores.database.write() as connection:
            change = Change(self._stores, connection, self._actor)
            change.queue(subject)  # numbers are given in the order in which they are committed
            known = self._inbox.found(connection, self._source, draft.key)
            if known is not None:
                return known
            agree(self.first(after))
            number = self._inbox.last(connection, self._source) + 1
            receipt = replace(draft, number=number, at=clock.stamp(clock.now()))
            self._inbox.add(connection, receipt)
            change.append("push", subject, receipt, [f"file/{receipt.file_sha256}"])
        return receipt

    def clear(self, taken: list[Path], position: int) -> None:
        """Delete the files of pushes that a named version holds, and what never was a push."""
        for path in taken:
            path.unlink(missing_ok=True)
        waiting = {receipt.batch for receipt in self.after(position)}
        self._inbox.sweep(self._source, waiting)

    def check_there(self, receipt: Receipt) -> Path:
        """The landing file of a push that waits.

        Raises:
            NotFoundError: CN-PUSH-007, somebody deleted it.
        """
        path = self.path(receipt)
        if not path.is_file():
            raise NotFoundError(
                "CN-PUSH-007",
                f"source {self._source}: the file of push {receipt.batch} is gone from {path}",
                "put it back from your backup; it was acknowledged and is not in the table yet",
            )
        return path
