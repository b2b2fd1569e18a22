"""What a function's code is, as a digest: the function and every name of the project it reaches.

The code is read as syntax, not as text: comments, docstrings and layout do not count, nor do the
decorators that declare a table or a model (their settings are inputs of the step's key on their
own). What counts, from function to function through the modules of the project: functions,
classes, module-level assignments with the plain values they have now, closures and defaults.
What is installed is not looked into; its versions are (see `task.environment`). A module that is
passed on as a whole (``getattr(helpers, name)``) counts as a whole.

Digests belong right behind `code.load`: the files then are what was imported, and nothing has
run that could have filled a module's variables.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, ModuleType

from colonnade.base.errors import UsageError
from colonnade.compute import syntax
from colonnade.compute.code import is_local, loaded_modules
from colonnade.compute.syntax import Chain
from colonnade.records import canonical

_MAX_DEPTH = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeDigest:
    """The digest of a function's code.

    Attributes:
        digest: SHA-256 over the parts.
        parts: what it was built of, such as ``function helpers.clean`` -> SHA-256; names of the
            function's own module stand without a module.
    """

    digest: str
    parts: dict[str, str] = field(default_factory=dict)


def code_digest(function: Callable[..., object], root: Path) -> CodeDigest:
    """The digest of a function of the project in the folder `root`.

    It is the same in another process and in another copy of the folder.

    Raises:
        UsageError: CN-CODE-002, the source of something that it reaches cannot be read.
    """
    walk = _Walk(root.resolve())
    walk.declared(function)
    parts = dict(sorted(walk.parts.items()))
    return CodeDigest(digest=canonical.digest(parts), parts=parts)


def explain(old_parts: Mapping[str, str], new_parts: Mapping[str, str]) -> list[str]:
    """What changed from one digest to another, one sentence a part.

    >>> explain({"function clean": "a1", "constant CUT": "b1"}, {"function clean": "a2"})
    ['constant CUT is no longer used', 'function clean changed']
    """
    sentences = []
    for part in sorted({*old_parts, *new_parts}):
        if part not in new_parts:
            sentences.append(f"{part} is no longer used")
        elif part not in old_parts:
            sentences.append(f"{part} is new")
        elif old_parts[part] != new_parts[part]:
            sentences.append(f"{part} changed")
    return sentences


@dataclass(frozen=True, slots=True, kw_only=True)
class _Module:
    """The syntax of one module and, where it is imported, its variables."""

    path: Path
    package: Chain
    namespace: Mapping[str, object]
    tree: ast.Module = field(default_factory=lambda: ast.Module([], []))
    bindings: Mapping[str, Sequence[ast.stmt]] = field(default_factory=dict)


class _Walk:
    """From one function to everything of the project that it reaches."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.parts: dict[str, str] = {}
        self.loaded = loaded_modules(root)
        self.modules: dict[Path, _Module] = {}
        self.seen: set[tuple[object, ...]] = set()
        self.own: Path | None = None

    def declared(self, function: Callable[..., object]) -> None:
        """The declared function, which a library may hold too, and what wraps it."""
        innermost = inspect.unwrap(function)
        if not isinstance(innermost, FunctionType):
            raise _unreadable(repr(function), "it is not a Python function")
        self.own = Path(innermost.__code__.co_filename)
        self.function(innermost)
        while function is not innermost:
            self.value("", function)
            function = getattr(function, "__wrapped__", innermost)

    def function(self, function: FunctionType) -> None:
        """A function object: its code, its closure, its defaults."""
        if (id(function),) in self.seen:
            return
        self.seen.add((id(function),))
        code = function.__code__
        module = self.module_at(Path(code.co_filename), function.__globals__)
        nodes = [syntax.plain(n, module.namespace) for n in syntax.nodes_of(module.tree, code)]
        if not nodes:
            raise _unreadable(code.co_qualname, "its file changed after it was imported")
        part = f"function {self.label(module, code.co_qualname.replace('.<locals>', ''))}"
        self.record(part, map(ast.unparse, nodes))
        for node in nodes:
            self.node(module, node)
        for variable, value in _captured(function):
            self.value(f"{variable} of {part}", value)

    def value(self, part: str, value: object) -> None:
        """A value that a function holds, as far as it can be named: of others, their class."""
        if isinstance(value, FunctionType):
            if is_local(Path(value.__code__.co_filename), self.root):
                self.function(value)
        elif isinstance(value, type):
            self.type(value)
        elif (text := _text_of(value)) is not None:
            self.record(part, [self.portable(text)])
        else:
            self.type(type(value))

    def type(self, value: type) -> None:
        """A class object, if it is the project's."""
        module = self.loaded.get(value.__module__) or sys.modules.get(value.__module__)
        path = _path_of(module)
        if module is not None and path is not None and is_local(path, self.root):
            name = value.__qualname__.partition(".")[0]
            self.name(self.module_at(path, vars(module)), name, ())

    def node(self, module: _Module, node: ast.AST) -> None:
        """Everything that a piece of syntax reads from its module or imports by itself."""
        chains = syntax.chains(node)
        for name in sorted(syntax.read_from_outside(node)):
            for chain in sorted(chains.get(name, ())):
                self.name(module, name, chain)
        for statement in ast.walk(node):
            if isinstance(statement, syntax.IMPORTS):
                for alias in statement.names:
                    for chain in sorted(chains.get(syntax.bound_by(alias), ())):
                        self.imported(module, statement, alias, chain)

    def name(self, module: _Module, name: str, chain: Chain) -> None:
        """A name of a module, and the attributes that are read from it."""
        if name not in module.bindings:
            for star in _stars(module.tree):
                self.path(_source_of(star, module), (name, *chain))
            return
        for statement in module.bindings[name]:
            if isinstance(statement, syntax.IMPORTS):
                for alias in statement.names:
                    if syntax.bound_by(alias) == name:
                        self.imported(module, statement, alias, chain)
        if (module.path, name) not in self.seen:
            self.seen.add((module.path, name))
            self.binding(module, name)

    def binding(self, module: _Module, name: str) -> None:
        """What a module binds to a name, imports aside: the syntax, and the plain value it has."""
        statements = [s for s in module.bindings[name] if not isinstance(s, syntax.IMPORTS)]
        if not statements:
            return
        nodes = [syntax.plain(statement, module.namespace) for statement in statements]
        texts = [ast.unparse(node) for node in nodes]
        kind = syntax.kind(statements[0])
        if kind == "constant" and name in module.namespace:
            texts.append(self.portable(_text_of(module.namespace[name]) or ""))
        self.record(f"{kind} {self.label(module, name)}", texts)
        for node in nodes:
            self.node(module, node)

    def imported(
        self,
        module: _Module,
        statement: ast.Import | ast.ImportFrom,
        alias: ast.alias,
        chain: Chain,
    ) -> None:
        """What an import binds: what is installed by its name, what is the project's as it is."""
        source = tuple(alias.name.split("."))
        target = source
        if isinstance(statement, ast.ImportFrom):
            source = _source_of(statement, module)
            target = (*source, alias.name)
        if source and self.find(source[:1]) is None:
            part = f"import {self.label(module, syntax.bound_by(alias))}"
            if (part, target) not in self.seen:
                self.seen.add((part, target))
                self.record(part, target)
        elif isinstance(statement, ast.ImportFrom):
            named = () if alias.name == "*" else (alias.name, *chain)
            self.path(source, named)
        elif alias.asname is not None:
            self.path(tuple(alias.name.split(".")), chain)
        else:
            self.path((alias.name.partition(".")[0],), chain)

    def path(self, dotted: Chain, chain: Chain) -> None:
        """The attributes read from a module; all of them, where it is passed on as a whole."""
        if (dotted, chain) in self.seen:
            return
        self.seen.add((dotted, chain))
        module = self.find(dotted)
        if module is None:
            return
        if not chain:
            for name in module.bindings:
                self.name(module, name, ())
        elif chain[0] not in module.bindings and self.find((*dotted, chain[0])) is not None:
            self.path((*dotted, chain[0]), chain[1:])
        else:
            self.name(module, chain[0], chain[1:])

    def find(self, dotted: Chain) -> _Module | None:
        """The module of the project by its dotted name; None for all that is installed."""
        module = self.loaded.get(".".join(dotted))
        path = _path_of(module)
        if module is not None and path is not None:
            return self.module_at(path, vars(module))
        place = self.root.joinpath(*dotted)
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if is_local(file, self.root) and file.is_file():
                return self.module_at(file, {})
        if dotted and place.is_dir() and is_local(place, self.root):
            return _Module(path=place, package=dotted, namespace={})
        return None

    def module_at(self, path: Path, namespace: Mapping[str, object]) -> _Module:
        """The module in a file, read once."""
        if path not in self.modules:
            tree = _parse(path)
            bindings = defaultdict(list)
            for statement in tree.body:
                for name in dict.fromkeys(syntax.bound(statement)):
                    bindings[name].append(statement)
            self.modules[path] = _Module(
                path=path,
                package=self.dotted(path.parent),
                namespace=namespace,
                tree=tree,
                bindings=dict(bindings),
            )
        return self.modules[path]

    def dotted(self, path: Path) -> Chain:
        return path.relative_to(self.root).parts if path.is_relative_to(self.root) else ()

    def label(self, module: _Module, name: str) -> str:
        """How a person calls it: with its module, unless that is the function's own."""
        if module.path == self.own:
            return name
        parts = self.dotted(module.path.with_suffix(""))
        return ".".join((*(part for part in parts if part != "__init__"), name))

    def portable(self, text: str) -> str:
        """Another copy of the folder lies elsewhere, and its code is the same."""
        return text.replace(str(self.root), "<root>")

    def record(self, part: str, texts: Iterable[str]) -> None:
        """Write a part down; two of one name (closures of one factory) become one digest."""
        digest = canonical.digest(list(texts))
        known = self.parts.get(part, digest)
        self.parts[part] = digest if known == digest else canonical.digest([known, digest])


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError) as error:
        raise _unreadable(str(path), str(error)) from error


