"""CatBoost's JSON, run without CatBoost: its sums of leaves, bit for bit, and what its estimators make of them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import catboost
import numpy as np
import pandas as pd
import pytest

import glowplug
from glowplug.convert import from_sklearn
from seeds import seeds

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Array = np.ndarray[Any, Any]

SEEDS = seeds(30)
LOSSES = (
    "RMSE", "Logloss", "MultiClass", "MAE", "Poisson", "MultiClassOneVsAll", "Quantile:alpha=0.3", "MultiRMSE",
    "CrossEntropy", "Tweedie:variance_power=1.5", "MultiLogloss",
)  # fmt: skip
#: Numbers that are easily compared or read wrongly.
ODD = np.array([np.nan, 0.0, -0.0, np.inf, -np.inf, 1e-45, 3e38, -3.4028234663852886e38, 3.4028234663852886e38, 1.0])
QUIET: dict[str, Any] = {"verbose": 0, "allow_writing_files": False, "thread_count": 1}


def data(random: np.random.Generator, rows: int, columns: int) -> Array:
    x = random.normal(size=(rows, columns)) * random.choice([1e-3, 1.0, 1e3], size=columns)
    x[:, 0] = random.integers(0, 9, size=rows)
    x[random.random(x.shape) < 0.1] = np.nan
    return x.astype(np.float32)


def fitted(seed: int, columns: int) -> Any:
    """An estimator with random parameters."""
    random, loss = np.random.default_rng(seed), LOSSES[seed % len(LOSSES)]
    x = data(random, 200, columns)
    score = np.nan_to_num(x / (np.abs(np.nan_to_num(x)).max(axis=0) + 1e-9)).sum(axis=1) + random.normal(size=200) / 9
    name = loss.split(":", maxsplit=1)[0]
    target: Any = {
        "Logloss": score > np.median(score),
        "CrossEntropy": 1 / (1 + np.exp(-score)),
        "Poisson": np.exp(score),
        "Tweedie": np.exp(score),
        "MultiRMSE": np.stack([score, -score, score**2], axis=1),
        "MultiLogloss": np.stack([score > 0, score > 0.3], axis=1).astype(int),
    }.get(name, score)
    if name.startswith("MultiClass"):
        target = np.digitize(score, np.quantile(score, [0.3, 0.6]))
    if name in {"Logloss", "MultiClass", "MultiClassOneVsAll"}:
        count = 2 if name == "Logloss" else 3
        target = np.array([["no", "yes", "ü"], [5, 7, -3], [0, 1, 2]][random.integers(3)])[:count][target.astype(int)]
    options: dict[str, Any] = {
        "loss_function": loss,
        "iterations": int(random.integers(1, 25)),
        "depth": int(random.integers(1, 7)),
        "nan_mode": str(random.choice(["Min", "Max"])),
        "random_seed": seed,
    }
    # CatBoost has no trees of these kinds for all losses.
    policy = str(random.choice(["SymmetricTree", "SymmetricTree", "Depthwise", "Lossguide"]))
    if policy != "SymmetricTree" and name not in {"MultiRMSE", "MultiLogloss"}:
        options["grow_policy"] = policy
    is_classifier = name in {"Logloss", "MultiClass", "MultiClassOneVsAll", "CrossEntropy", "MultiLogloss"}
    kind = catboost.CatBoostClassifier if is_classifier else catboost.CatBoostRegressor
    return kind(**options, **QUIET).fit(x, target)


def saved(estimator: Any, folder: Path) -> Path:
    path = folder / "model.json"
    estimator.save_model(str(path), format="json")
    return path


def assert_same(model: glowplug.Model, estimator: Any, x: Any) -> None:
    raw = estimator.predict(x, prediction_type="RawFormulaVal")
    np.testing.assert_array_equal(model.predict(x, output="margin"), raw, strict=True)
    expected = estimator.predict(x)
    if not hasattr(estimator, "predict_proba"):
        # `exp` of CatBoost and of the C library differ by a bit.
        np.testing.assert_allclose(model.predict(x), expected, 1e-14, strict=True)
        return
    expected = expected.reshape(len(x), -1)
    np.testing.assert_array_equal(model.predict(x).reshape(expected.shape), expected)
    probabilities = estimator.predict_proba(x)
    np.testing.assert_allclose(model.predict_proba(x), probabilities, 1e-13, 1e-15, strict=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_scores_are_those_of_catboost(seed: int, tmp_path: Path) -> None:
    random = np.random.default_rng(seed + 1000)
    columns = int(random.integers(1, 8))
    estimator = fitted(seed, columns)
    path = saved(estimator, tmp_path)
    model = glowplug.load(path)
    x = data(random, 300, columns)
    x[:100] = random.choice(ODD, size=(100, columns)).astype(np.float32)
    assert_same(model, estimator, x)
    answer = model.predict(x)
    np.testing.assert_array_equal(model.predict(x[:1]), answer[:1])
    np.testing.assert_array_equal(model.predict(x.astype(np.float64)), answer)
    np.testing.assert_array_equal(np.concatenate(list(model.predict_iter([x[:7], x[7:]]))), answer)
    assert model.features == estimator.feature_names_
    leaves = estimator.calc_leaf_indexes(x)
    np.testing.assert_array_equal(model.predict(x, output="leaf"), leaves.astype(np.int32), strict=True)
    # Written anew by another program.
    again = glowplug.load(json.dumps(json.loads(path.read_text())).encode())
    np.testing.assert_array_equal(again.predict(x), answer)


@pytest.mark.parametrize("seed", SEEDS[:15])
def test_contributions_are_those_of_catboost_where_they_add_up(seed: int, tmp_path: Path) -> None:
    random = np.random.default_rng(seed + 1000)
    columns = int(random.integers(1, 8))
    estimator = fitted(seed, columns)
    model, x = glowplug.load(saved(estimator, tmp_path)), data(random, 60, columns)
    got, margin = model.contributions(x), model.predict(x, output="margin")
    expected = estimator.get_feature_importance(catboost.Pool(x), type="ShapValues")
    scale = np.abs(got).max() + 1e-9
    np.testing.assert_allclose(got.sum(axis=-1), margin, 1e-9, 1e-9 * scale)
    adds_up = np.abs(expected.sum(axis=-1) - margin) < 1e-7 * scale
    assert adds_up.all() or estimator.get_all_params()["grow_policy"] != "SymmetricTree"
    np.testing.assert_allclose(got[adds_up], expected[adds_up], 1e-6, 1e-9 * scale)


def table(rows: int) -> pd.DataFrame:
    random = np.random.default_rng(rows)
    frame = pd.DataFrame({"amount": random.exponential(9, rows).astype(np.float32)})
    frame["kind"] = random.choice(["red", "blue", "grün", "", "a" * 70], rows)
    frame["hour"] = random.integers(0, 5, rows).astype(str)
    frame["age"] = random.normal(40, 9, rows).astype(np.float32)
    frame.loc[random.random(rows) < 0.1, "age"] = np.nan
    return frame


@pytest.mark.parametrize("policy", ["SymmetricTree", "Depthwise", "Lossguide"])
@pytest.mark.parametrize("classes", [0, 2, 3])
def test_categories_are_texts(policy: str, classes: int, tmp_path: Path) -> None:
    train, rows = table(400), table(200)
    score = (train["kind"] == "red") * 2 + (train["hour"] == "3") + train["age"].fillna(0) / 40
    options = {"cat_features": ["kind", "hour"], "one_hot_max_size": 10, "iterations": 12, "grow_policy": policy}
    if classes:
        target = np.array(["a", "b", "c"])[np.digitize(score, [1.0, 2.2][: classes - 1])]
        estimator = catboost.CatBoostClassifier(**options, **QUIET).fit(train, target)
    else:
        estimator = catboost.CatBoostRegressor(**options, **QUIET).fit(train, score)
    # One that was not there in the training.
    rows.loc[:9, "kind"] = "new"
    path = saved(estimator, tmp_path)
    assert "OneHotFeature" in path.read_text()
    model = glowplug.load(path)
    assert [(spec.name, spec.dtype) for spec in model.inputs] == [
        ("amount", "float32"), ("kind", "string"), ("hour", "string"), ("age", "float32"),
    ]  # fmt: skip
    assert_same(model, estimator, rows)
    shuffled = rows[["hour", "age", "kind", "amount"]]
    np.testing.assert_array_equal(model.predict(shuffled), model.predict(rows))
    named = [
        {name: None if value != value else value for name, value in row.items()}  # noqa: PLR0124
        for row in rows[:20].to_dict("records")
    ]
    assert model.predict_rows(named) == model.predict(rows[:20]).tolist()
    answer = json.loads(model.predict_json(json.dumps({"instances": named}).encode()))
    assert answer["predictions"] == model.predict(rows[:20]).tolist()
    pool = catboost.Pool(rows, cat_features=["kind", "hour"])
    leaves = estimator.calc_leaf_indexes(pool)
    np.testing.assert_array_equal(model.predict(rows, output="leaf"), leaves.astype(np.int32))
    contributions, margin = model.contributions(rows), model.predict(rows, output="margin")
    np.testing.assert_allclose(contributions.sum(axis=-1), margin, 1e-9, 1e-9)
    each = model.predict_rows(named, method="contributions")
    assert json.loads(model.predict_json(json.dumps(named).encode(), method="contributions")) == each
    for why, numbers in zip(each, contributions, strict=False):
        by_class = why if isinstance(why, list) else [why]
        for one, (*parts, expected) in zip(by_class, np.atleast_2d(numbers).tolist(), strict=True):
            columns = ["amount", "kind", "hour", "age"]
            assert one == {"expected_value": expected, "contributions": dict(zip(columns, parts, strict=True))}
    if policy == "SymmetricTree":
        expected = estimator.get_feature_importance(pool, type="ShapValues")
        np.testing.assert_allclose(contributions, expected, 1e-9, 1e-9)


def test_estimators_are_converted(tmp_path: Path) -> None:
    x = data(np.random.default_rng(0), 200, 3)
    estimator = catboost.CatBoostClassifier(iterations=5, **QUIET).fit(x, np.nan_to_num(x[:, 1]) > 0)
    estimator.set_probability_threshold(0.3)
    model = glowplug.load(from_sklearn(estimator).save(tmp_path / "model.json"))
    assert_same(model, estimator, x)
    assert model.classes == [0, 1] == estimator.classes_.tolist()
    with pytest.raises(glowplug.ModelError, match="is not fitted"):
        from_sklearn(catboost.CatBoostClassifier())


@pytest.mark.parametrize("loss", ["MultiClass", "MultiClassOneVsAll"])
def test_classes_that_are_counted_are_called_by_numbers(loss: str, tmp_path: Path) -> None:
    x = data(np.random.default_rng(0), 200, 3)
    score = np.nan_to_num(x[:, 1]) / np.nanmax(np.abs(x[:, 1]))
    counted = catboost.CatBoostClassifier(iterations=3, loss_function=loss, classes_count=3, **QUIET)
    model = glowplug.load(saved(counted.fit(x, np.digitize(score, [-0.1, 0.1])), tmp_path))
    assert_same(model, counted, x)
    assert model.classes == [0, 1, 2]


@pytest.mark.parametrize(
    "options", [{"classes_count": 3}, {"class_names": [0, 1, 2]}, {"class_weights": {0: 1, 1: 2, 2: 1}}]
)
def test_classes_without_rows_are_named(options: dict[str, Any], tmp_path: Path) -> None:
    """Leaves have no sums of them, but probabilities have columns."""
    x = data(np.random.default_rng(0), 200, 3)
    short = catboost.CatBoostClassifier(iterations=3, loss_function="MultiClass", **options, **QUIET)
    with pytest.raises(glowplug.UnsupportedModelError, match="a class of which the training had no row"):
        glowplug.load(saved(short.fit(x, np.digitize(np.nan_to_num(x[:, 1]), [0])), tmp_path))


def test_neither_a_library_nor_numpy_is_needed(tmp_path: Path) -> None:
    x = data(np.random.default_rng(0), 200, 3)
    estimator = catboost.CatBoostRegressor(iterations=5, **QUIET).fit(x, np.nan_to_num(x[:, 1]))
    path = saved(estimator, tmp_path)
    program = (
        f"import sys, glowplug\nprint(glowplug.load({str(path)!r}).predict_rows([[1.0, None, 0.25]])[0])\n"
        "maps = open('/proc/self/maps').read() if sys.platform == 'linux' else ''\n"
        "print('onnxruntime' in maps, [m for m in ('numpy', 'catboost') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    score, rest = answer.stdout.splitlines()
    assert float(score) == estimator.predict([[1.0, np.nan, 0.25]])[0]
    assert rest == "False []"


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    train = table(200)
    counted = catboost.CatBoostRegressor(cat_features=["kind", "hour"], one_hot_max_size=2, iterations=9, **QUIET)
    with pytest.raises(glowplug.UnsupportedModelError, match=r"`OnlineCtr`.*\n.*one_hot_max_size"):
        glowplug.load(saved(counted.fit(train, train["kind"] == "red"), tmp_path))
    x = data(np.random.default_rng(0), 100, 2)
    unsure = catboost.CatBoostRegressor(loss_function="RMSEWithUncertainty", iterations=2, **QUIET)
    with pytest.raises(glowplug.UnsupportedModelError, match="RMSEWithUncertainty"):
        glowplug.load(saved(unsure.fit(x, np.nan_to_num(x[:, 1])), tmp_path))
    halves = catboost.CatBoostClassifier(iterations=2, **QUIET).fit(x, (np.nan_to_num(x[:, 1]) > 0) * 0.5)
    with pytest.raises(glowplug.UnsupportedModelError, match=r"the class 0.5"):
        glowplug.load(saved(halves, tmp_path))


def document(policy: str = "SymmetricTree") -> dict[str, Any]:
    x = np.random.default_rng(0).normal(size=(100, 2))
    estimator = catboost.CatBoostClassifier(iterations=2, depth=2, grow_policy=policy, **QUIET)
    estimator.fit(x, np.digitize(x[:, 0], [-0.5, 0.5]))
    return json.loads(from_sklearn(estimator).content)


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no features": (lambda model: model.update(features_info={}), "count the features"),
    "no bias": (lambda model: model.pop("scale_and_bias"), "scale_and_bias"),
    "bias": (lambda model: model.update(scale_and_bias=[1, [0, 0]]), "outputs"),
    "scale": (lambda model: model.update(scale_and_bias=[float("inf"), [0, 0, 0]]), "scale_and_bias"),
    "texts": (lambda model: model["features_info"].update(text_features=[{}]), "text_features"),
    "twice": (
        lambda model: model["features_info"]["float_features"][1].update(flat_feature_index=0),
        "count the features",
    ),
    "far": (
        lambda model: model["features_info"]["float_features"][1].update(flat_feature_index=4_000_000_000),
        "flat_feature_index",
    ),
    "treatment": (
        lambda model: model["features_info"]["float_features"][1].update(nan_value_treatment="As"),
        "nan_value_treatment",
    ),
    "feature": (
        lambda model: model["oblivious_trees"][0]["splits"][0].update(float_feature_index=7),
        "float feature 7",
    ),
    "negative": (
        lambda model: model["oblivious_trees"][0]["splits"][0].update(float_feature_index=-1),
        "float_feature_index",
    ),
    "border": (lambda model: model["oblivious_trees"][0]["splits"][0].update(border=float("nan")), "NaN"),
    "type": (lambda model: model["oblivious_trees"][0]["splits"][0].update(split_type="Estimated"), "Estimated"),
    "leaves": (lambda model: model["oblivious_trees"][0]["leaf_values"].pop(), "11 `leaf_values` for 2 splits"),
    "leaf": (
        lambda model: model["oblivious_trees"][0].update(leaf_values=[float("nan")] * 12),
        "finite",
    ),
    "many": (
        lambda model: model["oblivious_trees"][0].update(splits=model["oblivious_trees"][0]["splits"] * 40),
        "for 80 splits",
    ),
    "classes": (lambda model: model["model_info"]["class_params"].update(class_names=[1, 2]), "2 `class_names`"),
    "more classes": (
        lambda model: model["model_info"]["class_params"].update(class_names=[], classes_count=4_000_000_000),
        "no row",
    ),
    "order": (lambda model: model["model_info"]["class_params"].update(class_to_label=[1, 0, 2]), "class_to_label"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused(name: str) -> None:
    model = document()
    change, words = BROKEN[name]
    change(model)
    with pytest.raises(glowplug.ModelError, match=words):
        glowplug.load(json.dumps(model).encode())


def test_broken_trees_that_are_not_symmetric_are_refused() -> None:
    model = document("Depthwise")
    tree = model["trees"][0]
    for node, words in (
        ({"split": tree["split"], "left": tree["left"]}, "two children"),
        ({"value": "x"}, "without `split` and `value`"),
        ({"value": [1, 2]}, "leaves"),
        ({"split": {"split_type": "FloatFeature", "border": 1}, "left": {}, "right": {}}, "float_feature_index"),
    ):
        model["trees"][0] = node
        with pytest.raises(glowplug.ModelError, match=words):
            glowplug.load(json.dumps(model).encode())
    deep = b'{"features_info": {}, "trees": [' + b'{"left": ' * 100_000
    with pytest.raises(glowplug.ModelError, match="deeper than 128"):
        glowplug.load(deep)


def test_every_truncation_is_an_error_and_damage_is_bounded() -> None:
    for policy in ("SymmetricTree", "Lossguide"):
        text = json.dumps(document(policy)).encode()
        for length in range(25, len(text), max(1, len(text) // 100)):
            with pytest.raises(glowplug.ModelError):
                glowplug.load(text[:length])
        random, refused = np.random.default_rng(0), 0
        for _ in range(200):
            damaged = bytearray(text)
            for at in random.integers(20, len(text), size=3).tolist():
                damaged[at] = int(random.choice(list(b'0123456789-.e[]{},:"x')))
            try:
                model = glowplug.load(bytes(damaged))
            except glowplug.ModelError:
                refused += 1
                continue
            model.predict(np.zeros((3, model.inputs[0].shape[1]), np.float32))
        assert 20 < refused < 200
