"""Where a source's rows come from (files, a query, an interface), and what landed, by digest.

An origin is a declaration: it names a secret (``env:NAME``, ``file:/path``) and never holds one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Final
from urllib.parse import urlsplit

from colonnade.base.errors import UsageError
from colonnade.base.text import is_a

JSON_SUFFIXES: Final = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
_READERS_WORDS: Final = {  # what a reader says, which may quote a cell -> what it means
    "found more fields": "a line has more cells than the first line has names",
    "could not parse": "a quote is opened and not closed, or stands inside a cell that has none",
    "invalid utf-8": "it is no text in UTF-8",
    "is encrypted": "it is encrypted, expected a zip without a password",
    "end-of-stream marker": "it ends in the middle",
    "Not a gzipped file": "it is no gzip",
    "empty CSV": "it is empty, expected a line with the names of the columns",
}
REFERENCE: Final = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:/[^\0]+")
"""What names a secret as a whole."""
INNER: Final = re.compile(r"\{(env:[A-Za-z_][A-Za-z0-9_]*|file:/[^\0{}]+)\}")
"""What names a secret within a text: ``Bearer {env:TOKEN}``."""
TABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)?")
_SELECT: Final = re.compile(r"\s*(select|with)\b", re.IGNORECASE)
_QUIET: Final = re.compile(  # where a semicolon separates nothing
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|--[^\n]*|/\*.*?\*/", re.DOTALL
)
_LAG: Final = re.compile(r"(\d{1,6}) ?(second|minute|hour|day|week)s?")
_UNITS_S: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_SECRET: Final = re.compile(
    r"authorization|cookie|token|secret|password|passwd|signature|(api|access|private)[-_]?key",
    re.IGNORECASE,
)
_NEXT: Final = re.compile(r"link|url:\S+|page:\S+|offset:\S+|cursor:[^\s=]+=\S+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Files that land in the project's folder.

    Attributes:
        path: a file or a glob, relative to the project's folder.
    """

    path: str


@dataclass(frozen=True, slots=True)
class Sql:
    """A table or a query of a database: SQLite, PostgreSQL, MySQL or MariaDB.

    Attributes:
        url: what names the database's address, such as ``env:SHOP_DATABASE_URL``; never itself.
        query: the name of a table, or one SELECT.
        cursor: a column that grows with every new or changed row; each pull begins where the
            last one ended. None: each pull takes all rows.
        lag: how far before its end a pull looks again, such as ``1 hour``, or a number for a
            cursor of numbers: rows that became visible late are found there.
        timeout_s: after so long without an answer the pull is given up.

    Raises:
        UsageError: CN-PULL-001, it cannot be used as it was written; CN-PULL-003, the query is
            not one SELECT.
    """

    url: str
    query: str
    _: KW_ONLY
    cursor: str | None = None
    lag: str | int | None = None
    timeout_s: float = 300.0

    def __post_init__(self) -> None:
        if not is_a(self.url, str) or REFERENCE.fullmatch(self.url) is None:
            raise _wrong(
                "the address of a database is written out, or is none",  # quoted, it would leak
                'name what holds it: co.Sql("env:SHOP_DATABASE_URL", ...) for a variable of the '
                'environment, "file:/run/secrets/shop" for a file',
            )
        if not is_a(self.query, str) or TABLE.fullmatch(self.query) is None:
            _check_select(self.query)
        _check_cursor(self.cursor, self.lag)
        _check_number("timeout_s", self.timeout_s)


