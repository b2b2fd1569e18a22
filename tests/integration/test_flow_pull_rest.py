"""Rows of an interface: page by page to a certain end, patiently, and from nowhere else."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

import colonnade as co
from colonnade.base.errors import ColonnadeError, RefusedError, UnavailableError, UsageError
from colonnade.data.ingest import Ingested, ingest
from colonnade.project import Project, Source
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion
from colonnade.store.origins import http
from colonnade.wiring import open_workspace
from tests.api import Answer, Api, Asked
from tests.projects import empty

ROWS = [{"id": n, "at": f"2024-01-01T00:{n:02}:00Z", "amount": n / 4} for n in range(10)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return empty(tmp_path / "project")


@pytest.fixture
def api() -> Iterator[Callable[..., Api]]:
    started: list[Api] = []

    def begin(answer) -> Api:
        started.append(Api(answer))
        return started[-1]

    yield begin
    for each in started:
        each.close()


def source(url: str, key: str = "id", **options: object) -> Source:
    options = {"allow_private": True} | options
    return Project("p").source("orders", co.Rest(url, **options), key=key)


def take(folder: Path, declared: Source) -> Ingested:
    with open_workspace(folder) as workspace:
        return ingest(workspace.session("test"), declared, workspace.folder)


def refused(folder: Path, declared: Source) -> ColonnadeError:
    with pytest.raises(ColonnadeError) as caught:
        take(folder, declared)
    return caught.value


def table(folder: Path) -> pl.DataFrame:
    with open_workspace(folder) as workspace:
        return workspace.session("test").scan(Ref("table", "orders")).collect()


def numbers(folder: Path) -> list[int]:
    return sorted(table(folder)["id"].to_list())


def slices(first: int) -> list[dict]:
    return ROWS[first : first + 4]


def by_link(asked: Asked) -> Answer:
    first = int(asked.params.get("from", 0))
    more = {"link": f'</orders?from={first + 4}>; rel="next"'} if first + 4 < len(ROWS) else {}
    return Answer(slices(first), headers=more)


def by_field(asked: Asked) -> object:
    first = int(asked.params.get("from", 0))
    following = f"/orders?from={first + 4}" if first + 4 < len(ROWS) else None
    return {"data": {"items": slices(first)}, "paging": {"next": following}}


def by_page(asked: Asked) -> object:
    return slices(4 * (int(asked.params["page"]) - 1))


def by_offset(asked: Asked) -> object:
    return slices(int(asked.params["skip"]))


def by_cursor(asked: Asked) -> object:
    first = int(asked.params.get("after", 0))
    return {"rows": slices(first), "next": first + 4 if first + 4 < len(ROWS) else None}


@pytest.mark.parametrize(
    ("answer", "options", "requests"),
    [
        (by_link, {"next": "link"}, 3),
        (by_field, {"next": "url:paging.next", "rows": "data.items"}, 3),
        (by_page, {"next": "page:page"}, 4),
        (by_offset, {"next": "offset:skip"}, 4),
        (by_cursor, {"next": "cursor:after=next", "rows": "rows"}, 3),
    ],
)
def test_all_pages_are_taken_to_their_end(api, folder, answer, options, requests):
    server = api(answer)
    declared = source(server.url(), **options)
    found = take(folder, declared)
    assert (found.good, found.bad) == (10, 0)
    assert table(folder).sort("id").to_dicts() == [
        {**row, "at": value}
        for row, value in zip(ROWS, table(folder).sort("id")["at"], strict=True)
    ]
    assert len(server.asked) == requests
    assert not take(folder, declared).done
    assert list((folder / ".colonnade" / "landing" / "orders").iterdir()) == []


def test_with_a_cursor_only_what_is_new_is_asked_for_and_taken(api, folder):
    rows = list(ROWS)
    server = api(lambda asked: [row for row in rows if row["at"] >= asked.params.get("since", "")])
    declared = source(server.url(), cursor="at", since="since", lag="2 minutes")
    take(folder, declared)
    rows += [
        {**ROWS[0], "id": 10, "at": "2024-01-01T00:08:00Z"},
        {**ROWS[0], "id": 11, "at": "2025-01-01T00:00:00Z"},
    ]
    found = take(folder, declared)
    assert server.asked[-1].params == {"since": "2024-01-01T00:07:00Z"}
    assert (found.good + found.bad, found.late) == (2, 1)


def test_an_interface_that_does_not_heed_the_cursor_sends_no_row_twice(api, folder):
    rows = list(ROWS)
    server = api(lambda _: rows)
    declared = source(server.url(), cursor="id", since="after")
    take(folder, declared)
    assert not take(folder, declared).done
    rows.append({"id": 10, "at": "2024-01-02T00:00:00Z", "amount": 1.5})
    assert take(folder, declared).good == 1
    assert numbers(folder) == list(range(11))
    assert server.asked[-1].params == {"after": "9"}


def test_what_is_not_flat_is_kept_as_a_text(api, folder):
    server = api(lambda _: [{"id": 1, "lines": [{"x": 1}], "who": {"é": None}}, {"id": 2}])
    take(folder, source(server.url()))
    rows = table(folder).sort("id").to_dicts()
    assert json.loads(rows[0]["lines"]) == [{"x": 1}]
    assert rows[1] == {"id": 2, "lines": None, "who": None}


def test_a_column_of_several_kinds_is_read_by_the_contract(api, folder):
    rows = [{"id": n, "x": "A" if n == 3 else n} for n in range(100)]
    declared = source(api(lambda _: rows).url())
    take(folder, declared)
    assert table(folder)["x"].dtype == pl.String
    rows[3]["x"] = 3
    rows.append({"id": 100, "x": 5})
    assert take(folder, declared).good == 101


@pytest.mark.parametrize(
    ("answer", "options"),
    [
        (lambda _: Answer(ROWS, headers={"link": '</orders>; rel="next"'}), {"next": "link"}),
        (lambda _: ROWS, {"next": "page:page"}),
        (lambda a: [{"id": int(a.params["page"])}], {"next": "page:page", "max_pages": 5}),
        (lambda _: {"rows": [], "next": "again"}, {"next": "cursor:t=next", "rows": "rows"}),
        (lambda _: ROWS, {"max_bytes": 100}),
    ],
)
def test_pages_that_do_not_end_are_given_up_and_nothing_is_taken(api, folder, answer, options):
    error = refused(folder, source(api(answer).url(), **options))
    assert error.code == "CN-PULL-014"
    assert isinstance(error, UsageError)
    assert list((folder / ".colonnade" / "landing" / "orders").iterdir()) == []


@pytest.fixture
def quick(monkeypatch) -> None:
    """The first wait is short; how the waits grow is another test's."""
    monkeypatch.setattr(http, "_FIRST_WAIT_S", 0.01)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_interface_is_asked_again(api, folder, quick, status):
    answers = iter([Answer(status=status), Answer(status=status), Answer(ROWS)])
    assert take(folder, source(api(lambda _: next(answers)).url())).good == 10


