"""Pipelines before trees: what scales, fills and chooses columns becomes part of the thresholds.

Each column that the trees see is a function of one column that never falls: imputers, scalers, and what is chosen of columns.
So a number is at most a threshold there just if the caller's is at most the largest number of which that is true, and that is
found by halving, with scikit-learn's own arithmetic. What an imputer puts in the place of missing numbers is beyond a threshold
or not, which is where the split sends them.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn import preprocessing
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectorMixin
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline

from glowplug.convert.file import IN_SET, MISSING_LEFT, MISSING_RIGHT, Contents, Tree
from glowplug.convert.parts import feature_names, unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    Array = np.ndarray[Any, Any]

#: Numbers beyond this are what scalers may make infinite, and are alike for all trees.
FAR = 1e200
SCALERS = (
    preprocessing.StandardScaler,
    preprocessing.MinMaxScaler,
    preprocessing.MaxAbsScaler,
    preprocessing.RobustScaler,
)


def fold(pipeline: Pipeline, contents: Contents, kind: str) -> Contents:
    """The contents of a pipeline's last step, as those of all of it. Rows are float64, as they are for its first step."""
    if len(pipeline.steps) == 1:
        return contents
    steps, features = pipeline[:-1], getattr(pipeline, "n_features_in_", contents.features)
    sources = sources_of(steps, np.arange(features), kind)
    if contents.whole_columns:
        fix = "train without steps before the estimator, which numbers categories itself"
        raise unsupported(kind, "has categories behind other steps", fix)

    def column(x: Array) -> Array:
        """What trees compare."""
        with np.errstate(over="ignore"):
            return transform(steps, x).astype(np.float32 if contents.is_float32 else np.float64)

    missing = column(np.full((1, features), np.nan))[0]
    own = [np.unique(thresholds_at(contents.trees, at)) for at in range(len(sources))]
    moved = [np.array(one) for one in own]
    # A column may be given to trees in several ways; each way has its turn.
    turn = np.array([(sources[:at] == source).sum() for at, source in enumerate(sources)])
    for number in range(int(turn.max(initial=-1)) + 1):
        columns = np.flatnonzero(turn == number)
        found = largest_at_most(column, [own[at] for at in columns], columns, sources[columns], features)
        for at, thresholds in zip(columns, found, strict=True):
            moved[at] = thresholds
    return replace(
        contents,
        trees=[folded(one, sources, own, moved, missing) for one in contents.trees],
        features=features,
        feature_names=feature_names(pipeline),
        is_float32=False,
    )


def sources_of(step: Any, sources: Array, kind: str) -> Array:
    """Which of the caller's columns each column is that a step makes of those that it gets."""
    if isinstance(step, Pipeline):
        for _, one in step.steps:
            sources = sources_of(one, sources, kind)
        return sources
    if isinstance(step, ColumnTransformer):
        if step.transformer_weights:
            raise unsupported(kind, "has a ColumnTransformer with weights")
        blocks = [sources_of(one, sources[columns], kind) for one, columns in blocks_of(step)]
        return np.concatenate([sources[:0], *blocks])
    if isinstance(step, SelectorMixin):
        chosen: Array = sources[step.get_support()]
        return chosen
    if isinstance(step, SimpleImputer):
        has_nan = isinstance(step.missing_values, float) and np.isnan(step.missing_values)
        if not has_nan or step.add_indicator or len(step.get_feature_names_out()) != len(sources):
            problem = (
                "has a SimpleImputer with an indicator, columns that it drops, or another number for what is missing"
            )
            raise unsupported(kind, problem)
        return sources
    if does_nothing(step) or isinstance(step, SCALERS):
        return sources
    known = ", ".join(one.__name__ for one in (*SCALERS, SimpleImputer, ColumnTransformer))
    problem = (
        f"has the step {type(step).__name__}, and is converted with steps that leave columns apart: {known}, selectors"
    )
    raise unsupported(
        kind, problem, "convert its last step, and do what the others do before; or convert it with skl2onnx"
    )


