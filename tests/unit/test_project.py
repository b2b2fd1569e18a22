from __future__ import annotations

import functools
import subprocess
import sys

import pytest

from colonnade.base.errors import UsageError
from colonnade.project import Model, Project, Source, Table, declaration, location
from colonnade.records.condition import parse_gate, parse_trigger
from colonnade.records.source import Files, Push


@pytest.fixture
def project():
    project = Project("flights")
    project.source("flights", "landing/flights*.csv", schedule="on arrival")
    project.source("weather", "landing/weather.csv")
    return project


def declare_departures(project):
    @project.table(key=["flight_id"], time="departs_at")
    def departures(flights, weather):
        return [*flights, *weather]

    return departures


def declare_model(project, **settings):
    @project.model(**{"label": "late", "features": ["hour", "carrier"]} | settings)
    def late_departure(departures):
        return departures

    return late_departure


def refused(code, call, *args, **kwargs):
    with pytest.raises(UsageError) as caught:
        call(*args, **kwargs)
    assert caught.value.code == code
    return caught.value


def test_the_first_lines_of_a_user_declare_a_project(project):
    departures = declare_departures(project)
    late_departure = declare_model(
        project, gates=["auc >= 0.60", "auc > champion", "auc >= 0.55 by carrier", "p99_ms <= 5"]
    )
    endpoint = project.deploy(late_departure, retrain="auc < 0.70 or drift")
    project.check()
    assert project.tables["departures"] == Table(
        name="departures",
        function=departures,
        inputs=("flights", "weather"),
        key=("flight_id",),
        time="departs_at",
    )
    model = project.models["late_departure"]
    assert (model.table, model.label, model.seed, model.holdout) == ("departures", "late", 0, 0.2)
    assert model.gates[1] == parse_gate("auc > champion")
    assert project.endpoints == {"late_departure": endpoint}
    assert endpoint.model == "late_departure"
    assert endpoint.retrain == parse_trigger("auc < 0.70 or drift")


def test_a_decorated_function_stays_itself_and_carries_its_declaration(project):
    departures = declare_departures(project)
    model = declare_model(project)
    assert departures([1], [2]) == [1, 2]
    assert declaration(departures) is project.tables["departures"]
    assert isinstance(declaration(model), Model)
    assert declaration(refused) is None


def test_a_glob_is_appended_and_one_file_replaces(project):
    assert project.sources["flights"].mode == "append"
    assert project.sources["weather"] == Source(
        name="weather",
        origin=Files(path="landing/weather.csv"),
        schedule=None,
        mode="replace",
    )
    assert project.source("log", "log.csv", mode="append").mode == "append"


def test_a_push_is_appended_and_has_a_key(project):
    source = project.source("events", Push(), key="event_id", schedule="0 6 * * 1-5")
    assert (source.origin, source.mode, source.key) == (Push(), "append", ("event_id",))
    assert source.schedule == "0 6 * * 1-5"
    assert project.source("more", Push(), key=["shop", "day"]).key == ("shop", "day")


def test_a_table_and_a_model_are_due_at_times_and_not_on_arrival(project):
    @project.table(schedule="0 7 * * *")
    def daily(flights):
        return flights

    assert project.tables["daily"].schedule == "0 7 * * *"

    def hourly(flights):
        return flights

    refused("CN-PROJECT-009", project.table(schedule="on arrival"), hourly)
    error = refused("CN-PROJECT-009", declare_model, project, schedule="hourly")
    assert "schedule is 'hourly'" in error.message


def test_a_schedule_is_on_arrival(project):
    source = project.source("planes", "planes.csv", schedule="on arrival")
    assert source.schedule == "on arrival"


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({"origin": ""}, "origin"),
        ({"origin": "s3://bucket/planes.csv"}, "origin"),
        ({"mode": "add"}, "mode"),
        ({"schedule": "0 25 * * *"}, "schedule"),
        ({"schedule": "* * * * * *"}, "schedule"),
        ({"schedule": "0 0 31 2 *"}, "schedule"),
        ({"schedule": 6}, "schedule"),
        ({"origin": Push(), "mode": "replace"}, "mode"),
        ({"origin": Push}, "origin"),
        ({"key": 3}, "key"),
        ({"key": ["a", "a"]}, "key"),
    ],
)
def test_a_source_with_a_wrong_setting_is_refused(project, settings, setting):
    error = refused("CN-PROJECT-009", project.source, "planes", **{"origin": "p.csv"} | settings)
    assert f"source planes: {setting} is" in error.message


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({"features": []}, "features"),
        ({"features": "hour"}, "features"),
        ({"features": ["hour", "hour"]}, "features"),
        ({"features": ["hour", "late"]}, "features"),
        ({"gates": "auc >= 0.60"}, "gates"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"holdout": 0.0}, "holdout"),
        ({"holdout": 1.0}, "holdout"),
    ],
)
def test_a_model_with_a_wrong_setting_is_refused(project, settings, setting):
    error = refused("CN-PROJECT-009", declare_model, project, **settings)
    assert f"{setting} is" in error.message
    assert not project.models


def test_a_gate_is_read_where_it_is_declared(project):
    error = refused("CN-CONDITION-001", declare_model, project, gates=["auc >> 0.6"])
    assert "^" in error.message


def test_a_retrain_trigger_is_read_where_it_is_declared(project):
    model = declare_model(project)
    refused("CN-CONDITION-001", project.deploy, model, retrain="auc < champion")


def test_names_are_names():
    refused("CN-NAME-001", Project, "Flights 2013")
    refused("CN-NAME-001", Project("flights").source, "Flights", "f.csv")
    refused("CN-NAME-001", Project("flights").table(), lambda flights: flights)


