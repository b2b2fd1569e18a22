"""A table's writer is killed or stopped anywhere between any two steps; nothing is lost or doubled.

The writers are real processes. A writer carries on where the newest version says that the last one
came to, as an ingest does.
"""

from __future__ import annotations

import inspect
import os
import signal

import polars as pl
import pytest
import sqlalchemy as sa

from colonnade.govern import audit
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion
from colonnade.store.schema import leases


def write(session, mine, step):
    """One step of a writer; a step that the newest version has is not done again."""
    with session.writer("t") as held:
        newest = held.newest
        done = newest.read(TableVersion).files if newest else {}
        if f"{mine}-{step}" not in done:
            held.write(
                pl.DataFrame({"writer": [mine] * step, "step": [step] * step}),
                TableVersion(mode="append", step="s", files=done | {f"{mine}-{step}": "x"}),
                [f"file/{mine}-{step}"],
            )


WRITER = (
    """
import os, signal, sys
from pathlib import Path
import polars as pl
from colonnade.base.errors import ColonnadeError
from colonnade.govern import access
from colonnade.govern.session import Session
from colonnade.govern.stores import open_stores
from colonnade.records.table import TableVersion
from colonnade.store import leases
from colonnade.store.ledger import Ledger
from colonnade.store.tables import Tables

root, mine, last = Path(sys.argv[1]), sys.argv[3], int(sys.argv[4])
stores = open_stores(sys.argv[2], root, root / "root.key", root / "heads")
session = Session(stores, access.ADMIN, "test")

def end(owner, name, after, on_call, how):
    whole, calls = getattr(owner, name), []

    def ends(*arguments, **named):
        calls.append(name)
        if len(calls) == on_call and not after:
            os.kill(os.getpid(), how)
        result = whole(*arguments, **named)
        if len(calls) == on_call and after:
            os.kill(os.getpid(), how)
        return result

    setattr(owner, name, ends)

"""
    + inspect.getsource(write)
    + """
print("ready", flush=True)
sys.stdin.readline()
"""
)
ALL = """
for step in range(1, last + 1):
    try:
        write(session, mine, step)
    except ColonnadeError as error:
        print(error.code, flush=True)
        write(session, mine, step)
    print(step, flush=True)
"""


@pytest.fixture
def writer(start, database_url):
    """Starts a writer on the database of `stores`: script, its name, how many steps."""
    return lambda script, *words: start(script, database_url, *words)


def _run(process):
    """Lets a writer that is ready go on; returns what it printed when it ended."""
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    out, err = process.communicate("\n", timeout=50)
    assert process.returncode in (0, -signal.SIGKILL), err
    return out.split()


def _versions(stores):
    """The table's versions, oldest first."""
    newest = stores.ledger.version(Ref("table", "t"))
    last = 0 if newest is None else newest.ref.version
    return [stores.ledger.version(Ref("table", "t", number)) for number in range(1, last + 1)]


def _contents(stores):
    """What an unbroken run and a broken one must agree in."""
    found = []
    for entry in _versions(stores):
        version = entry.read(TableVersion)
        rows = stores.tables.scan("t", version.delta_version).sort("writer", "step").collect()
        assert version.rows == rows.height
        assert len(version.parts) == (entry.verb != "undo")
        found.append((entry.subject, entry.actor, entry.made_from, version.files, rows.rows()))
    return found


def _holds(stores, root):
    stores.sealer.seal()
    found = audit.verify(stores.database, stores.keys.public(), root / "heads")
    assert found.problems == ()


def _unbroken(steps):
    rows, files, wanted = [], {}, []
    for step in range(1, steps + 1):
        rows = [*rows, *[("a", step)] * step]
        files = files | {f"a-{step}": "x"}
        wanted.append((f"table/t@{step}", "admin", (f"file/a-{step}",), files, rows))
    return wanted


