"""The endpoint's ASGI application: a raw callable, built as a small stack.

    measure → explain → identify → admit → limit → handle (decode, score, record)

What changes while the process runs is one immutable `Live`, replaced as a whole; a request keeps
the `Route` that it was given first, and with it the revision, the access snapshot and the log.

Who comes in without a key: everybody to ``/v2/health/*``, which tells nothing but that the server
is there; processes of this machine to ``/metrics``, unless a proxy speaks for somebody else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import TypedDict

from colonnade.base.errors import NotFoundError
from colonnade.base.text import closest
from colonnade.serve import layers, v2
from colonnade.serve.call import Answer, Call, Handler, HeaderList, Route, as_json
from colonnade.serve.meter import CONTENT_TYPE, Meter
from colonnade.serve.predict import Scorer
from colonnade.serve.revision import Revision
from colonnade.web.auth import AccessSnapshot
from colonnade.web.limits import Gate, Limits, Message, Receive

Send = Callable[[Message], Awaitable[None]]


class Scope(TypedDict):
    """What we read of ASGI's scope of a request."""

    method: str
    path: str
    headers: HeaderList
    client: tuple[str, int] | None


@dataclass(frozen=True, slots=True)
class Live:
    """Everything that answers at one moment.

    Attributes:
        revisions: by the endpoint's name.
        routes: by path.
    """

    revisions: Mapping[str, Revision] = field(default_factory=dict)
    routes: Mapping[str, Route] = field(default_factory=dict)


class App:
    """The callable that the server calls; `put` and `allow` change what is live."""

    def __init__(self, limits: Limits, meter: Meter) -> None:
        self._gate = Gate(limits)
        self._meter = meter
        self._scorer = Scorer(meter)
        self._missing = Route(None, self._no_path)
        self._live = Live()
        self._show({})
        self._answer = self._stack()

    @property
    def live(self) -> Live:
        """What answers now."""
        return self._live

    def put(self, revision: Revision) -> None:
        """Answer an endpoint with this revision from the next request on."""
        self._show({**self._live.revisions, revision.endpoint: revision})
        self._meter.live(revision.endpoint, revision.model, revision.version, revision.id)

    def allow(self, endpoint: str, access: AccessSnapshot) -> None:
        """Replace who may call an endpoint; one that is not live has nothing to replace."""
        revision = self._live.revisions.get(endpoint)
        if revision is not None:
            self._show({**self._live.revisions, endpoint: replace(revision, access=access)})

    def sample(self) -> None:
        """Bring the gauges up to date."""
        logs = [(r.endpoint, r.log.state()) for r in self._revisions() if r.log is not None]
        self._meter.sample(self._gate.in_flight, logs)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI 3 has it."""
        path, client = scope["path"], scope["client"]
        call = Call(
            method=scope["method"],
            path=path,
            headers=dict(scope["headers"]),
            peer=client[0] if client else None,
            receive=receive,
            route=self._live.routes.get(path, self._missing),
        )
        answer = await self._answer(call)
        headers = [
            (b"content-type", answer.media_type),
            (b"content-length", b"%d" % len(answer.body)),
            *answer.headers,
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    def _stack(self) -> Handler:
        stack = layers.limit(layers.handle, self._gate)
        stack = layers.admit(stack)
        stack = layers.identify(stack, self._revisions)
        stack = layers.explain(stack)
        return layers.measure(stack, self._meter)

    def _revisions(self) -> list[Revision]:
        return list(self._live.revisions.values())

    def _show(self, revisions: dict[str, Revision]) -> None:
        routes = {
            "/v2": Route("GET", v2.server),
            "/v2/health/live": Route("GET", _alive, door="open"),
            "/v2/health/ready": Route("GET", self._ready, door="open"),
            "/metrics": Route("GET", self._metrics, door="loopback"),
        }
        for revision in revisions.values():
            routes |= self._routes(revision)
        self._live = Live(MappingProxyType(revisions), MappingProxyType(routes))

    def _routes(self, revision: Revision) -> dict[str, Route]:
        scorer = self._scorer
        predict = partial(scorer.predict, revision=revision)
        infer = partial(v2.infer, revision=revision, scorer=scorer)
        metadata, ready = v2.metadata(revision), v2.ready(revision)
        routes = {f"/v1/endpoints/{revision.endpoint}/predict": Route("POST", predict, revision)}
        base = f"/v2/models/{revision.endpoint}"
        for path in (base, f"{base}/versions/{revision.version}"):
            routes[path] = Route("GET", _always(metadata), revision)
            routes[f"{path}/ready"] = Route("GET", _always(ready), revision)
            routes[f"{path}/infer"] = Route("POST", infer, revision)
        return routes

    async def _ready(self, _call: Call) -> Answer:
        if not self._live.revisions:
            raise layers.nothing_loaded()
        for revision in self._revisions():
            if revision.log is not None:
                revision.log.check()
        return as_json({"ready": True})

    async def _metrics(self, _call: Call) -> Answer:
        self.sample()
        return Answer(200, CONTENT_TYPE, self._meter.page())

    async def _no_path(self, call: Call) -> Answer:
        """Name the closest path among those that the caller may use."""
        mine = [
            path
            for path, route in self._live.routes.items()
            if route.revision is None or route.revision.access.actor(call.headers) is not None
        ]
        message = f"nothing answers the path {call.path[:200]}"
        raise NotFoundError("CN-SERVE-010", message, closest(call.path, mine))


async def _alive(_call: Call) -> Answer:
    return as_json({"live": True})


def _always(answer: Answer) -> Handler:
    async def fixed(_call: Call) -> Answer:
        return answer

    return fixed
