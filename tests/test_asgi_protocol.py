"""The Open Inference Protocol of `glowplug.serve.asgi` under uvicorn, asked by Triton's client and by hostile ones."""

from __future__ import annotations

import gzip
import json
import re
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tritonclient.http as triton
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.utils import InferenceServerException

import glowplug
import models
from glowplug.serve.http import Request
from glowplug.serve.service import Service
from serving import DATATYPES, HOSTED, ROWS, Server, hosting

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with hosting(tmp_path_factory.mktemp("asgi")) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
    yield client
    client.close()


def sent(name: str, array: np.ndarray, *, binary: bool, datatype: str | None = None) -> triton.InferInput:
    made = triton.InferInput(name, array.shape, datatype or DATATYPES.get(array.dtype.name, "BYTES"))
    made.set_data_from_numpy(array, binary_data=binary)
    return made


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


# --- Others' clients ---------------------------------------------------------------------------------------------------

#: As KServe 0.21.0 (`InferenceRESTClient`, protocol v2) and MLServer 1.7.1 (its types and codecs) sent them.
FLOATS = struct.pack("<6f", *range(6))
RECORDED: dict[str, tuple[str, bytes, dict[str, str]]] = {
    "kserve, text": (
        "float32",
        (
            b'{"id":"a6a07806-74c6-449b-af1d-ce83067abdc2","model_name":"float32","inputs":[{"name":"x","shape":[2,3],'
            b'"datatype":"FP32","data":[0.0,1.0,2.0,3.0,4.0,5.0]}]}'
        ),
        {"content_type": "application/json"},
    ),
    "kserve, binary": (
        "float32",
        b'{"id":"7","model_name":"float32","inputs":[{"name":"x","shape":[2,3],"datatype":"FP32","parameters":'
        b'{"binary_data_size":24}}],"outputs":[{"name":"y","parameters":{"binary_data":true}}]}' + FLOATS,
        {"content_type": "application/octet-stream", "inference_header_content_length": "185"},
    ),
    "kserve, mixed": (
        "float32",
        b'{"id":"7","model_name":"float32","inputs":[{"name":"x","shape":[2,3],"datatype":"FP32","parameters":'
        b'{"binary_data_size":24}}],"outputs":[{"name":"y","parameters":{"binary_data":false}}]}' + FLOATS,
        {"content_type": "application/octet-stream", "inference_header_content_length": "186"},
    ),
    "mlserver, NumpyCodec": (
        "float32",
        (
            b'{"inputs":[{"name":"x","shape":[2,3],"datatype":"FP32","parameters":{"content_type":"np"},'
            b'"data":[0.0,1.0,2.0,3.0,4.0,5.0]}]}'
        ),
        {"content_type": "application/json"},
    ),
    "mlserver, outputs": (
        "float32",
        (
            b'{"id":"5","parameters":{"content_type":"np"},"inputs":[{"name":"x","shape":[2,3],"datatype":"FP32",'
            b'"parameters":{"content_type":"np"},"data":[0.0,1.0,2.0,3.0,4.0,5.0]}],'
            b'"outputs":[{"name":"y","parameters":{"content_type":"np"}}]}'
        ),
        {"content_type": "application/json"},
    ),
    "mlserver, PandasCodec": (
        "columns",
        '{"parameters":{"content_type":"pd"},"inputs":[{"name":"merchant","shape":[2,1],"datatype":"BYTES","parameters":'
        '{"content_type":"str"},"data":["é","b"]},{"name":"amount","shape":[2,1],"datatype":"FP64","data":[1.5,2.5]},'
        '{"name":"flag","shape":[2,1],"datatype":"BOOL","data":[true,false]},{"name":"hour","shape":[2,1],"datatype":"INT32",'
        '"data":[1,2]}]}'.encode(),
        {"content_type": "application/json"},
    ),
}


@pytest.mark.parametrize("name", RECORDED)
def test_what_others_clients_send(server: Server, name: str) -> None:
    model, body, headers = RECORDED[name]
    length = int(headers.get("inference_header_content_length", len(body)))
    assert json.loads(body[:length]), "the recording is whole"
    status, named, answer = server.ask("POST", f"/v2/models/{model}/infer", body, accept="*/*", **headers)
    assert status == 200, answer
    # As their clients read it: text up to the length in the header, or all.
    text = json.loads(answer[: int(named.get("inference-header-content-length", len(answer)))])
    assert (text["model_name"], text["model_version"]) == (model, "1")
    assert text.get("id") == json.loads(body[:length]).get("id")
    outputs = {output["name"]: output for output in text["outputs"]}
    if model == "columns":
        assert outputs["merchant_out"]["data"] == ["é", "b"]
        assert outputs["score"]["data"] == [3.5, 4.5]
    elif name == "kserve, binary":
        assert outputs["y"]["parameters"]["binary_data_size"] == len(FLOATS)
        assert answer.endswith(FLOATS)
    else:
        assert (outputs["y"]["data"], outputs["y"]["shape"]) == ([0, 1, 2, 3, 4, 5], [2, 3])


def test_answers_that_kserves_client_reads(server: Server) -> None:
    """It reads bodies where others read the status."""
    for path, said in (("/v2/health/ready", {"ready": True}), ("/v2/health/live", {"live": True})):
        status, headers, body = server.ask("GET", path)
        assert (status, headers["content-type"], json.loads(body)) == (200, "application/json", said)


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


def test_text_lengths_are_what_the_client_writes() -> None:
    """The layout is the client's own, so that the test is of the protocol and not of our reading of it."""
    made = sent("t", np.array(["ab", "ü"], dtype=object), binary=True)
    assert made._get_binary_data() == struct.pack("<I", 2) + b"ab" + struct.pack("<I", 2) + "ü".encode()
