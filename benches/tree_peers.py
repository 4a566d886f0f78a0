"""Who else can score a tree model, each as fast as it can be called from Python with rows in an array.

At their defaults and at the settings their manuals offer for speed: LightGBM's C API for single rows, tl2cgen with
quantized thresholds, lleaves in float32 with its usual blocks of trees and with one block.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime

import glowplug
import harness
from tree_compilers import by_lleaves, by_tl2cgen
from tree_models import Array, Subject

Predict = Callable[[Array], Any]


@dataclass(frozen=True)
class Peer:
    """A way to score rows of `dtype`, whose scores are `[rows]`, `[rows, classes]`, or these with axes of length 1."""

    predict: Predict
    dtype: type = np.float64
    #: Relative, and absolute beside 1, that its arithmetic explains.
    tolerance: float = 1e-6
    single_rows_only: bool = False


def ours(subject: Subject, threads: int) -> dict[str, Peer]:
    """Glowplug with the library's own file where it reads that, and with the ONNX file."""
    found = {}
    if subject.library != "scikit-learn":
        own = glowplug.load(subject.path, threads=threads)
        found["own file"] = Peer(own.predict, np.float32 if subject.library == "XGBoost" else np.float64)
    if subject.onnx:
        model = glowplug.load(subject.onnx, threads=threads, engine="native")
        found["ONNX file"] = Peer(model.predict_proba if subject.classifies else model.predict, np.float32, 2e-4)
    return found


def theirs(subject: Subject, threads: int) -> dict[str, Peer]:
    """The library itself first, then all others that take the model."""
    library = {"LightGBM": _lightgbm, "XGBoost": _xgboost, "scikit-learn": _sklearn}[subject.library]
    found = library(subject, threads)
    if subject.onnx:
        found["onnxruntime"] = Peer(_onnxruntime(subject, threads), np.float32, 2e-4)
    if harness.installed("treelite"):
        found |= _treelite(subject, threads)
    if subject.compiles and subject.library == "LightGBM" and harness.installed("lleaves"):
        for name, predict in by_lleaves(subject, threads).items():
            found[name] = Peer(predict, *((np.float32, 2e-4) if "float32" in name else (np.float64, 1e-6)))
    return found


def _lightgbm(subject: Subject, threads: int) -> dict[str, Peer]:
    import lightgbm

    from lightgbm_single import SingleRow

    booster = lightgbm.Booster(model_file=subject.path)
    found = {"LightGBM": Peer(lambda rows: booster.predict(rows, num_threads=threads), tolerance=0)}
    if threads == 1:
        found["LightGBM's C API"] = Peer(SingleRow(booster), tolerance=0, single_rows_only=True)
    return found


def _xgboost(subject: Subject, threads: int) -> dict[str, Peer]:
    import xgboost

    booster = xgboost.Booster(model_file=subject.path)
    booster.set_param({"nthread": threads})
    return {"XGBoost": Peer(booster.inplace_predict, np.float32)}


def _sklearn(subject: Subject, threads: int) -> dict[str, Peer]:
    model = pickle.loads(subject.path.read_bytes())
    if hasattr(model, "n_jobs"):
        model.n_jobs = threads
    predict = model.predict_proba if hasattr(model, "classes_") else model.predict
    return {"scikit-learn": Peer(predict, np.float32, 1e-5)}


def _onnxruntime(subject: Subject, threads: int) -> Predict:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(subject.onnx, options)
    wanted, name = [subject.scores()], session.get_inputs()[0].name
    return lambda rows: session.run(wanted, {name: rows})[0]


def _treelite(subject: Subject, threads: int) -> dict[str, Peer]:
    import treelite

    if subject.library == "scikit-learn":
        model = treelite.sklearn.import_model(pickle.loads(subject.path.read_bytes()))
    else:
        kind = {"LightGBM": "lightgbm", "XGBoost": "xgboost"}[subject.library]
        model = getattr(treelite.frontend, f"load_{kind}_model")(subject.path)
    dtype = np.float32 if subject.library == "XGBoost" else np.float64
    found = {"GTIL": Peer(lambda rows: treelite.gtil.predict(model, rows, nthread=threads), dtype, 1e-5)}
    if subject.compiles and harness.installed("tl2cgen"):
        for name, predict in by_tl2cgen(model, subject, threads).items():
            found[name] = Peer(predict, dtype, 1e-5)
    return found


def assert_same(got: Any, expected: Any, tolerance: float) -> None:
    """Raise if scores differ, whatever axes of length 1 they have; of a binary classifier the second class counts."""
    got, expected = (np.asarray(scores).reshape(len(scores), -1) for scores in (got, expected))
    if got.shape[1] != expected.shape[1]:
        got, expected = got[:, -1:], expected[:, -1:]
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)
