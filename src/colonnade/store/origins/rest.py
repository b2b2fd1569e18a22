"""Rows of an interface that answers with JSON, page by page, to an end that is certain."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import urljoin

import polars as pl

from colonnade.base import ids
from colonnade.base.errors import UsageError
from colonnade.records.source import CursorValue, Rest
from colonnade.store import durable
from colonnade.store.origins import secret
from colonnade.store.origins.columns import dtype_of, frame, not_taken
from colonnade.store.origins.http import Client, Page

_BATCH: Final = 50_000
_KINDS: Final[dict[type, str]] = {
    bool: "boolean", int: "integer", float: "number", str: "text", type(None): "null",
}  # fmt: skip
_Row = dict[str, object]


@contextmanager
def open_rest(origin: Rest, since: str | None, folder: Path, what: str) -> Iterator[Answer]:
    """Ask an interface for all its pages.

    Args:
        origin: the declaration.
        since: what the parameter `Rest.since` says; None for the first time.
        folder: for the pages while they are read.
        what: the source, for messages.

    Raises:
        RefusedError: CN-PULL-010, an address leads to where it must not.
        UnavailableError: CN-PULL-012, the interface does not answer; CN-DISK-001, CN-DISK-002.
        UsageError: CN-PULL-002, a reference names nothing; CN-PULL-007 to 008, columns cannot be
            taken; CN-PULL-011, it refuses; CN-PULL-013, its answer is another than was declared;
            CN-PULL-014, it does not end.
    """
    path = folder / f".{ids.uuid7()}.pages"
    client = Client(origin, what)
    try:
        with durable.writing(path), path.open("w", encoding="utf-8") as file:
            kinds = _write(file, _pages(client, origin, since, what), what)
        yield Answer(path, kinds, what)
    finally:
        client.close()
        path.unlink(missing_ok=True)


class Answer:
    """All rows of all pages, on disk."""

    ordered = False
    loose = True

    def __init__(self, path: Path, kinds: Mapping[str, set[str]], what: str) -> None:
        self._path = path
        self._what = what
        self.columns: Mapping[str, pl.DataType] = {
            name: dtype_of(found) for name, found in kinds.items()
        }

    def rows(
        self, since: CursorValue | None, below: CursorValue | None = None, only: Sequence[str] = ()
    ) -> Iterator[pl.DataFrame]:
        """All rows: which of them are old the interface was told, and may not have heeded."""
        del since, below
        schema = {name: self.columns[name] for name in only or self.columns}
        with self._path.open(encoding="utf-8") as file:
            while lines := list(islice(file, _BATCH)):
                found = [json.loads(line) for line in lines]
                yield frame([[row.get(name) for name in schema] for row in found], schema,
                            self._what)  # fmt: skip

    def count(self, upto: CursorValue) -> int | None:
        """An interface does not say."""
        del upto
        return None


def _write(file: Any, pages: Iterator[list[_Row]], what: str) -> dict[str, set[str]]:  # noqa: ANN401
    """Rows as lines; what is not flat becomes a text in JSON."""
    kinds: dict[str, set[str]] = {}
    for rows in pages:
        for row in rows:
            for name, value in row.items():
                if isinstance(value, dict | list):
                    row[name] = value = json.dumps(value, ensure_ascii=False)  # noqa: PLW2901
                elif isinstance(value, int) and abs(value) >= 2**63:
                    raise not_taken(what, name, "holds an integer of 64 bits and more",
                                    "have the interface write it as a text")  # fmt: skip
                kinds.setdefault(name, set()).add(_KINDS[type(value)])
            file.write(json.dumps(row) + "\n")
    return kinds


def _pages(client: Client, origin: Rest, since: str | None, what: str) -> Iterator[list[_Row]]:
    url = origin.url
    params = {name: secret.fill(str(value)) for name, value in origin.params.items()}
    if since is not None and origin.since is not None:
        params[origin.since] = since
    turn = _Turn(origin, what)
    params |= turn.first()
    for _ in range(int(origin.max_pages)):
        page = client.get(url, params)
        answer = _decoded(page.body, what)
        rows = _rows(answer, origin, what)
        turn.check_new(rows, page.body)
        yield rows
        following = turn.following(page, answer, rows)
        if following is None:
            return
        url, more = following
        params = params | more if more else {}  # the address of a next page has its own
    raise _endless(what, f"after {origin.max_pages:,} pages there is still a next one")


class _Turn:
    """From one page to the next."""

    def __init__(self, origin: Rest, what: str) -> None:
        self._origin = origin
        self._what = what
        self._how, _, self._word = (origin.next or "none").partition(":")
        self._seen: set[bytes] = set()
        self._asked: set[str] = set()
        self._number = int(origin.params.get(self._word, 1 if self._how == "page" else 0))

    def first(self) -> dict[str, str]:
        """What the first request says of its place."""
        return {self._word: str(self._number)} if self._how in ("page", "offset") else {}

    def check_new(self, rows: list[_Row], body: bytes) -> None:
        """A page that was there already would come again for ever."""
        digest = hashlib.sha256(body).digest()
        if rows and digest in self._seen:
            raise _endless(self._what, "a page came a second time")
        self._seen.add(digest)

    def following(
        self, page: Page, answer: object, rows: list[_Row]
    ) -> tuple[str, dict[str, str]] | None:
        """Address and parameters of the next page; None at the end."""
        if self._how in ("page", "offset"):
            self._number += 1 if self._how == "page" else len(rows)
            return (self._origin.url, self.first()) if rows else None
        if self._how == "cursor":
            name, _, path = self._word.partition("=")
            token = self._token(_at(answer, path))
            return None if token is None else (self._origin.url, {name: token})
        if self._how == "link":
            url = page.next
        elif self._how == "url":
            token = self._token(_at(answer, self._word))
            url = None if token is None else urljoin(page.url, token)
        else:
            url = None
        if url is not None:
            self._once(url)
        return None if url is None else (url, {})

    def _token(self, value: object) -> str | None:
        if value is None or value == "" or value is False:
            return None
        if not isinstance(value, str | int):
            raise _not_declared(self._what, f"what names the next page ({self._word}) is no text")
        if self._how == "cursor":
            self._once(str(value))
        return str(value)

    def _once(self, place: str) -> None:
        if place in self._asked:
            raise _endless(self._what, "a page names one as the next that was there already")
        self._asked.add(place)


def _decoded(body: bytes, what: str) -> object:
    try:
        return json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise _not_declared(what, "the answer is no JSON") from None


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


def _rows(answer: object, origin: Rest, what: str) -> list[_Row]:
    found = _at(answer, origin.rows) if origin.rows else answer
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        where = origin.rows or "the answer"
        keys = ", ".join(map(str, list(answer)[:10])) if isinstance(answer, dict) else "no object"
        raise _not_declared(what, f"{where} is no list of objects (the answer has: {keys:.200})")
    return found


def _at(answer: object, path: str) -> object:
    for name in path.split("."):
        if not isinstance(answer, dict):
            return None
        answer = answer.get(name)
    return answer


def _not_declared(what: str, found: str) -> UsageError:
    return UsageError(
        "CN-PULL-013",
        f"{what}: the interface answers otherwise than was declared: {found}",
        'mend rows= or next= of co.Rest: rows="data.items" is the list items in the object data',
    )


def _endless(what: str, why: str) -> UsageError:
    return UsageError(
        "CN-PULL-014",
        f"{what}: the pages do not end: {why}; nothing was taken over",
        "mend next= of co.Rest, or allow more: max_pages=, max_bytes=",
    )
