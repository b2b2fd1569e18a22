"""What a user declares: sources, tables, models, endpoints. Pure data and functions.

The function is the declaration: its name names the table or model, its parameters name the
inputs. A decorator writes the declaration down and hands the function back as it was, so that
the user's own tests call it; `declaration` reads what it carries. Nothing is read, run or
connected here, and nothing is global: two projects fit in one process.
"""

from __future__ import annotations

import graphlib
import inspect
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import FunctionType, MappingProxyType
from typing import TypeVar, get_args, overload

from colonnade.base.errors import UsageError
from colonnade.base.text import check_name, closest, is_a
from colonnade.records.condition import Comparison, Trigger, parse_gate, parse_trigger
from colonnade.records.schedule import ON_ARRIVAL, is_schedule
from colonnade.records.source import Files, Origin, Push, Rest, Sql
from colonnade.records.table import Partition, Query, WriteMode

Function = Callable[..., object]
_F = TypeVar("_F", bound=Function)

_MARK = "__colonnade__"
_WAITING = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_GLOB = re.compile(r"[*?\[]")
_LEADS_NOWHERE = re.compile(r"://|\0|[^/]\*\*|\*\*[^/]")
_MAX_SEED = 2**32 - 1
_SQL_FILE = re.compile(r"\S+\.sql")
_NAMELESS = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.VAR_POSITIONAL,
    inspect.Parameter.VAR_KEYWORD,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Rows from outside, kept in a table of the same name.

    Attributes:
        origin: where they come from.
        schedule: ``on arrival``: a running worker takes over what lands; a cron line (UTC): at
            these times; None: a person runs it.
        mode: whether a file's rows are added to the table, take the place of all of it, or of
            the rows with their keys.
        key: the columns that tell one row from another; empty where nothing does.
        contract: a schema class in place of a contract's file.
    """

    name: str
    origin: Origin
    schedule: str | None
    mode: WriteMode
    key: tuple[str, ...] = ()
    contract: type | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table that a function or a query makes.

    Attributes:
        function: what makes it; None where a query does.
        inputs: the sources and tables it reads, in the order of the function's parameters, or of
            their first place in the query.
        key: the columns that tell one row from another; empty where nothing does.
        time: the column of event time.
        known: the column of the moment at which a row came to be known, where that is later.
        online: whether the newest row of each key is kept where it is read by key.
        mode: ``replace``: made anew as a whole; ``append`` and ``merge``: from what came anew.
        partition: the stretches of time that are made anew one by one; None: there are none.
        query: the SQL that makes it.
        schedule: a cron line (UTC); None: a run of what it is made from makes it.
    """

    name: str
    function: Function | None
    inputs: tuple[str, ...]
    key: tuple[str, ...]
    time: str | None
    known: str | None = None
    online: bool = False
    mode: WriteMode = "replace"
    partition: Partition | None = None
    query: Query | None = None
    schedule: str | None = None

    @property
    def identity(self) -> tuple[str, ...]:
        """The columns that no two rows share: a thing that is read online has a history."""
        if not self.online or self.mode == "merge":
            return self.key
        return (*self.key, *(column for column in (self.time, self.known) if column))

    @property
    def where(self) -> str:
        """Where a person finds what makes it."""
        if self.function is not None:
            return location(self.function)
        return self.query.where if self.query is not None else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that a function fits.

    Attributes:
        table: the table it learns from.
        holdout: the newest part of the rows, which judges the fit and is not learnt from.
        schedule: a cron line (UTC) at which it is fitted again; None: at no time of its own.
    """

    name: str
    function: Function
    table: str
    label: str
    features: tuple[str, ...]
    gates: tuple[Comparison, ...]
    seed: int
    holdout: float
    schedule: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A model that answers requests.

    Attributes:
        retrain: what makes a new run of the model; None: only the user does.
    """

    name: str
    model: str
    retrain: Trigger | None


