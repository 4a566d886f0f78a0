"""`glowplug.serve.asgi` under uvicorn in a process of its own, asked by Triton's client and by hostile ones."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import re
import signal
import socket
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tritonclient.http as triton
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from tritonclient.utils import InferenceServerException

import glowplug
import models
from glowplug.serve import asgi
from glowplug.serve.http import Limits, Request
from glowplug.serve.service import Service
from glowplug.telemetry.prometheus import Prometheus
from serving import Server, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

DATATYPES = {
    "float16": "FP16", "float32": "FP32", "float64": "FP64", "int8": "INT8", "int16": "INT16", "int32": "INT32",
    "int64": "INT64", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "bool": "BOOL",
}  # fmt: skip
HOSTED = {
    # Sessions are shared by content, and other tests count the calls of theirs.
    "mlp": models.mlp(hidden=24),
    "columns": models.multi_dtype(),
    "two": models.two_outputs(),
    "classes": models.zipmap_classifier(models.STRING_LABELS),
    "parts": models.sequence_output(),
    "grösse": models.unicode_names(),
    "loop": models.counting_loop(),
    **{dtype: models.identity(dtype) for dtype in DATATYPES},
}
SERVE = """
import sys
from pathlib import Path
from glowplug.serve import asgi
from glowplug.serve.http import Limits, Request
from glowplug.serve.service import Service
models = {path.stem: path for path in Path("models").iterdir()}
models["versions"] = {"2": models["mlp"], "10": models["two"]}
if __name__ == "__main__":
    asgi.run(models, host="127.0.0.1", timeout=3, limits=Limits(body=2**20, decompressed=2**22, rows=5000))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("asgi")
    (folder / "models").mkdir()
    for name, content in HOSTED.items():
        (folder / "models" / f"{name}.onnx").write_bytes(content)
    (folder / "main.py").write_text(SERVE)
    with Server("main.py", folder=folder) as running:
        yield running
        assert running.process.poll() is None, running.log.read_text("utf-8")


@pytest.fixture
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
    yield client
    client.close()


def sent(name: str, array: np.ndarray, *, binary: bool, datatype: str | None = None) -> triton.InferInput:
    made = triton.InferInput(name, array.shape, datatype or DATATYPES.get(array.dtype.name, "BYTES"))
    made.set_data_from_numpy(array, binary_data=binary)
    return made


ROWS = np.random.default_rng(0).normal(size=(5, 30)).astype(np.float32)

# --- Triton's client --------------------------------------------------------------------------------------------------


def test_health_and_metadata(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("mlp")
    assert client.is_model_ready("mlp", "1")
    assert not client.is_model_ready("mlp", "2")
    assert not client.is_model_ready("nobody")
    about = client.get_server_metadata()
    assert about["name"] == "glowplug"
    assert "binary_tensor_data" in about["extensions"]
    assert client.get_model_metadata("mlp") == {
        "name": "mlp",
        "versions": ["1"],
        "platform": f"glowplug_{glowplug.load(HOSTED['mlp']).explain()['engine']}",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 30]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}],
    }
    columns = client.get_model_metadata("columns")
    assert [tensor["datatype"] for tensor in columns["inputs"]] == ["FP64", "INT32", "BOOL", "BYTES"]
    labels, scores = client.get_model_metadata("classes")["outputs"]
    assert (labels["datatype"], scores) == ("BYTES", {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]})
    index = client.get_model_repository_index()
    assert {entry["name"] for entry in index} == {*HOSTED, "versions"}
    assert {entry["state"] for entry in index} == {"READY"}


def test_versions(client: triton.InferenceServerClient) -> None:
    assert client.get_model_metadata("versions")["versions"] == ["10", "2"], "numbers, not text"
    assert client.get_model_metadata("versions", "2")["inputs"][0]["shape"] == [-1, 30]
    answer = client.infer("versions", [sent("x", ROWS, binary=True)], model_version="2").get_response()
    assert (answer["model_name"], answer["model_version"]) == ("versions", "2")
    assert client.infer("versions", [sent("x", ROWS[:, :2], binary=True)]).get_response()["model_version"] == "10"
    with pytest.raises(InferenceServerException, match=r"\[404\] got version '3'"):
        client.infer("versions", [sent("x", ROWS, binary=True)], model_version="3")


