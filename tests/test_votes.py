"""Forests whose leaves have seen one class: their votes are counted, and the answers stay what they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.tree import DecisionTreeClassifier

import glowplug
from glowplug.convert import from_sklearn

SAID = "votes counted bit by bit"


def onnx(estimator: Any, columns: int) -> bytes:
    """The estimator as skl2onnx converts it."""
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType

    kinds = [("x", FloatTensorType([None, columns]))]
    options = {id(estimator): {"zipmap": False}}
    content: bytes = convert_sklearn(estimator, initial_types=kinds, options=options).SerializeToString()
    return content


def answers(model: glowplug.Model, x: Any, at_once: int) -> Any:
    """Probabilities of so many rows at a time."""
    parts = [model.predict_proba(x[start : start + at_once]) for start in range(0, len(x), at_once)]
    return np.concatenate(parts)


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("kind", [RandomForestClassifier, ExtraTreesClassifier, DecisionTreeClassifier])
def test_answers_stay_what_they_were(kind: type, classes: int) -> None:
    random = np.random.default_rng(classes)
    x = np.round(random.normal(size=(700, 8)), 2).astype(np.float32)
    y = np.digitize(x[:, :3].sum(axis=1) + random.normal(size=700) / 3, np.linspace(-2, 2, classes + 1)[1:-1])
    more = {} if kind is DecisionTreeClassifier else {"n_estimators": 35}
    estimator = kind(random_state=0, **more).fit(x, y)
    rows = np.resize(np.concatenate([x, random.normal(size=(900, 8)).astype(np.float32)]), (17_000, 8))
    for content in (onnx(estimator, 8), from_sklearn(estimator).content):
        expected = answers(glowplug.load(content), rows, 40)
        model = glowplug.load(content)
        np.testing.assert_array_equal(model.predict_proba(rows[:70]), expected[:70])
        assert SAID not in model.explain()["kernel"]
        np.testing.assert_array_equal(model.predict_proba(rows), expected)
        if "AVX" in (kernel := model.explain()["kernel"]):
            assert SAID in kernel
        for count in (1, 47, 48, 64, 100, 512, 513, 1000):
            np.testing.assert_array_equal(model.predict_proba(rows[:count]), expected[:count])


def test_other_forests_have_no_votes() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 4)).astype(np.float32)
    for estimator in (
        RandomForestRegressor(10, random_state=0).fit(x, x[:, 0]),
        RandomForestClassifier(10, max_depth=3, random_state=0).fit(x, x[:, 0] + random.normal(size=400) > 0),
    ):
        model = glowplug.load(from_sklearn(estimator).content)
        model.predict(np.resize(x, (17_000, 4)))
        assert SAID not in model.explain()["kernel"]
