"""Landing files into tables: each file once, good rows in, bad rows kept, whatever is killed."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import polars as pl
import pytest

from colonnade.base.errors import ColonnadeError, NotFoundError, RefusedError, UsageError
from colonnade.base.errors import VerdictError as Stopped
from colonnade.data.ingest import Ingested, ingest
from colonnade.project import Project
from colonnade.records.contract import Contract
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion
from colonnade.wiring import Workspace, open_workspace
from tests.projects import empty

CSV = "id,x\n1,0.5\n2,0.25\n"
TYPED = """\
schema:
- name: rows
  properties:
  - {name: id, logicalType: integer, required: true, unique: true}
  - {name: x, logicalType: number, logicalTypeOptions: {maximum: 1}}
customProperties:
- {property: missing, value: [NA]}
- {property: stopAbove, value: 0.5}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    empty(tmp_path)
    (tmp_path / "landing").mkdir()
    return tmp_path


def land(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / "landing" / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def bind(folder: Path, text: str = TYPED) -> None:
    (folder / "contracts").mkdir(exist_ok=True)
    (folder / "contracts" / "rows.yaml").write_text(text)


def take(folder: Path, path: str = "landing/rows*", mode: str | None = None) -> Ingested:
    with open_workspace(folder) as workspace:
        source = Project("p").source("rows", path, mode=mode)
        return ingest(workspace.session("test"), source, workspace.folder)


def refused(folder: Path, **options) -> ColonnadeError:
    with pytest.raises(ColonnadeError) as caught:
        take(folder, **options)
    return caught.value


def table(folder: Path, name: str = "rows") -> pl.DataFrame:
    with open_workspace(folder) as workspace:
        return workspace.session("test").scan(Ref("table", name)).collect()


def newest(folder: Path, name: str = "rows") -> TableVersion | None:
    with open_workspace(folder) as workspace:
        entry = workspace.session("test").newest("table", name)
        return None if entry is None else entry.read(TableVersion)


def written(folder: Path) -> list[str]:
    """What of data and records lies in the state folder."""
    state = folder / ".colonnade"
    files = [path.relative_to(state).parts[0] for path in state.rglob("*") if path.is_file()]
    return sorted({*files} & {"tables", "blobs"})


def test_what_landed_is_good_or_bad_and_nothing_else(folder):
    bind(folder)
    land(folder, "rows1.csv", "id,x\n1,0.5\nx,2\n3,NA\n4,0\n4,0\n6,0.5\n")
    found = take(folder)
    assert (found.done, found.good, found.bad) == (True, 3, 3)
    assert sorted(table(folder)["id"].to_list()) == [1, 3, 6]
    assert newest(folder).landed[0].rows == 6
    assert table(folder).schema == {"id": pl.Int64, "x": pl.Float64}


def test_quarantine_keeps_file_row_reasons_and_cells(folder):
    bind(folder)
    path = land(folder, "rows1.csv", "id,x\n1,0.5\nx,2\n3,0.5\n4,0.5\n")
    found = take(folder)
    bad = table(folder, "quarantine.rows").row(0, named=True)
    assert bad["file"] == "landing/rows1.csv"
    assert bad["file_sha256"] == found.entry.read(TableVersion).files["landing/rows1.csv"]
    assert bad["row"] == 1
    assert sorted(bad["reasons"]) == ["id|integer", "x|maximum"]
    assert json.loads(bad["cells"]) == {"id": "x", "x": "2"}
    assert path.exists()


def test_the_same_file_is_taken_once(folder):
    land(folder, "rows1.csv", CSV)
    first = take(folder)
    second = take(folder)
    assert (first.done, second.done) == (True, False)
    assert second.entry.id == first.entry.id
    assert table(folder).height == 2


def test_a_second_file_is_added(folder):
    land(folder, "rows1.csv", CSV)
    first = take(folder)
    land(folder, "rows2.csv", "id,x\n3,0.5\n")
    second = take(folder)
    assert (second.entry.ref.version, second.good) == (2, 1)
    assert sorted(table(folder)["id"].to_list()) == [1, 2, 3]
    assert list(newest(folder).files) == ["landing/rows1.csv", "landing/rows2.csv"]
    assert [file.path for file in newest(folder).landed] == ["landing/rows2.csv"]
    assert first.entry.subject in second.entry.made_from


def test_a_file_that_changed_after_it_was_taken_over_is_refused(folder):
    land(folder, "rows1.csv", CSV)
    take(folder)
    land(folder, "rows1.csv", CSV + "3,0.5\n")
    error = refused(folder)
    assert error.code == "CN-INGEST-002"
    assert "landing/rows1.csv has changed since it was taken over" in error.message
    assert table(folder).height == 2


def test_a_changed_file_takes_the_place_of_the_table_where_that_was_declared(folder):
    land(folder, "rows1.csv", CSV)
    take(folder, mode="replace")
    assert not take(folder, mode="replace").done
    land(folder, "rows1.csv", "id,x\n7,0.5\n")
    assert take(folder, mode="replace").done
    assert table(folder)["id"].to_list() == [7]
    with open_workspace(folder) as workspace:
        before = workspace.session("test").scan(Ref("table", "rows", 1)).collect()
    assert before.height == 2


def test_a_file_that_is_gone_leaves_a_table_that_is_replaced_and_stays_in_one_that_grows(folder):
    land(folder, "rows1.csv", CSV)
    land(folder, "rows2.csv", CSV.replace("1,", "3,"))
    take(folder)
    (folder / "landing" / "rows1.csv").unlink()
    assert not take(folder).done
    assert table(folder).height == 4
    assert take(folder, mode="replace").done
    assert table(folder).height == 2


def test_too_many_bad_rows_stop_the_batch_and_nothing_is_taken_over(folder):
    bind(folder)
    land(folder, "rows1.csv", "id,x\n1,0.5\nx,2\ny,2\n")
    error = refused(folder)
    assert isinstance(error, Stopped)
    assert (error.code, error.exit_code) == ("CN-INGEST-003", 1)
    assert "2 of 3 rows break contracts/rows.yaml, more than 50%" in error.message
    assert "id|integer 2" in error.message
    assert newest(folder) is None
    assert newest(folder, "quarantine.rows") is None
    with open_workspace(folder) as workspace:
        session = workspace.session("test")
        stop = session.entries(kind="table", verb="stop")[0]
        report = json.loads(session.blob(str(stop.body["report"])))
    assert (report["rows"], report["good"], report["bad"]) == (3, 1, 2)


def test_a_mended_file_goes_on_after_a_stop(folder):
    bind(folder)
    land(folder, "rows1.csv", CSV)
    take(folder)
    land(folder, "rows2.csv", "id,x\nx,1\n")
    assert refused(folder).code == "CN-INGEST-003"
    land(folder, "rows2.csv", "id,x\n3,1\n")
    assert take(folder).good == 1
    assert table(folder).height == 3


def test_a_contract_may_stop_at_the_first_bad_row(folder):
    bind(folder, TYPED.replace("0.5}", "0}"))
    land(folder, "rows1.csv", "id,x\n" + "".join(f"{n},0\n" for n in range(99)) + "x,0\n")
    assert refused(folder).code == "CN-INGEST-003"


def test_the_report_of_a_version_says_what_was_checked(folder):
    bind(folder)
    land(folder, "rows1.csv", "id,x\n1,0.5\n2,2\n")
    found = take(folder)
    with open_workspace(folder) as workspace:
        version = found.entry.read(TableVersion)
        report = json.loads(workspace.session("test").blob(version.report))
    assert report["contract"] == "contract/rows@1"
    assert (report["rows"], report["good"], report["bad"]) == (2, 1, 1)
    assert report["reasons"] == {"x|maximum": 1}
    assert report["files"][0]["path"] == "landing/rows1.csv"


def test_a_proposed_contract_binds_from_the_second_run_on(folder):
    land(folder, "rows1.csv", CSV)
    assert take(folder).bad == 0
    assert (folder / "contracts" / "rows.yaml").exists()
    land(folder, "rows2.csv", "id,x\n" + "".join(f"{n},1\n" for n in range(30)) + "x,1\n")
    assert take(folder).bad == 1


def test_a_contract_is_proposed_from_all_that_landed(folder):
    land(folder, "rows1.csv", CSV)
    land(folder, "rows2.csv", "id,x\n3,\n4,high\n")
    assert take(folder).bad == 0
    assert table(folder).sort("id")["x"].to_list() == ["0.5", "0.25", None, "high"]


def test_a_contract_is_bound_when_it_changes_and_not_otherwise(folder):
    dated = TYPED.replace("number", "date").replace("maximum: 1", "maximum: 2013-01-31")
    bind(folder, dated)
    land(folder, "rows1.csv", "id,x\n1,2013-01-01\n")
    take(folder)
    take(folder)
    assert contracts(folder) == [1]
    bind(folder, dated.replace("2013-01-31", "2013-02-28"))
    assert not take(folder).done
    assert contracts(folder) == [2, 1]


def contracts(folder: Path) -> list[int]:
    with open_workspace(folder) as workspace:
        bound = workspace.session("test").entries(kind="contract", verb="bind")
        assert all(entry.read(Contract).name == "rows" for entry in bound)
        return [entry.ref.version for entry in bound]


def test_a_personal_column_is_refused_and_nothing_is_written_anywhere(folder):
    bind(folder, TYPED.replace("name: x,", "name: x, classification: personal,"))
    land(folder, "rows1.csv", "id,x\n1,0.5\n2,9\n")
    with open_workspace(folder) as workspace:
        before = workspace.session("test").entries()
    error = refused(folder)
    assert isinstance(error, RefusedError)
    assert error.code == "CN-CONTRACT-003"
    assert written(folder) == []
    with open_workspace(folder) as workspace:
        assert workspace.session("test").entries() == before


def test_a_part_of_the_contract_that_is_not_checked_stops_before_anything_is_read(folder):
    bind(folder, TYPED + "- {property: dirft, value: add}\n")
    land(folder, "rows1.csv", CSV)
    assert refused(folder).code == "CN-CONTRACT-001"
    bind(folder, TYPED.replace("required: true", "quality: [{type: sql, query: select 1}]"))
    land(folder, "rows1.csv", CSV)
    assert refused(folder).code == "CN-CONTRACT-002"
    assert written(folder) == []


def test_a_renamed_column_stops_the_file_and_nothing_is_taken_over(folder):
    land(folder, "rows1.csv", CSV)
    take(folder)
    land(folder, "rows2.csv", "idd,x\n3,0.5\n")
    error = refused(folder)
    assert error.code == "CN-CONTRACT-005"
    assert "landing/rows2.csv: column id is missing (did you mean 'idd'?)" in error.message
    assert table(folder).height == 2


def test_nothing_has_landed(folder):
    error = refused(folder)
    assert isinstance(error, NotFoundError)
    assert error.code == "CN-INGEST-001"
    assert "landing/rows*" in error.message


def zipped(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("_", "."), text)
    return buffer.getvalue()


def test_a_csv_in_a_zip_is_read(folder):
    land(folder, "rows1.csv.zip", zipped(rows1_csv=CSV))
    assert take(folder).good == 2
    assert table(folder)["id"].to_list() == [1, 2]


def test_a_parquet_file_is_read_in_its_types(folder):
    pl.DataFrame({"id": [1, 2], "x": [0.5, None]}).write_parquet(
        folder / "landing" / "rows1.parquet"
    )
    assert take(folder).good == 2
    pl.DataFrame({"id": [3], "x": [1]}).write_parquet(folder / "landing" / "rows2.parquet")
    assert take(folder).good == 1
    pl.DataFrame({"id": [4.0], "x": [1.0]}).write_parquet(folder / "landing" / "rows3.parquet")
    assert refused(folder).code == "CN-CONTRACT-006"
    assert table(folder).sort("id")["x"].to_list() == [0.5, None, 1.0]


@pytest.mark.parametrize("bound", [True, False])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows1.csv", b""),
        ("rows1.csv", b'id,x\n1,0.5\n2,"0.5\n3,0.5\n'),
        ("rows1.csv", b"id,\xff\n1,2\n"),
        ("rows1.csv.zip", b"PK no zip"),
        ("rows1.csv.zip", zipped(a_csv=CSV)[:-9]),
        ("rows1.csv.zip", zipped(a_csv=CSV, b_csv=CSV)),
        ("rows1.csv.zip", zipped(readme_txt="hello")),
        ("rows1.parquet", b"PAR1 torn"),
        ("rows1.parquet", b""),
    ],
)
def test_a_file_that_cannot_be_read_is_named(folder, name, content, bound):
    if bound:
        bind(folder)
    land(folder, name, content)
    error = refused(folder)
    assert isinstance(error, UsageError)
    assert error.code == "CN-SOURCE-003"
    assert newest(folder) is None


