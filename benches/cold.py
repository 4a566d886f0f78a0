"""Cold start: a fresh process imports, loads and scores one row, beside onnxruntime and a bare interpreter.

    python benches/cold.py --models mlp --runs 15

Each round starts every program once, in turn. All programs score the same row; their answers are compared first.
"CPU beyond" is the CPU time above that of a bare interpreter, as a part of onnxruntime's; peak memory is a part of the whole.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import harness
import models
from processes import compare, measure

BARE = "print('none')"
IMPORT = "import glowplug\nprint('none')"
OURS = """
import sys, glowplug
model = glowplug.load(sys.argv[1])
body = open(sys.argv[2], "rb").read()
answer = model.predict_json(body)
assert "numpy" not in sys.modules
print(answer.decode())
"""
ARRAYS = """
import sys, json, numpy, glowplug
model = glowplug.load(sys.argv[1])
names = {spec.name: spec.dtype for spec in model.inputs}
rows = json.load(open(sys.argv[2]))["instances"]
if len(names) == 1:
    rows = [{next(iter(names)): row} for row in rows]
feeds = {name: numpy.array([row[name] for row in rows], dtype) for name, dtype in names.items()}
print(json.dumps({"predictions": model.predict(feeds).tolist()}))
"""
THEIRS = """
import sys, json, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.log_severity_level = 3
session = onnxruntime.InferenceSession(sys.argv[1], options)
kinds = {"tensor(float)": "float32", "tensor(int64)": "int64"}
names = {spec.name: kinds[spec.type] for spec in session.get_inputs()}
rows = json.load(open(sys.argv[2]))["instances"]
if len(names) == 1:
    rows = [{next(iter(names)): row} for row in rows]
feeds = {name: numpy.array([row[name] for row in rows], dtype) for name, dtype in names.items()}
first = session.get_outputs()[0].name
print(json.dumps({"predictions": session.run([first], feeds)[0].tolist()}))
"""


def body_of(subject: models.Subject, path: Path) -> None:
    """One row as a request would bring it."""
    feeds = {name: array[0].tolist() for name, array in subject.feeds(1).items()}
    row = next(iter(feeds.values())) if len(feeds) == 1 else feeds
    path.write_text(json.dumps({"instances": [row]}))


def main() -> None:
    """Measure a start with every model."""
    arguments = harness.options(__doc__, runs=15)
    runs = 4 if arguments.quick else arguments.runs
    rows = []
    for key, subject in models.chosen(arguments.models).items():
        body = models.FOLDER / f"{key}.json"
        body_of(subject, body)
        files = (str(subject.path), str(body))
        programs = {
            "bare": (BARE,), "import": (IMPORT,), "glowplug": (OURS, *files), "with NumPy": (ARRAYS, *files),
            "onnxruntime": (THEIRS, *files),
        }  # fmt: skip
        answers = [json.loads(measure(program, *files)[0])["predictions"] for program in (OURS, ARRAYS, THEIRS)]
        for answer in answers[:-1]:
            models.same(np.array(answer), np.array(answers[-1]), 1e-5)
        got = compare(programs, runs)
        bare = got["bare"][1]
        row: dict[str, Any] = {"model": subject.name}
        for name in ("bare", "import", "glowplug", "with NumPy", "onnxruntime"):
            row[f"{name}, CPU ms"] = got[name][1]
        row["CPU beyond"] = (got["glowplug"][1] - bare) / (got["onnxruntime"][1] - bare)
        row["wall"] = got["glowplug"][0] / got["onnxruntime"][0]
        row["peak MB"] = got["glowplug"][2]
        row["peak"] = got["glowplug"][2] / got["onnxruntime"][2]
        row["repeat"] = f"cold.py --models {key}"
        rows.append(row)
    title = "Cold start to the first score of a JSON body; ratios: glowplug / onnxruntime"
    harness.record("cold", title, __doc__ or "", rows)


if __name__ == "__main__":
    main()