def test_it_waits_as_long_as_it_is_asked_to(api, folder):
    answers = iter([Answer(status=429, headers={"retry-after": "1"}), Answer(ROWS)])
    begun_s = time.monotonic()
    take(folder, source(api(lambda _: next(answers)).url()))
    assert 1.0 <= time.monotonic() - begun_s < 10


def test_it_does_not_wait_for_ever(api, folder):
    server = api(lambda _: Answer(status=503, headers={"retry-after": "7200"}))
    error = refused(folder, source(server.url()))
    assert (error.code, len(server.asked)) == ("CN-PULL-012", 1)
    assert "7,200 s" in error.message


def test_it_gives_up_after_some_tries(api, folder, quick):
    server = api(lambda _: Answer(status=500))
    error = refused(folder, source(server.url()))
    assert isinstance(error, UnavailableError)
    assert (error.code, len(server.asked)) == ("CN-PULL-012", 6)


def test_the_rate_is_kept_to(api, folder):
    begun_s = time.monotonic()
    take(folder, source(api(by_page).url(), next="page:page", rate=10))
    assert time.monotonic() - begun_s >= 0.3  # four requests


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(status=401), "CN-PULL-011"),
        (Answer(status=404), "CN-PULL-011"),
        (Answer(status=204), "CN-PULL-011"),
        (Answer(b"<html>"), "CN-PULL-013"),
        (Answer(b"[NaN]"), "CN-PULL-013"),
        (Answer(b"[" * 100_000), "CN-PULL-013"),
        (Answer(b'{"data": 1}'), "CN-PULL-013"),
        (Answer([1, 2]), "CN-PULL-013"),
        (Answer([{"id": 2**64}]), "CN-PULL-007"),
        (Answer([{"id": 1, "x": 0.5}, {"id": 2, "x": 2**53 + 1}]), "CN-PULL-007"),
        (Answer(b'[{"id": "\\ud800"}]'), "CN-PULL-007"),
        (Answer([]), "CN-INGEST-001"),
        (Answer(status=302, headers={"location": "/orders"}), "CN-PULL-011"),
        (Answer(status=302, headers={"location": "file:///etc/passwd"}), "CN-PULL-010"),
    ],
    ids=range(14),
)
def test_an_answer_that_is_none_is_one_clear_error(api, folder, answer, code):
    error = refused(folder, source(api(lambda _: answer).url()))
    assert error.code == code
    assert isinstance(error, UsageError | RefusedError)


