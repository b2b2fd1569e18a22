"""The user's code: a project's folder, imported, and the modules of its own that came along.

The modules beside ``project.py`` keep their plain names (``import helpers``), and those names
are the process's, not the project's. So a load lets go of the modules of every project loaded
before, and remembers its own; functions that are held go on to work.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.machinery
import importlib.util
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final

from colonnade.base.errors import ColonnadeError, UsageError
from colonnade.project import Project

PROJECT_FILE: Final = "project.py"

_PREFIX = "colonnade_project_"
_REMEMBERED = "__colonnade_modules__"
_INSTALLED = ("site-packages", "dist-packages")
_PLATFORM = tuple(
    Path(path).resolve()
    for path in (
        sysconfig.get_path("stdlib"),
        sysconfig.get_path("platstdlib"),
        str(Path(__file__).parents[1]),
    )
)
_TEXT_LIMIT = 300


class CodeError(UsageError):
    """The user's code failed.

    Args:
        traceback: what Python says of it, with the frames of the user's files alone. It is for
            the user's screen, before the message, and not for a log: an exception's text may
            quote the user's data.
    """

    def __init__(self, code: str, message: str, fix: str, traceback: str = "") -> None:
        super().__init__(code, message, fix)
        self.traceback = traceback


def load(folder: Path) -> Project:
    """Import ``project.py`` of a folder and return the project that it declares, checked.

    The modules beside it can be imported. Loading again reads all of it anew.

    Raises:
        UsageError: CN-PROJECT-001, there is no ``project.py``; CN-PROJECT-003, it holds no
            Project; CN-PROJECT-004, it holds several; what a declaration raises, with its line.
        CodeError: CN-PROJECT-002, importing it raises.
    """
    root = folder.resolve()
    path = root / PROJECT_FILE
    if not path.is_file():
        raise UsageError(
            "CN-PROJECT-001",
            f"{root} has no {PROJECT_FILE}",
            "go into a project's folder, or make one: colonnade init my_project",
        )
    project = _only_project(path, _import(path))
    if any(table.query is not None for table in project.tables.values()):
        from colonnade.compute.query import read_queries  # noqa: PLC0415 (it loads the engine)

        read_queries(project, root)
    project.check()
    return project


def loaded_modules(root: Path) -> Mapping[str, ModuleType]:
    """The modules of the project in `root` as `load` found them, by the name of their import.

    ``project.py`` goes by ``project``. What a function imports while it runs is not among them;
    of a folder that was not loaded, they are those that are imported now.
    """
    main = sys.modules.get(_module_name(root))
    remembered: Mapping[str, ModuleType] | None = vars(main).get(_REMEMBERED) if main else None
    return _imported(root) if remembered is None else remembered


def local_files(root: Path) -> tuple[Path, ...]:
    """The files of the project in `root` that are imported right now, sorted."""
    root = root.resolve()
    files = {_file_of(m) for m in (*loaded_modules(root).values(), *_imported(root).values())}
    return tuple(sorted(file for file in files if file is not None))


def is_local(file: Path, root: Path) -> bool:
    """Whether a file is the project's own: below `root`, not hidden there and not installed."""
    if not file.is_relative_to(root):
        return False
    parts = file.relative_to(root).parts
    return not any(part.startswith(".") or part in _INSTALLED for part in parts)


@contextlib.contextmanager
def importable(root: Path) -> Iterator[None]:
    """While it lasts, the modules of `root` can be imported by their plain names."""
    entry = str(root)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the user's code may have taken it away itself
            sys.path.remove(entry)


def loaded_root(file: Path) -> Path | None:
    """The folder of the loaded project that a file belongs to."""
    return next((root for root in _loaded_roots() if is_local(file, root)), None)


def user_frames(error: BaseException) -> tuple[str, str | None]:
    """The traceback of the user's files alone, and ``file:line`` of its innermost frame.

    Frames of this package, of the standard library and of installed packages are left out, also
    from the exceptions that led to this one.
    """
    trace = traceback.TracebackException.from_exception(error)
    _keep_user_frames(trace)
    where = f"{trace.stack[-1].filename}:{trace.stack[-1].lineno}" if trace.stack else None
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{error.filename}:{error.lineno}"
    lines = [line for line in trace.format() if not line.startswith("Traceback (most recent")]
    return "".join(lines), where


