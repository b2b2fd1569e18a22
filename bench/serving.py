"""How much of a bare server's rate the endpoint keeps with everything on.

    python bench/serving.py [--seconds 3] [--rounds 3] [--words 2]

One worker of the endpoint (API key, checks, metrics; log off, buffered, commit) against a
hello-world application on the same server with the same settings: same machine, same run,
interleaved, medians of the rounds. Load comes from ``wrk`` (Debian package of that name) with one
row a request. While each load runs, sampled answers are compared with the predictor in this
process; after it, every answer must be in the spool. A wrong or missing one ends the run.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import psutil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from lightgbm import LGBMClassifier

from colonnade.bundle.export import to_onnx
from colonnade.bundle.load import open_bundle
from colonnade.bundle.manifest import seal
from colonnade.bundle.predict import Predictor
from colonnade.records.model import Feature, Manifest, Signature
from colonnade.serve import control
from colonnade.serve.collect import collect
from colonnade.serve.log import LogSettings, Mode
from colonnade.serve.segment import SpoolKey
from colonnade.serve.supervisor import Options, Supervisor

FEATURES = 20
TREES = 150
KEY = "bench"
SPOOL_KEY = SpoolKey(id="bench", secret=bytes(range(32)))
MODES: tuple[Mode, ...] = ("off", "buffered", "commit")
PATH = "/v1/endpoints/bench/predict"
HELLO = """
import asyncio, socket, sys, uvicorn, uvloop
BODY = b'{"hello":"world"}'
async def app(scope, receive, send):
    await receive()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})
config = uvicorn.Config(app, interface="asgi3", http="httptools", ws="none", lifespan="off",
                        log_config=None, access_log=False, proxy_headers=False,
                        server_header=False, timeout_keep_alive=75)
uvloop.run(uvicorn.Server(config).serve(sockets=[socket.socket(fileno=int(sys.argv[1]))]))
"""


class Signer:
    """A key of this run alone."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.trusted = {"bench": self._key.public_key().public_bytes_raw()}

    def sign(self, data: bytes) -> tuple[str, bytes]:
        """Sign the manifest."""
        return "bench", self._key.sign(data)


@dataclass(frozen=True, slots=True)
class Load:
    """What one load of one server showed."""

    rate: float
    p99_ms: float
    cpu_us: float
    checked: int


@dataclass(frozen=True, slots=True)
class Target:
    """A server under load."""

    name: str
    port: int
    pid: int
    spool: Path | None


def model(words: int) -> tuple[dict[str, bytes], dict[str, bytes], list[dict[str, object]]]:
    """A sealed bundle, who is trusted, and rows to ask for."""
    random = np.random.default_rng(7)
    numbers = FEATURES - words
    features = [Feature(name=f"x{i}", kind="number", low=-3.0, high=3.0) for i in range(numbers)]
    levels = tuple(f"level {i}" for i in range(12))
    features += [Feature(name=f"w{i}", kind="category", categories=levels) for i in range(words)]
    x = random.normal(size=(20_000, FEATURES)).astype(np.float32)
    x[:, numbers:] = random.integers(0, len(levels), size=(len(x), words))
    y = x[:, 0] - x[:, 1] + random.normal(size=len(x)) > 0
    estimator = LGBMClassifier(n_estimators=TREES, n_jobs=1, verbose=-1).fit(x, y)
    signature = Signature(features=tuple(features), task="binary", classes=("no", "yes"))
    signer = Signer()
    manifest = Manifest(name="bench", version=1, run="", made_at="", signature=signature, files={})
    files = seal(manifest, {"model.onnx": to_onnx(estimator, signature)}, signer)
    rows = [
        {f"x{i}": round(float(v), 4) for i, v in enumerate(row[:numbers])}
        | {f"w{i}": levels[int(v)] for i, v in enumerate(row[numbers:])}
        for row in x[:200]
    ]
    return files, signer.trusted, rows


def serve(
    mode: Mode, folder: Path, files: dict[str, bytes], trusted: dict[str, bytes]
) -> Supervisor:
    """Start the endpoint with one worker."""
    log = LogSettings(mode=mode)
    supervisor = Supervisor(Options(spool=folder, key=SPOOL_KEY, port=0, log=log))
    supervisor.start()
    actors = {sha256(KEY.encode()).hexdigest(): "bench"}
    access = control.Access("bench", actors, time.time(), 3600.0)
    supervisor.deploy(control.Load("bench", "r1", files, trusted, access))
    return supervisor


def hello() -> tuple[subprocess.Popen[bytes], int]:
    """Start the bare server."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    process = subprocess.Popen(
        [sys.executable, "-c", HELLO, str(listener.fileno())], pass_fds=(listener.fileno(),)
    )
    return process, listener.getsockname()[1]


class Checker(threading.Thread):
    """Asks for sampled rows beside the load and compares every answer."""

    def __init__(self, port: int, predictor: Predictor, rows: list[dict[str, object]]) -> None:
        super().__init__()
        self._port, self._predictor, self._rows = port, predictor, rows
        self._done = threading.Event()
        self.ids: list[str] = []
        self.wrong: list[str] = []

    def run(self) -> None:
        """Ask until told to stop."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        number = 0
        while not self._done.wait(0.05):
            body = json.dumps({"rows": [self._rows[number % len(self._rows)]]}).encode()
            number += 1
            connection.request("POST", PATH, body, {"x-api-key": KEY})
            response = connection.getresponse()
            text = response.read()
            if response.status != 200:
                self.wrong.append(text.decode())
                continue
            answer = json.loads(text)["predictions"][0]
            expected = float(self._predictor.predict_rows(self._predictor.decode(body))[0])
            self.ids.append(answer["id"])
            if answer["score"] != expected:
                self.wrong.append(f"{answer['score']} is not {expected}")
        connection.close()

    def finish(self) -> None:
        """Stop, and end the run if anything was wrong."""
        self._done.set()
        self.join()
        if self.wrong:
            sys.exit(f"wrong answers: {self.wrong[:3]}")


