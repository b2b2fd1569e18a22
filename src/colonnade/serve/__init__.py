"""Serving: endpoint processes that answer requests, and the supervisor that keeps them running.

A request touches no database: workers answer from a verified bundle and a snapshot of who may
call, and write what they answered to a spool on their own disk (`spool`, `log`).
"""

from __future__ import annotations
