"""`doctor` on real projects: what is broken is named, what is whole is left as it was."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from colonnade import wiring
from colonnade.base.errors import RefusedError
from colonnade.cli.main import run
from colonnade.lifecycle import doctor
from colonnade.records.finding import Finding
from tests import databases
from tests.projects import answered, empty, process

pytestmark = pytest.mark.timeout(120)
DATABASE = Path(".colonnade") / "meta.db"


file_only = pytest.mark.skipif(
    databases.KIND != "sqlite", reason="about the file of SQLite; see test_store_postgresql.py"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project that was opened once; its keys and heads lie in its folder."""
    return empty(tmp_path / "project")


@pytest.fixture(autouse=True)
def free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLONNADE_SERVING__PORT", "0")
    monkeypatch.setenv("COLONNADE_SERVER__PORT", "0")


def examined(folder: Path) -> dict[str, Finding]:
    found = list(doctor.examine(folder, wiring.places))
    checks = [finding.check for finding in found]
    assert len(checks) == len(set(checks))
    return {finding.check: finding for finding in found}


def problem(folder: Path, check: str, said: str) -> None:
    """Exactly this check sees a problem, and says how to mend it."""
    found = examined(folder)
    broken = {name for name, finding in found.items() if finding.state == "problem"}
    assert broken == {check}
    assert said in found[check].found
    assert found[check].fix


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in (".db-wal", ".db-shm") and "-wal" not in path.name
    }


@file_only
def test_a_whole_project_is_good_and_left_as_it_was(folder):
    before = contents(folder)
    found = examined(folder)
    assert {f.state for f in found.values()} <= {"ok", "warning"}  # this machine may be small
    assert {
        "python", "packages", "cores", "memory", "file system", "files", "locks", "sqlite", "disk",
        "settings", "database", "heads", "key file", "clock", "leases", "spool", "port",
        "server port", "project",
    } == set(found)  # fmt: skip
    for check in ("settings", "database", "heads", "key file", "clock", "spool", "project"):
        assert found[check].state == "ok", found[check]
    assert "with the ledger" in found["clock"].found
    after = contents(folder)
    assert {k: v for k, v in after.items() if not k.startswith("__pycache__")} == before


