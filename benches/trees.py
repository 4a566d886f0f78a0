"""Trees in glowplug beside LightGBM, XGBoost and onnxruntime, all on one thread: rows per second, and a cold process.

    python benches/trees.py

Own models of the libraries are compared with the libraries bit for bit before anything is timed, ONNX models with
onnxruntime within its rounding. Calls alternate, with other rows in each. The cold process scores one row from a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np
import onnxruntime
import xgboost
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

import glowplug
import harness
from processes import compare, measure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Predict = Callable[[Any], Any]

COLUMNS = 30
#: Of LightGBM: (trees, leaves). Of XGBoost: (trees, depth).
SHAPES = {"small": (100, 31), "usual": (500, 31), "large": (500, 255)}
DEPTHS = {"xgboost": (500, 6)}
OURS = """
import sys, glowplug
row = [float(value) for value in sys.argv[2].split()]
print(glowplug.load(sys.argv[1]).predict_rows([row])[0])
assert "numpy" not in sys.modules
"""
THEIRS = """
import sys, lightgbm
row = [float(value) for value in sys.argv[2].split()]
print(float(lightgbm.Booster(model_file=sys.argv[1]).predict([row], num_threads=1)[0]))
"""


def onnx_session(path: Path) -> Predict:
    """The second output of an ONNX classifier by onnxruntime with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options)
    return lambda rows: session.run(["probabilities"], {"x": rows})[0]


def of_lightgbm(x: Any, y: Any, shape: tuple[int, int], path: Path) -> dict[str, Predict]:
    """Predictors of one model, ours of its own file and of the ONNX file, and the peers'."""
    trees, leaves = shape
    options = {"objective": "binary", "num_leaves": leaves, "verbose": -1}
    booster = lightgbm.train(options, lightgbm.Dataset(x, y), trees)
    booster.save_model(path)
    converted = convert_lightgbm(booster, initial_types=[("x", FloatTensorType([None, COLUMNS]))], zipmap=False,
                                 target_opset=15)  # fmt: skip
    path.with_suffix(".onnx").write_bytes(converted.SerializeToString())
    booster, own = lightgbm.Booster(model_file=path), glowplug.load(path, threads=1)
    return {"own file": own.predict, "library": lambda rows: booster.predict(rows, num_threads=1)}


def of_xgboost(x: Any, y: Any, shape: tuple[int, int], path: Path) -> dict[str, Predict]:
    """The same for XGBoost."""
    trees, depth = shape
    options = {"objective": "binary:logistic", "max_depth": depth, "nthread": 1}
    booster = xgboost.train(options, xgboost.DMatrix(x, y), trees)
    booster.save_model(path)
    converted = convert_xgboost(booster, initial_types=[("x", FloatTensorType([None, COLUMNS]))], target_opset=15)
    path.with_suffix(".onnx").write_bytes(converted.SerializeToString())
    own = glowplug.load(path, threads=1)
    return {"own file": own.predict, "library": booster.inplace_predict}


def warm(name: str, key: str, x: Any, predictors: dict[str, Predict], rounds: int) -> list[dict[str, Any]]:
    """Times of all predictors for batches of several sizes."""
    single = x.astype(np.float32)
    found = []
    for count in (1, 10, 100, 1_000, 10_000):
        # Other rows in each call: of the same few, a processor learns the way through the trees.
        starts = range(0, len(x) - count + 1, count)
        turn = dict.fromkeys(predictors, 0)

        def call(who: str, count: int = count, starts: range = starts, turn: dict[str, int] = turn) -> Any:
            turn[who] += 1
            start = starts[turn[who] % len(starts)]
            rows = single if "ONNX" in who or who == "onnxruntime" else x
            return predictors[who](rows[start : start + count])

        for who in predictors:
            call(who)
        got = harness.interleaved({who: lambda who=who: call(who) for who in predictors}, rounds=rounds, seconds=0.01)
        ours, onnx = got["own file"], got["ONNX file"]
        found.append({
            "model": name, "rows": count, "µs": ours * 1e6, "× library": got["library"] / ours,
            "× onnxruntime": got["onnxruntime"] / ours, "µs of ONNX": onnx * 1e6,
            "ONNX × onnxruntime": got["onnxruntime"] / onnx, "repeat": f"trees.py --models {key}",
        })  # fmt: skip
    return found


def main() -> None:
    """Measure every shape of model."""
    arguments = harness.options(__doc__)
    random = np.random.default_rng(0)
    x = random.normal(size=(20_000, COLUMNS)).astype(np.float32).astype(float)
    y = x @ random.normal(size=COLUMNS) + random.normal(size=len(x)) > 0
    folder = harness.TARGET / "bench" / "models"
    folder.mkdir(parents=True, exist_ok=True)
    warm_rows: list[dict[str, Any]] = []
    cold: list[dict[str, Any]] = []
    for key in arguments.models or [*SHAPES, *DEPTHS]:
        is_lightgbm = key in SHAPES
        trees, size = (SHAPES | DEPTHS)[key]
        name = f"LightGBM {trees}×{size} leaves" if is_lightgbm else f"XGBoost {trees}×depth {size}"
        path = folder / f"trees-{key}.{'txt' if is_lightgbm else 'ubj'}"
        data = x if is_lightgbm else x.astype(np.float32)
        predictors = (of_lightgbm if is_lightgbm else of_xgboost)(data, y, (trees, size), path)
        model = glowplug.load(path.with_suffix(".onnx"), threads=1, engine="native")
        predictors |= {
            "ONNX file": lambda rows, model=model: model.run(rows, ["probabilities"])["probabilities"],
            "onnxruntime": onnx_session(path.with_suffix(".onnx")),
        }
        first = data[:1000]
        own, library = predictors["own file"](first), predictors["library"](first)
        # XGBoost's sigmoid is of float32.
        np.testing.assert_allclose(own, library, 0 if is_lightgbm else 1e-6)
        pair = (predictors[who](first.astype(np.float32))[:, 1] for who in ("ONNX file", "onnxruntime"))
        np.testing.assert_allclose(*pair, atol=1e-4)
        warm_rows += warm(name, key, data, predictors, 3 if arguments.quick else 15)
        if not is_lightgbm:
            continue
        row = " ".join(map(repr, x[0].tolist()))
        programs = {"bare": ("print(0)",), "glowplug": (OURS, str(path), row), "LightGBM": (THEIRS, str(path), row)}
        ours, theirs = (measure(*programs[who])[0] for who in ("glowplug", "LightGBM"))
        assert ours == theirs, "scores differ"
        got_cold = compare(programs, 2 if arguments.quick else 9)
        (_, bare, bare_peak), (_, cpu, peak), (_, their_cpu, their_peak) = (got_cold[who] for who in programs)
        cold.append({
            "model": name, "CPU beyond bare, ms": cpu - bare, "CPU beyond": (cpu - bare) / (their_cpu - bare),
            "peak beyond bare, MB": peak - bare_peak, "peak": peak / their_peak, "repeat": f"trees.py --models {key}",
        })  # fmt: skip
    title = "Trees, one thread; ratios: the peer's time / glowplug's, of the library's own file and of an ONNX file"
    harness.record("trees", title, __doc__ or "", warm_rows)
    harness.record("trees cold", "LightGBM's own models, a cold process that scores one row", __doc__ or "", cold)


if __name__ == "__main__":
    main()
