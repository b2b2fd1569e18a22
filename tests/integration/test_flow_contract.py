"""Contracts through `colonnade run`: references, keys, rules of a batch, drift, and a diff."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import polars as pl
import pytest
import yaml

from colonnade.data.ingest import Ingested, ingest
from colonnade.govern.models import open_version
from colonnade.project import Project
from colonnade.records.contract import Contract
from colonnade.records.model import Admitted
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion
from colonnade.wiring import open_workspace
from tests import projects
from tests.projects import answered, colonnade, empty, fitted

SHOP = """
import polars as pl
import colonnade as co

project = co.Project("small")
project.source("customers", "landing/customers*.csv")
project.source("cities", "landing/cities.csv")
project.source("orders", "landing/orders*.csv")


@project.table(time="ordered_at")
def returns(orders: pl.LazyFrame) -> pl.LazyFrame:
    return orders.with_columns(big=pl.col("amount") > 50)
"""
RICH = Path(__file__).parents[1] / "contracts" / "orders.yaml"
HEAD = "order_id,position,customer,country,city,ordered_at,amount"
GOOD = [
    "1,1,7,DE,Berlin,2013-01-01T00:00:00Z,9.5",
    "1,2,8,DE,Berlin,2013-01-01T00:00:00Z,9.5",
    "2,1,7,FR,Paris,2013-01-02T00:00:00Z,0",
]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A project of three sources of which the orders' contract refers to the two others."""
    empty(tmp_path, SHOP)
    (tmp_path / "contracts").mkdir(exist_ok=True)
    shutil.copy(RICH, tmp_path / "contracts")
    land(tmp_path, "customers1.csv", "id", "7", "8")
    land(tmp_path, "cities.csv", "country,name", "DE,Berlin", "FR,Paris")
    return tmp_path


def land(folder: Path, name: str, *lines: str) -> None:
    (folder / "landing").mkdir(exist_ok=True)
    (folder / "landing" / name).write_text("\n".join(lines) + "\n")


def bind(folder: Path, **changes: object) -> None:
    """Change custom properties of the orders' contract, or parts of its table (``table_...``)."""
    path = folder / "contracts" / "orders.yaml"
    document = yaml.safe_load(path.read_text())
    for name, value in changes.items():
        if name.startswith("table_"):
            document["schema"][0][name.removeprefix("table_")] = value
        elif name.startswith("top_"):
            document[name.removeprefix("top_")] = value
        else:
            custom = [c for c in document["customProperties"] if c["property"] != name]
            document["customProperties"] = [*custom, {"property": name, "value": value}]
    path.write_text(yaml.safe_dump(document, sort_keys=False))


def table(folder: Path, name: str) -> pl.DataFrame:
    with open_workspace(folder) as workspace:
        return workspace.session("test").scan(Ref("table", name)).collect()


def newest(folder: Path, name: str = "orders") -> TableVersion | None:
    with open_workspace(folder) as workspace:
        entry = workspace.session("test").newest("table", name)
        return None if entry is None else entry.read(TableVersion)


def report(folder: Path) -> dict:
    with open_workspace(folder) as workspace:
        session = workspace.session("test")
        version = session.version(Ref("table", "orders")).read(TableVersion)
        return json.loads(session.blob(version.report))


def bound(folder: Path) -> list[Contract]:
    with open_workspace(folder) as workspace:
        entries = workspace.session("test").entries(kind="contract", verb="bind")
        return [e.read(Contract) for e in entries if e.ref.name == "orders"][::-1]


def reasons(folder: Path) -> dict[int, list[str]]:
    bad = table(folder, "quarantine.orders").sort("row")
    return dict(zip(bad["row"].to_list(), map(sorted, bad["reasons"].to_list()), strict=True))


def refused(folder: Path, capsys, *words: str, code: int = 1) -> dict:
    capsys.readouterr()
    assert colonnade(folder, *(words or ("run",)), "--json") == code
    return json.loads(capsys.readouterr().out)["error"]


