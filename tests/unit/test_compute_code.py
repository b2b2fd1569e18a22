from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent

import pytest

from colonnade.base.errors import RefusedError, UsageError
from colonnade.compute import code
from colonnade.compute.code import CodeError, is_local, load, local_files

PROJECT = """
    from colonnade.project import Project
    import helpers

    project = Project("flights")
    project.source("flights", "landing/*.csv")

    @project.table(key="id")
    def departures(flights):
        return helpers.clean(flights)
"""


@pytest.fixture(autouse=True)
def forget_projects():
    yield
    code._forget()
    for name in [name for name in sys.modules if name.startswith(code._PREFIX)]:
        del sys.modules[name]


@pytest.fixture
def write(tmp_path):
    def write(folder="flights", **files):
        for name, text in files.items():
            path = tmp_path / folder / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text))
        return tmp_path / folder

    return write


def refused(number, folder):
    with pytest.raises(UsageError) as caught:
        load(folder)
    assert caught.value.code == number
    return caught.value


def test_a_project_is_loaded_with_the_modules_beside_it(write):
    folder = write(project=PROJECT, helpers="def clean(rows): return sorted(rows)")
    path = list(sys.path)
    project = load(folder)
    assert project.name == "flights"
    assert project.tables["departures"].function([2, 1]) == [1, 2]
    assert sys.path == path


def test_the_imported_files_of_a_project_are_told(write):
    folder = write(
        project=PROJECT,
        helpers="from shared import rules\ndef clean(rows): return rules.clean(rows)",
        unused="raise RuntimeError",
        **{"shared/__init__": "", "shared/rules": "def clean(rows): return rows"},
    )
    load(folder)
    names = [file.relative_to(folder).as_posix() for file in local_files(folder)]
    assert names == ["helpers.py", "project.py", "shared/__init__.py", "shared/rules.py"]


def test_two_projects_each_keep_their_own_helpers(write):
    first = load(write("first", project=PROJECT, helpers="def clean(rows): return 'first'"))
    second = load(write("second", project=PROJECT, helpers="def clean(rows): return 'second'"))
    assert first is not second
    assert first.tables["departures"].function([]) == "first"
    assert second.tables["departures"].function([]) == "second"


def test_a_changed_helper_is_read_by_the_next_load(write):
    folder = write(project=PROJECT, helpers="def clean(rows): return 1")
    load(folder)
    write(helpers="def clean(rows): return 'changed'")
    assert load(folder).tables["departures"].function([]) == "changed"


def test_a_project_may_spread_over_modules_that_import_it(write):
    folder = write(
        project="""
            from colonnade.project import Project
            project = Project("flights")
            import tables
        """,
        tables="""
            from project import project
            project.source("flights", "flights.csv")
            @project.table()
            def departures(flights):
                return flights
        """,
    )
    assert list(load(folder).tables) == ["departures"]


def test_a_folder_without_a_project_is_refused(tmp_path):
    assert str(tmp_path) in refused("CN-PROJECT-001", tmp_path).message


def test_a_file_without_a_project_is_refused(write):
    refused("CN-PROJECT-003", write(project="x = 1"))


def test_a_file_with_two_projects_is_refused_but_not_one_with_two_names(write):
    two = "from colonnade.project import Project\na = Project('a')\nb = {}"
    assert "(a, b)" in refused("CN-PROJECT-004", write(project=two.format("Project('b')"))).message
    assert load(write(project=two.format("a"))).name == "a"


def test_an_exception_at_import_is_told_with_its_line_and_the_users_frames_alone(write):
    folder = write(project=PROJECT, helpers="import json\njson.loads('{')")
    error = refused("CN-PROJECT-002", folder)
    assert isinstance(error, CodeError)
    assert f"{folder / 'helpers.py'}:2: project.py cannot be imported: JSONDecodeError" in (
        error.message
    )
    assert error.traceback.count("File ") == 2
    assert f'"{folder / "project.py"}", line 3' in error.traceback
    assert "importlib" not in error.traceback
    assert "json/decoder.py" not in error.traceback


def test_a_syntax_error_is_told_with_its_line(write):
    folder = write(project="from colonnade.project import Project\nproject = Project('a'")
    error = refused("CN-PROJECT-002", folder)
    assert f"{folder / 'project.py'}:2: project.py cannot be imported: SyntaxError" in error.message
    assert "project = Project('a'" in error.traceback


def test_an_exit_at_import_is_an_error(write):
    assert (
        "SystemExit" in refused("CN-PROJECT-002", write(project="import sys\nsys.exit()")).message
    )


def test_a_wrong_declaration_keeps_its_code_and_gets_its_line(write):
    folder = write(project="from colonnade.project import Project\nproject = Project('Wrong Name')")
    error = refused("CN-NAME-001", folder)
    assert error.message.startswith(f"{folder / 'project.py'}:2: project name")


def test_a_refusal_of_ours_passes_through_the_import(write):
    folder = write(
        project="from colonnade.base import errors\nraise errors.RefusedError('', '', '')"
    )
    with pytest.raises(RefusedError):
        load(folder)


def test_declarations_are_checked_together_after_the_import(write):
    folder = write(project=PROJECT.replace("def departures(flights)", "def departures(flihgts)"),
                   helpers="")  # fmt: skip
    error = refused("CN-PROJECT-005", folder)
    assert error.message.startswith(f"{folder / 'project.py'}:8: table departures reads")
    assert error.fix == "did you mean 'flights'?"


def test_a_failed_load_leaves_no_modules_behind(write):
    folder = write(project=PROJECT + "\n    raise RuntimeError", helpers="")
    refused("CN-PROJECT-002", folder)
    assert "helpers" not in sys.modules
    assert local_files(folder) == ()


@pytest.mark.parametrize(
    ("file", "local"),
    [
        ("project.py", True),
        ("shared/rules.py", True),
        (".venv/lib/x.py", False),
        ("env/lib/python3.11/site-packages/x.py", False),
    ],
)
def test_installed_and_hidden_files_are_not_the_projects_own(file, local):
    root = Path("/somewhere/.hidden/flights")
    assert is_local(root / file, root) is local
    assert not is_local(root.parent / file, root)


def test_a_long_exception_text_is_cut():
    assert len(code.describe(ValueError("x" * 10_000))) < 400
    assert code.describe(ValueError("first\nsecond")) == "ValueError: first"
    assert code.describe(KeyboardInterrupt()) == "KeyboardInterrupt"
