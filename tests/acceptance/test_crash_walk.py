"""Every command is killed at its 1st, 2nd, 3rd … point until it completes untouched.

A point is a call that changes what will be on the disk: fsync, rename, unlink, SQLite's commits, a
file that comes into being (``killpoint.c``). After each kill, what others see is whole; and the
command, given again, comes to the rows, the ledger and the counters of the unbroken one
(``state.py`` says what is compared, and what a kill may rightly leave).

Continuous integration walks every point of the short commands and every nth of the long ones;
``make crash-walk`` walks them all.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import polars as pl
import pytest

from colonnade.base import clock, ids
from colonnade.records.ref import Ref
from colonnade.serve import log
from colonnade.serve.segment import SpoolKey
from colonnade.serve.spool import Spool
from colonnade.wiring import open_workspace
from tests.forks import Forks, flush
from tests.projects import PROJECT, carry_out, colonnade, empty, fitted, land, made, rows
from tests.shop import Shop
from tests.tools import needed
from tests.walk import Walk

pytestmark = pytest.mark.timeout(3600)
RECENT = PROJECT.replace("examples.X, examples.y", "examples.X[-600:], examples.y[-600:]")
WINDOW = "2013-02-11..2013-03-05"


def nothing(_folder: Path) -> None:
    """A folder in which a project is to be made."""


def landed(folder: Path) -> None:
    """The first file of a source, for which there is no contract yet."""
    land(empty(folder), "rows1.csv", rows(0, 400))


def landed_more(folder: Path) -> None:
    """Tables were made; more rows have landed, and one of them breaks the contract."""
    wrong = pl.when(pl.col("id") == 450).then(pl.lit("many")).otherwise(pl.col("x").cast(pl.String))
    land(made(folder), "rows2.csv", rows(400, 200).with_columns(wrong.alias("x")))


ASKED = """
import polars as pl

import colonnade as co

project = co.Project("small")
project.source("orders", co.Sql("file:{}", "orders", cursor="at", lag="10 minutes"), key="id")


@project.table(key="id", time="at")
def examples(orders: pl.LazyFrame) -> pl.LazyFrame:
    return orders
"""


def asked(folder: Path) -> None:
    """Orders were taken from a database; then came new ones, a late one, and one that is wrong."""
    shop, address = Shop("sqlite", folder.parent), folder.parent / "shop.url"
    address.write_text(shop.url)
    empty(folder, ASKED.format(address))
    for number in range(50):
        shop.order(number, number)
    carry_out(folder)
    for number in range(50, 90):
        shop.order(number, number)
    shop.order(90, 1)
    shop.say("INSERT INTO orders VALUES (91, 'many', ?)", shop.at(91))
    shop.close()


def judged(folder: Path) -> None:
    """A model is live, and a file of labels has come."""
    frame = rows(0, 500).select("id", "y", observed_at=pl.lit("2013-03-01"))
    frame.write_csv(fitted(folder) / "labels.csv")


def answered(folder: Path) -> None:
    """An endpoint has answered, and its worker died: one segment is flushed, two wait, one is open.

    The copies of the folder are not locked by a worker, as the folder of a dead one.
    """
    with open_workspace(fitted(folder)) as workspace:
        session = workspace.session("test", "endpoint")
        key, secret = list(session.spool_keys().items())[-1]
        spool = Spool(workspace.spool, "risk", SpoolKey(id=key, secret=secret), durable=False)
    for place, size in enumerate((3, 2, 4, 1)):
        spool.write(msgspec.msgpack.encode(_group(size)))
        if place < 3:
            spool.rotate()
        if place == 0:
            assert flush(str(folder)) == 0


def _group(size: int) -> log.Group:
    entry = log.Entry(
        revision="risk@1",
        at_us=int(clock.now_s() * 1e6),
        caller="admin",
        route="predict",
        latency_us=80,
        ids=[ids.uuid7() for _ in range(size)],
        scores=[0.25] * size,
        rows=[(0.5, "a", None)] * size,
        keys=["7"] * size,
        times=[datetime(2013, 1, 1, tzinfo=UTC)] * size,
    )
    source = log.Source("risk@1", "risk", 1, ("x", "w", "high"))
    return log.Group([source], [msgspec.Raw(msgspec.msgpack.encode(entry))])


def noted(folder: Path) -> None:
    """Entries wait for the sealer."""
    session = open_workspace(fitted(folder)).session("test")
    for number in range(5):
        session.record("write", "note", Ref("project", "small"), {"number": number})


def turned(folder: Path) -> None:
    """A model is live, newer rows of another law were predicted by it, and labelled."""
    fitted(folder, RECENT)
    newer = rows(2000, 1000, law=-1.0)
    land(folder, "rows2.csv", newer)
    carry_out(folder, "examples")
    newer.with_columns(high=pl.col("x") > 0.5).drop("y").write_csv(folder / "cases.csv")
    newer.select("id", "y").write_csv(folder / "labels.csv")
    files = ("--in", str(folder / "cases.csv"), "--out", str(folder / "scored.csv"))
    assert colonnade(folder, "predict", "risk", *files) == 0
    assert colonnade(folder, "label", "risk", str(folder / "labels.csv")) == 0


def the_key_that_was_shown_last_opens(project: Path, said: str) -> None:
    shown = re.findall(r"cn_[\w-]+", said)[-1]
    keys = open_workspace(project).stores.people.keys()
    assert keys == {hashlib.sha256(shown.encode()).hexdigest(): "admin"}


@dataclass(frozen=True)
class Act:
    """What is walked; in continuous integration every `every`-th point of it."""

    prepare: Callable[[Path], None]
    words: tuple[str, ...]
    every: int = 1
    more: tuple = ()


ACTS = {
    "init": Act(nothing, ("init", "{}/new"), 1, ("new", the_key_that_was_shown_last_opens)),
    "run examples": Act(landed, ("run", "examples", "--project", "{}"), 5),
    "run": Act(landed_more, ("run", "--project", "{}"), 13),
    "run, asking": Act(asked, ("run", "examples", "--project", "{}"), 7),
    "label": Act(judged, ("label", "risk", "{}/labels.csv", "--project", "{}")),
    "model promote": Act(fitted, ("model", "promote", "risk@1", "--project", "{}")),
    "the flusher": Act(answered, ("flush", "{}")),
    "the sealer": Act(noted, ("seal", "{}")),
    "report": Act(turned, ("report", "risk", "--window", WINDOW, "--project", "{}"), 9),
}


@pytest.fixture(scope="module")
def forks(tmp_path_factory) -> Iterator[Forks]:
    """The process that forks; keys and heads lie in the project, so that a copy has its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLONNADE_KEY_FILE", "root.key")
        patch.setenv("COLONNADE_HEADS_FILE", "heads.jsonl")
        started = Forks(tmp_path_factory.mktemp("forks"))
        yield started
        started.stop()