POINTS = {
    "before the commit": "Tables, 'write', False",
    "after the commit": "Tables, 'write', True",
    "before the entry": "Ledger, 'append', False",
    "after the entry": "Ledger, 'append', True",
    "after the claim": "Ledger, 'claim', True",
    "before the release": "leases, 'release', False",
    "after the release": "leases, 'release', True",
}
ADOPTED = {"after the commit", "before the entry", "after the entry", "after the claim"}


@pytest.mark.parametrize(("point", "call"), [(p, 2) for p in POINTS] + [("after the commit", 1)])
def test_a_killed_writer_and_its_successor_do_what_an_unbroken_one_does(
    stores, session, writer, tmp_path, point, call
):
    killed = writer(WRITER + f"end({POINTS[point]}, {call}, signal.SIGKILL)\n" + ALL, "a", 3)
    _run(killed)
    assert killed.returncode == -signal.SIGKILL
    assert len(_versions(stores)) == (call if "release" in point else call - 1)
    for step in (1, 2, 3):
        write(session, "a", step)
    assert _contents(stores) == _unbroken(3)
    verbs = [entry.verb for entry in _versions(stores)]
    assert verbs == [
        "adopt" if point in ADOPTED and step == call else "write" for step in (1, 2, 3)
    ]
    _holds(stores, tmp_path)


def test_a_writer_killed_at_any_moment_loses_nothing_it_had_acknowledged(
    stores, session, writer, tmp_path
):
    acknowledged = 0
    for kills in range(3):
        process = writer(WRITER + ALL, "a", 9)
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("\n")
        process.stdin.flush()
        while (line := process.stdout.readline().strip()) and int(line) < acknowledged + kills:
            pass
        process.kill()
        rest, _ = process.communicate()
        acknowledged = max([acknowledged, *map(int, [line or 0, *rest.split()])])
        assert len(_versions(stores)) >= acknowledged
    for step in range(1, 10):
        write(session, "a", step)
    assert _contents(stores) == _unbroken(9)
    _holds(stores, tmp_path)


def test_two_processes_append_twenty_five_versions_each(stores, writer, tmp_path):
    both = [writer(WRITER + ALL, name, 25) for name in ("a", "b")]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in both:
        out, err = process.communicate(timeout=55)
        assert out.split() == [str(step) for step in range(1, 26)], err
    versions = _versions(stores)
    assert [entry.subject for entry in versions] == [f"table/t@{n}" for n in range(1, 51)]
    assert {entry.verb for entry in versions} == {"write"}
    newest = versions[-1].read(TableVersion)
    rows = stores.tables.scan("t", newest.delta_version).collect()
    assert rows.height == newest.rows == 2 * sum(range(1, 26))
    assert rows.unique().height == 50
    _holds(stores, tmp_path)


STOPS = {
    "before the commit": ("Tables, 'write', False", {"CN-LEASE-001"}),
    "after the commit": ("Tables, 'write', True", {"CN-LEASE-001"}),
    "before the naming": ("Tables, 'parts', True", {"CN-LEASE-001"}),
}


@pytest.mark.parametrize("point", STOPS)
def test_a_stopped_writer_that_continues_is_refused_and_nothing_is_doubled(
    stores, session, writer, tmp_path, point
):
    place, codes = STOPS[point]
    stopped = writer(WRITER + f"end({place}, 2, signal.SIGSTOP)\n" + ALL, "a", 3)
    assert stopped.stdout.readline() == "ready\n"
    stopped.stdin.write("\n")
    stopped.stdin.flush()
    os.waitid(os.P_PID, stopped.pid, os.WSTOPPED)
    with stores.database.write() as connection:  # as if its lease had run out
        connection.execute(sa.update(leases).values(until=0.5))
    for step in (1, 2, 3):
        write(session, "a", step)
    os.kill(stopped.pid, signal.SIGCONT)
    out, err = stopped.communicate(timeout=30)
    assert stopped.returncode == 0, err
    assert {line for line in out.split() if line.startswith("CN")} == codes
    assert _contents(stores)[-1][-1] == _unbroken(3)[-1][-1]
    _holds(stores, tmp_path)
