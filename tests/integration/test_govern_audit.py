"""Verifying the ledger: it is clean, and whatever is changed behind its back is found."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import rfc8785
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from colonnade.govern import access, audit
from colonnade.govern.change import Change
from colonnade.govern.session import Session
from colonnade.govern.stores import open_stores
from colonnade.records import canonical
from colonnade.records.entry import GENESIS, Head, merkle_root, seal
from colonnade.records.ref import Ref
from colonnade.store import keys
from colonnade.store.database import Database
from colonnade.store.ledger import Ledger
from tests import databases

COLUMNS = (
    "id", "at", "actor", "verb", "kind", "subject", "made_from", "body", "seq", "prev_hash", "hash",
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A ledger of several heads, with versions, lineage and a large number, signed by two keys."""
    folder = tmp_path_factory.mktemp("made")
    keys.make(folder / "root.key")
    url = databases.fresh(folder)
    stores = _open(folder, url)
    access.first_start(stores, "p")
    for number in range(3):
        with stores.database.write() as connection:
            change = Change(stores, connection, "admin")
            made_from = ["file/a", *([f"table/t@{number}"] if number else [])]
            change.version("write", Ref("table", "t"), lambda _: {"rows": 1e20}, made_from)
            change.append("read", Ref("table", "t", 1), {"columns": ["id"], "purpose": "é"})
            change.append("refuse", Ref("table", "t", 99), {"action": "read"})
        stores.sealer.seal()
    access.rotate_root(Session(stores, access.ADMIN, "test"), stores)
    stores.sealer.seal()
    stores.database.close()
    return folder, url


def _open(folder, url):
    return open_stores(url, folder, folder / "root.key", folder / "heads")


@pytest.fixture
def ledger(made, tmp_path):
    """The folder of a copy."""
    for file in made[0].iterdir():
        shutil.copy(file, tmp_path)
    return tmp_path


@pytest.fixture
def database_url(made, ledger):
    """The database of the copy."""
    return databases.copy(made[1], ledger)


@pytest.fixture
def stores(ledger, database_url):
    """The stores of the copy."""
    stores = _open(ledger, database_url)
    yield stores
    stores.database.close()


@pytest.fixture
def query(database_url):
    """Does to the database what somebody could who has it; returns the rows of the last answer."""
    engine = sa.create_engine(database_url, poolclass=sa.NullPool)

    def run(*statements, parameters=()):
        with engine.begin() as connection:
            if databases.KIND == "postgresql":  # its administrator need not heed references
                connection.exec_driver_sql("SET session_replication_role = replica")
                statements = [statement.replace("?", "%s") for statement in statements]
            for statement in statements:
                found = connection.exec_driver_sql(statement, parameters or None)
            return found.all() if found.returns_rows else []

    return run


@pytest.fixture
def tamper(query):
    """Changes the database behind the ledger's back."""
    return query


@pytest.fixture
def verify(stores, ledger):
    """What verifying finds now."""
    return lambda: audit.verify(stores.database, stores.keys.public(), ledger / "heads")


def test_an_intact_ledger_holds(stores, verify, append):
    found = verify()
    assert (found.holds, found.problems, found.unsealed) == (True, (), 0)
    assert found.sealed == sum(1 for _ in stores.ledger.stream()) > 10
    assert found.heads == len(stores.ledger.heads()) == 4
    append()
    assert (verify().holds, verify().unsealed) == (True, 1)


def test_an_empty_ledger_holds(stores, tmp_path):
    (tmp_path / "empty").mkdir()
    empty = Database(databases.fresh(tmp_path / "empty"))
    found = audit.verify(empty, stores.keys.public(), tmp_path / "no heads")
    empty.close()
    assert (found.holds, found.sealed, found.heads) == (True, 0, 0)


def _another(value):
    if isinstance(value, int):
        return value + 1_000
    for old, new in (("0", "1"), ("a", "b"), ("e", "f")):
        if old in value:
            return value.replace(old, new, 1)
    return value + "x"


