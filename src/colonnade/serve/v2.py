"""The Open Inference Protocol (V2) over REST, so that clients of other servers need no change.

The protocol's model is our endpoint, its version the live model version. A feature is one named
input of shape [n] or [n, 1]; key columns and event time may come as further inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

import msgspec

from colonnade.bundle.predict import Predictor
from colonnade.bundle.request import Problem, RequestError, Row, said_twice
from colonnade.records.model import FeatureKind
from colonnade.serve.call import Answer, Call, as_json
from colonnade.serve.predict import Scored, Scorer, prediction_header
from colonnade.serve.revision import Revision

DATATYPES: dict[FeatureKind, str] = {
    "number": "FP64",
    "integer": "INT64",
    "flag": "BOOL",
    "category": "BYTES",
}
_NUMBER: tuple[tuple[type, ...], str] = ((int, float), "a number")
ACCEPTED: dict[str, tuple[tuple[type, ...], str]] = {  # datatype -> what JSON may hold of it
    "FP32": _NUMBER,
    "FP64": _NUMBER,
    "INT8": _NUMBER,  # JSON does not tell 5 from 5.0: whether it is whole, the signature decides
    "INT16": _NUMBER,
    "INT32": _NUMBER,
    "INT64": _NUMBER,
    "BOOL": ((bool,), "true or false"),
    "BYTES": ((str,), "a text"),
}
MAX_ID = 256

Value = str | int | float | bool | None


class Tensor(msgspec.Struct):
    """One named input of a request."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Value | list[Value]]


class InferRequest(msgspec.Struct):
    """The body of ``infer``; parameters and wished outputs are not looked at."""

    inputs: list[Tensor]
    id: str | None = None


_decode = msgspec.json.Decoder(InferRequest).decode
_encode = msgspec.json.Encoder().encode


async def server(_call: Call) -> Answer:
    """``GET /v2``."""
    return as_json({"name": "colonnade", "version": version("colonnade"), "extensions": []})


def metadata(revision: Revision) -> Answer:
    """``GET /v2/models/{m}``."""
    signature = revision.predictor.signature
    multiclass = signature.task == "multiclass"
    return as_json(
        {
            "name": revision.endpoint,
            "versions": [str(revision.version)],
            "platform": "onnxruntime_onnx",
            "inputs": [
                {"name": feature.name, "datatype": DATATYPES[feature.kind], "shape": [-1]}
                for feature in signature.features
            ],
            "outputs": [
                {
                    "name": "score",
                    "datatype": "FP32",
                    "shape": [-1, len(signature.classes)] if multiclass else [-1],
                }
            ],
        }
    )


def ready(revision: Revision) -> Answer:
    """``GET /v2/models/{m}/ready``: what is routed to is ready."""
    return as_json({"name": revision.endpoint, "ready": True})


async def infer(call: Call, revision: Revision, scorer: Scorer) -> Answer:
    """``POST /v2/models/{m}/infer``."""
    reader = _Reader(revision.predictor)
    scored = await scorer.score(call, revision, reader.decode, "infer")
    body = {
        "model_name": revision.endpoint,
        "model_version": str(revision.version),
        "parameters": {"prediction_ids": scored.ids},
        "outputs": [_output(scored)],
    }
    if reader.id is not None:
        body["id"] = reader.id
    return as_json(body, prediction_header(scored))


class _Reader:
    """Decodes one request, and keeps the id that it is to be answered under."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.id: str | None = None

    def decode(self, body: bytes) -> list[Row]:
        request = _request(body)
        self.id = request.id
        return _rows(request, self._predictor)


def _request(body: bytes) -> InferRequest:
    try:
        request = _decode(body)
    except (ValueError, RecursionError) as error:  # msgspec's own, and bytes that are no UTF-8
        raise _refused(None, f"not a V2 inference request: {error}") from None
    if len(request.id or "") > MAX_ID:
        raise _refused("id", f"expected {MAX_ID} characters at most")
    plain = 1 + 4 * len(request.inputs) + (request.id is not None)
    if body.count(b'":') != plain and (name := said_twice(body)) is not None:
        raise _refused(None, f"the name {name[:64]!r} is said twice in one object")
    return request


def _rows(request: InferRequest, predictor: Predictor) -> list[Row]:
    """The tensors as rows by field name, checked by the one reader that checks all rows."""
    columns = {tensor.name: _column(tensor) for tensor in request.inputs}
    if len(columns) < len(request.inputs):
        raise _refused(None, "two inputs have the same name")
    if len({len(column) for column in columns.values()}) != 1:
        raise _refused(None, "the inputs differ in length, or there are none")
    names = tuple(columns)
    cells = zip(*columns.values(), strict=True)
    rows = [dict(zip(names, row, strict=True)) for row in cells]
    return predictor.decode(_encode({"rows": rows}))


def _column(tensor: Tensor) -> list[Value]:
    data = [_single(value) for value in tensor.data]
    if tensor.datatype not in ACCEPTED:
        raise _refused(tensor.name, f"datatype {tensor.datatype[:16]!r} is not one of this server")
    if tensor.shape not in ([len(data)], [len(data), 1]):
        raise _refused(tensor.name, f"{len(data)} values for shape {tensor.shape[:4]}")
    flat = [value for value in data if not isinstance(value, list)]
    if len(flat) != len(data):
        raise _refused(tensor.name, "expected one value a row: shape [n] or [n, 1]")
    fits, expected = ACCEPTED[tensor.datatype]
    if not all(value is None or isinstance(value, fits) for value in flat):
        raise _refused(tensor.name, f"expected {expected}, as {tensor.datatype} says")
    return flat


def _single(value: Value | list[Value]) -> Value | list[Value]:
    """The one value of a row of shape [n, 1]; anything else as it is."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _output(scored: Scored) -> dict[str, object]:
    rows, shape = scored.scores, [len(scored.scores)]
    flat: Sequence[object] = rows
    if rows and isinstance(rows[0], list):
        shape.append(len(rows[0]))
        flat = [value for row in rows if isinstance(row, list) for value in row]
    return {"name": "score", "shape": shape, "datatype": "FP32", "data": flat}


def _refused(field: str | None, reason: str) -> RequestError:
    return RequestError(
        "CN-REQUEST-003",
        [Problem(None, field, reason)],
        "send one input per feature, as GET /v2/models/{name} lists them",
    )
