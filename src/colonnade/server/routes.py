"""The table of routes: every address, who may come in, and what answers."""

from __future__ import annotations

import asyncio
from pathlib import Path

from colonnade.data.receive import ARROW, JSON
from colonnade.lifecycle import status
from colonnade.project import Project
from colonnade.server import openapi
from colonnade.server.push import Pushes
from colonnade.server.route import Answer, Call, Route, as_json
from colonnade.web.limits import Gate

_REFUSED = {401: "no key that opens", 403: "no role that may; recorded"}
_PUSHED = {
    202: "acknowledged: the rows last, and are taken over once",
    404: "no such source, with the closest name",
    409: "the rows of this source are not pushed",
    411: "neither a length nor chunks",
    413: "larger than server.body_bytes",
    415: "neither JSON nor an Arrow stream, or compressed",
    422: "rows of another shape, by row and field; or the key was used for other bytes",
    503: "the disk is full, or too much to do: again after Retry-After",
}


def routes(project: Project, folder: Path, gate: Gate) -> tuple[Route, ...]:
    """Every route of the server of one project."""
    pushes = Pushes(project, folder, gate)

    async def sources(call: Call) -> Answer:
        return await asyncio.to_thread(
            lambda: as_json(200, {"sources": status.sources(call.caller, project, folder)})
        )

    async def described(_call: Call) -> Answer:
        return as_json(200, openapi.document(table))

    table = (
        Route(
            method="GET", path="/healthz", handle=_alive, action=None, subject="project/server",
            summary="Whether the server is there.", statuses={200: "it is"},
        ),
        Route(
            method="GET", path="/openapi.json", handle=described, action=None,
            subject="project/server", summary="This description.", statuses={200: "OpenAPI 3.1"},
        ),
        Route(
            method="GET", path="/v1/sources", handle=sources, action="read",
            subject="project/sources", summary="Every source and what waits for it.",
            statuses={200: "by name: version, rows, what waits", **_REFUSED},
        ),
        Route(
            method="POST", path="/v1/sources/{name}/rows", handle=pushes.push, action="write",
            subject="table/{name}", summary="Push rows to a source.", takes=(JSON, ARROW),
            statuses={**_PUSHED, **_REFUSED},
        ),
    )  # fmt: skip
    return table


async def _alive(_call: Call) -> Answer:
    return as_json(200, {"live": True})
