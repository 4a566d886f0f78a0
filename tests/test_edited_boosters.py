"""Boosters that were cut, joined, refitted or edited before they were saved answer as the library does with the same file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import catboost
import lightgbm
import numpy as np
import pytest
import xgboost

import glowplug

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Array = np.ndarray[Any, Any]

RANDOM = np.random.default_rng(0)
ODD = [np.nan, 0.0, -0.0, 1e-45, 1e-36, -1e-36, 3.4e38, -3.4e38, -1.0, -0.5, 0.5, 8.0, 9.0, 1e9]


def rows(seed: int) -> Array:
    random = np.random.default_rng(seed)
    x = random.normal(size=(300, 5))
    x[:, 4] = random.integers(0, 9, 300)
    x[random.random(x.shape) < 0.1] = np.nan
    return x


X, HOSTILE = rows(0), rows(1)
HOSTILE[:200] = RANDOM.choice(ODD, size=(200, 5))
SUMS = np.nan_to_num(X).sum(axis=1)
TWO, THREE = (SUMS > 4.0).astype(int), np.digitize(SUMS, [2, 6])


def lgb(rounds: int = 6, **more: Any) -> lightgbm.Booster:
    """Trees for two classes, with categories."""
    options = {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_per_group": 5, "min_data_in_leaf": 5}
    table = lightgbm.Dataset(X, TWO, categorical_feature=[4], free_raw_data=False)
    return lightgbm.train(options, table, rounds, **more)


def shuffled() -> lightgbm.Booster:
    return lgb().shuffle_models()


def with_another_leaf() -> lightgbm.Booster:
    return lgb().set_leaf_output(0, 1, 3.25)


LIGHTGBM: dict[str, Callable[[], tuple[lightgbm.Booster, dict[str, int]]]] = {
    "refitted": lambda: (lgb().refit(rows(5), TWO, decay_rate=0.5), {}),
    "first trees": lambda: (lgb(), {"num_iteration": 3}),
    "middle trees": lambda: (lgb(), {"start_iteration": 2, "num_iteration": 3}),
    "continued": lambda: (lgb(3, init_model=lgb()), {}),
    "shuffled": lambda: (shuffled(), {}),
    "another leaf": lambda: (with_another_leaf(), {}),
}


@pytest.mark.parametrize("name", LIGHTGBM)
def test_lightgbm(name: str, tmp_path: Path) -> None:
    booster, what = LIGHTGBM[name]()
    path = tmp_path / "model.txt"
    booster.save_model(path, **what)
    model, saved = glowplug.load(path), lightgbm.Booster(model_file=path)
    np.testing.assert_array_equal(model.predict(HOSTILE), saved.predict(HOSTILE))
    np.testing.assert_array_equal(model.predict(HOSTILE, output="leaf"), saved.predict(HOSTILE, pred_leaf=True))
    expected = saved.predict(HOSTILE, pred_contrib=True)
    np.testing.assert_allclose(model.contributions(HOSTILE), expected, 1e-9, 1e-9)


def xgb(rounds: int = 6, y: Array = THREE, **more: Any) -> xgboost.Booster:
    """Trees for three classes."""
    options: dict[str, Any] = {
        "objective": "multi:softprob",
        "num_class": 3,
        "nthread": 1,
        "max_depth": 4,
        "verbosity": 0,
    }
    booster = more.pop("booster", None)
    return xgboost.train(options | more, xgboost.DMatrix(X, y), rounds, xgb_model=booster)


UPDATE: dict[str, Any] = {"process_type": "update"}
XGBOOST: dict[str, Callable[[], xgboost.Booster]] = {
    "a slice": lambda: xgb()[2:5],
    "every other": lambda: xgb()[0:6:2],
    "continued": lambda: xgb(3, booster=xgb()),
    "refreshed": lambda: xgb(y=np.roll(THREE, 9), booster=xgb(), updater="refresh", refresh_leaf=True, **UPDATE),
    "pruned": lambda: xgb(booster=xgb(), updater="prune", gamma=1.0, **UPDATE),
}


@pytest.mark.parametrize("name", XGBOOST)
@pytest.mark.parametrize("ending", ["json", "ubj"])
@pytest.mark.filterwarnings("ignore")
def test_xgboost(name: str, ending: str, tmp_path: Path) -> None:
    booster, path = XGBOOST[name](), tmp_path / f"model.{ending}"
    booster.save_model(path)
    x = HOSTILE.astype(np.float32)
    model, saved, matrix = glowplug.load(path), xgboost.Booster(model_file=path), xgboost.DMatrix(x)
    np.testing.assert_array_equal(model.predict(x, output="margin"), saved.predict(matrix, output_margin=True))
    np.testing.assert_array_equal(model.predict(x), saved.predict(matrix))
    np.testing.assert_array_equal(model.predict(x, output="leaf"), saved.predict(matrix, pred_leaf=True))


def cat(seed: int = 0, **more: Any) -> catboost.CatBoostRegressor:
    options: dict[str, Any] = {
        "iterations": 6,
        "depth": 4,
        "verbose": 0,
        "allow_writing_files": False,
        "thread_count": 1,
    }
    return catboost.CatBoostRegressor(random_seed=seed, **options).fit(X.astype(np.float32), SUMS, **more)


def edited(change: Callable[[Any], object]) -> Any:
    model = cat()
    change(model)
    return model


CATBOOST: dict[str, Callable[[], Any]] = {
    "summed": lambda: catboost.sum_models([cat(), cat(3)], weights=[0.3, 0.7]),
    "scaled": lambda: edited(lambda model: model.set_scale_and_bias(2.5, [-1.0])),
    "shrunk": lambda: edited(lambda model: model.shrink(4)),
    "middle trees": lambda: edited(lambda model: model.shrink(5, 2)),
    "continued": lambda: cat(init_model=cat(3)),
}


@pytest.mark.parametrize("name", CATBOOST)
def test_catboost(name: str, tmp_path: Path) -> None:
    fitted, path, x = CATBOOST[name](), tmp_path / "model.json", HOSTILE.astype(np.float32)
    fitted.save_model(str(path), format="json")
    expected = fitted.predict(x, prediction_type="RawFormulaVal")
    np.testing.assert_array_equal(glowplug.load(path).predict(x, output="margin"), expected)
