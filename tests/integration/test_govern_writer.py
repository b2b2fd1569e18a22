from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sqlalchemy.exc import IntegrityError

from colonnade.base.errors import RefusedError, UnavailableError, VerdictError
from colonnade.govern import writer
from colonnade.records.ref import Ref
from colonnade.records.table import GONE, Segment, TableVersion
from colonnade.store import leases

ROWS = pl.DataFrame({"id": [1, 2]})
MORE = pl.DataFrame({"id": [3]})


def _version(mode="append", **fields):
    return TableVersion(mode=mode, step="step", **fields)


def _write(session, rows=ROWS, table="t", version=None, made_from=()):
    with session.writer(table) as held:
        return held.write(rows, version or _version(), made_from)


def _rows(session, ref="t"):
    name, _, version = ref.partition("@")
    return session.scan(Ref("table", name, int(version) if version else None)).collect()


def _segment(number):
    return Segment(
        endpoint="late", spool="s", number=number, rows=1, first_id="a", last_id="b", digest="d"
    )


def test_a_write_is_a_delta_commit_and_an_entry_that_names_it(session, stores):
    first = _write(session, made_from=["file/x"])
    second = _write(session, MORE, made_from=["file/y", first.subject])
    assert (first.subject, second.subject) == ("table/t@1", "table/t@2")
    assert (second.verb, second.actor, second.made_from) == (
        "write", "admin", ("file/y", "table/t@1"),
    )  # fmt: skip
    version = second.read(TableVersion)
    assert (version.rows, version.rows_added, version.delta_version) == (3, 1, 1)
    assert version.columns == {"id": "Int64"}
    assert version.parts == stores.tables.parts("t", 1, 0)
    assert _rows(session)["id"].sort().to_list() == [1, 2, 3]
    assert_frame_equal(_rows(session, "t@1"), ROWS)


def test_what_belongs_to_the_version_appears_with_it_or_not_at_all(session, stores):
    def fail(_change, _entry):
        raise RuntimeError("the rest could not be recorded")

    with pytest.raises(RuntimeError), session.writer("t") as held:
        held.write(ROWS, _version(), (), fail)
    assert session.newest("table", "t") is None

    def also(change, entry):
        change.append("note", Ref("run", "r"), {"rows": entry.body["rows"]})

    with session.writer("t") as held:
        assert held.newest.verb == "adopt"
        held.write(MORE, _version(), (), also)
    assert session.entries(kind="run")[0].body == {"rows": 3}


def test_an_unnamed_version_is_invisible(session, stores):
    _write(session)
    stores.tables.write("t", MORE, "append", "")
    assert_frame_equal(_rows(session), ROWS)


def test_a_foreign_commit_is_undone(session, stores):
    _write(session)
    stores.tables.write("t", MORE, "append", "not ours")
    stores.tables.write("t", pl.DataFrame({"x": ["y"]}), "replace", '{"actor": "nor this"}')
    with session.writer("t") as held:
        undone = held.newest
    assert (undone.subject, undone.verb, undone.made_from) == ("table/t@2", "undo", ("table/t@1",))
    version = undone.read(TableVersion)
    assert (version.rows, version.rows_added, version.parts) == (2, 0, {})
    assert_frame_equal(_rows(session), ROWS)
    assert _write(session, MORE).subject == "table/t@3"
    assert _rows(session).height == 3


def test_an_undone_version_keeps_what_it_knows_of_its_files(session, stores):
    _write(session, version=_version(files={"a.csv": "digest"}, segments=(_segment(1),)))
    stores.tables.write("t", MORE, "append", "not ours")
    with session.writer("t") as held:
        undone = held.newest.read(TableVersion)
    assert undone.files == {"a.csv": "digest"}
    assert undone.segments == ()


def test_a_table_that_only_strangers_wrote_is_not_touched(session, stores):
    stores.tables.write("t", ROWS, "append", "")
    with pytest.raises(UnavailableError, match="CN-TABLE-003"):
        _write(session)
    assert stores.tables.rows("t", 0) == 2


def test_a_stranger_who_commits_meanwhile_is_undone_and_the_rows_are_written_again(session, stores):
    _write(session)
    with session.writer("t") as held:
        stores.tables.write("t", MORE, "append", "a stranger")
        entry = held.write(pl.DataFrame({"id": [4]}), _version(), ())
    assert (entry.subject, entry.verb) == ("table/t@3", "write")
    assert session.version(Ref("table", "t", 2)).verb == "undo"
    assert _rows(session)["id"].sort().to_list() == [1, 2, 4]


