"""Functions of Google Cloud under `functions-framework`, and of Azure with the objects of `azure-functions`."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import logging
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import azure.functions as func
import numpy as np
import pytest
import tritonclient.http as triton
from azure.functions.http import HttpResponseConverter
from cloudevents.http import CloudEvent

import glowplug
import models
from glowplug.serve import azure, gcp
from glowplug.serve.http import Limits, Problem, Response
from serving import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODEL = models.mlp(hidden=28)
ROWS = np.random.default_rng(0).normal(size=(4, 30)).astype(np.float32)
BODY = json.dumps(ROWS.tolist()).encode()
PICTURE = b"\x89PNG\xff\0"


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    return glowplug.load(MODEL).predict(ROWS)


# --- Google Cloud -----------------------------------------------------------------------------------------------------

MAIN = """
import json
from pathlib import Path
from glowplug.serve import gcp
from glowplug.serve.http import Limits, Response

predict = gcp.handler("mlp.onnx", limits=Limits(body=2**20, decompressed=2**22))
picture = gcp.handler(
    "mlp.onnx",
    after=lambda found, _: Response(201, {"content-type": "image/png", "x-rows": str(len(found))}, b"\\x89PNG\\xff\\0"),
)
score = gcp.event_handler(
    "mlp.onnx",
    lambda predictions, event: Path(event["id"]).write_text(json.dumps(predictions)),
    reject=lambda problem, event: Path(event["id"]).write_text(problem.detail),
)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gcp")
    (folder / "mlp.onnx").write_bytes(MODEL)
    (folder / "main.py").write_text(MAIN)
    return folder


def framework(folder: Path, *arguments: str) -> Server:
    return Server("-m", "functions_framework", *arguments, folder=folder)


@pytest.fixture(scope="module")
def function(folder: Path) -> Iterator[Server]:
    with framework(folder, "--target", "predict") as running:
        yield running
        assert running.process.poll() is None, running.log.read_text("utf-8")


def test_http_function_from_many_threads(function: Server) -> None:
    local, barrier = glowplug.load(MODEL), threading.Barrier(8)

    def ask(thread: int) -> bool:
        random, right = np.random.default_rng(thread), True
        barrier.wait()
        for turn in range(10):
            rows = random.normal(size=(1 + (thread * turn) % 40, 30)).astype(np.float32)
            body = gzip.compress(json.dumps(rows.tolist()).encode())
            status, headers, answer = function.ask("POST", "/", body, content_encoding="gzip")
            right &= (status, headers["content-type"]) == (200, "application/json")
            right &= np.allclose(json.loads(answer), local.predict(rows), 1e-5)
        return right

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(8)))


def test_http_function_speaks_the_protocol(function: Server, expected: np.ndarray) -> None:
    client = triton.InferenceServerClient(f"127.0.0.1:{function.port}")
    assert client.is_server_ready()
    made = triton.InferInput("x", ROWS.shape, "FP32")
    made.set_data_from_numpy(ROWS, binary_data=True)
    assert np.array_equal(client.infer("mlp", [made]).as_numpy("y"), expected)
    client.close()


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b" " * (2**20 + 1), {}, 413),
        (gzip.compress(bytes(30 * 2**20)), {"content_encoding": "gzip"}, 413),
        (BODY, {"content_type": "image/png"}, 415),
        (b"\xff\xff", {}, 400),
        (json.dumps([[1.0] * 29]).encode(), {}, 400),
    ],
)
def test_http_function_refuses(function: Server, body: bytes, headers: dict[str, str], status: int) -> None:
    got, named, answer = function.ask("POST", "/", body, **headers)
    assert (got, named["content-type"]) == (status, "application/problem+json"), answer
    assert json.loads(answer)["detail"]
    assert function.ask("POST", "/", BODY)[0] == 200
    assert function.ask("GET", "/")[0] == 405


def test_http_function_refuses_by_declared_length(function: Server) -> None:
    with socket.create_connection(("127.0.0.1", function.port)) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000000\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")
    before = function.peak()
    with socket.create_connection(("127.0.0.1", function.port)) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n")
        # The answer, and the end of the connection, may come before all is sent.
        with contextlib.suppress(ConnectionError):
            for _ in range(40):
                connection.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")
            connection.sendall(b"0\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")
    assert function.peak() - before < 20 * 2**20


