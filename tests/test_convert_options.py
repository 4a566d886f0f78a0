"""Options of scikit-learn's trees that change what is in a fitted estimator: each is converted, and answers as it does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import base, ensemble, tree

from glowplug.convert import from_sklearn

Array = np.ndarray[Any, Any]

ROWS = 300
LABELS = np.array(["fine", "odd", "ü"])
#: Trees rise with a column, and rows are of two classes or of numbers.
RISES = [0, 1, -1, 0]

OPTIONS: dict[str, Any] = {
    "rising classes": ensemble.HistGradientBoostingClassifier(monotonic_cst=RISES, max_iter=9),
    "no interactions": ensemble.HistGradientBoostingRegressor(interaction_cst="no_interactions", max_iter=9),
    "stopped early, weighted, of 3": ensemble.HistGradientBoostingClassifier(
        early_stopping=True, max_iter=50, n_iter_no_change=2, random_state=0
    ),
    "balanced, of 3": ensemble.HistGradientBoostingClassifier(class_weight="balanced", max_iter=9),
    "few bins, weighted, missing": ensemble.HistGradientBoostingRegressor(
        max_features=0.5, l2_regularization=1, max_bins=16, max_iter=9, random_state=0
    ),
    "categories, missing, texts": ensemble.HistGradientBoostingClassifier(categorical_features=[0], max_iter=9),
    "quantile, weighted": ensemble.HistGradientBoostingRegressor(loss="quantile", quantile=0.9, max_iter=9),
    "rising forest": ensemble.RandomForestRegressor(5, monotonic_cst=RISES, random_state=0),
    "rising forest of classes": ensemble.RandomForestClassifier(5, monotonic_cst=RISES, random_state=0),
    "poisson, weighted, positive": ensemble.RandomForestRegressor(5, criterion="poisson", random_state=0),
    "medians": ensemble.RandomForestRegressor(3, criterion="absolute_error", max_depth=4, random_state=0),
    "pruned, weighted, of 3, texts": ensemble.RandomForestClassifier(
        40, oob_score=True, ccp_alpha=0.01, max_samples=0.7, class_weight="balanced_subsample", random_state=0
    ),
    "bootstrap, missing, texts": ensemble.ExtraTreesClassifier(5, bootstrap=True, random_state=0),
    "several numbers": ensemble.ExtraTreesRegressor(5, random_state=0),
    "boosting stopped early, weighted, of 3": ensemble.GradientBoostingClassifier(
        n_estimators=50, n_iter_no_change=2, random_state=0
    ),
    "exponential, texts": ensemble.GradientBoostingClassifier(n_estimators=5, loss="exponential"),
    "huber, weighted": ensemble.GradientBoostingRegressor(n_estimators=5, loss="huber", alpha=0.8),
    "parts of rows and columns": ensemble.GradientBoostingRegressor(
        n_estimators=5, max_leaf_nodes=7, max_features=2, subsample=0.5, random_state=0
    ),
    "begins with nothing": ensemble.GradientBoostingRegressor(n_estimators=5, init="zero"),
    "random splits, weighted, of 3": tree.DecisionTreeClassifier(
        max_leaf_nodes=9, splitter="random", min_impurity_decrease=0.001, random_state=0
    ),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_each_option_is_converted(name: str) -> None:
    random, estimator = np.random.default_rng(0), base.clone(OPTIONS[name])
    x = random.normal(size=(ROWS, 4))
    x[:, 0] = random.integers(0, 5, ROWS)
    score = x.sum(axis=1) + random.normal(size=ROWS)
    if "missing" in name:
        x[random.random(x.shape) < 0.1] = np.nan
    y: Array = np.exp(score / 4) if "positive" in name else score
    if base.is_classifier(estimator):
        y = np.digitize(score, [-1, 1] if "of 3" in name else [0])
        y = LABELS[y] if "texts" in name else y
    elif "several" in name:
        y = np.stack([score, -score], axis=1)
    weights = random.uniform(0.5, 2, ROWS) if "weighted" in name else None
    estimator.fit(x, y, sample_weight=weights)
    model = from_sklearn(estimator).load()
    np.testing.assert_array_equal(model.predict(x), estimator.predict(x))
    if base.is_classifier(estimator):
        assert model.classes == estimator.classes_.tolist()
        np.testing.assert_allclose(model.predict_proba(x), estimator.predict_proba(x), 1e-13, 1e-16, strict=True)
