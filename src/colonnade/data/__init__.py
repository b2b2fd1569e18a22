"""Source → contract → table: ingest, check, transform."""

from __future__ import annotations
