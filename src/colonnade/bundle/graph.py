"""One ONNX graph from the raw columns of a request to the score.

The graph of a bundle takes ``numbers`` (float32 [n, k], missing = NaN) and ``words`` (string
[n, m], missing = ""); an input is absent when its group is empty. Each word becomes its index in
the feature's categories (unknown and missing: NaN), all columns go back into feature order, the
estimator runs on that float32 matrix [n, d], and one output ``score`` is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, compose, helper, numpy_helper

from colonnade.records.model import Feature, Signature

MATRIX: Final = "X"
_ML: Final = "ai.onnx.ml"
_BODY: Final = "model_"  # the estimator's own names get this prefix, so that ours stay free
_IN: Final = "_in"  # the same tensor, as the part behind it calls it
_LEAST_OPSET: Final = 13  # from which on Split takes its sizes as an input
_LEAST_ML: Final = 3  # LabelEncoder from text to number came with 2, today's trees with 3


def assemble(estimator: ModelProto, signature: Signature) -> bytes:
    """Put the raw columns before a converted estimator and one score behind it.

    Args:
        estimator: takes the matrix ``X``; its last output holds the probabilities or predictions.
        signature: names the columns and the task.

    Returns:
        The checked graph; the same estimator and signature give the same bytes.

    Raises:
        ValueError: the estimator's graph is not valid ONNX.
    """
    body = compose.add_prefix(_plain(estimator), _BODY)
    found = body.graph.output[-1]
    before = _model(_columns(signature), body)
    whole = compose.merge_models(
        before, body, io_map=[(MATRIX, body.graph.input[0].name)], outputs=[found.name]
    )
    after = _model(_score(found, signature), body)
    whole = compose.merge_models(whole, after, io_map=[(found.name, found.name + _IN)])
    del whole.graph.value_info[:]  # the converters declare shapes that do not come (label: {1})
    whole.graph.name, whole.producer_name, whole.producer_version = "model", "colonnade", ""
    onnx.checker.check_model(whole, full_check=True)
    return bytes(whole.SerializeToString(deterministic=True))


def _plain(model: ModelProto) -> ModelProto:
    """The same model with one version per operator set, high enough for our own nodes."""
    least = {"": _LEAST_OPSET, _ML: _LEAST_ML}
    for known in model.opset_import:
        least[known.domain] = max(known.version, least.get(known.domain, 1))
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(name, least[name]) for name in sorted(least))
    del model.metadata_props[:]
    return model


def _model(graph: onnx.GraphProto, like: ModelProto) -> ModelProto:
    return helper.make_model(graph, opset_imports=like.opset_import, ir_version=like.ir_version)


def _columns(signature: Signature) -> onnx.GraphProto:
    """From ``numbers`` and ``words`` to the matrix in feature order."""
    numbers, words = signature.numbers, signature.words
    inputs, parts, nodes, constants = [], [], [], []
    if numbers:
        inputs.append(_tensor("numbers", TensorProto.FLOAT, len(numbers)))
        parts.append("numbers")
    if words:
        inputs.append(_tensor("words", TensorProto.STRING, len(words)))
        columns = [f"word_{i}" for i in range(len(words))] if len(words) > 1 else ["words"]
        if len(words) > 1:
            constants.append(_ints([1] * len(words), "word_widths"))
            nodes.append(helper.make_node("Split", ["words", "word_widths"], columns, axis=1))
        codes = [f"code_{i}" for i in range(len(words))]
        nodes += [_encoder(*each) for each in zip(words, columns, codes, strict=True)]
        parts += codes
    order = _places(signature.features, (*numbers, *words))
    in_order = order == sorted(order)
    nodes.append(helper.make_node("Concat", parts, [MATRIX if in_order else "grouped"], axis=1))
    if not in_order:
        constants.append(_ints(order, "feature_order"))
        nodes.append(helper.make_node("Gather", ["grouped", "feature_order"], [MATRIX], axis=1))
    output = _tensor(MATRIX, TensorProto.FLOAT, len(order))
    return helper.make_graph(nodes, "columns", inputs, [output], constants)


def _places(wanted: Sequence[Feature], given: Sequence[Feature]) -> list[int]:
    """Where each wanted column stands among the given ones."""
    place = {feature.name: i for i, feature in enumerate(given)}
    return [place[feature.name] for feature in wanted]


def _encoder(feature: Feature, source: str, target: str) -> NodeProto:
    """A word to its index; "" stands for itself so that the table of an empty column is not."""
    return helper.make_node(
        "LabelEncoder",
        [source],
        [target],
        domain=_ML,
        keys_strings=["", *feature.categories],
        values_floats=[float("nan"), *map(float, range(len(feature.categories)))],
        default_float=float("nan"),
    )


def _score(found: onnx.ValueInfoProto, signature: Signature) -> onnx.GraphProto:
    """From the estimator's output to ``score``: float32 [n], or [n, classes]."""
    kind = found.type.tensor_type.elem_type
    source = found.name + _IN
    constants = []
    if signature.task == "binary":
        constants.append(_ints(1, "positive"))
        chosen = helper.make_node("Gather", [source, "positive"], ["chosen"], axis=1)
    elif signature.task == "regression":
        constants.append(_ints([-1], "flat"))
        chosen = helper.make_node("Reshape", [source, "flat"], ["chosen"])
    else:
        chosen = helper.make_node("Identity", [source], ["chosen"])
    # some estimators answer in double; where none does, the engine drops this step
    single = helper.make_node("Cast", ["chosen"], ["score"], to=TensorProto.FLOAT)
    width = len(signature.classes) if signature.task == "multiclass" else None
    given = helper.make_tensor_value_info(source, kind, None)
    output = _tensor("score", TensorProto.FLOAT, width)
    return helper.make_graph([chosen, single], "score", [given], [output], constants)


def _tensor(name: str, kind: int, width: int | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ["n"] if width is None else ["n", width])


def _ints(values: int | Sequence[int], name: str) -> TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)
