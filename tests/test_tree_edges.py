"""Models at the edges of what libraries make: no tree, trees of one leaf, thresholds and rows of subnormal numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import catboost
import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn import ensemble, tree

import glowplug
from glowplug.convert import from_sklearn

if TYPE_CHECKING:
    from pathlib import Path

    Array = np.ndarray[Any, Any]

TINY = np.finfo(np.float32).tiny
#: Around zero, and around what is the least that is not subnormal.
SMALL = np.array([0.0, -0.0, 1e-45, -1e-45, 1e-40, -1e-40, TINY, -TINY, np.nextafter(TINY, 0, dtype=np.float32), 1e-36])
ODD = np.array([*SMALL, np.nan, 1e30, -1e30, 1.0, -1.0], np.float32)


def rows_for(columns: int) -> Array:
    """Each odd number in each column, and all others beside it."""
    random = np.random.default_rng(columns)
    return np.concatenate([np.tile(ODD[:, None], columns), random.choice(ODD, (300, columns))])


def models(x: Array, y: Array, folder: Path, *, splits: bool) -> dict[str, tuple[glowplug.Model, Any]]:
    """A model of each library with few trees, or of trees that do not split, and what it answers."""
    made: dict[str, tuple[glowplug.Model, Any]] = {}
    options: dict[str, Any] = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 1 if splits else len(x)}
    options |= {"min_sum_hessian_in_leaf": 0, "min_data_in_bin": 1, "zero_as_missing": False}
    booster = lightgbm.train(options, lightgbm.Dataset(x, y, params=options), 5)
    booster.save_model(folder / "lightgbm.txt")
    made["lightgbm"] = glowplug.load(folder / "lightgbm.txt"), booster.predict
    for method in ("exact", "hist"):
        limits = {"max_depth": 4, "gamma": 0 if splits else 1e30, "nthread": 1, "tree_method": method, "lambda": 0}
        trained = xgboost.train(limits | {"min_child_weight": 0}, xgboost.DMatrix(x, y), 5)
        trained.save_model(folder / f"{method}.ubj")
        made[f"xgboost {method}"] = (
            glowplug.load(folder / f"{method}.ubj"),
            lambda rows, trained=trained: trained.predict(xgboost.DMatrix(rows)),
        )
    depth = 4 if splits else 1
    quiet = {"verbose": 0, "allow_writing_files": False, "thread_count": 1}
    symmetric = catboost.CatBoostRegressor(5, depth=depth, min_data_in_leaf=1, **quiet).fit(x, y)
    symmetric.save_model(str(folder / "catboost.json"), format="json")
    made["catboost"] = glowplug.load(folder / "catboost.json"), symmetric.predict
    most = None if splits else 1
    leaf = {"min_samples_leaf": 1 if splits else len(x)}
    for estimator in (
        tree.DecisionTreeRegressor(max_depth=4, **leaf),
        ensemble.RandomForestRegressor(5, max_depth=4, random_state=0, **leaf),
        ensemble.GradientBoostingRegressor(n_estimators=5, **leaf),
        ensemble.HistGradientBoostingRegressor(max_iter=5, max_depth=most or 4, **leaf),
    ):
        name = type(estimator).__name__
        made[name] = from_sklearn(estimator.fit(x, y)).load(), estimator.predict
    return made


@pytest.mark.parametrize("columns", [1, 3])
def test_subnormal_thresholds_are_compared_as_the_libraries_do(columns: int, tmp_path: Path) -> None:
    x = np.random.default_rng(0).choice(SMALL, (200, columns)).astype(np.float32)
    # What is learnt is the order of the small numbers.
    y = np.searchsorted(np.unique(SMALL), x[:, 0]) + (x[:, -1] > 0)
    rows = rows_for(columns)
    for name, (model, predict) in models(x, y, tmp_path, splits=True).items():
        expected = predict(rows) if name != "GradientBoostingRegressor" else predict(np.nan_to_num(rows))
        got = model.predict(rows) if name != "GradientBoostingRegressor" else model.predict(np.nan_to_num(rows))
        np.testing.assert_array_equal(got, expected, err_msg=name)
        # LightGBM takes such numbers for zero, and scikit-learn's trees do not split them.
        assert len(np.unique(got)) > 1 or name == "lightgbm" or "Tree" in name or "For" in name or "Gr" in name, name


def test_trees_of_one_leaf(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    x, y = random.normal(size=(60, 2)).astype(np.float32), random.normal(size=60)
    rows = np.nan_to_num(rows_for(2))
    for name, (model, predict) in models(x, y, tmp_path, splits=False).items():
        np.testing.assert_array_equal(model.predict(rows), predict(rows), err_msg=name)
        assert name == "catboost" or len(np.unique(model.predict(rows))) == 1


def test_models_without_trees() -> None:
    x, y = np.zeros((9, 2), np.float32), np.arange(9.0)
    booster = lightgbm.train({"verbose": -1}, lightgbm.Dataset(x, y), 3)
    text = booster.model_to_string(num_iteration=1, start_iteration=3)
    assert "Tree=" not in text
    trained = xgboost.train({"base_score": 0.25}, xgboost.DMatrix(x, y), 0)
    for content, expected in (
        (text.encode(), lightgbm.Booster(model_str=text).predict(x)),
        (bytes(trained.save_raw()), trained.predict(xgboost.DMatrix(x))),
    ):
        model = glowplug.load(content)
        np.testing.assert_array_equal(model.predict(x), expected, strict=True)
        np.testing.assert_array_equal(model.predict(x[:1]), expected[:1], strict=True)


@pytest.mark.parametrize("booster", ["gbtree", "dart", "gblinear"])
@pytest.mark.parametrize("given", [{}, {"base_score": 0.3}])
@pytest.mark.parametrize("objective", ["binary:logistic", "count:poisson", "reg:squarederror", "multi:softprob"])
def test_boosters_before_their_first_round(objective: str, given: dict[str, Any], booster: str) -> None:
    # XGBoost estimates a base score in the first round, and until then takes what stands there for a margin.
    x, y = np.ones((9, 2), np.float32), np.arange(9.0) % 2
    options = {"objective": objective, "booster": booster, "num_class": 3 if objective == "multi:softprob" else 0}
    table = xgboost.DMatrix(x, y)
    trained = xgboost.train(options | given, table, 0)
    for form in ("json", "ubj"):
        model = glowplug.load(bytes(trained.save_raw(form)))
        np.testing.assert_array_equal(model.predict(x), trained.predict(table), strict=True)
        margins = trained.predict(table, output_margin=True)
        np.testing.assert_array_equal(model.predict(x, output="margin"), margins, strict=True)