@pytest.mark.parametrize("kind", ["source", "table", "model"])
def test_a_name_is_given_once_among_sources_tables_and_models(project, kind):
    declare_departures(project)
    declare_model(project)

    def flights(departures):
        return departures

    declare = {
        "source": lambda: project.source("flights", "f.csv"),
        "table": lambda: project.table()(flights),
        "model": lambda: project.model(label="late", features=["hour"])(flights),
    }[kind]
    error = refused("CN-PROJECT-007", declare)
    assert "a source of this name already" in error.message


def test_an_endpoint_name_is_given_once(project):
    model = declare_model(project)
    project.deploy(model)
    refused("CN-PROJECT-007", project.deploy, model)
    assert project.deploy(model, name="second").name == "second"


def test_a_model_is_deployed_by_its_name_before_it_is_declared(project):
    project.deploy("late_departure")
    declare_departures(project)
    declare_model(project)
    project.check()


def test_only_a_model_of_this_project_is_deployed(project):
    model = declare_model(project)
    refused("CN-PROJECT-005", project.deploy, declare_departures(project))
    refused("CN-PROJECT-005", Project("other").deploy, model)
    project.deploy("late_departures", name="other")
    error = refused("CN-PROJECT-005", project.deploy, print)
    assert "'print'" in error.message


def test_a_model_learns_from_exactly_one_table(project):
    declare = project.model(label="late", features=["hour"])

    def two(flights, weather):
        return flights, weather

    def none():
        return None

    assert "has 2 parameters" in refused("CN-PROJECT-008", declare, two).message
    assert "has 0 parameters" in refused("CN-PROJECT-008", declare, none).message


def test_a_parameter_with_a_default_is_the_functions_own(project):
    @project.table()
    def late(flights, minutes=15):
        return flights, minutes

    assert project.tables["late"].inputs == ("flights",)
    assert project.tables["late"].key == ()


def test_what_has_no_names_for_its_inputs_is_refused(project):
    def many(*tables):
        return tables

    assert "*tables" in refused("CN-PROJECT-008", project.table(), many).message
    refused("CN-PROJECT-008", project.table(), functools.partial(many))


def test_a_wrapped_function_keeps_its_inputs_and_its_line(project):
    def timed(function):
        @functools.wraps(function)
        def run(*args):
            return function(*args)

        return run

    @project.table(key="id")
    @timed
    def late(flights):
        return flights

    assert project.tables["late"].inputs == ("flights",)
    assert location(late) == f"{__file__}:{late.__wrapped__.__code__.co_firstlineno}"


def test_an_unknown_input_is_named_with_its_line_and_the_closest_name(project):
    @project.table(key="flight_id")
    def departures(flight):
        return flight

    error = refused("CN-PROJECT-005", project.check)
    assert error.message.startswith(f"{location(departures)}: table departures reads 'flight'")
    assert error.fix == "did you mean 'flights'?"


def test_a_model_over_no_table_is_found_by_the_check(project):
    declare_model(project)
    error = refused("CN-PROJECT-005", project.check)
    assert "model late_departure learns from 'departures', which is no table" in error.message


def test_an_endpoint_over_no_model_is_found_by_the_check(project):
    declare_departures(project)
    declare_model(project)
    project.deploy("late_departures")
    error = refused("CN-PROJECT-005", project.check)
    assert error.fix == "did you mean 'late_departure'?"


def test_a_cycle_is_printed(project):
    @project.table()
    def first(third):
        return third

    @project.table()
    def second(first, flights):
        return first, flights

    @project.table()
    def third(second):
        return second

    error = refused("CN-PROJECT-006", project.check)
    cycle = error.message.rpartition(": ")[2].split(" -> ")
    assert cycle[0] == cycle[-1]
    assert set(cycle) == {"first", "second", "third"}


def declare_chain(project):
    @project.table()
    def monthly(daily):
        return daily

    @project.table()
    def daily(hourly, weather):
        return hourly, weather

    @project.table()
    def hourly(flights):
        return flights

    @project.table()
    def other(weather):
        return weather

    @project.model(label="late", features=["hour"])
    def delay(daily):
        return daily


def names(tables):
    return [table.name for table in tables]


def test_tables_come_behind_what_they_are_made_from(project):
    declare_chain(project)
    order = names(project.order())
    assert sorted(order) == ["daily", "hourly", "monthly", "other"]
    assert order.index("hourly") < order.index("daily") < order.index("monthly")


def test_only_what_is_needed_is_ordered(project):
    declare_chain(project)
    assert names(project.order("delay")) == ["hourly", "daily"]
    assert names(project.order("flights")) == []
    assert refused("CN-PROJECT-005", project.order, "hourli").fix == "did you mean 'hourly'?"


def test_the_inputs_of_everything_are_told(project):
    declare_chain(project)
    assert project.inputs_of("daily") == ("hourly", "weather")
    assert project.inputs_of("delay") == ("daily",)
    assert project.inputs_of("flights") == ()


def test_two_projects_share_nothing(project):
    other = Project("other")
    declare_departures(project)
    assert not other.tables
    assert not other.sources
    declare_departures(other)
    assert project.tables["departures"].function is not other.tables["departures"].function
    assert repr(other) == "Project('other')"


def test_declarations_are_not_changed_from_outside(project):
    with pytest.raises(TypeError):
        project.sources["more"] = None


def test_declaring_imports_no_engine():
    code = "import sys, colonnade.project; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"polars", "numpy", "pyarrow", "sqlalchemy", "sklearn"} & set(loaded)