def does_nothing(step: Any) -> bool:
    """Whether columns go through as they are."""
    if isinstance(step, preprocessing.FunctionTransformer):
        return step.func is None
    return step is None or (isinstance(step, str) and step == "passthrough")


def blocks_of(step: ColumnTransformer) -> list[tuple[Any, Array]]:
    """Parts of a transformer and the numbers of their columns."""
    indices = step._transformer_to_input_indices
    return [
        (one, np.asarray(indices[name], int))
        for name, one, _ in step.transformers_
        # What has no columns was never fitted.
        if (not isinstance(one, str) or one != "drop") and len(indices[name])
    ]


def transform(step: Any, x: Array) -> Array:
    """What a step makes of arrays, also one that was fitted to frames."""
    if isinstance(step, Pipeline):
        for _, one in step.steps:
            x = transform(one, x)
        return x
    if isinstance(step, ColumnTransformer):
        return np.hstack([x[:, :0], *(transform(one, x[:, columns]) for one, columns in blocks_of(step))])
    if does_nothing(step):
        return x
    if isinstance(step, SelectorMixin):
        # Its own way refuses NaN, by which is found where trees send what is missing.
        chosen: Array = x[:, step.get_support()]
        return chosen
    with warnings.catch_warnings():
        # Names of columns, which arrays have not.
        warnings.simplefilter("ignore")
        # Steps may write into what they get.
        return np.asarray(step.transform(x.copy()), np.float64)


def thresholds_at(trees: Any, column: int) -> Array:
    """All thresholds of a column."""
    parts = [one.threshold[(one.left >= 0) & (one.feature == column) & (one.kind != IN_SET)] for one in trees]
    return np.concatenate(parts).astype(np.float64)


def largest_at_most(
    column: Callable[[Array], Array], own: list[Array], columns: Array, sources: Array, features: int
) -> list[Array]:
    """For each threshold of some columns, the largest number of which the column is at most the threshold."""
    high = np.float64(FAR).view(np.int64)
    count = max((len(one) for one in own), default=0)
    wanted = np.full((count, len(columns)), np.inf)
    for at, thresholds in enumerate(own):
        wanted[: len(thresholds), at] = thresholds

    def is_at_most(keys: Array) -> Array:
        x = np.zeros((count, features))
        x[:, sources] = number_of(keys)
        is_at_most: Array = column(x)[:, columns] <= wanted
        return is_at_most

    # `below` is at most the threshold, `beyond` is not.
    below, beyond = np.full(wanted.shape, -high - 1), np.full(wanted.shape, high + 1)
    while (is_open := below + 1 < beyond).any():
        # Their sum can be more than 64 bits hold.
        middle = (below >> 1) + (beyond >> 1) + (below & beyond & 1)
        goes_left = is_at_most(np.clip(middle, -high, high))
        below = np.where(is_open & goes_left, middle, below)
        beyond = np.where(is_open & ~goes_left, middle, beyond)
    # What no number reaches, or every one.
    found = np.select([below < -high, below == high], [-np.inf, np.finfo(np.float64).max], number_of(below))
    return [found[: len(thresholds), at] for at, thresholds in enumerate(own)]


def number_of(keys: Array) -> Array:
    """The float64 of a whole number that is in their order, and 0 at 0."""
    numbers: Array = np.copysign(np.abs(keys).view(np.float64), keys)
    return numbers


def folded(tree: Tree, sources: Array, own: list[Array], moved: list[Array], missing: Array) -> Tree:
    """A tree that compares the caller's columns."""
    threshold, kind, feature = tree.threshold.astype(np.float64), tree.kind.copy(), tree.feature.copy()
    is_split = tree.left >= 0
    for column in np.unique(tree.feature[is_split]).tolist():
        at = is_split & (tree.feature == column)
        if not np.isnan(missing[column]):
            kind[at] = np.where(missing[column] <= tree.threshold[at], MISSING_LEFT, MISSING_RIGHT)
        threshold[at] = moved[column][np.searchsorted(own[column], tree.threshold[at])]
        feature[at] = sources[column]
    return replace(tree, threshold=threshold, kind=kind, feature=feature)
