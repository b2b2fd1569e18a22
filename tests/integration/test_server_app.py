"""The control server's stack, in this process: who may come in, and what is too much."""

from __future__ import annotations

import asyncio
import json

import pytest

from colonnade.govern import access
from colonnade.records.actor import Actor
from colonnade.server.app import App
from colonnade.server.routes import routes
from colonnade.web.limits import Gate, Limits
from colonnade.wiring import open_workspace
from tests.pushed import ROWS, body, pushed


@pytest.fixture
def workspace(tmp_path):
    with open_workspace(pushed(tmp_path)) as workspace:
        yield workspace


def app(workspace, **limits):
    gate = Gate(Limits(**limits))
    return App(routes(workspace.project, workspace.folder, gate), workspace.caller, gate)


def key_of(workspace, name, *roles):
    """The API key of a new actor."""
    with workspace.stores.database.write() as connection:
        workspace.stores.people.add(connection, Actor(name, frozenset(roles)))
    return access.add_key(workspace.session("test"), workspace.stores, name)[1]


async def ask(app, method, path, key=None, receive=None, sent=b""):
    """Status, body and headers of an answer; all of the body comes at once."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(sent))]
    headers += [] if key is None else [(b"x-api-key", key.encode())]
    answer = []

    async def whole():
        return {"type": "http.request", "body": sent, "more_body": False}

    async def send(message):
        answer.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    await app(scope, receive or whole, send)
    return answer[0]["status"], json.loads(answer[1]["body"]), dict(answer[0]["headers"])


def refusals(workspace):
    return [
        (entry.actor, entry.subject, entry.body["action"])
        for entry in workspace.session("test").entries(verb="refuse")
    ]


def test_every_route_asks_its_permission_and_records_a_refusal(workspace):
    server = app(workspace)
    nobody = key_of(workspace, "nobody")
    table = routes(workspace.project, workspace.folder, Gate(Limits()))
    assert {route.path for route in table if route.action is None} == {"/healthz", "/openapi.json"}
    for route in table:
        path = route.path.replace("{name}", "events")
        if route.action is None:
            assert asyncio.run(ask(server, route.method, path))[0] == 200
            continue
        status, answer, headers = asyncio.run(ask(server, route.method, path))
        assert (status, answer["code"]) == (401, "CN-HTTP-001")
        assert headers[b"www-authenticate"] == b"Bearer"
        assert asyncio.run(ask(server, route.method, path, "cn_guessed"))[0] == 401
        status, answer, _ = asyncio.run(ask(server, route.method, path, nobody))
        assert (status, answer["code"]) == (403, "CN-ACCESS-001")
        subject = route.subject.replace("{name}", "events")
        assert refusals(workspace)[0] == ("nobody", subject, route.action)


def test_a_viewer_may_look_and_not_push_and_a_service_may_push(workspace):
    server = app(workspace)
    viewer, service = key_of(workspace, "eve", "viewer"), key_of(workspace, "bot", "service")
    assert asyncio.run(ask(server, "GET", "/v1/sources", viewer))[0] == 200
    assert asyncio.run(ask(server, "POST", ROWS, viewer, sent=body(1)))[0] == 403
    assert refusals(workspace) == [("eve", "table/events", "write")]
    assert asyncio.run(ask(server, "POST", ROWS, service, sent=body(1)))[0] == 202


def test_a_key_that_was_revoked_opens_nothing_at_once(workspace):
    server, key = app(workspace), key_of(workspace, "bot", "service")
    assert asyncio.run(ask(server, "GET", "/v1/sources", key))[0] == 200
    session = workspace.session("test")
    found = access.who(session, workspace.stores)
    [identifier] = next(keys for actor, keys in found if actor.name == "bot")
    access.revoke_key(session, workspace.stores, identifier)
    assert asyncio.run(ask(server, "GET", "/v1/sources", key))[0] == 401


def test_too_many_at_once_are_refused_with_a_time_to_come_back(workspace):
    server, key = app(workspace, in_flight=1), key_of(workspace, "bot", "service")

    async def two():
        held, arrived = asyncio.Event(), asyncio.Event()

        async def slow():
            arrived.set()
            await held.wait()
            return {"type": "http.request", "body": body(1), "more_body": False}

        first = asyncio.create_task(ask(server, "POST", ROWS, key, slow, body(1)))
        await arrived.wait()
        second = await ask(server, "POST", ROWS, key, sent=body(2))
        held.set()
        return await first, second

    first, (status, answer, headers) = asyncio.run(two())
    assert first[0] == 202
    assert (status, answer["code"]) == (503, "CN-HTTP-008")
    assert int(headers[b"retry-after"]) > 0


def test_a_body_that_does_not_come_is_given_up(workspace, tmp_path):
    server, key = app(workspace, body_s=0.05), key_of(workspace, "bot", "service")

    async def never():
        await asyncio.Event().wait()

    status, answer, _ = asyncio.run(ask(server, "POST", ROWS, key, never, body(1)))
    assert (status, answer["code"]) == (408, "CN-HTTP-006")
    assert list((tmp_path / ".colonnade/landing/events").iterdir()) == []


def test_the_description_has_every_route_with_its_permission(workspace):
    _, found, _ = asyncio.run(ask(app(workspace), "GET", "/openapi.json"))
    push = found["paths"]["/v1/sources/{name}/rows"]["post"]
    assert push["x-permission"] == "write table/{name}"
    assert set(push["requestBody"]["content"]) == {
        "application/json", "application/vnd.apache.arrow.stream",
    }  # fmt: skip
    assert [each["name"] for each in push["parameters"]] == ["name", "Idempotency-Key"]
    assert {"202", "401", "403", "404", "413", "415", "422", "503"} <= set(push["responses"])
    assert found["paths"]["/healthz"]["get"]["security"] == []
