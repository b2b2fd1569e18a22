"""The composition root: a project folder and its settings become stores, sessions, declarations."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Annotated, Any, Final, Literal, Self

import polars as pl
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from sqlalchemy import make_url

from colonnade.base import disk, ids
from colonnade.base.errors import NotFoundError, RefusedError, UnavailableError, UsageError
from colonnade.base.text import check_name, closest
from colonnade.compute import code
from colonnade.govern import access, audit
from colonnade.govern.health import Places
from colonnade.govern.session import Session
from colonnade.govern.stores import Stores, open_stores
from colonnade.project import Project
from colonnade.store import durable, keys, sources
from colonnade.store.database import backend

SETTINGS: Final = "colonnade.toml"
STATE: Final = ".colonnade"
_NO_FILES: Final[Mapping[str, str | Path]] = MappingProxyType({})
PREFIX: Final = "COLONNADE_"
_NO_SETTINGS: Final = re.compile(rf"{PREFIX}(FOLDER|TEST_.*)")  # the command line's, the tests'


def _is_path(path: Path) -> Path:
    """The path, if it can be one: TOML knows the character 0, a file system does not."""
    if "\0" in str(path) or str(path) == ".":
        raise ValueError("it names no file")
    path.expanduser()
    return path


_File = Annotated[Path, AfterValidator(_is_path)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProjectSettings(_Part):
    """Which project this is."""

    name: str
    id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")  # it names files


class ServingSettings(_Part):
    """The endpoint process of ``colonnade up``."""

    host: str = "127.0.0.1"
    port: int = Field(default=8500, ge=0, le=65_535)
    workers: int = Field(default=1, ge=1, le=256)
    log: Literal["commit", "buffered", "off"] = "commit"


class ServerSettings(_Part):
    """The control server."""

    host: str = "127.0.0.1"
    port: int = Field(default=8400, ge=0, le=65_535)
    body_bytes: int = Field(default=32 * 1024 * 1024, ge=1, le=1 << 40)


class WorkerSettings(_Part):
    """What a worker does with a scheduled run that fails."""

    tries: int = Field(default=5, ge=1, le=100)
    wait_s: float = Field(default=60.0, ge=0.0, le=86_400.0)


class Settings(BaseSettings):
    """``colonnade.toml``, then ``COLONNADE_*`` variables, which win."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )
    project: ProjectSettings
    serving: ServingSettings = ServingSettings()
    server: ServerSettings = ServerSettings()
    worker: WorkerSettings = WorkerSettings()
    database_url: str | None = None
    key_file: _File | None = None
    heads_file: _File | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment before the file (which `read_settings` passes as init values)."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings


def read_settings(folder: Path) -> Settings:
    """The settings of the project in `folder`.

    Raises:
        NotFoundError: CN-SETTINGS-001, there is no project here.
        UsageError: CN-SETTINGS-002, a setting is wrong.
    """
    path = folder / SETTINGS
    if not path.is_file():
        raise NotFoundError(
            "CN-SETTINGS-001",
            f"{folder} is no project: it has no {SETTINGS}",
            "go into a project's folder, or make one: colonnade init my_project",
        )
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError, RecursionError) as error:
        raise _wrong_setting(error) from error
    return _settings(values)


def unknown_variables(names: Iterable[str]) -> dict[str, str]:
    """The variables that look like settings and are none, each with a hint."""
    known = list(_variables(Settings, PREFIX))
    return {
        name: closest(name, known)
        for name in sorted(names)
        if name.startswith(PREFIX)
        and name not in known
        and not _NO_SETTINGS.fullmatch(name)
        and not any(name.startswith(f"{part}__") for part in known)  # those are refused above
    }


def _variables(settings: type[BaseModel], prefix: str) -> Iterable[str]:
    for name, field in settings.model_fields.items():
        variable = f"{prefix}{name.upper()}"
        yield variable
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _variables(field.annotation, f"{variable}__")


