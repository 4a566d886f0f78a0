"""Credit risk as Azure functions, in the programming model v2: over HTTP, and for applications that come through a queue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import azure.functions as func

from glowplug.serve import azure

MODEL = Path(__file__).resolve().with_name("model.onnx")

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
# POST /api/predict, and the Open Inference Protocol below /api/v2.
app.register_functions(azure.blueprint({"fraud": MODEL}, method="predict_proba", timeout=5.0))


def deliver(predictions: Any, msg: func.QueueMessage, scores: func.Out[str], _: func.Out[str]) -> None:
    """Put the risk of each application of a message into the queue `scores`."""
    scores.set(json.dumps({"id": msg.id, "risks": [bad for _, bad in predictions]}))


def reject(problem: Any, msg: func.QueueMessage, _: func.Out[str], rejected: func.Out[str]) -> None:
    """Put a message that cannot be scored, and never will be, into the queue `rejected`, with the reason."""
    rejected.set(json.dumps({"id": msg.id, "why": problem.detail, **problem.members}))


score = azure.message_handler(MODEL, deliver, reject=reject, method="predict_proba", timeout=5.0)


@app.queue_trigger(arg_name="msg", queue_name="applications", connection="AzureWebJobsStorage")
@app.queue_output(arg_name="scores", queue_name="scores", connection="AzureWebJobsStorage")
@app.queue_output(arg_name="rejected", queue_name="rejected", connection="AzureWebJobsStorage")
def score_applications(msg: func.QueueMessage, scores: func.Out[str], rejected: func.Out[str]) -> None:
    """Score the applications of one message: rows as JSON."""
    score(msg, scores, rejected)
