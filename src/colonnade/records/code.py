"""The user's code as it was when a step ran."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """The user's code as it was imported.

    Attributes:
        digest: of the step's function and all that it reaches.
        commit: the git commit of the project's folder, None outside a repository.
        diff: blob of the difference to that commit, None where there is none.
        files: path -> blob of every imported file of the project, tracked or not.
        untracked: of these, the ones that git does not track.
    """

    digest: str
    commit: str | None
    diff: str | None
    files: dict[str, str]
    untracked: tuple[str, ...]