def test_a_contract_of_the_whole_standard_binds_and_its_rules_are_checked(shop, capsys):
    land(
        shop,
        "orders1.csv",
        HEAD,
        *GOOD,
        "3,1,9,DE,Berlin,2013-01-03T00:00:00Z,1",  # nobody has the number 9
        "4,1,,FR,Berlin,2013-01-03T00:00:00Z,1",  # that city is in another country
        "5,1,,FR,,2013-01-03T00:00:00Z,1",  # a missing cell refers to nothing
    )
    assert colonnade(shop, "run") == 0
    said = capsys.readouterr().out
    assert "4 rows taken over, 2 into quarantine" in said
    assert "warning: ordered_at|freshness: the newest ordered_at is" in said
    assert reasons(shop) == {3: ["customer|reference"], 4: ["country,city|reference"]}
    kept = report(shop)
    assert kept["against"] == ["table/customers@1", "table/cities@1"]
    verdicts = {verdict["rule"]: verdict["holds"] for verdict in kept["verdicts"]}
    assert verdicts == {
        "enough": True,
        "as usual": None,
        "ordered_at|nullValues": True,
        "ordered_at|freshness": False,
    }
    (contract,) = bound(shop)
    assert (contract.owner, contract.subject, contract.retention_d) == (
        "order-desk",
        "customer",
        1095,
    )


def test_keys_of_several_columns_are_one_key(shop):
    bind(shop, stopAbove=0.9)
    land(
        shop,
        "orders1.csv",
        HEAD,
        *GOOD,
        "9,1,8,DE,Berlin,2013-02-01T00:00:00Z,1",
        "9,1,8,DE,Berlin,2013-02-02T00:00:00Z,1",
        "9,,7,DE,Berlin,2013-01-01T00:00:00Z,1",
    )
    assert colonnade(shop, "run") == 0
    assert reasons(shop) == {
        0: ["customer,ordered_at|unique"],
        3: ["order_id,position|primaryKey"],
        4: ["order_id,position|primaryKey"],
        5: ["customer,ordered_at|unique", "position|required"],
    }


def test_a_table_that_is_referred_to_must_be_there_with_its_columns(shop, capsys):
    land(shop, "orders1.csv", HEAD, *GOOD)
    error = refused(shop, capsys, "run", "orders", code=2)
    assert error["code"] == "CN-CONTRACT-012"
    assert "customer refers to customers, which has no version yet" in error["message"]
    assert "colonnade run customers" in error["fix"]
    land(shop, "cities.csv", "country,town", "DE,Berlin")
    error = refused(shop, capsys, code=2)
    assert "refers to cities, which has no column name" in error["message"]
    land(shop, "cities.csv", "country,name", "1,2")
    (shop / "contracts" / "cities.yaml").unlink()
    error = refused(shop, capsys, code=2)
    assert "which holds country as Int64, the contract says String of country" in error["message"]
    assert newest(shop) is None


def test_a_reference_to_the_source_itself_finds_keys_of_before_and_of_the_file(tmp_path):
    empty(tmp_path, 'import colonnade as co\nproject = co.Project("small")\n'
          'project.source("people", "landing/people*.csv")\n')  # fmt: skip
    (tmp_path / "contracts").mkdir(exist_ok=True)
    (tmp_path / "contracts" / "people.yaml").write_text(
        "schema:\n- name: people\n  properties:\n"
        "  - {name: id, logicalType: integer}\n"
        "  - {name: boss, logicalType: integer, relationships: [{to: people.id}]}\n"
        "customProperties: [{property: stopAbove, value: 1}]\n"
    )
    land(tmp_path, "people1.csv", "id,boss", "1,", "2,1", "3,8")
    assert colonnade(tmp_path, "run") == 0
    land(tmp_path, "people2.csv", "id,boss", "4,2", "5,4", "6,3")
    assert colonnade(tmp_path, "run") == 0
    assert table(tmp_path, "people")["id"].sort().to_list() == [1, 2, 4, 5]
    bad = table(tmp_path, "quarantine.people")
    assert bad["reasons"].to_list() == [["boss|reference"], ["boss|reference"]]