@pytest.mark.parametrize("binary_in", [True, False], ids=["binary", "text"])
@pytest.mark.parametrize("binary_out", [True, False, None], ids=["to_binary", "to_text", "to_all"])
@pytest.mark.parametrize("dtype", DATATYPES)
def test_every_dtype_comes_back(
    client: triton.InferenceServerClient, dtype: str, *, binary_in: bool, binary_out: bool | None
) -> None:
    random = np.random.default_rng(3)
    x: np.ndarray = random.integers(0, 100, (4, 3)).astype(dtype)
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        x[0] = [limits.min, limits.max, 1]
    elif np.dtype(dtype).kind == "f":
        x[0] = [0.1, -0.0, np.finfo(dtype).max]
    if dtype == "float16" and not binary_in:
        pytest.skip("the client has no text for it")
    outputs = None if binary_out is None else [triton.InferRequestedOutput("y", binary_data=binary_out)]
    got = client.infer(dtype, [sent("x", x, binary=binary_in)], outputs=outputs).as_numpy("y")
    assert (got.dtype, got.shape) == (x.dtype, x.shape)
    assert got.tobytes() == x.tobytes()


@pytest.mark.parametrize("binary", [True, False])
def test_columns_of_several_dtypes(client: triton.InferenceServerClient, *, binary: bool) -> None:
    texts = np.array([["été 🙂"], [""], ["a\nb"]], dtype=object)
    inputs = [
        sent("merchant", texts, binary=binary),
        sent("amount", np.array([[1.5], [2.5], [3.5]]), binary=not binary),
        sent("flag", np.array([[True], [False], [True]]), binary=binary),
        sent("hour", np.array([[1], [2], [3]], np.int32), binary=binary),
    ]
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("merchant_out", "score")]
    answer = client.infer("columns", inputs, outputs=outputs, request_id="7")
    got = [text.decode() if binary else text for text in answer.as_numpy("merchant_out").ravel()]
    assert got == texts.ravel().tolist()
    assert answer.as_numpy("score").ravel().tolist() == [3.5, 4.5, 7.5]
    assert answer.get_response()["id"] == "7"
    assert [output["name"] for output in answer.get_response()["outputs"]] == ["merchant_out", "score"]


def test_outputs_that_are_no_tensors(client: triton.InferenceServerClient) -> None:
    x = np.random.default_rng(1).normal(size=(3, models.CLASSIFIER_FEATURES)).astype(np.float32)
    local = glowplug.load(HOSTED["classes"])
    answer = client.infer("classes", [sent("x", x, binary=True)])
    assert [label.decode() for label in answer.as_numpy("label")] == local.predict(x).tolist()
    assert np.array_equal(answer.as_numpy("probabilities"), local.predict_proba(x))
    assert client.infer("parts", [sent("x", x[:, :2], binary=True)]).get_response()["outputs"] == []
    with pytest.raises(InferenceServerException, match=r"\[400\].*is not a tensor"):
        client.infer("parts", [sent("x", x[:, :2], binary=True)], outputs=[triton.InferRequestedOutput("parts")])


@pytest.mark.parametrize("asked", [None, "gzip", "deflate"])
@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_compression(
    client: triton.InferenceServerClient, packed: str | None, asked: str | None, *, binary: bool
) -> None:
    x = np.tile(ROWS, (80, 1))
    answer = client.infer(
        "mlp",
        [sent("x", x, binary=binary)],
        outputs=[triton.InferRequestedOutput("y", binary_data=binary)],
        request_compression_algorithm=packed,
        response_compression_algorithm=asked,
    )
    assert np.array_equal(answer.as_numpy("y"), glowplug.load(HOSTED["mlp"]).predict(x))


def test_dtypes_are_converted_as_in_json(client: triton.InferenceServerClient) -> None:
    doubles = ROWS.astype(np.float64)
    got = client.infer("mlp", [sent("x", doubles, binary=True)]).as_numpy("y")
    assert np.array_equal(got, glowplug.load(HOSTED["mlp"]).predict(ROWS))
    with pytest.raises(InferenceServerException, match="300, expected a number that fits float32"):
        client.infer("mlp", [sent("x", np.full((1, 30), 1e300), binary=True)])


