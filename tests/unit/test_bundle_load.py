from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from onnx import TensorProto, helper, numpy_helper

from colonnade.base.errors import RefusedError
from colonnade.bundle.load import open_bundle
from colonnade.bundle.manifest import seal
from colonnade.records.model import Feature, Manifest, Signature

PRIVATE = Ed25519PrivateKey.generate()
TRUSTED = {"k": PRIVATE.public_key().public_bytes_raw()}
REGRESSION = Signature(
    features=(Feature(name="a", kind="number"), Feature(name="b", kind="number")),
    task="regression",
)


class Key:
    def sign(self, data: bytes) -> tuple[str, bytes]:
        return "k", PRIVATE.sign(data)


def sealed(files: dict[str, bytes], signature: Signature = REGRESSION) -> dict[str, bytes]:
    plain = Manifest(
        name="m", version=7, run="r", made_at="2026-11-01", signature=signature, files={}
    )
    return seal(plain, files, Key())


def a_sum(width: int = 2, *, source: str = "numbers", target: str = "score") -> onnx.ModelProto:
    """A graph that answers the sum of its columns."""
    graph = helper.make_graph(
        [helper.make_node("ReduceSum", [source, "axis"], [target], keepdims=0)],
        "sum",
        [helper.make_tensor_value_info(source, TensorProto.FLOAT, ["n", width])],
        [helper.make_tensor_value_info(target, TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(np.array([1]), "axis")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def refusal(files: dict[str, bytes]) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        open_bundle(files, TRUSTED)
    return caught.value


def test_the_bytes_that_were_verified_are_the_ones_that_answer() -> None:
    predictor = open_bundle(sealed({"model.onnx": a_sum().SerializeToString()}), TRUSTED)
    assert predictor.version == "m@7"
    assert predictor.score_columns({"a": [1, 2], "b": [10.5, 20]}).tolist() == [11.5, 22.0]


def test_a_changed_model_is_refused_before_it_is_run() -> None:
    files = sealed({"model.onnx": a_sum().SerializeToString()})
    other = a_sum(target="score")
    other.doc_string = "changed"
    assert refusal({**files, "model.onnx": other.SerializeToString()}).code == "CN-BUNDLE-008"


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "model.onnx.pickle", "code.py", "x"])
def test_a_format_that_may_hold_code_is_refused_though_it_is_signed(name: str) -> None:
    error = refusal(sealed({"model.onnx": a_sum().SerializeToString(), name: b"cos\nsystem"}))
    assert error.code == "CN-BUNDLE-010"
    assert name in error.message


def test_a_bundle_without_a_model_is_refused() -> None:
    error = refusal(sealed({"profile.json": b"{}"}))
    assert error.code == "CN-BUNDLE-011"
    assert "no model.onnx" in error.message


def test_bytes_that_are_no_graph_are_refused_in_one_line() -> None:
    error = refusal(sealed({"model.onnx": b"not a graph"}))
    assert error.code == "CN-BUNDLE-011"
    assert "\n" not in error.message


@pytest.mark.parametrize(
    "model", [a_sum(3), a_sum(source="X"), a_sum(target="variable")], ids=["width", "in", "out"]
)
def test_a_graph_with_other_places_than_the_signature_is_refused(model: onnx.ModelProto) -> None:
    assert refusal(sealed({"model.onnx": model.SerializeToString()})).code == "CN-BUNDLE-011"


def test_a_graph_that_answers_in_another_shape_is_refused() -> None:
    three = Signature(features=REGRESSION.features, task="multiclass", classes=("a", "b", "c"))
    error = refusal(sealed({"model.onnx": a_sum().SerializeToString()}, three))
    assert "expected float32 (2, 3)" in error.message


def test_a_graph_that_cannot_run_is_refused() -> None:
    model = a_sum()
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array([5]), "axis"))
    assert refusal(sealed({"model.onnx": model.SerializeToString()})).code == "CN-BUNDLE-011"


@pytest.mark.parametrize("place", ["initializer", "constant"])
@pytest.mark.parametrize("name", ["weights.bin", "../{here}/weights.bin"])
def test_weights_outside_the_verified_bytes_are_never_read(
    place: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("weights.bin").write_bytes(np.ones((2, 1), np.float32).tobytes())
    weights = numpy_helper.from_array(np.zeros((2, 1), np.float32), "w")
    onnx.external_data_helper.set_external_data(weights, name.format(here=tmp_path.name))
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    constant = [helper.make_node("Constant", [], ["w"], value=weights)]
    model = a_sum()
    model.graph.node[0].output[0] = "sum"
    model.graph.node.extend(
        [
            *(constant if place == "constant" else []),
            helper.make_node("MatMul", ["numbers", "w"], ["product"]),
            helper.make_node("Squeeze", ["product", "axis"], ["score"]),
        ]
    )
    if place == "initializer":
        model.graph.initializer.append(weights)
    error = refusal(sealed({"model.onnx": model.SerializeToString()}))
    assert error.code == "CN-BUNDLE-011"
    assert "External data path" in error.message


def test_opening_a_bundle_imports_no_engine_of_training_and_sends_nothing_home() -> None:
    heavy = ["polars", "pyarrow", "pandas", "sklearn", "scipy", "onnx", "lightgbm", "deltalake"]
    code = (
        "import os, sys, colonnade.bundle.load;"
        f"print([m for m in {heavy} if m in sys.modules], os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "1"]