def test_too_few_rows_stop_the_batch_and_a_longer_file_goes_on(shop, capsys):
    land(shop, "orders1.csv", HEAD, GOOD[0])
    error = refused(shop, capsys)
    assert error["code"] == "CN-CONTRACT-011"
    assert "enough: 1 rows, expected 2 to 1,000,000" in error["message"]
    assert newest(shop) is None
    land(shop, "orders1.csv", HEAD, *GOOD)
    assert colonnade(shop, "run") == 0
    assert newest(shop).rows == 3


def test_a_volume_unlike_that_of_the_last_batches_warns_or_stops(shop, capsys):
    for number in range(4):
        land(shop, f"orders{number}.csv", HEAD, *(
            f"{number},{line},,DE,Berlin,2013-01-01T00:00:00Z,1" for line in range(1, 11)
        ))  # fmt: skip
        assert colonnade(shop, "run") == 0
    assert "as usual" not in capsys.readouterr().out
    many = [f"9,{line},,DE,Berlin,2013-01-01T00:00:00Z,1" for line in range(1, 22)]
    land(shop, "orders9.csv", HEAD, *many)
    quality = [{
        "type": "custom", "engine": "colonnade", "implementation": {"metric": "volume"},
        "mustBeLessOrEqualTo": 2,
    }]  # fmt: skip
    bind(shop, table_quality=quality)
    error = refused(shop, capsys)
    assert (
        "volume: 2.1 times the median of the last 4 batches (10 rows), expected at most 2"
        in (error["message"])
    )
    quality[0]["severity"] = "warning"
    bind(shop, table_quality=quality)
    assert colonnade(shop, "run") == 0
    assert "warning: volume: 2.1 times" in capsys.readouterr().out
    assert newest(shop).rows == 61


def test_rows_that_are_too_old_stop_the_batch_where_the_contract_says_so(shop, capsys):
    land(shop, "orders1.csv", HEAD, *GOOD)
    bind(shop, top_slaProperties=[
        {"property": "latency", "value": 24, "unit": "h", "element": "orders.ordered_at"}
    ])  # fmt: skip
    error = refused(shop, capsys)
    assert error["code"] == "CN-CONTRACT-011"
    assert "expected at most 24.0 hours" in error["message"]
    assert newest(shop) is None


def test_a_column_that_nobody_named_is_left_out_and_said(shop, capsys):
    land(shop, "orders1.csv", HEAD + ",note", *(line + ",x" for line in GOOD))
    assert colonnade(shop, "run") == 0
    assert "left out, not in the contract: note" in capsys.readouterr().out
    assert "note" not in newest(shop).columns
    assert report(shop)["left_out"] == ["note"]


def test_a_column_that_is_lacking_stops_whatever_the_drift(shop, capsys):
    for drift in ("ignore", "add", "stop"):
        bind(shop, drift=drift)
        land(shop, "orders1.csv", HEAD.removesuffix(",amount"), GOOD[0].removesuffix(",9.5"))
        error = refused(shop, capsys, code=2)
        assert error["code"] == "CN-CONTRACT-005"
        assert "column amount is missing" in error["message"]


