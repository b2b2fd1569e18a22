"""Fixtures that several kinds of tests share: a fresh project's stores, and real processes."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from colonnade.govern import access
from colonnade.govern.change import Change
from colonnade.govern.session import Session
from colonnade.govern.stores import Stores, open_stores
from colonnade.records.entry import Entry
from colonnade.records.ref import parse
from colonnade.store import keys
from tests import databases

Append = Callable[..., Entry]
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """A fresh metadata database."""
    return databases.fresh(tmp_path)


@pytest.fixture
def open_again(tmp_path: Path, database_url: str) -> Iterator[Callable[[], Stores]]:
    """Opens the stores as another process of the same project would."""
    opened: list[Stores] = []

    def reopen() -> Stores:
        stores = open_stores(database_url, tmp_path, tmp_path / "root.key", tmp_path / "heads")
        opened.append(stores)
        return stores

    yield reopen
    for stores in opened:
        stores.database.close()


@pytest.fixture
def stores(tmp_path: Path, open_again: Callable[[], Stores]) -> Stores:
    """The stores of a project after its first start."""
    keys.make(tmp_path / "root.key")
    stores = open_again()
    access.first_start(stores, "p")
    return stores


@pytest.fixture
def session(stores: Stores) -> Session:
    """A session of the administrator."""
    return Session(stores, access.ADMIN, "test")


@pytest.fixture
def append(stores: Stores) -> Append:
    """Appends one entry in a transaction of its own."""

    def one(subject: str = "run/r", verb: str = "note", body: object = None, **more: object):
        with stores.database.write() as connection:
            change = Change(stores, connection, "admin")
            return change.append(verb, parse(subject), body or {}, more.get("made_from", ()))

    return one


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts Python processes on a script; what still runs at the end is killed.

    ``sys.argv[1]`` is the project of `stores`. The script prints ``ready`` first, so that the
    test measures what the script does and not its imports.
    """
    running: list[subprocess.Popen[str]] = []

    def begin(script: str, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), str(tmp_path), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the crash walks came to; and over how many doors the cases of bad input went."""
    passed = terminalreporter.getreports("passed")
    for report in passed:
        for name, line in report.user_properties:
            if name == "walked":
                terminalreporter.write_line(line)
    doors = [dict(report.user_properties)["bad input"] for report in passed
             if report.when == "call" and "bad input" in dict(report.user_properties)]  # fmt: skip
    if doors:
        routes = {door for door in doors if door.startswith("/")}
        terminalreporter.write_line(
            f"bad input: {len(doors)} cases over {len({*doors} - routes - {''})} commands and "
            f"{len(routes)} routes, each one message, no traceback"
        )