def test_http_function_answers_bytes_of_ones_own(folder: Path) -> None:
    with framework(folder, "--target", "picture") as running:
        status, headers, body = running.ask("POST", "/", BODY)
    assert (status, headers["content-type"], headers["x-rows"], body) == (201, "image/png", "4", PICTURE)


EVENT = {"ce_specversion": "1.0", "ce_type": "t", "ce_source": "s", "content_type": "application/json"}


def pubsub(data: bytes, **attributes: str) -> bytes:
    message = {"data": base64.b64encode(data).decode(), "attributes": attributes, "messageId": "1"}
    return json.dumps({"message": message, "subscription": "s"}).encode()


def test_event_function(folder: Path, expected: np.ndarray) -> None:
    with framework(folder, "--target", "score", "--signature-type", "cloudevent") as running:
        for name, body in [
            ("rows", BODY),
            ("message", pubsub(BODY)),
            ("packed", pubsub(gzip.compress(BODY), **{"content-encoding": "gzip"})),
        ]:
            assert running.ask("POST", "/", body, ce_id=name, **EVENT)[0] == 200
            assert np.allclose(json.loads((folder / name).read_text()), expected)
        for name, body, says in [
            ("short", json.dumps([[1.0]]).encode(), "got 1 values, expected 30"),
            ("text", pubsub(b"{"), "is no JSON"),
            ("odd", json.dumps({"message": {"data": "a"}}).encode(), "not base64"),
        ]:
            assert running.ask("POST", "/", body, ce_id=name, **EVENT)[0] == 200, "it must not come again"
            assert says in (folder / name).read_text()


def test_failing_delivery_is_raised_so_that_the_event_comes_again() -> None:
    def deliver(predictions: Any, event: CloudEvent) -> None:
        raise ConnectionError

    handle = gcp.event_handler(glowplug.load(MODEL), deliver)
    with pytest.raises(ConnectionError):
        handle(CloudEvent({"type": "t", "source": "s"}, ROWS.tolist()))


def test_what_is_not_rejected_by_the_user_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    handle = gcp.event_handler(glowplug.load(MODEL), lambda *_: None)
    with caplog.at_level(logging.ERROR, "glowplug"):
        handle(CloudEvent({"type": "t", "source": "s", "id": "e7"}, [[1.0]]))
    assert "not tried again: e7: " in caplog.text
    assert "got 1 values, expected 30" in caplog.text


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ([7], "cannot be computed"),
        ({"message": {"data": 5}}, "not base64"),
        ({"message": {"data": "Ww==", "attributes": [1]}}, "no JSON"),
        (None, "null"),
        (b"\xff", "no JSON"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_event_that_can_never_be_scored_does_not_come_again(data: Any, says: str) -> None:
    rejected: list[Problem] = []
    handle = gcp.event_handler(
        glowplug.load(models.gather_from_input()),
        lambda *_: pytest.fail("there is nothing to deliver"),
        reject=lambda problem, _: rejected.append(problem),
    )
    handle(CloudEvent({"type": "t", "source": "s"}, data))
    (problem,) = rejected
    assert says in problem.detail


def test_handler_fails_where_it_is_made() -> None:
    with pytest.raises(glowplug.ModelNotFoundError):
        gcp.handler("missing.onnx")


# --- Azure ------------------------------------------------------------------------------------------------------------


def asked(method: str, path: str, body: bytes = b"", route: dict[str, str] | None = None, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    url = f"https://app.azurewebsites.net/api/{path}"
    return func.HttpRequest(method, url, headers=named, body=body, route_params=route or {})


@pytest.fixture(scope="module")
def functions() -> dict[str, Any]:
    """The functions that a worker finds in the app of a user, by name."""
    app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
    app.register_functions(azure.blueprint({"mlp": glowplug.load(MODEL)}, limits=Limits(body=2**20)))
    return {found.get_function_name(): found for found in app.get_functions()}


def test_functions_are_bound_to_their_routes(functions: dict[str, Any]) -> None:
    bindings = {name: found.get_dict_repr()["bindings"] for name, found in functions.items()}
    assert {name: binding[0]["route"] for name, binding in bindings.items()} == {
        "glowplug_predict": "predict/{name?}",
        "glowplug_inference": "v2/{*path}",
    }
    for trigger, output in bindings.values():
        assert (trigger["name"], trigger["type"], output["name"]) == ("req", "httpTrigger", "$return")
        assert trigger["authLevel"] == func.AuthLevel.ANONYMOUS


@pytest.mark.parametrize("route", [{}, {"name": "mlp"}])
def test_azure_function_scores(functions: dict[str, Any], route: dict[str, str], expected: np.ndarray) -> None:
    answer = functions["glowplug_predict"].get_user_function()(asked("POST", "predict", BODY, route))
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert np.allclose(json.loads(answer.get_body()), expected)


def test_azure_function_speaks_the_protocol(functions: dict[str, Any], expected: np.ndarray) -> None:
    inference = functions["glowplug_inference"].get_user_function()
    assert inference(asked("GET", "v2/health/ready")).status_code == 200
    made = triton.InferInput("x", ROWS.shape, "FP32")
    made.set_data_from_numpy(ROWS, binary_data=True)
    body, length = triton.InferenceServerClient.generate_request_body([made])
    answer = inference(
        asked("POST", "v2/models/mlp/infer", body, inference_header_content_length=str(length), accept_encoding="gzip")
    )
    assert answer.mimetype == "application/octet-stream"
    result = triton.InferenceServerClient.parse_response_body(
        answer.get_body(),
        header_length=int(answer.headers["inference-header-content-length"]),
        content_encoding=answer.headers.get("content-encoding"),
    )
    assert np.array_equal(result.as_numpy("y"), expected)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b" " * (2**20 + 1), {}, 413),
        (BODY, {"content_encoding": "gzip"}, 400),
        (BODY, {"accept": "a/b"}, 406),
    ],
)
def test_azure_function_refuses(functions: dict[str, Any], body: bytes, headers: dict[str, str], status: int) -> None:
    answer = functions["glowplug_predict"].get_user_function()(asked("POST", "predict", body, **headers))
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    missing = functions["glowplug_predict"].get_user_function()(asked("POST", "predict/x", BODY, {"name": "x"}))
    assert missing.status_code == 404


