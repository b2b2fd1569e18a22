"""A request that an endpoint would answer: typical values, and of no single row.

They come from the signed bundle: its signature and the profile of the rows it was fitted on, in
which no word and no edge stands for fewer than ten of them.
"""

from __future__ import annotations

from colonnade.bundle.manifest import PROFILE
from colonnade.govern.models import open_version
from colonnade.govern.session import Session
from colonnade.lifecycle import promote
from colonnade.lifecycle.starter import typical
from colonnade.records import canonical
from colonnade.records.model import Feature, ModelVersion
from colonnade.records.outline import Value
from colonnade.stats.profile import NumberProfile, Profile
from colonnade.stats.reference import Reference


def example(session: Session, endpoint: str) -> dict[str, Value | None] | None:
    """A row for an endpoint; None where nothing is live.

    Raises:
        RefusedError: the live version's bundle is not what was signed.
    """
    champion = promote.champion(session, endpoint)
    if champion is None:
        return None
    features = open_version(session, champion).signature.features
    data = session.blob(champion.read(ModelVersion).files[PROFILE])
    seen = canonical.read_json(data, Reference).profile
    row = {feature.name: _value(feature, seen) for feature in features}
    return {
        feature.name: None if _is_refused(feature, row[feature.name]) else row[feature.name]
        for feature in features
    }


def _is_refused(feature: Feature, value: Value | None) -> bool:
    """Whether a contract that became narrower since refuses what was typical."""
    admitted = feature.admitted
    return value is not None and admitted is not None and not admitted.admits(value)


def _value(feature: Feature, seen: Profile) -> Value | None:
    if feature.kind == "category":
        words = seen.words[feature.name].words
        return words[0] if words else None
    middle = _median(seen.numbers[feature.name])
    return None if middle is None else typical(middle, feature.kind)


def _median(column: NumberProfile) -> float | None:
    """The upper edge of the bin in the middle."""
    passed, present = 0, sum(column.counts)
    for edge, count in zip(column.edges.values, column.counts, strict=False):
        passed += count
        if passed * 2 >= present:
            return edge
    return column.mean
