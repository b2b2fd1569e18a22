"""The example of a request: typical, of no single row, and one that the endpoint answers."""

from __future__ import annotations

import msgspec

from colonnade.bundle.request import RequestReader
from colonnade.cli.main import run
from colonnade.govern.models import open_version
from colonnade.lifecycle import promote
from colonnade.lifecycle.example import example
from colonnade.wiring import open_workspace
from tests.projects import answered, empty, fitted, rows


def test_an_example_is_what_the_live_version_reads(tmp_path):
    with open_workspace(fitted(tmp_path)) as workspace:
        session = workspace.session("test")
        found = example(session, "risk")
        signature = open_version(session, promote.champion(session, "risk")).signature
    landed = rows(0, 2000)
    assert abs(found["x"] - landed["x"].median()) < 0.01
    assert found["w"] == landed["w"].mode().item()
    assert found["high"] is (landed["x"].median() > 0.5)
    (row,) = RequestReader(signature).decode(msgspec.json.encode({"rows": [found]}))
    assert row.w == found["w"]


def test_where_nothing_is_live_there_is_no_example(tmp_path, capsys):
    folder = empty(tmp_path)
    with open_workspace(folder) as workspace:
        assert example(workspace.session("test"), "risk") is None
    assert run(["status", "--project", str(folder)]) == 0
    assert "curl" not in capsys.readouterr().out


def test_status_prints_the_request_and_tells_it_to_programs(tmp_path, capsys):
    folder = fitted(tmp_path)
    assert run(["status", "--project", str(folder)]) == 0
    told = capsys.readouterr().out
    assert "localhost:8500/v1/endpoints/risk/predict" in told
    assert '-d \'{"rows": [{"x": ' in told
    assert run(["status", "--json", "--project", str(folder)]) == 0
    body = answered(capsys.readouterr().out)["endpoints"]["risk"]["example"]
    assert set(body) == {"x", "w", "high"}
