from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from textwrap import dedent

import pytest

from colonnade.base.errors import UsageError
from colonnade.compute import code
from colonnade.compute.digest import code_digest, explain

HEADER = """
from colonnade.project import Project

project = Project("flights")
project.source("flights", "flights.csv")
"""

MAIN = """
import helpers
from helpers import CUT as cut

LIMITS = {"low": 1, "high": 2}

@project.table(key="id")
def departures(flights):
    \"\"\"What it does.\"\"\"
    unused = 1
    return [helpers.clean(row) for row in flights if LIMITS["low"] < row < cut]

def unrelated():
    return 0
"""

HELPERS = """
CUT = 15

def clean(row):
    return _inner(row) + 1

def _inner(row):
    return row * 2

class Other:
    pass
"""


@pytest.fixture(autouse=True)
def forget_projects():
    yield
    code._forget()
    for name in [name for name in sys.modules if name.startswith(code._PREFIX)]:
        del sys.modules[name]


class Folder:
    """A project's folder whose files a test rewrites."""

    def __init__(self, root):
        self.root = root

    def digest(self, main=MAIN, files=None, name="departures"):
        for file, text in {"project": HEADER + dedent(main), **(files or {})}.items():
            path = self.root / f"{file}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text))
        project = code.load(self.root)
        return code_digest(project.tables[name].function, self.root)

    def changed(self, before, after, main=MAIN):
        """What changes between two sets of files beside one ``project.py``."""
        return explain(self.digest(main, before).parts, self.digest(main, after).parts)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "flights")


