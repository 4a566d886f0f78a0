"""The Runtime API of the lab, with the real client at its other end."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from glowplug.lab.runtime_api import LARGEST_ANSWER, RuntimeApi, RuntimeGoneError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

pytest.importorskip("awslambdaric")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the client is one for Linux")

HANDLER = """
import base64, os, sys, time

calls = 0

def handler(event, context):
    global calls
    calls += 1
    match event.get("do"):
        case "raise":
            raise KeyError("amount")
        case "sleep":
            time.sleep(event["seconds"])
        case "large":
            return "x" * event["bytes"]
        case "exit":
            os._exit(7)
    return {
        "event": event, "calls": calls, "id": context.aws_request_id, "left": context.get_remaining_time_in_millis(),
        "arn": context.invoked_function_arn, "custom": context.client_context and context.client_context.custom,
        "trace": os.environ.get("_X_AMZN_TRACE_ID"),
    }
"""


#: For handlers. Not `ru_maxrss`, which begins with what the process had that started this one.
PEAK = """
def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:")) * 1024
"""


@contextmanager
def client(
    folder: Path,
    api: RuntimeApi,
    handler: str = HANDLER,
    *,
    function: str = "handler",
    within: Callable[[Sequence[str]], Sequence[str]] = lambda command: command,
    **variables: str,
) -> Iterator[subprocess.Popen[bytes]]:
    """The real client in a process of its own, until the end of the block; its log is the file `log`.

    `within` gives the command that runs another one, within limits for example.
    """
    (folder / "function.py").write_text(handler)
    environment = {**os.environ, "AWS_LAMBDA_RUNTIME_API": api.address, **variables}
    command = within([sys.executable, "-m", "awslambdaric", f"function.{function}"])
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, cwd=folder, env=environment, stdout=log) as process,
    ):
        watch = threading.Thread(target=lambda: api.gone(f"the client ended with {process.wait()}"))
        watch.start()
        try:
            yield process
        finally:
            process.kill()
            watch.join()


def test_events_and_answers(tmp_path: Path) -> None:
    calls: list[str] = []
    with RuntimeApi("scorer", calls.append) as api, client(tmp_path, api):
        ready = api.wait_until_ready(20)
        assert ready == api.ready_at <= time.monotonic()
        first = api.invoke({"amount": 1.5}, timeout=9)
        got = first.json()
        assert got["event"] == {"amount": 1.5}
        assert got["id"] == first.id
        assert 0 < got["left"] <= 9000
        assert got["arn"].endswith(":function:scorer")
        assert got["trace"].startswith("Root=1-")
        assert (first.error_type, first.content_type) == (None, "application/json")
        assert ready <= first.sent_at < first.answered_at

        context = json.dumps({"custom": {"tenant": "a"}, "env": {}, "client": {}})
        second = api.invoke(b'{"raw": [1]}', headers={"Lambda-Runtime-Client-Context": context}).json()
        assert (second["event"], second["calls"], second["custom"]) == ({"raw": [1]}, 2, {"tenant": "a"})
        assert second["id"] != first.id
    # The client may not have asked for a third event yet.
    assert calls[:4] == ["next", "response", "next", "response"]


def test_error_of_the_handler_and_the_next_event(tmp_path: Path) -> None:
    with RuntimeApi() as api, client(tmp_path, api):
        raised = api.invoke({"do": "raise"}, timeout=20)
        assert raised.error_type == "KeyError"
        assert raised.json()["errorMessage"] == "'amount'"
        assert "function.py" in raised.json()["stackTrace"][0]
        assert api.invoke({}).json()["calls"] == 2


def test_answer_that_is_too_large(tmp_path: Path) -> None:
    with RuntimeApi() as api, client(tmp_path, api):
        fits = api.invoke({"do": "large", "bytes": LARGEST_ANSWER - 2}, timeout=20)
        assert (fits.error_type, len(fits.payload)) == (None, LARGEST_ANSWER)
        large = api.invoke({"do": "large", "bytes": LARGEST_ANSWER - 1}, timeout=20)
        assert large.error_type == "Function.ResponseSizeTooLarge"
        assert str(LARGEST_ANSWER) in large.json()["errorMessage"]


def test_no_answer_in_time(tmp_path: Path) -> None:
    with RuntimeApi() as api, client(tmp_path, api):
        api.wait_until_ready(20)
        with pytest.raises(TimeoutError, match=r"0\.1 s"):
            api.invoke({"do": "sleep", "seconds": 0.4}, timeout=0.1)
        # The late answer is refused, and is nobody's answer; the real client gives up over that.
        with pytest.raises((RuntimeGoneError, TimeoutError)):
            api.invoke({}, timeout=2)


def test_client_that_ends(tmp_path: Path) -> None:
    with RuntimeApi() as api, client(tmp_path, api):
        with pytest.raises(RuntimeGoneError, match="ended with 7"):
            api.invoke({"do": "exit"}, timeout=20)
        with pytest.raises(RuntimeGoneError, match="ended with 7"):
            api.invoke({}, timeout=20)


@pytest.mark.parametrize(
    ("handler", "kind", "says"),
    [
        ("raise RuntimeError('no model')", "RuntimeError", "no model"),
        ("import nowhere", "Runtime.ImportModuleError", "nowhere"),
        ("def other(event, context): ...", "Runtime.HandlerNotFound", "handler"),
        ("def handler(:", "Runtime.UserCodeSyntaxError", "invalid syntax"),
    ],
)
def test_failed_initialisation(handler: str, kind: str, says: str, tmp_path: Path) -> None:
    with RuntimeApi() as api, client(tmp_path, api, handler):
        with pytest.raises(RuntimeGoneError, match=says):
            api.wait_until_ready(20)
        assert api.init_error is not None
        assert api.init_error["errorType"] == kind
        assert says in api.init_error["errorMessage"]


def test_snapshot_is_restored(tmp_path: Path) -> None:
    handler = """
