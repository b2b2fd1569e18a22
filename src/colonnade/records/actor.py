"""Who acts: a person, a service or the scheduler, and what the roles permit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["viewer", "engineer", "approver", "admin", "service"]
Action = Literal[
    "read", "write", "train", "register", "promote", "predict", "label", "report", "keys", "audit",
]  # fmt: skip

ROLES: dict[Role, frozenset[Action]] = {
    "viewer": frozenset({"read", "audit"}),
    "engineer": frozenset(
        {"read", "write", "train", "register", "predict", "label", "report", "audit"}
    ),
    "approver": frozenset({"read", "promote", "audit"}),
    "service": frozenset({"read", "write", "predict", "label", "report"}),
    "admin": frozenset(
        {
            "read", "write", "train", "register", "promote", "predict", "label", "report", "keys",
            "audit",
        }
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody with roles."""

    name: str
    roles: frozenset[Role]

    def may(self, action: Action) -> bool:
        """Whether one of the roles permits `action`."""
        return any(action in ROLES[role] for role in self.roles)
