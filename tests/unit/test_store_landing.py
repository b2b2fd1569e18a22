"""Rows that were asked for lie in a whole file or in none."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator

import numpy as np
import polars as pl
import pytest

from colonnade.base.errors import UnavailableError
from colonnade.store.origins.landing import Landing

ROWS = pl.DataFrame({"x": np.random.default_rng(1).uniform(size=20_000)})  # 160 kB


@pytest.fixture
def landing(tmp_path) -> Landing:
    return Landing(tmp_path / "landing")


@pytest.fixture(params=[100_000, 300_000], ids=["in a part", "in the whole"])
def small_files(request) -> Iterator[None]:
    """The system refuses larger files, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (request.param, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_grows_by_frames(landing):
    with landing.sheet("orders", "1.parquet") as sheet:
        for _ in range(3):
            sheet.add(ROWS)
    assert pl.read_parquet(sheet.path).height == sheet.rows == 60_000
    assert [path.name for path in sheet.path.parent.iterdir()] == ["1.parquet"]


def test_the_same_rows_are_the_same_bytes(landing):
    found = set()
    for name in ("1.parquet", "2.parquet"):
        with landing.sheet("orders", name) as sheet:
            sheet.add(ROWS)
        found.add(sheet.path.read_bytes())
    assert len(found) == 1


def write(landing: Landing, amid: Callable[[], object] = lambda: None) -> None:
    with landing.sheet("orders", "1.parquet") as sheet:
        for number in range(3):
            # Other values each time: what repeats would be packed.
            sheet.add(ROWS.with_columns(pl.col("x") + number))
            amid()


def test_what_does_not_fit_on_the_disk_leaves_nothing(landing, small_files):
    with pytest.raises(UnavailableError, match="CN-DISK-001"):
        write(landing)
    assert list(landing.folder("orders").iterdir()) == []


def test_a_failure_amid_the_rows_leaves_nothing(landing):
    with pytest.raises(ZeroDivisionError):
        write(landing, lambda: 1 / 0)
    assert list(landing.folder("orders").iterdir()) == []


def test_a_file_is_kept_only_with_its_note(landing):
    with landing.sheet("orders", "1.parquet") as sheet:
        sheet.add(ROWS)
    assert landing.kept("orders", "1.parquet") is None
    landing.keep(sheet.path, {"rows": 1})
    assert landing.kept("orders", "1.parquet") == (sheet.path, {"rows": 1})
    assert landing.kept("orders", "2.parquet") is None
    landing.clear("orders")
    landing.clear("orders")
    assert landing.kept("orders", "1.parquet") is None


def test_what_was_pushed_to_the_source_before_is_left(landing):
    with landing.sheet("orders", "1.parquet") as sheet:
        sheet.add(ROWS)
    landing.keep(sheet.path, {"rows": 1})
    pushed = landing.folder("orders") / "01a20ccd-48b4-7a14-8668-4fc3b3d232b3.parquet"
    pushed.write_bytes(b"rows")
    landing.clear("orders")
    assert list(landing.folder("orders").iterdir()) == [pushed]
