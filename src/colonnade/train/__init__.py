"""Table → training set → run → model version: build, fit, track, gate."""

from __future__ import annotations
