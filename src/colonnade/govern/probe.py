"""What a machine and a folder can do, tried for real: in files that are gone again afterwards.

SQLite in WAL mode, leases, spools and key files lean on locks, shared memory, fsync, rename and
hard links. A file system that says it has them may not; so nothing is read off a list where it can
be tried, and what cannot be tried is not called good.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import mmap
import os
import platform
import re
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil

from colonnade.base import clock
from colonnade.records.finding import Finding
from colonnade.store import durable

NETWORK: Final = re.compile(
    r"nfs\d*|cifs|smb\w*|9p|afs|ceph|lustre|gluster\w*|vboxsf|drvfs|fuse\.(sshfs|s3\w*|gcs\w*|rclone)"
)
PASSING: Final = {
    "tmpfs": "what lies in memory is gone after a restart",
    "ramfs": "what lies in memory is gone after a restart",
    "overlay": "a container's own layer is gone with the container; mount a volume",
}
MIN_FREE_BYTES: Final = 200 * 2**20
ENOUGH_BYTES: Final = 2 * 2**30
MIN_INODES: Final = 1_000
MIN_CORES: Final = 2
MIN_MEMORY_BYTES: Final = 2**30
SKEW_S: Final = 2.0
LAUNCH_YEAR: Final = 2025
_BYTES: Final = b"colonnade doctor"
_PIN: Final = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)
_NAME: Final = re.compile(r"[^A-Za-z0-9._-]")
_RIVAL: Final = """
import fcntl, sqlite3, sys
kind, path = sys.argv[1:]
if kind == "sqlite":
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        print("held" if error.sqlite_errorcode == sqlite3.SQLITE_BUSY else error)
    else:
        print("free", connection.execute("SELECT count(*) FROM t").fetchone()[0])
