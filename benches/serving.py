"""Requests over HTTP: `glowplug.serve.asgi` beside Starlette with json, NumPy and onnxruntime, on the same uvicorn.

    python benches/serving.py

Each server is a process of its own that rests while another is asked. The client keeps connections open and sends the next
request on each as soon as the answer to the last is there. The peers are written as people write them: `run_in_threadpool`
round the whole scoring ("threads", what FastAPI does with a plain `def`), and scoring on the event loop ("loop"). Answers are
compared first. CPU is that of the server process for one request, which depends little on what else the machine does. Ratios
are medians of the rounds' ratios, each of two neighbours in time.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

import numpy as np

import glowplug
import harness
import models

PEER = """
import json, sys
import numpy as np, onnxruntime, uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.routing import Route

path, port, way = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
name, first = session.get_inputs()[0].name, session.get_outputs()[0].name

def score(body):
    question = json.loads(body)
    if "instances" in question:
        return {"predictions": session.run([first], {name: np.array(question["instances"], np.float32)})[0].tolist()}
    (tensor,) = question["inputs"]
    y = session.run([first], {name: np.array(tensor["data"], np.float32).reshape(tensor["shape"])})[0]
    output = {"name": first, "datatype": "FP32", "shape": list(y.shape), "data": y.ravel().tolist()}
    return {"model_name": "m", "outputs": [output]}

async def predict(request):
    body = await request.body()
    return JSONResponse(await run_in_threadpool(score, body) if way == "threads" else score(body))

app = Starlette(routes=[Route("/predict", predict, methods=["POST"]), Route("/v2/models/m/infer", predict, methods=["POST"])])
uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning", access_log=False)
"""
OURS = """
import sys
from glowplug import load
from glowplug.serve import asgi
asgi.run({"m": load(sys.argv[1], threads=1)}, host="127.0.0.1", port=int(sys.argv[2]))
"""


class Server:
    """A server process and what it has used."""

    def __init__(self, code: str, path: str, *more: str) -> None:
        """Start it, and wait until it listens."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen([sys.executable, "-c", code, path, str(self.port), *more])
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            time.sleep(0.02)
        raise TimeoutError(code)

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        # The clock of a process by its number, as `clock_getcpuclockid` makes it; that of /proc ticks a hundred times a second.
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()


def request_of(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def receive(connection: socket.socket) -> bytes:
    """One answer, of which everything has arrived."""
    got = b""
    while b"\r\n\r\n" not in got:
        got += connection.recv(65536)
    head, _, body = got.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert b" 200 " in lines[0] + b" ", got
    length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
    while len(body) < length:
        body += connection.recv(65536)
    return body


def ask(port: int, request: bytes, connections: int, seconds: float) -> list[float]:
    """Times of requests, `connections` at once for so many seconds."""
    times: list[float] = []
    with contextlib.ExitStack() as stack:
        ready = stack.enter_context(selectors.DefaultSelector())
        began: dict[int, float] = {}
        for _ in range(connections):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ready.register(connection, selectors.EVENT_READ)
            began[connection.fileno()] = time.perf_counter()
            connection.sendall(request)
        until = time.perf_counter() + seconds
        waiting = connections
        while waiting:
            for key, _ in ready.select():
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                receive(connection)
                now = time.perf_counter()
                times.append(now - began[key.fd])
                if now < until:
                    began[key.fd] = now
                    connection.sendall(request)
                else:
                    waiting -= 1
    return times


@contextlib.contextmanager
def servers(path: str) -> Iterator[dict[str, Server]]:
    started: dict[str, Server] = {}
    try:
        started["glowplug"] = Server(OURS, path)
        for way in ("threads", "loop"):
            started[way] = Server(PEER, path, way)
        yield started
    finally:
        for server in started.values():
            server.close()


def once(port: int, request: bytes) -> Any:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request)
        return json.loads(receive(connection))


def main() -> None:
    """Measure one-row bodies, plain and of the protocol, on 1 and 8 connections."""
    arguments = harness.options(__doc__)
    rounds, seconds = (3, 0.1) if arguments.quick else (25, 0.2)
    rows = []
    for key, subject in models.chosen(arguments.models or ["mlp", "lightgbm"]).items():
        (name, x), *_ = subject.feeds(1).items()
        tensor = {"name": name, "shape": list(x.shape), "datatype": "FP32", "data": x.ravel().tolist()}
        first = glowplug.load(subject.path).outputs[0].name
        bodies = {
            "JSON": request_of("/predict", json.dumps({"instances": x.tolist()}).encode()),
            "V2": request_of(
                "/v2/models/m/infer",
                json.dumps({"inputs": [tensor], "outputs": [{"name": first}]}).encode(),
            ),
        }
        with servers(str(subject.path)) as running:
            for form, request in bodies.items():
                answers = {way: once(server.port, request) for way, server in running.items()}
                numbers = {way: numbers_of(answer) for way, answer in answers.items()}
                for way in ("threads", "loop"):
                    models.same(numbers["glowplug"], numbers[way], 1e-5)
                for connections in (1, 8):
                    got: dict[str, list[tuple[float, float, float]]] = {way: [] for way in running}
                    for server in running.values():
                        ask(server.port, request, connections, 0.1)
                    for _ in range(rounds):
                        for way, server in running.items():
                            before, began = server.cpu(), time.perf_counter()
                            times = ask(server.port, request, connections, seconds)
                            taken, cpu = time.perf_counter() - began, server.cpu() - before
                            got[way].append((len(times) / taken, float(np.percentile(times, 99)), cpu / len(times)))
                    row: dict[str, Any] = {"model": subject.name, "body": form, "connections": connections}
                    rate, p99, cpu_each = (median(one[at] for one in got["glowplug"]) for at in range(3))
                    row |= {"requests/s": rate, "p99 ms": p99 * 1e3, "CPU µs": cpu_each * 1e6}
                    for way in ("threads", "loop"):
                        pairs = list(zip(got["glowplug"], got[way], strict=True))
                        row[f"requests/s × {way}"] = median(ours[0] / theirs[0] for ours, theirs in pairs)
                        row[f"p99 × {way}"] = median(theirs[1] / ours[1] for ours, theirs in pairs)
                        row[f"CPU × {way}"] = median(theirs[2] / ours[2] for ours, theirs in pairs)
                    row["repeat"] = f"serving.py --models {key}"
                    rows.append(row)
    harness.record("serving", "Requests over HTTP, one row each", __doc__ or "", rows)


def numbers_of(answer: Any) -> np.ndarray[Any, Any]:
    if "predictions" in answer:
        return np.array(answer["predictions"]).ravel()
    return np.array(answer["outputs"][0]["data"])


if __name__ == "__main__":
    main()
