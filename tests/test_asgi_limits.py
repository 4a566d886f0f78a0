"""What `glowplug.serve.asgi` bounds: bodies and their memory, queues, and the time of each request."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import glowplug
from glowplug.serve import asgi
from glowplug.serve.http import Limits
from serving import HOSTED, Caller, Server, hosting

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with hosting(tmp_path_factory.mktemp("asgi")) as running:
        yield running


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