def test_a_file_with_a_header_alone_brings_no_rows(folder):
    land(folder, "rows1.csv", "id,x\n")
    assert refused(folder).code == "CN-CONTRACT-009"
    assert not (folder / "contracts").exists()
    bind(folder)
    found = take(folder)
    assert (found.done, found.good, found.bad) == (True, 0, 0)
    assert table(folder).height == 0


@pytest.mark.parametrize("bound", [True, False])
@pytest.mark.parametrize(
    "line", [b"3,0.5,9\n", b"3\n", b"3,\xff\n", b'3,a"b\n', b'3,"a"b\n', b"\n"], ids=repr
)
def test_a_line_that_cannot_be_read_is_a_bad_row_and_the_others_are_taken_over(folder, line, bound):
    if bound:
        bind(folder)
    lines = b"".join(b"%d,0.5\n" % n for n in range(10, 50))
    land(folder, "rows1.csv", b"id,x\n" + lines + line + b"4,\n")
    found = take(folder)
    assert (found.good, found.bad) == (41, 1)
    assert newest(folder).landed[0].rows == 42
    bad = table(folder, "quarantine.rows").row(0, named=True)
    assert (bad["row"], bad["reasons"]) == (40, ["line|malformed"])
    (kept,) = json.loads(bad["cells"]).items()
    raw = line.removesuffix(b"\n")
    assert kept in (("# line", raw.decode("latin-1")), ("# bytes", base64.b64encode(raw).decode()))


