"""Disks of their own for the tests that fill one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.disks import Forks, forking, with_own_mounts


def pytest_configure(config: pytest.Config) -> None:
    """Say what the mark means."""
    config.addinivalue_line("markers", "own_mounts: mounts a disk; needs root, or a user namespace")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """A test that mounts is run where it may."""
    if pyfuncitem.get_closest_marker("own_mounts") is None:
        return None
    return with_own_mounts(pyfuncitem) or None


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Starts commands as processes, with disks that fail."""
    with forking() as started:
        yield started
