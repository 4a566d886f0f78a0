"""Lambda's Runtime API on this machine, for the real runtime client: hands out events, takes answers and errors.

>>> with RuntimeApi() as api:  # doctest: +SKIP
...     start_client(AWS_LAMBDA_RUNTIME_API=api.address)
...     api.wait_until_ready(timeout=10)
...     api.invoke({"amount": 1}).payload
"""

from __future__ import annotations

import json
import queue
import select
import socket
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

ROOT = "/2018-06-01/runtime"
#: What Lambda takes as the answer of a synchronous invocation: 6 MB and a little, in bytes.
LARGEST_ANSWER = 6_291_556
ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"
ARN = "arn:aws:lambda:us-east-1:123456789012:function:"


class RuntimeGoneError(Exception):
    """The runtime client ended, or its initialisation failed, while somebody waited for it."""


@dataclass
class Invocation:
    """One event on its way: what was sent, when, and what came back. Times are those of `time.monotonic`, in seconds."""

    event: bytes
    deadline: float
    headers: dict[str, str]
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    sent_at: float = 0.0
    answered_at: float = 0.0
    #: The answer, or the client's description of the error, as it came.
    payload: bytes = b""
    content_type: str = ""
    #: The class of the error if the handler raised one, or `Function.ResponseSizeTooLarge`.
    error_type: str | None = None
    done: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def seconds(self) -> float:
        """From the event's leaving to the answer's arrival."""
        return self.answered_at - self.sent_at

    def json(self) -> Any:
        """The answer, parsed."""
        return json.loads(self.payload)


class RuntimeApi:
    """The Runtime API for one client on a free port of the loopback interface; any thread may wait and invoke.

    Args:
        function: The function's name, in the ARN that the client is told.
        on_call: Called with the name of each call (`"next"`, `"response"`, `"error"`, `"init/error"`, `"restore/next"`,
            `"restore/error"`) as soon as it comes in, in the thread that serves it.
    """

    def __init__(self, function: str = "function", on_call: Callable[[str], object] | None = None) -> None:
        """Take a port; serving begins with the `with` block."""
        self.function = function
        self.on_call = on_call
        #: What the client said of a failed initialisation: `errorType`, `errorMessage`, `stackTrace`.
        self.init_error: dict[str, Any] | None = None
        self.restore_error: dict[str, Any] | None = None
        #: When the client first asked for an event.
        self.ready_at: float | None = None
        self._gone: str | None = None
        self._changed = threading.Condition()
        self._queue: queue.SimpleQueue[Invocation | None] = queue.SimpleQueue()
        self._running: dict[str, Invocation] = {}
        self._server = _Server(("127.0.0.1", 0), _Calls)
        self._server.api = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def address(self) -> str:
        """What `AWS_LAMBDA_RUNTIME_API` is set to: host and port."""
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.gone("the server was closed")
        self._queue.put(None)
        self._server.shutdown()
        self._server.server_close()

    def gone(self, why: str) -> None:
        """Say that the client will not call again: whoever waits gets `RuntimeGoneError`."""
        with self._changed:
            self._gone = self._gone or why
            self._changed.notify_all()
        for invocation in list(self._running.values()):
            invocation.done.set()

    def wait_until_ready(self, timeout: float) -> float:
        """Wait until the client asks for its first event.

        Returns:
            The moment, on the clock of `time.monotonic`.

        Raises:
            RuntimeGoneError: The client ended, or reported that its initialisation failed; see `init_error`.
            TimeoutError: It did not ask within `timeout` seconds.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.ready_at or self.init_error or self._gone, timeout)
            if self.ready_at:
                return self.ready_at
            if self.init_error:
                raise RuntimeGoneError("initialisation failed: " + str(self.init_error.get("errorMessage")))
            if self._gone:
                raise RuntimeGoneError(self._gone)
        message = f"no call for the first event within {timeout:g} s"
        raise TimeoutError(message)

    def invoke(
        self, event: object, *, timeout: float = 3.0, grace: float = 0.0, headers: Mapping[str, str] | None = None
    ) -> Invocation:
        """Send an event and wait for what comes of it.

        Args:
            event: The payload: bytes as they are, anything else as JSON.
            timeout: Seconds until the deadline that the handler's context is told.
            grace: Seconds to wait beyond the deadline; Lambda has none.
            headers: More headers of the event, such as `Lambda-Runtime-Client-Context`.

        Returns:
            The invocation; `error_type` is set if the handler raised.

        Raises:
            RuntimeGoneError: The client ended without an answer.
            TimeoutError: There was no answer in time.
        """
        payload = event if isinstance(event, bytes) else json.dumps(event).encode()
        invocation = Invocation(payload, time.time() + timeout, dict(headers or {}))
        self._running[invocation.id] = invocation
        try:
            with self._changed:
                if self._gone:
                    raise RuntimeGoneError(self._gone)
            self._queue.put(invocation)
            invocation.done.wait(timeout + grace)
        finally:
            del self._running[invocation.id]
        if invocation.answered_at:
            return invocation
        if self._gone:
            raise RuntimeGoneError(self._gone)
        message = f"no answer within {timeout + grace:g} s"
        raise TimeoutError(message)

    # What the client calls, each in the thread of its connection. They give status, headers and body.

    def _next(self, connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
        with self._changed:
            self.ready_at = self.ready_at or time.monotonic()
            self._changed.notify_all()
        # An event whose sender gave up is nobody's any more.
        while (invocation := self._queue.get()) is not None and invocation.id not in self._running:
            pass
        if invocation is None:
            self._queue.put(None)
            return 410, {}, b""
        if _is_closed(connection):
            self._queue.put(invocation)
            raise ConnectionError
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": invocation.id,
            "Lambda-Runtime-Deadline-Ms": str(int(invocation.deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": ARN + self.function,
            "Lambda-Runtime-Trace-Id": f"Root=1-{int(time.time()):08x}-{invocation.id.replace('-', '')[:24]};Sampled=0",
        }
        invocation.sent_at = time.monotonic()
        return 200, headers | invocation.headers, invocation.event

    def _answered(self, name: str, kind: str, at: float, body: bytes, calls: _Calls) -> tuple[int, bytes]:
        invocation = self._running.get(name)
        if invocation is None or invocation.answered_at:
            return 400, _problem("InvalidRequestID", "no invocation of this id waits for an answer")
        invocation.payload, invocation.content_type = body, calls.headers.get("Content-Type", "")
        if kind == "error":
            invocation.error_type = calls.headers.get(ERROR_TYPE) or _described(body).get("errorType", "Unhandled")
        elif len(body) > LARGEST_ANSWER:
            said = f"Response payload size exceeded maximum allowed payload size ({LARGEST_ANSWER} bytes)."
            invocation.error_type = "Function.ResponseSizeTooLarge"
            invocation.payload = _problem(invocation.error_type, said)
        invocation.answered_at = at
        invocation.done.set()
        if invocation.error_type == "Function.ResponseSizeTooLarge":
            return 413, _problem(
                "RequestEntityTooLarge", f"Exceeded maximum allowed payload size ({LARGEST_ANSWER} bytes)."
            )
        return 202, b'{"status":"OK"}'

    def _failed(self, phase: str, body: bytes, calls: _Calls) -> tuple[int, bytes]:
        described = {"errorType": calls.headers.get(ERROR_TYPE, "Runtime.Unknown"), **_described(body)}
        with self._changed:
            if phase == "init":
                self.init_error = described
            else:
                self.restore_error = described
            self._changed.notify_all()
        return 202, b'{"status":"OK"}'


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    api: RuntimeApi

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a client that was killed closes its connections in the middle of a call."""


