"""The handler for AWS Lambda: what it adds to the model when warm.

    python benches/handler.py --models mlp

Times are those of invocations in this process, with one row of JSON in the event of a function URL, beside the same function
written with `json`, NumPy and onnxruntime, and beside `predict_json` alone; "direct" is the same rows as payload of a caller.
Answers are compared first. What cold starts take is in `lambda.py`.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
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
"""


def main() -> None:
    """Measure every model."""
    arguments = harness.options(__doc__)
    count = 2_000 if arguments.quick else 20_000
    measured = []
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
    harness.record("handler", "A request to a warm function of AWS Lambda, one row", __doc__ or "", measured)


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


def _peer(path: Path) -> Any:
    scope: dict[str, Any] = {}
    exec(compile(THEIRS.replace("model.onnx", str(path)), "peer", "exec"), scope)  # noqa: S102
    return scope["handler"]


if __name__ == "__main__":
    main()
