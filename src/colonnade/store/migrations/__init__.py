"""Alembic migrations, each in force from one release on."""

from __future__ import annotations
