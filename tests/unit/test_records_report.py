from __future__ import annotations

import dataclasses

import msgspec
import pytest

from colonnade.records import canonical
from colonnade.records.report import Report

REPORT = Report(
    endpoint="late", window=("a", "b"), as_of="c", predictions=200, labelled=50, base_rate=0.2,
    unscored=0,
    metrics={}, versions=(), drift={}, alarms=(), reference=None, facts={},
)  # fmt: skip


def test_coverage_is_the_share_of_predictions_with_a_label():
    assert REPORT.coverage == pytest.approx(0.25)


def test_without_predictions_there_is_no_coverage():
    assert dataclasses.replace(REPORT, predictions=0, labelled=0).coverage is None


def test_a_report_of_before_unscored_rows_were_counted_is_still_read():
    body = canonical.plain(REPORT)
    del body["unscored"]
    assert msgspec.convert(body, Report).unscored == 0
