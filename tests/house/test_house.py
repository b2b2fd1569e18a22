"""What no linter sees and a reader would otherwise have to trust."""

from __future__ import annotations

import ast
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from pydantic import BaseModel

import colonnade
from colonnade import wiring
from colonnade.store import database

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "colonnade"
MODULES = sorted(SOURCE.rglob("*.py"))
ENGINES = (
    "alembic", "dataframely", "deltalake", "fastapi", "lightgbm", "mlflow", "numpy", "onnx",
    "onnxruntime", "pandas", "polars", "pyarrow", "pydantic", "ray", "scipy", "sklearn",
    "sqlalchemy", "torch", "uvicorn",
)  # fmt: skip


def _loaded(statement):
    """The top-level modules that a fresh process has after a statement."""
    script = (
        f"{statement}\nimport sys; print(*sorted({{m.partition('.')[0] for m in sys.modules}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_the_package_loads_no_engine():
    assert _loaded("import colonnade").isdisjoint(ENGINES)


def test_the_command_line_loads_no_engine_before_it_needs_one():
    assert _loaded("import colonnade.cli.main").isdisjoint(ENGINES)


def test_records_and_base_load_no_engine():
    statement = "\n".join(
        f"import colonnade.{folder}.{module.name}"
        for folder in ("base", "records")
        for module in pkgutil.iter_modules([str(SOURCE / folder)])
    )
    assert _loaded(statement).isdisjoint(ENGINES)


def test_the_public_names_are_few_and_all_there():
    assert len(colonnade.__all__) <= 25
    assert sorted(colonnade.__all__) == list(dir(colonnade)) == sorted(colonnade._HOME)
    for name in colonnade.__all__:
        assert getattr(colonnade, name).__name__ == name
    with pytest.raises(AttributeError, match="'Projekt'"):
        _ = colonnade.Projekt


def test_every_public_name_says_what_it_is():
    assert all(getattr(colonnade, name).__doc__ for name in colonnade.__all__)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_module_has_a_docstring_and_lazy_annotations(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    if len(tree.body) > 1:
        assert ast.unparse(tree.body[1]) == "from __future__ import annotations"


def _migrations():
    return ScriptDirectory(str(SOURCE / "store" / "migrations"))


def test_the_newest_migration_is_the_one_that_the_program_asks_for():
    assert _migrations().get_heads() == [database.REVISION]
    revisions = [script.revision for script in _migrations().walk_revisions()]
    assert revisions == sorted(revisions, reverse=True)  # a newer database is told by order


def _rows(page):
    """The first cell of every row of the page's tables."""
    text = (ROOT / "docs" / page).read_text()
    cells = re.findall(r"^\| *`?([^|`]+?)`? *\|", text, flags=re.MULTILINE)
    return [cell for cell in cells if cell.strip("-")]


def test_every_error_code_is_in_the_documentation_and_no_other():
    code = re.compile(r"CN-[A-Z0-9]+-[0-9]{3}")
    used = {found for path in MODULES for found in code.findall(path.read_text())}
    listed = [cell for cell in _rows("errors.md") if code.fullmatch(cell)]
    assert used - set(listed) == set()
    assert set(listed) - used == set()
    assert len(listed) == len(set(listed))


def _settings(model, prefix=""):
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _settings(kind, f"{prefix}{name}.")
        else:
            yield prefix + name


def test_every_setting_is_in_the_documentation_and_no_other():
    listed = _rows("settings.md")
    assert sorted(listed[1:]) == sorted(_settings(wiring.Settings))


def test_the_documented_defaults_are_the_real_ones():
    text = (ROOT / "docs" / "settings.md").read_text()
    for name, field in wiring.ServingSettings.model_fields.items():
        assert f"| `serving.{name}` | `{field.default}` |" in text