def test_many_threads_get_their_own_answers(server: Server) -> None:
    local = glowplug.load(HOSTED["mlp"])
    barrier = threading.Barrier(8)

    def ask(thread: int) -> bool:
        random = np.random.default_rng(thread)
        client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
        barrier.wait()
        right = True
        for turn in range(20):
            x = random.normal(size=(1 + turn * 7 % 60, 30)).astype(np.float32)
            got = client.infer("mlp", [sent("x", x, binary=turn % 2 == 0)]).as_numpy("y")
            right &= bool(np.allclose(got, local.predict(x), 1e-5))
        client.close()
        return right

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(8)))


# --- Mistakes ---------------------------------------------------------------------------------------------------------


def document(**more: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "shape": [1, 30], "datatype": "FP32", "data": [1.0] * 30, **more}]}


def binary_request(size: int, tail: bytes, **more: Any) -> tuple[bytes, dict[str, str]]:
    tensor = {"name": "x", "shape": [1, 30], "datatype": "FP32", "parameters": {"binary_data_size": size}, **more}
    text = json.dumps({"inputs": [tensor]}).encode()
    return text + tail, {"inference_header_content_length": str(len(text))}


def as_request(found: Any) -> tuple[bytes, dict[str, str]]:
    return found if isinstance(found, tuple) else (json.dumps(found).encode(), {})


DEEP = b'{"inputs": ' + b"[" * 100_000
REFUSED: dict[str, tuple[Any, int, str]] = {
    "name": (document(name="z"), 400, "got unknown input `z`"),
    "shape": (document(shape=[1, 31]), 400, "got shape"),
    "datatype": (document(datatype="FP31"), 400, "unknown datatype"),
    "text": (document(data=["a"] * 30), 400, "got the text"),
    "output": ({**document(), "outputs": [{"name": "z"}]}, 400, "got unknown output `z`"),
    "rows": ([[1.0] * 30], 400, "got no list of tensors"),
    "instances": ({"instances": [[1.0] * 30]}, 400, "got no list of tensors"),
    "no json": ((b"\xff\xfe{", {}), 400, "not valid UTF-8"),
    "cut": ((b'{"inputs": [', {}), 400, ""),
    "deep": ((DEEP, {}), 400, ""),
    "empty": ((b"", {}), 400, "is empty"),
    "truncated": (binary_request(120, bytes(119)), 400, "got 119 bytes for a tensor of `binary_data_size` 120"),
    "too much": (binary_request(120, bytes(121)), 400, "1 bytes behind the JSON text"),
    "contradiction": (binary_request(80, bytes(80)), 400, "got 80 bytes of float32, expected 30 elements"),
    "huge shape": (binary_request(120, bytes(120), shape=[2**62, 30]), 400, ""),
    "negative": (binary_request(-1, b""), 400, "no number of bytes"),
    "header": ((b"{}", {"inference_header_content_length": "3"}), 400, "expected at most 2 bytes"),
    "header word": ((b"{}", {"inference_header_content_length": "two"}), 400, "Inference-Header-Content-Length"),
    "gzip": ((b"{}", {"content_encoding": "gzip"}), 400, "not gzip"),
    "encoding": ((b"{}", {"content_encoding": "br"}), 415, "content encoding"),
    "bomb": ((gzip.compress(bytes(50 * 2**20)), {"content_encoding": "gzip"}), 413, "when decompressed"),
    "long": ((b" " * (2**20 + 1), {}), 413, "1048577 bytes"),
    "many rows": (binary_request(5001 * 120, bytes(5001 * 120), shape=[5001, 30]), 413, "rows"),
}


@pytest.mark.parametrize(("request_", "status", "says"), REFUSED.values(), ids=REFUSED)
def test_mistakes_have_a_reason(server: Server, request_: Any, status: int, says: str) -> None:
    body, headers = as_request(request_)
    got, named, answer = server.ask("POST", "/v2/models/mlp/infer", body, **headers)
    assert (got, named["content-type"]) == (status, "application/json"), answer
    error = json.loads(answer)["error"]
    assert says in error
    assert "/models/" not in error, "where models lie is the server's affair"
    got, _, answer = server.ask("POST", "/v2/models/mlp/infer", json.dumps(document()).encode())
    assert (got, json.loads(answer)["outputs"][0]["shape"]) == (200, [1, 1])


