from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pytest

from colonnade.base.errors import UsageError
from colonnade.bundle.predict import Feeds, Predictor, Scores
from colonnade.bundle.request import RequestError
from colonnade.records.model import Feature, Field, Manifest, Signature

FEATURES = (
    Feature(name="distance", kind="number"),
    Feature(name="carrier", kind="category", categories=("UA", "DL")),
    Feature(name="hour", kind="integer"),
    Feature(name="origin", kind="category", categories=("JFK",)),
    Feature(name="holiday", kind="flag"),
)
ROW = {"distance": 1.5, "carrier": "UA", "hour": 5, "origin": None, "holiday": True}
COLUMNS = {name: [value, value] for name, value in ROW.items()}


class RowSums:
    """A model of its own: the sum of a row's numbers and of the lengths of its words."""

    def run(self, outputs: list[str], feeds: Feeds) -> list[Scores]:
        assert outputs == ["score"]
        total = np.zeros(len(next(iter(feeds.values()))), dtype=np.float32)
        if "numbers" in feeds:
            total += np.nansum(feeds["numbers"].astype(np.float32), axis=1)
        if "words" in feeds:
            total += np.array([sum(map(len, words)) for words in feeds["words"]], np.float32)
        return [total]


def a_predictor(
    *, features: tuple[Feature, ...] = FEATURES, time: str | None = "departs_at", max_rows: int = 9
) -> Predictor:
    signature = Signature(
        features=features,
        task="regression",
        key=(
            Field(name="carrier", kind="category"),
            Field(name="flight", kind="integer"),
            Field(name="departs_at", kind="datetime"),
        ),
        time=time,
    )
    plain = Manifest(
        name="m", version=3, run="r", made_at="2026-11-01", signature=signature, files={}
    )
    return Predictor(plain, RowSums(), max_rows=max_rows)


def body(*rows: dict[str, object]) -> bytes:
    return json.dumps({"rows": rows}).encode()


PREDICTOR = a_predictor()


def test_rows_become_the_two_inputs_in_the_order_of_the_signature() -> None:
    rows = PREDICTOR.decode(body(ROW, dict.fromkeys(ROW)))
    feeds = PREDICTOR.arrays(rows)
    assert all(isinstance(row, PREDICTOR.row_type) for row in rows)
    assert feeds["numbers"].dtype == np.float32
    np.testing.assert_array_equal(feeds["numbers"], [[1.5, 5, 1], [np.nan] * 3])
    assert feeds["words"].tolist() == [["UA", ""], ["", ""]]


def test_rows_are_scored_in_their_order() -> None:
    rows = PREDICTOR.decode(body(ROW, {**ROW, "distance": 100}))
    assert PREDICTOR.predict_rows(rows).tolist() == [9.5, 108.0]


@pytest.mark.parametrize(
    ("kept", "inputs"), [([0], {"numbers"}), ([1], {"words"}), ([0, 1], {"numbers", "words"})]
)
def test_an_input_without_columns_is_absent(kept: list[int], inputs: set[str]) -> None:
    predictor = a_predictor(features=tuple(FEATURES[i] for i in kept))
    names = [FEATURES[i].name for i in kept]
    feeds = predictor.arrays(predictor.decode(body({name: ROW[name] for name in names})))
    assert feeds.keys() == inputs
    assert predictor.column_arrays({name: [ROW[name]] for name in names}).keys() == inputs
    assert all(feed.shape == (1, 1) for feed in feeds.values())


