"""Kinds of XGBoost's models beyond trees of one number: categories, several targets, linear models, estimators."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xgboost

import glowplug
from seeds import seeds

if TYPE_CHECKING:
    from pathlib import Path

    Array = np.ndarray[Any, Any]

SEEDS = seeds(30)
ODD = np.array([np.nan, 0.0, -0.0, 1e-40, -1e-40, 3e38, -3e38, 0.5, 1.0], np.float32)
#: In place of categories: missing, negative, between two, never seen, beyond what float32 can count.
ODD_CATEGORIES = np.array([np.nan, -0.0, -0.5, -1.0, -7.0, 1.5, 2.999, 39.0, 63.0, 64.0, 1e6, 2.0**24, 3e9], np.float32)


def data(random: np.random.Generator, rows: int, columns: int) -> Array:
    """The first half of the columns has categories."""
    x = random.normal(size=(rows, columns)).astype(np.float32)
    for column in range((columns + 1) // 2):
        x[:, column] = random.integers(0, (3, 12, 40)[column % 3], size=rows)
    spots = random.random(x.shape) < 0.1
    x[spots] = np.nan
    return x


def odd(random: np.random.Generator, rows: int, columns: int) -> Array:
    x = data(random, rows, columns)
    for column in range(columns):
        numbers = ODD_CATEGORIES if column < (columns + 1) // 2 else ODD
        spots = random.random(rows) < 0.3
        x[spots, column] = random.choice(numbers, size=int(spots.sum()))
    return x


def predicted(booster: xgboost.Booster, rows: Array, **more: Any) -> Array:
    answer: Array = booster.predict(xgboost.DMatrix(rows, **more))
    return answer


@pytest.mark.parametrize("seed", SEEDS)
def test_sets_of_categories_are_those_of_xgboost(seed: int, tmp_path: Path) -> None:
    random = np.random.default_rng(seed)
    columns = int(random.integers(1, 6))
    kinds = ["c" if column < (columns + 1) // 2 else "q" for column in range(columns)]
    x = data(random, 120, columns)
    score = (np.nan_to_num(x) * random.normal(size=columns)).sum(axis=1) + (x[:, 0] % 3 == 1) * 4
    parameters = {
        "max_cat_to_onehot": int(random.choice([1, 5, 100])),
        "max_depth": int(random.integers(1, 7)),
        "booster": str(random.choice(["gbtree", "dart"])),
        "tree_method": "hist",
        "nthread": 1,
        "seed": seed,
    }
    matrix = xgboost.DMatrix(x, score, feature_types=kinds, enable_categorical=True)
    booster = xgboost.train(parameters, matrix, int(random.integers(1, 8)))
    rows = odd(random, 200, columns)
    expected = predicted(booster, rows, feature_types=kinds, enable_categorical=True)
    for form in ("json", "ubj"):
        path = tmp_path / f"model.{form}"
        booster.save_model(path)
        model = glowplug.load(path)
        np.testing.assert_array_equal(model.predict(rows), expected, strict=True)
        np.testing.assert_array_equal(model.predict(rows[:1]), expected[:1])
        np.testing.assert_array_equal(model.predict(rows.astype(np.float64)), expected)


@pytest.mark.parametrize("seed", SEEDS[:10])
def test_leaves_of_several_targets(seed: int) -> None:
    random = np.random.default_rng(seed)
    columns, targets = int(random.integers(1, 6)), int(random.integers(2, 5))
    x = data(random, 100, columns)
    y = np.nan_to_num(x) @ random.normal(size=(columns, targets)) + random.normal(size=(100, targets))
    strategy = ("multi_output_tree", "one_output_per_tree")[seed % 3 == 2]
    objective = "reg:squarederror"
    if seed % 2:
        y, objective = (y > 0).astype(float), "binary:logistic"
    parameters = {
        "multi_strategy": strategy,
        "objective": objective,
        "max_depth": 4,
        "nthread": 1,
        "tree_method": "hist",
    }
    booster = xgboost.train(parameters, xgboost.DMatrix(x, y), 5)
    rows = odd(random, 100, columns)
    expected = predicted(booster, rows)
    for form in ("json", "ubj"):
        got = glowplug.load(bytes(booster.save_raw(form))).predict(rows)
        assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_array_equal(got, expected)


def test_leaves_of_several_targets_as_older_versions_save_them() -> None:
    """Up to version 3.0 the numbers of leaves were among those of all nodes."""
    random = np.random.default_rng(0)
    x = random.normal(size=(100, 3)).astype(np.float32)
    y = x[:, :2] + random.normal(size=(100, 2))
    parameters = {"multi_strategy": "multi_output_tree", "max_depth": 3, "tree_method": "hist", "nthread": 1}
    booster = xgboost.train(parameters, xgboost.DMatrix(x, y), 3)
    document = json.loads(booster.save_raw("json"))
    for tree in document["learner"]["gradient_booster"]["model"]["trees"]:
        weights = np.zeros((len(tree["left_children"]), 2))
        for node, child in enumerate(tree["left_children"]):
            if child == -1:
                weights[node] = np.reshape(tree["leaf_weights"], (-1, 2))[tree["right_children"][node]]
                tree["right_children"][node] = -1
        tree["base_weights"] = weights.ravel().tolist()
        del tree["leaf_weights"]
    model = glowplug.load(json.dumps(document).encode())
    np.testing.assert_array_equal(model.predict(x), predicted(booster, x))
    for tree in document["learner"]["gradient_booster"]["model"]["trees"]:
        del tree["base_weights"]
    with pytest.raises(glowplug.ModelError, match="several numbers"):
        glowplug.load(json.dumps(document).encode())


@pytest.mark.parametrize("objective", ["reg:squarederror", "binary:logistic", "multi:softprob", "count:poisson"])
def test_linear_boosters(objective: str) -> None:
    random = np.random.default_rng(len(objective))
    x = random.normal(size=(200, 6)).astype(np.float32)
    x[random.random(x.shape) < 0.2] = np.nan
    score = np.nan_to_num(x).sum(axis=1)
    y: Array = {"reg:squarederror": score, "multi:softprob": np.digitize(score, [-1, 1])}.get(objective, score > 0)
    parameters: dict[str, Any] = {"booster": "gblinear", "objective": objective, "nthread": 1}
    if objective == "multi:softprob":
        parameters["num_class"] = 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        booster = xgboost.train(parameters, xgboost.DMatrix(x, y), 8)
        expected = predicted(booster, x)
    for form in ("json", "ubj"):
        model = glowplug.load(bytes(booster.save_raw(form)))
        got = model.predict(x)
        assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(np.concatenate([model.predict(x[at : at + 1]) for at in range(9)]), got[:9])


@pytest.mark.parametrize("distribution", ["normal", "logistic", "extreme"])
def test_survival_times(distribution: str) -> None:
    random = np.random.default_rng(0)
    x = data(random, 200, 4)
    low = np.exp(np.nan_to_num(x[:, 3]))
    matrix = xgboost.DMatrix(x, label_lower_bound=low, label_upper_bound=np.where(x[:, 2] > 0, np.inf, low * 2))
    parameters = {"objective": "survival:aft", "aft_loss_distribution": distribution, "nthread": 1, "base_score": 0.7}
    booster = xgboost.train(parameters, matrix, 8)
    got = glowplug.load(bytes(booster.save_raw("json"))).predict(odd(random, 100, 4))
    expected = predicted(booster, odd(np.random.default_rng(0), 100, 4))
    np.testing.assert_allclose(glowplug.load(bytes(booster.save_raw("ubj"))).predict(x), predicted(booster, x), 1e-6)
    assert got.dtype == expected.dtype


@pytest.mark.parametrize(
    "more",
    [
        {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.5, 0.9]},
        {"objective": "reg:quantileerror", "quantile_alpha": 0.3},
        {"objective": "reg:absoluteerror"},
        {"objective": "rank:map"},
        {"objective": "rank:ndcg"},
        {"objective": "reg:tweedie", "tweedie_variance_power": 1.3},
    ],
)
def test_more_objectives(more: dict[str, Any]) -> None:
    random = np.random.default_rng(3)
    x = data(random, 200, 4)
    score = np.nan_to_num(x).sum(axis=1)
    y = score if str(more["objective"]).startswith("reg:") and more["objective"] != "reg:tweedie" else score > 4
    groups = [50] * 4 if more["objective"].startswith("rank:") else None
    booster = xgboost.train({"nthread": 1, "max_depth": 3} | more, xgboost.DMatrix(x, y, group=groups), 6)
    got, expected = glowplug.load(bytes(booster.save_raw("ubj"))).predict(x), predicted(booster, x)
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(got, expected)


def estimator(kind: str) -> tuple[Any, Array]:
    random = np.random.default_rng(1)
    x = data(random, 300, 4)
    score = np.nan_to_num(x).sum(axis=1) + random.normal(size=300)
    options: dict[str, Any] = {"n_estimators": 40, "max_depth": 3, "n_jobs": 1, "learning_rate": 0.8}
    if kind == "stopped":
        options["early_stopping_rounds"] = 3
    y: Array = score
    made = xgboost.XGBRegressor if kind in {"stopped", "regressor", "dart"} else xgboost.XGBClassifier
    if kind in {"binary", "forest", "hinge", "linear"}:
        y = (score > 4).astype(int)
    elif kind in {"multiclass", "softmax"}:
        y = np.digitize(score, [2, 6])
    elif kind == "multilabel":
        y = np.stack([score > 3, score > 5], axis=1).astype(int)
    options |= {
        "softmax": {"objective": "multi:softmax"},
        "hinge": {"objective": "binary:hinge"},
        "linear": {"booster": "gblinear"},
        "dart": {"booster": "dart", "rate_drop": 0.3},
    }.get(kind, {})
    if kind == "forest":
        made = xgboost.XGBRFClassifier
        del options["learning_rate"]
    model = made(**options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "stopped":
            model.fit(x[:150], y[:150], eval_set=[(x[150:], y[150:])], verbose=False)
        else:
            model.fit(x, y)
    return model, x


@pytest.mark.parametrize(
    "kind",
    ["binary", "multiclass", "softmax", "multilabel", "hinge", "linear", "forest", "stopped", "regressor", "dart"],
)
@pytest.mark.filterwarnings("ignore")
def test_files_of_estimators_answer_as_the_estimators_do(kind: str, tmp_path: Path) -> None:
    fitted, x = estimator(kind)
    path = tmp_path / "model.ubj"
    fitted.save_model(path)
    model = glowplug.load(path)
    expected = fitted.predict(x)
    got = model.predict(x)
    assert got.shape == expected.shape
    if kind in {"stopped", "regressor", "dart"}:
        if kind == "dart":
            # The estimator adds in another order than the booster does.
            np.testing.assert_allclose(got, expected, 1e-5)
            return
        np.testing.assert_array_equal(got, expected, strict=True)
        if kind == "stopped":
            assert fitted.best_iteration < 39
            everything = bytes(fitted.get_booster().save_raw("ubj"))
            np.testing.assert_array_equal(glowplug.load(everything).predict(x), predicted(fitted.get_booster(), x))
        return
    np.testing.assert_array_equal(got, expected)
    assert got.dtype.kind == "i"
    probabilities = fitted.predict_proba(x)
    # SciPy computes the softmax for `multi:softmax`; everything else is XGBoost's own.
    tolerance = 1e-6 if kind == "softmax" else 0.0
    np.testing.assert_allclose(model.predict_proba(x), probabilities.astype(np.float32), tolerance, tolerance)
    if kind != "multilabel":
        assert model.classes == list(fitted.classes_)
        assert model.predict_rows(x[:5].tolist(), method="predict_proba")[0] == pytest.approx(
            probabilities[0], abs=1e-6
        )


def broken(change: dict[str, Any]) -> bytes:
    x = np.random.default_rng(0).integers(0, 9, size=(100, 2)).astype(np.float32)
    matrix = xgboost.DMatrix(x, x[:, 0] % 2, feature_types=["c", "q"], enable_categorical=True)
    booster = xgboost.train({"max_cat_to_onehot": 1, "max_depth": 2, "tree_method": "hist", "nthread": 1}, matrix, 1)
    document = json.loads(booster.save_raw("json"))
    tree = document["learner"]["gradient_booster"]["model"]["trees"][0]
    assert tree["split_type"][0] == 1
    tree |= change
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"categories_nodes": []}, "no set of categories for its node 0"),
        ({"categories_sizes": [99]}, "no set of categories"),
        ({"categories_segments": [-1]}, "no set of categories"),
        ({"categories_segments": [2**31 - 1]}, "no set of categories"),
        ({"categories": [-1.0] * 5}, "the category -1"),
        ({"categories": [0.5] * 5}, "the category 0.5"),
        ({"categories": [1e9] * 5}, "the category 1000000000"),
    ],
)
def test_broken_sets_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(glowplug.ModelError, match=words):
        glowplug.load(broken(change))