PATHS = {
    ("GET", "/v2/models/nobody"): 404,
    ("GET", "/v2/models/mlp/versions/7"): 404,
    ("GET", "/v2/models/mlp/weights"): 404,
    ("GET", "/v2/models/"): 404,
    ("GET", "/v2/nothing"): 404,
    ("GET", "/v2/models/mlp/infer"): 405,
    ("POST", "/v2/health/ready"): 405,
    ("DELETE", "/v2/models/mlp"): 405,
    ("HEAD", "/v2/health/ready"): 200,
    ("GET", "/v2/"): 200,
    ("GET", "/v2/models/gr%C3%B6sse"): 200,
    ("GET", "/nothing"): 404,
    ("POST", "/predict"): 404,
    ("POST", "/predict/nobody"): 404,
    ("GET", "/predict/mlp"): 405,
}


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_paths_and_methods(server: Server, method: str, path: str) -> None:
    status, headers, body = server.ask(method, path)
    assert status == PATHS[method, path], body
    assert "allow" in headers or status != 405
    assert body or method == "HEAD"


def test_declared_length_is_refused_before_the_body_comes(server: Server) -> None:
    for path in ("/v2/models/mlp/infer", "/predict/mlp"):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(f"POST {path} HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000000\r\n\r\n".encode())
            assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_endless_chunks_take_no_memory(server: Server) -> None:
    server.ask("POST", "/predict/mlp", json.dumps([[1.0] * 30]))
    before = server.peak()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"POST /predict/mlp HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
        try:
            for _ in range(2000):
                connection.sendall(chunk)
        except OSError:
            pass
        else:
            assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")
    assert server.peak() - before < 30 * 2**20
    assert server.ask("POST", "/predict/mlp", json.dumps([[1.0] * 30]))[0] == 200


def test_half_a_request_harms_nobody(server: Server) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(b"POST /predict/mlp HTTP/1.1\r\nhost: h\r\ncontent-length: 500\r\n\r\n[[1,")
    assert server.ask("POST", "/predict/mlp", json.dumps([[1.0] * 30]))[0] == 200
    assert "Traceback" not in server.log.read_text("utf-8")


# --- Rows of JSON, CSV and .npy ---------------------------------------------------------------------------------------


def test_rows_by_predict(server: Server) -> None:
    expected = glowplug.load(HOSTED["mlp"]).predict(ROWS)
    stream, table = io.BytesIO(), "\n".join(",".join(map(repr, row)) for row in ROWS.tolist())
    np.save(stream, ROWS)
    status, _, body = server.ask("POST", "/predict/mlp", json.dumps({"instances": ROWS.tolist()}))
    assert status == 200
    assert np.allclose(json.loads(body)["predictions"], expected)
    status, _, body = server.ask("POST", "/predict/mlp", table, content_type="text/csv")
    assert np.allclose(np.loadtxt(io.BytesIO(body)), expected.ravel())
    packed = zlib.compress(stream.getvalue())
    status, _, body = server.ask(
        "POST", "/predict/mlp", packed, content_type="application/x-npy", content_encoding="deflate"
    )
    assert np.array_equal(np.load(io.BytesIO(body)), expected)
    status, headers, body = server.ask("POST", "/predict/mlp", json.dumps([[1.0] * 30, [1.0] * 29]))
    assert (status, headers["content-type"], json.loads(body)["row"]) == (400, "application/problem+json", 1)


# --- Time, queues, signals --------------------------------------------------------------------------------------------