def test_a_merge_beside_a_strangers_merge_is_redone_and_loses_nothing(session, stores, monkeypatch):
    _write(session, pl.DataFrame({"id": [1, 2], "x": [1, 1]}))
    merge = _version("merge", key=("id",))
    write = type(stores.tables).write
    others = iter([pl.DataFrame({"id": [1], "x": [9]})])

    def beside(tables, name, frame, mode, draft, **more):
        if (other := next(others, None)) is not None:
            write(tables, name, other, "merge", "a stranger", key=("id",))
        return write(tables, name, frame, mode, draft, **more)

    monkeypatch.setattr(type(stores.tables), "write", beside)
    _write(session, pl.DataFrame({"id": [2, 3], "x": [2, 3]}), version=merge)
    assert sorted(_rows(session).rows()) == [(1, 1), (2, 2), (3, 3)]


def test_who_is_overtaken_again_and_again_is_told(session, stores, monkeypatch):
    _write(session)
    write = type(stores.tables).write

    def beside(tables, name, frame, mode, draft, **more):
        write(tables, name, MORE, "append", "a stranger")
        return write(tables, name, frame, mode, draft, **more)

    monkeypatch.setattr(type(stores.tables), "write", beside)
    with pytest.raises(RefusedError, match="CN-TABLE-007"):
        _write(session, pl.DataFrame({"id": [4]}))
    monkeypatch.undo()
    assert_frame_equal(_rows(session), ROWS)
    _write(session, pl.DataFrame({"id": [4]}))
    assert _rows(session)["id"].sort().to_list() == [1, 2, 4]


def test_what_a_stopped_writer_committed_is_not_written_over(session, stores):
    """Its rows are adopted, and ours may rest on what was there before: they are not redone."""
    _write(session)
    with session.writer("t") as held:
        draft = stores.tables.unnamed("t", -1)[0].draft.replace('"parent":-1', '"parent":0')
        stores.tables.write("t", MORE, "append", draft)
        with pytest.raises(RefusedError, match="CN-TABLE-007"):
            held.write(pl.DataFrame({"id": [4]}), _version(), ())
    assert session.version(Ref("table", "t", 2)).verb == "adopt"
    _write(session, pl.DataFrame({"id": [4]}))
    assert _rows(session)["id"].sort().to_list() == [1, 2, 3, 4]


MERGES = """
    import polars as pl
    for number in range(12):
        rows = pl.DataFrame({"id": [1], "x": [-number]})
        try:
            stores.tables.write("t", rows, "merge", "a stranger", key=("id",))
        except Exception as error:
            print(type(error).__name__)
"""


def test_no_merge_of_ours_is_lost_beside_a_stranger_who_merges_too(session, start, opened):
    merge = _version("merge", key=("id",))
    _write(session, pl.DataFrame({"id": [1], "x": [0]}), version=merge)
    stranger = start(opened + MERGES)
    assert stranger.stdout.readline() == "ready\n"
    stranger.stdin.write("\n")
    stranger.stdin.flush()
    number = 1
    while stranger.poll() is None or number < 5:
        rows = pl.DataFrame({"id": [1, number + 1], "x": [number, number]})
        try:
            _write(session, rows, version=merge)
        except RefusedError:
            continue
        number += 1
    with session.writer("t"):
        pass
    found = sorted(_rows(session).rows())
    assert found == [(1, number - 1), *((place + 1, place) for place in range(1, number))]


def test_rows_are_merged_by_their_key(session):
    merge = _version("merge", key=("id",))
    _write(session, pl.DataFrame({"id": [1, 2], "x": ["a", "b"]}), version=merge)
    rows = pl.DataFrame({"id": [2, 3, 1], "x": ["c", "d", None], GONE: [False, False, True]})
    entry = _write(session, rows, version=merge)
    assert sorted(_rows(session).rows()) == [(2, "c"), (3, "d")]
    version = entry.read(TableVersion)
    assert (version.rows, version.rows_added) == (2, 2)
    assert _rows(session, "t@1").height == 2


@pytest.mark.parametrize("ids", [[1, 1], [1, None]])
def test_a_key_that_names_no_one_row_is_refused(session, ids):
    with pytest.raises(VerdictError, match="CN-TABLE-010"):
        _write(session, pl.DataFrame({"id": ids}), version=_version("merge", key=("id",)))
    assert session.newest("table", "t") is None


def test_a_compaction_is_named_and_makes_no_version(session, stores):
    for number in range(4):
        _write(session, pl.DataFrame({"id": [number]}))
    with session.writer("t") as held:
        entry = held.compact()
        assert held.compact() is None
    assert (entry.subject, entry.verb, entry.made_from) == ("table/t", "compact", ("table/t@4",))
    assert _write(session, MORE).subject == "table/t@5"
    assert len(stores.tables.files("t", 5)) == 2
    assert sorted(_rows(session)["id"]) == [0, 1, 2, 3, 3]
    assert [_rows(session, f"t@{number}").height for number in range(1, 5)] == [1, 2, 3, 4]


