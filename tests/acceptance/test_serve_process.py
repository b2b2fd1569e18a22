"""Endpoints as real processes: answers, swaps, kills, full disks; nothing acknowledged is lost."""

from __future__ import annotations

import http.client
import json
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from colonnade.base.errors import RefusedError, UnavailableError
from colonnade.bundle.load import open_bundle
from colonnade.bundle.manifest import seal
from colonnade.records.model import Feature, Field, Manifest, Signature
from colonnade.serve import control
from colonnade.serve.collect import Row, collect
from colonnade.serve.log import LogSettings, Mode
from colonnade.serve.segment import SpoolKey
from colonnade.serve.supervisor import Options, Supervisor
from colonnade.web.limits import Limits

KEY = "cn_tower"
SPOOL_KEY = SpoolKey(id="k1", secret=bytes(range(32)))
PREDICT = "/v1/endpoints/late/predict"
HEAVY = {"polars", "pyarrow", "deltalake", "scipy", "sklearn", "sqlalchemy", "pydantic", "pandas"}
SIGNER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
TRUSTED = {"test": SIGNER.public_key().public_bytes_raw()}
SIGNATURE = Signature(
    features=(
        Feature(name="hour", kind="number", low=0.0, high=23.0),
        Feature(name="distance", kind="integer", low=100.0, high=3000.0),
        Feature(name="cold", kind="flag"),
        Feature(name="carrier", kind="category", categories=("AA", "B6", "UA")),
    ),
    task="binary",
    key=(Field(name="flight", kind="integer"),),
    time="departs_at",
    classes=("false", "true"),
)


class Signer:
    def sign(self, data: bytes) -> tuple[str, bytes]:
        return "test", SIGNER.sign(data)


@cache
def bundle(version: int) -> dict[str, bytes]:
    """A small model; each version answers otherwise."""
    from lightgbm import LGBMClassifier  # noqa: PLC0415 - slow, and only the first test pays

    from colonnade.bundle.export import to_onnx  # noqa: PLC0415

    random = np.random.default_rng(version)
    x = np.column_stack(
        [
            random.uniform(0, 23, 400),
            random.integers(100, 3000, 400),
            random.integers(0, 2, 400),
            random.integers(0, 3, 400),
        ]
    ).astype(np.float32)
    y = x[:, 0] + random.normal(size=400) * 5 > 12 + version
    model = LGBMClassifier(n_estimators=20, n_jobs=1, verbose=-1).fit(x, y)
    manifest = Manifest(
        name="late_departure",
        version=version,
        run=f"run {version}",
        made_at="2013-04-01T00:00:00Z",
        signature=SIGNATURE,
        files={},
    )
    return seal(manifest, {"model.onnx": to_onnx(model, SIGNATURE)}, Signer())


def row(number: int) -> dict[str, object]:
    return {
        "hour": number % 24 + 0.25,
        "distance": 100 + number * 7 % 2900,
        "cold": number % 2 == 0,
        "carrier": ("AA", "B6", "UA", None)[number % 4],
        "flight": number,
        "departs_at": "2013-06-01T05:00:00Z",
    }


def body(*numbers: int) -> bytes:
    return json.dumps({"rows": [row(number) for number in numbers]}).encode()


def expected(version: int, numbers: range) -> list[float]:
    predictor = open_bundle(bundle(version), TRUSTED)
    return predictor.predict_rows(predictor.decode(body(*numbers))).tolist()


def access(*keys: str) -> control.Access:
    actors = {sha256(key.encode()).hexdigest(): key for key in keys or (KEY,)}
    return control.Access("late", actors, time.time(), 3600.0)


def load(version: int, **change) -> control.Load:
    files = {**bundle(version), **change}
    return control.Load("late", f"r{version}", files, TRUSTED, access())


@contextmanager
def serving(folder: Path, mode: Mode = "commit", **options):
    log = LogSettings(mode=mode, age_s=0.2)
    supervisor = Supervisor(Options(spool=folder, key=SPOOL_KEY, port=0, log=log, **options))
    try:
        supervisor.start()
        supervisor.deploy(load(1))
        yield supervisor
    finally:
        supervisor.drain()


