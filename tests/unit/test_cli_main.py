"""Every command: help with an example, one way to fail, nothing of ours on the user's screen."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from colonnade.cli.main import COMMANDS, colonnade, run
from colonnade.wiring import create

PROJECT = "import colonnade as co\nproject = co.Project('p')\n"
SETTINGS = 'key_file = "root.key"\nheads_file = "heads"\n[project]\nname = "p"\nid = "i"\n'


def leaves(group: click.Group, *above: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, *above, name)
        else:
            yield (*above, name), command


ALL = dict(leaves(colonnade))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "colonnade.toml").write_text(SETTINGS)
    (tmp_path / "project.py").write_text(PROJECT)
    return tmp_path


def failed(capsys: pytest.CaptureFixture[str], *words: str, code: int = 2) -> str:
    assert run(words) == code
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    return shown


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_has_help_with_an_example_of_itself(words, capsys):
    assert run([*words, "--help"]) == 0
    shown = capsys.readouterr().out
    example = next(line for line in shown.splitlines() if "Example:" in line)
    assert f"Example: colonnade {' '.join(words)}" in example


@pytest.mark.parametrize(
    "words", [[], ["data"], ["data", "quarantine"], ["model"], ["runs"], ["audit"], ["access"]]
)
def test_every_group_lists_its_commands(words, capsys):
    assert run([*words, "--help"]) == 0
    shown = capsys.readouterr().out
    for name in {path[len(words)] for path in ALL if path[: len(words)] == tuple(words)}:
        assert f"\n  {name} " in shown


def test_the_list_of_commands_is_the_one_that_is_there():
    assert set(COMMANDS) == {words[0] for words in ALL}


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_an_option_that_is_not_there_is_a_mistake_in_usage(words, capsys):
    assert "--no-such" in failed(capsys, *words, "--no-such")


def test_a_command_that_is_not_there_is_a_mistake_in_usage(capsys):
    assert "No such command 'runn'" in failed(capsys, "runn")


def test_the_version_is_told(capsys):
    assert run(["--version"]) == 0
    assert "colonnade" in capsys.readouterr().out


WORDS = {
    ("data", "show"): ["rows@1"],
    ("data", "versions"): ["rows"],
    ("data", "files"): ["rows"],
    ("data", "hold"): ["rows@1", "--why", "a test"],
    ("data", "lift"): ["rows@1"],
    ("data", "log"): ["rows"],
    ("data", "online"): ["rows", "1"],
    ("data", "contract", "show"): ["rows"],
    ("data", "contract", "diff"): ["rows@1", "rows@2"],
    ("data", "quarantine", "show"): ["rows"],
    ("data", "quarantine", "export"): ["rows", "bad.csv"],
    ("data", "quarantine", "mend"): ["rows", "--set", "x=1"],
    ("data", "quarantine", "replay"): ["rows"],
    ("data", "quarantine", "drop"): ["rows", "0123456789ab-1", "--reason", "a test"],
    ("data", "release"): ["rows"],
    ("runs", "show"): ["some"],
    ("model", "show"): ["m@1"],
    ("model", "promote"): ["m@1"],
    ("model", "rollback"): ["m"],
    ("report",): ["m", "--window", "2013-01"],
    ("trace",): ["m@1"],
    ("access", "revoke"): ["some"],
    ("access", "key"): ["nobody"],
}
FILES = {("label",): ["m", "a.csv"], ("predict",): ["m", "--in", "a.csv", "--out", "b.csv"]}


ANYWHERE = (("init",), ("doctor",))


@pytest.mark.parametrize("words", [w for w in ALL if w not in ANYWHERE], ids=" ".join)
def test_outside_of_a_project_every_command_says_so(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("x\n1\n")
    shown = failed(capsys, *words, *WORDS.get(words, []), *FILES.get(words, []))
    assert f"CN-SETTINGS-001: {tmp_path} is no project" in shown
    assert "fix: " in shown
    assert not (tmp_path / ".colonnade").exists()


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_a_name_that_is_not_there_is_said_in_one_message(words, capsys, folder):
    shown = failed(capsys, *words, *WORDS[words])
    assert shown.count("CN-") == 1
    assert "fix: " in shown


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("not toml", "CN-SETTINGS-002"),
        ("[project]\nname = 'p'\n", "project.id: Field required"),
        (SETTINGS + "colour = 'red'\n", "colour"),
        (SETTINGS + "[serving]\nport = 'high'\n", "serving.port"),
        (SETTINGS + "[serving]\nlog = 'loud'\n", "serving.log"),
    ],
)
def test_a_wrong_setting_is_named(capsys, folder, settings, said):
    (folder / "colonnade.toml").write_text(settings)
    shown = failed(capsys, "status")
    assert "CN-SETTINGS-002: colonnade.toml cannot be used: " in shown
    assert said in shown


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("import colonnade as co\nproject = co.Project('p'\n", "CN-PROJECT-002", "project.py:2"),
        ("import colonnade as co\n1 / 0\n", "CN-PROJECT-002", "ZeroDivisionError"),
        ("import no_such_module\n", "CN-PROJECT-002", "No module named 'no_such_module'"),
        ("x = 1\n", "CN-PROJECT-003", "holds no Project"),
        (PROJECT + "project.deploy('nothing')\n", "CN-PROJECT-005", "'nothing'"),
        (PROJECT + "@project.table()\ndef t(a): ...\n", "CN-PROJECT-005", "reads 'a'"),
        (
            PROJECT
            + "@project.model(label='y', features=['x'], gates=['auc > 7'])\ndef m(t): ...\n",
            "CN-CONDITION-001",
            "project.py:3",
        ),
    ],
)
@pytest.mark.parametrize("words", [["run"], ["status"]])
def test_a_mistake_in_the_project_is_shown_at_its_line(capsys, folder, words, text, code, said):
    (folder / "project.py").write_text(text)
    assert run(words) == 2
    shown = capsys.readouterr().err
    assert code in shown
    assert said in shown
    assert "src/colonnade" not in shown


def test_a_broken_line_of_the_project_is_quoted(capsys, folder):
    (folder / "project.py").write_text("import colonnade as co\nproject = co.Project('p'\n")
    run(["run"])
    shown = capsys.readouterr().err
    assert f'File "{folder}/project.py", line 2' in shown
    assert "    project = co.Project('p'" in shown


def test_the_first_command_shows_the_administrators_key_once(capsys, folder):
    assert run(["data", "ls"]) == 0
    assert "shown this once: cn_" in capsys.readouterr().err
    assert run(["data", "ls"]) == 0
    assert capsys.readouterr().err == ""


def test_a_key_file_that_is_gone_is_a_dependency_that_is_unavailable(capsys, folder):
    assert run(["data", "ls"]) == 0
    (folder / "root.key").rename(folder / "elsewhere.key")
    capsys.readouterr()
    assert "CN-KEYS-001" in failed(capsys, "data", "ls", code=4)


def test_a_key_file_that_others_may_read_is_refused(capsys, folder):
    assert run(["data", "ls"]) == 0
    (folder / "root.key").chmod(0o644)
    capsys.readouterr()
    assert "chmod 600" in failed(capsys, "data", "ls", code=3)


def test_a_port_that_is_taken_is_unavailable(capsys, folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "CN-SERVE-001" in failed(capsys, "serve", "--port", port, code=4)


def test_a_new_project_is_made_once_and_runs_from_the_start(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run(["init", str(tmp_path / "My-Project")]) == 0
    shown = capsys.readouterr().out
    assert "project my_project in" in shown
    assert "shown this once: cn_" in shown
    files = {path.name for path in (tmp_path / "My-Project").iterdir()}
    assert files == {"colonnade.toml", "project.py", "landing", ".colonnade"}
    assert run(["status", "--project", str(tmp_path / "My-Project")]) == 0
    assert "my_project_model" in capsys.readouterr().out
    assert "CN-SETTINGS-003" in failed(capsys, "init", str(tmp_path / "My-Project"))
    assert "CN-NAME-001" in failed(capsys, "init", str(tmp_path / "2nd"))


def test_a_project_that_was_begun_and_never_started_is_carried_on_by_init(
    capsys, tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    create(tmp_path / "begun", "mine")
    assert run(["init", str(tmp_path / "begun")]) == 0
    shown = capsys.readouterr().out
    assert "project mine in" in shown
    assert "shown this once: cn_" in shown
    assert "CN-SETTINGS-003" in failed(capsys, "init", str(tmp_path / "begun"))


def test_what_is_there_already_is_not_written_over_by_init(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "project.py").write_text(PROJECT)
    assert run(["init", str(folder)]) == 0
    assert (folder / "project.py").read_text() == PROJECT