def test_a_compaction_that_was_not_named_is_adopted(session, stores, monkeypatch):
    for number in range(2):
        _write(session, pl.DataFrame({"id": [number]}))

    def die(*_):
        raise RuntimeError

    with session.writer("t") as held, monkeypatch.context() as patched:
        patched.setattr(type(stores.tables), "settle", die)
        with pytest.raises(RuntimeError):
            held.compact()
    assert len(stores.tables.unnamed("t", 1)) == 1
    assert _write(session, MORE).subject == "table/t@3"
    assert [entry.verb for entry in session.entries(subject="table/t")] == [
        "write", "compact", "write", "write",
    ]  # fmt: skip
    assert _rows(session).height == 3


def test_a_stranger_above_a_compaction_is_undone_to_it(session, stores):
    for number in range(2):
        _write(session, pl.DataFrame({"id": [number]}))
    with session.writer("t") as held:
        held.compact()
    stores.tables.write("t", MORE, "append", "a stranger")
    _write(session, MORE)
    assert sorted(_rows(session)["id"]) == [0, 1, 3]
    assert session.version(Ref("table", "t", 3)).verb == "undo"


def test_many_appends_are_compacted_by_themselves(session, stores, monkeypatch):
    monkeypatch.setattr(writer, "_COMPACT_EVERY", 5)
    for number in range(12):
        _write(session, pl.DataFrame({"id": [number]}))
    newest = session.newest("table", "t").read(TableVersion)
    assert len(stores.tables.files("t", newest.delta_version)) <= 6
    assert sorted(_rows(session)["id"]) == list(range(12))


def test_a_writer_that_lost_its_lease_is_refused_and_its_rows_are_adopted_once(
    session, stores, monkeypatch
):
    _write(session)
    with session.writer("t") as stopped:
        name = stores.tables.write

        def taken_over(*arguments, **more):
            number = name(*arguments, **more)
            with monkeypatch.context() as later:
                later.setattr("time.time", lambda: 1e11)
                with stores.database.write() as connection:
                    assert leases.acquire(
                        stores.database, connection, "table/t", "host-b:1:0", -1e11
                    )
            return number

        monkeypatch.setattr(
            type(stores.tables), "write", lambda _, *rest, **more: taken_over(*rest, **more)
        )
        with pytest.raises(RefusedError, match="CN-LEASE-001"):
            stopped.write(MORE, _version(), ())
        monkeypatch.undo()
    assert_frame_equal(_rows(session), ROWS)
    with session.writer("t") as held:
        assert held.newest.verb == "adopt"
    assert _rows(session)["id"].sort().to_list() == [1, 2, 3]


def test_a_version_built_on_an_older_one_is_undone(session, stores):
    first = _write(session)
    draft = stores.tables.unnamed("t", -1)[0].draft
    _write(session, MORE)
    stores.tables.write("t", ROWS, "append", draft)  # its parent is the empty table
    with session.writer("t") as held:
        assert held.newest.verb == "undo"
    assert first.subject == "table/t@1"
    assert _rows(session).height == 3


def test_segments_are_indexed_with_the_version_that_brings_them(session, stores):
    _write(session, version=_version(segments=(_segment(1), _segment(2))))
    assert session.flushed("s") == {1, 2}
    assert session.segments_of("a") == [("late", 1)]


def test_a_segment_that_was_flushed_since_is_undone_and_the_table_goes_on(session, stores):
    _write(session, version=_version(segments=(_segment(1),)))
    with pytest.raises(IntegrityError):
        _write(session, version=_version(segments=(_segment(1),)))
    assert _rows(session).height == 2
    assert _write(session, MORE).subject == "table/t@3"
    assert _rows(session).height == 3
    assert [entry.verb for entry in session.entries(subject="table/t")][::-1] == [
        "write", "read", "undo", "write", "read",
    ]  # fmt: skip


def test_a_number_that_json_cannot_keep_exactly_is_adopted_all_the_same(session, stores):
    def fail(_change, _entry):
        raise RuntimeError

    parts = {"threshold": 1e20}
    with pytest.raises(RuntimeError), session.writer("t") as held:
        held.write(ROWS, _version(step_parts=parts), (), fail)
    with session.writer("t") as held:
        assert held.newest.read(TableVersion).step_parts == parts


def test_the_lease_is_given_back_whatever_happens(session):
    with pytest.raises(KeyError), session.writer("t"):
        raise KeyError
    with session.writer("t"), session.writer("u"):
        pass


def test_who_waits_too_long_for_the_lease_is_told(session, monkeypatch):
    monkeypatch.setattr(writer, "_WAIT_S", 0.01)
    monkeypatch.setattr(writer, "_POLL_S", 0.001)
    with session.writer("t"), pytest.raises(UnavailableError, match="CN-LEASE-002"):
        _write(session)