def test_a_column_that_nobody_named_is_added_to_contract_and_table(shop, capsys):
    bind(shop, drift="add")
    path = shop / "contracts" / "orders.yaml"
    path.write_text(f"# Kept by hand.\n{path.read_text()}")
    land(shop, "orders1.csv", HEAD, *GOOD)
    assert colonnade(shop, "run") == 0
    land(shop, "orders2.csv", HEAD, *(line.replace("1,", "11,", 1) for line in GOOD))
    land(shop, "orders3.csv", HEAD + ",weight", *(f"3{line},{n}.5" for n, line in enumerate(GOOD)))
    assert colonnade(shop, "run") == 0
    rows = table(shop, "orders")
    assert rows["weight"].drop_nulls().sort().to_list() == [0.5, 1.5, 2.5]
    assert rows.height == 9
    before, after = bound(shop)
    assert (before.version, after.version) == ("1.4.2", "1.5.0")
    assert (after.columns[-1].name, after.columns[-1].type) == ("weight", "number")
    text = (shop / "contracts" / "orders.yaml").read_text()
    assert yaml.safe_load(text)["team"]["members"][0]["username"] == "mhopper"
    assert text.startswith("# Kept by hand.\n")
    # From now on it is a column like every other: a file without it is stopped.
    land(shop, "orders4.csv", HEAD, *(f"4{line}" for line in GOOD))
    assert refused(shop, capsys, code=2)["code"] == "CN-CONTRACT-005"


def test_a_bound_contract_is_shown_as_the_file_that_it_was(shop, capsys):
    land(shop, "orders1.csv", HEAD, *GOOD)
    assert colonnade(shop, "run") == 0
    capsys.readouterr()
    assert colonnade(shop, "data", "contract", "show", "orders@1") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("# orders@1: bound by ")
    (shop / "shown.yaml").write_text(shown)
    assert colonnade(shop, "data", "contract", "diff", "orders", str(shop / "shown.yaml")) == 0
    assert "nothing that binds has changed" in capsys.readouterr().out
    with open_workspace(shop) as workspace:
        entries = workspace.session("test").entries(kind="contract")
        assert not any("mhopper" in str(entry.body) for entry in entries)


def test_a_breaking_change_names_what_it_hits_and_is_exit_1(tmp_path, capsys):
    fitted(tmp_path)
    path = tmp_path / "contracts" / "rows.yaml"
    document = yaml.safe_load(path.read_text())
    columns = document["schema"][0]["properties"]
    document["schema"][0]["properties"] = [c for c in columns if c["name"] != "x"]
    document["team"] = {"name": "measuring"}
    path.write_text(yaml.safe_dump(document))
    words = ("data", "contract", "diff", "rows@1", str(path))
    assert colonnade(tmp_path, *words) == 1
    said = capsys.readouterr().out
    assert "breaking: x: the column is gone (it was number)" in said
    assert "hits table examples: examples@1" in said
    assert "hits model risk: risk@1, names x" in said
    assert "hits endpoint risk: risk@1" in said
    assert "owners: measuring" in said
    assert colonnade(tmp_path, *words, "--json") == 1
    found = answered(capsys.readouterr().out)
    assert found["breaking"]
    assert [hit["kind"] for hit in found["hits"]] == ["source", "table", "model", "endpoint"]
    assert colonnade(tmp_path, "data", "contract", "diff", str(path), str(path)) == 0


def test_an_additive_change_is_exit_0_and_hits_nobody(tmp_path, capsys):
    fitted(tmp_path)
    path = tmp_path / "contracts" / "rows.yaml"
    document = yaml.safe_load(path.read_text())
    document["schema"][0]["properties"].append({"name": "note", "logicalType": "string"})
    path.write_text(yaml.safe_dump(document))
    assert colonnade(tmp_path, "data", "contract", "diff", "rows", str(path)) == 0
    said = capsys.readouterr().out
    assert "additive: note: a new string, may be missing" in said
    assert "hits" not in said