def wrk(target: Target, connections: int, seconds: int, script: Path) -> tuple[int, float, float]:
    """Load a server; returns answers, answers a second and the 99th percentile in ms."""
    output = subprocess.run(
        [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--latency",
            "-s",
            script,
            f"http://127.0.0.1:{target.port}{PATH}",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        sys.exit(f"{target.name}: {output}")
    value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", output).groups()
    scale = {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]
    answers = int(re.search(r"(\d+) requests in", output).group(1))
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", output).group(1))
    return answers, rate, float(value) * scale


def spooled(folder: Path) -> list[str]:
    """The prediction ids that a spool's closed segments hold."""
    segments = collect(folder / "bench", {SPOOL_KEY.id: SPOOL_KEY.secret})
    return [row.prediction_id for segment in segments for row in segment.rows]


def measure(
    target: Target, connections: int, seconds: int, script: Path, checker: Checker | None
) -> tuple[Load, int]:
    """One load, with the worker's CPU time and the checks of its answers."""
    process = psutil.Process(target.pid)
    before = sum(process.cpu_times()[:2])
    if checker is not None:
        checker.start()
    answers, rate, p99_ms = wrk(target, connections, seconds, script)
    cpu_us = (sum(process.cpu_times()[:2]) - before) / answers * 1e6
    if checker is not None:
        checker.finish()
        answers += len(checker.ids)
    return Load(rate, p99_ms, cpu_us, len(checker.ids) if checker else 0), answers


def main() -> None:
    """Measure, check, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--words", type=int, default=0, help="how many features are categories")
    chosen = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not on PATH: install the package of that name")
    with tempfile.TemporaryDirectory() as name:
        run(chosen, Path(name))


def run(chosen: argparse.Namespace, folder: Path) -> None:
    """All servers at once, loaded in turns."""
    files, trusted, rows = model(chosen.words)
    predictor = open_bundle(files, trusted)
    script = folder / "post.lua"
    script.write_text(
        f"wrk.method = 'POST'\nwrk.headers['authorization'] = 'Bearer {KEY}'\n"
        "wrk.headers['content-type'] = 'application/json'\n"
        f"wrk.body = [[{json.dumps({'rows': rows[:1]})}]]\n"
    )
    bare, port = hello()
    supervisors = {mode: serve(mode, folder / mode, files, trusted) for mode in MODES}
    targets = [Target("hello world", port, bare.pid, None)]
    targets += [
        Target(f"endpoint, log {mode}", s.port, s.pids[0], None if mode == "off" else folder / mode)
        for mode, s in supervisors.items()
    ]
    loads: dict[tuple[str, int], list[Load]] = {}
    answered = dict.fromkeys((target.name for target in targets), 0)
    for _ in range(chosen.rounds):
        for connections in chosen.connections:
            for target in targets:
                checker = Checker(target.port, predictor, rows) if target.pid != bare.pid else None
                load, answers = measure(target, connections, chosen.seconds, script, checker)
                loads.setdefault((target.name, connections), []).append(load)
                answered[target.name] += answers
    bare.kill()
    for supervisor in supervisors.values():
        supervisor.drain()
    check(targets, answered)
    show(targets, chosen.connections, loads)


def check(targets: list[Target], answered: dict[str, int]) -> None:
    """Every answer is recorded, and none twice."""
    for target in targets:
        if target.spool is not None:
            ids = spooled(target.spool)
            if len(set(ids)) != len(ids) or len(ids) < answered[target.name]:
                sys.exit(f"{target.name}: {answered[target.name]} answers, {len(ids)} recorded")
            print(f"{target.name}: {answered[target.name]} answers, all of them in the spool once")


def show(
    targets: list[Target], counts: list[int], loads: dict[tuple[str, int], list[Load]]
) -> None:
    """The table: medians of the rounds."""
    print(
        f"{'':24}{'conns':>6}{'req/s':>9}{'of hello':>10}{'p99 ms':>8}{'CPU us':>8}{'checked':>9}"
    )
    for connections in counts:
        base = statistics.median(load.rate for load in loads[targets[0].name, connections])
        for target in targets:
            found = loads[target.name, connections]
            rate, p99, cpu = (
                statistics.median(getattr(load, field) for load in found)
                for field in ("rate", "p99_ms", "cpu_us")
            )
            checked = sum(load.checked for load in found)
            print(
                f"{target.name:24}{connections:6}{rate:9.0f}{rate / base:9.0%} "
                f"{p99:8.2f}{cpu:8.0f}{checked:9}"
            )


if __name__ == "__main__":
    main()