def test_handler_by_itself_with_a_prefix_of_the_users(expected: np.ndarray) -> None:
    handle = azure.handler({"a": glowplug.load(MODEL)}, prefix="")
    answer = handle(func.HttpRequest("POST", "https://h/score?code=secret", body=BODY))
    assert np.allclose(json.loads(answer.get_body()), expected)
    assert handle(func.HttpRequest("GET", "https://h/v2/models/a/ready", body=b"")).status_code == 200


def test_azure_function_answers_bytes_of_ones_own() -> None:
    answered = Response(201, {"content-type": "image/png", "x-rows": "4"}, PICTURE)
    handle = azure.handler(glowplug.load(MODEL), after=lambda *_: answered)
    answer = handle(asked("POST", "predict", BODY))
    assert (answer.status_code, answer.mimetype, answer.get_body()) == (201, "image/png", PICTURE)
    # As the worker sends it to the host.
    sent = HttpResponseConverter.encode(answer, expected_type=None).value
    assert sent["body"].value == PICTURE
    assert {name: value.value for name, value in sent["headers"].items()} == answered.headers


def test_messages_of_a_queue(expected: np.ndarray) -> None:
    delivered: list[Any] = []
    rejected: list[tuple[Problem, Any]] = []
    handle = azure.message_handler(
        glowplug.load(MODEL),
        lambda predictions, message: delivered.append((predictions, message.id)),
        reject=lambda problem, message: rejected.append((problem, message.id)),
    )
    handle(func.QueueMessage(id="a", body=BODY.decode()))
    handle(func.QueueMessage(id="b", body="[[1.0]]"))
    handle(func.QueueMessage(id="c", body="not JSON"))
    ((predictions, name),) = delivered
    assert name == "a"
    assert np.allclose(predictions, expected)
    assert [(problem.status, message) for problem, message in rejected] == [(400, "b"), (400, "c")]


