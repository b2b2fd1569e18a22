"""Sixty-four writers and two sealers at once, in several processes, on either database."""

from __future__ import annotations

import pytest

from colonnade.govern import audit
from colonnade.govern.change import Change
from colonnade.records.ref import Ref

pytestmark = pytest.mark.timeout(240)
PROCESSES, THREADS, EACH = 4, 16, 10

WRITE = """
    import threading
    from colonnade.govern.change import Change
    from colonnade.records.ref import Ref

    def work(mine):
        for n in range(int(sys.argv[4])):
            with stores.database.write() as connection:
                change = Change(stores, connection, "admin")
                entry = change.append("note", Ref("run", mine), {"n": n})
                change.version("write", Ref("table", "shared"), lambda number: {"number": number})
            kept.append(entry.id)

    kept = []
    threads = [threading.Thread(target=work, args=(f"{sys.argv[2]}.{n}",))
               for n in range(int(sys.argv[3]))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(*kept)
    stores.database.close()
"""
SEAL = """
    import threading
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), over.set()), daemon=True).start()
    while not over.is_set():
        stores.sealer.seal()
    stores.database.close()
"""


def test_no_entry_of_sixty_four_writers_is_lost_and_the_chain_has_no_gap(
    stores, start, opened, tmp_path
):
    sealers = [start(opened + SEAL) for _ in range(2)]
    writers = [start(opened + WRITE, number, THREADS, EACH) for number in range(PROCESSES)]
    for process in sealers + writers:
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
    for process in sealers + writers:
        process.stdin.write("\n")
        process.stdin.flush()
    acknowledged = []
    for process in writers:
        out, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
        acknowledged += out.split()
    for process in sealers:
        _, err = process.communicate("\n", timeout=60)
        assert process.returncode == 0, err
    stores.sealer.seal()
    assert len(set(acknowledged)) == PROCESSES * THREADS * EACH
    chain = list(stores.ledger.stream())
    assert [entry.seq for entry in chain] == list(range(1, len(chain) + 1))
    assert set(acknowledged) <= {entry.id for entry in chain}
    numbers = sorted(e.body["number"] for e in chain if e.subject.startswith("table/shared@"))
    assert numbers == list(range(1, PROCESSES * THREADS * EACH + 1))
    found = audit.verify(stores.database, stores.keys.public(), tmp_path / "heads")
    assert (found.problems, found.unsealed) == ((), 0)


def test_a_number_whose_transaction_failed_is_given_to_the_next(stores):
    def write(body):
        with stores.database.write() as connection:
            change = Change(stores, connection, "admin")
            return change.version("write", Ref("table", "t"), body)

    with pytest.raises(ZeroDivisionError):
        write(lambda number: {"number": 1 / (number - 1)})
    assert write(lambda number: {"number": number}).ref.version == 1
