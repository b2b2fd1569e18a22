"""Quarantine as a place: rows are mended, tried again or dropped, each exactly once."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import polars as pl
import pytest

from colonnade.base.errors import ColonnadeError
from colonnade.data import mend as mending
from colonnade.data import quarantine, release, sheet
from colonnade.data.ingest import ingest
from colonnade.govern.change import Change
from colonnade.project import Project
from colonnade.records.actor import Actor
from colonnade.records.entry import Entry
from colonnade.records.quarantine import Release
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion
from colonnade.wiring import Workspace, open_workspace
from tests.projects import colonnade, empty

CONTRACT = """\
schema:
- name: rows
  properties:
  - {name: id, logicalType: integer, required: true, unique: true}
  - {name: x, logicalType: number, logicalTypeOptions: {maximum: 1}}
  - {name: word, logicalType: string}
customProperties:
- {property: missing, value: [NA]}
- {property: stopAbove, value: 1}
"""
CSV = "id,x,word\n1,0.5,a\nx,2,b\n3,5,=1+1\n4,0.5,NA\n5,0\n"  # two good, three bad


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    empty(tmp_path)
    (tmp_path / "landing").mkdir()
    (tmp_path / "contracts").mkdir()
    bind(tmp_path)
    return tmp_path


def bind(folder: Path, text: str = CONTRACT) -> None:
    (folder / "contracts" / "rows.yaml").write_text(text)


def land(folder: Path, name: str = "rows1.csv", content: str | bytes = CSV) -> Path:
    path = folder / "landing" / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def take(folder: Path, **options) -> TableVersion:
    with open_workspace(folder) as workspace:
        source = Project("p").source("rows", options.pop("path", "landing/rows*"), **options)
        return ingest(workspace.session("test"), source, workspace.folder).entry.read(TableVersion)


def act(folder: Path, work, *rest, actor: str = "admin", **options):
    """A function of a pillar in a session of its own."""
    with open_workspace(folder) as workspace:
        return work(workspace.session("test", actor), *rest, **options)


DECLARED = Project("p").source("rows", "landing/rows*")
NOTHING = Project("p").source("nothing", "landing/nothing*")


def mend(folder: Path, corrections: dict, **options) -> mending.Tried:
    return act(folder, mending.mend, DECLARED, folder, corrections, **options)


def replay(folder: Path, *ids: str) -> mending.Tried:
    return act(folder, mending.replay, DECLARED, folder, ids or None)


def drop(folder: Path, *ids: str) -> int:
    return act(folder, mending.drop, "rows", ids, "it was a test")


def table(folder: Path) -> pl.DataFrame:
    found = act(folder, lambda session: session.scan(Ref("table", "rows")).collect())
    return found.select("id", "x", "word").sort("id")


def rows(folder: Path) -> pl.DataFrame:
    return act(folder, quarantine.rows, "rows")


def ids(folder: Path) -> list[str]:
    """The ids of the bad rows in the order of the file."""
    return rows(folder)["id"].to_list()


def states(folder: Path) -> list[str]:
    return rows(folder)["state"].to_list()


def balanced(folder: Path) -> quarantine.Summary:
    """Landed = good + bad, bad = open + mended + replayed + dropped, and the table is the sum."""
    found = act(folder, quarantine.summary, "rows")
    with open_workspace(folder) as workspace:
        session = workspace.session("test")
        landed = sum(
            file.rows
            for entry in session.entries(kind="table")
            if entry.ref.name == "rows" and entry.verb in ("write", "adopt")
            for file in entry.read(TableVersion).landed
        )
        assert workspace.verify().holds
    assert found.bad == found.open + found.mended + found.replayed + found.dropped
    assert table(folder).height == landed - found.bad + found.mended + found.replayed
    return found


def refused(work, *rest, **options) -> ColonnadeError:
    with pytest.raises(ColonnadeError) as caught:
        work(*rest, **options)
    return caught.value


def test_a_row_keeps_its_id_file_reasons_and_cells(folder):
    land(folder)
    version = take(folder)
    digest = version.files["landing/rows1.csv"]
    found = rows(folder)
    assert found["id"].to_list() == [f"{digest[:12]}-{row}" for row in (1, 2, 4)]
    assert found["reasons"].to_list() == [
        ["id|integer", "x|maximum"], ["x|maximum"], ["line|malformed"],
    ]  # fmt: skip
    assert json.loads(found["cells"][1]) == {"id": "3", "x": "5", "word": "=1+1"}
    assert json.loads(found["cells"][2]) == {"# line": "5,0"}
    assert states(folder) == ["open"] * 3
    summary = balanced(folder)
    assert (summary.bad, summary.open) == (3, 3)
    assert summary.reasons == {"x|maximum": 2, "id|integer": 1, "line|malformed": 1}


def test_a_mended_row_comes_in_and_its_version_names_who_what_and_from_where(folder):
    land(folder)
    version = take(folder)
    first, second, _ = ids(folder)
    tried = mend(folder, {first: {"id": "2", "x": "1"}}, because="a typing error")
    assert (tried.passed, tried.failed) == ((first,), {})
    assert table(folder).rows() == [(1, 0.5, "a"), (2, 1.0, "b"), (4, 0.5, None)]
    made = tried.entry
    assert (made.actor, made.ref.short) == ("admin", "rows@2")
    assert {f"row/{first}", f"file/{version.files['landing/rows1.csv']}"} <= set(made.made_from)
    found = rows(folder).row(0, named=True)
    assert (found["state"], found["by"], found["at"]) == ("mended", "admin", made.at)
    assert (found["became"], found["because"]) == ("rows@2", "a typing error")
    tries = act(folder, quarantine.attempts, "rows").filter(pl.col("row") == 1).sort("attempt")
    assert [json.loads(cells)["id"] for cells in tries["cells"]] == ["x", "2"]
    assert states(folder) == ["mended", "open", "open"]
    assert balanced(folder).mended == 1
    assert mend(folder, {second: {"x": "1"}}).entry.ref.short == "rows@3"
    assert balanced(folder).mended == 2


def test_a_trace_goes_from_the_file_over_the_row_to_its_mender_and_back(folder, capsys):
    land(folder)
    take(folder)
    first, second, _ = ids(folder)
    mend(folder, {first: {"id": "2", "x": "1"}})
    drop(folder, second)
    capsys.readouterr()
    assert colonnade(folder, "trace", "rows@2", "--json") == 0
    then = json.loads(capsys.readouterr().out)["answer"]["then"]
    assert then["actor"] == "admin"
    assert {f"row/{first}", "table/quarantine.rows@2"} <= {part["ref"] for part in then["from"]}
    for row, verb in ((first, "write"), (second, "drop")):
        assert colonnade(folder, "trace", row, "--json") == 0
        told = json.loads(capsys.readouterr().out)["answer"]["then"]["settled_by"]
        assert [entry["verb"] for entry in told] == [verb]
        assert colonnade(folder, "trace", row) == 0
        assert verb in capsys.readouterr().out
    assert colonnade(folder, "trace", "landing/rows1.csv", "--json") == 0
    since = json.loads(capsys.readouterr().out)["answer"]["since"]
    assert "table/rows@2" in [entry["ref"] for entry in since["table"]]


def test_a_row_that_still_breaks_the_contract_stays_with_the_new_reasons(folder):
    land(folder)
    take(folder)
    first, second, _ = ids(folder)
    tried = mend(folder, {first: {"id": "2", "x": "7"}, second: {"x": "1"}})
    assert (tried.passed, tried.failed) == ((second,), {first: ["x|maximum"]})
    found = rows(folder).row(0, named=True)
    assert (found["state"], found["reasons"]) == ("open", ["x|maximum"])
    assert json.loads(found["cells"]) == {"id": "2", "x": "7", "word": "b"}
    assert mend(folder, {first: {"x": "1"}}).passed == (first,)
    assert table(folder)["id"].to_list() == [1, 2, 3, 4]
    balanced(folder)


def test_the_same_mend_twice_takes_the_row_over_once(folder):
    land(folder)
    take(folder)
    first = ids(folder)[0]
    assert mend(folder, {first: {"id": "2", "x": "1"}}).passed == (first,)
    again = mend(folder, {first: {"id": "2", "x": "1"}})
    assert (again.passed, again.before, again.entry.ref.short) == ((), (first,), "rows@2")
    assert table(folder)["id"].to_list() == [1, 2, 4]
    assert act(folder, quarantine.attempts, "rows").height == 4


def test_a_row_that_somebody_mended_is_not_mended_otherwise(folder):
    land(folder)
    take(folder)
    first, second, _ = ids(folder)
    mend(folder, {first: {"id": "2", "x": "1"}})
    error = refused(mend, folder, {first: {"id": "9"}, second: {"x": "1"}})
    assert error.code == "CN-QUARANTINE-002"
    assert f"row {first} is not open: mended by admin at " in error.message
    assert table(folder)["id"].to_list() == [1, 2, 4]
    assert refused(drop, folder, first).code == "CN-QUARANTINE-002"
    balanced(folder)


def test_a_malformed_line_is_mended_with_all_of_its_cells(folder):
    land(folder)
    take(folder)
    last = ids(folder)[2]
    assert mend(folder, {last: {}}).unchanged == (last,)
    assert mend(folder, {last: {"x": "1"}}).failed == {last: ["id|required"]}
    assert mend(folder, {last: {"id": "5", "x": "NA"}}).passed == (last,)
    assert table(folder).row(2) == (5, None, None)
    balanced(folder)


def test_a_unique_value_that_is_in_the_table_is_not_let_in_again(folder):
    land(folder)
    take(folder)
    first, second, _ = ids(folder)
    tried = mend(folder, {first: {"id": "4", "x": "1"}, second: {"x": "1"}})
    assert tried.failed == {first: ["id|unique"]}
    assert mend(folder, {first: {"id": "3"}}).failed == {first: ["id|unique"]}
    land(folder, "rows2.csv", "id,x,word\n6,0,a\n")
    take(folder)
    assert mend(folder, {first: {"id": "6"}}).failed == {first: ["id|unique"]}
    both = mend(folder, {first: {"id": "7"}, ids(folder)[2]: {"id": "7"}})
    assert set(both.failed.values().__iter__().__next__()) == {"id|unique"}
    assert len(both.failed) == 2
    assert table(folder)["id"].to_list() == [1, 3, 4, 6]
    balanced(folder)


def test_a_row_is_replayed_when_the_contract_admits_it(folder):
    land(folder)
    take(folder)
    assert replay(folder).passed == ()
    assert act(folder, quarantine.attempts, "rows").height == 3
    bind(folder, CONTRACT.replace("maximum: 1", "maximum: 5"))
    tried = replay(folder)
    first, second, _ = ids(folder)
    assert (tried.passed, tried.failed) == ((second,), {first: ["id|integer"]})
    assert states(folder) == ["open", "replayed", "open"]
    assert rows(folder)["reasons"].to_list()[0] == ["id|integer"]
    assert "contract/rows@2" in tried.entry.made_from
    assert replay(folder).passed == ()
    assert table(folder)["word"].to_list() == ["a", "=1+1", None]
    balanced(folder)


def test_two_rows_with_one_unique_value_wait_until_one_is_dropped(folder):
    land(folder, content="id,x,word\n1,0,a\n2,0,b\n2,0,c\n")
    take(folder)
    first, second = ids(folder)
    assert replay(folder).passed == ()
    assert drop(folder, first) == 1
    assert drop(folder, first) == 0
    assert replay(folder).passed == (second,)
    found = rows(folder)
    assert found["state"].to_list() == ["dropped", "replayed"]
    assert (found["by"][0], found["because"][0]) == ("admin", "it was a test")
    assert table(folder)["word"].to_list() == ["a", "c"]
    assert balanced(folder).dropped == 1
    error = refused(mend, folder, {first: {"id": "3"}})
    assert error.code == "CN-QUARANTINE-002"
    assert "dropped by admin" in error.message


def test_a_row_that_nobody_knows_is_refused_and_so_is_a_column(folder):
    land(folder)
    take(folder)
    assert refused(mend, folder, {"0123456789ab-7": {"x": "1"}}).code == "CN-QUARANTINE-001"
    assert refused(mend, folder, {ids(folder)[0]: {"y": "1"}}).code == "CN-QUARANTINE-003"
    assert refused(drop, folder, "x").code == "CN-QUARANTINE-001"
    assert refused(act, folder, mending.drop, "nothing", ["x"], "y").code == "CN-REF-002"
    assert refused(act, folder, mending.replay, NOTHING, folder).code == "CN-REF-002"
    assert states(folder) == ["open"] * 3


def test_rows_of_a_file_that_was_replaced_are_left_out_and_come_back_with_it(folder):
    path = land(folder)
    take(folder, path="landing/rows1.csv")
    first, second, _ = ids(folder)
    mend(folder, {first: {"id": "2", "x": "1"}})
    drop(folder, second)
    path.write_text("id,x,word\n7,0,a\n")
    take(folder, path="landing/rows1.csv")
    assert states(folder) == ["left out"] * 3
    assert act(folder, quarantine.summary, "rows").bad == 0
    assert refused(mend, folder, {first: {"id": "8"}}).code == "CN-QUARANTINE-002"
    path.write_text(CSV)
    take(folder, path="landing/rows1.csv")
    assert table(folder)["id"].to_list() == [1, 4]
    assert states(folder) == ["open", "dropped", "open"]
    assert replay(folder, first).passed == (first,)  # as it was mended before
    assert table(folder)["id"].to_list() == [1, 2, 4]


def test_rows_of_a_file_that_was_added_stay_settled_behind_later_files(folder):
    land(folder)
    take(folder)
    first = ids(folder)[0]
    mend(folder, {first: {"id": "2", "x": "1"}})
    for number in range(2, 5):
        land(folder, f"rows{number}.csv", f"id,x,word\n{number}0,0,a\n{number}1,7,b\n")
        take(folder)
    mend(folder, {ids(folder)[-1]: {"x": "0"}})
    assert states(folder) == ["mended", "open", "open", "open", "open", "mended"]
    assert balanced(folder).mended == 2


def test_an_export_that_is_mended_gives_each_cell_back(folder, tmp_path):
    words = ["=1+1", "+x", "-x", "@x", "'=x", "'x", "\tx", "-5", "a,b", 'q"r', "", " x ", "ü"]
    pl.DataFrame({"id": range(len(words)), "x": 7.5, "word": words}).write_parquet(
        folder / "landing" / "rows1.parquet"
    )
    take(folder)
    path = tmp_path / "bad.csv"
    act(folder, lambda session: sheet.export(session, rows(folder), path))
    text = path.read_text()
    for begins in "=+@\t":
        assert f"{begins}x" not in text.replace(f"'{begins}", "")
    assert ",-5" in text
    found = act(folder, sheet.corrections, path)
    assert [cells["word"] for cells in found.values()] == words
    assert set(mend(folder, found).unchanged) == set(found)
    path.write_text(text.replace(",7.5,", ",0.5,"))
    assert len(mend(folder, act(folder, sheet.corrections, path)).passed) == len(words)
    assert table(folder)["word"].to_list() == words
    balanced(folder)


@pytest.mark.parametrize("suffix", sheet.FORMATS)
def test_every_form_of_an_export_is_corrections_again(folder, tmp_path, suffix):
    land(folder)
    take(folder)
    path = tmp_path / f"bad{suffix}"
    act(folder, lambda session: sheet.export(session, rows(folder), path))
    found = act(folder, sheet.corrections, path)
    assert list(found) == ids(folder)
    assert set(mend(folder, found).unchanged) == set(found)


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("bad.xls", "", "CN-SOURCE-002"),
        ("bad.csv", "id,x\n1,2\n", "CN-QUARANTINE-003"),
        ("bad.csv", "quarantine_id,x\na-1,2\na-1,3\n", "CN-QUARANTINE-003"),
        ("bad.csv", "quarantine_id,x\n,2\n", "CN-QUARANTINE-003"),
    ],
)
def test_a_file_that_holds_no_corrections_is_refused(folder, tmp_path, name, text, code):
    land(folder)
    take(folder)
    (tmp_path / name).write_text(text)
    assert refused(act, folder, sheet.corrections, tmp_path / name).code == code


def test_an_export_is_named_by_its_form(folder, tmp_path):
    land(folder)
    take(folder)
    error = refused(act, folder, sheet.export, rows(folder), tmp_path / "bad.txt")
    assert error.code == "CN-QUARANTINE-004"


def test_kinds_of_json_are_kept_and_judged_again(folder):
    lines = ['{"id": 1, "x": 0.5, "word": "a"}', '{"id": "2", "x": 9}', '{"id": 3, "word": 7}',
             '{"id": 4, "x": true}', '{"id": 5, "x": {"y": 1}}', '{"id": 6, "id": 7}', "[1]", "",
             '{"id": 8, "x": NaN}', '{"id": 9, "x": 1.0, "word": null}']  # fmt: skip
    land(folder, "rows1.jsonl", "\n".join(lines))
    version = take(folder)
    assert version.landed[0].rows == 9
    assert table(folder).rows() == [(1, 0.5, "a"), (9, 1.0, None)]
    assert rows(folder)["reasons"].to_list() == [
        ["id|integer"], ["word|string"], ["x|number"], ["x|number"], *[["line|malformed"]] * 3,
    ]  # fmt: skip
    assert replay(folder).passed == ()
    bind(folder, CONTRACT.replace("word, logicalType: string", "word, logicalType: integer"))
    assert refused(replay, folder, ids(folder)[1]).code == "CN-TABLE-002"  # it passes; the table
    assert states(folder) == ["open"] * 7


def test_a_stopped_batch_that_was_released_is_taken_over(folder):
    bind(folder, CONTRACT.replace("stopAbove, value: 1", "stopAbove, value: 0.1"))
    land(folder)
    assert refused(act, folder, release.release, "rows").code == "CN-INGEST-007"
    assert refused(take, folder).code == "CN-INGEST-003"
    entry = act(folder, release.release, "rows", "looked at")
    assert entry.read(Release).because == "looked at"
    take(folder)
    assert table(folder)["id"].to_list() == [1, 4]
    assert balanced(folder).open == 3
    assert refused(act, folder, release.release, "rows").code == "CN-INGEST-007"


def test_a_release_is_of_these_files_and_this_contract(folder):
    strict = CONTRACT.replace("stopAbove, value: 1", "stopAbove, value: 0.1")
    bind(folder, strict)
    land(folder)
    assert refused(take, folder).code == "CN-INGEST-003"
    act(folder, release.release, "rows")
    land(folder, content=CSV + "6,9,a\n")
    assert refused(take, folder).code == "CN-INGEST-003"
    land(folder)
    bind(folder, strict.replace("maximum: 1", "maximum: 0.9"))
    assert refused(take, folder).code == "CN-INGEST-003"
    act(folder, release.release, "rows")
    take(folder)
    balanced(folder)


def person(workspace: Workspace, name: str, role: str) -> None:
    with workspace.stores.database.write() as connection:
        workspace.stores.people.add(connection, Actor(name, frozenset({role})))
        change = Change(workspace.stores, connection, "admin")
        change.append("grant", Ref("actor", name), {"roles": [role]})


def test_who_ran_into_a_stop_does_not_release_it_where_there_is_somebody_else(folder):
    bind(folder, CONTRACT.replace("stopAbove, value: 1", "stopAbove, value: 0"))
    land(folder)
    assert refused(take, folder).code == "CN-INGEST-003"
    with open_workspace(folder) as workspace:
        person(workspace, "ada", "approver")
        person(workspace, "bob", "engineer")
    error = refused(act, folder, release.release, "rows")
    assert (error.code, error.exit_code) == ("CN-INGEST-008", 3)
    assert "ask one of ada" in error.fix
    assert refused(act, folder, release.release, "rows", actor="bob").code == "CN-ACCESS-001"
    entry: Entry = act(folder, release.release, "rows", actor="ada")
    assert entry.actor == "ada"
    take(folder)
    assert table(folder).height == 2


def test_the_commands_tell_what_they_did(folder, capsys, tmp_path):
    (folder / "project.py").write_text(
        'import colonnade as co\nproject = co.Project("p")\n'
        'project.source("rows", "landing/rows*")\n'
    )
    land(folder)
    assert colonnade(folder, "run") == 0
    first, second, third = ids(folder)
    words = ("data", "quarantine")
    capsys.readouterr()
    assert colonnade(folder, *words, "show", "rows", "--reason", "x|maximum") == 0
    said = capsys.readouterr().out
    assert "rows: 2 open rows in quarantine" in said
    assert f"{first}  landing/rows1.csv row 1: id|integer, x|maximum" in said
    assert colonnade(folder, *words, "show", "rows", "--batch", "rows2.csv") == 0
    assert "rows: 0 open rows" in capsys.readouterr().out
    path = str(tmp_path / "bad.csv")
    assert colonnade(folder, *words, "export", "rows", path) == 0
    assert "3 rows in" in capsys.readouterr().out
    assert colonnade(folder, *words, "mend", "rows", path) == 0
    assert "3 came as they were, and are not mended" in capsys.readouterr().out
    assert colonnade(folder, *words, "mend", "rows", "--row", first, "--set", "id=2") == 1
    assert f"{first}: x|maximum" in capsys.readouterr().out
    assert colonnade(folder, *words, "mend", "rows", "--reason", "x|maximum", "--set", "x=") == 0
    assert "rows: 2 rows mended, 0 stay; rows@2" in capsys.readouterr().out
    assert colonnade(folder, *words, "replay", "rows") == 0
    assert colonnade(folder, *words, "drop", "rows", third, "--reason", "torn") == 0
    assert "rows: 1 rows dropped, 0 were before" in capsys.readouterr().out
    assert colonnade(folder, *words, "ls", "--json") == 0
    (answer,) = json.loads(capsys.readouterr().out)["answer"]
    assert (answer["bad"], answer["open"], answer["mended"], answer["dropped"]) == (3, 0, 2, 1)
    assert colonnade(folder, *words, "show", "rows", "--all") == 0
    said = capsys.readouterr().out
    assert f"{second}  landing/rows1.csv row 2: none left; mended by admin at " in said
    assert "(torn)" in said
    for wrong in (("mend", "rows"), ("mend", "rows", path, "--set", "x=1"),
                  ("mend", "rows", "--set", "x")):  # fmt: skip
        assert colonnade(folder, *words, *wrong) == 2
        assert "CN-USAGE-001" in capsys.readouterr().err


# A process that dies at a step. What it wraps calls through: nothing is replaced.
KILL = """
    import json, os, signal, sys
    from pathlib import Path
    from colonnade.data import mend
    from colonnade.project import Project
    from colonnade.govern import writer
    from colonnade.wiring import open_workspace

    folder, step, corrections = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])

    def dies(function, table):
        def call(self, *rest):
            if self._name == table:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(self, *rest)
        return call

    if step == "before the try is kept":
        writer.Writer.write = dies(writer.Writer.write, "quarantine.rows")
    if step == "the try committed, not named":
        writer.Writer._name_version = dies(writer.Writer._name_version, "quarantine.rows")
    if step == "the try kept":
        writer.Writer.write = dies(writer.Writer.write, "rows")
    if step == "rows committed, not named":
        writer.Writer._name_version = dies(writer.Writer._name_version, "rows")
    with open_workspace(folder) as workspace:
        session = workspace.session("test")
        if step.startswith("drop"):
            writer.Writer.record = dies(writer.Writer.record, "rows")
            mend.drop(session, "rows", list(corrections), "it was a test")
        source = Project("p").source("rows", "landing/rows*")
        mend.mend(session, source, workspace.folder, corrections)