def test_a_contract_that_is_nowhere_is_refused_with_a_hint(shop, capsys):
    words = ("data", "contract", "diff")
    land(shop, "orders1.csv", HEAD, *GOOD)
    assert colonnade(shop, "run") == 0
    error = refused(shop, capsys, *words, "ordres", "orders", code=2)
    assert (error["code"], error["fix"]) == ("CN-CONTRACT-013", "did you mean 'orders'?")
    assert refused(shop, capsys, *words, "orders@7", "orders", code=2)["code"] == "CN-REF-002"
    assert refused(shop, capsys, *words, "x" * 5000, "orders", code=2)["code"] == "CN-CONTRACT-013"
    assert refused(shop, capsys, *words, "no.yaml", "orders", code=2)["code"] == "CN-CONTRACT-001"
    assert refused(shop, capsys, "data", "contract", "show", "x y", code=2)["code"] == "CN-REF-001"


# A process that dies at a step. What it wraps calls through: nothing is replaced.
KILL = """
    import os, signal, sys
    from pathlib import Path
    from colonnade.data.ingest import ingest
    from colonnade.govern import change, session, writer
    from colonnade.project import Project
    from colonnade.wiring import open_workspace

    folder, step = Path(sys.argv[1]), sys.argv[2]

    def dies(function):
        def call(*words, **rest):
            os.kill(os.getpid(), signal.SIGKILL)
        return call

    if step == "proposed, file not written":
        session.durable.whole = dies(session.durable.whole)
    if step == "file written, not bound":
        change.Change.version = dies(change.Change.version)
    if step == "bound, rows not taken over":
        writer.Writer.write = dies(writer.Writer.write)
    if step == "rows committed, not named":
        writer.Writer._name_version = dies(writer.Writer._name_version)
    with open_workspace(folder) as workspace:
        source = Project("p").source("rows", "landing/rows*")
        ingest(workspace.session("test"), source, workspace.folder)
"""


@pytest.mark.parametrize(
    "step",
    [
        "proposed, file not written",
        "file written, not bound",
        "bound, rows not taken over",
        "rows committed, not named",
    ],
)
def test_a_kill_while_a_column_is_added_leaves_a_contract_that_the_next_run_carries_on(
    tmp_path, step
):
    empty(tmp_path)
    (tmp_path / "contracts").mkdir(exist_ok=True)
    (tmp_path / "contracts" / "rows.yaml").write_text(
        "schema:\n- name: rows\n  properties:\n  - {name: id, logicalType: integer}\n"
        "customProperties: [{property: drift, value: add}]\n"
    )

    def take() -> Ingested:
        with open_workspace(tmp_path) as workspace:
            source = Project("p").source("rows", "landing/rows*")
            return ingest(workspace.session("test"), source, workspace.folder)

    land(tmp_path, "rows1.csv", "id", "1")
    take()
    land(tmp_path, "rows2.csv", "id", "2")
    land(tmp_path, "rows3.csv", "id,x", "3,0.5")
    words = [sys.executable, "-c", textwrap.dedent(KILL), str(tmp_path), step]
    assert subprocess.run(words, check=False).returncode == -9
    take()
    assert not take().done
    rows = table(tmp_path, "rows").sort("id")
    assert rows.select("id", "x").rows() == [(1, None), (2, None), (3, 0.5)]
    with open_workspace(tmp_path) as workspace:
        entries = workspace.session("test").entries(kind="contract", verb="bind")
        assert [entry.read(Contract).version for entry in entries] == ["1.1.0", "1.0.0"]
        assert workspace.verify().holds


CLASS = """
import dataframely as dy
import polars as pl
import colonnade as co


class Rows(dy.Schema):
    id = dy.Int64(primary_key=True, nullable=False)
    x = dy.Float64(nullable=True, max_exclusive=1)

    @dy.rule()
    def small(cls) -> pl.Expr:
        return cls.x.col * 2 < cls.id.col


project = co.Project("small")
project.source("rows", "landing/rows*.csv", contract=Rows)
"""