class _Calls(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body leave in one packet.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server
    raw_requestline: bytes

    def parse_request(self) -> bool:
        # The request line has just come in; reading the headers is our time, not the function's.
        self.arrived_at = time.monotonic()
        if (said := self.server.api.on_call) is not None:
            path = "".join(self.raw_requestline.decode("latin-1").split(" ")[1:2])
            parts = path.removeprefix(f"{ROOT}/").split("/")
            said(parts[-1] if parts[0] == "invocation" else "/".join(parts))
        return super().parse_request()

    def do_GET(self) -> None:
        api = self.server.api
        if self.path == f"{ROOT}/invocation/next":
            with suppress(ConnectionError):
                self._answer(*api._next(self.connection))
        elif self.path == f"{ROOT}/restore/next":
            self._answer(200, {}, b"")
        else:
            self._answer(404, {}, _problem("NotFound", self.path))

    def do_POST(self) -> None:
        api = self.server.api
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        match self.path.removeprefix(f"{ROOT}/").split("/"):
            case ["invocation", name, ("response" | "error") as kind]:
                status, said = api._answered(name, kind, self.arrived_at, body, self)
            case [("init" | "restore") as phase, "error"]:
                status, said = api._failed(phase, body, self)
            case _:
                status, said = 404, _problem("NotFound", self.path)
        self._answer(status, {"Content-Type": "application/json"}, said)

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the base class names it so
        """Nothing: what is worth knowing is in the invocations."""


def _is_closed(connection: socket.socket) -> bool:
    """Whether the other side went away while its call waited for an event."""
    readable, _, _ = select.select([connection], [], [], 0)
    return bool(readable) and connection.recv(1, socket.MSG_PEEK) == b""


def _problem(kind: str, message: str) -> bytes:
    return json.dumps({"errorType": kind, "errorMessage": message}).encode()


def _described(body: bytes) -> dict[str, Any]:
    """The client's description of an error; what is none is its message."""
    try:
        described = json.loads(body)
    except ValueError:
        described = None
    return described if isinstance(described, dict) else {"errorMessage": body.decode("utf-8", "replace")}
