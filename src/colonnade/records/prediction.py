"""Where predictions and labels of an endpoint are kept, and under which column names."""

from __future__ import annotations

from typing import Final

PREDICTION_ID: Final = "prediction_id"
FEATURE: Final = "feature_"
"""Prefix of a feature's column in the prediction table: no feature can hide a column of ours."""


def predictions_of(endpoint: str) -> str:
    """The name of the table that holds an endpoint's predictions."""
    return f"predictions.{endpoint}"


def labels_of(endpoint: str) -> str:
    """The name of the table that holds the labels of an endpoint's predictions."""
    return f"labels.{endpoint}"
