from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from colonnade.base.errors import RefusedError, UnavailableError, UsageError
from colonnade.store import database, schema
from colonnade.store.database import Database
from colonnade.store.dialects import sqlite
from colonnade.store.jobs import Jobs
from tests import databases


@pytest.fixture
def path(tmp_path):
    Database(f"sqlite:///{tmp_path / 'meta.db'}")
    return tmp_path / "meta.db"


@pytest.mark.parametrize("url", ["foo://x", "no url at all", "mysql+x://me:secret@host/db"])
def test_a_database_without_a_dialect_is_refused_and_no_password_is_shown(url):
    with pytest.raises(UsageError, match="CN-DATABASE-001") as refused:
        Database(url)
    assert "sqlite" in refused.value.fix
    assert "secret" not in str(refused.value)


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "meta.db").write_bytes(b"no database" * 100)
    with pytest.raises(UnavailableError, match="CN-DATABASE-002") as refused:
        Database(f"sqlite:///{tmp_path / 'meta.db'}")
    assert "meta.db" in refused.value.message


def test_a_place_that_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(UnavailableError, match="CN-DATABASE-002"):
        Database(f"sqlite:///{tmp_path / 'missing' / 'meta.db'}")


def test_a_database_of_a_newer_release_is_refused(path):
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0999'")
    connection.close()
    with pytest.raises(RefusedError, match="CN-DATABASE-003"):
        Database(f"sqlite:///{path}")


def test_a_writer_that_never_ends_is_said_and_not_waited_for_forever(path, monkeypatch):
    opened = Database(f"sqlite:///{path}")
    monkeypatch.setattr(sqlite, "_PRAGMAS", ("PRAGMA busy_timeout = 20",))
    stuck = sqlite3.connect(path, isolation_level=None)
    stuck.execute("BEGIN IMMEDIATE")

    def write():
        with opened.write():
            raise AssertionError("two writers at once")

    with pytest.raises(UnavailableError, match="CN-DATABASE-002"):
        write()
    with opened.read():
        pass
    stuck.close()


def test_commits_survive_a_power_cut_and_deleted_keys_leave_no_trace(path):
    with Database(f"sqlite:///{path}").read() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        }
    assert pragmas == {
        "journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1,
    }  # fmt: skip


def test_a_reader_sees_one_state(path):
    opened = Database(f"sqlite:///{path}")
    with opened.read() as reader:
        before = reader.exec_driver_sql("SELECT count(*) FROM actors").scalar()
        with opened.write() as writer:
            writer.exec_driver_sql("INSERT INTO actors VALUES ('a', '[]')")
        assert reader.exec_driver_sql("SELECT count(*) FROM actors").scalar() == before
    with opened.read() as reader:
        assert reader.exec_driver_sql("SELECT count(*) FROM actors").scalar() == before + 1


def test_jobs_of_the_first_release_are_kept_and_may_be_claimed(tmp_path):
    url = databases.fresh(tmp_path)
    opened = Database(url, migrate=False)
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    with opened.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        names = "id, at, actor, verb, kind, subject, made_from, body"
        connection.exec_driver_sql(
            f"INSERT INTO entries ({names}) VALUES ('e','a','x','v','k','s','[]','{{}}')"
        )
        connection.exec_driver_sql(
            "INSERT INTO jobs (key, kind, body, wanted_by, state, fence, lease_until, attempt) "
            "VALUES ('retrain/r', 'retrain', '{}', 'e', 'waiting', 0, 0, 0)"
        )
    opened.close()
    migrated = Database(url)
    with migrated.read() as connection:
        assert database.revision(connection) == database.REVISION
    job = Jobs(migrated).claim("me", ["retrain"])
    assert (job.key, job.failures, job.not_before) == ("retrain/r", 0, 0.0)
    migrated.close()


def test_the_migrations_make_exactly_the_schema(stores):
    with stores.database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []


def test_every_text_is_compared_by_its_bytes(stores):
    """In the language of a database, `a@1` and `a_@1` may be neighbours; SQLite knows none."""
    if databases.KIND == "postgresql":
        with stores.database.read() as connection:
            found = connection.execute(
                sa.text(
                    "SELECT DISTINCT collation_name FROM information_schema.columns "
                    "WHERE table_schema = 'public' AND table_name <> 'alembic_version' "
                    "AND data_type IN ('text', 'character varying')"
                )
            )
            assert found.scalars().all() == ["C"]
    texts = ["a@1", "a_@1", "A@1", "é@1", "aa@1", "a@10"]
    with stores.database.write() as connection:
        for text in texts:
            connection.execute(schema.actors.insert().values(name=text, roles="[]"))
    query = sa.select(schema.actors.c.name).where(schema.actors.c.name.in_(texts))
    with stores.database.read() as connection:
        found = connection.execute(query.order_by(schema.actors.c.name)).scalars().all()
    assert found == sorted(texts, key=str.encode)
