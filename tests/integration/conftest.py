"""Scripts that real processes run on the project of the fixture `stores`."""

from __future__ import annotations

import os

import pytest

OPEN = """
    import os, sys, time
    from pathlib import Path
    from colonnade.govern.stores import open_stores
    root = Path(sys.argv[1])
    stores = open_stores({url!r}, root, root / "root.key", root / "heads")
    print("ready", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def opened(database_url: str) -> str:
    """The beginning of a script: opens `stores`, says so and waits for a line."""
    return OPEN.format(url=database_url)


@pytest.fixture
def go():
    """Lets processes that have said ``ready`` run at the same moment; returns what they print."""

    def together(*processes) -> list[str]:
        for process in processes:
            assert process.stdout.readline() == "ready\n", process.communicate()[1]
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        answers = []
        for process in processes:
            out, err = process.communicate(timeout=50)
            assert process.returncode in (0, -9), err
            answers.append(out)
        return answers

    return together


@pytest.fixture
def kill():
    """Ends a process as the kernel does when memory runs out."""

    def now(process) -> None:
        os.kill(process.pid, 9)
        process.wait()

    return now
