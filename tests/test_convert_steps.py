"""Pipelines, bagging and boosted stumps as converted: what is before trees is in their thresholds, and answers are the same."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from sklearn import (
    decomposition,
    ensemble,
    feature_selection,
    linear_model,
    model_selection,
    pipeline,
    preprocessing,
    tree,
)
from sklearn.base import is_classifier
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer

import glowplug
from glowplug.convert import check as checked
from glowplug.convert import from_sklearn

if TYPE_CHECKING:
    from collections.abc import Callable

    Array = np.ndarray[Any, Any]

SEEDS = range(int(os.environ.get("GLOWPLUG_TEST_EXAMPLES", "20")))
COLUMNS = 5
LABELS = np.array(["fine", "odd", "ü", "d"])


def data(random: np.random.Generator, rows: int, *, missing: bool) -> Array:
    x = random.normal(size=(rows, COLUMNS)) * np.array([1e-4, 1.0, 1e3, 7.0, 1.0])
    x[:, 3] = random.integers(0, 6, size=rows)
    if missing:
        x[random.random(x.shape) < 0.15] = np.nan
    return x


def target(random: np.random.Generator, x: Array, classes: int) -> Array:
    score = np.nan_to_num(x / np.nanmax(np.abs(x), axis=0)).sum(axis=1) + random.normal(size=len(x)) / 9
    return np.digitize(score, np.quantile(score, np.linspace(0, 1, classes + 1)[1:-1])) if classes else score


def assert_converted(estimator: Any, x: Array, *, exact: bool = True) -> glowplug.Model:
    with tempfile.TemporaryDirectory() as folder:
        model = glowplug.load(from_sklearn(estimator).save(Path(folder, "model.glow")))
        contributions = model.contributions(x)
    np.testing.assert_array_equal(model.predict(x), estimator.predict(x))
    if is_classifier(estimator):
        assert model.classes == estimator.classes_.tolist()
        got, expected = model.predict_proba(x), estimator.predict_proba(x)
        np.testing.assert_array_equal(got, expected) if exact else np.testing.assert_allclose(
            got, expected, 1e-13, 1e-15
        )
    margin = model.predict(x, output="margin")
    sums = contributions.sum(axis=-1).reshape(margin.shape)
    np.testing.assert_allclose(sums, margin, 1e-9, 1e-9 * max(1.0, np.abs(margin).max()))
    return model


STEPS: tuple[Callable[[], list[Any]], ...] = (
    lambda: [preprocessing.StandardScaler()],
    lambda: [SimpleImputer(), preprocessing.StandardScaler()],
    lambda: [preprocessing.RobustScaler(), SimpleImputer(strategy="median", keep_empty_features=True)],
    lambda: [preprocessing.MinMaxScaler(feature_range=(-3, 7), clip=True), preprocessing.MaxAbsScaler(copy=False)],
    lambda: [
        SimpleImputer(strategy="constant", fill_value=-1.5),
        feature_selection.SelectKBest(feature_selection.f_regression, k=3),
    ],
    lambda: [
        make_column_transformer(
            (pipeline.make_pipeline(SimpleImputer(), preprocessing.StandardScaler()), [4, 0]),
            ("drop", [1]),
            (preprocessing.MinMaxScaler(), []),
            (preprocessing.RobustScaler(), [0, 2]),
            remainder="passthrough",
        )
    ],
    lambda: [feature_selection.SelectKBest(feature_selection.f_regression, k=3)],
    lambda: ["passthrough", preprocessing.FunctionTransformer(), preprocessing.StandardScaler(with_mean=False)],
)
LAST: tuple[Callable[[int], Any], ...] = (
    lambda seed: ensemble.RandomForestClassifier(5, random_state=seed),
    lambda seed: ensemble.HistGradientBoostingRegressor(max_iter=5, min_samples_leaf=3, random_state=seed),
    lambda seed: ensemble.ExtraTreesRegressor(5, random_state=seed),
    lambda seed: ensemble.GradientBoostingClassifier(n_estimators=5, random_state=seed),
    lambda seed: tree.DecisionTreeClassifier(random_state=seed),
    lambda seed: ensemble.BaggingRegressor(n_estimators=4, max_features=0.6, random_state=seed),
)


@pytest.mark.parametrize("seed", range(max(len(SEEDS), len(STEPS) * len(LAST))))
def test_steps_before_trees_are_in_their_thresholds(seed: int) -> None:
    random = np.random.default_rng(seed)
    steps, last = STEPS[seed % len(STEPS)](), LAST[seed // len(STEPS) % len(LAST)](seed)
    takes_missing = any(name in repr(last) for name in ("Hist", "RandomForest", "DecisionTree"))
    takes_missing &= "SelectKBest" not in repr(steps[0])
    missing = takes_missing or any("SimpleImputer" in repr(step) and "Column" not in repr(step) for step in steps)
    x = data(random, 200, missing=missing)
    estimator = pipeline.make_pipeline(*steps, last)
    estimator.fit(x, target(random, x, 3 if is_classifier(last) else 0))
    converted = from_sklearn(estimator)
    model = converted.load()
    # The numbers next to all that are compared, on both sides.
    rows = data(random, 300, missing=missing)
    near = [thresholds(converted.content, x, column) for column in range(COLUMNS)]
    for column, numbers in enumerate(near):
        chosen = random.random(300) < 0.5
        rows[chosen, column] = random.choice(numbers, size=int(chosen.sum()))
    exact = "GradientBoostingC" not in repr(last)
    assert_converted(estimator, rows, exact=exact)
    assert model.inputs[0].dtype == "float64"
    np.testing.assert_array_equal(
        np.concatenate([model.predict(rows[at : at + 1]) for at in range(9)]), model.predict(rows)[:9]
    )


def thresholds(content: bytes, x: Array, column: int) -> Array:
    """Numbers at which the file's trees split a column, and their neighbours."""
    _, columns, own = checked.splits(content)
    own = own[(columns == column) & (np.abs(own) < 1e30)]
    return np.concatenate([own, np.nextafter(own, np.inf), np.nextafter(own, -np.inf), x[:9, column]])


