from __future__ import annotations

import importlib.metadata
import json
import pickle
import platform
import subprocess
import sys

import msgspec
import pytest

from colonnade.base.errors import RefusedError
from colonnade.compute import code
from colonnade.compute.code import CodeError
from colonnade.compute.digest import CodeDigest
from colonnade.compute.task import StepKey, environment, run_user_code, step_key, why

CODE = CodeDigest(digest="c1", parts={"function departures": "f1", "function clean": "f2"})
INPUTS = {"flights": "flights@3", "weather": "weather@1"}
SETTINGS = {"seed": 7, "features": ("hour", "carrier"), "time": None, "holdout": 0.2}
ENVIRONMENT = {"python": "3.11.2", "polars": "2.1"}


def key(code=CODE, inputs=INPUTS, settings=SETTINGS, environment=ENVIRONMENT):
    return step_key(code, inputs, settings, environment)


def test_equal_parts_make_equal_keys_in_any_order():
    turned = key(settings=dict(reversed(SETTINGS.items())), inputs=dict(reversed(INPUTS.items())))
    assert turned.digest == key().digest
    assert why(key(), turned) == []


@pytest.mark.parametrize(
    "other",
    [
        key(code=CodeDigest(digest="c2")),
        key(inputs=INPUTS | {"flights": "flights@4"}),
        key(settings=SETTINGS | {"seed": 8}),
        key(environment=ENVIRONMENT | {"polars": "2.2"}),
    ],
)
def test_every_part_changes_the_key(other):
    assert other.digest != key().digest


def test_a_key_survives_json():
    data = msgspec.json.encode(key())
    assert msgspec.json.decode(data, type=StepKey) == key()


def test_why_says_in_plain_words_what_changed():
    changed = key(
        code=CodeDigest(digest="c2", parts=CODE.parts | {"function clean": "f3"}),
        inputs={"flights": "flights@4", "planes": "planes@1"},
        settings=SETTINGS | {"seed": 8},
        environment=ENVIRONMENT | {"polars": "2.2"},
    )
    assert why(key(), changed) == [
        "input flights is now flights@4, was flights@3",
        "input planes is new: planes@1",
        "input weather is gone, was weather@1",
        "function clean changed",
        "setting seed is now 8, was 7",
        "polars is now 2.2, was 2.1",
    ]


def test_why_says_that_a_step_is_new():
    assert why(None, key()) == ["it was not done before"]


def test_the_environment_names_the_versions_and_the_lock_file(tmp_path):
    lock = tmp_path / "requirements.lock"
    plain = environment(None)
    assert plain["python"] == platform.python_version()
    assert plain["polars"] == importlib.metadata.version("polars")
    assert environment(lock) == plain
    lock.write_text("polars==2.1")
    first = environment(lock)
    lock.write_text("polars==2.2")
    assert first["lock file"] != environment(lock)["lock file"]


def test_the_environment_imports_no_package():
    script = (
        "import sys\n"
        "from colonnade.compute.task import environment\n"
        "environment(None)\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert not {"polars", "numpy", "sklearn", "lightgbm"} & set(done.stdout.split())


def test_a_users_function_gets_its_arguments_and_gives_its_result():
    assert run_user_code("table departures", lambda a, *, what: (a, what), 1, what=2) == (1, 2)


def failing(text):
    return json.loads(text)


def caught(function, *args):
    with pytest.raises(CodeError) as info:
        run_user_code("table departures", function, *args)
    assert info.value.code == "CN-CODE-001"
    return info.value


def test_a_users_exception_is_told_with_the_step_the_line_and_the_users_frames_alone():
    error = caught(failing, "{")
    line = failing.__code__.co_firstlineno + 1
    assert error.message.startswith(f"table departures failed at {__file__}:{line}: JSONDecodeErr")
    assert "return json.loads(text)" in error.traceback
    assert "decoder.py" not in error.traceback
    assert "task.py" not in error.traceback.replace("test_compute_task.py", "")
    assert isinstance(error.__cause__, json.JSONDecodeError)


def test_an_exception_keeps_the_one_that_led_to_it():
    def wrapped():
        try:
            failing("{")
        except ValueError as error:
            raise RuntimeError("no flights") from error

    error = caught(wrapped)
    assert "JSONDecodeError" in error.traceback
    assert "direct cause" in error.traceback
    assert "decoder.py" not in error.traceback


def test_exceptions_of_a_group_are_shown_with_the_users_frames_alone():
    def grouped():
        try:
            failing("{")
        except ValueError as error:
            raise ExceptionGroup("several", [error]) from None

    error = caught(grouped)
    assert "JSONDecodeError" in error.traceback
    assert "decoder.py" not in error.traceback


def test_a_call_that_does_not_fit_is_told_with_the_functions_own_line():
    error = caught(failing)
    assert f"{__file__}:{failing.__code__.co_firstlineno}" in error.message


@pytest.mark.parametrize("kind", [SystemExit, type("Panic", (BaseException,), {})])
def test_a_panic_or_an_exit_is_an_error_of_the_step(kind):
    def leave():
        raise kind("gone")

    assert f"{kind.__name__}: gone" in caught(leave).message


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RefusedError("CN-X-001", "no", "ask")])
def test_an_interrupt_and_our_own_refusals_pass_through(error):
    def stop():
        raise error

    with pytest.raises(type(error)) as info:
        run_user_code("table departures", stop)
    assert info.value is error


def test_a_code_error_travels_between_processes():
    error = pickle.loads(pickle.dumps(caught(failing, "{")))
    assert (error.code, "json.loads" in error.traceback) == ("CN-CODE-001", True)


def test_an_import_inside_a_function_finds_the_modules_of_its_project(tmp_path):
    (tmp_path / "lazy_helpers.py").write_text("def clean(rows): return sorted(rows)")
    (tmp_path / "project.py").write_text(
        "from colonnade.project import Project\n"
        "project = Project('flights')\n"
        "project.source('flights', 'flights.csv')\n"
        "@project.table()\n"
        "def departures(flights):\n"
        "    import lazy_helpers\n"
        "    return lazy_helpers.clean(flights)\n"
    )
    departures = code.load(tmp_path).tables["departures"].function
    path = list(sys.path)
    assert run_user_code("table departures", departures, [2, 1]) == [1, 2]
    assert sys.path == path
    assert (tmp_path / "lazy_helpers.py").resolve() in code.local_files(tmp_path)
    code._forget()
