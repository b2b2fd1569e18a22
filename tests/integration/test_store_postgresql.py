"""What only PostgreSQL can do to us. These tests use it whatever the variable says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psycopg
import pytest
import sqlalchemy as sa

from colonnade.base.errors import UnavailableError
from colonnade.govern import access, health
from colonnade.records import canonical
from colonnade.store.database import Database
from colonnade.store.dialects.postgresql import Postgresql
from tests.postgresql import database_of, server

CHANGE = """
    from colonnade.govern.change import Change
    from colonnade.records.ref import Ref
"""


@pytest.fixture
def database_url():
    """A fresh database on the tests' server."""
    return server().create()


def _ends(process):
    out, err = process.communicate(timeout=50)
    assert process.returncode == 0, err
    return out.split()


def test_names_are_told_apart_by_their_bytes_whatever_language_the_database_speaks(
    tmp_path, stores, append, open_again
):
    with psycopg.connect(server().url("postgres"), autocommit=True) as connection:
        connection.execute(
            "CREATE DATABASE icu TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
        )
    database = Database(server().url("icu"))
    with database.write() as connection:
        for subject in ("table/a@1", "table/A@2", "table/ab@3", "table/a_@4", "table/á@5"):
            connection.execute(
                sa.text(
                    "INSERT INTO entries (id, at, actor, verb, kind, subject, made_from, body) "
                    "VALUES (:id, '', 'a', 'v', 'table', :subject, '[]', '{}')"
                ),
                {"id": subject, "subject": subject},
            )
    ledger = type(stores.ledger)(database)
    assert [entry.subject for entry in ledger.select(subject="table/a")] == ["table/a@1"]
    database.close()


def test_a_process_stopped_within_a_transaction_does_not_hold_others_up_and_is_refused(
    stores, start, opened, append
):
    script = (
        opened
        + CHANGE
        + """
    import signal
    from colonnade.base.errors import UnavailableError
    try:
        with stores.database.write() as connection:
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = '1s'")
            Change(stores, connection, "late").version("write", Ref("table", "t"), lambda n: {})
            os.kill(os.getpid(), signal.SIGSTOP)
    except UnavailableError as error:
        print(error.code)
    """
    )
    stopped = start(script)
    assert stopped.stdout.readline() == "ready\n"
    stopped.stdin.write("\n")
    stopped.stdin.flush()
    os.waitid(os.P_PID, stopped.pid, os.WSTOPPED)
    with stores.database.write() as connection:  # waits for the server to end the other one
        assert stores.ledger.next_version(connection, "table", "t") == 1
    os.kill(stopped.pid, signal.SIGCONT)
    assert _ends(stopped) == ["CN-DATABASE-002"]
    assert all(entry.actor != "late" for entry in stores.ledger.select())


def test_a_process_that_was_stopped_for_long_is_refused_by_the_setting_of_every_connection(stores):
    with stores.database.read() as connection:
        shown = [
            connection.exec_driver_sql(f"SHOW {name}").scalar()
            for name in (
                "idle_in_transaction_session_timeout",
                "lock_timeout",
                "transaction_read_only",
            )
        ]
    assert shown == ["1min", "30s", "on"]


def test_commits_are_durable_where_the_servers_default_is_not(database_url):
    server().execute(f"ALTER DATABASE {database_of(database_url)} SET synchronous_commit = off")
    database = Database(database_url)
    with database.read() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
    database.close()


def test_first_starts_at_once_make_one_database_and_one_key(tmp_path, database_url, start):
    script = """
        import sys
        from pathlib import Path
        from colonnade.govern import access
        from colonnade.govern.stores import open_stores
        from colonnade.store import keys
        root = Path(sys.argv[1])
        keys.make(root / "root.key")
        print("ready", flush=True)
        sys.stdin.readline()
        stores = open_stores(sys.argv[2], root, root / "root.key", root / "heads")
        print(access.first_start(stores, "p"))
        stores.database.close()
    """
    several = [start(script, database_url) for _ in range(4)]
    for process in several:
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
    for process in several:
        process.stdin.write("\n")
        process.stdin.flush()
    answers = sorted(_ends(process)[0] for process in several)
    assert answers[:3] == ["None"] * 3
    assert answers[3].startswith("cn_")


@pytest.mark.parametrize("url", ["postgresql://me:secret@/nothing?host=/nowhere", None])
def test_a_server_that_does_not_answer_is_said_without_the_password(url):
    url = url or server().url("no_such_database").replace("colonnade@", "colonnade:secret@")
    with pytest.raises(UnavailableError, match="CN-DATABASE-002") as refused:
        Database(url)
    assert "secret" not in str(refused.value)


def test_a_missing_driver_names_the_extra():
    script = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from colonnade.store.database import Database\n"
        "Database('postgresql:///x')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert "CN-DATABASE-005" in done.stderr
    assert "pip install 'colonnade[postgresql]'" in done.stderr


@pytest.mark.parametrize(
    ("url", "mode"),
    [
        ("postgresql://db.example.com/x", "verify-full"),
        ("postgresql://10.0.0.7/x", "verify-full"),
        ("postgresql://10.0.0.7/x?sslmode=require", "require"),
        ("postgresql://127.0.0.1/x", None),
        ("postgresql://localhost/x", None),
        ("postgresql://[::1]/x", None),
        ("postgresql:///x?host=/run/postgresql", None),
        ("postgresql:///x?host=db.example.com", "verify-full"),
        ("postgresql:///x?host=/run/postgresql,db.example.com", "verify-full"),
    ],
)
def test_over_a_network_the_certificate_is_verified_unless_the_address_says_else(url, mode):
    engine = Postgresql().engine(url)
    assert engine.url.query.get("sslmode") == mode


def test_the_administrators_key_is_made_once(stores):
    assert access.first_start(stores, "p") is None


def test_a_doctor_reads_and_tries_to_write_and_leaves_no_mark(stores, database_url, append):
    append()
    stores.sealer.seal()
    before = stores.ledger.select()
    known = health.look(database_url)
    assert known.newest == before[0].at
    assert list(known.heads) == [canonical.encode(head).decode() for head in stores.ledger.heads()]
    assert (stores.ledger.select(), health.look(server().create()).revision) == (before, None)


def test_a_doctor_says_that_the_database_cannot_be_written(stores, database_url):
    server().execute(
        f"ALTER DATABASE {database_of(database_url)} SET default_transaction_read_only = on"
    )
    with pytest.raises(UnavailableError, match="CN-DATABASE-002"):
        health.look(database_url)
