"""Bagging and AdaBoost, where what is asked are single trees."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn import ensemble, tree

from glowplug.convert.file import Answer, Contents, Tree
from glowplug.convert.parts import labels, of_trees, tree_of, unsupported

Array = np.ndarray[Any, Any]


def bagging(estimator: Any, kind: str) -> Contents:
    """The mean of trees, each of which was given some of the columns, and may know some of the classes."""
    is_classifier = isinstance(estimator, ensemble.BaggingClassifier)
    answer = Answer(choice="largest", labels=labels(estimator, kind)) if is_classifier else Answer()
    trees = []
    for one, columns in zip(estimator.estimators_, estimator.estimators_features_, strict=True):
        found = tree_alone(one, kind)
        # Columns of leaves are -2.
        found = replace(found, feature=np.asarray(columns)[np.maximum(found.feature, 0)])
        if is_classifier:
            value = np.zeros((len(found.kind), len(answer.labels or ())))
            # Its classes are the numbers of the classes of all.
            value[:, one.classes_] = found.value
            found = replace(found, value=value)
        trees.append(found)
    return of_trees(estimator, kind, trees, answer, divisor=len(trees))


def adaboost(estimator: Any, kind: str) -> Contents:
    """Votes of trees: each class gets a tree's weight, or what is taken from all others if it is not chosen.

    Sums are those before they are divided by all weights, so that labels, which are chosen by them, have scikit-learn's bits.
    """
    known = labels(estimator, kind)
    count, total = len(known), float(estimator.estimator_weights_.sum())
    if not 0 < total < np.inf:
        raise unsupported(kind, f"has weights that add up to {total}", "train it with other parameters")
    trees = []
    for one, weight in zip(estimator.estimators_, estimator.estimator_weights_.tolist(), strict=False):
        found = tree_alone(one, kind)
        chosen = np.searchsorted(estimator.classes_, one.classes_)[found.value.argmax(axis=1)]
        votes = np.where(np.arange(count) == chosen[:, None], weight, -1 / (count - 1) * weight)
        # Of two classes, what the second one gets is what the first one does not.
        trees.append(replace(found, value=votes[:, 1:] if count == 2 else votes))
    answer = Answer(
        "sigmoid" if count == 2 else "scaled_softmax",
        2 / total if count == 2 else 1 / (total * (count - 1)),
        "beyond" if count == 2 else "largest",
        chooses_by_sums=True,
        labels=known,
    )
    return of_trees(estimator, kind, trees, answer)


def tree_alone(one: Any, kind: str) -> Tree:
    """The tree that was trained as a part."""
    if not isinstance(one, tree.DecisionTreeClassifier | tree.DecisionTreeRegressor):
        what = type(one).__name__
        raise unsupported(
            kind, f"asks a {what}, and is converted where it asks single trees, as DecisionTreeClassifier"
        )
    return tree_of(one)
