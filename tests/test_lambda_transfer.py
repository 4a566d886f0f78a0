"""Objects in S3 over a network that stalls: the invocation ends at its deadline all the same, and the next one works."""

from __future__ import annotations

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

import glowplug
import models
from glowplug.serve.aws_lambda import handler
from glowplug.serve.aws_lambda.transfer import GivenUpError, Upload, fetched
from lambda_events import s3, sqs
from test_aws_lambda import context

pytest.importorskip("boto3")

if TYPE_CHECKING:
    from collections.abc import Iterator

LINES = json.dumps([[0.125] * 4] * 5000).encode() + b"\n"


class Store(ThreadingHTTPServer):
    """A store that answers as S3 does, but for what it is told to stall at."""

    daemon_threads = True
    #: A client that does not get through waits in the queue of the socket.
    request_queue_size = 1

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.stalls_at: str | None = None
        self.go = threading.Event()
        self.stalled = 0
        self.written: dict[str, bytes] = {}

    def stall(self, at: str) -> bool:
        if self.stalls_at != at:
            return False
        self.stalled += 1
        return self.go.wait(60)


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Store

    def do_GET(self) -> None:
        self.server.stall("answer")
        self._answer(b"", length=len(LINES))
        self.wfile.write(LINES[:1000])
        self.server.stall("body")
        self.wfile.write(LINES[1000:])

    def do_PUT(self) -> None:
        self.server.stall("upload")
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.stall("end of upload")
        if self.server.stall("broken upload"):
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.server.written[self.path.partition("?")[0]] = body
        self._answer(b"", etag='"1"')

    def _answer(self, body: bytes, *, length: int | None = None, **headers: str) -> None:
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    store = Store()
    running = threading.Thread(target=store.serve_forever, args=(0.05,))
    running.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{store.server_port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    yield store
    store.go.set()
    store.shutdown()
    running.join()
    store.server_close()
    until = time.monotonic() + 30
    while _ours():
        assert time.monotonic() < until, _ours()
        time.sleep(0.01)


def _ours() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name in {"glowplug-fetch", "glowplug-send"}]


@pytest.fixture(scope="module")
def model() -> glowplug.Model:
    return glowplug.load(models.identity(shape=("N", 4)))


@pytest.mark.parametrize("at", ["answer", "body", "upload", "end of upload"])
def test_stalls_end_at_the_deadline(store: Store, model: glowplug.Model, at: str) -> None:
    """boto3 by itself waits for a minute, five times."""
    scored = handler(model, warm=0)
    # Making a client takes time as well.
    assert scored(s3("scores", "day.jsonl"), context(60))
    store.written.clear()
    store.stalls_at = at
    with pytest.raises(glowplug.DeadlineExceeded, match="in the time there was"):
        scored(s3("scores", "day.jsonl"), context(1.2))
    assert store.stalled == 1
    assert not store.written
    # The environment lives on, with the stalled connections beside it.
    store.stalls_at = None
    (done,) = scored(s3("scores", "day.jsonl"), context(60))
    assert (done["rows"], done["errors"]) == (1, 0)
    assert store.written["/scores/day.jsonl.predictions.jsonl"].startswith(b"[[0.125,")


def test_what_is_given_up_is_not_tried_again(store: Store, model: glowplug.Model) -> None:
    """It would be written over what came of the object later."""
    scored = handler(model, warm=0)
    store.stalls_at = "broken upload"
    with pytest.raises(glowplug.DeadlineExceeded):
        scored(s3("scores", "day.jsonl"), context(1.2))
    # The connection breaks now, for which boto3 tries again.
    store.stalls_at = None
    store.go.set()
    until = time.monotonic() + 30
    while _ours():
        assert time.monotonic() < until, _ours()
        time.sleep(0.01)
    assert not store.written


def test_a_queue_goes_on_beside_an_object_that_stalls(store: Store, model: glowplug.Model) -> None:
    delivered: list[Any] = []
    scored = handler(model, warm=0, deliver=delivered.extend, objects=True)
    store.stalls_at = "body"
    answer = scored(sqs(json.dumps(s3("scores", "day.jsonl")), "[[1, 2, 3, 4]]"), context(1.2))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert [delivery.answer for delivery in delivered] == [[[1, 2, 3, 4]]]


def test_nothing_is_asked_for_when_the_time_is_over(store: Store, model: glowplug.Model) -> None:
    store.stalls_at = "answer"
    with pytest.raises(glowplug.DeadlineExceeded):
        handler(model, warm=0)(s3("scores", "day.jsonl", "other.jsonl"), context(0.1))
    assert store.stalled == 0


# --- The two ends by themselves ---------------------------------------------------------------------------------------


def test_parts_come_in_order_and_no_more_than_one_ahead() -> None:
    made: list[int] = []

    def read() -> Iterator[int]:
        for part in range(100):
            made.append(part)
            yield part

    for part in fetched(read, None):
        assert len(made) <= part + 4
    assert made == list(range(100))


def test_reading_ends_with_its_reader() -> None:
    closed = threading.Event()

    def read() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    parts = fetched(read, None)
    next(parts)
    parts.close()
    assert closed.wait(30)


def test_errors_of_either_end_are_the_callers() -> None:
    def read() -> Iterator[bytes]:
        yield b"a"
        msg = "away"
        raise ConnectionError(msg)

    parts = fetched(read, None)
    assert next(parts) == b"a"
    with pytest.raises(ConnectionError, match="away"):
        next(parts)

    def refuse(file: Any) -> None:
        file.read(3)
        msg = "no"
        raise PermissionError(msg)

    written = 0
    with pytest.raises(PermissionError, match="no"), Upload(refuse, None) as upload:  # noqa: PT012 - any of them may
        while True:
            upload.write(b"12")
            written += 1
            assert written < 10_000


def test_a_sender_that_ends_early_is_an_error() -> None:
    written = 0
    with pytest.raises(GivenUpError), Upload(lambda _: None, None) as upload:  # noqa: PT012 - any of them may
        while True:
            upload.write(b"12")
            written += 1
            assert written < 10_000


@pytest.mark.parametrize("size", [1, 7, 1000, -1])
def test_what_is_written_is_what_is_sent(size: int) -> None:
    sent: list[bytes] = []

    def send(file: Any) -> None:
        while part := file.read(size):
            sent.append(part)

    with Upload(send, None) as upload:
        for part in (b"ab", b"", b"c" * 50, b"d"):
            upload.write(part)
    assert b"".join(sent) == b"ab" + b"c" * 50 + b"d"
    assert size == -1 or all(len(part) == size for part in sent[:-1])


def test_an_error_of_the_writers_is_seen_by_the_sender() -> None:
    seen: list[BaseException] = []

    def send(file: Any) -> None:
        try:
            file.read()
        except BaseException as error:
            seen.append(error)
            raise

    with pytest.raises(KeyError, match="mine"), Upload(send, None) as upload:  # noqa: PT012 - the block is what ends it
        upload.write(b"a")
        msg = "mine"
        raise KeyError(msg)
    assert [type(error) for error in seen] == [KeyError]


def test_an_upload_is_taken_back_whatever_ends_the_writer() -> None:
    """boto3 aborts what it has sent for an `Exception` only."""
    seen: list[BaseException] = []

    def send(file: Any) -> None:
        try:
            file.read()
        except Exception as error:
            seen.append(error)
            raise

    with pytest.raises(KeyboardInterrupt), Upload(send, None):
        raise KeyboardInterrupt
    assert [type(error) for error in seen] == [GivenUpError]
