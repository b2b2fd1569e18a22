"""An answer about then is the same word for word, whatever is done to the project afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from colonnade.lifecycle.promote import promote
from colonnade.records.model import ModelVersion
from colonnade.records.ref import Ref
from colonnade.wiring import open_workspace
from tests.projects import PROJECT, Endpoint, answered, colonnade, fitted, land, rows, until

pytestmark = pytest.mark.timeout(180)
TRAFFIC = rows(2000, 400).with_columns(high=pl.col("x") > 0.5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fitted(tmp_path, PROJECT.replace('"auc > champion"', '"auc >= 0.50"'))


@pytest.fixture
def serve(folder: Path) -> Iterator[list[Endpoint]]:
    """Endpoints that a test starts; they end with it."""
    started: list[Endpoint] = []
    yield started
    for endpoint in started:
        endpoint.stop()


def answer(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    capsys.readouterr()
    assert colonnade(folder, *words, "--json") == 0
    return answered(capsys.readouterr().out)


def flushed(folder: Path, identifier: str) -> bool:
    with open_workspace(folder) as workspace:
        return bool(workspace.session("test").segments_of(identifier))


def live(folder: Path, verb: str) -> str:
    with open_workspace(folder) as workspace:
        entries = workspace.session("test").entries(kind="deployment", verb=verb, limit=1)
        return entries[0].subject if entries else ""


def move_on(folder: Path, endpoint: Endpoint, key: str, capsys) -> str:
    """Everything that may happen later; returns an API key that still opens."""
    asked = TRAFFIC.head(1).drop("y").to_dicts()
    land(folder, "rows2.csv", rows(2000, 400))
    assert [step["state"] for step in answer(folder, capsys, "run", "risk")] == ["done"] * 4
    until(lambda: endpoint.ask(asked, key)[1]["model_version"] == "risk@2")
    answer(folder, capsys, "model", "rollback", "risk")
    until(lambda: live(folder, "load") == "deployment/risk@3")
    for name, wrong in (("labels.csv", False), ("corrected.csv", True)):
        told = TRAFFIC.head(50).select("id", "y").with_columns(pl.col("y") ^ wrong)
        told.write_csv(folder / name)
        assert answer(folder, capsys, "label", "risk", str(folder / name))["rows"] == 50
    answer(folder, capsys, "report", "risk", "--window", "2013-02", "--no-act")
    answer(folder, capsys, "access", "rotate")
    with open_workspace(folder) as workspace:
        keys = workspace.session("test").entries(kind="key", verb="create")
    old = next(entry.ref.name for entry in keys if "actor" in entry.body)
    new = answer(folder, capsys, "access", "key")["key"]
    answer(folder, capsys, "access", "revoke", old)
    until(lambda: endpoint.ask(asked, key)[0] == 401)
    endpoint.stop()
    return new


def test_then_is_not_now(folder, serve, capsys):
    key = (folder / "api.key").read_text()
    serve.append(endpoint := Endpoint(folder))
    asked = TRAFFIC.head(5).drop("y").to_dicts()
    until(lambda: endpoint.ask(asked[:1], key)[0] == 200)
    status, found = endpoint.ask(asked, key)
    assert (status, found["model_version"]) == (200, "risk@1")
    online = found["predictions"]
    TRAFFIC.drop("y").write_csv(folder / "in.csv")
    batch = ["--in", str(folder / "in.csv"), "--out", str(folder / "out.csv")]
    answer(folder, capsys, "predict", "risk", *batch)
    scored = pl.read_csv(folder / "out.csv")
    until(lambda: flushed(folder, online[0]["id"]))
    assert [row["score"] for row in online] == pytest.approx(scored["score"].head(5).to_list())

    names = [online[0]["id"], scored["prediction_id"][0], "risk@1"]
    before = {name: json.dumps(answer(folder, capsys, "trace", name)["then"]) for name in names}
    new = move_on(folder, endpoint, key, capsys)
    serve[:] = [again := Endpoint(folder)]
    until(lambda: again.ask(asked[:1], new)[0] == 200)
    later = again.ask(asked, new)[1]["predictions"][0]["id"]
    until(lambda: flushed(folder, later))

    after = {name: answer(folder, capsys, "trace", name) for name in names}
    assert {name: json.dumps(found["then"]) for name, found in after.items()} == before
    for name in names[:2]:
        labels = [row["label"] for row in after[name]["since"]["labels"]]
        assert labels == [str(y).lower() for y in (TRAFFIC["y"][0], not TRAFFIC["y"][0])]
    then = after[names[0]]["then"]
    assert then["deployment"]["revision"] == "risk@1"
    assert then["deployment"]["signature_verified"]["model"] == "risk@1"
    assert then["monitoring"] == {"report": None, "action": None}
    now = answer(folder, capsys, "trace", later)["then"]
    assert now["deployment"]["revision"] == "risk@3"
    assert now["monitoring"]["report"]["ref"] == "report/risk@1"
    assert answer(folder, capsys, "audit", "verify")["problems"] == []


def test_an_endpoint_keeps_what_it_has_while_a_changed_model_is_refused(folder, serve, capsys):
    key = (folder / "api.key").read_text()
    serve.append(endpoint := Endpoint(folder))
    row = TRAFFIC.drop("y").row(0, named=True)
    until(lambda: endpoint.ask([row], key)[0] == 200)
    land(folder, "rows2.csv", rows(2000, 400))
    text = (folder / "project.py").read_text()
    (folder / "project.py").write_text(text.replace("project.deploy(risk,", "# "))
    answer(folder, capsys, "run", "risk")
    (folder / "project.py").write_text(text)
    with open_workspace(folder) as workspace:
        session = workspace.session("test")
        version = session.version(Ref("model", "risk", 2))
        path = workspace.stores.blobs.path(version.read(ModelVersion).files["model.onnx"])
        path.write_bytes(path.read_bytes()[:-1])
        promote(session, "risk", version, "by somebody who did not look")
    until(lambda: live(folder, "refuse") == "deployment/risk@2")
    assert endpoint.ask([row], key)[1]["model_version"] == "risk@1"
    assert answer(folder, capsys, "status")["endpoints"]["risk"]["refused"]["code"] == "CN-BLOB-002"
    serve.remove(endpoint)
    assert "risk@2 was refused, the old version stays" in endpoint.stop()
