"""Functions of AWS Lambda with the CPU of a small one, to which the kernel holds them: deadlines and answers hold as well."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

import models
from glowplug.lab.limits import Limits
from lambda_events import http_api, sqs
from serving import RuntimeApi
from test_runtime_api import client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("awslambdaric")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the client is one for Linux")

#: What a function of 512 MB has, and the kernel's period of it, as on Lambda.
MEMORY, CPUS, PERIOD_US = 512, 0.29, 20_000
FUNCTION = """
import time
import glowplug
from glowplug.serve.aws_lambda import handler as make

# It would not end in the INIT phase either. The margin is for busy machines, on which these tests run.
endless = make("loop.onnx", warm=0.1, margin=1.5)
batch = make("loop.onnx", warm=0, margin=1.5, deliver=lambda done: None)
scored = make("model.onnx", margin=1.5)
calls = 0

def handler(event, context):
    global calls
    calls += 1
    if event == "share":
        began, cpu = time.monotonic(), time.process_time()
        while time.process_time() < cpu + 0.2:
            pass
        return {"share": 0.2 / (time.monotonic() - began), "resources": glowplug.resources(), "calls": calls}
    if "Records" in event:
        return batch(event, context)
    return (endless if event.get("rawPath") == "/endless" else scored)(event, context)
"""


@pytest.fixture(scope="module")
def function(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeApi]:
    folder: Path = tmp_path_factory.mktemp("quota")
    (folder / "loop.onnx").write_bytes(models.counting_loop())
    (folder / "model.onnx").write_bytes(models.mlp(hidden=20))
    limits = Limits(MEMORY, CPUS, PERIOD_US)
    try:
        if not (limits.cpu_held and limits.memory_held):
            pytest.skip(f"control groups may not be made here: {limits.why_not}")
        variables = {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(MEMORY)}
        with RuntimeApi() as api, client(folder, api, FUNCTION, within=limits.command, **variables):
            assert api.wait_until_ready(60)
            yield api
    finally:
        limits.close()


def test_the_quota_holds_and_is_seen(function: RuntimeApi) -> None:
    seen = function.invoke("share", timeout=60).json()
    assert seen["share"] < 0.45, "the kernel hands out pieces of 5 ms, so a little more than 0.29 may be had"
    assert seen["resources"]["cpus"] == pytest.approx(CPUS, rel=0.02)
    assert seen["resources"]["threads"] == 1


def test_an_endless_run_ends_in_time_and_the_next_is_answered(function: RuntimeApi) -> None:
    before = function.invoke("share", timeout=60).json()["calls"]
    body = json.dumps([10**15])
    for _ in range(3):
        # An answer after the deadline would be none: `invoke` raises then.
        late = function.invoke(http_api(body, path="/endless"), timeout=3).json()
        assert (late["statusCode"], late["headers"]["retry-after"]) == (503, "1")
        assert function.invoke(http_api("[7]", path="/endless"), timeout=20).json()["body"] == "[7]"
    rows = [[0.5] * 30] * 200
    answer = function.invoke(http_api(json.dumps(rows), path="/score"), timeout=20).json()
    assert (answer["statusCode"], len(json.loads(answer["body"]))) == (200, 200)
    assert function.invoke("share", timeout=60).json()["calls"] == before + 8, "one environment served them all"


def test_an_endless_record_costs_the_others_nothing(function: RuntimeApi) -> None:
    event: dict[str, Any] = sqs("[1]", "[2]", json.dumps([10**15]), "[3]")
    answer = function.invoke(event, timeout=5).json()
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m2"}]}
