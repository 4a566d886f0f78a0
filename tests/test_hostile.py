"""Hostile bodies in a process of their own: a 4xx with a reason for each, an answer for the next, and memory is bounded."""

from __future__ import annotations

import base64
import gzip
import io
import json
import socket
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

import models
from lambda_events import http_api
from serving import RuntimeApi, Server
from test_runtime_api import PEAK, client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("awslambdaric")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux for the peak of memory")

MEGABYTE = 2**20
#: Of both servers.
LIMITS = "Limits(body=8 * 2**20, decompressed=32 * 2**20, rows=10_000)"
#: Beyond what a good request takes: the body that may come, what it may become, and a copy. Where a function of the user's gets
#: the body as Python's objects, these may take four times as much again.
MOST, MOST_WITH_HOOKS = 128 * MEGABYTE, (128 + 4 * 32) * MEGABYTE
GOOD = b"[[1, 2]]"


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def packed(*pieces: tuple[bytes, int]) -> bytes:
    """Each piece so many times, as gzip, without ever having it whole."""
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1, mtime=0) as file:
        for piece, count in pieces:
            for start in range(0, count, 1 << 16):
                file.write(piece * min(count - start, 1 << 16))
    return stream.getvalue()


GZIP, CSV, NPY = {"content_encoding": "gzip"}, {"content_type": "text/csv"}, {"content_type": "application/x-npy"}
MILLION = 1_000_000
HOSTILE: dict[str, tuple[bytes, dict[str, str], int]] = {
    "gzip bomb": (packed((bytes(1024), MILLION)), GZIP, 413),
    "gzip bomb in gzip": (gzip.compress(packed((bytes(1024), MILLION))), {"content_encoding": "gzip, gzip"}, 413),
    "gzip of almost too much": (packed((b" ", 31 * MEGABYTE), (b"x", 1)), GZIP, 400),
    "million rows": (b"[" + b"[1,1]," * MILLION + b"[1,1]]", {}, 413),
    "million instances": (b'{"instances":[' + b"[1,1]," * MILLION + b"[1,1]]}", {}, 413),
    "million rows of CSV": (b"1,1\n" * MILLION, CSV, 413),
    "millions of rows of CSV in gzip": (packed((b"1,1\n", 7 * MILLION)), CSV | GZIP, 413),
    "million rows of .npy": (npy(np.zeros((MILLION, 2), np.float32)), NPY, 413),
    "millions of rows in gzip": (packed((b"[", 1), (b"[1,1],", 5 * MILLION), (b"[1,1]]", 1)), GZIP, 413),
    "one wide row": (b"[[" + b"1," * (3 * MILLION) + b"1]]", {}, 400),
    "one wide row of CSV": (packed((b"11,", 10 * MILLION)), CSV | GZIP, 400),
    "one row of CSV with an open quote": (packed((b'1,"', 1), (b'","\n', 7 * MILLION)), CSV | GZIP, 400),
    "one line of text beyond the first plane": (
        packed((b"1,", 5 * MILLION), ("🙂".encode(), 5 * MILLION)),
        CSV | GZIP,
        400,
    ),
    "empty lists": (packed((b"[", 1), (b"[],", 10 * MILLION), (b"[]]", 1)), GZIP, 0),
    "empty objects": (packed((b"[", 1), (b"{},", 10 * MILLION), (b"{}]", 1)), GZIP, 0),
    "deep nesting": (b"[" * (7 * MILLION), {}, 400),
    "deep objects": (b'{"a":' * MILLION, {}, 400),
    "long text": (b'[["' + b"x" * (7 * MILLION) + b'", 1]]', {}, 400),
    "long number": (b"[[" + b"1" * (7 * MILLION) + b", 1]]", {}, 400),
    "not UTF-8": (b"\xff" * (7 * MILLION), {}, 400),
    "wrong type": (bytes(7 * MILLION), {"content_type": "image/png"}, 415),
    "too long": (bytes(9 * MILLION), {}, 413),
}


def check(status: int, body: bytes, expected: int) -> None:
    """An error of the sender's with a reason; which one, functions of the user's that see the body may change."""
    problem = json.loads(body)
    assert status in ({expected} if expected else {400, 413}), problem
    assert problem["detail"]