def describe(error: BaseException) -> str:
    """An exception in one line: its type and the first line of its text."""
    text = next(iter(str(error).splitlines()), "")
    short = text if len(text) <= _TEXT_LIMIT else text[:_TEXT_LIMIT] + " …"
    return f"{type(error).__name__}: {short}" if short else type(error).__name__


class _Loader(importlib.machinery.SourceFileLoader):
    """Reads the file itself: a cached byte code is as old as the second it was written in."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _import(path: Path) -> ModuleType:
    """Run ``project.py`` as a module with a name of its own."""
    _forget()
    importlib.invalidate_caches()
    name = _module_name(path.parent)
    loader = _Loader(name, str(path))
    spec = importlib.machinery.ModuleSpec(name, loader, origin=str(path))
    spec.has_location = True
    module = importlib.util.module_from_spec(spec)
    # A module beside it that says `from project import project` means this very module.
    sys.modules[name] = sys.modules[path.stem] = module
    try:
        with importable(path.parent):
            loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit(), and what a user derives from BaseException
        _forget()
        del sys.modules[name]
        raise _explained(path, error) from error
    vars(module)[_REMEMBERED] = _imported(path.parent)
    return module


def _explained(path: Path, error: BaseException) -> Exception:
    """What to raise when ``project.py`` raises: a refusal of ours keeps its code, with a line."""
    frames, where = user_frames(error)
    if isinstance(error, UsageError):
        return type(error)(error.code, f"{where or path}: {error.message}", error.fix)
    if isinstance(error, ColonnadeError):
        return error
    return CodeError(
        "CN-PROJECT-002",
        f"{where or path}: {PROJECT_FILE} cannot be imported: {describe(error)}",
        "mend this line; `python project.py` shows the same error",
        frames,
    )


def _only_project(path: Path, module: ModuleType) -> Project:
    found = {id(v): (name, v) for name, v in vars(module).items() if isinstance(v, Project)}
    if not found:
        raise UsageError(
            "CN-PROJECT-003",
            f"{path} holds no Project, expected one",
            'write in it: project = colonnade.Project("name")',
        )
    if len(found) > 1:
        names = ", ".join(name for name, _ in found.values())
        raise UsageError(
            "CN-PROJECT-004",
            f"{path} holds {len(found)} projects ({names}), expected one",
            "keep one, and put the other into a folder of its own",
        )
    return next(iter(found.values()))[1]


def _module_name(root: Path) -> str:
    return _PREFIX + hashlib.sha256(str(root).encode()).hexdigest()[:16]


def _loaded_roots() -> list[Path]:
    files = [
        _file_of(module) for name, module in sys.modules.copy().items() if name.startswith(_PREFIX)
    ]
    return [file.parent for file in files if file is not None]


def _imported(root: Path) -> dict[str, ModuleType]:
    """What the process's names stand for right now, of the project in `root`."""
    return {
        name: module
        for name, module in sys.modules.copy().items()
        if not name.startswith(_PREFIX)
        and (place := _file_of(module) or _folder_of(module)) is not None
        and is_local(place, root)
    }


def _forget() -> None:
    """Let go of the plain names of every loaded project's modules."""
    for root in _loaded_roots():
        for name in _imported(root):
            del sys.modules[name]


def _file_of(module: ModuleType | None) -> Path | None:
    """The source file of a module, as it was imported (`load` imports from a resolved folder)."""
    file = vars(module).get("__file__") if isinstance(module, ModuleType) else None
    return Path(file) if isinstance(file, str) and file.endswith(".py") else None


def _folder_of(module: ModuleType | None) -> Path | None:
    """The folder of a package, which may have no file."""
    folders = vars(module).get("__path__") if isinstance(module, ModuleType) else None
    return next(map(Path, folders), None) if folders else None


def _keep_user_frames(trace: traceback.TracebackException) -> None:
    trace.stack[:] = [frame for frame in trace.stack if _is_user_file(frame.filename)]
    for other in (trace.__cause__, trace.__context__, *_grouped(trace)):
        if other is not None:
            _keep_user_frames(other)


def _grouped(trace: traceback.TracebackException) -> Iterable[traceback.TracebackException]:
    return getattr(trace, "exceptions", None) or ()


def _is_user_file(filename: str) -> bool:
    if filename.startswith("<"):
        return False
    path = Path(filename).resolve()
    if any(part in _INSTALLED for part in path.parts):
        return False
    return not any(path.is_relative_to(place) for place in _PLATFORM)
