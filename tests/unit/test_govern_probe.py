"""What a machine can do: each check passes where it should, and fails for real where it should."""

from __future__ import annotations

import importlib.metadata
import os
from datetime import timedelta
from pathlib import Path

import pytest

from colonnade.base import clock
from colonnade.govern import probe

UNWRITABLE = Path("/proc")  # a root user may write anywhere else
MOUNTS = """\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
40 27 0:30 / /srv/team\\040share rw,relatime shared:1 - nfs4 server:/export rw,vers=4.2
41 27 0:31 / /mnt/windows rw - cifs //host/share rw
42 27 0:32 / /mnt/ssh rw - fuse.sshfs user@host: rw
43 27 0:33 / /mnt/odd rw - fuse.odd odd rw
44 27 0:34 / /var/lib/layer rw - overlay overlay rw
"""


def state_of(finding):
    assert finding.found
    assert bool(finding.fix) == (finding.state in ("warning", "problem"))
    return finding.state


def test_what_a_good_folder_can_do_is_tried_and_nothing_is_left_behind(tmp_path):
    for check in (probe.files, probe.locks, probe.sqlite, probe.disk):
        assert state_of(check(tmp_path)) == "ok"
    assert state_of(probe.clock_of(tmp_path, clock.stamp(clock.now()))) == "ok"
    assert state_of(probe.place("key file", tmp_path / "not" / "there" / "a.key")) == "ok"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_yet_is_tried_where_it_would_be_made(tmp_path):
    assert probe.existing(tmp_path / "a" / "b") == tmp_path.resolve()
    assert state_of(probe.files(tmp_path / "a" / "b")) == "ok"
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("check", [probe.files, probe.locks, probe.sqlite])
def test_a_folder_that_cannot_be_written_is_a_problem(check):
    assert state_of(check(UNWRITABLE)) == "problem"


def test_a_place_or_a_clock_that_cannot_be_tried_is_a_problem():
    assert state_of(probe.clock_of(UNWRITABLE, None)) == "problem"
    assert state_of(probe.place("key file", UNWRITABLE / "a.key")) == "problem"


def test_a_second_process_that_passes_over_a_lock_is_seen(tmp_path):
    finding = probe.locks(tmp_path, hold=False)  # nothing is held: both get through
    assert state_of(finding) == "problem"
    assert "flock and lockf" in finding.found


def test_a_database_that_cannot_have_a_write_ahead_log_is_seen(tmp_path):
    finding = probe.sqlite(tmp_path, ":memory:")
    assert state_of(finding) == "problem"
    assert "journal mode memory" in finding.found


def test_a_disk_without_room_is_a_problem_and_one_with_little_a_warning(tmp_path):
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    assert state_of(probe.disk(tmp_path, least=2 * free)) == "problem"
    assert state_of(probe.disk(tmp_path, enough=2 * free)) == "warning"


@pytest.mark.parametrize(
    ("folder", "state", "kind"),
    [
        ("/home/me/project", "ok", "ext4"),
        ("/srv/team share/project", "problem", "nfs4"),
        ("/mnt/windows/project", "problem", "cifs"),
        ("/mnt/ssh/project", "problem", "fuse.sshfs"),
        ("/mnt/odd/project", "warning", "fuse.odd"),
        ("/var/lib/layer/project", "warning", "overlay"),
        ("/home/100%/project", "problem", "%"),
    ],
)
def test_a_file_system_is_named_by_its_kind(folder, state, kind, monkeypatch):
    monkeypatch.setattr(probe, "existing", Path)  # the mounts of the text are not there
    finding = probe.file_system(Path(folder), MOUNTS)
    assert state_of(finding) == state
    assert kind in finding.found


def test_a_system_that_names_no_mounts_is_not_called_good(tmp_path):
    assert probe.file_system(tmp_path, "").state == "untried"


def test_a_memory_disk_of_this_machine_is_warned_of():
    memory = Path("/dev/shm")
    mounts = Path("/proc/self/mountinfo").read_text()
    assert state_of(probe.file_system(memory, mounts)) == "warning"


def test_clocks_that_disagree_are_a_problem(tmp_path, monkeypatch):
    ahead = clock.stamp(clock.now() + timedelta(hours=1))
    finding = probe.clock_of(tmp_path, ahead)
    assert state_of(finding) == "problem"
    assert "newest entry" in finding.found
    now_s = clock.now_s
    monkeypatch.setattr(clock, "now_s", lambda: now_s() + 90)
    assert "-90 s away" in probe.clock_of(tmp_path, None).found
    monkeypatch.setattr(clock, "now_s", lambda: 0.0)
    assert "1970" in probe.clock_of(tmp_path, None).found


def test_too_little_machine_is_warned_of():
    assert state_of(probe.cores(at_least=1)) == "ok"
    assert state_of(probe.cores(at_least=10_000)) == "warning"
    assert state_of(probe.memory(at_least=1)) == "ok"
    assert state_of(probe.memory(at_least=2**60)) == "warning"


def test_an_old_python_is_a_problem():
    assert state_of(probe.python()) == "ok"
    assert state_of(probe.python((3, 10))) == "problem"


def test_packages_are_those_that_are_installed_and_pinned(tmp_path, monkeypatch):
    lock = tmp_path / "requirements.lock"
    assert state_of(probe.packages(lock)) == "ok"
    real = importlib.metadata.version("polars")
    lock.write_text(f"polars=={real} \\\n    --hash=sha256:00\n")
    assert "1 of them" in probe.packages(lock).found
    lock.write_text("polars==0.0.1\nno-such-package==1.0\n")
    finding = probe.packages(lock)
    assert state_of(finding) == "warning"
    assert f"polars {real}, pinned 0.0.1; no-such-package none, pinned 1.0" in finding.found


def test_a_package_that_is_gone_is_a_problem(tmp_path, monkeypatch):
    (tmp_path / "other-1.0.dist-info").mkdir()
    (tmp_path / "other-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: other\nVersion: 1.0\nRequires-Dist: no-such-package>=1\n"
    )
    assert probe.packages(tmp_path / "none", "other").state == "untried"
    monkeypatch.syspath_prepend(tmp_path)
    finding = probe.packages(tmp_path / "none", "other")
    assert state_of(finding) == "problem"
    assert "not installed: no-such-package" in finding.found
