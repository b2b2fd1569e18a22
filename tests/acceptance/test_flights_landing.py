"""The cutter of the flights example: every real row lands once, unchanged, at the right time."""

from __future__ import annotations

import importlib.util
import sys
import zipfile
from pathlib import Path

import polars as pl
import pytest

from colonnade.data import check, odcs
from colonnade.store import sources

EXAMPLE = Path(__file__).parents[2] / "examples" / "flights"
KEY = ["departs_at", "carrier", "flight"]
AFTERWARDS = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "late", "observed_at"}
pytestmark = pytest.mark.timeout(120)


def _cutter():
    spec = importlib.util.spec_from_file_location("flights_landing", EXAMPLE / "landing.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


cutter = _cutter()


@pytest.fixture(scope="module")
def year():
    return cutter.read(cutter.data_folder())


@pytest.fixture(scope="module")
def landed(year, tmp_path_factory):
    folder = tmp_path_factory.mktemp("landing")
    for month in cutter.MONTHS:
        for kind in ("flights", "weather", "outcomes"):
            year.land(folder, kind, month)
    year.land_planes(folder)
    return folder


@pytest.fixture(scope="module")
def raw():
    with zipfile.ZipFile(cutter.data_folder() / "flights.csv.zip") as archive:
        return pl.read_csv(archive.read("flights.csv"), infer_schema=False)


def _rows(landed, kind):
    files = sorted(landed.glob(f"{kind}-*.csv"))
    return pl.concat([pl.read_csv(file, infer_schema=False) for file in files])


def test_every_flight_of_the_year_lands_exactly_once(landed, raw):
    flights = _rows(landed, "flights")
    assert flights.height == raw.height == 336_776
    assert flights.select(pl.struct(KEY).n_unique()).item() == 336_776


def test_no_cell_is_changed(landed, raw):
    same = ["sched_dep_time", "sched_arr_time", "tailnum", "origin", "dest", "distance"]
    order = [*KEY, *same]
    found = _rows(landed, "flights").select(order).sort(KEY)
    expected = raw.rename({"time_hour": "departs_at"}).select(order).sort(KEY)
    assert found.equals(expected)


def test_a_schedule_file_holds_nothing_that_is_known_after_departure(landed):
    for kind in ("flights", "weather"):
        assert not AFTERWARDS & set(_rows(landed, kind).columns)


def test_a_file_holds_one_month_of_utc_and_december_the_last_evening_in_new_york(landed):
    for file in landed.glob("flights-*.csv"):
        months = set(pl.read_csv(file, infer_schema=False)["departs_at"].str.head(7))
        month = file.stem.removeprefix("flights-")
        assert months == ({month, "2014-01"} if month == "2013-12" else {month})


def test_a_flight_that_did_not_arrive_has_no_outcome(landed, raw):
    outcomes = _rows(landed, "outcomes")
    arrived = raw.filter(pl.col("arr_delay") != "NA")
    assert outcomes.height == arrived.height == 327_346


def test_late_is_more_than_fifteen_minutes(landed):
    minutes = pl.col("arr_delay").cast(pl.Int64)
    outcomes = _rows(landed, "outcomes").filter(minutes.is_between(15, 16))
    late = outcomes.select(pl.col("late") == "true", more=minutes > 15)
    assert late["late"].equals(late["more"], check_names=False)


def test_an_outcome_is_observed_when_the_flight_is_over(landed, raw):
    hours = (
        raw.filter(pl.col("arr_delay") != "NA")
        .select(pl.sum_horizontal(pl.col("dep_delay", "air_time").cast(pl.Int64)) / 60 + 1)
        .max()
        .item()
    )
    assert hours < cutter.KNOWN_AFTER.total_seconds() / 3600
    times = _rows(landed, "outcomes").select(
        pl.col("departs_at", "observed_at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ")
    )
    assert set(times["observed_at"] - times["departs_at"]) == {cutter.KNOWN_AFTER}


def test_a_file_that_lands_again_has_the_same_bytes(year, landed, tmp_path):
    again = year.land(tmp_path, "outcomes", "2013-01")
    assert again.read_bytes() == (landed / again.name).read_bytes()


@pytest.mark.parametrize(
    ("kind", "broken"),
    [
        ("flights", {"tailnum|pattern": 4, "distance|minimum": 1}),
        ("weather", {"wind_speed|maximum": 1}),
        ("outcomes", {}),
        ("planes", {"seats|minimum": 40}),
    ],
)
def test_the_real_rows_fulfil_their_contract_but_for_the_known_odd_ones(landed, kind, broken):
    contract = odcs.read(EXAMPLE / "contracts" / f"{kind}.yaml")
    reasons: dict[str, int] = {}
    for file in sorted(landed.glob(f"{kind}*.csv")):
        rows = sources.open_file(file, contract.missing)
        for reason, count in check.check(rows, contract, file.name).reasons.items():
            reasons[reason] = reasons.get(reason, 0) + count
    assert reasons == broken
