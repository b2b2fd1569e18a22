"""The layers of the endpoint's stack: each makes a handler from a handler."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Awaitable, Callable

from colonnade.base import clock
from colonnade.base.errors import ColonnadeError, UnavailableError
from colonnade.serve.call import Answer, Call, Handler
from colonnade.serve.meter import NO_ENDPOINT, Meter
from colonnade.serve.revision import Revision
from colonnade.web.auth import AccessSnapshot
from colonnade.web.limits import Gate
from colonnade.web.problem import MEDIA_TYPE, HttpError, problem, status_of

Revisions = Callable[[], "list[Revision]"]

_JSON = b"application/json"
_CURL = b"application/x-www-form-urlencoded"  # what `curl --data` says when it is told nothing
_LOOPBACK = ("127.", "::1")
_FORWARDED = (b"forwarded", b"x-forwarded-for", b"x-real-ip")


def measure(inner: Handler, meter: Meter) -> Handler:
    """Count every answer, with its status and the time that it took."""

    async def measured(call: Call) -> Answer:
        began = time.perf_counter()
        answer = await inner(call)
        revision = call.route.revision
        endpoint = NO_ENDPOINT if revision is None else revision.endpoint
        meter.request(endpoint, answer.status, time.perf_counter() - began)
        return answer

    return measured


def explain(inner: Handler) -> Handler:
    """Turn every error into the problem document that the caller reads."""

    async def explained(call: Call) -> Answer:
        try:
            return await inner(call)
        except ColonnadeError as error:
            return _problem(call, error)
        except Exception as error:  # noqa: BLE001 - the edge of the process: a bug is a 500
            where = "".join(traceback.format_tb(error.__traceback__))
            kind = type(error).__name__  # and not its text, which may repeat a value
            print(f"CN-SERVE-012: {kind}\n{where}", file=sys.stderr)  # noqa: T201
            return _problem(call, _bug())

    return explained


def identify(inner: Handler, revisions: Revisions) -> Handler:
    """Let in whose key the access snapshot knows, and say who it is."""

    async def identified(call: Call) -> Answer:
        route = call.route
        if route.revision is not None:
            call.actor = _known(call, route.revision.access)
        elif route.door == "key" or (route.door == "loopback" and not _is_local(call)):
            call.actor = _known_anywhere(call, revisions())
        return await inner(call)

    return identified


def admit(inner: Handler) -> Handler:
    """Let in the method and the media type that the path answers."""

    async def admitted(call: Call) -> Answer:
        wanted = call.route.method
        if wanted is not None and call.method != wanted:
            raise HttpError(
                405,
                "CN-HTTP-002",
                f"{call.path} does not answer {call.method[:16]}",
                f"use {wanted}",
                headers=((b"allow", wanted.encode()),),
            )
        if wanted == "POST":
            _check_media_type(call)
        return await inner(call)

    return admitted


def limit(inner: Handler, gate: Gate) -> Handler:
    """Receive the body, within the bounds of the process; what has none is never held up."""

    async def limited(call: Call) -> Answer:
        if call.route.method != "POST":
            return await inner(call)
        gate.enter()
        try:
            call.body = await gate.body(call.headers, call.receive)
            return await inner(call)
        finally:
            gate.leave()

    return limited


def handle(call: Call) -> Awaitable[Answer]:
    """The innermost handler: what the path was routed to."""
    return call.route.handle(call)


def _known(call: Call, access: AccessSnapshot) -> str:
    actor = access.actor(call.headers)
    if actor is None:
        raise HttpError(
            401,
            "CN-HTTP-001",
            "the request carries no key that this endpoint knows",
            "send authorization: Bearer <key>; colonnade access key makes one",
            headers=((b"www-authenticate", b"Bearer"),),
        )
    if access.expired(clock.now_s()):
        raise UnavailableError(
            "CN-HTTP-009",
            "what this endpoint knows of keys is too old to be believed",
            "start the control server; workers take its next snapshot by themselves",
        )
    return actor


def _known_anywhere(call: Call, revisions: list[Revision]) -> str:
    """Who calls what concerns the whole server: whoever may call one of its endpoints."""
    if not revisions:
        raise nothing_loaded()
    for revision in revisions:
        if revision.access.actor(call.headers) is not None:
            return _known(call, revision.access)
    return _known(call, revisions[0].access)


def nothing_loaded() -> UnavailableError:
    """The error of an endpoint process that has nothing to answer with."""
    return UnavailableError(
        "CN-SERVE-011", "no model is loaded yet", "wait, or see colonnade status"
    )


def _is_local(call: Call) -> bool:
    """True for a process of this machine that speaks for itself."""
    if call.peer is None or not call.peer.startswith(_LOOPBACK):
        return False
    return not any(name in call.headers for name in _FORWARDED)


def _check_media_type(call: Call) -> None:
    said = call.headers.get(b"content-type", _JSON)
    if said == _JSON:
        return
    kind = said.partition(b";")[0].strip().lower()
    if kind and kind not in (_JSON, _CURL) and not kind.endswith(b"+json"):
        raise HttpError(
            415,
            "CN-HTTP-003",
            f"the body is {kind[:64].decode('latin-1')}, expected application/json",
            "send content-type: application/json",
        )


def _problem(call: Call, error: ColonnadeError) -> Answer:
    headers = list(error.headers) if isinstance(error, HttpError) else []
    status = status_of(error)
    if status == 503 and not headers:
        headers = [(b"retry-after", b"1")]
    body = problem(error, error_member=call.path.startswith("/v2"))
    return Answer(status, MEDIA_TYPE, body, headers)


def _bug() -> HttpError:
    return HttpError(
        500,
        "CN-SERVE-012",
        "the server failed at this request",
        "see the worker's output; the request was not recorded",
    )
