from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from colonnade.base.errors import RefusedError, UsageError
from colonnade.data import odcs
from colonnade.records import canonical
from colonnade.records.contract import STOP_ABOVE, Column, Contract, RowRule

HEAD = {"apiVersion": "v3.1.0", "kind": "DataContract", "id": "x", "version": "2.0.0"}


def contract(folder: Path, *columns: dict, table: dict | None = None, **head) -> Path:
    """A contract's file with these columns."""
    path = folder / "flights.yaml"
    schema = [{"name": "flights", "properties": list(columns), **(table or {})}]
    path.write_text(yaml.safe_dump({**HEAD, "schema": schema, **head}))
    return path


def custom(**values) -> list[dict]:
    return [{"property": name, "value": value} for name, value in values.items()]


def column(**fields) -> dict:
    return {"name": "x", "logicalType": "integer", **fields}


def test_every_rule_of_a_column_is_read(tmp_path):
    path = contract(
        tmp_path,
        column(required=True, logicalTypeOptions={"minimum": 1, "maximum": 9}),
        {"name": "id", "logicalType": "integer", "primaryKey": True},
        {
            "name": "carrier",
            "logicalType": "string",
            "unique": True,
            "logicalTypeOptions": {"minLength": 2, "maxLength": 3, "pattern": "^[A-Z]+$"},
            "enum": [{"value": "AA"}, {"value": "B6"}],
        },
        customProperties=custom(missing=["NA"], stopAbove=0.2, rowRules={"late": "x > 1"}),
    )
    assert odcs.read(path) == Contract(
        name="flights",
        version="2.0.0",
        columns=(
            Column(name="x", type="integer", required=True, minimum=1, maximum=9),
            Column(name="id", type="integer", required=True, unique=True),
            Column(
                name="carrier",
                type="string",
                unique=True,
                min_length=2,
                max_length=3,
                pattern="^[A-Z]+$",
                enum=("AA", "B6"),
            ),
        ),
        rules=(RowRule(name="late", sql="x > 1"),),
        missing=("NA",),
        stop_above=0.2,
    )


def test_what_is_not_said_has_its_default(tmp_path):
    found = odcs.read(contract(tmp_path, column()))
    assert found.stop_above == STOP_ABOVE
    assert (found.rules, found.missing) == ((), ())
    assert found.columns == (Column(name="x", type="integer"),)


def test_a_bound_that_yaml_takes_for_a_date_is_its_text(tmp_path):
    path = tmp_path / "flights.yaml"
    path.write_text(
        "schema:\n- name: flights\n  properties:\n"
        "  - {name: day, logicalType: date, logicalTypeOptions: {minimum: 2013-01-01}}\n"
        "  - {name: at, logicalType: timestamp, enum: [{value: 2013-01-31T12:00:00Z}]}\n"
    )
    found = odcs.read(path)
    assert found.columns[0].minimum == "2013-01-01"
    assert found.columns[1].enum == ("2013-01-31T12:00:00+00:00",)
    assert canonical.plain(found)  # it can be bound in the ledger as it is


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"quality": [{"type": "sql", "query": "select 1"}]}, "quality of x"),
        ({"relationships": [{"to": "y.id"}]}, "relationships of x"),
        ({"customProperties": custom(unit="km")}, "customProperties of x"),
        ({"properties": [column()]}, "properties of x"),
        ({"logicalTypeOptions": {"multipleOf": 2}}, "logicalTypeOptions.multipleOf of column x"),
    ],
)
def test_a_part_of_the_standard_that_is_not_checked_is_refused(tmp_path, fields, what):
    with pytest.raises(UsageError) as caught:
        odcs.read(contract(tmp_path, column(**fields)))
    assert caught.value.code == "CN-CONTRACT-002"
    assert what in caught.value.message


@pytest.mark.parametrize(
    ("table", "head", "what"),
    [
        ({"quality": [{"type": "text"}]}, {}, "quality of flights"),
        ({"customProperties": custom(owner="me")}, {}, "customProperties of flights"),
        ({}, {"customProperties": custom(retention="1y")}, "customProperties.retention"),
    ],
)
def test_a_rule_of_the_table_that_is_not_checked_is_refused(tmp_path, table, head, what):
    with pytest.raises(UsageError) as caught:
        odcs.read(contract(tmp_path, column(), table=table, **head))
    assert caught.value.code == "CN-CONTRACT-002"
    assert what in caught.value.message


