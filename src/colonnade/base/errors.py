"""Every failure that a user can meet, as one object for the command line and for HTTP.

An error names the thing, what came and what was expected, and the one line that mends it.
The subclass says whose move it is; it fixes the exit code and the HTTP status, so that both
doors answer alike.
"""

from __future__ import annotations

from typing import ClassVar, Final

_MESSAGE_LIMIT: Final = 1500  # a word that somebody gave may be as long as a file


class ColonnadeError(Exception):
    """A failure with a code, a message and a fix.

    Args:
        code: stable identifier, ``CN-<AREA>-<NUMBER>``; every code has a heading in the docs.
        message: which thing, what was found, what was expected.
        fix: one command or one line that mends it.
    """

    exit_code: ClassVar[int] = 2
    http_status: ClassVar[int] = 400

    def __init__(self, code: str, message: str, fix: str) -> None:
        super().__init__(code, message, fix)
        self.code = code
        self.message = _short(message)
        self.fix = _short(fix)

    def __str__(self) -> str:
        return f"{self.code}: {self.message}\n  fix: {self.fix}"


class UsageError(ColonnadeError):
    """The call cannot be carried out as it was written."""


class NotFoundError(UsageError):
    """The thing that was named does not exist."""

    http_status = 404


class VerdictError(ColonnadeError):
    """The work was done and its verdict is negative: a gate failed, a chain is broken."""

    exit_code = 1
    http_status = 409


class RefusedError(ColonnadeError):
    """A policy forbids it: permission, signature, lease, format."""

    exit_code = 3
    http_status = 403


class UnavailableError(ColonnadeError):
    """Something that this work leans on does not answer."""

    exit_code = 4
    http_status = 503


class DefectError(ColonnadeError):
    """We did not foresee it: whoever called has done nothing wrong."""

    exit_code = 70  # EX_SOFTWARE of sysexits.h: no verdict, no usage, no policy
    http_status = 500


def _short(text: str) -> str:
    """The text; of one that would flood a screen the beginning and the end."""
    if len(text) <= _MESSAGE_LIMIT:
        return text
    return f"{text[: _MESSAGE_LIMIT - 200]} … {text[-200:]}"
