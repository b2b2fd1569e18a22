"""Bad input at every door: each command and each route, one message, no traceback, nothing written.

A case is a row of a table: what is asked, what is wrong, the exit code, the code of the error and
the words that its message must have. `tests/conftest.py` sums up how many there were.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
import polars as pl
import pytest

from colonnade.cli.main import COMMANDS
from colonnade.cli.main import colonnade as group
from colonnade.cli.main import run as command
from tests.projects import Endpoint, _unload, colonnade, fitted, rows, until
from tests.unit.test_serve_app import app

pytestmark = pytest.mark.timeout(240)
Spoil = Callable[[Path], object]
ERROR = re.compile(r"^CN-[A-Z0-9]+-[0-9]{3}: ", re.MULTILINE)
RAW = ("Traceback", "pydantic", "polars.exceptions", "sqlalchemy", "ZipInfo", "plugin failed")


@dataclass(frozen=True)
class Case:
    """What is wrong, and what is said about it.

    Attributes:
        words: the command; ``{folder}`` is the project's folder.
        says: words that the message has.
        spoil: makes the input bad; None where the words themselves are.
    """

    words: tuple[str, ...]
    wrong: str
    code: str
    says: tuple[str, ...]
    exit: int = 2
    spoil: Spoil | None = None

    def is_of(self, door: str) -> bool:
        """Whether it is a case of this command."""
        return f"{' '.join(self.words)} ".startswith(f"{door} ")

    def __str__(self) -> str:
        return f"{' '.join(self.words)[:60]}: {self.wrong}".encode("ascii", "replace").decode()


def leaves(of: click.Group, *above: str) -> Iterator[tuple[str, ...]]:
    context = click.Context(of)
    for name in of.list_commands(context):
        found = of.get_command(context, name)
        if isinstance(found, click.Group):
            yield from leaves(found, *above, name)
        else:
            yield (*above, name)


# What each command needs beside its name, so that only what a case spoils is wrong.
VALID: dict[tuple[str, ...], tuple[str, ...]] = {
    ("run",): (),
    ("up",): (),
    ("server",): ("--port", "0"),
    ("serve",): ("--port", "0"),
    ("worker",): (),
    ("status",): (),
    ("data", "ls"): (),
    ("data", "show"): ("examples@1",),
    ("data", "contract", "diff"): ("rows@1", "rows"),
    ("data", "contract", "show"): ("rows@1",),
    ("data", "versions"): ("examples",),
    ("data", "files"): ("examples",),
    ("data", "compact"): ("examples",),
    ("data", "vacuum"): ("examples",),
    ("data", "hold"): ("examples@1", "--why", "a test"),
    ("data", "lift"): ("examples@1",),
    ("data", "online"): ("examples", "1"),
    ("data", "quarantine", "ls"): (),
    ("data", "quarantine", "show"): ("rows",),
    ("data", "quarantine", "export"): ("rows", "{folder}/bad.csv"),
    ("data", "quarantine", "mend"): ("rows", "--set", "x=1"),
    ("data", "quarantine", "replay"): ("rows",),
    ("data", "quarantine", "drop"): ("rows", "0123456789ab-1", "--reason", "a test"),
    ("data", "release"): ("rows",),
    ("data", "log"): ("rows",),
    ("runs", "ls"): (),
    ("runs", "show"): ("01a204d7-7ab1-7066-89d8-55a238e1cfc8",),
    ("model", "ls"): (),
    ("model", "show"): ("risk@1",),
    ("model", "promote"): ("risk@1",),
    ("model", "rollback"): ("risk",),
    ("predict",): ("risk@1", "--in", "{folder}/in.csv", "--out", "{folder}/out.csv"),
    ("label",): ("risk", "{folder}/labels.csv"),
    ("report",): ("risk", "--window", "2013-01"),
    ("trace",): ("risk@1",),
    ("audit", "ls"): (),
    ("audit", "verify"): (),
    ("access", "who"): (),
    ("access", "key"): ("admin",),
    ("access", "revoke"): ("01a204d7-7ab1-7066-89d8-55a238e1cfc8",),
    ("access", "rotate"): (),
}
MANY_WORDS = [  # any number of names
    ("run",), ("data", "quarantine", "drop"), ("data", "compact"), ("data", "vacuum"),
    ("data", "online"),
]  # fmt: skip
IMPORTING = [
    ("run",), ("up",), ("server",), ("worker",), ("status",), ("data", "log"), ("data", "online"),
    ("data", "quarantine", "mend"), ("data", "quarantine", "replay"), ("predict",), ("label",),
    ("report",),
]  # fmt: skip


def write(name: str, content: str | bytes) -> Spoil:
    """Puts a file into the project."""
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content

    def put(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)

    return put


def also(name: str, text: str) -> Spoil:
    """Adds lines to a file of the project."""
    return lambda folder: (folder / name).write_text((folder / name).read_text() + text)


def swap(name: str, old: str, new: str) -> Spoil:
    """Replaces a part of a file of the project."""

    def replace(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return replace


def gone(name: str) -> Spoil:
    """Takes a file away."""
    return lambda folder: (folder / name).unlink()


def pipe(name: str) -> Spoil:
    """Puts a pipe where a file is expected: who reads it waits for ever."""

    def make(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name, 0o600)

    return make


# Every command, whatever it is asked


def of_every_command() -> Iterator[Case]:
    toml = "colonnade.toml"
    for name, rest in VALID.items():
        words = (*name, *rest)
        yield Case((*words, "--no-such"), "unknown option", "CN-USAGE-001", ("--no-such", "--help"))
        if name not in MANY_WORDS:
            yield Case((*words, "one", "two"), "too many words", "CN-USAGE-001", ("--help",))
        yield Case(words, "no project", "CN-SETTINGS-001", ("is no project",), spoil=gone(toml))
        yield Case(
            words,
            "unknown setting",
            "CN-SETTINGS-002",
            ("serving.prt", "did you mean"),
            spoil=also(toml, "[serving]\nprt = 1\n"),
        )
        yield Case(
            words,
            "settings not UTF-8",
            "CN-SETTINGS-002",
            ("utf-8",),
            spoil=write(toml, b"[project]\nname = '\xe9'\n"),
        )
        yield Case(
            words, "no key file", "CN-KEYS-001", ("root.key",), exit=4, spoil=gone("root.key")
        )
        if name in IMPORTING:
            yield Case(
                words,
                "broken project.py",
                "CN-PROJECT-002",
                ("project.py:3", "SyntaxError"),
                spoil=write("project.py", "import colonnade as co\n\nproject = co.Project('p'\n"),
            )


# Words of single commands

HUGE = "9" * 30
WORDS = [
    # What else is wrong is what a doctor finds, and no error.
    Case(("doctor", "--no-such"), "unknown option", "CN-USAGE-001", ("--no-such", "--help")),
    Case(("doctor", "one"), "too many words", "CN-USAGE-001", ("--help",)),
    *(
        Case((*words, port), f"port {port!r}", "CN-USAGE-001", ("--port",))
        for words in (("serve", "--port"), ("server", "--port"), ("up", "--port"))
        for port in ("70000", "-1", "x", "", HUGE)
    ),
    *(
        Case((*words, number), f"number {number!r}", "CN-USAGE-001", (words[-1],))
        for words in (
            ("data", "show", "examples@1", "--rows"),
            ("data", "quarantine", "show", "rows", "--rows"),
            ("runs", "ls", "--limit"),
            ("audit", "ls", "--limit"),
        )
        for number in ("-5", "x", "", HUGE, "1.5")
    ),
    *(
        Case((*words, name), f"no name: {name!r}", "CN-REF-001", ("NAME@VERSION",))
        for words in (("data", "show"), ("model", "show"), ("model", "promote"))
        for name in ("", "x y", "@", "x@0", "x@-1", f"x@{HUGE}")
    ),
    *(
        Case(("predict", name, *VALID["predict",][1:]), f"model {name!r}", "CN-REF-001", ("model",))
        for name in ("", "x y", "risk@x", f"risk@{HUGE}")
    ),
    *(
        Case(
            ("report", "risk", "--window", window),
            f"window {window!r}",
            "CN-REPORT-001",
            ("2013-04",),
        )
        for window in (
            "",
            "9999-12",
            "0000-01",
            "2013-13",
            "2013-02..2013-01",
            "x..y",
            "..",
            "0001-01-01T00:00:00+10:00..2013-01-01",
            "2013-01-01..9999-12-31T23:59:59-23:59",
        )
    ),
    *(
        Case(("trace", what), f"trace {what[:30]!r}", "CN-TRACE-001", ("nothing goes by",))
        for what in (
            "",
            "-",
            ".",
            "../../etc/passwd",
            "é@1",
            "/dev/zero",
            "x" * 100_000,
            f"risk@{HUGE}",
            "00000000-0000-0000-0000-000000000000",
            "%",
            "risk@0",
        )
    ),
    Case(("trace", "/proc/self/status"), "a file of the kernel", "CN-TRACE-002", ("never taken",)),
    Case(("trace", "/proc/self/mem"), "memory", "CN-SOURCE-003", ("mem cannot be read",)),
    Case(("run", "exmples"), "unknown name", "CN-RUN-001", ("did you mean 'examples'?",)),
    Case(("run", ""), "empty name", "CN-RUN-001", ("''",)),
    Case(("run", "x" * 100_000), "a name of 100 kB", "CN-RUN-001", (" … ",)),
    Case(("data", "show", "exmples"), "unknown table", "CN-REF-002", ("'examples'",)),
    Case(("data", "show", "examples@9"), "unknown version", "CN-REF-002", ("examples@9",)),
    Case(("data", "show", "\x1b[31mred"), "an escape sequence", "CN-REF-002", ("\\x1b[31mred",)),
    Case(("data", "quarantine", "show", "../x"), "unknown source", "CN-REF-002", ("../x",)),
    Case(("data", "contract", "show", "rws"), "unknown contract", "CN-REF-002", ("'rows'",)),
    Case(("data", "contract", "show", "rows@0"), "version 0", "CN-REF-001", ("rows@0",)),
    Case(
        ("data", "contract", "diff", "rows", "rws"),
        "unknown contract",
        "CN-CONTRACT-013",
        ("'rows'",),
    ),
    Case(
        ("data", "contract", "diff", "rows", "no.yaml"), "no file", "CN-CONTRACT-001", ("no.yaml",)
    ),
    Case(
        ("data", "contract", "diff", "rows@9", "rows"), "unknown version", "CN-REF-002", ("rows@9",)
    ),
    Case(("model", "show", "rsk"), "unknown model", "CN-REF-002", ("'risk'",)),
    Case(("model", "show", "risk@9"), "unknown version", "CN-REF-002", ("risk@9",)),
    Case(("model", "promote", "risk@9"), "unknown version", "CN-REF-002", ("risk@9",)),
    Case(
        ("model", "promote", "risk@1", "--endpoint", "rsk"),
        "endpoint",
        "CN-DEPLOY-003",
        ("'risk'",),
    ),
    Case(("model", "promote", "risk@1", "--endpoint", ""), "endpoint", "CN-DEPLOY-003", ("''",)),
    Case(("model", "rollback", "rsk"), "unknown endpoint", "CN-DEPLOY-003", ("'risk'",)),
    Case(("model", "rollback", "risk"), "no earlier version", "CN-DEPLOY-001", ("promote",)),
    Case(("model", "rollback"), "missing word", "CN-USAGE-001", ("ENDPOINT",)),
    Case(("runs", "show", "no"), "unknown run", "CN-RUN-002", ("'no'", "runs ls")),
    Case(("runs", "show", ""), "unknown run", "CN-RUN-002", ("''",)),
    Case(("audit", "ls", "--kind", "no"), "unknown kind", "CN-USAGE-001", ("--kind", "'table'")),
    Case(("access", "key", "nobody"), "unknown actor", "CN-ACCESS-002", ("'nobody'",)),
    Case(("access", "revoke", "no"), "unknown key", "CN-ACCESS-003", ("'no'",)),
    Case(("label", "rsk", "{folder}/labels.csv"), "unknown endpoint", "CN-DEPLOY-003", ("'risk'",)),
    Case(
        ("report", "rsk", "--window", "2013-01"), "unknown endpoint", "CN-DEPLOY-003", ("'risk'",)
    ),
    Case(
        ("report", "risk", "--window", "1999-01"),
        "no prediction",
        "CN-REF-002",
        ("predictions.risk",),
    ),
    Case(("report", "risk"), "no window", "CN-USAGE-001", ("--window",)),
    Case(("predict", "rsk", *VALID["predict",][1:]), "unknown model", "CN-REF-002", ("'risk'",)),
    Case(("status", "--project", "/proc"), "no project", "CN-SETTINGS-001", ("/proc",)),
    Case(("statuss",), "unknown command", "CN-USAGE-001", ("statuss", "did you mean 'status'?")),
    Case(("data", "lss"), "unknown command", "CN-USAGE-001", ("lss", "did you mean 'ls'?")),
]

# init makes a folder: it has no project to be asked about

INIT = [
    Case(("init",), "no folder", "CN-USAGE-001", ("FOLDER",)),
    Case(("init", ""), "empty folder", "CN-USAGE-001", ("FOLDER",)),
    Case(("init", "{folder}"), "a project already", "CN-SETTINGS-003", ("is a project already",)),
    Case(("init", "{folder}/root.key"), "a file", "CN-USAGE-001", ("root.key",)),
    Case(("init", "/proc/x"), "not writable", "CN-SETTINGS-005", ("/proc/x",)),
    Case(("init", "{folder}/a%b", "--name", "a"), "a % in the path", "CN-SETTINGS-004", ("a%b",)),
    Case(("init", "{folder}/9lives"), "a name that is none", "CN-NAME-001", ("9lives", "--name")),
    Case(("init", "{folder}/日本"), "a name that is none", "CN-NAME-001", ("日本", "--name")),
    Case(
        ("init", "{folder}/new", "--name", "A B"), "a name that is none", "CN-NAME-001", ("'A B'",)
    ),
    Case(("init", "{folder}/new", "--name", ""), "an empty name", "CN-NAME-001", ("''",)),
    Case(("init", "{folder}/new", "--name", "x" * 64), "a long name", "CN-NAME-001", ("63",)),
]

# Files: what lands, what is labelled, what is scored

HEAD = "id,at,x,w,y\n"
LINE = "{},2013-03-01T00:00:00Z,0.5,a,true\n"
GOOD = HEAD + "".join(LINE.format(9000 + number) for number in range(30))


def zipped(content: bytes, *names: str, encrypted: bool = False, says: int = 0) -> bytes:
    """A zip; one that says that it is encrypted, or that it holds more than it does."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    data = bytearray(out.getvalue())
    central = data.index(b"PK\x01\x02")
    if encrypted:
        data[6] |= 1
        data[central + 8] |= 1
    if says:
        data[central + 24 : central + 28] = says.to_bytes(4, "little")
    return bytes(data)