def until(condition, supervisor: Supervisor | None = None, within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        if supervisor is not None:
            supervisor.poll()
        time.sleep(0.01)


def connect(supervisor: Supervisor) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", supervisor.port, timeout=30)


def ask(supervisor: Supervisor, path: str, data: bytes | None = None, key: str = KEY, **options):
    connection = connect(supervisor)
    method = options.pop("method", "GET" if data is None else "POST")
    connection.request(method, path, data, {"authorization": f"Bearer {key}", **options})
    response = connection.getresponse()
    text = response.read()
    connection.close()
    kind = response.headers["content-type"]
    return response.status, text.decode() if kind.startswith("text/") else json.loads(text)


def recorded(folder: Path) -> dict[str, Row]:
    """Every row of the spool by its id; an id that is there twice fails."""
    segments = collect(folder / "late", {SPOOL_KEY.id: SPOOL_KEY.secret})
    rows = [row for segment in segments for row in segment.rows]
    found = {row.prediction_id: row for row in rows}
    assert len(found) == len(rows)
    return found


class Caller(threading.Thread):
    """Asks on one connection until told to stop or until the server goes away."""

    def __init__(self, supervisor: Supervisor, first: int) -> None:
        super().__init__()
        self._connection = connect(supervisor)
        self._number = first
        self.go_on = True
        self.answers: dict[str, tuple[int, float, str]] = {}
        self.refused: list[int] = []
        self.broken: Exception | None = None

    def run(self) -> None:
        try:
            while self.go_on:
                self._ask(self._number)
                self._number += 1
        except (OSError, http.client.HTTPException) as error:
            self.broken = error
        finally:
            self._connection.close()

    def _ask(self, number: int) -> None:
        self._connection.request("POST", PREDICT, body(number), {"x-api-key": KEY})
        response = self._connection.getresponse()
        answer = json.loads(response.read())
        if response.status != 200:
            self.refused.append(response.status)
            return
        (prediction,) = answer["predictions"]
        said = (number, prediction["score"], answer["model_version"])
        self.answers[prediction["id"]] = said


@contextmanager
def load_of(supervisor: Supervisor, callers: int = 4):
    """Callers at work; each has been answered before the block begins."""
    threads = [Caller(supervisor, n * 100_000) for n in range(callers)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: all(len(thread.answers) >= 50 for thread in threads))
        yield threads
    finally:
        for thread in threads:
            thread.go_on = False
        for thread in threads:
            thread.join(30)


def assert_recorded(folder: Path, threads: list[Caller]) -> None:
    """Every answered id is in the spool once, with the values that were answered."""
    rows = recorded(folder)
    for thread in threads:
        for identifier, (number, score, version) in thread.answers.items():
            found = rows[identifier]
            assert (found.key, found.score) == (str(number), score)
            assert f"{found.model}@{found.version}" == version
            assert found.features["distance"] == row(number)["distance"]


def test_answers_over_http_are_those_of_the_predictor(tmp_path):
    with serving(tmp_path) as supervisor:
        status, answer = ask(supervisor, PREDICT, body(*range(200)))
        assert status == 200
        assert [p["score"] for p in answer["predictions"]] == expected(1, range(200))
        (status, answer) = ask(supervisor, "/v2/models/late")
        assert (status, [i["name"] for i in answer["inputs"]]) == (
            200,
            ["hour", "distance", "cold", "carrier"],
        )
        inputs = [
            {"name": name, "shape": [3], "datatype": kind, "data": [row(n)[name] for n in range(3)]}
            for name, kind in [
                ("hour", "FP64"),
                ("distance", "INT64"),
                ("cold", "BOOL"),
                ("carrier", "BYTES"),
            ]
        ]
        data = json.dumps({"inputs": inputs}).encode()
        status, answer = ask(supervisor, "/v2/models/late/infer", data)
        assert answer["outputs"][0]["data"] == expected(1, range(3))


def test_every_refusal_is_a_problem_with_its_fix(tmp_path):
    limits = Limits(body_bytes=2000)
    with serving(tmp_path, limits=limits) as supervisor:
        wrong = body(1).replace(b"0.25", b'"x"').replace(b"1.25", b'"x"')
        for status, code, found in [
            (401, "CN-HTTP-001", ask(supervisor, PREDICT, body(1), key="guess")),
            (404, "CN-SERVE-010", ask(supervisor, "/v1/endpoints/lates/predict", body(1))),
            (405, "CN-HTTP-002", ask(supervisor, PREDICT)),
            (413, "CN-HTTP-005", ask(supervisor, PREDICT, body(*range(100)))),
            (415, "CN-HTTP-003", ask(supervisor, PREDICT, body(1), **{"content-type": "text/csv"})),
            (422, "CN-REQUEST-002", ask(supervisor, PREDICT, wrong)),
        ]:
            problem = found[1]
            assert (found[0], problem["code"], problem["status"]) == (status, code, status)
            assert problem["fix"]
        assert problem["errors"][0]["field"] == "hour"


def test_a_body_without_a_length_is_411(tmp_path):
    with serving(tmp_path) as supervisor:
        raw = socket.create_connection(("127.0.0.1", supervisor.port))
        raw.sendall(f"POST {PREDICT} HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\n\r\n".encode())
        assert raw.recv(100).startswith(b"HTTP/1.1 411 ")
        raw.close()


def test_a_swap_under_load_fails_no_request_and_each_answer_is_of_the_version_it_names(tmp_path):
    with serving(tmp_path, workers=2) as supervisor:
        with load_of(supervisor) as threads:
            for version in (2, 1, 2, 1, 2):
                done = [len(thread.answers) for thread in threads]
                supervisor.deploy(load(version))
                until(lambda: all(len(t.answers) > n + 5 for t, n in zip(threads, done)))  # noqa: B023, B905
        assert [(thread.refused, thread.broken) for thread in threads] == [([], None)] * 4
        supervisor.drain()
    assert_recorded(tmp_path, threads)
    scores = {v: open_bundle(bundle(v), TRUSTED) for v in (1, 2)}
    seen = set()
    for number, score, name in threads[0].answers.values():
        predictor = scores[int(name[-1])]
        seen.add(name)
        assert predictor.predict_rows(predictor.decode(body(number))).tolist() == [score]
    assert seen == {"late_departure@1", "late_departure@2"}


@pytest.mark.parametrize("mode", ["commit", "buffered"])
def test_sigterm_under_load_answers_what_is_in_flight_and_records_all_of_it(tmp_path, mode):
    with serving(tmp_path, mode) as supervisor:
        with load_of(supervisor) as threads:
            (pid,) = supervisor.pids
            os.kill(pid, signal.SIGTERM)
            until(lambda: not supervisor.pids)
            (death,) = supervisor.poll()
        assert (death.pid, death.exit_code) == (pid, 0)
        assert all(thread.refused == [] for thread in threads)
    assert_recorded(tmp_path, threads)


def test_kill_9_under_load_loses_and_doubles_nothing_that_was_answered(tmp_path):
    with serving(tmp_path) as supervisor:
        with load_of(supervisor) as threads:
            for _ in range(2):
                (pid,) = supervisor.pids
                os.kill(pid, signal.SIGKILL)
                until(lambda: supervisor.pids not in ([], [pid]), supervisor)  # noqa: B023
                until(lambda: is_ready(supervisor), supervisor)
        with load_of(supervisor) as more:
            pass
    assert sum(len(thread.answers) for thread in threads) >= 200
    assert_recorded(tmp_path, threads + more)


def is_ready(supervisor: Supervisor) -> bool:
    try:
        return ask(supervisor, "/v2/health/ready")[0] == 200
    except OSError:
        return False


def test_a_tampered_bundle_is_refused_and_the_old_one_stays_live(tmp_path):
    with serving(tmp_path, workers=2) as supervisor:
        broken = bytearray(bundle(2)["model.onnx"])
        broken[100] ^= 1
        with load_of(supervisor) as threads, pytest.raises(RefusedError) as caught:
            supervisor.deploy(load(2, **{"model.onnx": bytes(broken)}))
        assert caught.value.code == "CN-BUNDLE-008"
        assert all(thread.refused == [] and thread.broken is None for thread in threads)
        assert ask(supervisor, PREDICT, body(1))[1]["model_version"] == "late_departure@1"
        supervisor.deploy(load(2))
        assert ask(supervisor, PREDICT, body(1))[1]["model_version"] == "late_departure@2"


def test_a_worker_that_is_killed_is_replaced_by_one_that_answers_alike(tmp_path):
    with serving(tmp_path) as supervisor:
        (pid,) = supervisor.pids
        os.kill(pid, signal.SIGKILL)
        until(lambda: not supervisor.pids)
        (death,) = supervisor.poll()
        assert (death.pid, death.exit_code, death.next_in_s) == (pid, -signal.SIGKILL, 0.0)
        status, answer = ask(supervisor, PREDICT, body(1, 2, 3))
        assert status == 200
        assert [p["score"] for p in answer["predictions"]] == expected(1, range(1, 4))


def test_a_worker_that_dies_again_and_again_is_waited_for_longer_each_time(tmp_path):
    with serving(tmp_path) as supervisor:
        waits = []
        for _ in range(3):
            until(lambda: supervisor.pids, supervisor)
            os.kill(supervisor.pids[0], signal.SIGKILL)
            until(lambda: not supervisor.pids)
            waits += [death.next_in_s for death in supervisor.poll()]
        assert waits[0] == 0.0
        assert waits[0] < waits[1] < waits[2]


def test_a_disk_that_is_full_answers_503_until_it_is_not_and_keeps_what_it_acknowledged(tmp_path):
    with serving(tmp_path) as supervisor:
        with load_of(supervisor) as threads:
            (pid,) = supervisor.pids
            limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, limits[1]))
            until(lambda: all(503 in thread.refused for thread in threads))
            status, problem = ask(supervisor, "/v2/health/ready")
            assert (status, problem["code"]) == (503, "CN-LOG-001")
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
            until(lambda: is_ready(supervisor))
            done = [len(thread.answers) for thread in threads]
            until(lambda: all(len(t.answers) > n for t, n in zip(threads, done)))  # noqa: B905
        assert all(set(thread.refused) == {503} for thread in threads)
    assert_recorded(tmp_path, threads)


