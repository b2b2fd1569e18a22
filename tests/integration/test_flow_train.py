"""From a table to a signed model version, or to a verdict; every run leaves what it was."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import msgspec
import polars as pl
import pytest

from colonnade.base.errors import ColonnadeError, RefusedError, VerdictError
from colonnade.compute.code import CodeError
from colonnade.govern.models import open_version
from colonnade.records.entry import Entry
from colonnade.records.model import Manifest, ModelVersion
from colonnade.records.ref import Ref, parse
from colonnade.records.run import Run, RunResult
from colonnade.records.table import TableVersion
from colonnade.stats.reference import Reference
from colonnade.train import fit, rival
from colonnade.wiring import Workspace, open_workspace
from tests.projects import PROJECT, carry_out, empty, fitted, land, made, rows

pytestmark = pytest.mark.timeout(120)


def declare(folder: Path, **changes: str) -> None:
    """Write the project with parts of its model replaced."""
    (folder / "project.py").write_text(project(**changes))


def project(
    features: str = '"x", "w", "high"',
    label: str = "y",
    gates: str = '"auc >= 0.60", "auc > champion"',
    body: str | None = None,
    table: str | None = None,
) -> str:
    text = PROJECT.replace('"x", "w", "high"', features).replace('label="y"', f'label="{label}"')
    text = text.replace('"auc >= 0.60", "auc > champion"', gates)
    lines = text.splitlines(keepends=True)
    if body is not None:
        at = next(n for n, line in enumerate(lines) if "LGBMClassifier(" in line)
        lines[at] = f"    {body}\n"
    if table is not None:
        at = next(n for n, line in enumerate(lines) if "rows.with_columns" in line)
        lines[at] = f"    {table}\n"
    return "".join(lines)


def start(folder: Path, champion: str | None = None, table: str = "examples") -> fit.Fitted:
    with open_workspace(folder) as workspace:
        session = workspace.session("test")
        return fit.fit(
            session,
            workspace.project.models["risk"],
            workspace.folder,
            session.version(Ref("table", table)),
            None if champion is None else session.version(parse(f"model/{champion}")),
            "because a test asked",
        )


def failed(folder: Path, champion: str | None = None) -> ColonnadeError:
    with pytest.raises(ColonnadeError) as caught:
        start(folder, champion)
    return caught.value


def entries(folder: Path, **wanted: str) -> list[Entry]:
    with open_workspace(folder) as workspace:
        return workspace.session("test").entries(**wanted)


def manifest(workspace: Workspace, entry: Entry) -> Manifest:
    data = workspace.session("test").blob(entry.read(ModelVersion).files["manifest.json"])
    return msgspec.json.decode(data, type=Manifest)


def prepared(folder: Path, frame: pl.DataFrame | None = None, **changes: str) -> Path:
    """A project whose table is made and whose model is not."""
    if frame is None and changes.get("table") is None:
        return made(folder, project(**changes))
    empty(folder, project(**changes))
    land(folder, "rows1.csv", rows(0, 400) if frame is None else frame)
    carry_out(folder, "examples")
    return folder


def test_a_run_is_understood_from_what_it_left(tmp_path):
    fitted(tmp_path)
    run = entries(tmp_path, kind="run", verb="start")[0].read(Run)
    assert (run.model, run.table, run.reason) == ("risk", "examples@1", "colonnade run")
    assert run.settings == {
        "table": "examples",
        "label": "y",
        "features": ["x", "w", "high"],
        "gates": ["auc >= 0.6", "auc > champion"],
        "seed": 0,
        "holdout": 0.2,
    }
    assert {"python", "polars", "lightgbm", "platform"} <= set(run.environment)
    assert {"processor", "cores", "memory_bytes", "accelerators"} <= set(run.hardware)
    result = entries(tmp_path, kind="run", verb="finish")[0].read(RunResult)
    assert (result.state, result.champion) == ("registered", None)
    assert (result.split.rows, result.split.earlier, result.split.newest) == (2000, 1600, 400)
    assert set(result.metrics) == {"auc", "accuracy", "logloss", "brier"}
    assert result.agreement["rows"] == 400
    assert result.agreement["difference"] < 1e-5
    assert {"read", "fit", "export", "judge"} <= set(result.wall_s)


def test_the_metrics_and_params_of_a_run_have_the_digest_that_its_result_names(tmp_path):
    fitted(tmp_path)
    entry = entries(tmp_path, kind="run", verb="finish")[0]
    with open_workspace(tmp_path) as workspace:
        params, points, digest = workspace.session("test").run_rows(entry.ref.name)
    assert digest == entry.read(RunResult).rows_digest
    assert params["estimator.n_estimators"] == "10"
    assert params["seed"] == "0"
    assert {"auc", "wall_s.fit"} <= {name for name, _, _ in points}


def test_the_version_that_is_registered_is_fitted_on_the_whole_snapshot(tmp_path):
    fitted(tmp_path)
    newest = rows(0, 2000)["at"].max().replace("Z", ".000000Z")
    with open_workspace(tmp_path) as workspace:
        session = workspace.session("test")
        entry = session.version(Ref("model", "risk"))
        made = manifest(workspace, entry)
        predictor = open_version(session, entry)
        reference = msgspec.json.decode(
            session.blob(entry.read(ModelVersion).files["profile.json"]), type=Reference
        )
    assert made.trained_until == entry.read(ModelVersion).trained_until == newest
    assert made.snapshot == ("examples@1",)
    assert entry.made_from == (f"run/{made.run}",)
    assert predictor.version == "risk@1"
    assert {f.name: f.high for f in made.signature.features}["x"] == rows(0, 2000)["x"].max()
    assert (made.signature.key[0].name, made.signature.time) == ("id", "at")
    assert reference.profile.rows == 2000
    assert reference.floors.blocks >= 4


def test_raw_rows_are_scored_by_the_registered_version(tmp_path):
    fitted(tmp_path)
    later = rows(2000, 300).with_columns(high=pl.col("x") > 0.5)
    with open_workspace(tmp_path) as workspace:
        session = workspace.session("test")
        scores = rival.score(open_version(session, session.version(Ref("model", "risk"))), later)
    y = later["y"].to_numpy()
    assert scores[y].mean() > scores[~y].mean() + 0.3


HIGH = "return rows.with_columns(high=pl.col('x') > .5, {})"
REGRESSOR = """from lightgbm import LGBMRegressor
    model = LGBMRegressor(n_estimators=10, n_jobs=1, verbose=-1)
    return model.fit(examples.X, examples.y)"""


@pytest.mark.parametrize(
    ("label", "values", "body", "task", "classes"),
    [
        ("y", "", None, "binary", ("false", "true")),
        (
            "word",
            "word=pl.when('y').then(pl.lit('late')).otherwise(pl.lit('early'))",
            None,
            "binary",
            ("early", "late"),
        ),
        (
            "third",
            "third=(pl.col('x') * 2.99).cast(pl.Int64)",
            None,
            "multiclass",
            ("0", "1", "2"),
        ),
        ("amount", "amount=pl.col('x') * 100", REGRESSOR, "regression", ()),
    ],
)
def test_every_kind_of_label_is_learnt(tmp_path, label, values, body, task, classes):
    prepared(tmp_path, label=label, table=HIGH.format(values), body=body, gates="")
    version = start(tmp_path).version
    with open_workspace(tmp_path) as workspace:
        signature = manifest(workspace, version).signature
    assert (signature.task, signature.classes) == (task, classes)
    metrics = entries(tmp_path, kind="run", verb="finish")[0].read(RunResult).metrics
    assert set(metrics) == set(fit.METRICS[task])
    assert all(metric["value"] is not None for metric in metrics.values())


def test_a_table_without_key_and_time_is_split_at_random(tmp_path):
    empty(tmp_path, PROJECT.replace('@project.table(key="id", time="at")', "@project.table()"))
    land(tmp_path, "rows1.csv", rows(0, 400))
    carry_out(tmp_path)
    result = entries(tmp_path, kind="run", verb="finish")[0].read(RunResult)
    assert result.split.rule == "20% of the rows at random, seed 0"
    version = entries(tmp_path, kind="model", verb="register")[0].read(ModelVersion)
    assert version.trained_until is None
    again = start(tmp_path, "risk@1").result
    assert "the table has no time" in again.gates[1].reason
    assert again.state == "rejected"


def test_rows_without_a_label_are_not_learnt_from(tmp_path):
    frame = rows(0, 400).with_columns(y=pl.when(pl.col("id") < 100).then("y"))
    prepared(tmp_path, frame, gates="")
    assert start(tmp_path).result.split.rows == 100


def test_too_few_labelled_rows_are_a_verdict(tmp_path):
    prepared(tmp_path, rows(0, 19))
    error = failed(tmp_path)
    assert isinstance(error, VerdictError)
    assert error.code == "CN-TRAIN-003"
    assert "19 labelled rows in examples@1" in error.message
    assert entries(tmp_path, kind="run")[0].verb == "fail"


def test_one_class_is_a_verdict(tmp_path):
    prepared(tmp_path, rows(0, 100).with_columns(y=pl.lit(True)))
    assert failed(tmp_path).code == "CN-TRAIN-004"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"features": '"x", "ww"'}, "no column 'ww'; did you mean 'w'?"),
        ({"label": "yy"}, "no column 'yy'; did you mean 'y'?"),
        ({"gates": '"auc >= 0.5 by carrier"'}, "no column 'carrier'"),
    ],
)
def test_a_column_that_the_table_lacks_is_named_with_the_closest(tmp_path, changes, said):
    prepared(tmp_path, **changes)
    error = failed(tmp_path)
    assert error.code == "CN-TRAIN-001"
    assert said in error.message


def test_a_column_that_is_no_feature_is_named(tmp_path):
    prepared(tmp_path, features='"x", "at"')
    assert failed(tmp_path).code == "CN-TRAIN-002"


def test_a_gate_may_slice_by_a_column_that_is_no_feature(tmp_path):
    fitted(tmp_path)
    declare(tmp_path, features='"x"', gates='"auc >= 0.6 by w"')
    evidence = start(tmp_path).result.gates[0].evidence
    assert [part["slice"] for part in evidence["slices"]] == ["a", "b", "c"]
    assert [part["judged"] for part in evidence["slices"]] == [True, False, False]


def test_a_run_that_a_gate_stops_registers_nothing(tmp_path):
    prepared(tmp_path, gates='"auc >= 0.99"')
    found = start(tmp_path)
    assert (found.version, found.result.state) == (None, "rejected")
    assert [verdict.gate for verdict in fit.failed(found.result.gates)] == ["auc >= 0.99"]
    with open_workspace(tmp_path) as workspace:
        assert workspace.session("test").names("model") == []


def test_a_function_that_raises_leaves_a_failed_run_without_its_message(tmp_path):
    prepared(tmp_path, body="raise ValueError(f'{examples.X[0]} of Mrs Secret')")
    error = failed(tmp_path)
    assert isinstance(error, CodeError)
    assert error.code == "CN-CODE-001"
    assert "project.py" in error.message
    end = entries(tmp_path, kind="run", verb="fail")[0]
    assert end.body == {"code": "CN-CODE-001", "message": "the user's code raised"}
    with open_workspace(tmp_path) as workspace:
        assert workspace.session("test").names("model") == []
    for path in (tmp_path / ".colonnade").rglob("*"):
        assert path.is_dir() or b"Secret" not in path.read_bytes()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("return None", "CN-TRAIN-005"),
        ("return 7", "CN-EXPORT-002"),
        ("return LGBMClassifier()", "CN-EXPORT-001"),
        (
            "return LGBMClassifier(verbose=-1, n_estimators=2).fit(examples.X[:, :1], examples.y)",
            "CN-EXPORT-003",
        ),
    ],
)
def test_a_function_that_returns_no_usable_estimator_is_told(tmp_path, body, code):
    prepared(tmp_path, body=body)
    assert failed(tmp_path).code == code
    assert entries(tmp_path, kind="run", verb="fail")[0].body["code"] == code


def beside(folder: Path, law: float) -> fit.Fitted:
    """Newer rows of another law, and a fit beside risk@1."""
    land(folder, "rows2.csv", rows(2000, 1000, law=law))
    carry_out(folder, "examples")
    return start(folder, "risk@1")


def test_a_champion_of_another_time_is_beaten(tmp_path):
    fitted(tmp_path)
    declare(tmp_path, body="return LGBMClassifier(n_estimators=10, n_jobs=1, verbose=-1)"
            ".fit(examples.X[-500:], examples.y[-500:])")  # fmt: skip
    found = beside(tmp_path, law=-1.0)
    assert found.result.champion == "risk@1"
    assert (
        found.result.split.rule == "the newest half of the 1000 rows that the champion has not seen"
    )
    verdict = found.result.gates[1]
    assert verdict.passed is True
    assert verdict.bound < 0.5 < verdict.value
    assert found.version.ref.short == "risk@2"


def test_a_champion_that_is_as_good_stays(tmp_path):
    fitted(tmp_path)
    declare(tmp_path, features='"w"')
    found = beside(tmp_path, law=1.0)
    assert (found.version, found.result.gates[1].passed) == (None, False)
    assert found.result.gates[1].bound > found.result.gates[1].value


def test_a_champion_with_other_features_reads_its_own(tmp_path):
    fitted(tmp_path)
    declare(tmp_path, features='"x"')
    verdict = beside(tmp_path, law=1.0).result.gates[1]
    assert verdict.bound is not None
    assert "of risk@1 on the same 500 rows" in verdict.reason


def test_a_champion_whose_columns_are_gone_cannot_be_compared(tmp_path):
    fitted(tmp_path)
    declare(tmp_path, features='"x"', table="return rows")
    verdict = beside(tmp_path, law=1.0).result.gates[1]
    assert verdict.passed is False
    assert verdict.reason == "risk@1 reads high, which the table does not have any more"


def test_a_champion_whose_columns_have_another_type_cannot_be_compared(tmp_path):
    fitted(tmp_path)
    declare(tmp_path, features='"x"', table="return rows.with_columns(high=pl.lit('yes'))")
    verdict = beside(tmp_path, law=1.0).result.gates[1]
    assert verdict.passed is False
    assert verdict.reason.startswith("risk@1 cannot read these rows: column 'high' has")


def test_a_champion_of_another_question_cannot_be_compared(tmp_path):
    fitted(tmp_path)
    declare(tmp_path, label="w", features='"x", "high"', gates='"accuracy > champion"')
    verdict = beside(tmp_path, law=1.0).result.gates[0]
    assert verdict.passed is False
    assert verdict.reason == "risk@1 answers another question: binary false, true"


def test_a_champion_that_has_seen_every_row_cannot_be_compared(tmp_path):
    fitted(tmp_path)
    declare(tmp_path, features='"x"')
    found = start(tmp_path, "risk@1")
    assert found.result.gates[0].passed is True
    assert found.result.gates[1].reason == "there is no row that risk@1 has not seen"
    assert found.version is None


def test_a_changed_byte_in_a_model_is_refused_and_recorded(tmp_path):
    fitted(tmp_path)
    with open_workspace(tmp_path) as workspace:
        session = workspace.session("test")
        entry = session.version(Ref("model", "risk"))
        digest = entry.read(ModelVersion).files["model.onnx"]
        path = tmp_path / ".colonnade" / "blobs" / digest[:2] / digest
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        with pytest.raises(RefusedError) as caught:
            open_version(session, entry)
    assert (caught.value.code, caught.value.exit_code) == ("CN-BLOB-002", 3)
    refusal = entries(tmp_path, kind="model", verb="refuse")[0]
    assert refusal.subject == "model/risk@1"
    assert refusal.body["code"] == "CN-BLOB-002"


def test_a_signature_that_is_not_the_projects_is_refused_and_recorded(tmp_path):
    fitted(tmp_path)
    with open_workspace(tmp_path) as workspace:
        session = workspace.session("test")
        entry = session.version(Ref("model", "risk"))
        files = entry.read(ModelVersion).files
        seal = json.loads(session.blob(files["manifest.sig"]))
        seal["signature"] = "00" * 64
        changed = {**files, "manifest.sig": session.put_blob(json.dumps(seal).encode())}
        with pytest.raises(RefusedError) as caught:
            open_version(session, replace(entry, body={**entry.body, "files": changed}))
    assert caught.value.code == "CN-BUNDLE-006"
    assert entries(tmp_path, kind="model", verb="refuse")[0].body["code"] == "CN-BUNDLE-006"


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *who, "-C", str(folder), *words], check=True, capture_output=True)


def test_the_code_of_a_run_is_kept_with_its_diff_and_what_git_does_not_know(tmp_path):
    empty(tmp_path, "import helpers\n" + PROJECT)
    (tmp_path / "helpers.py").write_text("import extra\nWORD = 'committed'\n")
    (tmp_path / "extra.py").write_text("")
    (tmp_path / "unused.py").write_text("print('never imported')")
    land(tmp_path, "rows1.csv", rows(0, 400))
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "project.py", "helpers.py", "landing")
    git(tmp_path, "commit", "-qm", "first")
    (tmp_path / "helpers.py").write_text("import extra\nWORD = 'changed since'\n")
    land(tmp_path, "rows1.csv", rows(0, 401))
    carry_out(tmp_path)
    code = entries(tmp_path, kind="run", verb="start")[0].read(Run).code
    assert sorted(code.files) == ["extra.py", "helpers.py", "project.py"]
    assert code.untracked == ("extra.py",)
    assert len(code.commit) == 40
    with open_workspace(tmp_path) as workspace:
        session = workspace.session("test")
        diff = session.blob(code.diff).decode()
        assert session.blob(code.files["helpers.py"]).decode().endswith("'changed since'\n")
        table = session.version(Ref("table", "examples")).read(TableVersion)
    assert "-WORD = 'committed'" in diff
    assert "+WORD = 'changed since'" in diff
    assert "rows1.csv" not in diff
    assert table.code.files == code.files


def test_outside_of_git_the_files_are_kept_and_nothing_else_is_claimed(tmp_path):
    fitted(tmp_path)
    code = entries(tmp_path, kind="run", verb="start")[0].read(Run).code
    assert (code.commit, code.diff) == (None, None)
    assert code.untracked == ("project.py",)


def test_the_same_code_data_and_seed_give_the_same_model(tmp_path):
    for name in ("one", "two"):
        prepared(tmp_path / name)
    one, two = (start(tmp_path / name) for name in ("one", "two"))
    assert one.result.split.order == two.result.split.order
    first, second = (found.version.read(ModelVersion).files for found in (one, two))
    assert first["model.onnx"] == second["model.onnx"]
    assert first["profile.json"] == second["profile.json"]
