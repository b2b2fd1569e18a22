"""Who this process is, as the owner of leases, jobs and spools, and whether another one is gone."""

from __future__ import annotations

import functools
import os
import socket

import psutil


@functools.cache
def _identity(pid: int) -> str:
    return f"{socket.gethostname()}:{pid}:{psutil.Process(pid).create_time():.2f}"


def me() -> str:
    """This process: ``host:pid:start``. A process id that is used again has another start."""
    return _identity(os.getpid())


def is_gone(owner: str) -> bool:
    """Whether `owner` was a process of this host that no longer runs.

    False for another host: there, only the lease's end tells.
    """
    host, _, rest = owner.rpartition(":")[0].rpartition(":")
    if host != socket.gethostname():
        return False
    try:
        process = psutil.Process(int(rest))
        if process.status() == psutil.STATUS_ZOMBIE:  # it ended and its parent did not look yet
            return True
        return abs(process.create_time() - float(owner.rpartition(":")[2])) > 0.05
    except (psutil.NoSuchProcess, ValueError):
        return True