class Project:
    """Everything that one ``project.py`` declares.

    Declarations may come in any order: `check` looks at them together, when all are there.

    >>> project = Project("flights")
    >>> project.source("flights", "landing/flights*.csv").mode
    'append'
    >>> @project.table(key="flight_id", time="departs_at")
    ... def departures(flights):
    ...     return flights
    >>> @project.model(label="late", features=["hour"], gates=["auc >= 0.60"])
    ... def late_departure(departures): ...
    >>> project.deploy(late_departure, retrain="auc < 0.70 or drift").name
    'late_departure'
    >>> project.check()
    """

    def __init__(self, name: str) -> None:
        self.name = check_name("project", name)
        self._sources: dict[str, Source] = {}
        self._tables: dict[str, Table] = {}
        self._models: dict[str, Model] = {}
        self._endpoints: dict[str, Endpoint] = {}

    def __repr__(self) -> str:
        return f"Project({self.name!r})"

    @property
    def sources(self) -> Mapping[str, Source]:
        """The sources by name, in the order of their declaration."""
        return MappingProxyType(self._sources)

    @property
    def tables(self) -> Mapping[str, Table]:
        """The tables by name, in the order of their declaration."""
        return MappingProxyType(self._tables)

    @property
    def models(self) -> Mapping[str, Model]:
        """The models by name, in the order of their declaration."""
        return MappingProxyType(self._models)

    @property
    def endpoints(self) -> Mapping[str, Endpoint]:
        """The endpoints by name, in the order of their declaration."""
        return MappingProxyType(self._endpoints)

    def source(
        self,
        name: str,
        origin: str | os.PathLike[str] | Origin,
        *,
        schedule: str | None = None,
        mode: WriteMode | None = None,
        key: str | Sequence[str] = (),
        contract: type | None = None,
    ) -> Source:
        """Declare rows from outside: files that land, what is asked for, or what is sent.

        Args:
            name: what tables call it.
            origin: a file or a glob, relative to the project's folder; or `Sql`, `Rest`, `Push`.
            schedule: ``on arrival``: a running worker takes over what lands; or a cron line such
                as ``0 6 * * *``, in UTC.
            mode: ``append`` (default for a glob, a cursor and a push: new rows are added),
                ``replace`` (default otherwise: what comes takes the place of the table) or
                ``merge`` (a row that comes takes the place of the one with its key).
            key: the column or columns that tell one row from another.
            contract: a dataframely schema class, in place of ``contracts/<name>.yaml``.

        Raises:
            UsageError: CN-NAME-001; CN-PROJECT-007, the name is taken; CN-PROJECT-009, a
                setting is out of its range.
        """
        self._claim("source", name)
        what, modes = f"source {name}", get_args(WriteMode)
        found = origin if isinstance(origin, Sql | Rest | Push) else _files(what, origin)
        if mode is not None and mode not in modes:
            raise _wrong(what, "mode", mode, " or ".join(modes))
        if contract is not None and not is_a(contract, type):
            raise _wrong(what, "contract", contract, "a dataframely schema class")
        columns = (key,) if isinstance(key, str) else _columns(what, "key", key)
        if mode == "merge" and not columns:
            raise _wrong(what, "key", key, "a column or more to merge by")
        _check_origin(what, found, schedule, mode)
        source = Source(
            name=name,
            origin=found,
            schedule=_schedule(what, schedule),
            mode=mode or ("append" if _grows(found) else "replace"),
            key=columns,
            contract=contract,
        )
        self._sources[name] = source
        return source

    @overload
    def table(
        self,
        *,
        key: str | Sequence[str] = (),
        time: str | tuple[str, str] | None = None,
        mode: WriteMode = "replace",
        partition: Partition | None = None,
        online: bool = False,
        schedule: str | None = None,
    ) -> Callable[[_F], _F]: ...

    @overload
    def table(
        self,
        name: str,
        *,
        sql: str | os.PathLike[str],
        key: str | Sequence[str] = (),
        time: str | tuple[str, str] | None = None,
        mode: WriteMode = "replace",
        partition: Partition | None = None,
        online: bool = False,
        schedule: str | None = None,
    ) -> Table: ...

    def table(  # noqa: PLR0913 (two forms: what a decorator takes, and the name of a query)
        self,
        name: str | None = None,
        *,
        sql: str | os.PathLike[str] | None = None,
        key: str | Sequence[str] = (),
        time: str | tuple[str, str] | None = None,
        mode: WriteMode = "replace",
        partition: Partition | None = None,
        online: bool = False,
        schedule: str | None = None,
    ) -> Callable[[_F], _F] | Table:
        """Declare a table: the decorated function makes it from the tables it names.

        A parameter with a default value is the function's own and names no input. With `sql`
        there is no function, and the query's tables are the inputs.

        Args:
            name: of a table that a query makes.
            sql: a query, or the path of a file with one, relative to the project's folder.
            key: the column or columns that tell one row from another.
            time: the column of event time; a pair where the moment at which a row came to be
                known is another column.
            mode: ``replace``: made anew as a whole. ``append``: the rows that came to the first
                input make the rows that are added. ``merge``: the same by key, and rows that
                were changed in the first input are changed in the table.
            partition: ``month`` or ``day``: where rows came or changed, the months or days of
                `time` that they are in are made anew, and no others.
            online: keep the newest row of each key where it is read by key; rows of one key
                may then differ in their times.
            schedule: a cron line such as ``0 6 * * *``, in UTC.

        Raises:
            UsageError: CN-NAME-001; CN-PROJECT-007, the name is taken; CN-PROJECT-008, the
                parameters cannot name inputs; CN-PROJECT-009, a setting is out of its range.
        """

        def declared(name: str, function: Function | None, query: Query | None) -> Table:
            what = f"table {name}"
            table = Table(
                name=self._claim("table", name),
                function=function,
                inputs=() if function is None else _inputs(function),
                key=(key,) if isinstance(key, str) else _columns(what, "key", key),
                time=_times(what, time)[0],
                known=_times(what, time)[1],
                mode=mode,
                partition=partition,
                online=_online(what, online, key),
                query=query,
                schedule=_cron(what, schedule),
            )
            _check_table(table)
            self._tables[name] = table
            return table

        def declare(function: _F) -> _F:
            _carry(function, declared(_name(function), function, None))
            return function

        if sql is None and name is None:
            return declare
        if name is None or sql is None:
            raise _wrong("the table", "sql", sql, 'a query, as in table("name", sql="name.sql")')
        return declared(name, None, _query(name, sql))

    def read_query(self, name: str, query: Query, inputs: Sequence[str]) -> None:
        """Note what the query of a declared table says and reads; ``compute.code.load`` does."""
        self._tables[name] = replace(self._tables[name], query=query, inputs=tuple(inputs))

    def model(
        self,
        *,
        label: str,
        features: Sequence[str],
        gates: Sequence[str] = (),
        seed: int = 0,
        holdout: float = 0.2,
        schedule: str | None = None,
    ) -> Callable[[_F], _F]:
        """Declare a model: the decorated function fits it on the one table that it names.

        Args:
            label: the column to learn.
            features: the columns to learn it from; a request carries them by these names.
            gates: what a fit must reach, such as ``auc >= 0.60`` or ``auc > champion``.
            seed: fixes every random choice of the platform, 0 to 2**32 - 1.
            holdout: the newest part of the rows, which judges the fit; above 0, below 1.
            schedule: a cron line such as ``0 6 * * 1``, in UTC: when it is fitted again.

        Raises:
            UsageError: CN-CONDITION-001, a gate cannot be read; CN-NAME-001; CN-PROJECT-007,
                the name is taken; CN-PROJECT-008, not exactly one table; CN-PROJECT-009, a
                setting is out of its range.
        """
        parsed = tuple(map(parse_gate, _strings("the model", "gates", gates)))

        def declare(function: _F) -> _F:
            name = self._claim("model", _name(function))
            model = Model(
                name=name,
                function=function,
                table=_only_input(function),
                label=_column(f"model {name}", "label", label),
                features=_columns(f"model {name}", "features", features),
                gates=parsed,
                seed=seed,
                holdout=holdout,
                schedule=_cron(f"model {name}", schedule),
            )
            _check_model(model)
            self._models[name] = _carry(function, model)
            return function

        return declare

    def deploy(
        self,
        model: str | Function,
        *,
        name: str | None = None,
        retrain: str | None = None,
    ) -> Endpoint:
        """Declare an endpoint that answers with a model.

        Args:
            model: the function that was declared as a model, or its name.
            name: the endpoint's name; the model's, if not given.
            retrain: when to fit again, such as ``auc < 0.70 or drift``.

        Raises:
            UsageError: CN-CONDITION-001, the trigger cannot be read; CN-NAME-001;
                CN-PROJECT-005, the function is no model of this project; CN-PROJECT-007, the
                name is taken; CN-PROJECT-009, a setting is out of its range.
        """
        model_name = model if isinstance(model, str) else self._model_name(model)
        name = check_name("endpoint", model_name if name is None else name)
        if name in self._endpoints:
            raise _taken("endpoint", name, "an endpoint")
        endpoint = Endpoint(
            name=name,
            model=model_name,
            retrain=None
            if retrain is None
            else parse_trigger(_text(f"endpoint {name}", "retrain", retrain, "a condition")),
        )
        self._endpoints[name] = endpoint
        return endpoint

    def check(self) -> None:
        """Look at all declarations together: whether every name that is used is declared.

        Raises:
            UsageError: CN-PROJECT-005, an unknown name, with the line that uses it and the
                closest one; CN-PROJECT-006, tables that are made from each other.
        """
        for table in self._tables.values():
            for name in table.inputs:
                if name not in self._sources and name not in self._tables:
                    where = f"{table.where}: table {table.name} reads"
                    raise _unknown(where, "source or table", name, [*self._sources, *self._tables])
        for model in self._models.values():
            if model.table not in self._tables:
                where = f"{location(model.function)}: model {model.name} learns from"
                raise _unknown(where, "table", model.table, self._tables)
        for endpoint in self._endpoints.values():
            if endpoint.model not in self._models:
                where = f"endpoint {endpoint.name} answers with"
                raise _unknown(where, "model", endpoint.model, self._models)
        self.order()

    def inputs_of(self, name: str) -> tuple[str, ...]:
        """What a table or model reads directly; nothing for a source.

        Raises:
            UsageError: CN-PROJECT-005, the project has no such source, table or model.
        """
        if name in self._sources:
            return ()
        if name in self._tables:
            return self._tables[name].inputs
        if name in self._models:
            return (self._models[name].table,)
        known = [*self._sources, *self._tables, *self._models]
        raise _unknown(f"project {self.name} is asked for", "source, table or model", name, known)

    def order(self, *names: str) -> tuple[Table, ...]:
        """The tables, each behind all that it is made from.

        Args:
            names: tables and models; only what they need is in the answer. All, if not given.

        Raises:
            UsageError: CN-PROJECT-005, an unknown name; CN-PROJECT-006, tables that are made
                from each other.
        """
        wanted = list(names or self._tables)
        graph: dict[str, tuple[str, ...]] = {}
        while wanted:
            name = wanted.pop(0)
            if name not in graph:
                graph[name] = self.inputs_of(name)
                wanted.extend(graph[name])
        try:
            ordered = list(graphlib.TopologicalSorter(graph).static_order())
        except graphlib.CycleError as error:
            raise self._cycle(error.args[1]) from error
        return tuple(self._tables[name] for name in ordered if name in self._tables)

    def _claim(self, kind: str, name: str) -> str:
        """The name, if it is one and is still free: sources, tables and models share names."""
        check_name(kind, name)
        if name in self._sources:
            raise _taken(kind, name, "a source")
        if name in self._tables:
            raise _taken(kind, name, "a table")
        if name in self._models:
            raise _taken(kind, name, "a model")
        return name

    def _model_name(self, function: Function) -> str:
        for model in self._models.values():
            if model.function is function:
                return model.name
        name = getattr(function, "__name__", repr(function))
        raise _unknown("deploy is given", "model of this project", name, self._models)

    def _cycle(self, names: Sequence[str]) -> UsageError:
        where = self._tables[names[0]].where
        return UsageError(
            "CN-PROJECT-006",
            f"{where}: tables are made from each other: {' -> '.join(names)}",
            "take one of these parameters away, or read a source instead",
        )


