"""Which metadata database the tests use: SQLite, or PostgreSQL where the variable says so."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

KIND = os.environ.get("COLONNADE_TEST_DATABASE", "sqlite")
assert KIND in ("sqlite", "postgresql"), f"COLONNADE_TEST_DATABASE={KIND}"


def fresh(folder: Path) -> str:
    """The address of a new, empty database."""
    if KIND == "sqlite":
        return f"sqlite:///{folder / 'meta.db'}"
    from tests.postgresql import server  # noqa: PLC0415 (its driver is an extra)

    return server().create()


def settings() -> str:
    """The setting of a new project; SQLite is what it has without one."""
    return "" if KIND == "sqlite" else f'database_url = "{fresh(Path())}"\n'


def copy(url: str, folder: Path) -> str:
    """The address of a copy of a database; the file of SQLite's was copied with its folder."""
    if KIND == "sqlite":
        return f"sqlite:///{folder / Path(url).name}"
    from tests.postgresql import server  # noqa: PLC0415 (its driver is an extra)

    return server().copy(url)


def copied(folder: Path) -> Path:
    """Give a project that was copied with its folder a copy of its database too."""
    if KIND == "postgresql":
        file, url = folder / "colonnade.toml", address(folder)
        file.write_text(file.read_text().replace(url, copy(url, folder)))
    return folder


def address(folder: Path) -> str:
    """The address of a project's database."""
    found = tomllib.loads((folder / "colonnade.toml").read_text())
    return found.get("database_url", f"sqlite:///{folder / '.colonnade' / 'meta.db'}")