def test_each_message_of_a_batch_is_tried(caplog: pytest.LogCaptureFixture) -> None:
    """The platform gets one error, the first, and the log each of the others."""
    delivered: list[str] = []
    rejected: list[str] = []

    def deliver(_: Any, message: Any) -> None:
        if message.id.startswith("lost"):
            raise ConnectionError(message.id)
        delivered.append(message.id)

    handle = azure.message_handler(glowplug.load(MODEL), deliver, reject=lambda _, message: rejected.append(message.id))
    texts = {"a": BODY, "lost 1": BODY, "b": BODY, "bad": b"[[1.0]]", "lost 2": BODY, "c": BODY}
    batch = [func.QueueMessage(id=name, body=body.decode()) for name, body in texts.items()]
    with pytest.raises(ConnectionError, match="lost 1") as raised:
        handle(batch)
    assert (delivered, rejected) == (["a", "b", "c"], ["bad"])
    assert raised.value.__notes__ == ["2 of 6 messages failed; the platform delivers all of them again"]
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "a message failed, after another of its batch: lost 2: lost 2")
    ]
    assert handle([message for message in batch if not message.id.startswith("lost")]) is None
    with pytest.raises(ConnectionError, match="lost 1") as raised:
        handle(batch[1])
    assert not hasattr(raised.value, "__notes__")


# --- Telemetry --------------------------------------------------------------------------------------------------------

COUNTED = """
from glowplug.serve import gcp
from glowplug.telemetry.emf import Emf

predict = gcp.handler("mlp.onnx", telemetry=Emf(batch=100, namespace="Counted"))
"""


def test_what_waits_to_be_told_is_told_at_sigterm(tmp_path: Path) -> None:
    (tmp_path / "mlp.onnx").write_bytes(MODEL)
    (tmp_path / "main.py").write_text(COUNTED)
    with framework(tmp_path, "--target", "predict") as running:
        for _ in range(3):
            assert running.ask("POST", "/", BODY)[0] == 200
        assert running.ask("POST", "/", b"[[1.0]]")[0] == 400
        assert running.ask("GET", "/v2/health/live")[0] == 200
        assert "Counted" not in running.log.read_text("utf-8")
    lines = [json.loads(line) for line in running.log.read_text("utf-8").splitlines() if "Counted" in line]
    ok, rejected = sorted(lines, key=lambda line: "error" in line)
    assert (ok["Rows"], sum(ok["ColdStart"]), ok["model"], ok["trigger"]) == ([4, 4, 4], 1, "mlp", "http")
    assert all(0 < engine < whole for engine, whole in zip(ok["EngineTime"], ok["Duration"], strict=True))
    assert (rejected["Rejected"], rejected["Errors"], rejected["error"]) == ([1], [0], "InputError")


class Sink:
    """Keeps what it is told, and has nothing to send, for which a handler of SIGTERM would be left behind."""

    buffers = False

    def __init__(self) -> None:
        self.told: list[tuple[str, int, str | None]] = []

    def record(self, measure: Any, *, trigger: str, **_: Any) -> None:
        self.told.append((trigger, measure.rows, measure.error and type(measure.error).__name__))

    def flush(self) -> None:
        """Nothing waits."""


def test_requests_and_messages_are_told() -> None:
    sink = Sink()

    def deliver(_: Any, message: Any) -> None:
        if getattr(message, "id", None) == "lost":
            raise ConnectionError

    handle = azure.handler(glowplug.load(MODEL), telemetry=sink)
    assert handle(func.HttpRequest("POST", "https://h/api/predict", body=BODY)).status_code == 200
    assert handle(func.HttpRequest("POST", "https://h/api/predict", body=b"[")).status_code == 400
    message = azure.message_handler(glowplug.load(MODEL), deliver, reject=lambda *_: None, telemetry=sink)
    message(func.QueueMessage(id="a", body=BODY.decode()))
    message(func.QueueMessage(id="b", body="{"))
    with pytest.raises(ConnectionError):
        message(func.QueueMessage(id="lost", body=BODY.decode()))
    event = gcp.event_handler(glowplug.load(MODEL), deliver, reject=lambda *_: None, telemetry=sink)
    event(CloudEvent({"type": "t", "source": "s"}, ROWS.tolist()))
    event(CloudEvent({"type": "t", "source": "s"}, {"message": {"data": "?"}}))
    assert sink.told == [
        ("http", 4, None),
        ("http", 0, "InputError"),
        ("message", 4, None),
        ("message", 0, "InputError"),
        ("message", 4, "ConnectionError"),
        ("event", 4, None),
        ("event", 0, "Problem"),
    ]
