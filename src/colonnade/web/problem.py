"""Failures over HTTP: problem documents by RFC 9457, from the same errors as the CLI's text."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from colonnade.base.errors import ColonnadeError
from colonnade.bundle.request import Problem, RequestError

HeaderPairs = tuple[tuple[bytes, bytes], ...]

MEDIA_TYPE = b"application/problem+json"
_encode = msgspec.json.Encoder().encode


class HttpError(ColonnadeError):
    """A request that HTTP itself has a status for.

    Args:
        status: 400 to 599.
        code: stable identifier, ``CN-<AREA>-<NUMBER>``.
        message: what was found and what was expected.
        fix: one line that mends it.
        headers: sent beside the problem: ``allow``, ``retry-after``, ``www-authenticate``.
    """

    def __init__(
        self, status: int, code: str, message: str, fix: str, *, headers: HeaderPairs = ()
    ) -> None:
        super().__init__(code, message, fix)
        self.status = status
        self.headers = headers


class _Document(msgspec.Struct, omit_defaults=True):
    type: str
    title: str
    status: int
    code: str
    detail: str
    fix: str
    errors: tuple[Problem, ...] = ()
    error: str | None = None


def status_of(error: ColonnadeError) -> int:
    """The HTTP status that an error is answered with."""
    return error.status if isinstance(error, HttpError) else error.http_status


def problem(error: ColonnadeError, *, error_member: bool = False) -> bytes:
    """The problem document of an error; what is wrong with a request's rows is in ``errors``.

    Args:
        error: what went wrong.
        error_member: say the detail under ``error`` too, where clients of the Open Inference
            Protocol look for it.
    """
    status = status_of(error)
    return _encode(
        _Document(
            type=f"urn:colonnade:error:{error.code}",
            title=HTTPStatus(status).phrase,
            status=status,
            code=error.code,
            detail=error.message,
            fix=error.fix,
            errors=error.problems if isinstance(error, RequestError) else (),
            error=error.message if error_member else None,
        )
    )