def test_before_there_is_a_project_nothing_is_called_good_that_was_not_tried(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    found = examined(tmp_path / "new")
    assert [found[check].state for check in ("settings", "database")] == ["untried"] * 2
    assert [found[check].state for check in ("key file", "heads")] == ["ok"] * 2
    assert not {"project", "spool", "leases"} & set(found)
    assert list(tmp_path.iterdir()) == []


def test_a_home_in_which_no_key_can_be_kept_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/proc")
    found = examined(tmp_path)
    assert (found["key file"].state, found["heads"].state) == ("problem", "problem")


def test_settings_that_cannot_be_read_are_a_problem(folder):
    (folder / "colonnade.toml").write_text("nonsense")
    problem(folder, "settings", "CN-SETTINGS-002")


def test_a_project_that_does_not_load_is_a_problem(folder):
    (folder / "project.py").write_text("1 / 0\n")
    problem(folder, "project", "CN-PROJECT-002")


def test_a_key_file_that_others_may_read_is_a_problem(folder):
    (folder / "root.key").chmod(0o644)
    found = examined(folder)
    assert found["key file"].state == "problem"
    assert "0644" in found["key file"].found
    assert found["key file"].fix.startswith("chmod 600")


def test_a_key_file_that_is_gone_is_a_problem(folder):
    (folder / "root.key").unlink()
    assert examined(folder)["key file"].state == "problem"
    assert not (folder / "root.key").exists()


def test_another_projects_key_file_is_a_problem(folder, tmp_path):
    other = wiring.keys.make(tmp_path / "other.key")
    assert other
    (tmp_path / "other.key").replace(folder / "root.key")
    problem(folder, "key file", "with which this project's ledger was signed")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_file_of_another_user_is_warned_of(folder):
    os.chown(folder / "root.key", 12345, -1)
    finding = examined(folder)["key file"]
    assert finding.state == "warning"
    assert "user 12345" in finding.found


@file_only
def test_a_deleted_database_is_named_and_never_begun_anew(folder):
    (folder / DATABASE).unlink()
    for more in folder.glob(".colonnade/meta.db-*"):
        more.unlink()
    problem(folder, "heads", "the database is new")
    with pytest.raises(RefusedError, match="CN-LEDGER-002") as error:
        wiring.open_workspace(folder)
    assert "backup" in error.value.fix
    with pytest.raises(RefusedError, match="CN-LEDGER-002"):
        wiring.open_workspace(folder)  # the first refusal made nothing that counts
    (folder / "heads.jsonl").rename(folder / "heads.old")
    with wiring.open_workspace(folder) as workspace:
        assert workspace.first_key is not None


@file_only
def test_a_database_that_no_command_made_is_told(folder):
    (folder / DATABASE).unlink()
    (folder / "heads.jsonl").unlink()
    assert examined(folder)["database"].state == "warning"
    assert not (folder / DATABASE).exists()


@file_only
def test_an_older_database_is_seen_by_the_heads(folder):
    old = (folder / DATABASE).read_bytes()
    assert run(["access", "key", "admin", "--project", str(folder)]) == 0
    (folder / DATABASE).write_bytes(old)
    problem(folder, "heads", "an older or another one")


def test_heads_that_are_gone_or_cannot_be_written_are_a_problem(folder):
    (folder / "heads.jsonl").rename(folder / "elsewhere")
    problem(folder, "heads", "is gone")
    (folder / "heads.jsonl").mkdir()
    problem(folder, "heads", "Is a directory")


@file_only
def test_a_file_that_is_no_database_is_a_problem(folder):
    (folder / DATABASE).write_bytes(b"nothing" * 1000)
    found = examined(folder)
    assert found["database"].state == "problem"
    assert "not a database" in found["database"].found


@file_only
def test_a_database_of_a_newer_release_is_a_problem(folder):
    with sqlite3.connect(folder / DATABASE) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert "revision 9999" in examined(folder)["database"].found
    assert examined(folder)["database"].state == "problem"


def test_a_database_of_an_unknown_kind_is_a_problem(folder, monkeypatch):
    monkeypatch.setenv("COLONNADE_DATABASE_URL", "oracle://nowhere/x")
    found = examined(folder)
    assert "CN-DATABASE-001" in found["database"].found
    assert "sqlite" not in found


def test_the_lease_of_a_dead_process_is_named(folder):
    script = (
        "import sys; from pathlib import Path; from colonnade.wiring import open_workspace\n"
        "with open_workspace(Path(sys.argv[1])) as workspace:\n"
        "    with workspace.session('test').writer('rows'):\n"
        "        print('holding', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout.readline() == "holding\n"
        alive = examined(folder)["leases"]
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    dead = examined(folder)["leases"]
    assert (alive.state, dead.state) == ("ok", "warning")
    assert f":{holder.pid}:" in alive.found
    assert "the holder is dead" in dead.found


def test_a_damaged_segment_is_a_problem_and_one_set_aside_a_warning(folder):
    spool = folder / ".colonnade" / "spool" / "risk" / "01a20bb1-9699-7b30-87d9-35dc4a37ea2e"
    spool.mkdir(parents=True)
    (spool / "lock").touch()
    segment = spool / "000000000000.seg"
    segment.write_bytes(b"no segment of ours")
    problem(folder, "spool", "CN-SPOOL-001")
    segment.rename(segment.with_suffix(".bad"))
    finding = examined(folder)["spool"]
    assert finding.state == "warning"
    assert finding.found.startswith("1 ")


def test_a_port_that_is_taken_is_a_problem():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        finding = doctor.port("127.0.0.1", number)
    assert finding.state == "problem"
    assert "CN-SERVE-001" in finding.found
    assert doctor.port("127.0.0.1", number).state == "ok"
    assert doctor.port("127.0.0.1", 70_000).state == "problem"


def test_a_public_address_is_a_problem():
    assert "CN-SERVE-002" in doctor.port("0.0.0.0", 0).found


def test_a_port_that_our_own_server_holds_is_no_trouble(folder):
    served = process(folder, "serve", "--port", "0")
    try:
        number = int(served.stdout.readline().rsplit(":", 1)[1])
        finding = doctor.port("127.0.0.1", number)
        assert finding.state == "warning"
        assert "answers" in finding.found
    finally:
        served.terminate()
        served.communicate(timeout=60)


def test_a_control_server_has_a_port_of_its_own(folder):
    served = process(folder, "server", "--port", "0")
    try:
        number = int(served.stdout.readline().rsplit(":", 1)[1])
        finding = doctor.port("127.0.0.1", number, "server")
        assert (finding.check, finding.state) == ("server port", "warning")
        assert "server.port" in finding.fix
    finally:
        served.terminate()
        served.communicate(timeout=60)


@file_only
def test_the_command_ends_with_1_when_something_would_break(folder, capsys):
    assert run(["doctor", "--project", str(folder)]) == 0
    told = capsys.readouterr()
    assert "ok       sqlite" in told.out
    assert told.err == ""
    (folder / "project.py").unlink()
    assert run(["doctor", "--project", str(folder)]) == 1
    told = capsys.readouterr()
    assert "problem  project" in told.out
    assert "fix: " in told.out
    assert "1 of 19 would break" in told.err
    assert run(["doctor", "--json", "--project", str(folder)]) == 1
    body = answered(capsys.readouterr().out)
    assert json.dumps(body).count('"problem"') == 1
    assert set(body[0]) == {"check", "state", "found", "fix"}