def test_a_server_that_is_down_or_silent_is_said(folder, quick):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        assert refused(folder, source(url, timeout_s=0.2)).code == "CN-PULL-012"
        silent.listen()
        assert refused(folder, source(url, timeout_s=0.2)).code == "CN-PULL-012"
    assert refused(folder, source("http://nowhere.invalid/")).code == "CN-PULL-012"


def test_an_answer_that_drips_is_not_waited_for(folder, quick):
    # A server of its own, for the other one writes at once.
    import threading  # noqa: PLC0415

    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            while not stop.is_set():
                try:
                    line, _ = server.accept()
                except OSError:
                    return
                with line:
                    line.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
                    try:
                        while not stop.wait(0.05):
                            line.sendall(b" ")
                    except OSError:
                        continue

        thread = threading.Thread(target=drip)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        error = refused(folder, source(url, timeout_s=0.3))
        stop.set()
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert (error.code, "too long" in error.message) == ("CN-PULL-012", True)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/",
        "http://localhost:1/",
        "http://[::1]:1/",
        "http://[::ffff:127.0.0.1]:1/",
        "http://[64:ff9b::7f00:1]/",
        "http://10.0.0.1/",
        "http://192.168.1.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/",
        "http://[fd00::1]/",
        "http://0.0.0.0:1/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://224.0.0.1/",
        "http://100.64.0.1/",
    ],
)
def test_no_address_of_this_machine_or_network_is_asked(folder, url):
    error = refused(folder, source(url, allow_private=False))
    assert isinstance(error, RefusedError)
    assert error.code == "CN-PULL-010"


def test_a_redirect_or_a_next_page_leads_to_no_such_address_either(api, folder, monkeypatch):
    """The first address counts as public; where it leads is looked at for itself."""
    from colonnade.store.origins import address  # noqa: PLC0415

    real = address._is_public
    monkeypatch.setattr(address, "_is_public", lambda text: text == "127.0.0.1" or real(text))
    away = "http://127.0.0.2:9/secret"
    server = api(lambda _: Answer(status=307, headers={"location": away}))
    assert refused(folder, source(server.url(), allow_private=False)).code == "CN-PULL-010"
    server = api(lambda _: Answer(ROWS, headers={"link": f'<{away}>; rel="next"'}))
    declared = source(server.url(), allow_private=False, next="link")
    assert refused(folder, declared).code == "CN-PULL-010"


def test_the_address_that_was_checked_is_the_one_that_is_asked(api, folder, monkeypatch):
    """A name that leads elsewhere a moment later (DNS rebinding) does not lead there."""
    server = api(lambda _: ROWS)
    real, looked = socket.getaddrinfo, []

    def changing(host, port, *more, **options):
        if host == "shop.example":
            looked.append(host)
            assert len(looked) == 1, "a name is looked up once a request"
            host = "127.0.0.1"
        return real(host, port, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", changing)
    take(folder, source(f"http://shop.example:{server.port}/orders"))
    assert server.asked[0].headers["host"] == f"shop.example:{server.port}"


def test_secrets_go_to_the_declared_host_and_nowhere_else(api, folder, monkeypatch):
    monkeypatch.setenv("SHOP_TOKEN", "geheim-0815")
    other = api(lambda _: ROWS)
    server = api(lambda _: Answer(status=302, headers={"location": other.url("/moved")}))
    declared = source(
        server.url(),
        headers={"authorization": "Bearer {env:SHOP_TOKEN}", "x-shop": "one"},
        params={"api_key": "env:SHOP_TOKEN"},
    )
    take(folder, declared)
    assert server.asked[0].headers["authorization"] == "Bearer geheim-0815"
    assert server.asked[0].params == {"api_key": "geheim-0815"}
    assert "geheim" not in str(other.asked)


def test_a_certificate_that_nobody_trusts_is_refused(folder, quick, tmp_path):
    assert ssl.create_default_context().verify_mode == ssl.CERT_REQUIRED
    server = Api(lambda _: ROWS)
    try:
        url = server.url().replace("http:", "https:")
        assert refused(folder, source(url, timeout_s=1)).code == "CN-PULL-012"
    finally:
        server.close()


def test_the_position_tells_how_far_an_interface_was_taken(api, folder):
    declared = source(api(lambda _: ROWS).url(), cursor="at", since="since")
    cursor = take(folder, declared).entry.read(TableVersion).cursor
    assert (cursor["end"], cursor["rows"]) == ("2024-01-01T00:09:00Z", 10)
