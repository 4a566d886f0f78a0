"""What the platform does to environments: warm starts beforehand, snapshots, and the end, under the real runtime client."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import models
from lambda_events import http_api, sqs
from serving import RuntimeApi
from test_runtime_api import client

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("awslambdaric")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the client is one for Linux")

FUNCTION = """
import os, random, sys, threading
import glowplug
from glowplug.serve.aws_lambda import handler as make

random.seed(7)

class Telemetry:
    def __init__(self):
        self.told = []
    def record(self, measure, **facts):
        self.told.append([facts["is_cold"], facts["initialization"], facts["trigger"]])
    def flush(self):
        with open("flushed", "a") as file:
            file.write(repr(self.told))

telemetry = Telemetry()
model = glowplug.load("model.onnx")
served = make(model, telemetry=telemetry)
ready = {"calls": model.stats()["calls"], "modules": sorted(name for name in sys.modules if "aws_lambda." in name)}

def handler(event, context):
    if event == "about":
        return ready | {
            "cold": served.is_cold, "told": telemetry.told, "random": random.random(), "calls now": model.stats()["calls"],
            "threads": sorted(thread.name for thread in threading.enumerate()),
        }
    return served(event, context)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").write_bytes(models.identity(shape=("N", 2)))
    return tmp_path


def about(api: RuntimeApi) -> dict[str, Any]:
    return api.invoke("about", timeout=20).json()


def test_on_demand(folder: Path) -> None:
    with RuntimeApi() as api, client(folder, api, FUNCTION, AWS_LAMBDA_INITIALIZATION_TYPE="on-demand"):
        before = about(api)
        # It has run once, and what this trigger may never need is not there.
        assert (before["calls"], before["cold"], before["told"]) == (1, True, [])
        assert "glowplug.serve.aws_lambda.records" not in before["modules"]
        assert api.invoke(http_api("[[1, 2]]")).json()["body"] == "[[1.0,2.0]]"
        api.invoke([[1, 2]])
        assert about(api)["told"] == [[True, "on-demand", "api-gateway-http"], [False, "on-demand", "direct"]]


def test_provisioned(folder: Path) -> None:
    with RuntimeApi() as api, client(folder, api, FUNCTION, AWS_LAMBDA_INITIALIZATION_TYPE="provisioned-concurrency"):
        before = about(api)
    assert before["calls"] == 1
    assert {"glowplug.serve.aws_lambda.records", "glowplug.serve.aws_lambda.web"} <= set(before["modules"])


def test_snapshots(folder: Path) -> None:
    calls: list[str] = []
    with (
        RuntimeApi(on_call=calls.append) as api,
        client(folder, api, FUNCTION, AWS_LAMBDA_INITIALIZATION_TYPE="snap-start"),
    ):
        first = about(api)
        assert calls[:2] == ["restore/next", "next"]
        assert (first["calls"], first["calls now"], first["cold"]) == (1, 2, True)
        assert "glowplug.serve.aws_lambda.snapshots" in first["modules"]
        assert api.invoke([[1, 2]]).json() == [[1, 2]]
    # Two copies do not draw the same numbers.
    with RuntimeApi() as api, client(folder, api, FUNCTION, AWS_LAMBDA_INITIALIZATION_TYPE="snap-start"):
        assert about(api)["random"] != first["random"]


#: Before the snapshot: the model has run on two threads with a deadline, NumPy has a seed, a client of S3 is there. What the
#: hooks of the function see is kept: those before a snapshot are called in the order opposite to that of registration.
RESTORED = """
import os, threading, time
import numpy as np
import glowplug
from glowplug.serve.aws_lambda import handler as make
from snapshot_restore_py import register_after_restore, register_before_snapshot

seen = {}

def tasks():
    names = []
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/comm") as file:
            names.append(file.read().strip())
    return sorted(names)

def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, tasks()
        time.sleep(0.01)

def settle():
    # Threads end a moment after they are told to.
    until(lambda: not set(tasks()) & {"glowplug-0", "glowplug-1"})
    seen["after"] = tasks()

model = glowplug.load("model.onnx", threads=2, batch="rows")
register_before_snapshot(settle)
served = make(model, output="s3://scores/out")
other = make(model)

def used():
    model.predict(np.zeros((300_000, 2), np.float32), timeout=60)
    # A thread has its name a moment after it is there.
    until(lambda: set(tasks()) & {"glowplug-0", "glowplug-1"})
    seen["before"], seen["pid"] = tasks(), os.getpid()
    seen["cpus"] = glowplug.resources()["cpus"]
    served._store, served.is_cold, other.is_cold = "of the copy's origin", False, False
    np.random.seed(7)
    # The environment that the snapshot is restored in has fewer.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] = "256"

register_before_snapshot(used)

def handler(event, context):
    return seen | {
        "store": served._store, "cold": [served.is_cold, other.is_cold], "random": np.random.random(),
        "now": glowplug.resources()["cpus"], "late": late(), "right": model.predict(np.ones((3, 2), np.float32)).tolist(),
        "pid now": os.getpid(), "telemetry": served(__import__("json").loads("[[1, 2]]"), context),
    }

def late():
    try:
        model.predict(np.zeros((300_000, 2), np.float32), timeout=1e-9)
    except glowplug.DeadlineExceeded:
        return True
"""


