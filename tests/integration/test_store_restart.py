"""PostgreSQL killed under its writers; a server of its own: others would wait for its recovery."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from colonnade.govern import audit
from tests.postgresql import Server


@pytest.fixture(scope="module")
def fragile():
    """A server that is killed."""
    return Server()


@pytest.fixture
def database_url(fragile):
    """A fresh database on it."""
    return fragile.create()


def _ends(process):
    out, err = process.communicate(timeout=50)
    assert process.returncode == 0, err
    return out.split()


def test_a_server_that_restarts_loses_nothing_that_was_acknowledged(
    stores, fragile, start, opened, tmp_path
):
    """It is killed as by a power cut, three times, while two processes append and seal."""
    script = (
        opened
        + """
    from colonnade.govern.change import Change
    from colonnade.records.ref import Ref
    import threading
    from colonnade.base.errors import UnavailableError
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), over.set()), daemon=True).start()
    while not over.is_set():
        try:
            with stores.database.write() as connection:
                entry = Change(stores, connection, "admin").append("note", Ref("run", "r"), {})
            print(entry.id, flush=True)
            stores.sealer.seal()
        except UnavailableError as error:
            assert error.code == "CN-DATABASE-002", error
    """
    )
    both = [start(script) for _ in range(2)]
    for process in both:
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("\n")
        process.stdin.flush()
    acknowledged = []
    for kills in range(4):
        if kills:
            fragile.restart()
        for process in both:
            acknowledged += [process.stdout.readline().strip() for _ in range(20)]
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()
        acknowledged += _ends(process)
    assert len(acknowledged) == len(set(acknowledged)) >= 160
    stores.sealer.seal()
    with stores.database.read() as connection:
        found = set(connection.execute(sa.text("SELECT id FROM entries")).scalars())
    assert set(acknowledged) <= found
    verdict = audit.verify(stores.database, stores.keys.public(), tmp_path / "heads")
    assert (verdict.problems, verdict.unsealed) == ((), 0)
