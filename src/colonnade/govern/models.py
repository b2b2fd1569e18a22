"""A registered model version as something that runs: fetched, verified, or refused on record."""

from __future__ import annotations

from colonnade.base.errors import ColonnadeError
from colonnade.bundle import load
from colonnade.bundle.predict import Predictor
from colonnade.govern.session import Session
from colonnade.records.entry import Entry
from colonnade.records.model import ModelVersion


def open_version(session: Session, entry: Entry) -> Predictor:
    """Open a model version, its signature verified over the very bytes that are loaded.

    Raises:
        RefusedError: CN-BUNDLE-…, CN-BLOB-002: the bytes are not what was signed; recorded.
    """
    version = entry.read(ModelVersion)
    try:
        files = {name: session.blob(digest) for name, digest in version.files.items()}
        return load.open_bundle(files, session.trusted_keys())
    except ColonnadeError as error:
        body = {"code": error.code, "message": error.message}
        session.record("read", "refuse", entry.ref, body)
        raise
