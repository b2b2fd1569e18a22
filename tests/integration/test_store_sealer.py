from __future__ import annotations

import json
import threading

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from colonnade.base import clock, ids
from colonnade.base.errors import UnavailableError
from colonnade.records import canonical
from colonnade.records.entry import GENESIS, Entry, merkle_root, seal
from colonnade.store.schema import entries


def _many(stores, count):
    at = clock.stamp(clock.now())
    rows = [
        {
            "id": ids.uuid7(), "at": at, "actor": "a", "verb": "v", "kind": "run",
            "subject": "run/r", "made_from": "[]", "body": "{}",
        }
        for _ in range(count)
    ]  # fmt: skip
    with stores.database.write() as connection:
        connection.execute(entries.insert(), rows)


def _holds(stores):
    """The chain computed again, from the first entry to the last head."""
    chain, previous = list(stores.ledger.stream()), GENESIS
    for place, entry in enumerate(chain, start=1):
        assert entry.seq == place
        assert entry.prev_hash == previous
        assert entry.hash == seal(entry, place, previous)
        previous = entry.hash
    covered, previous = 0, GENESIS
    for head in stores.ledger.heads():
        assert (head.first, head.prev) == (covered + 1, previous)
        leaves = [bytes.fromhex(entry.hash) for entry in chain[head.first - 1 : head.last]]
        assert head.root == merkle_root(leaves).hex()
        assert head.last_hash == leaves[-1].hex()
        key = Ed25519PublicKey.from_public_bytes(stores.keys.public()[head.key_id])
        key.verify(bytes.fromhex(head.signature), head.signed_bytes())
        covered, previous = head.last, canonical.digest(head)
    assert covered == len(chain)
    return len(chain)


def _exported(tmp_path):
    return [json.loads(line)["last"] for line in (tmp_path / "heads").read_text().splitlines()]


def test_sealing_orders_chains_and_signs(stores, append):
    before = stores.sealer.seal()
    made = [append("run/r", "start", {"n": n}) for n in range(5)]
    assert stores.sealer.seal() == 5
    assert [stores.ledger.get(entry.id).seq for entry in made] == [before + n for n in range(1, 6)]
    assert _holds(stores) == before + 5


def test_nothing_new_makes_no_head(stores):
    stores.sealer.seal()
    heads = stores.ledger.heads()
    assert stores.sealer.seal() == 0
    assert stores.ledger.heads() == heads


def test_a_large_number_in_a_body_does_not_stop_the_sealer(stores, append):
    append("run/r", "finish", {"loss": 1e20, "exact": 2**53 - 1})
    stores.sealer.seal()
    assert stores.ledger.unsealed() == 0
    _holds(stores)


def test_more_than_a_batch_is_sealed_in_several_heads(stores):
    before = stores.sealer.seal()
    _many(stores, 5_300)
    assert stores.sealer.seal() == 5_300
    assert [head.last for head in stores.ledger.heads()] == [before, before + 5_000, before + 5_300]
    assert _holds(stores) == before + 5_300


def test_a_late_commit_gets_a_later_number_and_no_gap(stores, append):
    early = Entry(
        id=ids.uuid7(), at="2013-01-01T00:00:00.000000Z", actor="a", verb="v", kind="run",
        subject="run/r", made_from=(), body={},
    )  # fmt: skip
    first = append()
    stores.sealer.seal()
    with stores.database.write() as connection:  # its id is older than what is sealed already
        stores.ledger.append(connection, early)
    stores.sealer.seal()
    assert stores.ledger.get(early.id).seq == stores.ledger.get(first.id).seq + 1
    _holds(stores)


