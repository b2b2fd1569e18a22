from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import yaml

from colonnade.base.errors import RefusedError, UsageError
from colonnade.data import document, odcs, widen
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


def plain(found: Contract) -> Contract:
    """A contract without the digest of its file."""
    return replace(found, document=None)


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
    assert plain(odcs.read(path)) == Contract(
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
        primary_key=("id",),
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
        ({"quality": [{"type": "sql", "query": "select 1"}]}, "quality sql of column x"),
        ({"quality": [{"metric": "invalidValues", "mustBe": 0}]}, "quality invalidValues of col"),
        ({"relationships": [{"to": "other.yaml#/schema/y/properties/id"}]}, "to another file"),
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
    ("rule", "what"),
    [
        ({"type": "sql", "query": "select 1", "mustBe": 1}, "quality sql of flights"),
        ({"type": "custom", "engine": "soda", "implementation": "x"}, "quality custom of flights"),
        ({"name": "n", "metric": "freshness", "mustBe": 1}, "quality n of flights"),
        (
            {"metric": "duplicateValues", "mustBe": 0, "arguments": {"properties": ["x"], "a": 1}},
            "quality duplicateValues of flights: arguments.a",
        ),
    ],
)
def test_a_rule_of_the_table_that_is_not_checked_is_refused(tmp_path, rule, what):
    with pytest.raises(UsageError) as caught:
        odcs.read(contract(tmp_path, column(), table={"quality": [rule]}))
    assert caught.value.code == "CN-CONTRACT-002"
    assert what in caught.value.message


def test_what_only_describes_is_kept_and_not_refused(tmp_path):
    table = {"quality": [{"type": "text"}], "customProperties": custom(owner="me")}
    path = contract(
        tmp_path,
        column(customProperties=custom(unit="km")),
        table=table,
        customProperties=custom(retention="1y"),
        roles=[{"role": "reader"}],
    )
    found = odcs.load(path)
    assert found.document == yaml.safe_load(path.read_text())
    assert (found.contract.batch, found.contract.retention_d) == ((), None)


def test_a_file_of_the_whole_standard_is_read_and_written_without_loss(tmp_path):
    path = Path(__file__).parents[1] / "contracts" / "orders.yaml"
    found = odcs.load(path)
    copy = tmp_path / "orders.yaml"
    copy.write_text(document.text_of(found.document))
    again = odcs.load(copy)
    assert again == found
    # PyYAML reads what looks like a date as one; in the standard's schema they are texts.
    written, came = yaml.safe_load(copy.read_text()), yaml.safe_load(path.read_text())
    assert came["team"]["members"][0]["dateIn"] == date(2012, 10, 1)
    assert written == document.plain(came)
    assert list(written) == list(came)


def test_a_primary_key_of_several_columns_has_an_order(tmp_path):
    keys = [
        column(name=name, primaryKey=True, primaryKeyPosition=place)
        for name, place in (("a", 2), ("b", 1))
    ]
    found = odcs.read(contract(tmp_path, *keys))
    assert found.primary_key == ("b", "a")
    assert [(each.required, each.unique) for each in found.columns] == [(True, False)] * 2


def test_of_several_tables_the_one_that_is_called_like_the_file_is_meant(tmp_path):
    path = contract(tmp_path, column())
    said = yaml.safe_load(path.read_text())
    other = {"name": "planes", "properties": [column(name="y")]}
    planes = {"name": "planes", "properties": [column(name="z")]}
    for tables in ([other, said["schema"][0]], [said["schema"][0], other]):
        path.write_text(yaml.safe_dump(said | {"schema": tables}))
        assert [each.name for each in odcs.read(path).columns] == ["x"]
    path.write_text(yaml.safe_dump(said | {"schema": [other, planes]}))
    with pytest.raises(UsageError, match="or one that is called flights"):
        odcs.read(path)


LIBRARY = {"metric": "rowCount", "mustBe": 1}
VOLUME = {"type": "custom", "engine": "colonnade", "implementation": {"metric": "volume"}}
AGE = {"property": "latency", "value": 1, "element": "flights.at"}
AT = {"name": "at", "logicalType": "timestamp"}


