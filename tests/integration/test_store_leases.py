from __future__ import annotations

import os
import signal

import psutil
import pytest

from colonnade.base.errors import RefusedError
from colonnade.store import leases, process

TTL_S = 60.0


def _acquire(stores, owner, name="table/a"):
    with stores.database.write() as connection:
        return leases.acquire(stores.database, connection, name, owner, TTL_S)


def _confirm(stores, lease):
    with stores.database.write() as connection:
        leases.confirm(connection, lease, TTL_S)


def _release(stores, lease):
    with stores.database.write() as connection:
        leases.release(connection, lease)


@pytest.fixture
def now(monkeypatch):
    """A clock that the test sets."""
    moment = {"s": 1_000.0}
    monkeypatch.setattr("time.time", lambda: moment["s"])
    return moment


def test_one_holder_at_a_time_and_each_name_for_itself(stores):
    assert _acquire(stores, "host-a:1:0") is not None
    assert _acquire(stores, "host-b:1:0") is None
    assert _acquire(stores, "host-a:1:0") is None
    assert _acquire(stores, "host-b:1:0", "table/b") is not None


def test_a_lease_that_is_given_back_is_free_at_once(stores):
    first = _acquire(stores, "host-a:1:0")
    _release(stores, first)
    second = _acquire(stores, "host-b:1:0")
    assert (second.owner, second.fence) == ("host-b:1:0", first.fence + 1)


def test_an_expired_lease_is_taken_and_its_holder_is_refused(stores, now):
    first = _acquire(stores, "host-a:1:0")
    now["s"] += TTL_S - 1
    assert _acquire(stores, "host-b:1:0") is None
    now["s"] += 2
    second = _acquire(stores, "host-b:1:0")
    assert second.fence == first.fence + 1
    with pytest.raises(RefusedError, match="CN-LEASE-001"):
        _confirm(stores, first)
    _confirm(stores, second)


def test_a_lease_that_expired_but_was_not_taken_still_holds(stores, now):
    first = _acquire(stores, "host-a:1:0")
    now["s"] += TTL_S + 1
    _confirm(stores, first)
    assert _acquire(stores, "host-b:1:0") is None


def test_what_was_given_back_cannot_be_confirmed(stores):
    lease = _acquire(stores, "host-a:1:0")
    _release(stores, lease)
    with pytest.raises(RefusedError, match="CN-LEASE-001"):
        _confirm(stores, lease)


def test_a_late_release_does_not_take_the_lease_from_its_new_holder(stores, now):
    first = _acquire(stores, "host-a:1:0")
    now["s"] += TTL_S + 1
    second = _acquire(stores, "host-b:1:0")
    _release(stores, first)
    _confirm(stores, second)


def test_a_refused_confirmation_undoes_its_whole_transaction(stores, now):
    first = _acquire(stores, "host-a:1:0")
    now["s"] += TTL_S + 1
    _acquire(stores, "host-b:1:0")

    def write_late():
        with stores.database.write() as connection:
            stores.people.add_key(connection, "admin", "0" * 64)
            leases.confirm(connection, first, TTL_S)

    with pytest.raises(RefusedError):
        write_late()
    assert stores.people.keys().get("0" * 64) is None


HOLD = """
    from colonnade.store import leases, process
    with stores.database.write() as connection:
        lease = leases.acquire(stores.database, connection, "table/a", process.me(), 600.0)
    print(process.me(), flush=True)
    sys.stdin.readline()
    try:
        with stores.database.write() as connection:
            leases.confirm(connection, lease, 600.0)
        print("written")
    except Exception as error:
        print(error.code)
"""


def _holder(start, opened):
    holder = start(opened + HOLD)
    assert holder.stdout.readline() == "ready\n"
    holder.stdin.write("\n")
    holder.stdin.flush()
    return holder, holder.stdout.readline().strip()


def test_the_lease_of_a_killed_process_is_taken_at_once(stores, start, opened):
    holder, owner = _holder(start, opened)
    assert not process.is_gone(owner)
    assert _acquire(stores, "host-b:1:0") is None
    os.kill(holder.pid, signal.SIGKILL)
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # a zombie: nobody reaped it yet
    assert psutil.Process(holder.pid).status() == psutil.STATUS_ZOMBIE
    assert process.is_gone(owner)
    assert _acquire(stores, "host-b:1:0") is not None
    holder.wait()
    assert process.is_gone(owner)


def test_a_stopped_holder_that_continues_is_refused(stores, start, opened, monkeypatch):
    holder, owner = _holder(start, opened)
    os.kill(holder.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
    assert not process.is_gone(owner)
    assert _acquire(stores, "host-b:1:0") is None
    with monkeypatch.context() as later:
        later.setattr("time.time", lambda: 1e11)
        assert _acquire(stores, "host-b:1:0") is not None
    os.kill(holder.pid, signal.SIGCONT)
    assert holder.communicate("\n", timeout=30)[0] == "CN-LEASE-001\n"