def test_pipelines_of_frames_know_their_columns() -> None:
    random = np.random.default_rng(0)
    table = pd.DataFrame(data(random, 300, missing=True), columns=list("abcde"))
    before = make_column_transformer(
        (pipeline.make_pipeline(SimpleImputer(), preprocessing.StandardScaler()), ["c", "a"]), ("passthrough", ["e"])
    )
    estimator = pipeline.make_pipeline(before, ensemble.RandomForestClassifier(5, random_state=0))
    estimator.fit(table, LABELS[target(random, table.to_numpy(), 4)])
    model = from_sklearn(estimator).load()
    assert model.features == list("abcde")
    np.testing.assert_array_equal(model.predict(table), estimator.predict(table))
    np.testing.assert_array_equal(model.predict_proba(table), estimator.predict_proba(table))
    (label,) = model.predict_rows([{"e": 1.0, "d": 2.0, "c": None, "b": 0.0, "a": 0.1}])
    assert label == estimator.predict(pd.DataFrame({"a": [0.1], "b": [0.0], "c": [np.nan], "d": [2.0], "e": [1.0]}))[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_bagging_is_the_mean_of_trees(seed: int) -> None:
    random = np.random.default_rng(seed)
    x, rows = data(random, 60, missing=False), data(random, 200, missing=False)
    classes = seed % 4
    y = target(random, x, classes + 1 if classes else 0)
    if classes:
        y = LABELS[y] if seed % 8 < 4 else y * 3 - 1
    more = {"n_estimators": int(random.integers(1, 12)), "random_state": seed}
    # A few rows each: some trees have not seen all classes.
    more |= {"max_samples": int(random.choice([6, 30, 60])), "max_features": float(random.uniform(0.3, 1))}
    more |= {"bootstrap_features": bool(random.random() < 0.5)}
    if classes:
        base = [None, tree.ExtraTreeClassifier(max_depth=3)][seed // 4 % 2]
        estimator: Any = ensemble.BaggingClassifier(base, **more)
    else:
        estimator = ensemble.BaggingRegressor([None, tree.ExtraTreeRegressor(max_depth=4)][seed // 4 % 2], **more)
    model = assert_converted(estimator.fit(x, y), rows)
    leaves = np.stack([
        one.apply(rows[:, used]) for one, used in zip(estimator.estimators_, estimator.estimators_features_, strict=True)
    ], axis=1)  # fmt: skip
    np.testing.assert_array_equal(model.predict(rows, output="leaf"), leaves)


@pytest.mark.parametrize("seed", SEEDS)
def test_adaboost_has_the_labels_of_the_estimator(seed: int) -> None:
    random = np.random.default_rng(seed)
    x, rows = data(random, 200, missing=False), data(random, 300, missing=False)
    y = target(random, x, 2 + seed % 3)
    depth = [1, 2, None][seed // 3 % 3]
    base = tree.DecisionTreeClassifier(max_depth=depth, min_samples_leaf=5) if depth != 1 else None
    estimator = ensemble.AdaBoostClassifier(base, n_estimators=int(random.integers(1, 30)), random_state=seed)
    estimator.set_params(learning_rate=float(random.uniform(0.2, 1.5))).fit(x, LABELS[y] if seed % 2 else y)
    model = assert_converted(estimator, rows, exact=False)
    # Sums before they are divided by all weights.
    scale = estimator.estimator_weights_.sum() / (2 if len(estimator.classes_) == 2 else 1)
    margin = model.predict(rows, output="margin")
    np.testing.assert_allclose(margin / scale, estimator.decision_function(rows), 1e-12, 1e-14)


def test_the_best_of_a_search_is_converted() -> None:
    random = np.random.default_rng(0)
    x = data(random, 200, missing=False)
    steps = pipeline.make_pipeline(preprocessing.StandardScaler(), tree.DecisionTreeRegressor(random_state=0))
    search = model_selection.GridSearchCV(steps, {"decisiontreeregressor__max_depth": [2, 5]}, cv=2)
    with pytest.raises(glowplug.ModelError, match="is not fitted"):
        from_sklearn(search)
    assert_converted(search.fit(x, target(random, x, 0)), x)


UNSUPPORTED: dict[str, tuple[Any, str]] = {
    "mixes columns": (
        pipeline.make_pipeline(decomposition.PCA(2), tree.DecisionTreeClassifier()),
        "has the step PCA, and is converted with steps that leave columns apart: StandardScaler.*\n.*skl2onnx",
    ),
    "last step": (
        pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression()),
        "Pipeline: ends with LogisticRegression, .*\n.*convert its last step",
    ),
    "indicator": (
        pipeline.make_pipeline(SimpleImputer(add_indicator=True), tree.DecisionTreeClassifier()),
        "has a SimpleImputer with an indicator",
    ),
    "zeros are missing": (
        pipeline.make_pipeline(SimpleImputer(missing_values=0.0), tree.DecisionTreeClassifier()),
        "another number for what is missing",
    ),
    "categories": (
        pipeline.make_pipeline(
            preprocessing.FunctionTransformer(),
            ensemble.HistGradientBoostingClassifier(categorical_features=[3], max_iter=2),
        ),
        "has categories behind other steps",
    ),
    "bagged forests": (
        ensemble.BaggingClassifier(ensemble.RandomForestClassifier(2), 2),
        "BaggingClassifier: asks a RandomForestClassifier",
    ),
    "boosted lines": (
        ensemble.AdaBoostClassifier(linear_model.LogisticRegression(), n_estimators=2),
        "AdaBoostClassifier: asks a LogisticRegression",
    ),
    "medians": (ensemble.AdaBoostRegressor(n_estimators=2), "AdaBoostRegressor: is not an estimator that is converted"),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_is_not_converted_is_named(name: str) -> None:
    estimator, words = UNSUPPORTED[name]
    random = np.random.default_rng(0)
    x = data(random, 100, missing=False)
    with pytest.raises(glowplug.UnsupportedModelError, match=words):
        from_sklearn(estimator.fit(x, target(random, x, 2)))