@pytest.mark.parametrize("number", [1, 6, 7])
@pytest.mark.parametrize("column", COLUMNS)
def test_a_changed_byte_in_any_column_is_found(tamper, query, verify, column, number):
    ((was,),) = query(f"SELECT {column} FROM entries WHERE seq = {number}")
    tamper(f"UPDATE entries SET {column} = ? WHERE seq = {number}", parameters=(_another(was),))
    assert not verify().holds


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("made_from", "5"), ("made_from", "null"), ("made_from", "{}"), ("made_from", "["),
        ("body", "{"), ("body", ""), ("body", '{"a":NaN}'), ("hash", "zz"), ("hash", None),
        ("prev_hash", None), ("seq", None), ("seq", "first"), ("subject", ""), ("at", b"\x00"),
    ],
)  # fmt: skip
def test_nonsense_is_found_and_does_not_stop_the_verifier(tamper, verify, column, value):
    try:
        tamper(f"UPDATE entries SET {column} = ? WHERE seq = 6", parameters=(value,))
    except sa.exc.DBAPIError:  # its columns have types: there is nothing to find
        assert databases.KIND == "postgresql"
        assert column in ("seq", "at")
    else:
        assert not verify().holds


@pytest.mark.parametrize("body", ['{"rows": 1}', '{"rows":1,"rows":1}', '{"rows":1.0}'])
def test_other_bytes_for_the_same_values_are_found(stores, tamper, verify, append, body):
    entry = append("run/r", "note", {"rows": 1})
    stores.sealer.seal()
    assert verify().holds
    tamper("UPDATE entries SET body = ? WHERE id = ?", parameters=(body, entry.id))
    assert not verify().holds


ADD = """
    INSERT INTO entries SELECT 'new', at, actor, verb, kind, subject, made_from, body,
    (SELECT max(seq) + 1 FROM entries), prev_hash, hash FROM entries WHERE seq = 6
"""


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM entries WHERE seq = 6",
        "DELETE FROM entries WHERE seq = (SELECT max(seq) FROM entries)",
        "UPDATE entries SET seq = NULL WHERE seq = (SELECT max(seq) FROM entries)",
        "DELETE FROM heads WHERE last = (SELECT min(last) FROM heads)",
        "DELETE FROM heads WHERE last = (SELECT max(last) FROM heads)",
        "DELETE FROM heads",
        "UPDATE entries SET seq = seq + 1 WHERE seq = (SELECT max(seq) FROM entries)",
        ADD,
        "UPDATE versions SET entry = (SELECT id FROM entries WHERE seq = 1) WHERE version = 2",
        "UPDATE versions SET entry = (SELECT max(id) FROM entries) WHERE version = 1",
        "DELETE FROM versions WHERE version = 2",
        "DELETE FROM versions WHERE version = 3",
        "UPDATE versions SET version = 9 WHERE version = 3",
        "UPDATE versions SET name = 'u' WHERE version = 3",
        "INSERT INTO versions SELECT kind, name, 4, entry FROM versions WHERE version = 3",
        "DELETE FROM edges WHERE parent = 'table/t@1'",
        "UPDATE edges SET parent = 'file/b' WHERE parent = 'file/a'",
        "UPDATE edges SET child = 'table/u@1' WHERE child = 'table/t@1'",
        "INSERT INTO edges SELECT 'file/b', entry, child FROM edges LIMIT 1",
        "INSERT INTO edges VALUES ('file/b', 'gone', 'table/t@1')",
    ],
)
def test_what_is_taken_away_or_added_is_found(tamper, verify, statement):
    tamper(statement)
    assert not verify().holds


@pytest.fixture
def heads(query):
    """The texts of the stored heads."""
    return lambda: [text for (text,) in query("SELECT head FROM heads ORDER BY last")]


@pytest.fixture
def export_as_stored(heads, ledger):
    """Writes the exported heads anew, as they are stored by now."""
    return lambda: (ledger / "heads").write_text("".join(text + "\n" for text in heads()))


HEAD = sorted(field.name for field in dataclasses.fields(Head))


