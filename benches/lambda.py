"""Functions in the lab at 512 MB: initialisation and first invocation, beside an empty function and one on onnxruntime.

    python benches/lambda.py --models mlp --runs 15

Each round starts every function once, in turn, under the real runtime client and Lambda's limits where this machine permits
them. All get the same request of API Gateway with one row; their answers are compared. Packages have byte code, as
pip leaves it. "CPU over empty" is the CPU time of
initialisation and first invocation divided by that of a function that does nothing, "CPU", "wall" and "peak" the parts of
onnxruntime's. glowplug is `glowplug.serve.aws_lambda.handler`; "predict_json" is a handler of one's own on that method.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import harness
import models
from glowplug.lab.facts import read_facts
from glowplug.lab.handlers import find
from glowplug.lab.measure import Lab, Plan
from processes import compile_package

if TYPE_CHECKING:
    from glowplug.lab.measure import Measured

MEMORY = 512
REQUEST = {
    "version": "2.0",
    "rawPath": "/",
    "headers": {"content-type": "application/json"},
    "requestContext": {"http": {"method": "POST", "path": "/"}},
    "isBase64Encoded": False,
}
EMPTY = """
def handler(event, context):
    return {"statusCode": 200, "body": event["body"]}
"""
HANDLER = """
from glowplug.serve.aws_lambda import handler

handler = handler(PATH, method=METHOD)
"""
OWN_HANDLER = """
import glowplug

model = glowplug.load(PATH)

def handler(event, context):
    return {"statusCode": 200, "body": model.predict_json(event["body"], method=METHOD).decode()}
"""
THEIRS = """
import json

import numpy
import onnxruntime

options = onnxruntime.SessionOptions()
options.log_severity_level = 3
session = onnxruntime.InferenceSession(PATH, options)
first = session.get_inputs()[0].name

def handler(event, context):
    rows = numpy.array(json.loads(event["body"])["instances"], "float32")
    scores = session.run([OUTPUT], {first: rows})[0]
    return {"statusCode": 200, "body": json.dumps({"predictions": scores.tolist()})}
"""
#: Model → the one of `models.py`, and the file that glowplug reads if it is not the ONNX file.
SUBJECTS = {
    "mlp": ("mlp", None),
    "lightgbm": ("lightgbm", None),
    "lightgbm-own": ("lightgbm", "lightgbm.txt"),
}


def write(folder: Path, key: str, subject: models.Subject, own_file: str | None) -> tuple[list[str], Path]:
    """The functions and their event."""
    folder.mkdir(parents=True, exist_ok=True)
    row = next(iter(subject.feeds(1).values()))[0].tolist()
    event = folder / f"{key}.json"
    body = json.dumps({"instances": [row]})
    event.write_text(json.dumps({**REQUEST, "body": body}))
    # An own file of LightGBM has one output, the ONNX file a label before it.
    method = "predict" if subject.output == "y" or own_file else "predict_proba"
    path, suffix = models.FOLDER / own_file if own_file else subject.path, key.replace("-", "_")
    words = {"PATH": str(path), "METHOD": method}
    texts = {
        "empty": EMPTY,
        f"glowplug_{suffix}": filled(HANDLER, words),
        f"predict_json_{suffix}": filled(OWN_HANDLER, words),
        f"onnxruntime_{suffix}": filled(THEIRS, {"PATH": str(subject.path), "OUTPUT": subject.output}),
    }
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    return [str(folder / f"{name}.py") for name in texts], event


def filled(text: str, words: dict[str, str]) -> str:
    """The text with names in it as literals."""
    for word, value in words.items():
        text = text.replace(word, repr(value))
    return text


def scores(answer: bytes) -> Any:
    """The scores of an answer: of one row, the last column."""
    found = json.loads(json.loads(answer)["body"])
    while isinstance(found, dict):
        found = found.get("predictions", found.get("outputs")) or next(iter(found.values()))
    return np.array(found).ravel()[-1:]


def main() -> None:
    """Measure every model."""
    arguments = harness.options(__doc__, runs=15)
    facts = read_facts()
    compile_package()
    rows = []
    for key in arguments.models or SUBJECTS:
        name, own_file = SUBJECTS[key]
        chosen = models.chosen([name])
        if not chosen:
            continue
        subject = chosen[name]
        files, event = write(harness.TARGET / "bench" / "lambda", key, subject, own_file)
        plan = Plan(
            memory_mb=[MEMORY], events=[event.read_bytes()], starts=3 if arguments.quick else arguments.runs,
            invocations=30 if arguments.quick else 20 * arguments.runs, look_into=False,
        )  # fmt: skip
        report = Lab([find(file) for file in files], plan, facts).run()
        failed = [one.failure for one in report.measured if one.failure is not None]
        if failed:
            sys.exit(f"{failed[0].message}\n" + "\n".join(failed[0].trace))
        *_, theirs = report.measured
        for ours in report.measured[1:-1]:
            models.same(scores(ours.answer), scores(theirs.answer), subject.tolerance)
        label = subject.name if own_file is None else f"{subject.name}, own file"
        rows.append({"model": label, **figures(*report.measured), "repeat": f"lambda.py --models {key}"})
        if not report.cpu_held:
            print(f"CPU is not limited here, so wall times are estimates: {report.why_not}")
    title = "Functions of AWS Lambda at 512 MB, initialisation and first invocation"
    harness.record("lambda", title, __doc__ or "", rows)


def figures(empty: Measured, ours: Measured, own: Measured, theirs: Measured) -> dict[str, Any]:
    """A row of the table."""
    cold = [one.cold for one in (empty, ours, own, theirs) if one.cold is not None]
    names = ("empty", "glowplug", "predict_json", "onnxruntime")
    row: dict[str, Any] = {f"{name}, CPU ms": spent.cpu * 1e3 for name, spent in zip(names, cold, strict=True)}
    row["CPU over empty"] = cold[1].cpu / cold[0].cpu
    row["CPU"], row["wall"] = cold[1].cpu / cold[3].cpu, cold[1].wall / cold[3].wall
    row["wall ms"] = cold[1].wall * 1e3
    row["peak MB"], row["peak"] = ours.peak_mb, (ours.peak_mb or 0) / (theirs.peak_mb or 1)
    row["warm CPU, ms"], row["onnxruntime's"] = (ours.warm_cpu or 0) * 1e3, (theirs.warm_cpu or 0) * 1e3
    return row


if __name__ == "__main__":
    main()
