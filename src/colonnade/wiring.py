"""The composition root: a project folder and its settings become stores, sessions, declarations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from colonnade.base import ids
from colonnade.base.errors import NotFoundError, UnavailableError, UsageError
from colonnade.base.text import check_name
from colonnade.compute import code
from colonnade.govern import access, audit
from colonnade.govern.session import Session
from colonnade.govern.stores import Stores, open_stores
from colonnade.project import Project
from colonnade.store import durable, keys

SETTINGS: Final = "colonnade.toml"
STATE: Final = ".colonnade"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProjectSettings(_Part):
    """Which project this is."""

    name: str
    id: str


class ServingSettings(_Part):
    """The endpoint process of ``colonnade up``."""

    host: str = "127.0.0.1"
    port: int = 8500
    workers: int = 1
    log: Literal["commit", "buffered", "off"] = "commit"


class Settings(BaseSettings):
    """``colonnade.toml``, then ``COLONNADE_*`` variables, which win."""

    model_config = SettingsConfigDict(
        env_prefix="COLONNADE_", env_nested_delimiter="__", extra="forbid", frozen=True
    )
    project: ProjectSettings
    serving: ServingSettings = ServingSettings()
    database_url: str | None = None
    key_file: Path | None = None
    heads_file: Path | None = None

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
        return Settings(**TomlConfigSettingsSource(Settings, path)())
    except (ValidationError, ValueError) as error:
        raise UsageError(
            "CN-SETTINGS-002",
            f"{SETTINGS} cannot be used: {_first_problem(error)}",
            "mend the setting; docs/settings.md lists them all",
        ) from error


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

    def verify(self) -> audit.Verdict:
        """Verify the ledger (see `audit.verify`)."""
        return audit.verify(
            self.stores.database, self.stores.keys.public(), heads_file(self.folder, self.settings)
        )

    def furnish(self, declarations: str) -> None:
        """Give a new project its landing folder and a first ``project.py``; what is there stays.

        Raises:
            UnavailableError: CN-DISK-001, CN-DISK-002.
        """
        with durable.writing(self.folder):
            (self.folder / "landing").mkdir(exist_ok=True)
        if not (self.folder / code.PROJECT_FILE).exists():
            durable.write(self.folder / code.PROJECT_FILE, declarations.encode())

    @property
    def spool(self) -> Path:
        """Where the endpoint's workers keep acknowledged predictions until they are flushed."""
        return self.folder / STATE / "spool"


def open_workspace(folder: Path) -> Workspace:
    """Open a project; the first time this makes its keys, its database and its administrator.

    Raises:
        NotFoundError: CN-SETTINGS-001.
        UsageError: CN-SETTINGS-002; CN-SETTINGS-004, tables cannot be kept in this folder.
        UnavailableError: CN-KEYS-001, the keys are gone; CN-DATABASE-002; CN-DISK-001, CN-DISK-002.
    """
    folder = folder.resolve()
    settings = read_settings(folder)
    if "%" in str(folder):
        raise UsageError(
            "CN-SETTINGS-004",
            f"the path {folder} holds a %, below which Delta tables cannot be written",
            "move the project to a folder without %",
        )
    state = folder / STATE
    if not state.is_dir():
        keys.make(key_file(folder, settings))  # before the folder, which says that this was done
        with durable.writing(state):
            state.mkdir(exist_ok=True)
    if not (state / ".gitignore").exists():
        durable.write(state / ".gitignore", b"*\n")
    url = settings.database_url or f"sqlite:///{state / 'meta.db'}"
    stores = open_stores(url, state, key_file(folder, settings), heads_file(folder, settings))
    return Workspace(folder, settings, stores, access.first_start(stores))


def create(folder: Path, name: str, extra: str = "") -> None:
    """Write the settings of a new project; `extra` is TOML above them.

    Raises:
        UsageError: CN-SETTINGS-003, there is a project already; CN-NAME-001.
        UnavailableError: CN-DISK-001, CN-DISK-002; there is none.
    """
    check_name("project", name)
    if (folder / SETTINGS).exists():
        raise UsageError(
            "CN-SETTINGS-003", f"{folder} is a project already", "choose another folder"
        )
    text = f'{extra}[project]\nname = "{name}"\nid = "{ids.uuid7()}"\n'
    with durable.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    durable.write(folder / SETTINGS, text.encode())


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


def _first_problem(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)