else:
    with open(path, "r+b") as file:
        try:
            getattr(fcntl, kind)(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("held")
        else:
            print("free")
"""


def existing(folder: Path) -> Path:
    """The folder, or what it would be made in."""
    folder = folder.resolve()
    return next(parent for parent in (folder, *folder.parents) if parent.is_dir())


def python(version: tuple[int, int] = sys.version_info[:2]) -> Finding:
    """Whether this Python is one that the product is made for."""
    found = f"{version[0]}.{version[1]} ({platform.python_implementation()})"
    if version < (3, 11):
        return _problem("python", f"{found}, at least 3.11 is needed", "install Python 3.11")
    return _ok("python", found)


def packages(lock: Path, product: str = "colonnade") -> Finding:
    """Whether what a product needs is installed, and as the project's lock file pins it."""
    try:
        requirements = importlib.metadata.requires(product) or []
    except importlib.metadata.PackageNotFoundError:
        return Finding(
            check="packages", state="untried", found=f"{product} runs without being installed"
        )
    needed = [_NAME.split(line, maxsplit=1)[0] for line in requirements if "extra ==" not in line]
    lacking = [name for name in needed if _version(name) is None]
    if lacking:
        return _problem(
            "packages", f"not installed: {', '.join(lacking)}", "install colonnade again"
        )
    found = f"{len(needed)} that {product} needs are installed"
    if not lock.is_file():
        return _ok("packages", found)
    pins = _PIN.findall(lock.read_text(encoding="utf-8", errors="replace"))
    differ = [
        f"{name} {_version(name) or 'none'}, pinned {pin}"
        for name, pin in pins
        if _version(name) != pin
    ]
    if differ:
        return _warning(
            "packages",
            f"{len(differ)} of {len(pins)} differ from {lock.name}: {'; '.join(differ[:3])}",
            f"pip install -r {lock.name}",
        )
    return _ok("packages", f"{found}, {len(pins)} of them as {lock.name} pins them")


def cores(at_least: int = MIN_CORES) -> Finding:
    """Processors that this process may use."""
    count = len(os.sched_getaffinity(0))
    if count < at_least:
        return _warning(
            "cores",
            f"{count}; an endpoint and a fit at once want {at_least}",
            "give it more, or fit while nobody asks",
        )
    return _ok("cores", str(count))


def memory(at_least: int = MIN_MEMORY_BYTES) -> Finding:
    """Memory that is free for this process."""
    free = min(psutil.virtual_memory().available, _group_limit())
    if free < at_least:
        return _warning(
            "memory", f"{_size(free)} free, {_size(at_least)} wanted", "end what is not needed"
        )
    return _ok("memory", f"{_size(free)} free")


def file_system(folder: Path, mounts: str) -> Finding:
    """Of which kind the file system is, from the text of ``/proc/self/mountinfo``."""
    if "%" in str(folder):
        return _problem(
            "file system",
            f"the path {folder} holds a %, below which Delta tables cannot be written",
            "use a folder without %",
        )
    kind = _kind(existing(folder), mounts)
    if kind is None:
        return Finding(
            check="file system", state="untried", found="this system does not name its mounts"
        )
    if NETWORK.fullmatch(kind):
        return _problem(
            "file system",
            f"{folder} is on {kind}, a network file system: SQLite loses data there when two "
            "machines write",
            "use a local disk, or PostgreSQL: database_url",
        )
    if kind in PASSING or kind.startswith("fuse"):
        why = PASSING.get(kind, "a file system in user space may pass over fsync")
        return _warning("file system", f"{kind}: {why}", "use a local disk for what is to stay")
    return _ok("file system", kind)


def files(folder: Path) -> Finding:
    """Write, fsync, rename, hard link and shared memory, each tried in a file of its own."""

    def attempt(scratch: Path) -> Finding:
        first = scratch / "first"
        durable.write(first, _BYTES)  # temporary name, fsync, rename, fsync of the folder
        os.link(first, scratch / "second")
        with first.open("r+b") as file, mmap.mmap(file.fileno(), len(_BYTES)) as shared:
            shared[:1] = b"C"
            shared.flush()
        if (scratch / "second").read_bytes() != b"C" + _BYTES[1:]:
            return _problem("files", "shared memory is not what is read back", "use a local disk")
        return _ok("files", "write, fsync, rename, hard link and shared memory work")

    return _tried("files", folder, attempt)


def locks(folder: Path, *, hold: bool = True) -> Finding:
    """Whether a second process sees a lock of this one.

    Args:
        folder: where the lock's file is made.
        hold: False leaves the lock free, which the second process must see as well.
    """

    def attempt(scratch: Path) -> Finding:
        path = scratch / "lock"
        path.touch()
        lost = [kind for kind in ("flock", "lockf") if not _kept(kind, path, hold=hold)]
        if lost:
            found = f"a second process passes over {' and '.join(lost)}: two writers would meet"
            return _problem("locks", found, "use a local disk")
        return _ok("locks", "a second process waits for flock and for lockf")

    return _tried("locks", folder, attempt)


def sqlite(folder: Path, name: str = "probe.db") -> Finding:
    """SQLite in WAL mode: a second process is kept out, then reads what was committed.

    Args:
        folder: where the database is made.
        name: of its file.
    """

    def attempt(scratch: Path) -> Finding:
        return _try_sqlite(name if name == ":memory:" else str(scratch / name))

    return _tried("sqlite", folder, attempt)


def disk(folder: Path, least: int = MIN_FREE_BYTES, enough: int = ENOUGH_BYTES) -> Finding:
    """Room and file entries that are left for an ordinary user."""
    found = os.statvfs(existing(folder))
    free = found.f_bavail * found.f_frsize
    told = f"{_size(free)} free"
    if free < least:
        return _problem("disk", f"{told}, at least {_size(least)} is needed", "free some space")
    if found.f_files and found.f_favail < MIN_INODES:
        return _problem("disk", f"{told}, but only {found.f_favail} more files", "delete files")
    if free < enough:
        return _warning("disk", f"{told}, {_size(enough)} is comfortable", "free some space")
    return _ok("disk", told)


def clock_of(folder: Path, newest: str | None) -> Finding:
    """The clock against the file system's and against the newest entry of the ledger.

    Args:
        folder: where a file is written for its time.
        newest: the stamp of the newest entry, None where there is none.
    """
    mend = "set the clock: timedatectl set-ntp true"
    if clock.now().year < LAUNCH_YEAR:
        return _problem("clock", f"it says {clock.stamp(clock.now())}", mend)

    def attempt(scratch: Path) -> Finding:
        (scratch / "now").touch()
        ahead_s = (scratch / "now").stat().st_mtime - clock.now_s()
        if abs(ahead_s) > SKEW_S:
            return _problem("clock", f"the file system's is {ahead_s:+.0f} s away from it", mend)
        if newest is None:
            return _ok("clock", "it agrees with the file system's")
        behind_s = clock.instant(newest).timestamp() - clock.now_s()
        if behind_s > SKEW_S:
            return _problem("clock", f"the newest entry was made {behind_s:.0f} s from now", mend)
        return _ok("clock", "it agrees with the file system's and with the ledger")

    return _tried("clock", folder, attempt)


def place(check: str, file: Path) -> Finding:
    """Whether a file outside the project could be made where the settings want it."""

    def attempt(scratch: Path) -> Finding:
        durable.write(scratch / file.name, _BYTES)
        return _ok(check, f"{file} is not there yet and can be made")

    return _tried(check, file.parent, attempt)


def _tried(check: str, folder: Path, attempt: Callable[[Path], Finding]) -> Finding:
    """Try something in a folder that is gone afterwards; what the system refuses is a problem."""
    where = existing(folder)
    try:
        with tempfile.TemporaryDirectory(prefix=".colonnade-doctor-", dir=where) as scratch:
            return attempt(Path(scratch))
    except (OSError, sqlite3.Error) as error:
        why = getattr(error, "strerror", None) or str(error)
        return _problem(check, f"{where}: {why}", "make the folder writable, or use another one")


def _kept(kind: str, path: Path, *, hold: bool) -> bool:
    """Whether another process is kept out by a lock of this kind."""
    with path.open("r+b") as file:
        if hold:
            getattr(fcntl, kind)(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return _rival(kind, path) == "held"


def _try_sqlite(path: str) -> Finding:
    with contextlib.closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            return _problem("sqlite", f"journal mode {mode} in place of WAL", "use a local disk")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE t (x)")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO t VALUES (1)")
        during = _rival("sqlite", Path(path))
        connection.execute("COMMIT")
        after = _rival("sqlite", Path(path))
    if (during, after) != ("held", "free 1"):
        return _problem(
            "sqlite",
            f"a second process saw {during!r} during a transaction and {after!r} behind it",
            "use a local disk, or PostgreSQL: database_url",
        )
    return _ok("sqlite", f"{sqlite3.sqlite_version}: WAL works between two processes")


def _rival(kind: str, path: Path) -> str:
    """What another process says of the lock."""
    words = [sys.executable, "-I", "-c", _RIVAL, kind, str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    return done.stdout.strip() or done.stderr.strip()[-200:]


def _kind(folder: Path, mounts: str) -> str | None:
    """The type of the mount that a folder is on: the longest one, of equals the last."""
    best: tuple[int, str] | None = None
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        if not after or len(before.split()) < 5:
            continue
        point = Path(before.split()[4].encode().decode("unicode_escape"))
        if folder.is_relative_to(point) and (best is None or len(point.parts) >= best[0]):
            best = (len(point.parts), after.split()[0])
    return None if best is None else best[1]


def _group_limit() -> int:
    """What the control group leaves of memory; a large number where it sets no limit."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit, used = (int((folder / f"memory.{n}").read_text()) for n in ("max", "current"))
    except (OSError, ValueError):  # no group, or "max"
        return sys.maxsize
    return max(0, limit - used)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _ok(check: str, found: str) -> Finding:
    return Finding(check=check, state="ok", found=found)


def _warning(check: str, found: str, fix: str) -> Finding:
    return Finding(check=check, state="warning", found=found, fix=fix)


def _problem(check: str, found: str, fix: str) -> Finding:
    return Finding(check=check, state="problem", found=found, fix=fix)
