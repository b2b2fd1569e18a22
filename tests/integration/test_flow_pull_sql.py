"""Rows of other databases: each once, late ones too, whatever happens to them or to us."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

import colonnade as co
from colonnade.base.errors import ColonnadeError
from colonnade.data import pull
from colonnade.data.ingest import Ingested, ingest
from colonnade.project import Project
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion
from colonnade.wiring import open_workspace
from tests.projects import empty
from tests.shop import FIRST, KINDS, Shop


@pytest.fixture(params=KINDS)
def shop(request, tmp_path, monkeypatch) -> Iterator[Shop]:
    shop = Shop(request.param, tmp_path)
    monkeypatch.setenv("SHOP", shop.url)
    yield shop
    shop.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return empty(tmp_path / "project")


@pytest.fixture(params=[True, False], ids=["one by one", "by count"])
def each(request, monkeypatch) -> None:
    """How late rows are looked for: as in a table of few rows, as in one of many."""
    if not request.param:
        monkeypatch.setattr(pull, "ALL_OF", 0)


def orders(query: str = "orders", key: str = "id", **options) -> co.Sql:
    options = {"cursor": "at", "lag": "10 minutes"} | options
    return Project("p").source("orders", co.Sql("env:SHOP", query, **options), key=key)


def take(folder: Path, source=None) -> Ingested:
    with open_workspace(folder) as workspace:
        return ingest(workspace.session("test"), source or orders(), workspace.folder)


def refused(folder: Path, source=None) -> ColonnadeError:
    with pytest.raises(ColonnadeError) as caught:
        take(folder, source)
    return caught.value


def table(folder: Path, name: str = "orders") -> pl.DataFrame:
    with open_workspace(folder) as workspace:
        return workspace.session("test").scan(Ref("table", name)).collect()


def numbers(folder: Path) -> list[int]:
    return sorted(table(folder)["id"].to_list())


def landed(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / ".colonnade" / "landing").rglob("*.*"))


def test_a_table_is_taken_over_and_its_rows_are_those_of_the_database(shop, folder):
    for number in range(100):
        shop.order(number, number, number / 4)
    found = take(folder)
    assert (found.done, found.good, found.bad) == (True, 100, 0)
    rows = table(folder).sort("id")
    assert dict(rows.schema) == {
        "id": pl.Int64, "amount": pl.Float64, "at": pl.Datetime("us", "UTC")
    }  # fmt: skip
    assert rows["amount"].to_list() == [number / 4 for number in range(100)]
    assert rows["at"].to_list() == [FIRST + timedelta(minutes=n) for n in range(100)]
    assert landed(folder) == []


def test_only_new_rows_come_the_next_time(shop, folder):
    for number in range(10):
        shop.order(number, number)
    take(folder)
    assert not take(folder).done
    shop.order(10, 9)  # a tie with the last one
    shop.order(11, 30)
    found = take(folder)
    assert (found.good, found.late) == (2, 1)
    assert numbers(folder) == list(range(12))
    assert not take(folder).done


def test_rows_that_come_late_are_found_within_the_lag_and_far_behind_it(shop, folder, each):
    for number in range(100):
        shop.order(number, number)
    take(folder)
    shop.order(100, 95)  # within ten minutes
    shop.order(101, 3)  # and long before
    shop.order(102, 200)
    found = take(folder)
    assert (found.good, found.late) == (3, 2)
    assert numbers(folder) == list(range(103))
    shop.order(103, 0.5)
    assert take(folder).late == 1
    assert numbers(folder) == list(range(104))


def test_a_late_row_does_not_hide_behind_one_that_moved_on(shop, folder, each):
    for number in range(100):
        shop.order(number, number)
    take(folder)
    shop.move(5, 300)  # one less before the end of the last pull, ...
    shop.order(100, 7)  # ... and one more
    found = take(folder)
    assert (found.good, found.late) == (2, 1)
    assert sorted(numbers(folder)) == sorted([*range(101), 5])  # both states of 5


def test_rows_that_are_deleted_stay_and_do_not_hide_later_late_ones(shop, folder, each):
    for number in range(100):
        shop.order(number, number)
    take(folder)
    shop.say("DELETE FROM orders WHERE id < 10")
    assert not take(folder).done
    shop.order(200, 200)
    take(folder)
    shop.order(201, 1)
    assert take(folder).late == 1
    assert len(numbers(folder)) == 102


def test_without_a_key_rows_that_are_alike_are_as_many_as_they_are(shop, folder, each):
    for number in (1, 1, 2):
        shop.order(number, 1)
    source = orders(key=())
    assert take(folder, source).good == 3
    assert not take(folder, source).done
    shop.order(1, 1)
    shop.order(2, 0)
    shop.order(3, -500)
    assert take(folder, source).good == 3
    assert numbers(folder) == [1, 1, 1, 2, 2, 3]


def test_a_row_without_a_place_on_the_cursor_is_taken_once(shop, folder, each):
    shop.order(1, 0)
    shop.say("INSERT INTO orders VALUES (2, 1, NULL)")
    take(folder)
    shop.say("INSERT INTO orders VALUES (3, 1, NULL)")
    assert take(folder).good == 1
    assert not take(folder).done
    assert numbers(folder) == [1, 2, 3]


def test_without_a_cursor_all_rows_take_the_place_of_the_table(shop, folder):
    source = orders(cursor=None, lag=None)
    assert source.mode == "replace"
    for number in range(5):
        shop.order(number, number)
    take(folder, source)
    assert not take(folder, source).done
    shop.say("DELETE FROM orders WHERE id = 0")
    assert take(folder, source).good == 4
    assert numbers(folder) == [1, 2, 3, 4]


def test_a_query_is_taken_as_a_table_is(shop, folder):
    for number in range(5):
        shop.order(number, number)
    source = orders("SELECT id, at, ':x' AS \"c:d\" FROM orders WHERE id <> 3; -- not 3")
    take(folder, source)
    assert numbers(folder) == [0, 1, 2, 4]
    assert set(table(folder)["c:d"]) == {":x"}
    shop.order(7, 10)
    assert take(folder, source).good == 1


def test_the_position_is_in_the_version_that_holds_the_rows(shop, folder):
    shop.order(1, 0)
    cursor = take(folder).entry.read(TableVersion).cursor
    assert cursor["by"] == ["at", "id"]
    assert (cursor["rows"], cursor["there"]) == (1, 1)
    kinds = {"sqlite": "text", "postgresql": "timestamp", "mysql": "zoneless"}
    assert cursor["kind"] == kinds[shop.kind]


def test_bad_rows_go_into_quarantine_and_are_not_asked_for_again(shop, folder):
    for number in range(40):
        shop.order(number, number)
    take(folder)
    path = folder / "contracts" / "orders.yaml"
    text = path.read_text()
    assert "name: amount" in text
    path.write_text(
        text.replace("- name: amount\n", "- name: amount\n    logicalTypeOptions: {maximum: 5}\n")
    )
    for number in range(40, 80):
        shop.order(number, number, 99 if number == 50 else 1)
    found = take(folder)
    assert (found.good, found.bad) == (39, 1)
    assert not take(folder).done
    assert table(folder, "quarantine.orders")["reasons"].to_list() == [["amount|maximum"]]


def test_what_is_read_of_a_stopped_batch_is_asked_for_anew(shop, folder):
    shop.order(1, 0)
    take(folder)
    shop.say("INSERT INTO orders VALUES (NULL, 1, ?)", shop.at(1))
    assert refused(folder).code == "CN-INGEST-003"
    shop.say("UPDATE orders SET id = 2 WHERE id IS NULL")
    assert take(folder).good == 1
    assert numbers(folder) == [1, 2]
    assert landed(folder) == []
