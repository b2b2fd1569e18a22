"""The endpoint's application through ASGI, with a real engine on a graph of two sums."""

from __future__ import annotations

import asyncio
import json
import time
from hashlib import sha256
from typing import NamedTuple

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from colonnade.bundle.predict import Predictor
from colonnade.records.model import Feature, Field, Manifest, Signature
from colonnade.serve.app import App
from colonnade.serve.collect import collect
from colonnade.serve.log import Log, LogSettings
from colonnade.serve.meter import Meter
from colonnade.serve.revision import revision_of
from colonnade.serve.segment import SpoolKey
from colonnade.serve.spool import Spool
from colonnade.web.auth import AccessSnapshot
from colonnade.web.limits import Limits

KEY = b"cn_tower"
SPOOL_KEY = SpoolKey(id="k1", secret=bytes(32))
PREDICT = "/v1/endpoints/late/predict"
ROW = {"hour": 0.5, "cold": True, "carrier": "UA"}
SCORE = float(np.float32(1) / (np.float32(1) + np.exp(np.float32(-1.5))))


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    text: bytes

    def json(self):
        return json.loads(self.text)


def session(*nodes, shape) -> onnxruntime.InferenceSession:
    inputs = [
        helper.make_tensor_value_info("numbers", TensorProto.FLOAT, [None, 2]),
        helper.make_tensor_value_info("words", TensorProto.STRING, [None, 1]),
    ]
    output = helper.make_tensor_value_info("score", TensorProto.FLOAT, shape)
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    graph = helper.make_graph(list(nodes), "g", inputs, [output], [axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return onnxruntime.InferenceSession(model.SerializeToString())


def predictor(version: int = 3, task: str = "binary") -> Predictor:
    features = (
        Feature(name="hour", kind="number", low=0.0, high=23.0),
        Feature(name="cold", kind="flag"),
        Feature(name="carrier", kind="category", categories=("AA", "UA")),
    )
    signature = Signature(
        features=features,
        task=task,
        key=(Field(name="flight", kind="integer"),),
        time="departs_at",
        classes=("no", "yes") if task == "binary" else ("a", "b"),
    )
    manifest = Manifest(
        name="late_departure", version=version, run="", made_at="", signature=signature, files={}
    )
    if task == "binary":
        total = helper.make_node("ReduceSum", ["numbers", "axes"], ["total"], keepdims=0)
        engine = session(total, helper.make_node("Sigmoid", ["total"], ["score"]), shape=[None])
    else:
        engine = session(helper.make_node("Softmax", ["numbers"], ["score"]), shape=[None, 2])
    return Predictor(manifest, engine)


def snapshot(*keys: bytes, made_at_s: float | None = None) -> AccessSnapshot:
    actors = {sha256(key).hexdigest(): key.decode() for key in keys}
    return AccessSnapshot(actors, time.time() if made_at_s is None else made_at_s)


def app(*, limits: Limits | None = None, access: AccessSnapshot | None = None, **revision) -> App:
    made = App(limits or Limits(), Meter())
    made.put(
        revision_of(
            "r1",
            "late",
            revision.get("predictor") or predictor(),
            access or snapshot(KEY),
            revision.get("log"),
        )
    )
    return made


async def ask(
    made: App,
    path: str,
    body: object = None,
    *,
    method: str | None = None,
    headers: tuple[tuple[bytes, bytes], ...] = ((b"x-api-key", KEY),),
    peer: str = "127.0.0.1",
) -> Response:
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    sent: list[dict] = []

    async def receive():
        return {"type": "http.request", "body": data, "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "method": method or ("GET" if body is None else "POST"),
        "path": path,
        "headers": [(b"content-length", b"%d" % len(data)), *headers],
        "client": (peer, 1234),
    }
    await made(scope, receive, send)
    names = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    assert int(names["content-length"]) == len(sent[1]["body"])
    return Response(sent[0]["status"], names, sent[1]["body"])


def get(made: App, path: str, body: object = None, **options) -> Response:
    return asyncio.run(ask(made, path, body, **options))


def test_rows_are_answered_in_their_order_with_ids_and_the_model_version():
    response = get(app(), PREDICT, {"rows": [ROW, {**ROW, "hour": None}]})
    assert response.status == 200
    body = response.json()
    assert body["model_version"] == "late_departure@3"
    assert body["predictions"][0]["score"] == pytest.approx(SCORE)
    assert body["predictions"][1]["score"] is None  # no number plus a number is no number
    assert len({p["id"] for p in body["predictions"]}) == 2
    assert "x-prediction-id" not in response.headers


def test_the_id_of_a_single_row_is_in_a_header_too():
    response = get(app(), PREDICT, {"rows": [ROW]})
    assert response.headers["x-prediction-id"] == response.json()["predictions"][0]["id"]


def test_a_multiclass_model_answers_all_probabilities():
    made = app(predictor=predictor(task="multiclass"))
    (prediction,) = get(made, PREDICT, {"rows": [ROW]}).json()["predictions"]
    assert sum(prediction["score"]) == pytest.approx(1.0)
    body = {"inputs": tensors(ROW)}
    (output,) = get(made, "/v2/models/late/infer", body).json()["outputs"]
    assert output["shape"] == [1, 2]
    assert output["data"] == prediction["score"]
    assert get(made, "/v2/models/late").json()["outputs"][0]["shape"] == [-1, 2]


@pytest.mark.parametrize("headers", [(), ((b"x-api-key", b"other"),)])
@pytest.mark.parametrize("path", [PREDICT, "/v2", "/nowhere"])
def test_without_a_known_key_nothing_is_told(headers, path):
    response = get(app(), path, {"rows": [ROW]}, headers=headers)
    assert response.status == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["content-type"] == "application/problem+json"


def test_a_key_of_another_endpoint_is_unknown_here_and_hints_name_only_what_it_may_call():
    made = app()
    made.put(revision_of("r2", "other", predictor(), snapshot(b"guest"), None))
    guest = ((b"x-api-key", b"guest"),)
    assert get(made, PREDICT, {"rows": [ROW]}, headers=guest).status == 401
    assert "late" not in get(made, "/v1/endpoints/lat/predict", headers=guest).json()["fix"]


def test_a_snapshot_that_is_too_old_closes_the_door():
    made = app(access=snapshot(KEY, made_at_s=0.0))
    response = get(made, PREDICT, {"rows": [ROW]})
    assert (response.status, response.json()["code"]) == (503, "CN-HTTP-009")
    made.allow("late", snapshot(KEY))
    assert get(made, PREDICT, {"rows": [ROW]}).status == 200
    made.allow("absent", snapshot(KEY))


def test_a_wrong_path_names_the_closest_one():
    response = get(app(), "/v1/endpoint/late/predict", {"rows": [ROW]})
    assert response.status == 404
    assert response.json()["fix"] == f"did you mean '{PREDICT}'?"


def test_another_method_is_told_the_right_one():
    response = get(app(), PREDICT, method="DELETE")
    assert (response.status, response.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (b"application/json; charset=utf-8", 200),
        (b"application/merge+json", 200),
        (b"application/x-www-form-urlencoded", 200),
        (b"", 200),
        (b"text/csv", 415),
    ],
)
def test_the_media_type_is_json_or_missing(kind, status):
    headers = ((b"x-api-key", KEY), (b"content-type", kind))
    assert get(app(), PREDICT, {"rows": [ROW]}, headers=headers).status == status


def test_a_body_over_the_limit_is_413():
    made = app(limits=Limits(body_bytes=10))
    assert get(made, PREDICT, {"rows": [ROW]}).status == 413


def test_rows_that_do_not_fit_are_422_with_row_field_and_reason():
    response = get(app(), PREDICT, {"rows": [ROW, {**ROW, "hour": "nine"}]})
    assert response.status == 422
    (error,) = response.json()["errors"]
    assert (error["row"], error["field"]) == (1, "hour")
    assert "nine" not in response.text.decode()


def test_a_failure_of_ours_is_a_500_that_shows_nothing(capfd):
    value = "SECRET".lower()  # not in the source, which a traceback quotes

    class Broken:
        def run(self, outputs, feeds):
            raise ValueError(value)

    broken = Predictor(predictor().manifest, Broken())
    response = get(app(predictor=broken), PREDICT, {"rows": [ROW]})
    assert (response.status, response.json()["code"]) == (500, "CN-SERVE-012")
    assert b"secret" not in response.text
    told = capfd.readouterr().err
    assert "ValueError" in told
    assert "secret" not in told


def test_until_a_model_is_loaded_only_health_answers():
    made = App(Limits(), Meter())
    assert get(made, "/v2/health/live", headers=()).status == 200
    assert get(made, "/v2/health/ready", headers=()).status == 503
    response = get(made, PREDICT, {"rows": [ROW]})
    assert (response.status, response.headers["retry-after"]) == (503, "1")
    assert get(app(), "/v2/health/ready", headers=()).json() == {"ready": True}


def test_metrics_are_for_this_machine_or_for_a_key():
    made = app()
    get(made, PREDICT, {"rows": [ROW, ROW]})
    forwarded = ((b"x-forwarded-for", b"203.0.113.9"),)
    assert get(made, "/metrics", headers=(), peer="203.0.113.9").status == 401
    assert get(made, "/metrics", headers=forwarded).status == 401
    assert get(made, "/metrics", peer="203.0.113.9").status == 200
    page = get(made, "/metrics", headers=()).text.decode()
    assert 'colonnade_requests_total{endpoint="late",status="200"} 1.0' in page
    assert 'colonnade_predictions_total{endpoint="late",version="3"} 2.0' in page
    assert 'colonnade_request_seconds_count{endpoint="late"} 1.0' in page


def test_a_new_revision_answers_from_the_next_request_and_the_metrics_show_it():
    made = app()
    made.put(revision_of("r2", "late", predictor(version=4), snapshot(KEY), None))
    assert get(made, PREDICT, {"rows": [ROW]}).json()["model_version"] == "late_departure@4"
    page = get(made, "/metrics").text.decode()
    labels = 'endpoint="late",model="late_departure",revision="{}",version="{}"'
    assert f"colonnade_revision_live{{{labels.format('r1', 3)}}} 0.0" in page
    assert f"colonnade_revision_live{{{labels.format('r2', 4)}}} 1.0" in page


def test_what_was_answered_is_in_the_log_with_who_asked_and_what_was_said(tmp_path):
    async def run() -> Response:
        spool = Spool(tmp_path, "late", SPOOL_KEY, durable=True)
        log = Log(spool, LogSettings(mode="commit"))
        row = {**ROW, "flight": 1545, "departs_at": "2013-01-01T05:00:00Z"}
        response = await ask(app(log=log), PREDICT, {"rows": [row, ROW]})
        await log.close()
        return response

    predictions = asyncio.run(run()).json()["predictions"]
    (segment,) = collect(tmp_path / "late", {SPOOL_KEY.id: SPOOL_KEY.secret})
    first, second = segment.rows
    assert [first.prediction_id, second.prediction_id] == [p["id"] for p in predictions]
    assert first.score == predictions[0]["score"]
    assert (first.key, second.key) == ("1545", None)
    assert first.event_time.isoformat() == "2013-01-01T05:00:00+00:00"
    assert second.event_time is None
    assert first.features == ROW
    assert (first.caller, first.route, first.revision) == (KEY.decode(), "predict", "r1")
    assert (first.model, first.version) == ("late_departure", 3)


def test_a_large_body_is_computed_beside_the_loop_and_answered_alike():
    rows = [{**ROW, "hour": float(i % 24)} for i in range(3000)]
    made = app()
    many = get(made, PREDICT, {"rows": rows}).json()["predictions"]
    one = get(made, PREDICT, {"rows": rows[:24]}).json()["predictions"]
    assert [p["score"] for p in many] == [p["score"] for p in one] * 125


def tensors(*rows: dict[str, object]) -> list[dict[str, object]]:
    return [
        {
            "name": name,
            "shape": [len(rows), 1],
            "datatype": "BYTES" if isinstance(value, str) else "FP64",
            "data": [row[name] for row in rows],
        }
        for name, value in rows[0].items()
    ]


@pytest.mark.parametrize("path", ["/v2/models/late", "/v2/models/late/versions/3"])
def test_v2_tells_what_the_model_takes(path):
    body = get(app(), path).json()
    assert (body["name"], body["versions"]) == ("late", ["3"])
    assert body["inputs"][1:] == [
        {"name": "cold", "datatype": "BOOL", "shape": [-1]},
        {"name": "carrier", "datatype": "BYTES", "shape": [-1]},
    ]
    assert body["outputs"] == [{"name": "score", "datatype": "FP32", "shape": [-1]}]
    assert get(app(), f"{path}/ready").json() == {"name": "late", "ready": True}


def test_v2_answers_what_predict_answers():
    made = app()
    request = {"id": "mine", "inputs": tensors(ROW, {**ROW, "hour": 2.0})}
    body = get(made, "/v2/models/late/versions/3/infer", request).json()
    expected = get(made, PREDICT, {"rows": [ROW, {**ROW, "hour": 2.0}]}).json()["predictions"]
    assert body["outputs"][0]["data"] == [p["score"] for p in expected]
    assert body["outputs"][0]["shape"] == [2]
    assert len(body["parameters"]["prediction_ids"]) == 2
    assert (body["id"], body["model_version"]) == ("mine", "3")


def test_v2_takes_nested_rows_and_key_columns():
    extra = {"name": "flight", "shape": [1], "datatype": "INT64", "data": [7]}
    nested = [{**tensor, "data": [tensor["data"]]} for tensor in tensors(ROW)]
    assert get(app(), "/v2/models/late/infer", {"inputs": [*nested, extra]}).status == 200


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"shape": [2]}, "1 values for shape [2]"),
        ({"datatype": "FP8"}, "datatype 'FP8'"),
        ({"data": [[1, 2]]}, "one value a row"),
        ({"data": [1, 2], "shape": [2]}, "differ in length"),
        ({"data": ["nine"]}, "expected a number"),
    ],
)
def test_v2_says_what_is_wrong_where_its_clients_look_for_it(change, reason):
    first, *others = tensors(ROW)
    body = {"inputs": [{**first, **change}, *others]}
    response = get(app(), "/v2/models/late/infer", body)
    assert response.status == 422
    assert reason in response.json()["error"]


def test_v2_refuses_a_version_that_is_not_live_and_a_body_that_is_no_request():
    response = get(app(), "/v2/models/late/versions/2/infer", {"inputs": []})
    assert response.status == 404
    assert "/v2/models/late/versions/3" in response.json()["fix"]
    assert get(app(), "/v2/models/late/infer", {"inputs": []}).status == 422
    assert get(app(), "/v2/models/late/infer", b"[").status == 422
    assert get(app(), "/v2").json()["name"] == "colonnade"