def parquet(frame: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    frame.write_parquet(out)
    return out.getvalue()


TYPED = pl.read_csv(io.StringIO(GOOD)).with_columns(at=pl.col("at").str.to_datetime("%+"))

# name, what is wrong, content, what is said (code, exit code, words)
UNREADABLE = [
    ("empty.csv", b"", ("it is empty",)),
    ("blank.csv", b"\n\n\n", ("it is empty",)),
    ("latin.csv", GOOD.replace(",a,", ",\xe9,").encode("latin-1"), ("UTF-8",)),
    ("utf16.csv", GOOD.encode("utf-16"), ("UTF-8",)),
    ("utf16be.csv", GOOD.encode("utf-16-be"), ("UTF-8",)),
    ("binary.csv", bytes(range(256)) * 40, ("cannot be read",)),
    ("nul.csv", b"\0" * 5000, ("UTF-8",)),
    ("cr.csv", GOOD.replace("\n", "\r").encode(), ("line feed",)),
    ("twice.csv", GOOD.replace("w,y", "w,x").encode(), ("'x' twice",)),
    ("semicolons.csv", GOOD.replace(",", ";").encode(), ("semicolons", "expected commas")),
    ("tabs.csv", GOOD.replace(",", "\t").encode(), ("tabs", "expected commas")),
    ("ragged.csv", (GOOD + "1,2,3,4,5,6\n").encode(), ("more cells",)),
    ("quote.csv", (GOOD + '1,2013-03-01T00:00:00Z,1,"a secret,true\n').encode(), ("quote",)),
    ("wide.csv", (",".join(f"c{n}" for n in range(10_000)) + "\n").encode(), ("10,000 columns",)),
    ("empty.csv.zip", b"", ("not a zip",)),
    ("junk.csv.zip", bytes(range(256)) * 9, ("not a zip",)),
    ("cut.csv.zip", zipped(GOOD.encode(), "r.csv")[:-30], ("not a zip",)),
    ("none.csv.zip", zipped(b"", "r.txt"), ("holds 0 CSV files", "exactly one")),
    ("two.csv.zip", zipped(b"", "r.csv", "s.csv"), ("holds 2 CSV files",)),
    ("secret.csv.zip", zipped(GOOD.encode(), "r.csv", encrypted=True), ("is encrypted",)),
    ("bomb.csv.zip", zipped(GOOD.encode(), "r.csv", says=2**31), ("2,147,483,648", "at most")),
    ("latin.csv.zip", zipped(b"a,\xe9\n1,2\n", "r.csv"), ("UTF-8",)),
    ("empty.parquet", b"", ("cannot be read",)),
    ("cut.parquet", parquet(TYPED)[:-20], ("cannot be read",)),
    ("text.parquet", GOOD.encode(), ("cannot be read",)),
    ("magic.parquet", b"PAR1\xff\xff\xff\x7fPAR1", ("cannot be read",)),
]
ASKING = {  # the commands that read a file of the user
    "run": lambda name: (f"landing/rows_{name}", ("run", "rows")),
    "label": lambda name: (name, ("label", "risk", f"{{folder}}/{name}")),
    "predict": lambda name: (
        name,
        ("predict", "risk@1", "--in", f"{{folder}}/{name}", "--out", "{folder}/out.csv"),
    ),
}
BY_LINE = {("run", "latin.csv"), ("run", "ragged.csv")}  # to quarantine, see `LANDING`
ANY_FILE = swap("project.py", "landing/rows*.csv", "landing/rows*")


def both(*spoils: Spoil) -> Spoil:
    return lambda folder: [spoil(folder) for spoil in spoils]


def of_every_file() -> Iterator[Case]:
    for name, content, says in UNREADABLE:
        for door, place in ASKING.items():
            path, words = place(name)
            spoil = both(ANY_FILE, write(path, content))
            code = "CN-SOURCE-004" if "expected commas" in says else "CN-SOURCE-003"
            if (door, name) not in BY_LINE:
                yield Case(words, f"file {name}", code, (name, *says), spoil=spoil)
    for door in ("label", "predict"):
        for name, wrong, code, says, spoil in (
            ("no.csv", "missing file", "CN-USAGE-001", "does not exist", None),
            ("", "a folder", "CN-USAGE-001", "is a directory", None),
            ("pipe.csv", "a pipe", "CN-SOURCE-003", "no regular file", pipe("pipe.csv")),
            (
                "x.json",
                "a format that is not read",
                "CN-SOURCE-002",
                ".parquet",
                write("x.json", "{}"),
            ),
            (
                "loop.csv",
                "a link to itself",
                "CN-USAGE-001",
                "does not exist",
                lambda folder: (folder / "loop.csv").symlink_to("loop.csv"),
            ),
        ):
            yield Case(ASKING[door](name)[1], wrong, code, (says,), spoil=spoil)


def lands(name: str, content: str | bytes) -> Spoil:
    return both(ANY_FILE, write(f"landing/rows_{name}", content))


def same_again(folder: Path) -> None:
    shutil.copy(folder / "landing" / "rows1.csv", folder / "landing" / "rows2.csv")


LANDING = [
    (
        "another encoding in every line",
        lands("latin.csv", GOOD.replace(",a,", ",\xe9,").encode("latin-1")),
        "CN-INGEST-003",
        ("line|malformed 30",),
        1,
    ),
    (
        "a cell more in every line",
        lands("ragged.csv", GOOD.replace(",a,", ",a,a,")),
        "CN-INGEST-003",
        ("line|malformed 30",),
        1,
    ),
    (
        "missing column",
        lands("a.csv", GOOD.replace(",y\n", "\n").replace(",true", "")),
        "CN-CONTRACT-005",
        ("column y is missing",),
        2,
    ),
    (
        "renamed column",
        lands("a.csv", GOOD.replace(",x,", ",xx,")),
        "CN-CONTRACT-005",
        ("column x is missing", "xx"),
        2,
    ),
    (
        "retyped column",
        lands("a.csv", GOOD.replace("true", "maybe")),
        "CN-INGEST-003",
        ("y|boolean 30", "nothing was taken over"),
        1,
    ),
    (
        "a column more",
        lands("a.csv", GOOD.replace(",y\n", ",y,z\n").replace("true", "true,1")),
        "CN-CONTRACT-005",
        ("column z is not in the contract",),
        2,
    ),
    (
        "thousands separators",
        lands("a.csv", GOOD.replace("0.5", '"1,000.5"')),
        "CN-INGEST-003",
        ("x|number 30",),
        1,
    ),
    (
        "dates in another form",
        lands("a.csv", GOOD.replace("2013-03-01T00:00:00Z", "1.3.2013")),
        "CN-INGEST-003",
        ("at|timestamp 30",),
        1,
    ),
    (
        "an empty name",
        lands("a.csv", GOOD.replace(",y\n", ",\n")),
        "CN-CONTRACT-005",
        ("column_5 is not in the contract",),
        2,
    ),
    (
        "a name of ours",
        lands("a.csv", GOOD.replace(",y\n", ",# row\n")),
        "CN-CONTRACT-010",
        ("'# row'",),
        2,
    ),
    (
        "Parquet: nested",
        lands("a.parquet", parquet(TYPED.with_columns(w=pl.struct("x")))),
        "CN-CONTRACT-004",
        ("w of landing/rows_a.parquet", "Struct"),
        2,
    ),
    (
        "Parquet: retyped",
        lands("a.parquet", parquet(TYPED.with_columns(pl.col("id").cast(pl.Float64)))),
        "CN-CONTRACT-006",
        ("id is Float64", "integer"),
        2,
    ),
    (
        "Parquet: a column less",
        lands("a.parquet", parquet(TYPED.drop("x"))),
        "CN-CONTRACT-005",
        ("column x is missing",),
        2,
    ),
    ("the same file twice", same_again, "CN-INGEST-005", ("rows2.csv", "rows1.csv"), 2),
    (
        "a changed file",
        also("landing/rows1.csv", LINE.format(9000)),
        "CN-INGEST-002",
        ("rows1.csv has changed",),
        2,
    ),
    ("a format that is not read", lands("a.json", "{}"), "CN-SOURCE-002", (".parquet",), 2),
    (
        "no file",
        lambda folder: shutil.rmtree(folder / "landing"),
        "CN-INGEST-001",
        ("rows*.csv",),
        2,
    ),
]
LABELS = [
    ("missing column", "id,z\n2001,true\n", "CN-LABEL-001", ("'y'",)),
    ("renamed key", "idd,y\n2001,true\n", "CN-LABEL-001", ("'id'", "did you mean 'idd'?")),
    ("retyped label", "id,y\n2001,maybe\n", "CN-LABEL-002", ("boolean",)),
    ("retyped key", "id,y\nx,true\n", "CN-LABEL-002", ("integer",)),
    ("missing key", "id,y\n,true\n", "CN-LABEL-002", ("1 cells of id are missing",)),
    ("another form of time", "id,y,observed_at\n1,true,1.3.13\n", "CN-LABEL-002", ("timestamp",)),
]
SCORED = [
    ("missing column", "x,w\n0.5,a\n", "CN-PREDICT-004", ("'high'",)),
    ("renamed column", "xx,w,high\n0.5,a,true\n", "CN-PREDICT-004", ("'x'", "did you mean 'xx'?")),
    ("retyped column", "x,w,high\nabc,a,true\n", "CN-PREDICT-004", ("row 1 of x", "number")),
    ("no rows", "x,w,high\n", "CN-PREDICT-006", ("has no rows",)),
]
IN = ("predict", "risk@1", "--in", "{folder}/in.csv", "--out")
TARGETS = [
    Case((*IN, "{folder}/out.txt"), "output: format", "CN-PREDICT-005", ("out.txt",)),
    Case((*IN, "{folder}/no/out.csv"), "output: no folder", "CN-PREDICT-005", ("mkdir -p",)),
    Case((*IN, "{folder}/in.csv"), "output: the input", "CN-PREDICT-005", ("the input file",)),
    Case((*IN, "/proc/out.csv"), "output: not writable", "CN-PREDICT-005", ("nothing was",)),
    Case(
        (*IN, "{folder}/" + "x" * 300 + ".csv"), "output: long", "CN-PREDICT-005", ("nothing was",)
    ),
    Case((*IN, "{folder}"), "output: a folder", "CN-USAGE-001", ("--out",)),
]


def of_files() -> Iterator[Case]:
    yield from of_every_file()
    for wrong, spoil, code, says, exit_code in LANDING:
        yield Case(("run", "rows"), wrong, code, says, exit_code, spoil)
    for wrong, content, code, says in LABELS:
        words = ("label", "risk", "{folder}/bad.csv")
        yield Case(words, wrong, code, ("bad.csv", *says), spoil=write("bad.csv", content))
    for wrong, content, code, says in SCORED:
        words = ("predict", "risk@1", "--in", "{folder}/bad.csv", "--out", "{folder}/out.csv")
        yield Case(words, wrong, code, ("bad.csv", *says), spoil=write("bad.csv", content))
    yield from TARGETS


# Contracts

CONTRACT = "contracts/rows.yaml"
NUMBER = "name: x\n    logicalType: number\n"
TEXT = "name: w\n    logicalType: string\n"
BOMB = "a: &a [x, x]\nb: &b [*a, *a]\n"


def rule(sql: str) -> Spoil:
    return also(CONTRACT, f"- property: rowRules\n  value: {{mine: {json.dumps(sql)}}}\n")


def column(kind: str, line: str) -> Spoil:
    return swap(CONTRACT, kind, f"{kind}    {line}\n")


CONTRACTS = [
    ("empty", write(CONTRACT, ""), "001", ("the file",)),
    ("a text", write(CONTRACT, "hello"), "001", ("the file",)),
    ("not UTF-8", write(CONTRACT, b"id: \xe9"), "001", ("utf-8",)),
    ("NUL", also(CONTRACT, "\0"), "001", ("#x0000",)),
    ("tabs", write(CONTRACT, "schema:\n\t- name: x\n"), "001", ("line 2",)),
    ("too deep", write(CONTRACT, "[" * 5000 + "]" * 5000), "001", ("line 1", "32 parts")),
    ("aliases that multiply", write(CONTRACT, BOMB), "001", ("line 2", "*a")),
    ("an alias of itself", write(CONTRACT, "a: &a [*a]"), "001", ("*a",)),
    ("a key twice", also(CONTRACT, "schema: []\n"), "001", ("'schema' is said twice",)),
    ("two documents", also(CONTRACT, "---\na: 1\n"), "001", ("document",)),
    ("code", write(CONTRACT, "!!python/object/apply:os.system [id]"), "001", ("python/object",)),
    ("a huge integer", also(CONTRACT, f"x: {'9' * 5000}\n"), "001", ("4300",)),
    ("unknown field", also(CONTRACT, "colour: red\n"), "001", ("colour",)),
    ("unknown rule", column(NUMBER, "required_if: y"), "001", ("'required_if'", "did you mean")),
    ("wrong type", swap(CONTRACT, "schema:", "schema: 3\nx:"), "001", ("schema",)),
    ("no name", swap(CONTRACT, "name: x", "description: x"), "001", ("has no name",)),
    ("unknown type", swap(CONTRACT, "Type: number", "Type: float"), "001", ("'float'",)),
    ("bound", column(NUMBER, "logicalTypeOptions: {minimum: abc}"), "001", ("'abc'", "number")),
    ("bound", column(NUMBER, "logicalTypeOptions: {minimum: .nan}"), "001", ("nan",)),
    ("huge bound", column(NUMBER, f"logicalTypeOptions: {{minimum: {HUGE}}}"), "001", (HUGE,)),
    ("length", column(TEXT, "logicalTypeOptions: {minLength: -1}"), "001", ("-1",)),
    (
        "a pattern",
        column(TEXT, "logicalTypeOptions: {pattern: '('}"),
        "007",
        ("w|pattern", "unclosed"),
    ),
    ("values", column(TEXT, "enum: [a]"), "001", ("enum",)),
    ("unknown option", column(NUMBER, "logicalTypeOptions: {minimun: 1}"), "002", ("minimun",)),
    (
        "quality",
        column(NUMBER, "quality: [{rule: nullCount}]"),
        "002",
        ("quality nullCount of column x",),
    ),
    (
        "quality: no bound",
        column(NUMBER, "quality: [{metric: nullValues}]"),
        "001",
        ("0 conditions",),
    ),
    ("reference: nowhere", column(NUMBER, "relationships: [{to: plane.tail}]"), "012", ("plane",)),
    ("reference: no column", column(NUMBER, "relationships: [{to: plane}]"), "001", ("'plane'",)),
    ("personal data", column(NUMBER, "classification: personal"), "003", ("x is classified",)),
    ("share", swap(CONTRACT, "value: 0.05", "value: lots"), "001", ("'lots'", "0 to 1")),
    ("custom", also(CONTRACT, "- property: stopAbov\n  value: 1\n"), "001", ("'stopAbove'",)),
    ("drift", also(CONTRACT, "- property: drift\n  value: yes\n"), "001", ("drift is True",)),
    ("keys", also(CONTRACT, "- property: uniqueKeys\n  value: [[x, z]]\n"), "001", ("'z'",)),
    ("row rule: syntax", rule("x >"), "007", ("'mine'",)),
    ("row rule: column", rule("nope > 0"), "007", ("row|mine", '"nope"', '["id", "at"')),
    ("row rule: number", rule("x + 1"), "007", ("row|mine", "Float64", "true or false")),
    ("row rule: types", rule("w > 0"), "007", ("row|mine",)),
    ("row rule: statement", rule("SELECT 1"), "007", ("'mine'",)),
    ("row rule: parentheses", rule("(" * 3000 + "x"), "007", ("'mine'",)),
    ("a pipe", pipe(CONTRACT), "001", ("no regular file",)),
]


def of_contracts() -> Iterator[Case]:
    more = write("landing/rows2.csv", GOOD)
    for wrong, spoil, number, says in CONTRACTS:
        code, exit_code = f"CN-CONTRACT-{number}", 3 if number == "003" else 2
        yield Case(
            ("run", "rows"),
            f"contract: {wrong}",
            code,
            ("rows", *says),
            exit_code,
            both(spoil, more),
        )


# Settings and project.py

SERVING = "[serving]\n{}\n"
SETTINGS = [
    ("empty", write("colonnade.toml", ""), ("project", "required")),
    ("too deep", also("colonnade.toml", f"x = {'[' * 5000}"), ("too deep",)),
    ("a table twice", also("colonnade.toml", "[project]\n"), ("line",)),
    ("unknown section", also("colonnade.toml", "[nope]\n"), ("nope: there is no such setting",)),
    (
        "port",
        also("colonnade.toml", SERVING.format("port = 70000")),
        ("serving.port", "65535", "'70000'"),
    ),
    ("port", also("colonnade.toml", SERVING.format("port = 'x'")), ("serving.port", "'x'")),
    ("workers", also("colonnade.toml", SERVING.format("workers = 0")), ("serving.workers", "'0'")),
    ("log", also("colonnade.toml", SERVING.format("log = 'x'")), ("serving.log", "commit")),
    ("id", swap("colonnade.toml", 'id = "', 'id = "../../'), ("project.id",)),
    ("no path", swap("colonnade.toml", '"root.key"', '"a\\u0000"'), ("key_file",)),
    ("no home", swap("colonnade.toml", '"root.key"', '"~nobody_here/x"'), ("home",)),
]
DATABASES = [
    ("kind", "foo://x", "CN-DATABASE-001", 2),
    ("place", "sqlite:////proc/x/meta.db", "CN-LEDGER-002", 3),
    ("device", "sqlite:////dev/null", "CN-DATABASE-002", 4),
    ("port", "postgresql://h:port/x", "CN-DATABASE-001", 2),
    ("no server", "postgresql:///x?host=/nowhere", "CN-DATABASE-002", 4),
]


def of_settings() -> Iterator[Case]:
    for wrong, spoil, says in SETTINGS:
        yield Case(("serve",), f"settings: {wrong}", "CN-SETTINGS-002", says, spoil=spoil)
    for wrong, url, code, exit_code in DATABASES:
        spoil = swap("colonnade.toml", "key_file", f'database_url = "{url}"\nkey_file')
        yield Case(("status",), f"database: {wrong}", code, (), exit_code, spoil)
    public = also("colonnade.toml", SERVING.format("host = '0.0.0.0'"))
    yield Case(("serve",), "a public address", "CN-SERVE-002", ("0.0.0.0",), 3, public)
    yield Case(("status",), "key file: a pipe", "CN-KEYS-002", ("root.key",), 4, pipe("root.key"))
    junk = write("root.key", "junk")
    yield Case(("status",), "key file: junk", "CN-KEYS-002", ("root.key",), 4, junk)
    file = both(lambda folder: shutil.rmtree(folder / ".colonnade"), write(".colonnade", ""))
    yield Case(("status",), "a file for a folder", "CN-SYSTEM-001", (".colonnade",), 4, file)


START = "import colonnade as co\nproject = co.Project('p')\n"
TABLE = "@project.table({})\ndef t(a): ...\n"
MODEL = "@project.model({})\ndef m(t): ...\n"
LABEL = "label='y', features=['x']"
DECLARED = [  # what stands in project.py, and what is said
    ("import no_such_module\n", "CN-PROJECT-002", ("no_such_module", "project.py:1")),
    ("import sys\nsys.exit()\n", "CN-PROJECT-002", ("SystemExit", "project.py:2")),
    ("class Mine(BaseException): ...\nraise Mine('x')\n", "CN-PROJECT-002", ("Mine: x",)),
    ("raise GeneratorExit\n", "CN-PROJECT-002", ("GeneratorExit",)),
    ("def f(): f()\nf()\n", "CN-PROJECT-002", ("RecursionError",)),
    ("\0", "CN-PROJECT-002", ("null bytes",)),
    ("", "CN-PROJECT-003", ("holds no Project",)),
    (START + "other = co.Project('q')\n", "CN-PROJECT-004", ("2 projects", "project, other")),
    ("import colonnade as co\nco.Project(None)\n", "CN-NAME-001", ("None", "project.py:2")),
    ("import colonnade as co\nco.Project('A B')\n", "CN-NAME-001", ("'A B'",)),
    (START + "project.source('a', 3)\n", "CN-PROJECT-009", ("origin is 3",)),
    (START + "project.source('a', '.')\n", "CN-PROJECT-009", ("origin is '.'",)),
    (START + "project.source('a', 'x**y')\n", "CN-PROJECT-009", ("origin is 'x**y'",)),
    (START + "project.source('a', 'a', mode={})\n", "CN-PROJECT-009", ("mode is {}",)),
    (START + "project.source('a', 'a', schedule=[1])\n", "CN-PROJECT-009", ("schedule",)),
    (START + TABLE.format("key=3"), "CN-PROJECT-009", ("key is 3",)),
    (START + TABLE.format("time=['at']"), "CN-PROJECT-009", ("time is ['at']",)),
    (START + TABLE.format("kee='id'"), "CN-PROJECT-002", ("'kee'", "project.py:3")),
    (START + TABLE.format(""), "CN-PROJECT-005", ("reads 'a'",)),
    (START + "@project.table()\nasync def t(a): ...\n", "CN-PROJECT-008", ("asynchronous",)),
    (START + "@project.table()\ndef t(a): yield a\n", "CN-PROJECT-008", ("yields",)),
    (START + "@project.table()\ndef t(a, /): ...\n", "CN-PROJECT-008", ("names no input",)),
    (START + "@project.table()\nclass T: ...\n", "CN-PROJECT-008", ("not a function",)),
    (START + "@project.table()\ndef t(t): ...\n", "CN-PROJECT-006", ("t -> t",)),
    (START + MODEL.format("label=None, features=['x']"), "CN-PROJECT-009", ("label is None",)),
    (START + MODEL.format("label='y', features='x'"), "CN-PROJECT-009", ("features is 'x'",)),
    (START + MODEL.format("label='y', features=None"), "CN-PROJECT-009", ("features is None",)),
    (START + MODEL.format(LABEL + ", seed=1.5"), "CN-PROJECT-009", ("seed is 1.5",)),
    (START + MODEL.format(LABEL + ", holdout='a'"), "CN-PROJECT-009", ("holdout is 'a'",)),
    (START + MODEL.format(LABEL + ", gates=None"), "CN-PROJECT-009", ("gates is None",)),
    (START + MODEL.format(LABEL + ", gates=['auc > 7']"), "CN-CONDITION-001", ("0 and 1",)),
    (
        START + MODEL.format(LABEL + ", gates=['p99_ms < champion']"),
        "CN-CONDITION-001",
        ("p99_ms",),
    ),
    (
        START + MODEL.format(LABEL + ", gates=['auc > champion by x']"),
        "CN-CONDITION-001",
        ("by slices",),
    ),
    (START + "project.deploy('m', retrain=3)\n", "CN-PROJECT-009", ("retrain is 3",)),
    (START + "project.deploy('m', name=3)\n", "CN-NAME-001", ("3",)),
    (START + "project.deploy('m')\n", "CN-PROJECT-005", ("'m'",)),
]
FIT = "return LGBMClassifier(n_estimators=10, n_jobs=1, verbose=-1).fit(examples.X, examples.y)"
MAKE = 'return rows.with_columns(high=pl.col("x") > 0.5)'
RETURNED = [  # what a function does in place of its work, and what is said
    (MAKE, "pass", "CN-TABLE-004", ("NoneType",)),
    (MAKE, "raise ValueError('boom')", "CN-CODE-001", ("project.py:13", "boom")),
    (MAKE, "raise SystemExit(0)", "CN-CODE-001", ("SystemExit",)),
    (MAKE, "raise GeneratorExit", "CN-CODE-001", ("GeneratorExit",)),
    (MAKE, "return examples(rows)", "CN-CODE-001", ("RecursionError",)),
    (MAKE, "return rows.select('nope')", "CN-CODE-001", ("nope",)),
    (MAKE, "return rows.drop('id')", "CN-TABLE-005", ("'id'",)),
    (FIT, "raise RuntimeError('boom')", "CN-CODE-001", ("project.py:18", "boom")),
    (FIT, "return None", "CN-TRAIN-005", ("returned nothing",)),
    (FIT, "return 'model'", "CN-EXPORT-002", ("str",)),
    (FIT, "return LGBMClassifier()", "CN-EXPORT-001", ("not fitted",)),
    (
        FIT,
        "return LGBMClassifier(n_estimators=1, verbose=-1).fit(examples.X[:, :1], examples.y)",
        "CN-EXPORT-003",
        ("1 features", "declares 3"),
    ),
]


def of_projects() -> Iterator[Case]:
    for text, code, says in DECLARED:
        wrong = f"project.py: {text.removeprefix(START)[:40]!r}"
        yield Case(("run",), wrong, code, says, spoil=write("project.py", text))
    for old, new, code, says in RETURNED:
        spoil = swap("project.py", old, new)
        yield Case(("run", "risk"), f"project.py: {new[:40]!r}", code, says, spoil=spoil)
    endless = swap("project.py", 'pl.col("x") > 0.5', 'pl.lit(float("inf"))')
    yield Case(("run", "risk"), "an infinite feature", "CN-TRAIN-002", ("high",), spoil=endless)
    fit = "from lightgbm import LGBMRegressor as M; return M().fit(examples.X, examples.y)"
    other = swap("project.py", FIT, fit)
    yield Case(
        ("run", "risk"), "another estimator", "CN-EXPORT-004", ("predict_proba",), spoil=other
    )


CASES = [
    *of_every_command(),
    *WORDS,
    *INIT,
    *of_files(),
    *of_contracts(),
    *of_settings(),
    *of_projects(),
]


def test_no_command_is_without_a_case():
    assert {*VALID, ("init",), ("doctor",)} == {*leaves(group)}
    asked = {case.words[0] for case in CASES}
    assert set(COMMANDS) <= asked
    of_their_own = {case.words for case in CASES if case not in [*of_every_command()]}
    for name, rest in VALID.items():
        if rest:  # a command that is told something may be told something wrong
            assert any(words[: len(name)] == name for words in of_their_own), name


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a model that answers, and files to score and to label."""
    folder = fitted(tmp_path_factory.mktemp("template"))
    frame = rows(2000, 50)
    frame.with_columns(high=pl.col("x") > 0.5).drop("y").write_csv(folder / "in.csv")
    frame.select("id", "y").write_csv(folder / "labels.csv")
    return folder


@pytest.fixture(scope="module")
def shared(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One copy for all cases that spoil nothing."""
    return shutil.copytree(template, tmp_path_factory.mktemp("shared") / "p")


@pytest.fixture
def places(
    template: Path, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Path, Path]:
    """The template, the copy that nothing spoils, and where a case may put its own."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return template, shared, tmp_path / "p"


OURS = re.compile(  # what may change: the ledger, and the evidence that an entry names
    r"\.colonnade/(meta\.db.*|blobs(/.*)?|logs/.*|tables/[^/]+/?(\.lease.*)?)|heads\.jsonl"
    r"|.*__pycache__.*"
)


def state(folder: Path) -> tuple[dict[str, str], list[tuple[object, ...]]]:
    """The files of a project, and the versions that its ledger names."""
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not OURS.fullmatch(name):
            files[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    database = folder / ".colonnade" / "meta.db"
    if not database.is_file():
        return files, []
    connection = sqlite3.connect(database)
    query = "SELECT kind, name, version FROM versions WHERE kind != 'contract' ORDER BY 1, 2, 3"
    versions = connection.execute(query).fetchall()
    connection.close()
    return files, versions


@cache
def before(folder: Path) -> tuple[dict[str, str], list[tuple[object, ...]]]:
    return state(folder)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_bad_input_is_one_message(case, places, capsys, record_property):
    template, shared, own = places
    folder = shared
    if case.spoil is not None:
        folder = shutil.copytree(template, own)
        _unload()
        case.spoil(folder)
    was = state(folder) if case.spoil is not None else before(folder)
    words = [word.replace("{folder}", str(folder)) for word in case.words]
    if "--project" not in words and words[0] != "init":
        words += ["--project", str(folder)]
    capsys.readouterr()
    assert command(words) == case.exit
    shown = capsys.readouterr()
    said = shown.err
    assert ERROR.findall(said) == [f"{case.code}: "], said
    assert said.count("\n  fix: ") == 1
    assert said.rindex(case.code) < said.rindex("  fix: ")
    missing = [word for word in case.says if word not in said]
    assert not missing, said
    # What the user's own code raised is shown as it was raised, at its line.
    raw = [text for text in RAW if text in said + shown.out and case.code != "CN-CODE-001"]
    assert not raw, said
    assert "Traceback" not in said
    assert "a secret" not in said
    assert len(said) < 4000
    step = case.words[:2] == ("run", "risk")  # steps before the one that failed stand
    assert step or state(folder) == was
    record_property("bad input", next((door for door in DOORS if case.is_of(door)), ""))


DOORS = [" ".join(name) for name in leaves(group)]


ENDLESS = ("init", "serve", "server", "up", "worker")
TOLD = [case for case in CASES if case.words[0] not in ENDLESS]


@pytest.mark.parametrize("code", sorted({case.code for case in TOLD}))
def test_programs_are_told_the_same_as_an_object(code, template, tmp_path, capsys):
    """One case of each code, with ``--json``."""
    case = next(case for case in TOLD if case.code == code)
    folder = shutil.copytree(template, tmp_path / "p")
    _unload()
    if case.spoil is not None:
        case.spoil(folder)
    words = [word.replace("{folder}", str(folder)) for word in case.words]
    assert command([*words, "--json", "--project", str(folder)]) == case.exit
    shown = capsys.readouterr()
    error = json.loads(shown.out)["error"]
    assert error["code"] == code
    assert set(error) == {"code", "message", "fix"}
    missing = [word for word in case.says if word not in error["message"] + error["fix"]]
    assert not missing, error
    assert shown.err == ""


def test_what_was_not_foreseen_is_one_line_and_a_file_without_data(template, tmp_path, capsys):
    folder = shutil.copytree(template, tmp_path / "p")
    (blob,) = (
        p for p in (folder / ".colonnade" / "tables").rglob("_delta_log") if "rows" in str(p)
    )
    for entry in blob.iterdir():
        entry.write_bytes(b"a secret that no reader of a table expects")
    capsys.readouterr()
    assert colonnade(folder, "data", "show", "rows") == 70
    said = capsys.readouterr().err
    assert ERROR.findall(said) == ["CN-BUG-001: "]
    assert "Traceback" not in said
    (log,) = (folder / ".colonnade" / "logs").glob("colonnade-defect-*.txt")
    assert str(log) in said
    assert log.stat().st_mode & 0o077 == 0
    text = log.read_text()
    assert "command: data" in text
    assert ".py" in text
    assert "secret" not in text + said


@pytest.mark.parametrize(
    ("words", "code", "exit_code"),
    [
        (["statuss"], "CN-USAGE-001", 2),
        (["serve", "--port", "70000"], "CN-USAGE-001", 2),
        (["up"], "CN-PROJECT-002", 2),
        (["trace", "\udcff"], "CN-TRACE-001", 2),
    ],
    ids=str,
)
def test_a_process_says_it_as_well(words, code, exit_code, template, tmp_path):
    folder = shutil.copytree(template, tmp_path / "p")
    if words == ["up"]:
        (folder / "project.py").write_text("1 / 0\n")
    done = subprocess.run(
        [sys.executable, "-m", "colonnade", *words, "--project", str(folder)]
        if words != ["statuss"]
        else [sys.executable, "-m", "colonnade", *words],
        capture_output=True,
        check=False,
        timeout=60,
    )
    said = done.stderr.decode()
    assert done.returncode == exit_code
    assert ERROR.findall(said) == [f"{code}: "]
    assert "Traceback" not in said


def test_a_variable_that_names_no_setting_is_noted(template, capsys, monkeypatch):
    monkeypatch.setenv("COLONNADE_SERVING_PORT", "9000")
    assert colonnade(template, "data", "ls") == 0
    hint = "COLONNADE_SERVING_PORT names no setting; did you mean 'COLONNADE_SERVING__PORT'?"
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize("name", ["bom.csv", "crlf.csv", "big.csv", "header.csv", "bom.csv.zip"])
def test_what_is_unusual_and_right_is_taken_over(name, template, tmp_path, capsys):
    content = {
        "bom.csv": b"\xef\xbb\xbf" + GOOD.encode(),
        "crlf.csv": GOOD.replace("\n", "\r\n").encode(),
        "big.csv": GOOD.replace(",a,", f",{'x' * 10_000_000},", 1).encode(),
        "header.csv": HEAD.encode(),
        "bom.csv.zip": zipped(b"\xef\xbb\xbf" + GOOD.encode(), "../r.csv"),
    }[name]
    folder = shutil.copytree(template, tmp_path / "p")
    lands(name, content)(folder)
    _unload()
    assert colonnade(folder, "run", "rows") == 0
    taken = 0 if name == "header.csv" else 30
    assert f"{taken} rows taken over, 0 into quarantine" in capsys.readouterr().out
    assert not (tmp_path / "r.csv").exists()


# HTTP

PREDICT = "/v1/endpoints/risk/predict"
INFER = ("/v2/models/risk/infer", "/v2/models/risk/versions/1/infer")
GETS = (
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/metrics",
    "/v2/models/risk",
    "/v2/models/risk/ready",
    "/v2/models/risk/versions/1",
    "/v2/models/risk/versions/1/ready",
)
ROW = '{"x": 0.5, "w": "a", "high": true}'
ROWS = f'{{"rows": [{ROW}]}}'


def tensors(**change: object) -> str:
    """A V2 request of one row, with one tensor changed or left out."""
    made = {"x": ("FP64", 0.5), "w": ("BYTES", "a"), "high": ("BOOL", True)}
    inputs = [
        {"name": name, "shape": [1], "datatype": kind, "data": [value], **(change.get(name) or {})}
        for name, (kind, value) in made.items()
        if name not in change or change[name] is not None
    ]
    return json.dumps({"inputs": inputs})


BODIES = [  # what is wrong with any body of JSON
    ("no JSON", "hello", 422),
    ("empty", "", 422),
    ("cut", ROWS[:-3], 422),
    ("null", "null", 422),
    ("a list", "[]", 422),
    ("a number", "1", 422),
    ("nested 10,000 deep", '{"rows": ' + "[" * 10_000 + "]" * 10_000 + "}", 422),
    ("nested 10,000 deep", "[" * 10_000, 422),
    ("not UTF-8", b'{"rows": "\xff\xfe"}', 422),
    ("UTF-16", ROWS.encode("utf-16"), 422),
    ("gzip", b"\x1f\x8b\x08\x00\x00", 422),
    ("two values", ROWS + ROWS, 422),
]


def row(text: str) -> str:
    return f'{{"rows": [{text}]}}'


OF_ROWS = [
    ("no rows", row(""), ("0 rows",)),
    ("rows: no list", '{"rows": {}}', ("rows",)),
    ("no field rows", "{}", ("'rows'",)),
    ("a row that is none", row("3"), ("row 0",)),
    ("unknown field", row(ROW[:-1] + ', "z": 1}'), ("'z'", "unknown field")),
    ("unknown field beside", ROWS[:-1] + ', "z": 1}', ("'z'",)),
    ("missing field", row('{"x": 1, "w": "a"}'), ("'high'", "missing")),
    ("text for a number", row(ROW.replace("0.5", '"0.5"')), ("'x'", "number")),
    ("number for a text", row(ROW.replace('"a"', "1")), ("'w'", "text")),
    ("number for a flag", row(ROW.replace("true", "1")), ("'high'", "true, false")),
    ("list for a number", row(ROW.replace("0.5", "[0.5]")), ("'x'",)),
    ("NaN", row(ROW.replace("0.5", "NaN")), ("JSON",)),
    ("Infinity", row(ROW.replace("0.5", "Infinity")), ("JSON",)),
    ("a huge number", row(ROW.replace("0.5", "1e999")), ("row 0",)),
    ("a huge integer", row(ROW.replace("0.5", "9" * 5000)), ("row 0",)),
    ("a key of another type", row(ROW[:-1] + ', "id": "x"}'), ("'id'", "whole number")),
    ("a time that is none", row(ROW[:-1] + ', "at": "yesterday"}'), ("'at'", "time")),
    ("a name twice", row('{"x": 0.5, "x": 0.9, "w": "a", "high": true}'), ("'x'", "twice")),
    ("a name twice, spaced", row('{"x" : 0.5, "x" : 0.9, "w": "a", "high": true}'), ("twice",)),
    ("a key twice", row(ROW[:-1] + ', "id": 1, "id": 2}'), ("'id'", "twice")),
    ("rows twice", f'{{"rows": [{ROW}], "rows": [{ROW}]}}', ("'rows'", "twice")),
    ("too many rows", row(",".join([ROW] * 10_001)), ("10001 rows", "10000")),
]
OF_TENSORS = [
    ("no inputs", '{"inputs": []}', ("none",)),
    ("no field inputs", "{}", ("inputs",)),
    ("inputs: no list", '{"inputs": 3}', ("inputs",)),
    ("a feature less", tensors(x=None), ("'x'", "missing")),
    ("unknown input", tensors(x={"name": "z"}), ("'z'",)),
    (
        "the same input twice",
        tensors(x={"name": "w", "datatype": "BYTES", "data": ["b"]}),
        ("same name",),
    ),
    ("shape too large", tensors(x={"shape": [2]}), ("'x'", "[2]")),
    ("shape of matrices", tensors(x={"shape": [1, 2]}), ("'x'", "shape")),
    ("negative shape", tensors(x={"shape": [-1]}), ("'x'", "[-1]")),
    ("shape: text", tensors(x={"shape": ["1"]}), ("shape",)),
    ("no values", tensors(x={"shape": [0], "data": []}), ("length",)),
    ("lengths that differ", tensors(x={"shape": [2], "data": [1, 2]}), ("length",)),
    ("two values a row", tensors(x={"data": [[1, 2]]}), ("one value a row",)),
    ("unknown datatype", tensors(x={"datatype": "FP8"}), ("'FP8'",)),
    ("text for a number", tensors(x={"data": ["0.5"]}), ("'x'", "number")),
    ("number for a text", tensors(w={"data": [1]}), ("'w'", "text")),
    ("number for a flag", tensors(high={"data": [1]}), ("'high'", "true or false")),
    ("another datatype", tensors(w={"datatype": "FP64", "data": [1.0]}), ("'w'", "text")),
    ("a name twice", tensors().replace('"name": "x"', '"name": "y", "name": "x"'), ("twice",)),
    ("NaN", tensors().replace("0.5", "NaN"), ("V2",)),
    ("a huge number", tensors().replace("0.5", "1e999"), ("request",)),
    ("an id that is too long", '{"id": "' + "x" * 300 + '", ' + tensors()[1:], ("'id'", "256")),
    ("an id that is none", '{"id": 3, ' + tensors()[1:], ("id",)),
]
LENGTH = b"content-length: "
RAW_REQUESTS = [  # what is no HTTP, or asks for more than one reading
    ("a negative length", LENGTH + b"-5"),
    ("a length that is none", LENGTH + b"abc"),
    ("a length with a sign", LENGTH + b"+5"),
    ("two lengths", LENGTH + b"5\r\n" + LENGTH + b"6"),
    ("a length and chunks", LENGTH + b"5\r\ntransfer-encoding: chunked"),
    ("a header without a colon", b"nonsense"),
]


@dataclass(frozen=True)
class Asked:
    """A request that must be refused.

    Attributes:
        head: further lines of the head, already written.
    """

    method: str
    path: str
    wrong: str
    status: int
    code: str
    says: tuple[str, ...] = ()
    body: bytes | None = None
    head: bytes = b""
    key: bool = True

    def __str__(self) -> str:
        return f"{self.method} {self.path}: {self.wrong}"


def requests() -> Iterator[Asked]:
    for path in (PREDICT, *INFER):
        code = "CN-REQUEST-001" if path == PREDICT else "CN-REQUEST-003"
        for wrong, text, status in BODIES:
            body = text if isinstance(text, bytes) else text.encode()
            yield Asked("POST", path, wrong, status, code, body=body)
        for wrong, text, says in OF_ROWS if path == PREDICT else OF_TENSORS:
            yield Asked("POST", path, wrong, 422, "CN-REQUEST-", says, text.encode())
        good = (ROWS if path == PREDICT else tensors()).encode()
        xml = b"content-type: text/xml\r\n"
        huge = LENGTH + b"99999999999\r\n"
        yield Asked(
            "POST", path, "another media type", 415, "CN-HTTP-003", ("text/xml",), good, xml
        )
        yield Asked("POST", path, "no key", 401, "CN-HTTP-001", body=good, key=False)
        wrong_key = b"x-api-key: " + b"x" * 5000 + b"\r\n"
        yield Asked("POST", path, "a wrong key", 401, "CN-HTTP-001", (), good, wrong_key, key=False)
        yield Asked("POST", path, "no length", 411, "CN-HTTP-004", ("length",))
        yield Asked("POST", path, "too large", 413, "CN-HTTP-005", ("16777216",), head=huge)
        yield Asked("GET", path, "another method", 405, "CN-HTTP-002", ("POST",))
        for wrong, line in RAW_REQUESTS:
            yield Asked("POST", path, wrong, 400, "CN-HTTP-010", head=line + b"\r\n")
    for path in GETS:
        yield Asked("DELETE", path, "another method", 405, "CN-HTTP-002", ("GET",))
        if path not in ("/v2/health/live", "/v2/health/ready", "/metrics"):
            yield Asked("GET", path, "no key", 401, "CN-HTTP-001", key=False)
    forwarded = b"x-forwarded-for: 1.2.3.4\r\n"
    yield Asked(
        "GET", "/metrics", "for somebody else", 401, "CN-HTTP-001", head=forwarded, key=False
    )
    for path in (
        "/",
        "/v1/endpoints/rsk/predict",
        "/v1/endpoints/risk/predict/",
        "/v1/endpoints/../risk/predict",
        "/v2/models/risk/versions/9/infer",
        "/" + "x" * 5000,
        "/%00",
    ):
        yield Asked("POST", path, "unknown path", 404, "CN-SERVE-010", body=b"{}")


ASKED = list(requests())


def test_no_route_is_without_a_case():
    routes = {path.replace("late", "risk").replace("/3", "/1") for path in app().live.routes}
    assert routes == {PREDICT, *INFER, *GETS}
    assert routes <= {asked.path for asked in ASKED}


@pytest.fixture(scope="module")
def served(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """A real endpoint process; at its end nothing was recorded and nobody saw a traceback."""
    folder = shutil.copytree(template, tmp_path_factory.mktemp("served") / "p")
    names = {name for _, name, _ in state(folder)[1]}
    endpoint = Endpoint(folder)
    try:
        health = b"GET /v2/health/ready HTTP/1.1\r\nhost: here\r\n\r\n"
        until(lambda: answer(endpoint.port, health)[0] == 200)
        yield endpoint.port, (folder / "api.key").read_text()
    finally:
        said = endpoint.stop()
    assert "Traceback" not in said
    assert "CN-SERVE-012" not in said
    assert {name for _, name, _ in state(folder)[1]} == names


def answer(port: int, data: bytes) -> tuple[int, str, bytes]:
    """Status, media type and body of the answer to these very bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(data)
        found = b""
        while b"\r\n\r\n" not in found and (part := connection.recv(65536)):
            found += part
        head, _, body = found.partition(b"\r\n\r\n")
        headers = {
            line.partition(b":")[0].lower(): line.partition(b":")[2].strip()
            for line in head.split(b"\r\n")[1:]
        }
        while len(body) < int(headers[b"content-length"]) and (part := connection.recv(65536)):
            body += part
    return int(head.split()[1]), headers[b"content-type"].decode(), body


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_a_bad_request_is_one_problem(asked, served, record_property):
    port, key = served
    head = f"{asked.method} {asked.path} HTTP/1.1\r\nhost: here\r\n".encode() + asked.head
    head += f"x-api-key: {key}\r\n".encode() if asked.key else b""
    head += LENGTH + b"%d\r\n" % len(asked.body) if asked.body is not None else b""
    status, media_type, body = answer(port, head + b"\r\n" + (asked.body or b""))
    assert status == asked.status, body
    assert media_type == "application/problem+json"
    found = json.loads(body)
    assert found["code"].startswith(asked.code)
    assert found["status"] == status
    assert found["detail"]
    assert found["fix"]
    said = found["detail"] + found["fix"]
    missing = [word for word in asked.says if word not in said]
    assert not missing, said
    assert not [raw for raw in RAW if raw in said]
    assert len(body) < 6000
    record_property("bad input", asked.path if asked.status != 404 else "")


def test_after_all_of_them_it_answers(served):
    port, key = served
    head = f"POST {PREDICT} HTTP/1.1\r\nhost: here\r\nx-api-key: {key}\r\n".encode()
    status, _, _ = answer(port, head + LENGTH + b"2\r\n\r\n{}")
    assert status == 422
    health = b"GET /v2/health/ready HTTP/1.1\r\nhost: here\r\n\r\n"
    assert answer(port, health)[0] == 200