@pytest.mark.parametrize(
    ("table", "head", "what"),
    [
        ({"quality": [{"metric": "rowCount"}]}, {}, "has 0 conditions, expected one"),
        ({"quality": [LIBRARY | {"mustNotBe": 2}]}, {}, "has 2 conditions, expected one"),
        ({"quality": [LIBRARY | {"mustBe": "1"}]}, {}, "mustBe is '1', expected a number"),
        ({"quality": [LIBRARY | {"mustBe": True}]}, {}, "mustBe is True, expected a number"),
        ({"quality": [LIBRARY | {"mustBe": float("inf")}]}, {}, "mustBe is inf, expected a number"),
        ({"quality": [LIBRARY | {"unit": "percent"}]}, {}, "unit is 'percent'"),
        ({"quality": [LIBRARY | {"severity": "loud"}]}, {}, "severity is 'loud', expected error"),
        ({"quality": [LIBRARY | {"arguments": {"properties": ["y"]}}]}, {}, "'y' is no column"),
        ({"quality": [LIBRARY | {"arguments": {"properties": "x"}}]}, {}, "expected a list of col"),
        ({"quality": [LIBRARY | {"arguments": {"properties": ["x"]}}]}, {}, "rowCount is said of"),
        ({"quality": [{"metric": "nullValues", "mustBe": 0}]}, {}, "nullValues is said of no col"),
        (
            {"quality": [{"metric": "rowCount", "mustBeBetween": [2, 1]}]},
            {},
            "expected the smaller number first",
        ),
        ({"quality": [VOLUME]}, {}, "has 0 conditions"),
        ({"quality": [VOLUME | {"implementation": "volume"}]}, {}, "is no {metric: volume"),
        (
            {"quality": [VOLUME | {"implementation": {"metric": "volume", "batches": 0}}]},
            {},
            "batches is 0, expected 1 to 100",
        ),
        ({"relationships": [{"from": "flights.y", "to": "a.b"}]}, {}, "'flights.y' is no column"),
        ({"relationships": [{"from": "x", "to": "plane"}]}, {}, "is to 'plane', expected table.c"),
        ({"relationships": [{"from": "x", "to": ["a.b", "a.c"]}]}, {}, "must name as many columns"),
        (
            {"relationships": [{"from": ["x", "at"], "to": ["a.b", "c.d"]}]},
            {},
            "must name as many columns of one table",
        ),
        (
            {"relationships": [{"from": "x", "to": "a.b", "type": "cousin"}]},
            {},
            "has the type 'cousin', expected foreignKey",
        ),
        ({}, {"slaProperties": [AGE | {"value": "soon"}]}, "latency is 'soon' d, expected a num"),
        ({}, {"slaProperties": [AGE | {"value": -1}]}, "latency is -1 d, expected"),
        ({}, {"slaProperties": [AGE | {"value": 1e300}]}, "latency is 1e+300 d, expected"),
        ({}, {"slaProperties": [AGE | {"unit": "m"}]}, "latency is 1 m, expected"),
        (
            {},
            {"slaProperties": [{"property": "latency", "value": 1, "elment": "flights.at"}]},
            "slaProperties latency has the unknown field 'elment'; did you mean 'element'?",
        ),
        ({"quality": [LIBRARY | {"severty": "info"}]}, {}, "quality of flights has the unknown"),
        ({"relationships": [{"form": "x", "to": "a.b"}]}, {}, "did you mean 'from'?"),
        ({}, {"slaProperties": [AGE | {"element": "ta"}]}, "'ta' is no column"),
        ({}, {"slaProperties": [AGE | {"element": "flights.x"}]}, "of x, which is no time"),
        ({}, {"slaProperties": [AGE | {"element": "flights.ta"}]}, "'flights.ta' is no column"),
        (
            {},
            {"slaProperties": [{"property": "retention", "value": 1, "unit": "h"}]},
            "retention is shorter than a day",
        ),
        ({}, {"customProperties": custom(drift="allow")}, "drift is 'allow', expected stop"),
        ({}, {"customProperties": custom(drift=["add"])}, "drift is ['add'], expected stop"),
        ({}, {"customProperties": custom(uniqueKeys=["x"])}, "uniqueKeys is no list of lists"),
        ({}, {"customProperties": custom(uniqueKeys=[["x"]])}, "is no key of two or more"),
        ({}, {"customProperties": custom(uniqueKeys=[["x", "x"]])}, "is no key of two or more"),
        ({}, {"customProperties": custom(uniqueKeys=[["x", "y"]])}, "'y' is no column"),
        ({}, {"customProperties": custom(stopAbov=0.1)}, "did you mean 'stopAbove'?"),
        (
            {},
            {"customProperties": custom(missing=[]) + custom(missing=["a"])},
            "missing is said twice",
        ),
        ({"customProperties": custom(drift="add")}, {}, "it belongs to the contract"),
    ],
)
def test_a_term_that_cannot_be_meant_is_refused_when_it_is_read(tmp_path, table, head, what):
    with pytest.raises(UsageError) as caught:
        odcs.read(contract(tmp_path, column(), AT, table=table, **head))
    assert caught.value.code == "CN-CONTRACT-001"
    assert what in caught.value.message


