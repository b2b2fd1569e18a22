"""A pull that is killed, that has a rival, whose database fails or refuses: nothing is lost."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import psycopg
import pytest
from sqlalchemy import make_url

import colonnade as co
from colonnade.base.errors import ColonnadeError, UnavailableError, UsageError
from colonnade.data.ingest import Ingested, ingest
from colonnade.project import Project
from colonnade.records.ref import Ref
from colonnade.wiring import open_workspace
from tests import mariadb
from tests.postgresql import server
from tests.projects import empty
from tests.shop import KINDS, Shop

BOUND = """\
schema:
- name: orders
  properties:
  - {name: id, logicalType: integer, required: true}
  - {name: amount, logicalType: number, logicalTypeOptions: {maximum: 5}}
  - {name: at, logicalType: timestamp}
customProperties:
- {property: stopAbove, value: 0.5}
"""
# A process that dies at a step. What it wraps calls through: nothing is replaced.
KILL = """
    import os, signal, sys
    from pathlib import Path
    import colonnade as co
    from colonnade.data import arrive
    from colonnade.data.ingest import ingest
    from colonnade.govern import writer
    from colonnade.project import Project
    from colonnade.store.origins import landing, sql
    from colonnade.wiring import open_workspace

    folder, step = Path(sys.argv[1]), sys.argv[2]
    sql.BATCH = 10

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def dies(function, table):
        def call(self, *rest):
            if self._name == table:
                die()
            return function(self, *rest)
        return call

    def dies_later(function):
        calls = []
        def call(self, *rest):
            calls.append(1)
            if len(calls) == 3:
                die()
            return function(self, *rest)
        return call

    match step:
        case "amid the rows":
            landing.Sheet.add = dies_later(landing.Sheet.add)
        case "the file is there":
            arrive.keep = die
        case "the quarantine is committed, not named":
            writer.Writer._name_version = dies(writer.Writer._name_version, "quarantine.orders")
        case "the quarantine is named":
            writer.Writer.write = dies(writer.Writer.write, "orders")
        case "the rows are committed, not named":
            writer.Writer._name_version = dies(writer.Writer._name_version, "orders")
        case "the rows are named":
            arrive.done = die
    with open_workspace(folder) as workspace:
        source = Project("p").source(
            "orders", co.Sql("env:SHOP", "orders", cursor="at", lag="10 minutes"), key="id"
        )
        print("ready", flush=True)
        sys.stdin.readline()
        print(ingest(workspace.session("test"), source, workspace.folder).done)
