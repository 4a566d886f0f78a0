"""Why a row got its score: contributions of features, beside LightGBM's `pred_contrib` and XGBoost's `pred_contribs`.

    python benches/contributions.py --models flights

Other rows in each call, in turn; ratios are the library's time / glowplug's. Answers are compared first, as parts of the
largest number of a row: with LightGBM's to 1e-6, with XGBoost's, which are of float32, to 1e-4. `TreeExplainer` of the
package shap asks the libraries for these same answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import glowplug
import harness
import tree_models
from tree_peers import Peer
from trees import timed

if TYPE_CHECKING:
    from tree_models import Array, Subject

MODELS = ("cancer", "flights", "large", "routes", "images", "diabetes-xgb", "flights-xgb", "digits-xgb", "diamonds-xgb")
SIZES = (1, 100, 1_000)
#: Rows at most, of models of which the libraries explain 25 to 50 rows a second.
MOST = {"large": 100, "diamonds-xgb": 100}


def of_library(subject: Subject, threads: int) -> Peer:
    """The library's own answer to rows in an array."""
    if subject.library == "LightGBM":
        import lightgbm

        trees = lightgbm.Booster(model_file=subject.path)
        return Peer(lambda rows: trees.predict(rows, pred_contrib=True, num_threads=threads))
    import xgboost

    booster = xgboost.Booster(model_file=subject.path)
    booster.set_param({"nthread": threads})

    def predict(rows: Array) -> Array:
        return booster.predict(xgboost.DMatrix(rows, nthread=threads), pred_contribs=True)

    return Peer(predict, np.float32, 1e-4)


def assert_same(got: Array, expected: Array, tolerance: float) -> None:
    """Raise if contributions differ by more than a part of the largest of a row."""
    expected = expected.reshape(got.shape)
    scale = np.abs(expected).max(axis=-1, keepdims=True)
    worst = float((np.abs(got - expected) / scale).max())
    assert worst <= tolerance, f"contributions differ by {worst:.1e} of the largest of a row"


def main() -> None:
    """Measure every model with one thread, and with two where there are many rows."""
    arguments = harness.options(__doc__, most=1_000, clock="wall")
    found = []
    for key in arguments.models or MODELS:
        subject = tree_models.subject(key)
        x = subject.data.rows(5_000)
        sizes = [size for size in SIZES if size <= min(arguments.most, MOST.get(key, size))]
        for threads in (1, 2) if arguments.clock == "wall" else (1,):
            library = of_library(subject, threads)
            model = glowplug.load(subject.path, threads=threads)
            some = x[:100].astype(library.dtype)
            assert_same(model.contributions(some), library.predict(some), library.tolerance)
            peers = {"glowplug": Peer(model.contributions, library.dtype), subject.library: library}
            for size in sizes if threads == 1 else sizes[-1:]:
                budget = 0.2 if arguments.quick else 2
                got = timed(peers, x, size, budget=budget, rest=0, clock=arguments.clock)
                row: dict[str, Any] = {"model": subject.name, "threads": threads, "rows": size}
                row["µs"] = got["glowplug"] * 1e6
                row["µs a row"] = got["glowplug"] * 1e6 / size
                row["× library"] = got[subject.library] / got["glowplug"]
                found.append(row | {"repeat": f"contributions.py --models {key}"})
    title = "Why this score: contributions of features"
    harness.record("contributions", title, __doc__ or "", found, keep=arguments.clock == "wall")


if __name__ == "__main__":
    main()
