"""The reference of the project file is true: every project that it shows loads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from colonnade.compute import code

PAGE = Path(__file__).parents[2] / "docs" / "project.md"
BLOCKS = [
    block
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    if "co.Project(" in block
]


def test_the_page_shows_projects():
    assert BLOCKS


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_project_of_the_page_loads(block, tmp_path):
    (tmp_path / "project.py").write_text(block)
    assert code.load(tmp_path).tables
