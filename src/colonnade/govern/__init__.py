"""The one door to the stores: who, for what purpose, with which permission."""

from __future__ import annotations
