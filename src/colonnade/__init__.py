"""Colonnade: the open production platform for machine learning."""

from __future__ import annotations