def test_short_lines_are_told_from_missing_cells_beside_quoted_commas(folder):
    bind(folder)
    lines = ["id,x", "1,", '2,"NA"', '"3"', "4,0.5", '5,""', '6,"1,5"']
    land(folder, "rows1.csv", "\n".join(lines))
    assert take(folder).bad == 3
    bad = table(folder, "quarantine.rows").sort("row")
    assert bad["row"].to_list() == [2, 4, 5]
    assert bad["reasons"].to_list() == [["line|malformed"], ["x|number"], ["x|number"]]


def test_a_file_of_another_format_is_refused(folder):
    land(folder, "rows1.xls", "x")
    assert refused(folder).code == "CN-SOURCE-002"


# A process that dies at a step. What it wraps calls through: nothing is replaced.
KILL = """
    import os, signal, sys
    from pathlib import Path
    from colonnade.data.ingest import ingest
    from colonnade.govern import writer
    from colonnade.project import Project
    from colonnade.wiring import open_workspace

    folder, step = Path(sys.argv[1]), sys.argv[2]

    def dies(function, table):
        def call(self, *rest):
            if self._name == table:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(self, *rest)
        return call

    if step == "after quarantine":
        writer.Writer.write = dies(writer.Writer.write, "rows")
    if step == "quarantine committed, not named":
        writer.Writer._name_version = dies(writer.Writer._name_version, "quarantine.rows")
    if step == "rows committed, not named":
        writer.Writer._name_version = dies(writer.Writer._name_version, "rows")
    with open_workspace(folder) as workspace:
        source = Project("p").source("rows", "landing/rows*")
        ingest(workspace.session("test"), source, workspace.folder)
"""


