"""Small rules about text that more than one floor needs: names and hints."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from colonnade.base.errors import UsageError

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_LONGEST = 200  # comparing takes the product of two lengths


def check_name(kind: str, name: str) -> str:
    """Return `name` if it can name a source, table, model or endpoint.

    Raises:
        UsageError: CN-NAME-001, with what a name looks like.
    """
    if not is_a(name, str) or NAME.fullmatch(name) is None:
        raise UsageError(
            "CN-NAME-001",
            f"{kind} name {name!r} is not a name",
            "use a lower-case letter, then letters, digits and _ (63 characters at most)",
        )
    return name


def is_a(value: object, *kinds: type) -> bool:
    """Whether a value that a user gave is what its annotation says: nobody checked it."""
    return isinstance(value, kinds)


def closest(word: str, known: Iterable[str]) -> str:
    """A hint for a misspelt word: ``did you mean 'x'?``, else the known words."""
    names = sorted(known)
    match = difflib.get_close_matches(word[:_LONGEST], names, n=1)
    if match:
        return f"did you mean {match[0]!r}?"
    return "known: " + (", ".join(names[:20]) if names else "none yet")
