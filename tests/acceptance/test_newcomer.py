"""The newcomer's path: the README's own lines, in a shell, to an answered curl.

The lines are taken from the README, so that it cannot drift: only the key and the port, which the
README cannot know, are put in.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

from colonnade.cli.main import run as command

pytestmark = pytest.mark.timeout(300)
README = Path(__file__).parents[2] / "README.md"
COMMANDS = 6
WITHIN_S = 300.0


def block() -> str:
    """The README's code block that begins with ``colonnade init --data``."""
    blocks = re.findall(r"```\n(colonnade init --data.*?)```", README.read_text(), re.DOTALL)
    (found,) = blocks
    return found


def commands(lines: str) -> list[str]:
    """The commands of a block, each on one line and without its comment."""
    joined = lines.replace("\\\n", " ").strip().splitlines()
    return [" ".join(shlex.split(line, comments=True)) for line in joined]


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of a new user, for commands in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def shell(tmp_path: Path, port: int):
    """Runs lines in a shell of a new user, in an empty folder; what ran beside it is ended."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    script = f'#!/bin/sh\nexec {sys.executable} -m colonnade "$@"\n'
    (binaries / "colonnade").write_text(script)
    (binaries / "colonnade").chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if "COLONNADE" not in name}
    environment |= {
        "HOME": str(tmp_path / "home"),
        "PATH": f"{binaries}:{os.environ['PATH']}",
        "COLONNADE_SERVING__PORT": str(port),
        "COLONNADE_SERVER__PORT": "0",  # 8400 may be somebody's
    }
    (tmp_path / "work").mkdir()

    def run(lines: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", f"set -e\n{lines}\n"],
            cwd=tmp_path / "work",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
        )

    return run


def written(folder: Path, name: str, rows: pl.DataFrame) -> Path:
    path = folder / "work" / name
    rows.write_csv(path)
    return path


def flowers() -> pl.DataFrame:
    found = load_iris()
    species = [str(found.target_names[number]) for number in found.target]
    return pl.DataFrame(found.data, schema=list(found.feature_names)).with_columns(
        pl.Series("species", species)
    )


def test_the_readmes_lines_lead_from_a_file_to_an_answer(shell, tmp_path, port):
    written(tmp_path, "iris.csv", flowers())
    lines = block()
    assert len(commands(lines)) <= COMMANDS
    began = time.monotonic()
    first, rest = lines.split("\n", 1)
    made = shell(first)
    assert made.returncode == 0, made.stderr
    key = re.search(r"export KEY=(cn_\S+)", made.stdout).group(1)
    told = made.stdout.partition("next:\n")[2].replace(key, "cn_…").replace(f":{port}/", ":8500/")
    assert commands(told) == commands(rest)  # what init prints is what the README says
    rest = rest.replace("cn_…", key).replace(":8500/", f":{port}/")
    done = shell(rest.replace("colonnade up &", "colonnade up & UP=$!") + "kill $UP; wait $UP")
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - began < WITHIN_S
    (answer,) = [json.loads(found) for found in re.findall(r"^{.*}", done.stdout, re.MULTILINE)]
    assert answer["model_version"] == "species_model@1"
    (prediction,) = answer["predictions"]
    assert len(prediction["score"]) == 3
    assert sum(prediction["score"]) == pytest.approx(1.0, abs=1e-5)


def orders(folder: Path) -> None:
    """What lands in the README's own project, and what turned out later."""
    random = np.random.default_rng(5)
    amount, customer = random.uniform(1, 100, 900).round(2), random.integers(0, 60, 900)
    landing = folder / "landing"
    pl.DataFrame(
        {
            "order_id": np.arange(1000, 1900),
            "ordered_at": [f"2026-10-{1 + n // 30:02d}T{n % 24:02d}:00:00Z" for n in range(900)],
            "customer_id": customer,
            "amount": amount,
            "items": random.integers(1, 6, 900),
            "returned": amount + random.normal(0, 20, 900) > 60,
        }
    ).write_csv(landing / "orders-1.csv")
    countries = ["NL" if number % 3 else "DE" for number in range(60)]
    pl.DataFrame({"customer_id": range(60), "country": countries}).write_csv(
        landing / "customers.csv"
    )
    (folder / "outcomes.csv").write_text("order_id,returned\n17,false\n")