def test_a_worker_whose_supervisor_is_gone_drains_and_ends(tmp_path):
    with serving(tmp_path) as supervisor:
        ask(supervisor, PREDICT, body(1, 2))
        process = supervisor._places[0].process
        process.close()
        until(lambda: process.ended() is not None)
        assert process.ended() == 0
        supervisor._places[0].process = None
    assert len(recorded(tmp_path)) == 2


def test_access_is_replaced_in_all_workers_and_in_those_that_come_later(tmp_path):
    with serving(tmp_path, workers=2) as supervisor:
        supervisor.allow(access("cn_new"))
        until(lambda: {ask(supervisor, PREDICT, body(1))[0] for _ in range(8)} == {401})
        for pid in supervisor.pids:
            os.kill(pid, signal.SIGKILL)
        until(lambda: not supervisor.pids)
        supervisor.poll()
        assert ask(supervisor, PREDICT, body(1), key="cn_new")[0] == 200
        assert ask(supervisor, PREDICT, body(1))[0] == 401


def test_any_worker_answers_a_scrape_for_all(tmp_path):
    with serving(tmp_path, workers=2) as supervisor:
        with load_of(supervisor, callers=6) as threads:
            pass
        answers = sum(len(thread.answers) for thread in threads)
        line = f'colonnade_predictions_total{{endpoint="late",version="1"}} {answers:.1f}'
        for _ in range(8):
            assert line in ask(supervisor, "/metrics")[1]


