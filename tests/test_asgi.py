"""`glowplug.serve.asgi`: rows in every form, its start and end, its command line and metrics."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import signal
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

import glowplug
from glowplug.serve import asgi
from glowplug.serve.__main__ import named
from glowplug.serve.http import Limits, Response
from glowplug.telemetry.prometheus import Prometheus
from serving import HOSTED, ROWS, Caller, Server, hosting, row, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with hosting(tmp_path_factory.mktemp("asgi")) as running:
        yield running


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


def test_header_that_comes_twice() -> None:
    client = Caller(asgi.app(glowplug.load(HOSTED["mlp"])))
    twice = [(b"content-encoding", b"gzip"), (b"content-type", b"text/json"), (b"Content-Encoding", b"gzip")]
    answer = asyncio.run(client.ask("POST", "/predict", gzip.compress(gzip.compress(row(1).encode())), headers=twice))
    assert answer is not None
    assert answer[0] == 200, answer


@pytest.mark.parametrize(
    "headers", [{"content-type": "image/png"}, {"content-encoding": "gzip", "content-length": "3"}]
)
def test_answers_of_ones_own_that_are_no_text(headers: dict[str, str]) -> None:
    answered = Response(201, headers, b"\x89PNG\xff\0")
    client = Caller(asgi.app(glowplug.load(HOSTED["mlp"]), after=lambda *_: answered))
    answer = asyncio.run(client.ask("POST", "/predict", row(1).encode()))
    assert answer is not None
    status, got, body = answer
    assert (status, body) == (201, answered.body)
    named = {name.encode(): value.encode() for name, value in headers.items()}
    assert got == named | {b"content-length": b"6"}


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


# --- Start and end -------------------------------------------------------------------------------------------------------


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


def test_application_that_is_mounted_can_be_loaded_beforehand() -> None:
    app = asgi.app({"a": glowplug.load(HOSTED["mlp"]), "b": glowplug.load(HOSTED["two"])})
    assert asyncio.run(Caller(app).ask("GET", "/v2/health/ready", root="/below"))[0] == 503  # type: ignore[index]
    app.service.load()
    assert asyncio.run(Caller(app).ask("GET", "/v2/health/ready", root="/below"))[0] == 200  # type: ignore[index]


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


# --- The command line ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "path"),
    [
        ("fraud.onnx", "fraud", "fraud.onnx"),
        ("risk=models/fraud.onnx", "risk", "models/fraud.onnx"),
        ("models/version=2/fraud.onnx", "fraud", "models/version=2/fraud.onnx"),
        ("/data/day=3/a=b.onnx", "a=b", "/data/day=3/a=b.onnx"),
        ("risk=models/version=2/fraud.onnx", "risk", "models/version=2/fraud.onnx"),
    ],
)
def test_names_of_models(text: str, name: str, path: str) -> None:
    assert named(text) == (name, path)


def test_folders_of_a_model_may_have_an_equals_sign(tmp_path: Path) -> None:
    (tmp_path / "version=2").mkdir()
    (tmp_path / "version=2" / "fraud.onnx").write_bytes(HOSTED["mlp"])
    with Server("-m", "glowplug.serve", "version=2/fraud.onnx", folder=tmp_path) as running:
        assert running.ask("GET", "/v2/models/fraud/ready")[0] == 200


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


# --- Metrics -------------------------------------------------------------------------------------------------------------


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
