"""The description of the API (OpenAPI 3.1), from the table of routes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import version

from colonnade.records.canonical import Json
from colonnade.server.route import Route

_PROBLEM: Json = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_ROWS: Json = {
    "type": "object",
    "required": ["rows"],
    "additionalProperties": False,
    "properties": {"rows": {"type": "array", "minItems": 1, "items": {"type": "object"}}},
}
_BYTES: Json = {"type": "string", "contentMediaType": "application/octet-stream"}
_SCHEMAS: Json = {
    "Problem": {
        "type": "object",
        "required": ["type", "title", "status", "code", "detail", "fix"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "code": {"type": "string"},
            "detail": {"type": "string"},
            "fix": {"type": "string"},
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "row": {"type": ["integer", "null"]},
                        "field": {"type": ["string", "null"]},
                        "reason": {"type": "string"},
                    },
                },
            },
        },
    }
}
_DOORS: Json = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}
_IDEMPOTENCY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "the same key is the same push; without one, the same bytes are",
    "schema": {"type": "string", "maxLength": 255},
}


def document(routes: Sequence[Route]) -> Json:
    """What a program needs to know to call the server."""
    paths: dict[str, dict[str, Json]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "colonnade", "version": version("colonnade")},
        "paths": {path: {**operations} for path, operations in paths.items()},
        "components": {"schemas": _SCHEMAS, "securitySchemes": _DOORS},
    }


def _operation(route: Route) -> Json:
    operation: dict[str, Json] = {
        "summary": route.summary,
        "parameters": _parameters(route),
        "responses": {
            str(status): {"description": text, "content": _PROBLEM if status >= 400 else {}}
            for status, text in sorted(route.statuses.items())
        },
        "security": [] if route.action is None else [{"bearer": []}, {"key": []}],
    }
    if route.takes:
        content: dict[str, Json] = {
            media: {"schema": _ROWS if media.endswith("/json") else _BYTES} for media in route.takes
        }
        operation["requestBody"] = {"required": True, "content": content}
    if route.action is not None:
        operation["x-permission"] = f"{route.action} {route.subject}"
    return operation


def _parameters(route: Route) -> list[Json]:
    holes: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    return [*holes, _IDEMPOTENCY] if route.takes else holes