def test_a_digest_is_built_of_everything_that_is_reached_and_nothing_else(folder):
    assert list(folder.digest(files={"helpers": HELPERS}).parts) == [
        "constant LIMITS",
        "constant helpers.CUT",
        "function departures",
        "function helpers._inner",
        "function helpers.clean",
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""What it does."""', '"""Says it differently."""'),
        ('    """What it does."""\n', ""),
        ("    unused = 1\n", "    # a comment\n    unused    =  1\n\n"),
        ("return 0", "return 'another unrelated function'"),
        ('key="id"', 'key=["id", "day"], time="day"'),
        ("1, ", "1,  # one\n    "),
    ],
)
def test_what_does_not_change_what_is_done_keeps_the_digest(folder, old, new):
    assert old in MAIN
    before = folder.digest(files={"helpers": HELPERS})
    assert folder.digest(MAIN.replace(old, new), {"helpers": HELPERS}) == before


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("row * 2", "row * 3", "function helpers._inner changed"),
        ("_inner(row) + 1", "_inner(row) + 2", "function helpers.clean changed"),
        ("CUT = 15", "CUT = 16", "constant helpers.CUT changed"),
    ],
)
def test_a_change_in_a_helper_of_a_helper_is_seen(folder, old, new, sentence):
    changed = {"helpers": HELPERS.replace(old, new)}
    assert folder.changed({"helpers": HELPERS}, changed) == [sentence]
    before = folder.digest(files={"helpers": HELPERS})
    assert folder.digest(files=changed).digest != before.digest


def test_the_value_of_a_constant_counts_and_not_only_how_it_is_written(folder, monkeypatch):
    helpers = {"helpers": "import os\nCUT = os.environ['CUT']\ndef clean(row): return row"}
    monkeypatch.setenv("CUT", "15")
    before = folder.digest(files=helpers)
    assert folder.digest(files=helpers) == before
    monkeypatch.setenv("CUT", "16")
    assert folder.digest(files=helpers) != before


def test_a_constant_that_is_filled_below_its_line_counts_with_what_it_holds(folder):
    main = "COLUMNS = ['a']\n{}\n@project.table()\ndef departures(flights): return COLUMNS"
    assert folder.digest(main.format("")) != folder.digest(main.format("COLUMNS.append('b')"))


def test_a_global_in_the_shade_of_a_local_name_does_not_count(folder):
    main = """
        rows = {}
        @project.table()
        def departures(flights):
            rows = flights
            return [rows for rows in rows]
    """
    digest = folder.digest(main.replace("{}", "1"))
    assert list(digest.parts) == ["function departures"]
    assert folder.digest(main.replace("{}", "2")) == digest


def test_the_digest_is_the_same_in_another_process_and_another_copy(folder, tmp_path):
    main = """
        from pathlib import Path
        FILE = Path(__file__).parent / "limits.txt"
        WORDS = {"late", "early", "cancelled"}
        @project.table()
        def departures(flights):
            return flights, FILE, WORDS
    """
    here = folder.digest(main)
    copied = shutil.copytree(folder.root, tmp_path / "another" / "copy")
    script = (
        "import sys, pathlib\n"
        "from colonnade.compute import code, digest\n"
        "root = pathlib.Path(sys.argv[1])\n"
        "function = code.load(root).tables['departures'].function\n"
        "print(digest.code_digest(function, root).digest)"
    )
    there = subprocess.run(
        [sys.executable, "-c", script, str(copied)],
        env=os.environ | {"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == here.digest


def test_the_digest_does_not_change_when_another_project_is_loaded(folder, tmp_path):
    before = folder.digest(files={"helpers": HELPERS})
    function = code.load(folder.root).tables["departures"].function
    other = Folder(tmp_path / "other")
    other.digest(files={"helpers": HELPERS.replace("15", "99")})
    assert code_digest(function, folder.root) == before


@pytest.mark.parametrize(
    "imports",
    [
        "from pkg.rules import clean",
        "from pkg import rules\nclean = rules.clean",
        "import pkg.rules\ndef clean(x): return pkg.rules.clean(x)",
        "import pkg.rules as r\ndef clean(x): return r.clean(x)",
        "from pkg import clean",
        "from pkg.everything import *",
        "def clean(x):\n    from pkg.rules import clean as c\n    return c(x)",
        "def clean(x):\n    import pkg.rules\n    return pkg.rules.clean(x)",
        "try:\n    from pkg.rules import clean\nexcept ImportError:\n    clean = None",
        "import pkg.rules\ndef clean(x): return getattr(pkg.rules, 'cle' + 'an')(x)",
    ],
)
def test_every_way_to_import_a_helper_is_followed(folder, imports):
    main = f"{imports}\n@project.table()\ndef departures(flights): return clean(flights)"
    files = {
        "pkg/__init__": "from .rules import clean",
        "pkg/everything": "from .rules import *",
        "pkg/rules": "from . import deep\ndef clean(x): return deep.inner(x)",
        "pkg/deep/__init__": "from ..depth import inner",
        "pkg/depth": "def inner(x): return 1",
    }
    changed = files | {"pkg/depth": "def inner(x): return 2"}
    assert folder.changed(files, changed, main) == ["function pkg.depth.inner changed"]


def test_a_folder_without_an_init_file_is_followed(folder):
    main = "import pkg.rules\n@project.table()\ndef departures(flights): return pkg.rules.clean(1)"
    files = {"pkg/rules": "def clean(x): return 1"}
    changed = {"pkg/rules": "def clean(x): return 2"}
    assert folder.changed(files, changed, main) == ["function pkg.rules.clean changed"]


def test_installed_packages_are_not_looked_into(folder):
    main = "import json\n@project.table()\ndef departures(flights): return json.dumps(len(flights))"
    assert sorted(folder.digest(main).parts) == ["function departures", "import json"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from json import dumps", "from json import loads as dumps"),
        ("from json import dumps", "from pickle import dumps"),
        ("import json as j; from json import dumps", "import json as j; from pickle import dumps"),
    ],
)
def test_a_name_that_is_imported_from_elsewhere_is_another_step(folder, before, after):
    main = "{}\n@project.table()\ndef departures(flights): return dumps(len(flights))"
    first, second = folder.digest(main.format(before)), folder.digest(main.format(after))
    assert first.parts.keys() == second.parts.keys() == {"function departures", "import dumps"}
    assert first.digest != second.digest


def test_a_class_counts_with_its_bases_and_methods(folder):
    main = """
        from helpers import Cleaner
        @project.table()
        def departures(flights):
            return Cleaner().clean(flights)
    """
    helpers = """
        class Base:
            factor = 2
        class Cleaner(Base):
            def clean(self, row):
                return scale(row) * self.factor
        def scale(row):
            return row
    """
    parts = folder.digest(main, {"helpers": helpers}).parts
    assert list(parts) == [
        "class helpers.Base",
        "class helpers.Cleaner",
        "function departures",
        "function helpers.scale",
    ]


def test_a_users_own_decorator_counts(folder):
    main = """
        import functools
        def doubled(function):
            @functools.wraps(function)
            def run(*args):
                return {} * function(*args)
            return run

        @project.table()
        @doubled
        def departures(flights):
            return flights

        raw = departures
    """
    digest = folder.digest(main.replace("{}", "2"))
    assert "function doubled" in digest.parts
    assert folder.digest(main.replace("{}", "3")) != digest


def test_a_wrapper_that_is_put_on_by_hand_counts(folder):
    main = """
        import functools
        def doubled(function):
            @functools.wraps(function)
            def run(*args):
                return {} * function(*args)
            return run
        def departures(flights):
            return flights
        project.table()(doubled(departures))
    """
    digest = folder.digest(main.replace("{}", "2"))
    assert sorted(digest.parts) == [
        "function departures",
        "function doubled.run",
        "import functools",
    ]
    assert folder.digest(main.replace("{}", "3")) != digest


def test_closures_and_defaults_count_with_their_values(folder):
    main = """
        class Rule:
            cut = 15
        def add(n):
            return lambda x: x + n
        def make(cut, first, second, rule):
            def departures(flights, *, limit=cut * 2):
                return first(flights) + second(limit), cut, rule, later
            if flights_are_late:
                later = 1
            return departures
        flights_are_late = False
        project.table()(make(CUT, add(FIRST), add(2), Rule()))
    """
    first = folder.digest(main.replace("CUT", "15").replace("FIRST", "1"))
    assert list(first.parts) == [
        "class Rule",
        "closure cut of function make.departures",
        "closure n of function add.<lambda>",
        "default limit of function make.departures",
        "function add.<lambda>",
        "function make.departures",
    ]
    second = folder.digest(main.replace("CUT", "16").replace("FIRST", "1"))
    assert explain(first.parts, second.parts) == [
        "closure cut of function make.departures changed",
        "default limit of function make.departures changed",
    ]
    third = folder.digest(main.replace("CUT", "15").replace("FIRST", "3"))
    assert explain(first.parts, third.parts) == ["closure n of function add.<lambda> changed"]


def test_a_closure_over_a_class_counts_the_class(folder):
    main = """
        from helpers import Cleaner
        def make(cleaner):
            def departures(flights):
                return cleaner().clean(flights)
            return departures
        project.table()(make(Cleaner))
    """
    parts = folder.digest(main, {"helpers": "class Cleaner: pass"}).parts
    assert list(parts) == ["class helpers.Cleaner", "function make.departures"]


def test_functions_that_call_each_other_end(folder):
    main = """
        def even(n): return n == 0 or odd(n - 1)
        def odd(n): return n != 0 and even(n - 1)
        @project.table()
        def departures(flights): return departures, even(flights)
    """
    assert list(folder.digest(main).parts) == [
        "function departures",
        "function even",
        "function odd",
    ]


def test_a_table_that_is_called_as_a_function_counts_without_its_settings(folder):
    main = """
        @project.table(key="{}")
        def raw(flights): return flights
        @project.table()
        def departures(flights): return raw(flights)
    """
    digest = folder.digest(main.replace("{}", "id"))
    assert list(digest.parts) == ["function departures", "function raw"]
    assert folder.digest(main.replace("{}", "day")) == digest


def test_a_constant_that_is_no_plain_value_counts_as_it_is_written(folder):
    main = """
        import re
        PATTERNS = [re.compile("a")]
        LOOP = []
        LOOP.append(LOOP)
        @project.table()
        def departures(flights): return PATTERNS, LOOP
    """
    digest = folder.digest(main)
    assert folder.digest(main) == digest
    assert folder.digest(main.replace('"a"', '"b"')) != digest


def test_a_function_of_a_library_can_be_declared(folder, tmp_path):
    path = tmp_path / "library.py"
    path.write_text("def departures(flights): return _inner(flights)\ndef _inner(x): return x")
    spec = importlib.util.spec_from_file_location("library", path)
    library = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(library)
    digest = code_digest(library.departures, folder.root)
    assert list(digest.parts) == ["function _inner", "function departures"]


def test_a_file_that_changed_since_its_import_is_refused(folder):
    folder.digest(files={"helpers": HELPERS})
    function = code.load(folder.root).tables["departures"].function
    path = folder.root / "project.py"
    path.write_text("\n" + path.read_text())
    with pytest.raises(UsageError, match="changed after it was imported"):
        code_digest(function, folder.root)
    path.unlink()
    with pytest.raises(UsageError, match="cannot be read"):
        code_digest(function, folder.root)


def test_what_is_not_a_python_function_is_refused(folder):
    with pytest.raises(UsageError, match="not a Python function"):
        code_digest(len, folder.root)


def test_a_file_that_cannot_be_parsed_is_refused(folder):
    main = """
        @project.table()
        def departures(flights):
            import broken
            return broken.clean(flights)
    """
    with pytest.raises(UsageError, match="CN-CODE-002"):
        folder.digest(main, {"broken": "def clean(:"})


def test_the_difference_of_two_digests_is_told_part_by_part():
    old = {"function a": "1", "function b": "1", "function c": "1"}
    new = {"function b": "2", "function c": "1", "function d": "1"}
    assert explain(old, new) == [
        "function a is no longer used",
        "function b changed",
        "function d is new",
    ]
