"""Converted estimators answer as the estimators do, to the last bit where the arithmetic is the same."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn import ensemble, svm, tree
from sklearn.base import is_classifier

import glowplug
from glowplug.convert import Converted, from_sklearn
from glowplug.convert import check as checked
from seeds import seeds

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Array = np.ndarray[Any, Any]

SEEDS = seeds(30)
FAMILIES = (
    ensemble.RandomForestClassifier, ensemble.RandomForestRegressor, ensemble.ExtraTreesClassifier,
    ensemble.ExtraTreesRegressor, ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor,
    ensemble.GradientBoostingClassifier, ensemble.GradientBoostingRegressor, tree.DecisionTreeClassifier,
    tree.DecisionTreeRegressor, tree.ExtraTreeClassifier, tree.ExtraTreeRegressor,
    ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor,
)  # fmt: skip
#: Numbers that are easily compared or read wrongly. scikit-learn takes no infinities for trees of float32.
ODD = np.array([0.0, -0.0, 1e-36, -1e-36, 1e-45, 1e30, -1e30, -1.0, 2.5, 16_777_217.0, 0.1])


def data(random: np.random.Generator, rows: int, columns: int, *, missing: bool) -> Array:
    x = random.normal(size=(rows, columns)) * random.choice([1e-3, 1.0, 1e3], size=columns)
    x[:, 0] = random.integers(0, 12, size=rows)
    if missing:
        x[random.random(x.shape) < 0.1] = np.nan
    x[random.random(x.shape) < 0.1] = 0.0
    return x


def options_of(family: type, random: np.random.Generator, columns: int) -> dict[str, Any]:
    options: dict[str, Any] = {"random_state": int(random.integers(1000))}
    if family.__name__.startswith("Hist"):
        options |= {"max_iter": int(random.integers(1, 12)), "max_leaf_nodes": int(random.integers(2, 40))}
        options |= {"min_samples_leaf": 3, "categorical_features": [0] if random.random() < 0.6 else None}
        if "Reg" in family.__name__ and columns > 1 and random.random() < 0.3:
            options["monotonic_cst"] = [0] * (columns - 1) + [1]
        return options
    options["max_depth"] = [None, 3, 7][random.integers(3)]
    options["max_leaf_nodes"] = [None, None, 11][random.integers(3)]
    options["min_samples_leaf"] = int(random.integers(1, 5))
    options["max_features"] = [None, "sqrt"][random.integers(2)]
    if (
        "Decision" not in family.__name__
        and not family.__name__.startswith("ExtraTreeC")
        and "TreeR" not in family.__name__
    ):
        options["n_estimators"] = int(random.integers(1, 15))
    if family.__name__.startswith("GradientBoosting"):
        options |= {"learning_rate": float(random.uniform(0.05, 1)), "subsample": float(random.uniform(0.5, 1))}
        options["init"] = ["zero", None][random.integers(2)]
    elif is_classifier(family()):
        options |= {"criterion": str(random.choice(["gini", "entropy", "log_loss"]))}
        options["class_weight"] = [None, "balanced"][random.integers(2)]
    return options


def fitted(seed: int) -> tuple[Any, Array, Array]:
    """An estimator with random parameters, rows to score, and those it was fitted to."""
    family, random = FAMILIES[seed % len(FAMILIES)], np.random.default_rng(seed)
    columns = int(random.integers(1, 10))
    options = options_of(family, random, columns)
    takes_missing = not family.__name__.startswith("GradientBoosting") and not (
        family.__name__.startswith("Extra") and options.get("max_leaf_nodes")
    )
    missing = takes_missing and bool(random.random() < 0.5)
    x = data(random, 250, columns, missing=missing)
    score = (
        np.nan_to_num(x / np.abs(np.nan_to_num(x)).max(axis=0, initial=1e-9)).sum(axis=1) + random.normal(size=250) / 9
    )
    y: Array = score
    if is_classifier(family()):
        classes = int(random.integers(2, 5))
        y = np.digitize(score, np.quantile(score, np.linspace(0, 1, classes + 1)[1:-1]))
        if family is ensemble.GradientBoostingClassifier and classes == 2 and random.random() < 0.5:
            options["loss"] = "exponential"
        y = (y * 3 - 1, np.array(["a", "b", "ü", "d"])[y], y == 1 if classes == 2 else y)[random.integers(3)]
    elif family.__name__ == "HistGradientBoostingRegressor":
        options["loss"] = str(random.choice(["squared_error", "absolute_error", "poisson", "gamma", "quantile"]))
        options["quantile"] = 0.3
        y = np.exp(score) if options["loss"] in {"poisson", "gamma"} else score
    elif family.__name__ == "GradientBoostingRegressor":
        options["loss"] = str(random.choice(["squared_error", "absolute_error", "huber", "quantile"]))
    elif random.random() < 0.4:
        y = np.stack([score, -score, score**2], axis=1)
    rows = data(random, 200, columns, missing=missing)
    rows[:70] = random.choice(ODD, size=(70, columns))
    if family.__name__.startswith("Hist"):
        rows[:50, 0] = random.choice([np.nan, -1.0, -0.5, 1.5, 11.0, 12.0, 1e9, 3e9, 255.0, 256.0], size=50)
        rows[:50, 1:] = random.choice([*ODD, np.nan, np.inf, -np.inf], size=(50, columns - 1))
    weights = random.uniform(0.5, 2, size=250) if random.random() < 0.3 else None
    return family(**options).fit(x, y, sample_weight=weights), rows, x


@pytest.mark.parametrize("seed", SEEDS)
def test_answers_are_those_of_the_estimator(seed: int, tmp_path: Path) -> None:
    estimator, x, _ = fitted(seed)
    path = from_sklearn(estimator).save(tmp_path / "model.glow")
    model = glowplug.load(path)
    expected = estimator.predict(x)
    got = model.predict(x)
    assert got.shape == expected.shape
    # `exp` of NumPy and of the C library differ by a bit.
    has_link = getattr(estimator, "loss", None) in {"poisson", "gamma"}
    np.testing.assert_allclose(got, expected, 1e-14) if has_link else np.testing.assert_array_equal(got, expected)
    if is_classifier(estimator):
        assert model.classes == estimator.classes_.tolist()
        probabilities = estimator.predict_proba(x)
        np.testing.assert_allclose(model.predict_proba(x), probabilities, 1e-13, 1e-16, strict=True)
        if "Gradient" not in type(estimator).__name__:
            np.testing.assert_array_equal(model.predict_proba(x), probabilities)
    assert model.features is None
    np.testing.assert_array_equal(np.concatenate([model.predict(x[at : at + 1]) for at in range(20)]), got[:20])
    pieces = list(model.predict_iter([x[:64], x[64:65], x[65:]]))
    np.testing.assert_array_equal(np.concatenate(pieces), got)
    rows = model.predict_rows(x[:20].tolist())
    np.testing.assert_array_equal(np.array(rows, expected.dtype), got[:20])


@pytest.mark.parametrize("seed", SEEDS)
def test_other_answers_are_those_of_the_trees(seed: int, tmp_path: Path) -> None:
    estimator, x, _ = fitted(seed)
    model = glowplug.load(from_sklearn(estimator).save(tmp_path / "model.glow"))
    margin = model.predict(x, output="margin")
    if hasattr(estimator, "decision_function"):
        np.testing.assert_array_equal(margin, estimator.decision_function(x), strict=True)
    leaves = model.predict(x, output="leaf")
    if hasattr(estimator, "apply"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = estimator.apply(x)
        np.testing.assert_array_equal(leaves, expected.reshape(len(x), -1))
    contributions = model.contributions(x)
    sums = contributions.sum(axis=-1).reshape(margin.shape)
    np.testing.assert_allclose(sums, margin, 1e-9, 1e-9 * max(1.0, np.abs(contributions).max()))


def test_contributions_of_one_tree_are_as_defined(tmp_path: Path) -> None:
    """Two features: each moves the score by the mean of what it does alone and beside the other."""
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 5, float)
    y = x[:, 0] * 2 + x[:, 0] * x[:, 1]
    estimator = tree.DecisionTreeRegressor().fit(x, y)
    model = glowplug.load(from_sklearn(estimator).save(tmp_path / "model.glow"))
    # Known alone, column 0 says 2.5, column 1 says 1.5; the mean of all is 1.25.
    expected = [((2.5 - 1.25) + (3 - 1.5)) / 2, ((1.5 - 1.25) + (3 - 2.5)) / 2, 1.25]
    np.testing.assert_allclose(model.contributions(np.array([[1.0, 1.0]]))[0], expected, 1e-12)


@pytest.mark.parametrize("seed", [28, 89, 92])
def test_training_rows_at_the_bound_are_inliers(seed: int, tmp_path: Path) -> None:
    x = np.random.default_rng(seed).normal(size=(51, 3)).astype(np.float32)
    estimator = ensemble.IsolationForest(n_estimators=10, contamination=0.1, random_state=seed).fit(x)
    assert (estimator.decision_function(x) == 0).any(), "a row is the percentile"
    model = glowplug.load(from_sklearn(estimator).save(tmp_path / "model.glow"))
    np.testing.assert_array_equal(model.predict(x), estimator.predict(x), strict=True)


@pytest.mark.parametrize("offset", [0.5, 0.0, -1e-300, -1.0, -2.0])
def test_bounds_that_no_score_or_every_score_reaches_are_kept(offset: float, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(51, 3)).astype(np.float32)
    estimator = ensemble.IsolationForest(n_estimators=10, random_state=0).fit(x)
    estimator.offset_ = offset
    model = glowplug.load(from_sklearn(estimator).save(tmp_path / "model.glow"))
    np.testing.assert_array_equal(model.predict(x), estimator.predict(x), strict=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_outliers_have_the_scores_of_the_estimator(seed: int, tmp_path: Path) -> None:
    random = np.random.default_rng(seed)
    columns, count = int(random.integers(1, 9)), int(random.integers(1, 40))
    x, rows = (data(random, 300, columns, missing=seed % 4 == 3) for _ in range(2))
    rows[:70] = random.choice(ODD, size=(70, columns))
    estimator = ensemble.IsolationForest(
        n_estimators=count,
        max_samples=[1, 2, 9, "auto", 1.0][seed % 5],
        max_features=float(random.uniform(0.3, 1)) if seed % 2 else 1.0,
        contamination=["auto", 0.05, 0.5][seed % 3],
        bootstrap=bool(random.random() < 0.3),
        random_state=seed,
    )
    estimator.fit(x, sample_weight=random.uniform(0.5, 2, 300) if seed % 7 == 0 else None)
    model = glowplug.load(from_sklearn(estimator).save(tmp_path / "model.glow"))
    answers = model.run({"features": rows})
    # Powers of NumPy and of the C library differ by a bit, which decides no label.
    expected = estimator.decision_function(rows)
    np.testing.assert_allclose(answers["score"], expected, 1e-14, 1e-15, strict=True)
    np.testing.assert_array_equal(model.predict(rows), estimator.predict(rows), strict=True)
    np.testing.assert_allclose(answers["score"] + estimator.offset_, estimator.score_samples(rows), 1e-13)
    depths = model.predict(rows, output="margin")
    np.testing.assert_allclose(model.contributions(rows).sum(axis=1), depths, 1e-9, 1e-9)
    leaves = [one.apply(rows[:, used].astype(np.float32)) for one, used in zip(
        estimator.estimators_, estimator.estimators_features_, strict=True)]  # fmt: skip
    np.testing.assert_array_equal(model.predict(rows, output="leaf"), np.stack(leaves, axis=1))
    assert model.classes == [-1, 1]
    assert model.predict_rows(rows[:9].tolist()) == model.predict(rows[:9]).tolist()
    with pytest.raises(glowplug.InputError, match="no output known to hold probabilities"):
        model.predict_proba(rows)


def frame(rows: int, kinds: str) -> pd.DataFrame:
    random = np.random.default_rng(len(kinds))
    table = pd.DataFrame({"amount": random.exponential(9, rows), "country": random.choice([0, 3, 7, 200], rows)})
    table["hour"] = random.integers(0, 24, rows)
    if kinds == "dtype":
        table["country"] = table["country"].astype("category")
        table["hour"] = table["hour"].astype("category")
    return table


@pytest.mark.parametrize("kinds", ["dtype", "named", "mask"])
def test_categories_of_frames(kinds: str) -> None:
    table = frame(400, kinds)
    target = (table["country"].astype(int) % 7 == 0) & (table["hour"].astype(int) % 5 > 1) | (table["amount"] > 20)
    columns: Any = {"dtype": "from_dtype", "named": ["hour", "country"], "mask": [False, True, True]}[kinds]
    estimator = ensemble.HistGradientBoostingClassifier(categorical_features=columns, max_iter=15).fit(table, target)
    assert any(one.nodes["is_categorical"].any() for stage in estimator._predictors for one in stage)
    model = from_sklearn(estimator).load()
    assert model.features == ["amount", "country", "hour"]
    numbers = table.astype(float)
    np.testing.assert_array_equal(model.predict(numbers), estimator.predict(table))
    np.testing.assert_allclose(model.predict_proba(numbers), estimator.predict_proba(table), 1e-14)
    assert (
        model.predict_rows([{"hour": 3, "country": 7, "amount": 1.5}])
        == estimator.predict(pd.DataFrame({"amount": [1.5], "country": [7], "hour": [3]})).tolist()
    )


def test_many_categories_and_one_column() -> None:
    random = np.random.default_rng(0)
    x = random.choice(np.array([2, 3, 5, 100, 40_000, 1_000_000], float), size=(300, 1))
    estimator = ensemble.HistGradientBoostingRegressor(categorical_features=[0], max_iter=5, min_samples_leaf=2)
    estimator.fit(x, np.sin(x[:, 0]))
    rows = np.array([[2.0], [100.0], [1_000_000.0], [1_000_001.0], [4.0], [np.nan]])
    np.testing.assert_array_equal(from_sklearn(estimator).load().predict(rows), estimator.predict(rows))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("text", [False, True])
def test_lightgbm(classes: int, text: bool, tmp_path: Path) -> None:
    random = np.random.default_rng(classes)
    x = random.normal(size=(400, 4))
    y = np.digitize(x.sum(axis=1), [0.0, 1.5][: classes - 1])
    labels = np.array(["no", "yes", "perhaps"])[y] if text else y * 10
    estimator = lightgbm.LGBMClassifier(n_estimators=100, learning_rate=0.3, verbose=-1, n_jobs=1)
    if text:
        estimator.fit(x[:200], labels[:200])
    else:
        stop = lightgbm.early_stopping(3, verbose=False)
        estimator.fit(x[:200], labels[:200], eval_X=x[200:], eval_y=labels[200:], callbacks=[stop])
        assert estimator.best_iteration_ < 100
    model = glowplug.load(from_sklearn(estimator).save(tmp_path / "model.glow"))
    np.testing.assert_array_equal(model.predict(x), estimator.predict(x))
    np.testing.assert_array_equal(model.predict_proba(x), estimator.predict_proba(x))
    assert model.classes == estimator.classes_.tolist()
    assert model.features == estimator.booster_.feature_name()
    assert model.predict_rows(x[:2].tolist()) == estimator.predict(x[:2]).tolist()
    expected = estimator.predict_proba(x, pred_contrib=True)
    np.testing.assert_allclose(model.contributions(x).reshape(expected.shape), expected, 1e-9, 1e-9)


def test_lightgbm_and_xgboost_regressors() -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=(300, 4)).astype(np.float32)
    y = x.sum(axis=1)
    for estimator in (
        lightgbm.LGBMRegressor(n_estimators=5, verbose=-1, n_jobs=1),
        lightgbm.LGBMRegressor(n_estimators=5, verbose=-1, n_jobs=1, boosting_type="dart", linear_tree=True),
        xgboost.XGBRegressor(n_estimators=5, n_jobs=1),
    ):
        converted = from_sklearn(estimator.fit(x, y))
        np.testing.assert_array_equal(converted.load().predict(x), estimator.predict(x))
    classifier = xgboost.XGBClassifier(n_estimators=5, n_jobs=1).fit(x, np.digitize(y, [-1, 1]))
    model = from_sklearn(classifier).load()
    np.testing.assert_array_equal(model.predict(x), classifier.predict(x))
    np.testing.assert_array_equal(model.predict_proba(x), classifier.predict_proba(x))


def small() -> tuple[Array, Array]:
    x = np.random.default_rng(0).normal(size=(100, 2))
    return x, x[:, 0] > 0


UNSUPPORTED: dict[str, tuple[Callable[[], Any], str]] = {
    "a booster": (
        lambda: xgboost.train({}, xgboost.DMatrix(*small()), 1),
        "what its `save_model` writes",
    ),
    "another": (
        lambda: svm.SVC().fit(*small()),
        "SVC: is not an estimator that is converted; these are: AdaBoostC",
    ),
    "several outputs": (
        lambda: tree.DecisionTreeClassifier().fit(small()[0], small()[0] > 0),
        "classifies 2 outputs at once",
    ),
    "one class": (lambda: tree.DecisionTreeClassifier().fit(small()[0], np.ones(100)), "knows only the class 1.0"),
    "init": (
        lambda: ensemble.GradientBoostingRegressor(init=tree.DecisionTreeRegressor(), n_estimators=2).fit(*small()),
        "init=DecisionTreeRegressor",
    ),
    "texts": (
        lambda: ensemble.HistGradientBoostingClassifier(max_iter=2).fit(
            pd.DataFrame({"colour": pd.Categorical(["red", "blue"] * 50), "size": np.arange(100.0)}), small()[1]
        ),
        "category 'blue' in column colour",
    ),
    "negative": (
        lambda: ensemble.HistGradientBoostingClassifier(max_iter=2, categorical_features=[1]).fit(
            np.stack([np.arange(100.0), np.arange(100) % 3 - 1.0], axis=1), small()[1]
        ),
        "category -1.0 in column 1",
    ),
    "objective": (
        lambda: lightgbm.LGBMClassifier(
            n_estimators=2, verbose=-1, objective=lambda y, p: (p - y, np.ones_like(p))
        ).fit(*small()),
        "objective of its own",
    ),
    "one class of LightGBM": (
        lambda: lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(small()[0], np.ones(100)),
        "knows only the class 1.0",
    ),
    "trees left out": (
        lambda: lightgbm.LGBMClassifier(n_estimators=2, verbose=-1, pred_early_stop=True).fit(*small()),
        "leaves out trees of rows that seem clear",
    ),
    "zero is missing": (
        lambda: xgboost.XGBRegressor(n_estimators=2, missing=0.0).fit(*small()),
        "takes 0.0 for missing",
    ),
    "sums of leaves": (
        lambda: catboost.CatBoost(
            {"iterations": 2, "loss_function": "Logloss", "verbose": 0, "allow_writing_files": False}
        ).fit(*small()),
        "CatBoost: predicts sums of leaves",
    ),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
@pytest.mark.filterwarnings("ignore")
def test_what_is_not_converted_is_named(name: str) -> None:
    make, words = UNSUPPORTED[name]
    with pytest.raises(glowplug.UnsupportedModelError, match=words):
        from_sklearn(make())


@pytest.mark.parametrize(
    "estimator",
    [
        tree.DecisionTreeClassifier(),
        ensemble.RandomForestRegressor(),
        ensemble.HistGradientBoostingClassifier(),
        lightgbm.LGBMClassifier(),
        xgboost.XGBClassifier(),
    ],
)
def test_what_is_not_fitted_is_refused(estimator: Any) -> None:
    with pytest.raises(glowplug.ModelError, match="is not fitted"):
        from_sklearn(estimator)


class Shifted(tree.DecisionTreeRegressor):
    """A subclass that answers otherwise than what is in its tree."""

    def predict(self, X: Array, *, check_input: bool = True) -> Array:  # noqa: N803
        return super().predict(X, check_input) + 1.0


def test_estimators_are_not_files() -> None:
    with pytest.raises(glowplug.OptionTypeError, match=r"got DecisionTreeClassifier, .*\n.*from_sklearn"):
        glowplug.load(tree.DecisionTreeClassifier().fit(*small()))  # type: ignore[arg-type]


def test_a_model_that_would_answer_otherwise_is_refused() -> None:
    x, y = small()
    with pytest.raises(glowplug.ModelError, match="Shifted: answers to `predict` otherwise"):
        from_sklearn(Shifted().fit(x, y))


def test_rows_of_the_check_are_round_the_thresholds() -> None:
    estimator, _, _ = fitted(0)
    content = from_sklearn(estimator).content
    head, columns, thresholds = checked.splits(content)
    assert len(columns) == len(thresholds) == head["splits"] > 3
    x = checked.rows(content)
    assert np.isin(x[:, columns[0]], thresholds[columns == columns[0]].astype(np.float32)).sum() > 10


def test_files_and_objects(tmp_path: Path) -> None:
    estimator, x, _ = fitted(1)
    converted = from_sklearn(estimator)
    assert isinstance(converted, Converted)
    assert bytes(converted) == converted.content == pickle.loads(pickle.dumps(converted)).content
    assert repr(converted).startswith("<RandomForestRegressor for glowplug, ")
    path = tmp_path / "model.anything"
    path.write_text("old")
    assert converted.save(path) == path
    assert path.read_bytes() == converted.content
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask()
    with pytest.raises(OSError, match="nowhere"):
        converted.save(tmp_path / "nowhere" / "model.glow")
    np.testing.assert_array_equal(converted.load(batch="serial").predict(x), estimator.predict(x))
    # The file is smaller than what scikit-learn needs.
    assert len(converted.content) * 3 < len(pickle.dumps(estimator))


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_neither_a_library_nor_numpy_is_needed(tmp_path: Path) -> None:
    estimator, x, _ = fitted(4)
    path = from_sklearn(estimator).save(tmp_path / "model.glow")
    row = np.nan_to_num(x[-1], posinf=0.0).tolist()
    program = (
        f"import sys, glowplug\nprint(glowplug.load({str(path)!r}).predict_rows([{row!r}])[0])\n"
        "maps = open('/proc/self/maps').read() if sys.platform == 'linux' else ''\n"
        "print('onnxruntime' in maps, [m for m in ('numpy', 'sklearn', 'glowplug.convert') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    label, rest = answer.stdout.splitlines()
    assert label == str(estimator.predict([row])[0])
    assert rest == "False []"
