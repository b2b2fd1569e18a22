"""The commands on a project in which everything happened: answers for people and for programs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import polars as pl
import pytest
import sqlalchemy as sa

from colonnade.cli.main import colonnade as group
from colonnade.data import quarantine
from colonnade.records.model import ModelVersion
from colonnade.records.ref import Ref
from colonnade.wiring import open_workspace
from tests import databases
from tests.projects import PROJECT, answered, colonnade, fitted, land, rows

BAD = pl.DataFrame(
    {"id": ["x"], "at": ["2013-02-20T00:00:00Z"], "x": ["0.5"], "w": ["a"], "y": ["true"]}
)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two versions, bad rows, predictions, labels and a report."""
    project = PROJECT.replace('"auc > champion"', "").replace('time="at"', 'time="at", online=True')
    folder = fitted(tmp_path_factory.mktemp("lived"), project)
    frame = rows(2000, 400)
    land(folder, "rows2.csv", pl.concat([frame.cast(pl.String), BAD]))
    assert colonnade(folder, "run", "risk") == 0
    frame.with_columns(high=pl.col("x") > 0.5).drop("y").write_csv(folder / "in.csv")
    frame.select("id", "y").write_csv(folder / "labels.csv")
    files = ["--in", str(folder / "in.csv"), "--out", str(folder / "out.csv")]
    assert colonnade(folder, "predict", "risk", *files) == 0
    assert colonnade(folder, "label", "risk", str(folder / "labels.csv")) == 0
    assert colonnade(folder, "report", "risk", "--window", "2013-02") == 0
    return folder


@pytest.fixture
def folder(lived: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return databases.copied(shutil.copytree(lived, tmp_path, dirs_exist_ok=True))


def leaves(of: click.Group, *above: str) -> Iterator[tuple[str, ...]]:
    context = click.Context(of)
    for name in of.list_commands(context):
        command = of.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, *above, name)
        else:
            yield (*above, name)


def stopped(folder: Path) -> None:
    """A batch that ran into a stop; its file is taken away again."""
    path = folder / "landing" / "rows9.csv"
    path.write_text((folder / "landing" / "rows2.csv").read_text().partition("\n")[0] + "\nx,x\n")
    assert colonnade(folder, "run", "rows") == 1
    path.unlink()


def words(folder: Path) -> dict[tuple[str, ...], list[str]]:
    """Every command that ends by itself, with what it needs."""
    with open_workspace(folder) as workspace:
        session = workspace.session("test")
        run = session.entries(kind="run", verb="start")[0].ref.name
        key = session.entries(kind="key", verb="create")[0].ref.name
        bad = quarantine.rows(session, "rows")["id"][0]
    stopped(folder)
    scored = pl.read_csv(folder / "out.csv")["prediction_id"][0]
    again = str(folder / "again.csv")
    return {
        ("run",): [],
        ("status",): [],
        ("data", "ls"): [],
        ("data", "show"): ["examples@1"],
        ("data", "online"): ["examples", "5"],
        ("data", "quarantine", "ls"): [],
        ("data", "quarantine", "show"): ["rows"],
        ("data", "quarantine", "export"): ["rows", str(folder / "bad.csv")],
        ("data", "quarantine", "mend"): ["rows", "--reason", "none|such", "--set", "x=1"],
        ("data", "quarantine", "replay"): ["rows"],
        ("data", "quarantine", "drop"): ["rows", bad, "--reason", "test"],
        ("data", "release"): ["rows"],
        ("data", "contract", "show"): ["rows"],
        ("data", "contract", "diff"): ["rows@1", "rows"],
        ("data", "versions"): ["examples"],
        ("data", "files"): ["examples"],
        ("data", "compact"): ["examples"],
        ("data", "vacuum"): ["examples"],
        ("data", "hold"): ["examples@1", "--why", "test"],
        ("data", "lift"): ["examples@1"],
        ("data", "log"): ["rows"],
        ("runs", "ls"): [],
        ("runs", "show"): [run],
        ("model", "ls"): [],
        ("model", "show"): ["risk@1"],
        ("model", "promote"): ["risk@1", "--reason", "test"],
        ("model", "rollback"): ["risk"],
        ("predict",): ["risk@1", "--in", str(folder / "in.csv"), "--out", again],
        ("label",): ["risk", str(folder / "labels.csv")],
        ("report",): ["risk", "--window", "2013-02", "--no-act"],
        ("trace",): [scored],
        ("audit", "ls"): [],
        ("audit", "verify"): [],
        ("access", "who"): [],
        ("access", "key"): ["admin"],
        ("access", "revoke"): [key],
        ("access", "rotate"): [],
        ("doctor",): [],
    }


