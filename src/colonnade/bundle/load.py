"""Open a bundle: verify the bytes, then run those very bytes.

The only module that imports onnxruntime. No path is read after the check, no format is opened that
can hold code, and the engine's telemetry is off.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final, cast

# onnxruntime's official builds send usage events to their maker and keep a device id on disk,
# unless this is set before the import (its Privacy.md).
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnxruntime

from colonnade.base.errors import RefusedError
from colonnade.bundle.manifest import MODEL, verify
from colonnade.bundle.predict import Feeds, Predictor, Session
from colonnade.bundle.request import MAX_ROWS
from colonnade.records.model import Manifest, Signature

SAFE: Final = frozenset({".onnx", ".json"})

_ERRORS_ONLY: Final = 3
# A graph may name files that hold its weights, and they are looked for in the working directory
# even where the graph came as bytes: nobody verified them. Nothing can be found below a device.
_OUTSIDE: Final = "session.model_external_initializers_file_folder_path"
_REBUILD: Final = "register the version again; models become ONNX there"


def open_bundle(
    files: Mapping[str, bytes],
    trusted: Mapping[str, bytes],
    *,
    threads: int = 1,
    max_rows: int = MAX_ROWS,
) -> Predictor:
    """Verify a bundle and make its model ready to answer.

    Args:
        files: the bundle: file name -> bytes.
        trusted: key id -> 32 raw bytes of an Ed25519 public key.
        threads: threads inside one run; more help only models slower than about a millisecond.
        max_rows: rows that one request may carry.

    Raises:
        RefusedError: CN-BUNDLE-002 and 004 to 009 from `manifest.verify`, 010 (a format that may
            hold code), 011 (the model cannot be run, or takes other columns than it declares).
    """
    manifest = verify(files, trusted)
    _check_formats(manifest)
    session = _session(manifest, files[MODEL], threads)
    predictor = Predictor(manifest, cast("Session", session), max_rows=max_rows)
    _try(predictor)
    return predictor


def _check_formats(manifest: Manifest) -> None:
    for name in manifest.files:
        if PurePosixPath(name).suffix not in SAFE:
            raise RefusedError(
                "CN-BUNDLE-010",
                f"file {name} of {manifest.name}@{manifest.version} is in a format that may hold"
                f" code; opened are only {' and '.join(sorted(SAFE))}",
                _REBUILD,
            )
    if MODEL not in manifest.files:
        held = ", ".join(manifest.files) or "nothing"
        raise _unusable(manifest, f"it has no {MODEL}, but {held}")


def _session(manifest: Manifest, model: bytes, threads: int) -> onnxruntime.InferenceSession:
    """An engine on these bytes: one thread, quiet, on the processor."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry(_OUTSIDE, os.devnull)
    try:
        session = onnxruntime.InferenceSession(
            model, sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise _unusable(manifest, str(error).splitlines()[0][:300]) from error
    _check_places(manifest, session)
    return session


def _check_places(manifest: Manifest, session: onnxruntime.InferenceSession) -> None:
    """The graph takes the columns that the signature declares, and answers one score."""
    expected = _places(manifest.signature)
    found = {place.name: (place.type, *place.shape[1:]) for place in session.get_inputs()}
    if found != expected:
        raise _unusable(manifest, f"its inputs are {found}; declared are {expected}")
    if [place.name for place in session.get_outputs()] != ["score"]:
        names = [place.name for place in session.get_outputs()]
        raise _unusable(manifest, f"its outputs are {names}; expected is 'score' alone")


def _places(signature: Signature) -> dict[str, tuple[str, int]]:
    widths = {
        "numbers": ("tensor(float)", len(signature.numbers)),
        "words": ("tensor(string)", len(signature.words)),
    }
    return {name: place for name, place in widths.items() if place[1]}


def _try(predictor: Predictor) -> None:
    """Run two rows without a value: the first request must not be the first run."""
    signature = predictor.signature
    feeds: Feeds = {}
    if signature.numbers:
        feeds["numbers"] = np.full((2, len(signature.numbers)), np.nan, dtype=np.float32)
    if signature.words:
        feeds["words"] = np.full((2, len(signature.words)), "", dtype=object)
    expected = (2, len(signature.classes)) if signature.task == "multiclass" else (2,)
    try:
        scores = predictor.score(feeds)
    except Exception as error:
        raise _unusable(predictor.manifest, str(error).splitlines()[0][:300]) from error
    if scores.shape != expected or scores.dtype != np.float32:
        raise _unusable(
            predictor.manifest,
            f"two rows score as {scores.dtype} {scores.shape}; expected float32 {expected}",
        )


def _unusable(manifest: Manifest, why: str) -> RefusedError:
    return RefusedError(
        "CN-BUNDLE-011",
        f"{MODEL} of {manifest.name}@{manifest.version} cannot be used: {why}",
        _REBUILD,
    )
