"""What converters of scikit-learn's estimators share: trees, labels, names, and errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn

from glowplug.convert.file import LEAF, MISSING_LEFT, MISSING_RIGHT, Answer, Contents, Tree
from glowplug.errors import UnsupportedModelError


def unsupported(kind: str, problem: str, fix: str = "convert it to ONNX with skl2onnx") -> UnsupportedModelError:
    """The error of what is not converted."""
    return UnsupportedModelError.about(kind, problem, fix)


def producer(kind: str) -> str:
    """What the file says of where it comes from."""
    return f"scikit-learn {sklearn.__version__} {kind}"


def feature_names(estimator: Any) -> list[str] | None:
    """Names of columns, if the estimator was fitted to a frame."""
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def of_trees(estimator: Any, kind: str, trees: list[Tree], answer: Answer, divisor: int = 1) -> Contents:
    """Trees of float32 rows, whose leaves begin with nothing."""
    return Contents(
        trees=trees,
        answer=answer,
        features=estimator.n_features_in_,
        feature_names=feature_names(estimator),
        start=np.zeros(trees[0].value.shape[1]),
        divisor=divisor,
        is_float32=True,
        producer=producer(kind),
    )


def labels(estimator: Any, kind: str) -> list[int | str]:
    """Classes as whole numbers or texts."""
    if getattr(estimator, "n_outputs_", 1) > 1:
        raise unsupported(
            kind, f"classifies {estimator.n_outputs_} outputs at once", "train a classifier for each output"
        )
    classes: list[Any] = estimator.classes_.tolist()
    if len(classes) < 2:
        raise unsupported(kind, f"knows only the class {classes[0]!r}", "train with rows of several classes")
    if all(isinstance(one, str) for one in classes):
        return classes
    if all(isinstance(one, bool | int | float) and int(one) == one and abs(one) < 2**63 for one in classes):
        return [int(one) for one in classes]
    raise unsupported(
        kind, f"has the classes {classes[:3]}, expected whole numbers or texts", "train with other labels"
    )


def tree_of(fitted: Any, scale: float | None = None) -> Tree:
    """A tree of scikit-learn, whose leaves may be scaled."""
    nodes = fitted.tree_.__getstate__()["nodes"]
    left, right = nodes["left_child"], nodes["right_child"]
    missing = np.where(nodes["missing_go_to_left"], MISSING_LEFT, MISSING_RIGHT)
    outputs, classes = fitted.tree_.value.shape[1:]
    # Of one output: a number for each class. Of several: one number for each.
    value = fitted.tree_.value.reshape(len(nodes), outputs * classes)
    return Tree(
        left=left,
        right=right,
        feature=nodes["feature"],
        threshold=nodes["threshold"],
        kind=np.where(left < 0, LEAF, missing),
        value=value if scale is None else scale * value,
        cover=nodes["weighted_n_node_samples"],
    )