@pytest.mark.timeout(300)  # twice every command, each on a copy of its own
def test_every_command_that_ends_answers_people_and_programs(folder, capsys, monkeypatch):
    monkeypatch.setenv("COLONNADE_SERVING__PORT", "0")  # doctor tries to bind them
    monkeypatch.setenv("COLONNADE_SERVER__PORT", "0")
    asked = words(folder)
    endless = {("up",), ("server",), ("serve",), ("worker",)}
    assert {*asked, ("init",), *endless} == {*leaves(group)}
    for command, arguments in asked.items():
        before = databases.copied(
            shutil.copytree(folder, folder.with_name(f"{folder.name}-{'-'.join(command)}"))
        )
        capsys.readouterr()
        assert colonnade(before, *command, *arguments) == 0, command
        shown = capsys.readouterr()
        assert shown.out.strip(), command
        assert shown.err == "", command
        shutil.rmtree(before)
        assert colonnade(folder, *command, *arguments, "--json") == 0, command
        body = json.loads(capsys.readouterr().out)
        assert list(body) == ["shape", "command", "answer"], command
        assert body["shape"] == 1
        assert body["command"] == " ".join(command)


def test_an_error_is_json_where_json_was_asked_for(folder, capsys):
    assert colonnade(folder, "model", "show", "risk@9", "--json") == 2
    body = json.loads(capsys.readouterr().out)
    assert body["error"]["code"] == "CN-REF-002"
    assert set(body["error"]) == {"code", "message", "fix"}


def answer(folder: Path, capsys: pytest.CaptureFixture[str], *command: str) -> object:
    capsys.readouterr()
    assert colonnade(folder, *command, "--json") == 0
    return answered(capsys.readouterr().out)


def test_quarantine_shows_every_reason(lived, capsys):
    (row,) = answer(lived, capsys, "data", "quarantine", "show", "rows")
    assert (row["file"], row["row"], row["reasons"]) == ("landing/rows2.csv", 400, ["id|integer"])
    assert colonnade(lived, "data", "quarantine", "show", "rows") == 0
    assert "landing/rows2.csv row 400: id|integer" in capsys.readouterr().out
    assert colonnade(lived, "data", "quarantine", "show", "nothing") == 2


def test_the_newest_version_of_every_table_is_listed(lived, capsys):
    found = {row["version"]: row["rows"] for row in answer(lived, capsys, "data", "ls")}
    assert found == {
        "examples@2": 2400,
        "labels.risk@1": 400,
        "predictions.risk@1": 400,
        "quarantine.rows@1": 1,
        "rows@2": 2400,
    }


def test_models_say_where_they_are_live(lived, capsys):
    found = [(row["version"], row["live"]) for row in answer(lived, capsys, "model", "ls")]
    assert found == [("risk@2", "risk"), ("risk@1", "")]
    shown = answer(lived, capsys, "model", "show", "risk@2")
    assert shown["verified"] is True
    assert shown["ref"] == "model/risk@2"


def test_runs_say_what_they_reached(lived, capsys):
    newest, first = answer(lived, capsys, "runs", "ls")
    assert (first["model"], first["state"], first["table"]) == ("risk", "registered", "examples@1")
    assert "auc 0." in newest["metrics"]
    shown = answer(lived, capsys, "runs", "show", newest["run"])
    assert shown["rows_digest_matches"] is True
    assert shown["end"]["state"] == "registered"
    assert shown["params"]["estimator.n_estimators"] == "10"


def test_a_report_is_told_in_words(folder, capsys):
    assert colonnade(folder, "report", "risk", "--window", "2013-02", "--no-act") == 0
    shown = capsys.readouterr().out
    assert "risk@1: 400 predictions, 400 labelled (100.0%)" in shown
    assert "drift: none" in shown