@pytest.mark.parametrize(
    "step", ["quarantine committed, not named", "after quarantine", "rows committed, not named"]
)
def test_a_kill_loses_no_row_and_doubles_none(folder, step):
    bind(folder)
    land(folder, "rows1.csv", "id,x\n1,0.5\n2,2\n3,0\n")
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILL), str(folder), step], check=False
    )
    assert killed.returncode == -9
    take(folder)
    assert table(folder)["id"].to_list() == [1, 3]
    assert table(folder, "quarantine.rows")["row"].to_list() == [1]
    assert not take(folder).done
    with open_workspace(folder) as workspace:
        assert workspace.verify().holds


def test_two_processes_take_each_file_once(folder):
    bind(folder)
    for number in range(3):
        land(folder, f"rows{number}.csv", f"id,x\n{number},0.5\n1{number},2\n")
    script = """
        import sys
        from pathlib import Path
        from colonnade.data.ingest import ingest
        from colonnade.project import Project
        from colonnade.wiring import open_workspace

        with open_workspace(Path(sys.argv[1])) as workspace:
            source = Project("p").source("rows", "landing/rows*")
            print("ready", flush=True)
            sys.stdin.readline()
            print(ingest(workspace.session("test"), source, workspace.folder).done)
    """
    words = [sys.executable, "-c", textwrap.dedent(script), str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    rivals = [subprocess.Popen(words, **pipes) for _ in range(2)]
    for rival in rivals:
        assert rival.stdout.readline() == "ready\n"
    for rival in rivals:
        rival.stdin.write("go\n")
        rival.stdin.flush()
    done = [rival.communicate(timeout=60)[0].strip() for rival in rivals]
    assert sorted(done) == ["False", "True"]
    assert sorted(table(folder)["id"].to_list()) == [0, 1, 2]
    assert table(folder, "quarantine.rows").height == 3


def profile(workspace: Workspace, version: TableVersion) -> dict:
    return json.loads(workspace.session("test").blob(version.profile))


def test_the_profile_of_a_version_covers_all_its_rows(folder):
    bind(folder)
    land(folder, "rows1.csv", "id,x\n" + "".join(f"{n},0.5\n" for n in range(50)))
    take(folder)
    land(folder, "rows2.csv", "id,x\n" + "".join(f"{n},0.7\n" for n in range(50, 80)))
    take(folder)
    with open_workspace(folder) as workspace:
        counts = profile(workspace, newest(folder))["numbers"]["x"]["counts"]
    assert sum(counts) == 80


def test_a_column_that_is_bound_to_another_type_later_is_refused_at_the_table(folder):
    bind(folder)
    land(folder, "rows1.csv", CSV)
    take(folder)
    bind(folder, TYPED.replace("number, logicalTypeOptions: {maximum: 1}", "string"))
    land(folder, "rows2.csv", "id,x\n3,high\n")
    assert refused(folder).code == "CN-TABLE-002"
    assert table(folder).height == 2
