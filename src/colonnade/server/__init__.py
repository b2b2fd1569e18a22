"""The control server: what is sent to a project, and what is asked of it, over HTTP."""

from __future__ import annotations