# --- A function of AWS Lambda -----------------------------------------------------------------------------------------

FUNCTION = f"""
from glowplug.serve.aws_lambda import handler as make
from glowplug.serve.http import Limits

limits = {LIMITS}
plain = make("model.onnx", limits=limits)
hooked = make("model.onnx", limits=limits, before=lambda rows: rows)

def handler(event, context):
    if event == "peak":
        return peak()
    return (hooked if event["rawPath"] == "/hooked" else plain)(event, context)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "model.onnx").write_bytes(models.identity(shape=("N", 2)))
    return folder


@pytest.fixture(scope="module")
def function(folder: Path) -> Iterator[RuntimeApi]:
    with RuntimeApi() as api, client(folder, api, PEAK + FUNCTION, AWS_LAMBDA_FUNCTION_MEMORY_SIZE="512"):
        api.wait_until_ready(20)
        for path in ("/plain", "/hooked"):
            for body, headers in ((GOOD, {}), (b"1,2\n", CSV), (npy(np.ones((1, 2), np.float32)), NPY)):
                assert api.invoke(http_api(body, path=path, **headers)).json()["statusCode"] == 200
        yield api


@pytest.mark.parametrize("path", ["/plain", "/hooked"])
def test_function_of_lambda(function: RuntimeApi, path: str) -> None:
    before = function.invoke("peak").json()
    bodies = dict(HOSTILE)
    for name, (body, headers, status) in bodies.items():
        if len(body) * 4 // 3 > 6 * MEGABYTE:
            # Lambda takes no such payload, but as text; which is for the test of the other server.
            continue
        answer = function.invoke(http_api(body, path=path, **headers), timeout=60).json()
        hooked = path == "/hooked" and status == 400
        check(answer["statusCode"], answer["body"].encode(), 0 if hooked and answer["statusCode"] == 413 else status)
        good = function.invoke(http_api(GOOD, path=path), timeout=20).json()
        assert (good["statusCode"], json.loads(good["body"])) == (200, [[1, 2]]), name
    declared = function.invoke(http_api(GOOD, path=path, content_length=str(10**9))).json()
    check(declared["statusCode"], declared["body"].encode(), 413)
    cut = base64.b64encode(bytes(4 * MEGABYTE))[:-3].decode()
    truncated = function.invoke({**http_api(GOOD, path=path), "body": cut, "isBase64Encoded": True}).json()
    check(truncated["statusCode"], truncated["body"].encode(), 400)
    assert function.invoke(http_api(GOOD, path=path)).json()["statusCode"] == 200
    assert function.invoke("peak").json() - before < (MOST_WITH_HOOKS if path == "/hooked" else MOST)


# --- A server ---------------------------------------------------------------------------------------------------------

SERVER = f"""
from glowplug.serve import asgi
from glowplug.serve.http import Limits

if __name__ == "__main__":
    import sys
    hooks = {{"before": lambda rows: rows}} if sys.argv[1] == "hooked" else {{}}
    asgi.run("model.onnx", host="127.0.0.1", limits={LIMITS}, **hooks)
"""


@pytest.mark.parametrize("kind", ["plain", "hooked"])
def test_server(folder: Path, kind: str) -> None:
    (folder / "main.py").write_text(SERVER)
    with Server("main.py", kind, folder=folder) as server:
        for body, headers in ((GOOD, {}), (b"1,2\n", CSV), (npy(np.ones((1, 2), np.float32)), NPY)):
            assert server.ask("POST", "/predict", body, **headers)[0] == 200
        before = server.peak()
        for name, (body, headers, expected) in HOSTILE.items():
            status, _, answer = server.ask("POST", "/predict", body, **headers)
            hooked = kind == "hooked" and expected == 400
            check(status, answer, 0 if hooked and status == 413 else expected)
            status, _, answer = server.ask("POST", "/predict", GOOD)
            assert (status, json.loads(answer)) == (200, [[1, 2]]), name
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000000\r\n\r\n[[1,")
            assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")
        assert server.ask("POST", "/predict", GOOD)[0] == 200
        assert server.peak() - before < (MOST_WITH_HOOKS if kind == "hooked" else MOST)
        assert "Traceback" not in server.log.read_text("utf-8")
