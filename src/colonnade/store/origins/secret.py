"""What a reference names, at the moment of use; nothing of it is ever said."""

from __future__ import annotations

import os
from pathlib import Path

from colonnade.base.errors import UsageError
from colonnade.records.source import INNER, REFERENCE

_MAX_BYTES = 1 << 16


def resolve(reference: str) -> str:
    """The secret that ``env:NAME`` or ``file:/path`` names.

    Raises:
        UsageError: CN-PULL-002, it names nothing.
    """
    kind, _, name = reference.partition(":")
    if kind == "env":
        found = os.environ.get(name, "")
    else:
        try:
            with Path(name).open("rb") as file:
                found = file.read(_MAX_BYTES).decode()
        except (OSError, UnicodeDecodeError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is no text"
            raise _nothing(reference, why) from None
    found = found.strip()
    if not found:
        raise _nothing(reference, "it is empty or not set")
    return found


def fill(text: str) -> str:
    """A text with what it names put in: ``Bearer {env:TOKEN}``, or a reference as a whole.

    Raises:
        UsageError: CN-PULL-002.
    """
    if REFERENCE.fullmatch(text):
        return resolve(text)
    return INNER.sub(lambda found: resolve(found[1]), text)


def hidden(text: str, *secrets: str | None) -> str:
    """A text of another program without the secrets that it was given."""
    for secret in secrets:
        if secret and len(secret) > 2:
            text = text.replace(secret, "***")
    return text


def _nothing(reference: str, why: str) -> UsageError:
    fix = "set the variable" if reference.startswith("env:") else "put the secret into that file"
    return UsageError("CN-PULL-002", f"{reference} names no secret: {why}", fix)
