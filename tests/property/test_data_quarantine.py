"""Quarantine as a state machine: landed = good + bad, and bad = open + mended + replayed + dropped.

Beside the project runs a model that knows of each row only what its cells are and what was done.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from colonnade.data import mend as mending
from colonnade.data import quarantine
from colonnade.data.ingest import ingest
from colonnade.project import Project
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion
from colonnade.wiring import open_workspace
from tests.projects import empty

pytestmark = pytest.mark.timeout(300)
CONTRACT = """\
schema:
- name: rows
  properties:
  - {{name: id, logicalType: integer, required: true, unique: true}}
  - {{name: x, logicalType: number, logicalTypeOptions: {{maximum: {maximum}}}}}
customProperties:
- {{property: stopAbove, value: 1}}
"""
IDS = st.integers(0, 6)
NUMBERS = st.sampled_from(["0", "3", "9", ""])
LINES = st.one_of(
    st.builds("{},{}".format, IDS, NUMBERS),
    st.sampled_from(["z,0", "1", "1,2,3", '1,"2"3', ",1"]),
)
DECLARED = Project("p").source("rows", "landing/rows*")


class QuarantineMachine(RuleBasedStateMachine):
    """A model beside a source: its table as cells, its bad rows by state."""

    @initialize()
    def begin(self):
        self.home = tempfile.TemporaryDirectory()
        self.folder = Path(self.home.name)
        empty(self.folder)
        (self.folder / "landing").mkdir()
        (self.folder / "contracts").mkdir()
        self.maximum = 5
        self.bind()
        self.workspace = open_workspace(self.folder)
        self.files = self.landed = 0
        self.table: list[tuple[int, str]] = []
        self.cells: dict[str, tuple[str, str] | None] = {}  # None: a line that cannot be read
        self.states: dict[str, str] = {}

    def teardown(self):
        if hasattr(self, "workspace"):
            self.workspace.__exit__(None, None, None)
            self.home.cleanup()

    def bind(self):
        text = CONTRACT.format(maximum=self.maximum)
        (self.folder / "contracts" / "rows.yaml").write_text(text)

    def session(self):
        return self.workspace.session("test")

    def passes(self, cells: tuple[str, str] | None) -> bool:
        if cells is None:
            return False
        number, x = cells
        return number.isdecimal() and (not x or float(x) <= self.maximum)

    @rule(lines=st.lists(LINES, max_size=5))
    def land(self, lines):
        self.files += 1
        name = f"rows{self.files:03}.csv"
        text = "\n".join(["id,x", *lines, f"{100 + self.files},0"])
        (self.folder / "landing" / name).write_text(text + "\n")
        source = Project("p").source("rows", "landing/rows*")
        version = ingest(self.session(), source, self.folder).entry.read(TableVersion)
        digest = version.files[f"landing/{name}"]
        rows = [*lines, f"{100 + self.files},0"]
        cells = [tuple(r.split(",")) if r.count(",") == 1 and '"' not in r else None for r in rows]
        known = [found[0] for found in cells if found]
        for number, found in enumerate(cells):
            alone = found is not None and (known.count(found[0]) == 1 or not found[0].isdecimal())
            if self.passes(found) and alone:
                self.table.append((int(found[0]), found[1]))
            else:
                row = f"{digest[:12]}-{number}"
                self.cells[row], self.states[row] = found, "open"
        self.landed += len(rows)

    @rule(maximum=st.sampled_from([2, 5, 20]))
    def change_the_contract(self, maximum):
        self.maximum = maximum
        self.bind()

    def waiting(self):
        return sorted(row for row, state in self.states.items() if state == "open")

    def comes_in(self, rows: list[str]) -> set[str]:
        """Of these rows with their cells of now, those that come in."""
        there = {number for number, _ in self.table}
        known = [self.cells[row][0] for row in rows]
        return {
            row
            for row in rows
            if self.passes(self.cells[row])
            and known.count(self.cells[row][0]) == 1
            and int(self.cells[row][0]) not in there
        }

    def settle(self, rows: set[str], state: str):
        for row in rows:
            self.states[row] = state
            self.table.append((int(self.cells[row][0]), self.cells[row][1]))

    @precondition(lambda self: self.waiting())
    @rule(data=st.data(), number=IDS, x=NUMBERS)
    def mend(self, data, number, x):
        row = data.draw(st.sampled_from(self.waiting()))
        given = (str(number), x)
        same = self.cells[row] == given
        corrections = {row: {"id": given[0], "x": given[1] or None}}
        tried = mending.mend(self.session(), DECLARED, self.folder, corrections)
        if same:
            assert tried.unchanged == (row,)
            return
        self.cells[row] = given
        inside = self.comes_in([row])
        assert set(tried.passed) == inside
        self.settle(inside, "mended")

    @precondition(lambda self: self.files)
    @rule()
    def replay(self):
        rows = [row for row in self.waiting() if self.cells[row] is not None]
        inside = self.comes_in(rows)
        tried = mending.replay(self.session(), DECLARED, self.folder)
        assert set(tried.passed) == inside
        assert set(tried.failed) == set(rows) - inside
        self.settle(inside, "replayed")

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def drop(self, data):
        row = data.draw(st.sampled_from(self.waiting()))
        assert mending.drop(self.session(), "rows", [row], "a test") == 1
        self.states[row] = "dropped"

    @invariant()
    def nothing_is_lost_and_nothing_comes_twice(self):
        if not self.files:
            return
        session = self.session()
        found = session.scan(Ref("table", "rows")).select("id", "x").collect()
        x = [None if not text else float(text) for _, text in self.table]
        model = pl.DataFrame({"id": [n for n, _ in self.table], "x": x}, schema=found.schema)
        assert found.sort("id", "x").equals(model.sort("id", "x"))
        bad = quarantine.rows(session, "rows")
        assert dict(bad.select("id", "state").iter_rows()) == self.states
        for row, kept in bad.select("id", "cells").iter_rows():
            cells, now = json.loads(kept), self.cells[row]
            assert now is None or (cells["id"] or "", cells["x"] or "") == now
        summary = quarantine.summary(session, "rows")
        settled = summary.mended + summary.replayed
        assert summary.bad == summary.open + settled + summary.dropped
        assert self.landed == found.height - settled + summary.bad


TestQuarantine = QuarantineMachine.TestCase
TestQuarantine.settings = settings(max_examples=12, stateful_step_count=16, deadline=None)
