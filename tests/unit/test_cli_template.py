"""The project that `init` writes: it loads, it is laid out, and hard names do it no harm."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from colonnade.cli import template
from colonnade.compute import code
from colonnade.records.outline import Outline

PLAIN = Outline(
    rows=5_000, label="bought", task="binary", cast=None, classes=("no", "yes"), base=0.6, rare=(),
    unlabelled=0, key=("order id",), why_key="different in every row, and called like an id",
    time="at", why_time="the only column that holds dates or times", untimed=0,
    features={"amount": 1.5, "country": "NL"},
)  # fmt: skip
HARD = replace(
    PLAIN,
    label='class "A"\\',
    task="multiclass",
    cast="Int64",
    base=0.47,
    rare=(3, 4),
    key=("2nd.key", "über"),
    untimed=12,
    rows=120,
    features={f"a rather long name of column {number} (cm)": 1.0 for number in range(9)},
)
VALUES = replace(PLAIN, task="regression", classes=(), base=None, time=None, key=(), cast="Float64")
CASES = {"plain": PLAIN, "hard": HARD, "values": VALUES}


def written(outline: Outline, file: str = "orders.csv") -> str:
    return template.text("shop", file, ".csv", outline)


@pytest.mark.parametrize("case", CASES)
def test_the_project_loads_and_declares_what_was_decided(case, tmp_path):
    outline = CASES[case]
    (tmp_path / "project.py").write_text(written(outline))
    project = code.load(tmp_path)
    table, model = project.tables["examples"], project.models[template.model_name(outline)]
    assert (table.key, table.time) == (outline.key, outline.time)
    assert (model.label, model.features) == (outline.label, tuple(outline.features))
    assert project.sources["orders"].origin.path == "landing/*.csv"
    assert list(project.endpoints) == [model.name]


@pytest.mark.parametrize("case", CASES)
def test_a_formatter_and_a_linter_leave_it_as_it_is(case, tmp_path):
    path = tmp_path / "project.py"
    path.write_text(written(CASES[case]))
    for words in (["format", "--check"], ["check", "--select", "E4,E7,E9,F,I,A,N"]):
        command = [sys.executable, "-m", "ruff", *words, "--isolated", "--line-length", "100"]
        done = subprocess.run(
            [*command, path], check=False, capture_output=True, text=True, cwd=tmp_path
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("outline", "gates", "retrain"),
    [
        (PLAIN, ["auc >= 0.55", "auc > champion"], "auc < 0.55 or drift"),
        (replace(PLAIN, time=None), ["auc >= 0.55"], None),
        (HARD, ["accuracy >= 0.4", "accuracy > champion"], "accuracy < 0.4 or drift"),
        (VALUES, ["r2 >= 0"], None),
    ],
)
def test_gates_are_modest_and_a_champion_needs_a_time(outline, gates, retrain, tmp_path):
    (tmp_path / "project.py").write_text(written(outline))
    project = code.load(tmp_path)
    model = project.models[template.model_name(outline)]
    assert [str(gate) for gate in model.gates] == gates
    trigger = project.endpoints[model.name].retrain
    assert (None if trigger is None else str(trigger)) == retrain


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("class.csv", "class_rows"),
        ("pl.csv", "pl_rows"),
        ("Größe & Co (2).csv", "grosse_co_2"),
        ("2024-01.csv", "data_2024_01"),
        ("数据.csv", "data"),
        ("list.csv", "list_rows"),
        ("bought model.csv", "bought_model_rows"),
    ],
)
def test_any_file_name_names_a_source(file, source, tmp_path):
    (tmp_path / "project.py").write_text(written(PLAIN, file))
    assert list(code.load(tmp_path).sources) == [source]


def test_a_file_name_cannot_end_the_docstring(tmp_path):
    (tmp_path / "project.py").write_text(written(PLAIN, 'a"""\nimport os\\.csv'))
    assert code.load(tmp_path).models
