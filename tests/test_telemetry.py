"""What invocations took: as CloudWatch, OpenTelemetry, Prometheus and Powertools get it, and what it must never do."""

from __future__ import annotations

import io
import json
import logging
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client.parser import text_string_to_metric_families

import glowplug
import models
from glowplug.serve.http import Problem
from glowplug.serve.scoring import Measure, Scorer
from glowplug.telemetry import recorder
from glowplug.telemetry.emf import METRICS, Emf
from glowplug.telemetry.ending import in_children
from glowplug.telemetry.numbers import outcome
from glowplug.telemetry.opentelemetry import OpenTelemetry
from glowplug.telemetry.powertools import Powertools
from glowplug.telemetry.prometheus import Prometheus
from worker_tools import python

SCHEMA = json.loads(Path(__file__).with_name("emf_schema.json").read_text("utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
VARIABLES = (
    "POWERTOOLS_METRICS_NAMESPACE", "POWERTOOLS_SERVICE_NAME", "AWS_LAMBDA_FUNCTION_NAME", "GLOWPLUG_TELEMETRY",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def measured(rows: int = 3, *, error: Exception | None = None, model: str | None = None) -> Measure:
    measure = Measure()
    measure.add((rows, 1_234_567, 7_654_321))
    measure.error = error
    measure.model = model
    return measure


def emf_lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Lines as CloudWatch reads them: valid, and every target of a reference there, of its type and in its limits."""
    text = stream.getvalue()
    assert text.endswith("\n")
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        check_emf(line)
    return lines


def check_emf(line: dict[str, Any]) -> None:
    VALIDATOR.validate(line)
    for directive in line["_aws"]["CloudWatchMetrics"]:
        for name in (name for names in directive["Dimensions"] for name in names):
            assert isinstance(line[name], str), name
            assert 1 <= len(line[name].strip()) <= 1024
            assert line[name].isascii()
        for metric in directive["Metrics"]:
            target = line[metric["Name"]]
            values = target if isinstance(target, list) else [target]
            assert 1 <= len(values) <= 100
            assert all(type(value) in {int, float} and math.isfinite(value) for value in values), metric


# --- CloudWatch -------------------------------------------------------------------------------------------------------


def test_schema_is_one_and_refuses() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    line: dict[str, Any] = {
        "_aws": {
            "Timestamp": 1795617537839,
            "CloudWatchMetrics": [
                {"Namespace": "n", "Dimensions": [["a"]], "Metrics": [{"Name": "b", "Unit": "Count"}]}
            ],
        },
        "a": "x",
        "b": 1,
    }
    VALIDATOR.validate(line)
    for path, value in [
        (("Timestamp",), "now"),
        (("CloudWatchMetrics", 0, "Namespace"), ""),
        (("CloudWatchMetrics", 0, "Dimensions"), ["a"]),
        (("CloudWatchMetrics", 0, "Metrics"), []),
        (("CloudWatchMetrics", 0, "Metrics", 0, "Unit"), "ms"),
    ]:
        broken = json.loads(json.dumps(line))
        place = broken["_aws"]
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        assert not VALIDATOR.is_valid(broken), path


def test_line_of_an_invocation() -> None:
    stream = io.StringIO()
    context = SimpleNamespace(aws_request_id="c6af9ac6-7b61-11e6-9a41-93e8deadbeef")
    Emf(stream=stream).record(measured(), trigger="sqs", seconds=0.0105, is_cold=True, context=context)
    (line,) = emf_lines(stream)
    (directive,) = line.pop("_aws")["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == ("glowplug", [["service"]])
    assert {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]} == METRICS
    assert line == {
        "service": "glowplug", "trigger": "sqs", "function_request_id": context.aws_request_id,
        "Rows": 3, "EngineTime": 7.654, "ParseTime": 1.235, "Duration": 10.5, "ColdStart": 1, "Rejected": 0, "Errors": 0,
    }  # fmt: skip


def test_line_of_an_invocation_with_records() -> None:
    stream = io.StringIO()
    sink = Emf(stream=stream, batch=2)
    for failed in (0, 2):
        sink.record(measured(), trigger="sqs", seconds=0.0, is_cold=False, records=5, failed=failed)
        sink.record(measured(), trigger="sqs", seconds=0.0, is_cold=False)
    records, others = emf_lines(stream)
    assert (sorted(records["FailedRecords"]), records["Records"]) == ([0, 2], [5, 5])
    assert {metric["Name"] for metric in records["_aws"]["CloudWatchMetrics"][0]["Metrics"]} == {
        *METRICS, "Records", "FailedRecords",
    }  # fmt: skip
    assert "Records" not in others


@pytest.mark.parametrize(
    ("error", "rejected", "errors"),
    [
        (None, 0, 0),
        (glowplug.InputError("a row too short"), 1, 0),
        (Problem(413, "too large"), 1, 0),
        (Problem(503, "too busy"), 0, 1),
        (glowplug.DeadlineExceeded("late"), 0, 1),
        (KeyError("amount"), 0, 1),
    ],
)
def test_whose_mistake_it_was(error: Exception | None, rejected: int, errors: int) -> None:
    stream = io.StringIO()
    Emf(stream=stream).record(measured(error=error), trigger="http", seconds=0.01, is_cold=False)
    (line,) = emf_lines(stream)
    assert (line["Rejected"], line["Errors"]) == (rejected, errors)
    assert line.get("error") == (None if error is None else type(error).__name__)


@pytest.mark.parametrize("name", ['a"b\\c', "grösse", "line\nbreak", "\x00", "\ud800", "x" * 2000, ""])
def test_any_name_makes_one_valid_line(name: str) -> None:
    stream = io.StringIO()
    sink = Emf(stream=stream, dimensions=("service", "model", "trigger"))
    sink.record(measured(model=name), trigger=name or "t", seconds=0.0, is_cold=False)
    (line,) = emf_lines(stream)
    assert stream.getvalue().isascii()
    assert "model" in line


def test_names_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    def names(**options: Any) -> tuple[str, str]:
        stream = io.StringIO()
        Emf(stream=stream, **options).record(measured(), trigger="t", seconds=0.0, is_cold=False)
        (line,) = emf_lines(stream)
        return line["_aws"]["CloudWatchMetrics"][0]["Namespace"], line["service"]

    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "score-payments")
    assert names() == ("glowplug", "score-payments")
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Payments")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "fraud")
    assert names() == ("Payments", "fraud")
    assert names(namespace="Mine", service="own") == ("Mine", "own")


def test_batches_hold_every_number_once() -> None:
    stream = io.StringIO()
    sink = Emf(stream=stream, batch=10)
    for rows in range(25):
        sink.record(measured(rows), trigger="http", seconds=0.0, is_cold=rows == 0)
    assert len(emf_lines(stream)) == 2
    sink.record(measured(100, error=KeyError()), trigger="http", seconds=0.0, is_cold=False)
    sink.flush()
    sink.flush()
    lines = emf_lines(stream)
    assert [len(line["Rows"]) for line in lines] == [10, 10, 5, 1]
    assert sorted(rows for line in lines[:3] for rows in line["Rows"]) == list(range(25))
    assert sum(sum(line["ColdStart"]) for line in lines) == 1
    assert (lines[3]["Errors"], lines[3]["error"]) == ([1], "KeyError")


def test_batches_of_many_threads_hold_every_number_once() -> None:
    stream = io.StringIO()
    sink = Emf(stream=stream, batch=7)

    def work(first: int) -> None:
        for rows in range(first, first + 500):
            sink.record(measured(rows), trigger="http", seconds=0.0, is_cold=False)
            if rows % 50 == 0:
                sink.flush()

    threads = [threading.Thread(target=work, args=(500 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sink.flush()
    assert sorted(rows for line in emf_lines(stream) for rows in line["Rows"]) == list(range(2000))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"namespace": ""}, "option `namespace`"),
        ({"namespace": 3}, "got int, expected text"),
        ({"service": "grösse"}, "of ASCII"),
        ({"dimensions": ()}, "expected some of service, model, trigger"),
        ({"dimensions": "request"}, "expected some of service, model, trigger"),
        ({"batch": 101}, "expected 1 to 100"),
        ({"batch": 1.5}, "whole number"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], says: str) -> None:
    with pytest.raises(glowplug.OptionError, match=says):
        Emf(**options)


# --- The others -------------------------------------------------------------------------------------------------------


def samples(sink: Prometheus) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """What a Prometheus server reads."""
    families = list(text_string_to_metric_families(sink.text()))
    assert [family.type for family in families] == ["counter"] * 4 + ["histogram"] * 3
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_prometheus_reads_what_was_counted() -> None:
    sink = Prometheus(buckets=(0.001, 0.01, 0.1))
    assert samples(sink) == {}
    for seconds, error in [(0.0005, None), (0.01, None), (5.0, KeyError()), (0.02, Problem(400, "no"))]:
        sink.record(measured(model='a"\\\n', error=error), trigger="http", seconds=seconds, is_cold=error is None)
    sink.record(Measure(), trigger="sqs", seconds=0.5, is_cold=False, records=5, failed=2)
    got = samples(sink)

    def value(name: str, model: str = 'a"\\\n', trigger: str = "http", **labels: str) -> float:
        return got[name, frozenset({"model": model, "trigger": trigger, **labels}.items())]

    assert [value("glowplug_requests_total", outcome=what) for what in ("ok", "failed", "rejected")] == [2, 1, 1]
    assert value("glowplug_rows_total") == 12
    assert value("glowplug_cold_starts_total") == 2
    bounds = ("0.001", "0.01", "0.1", "+Inf")
    assert [value("glowplug_request_seconds_bucket", le=bound) for bound in bounds] == [1, 2, 3, 4]
    assert value("glowplug_request_seconds_count") == 4
    assert value("glowplug_request_seconds_sum") == pytest.approx(5.0305)
    assert value("glowplug_engine_seconds_sum") == pytest.approx(4 * 0.007654321)
    assert value("glowplug_parse_seconds_sum") == pytest.approx(4 * 0.001234567)
    assert value("glowplug_requests_total", model="", trigger="sqs", outcome="ok") == 1
    assert value("glowplug_failed_records_total", model="", trigger="sqs") == 2
    assert ("glowplug_engine_seconds_count", frozenset({("model", ""), ("trigger", "sqs")})) not in got, "it never ran"


@pytest.mark.parametrize("buckets", [(), (1.0, 1.0), (2.0, 1.0), (math.nan, 1.0)])
def test_prometheus_buckets_rise(buckets: tuple[float, ...]) -> None:
    with pytest.raises(glowplug.OptionError, match="seconds that rise"):
        Prometheus(buckets=buckets)


def test_prometheus_counts_from_many_threads() -> None:
    sink = Prometheus()

    def work() -> None:
        for _ in range(500):
            sink.record(measured(1), trigger="http", seconds=0.001, is_cold=False)
            sink.text()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    labels = frozenset({("model", ""), ("trigger", "http")})
    assert samples(sink)["glowplug_rows_total", labels] == 2000


def test_opentelemetry_exports_what_was_recorded() -> None:
    reader = InMemoryMetricReader()
    sink = OpenTelemetry(MeterProvider([reader]), attributes={"stage": "test"})
    sink.record(measured(model="fraud"), trigger="http", seconds=0.0105, is_cold=True)
    sink.record(measured(error=Problem(400, "no")), trigger="http", seconds=0.02, is_cold=False)
    sink.record(measured(0, error=KeyError()), trigger="sqs", seconds=0.03, is_cold=False, records=10, failed=4)
    sink.flush()
    data = reader.get_metrics_data()
    assert data is not None
    (resource,) = data.resource_metrics
    (scope,) = resource.scope_metrics
    assert (scope.scope.name, scope.scope.version) == ("glowplug", glowplug.__version__)
    metrics = {metric.name: metric for metric in scope.metrics}
    assert set(metrics) == {
        "glowplug.request.duration", "glowplug.engine.duration", "glowplug.parse.duration",
        "glowplug.rows", "glowplug.coldstarts", "glowplug.rejected", "glowplug.errors",
        "glowplug.records.failed",
    }  # fmt: skip

    def points(name: str) -> dict[frozenset[tuple[str, Any]], Any]:
        return {frozenset((point.attributes or {}).items()): point for point in metrics[name].data.data_points}

    def attributes(trigger: str = "http", **more: str) -> frozenset[tuple[str, Any]]:
        named = {name.replace("_", "."): value for name, value in more.items()}
        return frozenset({"stage": "test", "faas.trigger": trigger, **named}.items())

    assert points("glowplug.rows")[attributes(glowplug_model="fraud")].value == 3
    assert points("glowplug.coldstarts")[attributes(glowplug_model="fraud")].value == 1
    assert points("glowplug.rejected")[attributes(error_type="Problem")].value == 1
    assert points("glowplug.records.failed")[attributes("sqs")].value == 4
    assert points("glowplug.errors")[attributes("sqs", error_type="KeyError")].value == 1
    point = points("glowplug.engine.duration")[attributes(glowplug_model="fraud")]
    assert point.sum == pytest.approx(0.007654321)
    assert 0.0075 < max(bound for bound in point.explicit_bounds if bound <= 0.01) <= 0.01, "the buckets are of seconds"
    assert metrics["glowplug.engine.duration"].unit == "s"


def test_opentelemetry_without_a_provider_does_nothing() -> None:
    sink = OpenTelemetry()
    sink.record(measured(), trigger="http", seconds=0.01, is_cold=False)
    sink.flush()


def test_powertools_writes_our_metrics_with_the_users(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Payments")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "fraud")
    metrics = Metrics()
    told = recorder(Powertools(metrics))

    @metrics.log_metrics
    def lambda_handler(event: Any, context: Any) -> None:
        metrics.add_metric("Payments", "Count", 1)
        told.record(measured(), trigger="sqs", seconds=0.0105, context=context, records=4, failed=1)

    lambda_handler({}, SimpleNamespace(function_name="f"))
    (text,) = capsys.readouterr().out.splitlines()
    line = json.loads(text)
    check_emf(line)
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], line["service"]) == ("Payments", "fraud")
    assert (line["Records"], line["FailedRecords"]) == ([4], [1])
    assert (line["Payments"], line["Rows"], line["EngineTime"], line["Duration"]) == ([1], [3], [7.654], [10.5])


def test_powertools_format_our_log_where_the_user_wants_it() -> None:
    stream = io.StringIO()
    ours = logging.getLogger("glowplug")
    before = list(ours.handlers), ours.level, ours.propagate
    try:
        copy_config_to_registered_loggers(Logger(service="fraud", stream=stream), include={"glowplug"})
        scorer = Scorer(glowplug.load(models.mlp(hidden=9)))
        assert scorer.problem(ZeroDivisionError("in a hook")).status == 500
    finally:
        ours.handlers[:], ours.level, ours.propagate = before
    line = json.loads(stream.getvalue())
    assert (line["level"], line["service"], line["exception_name"]) == ("ERROR", "fraud", "ZeroDivisionError")


# --- Who is told, and what that may not do ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, []),
        ({"AWS_LAMBDA_FUNCTION_NAME": "f"}, [Emf]),
        ({"AWS_LAMBDA_FUNCTION_NAME": "f", "GLOWPLUG_TELEMETRY": "off"}, []),
        ({"GLOWPLUG_TELEMETRY": "On"}, [Emf]),
        ({"GLOWPLUG_TELEMETRY": ""}, []),
    ],
)
def test_default(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: list[type]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert [type(sink) for sink in recorder().sinks] == expected
    assert recorder(False).sinks == ()
    sink = Prometheus()
    assert recorder(sink).sinks == (sink,)
    assert recorder([sink, sink]).sinks == (sink, sink)
    assert not recorder([Emf(), sink, Powertools(Metrics())]).buffers
    assert recorder([sink, Emf(batch=2)]).buffers
    assert recorder(OpenTelemetry()).buffers


def test_what_is_no_sink(monkeypatch: pytest.MonkeyPatch) -> None:
    for given in (3, [3], "emf", Emf, object()):
        with pytest.raises(glowplug.OptionError, match=r"option `telemetry`: got .*, expected an object with"):
            recorder(given)  # type: ignore[arg-type]
    monkeypatch.setenv("GLOWPLUG_TELEMETRY", "datadog")
    with pytest.raises(glowplug.OptionError, match="GLOWPLUG_TELEMETRY: got 'datadog'"):
        recorder()


class Broken:
    """A sink that fails."""

    def record(self, *_: Any, **__: Any) -> None:
        raise BrokenPipeError

    def flush(self) -> None:
        raise TimeoutError


def test_sink_that_fails_is_said_once_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    stream = io.StringIO()
    told = recorder([Broken(), Emf(stream=stream)])
    with caplog.at_level(logging.WARNING, "glowplug"):
        for _ in range(3):
            told.record(measured(), trigger="http", seconds=0.0)
        told.flush()
    assert len(emf_lines(stream)) == 3
    assert [record.getMessage() for record in caplog.records] == ["telemetry by Broken fails, which is said once: "]


def test_outcome_of_what_hooks_raise() -> None:
    class Odd(Exception):  # noqa: N818
        status = "400"

    assert outcome(Odd()) == "failed"


def test_line_is_written_with_few_modules() -> None:
    script = """
import sys
import glowplug
before = set(sys.modules)
from glowplug.telemetry import recorder
class Measure:
    rows, read_ns, run_ns, error = 1, 2, 3, None
recorder().record(Measure(), trigger="http", seconds=0.1, is_cold=True)
print(*sorted(set(sys.modules) - before))
"""
    line, imported = python(script, variables={"AWS_LAMBDA_FUNCTION_NAME": "f"}).splitlines()
    check_emf(json.loads(line))
    assert imported.split() == ["glowplug.telemetry", "glowplug.telemetry.emf", "glowplug.telemetry.numbers"]


FUNCTION = """
import json, sys
from types import SimpleNamespace
from glowplug.serve.aws_lambda import handler
lambda_handler = handler("mlp.onnx", warm=0, deliver=lambda _: None)
before = set(sys.modules)
context = SimpleNamespace(aws_request_id="r1", get_remaining_time_in_millis=lambda: 3000)
event = {"requestContext": {"http": {"method": "POST"}}, "rawPath": "/", "headers": {}, "body": None}
for event["body"] in ("[[" + "0," * 29 + "0]]", "[[1]]"):
    lambda_handler(event, context)
imported = sorted(set(sys.modules) - before)
records = [{"eventSource": "aws:sqs", "messageId": str(n), "body": "[[1]]"} for n in range(3)]
lambda_handler({"Records": records}, context)
print(*imported)
"""


def test_function_of_lambda_writes_a_line_for_each_invocation(tmp_path: Path) -> None:
    (tmp_path / "mlp.onnx").write_bytes(models.mlp(hidden=11))
    script = f"import os; os.chdir({str(tmp_path)!r})\n{FUNCTION}"
    *lines, imported = python(script, variables={"AWS_LAMBDA_FUNCTION_NAME": "fraud"}).splitlines()
    http, wrong, sqs = map(json.loads, lines)
    for line in (http, wrong, sqs):
        check_emf(line)
        assert (line["service"], line["function_request_id"]) == ("fraud", "r1")
    assert (http["trigger"], http["Rows"], http["ColdStart"], http["Errors"]) == ("api-gateway-http", 1, 1, 0)
    assert 0 < http["EngineTime"] < http["Duration"]
    assert (wrong["Rejected"], wrong["ColdStart"], wrong["error"]) == (1, 0, "InputError")
    assert (sqs["Records"], sqs["FailedRecords"]) == (3, 3)
    assert "logging" not in imported.split()
    quiet = python(script, variables={"AWS_LAMBDA_FUNCTION_NAME": "fraud", "GLOWPLUG_TELEMETRY": "off"})
    assert len(quiet.splitlines()) == 1


ENDING = """
import signal, sys, time
from glowplug.telemetry import recorder
from glowplug.telemetry.emf import Emf
from glowplug.telemetry.ending import flush_at_end
{before}
told, other, third = recorder(Emf(batch=100)), recorder(Emf(batch=100)), recorder(Emf())
for each in (told, other, third, told):
    flush_at_end(each)
class Measure:
    rows, read_ns, run_ns, error = 1, 2, 3, None
for each in (told, other):
    each.record(Measure(), trigger="http", seconds=0.1)
print("ready", flush=True)
{after}
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        ("", "", 0),
        ("", "time.sleep(60)", -signal.SIGTERM),
        ("signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))", "time.sleep(60)", 7),
    ],
)
def test_what_waits_is_sent_at_the_end(before: str, after: str, code: int) -> None:
    script = ENDING.format(before=before, after=after)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    if after:
        process.send_signal(signal.SIGTERM)
    lines = process.stdout.read().splitlines()
    process.stdout.close()
    assert len(lines) == 2
    for line in lines:
        check_emf(json.loads(line))
    assert process.wait(30) == code


FORKED = """
child = os.fork()
if not child:
    time.sleep(60)
os.kill(child, signal.SIGTERM)
ended = os.waitpid(child, 0)[1]
print(os.waitstatus_to_exitcode(ended), flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_forked_child_ends_as_ever() -> None:
    """What waits is sent once, by the process that took it."""
    script = ENDING.format(before="import os", after=FORKED)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 0, ended.stderr
    ready, child, *lines = ended.stdout.splitlines()
    assert (ready, child, len(lines)) == ("ready", str(-signal.SIGTERM), 2)


EXITS = """
child = os.fork()
if not child:
    # A worker of a server that forks, with numbers of its own.
    told.record(Measure(), trigger="forked", seconds=0.1)
    sys.exit()
os.waitpid(child, 0)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_forked_child_writes_what_is_its_own() -> None:
    script = ENDING.format(before="import os, sys", after=EXITS)
    lines = [json.loads(line) for line in python(script).splitlines() if line.startswith("{")]
    assert sorted(line["trigger"] for line in lines) == ["forked", "http", "http"]


INTERRUPTED = """
import os, signal
from signal import pthread_sigmask
from glowplug.telemetry.ending import in_children

calls = []
def interrupted(how, mask):
    before = pthread_sigmask(how, mask)
    calls.append(how)
    if len(calls) == AT:
        raise KeyboardInterrupt
    return before

signal.pthread_sigmask = interrupted
in_children(lambda: None)
signal.pthread_sigmask = pthread_sigmask
child = os.fork()
left = pthread_sigmask(signal.SIG_BLOCK, ())
if not child:
    os._exit(len(left))
print(len(left), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(calls))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("at", [1, 2])
def test_a_signal_during_a_fork_blocks_no_other_for_good(at: int) -> None:
    """What handlers raise in there, such as that of Ctrl-C, is not raised where the fork is."""
    printed = python(INTERRUPTED.replace("AT", str(at)))
    assert printed.split()[:2] == ["0", "0"]


def test_where_nothing_forks_there_is_nothing_to_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has neither."""
    monkeypatch.delattr(os, "register_at_fork", raising=False)
    monkeypatch.delattr(signal, "pthread_sigmask", raising=False)
    in_children(lambda: None)
    stream = io.StringIO()
    sink = Emf(stream=stream, batch=2)
    sink.record(measured(), trigger="http", seconds=0.01, is_cold=False)
    sink.flush()
    assert len(emf_lines(stream)) == 1


EXPORTED = """
import os, signal, time
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
from glowplug.telemetry import recorder
from glowplug.telemetry.ending import flush_at_end
from glowplug.telemetry.opentelemetry import OpenTelemetry

# In one line, and never by itself.
exporter = ConsoleMetricExporter(formatter=lambda data: data.to_json(indent=None) + "\\n")
provider = MeterProvider([PeriodicExportingMetricReader(exporter, export_interval_millis=1e9)])
told = recorder(OpenTelemetry(provider))
flush_at_end(told)
class Measure:
    rows, read_ns, run_ns, error = 1, 2, 3, None
told.record(Measure(), trigger="http", seconds=0.1)
print("ready", flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("turn", range(3))
def test_opentelemetry_is_flushed_at_sigterm_whatever_the_process_does(turn: int) -> None:
    """It records all the time: the signal may come while it holds the locks that an export takes."""
    one = 'told.record(Measure(), trigger="http", seconds=0.1)\n'
    # The program has recorded one already.
    script = (
        EXPORTED.replace('print("ready"', f'for _ in range(99):\n    {one}print("ready"') + f"while True:\n    {one}"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.01 * turn)
    process.send_signal(signal.SIGTERM)
    (line,) = process.stdout.read().splitlines()
    process.stdout.close()
    assert process.wait(30) == -signal.SIGTERM
    ((scope,),) = (resource["scope_metrics"] for resource in json.loads(line)["resource_metrics"])
    points = {metric["name"]: metric["data"]["data_points"][0] for metric in scope["metrics"]}
    rows, requests = points["glowplug.rows"]["value"], points["glowplug.request.duration"]["count"]
    # All from before the signal; of what the main thread records meanwhile, each number is collected at another moment.
    assert min(rows, requests) >= 100


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_lock_of_opentelemetrys_does_not_keep_a_process_alive() -> None:
    """The signal comes in the midst of an export by the main thread itself, which holds its lock, and keeps it."""
    script = (
        EXPORTED
        + """
def look(_):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
    return [Observation(1)]

provider.get_meter("own").create_observable_gauge("own", [look])
provider.force_flush()
"""
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout) == (-signal.SIGTERM, "ready\n"), ended.stderr
