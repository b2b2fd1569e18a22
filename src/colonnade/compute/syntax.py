"""What a piece of Python says, read from its syntax: the names it binds, reads and imports."""

from __future__ import annotations

import ast
import copy
import symtable
from collections import defaultdict
from collections.abc import Iterator, Mapping
from types import CodeType
from typing import Literal

from colonnade.project import Project

Chain = tuple[str, ...]

IMPORTS = (ast.Import, ast.ImportFrom)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_OWN_SCOPE = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_UNKNOWN = object()


def plain(node: ast.AST, namespace: Mapping[str, object]) -> ast.AST:
    """A copy without what changes nothing in what the code does.

    That is texts that stand alone (docstrings) and decorators that declare a table or a model.

    Args:
        node: a statement or an expression.
        namespace: the variables of its module, as far as they are known.
    """
    return _Plain(namespace).visit(copy.deepcopy(node)) or ast.Pass()


def nodes_of(tree: ast.Module, code: CodeType) -> Iterator[ast.AST]:
    """The syntax of a code object; of several lambdas in one line, all."""
    for node in ast.walk(tree):
        if isinstance(node, _FUNCTIONS):
            name = node.name
            line = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        elif isinstance(node, ast.Lambda):
            name, line = "<lambda>", node.lineno
        else:
            continue
        if (name, line) == (code.co_name, code.co_firstlineno):
            yield node


def kind(node: ast.AST) -> Literal["function", "class", "constant"]:
    """What a module-level statement makes."""
    if isinstance(node, _FUNCTIONS):
        return "function"
    return "class" if isinstance(node, ast.ClassDef) else "constant"


def bound(node: ast.AST) -> Iterator[str]:
    """The names that a statement binds in its own scope."""
    if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
        yield node.name
    elif isinstance(node, IMPORTS):
        yield from map(bound_by, node.names)
    elif isinstance(node, ast.Name):
        if isinstance(node.ctx, ast.Store):
            yield node.id
    elif not isinstance(node, _OWN_SCOPE):
        for child in ast.iter_child_nodes(node):
            yield from bound(child)


def bound_by(alias: ast.alias) -> str:
    """The name that one item of an import binds."""
    return alias.asname or alias.name.partition(".")[0]


def read_from_outside(node: ast.AST) -> set[str]:
    """The names that a node reads from outside of itself; never a function's local ones."""
    names: set[str] = set()
    tables = [symtable.symtable(ast.unparse(node), "<part>", "exec")]
    while tables:
        table = tables.pop()
        tables.extend(table.get_children())
        is_function = table.get_type() == "function"
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (symbol.is_global() or not is_function):
                names.add(symbol.get_name())
    return names


def chains(node: ast.AST) -> Mapping[str, set[Chain]]:
    """Every name in a node, with the attributes read from it: ``a.b.c`` is a -> (b, c)."""
    visitor = _Chains()
    visitor.visit(node)
    return visitor.found


class _Chains(ast.NodeVisitor):
    def __init__(self) -> None:
        self.found: defaultdict[str, set[Chain]] = defaultdict(set)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain: Chain = ()
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            chain = (inner.attr, *chain)
            inner = inner.value
        if isinstance(inner, ast.Name):
            self.found[inner.id].add(chain)
        else:
            self.visit(inner)

    def visit_Name(self, node: ast.Name) -> None:
        self.found[node.id].add(())


class _Plain(ast.NodeTransformer):
    def __init__(self, namespace: Mapping[str, object]) -> None:
        self.namespace = namespace

    def visit(self, node: ast.AST) -> ast.AST | None:
        if isinstance(node, ast.Expr) and _is_text(node.value):
            return None
        if isinstance(node, _FUNCTIONS):
            node.decorator_list = [d for d in node.decorator_list if not self.declares(d)]
        self.generic_visit(node)
        if getattr(node, "body", None) == []:
            vars(node)["body"] = [ast.Pass()]
        return node

    def declares(self, decorator: ast.expr) -> bool:
        """Whether it is ``project.table(…)`` or ``project.model(…)``."""
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if not isinstance(called, ast.Attribute) or called.attr not in {"table", "model"}:
            return False
        owner = _value_of(called.value, self.namespace)
        return owner is _UNKNOWN or isinstance(owner, Project)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _value_of(node: ast.expr, namespace: Mapping[str, object]) -> object:
    if isinstance(node, ast.Name):
        return namespace.get(node.id, _UNKNOWN)
    if isinstance(node, ast.Attribute):
        return getattr(_value_of(node.value, namespace), node.attr, _UNKNOWN)
    return _UNKNOWN