def test_a_primary_key_of_several_columns_is_refused_instead_of_checked_column_by_column(tmp_path):
    keys = [column(name=name, primaryKey=True) for name in ("a", "b")]
    with pytest.raises(UsageError, match=r"primaryKey of several columns \(a, b\)") as caught:
        odcs.read(contract(tmp_path, *keys))
    assert caught.value.code == "CN-CONTRACT-002"


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"logicalType": "int"}, "column x has the logicalType 'int'; did you mean 'integer'?"),
        ({"logicalType": None}, "column x has the logicalType None"),
        ({"requird": True}, "unknown field 'requird'; did you mean 'required'?"),
        ({"logicalTypeOptions": {"minimum": "1"}}, "minimum of column x is '1', expected"),
        ({"logicalTypeOptions": {"minimum": 1.5}}, "minimum of column x is 1.5, expected"),
        ({"logicalTypeOptions": {"maximum": True}}, "maximum of column x is True, expected"),
        ({"logicalTypeOptions": {"pattern": "a"}}, "means nothing for the logicalType integer"),
        ({"enum": [{"value": "a"}]}, "enum of column x is 'a', expected"),
        ({"logicalType": "number", "enum": [{"value": float("nan")}]}, "enum of column x is nan"),
        ({"logicalType": "string", "enum": [{"value": 7}]}, "enum of column x is 7, expected"),
        (
            {"logicalType": "string", "logicalTypeOptions": {"minLength": "2"}},
            "minLength of column x is '2', expected a value of the type integer",
        ),
        (
            {"logicalType": "boolean", "logicalTypeOptions": {"minimum": True}},
            "means nothing for the logicalType boolean",
        ),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused_when_it_is_read(tmp_path, fields, what):
    with pytest.raises(UsageError) as caught:
        odcs.read(contract(tmp_path, column(**fields)))
    assert caught.value.code == "CN-CONTRACT-001"
    assert what in caught.value.message


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"missing": "NA"}, "missing is 'NA', expected a list of texts"),
        ({"missing": [0]}, "missing is [0], expected a list of texts"),
        ({"stopAbove": "5 %"}, "stopAbove is '5 %', expected 0 to 1"),
        ({"stopAbove": 5}, "stopAbove is 5, expected 0 to 1"),
        ({"stopAbove": True}, "stopAbove is True, expected 0 to 1"),
        ({"rowRules": ["x > 1"]}, "rowRules is no list of `name: SQL condition`"),
        ({"rowRules": {"late": 1}}, "rowRules is no list of `name: SQL condition`"),
    ],
)
def test_a_setting_of_the_whole_contract_is_checked(tmp_path, values, what):
    with pytest.raises(UsageError) as caught:
        odcs.read(contract(tmp_path, column(), customProperties=custom(**values)))
    assert caught.value.code == "CN-CONTRACT-001"
    assert what in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a list",
        "just words",
        "schema: []",
        "schema: [{name: a}]",
        "schema: [{name: a, properties: []}]",
        "a: [unclosed",
        "no_such_part: 1",
        "schema: 7",
    ],
)
def test_a_file_that_is_no_contract_is_refused_with_its_name(tmp_path, text):
    path = tmp_path / "flights.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"flights\.yaml is no contract") as caught:
        odcs.read(path)
    assert caught.value.code == "CN-CONTRACT-001"


def test_bytes_that_are_no_utf_8_are_no_contract(tmp_path):
    path = tmp_path / "flights.yaml"
    path.write_bytes(b"schema: \xff")
    with pytest.raises(UsageError) as caught:
        odcs.read(path)
    assert caught.value.code == "CN-CONTRACT-001"


def test_a_column_that_is_described_twice_is_refused(tmp_path):
    with pytest.raises(UsageError, match="column x is described twice"):
        odcs.read(contract(tmp_path, column(), column()))


@pytest.mark.parametrize("fields", [{"classification": "Personal"}, {"tags": ["geo", "PII"]}])
def test_personal_data_is_refused(tmp_path, fields):
    with pytest.raises(RefusedError, match="x is classified as personal data") as caught:
        odcs.read(contract(tmp_path, column(**fields)))
    assert (caught.value.code, caught.value.exit_code) == ("CN-CONTRACT-003", 3)


def test_a_contract_that_is_there_is_not_written_over(tmp_path):
    path = contract(tmp_path, column())
    before = path.read_bytes()
    odcs.write(path, Contract(name="flights", version="9", columns=()))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["flights.yaml"]


def test_a_written_contract_can_be_read_by_others(tmp_path):
    path = tmp_path / "contracts" / "flights.yaml"
    columns = (Column(name="x", type="integer"),)
    odcs.write(path, Contract(name="flights", version="1.0.0", columns=columns))
    assert path.stat().st_mode & 0o777 == 0o644
