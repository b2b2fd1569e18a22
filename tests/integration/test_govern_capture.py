from __future__ import annotations

import subprocess

import pytest

from colonnade.compute import code
from colonnade.govern import capture

PROJECT = """
import colonnade as co
import helper
project = co.Project("p")
"""


@pytest.fixture
def folder(tmp_path):
    """A project of two imported files, one that nobody imports and landing data."""
    folder = (tmp_path / "project").resolve()
    (folder / "landing").mkdir(parents=True)
    (folder / "project.py").write_text(PROJECT)
    (folder / "helper.py").write_text("MARGIN = 1\n")
    (folder / "unused.py").write_text("x = 1\n")
    (folder / "landing" / "rows.csv").write_text("n\n1\n")
    return folder


def _git(folder, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    command = ["git", "-C", str(folder), *identity, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _captured(session, folder):
    code.load(folder)
    return capture.capture_code(session, folder, "digest")


def test_what_python_imported_is_kept_and_nothing_else(session, folder):
    found = _captured(session, folder)
    assert sorted(found.files) == ["helper.py", "project.py"]
    assert session.blob(found.files["helper.py"]) == b"MARGIN = 1\n"
    assert (found.commit, found.diff, found.digest) == (None, None, "digest")
    assert found.untracked == ("helper.py", "project.py")


def test_the_commit_the_difference_and_what_git_does_not_know_are_kept(session, folder):
    _git(folder, "init", "-q")
    _git(folder, "add", "project.py", "landing")
    _git(folder, "commit", "-q", "-m", "first")
    clean = _captured(session, folder)
    assert clean.commit == _git(folder, "rev-parse", "HEAD")
    assert clean.diff is None
    assert clean.untracked == ("helper.py",)
    (folder / "project.py").write_text(PROJECT + "# changed\n")
    (folder / "landing" / "rows.csv").write_text("n\n2\n")
    diff = session.blob(_captured(session, folder).diff).decode()
    assert "+# changed" in diff
    assert "rows.csv" not in diff


def test_a_machine_and_a_process_are_described():
    machine = capture.machine()
    assert int(machine["cores"]) >= 1
    assert int(machine["memory_bytes"]) > 2**20
    assert capture.process()["implementation"] == "cpython"