@dataclass
class Workspace:
    """An opened project.

    Attributes:
        first_key: the administrator's API key when this opening was the first start, else None.
    """

    folder: Path
    settings: Settings
    stores: Stores
    first_key: str | None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Every command seals what it appended before it exits."""
        try:
            self.stores.sealer.seal()
        except UnavailableError:
            if error is None:
                raise  # else: what ended the command says more; the next one seals
        finally:
            self.stores.database.close()

    @cached_property
    def project(self) -> Project:
        """The user's declarations, imported."""
        return code.load(self.folder)

    def session(self, purpose: str, actor: str = access.ADMIN.name) -> Session:
        """A session of an actor.

        Raises:
            NotFoundError: CN-ACCESS-002, there is no such actor.
        """
        found = self.stores.people.actor(actor)
        if found is None:
            raise NotFoundError("CN-ACCESS-002", f"there is no actor {actor!r}", "colonnade access")
        return Session(self.stores, found, purpose)

    def caller(self, key_sha256: str, purpose: str) -> Session | None:
        """A session of whoever holds the API key with this digest; None where it opens nothing."""
        found = access.holder(self.stores, key_sha256)
        return None if found is None else Session(self.stores, found, purpose)

    def verify(self) -> audit.Verdict:
        """Verify the ledger (see `audit.verify`)."""
        return audit.verify(
            self.stores.database, self.stores.keys.public(), heads_file(self.folder, self.settings)
        )

    @property
    def spool(self) -> Path:
        """Where the endpoint's workers keep acknowledged predictions until they are flushed."""
        return self.folder / STATE / "spool"


def open_workspace(folder: Path, show: Callable[[str], None] = lambda _: None) -> Workspace:
    """Open a project; the first time this makes its keys, its database and its administrator.

    Args:
        folder: of the project.
        show: told the administrator's key at the first start (see `access.first_start`).

    Raises:
        NotFoundError: CN-SETTINGS-001.
        UsageError: CN-SETTINGS-002; CN-SETTINGS-004, tables cannot be kept in this folder.
        UnavailableError: CN-KEYS-001, the keys are gone; CN-DATABASE-002; CN-DISK-001, CN-DISK-002.
        RefusedError: CN-LEDGER-002, the database is gone; CN-KEYS-005, CN-LEDGER-003, it is
            another project's.
    """
    folder = folder.resolve()
    settings = read_settings(folder)
    _check_place(folder)
    state = folder / STATE
    if not state.is_dir():
        keys.make(key_file(folder, settings))  # before the folder, which says that this was done
        with durable.writing(state):
            state.mkdir(exist_ok=True)
    if not (state / ".gitignore").exists():
        durable.write(state / ".gitignore", b"*\n")
    url = _database_url(folder, settings)
    known = _exports(heads_file(folder, settings))  # before the database: it is behind that one
    if known and _is_gone(url):
        raise _new_beside(folder, settings)
    stores = open_stores(url, state, key_file(folder, settings), heads_file(folder, settings))
    try:
        if known:
            _check_not_new(stores, folder, settings)
        first_key = access.first_start(stores, settings.project.id, show)
    except BaseException:
        stores.database.close()
        raise
    return Workspace(folder, settings, stores, first_key)


def _check_not_new(stores: Stores, folder: Path, settings: Settings) -> None:
    if stores.people.actor(access.ADMIN.name) is None:
        raise _new_beside(folder, settings)


def _is_gone(url: str) -> bool:
    """Whether it is SQLite's file and opening it would make it."""
    address = make_url(url) if backend(url) == "sqlite" else None
    return address is not None and not Path(address.database or "").exists()


def _new_beside(folder: Path, settings: Settings) -> RefusedError:
    where = make_url(_database_url(folder, settings)).render_as_string()
    return RefusedError(
        "CN-LEDGER-002",
        f"the database {where} is new or not there, and {heads_file(folder, settings)} names "
        "signed heads of this project's ledger: the database was deleted, or it is another one",
        "name the right one (database_url, COLONNADE_DATABASE_URL) or put it back from your "
        "backup; to begin anew, move the heads file away",
    )


def open_data(path: Path) -> tuple[str, pl.LazyFrame]:
    """A file that is in no project yet: how its kind of names ends, and its rows.

    Raises:
        UsageError: CN-SOURCE-002 to 004, it cannot be read.
    """
    return sources.check_format(path), sources.open_file(path, ())


