"""The only code that knows SQLite, PostgreSQL, Delta and the files underneath.

Reached by `govern` alone: everything above asks a session.
"""

from __future__ import annotations