@pytest.mark.parametrize("field", HEAD)
def test_a_changed_field_of_a_head_is_found(tamper, verify, field, heads, export_as_stored):
    head = json.loads(heads()[-1])
    for value in (_another(head[field]), None, [], "Infinity"):
        text = rfc8785.dumps(head | {field: value}).decode()
        tamper(
            "UPDATE heads SET head = ? WHERE last = (SELECT max(last) FROM heads)",
            parameters=(text,),
        )
        export_as_stored()
        assert not verify().holds


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "5", "null", "{", '{"first":1}', '{"first":1,"x":Infinity}']
)
def test_a_head_that_is_none_is_found(tamper, verify, text, export_as_stored):
    tamper(
        "UPDATE heads SET head = ? WHERE last = (SELECT max(last) FROM heads)", parameters=(text,)
    )
    export_as_stored()
    assert "cannot be read" in " ".join(verify().problems)


def test_a_head_in_other_bytes_is_found(tamper, verify, heads, export_as_stored):
    text = heads()[-1].replace(",", ", ", 1)
    tamper(
        "UPDATE heads SET head = ? WHERE last = (SELECT max(last) FROM heads)", parameters=(text,)
    )
    export_as_stored()
    assert not verify().holds


@pytest.mark.parametrize("own_name", [True, False])
def test_a_head_signed_again_by_another_key_is_found(
    tamper, verify, own_name, heads, export_as_stored
):
    fields = json.loads(heads()[-1])
    head = Head(**fields | ({"key_id": "attacker"} if own_name else {}))
    key = Ed25519PrivateKey.generate()
    head = dataclasses.replace(head, signature=key.sign(head.signed_bytes()).hex())
    text = canonical.encode(head).decode()
    tamper(
        "UPDATE heads SET head = ? WHERE last = (SELECT max(last) FROM heads)", parameters=(text,)
    )
    export_as_stored()
    problem = " ".join(verify().problems)
    assert (
        "a key that this project does not have" if own_name else "not by the project"
    ) in problem


def _rewrite(stores, tamper, sign, key_id):
    """Chain, tree and signatures made again over changed entries, all in one head."""
    chain = [
        dataclasses.replace(entry, actor="nobody") for entry in Ledger(stores.database).stream()
    ]
    previous = GENESIS
    for place, entry in enumerate(chain, start=1):
        digest = seal(entry, place, previous)
        tamper(
            "UPDATE entries SET actor = 'nobody', prev_hash = ?, hash = ? WHERE seq = ?",
            parameters=(previous, digest, place),
        )
        previous = digest
    leaves = [bytes.fromhex(entry.hash) for entry in Ledger(stores.database).stream()]
    head = Head(
        first=1, last=len(leaves), root=merkle_root(leaves).hex(), last_hash=previous,
        prev=GENESIS, at="2013-01-01T00:00:00.000000Z", key_id=key_id,
    )  # fmt: skip
    head = dataclasses.replace(head, signature=sign(head.signed_bytes()).hex())
    tamper("DELETE FROM heads")
    tamper(
        "INSERT INTO heads VALUES (?, ?)",
        parameters=(head.last, canonical.encode(head).decode()),
    )


def test_a_ledger_rewritten_as_a_whole_with_another_key_is_found(
    stores, tamper, verify, export_as_stored
):
    key = Ed25519PrivateKey.generate()
    _rewrite(stores, tamper, key.sign, "attacker")
    export_as_stored()  # even where the exported heads could be replaced
    assert verify().problems == (
        f"head of entries 1 to {verify().sealed}: signed by a key that this project does not have",
    )


def test_a_ledger_rewritten_with_our_own_key_is_found_by_the_exported_heads(stores, tamper, verify):
    _rewrite(stores, tamper, stores.keys.sign, stores.keys.key_id)
    problems = verify().problems
    assert problems
    assert all("exported head" in problem for problem in problems)


def test_a_tail_that_was_cut_off_is_found_by_the_exported_heads(tamper, verify, heads):
    before = json.loads(heads()[-2])["last"]
    tamper(
        f"DELETE FROM edges WHERE entry IN (SELECT id FROM entries WHERE seq > {before})",
        f"DELETE FROM heads WHERE last > {before}",
        f"DELETE FROM entries WHERE seq > {before}",
    )
    (problem,) = verify().problems
    assert "an exported head is not in the database any more" in problem


