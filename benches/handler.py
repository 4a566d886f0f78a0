"""The handler for AWS Lambda: what it adds to the model when warm.

    python benches/handler.py --models mlp

Times are those of invocations in this process, with one row of JSON in the event of a function URL, beside the same function
written with `json`, NumPy and onnxruntime, and beside `predict_json` alone; "direct" is the same rows as payload of a caller.
"records" are batches of a queue, one record of which is broken; the peer reads all, leaves the broken ones out, runs once and
delivers the rest; this is CPU time. Answers are compared first. What cold starts take is in `lambda.py`.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from awslambdaric.lambda_context import LambdaContext

import glowplug
import harness
import models
from glowplug.serve.aws_lambda import handler

THEIRS = """
import json
import numpy
import onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.log_severity_level = 3
session = onnxruntime.InferenceSession("model.onnx", options)
kinds = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(int64)": "int64"}
names = {spec.name: kinds[spec.type] for spec in session.get_inputs()}
first = session.get_outputs()[0].name

def handler(event, context):
    rows = json.loads(event["body"])["instances"]
    if len(names) == 1:
        rows = [{next(iter(names)): row} for row in rows]
    feeds = {name: numpy.array([row[name] for row in rows], dtype) for name, dtype in names.items()}
    body = json.dumps({"predictions": session.run([first], feeds)[0].tolist()})
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": body}

def queue(event):
    rows = []
    for record in event["Records"]:
        try:
            rows += json.loads(record["body"])
        except ValueError:
            pass
    if len(names) == 1:
        rows = [{next(iter(names)): row} for row in rows]
    feeds = {name: numpy.array([row[name] for row in rows], dtype) for name, dtype in names.items()}
    return [[score] for score in session.run([first], feeds)[0].tolist()]
"""


def main() -> None:
    """Measure every model."""
    arguments = harness.options(__doc__)
    # Broken records are written to the log, which is no part of the page.
    logging.getLogger("glowplug").addHandler(logging.NullHandler())
    count = 2_000 if arguments.quick else 20_000
    measured, batches = [], []
    for key, subject in models.chosen(arguments.models or ["mlp", "lightgbm"]).items():
        feeds = {name: array[0].tolist() for name, array in subject.feeds(1).items()}
        row = next(iter(feeds.values())) if len(feeds) == 1 else feeds
        event = {
            "version": "2.0",
            "requestContext": {"http": {"method": "POST", "path": "/"}},
            "rawPath": "/",
            "headers": {"content-type": "application/json", "accept": "*/*"},
            "body": json.dumps({"instances": [row]}),
            "isBase64Encoded": False,
        }
        found = warm_calls(subject, event, count)
        measured.append({"model": subject.name, **found, "repeat": f"handler.py --models {key}"})
        batches += [
            {"model": subject.name, **part, "repeat": f"handler.py --models {key}"} for part in queues(subject, count)
        ]
    harness.record("handler", "A request to a warm function of AWS Lambda, one row", __doc__ or "", measured)
    harness.record("handler records", "Records of a queue in a warm function of AWS Lambda", __doc__ or "", batches)


def warm_calls(subject: models.Subject, event: dict[str, Any], count: int) -> dict[str, Any]:
    """Invocations in this process, one of each in turn."""
    model = glowplug.load(subject.path, threads=1)
    ours, body, payload = handler(model), event["body"], json.loads(event["body"])
    theirs = _peer(subject.path)
    context = LambdaContext("id", None, None, int((time.time() + 900) * 1000), "arn")
    calls: dict[str, harness.Call] = {
        "predict_json": lambda: model.predict_json(body),
        "handler": lambda: ours(event, context),
        "peer": lambda: theirs(event, context),
        "direct": lambda: ours(payload, context),
    }
    answers = [np.array(json.loads(ask(event, context)["body"])["predictions"]) for ask in (ours, theirs)]
    models.same(answers[0], answers[1], subject.tolerance)
    got = harness.latencies(calls, count=count)
    row: dict[str, Any] = {f"{name}, p50 µs": got[name][0] * 1e6 for name in calls}
    row["adds, µs"] = (got["handler"][0] - got["predict_json"][0]) * 1e6
    row["p99 µs"] = got["handler"][1] * 1e6
    row["× peer"] = got["peer"][0] / got["handler"][0]
    return row


def queues(subject: models.Subject, count: int) -> list[dict[str, Any]]:
    """Batches of records."""
    rows = []
    for size in (10, 100, 1_000):
        feeds = {name: array.tolist() for name, array in subject.feeds(size).items()}
        one = next(iter(feeds.values())) if len(feeds) == 1 else None
        bodies = [
            json.dumps([one[at]] if one else {name: values[at] for name, values in feeds.items()}) for at in range(size)
        ]
        bodies[7] = bodies[7][:-5]
        records = [
            {
                "messageId": str(at),
                "body": body,
                "attributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:queue",
            }
            for at, body in enumerate(bodies)
        ]
        event: dict[str, Any] = {"Records": records}
        taken: dict[str, list[Any]] = {"handler": [], "peer": []}
        ours = handler(
            glowplug.load(subject.path, threads=1),
            deliver=lambda done: taken.update(handler=[delivery.answer for delivery in done]),
        )
        theirs = _peer(subject.path, "queue")
        context = LambdaContext("id", None, None, int((time.time() + 900) * 1000), "arn")
        calls: dict[str, harness.Call] = {
            "handler": lambda: ours(event, context),
            "peer": lambda: taken.update(peer=theirs(event)),
        }
        assert calls["handler"]() == {"batchItemFailures": [{"itemIdentifier": "7"}]}
        calls["peer"]()
        models.same(np.array(taken["handler"]), np.array(taken["peer"]), subject.tolerance)
        got = cpu(calls, max(20, count // size))
        row: dict[str, Any] = {"records": size, "CPU µs": got["handler"] * 1e6, "a record": got["handler"] * 1e6 / size}
        rows.append({**row, "× peer": got["peer"] / got["handler"]})
    return rows


def cpu(calls: dict[str, harness.Call], count: int) -> dict[str, float]:
    """Median CPU seconds of calls in one thread, one of each in turn: by the clock, other processes cut long calls up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(count):
        for name, call in calls.items():
            started = time.thread_time()
            call()
            times[name].append(time.thread_time() - started)
    return {name: median(taken) for name, taken in times.items()}


def _peer(path: Path, name: str = "handler") -> Any:
    scope: dict[str, Any] = {}
    exec(compile(THEIRS.replace("model.onnx", str(path)), "peer", "exec"), scope)  # noqa: S102
    return scope[name]


if __name__ == "__main__":
    main()