"""
STEPS = (
    "amid the rows",
    "the file is there",
    "the quarantine is committed, not named",
    "the quarantine is named",
    "the rows are committed, not named",
    "the rows are named",
)


@pytest.fixture(params=KINDS)
def shop(request, tmp_path, monkeypatch) -> Iterator[Shop]:
    shop = Shop(request.param, tmp_path)
    monkeypatch.setenv("SHOP", shop.url)
    yield shop
    shop.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = empty(tmp_path / "project")
    (folder / "contracts").mkdir(exist_ok=True)
    (folder / "contracts" / "orders.yaml").write_text(BOUND)
    return folder


def take(folder: Path, query: str = "orders", key: str = "id", **options) -> Ingested:
    options = {"cursor": "at", "lag": "10 minutes"} | options
    with open_workspace(folder) as workspace:
        source = Project("p").source("orders", co.Sql("env:SHOP", query, **options), key=key)
        return ingest(workspace.session("test"), source, workspace.folder)


def refused(folder: Path, *words, **options) -> ColonnadeError:
    with pytest.raises(ColonnadeError) as caught:
        take(folder, *words, **options)
    return caught.value


def table(folder: Path, name: str = "orders") -> pl.DataFrame:
    with open_workspace(folder) as workspace:
        return workspace.session("test").scan(Ref("table", name)).collect()


def version(folder: Path) -> int:
    with open_workspace(folder) as workspace:
        newest = workspace.session("test").newest("table", "orders")
        return 0 if newest is None else newest.ref.version


def begin(folder: Path, step: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", textwrap.dedent(KILL), str(folder), step]
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    return process


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_loses_no_row_and_doubles_none(shop, folder, step):
    for number in range(40):
        shop.order(number, number, 9 if number == 7 else number / 4 % 5)
    process = begin(folder, step)
    _, said = process.communicate("go\n", timeout=50)
    assert process.returncode == -signal.SIGKILL, said
    shop.order(40, 3)  # meanwhile the shop goes on, ...
    shop.order(41, 41, 9)
    shop.say("DELETE FROM orders WHERE id = 20")  # ... and what was seen may be gone
    take(folder)
    take(folder)
    seen = {*range(42)} - {7, 41}
    gone = {20} if step in STEPS[:2] else set()
    assert sorted(table(folder)["id"].to_list()) == sorted(seen - gone)
    bad = table(folder, "quarantine.orders")["cells"].str.json_path_match("$.id")
    assert sorted(bad.to_list()) == ["41", "7"]
    amounts = dict(table(folder).select("id", "amount").iter_rows())
    assert amounts == {n: n / 4 % 5 if n < 40 else 1.5 for n in seen - gone}
    assert not take(folder).done
    assert list((folder / ".colonnade" / "landing" / "orders").iterdir()) == []
    with open_workspace(folder) as workspace:
        assert workspace.verify().holds


def test_two_processes_take_each_row_once(shop, folder):
    for number in range(100):
        shop.order(number, number)
    rivals = [begin(folder, "") for _ in range(2)]
    for rival in rivals:
        rival.stdin.write("go\n")
        rival.stdin.flush()
    done = [rival.communicate(timeout=60)[0].strip() for rival in rivals]
    assert sorted(done) == ["False", "True"]
    assert sorted(table(folder)["id"].to_list()) == list(range(100))


def test_what_changes_in_the_database_is_one_error_and_leaves_the_table(shop, folder):
    shop.order(1, 0)
    take(folder)
    shop.order(2, 1)
    shop.say("ALTER TABLE orders RENAME COLUMN amount TO price")
    assert refused(folder).code == "CN-CONTRACT-005"
    shop.say("ALTER TABLE orders RENAME COLUMN at TO moved")
    error = refused(folder)
    assert (error.code, "'at'" in error.message) == ("CN-PULL-007", True)
    shop.say("ALTER TABLE orders RENAME TO gone")
    error = refused(folder)
    assert isinstance(error, UsageError)
    assert (error.code, "orders" in error.message) == ("CN-PULL-006", True)
    assert version(folder) == 1
    assert table(folder)["id"].to_list() == [1]
    shop.say("ALTER TABLE gone RENAME TO orders")
    shop.say("ALTER TABLE orders RENAME COLUMN moved TO at")
    shop.say("ALTER TABLE orders RENAME COLUMN price TO amount")
    assert take(folder).good == 1


def test_a_query_cannot_write(shop, folder):
    shop.order(1, 0)
    for query in (
        "DELETE FROM orders",
        "SELECT 1; DELETE FROM orders",
        "WITH x AS (SELECT 1) SELECT 1 /* ; */; DROP TABLE orders",
        "EXPLAIN SELECT 1",
        "orders; DROP TABLE orders",
        "",
    ):
        with pytest.raises(UsageError, match="CN-PULL-003"):
            co.Sql("env:SHOP", query)
    if shop.kind == "postgresql":
        shop.say(
            "CREATE FUNCTION away() RETURNS int LANGUAGE sql AS 'DELETE FROM orders RETURNING 1'"
        )
        error = refused(folder, "SELECT away() AS id, 1.0 AS amount, now() AS at")
        assert error.code == "CN-PULL-003"
        error = refused(folder, "WITH x AS (DELETE FROM orders RETURNING *) SELECT * FROM x")
        assert error.code in ("CN-PULL-003", "CN-PULL-006")
    take(folder)
    assert table(folder)["id"].to_list() == [1]


@pytest.mark.parametrize(
    ("address", "code", "kind"),
    [
        (None, "CN-PULL-002", UsageError),
        ("  ", "CN-PULL-002", UsageError),
        ("no address", "CN-PULL-002", UsageError),
        ("oracle://u:geheim-0815@h/d", "CN-PULL-002", UsageError),
        ("sqlite:////nowhere/geheim-0815.db", "CN-PULL-006", UsageError),
        ("postgresql://u:geheim-0815@127.0.0.1:1/d", "CN-PULL-004", UnavailableError),
        ("mysql://u:geheim-0815@127.0.0.1:1/d", "CN-PULL-004", UnavailableError),
    ],
)
def test_an_address_that_leads_nowhere_is_said_without_it(folder, monkeypatch, address, code, kind):
    if address is None:
        monkeypatch.delenv("SHOP", raising=False)
    else:
        monkeypatch.setenv("SHOP", address)
    error = refused(folder)
    assert (error.code, type(error)) == (code, kind)
    assert "env:SHOP" in error.message
    assert "geheim" not in str(error)


def test_a_file_that_is_no_database_is_said(folder, monkeypatch, tmp_path):
    (tmp_path / "some.db").write_text("no database at all, but text " * 100)
    monkeypatch.setenv("SHOP", f"sqlite:///{tmp_path / 'some.db'}")
    assert refused(folder).code == "CN-PULL-006"


@pytest.fixture
def guest() -> str:
    """A database as a user who may read none of its tables."""
    url = server().create()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS guest")
        connection.execute("CREATE ROLE guest LOGIN PASSWORD 'right'")
        connection.execute("CREATE TABLE orders (id INTEGER, amount NUMERIC, at TIMESTAMP)")
    return url.replace("colonnade@", "guest@")


def opens(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def test_a_wrong_password_is_said_without_it(folder, monkeypatch, guest):
    with psycopg.connect(guest.replace("guest@", "colonnade@"), autocommit=True) as connection:
        (path,) = connection.execute("SHOW hba_file").fetchone()
        rules = Path(path).read_text()
        Path(path).write_text(f"local all guest scram-sha-256\n{rules}")
        connection.execute("SELECT pg_reload_conf()")
        wrong_url = guest.replace("guest@", "guest:geheim-0815@")
        monkeypatch.setenv("SHOP", wrong_url)
        try:
            until_s = time.monotonic() + 10
            while opens(wrong_url):  # the server reads its rules again in its own time
                assert time.monotonic() < until_s
            wrong = refused(folder)
            monkeypatch.setenv("SHOP", guest.replace("guest@", "guest:right@"))
            lacking = refused(folder)
        finally:
            Path(path).write_text(rules)
            connection.execute("SELECT pg_reload_conf()")
    assert (wrong.code, lacking.code) == ("CN-PULL-005", "CN-PULL-005")
    assert "geheim" not in str(wrong)


def test_a_password_that_mysql_refuses_is_said_without_it(folder, monkeypatch):
    url = make_url(mariadb.server().create()).set(password="wrong-0815")
    monkeypatch.setenv("SHOP", url.render_as_string(hide_password=False))
    error = refused(folder)
    assert error.code == "CN-PULL-005"
    assert "wrong-0815" not in str(error)


MYSQL_TYPES = {
    "TINYINT": ("7", 7), "BIGINT": (str(2**62), 2**62), "DOUBLE": ("0.1", 0.1),
    "DECIMAL(10,2)": ("1.10", 1.1), "DECIMAL(6)": ("17", 17), "TEXT": ("'é'", "é"),
    "VARCHAR(9)": ("'a'", "a"), "DATE": ("'2024-02-29'", date(2024, 2, 29)),
    "DATETIME(6)": ("'2024-01-01 10:00'", datetime(2024, 1, 1, 10, tzinfo=UTC)),
    "ENUM('ok', 'sad')": ("'ok'", "ok"), "YEAR": ("2024", 2024),
    "BIGINT UNSIGNED": (str(2**64 - 1), None), "BLOB": ("'x'", None), "TIME": ("'10:00'", None),
    "BIT(9)": ("b'1'", None), "DECIMAL(30,1)": ("12345678901234567890.5", None),
}  # fmt: skip


@pytest.mark.parametrize("kind", MYSQL_TYPES)
def test_a_type_of_mysql_is_taken_exactly_or_refused_by_name(folder, monkeypatch, tmp_path, kind):
    shop = Shop("mysql", tmp_path)
    monkeypatch.setenv("SHOP", shop.url)
    text, value = MYSQL_TYPES[kind]
    shop.say("DROP TABLE orders")
    shop.say(f"CREATE TABLE orders (secret_x {kind})")
    shop.say(f"INSERT INTO orders VALUES ({text})")
    shop.close()
    (folder / "contracts" / "orders.yaml").unlink()
    if value is not None:
        take(folder, cursor=None, lag=None, key=())
        assert table(folder)["secret_x"].to_list() == [value]
    else:
        error = refused(folder, cursor=None, lag=None, key=())
        assert (error.code, "secret_x" in error.message) == ("CN-PULL-007", True)


def test_rights_that_lack_are_said(folder, monkeypatch, guest):
    monkeypatch.setenv("SHOP", guest)
    error = refused(folder)
    assert isinstance(error, UsageError)
    assert error.code == "CN-PULL-005"
    monkeypatch.setenv("SHOP", guest.replace("guest@", "nobody_here@"))
    assert refused(folder).code == "CN-PULL-005"


@pytest.mark.parametrize("backend", ["postgresql", "mysql"])
def test_a_server_that_accepts_and_says_nothing_is_given_up(folder, monkeypatch, backend):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setenv("SHOP", f"{backend}://u:p@127.0.0.1:{port}/d")
        error = refused(folder, timeout_s=2)
    assert isinstance(error, UnavailableError)
    assert error.code == "CN-PULL-004"


def test_a_query_that_takes_too_long_is_given_up(folder, monkeypatch):
    monkeypatch.setenv("SHOP", server().create())
    query = "SELECT 1 AS id, pg_sleep(50)::text AS amount, now() AS at"
    assert refused(folder, query, timeout_s=1).code == "CN-PULL-004"


def test_a_server_that_stops_answering_amid_a_query_is_given_up(folder, monkeypatch):
    """Its kernel still answers for it: neither keep-alives nor its own time limit help."""
    url = server().create()
    monkeypatch.setenv("SHOP", url)
    stopped: list[int] = []
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER, amount NUMERIC, at TIMESTAMP)")
        begun = threading.Event()

        def stop() -> None:
            asked = (
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'colonnade' "
                "AND wait_event = 'PgSleep'"
            )
            while not begun.is_set():
                if (found := connection.execute(asked).fetchone()) is not None:
                    os.kill(found[0], signal.SIGSTOP)
                    stopped.append(found[0])
                    return

        thread = threading.Thread(target=stop)
        thread.start()
        query = "SELECT 1 AS id, pg_sleep(3)::text AS amount, now() AS at"
        try:
            error = refused(folder, query, timeout_s=2)
        finally:
            begun.set()
            thread.join()
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
    assert stopped
    assert error.code == "CN-PULL-004"


def test_sqlite_that_somebody_else_holds_is_said(folder, monkeypatch, tmp_path):
    shop = Shop("sqlite", tmp_path)
    monkeypatch.setenv("SHOP", shop.url)
    shop.order(1, 0)
    shop.say("BEGIN EXCLUSIVE")
    error = refused(folder, timeout_s=1)
    assert isinstance(error, UnavailableError)
    assert error.code == "CN-PULL-004"
    shop.say("COMMIT")
    assert take(folder).good == 1
    shop.close()


POSTGRESQL_TYPES = {
    "int2": ("7", 7), "int4": ("7", 7), "int8": (str(2**62), 2**62),
    "float4": ("0.5", 0.5), "float8": ("0.1", 0.1), "bool": ("true", True),
    "numeric": ("1.10", 1.1), "numeric(6, 0)": ("17", 17), "text": ("'é'", "é"),
    "varchar(9)": ("'a'", "a"), "uuid": ("'00000000-0000-0000-0000-00000000000a'",
                                         "00000000-0000-0000-0000-00000000000a"),
    "date": ("'2024-02-29'", date(2024, 2, 29)),
    "timestamp": ("'2024-01-01 10:00'", datetime(2024, 1, 1, 10, tzinfo=UTC)),
    "timestamptz": ("'2024-01-01 10:00+02'", datetime(2024, 1, 1, 8, tzinfo=UTC)),
    "mood": ("'ok'", "ok"),
}  # fmt: skip


@pytest.mark.parametrize("kind", POSTGRESQL_TYPES)
def test_a_type_of_postgresql_is_taken_exactly(folder, monkeypatch, kind):
    url = server().create()
    monkeypatch.setenv("SHOP", url)
    text, value = POSTGRESQL_TYPES[kind]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TYPE mood AS ENUM ('ok', 'sad')")
        connection.execute(f"CREATE TABLE orders (x {kind})")
        connection.execute(f"INSERT INTO orders VALUES ({text}::{kind})")
    (folder / "contracts" / "orders.yaml").unlink()
    take(folder, cursor=None, lag=None, key=())
    assert table(folder)["x"].to_list() == [value]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("bytea", "'x'"), ("jsonb", "'{}'"), ("time", "'10:00'"), ("interval", "'1 day'"),
        ("int4[]", "'{1}'"), ("inet", "'::1'"), ("numeric", "12345678901234567890.5"),
        ("timestamptz", "'infinity'"), ("date", "'0044-03-15 BC'"),
    ],
)  # fmt: skip
def test_a_type_or_value_that_cannot_be_taken_is_refused_by_name(folder, monkeypatch, kind, text):
    url = server().create()
    monkeypatch.setenv("SHOP", url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE orders (secret_x {kind})")
        connection.execute(f"INSERT INTO orders VALUES ({text})")
    (folder / "contracts" / "orders.yaml").unlink()
    error = refused(folder, cursor=None, lag=None, key=())
    assert isinstance(error, UsageError)
    assert error.code in ("CN-PULL-006", "CN-PULL-007")
    assert "1234567890" not in error.message
    if error.code == "CN-PULL-007":
        assert "secret_x" in error.message


def test_values_of_sqlite_are_read_by_the_contract(folder, monkeypatch, tmp_path):
    shop = Shop("sqlite", tmp_path)
    monkeypatch.setenv("SHOP", shop.url)
    for number in range(50):
        shop.order(number, number)
    shop.say("UPDATE orders SET id = 'one' WHERE id = 1")
    found = take(folder)
    assert (found.good, found.bad) == (49, 1)
    shop.say("UPDATE orders SET amount = x'00', at = '2025-01-01T00:00:00Z' WHERE id = 2")
    assert refused(folder).code == "CN-PULL-007"
    shop.close()


def test_a_declaration_that_changed_is_not_mixed_with_what_was_taken(shop, folder):
    shop.order(1, 0)
    take(folder)
    assert refused(folder, cursor="id", lag=None).code == "CN-PULL-008"
    assert refused(folder, key=()).code == "CN-PULL-008"
    assert refused(folder, lag=5).code == "CN-PULL-008"
    assert version(folder) == 1