@pytest.fixture
def folder(tmp_path) -> Iterator[Path]:
    """In memory, where a machine has such a folder: no kill asks whether a disk was written to."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Path(name)


def walk(forks: Forks, name: str, folder: Path) -> Walk:
    prepared = folder / "prepared"
    prepared.mkdir()
    act = ACTS[name]
    act.prepare(prepared)
    return Walk(forks, prepared, act.words, *act.more)


@pytest.mark.parametrize("name", ACTS)
def test_wherever_it_is_killed_it_comes_to_the_same_end(forks, name, folder, record_property):
    every = 1 if os.environ.get("COLONNADE_WALK") == "all" else ACTS[name].every
    kills = walk(forks, name, folder).through(every)
    assert kills > 10
    which = "" if every == 1 else f" (every {every}th)"
    record_property("walked", f"{name}: {kills} points walked{which}, all equal")


def test_a_recovery_that_is_killed_is_recovered(forks, folder, record_property):
    """A Delta version is committed and not named: who adopts it is killed at every 17th point."""
    walking = walk(forks, "run", folder)
    committed = [n for n, call in enumerate(walking.calls, 1) if re.search(r"^link .*_log/", call)]
    assert len(committed) == 3  # quarantine, rows, examples
    kills = 0
    for point in committed:
        for again in range(1, 90, 17):
            kills += walking.killed(point + 1, again)
    assert kills == 18
    record_property("walked", f"run: {kills} recoveries killed, all equal")


def test_every_call_that_the_kernel_saw_is_a_point(tmp_path):
    """Neither Rust nor SQLite nor Python goes around the library that ends processes."""
    strace = needed("strace", "apt-get install strace")
    names = ("fsync", "fdatasync", "ftruncate", "rename", "link", "unlink", "rmdir", "mkdir")
    traced = ",".join(f"?{name}{tail}" for name in names for tail in ("", "at", "at2"))
    options = ("-f", "--seccomp-bpf", "-y", "-qq", "-o", str(tmp_path / "kernel"))
    forks = Forks(tmp_path, (strace, *options, "-e", f"trace={traced}"))
    before = len((tmp_path / "kernel").read_text())
    landed_more(tmp_path / "project")
    done = forks.act("run", "--project", tmp_path / "project")
    forks.stop()
    assert done.code == 0, done.said
    lines = (tmp_path / "kernel").read_text()[before:].splitlines()
    kernel = [
        re.match(rf"\d+ +({'|'.join(names)})\w*\(", line) for line in lines if "-shm" not in line
    ]
    seen = Counter(found.group(1) for found in kernel if found)
    told = Counter(call.partition(" ")[0] for call in done.calls)
    del told["create"]  # of these the kernel does not say whether they made a file
    assert seen == told
    assert told.total() > 100
