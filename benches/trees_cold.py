"""A cold process that loads a tree model and scores one row, by glowplug and by everybody else, and its peak memory.

    python benches/trees_cold.py --models flights --runs 7

Each round starts every program once, in turn; all print the same score. Ratios are the peer's figure / glowplug's of its
library's own file, of scikit-learn's models of the ONNX file; CPU time and memory are those beyond a bare interpreter.
GTIL reads the library's file, tl2cgen and lleaves what they compiled before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import harness
import tree_models
from processes import compare, measure
from tree_peers import theirs

if TYPE_CHECKING:
    from tree_models import Subject

BARE = "print(0)"
ROW = """
import sys
path, row = sys.argv[1], [float(value) for value in sys.argv[2].split()]
"""
#: Prints the last of a row's scores, whatever axes they come in.
LAST = "\nprint(float(numpy.asarray(scores).ravel()[-1]))"
OURS = (
    ROW
    + """
import glowplug
model = glowplug.load(path)
scores = model.predict_rows([row], method="predict_proba" if model.outputs[0].name == "label" else "predict")[0]
print(scores[-1] if isinstance(scores, list) else scores)
assert "numpy" not in sys.modules
"""
)
PROGRAMS = {
    "LightGBM": "import numpy, lightgbm\nscores = lightgbm.Booster(model_file=path).predict([row], num_threads=1)",
    "XGBoost": "import numpy, xgboost\nbooster = xgboost.Booster(model_file=path)\n"
    "scores = booster.inplace_predict(numpy.array([row], numpy.float32))",
    "scikit-learn": "import numpy, pickle\nmodel = pickle.load(open(path, 'rb'))\n"
    "scores = getattr(model, 'predict_proba', model.predict)([row])",
    "onnxruntime": "import numpy, onnxruntime\noptions = onnxruntime.SessionOptions()\n"
    "options.intra_op_num_threads = 1\noptions.log_severity_level = 3\n"
    "session = onnxruntime.InferenceSession(path, options)\n"
    "feed = {session.get_inputs()[0].name: numpy.array([row], numpy.float32)}\nscores = session.run(None, feed)[-1]",
    "GTIL of LightGBM": "import numpy, treelite\nmodel = treelite.frontend.load_lightgbm_model(path)\n"
    "scores = treelite.gtil.predict(model, numpy.array([row]), nthread=1)",
    "GTIL of XGBoost": "import numpy, treelite\nmodel = treelite.frontend.load_xgboost_model(path)\n"
    "scores = treelite.gtil.predict(model, numpy.array([row], numpy.float32), nthread=1)",
    "tl2cgen": "import numpy, tl2cgen\npredictor = tl2cgen.Predictor(path, nthread=1)\n"
    "rows = numpy.array([row], sys.argv[3])\nscores = predictor.predict(tl2cgen.DMatrix(rows))",
    "lleaves": "import numpy, lleaves\nmodel = lleaves.Model(path)\nmodel.compile(cache=sys.argv[3])\n"
    "scores = model.predict(numpy.array([row]), n_jobs=1)",
}  # fmt: skip
MODELS = ("cancer", "flights", "large", "flights-xgb", "forest")


def programs(subject: Subject, row: str) -> dict[str, tuple[str, ...]]:
    """Who can score this model, with arguments."""
    path = str(subject.path)

    def of(name: str, file: str = path, *more: str) -> tuple[str, ...]:
        return (ROW + PROGRAMS[name] + LAST, file, row, *more)

    own = subject.library != "scikit-learn"
    found = {"bare": (BARE,), "glowplug": (OURS, path if own else str(subject.onnx), row)}
    found[subject.library] = of(subject.library)
    if subject.onnx:
        found["onnxruntime"] = of("onnxruntime", str(subject.onnx))
    if own and harness.installed("treelite"):
        found["GTIL"] = of(f"GTIL of {subject.library}")
    if subject.compiles and harness.installed("tl2cgen"):
        dtype = "float32" if subject.library == "XGBoost" else "float64"
        found["tl2cgen"] = of("tl2cgen", str(subject.path.with_suffix(".quantize0.so")), dtype)
    if subject.compiles and subject.library == "LightGBM" and harness.installed("lleaves"):
        found["lleaves"] = of("lleaves", path, str(subject.path.with_suffix(".lleaves.elf")))
    return found


def main() -> None:
    """Measure a start of everybody with every model."""
    arguments = harness.options(__doc__, runs=7)
    rows: list[dict[str, Any]] = []
    for key in arguments.models or MODELS:
        subject = tree_models.subject(key)
        theirs(subject, 1)  # Compiles what is not compiled yet.
        started = programs(subject, " ".join(map(repr, np.nan_to_num(subject.data.x[0]).tolist())))
        expected = float(measure(*started[subject.library])[0])
        for name, program in started.items():
            if name != "bare":
                np.testing.assert_allclose(float(measure(*program)[0]), expected, 1e-4, 1e-5, err_msg=name)
        got = compare(started, 1 if arguments.quick else arguments.runs)
        _, bare, bare_peak = got.pop("bare")
        wall, cpu, peak = got["glowplug"]
        for name, (their_wall, their_cpu, their_peak) in got.items():
            row = {
                "model": subject.name,
                "program": name,
                "wall ms": their_wall,
                "CPU beyond bare, ms": their_cpu - bare,
            }
            row["peak beyond bare, MB"] = their_peak - bare_peak
            if name != "glowplug":
                row["× wall"], row["× CPU beyond"] = their_wall / wall, (their_cpu - bare) / (cpu - bare)
                row["× peak beyond"] = (their_peak - bare_peak) / (peak - bare_peak)
            rows.append(row | {"repeat": f"trees_cold.py --models {key}"})
    harness.record("trees cold", "Trees: a cold process that loads a model and scores one row", __doc__ or "", rows)


if __name__ == "__main__":
    main()
