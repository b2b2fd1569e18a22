"""Origins that are asked in a whole project: the commands, and that no secret is ever seen."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from colonnade.compute import code
from colonnade.wiring import open_workspace
from tests.api import Answer, Api, Asked
from tests.postgresql import server
from tests.projects import carry_out, colonnade, empty
from tests.shop import Shop

SECRET = "geheim-0815"
PROJECT = """
import polars as pl

import colonnade as co

project = co.Project("small")
project.source("orders", co.Sql("env:SHOP", "orders", cursor="at", lag="1 hour"), key="id")
project.source(
    "returns",
    co.Rest(
        "{url}",
        headers={{"authorization": "Bearer {{env:SHOP_TOKEN}}"}},
        params={{"token": "env:SHOP_TOKEN"}},
        allow_private=True,
    ),
)


@project.table(key="id")
def joined(orders: pl.LazyFrame, returns: pl.LazyFrame) -> pl.LazyFrame:
    return orders.join(returns, on="id", how="left")
"""


@pytest.fixture
def api() -> Iterator[Api]:
    def answer(asked: Asked) -> object:
        right = asked.headers.get("authorization") == f"Bearer {SECRET}"
        return [{"id": 1, "why": "late"}] if right else Answer(status=401)

    started = Api(answer)
    yield started
    started.close()


@pytest.fixture
def folder(tmp_path, api, monkeypatch) -> Path:
    monkeypatch.setenv("SHOP_TOKEN", SECRET)
    return empty(tmp_path / "project", PROJECT.format(url=api.url()))


def status(folder: Path, capfd) -> dict:
    capfd.readouterr()
    assert colonnade(folder, "status", "--json") == 0
    return json.loads(capfd.readouterr().out)


def test_a_run_asks_and_says_what_was_late(folder, tmp_path, monkeypatch, capfd):
    shop = Shop("sqlite", tmp_path)
    monkeypatch.setenv("SHOP", shop.url)
    for number in range(3):
        shop.order(number, 600 * number)
    steps = {step.name: step for step in carry_out(folder)}
    assert steps["joined"].detail == "3 rows"
    shop.order(3, 5)
    steps = {step.name: step for step in carry_out(folder)}
    assert "1 rows taken over, 0 into quarantine (1 of them late)" in steps["orders"].detail
    assert steps["returns"].state == "up to date"
    asked = status(folder, capfd)["answer"]["sources"]["orders"]["asked"]
    assert (asked["cursor"], asked["taken"]) == ("at", 4)
    assert asked["end"] == "2024-01-01T20:00:00Z"
    shop.close()


def seen_in(folder: Path) -> list[str]:
    """The files of a project, and what its stores hold open, that the secret is seen in."""
    found = [
        str(path) for path in folder.rglob("*")
        if path.is_file() and SECRET.encode() in path.read_bytes()
    ]  # fmt: skip
    with open_workspace(folder) as workspace:
        session = workspace.session("test")
        found += [entry.id for entry in session.entries() if SECRET in repr(entry)]
        found += [repr(source) for source in workspace.project.sources.values()
                  if SECRET in repr(source)]  # fmt: skip
        for blob in (folder / ".colonnade" / "blobs").rglob("*"):
            if blob.is_file() and SECRET.encode() in session.blob(blob.name):
                found.append(str(blob))
    return found


def test_no_secret_is_seen_anywhere(folder, tmp_path, monkeypatch, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    url = server().create()
    password = url.replace("colonnade@", f"colonnade:{SECRET}@")
    shop = Shop("postgresql", tmp_path)
    monkeypatch.setenv("SHOP", shop.url.replace("colonnade@", f"colonnade:{SECRET}@"))
    shop.order(1, 0)
    carry_out(folder)
    said = []
    for address in (
        password,  # there is no such table
        f"postgresql://u:{SECRET}@127.0.0.1:1/d",
        f"postgresql://u:{SECRET}@nowhere.invalid/d",
        f"mysql://u:{SECRET}@127.0.0.1:1/d",
        f"sqlite:////nowhere/{SECRET}",
        f"postgresql://u:{SECRET}@[/d",
        f"{SECRET}://u:p@h/d",
        SECRET,
    ):
        monkeypatch.setenv("SHOP", address)
        assert colonnade(folder, "run", "orders") in (2, 4)
        said.append("\n".join(capfd.readouterr()))
        assert "CN-PULL-" in said[-1]
    monkeypatch.setenv("SHOP_TOKEN", f"{SECRET}-wrong")
    with pytest.raises(Exception, match="CN-PULL-011") as caught:
        carry_out(folder, "returns")
    said += [str(caught.value), caplog.text, *capfd.readouterr()]
    assert SECRET not in "\n".join(said)
    assert seen_in(folder) == []
    shop.close()


def test_the_declarations_of_a_project_are_its_code_and_load(folder):
    assert list(code.load(folder).sources) == ["orders", "returns"]


def test_sqlite_is_neither_made_nor_written(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("SHOP", f"sqlite:///{tmp_path / 'gone.db'}")
    with pytest.raises(Exception, match="CN-PULL-006"):
        carry_out(folder, "orders")
    assert not (tmp_path / "gone.db").exists()
    sqlite3.connect(tmp_path / "gone.db").execute("CREATE TABLE orders (id, at)")
    (tmp_path / "gone.db").chmod(0o400)
    before = (tmp_path / "gone.db").read_bytes()
    with pytest.raises(Exception, match="CN-INGEST-001"):
        carry_out(folder, "orders")
    assert (tmp_path / "gone.db").read_bytes() == before