def test_a_schema_class_is_a_contract_like_a_file(tmp_path, capsys):
    empty(tmp_path, CLASS)
    land(tmp_path, "rows1.csv", "id,x", *(f"{n},0.1" for n in range(1, 60)), "60,1", "0,0.5")
    assert colonnade(tmp_path, "run") == 0
    bad = table(tmp_path, "quarantine.rows").sort("row")
    assert bad["reasons"].to_list() == [["x|max_exclusive"], ["row|small"]]
    assert not (tmp_path / "contracts" / "rows.yaml").exists()
    assert colonnade(tmp_path, "run") == 0
    capsys.readouterr()
    assert colonnade(tmp_path, "data", "contract", "show", "rows@1") == 0
    assert "x|max_exclusive" in capsys.readouterr().out
    land(tmp_path, "rows2.csv", "id,x", "61,0.1")
    (tmp_path / "project.py").write_text(CLASS.replace("* 2 <", "* 3 <"))
    assert colonnade(tmp_path, "run") == 0
    capsys.readouterr()
    assert colonnade(tmp_path, "data", "contract", "diff", "rows@1", "rows@2") == 1
    assert "breaking: the rule row|small was" in capsys.readouterr().out
    (tmp_path / "contracts").mkdir(exist_ok=True)
    (tmp_path / "contracts" / "rows.yaml").write_text("schema: []")
    error = refused(tmp_path, capsys, code=2)
    assert error["code"] == "CN-CONTRACT-014"
    assert "has contract=, and there is rows.yaml too" in error["message"]


BOUNDS = """\
schema:
- name: rows
  properties:
  - {name: id, logicalType: integer, required: true}
  - {name: at, logicalType: timestamp}
  - {name: x, logicalType: number, logicalTypeOptions: {minimum: 0, maximum: 1}}
  - {name: w, logicalType: string, enum: [{value: a}, {value: b}, {value: c}]}
  - {name: y, logicalType: boolean}
"""


def admitted_by(folder: Path) -> dict[str, Admitted | None]:
    with open_workspace(folder) as workspace:
        session = workspace.session("test")
        predictor = open_version(session, session.version(Ref("model", "risk")))
        return {each.name: each.admitted for each in predictor.signature.features}


def test_a_request_is_asked_what_the_contract_asks_of_rows(tmp_path):
    empty(tmp_path)
    (tmp_path / "contracts").mkdir(exist_ok=True)
    (tmp_path / "contracts" / "rows.yaml").write_text(BOUNDS)
    projects.land(tmp_path, "rows1.csv", projects.rows(0, 400))
    assert colonnade(tmp_path, "run") == 0
    assert admitted_by(tmp_path) == {
        "x": Admitted(contract="rows@1", minimum=0, maximum=1),
        "w": Admitted(contract="rows@1", values=("a", "b", "c")),
        "high": None,  # computed: no source has it
    }
    endpoint = projects.Endpoint(tmp_path)
    try:
        key = (tmp_path / "api.key").read_text()
        row = {"x": 0.5, "w": "a", "high": True}
        assert endpoint.ask([row], key)[0] == 200
        status, problem = endpoint.ask([row, row | {"x": 1.5, "w": "z"}], key)
        assert status == 422
        assert [each["field"] for each in problem["errors"]] == ["x", "w"]
        assert "at least 0 and at most 1 as contract rows@1 says" in str(problem)
    finally:
        endpoint.stop()


def test_a_column_that_is_computed_under_its_name_is_not_the_contracts(tmp_path):
    double = projects.PROJECT.replace(
        "high=pl.col", 'x=pl.col("x") * 2 + 0.5, w=pl.col("w") + "!", high=pl.col'
    )
    empty(tmp_path, double)
    (tmp_path / "contracts").mkdir(exist_ok=True)
    (tmp_path / "contracts" / "rows.yaml").write_text(BOUNDS)
    projects.land(tmp_path, "rows1.csv", projects.rows(0, 400))
    assert colonnade(tmp_path, "run") == 0
    assert admitted_by(tmp_path) == {"x": None, "w": None, "high": None}
