from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys

import msgspec
import pytest
import rfc8785

from colonnade.records import canonical
from colonnade.records.action import Action
from colonnade.records.entry import GENESIS, Entry, Head, merkle_root, seal
from colonnade.records.ref import Ref

ENTRY = Entry(
    id="01900000-0000-7000-8000-000000000001",
    at="2013-04-01T00:00:00.000000Z",
    actor="admin",
    verb="write",
    kind="table",
    subject="table/flights@3",
    made_from=("file/ab", "contract/flights@1"),
    body={"rows": 3},
)


def test_a_seal_is_the_hash_of_all_other_fields_as_the_docs_say():
    fields = dataclasses.asdict(ENTRY) | {"seq": 7, "prev_hash": GENESIS}
    del fields["hash"]
    fields["made_from"] = list(fields["made_from"])
    assert seal(ENTRY, 7, GENESIS) == hashlib.sha256(rfc8785.dumps(fields)).hexdigest()


def test_an_entry_knows_its_subject():
    assert ENTRY.ref == Ref("table", "flights", 3)


def test_a_body_is_read_as_the_record_that_was_appended():
    action = Action(endpoint="late", action="retrain", reason="drift", facts={"auc": 0.5})
    entry = dataclasses.replace(ENTRY, body=canonical.plain(action))
    assert entry.read(Action) == action
    with pytest.raises(msgspec.ValidationError):
        ENTRY.read(Action)


def test_a_head_signs_everything_but_its_signature():
    head = Head(
        first=1, last=2, root="r", last_hash="h", prev=GENESIS, at="t", key_id="k", signature="s"
    )
    assert b"signature" not in head.signed_bytes()
    assert dataclasses.replace(head, signature="x").signed_bytes() == head.signed_bytes()
    for field, other in {"first": 2, "last": 3, "root": "x", "at": "x", "key_id": "x"}.items():
        assert dataclasses.replace(head, **{field: other}).signed_bytes() != head.signed_bytes()


_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657",
           "606162636465666768696a6b6c6d6e6f"]  # fmt: skip
_ROOTS = [  # the test vectors of Certificate Transparency
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("count", range(1, 9))
def test_the_merkle_root_has_the_known_values(count):
    leaves = [bytes.fromhex(leaf) for leaf in _LEAVES[:count]]
    assert merkle_root(leaves).hex() == _ROOTS[count - 1]


FIRST_READERS = """
import os, sys, threading
from colonnade.records import canonical
from colonnade.records.entry import Entry
from colonnade.records.table import TableVersion

sys.setswitchinterval(1e-6)
body = canonical.plain(TableVersion(mode="append", step="x"))
entry = Entry(id="", at="", actor="", verb="", kind="", subject="", made_from=(), body=body)

def child():
    together = threading.Barrier(4)
    def read():
        together.wait()
        entry.read(TableVersion)
    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os._exit(0)

crashed = 0
for _ in range(100):
    pid = os.fork()
    if pid == 0:
        child()
    crashed += os.waitpid(pid, 0)[1] != 0
print(crashed)
"""


def test_threads_that_read_a_record_for_the_first_time_at_once_do_not_end_the_process():
    """Without a lock 12 in 100 processes ended by a segmentation fault."""
    words = [sys.executable, "-c", FIRST_READERS]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "0\n"
