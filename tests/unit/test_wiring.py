from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib

import pytest

from colonnade import wiring
from colonnade.base.errors import NotFoundError, UnavailableError, UsageError


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder of its own, and no settings from outside."""
    for name in list(os.environ):
        if name.startswith("COLONNADE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path, home):
    """A project that was made and never opened."""
    wiring.create(tmp_path / "project", "flights")
    return tmp_path / "project"


def _set(folder, text):
    path = folder / "colonnade.toml"
    path.write_text(text + "\n" + path.read_text())


def test_a_new_project_has_a_name_and_an_id_of_its_own(tmp_path, home):
    for name in ("a", "b"):
        wiring.create(tmp_path / name, name)
    settings = [wiring.read_settings(tmp_path / name) for name in ("a", "b")]
    assert [found.project.name for found in settings] == ["a", "b"]
    assert settings[0].project.id != settings[1].project.id


def test_settings_given_at_the_making_are_written_and_read(tmp_path, home):
    wiring.create(tmp_path, "a", 'key_file = "root.key"\n')
    assert wiring.read_settings(tmp_path).key_file.name == "root.key"
    assert tomllib.loads((tmp_path / "colonnade.toml").read_text())["project"]["name"] == "a"


def test_a_project_is_not_made_over_another_one(folder):
    before = (folder / "colonnade.toml").read_bytes()
    with pytest.raises(UsageError, match="CN-SETTINGS-003"):
        wiring.create(folder, "flights")
    assert (folder / "colonnade.toml").read_bytes() == before


def test_a_project_needs_a_name(tmp_path):
    with pytest.raises(UsageError, match="CN-NAME-001"):
        wiring.create(tmp_path / "new", "My Project")
    assert not (tmp_path / "new").exists()


def test_a_folder_without_settings_is_no_project(tmp_path):
    with pytest.raises(NotFoundError, match="CN-SETTINGS-001") as missing:
        wiring.open_workspace(tmp_path)
    assert "colonnade init" in missing.value.fix


def test_the_defaults_are_for_one_machine_and_the_loopback(folder):
    settings = wiring.read_settings(folder)
    assert (settings.serving.host, settings.serving.port) == ("127.0.0.1", 8500)
    assert settings.serving.log == "commit"
    assert settings.database_url is None


def test_variables_win_over_the_file_and_the_rest_of_the_file_stays(folder, monkeypatch):
    _set(folder, "[serving]\nport = 9000\nworkers = 3\n")
    monkeypatch.setenv("COLONNADE_SERVING__PORT", "9001")
    monkeypatch.setenv("COLONNADE_HEADS_FILE", "heads.jsonl")
    settings = wiring.read_settings(folder)
    assert (settings.serving.port, settings.serving.workers) == (9001, 3)
    assert wiring.heads_file(folder, settings) == folder / "heads.jsonl"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("databse_url = 'x'", "databse_url"),
        ("[serving]\nprt = 1", "serving.prt"),
        ("[serving]\nport = 'many'", "serving.port"),
        ("[serving]\nlog = 'sometimes'", "serving.log"),
        ("= nonsense", "line 1"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_name(folder, text, name):
    _set(folder, text)
    with pytest.raises(UsageError, match="CN-SETTINGS-002") as refused:
        wiring.read_settings(folder)
    assert name in refused.value.message


def test_a_wrong_variable_is_refused_with_its_name(folder, monkeypatch):
    monkeypatch.setenv("COLONNADE_SERVING__WORKERS", "two")
    with pytest.raises(UsageError, match=r"CN-SETTINGS-002.*serving.workers"):
        wiring.read_settings(folder)


def test_a_project_without_a_name_is_refused(folder):
    (folder / "colonnade.toml").write_text("[project]\nid = 'x'\n")
    with pytest.raises(UsageError, match=r"CN-SETTINGS-002.*project.name"):
        wiring.read_settings(folder)


def test_keys_and_heads_lie_outside_the_project(folder, home):
    settings = wiring.read_settings(folder)
    for path in (wiring.key_file(folder, settings), wiring.heads_file(folder, settings)):
        assert path.parent == home / ".config" / "colonnade"
        assert path.name.startswith(settings.project.id)


def test_a_setting_may_name_a_place_from_home(folder, home, monkeypatch):
    monkeypatch.setenv("COLONNADE_KEY_FILE", "~/elsewhere.key")
    assert wiring.key_file(folder, wiring.read_settings(folder)) == home / "elsewhere.key"


def test_the_first_start_makes_keys_database_and_administrator(folder, home):
    with wiring.open_workspace(folder) as workspace:
        assert workspace.first_key.startswith("cn_")
        assert workspace.session("test").actor.may("keys")
    assert (folder / ".colonnade" / ".gitignore").read_text() == "*\n"
    settings = wiring.read_settings(folder)
    assert wiring.key_file(folder, settings).stat().st_mode & 0o777 == 0o600
    with wiring.open_workspace(folder) as workspace:
        assert workspace.first_key is None


def test_what_was_appended_is_sealed_when_the_workspace_closes(folder):
    with wiring.open_workspace(folder) as workspace:
        assert workspace.stores.ledger.unsealed() > 0
    assert workspace.stores.ledger.unsealed() == 0
    assert workspace.verify().holds
    assert wiring.heads_file(folder, workspace.settings).read_text().count("\n") == 1


def test_exported_heads_that_are_gone_are_not_made_again_before_they_are_missed(folder):
    with wiring.open_workspace(folder) as workspace:
        pass
    wiring.heads_file(folder, workspace.settings).unlink()
    with wiring.open_workspace(folder) as workspace:
        assert "the exported heads are gone" in workspace.verify().problems[0]


def test_a_session_of_nobody_is_refused(folder):
    with wiring.open_workspace(folder) as workspace:
        with pytest.raises(NotFoundError, match=r"CN-ACCESS-002.*'eve'"):
            workspace.session("test", "eve")
        assert workspace.session("test", "endpoint").actor.roles == {"service"}


def test_a_key_file_that_is_gone_after_the_first_start_is_said(folder):
    with wiring.open_workspace(folder) as workspace:
        key_file = wiring.key_file(folder, workspace.settings)
    key_file.unlink()
    with pytest.raises(UnavailableError, match="CN-KEYS-001") as missing:
        wiring.open_workspace(folder)
    assert "COLONNADE_KEY_FILE" in missing.value.fix
    assert not key_file.exists()


def test_a_start_that_was_killed_before_anything_was_there_begins_again(folder):
    with wiring.open_workspace(folder) as workspace:
        key = wiring.key_file(folder, workspace.settings).read_bytes()
    shutil.rmtree(folder / ".colonnade")
    wiring.heads_file(folder, workspace.settings).unlink()
    with wiring.open_workspace(folder) as workspace:
        assert workspace.first_key is not None
        assert wiring.key_file(folder, workspace.settings).read_bytes() == key
    assert workspace.verify().holds


def test_a_folder_that_tables_cannot_lie_in_is_refused(tmp_path, home):
    with pytest.raises(UsageError, match="CN-SETTINGS-004"):
        wiring.create(tmp_path / "100%", "flights")
    assert not (tmp_path / "100%").exists()
    wiring.create(tmp_path / "whole", "flights")
    (tmp_path / "whole").rename(tmp_path / "100%")
    with pytest.raises(UsageError, match="CN-SETTINGS-004"):
        wiring.open_workspace(tmp_path / "100%")
    assert not (tmp_path / "100%" / ".colonnade").exists()


def test_two_first_starts_at_once_make_one_administrator_and_one_key(folder):
    script = (
        "import sys; from pathlib import Path; from colonnade import wiring\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "with wiring.open_workspace(Path(sys.argv[1])) as workspace:\n"
        "    print(workspace.first_key is not None)\n"
    )
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for starter in starters:
        assert starter.stdout.readline() == "ready\n"
    for starter in starters:
        starter.stdin.write("\n")
        starter.stdin.flush()
    answers = [starter.communicate(timeout=50) for starter in starters]
    assert sorted(out for out, _ in answers) == ["False\n", "True\n"], answers
    with wiring.open_workspace(folder) as workspace:
        assert len(workspace.stores.people.keys()) == 1
        assert len(workspace.stores.keys.public()) == 1
        assert workspace.verify().holds