def test_long_run_is_ended_and_blocks_nobody(server: Server) -> None:
    # After a few short ones, the next is answered on the event loop, where a long one must not stay.
    for _ in range(6):
        assert server.ask("POST", "/predict/loop", "[5]")[::2] == (200, b"[5]")
    with ThreadPoolExecutor(1) as threads:
        long = threads.submit(server.ask, "POST", "/predict/loop", "[1000000000000]")
        while not long.done():
            assert server.ask("GET", "/v2/health/live")[0] == 200
            assert server.ask("POST", "/predict/mlp", json.dumps([[1.0] * 30]))[0] == 200
    status, headers, body = long.result()
    assert (status, headers["retry-after"]) == (503, "1"), body
    assert server.ask("POST", "/predict/loop", "[7]")[::2] == (200, b"[7]")


HELD = """
import sys, time
from pathlib import Path
from glowplug.serve import asgi

def held(rows):
    Path(f"begun-{int(rows[0][0])}").touch()
    while not Path("go").exists():
        time.sleep(0.01)
    return rows

if __name__ == "__main__":
    asgi.run("mlp.onnx", host="127.0.0.1", before=held)
"""


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Server]:
    """A server whose requests wait until the file `go` is there."""
    (tmp_path / "mlp.onnx").write_bytes(HOSTED["mlp"])
    (tmp_path / "main.py").write_text(HELD)
    with Server("main.py", folder=tmp_path) as running:
        yield running
        (tmp_path / "go").touch()


def row(first: float) -> str:
    return json.dumps([[first] + [0.0] * 29])


def test_sigterm_lets_running_requests_end(held: Server, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(held.ask, "POST", "/predict", row(1))
        wait_for(tmp_path / "begun-1")
        held.process.send_signal(signal.SIGTERM)
        while True:
            try:
                held.ask("GET", "/v2/health/live")
            except OSError:
                break
        (tmp_path / "go").touch()
        status, _, body = running.result()
    assert (status, len(json.loads(body))) == (200, 1)
    assert held.process.wait(30) in {0, -signal.SIGTERM}
    assert "Traceback" not in held.log.read_text("utf-8")


def test_command_line_honours_port(tmp_path: Path) -> None:
    (tmp_path / "fraud.onnx").write_bytes(HOSTED["mlp"])
    with Server("-m", "glowplug.serve", "fraud.onnx", "--method", "run", folder=tmp_path) as running:
        status, _, body = running.ask("POST", "/predict", json.dumps([[1.0] * 30]))
        assert (status, list(json.loads(body)[0])) == (200, ["y"])
        assert running.ask("GET", "/v2/models/fraud/ready")[0] == 200


@pytest.mark.parametrize(
    ("arguments", "variables", "says"),
    [
        (["missing.onnx"], {}, "missing.onnx: no such file"),
        (["broken.onnx"], {}, "broken.onnx"),
        (["mlp.onnx"], {"PORT": "http"}, "environment variable PORT: got 'http'"),
        (["mlp.onnx", "--concurrency", "0"], {}, "option `concurrency`: got 0"),
        (["mlp.onnx", "x/mlp.onnx"], {}, "the same name"),
    ],
)
def test_command_line_says_why_it_does_not_start(
    arguments: list[str], variables: dict[str, str], says: str, tmp_path: Path
) -> None:
    (tmp_path / "mlp.onnx").write_bytes(HOSTED["mlp"])
    (tmp_path / "broken.onnx").write_bytes(HOSTED["mlp"][:100])
    with pytest.raises(AssertionError) as raised:
        Server("-m", "glowplug.serve", *arguments, folder=tmp_path, variables=variables)
    assert says in str(raised.value)
    assert "Traceback" not in str(raised.value)


# --- Any bytes ---------------------------------------------------------------------------------------------------------

VALUES = (
    b"0", b"-1", b"1e400", b"null", b"true", b"[]", b"{}", b"[0]", b"[1,1]", b"[-1]", b"[9223372036854775807,2]", b'"FP32"',
    b'"BYTES"', b'"INT64"', b'"\\ud800"', b"9223372036854775808", b'{"binary_data_size":1e3}', b"\xff", b"",
)  # fmt: skip


@given(data=st.data())
def test_any_binary_request_has_an_outcome(data: st.DataObject, hosted: Service) -> None:
    """Whatever the bytes are, the answer is one or says what is wrong with them, and is as long as it says."""
    columns = {"amount": np.array([[1.5]]), "hour": np.array([[2]], np.int32), "flag": np.array([[True]])}
    made = [sent(name, column, binary=True) for name, column in columns.items()]
    made.append(sent("merchant", np.array([["é"]], object), binary=True))
    body, length = triton.InferenceServerClient.generate_request_body(made)
    text, behind = bytes(body[:length]), bytes(body[length:])
    for _ in range(data.draw(st.integers(0, 3))):
        pieces = re.split(rb"([:,\[\]{}])", text)
        place = data.draw(st.integers(0, len(pieces) - 1))
        pieces[place] = data.draw(st.sampled_from(VALUES))
        text = b"".join(pieces)
    for _ in range(data.draw(st.integers(0, 2))):
        start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(behind))] * 2)))
        behind = behind[:start] + data.draw(st.binary(max_size=12)) + behind[end:]
    length = data.draw(st.sampled_from([len(text), 0, 1, len(text) + 1, len(text) + len(behind), 2**70]))
    headers = {"inference-header-content-length": str(length)}
    response = hosted.respond(Request("POST", "/v2/models/columns/infer", headers, text + behind))
    assert response.status in {200, 400, 413, 422}, response.body
    text_length = int(response.headers.get("inference-header-content-length", len(response.body)))
    answer = json.loads(response.body[:text_length])
    if response.status == 200:
        sizes = (output.get("parameters", {}).get("binary_data_size", 0) for output in answer["outputs"])
        assert sum(sizes) == len(response.body) - text_length
    else:
        assert isinstance(answer["error"], str)


