"""A real PostgreSQL server for the tests: started when the first test wants it, stopped at the end.

It refuses to run as root, so root starts it as `nobody`. Its data lie in a folder of its own and it
listens on a socket there: nothing of the machine's own server is touched.
"""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from urllib.parse import quote

import psycopg

from tests.tools import needed

OWNER = "colonnade"
HOW = "apt-get install postgresql"
_SETTINGS = {"listen_addresses": "", "max_connections": "200", "shared_buffers": "64MB"}
_numbers = itertools.count(1)


class Server:
    """One running server; each test gets a database of its own."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="colonnade-postgresql-"))
        atexit.register(self._stop)
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        self._run("initdb", "--username", OWNER, "--auth", "trust", "--no-sync", "--no-locale",
                  "--encoding", "UTF8", "--pgdata", str(self._folder / "data"))  # fmt: skip
        self._start()

    def url(self, database: str) -> str:
        """The address of a database, as a project's setting."""
        return f"postgresql://{OWNER}@/{database}?host={quote(str(self._folder))}"

    def create(self, template: str = "template0") -> str:
        """The address of a new database, empty or a copy."""
        name = f"test_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def copy(self, url: str) -> str:
        """The address of a copy of a database; whoever is connected to it is sent away."""
        name = database_of(url)
        self.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            f"WHERE datname = '{name}'"
        )
        return self.create(name)

    def execute(self, statement: str) -> None:
        """Say something to the server itself."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def restart(self) -> None:
        """Kill every process of the server and start it again, as after a power cut."""
        self._process.send_signal(signal.SIGQUIT)  # "immediate": no checkpoint, no good-bye
        self._process.wait()
        self._start()

    def _start(self) -> None:
        settings = [f"-c{name}={value}" for name, value in _SETTINGS.items()]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [needed("postgres", HOW), "-D", str(self._folder / "data"),
                 "-k", str(self._folder), *settings],
                user=self._user, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        deadline_s = time.monotonic() + 30
        while not self._answers():
            ended = self._process.poll()
            assert ended is None, (self._folder / "log").read_text()
            assert time.monotonic() < deadline_s
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, name: str, *words: str) -> None:
        subprocess.run(
            [needed(name, HOW), *words],
            user=self._user, cwd=self._folder, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def _stop(self) -> None:
        if hasattr(self, "_process"):
            self._process.send_signal(signal.SIGINT)  # "fast": ends connections, then itself
            self._process.wait()
        shutil.rmtree(self._folder)


@cache
def server() -> Server:
    """The server of this test process."""
    return Server()


def database_of(url: str) -> str:
    """The name of the database in an address."""
    return url.partition("?")[0].rpartition("/")[2]
