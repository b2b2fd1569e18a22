"""Kills an act at one point after the other and holds what comes of it against the unbroken one."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path

from colonnade.wiring import SETTINGS, open_workspace
from tests.forks import Done, Forks
from tests.state import State, begun, sealed, state, strays

Check = Callable[[Path, str], None]


class Walk:
    """One act on one prepared project."""

    def __init__(
        self, forks: Forks, prepared: Path, words: tuple[str, ...], project: str = "",
        check: Check = lambda _folder, _said: None,
    ) -> None:  # fmt: skip
        """Carry the act out unbroken, once and twice.

        Args:
            forks: where the acts run.
            prepared: the folder before the act; each attempt gets a copy.
            words: the act; ``{}`` is the folder.
            project: where the project lies in the folder.
            check: more that must hold in the end: told the project and all that was printed.
        """
        self._forks, self._prepared, self._words = forks, prepared, words
        self._project, self._check = project, check
        self._attempts = count()
        folder = self._fresh()
        first = self._act(folder)
        assert first.code == 0, first.said
        self.calls = first.calls
        self._sealed = sealed(folder / project)
        self._once = state(folder / project)
        self._code_again = self._act(folder).code
        self._twice = state(folder / project)

    def through(self, every: int = 1) -> int:
        """Walk points until the act completes untouched; returns how many kills that were."""
        return next(kills for kills, at in enumerate(count(1, every)) if not self.killed(at))

    def killed(self, *points: int) -> bool:
        """Kill the act at a point, the act that mends it at the next one, …; then complete it.

        Returns:
            Whether it was killed at every point; False where it completed before it came to one.
        """
        folder, visible, said = self._fresh(), None, ""
        for at in points:
            done = self._act(folder, at)
            said += done.said
            if done.code != -signal.SIGKILL:
                assert done.code in (0, self._code_again), done.said
                assert len(done.calls) < at
                return False
            assert len(done.calls) == at
            visible = self._visible(folder)
        done = self._act(folder)
        self._compare(folder, done, all_done=visible == self._once)
        self._check(folder / self._project, said + done.said)
        assert len(strays(folder)) <= len(points)
        assert begun(folder / self._project) <= len(points)
        shutil.rmtree(folder)
        return True

    def _compare(self, folder: Path, done: Done, *, all_done: bool) -> None:
        """What was all done before the kill was done a second time now."""
        code, wanted = (self._code_again, self._twice) if all_done else (0, self._once)
        assert done.code == code, done.said
        assert state(folder / self._project) == wanted
        assert sealed(folder / self._project) == self._sealed

    def _visible(self, folder: Path) -> State | None:
        """What another process sees of it now; looked at in a copy, for looking may mend.

        None before the project's first start, which the look would be.
        """
        copy = shutil.copytree(folder, folder.with_name(f"{folder.name}, seen"))
        try:
            project = copy / self._project
            if not (project / SETTINGS).exists() or open_workspace(project).first_key:
                return None
            return state(project)
        finally:
            shutil.rmtree(copy)

    def _act(self, folder: Path, at: int = 0) -> Done:
        return self._forks.act(*(word.format(folder) for word in self._words), at=at)

    def _fresh(self) -> Path:
        copy = self._prepared.with_name(f"{self._prepared.name}, attempt {next(self._attempts)}")
        return shutil.copytree(self._prepared, copy)
