"""Compares a converted model with its estimator, so that no file leaves that answers otherwise."""

from __future__ import annotations

import json
import struct
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from glowplug.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from glowplug.convert.model import Converted

    Array = np.ndarray[Any, Any]

ROWS = 256
#: Within this part answers are the same; most are to the last bit.
TOLERANCE = 1e-6
#: Scores further away from the bound than this are of one label whatever the order of sums.
CLEAR = 1e-12


def check(estimator: Any, converted: Converted, before: Callable[[Array], Array] = lambda x: x) -> None:
    """Raise `ModelError` if answers differ on rows of the numbers that the model itself compares with.

    `before` is what is done with rows before the estimator gets them.
    """
    with converted.load() as model, warnings.catch_warnings():
        # Names of columns, which arrays have not.
        warnings.simplefilter("ignore")
        x = rows(converted.content)
        try:
            expected = estimator.predict(before(x))
        except ValueError:
            # Some estimators take missing numbers only if there were any in the training.
            x = np.nan_to_num(x)
            expected = estimator.predict(before(x))
        if hasattr(estimator, "score_samples"):
            scores = estimator.decision_function(before(x))
            got = model.run({"features": x})
            compare(converted.kind, "decision_function", got["score"], scores)
            # Labels go by sums, which are added in the same order; where threads added them, by the last bit otherwise.
            is_clear = np.abs(scores) > CLEAR
            compare(converted.kind, "predict", got["label"][is_clear], expected[is_clear])
            return
        if not hasattr(estimator, "classes_"):
            compare(converted.kind, "predict", model.predict(x), expected)
            return
        probabilities = estimator.predict_proba(before(x))
        compare(converted.kind, "predict_proba", model.predict_proba(x), probabilities)
        # Classes as good as equal may change places with the last bit.
        ordered = np.sort(probabilities, axis=1)
        is_clear = ordered[:, -1] - ordered[:, -2] > TOLERANCE
        if not np.array_equal(model.predict(x)[is_clear], expected[is_clear]):
            raise differs(converted.kind, "predict")


def compare(kind: str, method: str, got: Array, expected: Array) -> None:
    """Raise an error if numbers differ by more than rounding."""
    if got.shape != expected.shape or not np.allclose(
        got, expected, TOLERANCE, TOLERANCE * np.abs(expected).max(initial=0)
    ):
        raise differs(kind, method)


def differs(kind: str, method: str) -> ModelError:
    """The error of a model that answers otherwise."""
    problem = f"answers to `{method}` otherwise once it is converted"
    return ModelError.about(kind, problem, "report this as a bug, with the version of scikit-learn")


def rows(content: bytes) -> Array:
    """Rows of the model's own thresholds and their neighbours, of categories, and of missing and other numbers."""
    head, columns, thresholds = splits(content)
    random = np.random.default_rng(0)
    is_single = head["input"] == "float32"
    x = random.normal(size=(ROWS, head["features"])) * 10.0 ** random.integers(-3, 4, size=head["features"])
    for column in np.unique(columns):
        own = thresholds[columns == column]
        # What scalers before the trees make infinite, scikit-learn refuses.
        own = own[np.abs(own) < 1e30]
        if not len(own):
            continue
        own = own.astype(np.float32 if is_single else np.float64)
        own = np.concatenate(
            [own, np.nextafter(own, np.inf, dtype=own.dtype), np.nextafter(own, -np.inf, dtype=own.dtype)]
        )
        is_own = random.random(ROWS) < 0.7
        x[is_own, column] = random.choice(own, size=int(is_own.sum()))
    for column in head["whole_columns"]:
        x[:, column] = random.choice([0, 1, 2, 3, 5, 8, 13, 200, 254, 300, 1.5, -1, -0.5], size=ROWS)
    x[random.random(x.shape) < 0.1] = 0.0
    x[random.random(x.shape) < 0.1] = np.nan
    return np.asarray(x, np.float32 if is_single else np.float64)


def splits(content: bytes) -> tuple[dict[str, Any], Array, Array]:
    """The head of a file, and the columns and thresholds of all splits."""
    (length,) = struct.unpack_from("<I", content, 12)
    head = json.loads(content[16 : 16 + length])
    at = 16 + length
    lists = []
    for count, dtype in (
        (head["trees"], "<u4"),
        (head["nodes"], "u1"),
        (head["splits"], f"<u{head['feature_bytes']}"),
        (head["splits"], f"<f{head['threshold_bytes']}"),
    ):
        lists.append(np.frombuffer(content, dtype, count, at))
        at += -(-lists[-1].nbytes // 8) * 8
    return head, lists[2], lists[3].astype(np.float64)