def test_exported_heads_that_are_gone_or_changed_are_found(ledger, verify):
    lines = (ledger / "heads").read_text().splitlines(keepends=True)
    for changed in (lines[1:], [*lines[:-1], _another(lines[-1])], [*lines, "{}\n"]):
        (ledger / "heads").write_text("".join(changed))
        assert not verify().holds
    (ledger / "heads").unlink()
    assert "the exported heads are gone" in verify().problems[0]


def test_heads_that_wait_for_their_export_are_no_problem(ledger, verify):
    lines = (ledger / "heads").read_text().splitlines(keepends=True)
    (ledger / "heads").write_text("".join(lines[:2]))
    assert verify().holds


def test_a_thousand_problems_are_not_all_told(tamper, verify, stores):
    with stores.database.write() as connection:
        change = Change(stores, connection, "admin")
        for _ in range(150):
            change.append("note", Ref("run", "r"), {})
    stores.sealer.seal()
    tamper("UPDATE entries SET actor = 'nobody'")
    assert len(verify().problems) == 100


# The verifier that docs/ledger.md gives to strangers


sqlite_only = pytest.mark.skipif(
    databases.KIND != "sqlite", reason="the documented program reads the file of an SQLite database"
)


@pytest.fixture
def stranger(stores, ledger, tmp_path):
    """Runs the program in the documentation on the project's files, without our code."""
    docs = Path(__file__).parents[2] / "docs" / "ledger.md"
    program = docs.read_text().split("```python\n")[1].split("```")[0]
    ours = [f"{key}={raw.hex()}" for key, raw in stores.keys.public().items()]

    def run(*trusted):
        return subprocess.run(
            [
                sys.executable,
                "-c",
                program,
                ledger / "meta.db",
                ledger / "heads",
                *(trusted or ours),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )

    return run


def test_the_documented_verifier_needs_nothing_of_ours():
    text = (Path(__file__).parents[2] / "docs" / "ledger.md").read_text()
    program = text.split("```python\n")[1].split("```")[0]
    assert "colonnade" not in program
    assert len(program.splitlines()) <= 60


@sqlite_only
def test_the_documented_verifier_accepts_an_intact_ledger(stranger, verify):
    done = stranger()
    assert done.stdout.startswith(f"{verify().sealed} entries in 4 signed heads"), done.stderr
    assert done.returncode == 0


@sqlite_only
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET actor = 'nobody' WHERE seq = 6",
        "UPDATE entries SET body = '{}' WHERE seq = 6",
        "DELETE FROM entries WHERE seq = 6",
        "DELETE FROM heads WHERE last = (SELECT min(last) FROM heads)",
        "DELETE FROM heads WHERE last = (SELECT max(last) FROM heads)",
        "UPDATE heads SET head = replace(head, '\"first\":1,', '\"first\":2,')",
        'UPDATE heads SET head = replace(head, \'"at":"2\', \'"at":"1\')',
    ],
)
def test_the_documented_verifier_refuses_a_changed_ledger(stranger, tamper, statement):
    tamper(statement)
    done = stranger()
    assert done.returncode == 1
    assert "changed" in done.stderr or "InvalidSignature" in done.stderr


@sqlite_only
def test_the_documented_verifier_refuses_another_key_and_a_cut_tail(stranger, tamper, heads):
    assert "unknown key" in stranger(f"other={bytes(32).hex()}").stderr
    before = json.loads(heads()[-2])["last"]
    tamper(f"DELETE FROM heads WHERE last > {before}", f"DELETE FROM entries WHERE seq > {before}")
    assert "exported heads are gone" in stranger().stderr


def test_the_public_keys_are_where_the_documentation_says(stores, ledger):
    found = {}
    for entry in stores.ledger.select(kind="key"):
        found |= entry.body.get("ed25519", {})
    assert found == {key: raw.hex() for key, raw in stores.keys.public().items()}
