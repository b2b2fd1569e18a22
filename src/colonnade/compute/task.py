"""One step of work: the key by which it is done once, and the boundary around the user's code.

A step's key is its code, the versions of what it reads, its settings and its environment. Equal
keys mean equal work, so a step whose key is in the ledger is not done again; `why` says in plain
words what makes two keys differ.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import inspect
import json
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from colonnade.base.errors import ColonnadeError
from colonnade.compute.code import CodeError, describe, importable, loaded_root, user_frames
from colonnade.compute.digest import CodeDigest, explain
from colonnade.project import location
from colonnade.records import canonical
from colonnade.records.canonical import Json

PACKAGES: Final = ("polars", "numpy", "scikit-learn", "lightgbm")
"""The packages whose version may change what a step makes."""

_P = ParamSpec("_P")
_T = TypeVar("_T")

LOCK = "requirements.lock"
"""The file of a project that pins its packages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepKey:
    """What a step is made of.

    Attributes:
        digest: SHA-256 over all the rest; the name of the work.
        inputs: what it reads -> the version, such as ``flights@3``.
        settings: what is declared beside the function, such as the seed.
        environment: see `environment`.
    """

    digest: str
    code: CodeDigest
    inputs: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Json] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


def step_key(
    code: CodeDigest,
    inputs: Mapping[str, str],
    settings: Mapping[str, object],
    environment: Mapping[str, str],
) -> StepKey:
    """The key of a step.

    Args:
        code: the digest of its function.
        inputs: what it reads -> the version.
        settings: what is declared beside the function; values that JSON has a form for.
        environment: see `environment`.
    """
    plain: dict[str, Json] = json.loads(canonical.encode(dict(settings)))
    digest = canonical.digest([code.digest, dict(inputs), plain, dict(environment)])
    return StepKey(
        digest=digest,
        code=code,
        inputs=dict(inputs),
        settings=plain,
        environment=dict(environment),
    )


def why(previous: StepKey | None, current: StepKey) -> list[str]:
    """Why a step is done again, one plain sentence a reason; empty if it need not be.

    Args:
        previous: the key of the last time; None if there was none.
        current: the key of this time.
    """
    if previous is None:
        return ["it was not done before"]
    return [
        *_changes("input ", previous.inputs, current.inputs),
        *explain(previous.code.parts, current.code.parts),
        *_changes("setting ", _texts(previous.settings), _texts(current.settings)),
        *_changes("", previous.environment, current.environment),
    ]


def environment(lock: Path | None) -> dict[str, str]:
    """What the work runs on: Python, the packages that matter (not imported), the lock file.

    Args:
        lock: the project's lock file; nothing is said of it where there is none.
    """
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    if lock is not None and lock.is_file():
        found["lock file"] = canonical.sha256(lock.read_bytes())[:16]
    return found


def run_user_code(
    what: str, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
) -> _T:
    """Call a function of the user.

    Args:
        what: the step, as a person calls it: ``table departures``.
        function: what to call.
        *args: passed on.
        **kwargs: passed on.

    Raises:
        CodeError: CN-CODE-001, it raised; with the user's own traceback.
        ColonnadeError: what our own functions raise when the user's code calls them.
    """
    try:
        with _importable_beside(function):
            return function(*args, **kwargs)
    except (KeyboardInterrupt, ColonnadeError):
        raise
    except BaseException as error:  # a panic of an engine, or sys.exit(), is no Exception
        frames, where = user_frames(error)
        raise CodeError(
            "CN-CODE-001",
            f"{what} failed at {where or location(function)}: {describe(error)}",
            "mend this line; what was done before it is not done again",
            frames,
        ) from error


@contextlib.contextmanager
def _importable_beside(function: Callable[..., object]) -> Iterator[None]:
    """Imports inside a function find the modules of its project, as those at the top did."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    root = loaded_root(Path(code.co_filename)) if code else None
    with importable(root) if root else contextlib.nullcontext():
        yield


def _changes(kind: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*old, *new}):
        if name not in new:
            yield f"{kind}{name} is gone, was {old[name]}"
        elif name not in old:
            yield f"{kind}{name} is new: {new[name]}"
        elif old[name] != new[name]:
            yield f"{kind}{name} is now {new[name]}, was {old[name]}"


def _texts(settings: Mapping[str, Json]) -> dict[str, str]:
    return {name: json.dumps(value, sort_keys=True) for name, value in settings.items()}
