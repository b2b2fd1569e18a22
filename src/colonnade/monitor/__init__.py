"""Prediction + label → report: join, watch."""

from __future__ import annotations