def places(folder: Path) -> Places:
    """Where a project's things lie, or those of a project that would be made in `folder`.

    Raises:
        UsageError: CN-SETTINGS-002, a setting is wrong.
    """
    folder = folder.resolve()
    made = (folder / SETTINGS).is_file()
    settings = (
        read_settings(folder) if made else _settings({"project": {"name": "new", "id": "new"}})
    )
    return Places(
        folder=folder,
        made=made,
        opened=(folder / STATE).is_dir(),
        database_url=_database_url(folder, settings),
        key_file=key_file(folder, settings),
        heads_file=heads_file(folder, settings),
        spool=folder / STATE / "spool",
        host=settings.serving.host,
        port=settings.serving.port,
        server_host=settings.server.host,
        server_port=settings.server.port,
    )


def create(
    folder: Path, name: str, extra: str = "", files: Mapping[str, str | Path] = _NO_FILES
) -> None:
    """Write a new project: the settings last, for they make it one.

    Args:
        folder: of the project; made where it is not there.
        name: of the project.
        extra: TOML above the settings.
        files: path in the project -> text, or the file to copy; what is there already is kept.

    Raises:
        UsageError: CN-SETTINGS-003, there is a project already; CN-NAME-001.
        UnavailableError: CN-DISK-001, CN-DISK-002; there is none.
    """
    check_name("project", name)
    _check_place(folder)
    if (folder / SETTINGS).exists():
        raise there_already(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if disk.is_fault(error):
            raise disk.refused(error, folder) from error
        raise UsageError(
            "CN-SETTINGS-005",
            f"no project can be made in {folder}: {error.strerror}",
            "choose a folder that you may write",
        ) from error
    settings = {SETTINGS: f'{extra}[project]\nname = "{name}"\nid = "{ids.uuid7()}"\n'}
    for path, content in {**files, **settings}.items():
        if not (folder / path).exists():
            with durable.writing(folder):
                (folder / path).parent.mkdir(exist_ok=True)
            if isinstance(content, Path):
                durable.copy(content, folder / path)
            else:
                durable.write(folder / path, content.encode())


def there_already(folder: Path) -> UsageError:
    """The refusal of a new project where there is one."""
    return UsageError("CN-SETTINGS-003", f"{folder} is a project already", "choose another folder")


def _check_place(folder: Path) -> None:
    if "%" in str(folder):
        raise UsageError(
            "CN-SETTINGS-004",
            f"the path {folder} holds a %, below which Delta tables cannot be written",
            "move the project to a folder without %",
        )


def key_file(folder: Path, settings: Settings) -> Path:
    """Where the root keys lie: outside the project's folder unless a setting says otherwise."""
    return _place(folder, settings.key_file, settings.project.id, ".key")


def heads_file(folder: Path, settings: Settings) -> Path:
    """Where signed heads are exported."""
    return _place(folder, settings.heads_file, settings.project.id, ".heads")


def _place(folder: Path, setting: Path | None, project: str, suffix: str) -> Path:
    if setting is not None:
        return folder / setting.expanduser()
    return Path.home() / ".config" / "colonnade" / f"{project}{suffix}"


def _database_url(folder: Path, settings: Settings) -> str:
    return settings.database_url or f"sqlite:///{folder / STATE / 'meta.db'}"


def _exports(heads: Path) -> bool:
    """Whether heads were exported to this file; one that cannot be read is told when it is used."""
    try:
        return heads.stat().st_size > 0
    except OSError:
        return False


def _settings(values: Mapping[str, Any]) -> Settings:
    try:
        return Settings(**values)
    except (ValidationError, RuntimeError) as error:
        raise _wrong_setting(error) from error


def _wrong_setting(error: Exception) -> UsageError:
    return UsageError(
        "CN-SETTINGS-002",
        f"{SETTINGS} cannot be used: {_first_problem(error)}",
        "mend the setting; docs/settings.md lists them all",
    )


def _first_problem(error: Exception) -> str:
    """What is wrong, in one line; the database's URL is not quoted: it may hold a password."""
    if isinstance(error, RecursionError):
        return "its values lie too deep in one another"
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return f"{name}: there is no such setting; {closest(name, _names(Settings))}"
    found = "" if name in ("database_url", "") else f"; found {str(first['input'])[:60]!r}"
    return f"{name}: {first['msg']}{found if first['type'] != 'missing' else ''}"


def _names(settings: type[BaseModel]) -> list[str]:
    variables = list(_variables(settings, ""))
    return [name.lower().replace("__", ".") for name in variables]
