"""Whatever a shop does between pulls, every state of a row that a pull could see is there once."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import colonnade as co
from colonnade.base.errors import NotFoundError
from colonnade.data import pull
from colonnade.data.ingest import ingest
from colonnade.project import Project
from colonnade.records.ref import Ref
from colonnade.wiring import open_workspace
from tests.projects import empty

BOUND = """\
schema:
- name: rows
  properties:
  - {name: id, logicalType: integer}
  - {name: at, logicalType: integer}
"""
# (what, number of the row, its place)
ACTS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "add", "move", "delete", "pull", "pull"]),
        st.integers(0, 9),
        st.integers(0, 40),
    ),
    max_size=20,
)


@pytest.mark.parametrize("key", ["id", ()], ids=["key", "no key"])
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(acts=ACTS, lag=st.sampled_from([None, 5]))
def test_every_state_that_a_pull_saw_is_in_the_table_once(key, acts, lag):
    with tempfile.TemporaryDirectory() as name:
        folder = empty(Path(name) / "project")
        (folder / "contracts").mkdir(exist_ok=True)
        (folder / "contracts" / "rows.yaml").write_text(BOUND)
        shop = sqlite3.connect(Path(name) / "shop.db", isolation_level=None)
        shop.execute("CREATE TABLE rows (id INTEGER, at INTEGER)")
        os.environ["PROPERTY_SHOP"] = f"sqlite:///{name}/shop.db"
        wanted: Counter[tuple[int, int]] = Counter()
        source = Project("p").source(
            "rows", co.Sql("env:PROPERTY_SHOP", "rows", cursor="at", lag=lag), key=key
        )
        with open_workspace(folder) as workspace:
            session = workspace.session("test")
            for what, number, at in [*acts, ("add", 1, 1), ("pull", 0, 0), ("pull", 0, 0)]:
                if what == "add":
                    unique = key and shop.execute("SELECT 1 FROM rows WHERE id = ?", (number,))
                    if not unique or unique.fetchone() is None:
                        shop.execute("INSERT INTO rows VALUES (?, ?)", (number, at))
                elif what == "move":
                    shop.execute("UPDATE rows SET at = ? WHERE id = ?", (at + 20, number))
                elif what == "delete":
                    shop.execute("DELETE FROM rows WHERE id = ?", (number,))
                else:
                    there = Counter(shop.execute("SELECT id, at FROM rows").fetchall())
                    wanted |= there  # as often as it was there at once
                    try:
                        ingest(session, source, folder)
                    except NotFoundError:
                        assert not there
            found = session.scan(Ref("table", "rows")).select("id", "at").collect()
        shop.close()
        assert Counter(found.iter_rows()) == wanted
    assert pull.ALL_OF > 0
