"""Tables that SQL makes: what a query reads, and its rows. The dialect is the one of Polars.

A query is one ``SELECT``, with or without ``WITH``. It reads the sources and tables that it names
and nothing else: no file by a function, no statement that makes, changes or drops.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import polars as pl

from colonnade.base.errors import UsageError
from colonnade.project import Project
from colonnade.records.table import Query

_ASIDE: Final = re.compile(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", re.DOTALL)  # texts, comments
_SELECT: Final = re.compile(r"\s*(\(\s*)*(SELECT|WITH)\b", re.IGNORECASE)
_READS_FILES: Final = re.compile(r"\b(read_\w+|scan_\w+)\s*\(", re.IGNORECASE)
_WITH: Final = re.compile(r"(\w+)\"?\s+AS\s*(?:MATERIALIZED\s*)?\(", re.IGNORECASE)
_NAMED: Final = re.compile(r'"([^"]+)"')
_CELLS: Final = re.compile(r"values: \[.*")  # what the engine quotes of the data
_LIMIT: Final = 300


def read_queries(project: Project, root: Path) -> None:
    """Read the queries of a project's tables, and which tables they read.

    Raises:
        UsageError: CN-SQL-001, a file is not there or no text; CN-SQL-002, a query cannot be
            read, or it does something else than to select.
    """
    for table in list(project.tables.values()):
        if table.query is not None:
            query = _read(table.name, table.query, root)
            inputs = _inputs(table.name, query, {*project.sources, *project.tables})
            project.read_query(table.name, query, inputs)


def run_query(what: str, query: Query, frames: Mapping[str, pl.LazyFrame]) -> pl.DataFrame:
    """The rows that a query makes.

    Args:
        what: the step, as a person calls it: ``table departures``.
        query: what to run.
        frames: the rows of each table that it reads.

    Raises:
        UsageError: CN-SQL-003, it cannot be carried out; with the line of what the engine names.
    """
    try:
        return pl.SQLContext(dict(frames)).execute(query.text, eager=True)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        said = _CELLS.sub("some values", str(error).partition("\n")[0])[:_LIMIT]
        raise UsageError(
            "CN-SQL-003",
            f"{what} failed at {_place(query, said)}: {said}",
            "mend the query; what was done before it is not done again",
        ) from error


def _read(name: str, query: Query, root: Path) -> Query:
    if query.path is None:
        return query
    try:
        return Query(text=(root / query.path).read_text(encoding="utf-8"), path=query.path)
    except (OSError, ValueError) as error:
        reason = (
            error.strerror if isinstance(error, OSError) else None
        ) or "it is no text in UTF-8"
        raise UsageError(
            "CN-SQL-001",
            f"table {name}: its query {query.path} cannot be read: {reason}",
            f"put the SQL into {root / query.path}",
        ) from error


def _inputs(name: str, query: Query, known: Iterable[str]) -> list[str]:
    """The tables that a query reads; what it names itself (``WITH``) is none of them."""
    bare = _ASIDE.sub(" ", query.text)
    if found := _READS_FILES.search(bare):
        raise _refused(name, query, f"{found[1]} reads around the project's sources", found[1])
    if _SELECT.match(bare) is None:
        raise _refused(name, query, "it selects nothing", "")
    try:
        named = _identifiers(query.text)
    except pl.exceptions.SQLInterfaceError as error:
        said = str(error).partition("\n")[0][:_LIMIT]
        raise _refused(name, query, said, "") from error
    if ";" in bare.strip().rstrip("; "):
        raise _refused(name, query, "it is more than one statement", ";")
    own = {word.lower() for word in _WITH.findall(bare)}
    inputs = [table for table in named if table in known or table.lower() not in own]
    if not inputs:
        raise _refused(name, query, "it reads no table", "")
    return inputs


def _identifiers(text: str) -> list[str]:
    # Polars has it and does not document it: a test holds what it answers.
    found: list[str] = pl.SQLContext()._ctxt.table_identifiers(text, True, True)  # noqa: SLF001
    return found


def _refused(name: str, query: Query, reason: str, word: str) -> UsageError:
    place = _place(query, f'"{word}"' if word else reason)
    return UsageError(
        "CN-SQL-002",
        f"table {name}: {place} cannot be used: {reason}",
        "write one SELECT (WITH … SELECT) over sources and tables of the project",
    )


def _place(query: Query, said: str) -> str:
    """``file:line`` of what a message names, as far as it is found in the query."""
    if line := re.search(r"Line: (\d+)", said):
        return f"{query.where}:{line[1]}"
    words = _NAMED.findall(said) + re.findall(r"'([^']+)'", said)
    for word in words:
        if found := re.search(rf"(?<!\w){re.escape(word)}(?!\w)", query.text, re.IGNORECASE):
            return f"{query.where}:{query.text.count(chr(10), 0, found.start()) + 1}"
    return query.where