@pytest.fixture(scope="module")
def hosted() -> Service:
    service = Service({"columns": glowplug.load(HOSTED["columns"])})
    service.load()
    return service


# --- By hand, without a server ----------------------------------------------------------------------------------------


class Caller:
    """A client as an application sees it."""

    def __init__(self, app: asgi.App) -> None:
        self.app = app

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        root: str = "",
        *,
        gone: asyncio.Event | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> tuple[int, dict[bytes, bytes], bytes] | None:
        """The answer, or nothing for a client that goes before it."""
        got: list[Any] = []
        incoming = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if incoming:
                return incoming.pop()
            await (gone or asyncio.Event()).wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            got.append(message)

        scope = {"type": "http", "method": method, "path": root + path, "root_path": root, "headers": headers}
        await self.app(scope, receive, send)
        return (got[0]["status"], dict(got[0]["headers"]), got[1]["body"]) if got else None

    async def score(self, first: float, gone: asyncio.Event | None = None) -> Any:
        return await self.ask("POST", "/predict", row(first).encode(), gone=gone)

    async def until_open(self, count: int) -> None:
        while self.app._active != count:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def test_application_without_lifespan_loads_when_it_is_asked() -> None:
    app = asgi.app({"mlp": glowplug.load(HOSTED["mlp"])})
    client = Caller(app)

    async def status(*asked: Any) -> int:
        answer = await client.ask(*asked)
        assert answer is not None
        return answer[0]

    async def all_of_it() -> None:
        assert await status("GET", "/v2/health/live") == 200
        assert await status("GET", "/v2/health/ready") == 503
        assert await status("GET", "/v2/models/mlp") == 200
        assert await status("GET", "/v2/health/ready") == 200
        assert await status("POST", "/predict", row(1).encode(), "/below") == 200
        await app.drain()
        assert await status("GET", "/v2/health/ready") == 503

    asyncio.run(all_of_it())


def test_queue_is_bounded_and_may_be_left() -> None:
    go, begun = threading.Event(), []

    def held(rows: Any) -> Any:
        begun.append(rows[0][0])
        go.wait(30)
        return rows

    client = Caller(asgi.app(glowplug.load(HOSTED["mlp"]), before=held, concurrency=1, queue=1))

    async def all_of_it() -> None:
        running = asyncio.create_task(client.score(1))
        while not begun:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        leaves = asyncio.Event()
        leaving = asyncio.create_task(client.score(2, leaves))
        await client.until_open(2)
        status, headers, _ = await client.score(3)
        assert (status, headers[b"retry-after"]) == (503, b"1")
        assert (await client.ask("GET", "/v2/health/ready"))[0] == 200, "whoever is busy is not ill"
        leaves.set()
        assert await leaving is None
        waiting = asyncio.create_task(client.score(4))
        await client.until_open(2)
        go.set()
        assert ((await running)[0], (await waiting)[0]) == (200, 200)
        await client.app.drain()

    asyncio.run(all_of_it())
    assert begun == [1, 4], "nobody waits for the answer to 2"


