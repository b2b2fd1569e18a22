from __future__ import annotations

import multiprocessing
import os
import socket

import pytest

from colonnade.store import process


def test_this_process_is_there():
    assert process.me() == process.me()
    assert not process.is_gone(process.me())


def test_a_process_id_that_is_used_again_is_another_process():
    host, pid, started = process.me().rsplit(":", 2)
    assert process.is_gone(f"{host}:{pid}:{float(started) - 60:.2f}")


@pytest.mark.parametrize("owner", ["{host}:999999999:1.00", "{host}:x:1.00", "{host}:{pid}:x"])
def test_who_cannot_be_a_process_of_this_host_is_gone(owner):
    assert process.is_gone(owner.format(host=socket.gethostname(), pid=os.getpid()))


@pytest.mark.parametrize("owner", ["elsewhere:1:1.00", "", "worker-1"])
def test_of_another_host_only_the_end_of_the_lease_tells(owner):
    assert not process.is_gone(owner)


def test_a_child_is_somebody_else():
    receive, send = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=lambda: send.send(process.me()))
    process.me()
    child.start()
    owner = receive.recv()
    child.join()
    assert owner != process.me()
    assert process.is_gone(owner)