def _path_of(module: ModuleType | None) -> Path | None:
    file = None if module is None else vars(module).get("__file__")
    return Path(file) if isinstance(file, str) else None


def _stars(tree: ast.Module) -> Iterator[ast.ImportFrom]:
    """The ``from … import *`` of a module."""
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*":
            yield statement


def _source_of(statement: ast.ImportFrom, module: _Module) -> Chain:
    """The module that an ``import from`` reads, relative ones resolved."""
    name = tuple(statement.module.split(".")) if statement.module else ()
    if not statement.level:
        return name
    return (*module.package[: len(module.package) - statement.level + 1], *name)


def _captured(function: FunctionType) -> Iterator[tuple[str, object]]:
    """The variables that a function holds: its closure and its defaults."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f"closure {name}", cell.cell_contents
        except ValueError:
            continue  # not filled: a name that is bound behind the function
    for parameter in inspect.signature(function, follow_wrapped=False).parameters.values():
        if parameter.default is not parameter.empty:
            yield f"default {parameter.name}", parameter.default


def _text_of(value: object, depth: int = 0) -> str | None:
    """A text that equal plain values share in every process; None for any other value."""
    if value is None or isinstance(value, Path) or type(value) in (bool, int, float, str, bytes):
        return repr(value)
    if depth == _MAX_DEPTH or type(value) not in (dict, list, tuple, set, frozenset):
        return None
    items: Iterable[object] = value.items() if isinstance(value, dict) else _items(value)
    texts = [_text_of(item, depth + 1) for item in items]
    known = [text for text in texts if text is not None]
    if len(known) != len(texts):
        return None
    ordered = sorted(known) if isinstance(value, set | frozenset) else known
    return f"{type(value).__name__}({', '.join(ordered)})"


def _items(value: object) -> Iterable[object]:
    return value if isinstance(value, list | tuple | set | frozenset) else ()


def _unreadable(name: str, reason: str) -> UsageError:
    return UsageError(
        "CN-CODE-002",
        f"the code of {name} cannot be read: {reason}",
        "declare functions that stand in files of the project, and run again after a change",
    )