@pytest.mark.parametrize(
    ("options", "status", "header", "says"),
    [
        ({}, 503, (b"retry-after", b"1"), b"before a thread was free"),
        ({"fallback": "later"}, 200, (b"glowplug-fallback", b"deadline"), b'"later"'),
    ],
)
def test_time_in_the_queue_counts(options: Any, status: int, header: tuple[bytes, bytes], says: bytes) -> None:
    go = threading.Event()

    def held(rows: Any) -> Any:
        go.wait(30)
        return rows

    client = Caller(asgi.app(glowplug.load(HOSTED["mlp"]), before=held, concurrency=1, timeout=0.05, **options))

    async def all_of_it() -> None:
        running = asyncio.create_task(client.score(1))
        await client.until_open(1)
        waiting = asyncio.create_task(client.score(2))
        await asyncio.sleep(0.1)
        go.set()
        await running
        got, headers, body = await waiting
        assert (got, headers[header[0]]) == (status, header[1])
        assert says in body
        await client.app.drain()

    asyncio.run(all_of_it())


def test_whoever_sends_slowly_takes_no_place_from_others() -> None:
    client = Caller(asgi.app(glowplug.load(HOSTED["mlp"]), concurrency=1, queue=0))

    async def never() -> Any:
        await asyncio.Event().wait()

    async def unanswered(_: Any) -> None:
        pytest.fail("nothing was asked yet")

    async def all_of_it() -> None:
        scope = {"type": "http", "method": "POST", "path": "/predict", "headers": []}
        slow = [asyncio.create_task(client.app(dict(scope), never, unanswered)) for _ in range(5)]
        await asyncio.sleep(0)
        assert (await client.score(1))[0] == 200
        for task in slow:
            task.cancel()
        await client.app.drain()

    asyncio.run(all_of_it())


def test_deadline_on_the_event_loop_is_the_answer() -> None:
    app = asgi.app(glowplug.load(HOSTED["loop"]), timeout=0.009, fallback=[-1])
    client = Caller(app)

    async def count(steps: int) -> bytes:
        answer = await client.ask("POST", "/predict", b"[%d]" % steps)
        assert answer is not None
        assert answer[0] == 200
        return answer[2]

    async def all_of_it() -> None:
        while app._pace._left.get(("/predict", None)) != 0:
            assert await count(5) in {b"[5]", b"[-1]"}
        assert await count(10**12) == b"[-1]"
        await app.drain()

    asyncio.run(all_of_it())


def test_functions_of_the_users_stay_off_the_event_loop() -> None:
    threads = set()

    def around(question: Any) -> Iterator[Any]:
        threads.add(threading.current_thread())
        scores = yield question
        return {"risk": scores}

    client = Caller(asgi.app(glowplug.load(HOSTED["mlp"]), around=around))

    async def all_of_it() -> None:
        for _ in range(10):
            status, _, body = await client.score(1)
            assert (status, list(json.loads(body))) == (200, ["risk"])
        await client.app.drain()

    asyncio.run(all_of_it())
    assert threading.main_thread() not in threads


