"""The README is true to the letter: its project loads, its commands and links are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from colonnade.cli.main import COMMANDS
from colonnade.compute import code

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
README = (ROOT / "README.md").read_text()


def test_the_project_of_the_readme_loads(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (block,) = [block for block in blocks if "co.Project" in block]
    (tmp_path / "project.py").write_text(block)
    project = code.load(tmp_path)
    assert list(project.sources) == ["orders", "customers"]
    assert list(project.endpoints) == ["returns"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_is_named_exists(page):
    named = re.findall(r"^(?:\.venv/bin/)?colonnade ([a-z]+)", page.read_text(), re.MULTILINE)
    assert set(named) <= set(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