def test_a_file_of_labels_that_was_taken_over_is_said(folder, capsys):
    assert colonnade(folder, "label", "risk", str(folder / "labels.csv")) == 0
    assert "labels.csv was taken over before; nothing to do" in capsys.readouterr().out
    rows(2000, 1).select("id", y=pl.lit(None, pl.String)).write_csv(folder / "empty.csv")
    assert colonnade(folder, "label", "risk", str(folder / "empty.csv")) == 0
    assert "0 labels taken over" in capsys.readouterr().out


def test_labels_say_how_many_of_them_met_a_prediction(folder, capsys):
    scored = pl.read_csv(folder / "out.csv")["prediction_id"].head(3).to_list()
    keyed = pl.DataFrame({"id": [2000, 2001, 9_999_999], "y": [True, False, True]})
    keyed.write_csv(folder / "keyed.csv")
    found = answer(folder, capsys, "label", "risk", str(folder / "keyed.csv"))
    assert (found["rows"], found["met"], found["done"]) == (3, 2, True)
    named = pl.DataFrame({"prediction_id": [*scored, "no"], "y": [True] * 4})
    named.write_csv(folder / "named.csv")
    assert colonnade(folder, "label", "risk", str(folder / "named.csv")) == 0
    assert "3 of them belong to a prediction of risk" in capsys.readouterr().out


def test_a_version_is_promoted_to_a_declared_endpoint_only(folder, capsys):
    assert colonnade(folder, "model", "promote", "risk@1", "--endpoint", "rsk") == 2
    assert "declares no endpoint 'rsk'" in capsys.readouterr().err
    assert colonnade(folder, "model", "promote", "risk@1", "--endpoint", "risk") == 0


def test_why_is_said_where_it_was_asked_for(folder, capsys):
    text = (folder / "project.py").read_text()
    (folder / "project.py").write_text(text.replace("0.5)", "0.4)"))
    capsys.readouterr()
    assert colonnade(folder, "run", "examples", "--why") == 0
    assert "because " in capsys.readouterr().out


def change(folder: Path, statement: str) -> None:
    """What somebody with access to the database could do."""
    engine = sa.create_engine(databases.address(folder), poolclass=sa.NullPool)
    with engine.begin() as connection:
        assert connection.exec_driver_sql(statement).rowcount == 1


def test_a_changed_byte_in_the_ledger_is_named_and_is_exit_1(folder, capsys):
    with open_workspace(folder) as workspace:
        entry = workspace.session("test").entries(kind="deployment", verb="promote")[-1]
    change(folder, "UPDATE entries SET body = replace(body, 'all gates passed', 'all gates pasted')"
                   f" WHERE id = '{entry.id}'")  # fmt: skip
    capsys.readouterr()
    assert colonnade(folder, "audit", "verify") == 1
    shown = capsys.readouterr().out
    assert f"deployment/risk@1, id {entry.id}" in shown
    assert "does not have the hash that was sealed" in shown
    assert "the chain is broken" in shown


def test_a_changed_byte_in_a_model_refuses_show_and_promote_with_exit_3(folder, capsys):
    with open_workspace(folder) as workspace:
        session = workspace.session("test")
        version = session.version(Ref("model", "risk", 1)).read(ModelVersion)
        path = workspace.stores.blobs.path(version.files["model.onnx"])
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    for command in (["show", "risk@1"], ["promote", "risk@1"]):
        capsys.readouterr()
        assert colonnade(folder, "model", *command) == 3
        assert "CN-BLOB-002" in capsys.readouterr().err
    with open_workspace(folder) as workspace:
        refused = workspace.session("test").entries(kind="model", verb="refuse")
    assert [entry.subject for entry in refused] == ["model/risk@1"] * 2


def test_a_changed_landing_file_refuses_the_run(folder, capsys):
    path = folder / "landing" / "rows1.csv"
    path.write_bytes(path.read_bytes().replace(b",a,", b",b,", 1))
    assert colonnade(folder, "run") == 2
    assert "CN-INGEST-002" in capsys.readouterr().err


def test_an_unknown_source_table_or_model_is_refused_by_run(folder, capsys):
    assert colonnade(folder, "run", "exmples") == 2
    assert "did you mean 'examples'?" in capsys.readouterr().err