def test_metrics_of_what_was_asked() -> None:
    hosted = {"mlp": glowplug.load(HOSTED["mlp"]), "loop": glowplug.load(HOSTED["loop"])}
    sink = Sink()
    client = Caller(asgi.app(hosted, telemetry=[Prometheus(), sink], timeout=1, limits=Limits(body=1000)))

    async def all_of_it() -> str:
        for _ in range(6):
            assert await client.ask("POST", "/predict/loop", b"[5]")
        for path, body, status in [
            ("/predict/mlp", b"[[1.0]]", 400),
            ("/predict/mlp", b" " * 1001, 413),
            ("/v2/models/mlp/infer", b"[]", 400),
            ("/predict/nobody", b"[]", 404),
            # It begins on the event loop, and anew in a thread; it is one request all the same.
            ("/predict/loop", b"[1000000000000]", 503),
        ]:
            answer = await client.ask("POST", path, body)
            assert answer is not None
            assert answer[0] == status
        assert await client.ask("GET", "/v2/health/ready")
        assert await client.ask("POST", "/v2/repository/index")
        answer = await client.ask("GET", "/metrics")
        await client.app.drain()
        assert answer is not None
        assert answer[1][b"content-type"].startswith(b"text/plain; version=0.0.4")
        return answer[2].decode()

    text = asyncio.run(all_of_it())
    families = {family.name: family.samples for family in text_string_to_metric_families(text)}
    requests = [
        (*(sample.labels[name] for name in ("model", "outcome", "trigger")), sample.value)
        for sample in families["glowplug_requests"]
    ]
    assert sorted(requests) == [
        ("", "rejected", "http", 2),
        ("loop", "failed", "http", 1),
        ("loop", "ok", "http", 6),
        ("mlp", "rejected", "http", 2),
    ]
    assert [is_cold for _, is_cold in sink.told] == [True] + [False] * 10
    assert sum(measure.rows for measure, _ in sink.told) >= 6
    assert 1 <= max(sample.value for sample in families["glowplug_request_seconds"] if sample.name.endswith("_sum")) < 3
    assert sink.flushed == 1


class Sink:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, bool]] = []
        self.flushed = 0

    def record(self, measure: Any, *, is_cold: bool, **_: Any) -> None:
        self.told.append((measure, is_cold))
        # Which harms no request.
        raise OSError

    def flush(self) -> None:
        self.flushed += 1


def test_metrics_are_there_if_they_are_wanted(tmp_path: Path) -> None:
    (tmp_path / "fraud.onnx").write_bytes(HOSTED["mlp"])
    with Server("-m", "glowplug.serve", "fraud.onnx", "--metrics", folder=tmp_path) as running:
        assert running.ask("POST", "/predict", json.dumps([[1.0] * 30]))[0] == 200
        status, _, body = running.ask("GET", "/metrics")
    assert status == 200
    assert b'glowplug_rows_total{model="fraud",trigger="http"} 1\n' in body
    answer = asyncio.run(Caller(asgi.app(glowplug.load(HOSTED["mlp"]))).ask("GET", "/metrics"))
    assert answer is not None
    assert answer[0] == 404


def test_header_that_comes_twice() -> None:
    client = Caller(asgi.app(glowplug.load(HOSTED["mlp"])))
    twice = [(b"content-encoding", b"gzip"), (b"content-type", b"text/json"), (b"Content-Encoding", b"gzip")]
    answer = asyncio.run(client.ask("POST", "/predict", gzip.compress(gzip.compress(row(1).encode())), headers=twice))
    assert answer is not None
    assert answer[0] == 200, answer


def test_bodies_share_the_memory_there_is_for_them() -> None:
    app = asgi.app(glowplug.load(HOSTED["mlp"]), limits=Limits(body=1000))
    app._most_held = 1500
    client = Caller(app)

    async def all_of_it() -> None:
        app._held = 1499
        status, headers, _ = await client.score(1)
        assert (status, headers[b"retry-after"]) == (503, b"1")
        assert app._held == 1499, "what was counted is taken back"
        app._held = 0
        assert (await client.score(1))[0] == 200
        assert (app._held, app._active) == (0, 0)

    asyncio.run(all_of_it())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "empty mapping"),
        ({"a/b": "m.onnx"}, "part of a path"),
        ({"a": 3}, "got int"),
        (3, "got int"),
        ({1: "m"}, "got 1"),
    ],
)
def test_models_that_cannot_be_hosted(given: Any, says: str) -> None:
    with pytest.raises(glowplug.OptionError, match=says):
        asgi.app(given)


def test_text_lengths_are_what_the_client_writes() -> None:
    """The layout is the client's own, so that the test is of the protocol and not of our reading of it."""
    made = sent("t", np.array(["ab", "ü"], dtype=object), binary=True)
    assert made._get_binary_data() == struct.pack("<I", 2) + b"ab" + struct.pack("<I", 2) + "ü".encode()