def test_a_port_that_is_taken_and_a_public_address_are_refused_with_a_fix(tmp_path):
    options = {"spool": tmp_path, "key": SPOOL_KEY}
    taken = socket.create_server(("127.0.0.1", 0))
    with pytest.raises(UnavailableError, match="CN-SERVE-001"):
        Supervisor(Options(port=taken.getsockname()[1], **options))
    taken.close()
    with pytest.raises(RefusedError, match="CN-SERVE-002"):
        Supervisor(Options(host="0.0.0.0", port=0, **options))


def test_with_a_certificate_answers_come_over_tls(tmp_path):
    certificate, key = self_signed(tmp_path)
    with serving(tmp_path, tls=(certificate, key)) as supervisor:
        trusted = ssl.create_default_context(cafile=str(certificate))
        port = urlsplit(supervisor.url).port
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=trusted, timeout=30)
        connection.request("POST", PREDICT, body(1), {"x-api-key": KEY})
        assert connection.getresponse().status == 200
        connection.close()


def self_signed(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    paths = folder / "tls.crt", folder / "tls.key"
    paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    paths[1].write_bytes(pem)
    return paths


def test_an_endpoint_process_loads_none_of_the_heavy_engines(tmp_path):
    (tmp_path / "model").mkdir()
    for name, data in bundle(1).items():
        (tmp_path / "model" / name).write_bytes(data)
    script = """
import sys, pathlib
import colonnade.serve.endpoint as endpoint
from colonnade.serve import control
files = {path.name: path.read_bytes() for path in pathlib.Path(sys.argv[1]).iterdir()}
access = control.Access("late", {}, 0.0, 0.0)
endpoint._open(control.Load("late", "r1", files, {"test": bytes.fromhex(sys.argv[2])}, access))
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
    command = [sys.executable, "-c", script, tmp_path / "model", TRUSTED["test"].hex()]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    modules = set(done.stdout.split())
    assert "onnxruntime" in modules
    assert not modules & (HEAVY | {"starlette", "fastapi", "lightgbm", "onnx"})


def test_a_worker_that_answers_has_no_heavy_library_in_its_memory(tmp_path):
    with serving(tmp_path) as supervisor:
        assert ask(supervisor, PREDICT, body(1))[0] == 200
        maps = Path(f"/proc/{supervisor.pids[0]}/maps").read_text()
        assert "onnxruntime" in maps
        assert not [name for name in HEAVY if f"/{name}/" in maps]