@dataclass(frozen=True, slots=True)
class Rest:
    """Rows that an interface answers with as JSON, page by page.

    A value of `params` and `headers` may be, or hold in braces, what names a secret:
    ``env:SHOP_TOKEN``, ``Bearer {env:SHOP_TOKEN}``.

    Attributes:
        url: of the first page; http or https.
        rows: where in the answer the list of rows is (``data.items``); empty: the answer is it.
        next: how the next page is found. ``link``: the header of that name. ``url:FIELD``: a
            field of the answer holds its address. ``page:PARAM``, ``offset:PARAM``: a parameter
            counts pages or rows until a page is empty. ``cursor:PARAM=FIELD``: a field of the
            answer is sent as a parameter. None: there is one page.
        params: of the query.
        headers: of each request.
        cursor: a field of the rows that grows with every new or changed row.
        since: the parameter that the cursor's last value is sent as.
        lag: see `Sql`.
        rate: requests a second, at most; None for no limit.
        timeout_s: within so long a page must have arrived.
        max_pages: more are taken for an end that never comes.
        max_bytes: of all pages of one pull.
        allow_private: whether the address may be one of this machine or of a private network.

    Raises:
        UsageError: CN-PULL-001, it cannot be used as it was written.
    """

    url: str
    _: KW_ONLY
    rows: str = ""
    next: str | None = None
    params: Mapping[str, str | int] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    cursor: str | None = None
    since: str | None = None
    lag: str | int | None = None
    rate: float | None = None
    timeout_s: float = 30.0
    max_pages: int = 10_000
    max_bytes: int = 1 << 30
    allow_private: bool = False

    def __post_init__(self) -> None:
        _check_url(self.url)
        if self.next is not None and (
            not is_a(self.next, str) or _NEXT.fullmatch(self.next) is None
        ):
            raise _wrong(
                f"next is {self.next!r}",
                "write link, url:FIELD, page:PARAM, offset:PARAM or cursor:PARAM=FIELD",
            )
        how, _, counted = (self.next or "").partition(":")
        first = self.params.get(counted, 0) if is_a(self.params, Mapping) else 0
        if how in ("page", "offset") and not str(first).isdecimal():
            raise _wrong(f"params counts {counted} from {first!r}", "begin with a number")
        for name, values in (("params", self.params), ("headers", self.headers)):
            _check_values(name, values)
        _check_cursor(self.cursor, self.lag)
        if (self.cursor is None) != (self.since is None):
            raise _wrong(
                "cursor and since go together: the field of the rows, and the parameter that "
                "its last value is sent as",
                "give both, or none",
            )
        for name in ("timeout_s", "max_pages", "max_bytes"):
            _check_number(name, getattr(self, name))
        if self.rate is not None:
            _check_number("rate", self.rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class CursorValue:
    """A value of a cursor.

    Attributes:
        kind: ``integer``, ``timestamp``, ``zoneless`` (a time without a zone), ``date``, ``text``.
        value: times in microseconds and dates in days since 1970.
    """

    kind: str
    value: int | str


Pulled = Sql | Rest
"""An origin that is asked for rows."""


@dataclass(frozen=True, slots=True)
class Push:
    """Rows that are sent to the control server: ``POST /v1/sources/{name}/rows``.

    >>> Push()
    Push()
    """


Origin = Files | Sql | Rest | Push


@dataclass(frozen=True, slots=True, kw_only=True)
class LandedFile:
    """One file as it was read.

    Attributes:
        path: relative to the project folder, with forward slashes.
        rows: rows read from it, good and bad.
    """

    path: str
    sha256: str
    size_bytes: int
    rows: int


def why_unreadable(error: BaseException) -> str:
    """Why a file cannot be read, in one line and without a cell of it."""
    said = str(error).partition("\n")[0]
    return next((meant for words, meant in _READERS_WORDS.items() if words in said), said)


def lag_s(lag: str | int | None) -> int | None:
    """The seconds of a lag that is a duration; None for one that is a number, or none."""
    found = _LAG.fullmatch(lag) if isinstance(lag, str) else None
    return None if found is None else int(found[1]) * _UNITS_S[found[2]]


def unended(query: str) -> str:
    """A query without the semicolon at its end."""
    bare = _QUIET.sub(lambda found: " " * len(found[0]), query).rstrip()
    return query[: len(bare) - 1] if bare.endswith(";") else query


def _check_select(query: str) -> None:
    """One SELECT and nothing behind it; that it changes nothing the database itself sees to."""
    bare = _QUIET.sub(" ", unended(query)) if is_a(query, str) else ""
    if _SELECT.match(bare) is None or ";" in bare:
        raise UsageError(
            "CN-PULL-003",
            f"a query is {query!r:.200}, expected the name of a table or one SELECT",
            "write a query that only reads: SELECT ... FROM ...",
        )


def _check_cursor(cursor: str | None, lag: str | int | None) -> None:
    if cursor is not None and (not is_a(cursor, str) or not cursor):
        raise _wrong(f"cursor is {cursor!r}", "name the column that grows")
    if lag is None:
        return
    if cursor is None:
        raise _wrong("lag means nothing without a cursor", "give a cursor, or no lag")
    number = is_a(lag, int) and not is_a(lag, bool) and int(lag) >= 0
    if not number and lag_s(lag) is None:
        raise _wrong(
            f"lag is {lag!r}", "write 30 seconds, 15 minutes, 1 hour, 2 days, 1 week or a number"
        )


def _check_number(name: str, value: float) -> None:
    if not is_a(value, int, float) or is_a(value, bool) or not 0 < value < 1e12:
        raise _wrong(f"{name} is {value!r}, expected a number above 0", f"set {name}")


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url if is_a(url, str) else "")
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise _wrong(
            "the address of an interface does not begin with http:// or https:// and a host, or "
            "holds a name and password",
            'write "https://api.example.com/orders"; a secret goes into headers by its name: '
            '{"authorization": "Bearer {env:SHOP_TOKEN}"}',
        )
    for pair in parts.query.split("&"):
        if _SECRET.search(pair.partition("=")[0]):
            raise _in_the_open(pair.partition("=")[0])


def _check_values(what: str, values: Mapping[str, str | int]) -> None:
    if not is_a(values, Mapping):
        raise _wrong(f"{what} is no mapping", f'write {what}={{"name": "value"}}')
    for name, value in values.items():
        if not is_a(name, str) or not is_a(value, str, int):
            raise _wrong(f"{what} holds something else than texts", "write texts and numbers")
        if "\n" in f"{name}{value}" or "\r" in f"{name}{value}":
            raise _wrong(f"{what} holds a line feed", "write one line")
        known = REFERENCE.fullmatch(str(value)) or INNER.search(str(value))
        if _SECRET.search(name) and known is None:
            raise _in_the_open(name)


def _in_the_open(name: str) -> UsageError:
    return _wrong(
        f"{name[:60]!r} looks like a secret and is written out",
        f'name what holds it: {{"{name[:60]}": "env:SHOP_TOKEN"}}',
    )


def _wrong(found: str, fix: str) -> UsageError:
    return UsageError("CN-PULL-001", f"an origin cannot be used: {found}", fix)
