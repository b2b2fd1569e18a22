"""What a model version remembers of its training rows, so that later windows can be judged."""

from __future__ import annotations

from dataclasses import dataclass

from colonnade.stats.drift import Floors
from colonnade.stats.profile import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The bundle's ``profile.json``.

    Attributes:
        profile: of the features in the whole snapshot.
        floors: effects between the snapshot's own ISO weeks.
    """

    profile: Profile
    floors: Floors