def declaration(function: Function) -> Table | Model | None:
    """What the decorated function declares; None for any other function."""
    found = getattr(function, _MARK, None)
    return found if isinstance(found, Table | Model) else None


def location(function: Function) -> str:
    """``file:line`` of the user's function."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)


_D = TypeVar("_D", Table, Model)


def _carry(function: Function, declared: _D) -> _D:
    vars(function)[_MARK] = declared
    return declared


def _name(function: Function) -> str:
    if not isinstance(function, FunctionType):
        raise UsageError(
            "CN-PROJECT-008",
            f"{function!r} is not a function, so it has no name and no parameters to wire",
            "decorate a plain function: def name(input): ...",
        )
    if function.__code__.co_flags & _WAITING:
        raise UsageError(
            "CN-PROJECT-008",
            f"{function.__name__} is asynchronous or yields, expected a function that returns",
            "return the result: no async, no yield",
        )
    return function.__name__


def _inputs(function: Function) -> tuple[str, ...]:
    """The parameters that name inputs: those without a default."""
    inputs = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in _NAMELESS:
            raise UsageError(
                "CN-PROJECT-008",
                f"{_name(function)} takes {parameter}, which names no input",
                "name each source or table that it reads as a parameter of its own",
            )
        if parameter.default is parameter.empty:
            inputs.append(parameter.name)
    return tuple(inputs)


def _only_input(function: Function) -> str:
    inputs = _inputs(function)
    if len(inputs) != 1:
        raise UsageError(
            "CN-PROJECT-008",
            f"model {_name(function)} has {len(inputs)} parameters, "
            "expected one: the table it learns from",
            f"def {_name(function)}(table): ..., and join what it needs in that table",
        )
    return inputs[0]


def _query(name: str, sql: str | os.PathLike[str]) -> Query:
    text = os.fspath(sql) if is_a(sql, str, os.PathLike) else ""
    if not text.strip():
        raise _wrong(f"table {name}", "sql", sql, "a query or the path of a file")
    if _SQL_FILE.fullmatch(text) is None and isinstance(sql, str):
        return Query(text=text, path=None)
    if _LEADS_NOWHERE.search(text) or text.startswith("/") or ".." in text.split("/"):
        raise _wrong(f"table {name}", "sql", sql, "a file in the project's folder")
    return Query(text="", path=text)


def _check_table(table: Table) -> None:
    """What the types of the settings cannot say."""
    what = f"table {table.name}"
    if table.mode not in ("append", "replace", "merge"):
        raise _wrong(what, "mode", table.mode, "append, replace or merge")
    if table.partition not in (None, "month", "day"):
        raise _wrong(what, "partition", table.partition, "month or day")
    if table.partition is not None and table.mode != "replace":
        raise _wrong(what, "mode", table.mode, "replace where there is a partition")
    if table.partition is not None and table.time is None:
        raise _wrong(what, "time", table.time, "a column of time, for there is a partition")
    if table.mode == "merge" and not table.key:
        raise _wrong(what, "key", (), "a column or more to merge by")


def _check_model(model: Model) -> None:
    """What the types of the settings cannot say."""
    what = f"model {model.name}"
    if not model.features:
        raise _wrong(what, "features", [], "at least one column")
    if model.label in model.features:
        raise _wrong(what, "features", model.label, "columns other than the label")
    if not is_a(model.seed, int) or not 0 <= model.seed <= _MAX_SEED:
        raise _wrong(what, "seed", model.seed, f"0 to {_MAX_SEED}")
    if not is_a(model.holdout, int, float) or not 0.0 < model.holdout < 1.0:
        raise _wrong(what, "holdout", model.holdout, "a part above 0 and below 1")


def _columns(what: str, setting: str, names: Sequence[str]) -> tuple[str, ...]:
    columns = _strings(what, setting, names)
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise _wrong(what, setting, twice[0], "every column once")
    return columns


def _strings(what: str, setting: str, values: Sequence[str]) -> tuple[str, ...]:
    """A string is a sequence of strings too: ``features="hour"`` would be four features."""
    listed = is_a(values, Sequence) and not is_a(values, str)
    if not listed or not all(is_a(value, str) for value in values):
        raise _wrong(what, setting, values, "a list of strings")
    return tuple(values)


def _column(what: str, setting: str, name: str) -> str:
    return _text(what, setting, name, "the name of a column")


def _text(what: str, setting: str, value: str, expected: str) -> str:
    if not is_a(value, str) or not value:
        raise _wrong(what, setting, value, expected)
    return value


def _times(what: str, time: str | tuple[str, str] | None) -> tuple[str | None, str | None]:
    """The column of event time, and that of the moment at which a row came to be known."""
    if time is None:
        return None, None
    if isinstance(time, tuple) and len(time) == 2:
        return _column(what, "time", time[0]), _column(what, "time", time[1])
    if not isinstance(time, str):
        raise _wrong(what, "time", time, "the name of a column, or a pair of two")
    return _column(what, "time", time), None


def _online(what: str, online: bool, key: str | Sequence[str]) -> bool:
    if not is_a(online, bool) or (online and not key):
        raise _wrong(what, "online", online, "True for a table with a key, or False")
    return online


def _files(what: str, path: object) -> Files:
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else ""
    if not isinstance(text, str) or _LEADS_NOWHERE.search(text) or not text.strip("./"):
        raise _wrong(what, "origin", path, "a file or a glob in the project's folder")
    return Files(path=text)


def _grows(origin: Origin) -> bool:
    """Whether what comes is new, and not all that there is."""
    if isinstance(origin, Files):
        return bool(_GLOB.search(origin.path))
    return isinstance(origin, Push) or bool(origin.cursor)


def _check_origin(what: str, origin: Origin, schedule: str | None, mode: str | None) -> None:
    """What an origin cannot be combined with."""
    if isinstance(origin, Push) and mode == "replace":
        raise _wrong(what, "mode", mode, "append: a push is one part of the rows")
    if isinstance(origin, Files | Push):
        return
    if schedule == ON_ARRIVAL:
        raise _wrong(what, "schedule", schedule, "a cron line: nothing arrives by itself")
    if origin.cursor is None and mode not in (None, "replace"):
        raise _wrong(what, "mode", mode, "replace, or to have a cursor: else all rows come anew")
    if origin.cursor is not None and mode == "replace":
        raise _wrong(what, "mode", mode, "append, or to have no cursor: only new rows come")


def _schedule(what: str, schedule: str | None) -> str | None:
    if schedule is None or schedule == ON_ARRIVAL:
        return schedule
    if is_a(schedule, str) and is_schedule(schedule):
        return schedule
    raise _wrong(
        what, "schedule", schedule, "'on arrival', a cron line such as '0 6 * * *', or none"
    )


def _cron(what: str, schedule: str | None) -> str | None:
    """A table or a model has a time of its own, or none: what arrives, arrives at a source."""
    if schedule is None or (is_a(schedule, str) and is_schedule(schedule)):
        return schedule
    raise _wrong(what, "schedule", schedule, "a cron line such as '0 6 * * *', or none")


def _wrong(what: str, setting: str, found: object, expected: str) -> UsageError:
    message = f"{what}: {setting} is {found!r}, expected {expected}"
    return UsageError("CN-PROJECT-009", message, f"set {setting} to {expected}")


def _taken(what: str, name: str, by: str) -> UsageError:
    message = f"{what} {name!r} cannot be declared: the project has {by} of this name already"
    return UsageError("CN-PROJECT-007", message, "give one of the two another name")


def _unknown(where: str, kind: str, name: str, known: Iterable[str]) -> UsageError:
    message = f"{where} {name!r}, which is no {kind}"
    return UsageError("CN-PROJECT-005", message, closest(name, known))
