"""A contract's file with further columns: all else, comments included, stays as it was."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, cast

import yaml

from colonnade.data.document import Document, plain, property_of, text_of
from colonnade.data.odcs import Loaded
from colonnade.records.contract import Column

_VERSION: Final = re.compile(r"(v?[0-9]{1,6}\.)([0-9]{1,6})(\.[0-9]+)?")


def widened(text: str, loaded: Loaded, columns: Sequence[Column]) -> str:
    """The text of a file with further columns: comments and order stay where that can be.

    What was edited is read again; where it does not say what it should (a list in one line, say)
    the whole document is written anew.
    """
    document = with_columns(loaded, columns)
    try:
        edited = _edited(text, loaded, document, columns)
        if plain(yaml.safe_load(edited)) == document:
            return edited
    except (yaml.YAMLError, LookupError, ValueError):
        pass
    return text_of(document)


def with_columns(loaded: Loaded, columns: Sequence[Column]) -> Document:
    """The document with further columns and the next minor version; all else as it was."""
    document = cast("dict[str, Any]", plain(loaded.document))
    names = {column.name for column in loaded.contract.columns}
    table = next(
        table
        for table in document["schema"]
        if {column["name"] for column in table.get("properties") or []} == names
    )
    table["properties"] += [property_of(column, loaded.contract) for column in columns]
    document["version"] = next_version(loaded.contract.version)
    return document


def next_version(version: str) -> str:
    """The version that an addition gets: the next minor one."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return f"{version}.1"
    return f"{match[1]}{int(match[2]) + 1}" + (".0" if match[3] else "")


def _edited(text: str, loaded: Loaded, document: Document, columns: Sequence[Column]) -> str:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    properties = _properties(root, [column.name for column in loaded.contract.columns])
    margin = " " * properties.start_mark.column
    added = [property_of(column, loaded.contract) for column in columns]
    lines = "".join(f"\n{margin}{line}" for line in text_of(cast("Any", added)).splitlines())
    last = properties.value[-1]
    while isinstance(last, yaml.CollectionNode) and last.value and not last.flow_style:
        last = last.value[-1][1] if isinstance(last, yaml.MappingNode) else last.value[-1]
    end = text.find("\n", last.end_mark.index)  # a note may stand behind it
    end = len(text) if end < 0 else end
    version = _child(root, "version")
    head, between = text[: version.start_mark.index], text[version.end_mark.index : end]
    return f"{head}'{document['version']}'{between}{lines}{text[end:]}"


def _properties(root: Any, names: list[str]) -> Any:  # noqa: ANN401 (nodes of PyYAML)
    for table in _child(root, "schema").value:
        properties = _child(table, "properties")
        if [_child(each, "name").value for each in properties.value] == names:
            return properties
    raise LookupError


def _child(node: Any, name: str) -> Any:  # noqa: ANN401 (nodes of PyYAML)
    return {key.value: value for key, value in node.value}[name]
