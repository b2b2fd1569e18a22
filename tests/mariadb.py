"""A real MariaDB server for the tests: started when the first test wants it, stopped at the end.

It has a folder and a port of its own; root starts it as `nobody`.
"""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path

import pymysql

from tests.tools import needed

OWNER, PASSWORD = "colonnade", "right-0815"
HOW = "apt-get install mariadb-server-core mariadb-client-core"
_numbers = itertools.count(1)


class Server:
    """One running server; each test gets a database of its own."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="colonnade-mariadb-"))
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self._stop)
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        # Its temporary tables have names that two servers would give alike in one folder.
        own = {**os.environ, "TMPDIR": str(self._folder)}
        data = f"--datadir={self._folder / 'data'}"
        with (self._folder / "log").open("ab") as log:
            subprocess.run(
                [needed("mariadb-install-db", HOW), "--no-defaults", "--skip-test-db",
                 "--auth-root-authentication-method=normal", data],
                user=self._user, cwd=self._folder, check=True, stdout=log, stderr=log,
                env=own,
            )  # fmt: skip
            self._process = subprocess.Popen(
                [needed("mariadbd", HOW), "--no-defaults", data, "--bind-address=127.0.0.1",
                 f"--port={self._port}", f"--socket={self._folder / 'socket'}"],
                user=self._user, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=own,
            )  # fmt: skip
        deadline_s = time.monotonic() + 30
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        self._say(f"CREATE USER {OWNER}@'%' IDENTIFIED BY '{PASSWORD}'")
        self._say(f"GRANT ALL ON *.* TO {OWNER}@'%'")

    def create(self) -> str:
        """The address of a new, empty database."""
        name = f"test_{next(_numbers)}"
        self._say(f"CREATE DATABASE {name}")
        return f"mysql://{OWNER}:{PASSWORD}@127.0.0.1:{self._port}/{name}"

    def _say(self, statement: str) -> None:
        connection = pymysql.connect(unix_socket=str(self._folder / "socket"), user="root")
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)

    def _answers(self) -> bool:
        if not (self._folder / "socket").exists():  # the driver leaves a refused socket open
            return False
        try:
            self._say("SELECT 1")
        except pymysql.OperationalError:
            return False
        return True

    def _stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        shutil.rmtree(self._folder)


@cache
def server() -> Server:
    """The server of this test process."""
    return Server()
