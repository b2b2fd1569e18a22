"""A deployment: which model version an endpoint answers with from now on, and who decided."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One revision of an endpoint.

    Attributes:
        model: ``name@version``.
        digest: of the manifest; the endpoint loads these bytes or none.
        previous: the deployment that it takes the place of, ``endpoint@n``.
        reason: why, in words.
    """

    endpoint: str
    model: str
    digest: str
    previous: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """That a worker verified a revision's signature and answers with it.

    Attributes:
        key_id: the key that the signature was verified with.
    """

    model: str
    digest: str
    key_id: str
    took_ms: float
    workers: int