from snapshot_restore_py import register_after_restore
restored = []
register_after_restore(lambda: restored.append(1))
def handler(event, context):
    return restored
"""
    calls: list[str] = []
    with (
        RuntimeApi(on_call=calls.append) as api,
        client(tmp_path, api, handler, AWS_LAMBDA_INITIALIZATION_TYPE="snap-start"),
    ):
        assert api.invoke({}, timeout=20).json() == [1]
    assert calls[:2] == ["restore/next", "next"]


def test_failed_restore(tmp_path: Path) -> None:
    handler = """
from snapshot_restore_py import register_after_restore
@register_after_restore
def fail():
    raise OSError("socket is gone")
def handler(event, context): ...
"""
    variables = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
    with RuntimeApi() as api, client(tmp_path, api, handler, **variables):
        with pytest.raises(RuntimeGoneError, match="65"):
            api.wait_until_ready(20)
        assert api.restore_error is not None
        assert api.restore_error["errorMessage"] == "socket is gone"


def test_nobody_calls() -> None:
    with RuntimeApi() as api, pytest.raises(TimeoutError, match="no call for the first event"):
        api.wait_until_ready(0.05)


def call(api: RuntimeApi, method: str, path: str, body: bytes = b"", timeout: float = 5) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(api.address, timeout=timeout)
    try:
        connection.request(method, f"/2018-06-01/runtime/{path}", body)
        response = connection.getresponse()
        return response.status, json.loads(response.read() or b"null")
    finally:
        connection.close()


def test_calls_that_make_no_sense() -> None:
    with RuntimeApi() as api:
        assert call(api, "GET", "invocation/last")[0] == 404
        assert call(api, "POST", "invocation/last")[0] == 404
        status, said = call(api, "POST", "invocation/unknown/response", b"{}")
        assert (status, said["errorType"]) == (400, "InvalidRequestID")


def test_event_is_not_lost_to_a_client_that_went_away() -> None:
    with RuntimeApi() as api:
        with pytest.raises(TimeoutError):
            call(api, "GET", "invocation/next", timeout=0.1)
        answers: list[Any] = []
        sender = threading.Thread(target=lambda: answers.append(api.invoke({"n": 1}, timeout=10)))
        sender.start()
        status, event = call(api, "GET", "invocation/next")
        assert (status, event) == (200, {"n": 1})
        (name,) = api._running
        assert call(api, "POST", f"invocation/{name}/response", b'"yes"')[0] == 202
        sender.join()
        assert answers[0].json() == "yes"