def test_what_a_restore_refreshes(folder: Path) -> None:
    seen = []
    for _ in range(2):
        with RuntimeApi() as api, client(folder, api, RESTORED, AWS_LAMBDA_INITIALIZATION_TYPE="snap-start"):
            seen.append(api.invoke("", timeout=30).json())
    first, second = seen
    # Threads for batches are parked before the snapshot, and come back.
    assert {"glowplug-0", "glowplug-1"} & set(first["before"]), first
    assert "glowplug-0" not in first["after"]
    # What was found out about the machine is found out again.
    assert first["cpus"] > first["now"] == pytest.approx(256 / 1769)
    assert first["store"] is None, "a connection belongs to one environment"
    assert first["cold"] == [True, True], "whichever of them is called next"
    assert first["random"] != second["random"], "both had the seed 7"
    # And what needs nothing works.
    assert first["pid"] == first["pid now"]
    assert (first["late"], first["right"], first["telemetry"]) == (True, [[1, 1]] * 3, [[1, 2]])


def test_failure_after_restore_is_reported(folder: Path) -> None:
    wrong = FUNCTION + "\nos.environ['GLOWPLUG_THREADS'] = 'many'\n"
    with (
        RuntimeApi() as api,
        client(folder, api, wrong, AWS_LAMBDA_INITIALIZATION_TYPE="snap-start") as process,
    ):
        assert process.wait(20) == 65
        assert api.restore_error is not None
        assert "GLOWPLUG_THREADS" in api.restore_error["errorMessage"]


def test_end(folder: Path) -> None:
    """SIGTERM comes while the client waits for an event, in code where no handler of Python's would run."""
    with RuntimeApi() as api, client(folder, api, FUNCTION) as process:
        api.invoke([[1, 2]], timeout=20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 128 + signal.SIGTERM
    assert json.loads(
        (folder / "flushed").read_text().replace("'", '"').replace("True", "true").replace("None", "null")
    ) == [[True, None, "direct"]]


def test_end_with_a_handler_of_ones_own(folder: Path) -> None:
    own = "import signal, os\nsignal.signal(signal.SIGTERM, lambda *_: None)\n"
    with RuntimeApi() as api, client(folder, api, own + FUNCTION) as process:
        api.invoke([[1, 2]], timeout=20)
        process.send_signal(signal.SIGTERM)
        # What was taken is sent; whether the process ends is the other handler's affair.
        assert api.invoke([[3, 4]], timeout=20).json() == [[3, 4]]
        assert process.poll() is None
    assert (folder / "flushed").read_text().startswith("[[True")


FORKING = """
import os, signal, sys, time
os.environ["AWS_LAMBDA_RUNTIME_API"] = "127.0.0.1:1"
{before}
from types import SimpleNamespace
from glowplug.serve.aws_lambda import lifecycle

recorder = SimpleNamespace(flush=lambda: os.write(1, b"flushed "))
lifecycle._flush_at_end(recorder)
child = os.fork()
if not child:
    time.sleep(60)
os.kill(child, signal.SIGTERM)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), flush=True)
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="signals of POSIX")
@pytest.mark.parametrize(
    ("before", "child", "parent"),
    [("", -signal.SIGTERM, 128 + signal.SIGTERM), ("signal.signal(signal.SIGTERM, lambda *_: os._exit(7))", 7, 7)],
)
def test_the_end_of_a_forked_child_is_its_own(before: str, child: int, parent: int) -> None:
    """It shares the pipe, and has no thread that reads from it."""
    script = FORKING.format(before=before)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert (ended.stdout, ended.returncode) == (f"{child}\nflushed ", parent), ended.stderr


FORKED_MEANWHILE = """
import os, threading
from types import SimpleNamespace
from glowplug.serve.aws_lambda import lifecycle

begun, forked = threading.Event(), threading.Event()
lifecycle._flush_at_end(SimpleNamespace(flush=lambda: (begun.set(), forked.wait(20))))
flush = threading.Thread(target=lifecycle._flush)
flush.start()
begun.wait(20)
child = os.fork()
if not child:
    lifecycle._flush_at_end(SimpleNamespace(flush=lambda: os.write(1, b"flushed")))
    lifecycle._flush()
    os._exit(0)
_, status = os.waitpid(child, 0)
forked.set()
flush.join()
os._exit(status)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_child_forked_while_what_was_taken_is_sent_does_not_wait_for_it() -> None:
    command = [sys.executable, "-c", FORKED_MEANWHILE]
    environment = {**os.environ, "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1"}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=environment)
    assert (ended.stdout, ended.returncode) == ("flushed", 0), ended.stderr


@pytest.mark.parametrize(("said", "count"), [("", 3), ("off", 0)])
def test_metrics_are_lines_of_the_log(folder: Path, said: str, count: int) -> None:
    plain = "from glowplug.serve.aws_lambda import handler\nhandler = handler('model.onnx')\n"
    variables = {"AWS_LAMBDA_FUNCTION_NAME": "scorer", "GLOWPLUG_TELEMETRY": said}
    with RuntimeApi() as api, client(folder, api, plain, **variables):
        name = api.invoke([[1, 2], [3, 4]], timeout=20).id
        api.invoke(http_api("[[1]]"))
        assert api.invoke(sqs("[[1, 2]]")).error_type == "OptionError"
        # The line is written before the answer is sent.
        lines = [json.loads(line) for line in (folder / "log").read_text().splitlines() if line.startswith('{"_aws"')]
    assert len(lines) == count
    if count:
        told = [(line["trigger"], line["Rows"], line["ColdStart"], line["Rejected"], line["Errors"]) for line in lines]
        assert told == [("direct", 2, 1, 0, 0), ("api-gateway-http", 0, 0, 1, 0), ("sqs", 0, 0, 0, 1)]
        assert (lines[0]["function_request_id"], lines[0]["service"]) == (name, "scorer")
