"""Operators for classical machine learning whose lists do not fit."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

import models
from corpus.cases import (
    GREEDY,
    LATE,
    Case,
    content,
    node,
    over,
    small,
)
from corpus.tensors import AS_INTEGERS

if TYPE_CHECKING:
    from collections.abc import Callable


def ml(operator: str, outputs: str = "y", **attributes: Any) -> Callable[[], bytes]:
    """A builder: one operator of `ai.onnx.ml` on `x`."""
    wanted = [models.value(name, "int64" if name == "label" else "float32", None) for name in outputs.split()]
    work = node(operator, "x", outputs, domain=models.ML_DOMAIN, **attributes)
    return lambda: small(work, outputs=wanted, domains={models.ML_DOMAIN: models.ML_OPSET})


# A tree of one split: 1 where the first feature is at most 0.5, else 2.
TREE: dict[str, Any] = {
    "n_targets": 1,
    "nodes_treeids": [0, 0, 0],
    "nodes_nodeids": [0, 1, 2],
    "nodes_featureids": [0, 0, 0],
    "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
    "nodes_values": [0.5, 0.0, 0.0],
    "nodes_truenodeids": [1, 0, 0],
    "nodes_falsenodeids": [2, 0, 0],
    "target_treeids": [0, 0],
    "target_nodeids": [1, 2],
    "target_ids": [0, 0],
    "target_weights": [1.0, 2.0],
}


def tree(name: str, error: Any = LATE, **changes: Any) -> Case:
    """A row: the tree with some of its lists changed, or left out where None."""
    return content(f"tree_{name}", ml("TreeEnsembleRegressor", **{**TREE, **changes}), error)


def class_tree(name: str, **changes: Any) -> Case:
    """A row: the tree as a classifier."""
    lists = {key.replace("target_", "class_"): entries for key, entries in TREE.items() if key != "n_targets"}
    return content(f"tree_{name}", ml("TreeEnsembleClassifier", "label y", **{**lists, **changes}), LATE)


def deep_tree(levels: int) -> bytes:
    """A tree that is one long branch: each level has a leaf beside it."""
    inner, leaves = range(levels), range(levels, 2 * levels + 1)
    onward = [*range(1, levels), 2 * levels]
    changes = {
        "nodes_treeids": [0] * (2 * levels + 1),
        "nodes_nodeids": [*inner, *leaves],
        "nodes_featureids": [0] * (2 * levels + 1),
        "nodes_modes": ["BRANCH_LEQ"] * levels + ["LEAF"] * (levels + 1),
        "nodes_values": [float(level) for level in inner] + [0.0] * (levels + 1),
        "nodes_truenodeids": onward + [0] * (levels + 1),
        "nodes_falsenodeids": [*range(levels, 2 * levels), *[0] * (levels + 1)],
    }
    return ml("TreeEnsembleRegressor", **{**TREE, **changes, "target_nodeids": [levels, levels + 1]})()


SVM: dict[str, Any] = {"kernel_type": "RBF", "kernel_params": [0.1, 0.0, 3.0], "rho": [0.0]}
SHORT_SVM: dict[str, Any] = {**SVM, "coefficients": [1.0], "support_vectors": [1.0]}
LINEAR: dict[str, Any] = {"coefficients": [1.0] * 6, "intercepts": [0.0] * 3, "classlabels_ints": [0, 1, 2]}
PICKED = node("ArrayFeatureExtractor", "x w", domain=models.ML_DOMAIN)
TFIDF: dict[str, Any] = {
    "mode": "TF",
    "min_gram_length": 1,
    "max_gram_length": 1,
    "max_skip_count": 0,
    "pool_int64s": [1, 2],
}


def linear(name: str, **changes: Any) -> Case:
    """A row: a linear classifier of three classes and two features, some of whose lists are wrong."""
    return content(f"linear_{name}", ml("LinearClassifier", "label y", **{**LINEAR, **changes}), LATE)


FOUR = {"x": np.ones((2, models.CLASSIFIER_FEATURES), np.float32)}
TABULAR = [
    tree("sound", ()),
    tree("empty", None, **dict.fromkeys(key for key in TREE if key != "n_targets")),
    tree("values_short", nodes_values=[0.5]),
    tree("modes_short", nodes_modes=["BRANCH_LEQ"]),
    tree("features_short", nodes_featureids=[0]),
    tree("children_short", nodes_truenodeids=[1]),
    tree("weights_short", target_weights=[1.0]),
    tree("targets_short", target_ids=[0]),
    tree("target_trees_short", target_treeids=[0]),
    tree("node_numbers_short", nodes_nodeids=[0]),
    tree("node_twice", nodes_nodeids=[0, 1, 1]),
    tree("child_absent", nodes_truenodeids=[77, 0, 0]),
    tree("child_negative", nodes_truenodeids=[-1, 0, 0]),
    tree("child_is_itself", nodes_truenodeids=[0, 0, 0]),
    tree(
        "children_go_round",
        nodes_modes=["BRANCH_LEQ"] * 3,
        nodes_truenodeids=[1, 2, 0],
        nodes_falsenodeids=[1, 2, 0],
    ),
    tree("mode_unknown", nodes_modes=["BRANCH_MAYBE", "LEAF", "LEAF"]),
    tree("feature_far_past_end", nodes_featureids=[2_000_000_000, 0, 0]),
    tree("feature_past_end", nodes_featureids=[2, 0, 0]),
    tree("feature_negative", nodes_featureids=[-1_000_000, 0, 0]),
    tree("target_past_end", target_ids=[0, 99]),
    tree("target_far_past_end", target_ids=[0, 1 << 40]),
    tree("target_negative", target_ids=[0, -3]),
    tree("target_of_absent_node", target_nodeids=[1, 88]),
    tree("targets_huge", GREEDY, n_targets=1 << 40),
    tree("targets_negative", n_targets=-1),
    tree("targets_missing", n_targets=0),
    tree("aggregate_unknown", aggregate_function="MODE"),
    tree("base_values_short", n_targets=3, base_values=[1.0]),
    # ONNX Runtime 1.32 walks down by recursion while it loads, and overflows the stack here (SIGSEGV).
    content("tree_of_50000_levels", lambda: deep_tree(50_000), None),
    class_tree("labels_missing"),
    class_tree("class_past_end", classlabels_int64s=[4, 5], class_ids=[0, 9]),
    linear("coefficients_short", coefficients=[1.0]),
    linear("intercepts_short", intercepts=[0.0]),
    linear("labels_short", classlabels_ints=[0]),
    linear("labels_missing", classlabels_ints=None),
    content("linear_regressor_short", ml("LinearRegressor", coefficients=[1.0], targets=1), LATE),
    content("linear_regressor_huge", ml("LinearRegressor", coefficients=[1.0, 2.0], targets=1 << 40), GREEDY),
    content("scaler_short", ml("Scaler", offset=[1.0], scale=[1.0, 2.0, 3.0]), LATE),
    content("imputer_short", ml("Imputer", imputed_value_floats=[1.0, 2.0, 3.0]), None),
    content("normalizer_unknown", ml("Normalizer", norm="L7"), LATE),
    content("label_encoder_short", ml("LabelEncoder", keys_floats=[1.0, 2.0], values_floats=[3.0]), LATE),
    content("one_hot_without_categories", ml("OneHotEncoder"), LATE),
    content("features_picked_past_end", over(PICKED, domain=models.ML_DOMAIN, version=3, w=[5]), LATE),
    content("features_picked_negative", over(PICKED, domain=models.ML_DOMAIN, version=3, w=[-5]), LATE),
    content(
        "zipmap_labels_short",
        functools.partial(models.zipmap_classifier, zipped=models.INT_LABELS[:1]),
        LATE,
        inputs=FOUR,
    ),
    content("svm_short", ml("SVMRegressor", **SHORT_SVM, n_supports=50), LATE),
    content(
        "svm_classifier_short",
        ml("SVMClassifier", "label y", **SHORT_SVM, vectors_per_class=[30, 40], classlabels_ints=[0, 1]),
        LATE,
    ),
    content(
        "tfidf_short",
        over(
            AS_INTEGERS,
            node("TfIdfVectorizer", "i", ngram_counts=[0, 9], ngram_indexes=[0, 1 << 40], **TFIDF),
        ),
        LATE,
    ),
]