def test_two_sealers_in_threads_never_fork(stores, open_again, append):
    problems = []

    def work(mine):
        try:
            for _ in range(15):
                _many(mine, 3)
                mine.sealer.seal()
        except Exception as error:  # noqa: BLE001 (shown by the assertion below)
            problems.append(error)

    threads = [threading.Thread(target=work, args=(open_again(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    stores.sealer.seal()
    _holds(stores)


def test_two_sealing_processes_never_fork(stores, start, opened, go, tmp_path):
    script = (
        opened
        + """
    from colonnade.govern.change import Change
    from colonnade.records.ref import Ref
    for n in range(25):
        with stores.database.write() as connection:
            Change(stores, connection, "admin").append("note", Ref("run", "r"), {"n": n})
        stores.sealer.seal()
    """
    )
    go(start(script), start(script))
    assert stores.ledger.unsealed() == 0
    assert _holds(stores) >= 50
    assert _exported(tmp_path) == [head.last for head in stores.ledger.heads()]


def test_a_killed_sealer_leaves_a_whole_batch_or_none(stores, start, opened, go, append):
    append()
    script = (
        opened
        + """
    stores.sealer._sign = lambda *_: os.kill(os.getpid(), 9)
    stores.sealer.seal()
    """
    )
    go(start(script))
    assert stores.ledger.heads() == []
    assert stores.sealer.seal() > 0
    _holds(stores)


def test_every_head_is_exported_as_it_is_stored(stores, append, tmp_path):
    for _ in range(3):
        append()
        stores.sealer.seal()
    with stores.database.read() as connection:
        stored = connection.execute(sa.text("SELECT head FROM heads ORDER BY last")).scalars().all()
    assert (tmp_path / "heads").read_text().splitlines() == stored


@pytest.mark.parametrize("torn", [b'{"at":"2013', b"\x00" * 600])
def test_a_torn_last_line_of_the_export_is_mended(stores, append, tmp_path, torn):
    stores.sealer.seal()
    with (tmp_path / "heads").open("ab") as file:
        file.write(torn)
    append()
    stores.sealer.seal()
    assert _exported(tmp_path) == [head.last for head in stores.ledger.heads()]


def test_heads_whose_export_was_interrupted_are_exported_later(stores, append, tmp_path):
    stores.sealer.seal()
    whole = (tmp_path / "heads").read_bytes()
    for _ in range(3):
        append()
        stores.sealer.seal()
    (tmp_path / "heads").write_bytes(whole)
    stores.sealer.export()
    assert _exported(tmp_path) == [head.last for head in stores.ledger.heads()]


def test_heads_of_a_sealer_that_was_killed_are_exported_by_the_next_process(
    stores, open_again, append, tmp_path
):
    stores.sealer.seal()
    whole = (tmp_path / "heads").read_bytes()
    append()
    stores.sealer.seal()
    (tmp_path / "heads").write_bytes(whole)
    assert open_again().sealer.seal() == 0
    assert _exported(tmp_path) == [head.last for head in stores.ledger.heads()]


def test_an_export_that_is_gone_is_not_made_again_before_something_is_sealed(
    stores, open_again, tmp_path
):
    stores.sealer.seal()
    (tmp_path / "heads").unlink()
    open_again().sealer.seal()
    assert not (tmp_path / "heads").exists()


def test_a_long_export_is_continued_at_its_end(stores, append, tmp_path):
    for _ in range(150):  # more than what is read of the file's end
        append()
        stores.sealer.seal()
    assert (tmp_path / "heads").stat().st_size > 65_536
    assert _exported(tmp_path) == [head.last for head in stores.ledger.heads()]


def test_a_place_that_cannot_be_written_is_said_and_the_entries_are_sealed(stores, tmp_path):
    (tmp_path / "heads").mkdir()
    with pytest.raises(UnavailableError, match="CN-LEDGER-001"):
        stores.sealer.seal()
    assert stores.ledger.unsealed() == 0


def test_an_export_file_that_holds_something_else_is_not_written_to(stores, tmp_path):
    (tmp_path / "heads").write_text("my notes\n")
    with pytest.raises(UnavailableError, match="CN-LEDGER-001"):
        stores.sealer.seal()
    assert (tmp_path / "heads").read_text() == "my notes\n"
