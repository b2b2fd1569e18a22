"""``doctor``: what would break, said before anything is written.

Each check tries what it speaks of. What cannot be tried yet (a database that no command has made,
a project that does not load) is said to be untried, never good.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal

from colonnade.base.errors import ColonnadeError, UnavailableError
from colonnade.compute import code
from colonnade.compute.task import LOCK
from colonnade.govern import health, probe
from colonnade.govern.health import Known, Places
from colonnade.records.finding import Finding
from colonnade.serve import collect, segment, supervisor

MOUNTS: Final = Path("/proc/self/mountinfo")
_ALIVE: Final = {"serving": "/v2/health/live", "server": "/healthz"}
_ASK_S: Final = 2.0


def examine(folder: Path, find: Callable[[Path], Places]) -> Iterator[Finding]:
    """Everything that can be looked at in a folder: of a project, or of one that is to be made.

    Args:
        folder: it need not be there yet.
        find: reads the settings; what it refuses is a finding.
    """
    folder = folder.resolve()
    try:
        places, refused = find(folder), None
    except ColonnadeError as error:
        places, refused = None, error
    yield probe.python()
    yield _held("packages", lambda: probe.packages(folder / LOCK))
    yield probe.cores()
    yield probe.memory()
    yield probe.file_system(folder, _mounts())
    yield probe.files(folder)
    yield probe.locks(folder)
    if places is None or places.database_url.startswith("sqlite"):
        yield probe.sqlite(folder)
    yield probe.disk(folder)
    if refused is not None:
        yield _problem("settings", refused)
    if places is None:
        yield probe.clock_of(folder, None)
        return
    yield Finding(
        check="settings",
        state="ok" if places.made else "untried",
        found="they can be read" if places.made else f"no project in {folder} yet: the defaults",
    )
    yield from _stores(places)
    yield port(places.host, places.port)
    yield port(places.server_host, places.server_port, "server")
    if places.made:
        yield _held("project", lambda: _project(places.folder))


def port(host: str, number: int, part: Literal["serving", "server"] = "serving") -> Finding:
    """Whether a server could listen; one of ours that does so already is no trouble.

    Args:
        host: the address.
        number: of the port.
        part: of the settings: the endpoints, or the control server.
    """
    check = "port" if part == "serving" else "server port"
    try:
        supervisor.bind(host, number, guarded=False).close()
    except UnavailableError as error:
        if _answers(host, number, _ALIVE[part]):
            return Finding(
                check=check,
                state="warning",
                found=f"{host}:{number} is taken by a server of ours that answers",
                fix=f"nothing to do if it is this project's; else set {part}.port",
            )
        return _problem(check, error)
    except ColonnadeError as error:
        return _problem(check, error)
    return Finding(check=check, state="ok", found=f"{host}:{number} can be bound")


def spool(folder: Path, keys: dict[str, bytes]) -> Finding:
    """Whether the predictions that wait to be flushed can be read.

    Args:
        folder: of the spools of all endpoints.
        keys: spool keys by their ids.
    """
    waiting, aside, damage = 0, 0, []
    for endpoint in sorted(folder.iterdir()) if folder.is_dir() else ():
        aside += len(list(endpoint.glob(f"*/*{collect.ASIDE}")))
        for found in collect.segments(endpoint):
            waiting += 1
            try:
                segment.read_segment(found.path, keys)
            except FileNotFoundError:  # flushed meanwhile
                waiting -= 1
            except ColonnadeError as error:
                damage.append(error)
    if damage:
        return _problem("spool", damage[0])
    if aside:
        return Finding(
            check="spool",
            state="warning",
            found=f"{aside} damaged segments were set aside",
            fix=f"restore them from a copy, or delete {folder}/*/*/*{collect.ASIDE}",
        )
    return Finding(check="spool", state="ok", found=f"{waiting} segments wait, all can be read")


def _stores(places: Places) -> Iterator[Finding]:
    """Keys, database, ledger and spool; the exported heads are read first: they are behind."""
    known: Known | None = None
    try:
        lines = health.exported(places.heads_file)
    except OSError as error:
        lines, refused = None, f"{places.heads_file}: {error.strerror}"
    else:
        refused = ""
    try:
        known = health.look(places.database_url)
    except ColonnadeError as error:
        yield _problem("database", error)
    else:
        yield health.database_of(known, opened=places.opened)
    if refused:
        yield Finding(
            check="heads", state="problem", found=refused, fix="make it a file that can be written"
        )
    else:
        yield health.heads_of(places.heads_file, lines, known)
    yield health.key_file(places.key_file, known, opened=places.opened)
    yield probe.clock_of(places.folder, known.newest if known else None)
    if known is not None:
        yield health.leases_of(known)
    if places.opened:
        yield _held("spool", lambda: spool(places.spool, health.spool_keys(places.key_file)))


def _project(folder: Path) -> Finding:
    project = code.load(folder)
    counts = {
        "source": len(project.sources),
        "table": len(project.tables),
        "model": len(project.models),
        "endpoint": len(project.endpoints),
    }
    told = ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in counts.items())
    return Finding(check="project", state="ok", found=f"project.py loads: {told}")


def _held(check: str, look: Callable[[], Finding]) -> Finding:
    """What a check refuses is its finding."""
    try:
        return look()
    except ColonnadeError as error:
        return _problem(check, error)
    except OSError as error:
        return Finding(check=check, state="problem", found=str(error), fix="make it readable")


def _problem(check: str, error: ColonnadeError) -> Finding:
    return Finding(
        check=check, state="problem", found=f"{error.code}: {error.message}", fix=error.fix
    )


def _answers(host: str, number: int, path: str) -> bool:
    """Whether it is one of our servers that holds the port."""
    connection = http.client.HTTPConnection(host, number, timeout=_ASK_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().read() == b'{"live":true}'
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _mounts() -> str:
    return MOUNTS.read_text(errors="replace") if MOUNTS.exists() else ""