def test_two_subjects_are_refused(tmp_path):
    columns = [column(name=name, customProperties=custom(subjectKey=True)) for name in "ab"]
    with pytest.raises(UsageError, match="subjectKey is said of a, b"):
        odcs.read(contract(tmp_path, *columns))


@pytest.mark.parametrize(
    ("team", "owner"),
    [
        ({"name": "desk"}, "desk"),
        ({"members": [{"username": "ann", "role": "Data Owner"}]}, "ann"),
        ([{"username": "bob", "role": "owner", "dateOut": "2012-01-01"}], None),
        ([{"name": "Ann", "role": "Owner"}, {"username": "bob"}], "Ann"),
        ([], None),
    ],
)
def test_the_owner_is_the_team_or_the_member_who_is_called_so(tmp_path, team, owner):
    assert odcs.read(contract(tmp_path, column(), team=team)).owner == owner


@pytest.mark.parametrize(
    ("before", "after"),
    [("1.0.0", "1.1.0"), ("1.4.2", "1.5.0"), ("v2.9", "v2.10"), ("2013-01", "2013-01.1")],
)
def test_an_addition_is_the_next_minor_version(before, after):
    assert widen.next_version(before) == after


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


def test_personal_data_may_be_looked_at_and_compared(tmp_path):
    path = contract(tmp_path, column(classification="personal"))
    (found,) = odcs.load(path).contract.columns
    assert (found.personal, found.classification) == (True, "personal")


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


KEPT = """\
# Ours.
version: "1.0.0"   # the first
schema:
  - name: flights
    # what they fly
    properties:
      - name: x   # a number
        logicalType: integer
      - {name: y, logicalType: string}  # the last

customProperties:
  - {property: drift, value: add}
"""


def added(*names: str) -> list[Column]:
    return [Column(name=name, type="number", added=True) for name in names]


def test_a_file_that_is_widened_keeps_its_comments(tmp_path):
    path = tmp_path / "flights.yaml"
    path.write_text(KEPT)
    text = widen.widened(KEPT, odcs.load(path), added("z", "on"))
    path.write_text(text)
    assert [column.name for column in odcs.read(path).columns] == ["x", "y", "z", "on"]
    assert odcs.read(path).columns[2:] == tuple(added("z", "on"))
    assert odcs.read(path).version == "1.1.0"
    lines = [line for line in text.splitlines() if "#" in line]
    assert lines == [
        "# Ours.",
        "version: '1.1.0'   # the first",
        "    # what they fly",
        "      - name: x   # a number",
        "      - {name: y, logicalType: string}  # the last",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "schema: [{name: a, properties: [{name: x, logicalType: integer}]}]\n",
        "version: 1.0.0\nschema: [{name: a, properties: [{name: x, logicalType: integer}]}]",
        "schema:\n- properties:\n  - name: x\n    logicalType: date\n    description: |\n      t\n",
        "version: 1.0.0\nschema:\n- properties:\n  - {name: x, logicalType: date,\n     id: '#'}",
    ],
)
def test_a_file_that_cannot_be_edited_in_place_is_written_anew(tmp_path, text):
    path = tmp_path / "flights.yaml"
    path.write_text(text)
    before = odcs.load(path)
    path.write_text(widen.widened(text, before, added("z")))
    after = odcs.load(path)
    assert after.contract.columns == (*before.contract.columns, *added("z"))
    assert after.document == widen.with_columns(before, added("z"))
