"""From a body to recorded scores: the part that the endpoint's two protocols share, and ours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Literal, NamedTuple, cast

import msgspec

from colonnade.bundle.request import Row
from colonnade.serve.call import Answer, Call, as_json
from colonnade.serve.log import Cell, Entry
from colonnade.serve.meter import Meter
from colonnade.serve.mint import Mint
from colonnade.serve.revision import Revision

BESIDE_BYTES = 64 * 1024

Score = float | list[float]
Decode = Callable[[bytes], list[Row]]


class Scored(NamedTuple):
    """The answer to a request's rows, in their order."""

    ids: list[str]
    scores: list[Score]


class Prediction(msgspec.Struct):
    """One row of an answer."""

    id: str
    score: Score


class Predictions(msgspec.Struct):
    """The answer to ``POST /v1/endpoints/{name}/predict``."""

    model_version: str
    predictions: list[Prediction]


class Scorer:
    """Decodes, scores, names and records rows; one per process."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._mint = Mint()
        self._beside = ThreadPoolExecutor(1, "score")

    async def predict(self, call: Call, revision: Revision) -> Answer:
        """Answer rows by field name."""
        scored = await self.score(call, revision, revision.predictor.decode, "predict")
        pairs = zip(scored.ids, scored.scores, strict=True)
        predictions = [Prediction(identifier, score) for identifier, score in pairs]
        return as_json(
            Predictions(revision.predictor.version, predictions), prediction_header(scored)
        )

    async def score(
        self, call: Call, revision: Revision, decode: Decode, route: Literal["predict", "infer"]
    ) -> Scored:
        """Score the rows of a body; when this returns they are recorded as the log promises.

        A large body is computed beside the event loop, so that small ones do not wait for it.

        Raises:
            RequestError: CN-REQUEST-001 or 002, the rows do not fit the signature.
            UnavailableError: CN-LOG-001 or 002, they could not be recorded.
        """
        if revision.log is not None:
            revision.log.check()
        began_ns = time.perf_counter_ns()
        if len(call.body) > BESIDE_BYTES:
            loop, work = asyncio.get_running_loop(), (revision, decode, call.body)
            rows, scores = await loop.run_in_executor(self._beside, _compute, *work)
        else:
            rows, scores = _compute(revision, decode, call.body)
        mint = self._mint
        scored = Scored([mint() for _ in rows], scores)
        if revision.log is not None:
            took_us = (time.perf_counter_ns() - began_ns) // 1000
            entry = _entry(revision, rows, scored, (call.actor, route, took_us))
            written = revision.log.append(revision.source, entry)
            if written is not None:
                await written
        self._meter.predictions(revision.endpoint, revision.version, len(rows))
        return scored


def prediction_header(scored: Scored) -> list[tuple[bytes, bytes]]:
    """``x-prediction-id`` for a single row."""
    if len(scored.ids) != 1:
        return []
    return [(b"x-prediction-id", scored.ids[0].encode())]


def _compute(revision: Revision, decode: Decode, body: bytes) -> tuple[list[Row], list[Score]]:
    rows = decode(body)
    return rows, cast("list[Score]", revision.predictor.predict_rows(rows).tolist())


def _entry(
    revision: Revision, rows: list[Row], scored: Scored, said: tuple[str, str, int]
) -> Entry:
    caller, route, latency_us = said
    predictor, signature = revision.predictor, revision.predictor.signature
    values_of = revision.values_of
    keys: list[str | None] = []
    times: list[datetime | None] = []
    if signature.key:
        keys = [predictor.business_key(row) for row in rows]
    if signature.time:
        times = [predictor.event_time(row) for row in rows]
    return Entry(
        revision=revision.id,
        at_us=time.time_ns() // 1000,
        caller=caller,
        route=route,
        latency_us=latency_us,
        ids=scored.ids,
        scores=scored.scores,
        rows=cast("Sequence[Sequence[Cell]]", [values_of(row) for row in rows]),
        keys=keys,
        times=times,
    )
