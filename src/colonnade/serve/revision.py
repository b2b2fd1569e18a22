"""What a request is answered with: one immutable object, captured when the request is routed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from colonnade.bundle.key import KeyValue
from colonnade.bundle.predict import Predictor
from colonnade.bundle.request import Row
from colonnade.serve.log import Log, Source
from colonnade.web.auth import AccessSnapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One model version behind one endpoint, with who may call it and where it is recorded.

    Attributes:
        id: of the deployment's revision.
        model: the model's name.
        version: the model's version.
        predictor: the verified bundle, ready to answer.
        log: None where predictions are not recorded.
        source: what the log writes once for many requests.
        values_of: the features of a row, in the order of the source.
    """

    id: str
    endpoint: str
    model: str
    version: int
    predictor: Predictor
    access: AccessSnapshot
    log: Log | None
    source: Source
    values_of: Callable[[Row], tuple[KeyValue, ...]]


def revision_of(
    name: str, endpoint: str, predictor: Predictor, access: AccessSnapshot, log: Log | None
) -> Revision:
    """Put a revision together from a predictor and what surrounds it."""
    manifest = predictor.manifest
    features = tuple(feature.name for feature in predictor.signature.features)
    return Revision(
        id=name,
        endpoint=endpoint,
        model=manifest.name,
        version=manifest.version,
        predictor=predictor,
        access=access,
        log=log,
        source=Source(name, manifest.name, manifest.version, features),
        values_of=predictor.reader.getter(features),
    )