def test_columns_and_rows_give_the_same_inputs() -> None:
    more = {**ROW, "holiday": None, "carrier": "", "hour": 7.0, "origin": "JFK"}
    by_row = PREDICTOR.arrays(PREDICTOR.decode(body(ROW, more)))
    by_column = PREDICTOR.column_arrays({name: [ROW[name], more[name]] for name in ROW})
    np.testing.assert_array_equal(by_row["numbers"], by_column["numbers"])
    assert by_row["words"].tolist() == by_column["words"].tolist()
    assert by_column["numbers"].dtype == np.float32


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("distance", np.array([1, 2], dtype=np.uint8)),
        ("distance", np.array([1, np.nan])),
        ("distance", [None, float("nan")]),
        ("hour", [5.0, None]),
        ("hour", np.array([5, 6], dtype=np.int64)),
        ("holiday", np.array([True, False])),
        ("holiday", [1, 0]),
        ("holiday", [1.0, None]),
        ("carrier", np.array(["UA", "xx"])),
        ("carrier", np.array(["UA", None], dtype=object)),
        ("carrier", [float("nan"), ""]),
    ],
    ids=str,
)
def test_a_column_may_be_an_array_or_a_list(
    name: str, column: npt.NDArray[np.generic] | list[object]
) -> None:
    assert PREDICTOR.score_columns({**COLUMNS, name: column}).shape == (2,)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("distance", ["7", "8"]),
        ("distance", [7, "8"]),
        ("distance", [None, b"8"]),
        ("distance", np.array(["7", "8"])),
        ("distance", [1e39, 0]),
        ("distance", [float("inf"), 0]),
        ("distance", [[1], [2]]),
        ("distance", np.array(["2013-01-01", "2013-01-02"], dtype="datetime64[s]")),
        ("distance", [10**400, 0]),
        ("distance", [{}, 0]),
        ("hour", [5.5, None]),
        ("holiday", [2, 0]),
        ("holiday", [0.5, None]),
        ("carrier", [1, 2]),
        ("carrier", [b"UA", None]),
    ],
    ids=str,
)
def test_a_column_of_another_kind_is_refused_by_name(
    name: str, column: npt.NDArray[np.generic] | list[object]
) -> None:
    with pytest.raises(UsageError, match=f"CN-PREDICT-003.*'{name}'"):
        PREDICTOR.score_columns({**COLUMNS, name: column})


def test_a_missing_column_is_named_with_the_nearest_given_one() -> None:
    given = {("distnace" if name == "distance" else name): COLUMNS[name] for name in COLUMNS}
    with pytest.raises(UsageError, match=r"CN-PREDICT-001.*m@3.*'distance'\n.*'distnace'"):
        PREDICTOR.score_columns(given)


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(UsageError, match=r"CN-PREDICT-002.*'hour': 1"):
        PREDICTOR.score_columns({**COLUMNS, "hour": [5]})


def test_columns_beside_the_features_are_not_looked_at() -> None:
    assert len(PREDICTOR.score_columns({**COLUMNS, "flight": [None, "x"]})) == 2


def test_no_rows_in_a_table_give_no_scores() -> None:
    assert PREDICTOR.score_columns({name: [] for name in ROW}).shape == (0,)


def test_the_business_key_is_the_canonical_text() -> None:
    key = {"flight": 1545.0, "departs_at": "2013-01-01T05:00:00-05:00"}
    (row,) = PREDICTOR.decode(body({**ROW, **key}))
    assert PREDICTOR.business_key(row) == "UA/1545/2013-01-01T10:00:00Z"
    assert PREDICTOR.event_time(row) == datetime(2013, 1, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize("absent", ["flight", "departs_at", "carrier"])
def test_without_a_part_of_the_key_there_is_no_key(absent: str) -> None:
    whole = {**ROW, "flight": 1, "departs_at": "2013-01-01T05:00:00"}
    (row,) = PREDICTOR.decode(body({**whole, absent: None}))
    assert PREDICTOR.business_key(row) is None


def test_a_time_without_a_zone_is_utc() -> None:
    (row,) = PREDICTOR.decode(body({**ROW, "departs_at": "2013-01-01T05:00:00"}))
    assert PREDICTOR.event_time(row) == datetime(2013, 1, 1, 5, tzinfo=UTC)


@pytest.mark.parametrize("time", [None, "departs_at", "hour"])
def test_a_row_without_a_time_has_no_event_time(time: str | None) -> None:
    predictor = a_predictor(time=time)
    (row,) = predictor.decode(body(ROW))
    assert predictor.event_time(row) is None


def test_a_request_may_not_carry_more_rows_than_agreed() -> None:
    with pytest.raises(RequestError, match="10 rows; expected 1 to 9"):
        PREDICTOR.decode(body(*[ROW] * 10))