def test_the_readmes_own_project_lives_as_the_readme_says(shell, tmp_path, port):
    text = README.read_text()
    made = shell("colonnade init my_project")
    key = re.search(r"cn_\S+", made.stdout).group(0)
    folder = tmp_path / "work" / "my_project"
    (project,) = re.findall(r"```python\n(import colonnade.*?)```", text, re.DOTALL)
    (folder / "project.py").write_text(project)
    orders(folder)
    (lines,) = re.findall(r"```\n(colonnade run --why.*?)```", text, re.DOTALL)
    run, up, curl, label, report, trace, verify = commands(lines.replace("$KEY", key))
    ready = f"until curl -sf localhost:{port}/v2/health/ready >/dev/null; do kill -0 $UP; done"
    curl = re.sub(r"-d (.*)$", lambda found: f"-d {shlex.quote(found[1])}", curl)
    curl = curl.replace(f"-H x-api-key: {key}", f"-H 'x-api-key: {key}'")
    answer = shell(
        f"cd my_project\n{run}\n{up} & UP=$!\n{ready}\n"
        f"{curl.replace(':8500/', f':{port}/')}\nkill $UP; wait $UP"
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    found = json.loads(re.search(r'\{"model_version".*\}', answer.stdout).group(0))
    assert found["model_version"] == "returns@1"
    identifier = found["predictions"][0]["id"]
    trace = trace.replace(trace.split()[-1], identifier)
    done = shell(f"cd my_project\n{label}\n{report}\n{trace}\n{verify}")
    assert done.returncode == 0, done.stdout + done.stderr
    for said in ("1 predictions, 1 labelled", f"prediction {identifier}", "label false", "holds"):
        assert said in done.stdout


def shop(rows: int = 900) -> pl.DataFrame:
    """What files look like: an index, odd names, dates, gaps, a remark, an id, a comma."""
    random = np.random.default_rng(3)
    x = random.normal(size=rows).round(3)
    country = random.choice(["NL", "DE", "it's", 'a "b"'], rows)
    noise = random.normal(0, 0.3, rows)
    return pl.DataFrame(
        {
            "": np.arange(1, rows + 1),
            "Kunden-Nr": [f"K{number:05d}" for number in range(rows)],
            "bestellt am": [
                f"2024-{1 + number * 12 // rows:02d}-{1 + number % 28:02d}"
                for number in range(rows)
            ],
            "Größe (cm)": ["NA" if number % 7 == 0 else str(x[number]) for number in range(rows)],
            "2nd.Value": random.integers(0, 9, rows),
            "class": country,
            "Bemerkung": [
                f"a remark that a person wrote, of some length, number {number}"
                for number in range(rows)
            ],
            "Umsatz": [f"{number},50" for number in range(rows)],
            "zurück?": np.where(x + (country == "NL") + noise > 0, "ja", "nein"),
        }
    )


def asked(shell, project: str, key: str, bodies: list[str]) -> list[dict]:
    """Serve a project and ask it with curl, a body after the other."""
    asking = "\n".join(
        f'curl -sS --retry 9 --retry-connrefused -H "x-api-key: {key}" {body}\necho'
        for body in bodies
    )
    done = shell(f"cd {project}\ncolonnade serve & UP=$!\n{asking}\nkill $UP; wait $UP")
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_a_file_with_all_that_files_have_is_answered_too(shell, tmp_path, port):
    written(tmp_path, "Größe & Co (2).csv", shop())
    made = shell("colonnade init --data 'Größe & Co (2).csv' --label 'zurück?'")
    assert made.returncode == 0, made.stderr
    for said in (
        "key       Kunden-Nr", "time      bestellt am", "features  3: Größe (cm), 2nd.Value, class",
        "column_1: it only counts", "Bemerkung: free text", "Umsatz: its numbers are written with",
    ):  # fmt: skip
        assert said in made.stdout
    assert shell("cd grosse_co_2 && colonnade run").returncode == 0
    key = re.search(r"cn_\S+", made.stdout).group(0)
    row = {"Größe (cm)": None, "2nd.Value": 3, "class": 'a "b"', "Kunden-Nr": "K1"}
    path = f"localhost:{port}/v1/endpoints/zuruck_model/predict"
    told = shell("cd grosse_co_2 && colonnade status").stdout.replace("\\\n", " ")
    (example,) = re.findall(rf"{path} +-d '.*'$", told, re.MULTILINE)
    own = shlex.quote(json.dumps({"rows": [row]}))
    answers = asked(shell, "grosse_co_2", key, [f"{path} -d {own}", example])
    assert [answer["model_version"] for answer in answers] == ["zuruck_model@1"] * 2
    assert all(0.0 <= answer["predictions"][0]["score"] <= 1.0 for answer in answers)


@pytest.mark.parametrize(
    ("load", "task", "gate"),
    [(load_breast_cancer, "binary", "auc >= 0.55"), (load_diabetes, "regression", "r2 >= 0")],
)
def test_the_first_run_of_a_known_file_passes_its_gates(here, capsys, load, task, gate):
    found = load()
    rows = pl.DataFrame(found.data, schema=list(found.feature_names))
    rows.with_columns(pl.Series("target", found.target)).write_csv("known.csv")
    assert command(["init", "--data", "known.csv", "--label", "target"]) == 0
    assert command(["run", "--project", "known"]) == 0
    told = capsys.readouterr().out
    assert f"label     target ({task}" in told
    assert "1 gate passed" in told
    assert gate in (here / "known" / "project.py").read_text()


def test_a_first_fit_that_does_not_pass_says_what_to_do(here, capsys):
    random = np.random.default_rng(1)
    pl.DataFrame({name: random.normal(size=300) for name in "aby"}).write_csv("noise.csv")
    assert command(["init", "--data", "noise.csv", "--label", "y"]) == 0
    assert command(["run", "--project", "noise"]) == 1
    told = capsys.readouterr()
    assert "rejected" in told.out
    assert "fix: y_model did not pass" in told.err
    assert "colonnade run" in told.err


def test_what_the_command_lacks_is_a_mistake_in_usage(here, capsys):
    (here / "a.csv").write_text("a,b\n")
    for words in (["--data", "a.csv"], ["some", "--label", "b"], [], ["--data", "no.csv"]):
        assert command(["init", *words]) == 2
    told = capsys.readouterr().err
    assert "--data needs --label" in told
    assert "give it with --data" in told
    assert "name the FOLDER" in told
    assert "'no.csv' does not exist" in told


def test_a_project_that_is_there_is_not_written_over(here, capsys):
    shop(60).write_csv("some.csv")
    words = ["init", "mine", "--data", "some.csv", "--label", "2nd.Value", "--key", "Kunden-Nr"]
    assert command(words) == 0
    before = (here / "mine" / "project.py").read_bytes()
    assert command(words) == 2
    assert "CN-SETTINGS-003" in capsys.readouterr().err
    assert (here / "mine" / "project.py").read_bytes() == before
    assert (here / "mine" / "landing" / "some.csv").read_bytes() == (here / "some.csv").read_bytes()


def test_a_file_that_is_too_large_to_copy_is_refused(here, capsys):
    with (here / "large.csv").open("wb") as file:
        file.write(b"a,b\n1,2\n")
        file.truncate(2**30 + 1)  # a hole takes no room
    assert command(["init", "--data", "large.csv", "--label", "b"]) == 2
    assert "CN-INIT-005" in capsys.readouterr().err
    assert not (here / "large").exists()


@pytest.mark.parametrize(
    ("name", "text", "label", "said"),
    [
        ("eu.csv", "a;b\n" + "1,5;x\n" * 40, "b", "CN-SOURCE-004"),
        ("latin.csv", b"a,b\n" + "ü,1\n".encode("latin1") * 40, "b", "CN-SOURCE-003"),
        ("ragged.csv", "a,b\n" + "1,2\n" * 30 + "1,2,3\n", "b", "CN-SOURCE-003"),
        ("sheet.xls", "no csv", "b", "CN-SOURCE-002"),
        ("empty.csv", "", "b", "CN-SOURCE-003"),
        ("head.csv", "a,b\n", "b", "CN-CONTRACT-009"),
        ("some.csv", "a,b\n" + "1,2\n" * 30, "c", "CN-INIT-001"),
        ("some.csv", "a,b\n" + "1,2\n" * 30, "b", "CN-INIT-002"),
        ("twice.csv", "a,A,b\n" + "1,2,3\n" * 30, "b", "CN-TABLE-008"),
    ],
)
def test_a_file_that_is_refused_leaves_nothing_behind(here, capsys, name, text, label, said):
    (here / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert command(["init", "--data", name, "--label", label]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "fix: " in told
    assert "Traceback" not in told
    assert [path.name for path in here.iterdir()] == [name]


def test_the_way_out_that_a_refusal_names_works(shell, tmp_path):
    body = "".join(
        f"{number},5;{number % 7};{'ja' if number % 3 else 'nein'}\n" for number in range(90)
    )
    (tmp_path / "work" / "eu.csv").write_text("a;b;c\n" + body)
    refused = shell("colonnade init --data eu.csv --label c")
    way = re.search(r"fix: .*?: (python .*)$", refused.stderr, re.MULTILINE).group(1)
    assert shell(way.replace("python", sys.executable, 1)).returncode == 0
    made = shell("colonnade init --data with_commas.csv --label c")
    assert "features  2: a, b" in made.stdout