"""
STEPS = ["before the try is kept", "the try committed, not named", "the try kept",
         "rows committed, not named"]  # fmt: skip


def killed(folder: Path, step: str, corrections: dict) -> None:
    script = [sys.executable, "-c", textwrap.dedent(KILL), str(folder), step]
    done = subprocess.run([*script, json.dumps(corrections)], check=False)
    assert done.returncode == -9


@pytest.mark.parametrize("step", STEPS)
def test_a_mend_that_is_killed_is_finished_by_the_same_mend(folder, step):
    land(folder)
    take(folder)
    first, second, third = ids(folder)
    corrections = {first: {"id": "2", "x": "1"}, second: {"x": "8"}, third: {"id": "5"}}
    killed(folder, step, corrections)
    tried = mend(folder, corrections)
    assert table(folder)["id"].to_list() == [1, 2, 4, 5]
    assert sorted([*tried.passed, *tried.before]) == sorted([first, third])
    assert states(folder) == ["mended", "open", "mended"]
    assert rows(folder)["reasons"].to_list() == [[], ["x|maximum"], []]
    assert act(folder, quarantine.attempts, "rows").height == 6
    balanced(folder)


@pytest.mark.parametrize("step", STEPS)
def test_what_another_does_behind_a_kill_is_done_once(folder, step):
    land(folder)
    take(folder)
    first = ids(folder)[0]
    killed(folder, step, {first: {"id": "2", "x": "1"}})
    if step == STEPS[-1]:  # the commit is there: it was mended
        assert refused(drop, folder, first).code == "CN-QUARANTINE-002"
        assert table(folder)["id"].to_list() == [1, 2, 4]
    else:
        assert drop(folder, first) == 1
        assert table(folder)["id"].to_list() == [1, 4]
    balanced(folder)


def test_a_drop_that_is_killed_has_dropped_nothing(folder):
    land(folder)
    take(folder)
    first = ids(folder)[0]
    killed(folder, "drop", {first: {}})
    assert states(folder) == ["open"] * 3
    assert mend(folder, {first: {"id": "2", "x": "1"}}).passed == (first,)
    balanced(folder)


RIVAL = """
    import json, sys
    from pathlib import Path
    from colonnade.base.errors import ColonnadeError
    from colonnade.data import mend
    from colonnade.project import Project
    from colonnade.wiring import open_workspace

    with open_workspace(Path(sys.argv[1])) as workspace:
        session = workspace.session("test")
        print("ready", flush=True)
        sys.stdin.readline()
        try:
            source = Project("p").source("rows", "landing/rows*")
            tried = mend.mend(session, source, workspace.folder, json.loads(sys.argv[2]))
            print(len(tried.passed))
        except ColonnadeError as error:
            print(error.code)
"""


@pytest.mark.parametrize(
    ("values", "said"), [("23", ["1", "CN-QUARANTINE-002"]), ("22", ["0", "1"])]
)
def test_two_people_mend_the_same_row_and_one_of_them_does(folder, values, said):
    land(folder)
    take(folder)
    first = ids(folder)[0]
    rivals = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(RIVAL), str(folder),
             json.dumps({first: {"id": value, "x": "1"}})],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for value in values
    ]  # fmt: skip
    for rival in rivals:
        assert rival.stdout.readline() == "ready\n"
    for rival in rivals:
        rival.stdin.write("go\n")
        rival.stdin.flush()
    assert sorted(rival.communicate(timeout=60)[0].strip() for rival in rivals) == said
    assert table(folder).height == 3
    balanced(folder)
