"""The parts of HTTP that the endpoints and the control server share."""

from __future__ import annotations
