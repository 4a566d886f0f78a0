"""Why a row got its score: contributions, margins and leaves are those of the library that trained the trees."""

from __future__ import annotations

import functools
import json
import math
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np
import pytest
import xgboost

import glowplug
import models
import test_trees
import test_xgboost
from seeds import seeds

if TYPE_CHECKING:
    from pathlib import Path

    Array = np.ndarray[Any, Any]

SEEDS = seeds(30)


def assert_close(got: Array, expected: Array, tolerance: float) -> None:
    """Within a part of the largest number of a row: what cancels within it cannot be more exact than that."""
    assert (got.shape, got.dtype) == (expected.shape, np.dtype(np.float64))
    scale = np.abs(expected).max(axis=-1, keepdims=True, initial=1e-3)
    assert np.abs((got - expected) / scale).max(initial=0.0) <= tolerance


def assert_adds_up(contributions: Array, margin: Array, tolerance: float, least: float = 1e-300) -> None:
    """Within a part of what is added."""
    error = np.abs(contributions.sum(axis=-1) - margin.reshape(contributions.shape[:-1]))
    assert (error <= tolerance * np.abs(contributions).sum(axis=-1) + least).all()


def of_lightgbm(booster: lightgbm.Booster, path: Path, x: Array, tolerance: float = 1e-10) -> glowplug.Model:
    """Compares everything, and gives our model."""
    booster.save_model(path)
    model, original = glowplug.load(path), lightgbm.Booster(model_file=path)
    expected = original.predict(x, pred_contrib=True)
    raw, scores = original.predict(x, raw_score=True), original.predict(x)
    margin = model.predict(x, output="margin")
    if "average_output" in path.read_text():
        # LightGBM gives sums over the trees of a forest where its scores are of means.
        trees = original.num_trees() // original.num_model_per_iteration()
        expected, raw = expected / trees, raw / trees
    classes = original.num_model_per_iteration()
    got = model.contributions(x)
    assert_close(got, expected.reshape(len(x), classes, -1) if classes > 1 else expected, tolerance)
    assert_adds_up(got, margin, 1e-11)
    np.testing.assert_array_equal(margin, raw, strict=True)
    np.testing.assert_array_equal(model.predict(x, output="leaf"), original.predict(x, pred_leaf=True), strict=True)
    np.testing.assert_array_equal(model.predict(x, output="score"), scores)
    return model


@pytest.mark.parametrize("seed", SEEDS)
def test_lightgbm(seed: int, tmp_path: Path) -> None:
    booster = test_trees.train(seed)
    random = np.random.default_rng(seed + 1000)
    x = test_trees.data(random, 60, booster.num_feature())
    x[:20] = random.choice(test_trees.ODD, size=(20, x.shape[1]))
    of_lightgbm(booster, tmp_path / "model.txt", x)


def of_xgboost(booster: xgboost.Booster, path: Path, x: Array) -> glowplug.Model:
    """Compares everything, and gives our model. XGBoost computes in float32."""
    booster.save_model(path)
    model, rows = glowplug.load(path), xgboost.DMatrix(x)
    expected = booster.predict(rows, pred_contribs=True)
    margin = booster.predict(rows, output_margin=True)
    leaves = booster.predict(rows, pred_leaf=True)
    got = model.contributions(x)
    assert_close(got, expected.astype(float), 1e-4)
    np.testing.assert_array_equal(model.predict(x, output="margin"), margin, strict=True)
    # Margins are added up from the base score on, which the expected value may nearly cancel.
    assert_adds_up(got, margin, 2e-6, 2e-7)
    np.testing.assert_array_equal(model.predict(x, output="leaf"), leaves.reshape(len(x), -1).astype(np.int32))
    return model


@pytest.mark.parametrize("seed", SEEDS)
def test_xgboost_within_its_rounding(seed: int, tmp_path: Path) -> None:
    booster = test_xgboost.train(seed)
    x = test_xgboost.data(np.random.default_rng(seed + 1000), 60, booster.num_features())
    of_xgboost(booster, tmp_path / f"model.{('json', 'ubj')[seed % 2]}", x)


def in_double(tree: dict[str, Any], row: Array) -> Array:
    """What a tree of XGBoost's JSON contributes, by the usual algorithm (Lundberg 2020) in float64."""
    left, right = tree["left_children"], tree["right_children"]
    values, covers = np.array(tree["split_conditions"], np.float32), tree["sum_hessian"]
    sums = np.zeros(len(row) + 1)

    def unwind(path: list[list[float]], at: int) -> list[list[float]]:
        path = [step.copy() for step in path]
        depth = len(path) - 1
        _, zero, one, _ = path[at]
        carried = path[depth][3]
        for step in range(depth - 1, -1, -1):
            if one:
                before = path[step][3]
                path[step][3] = carried * (depth + 1) / ((step + 1) * one)
                carried = before - path[step][3] * zero * (depth - step) / (depth + 1)
            else:
                path[step][3] = path[step][3] * (depth + 1) / (zero * (depth - step))
        for step in range(at, depth):
            path[step][:3] = path[step + 1][:3]
        return path[:-1]

    def visit(node: int, path: list[list[float]], zero: float, one: float, feature: int) -> None:
        path = [*(step.copy() for step in path), [feature, zero, one, 1.0 if not path else 0.0]]
        depth = len(path) - 1
        for step in range(depth - 1, -1, -1):
            path[step + 1][3] += one * path[step][3] * (step + 1) / (depth + 1)
            path[step][3] = zero * path[step][3] * (depth - step) / (depth + 1)
        if left[node] == -1:
            for at in range(1, len(path)):
                total = sum(step[3] for step in unwind(path, at))
                sums[int(path[at][0])] += total * (path[at][2] - path[at][1]) * float(values[node])
            return
        split = tree["split_indices"][node]
        goes_left = tree["default_left"][node] if np.isnan(row[split]) else row[split] < values[node]
        hot, cold = (left[node], right[node]) if goes_left else (right[node], left[node])
        zero_before, one_before = 1.0, 1.0
        before = next((at for at in range(1, len(path)) if path[at][0] == split), None)
        if before is not None:
            _, zero_before, one_before, _ = path[before]
            path = unwind(path, before)
        visit(hot, path, zero_before * covers[hot] / covers[node], one_before, split)
        visit(cold, path, zero_before * covers[cold] / covers[node], 0.0, split)

    def expected(node: int) -> float:
        if left[node] == -1:
            return float(values[node])
        parts = (covers[child] * expected(child) for child in (left[node], right[node]))
        return sum(parts) / covers[node]

    visit(0, [], 1.0, 1.0, -1)
    sums[-1] = expected(0)
    return sums


def test_xgboost_in_double(tmp_path: Path) -> None:
    """XGBoost's own answers are rounded to float32 on the way; the algorithm in float64 is not."""
    random = np.random.default_rng(0)
    x = test_xgboost.data(random, 500, 7)
    options = {"objective": "reg:squarederror", "max_depth": 9, "base_score": 0.25, "nthread": 1}
    booster = xgboost.train(options, xgboost.DMatrix(x, np.nan_to_num(x).clip(-9, 9).sum(axis=1)), 6)
    booster.save_model(tmp_path / "model.json")
    document = json.loads((tmp_path / "model.json").read_text())
    trees = document["learner"]["gradient_booster"]["model"]["trees"]
    got = glowplug.load(tmp_path / "model.json").contributions(x[:12])
    expected = np.array([sum(in_double(tree, row) for tree in trees) for row in x[:12]])
    expected[:, -1] += 0.25
    assert_close(got, expected, 1e-12)


def test_the_definition(tmp_path: Path) -> None:
    """Contributions are means over all orders in which features become known, of a model without missing numbers."""
    random = np.random.default_rng(1)
    x = random.normal(size=(400, 4))
    options = {"objective": "regression", "verbose": -1, "num_threads": 1, "num_leaves": 12}
    booster = lightgbm.train(options, lightgbm.Dataset(x, x[:, 0] * x[:, 1] + x[:, 2]), 1)
    model = of_lightgbm(booster, tmp_path / "model.txt", x[:5])
    tree = booster.dump_model()["tree_info"][0]["tree_structure"]

    def expected(node: dict[str, Any], known: frozenset[int], row: Array) -> float:
        if "leaf_value" in node:
            return float(node["leaf_value"])
        children = [node["left_child"], node["right_child"]]
        if node["split_feature"] in known:
            return expected(children[int(row[node["split_feature"]] > node["threshold"])], known, row)
        counts = [child.get("internal_count", child.get("leaf_count")) for child in children]
        parts = (count * expected(child, known, row) for count, child in zip(counts, children, strict=True))
        return sum(parts) / node["internal_count"]

    def shapley(feature: int, row: Array) -> float:
        total, others = 0.0, [other for other in range(4) if other != feature]
        for bits in range(8):
            known = frozenset(other for place, other in enumerate(others) if bits >> place & 1)
            weight = math.factorial(len(known)) * math.factorial(3 - len(known)) / math.factorial(4)
            total += weight * (expected(tree, known | {feature}, row) - expected(tree, known, row))
        return total

    for row, got in zip(x[:5], model.contributions(x[:5]), strict=True):
        wanted = [*(shapley(feature, row) for feature in range(4)), expected(tree, frozenset(), row)]
        np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("columns", "leaves", "rounds"), [(1, 60, 5), (500, 31, 8), (40, 200, 4), (3, 2, 3)])
def test_shapes(columns: int, leaves: int, rounds: int, tmp_path: Path) -> None:
    random = np.random.default_rng(columns)
    x = random.normal(size=(900, columns))
    y = x[:, 0] + x[:, -1] * x[:, columns // 2] + random.normal(size=900)
    options = {"num_leaves": leaves, "min_data_in_leaf": 2, "verbose": -1, "num_threads": 1}
    booster = lightgbm.train(options | {"objective": "regression"}, lightgbm.Dataset(x, y), rounds)
    of_lightgbm(booster, tmp_path / "model.txt", x[:40])
    single = x.astype(np.float32)
    options = {"max_depth": 0, "max_leaves": leaves, "grow_policy": "lossguide", "nthread": 1}
    of_xgboost(xgboost.train(options, xgboost.DMatrix(single, y), rounds), tmp_path / "model.ubj", single[:40])


def test_trees_of_one_leaf(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(50, 3))
    options = {"objective": "regression", "verbose": -1, "num_threads": 1, "min_gain_to_split": 1e9}
    model = of_lightgbm(lightgbm.train(options, lightgbm.Dataset(x, x[:, 0] + 5), 3), tmp_path / "model.txt", x[:9])
    assert (model.contributions(x[:9])[:, :3] == 0).all()
    single = x.astype(np.float32)
    booster = xgboost.train({"gamma": 1e9, "nthread": 1}, xgboost.DMatrix(single, x[:, 0] + 5), 3)
    of_xgboost(booster, tmp_path / "model.json", single[:9])


def test_linear_models_have_margins_only(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    booster = xgboost.train({"booster": "gblinear", "nthread": 1}, xgboost.DMatrix(x, x[:, 0] + 5), 3)
    booster.save_model(tmp_path / "model.json")
    model = glowplug.load(tmp_path / "model.json")
    np.testing.assert_array_equal(model.predict(x, output="margin"), model.predict(x))
    with pytest.raises(glowplug.UnsupportedModelError, match="it is a linear model"):
        model.predict(x, output="leaf")
    with pytest.raises(glowplug.UnsupportedModelError, match="leaves are linear functions"):
        model.contributions(x)


def test_long_paths(tmp_path: Path) -> None:
    """Each tree asks for one feature after the other, more than one sweep has points for.

    LightGBM divides what it multiplied before, and loses digits with each; ours still add up.
    """
    random = np.random.default_rng(4)
    x = (random.random((6000, 60)) < 0.9).astype(float)
    y = np.cumprod(x, axis=1).sum(axis=1)
    options = {"objective": "regression", "num_leaves": 60, "min_data_in_leaf": 1, "verbose": -1, "num_threads": 1}
    booster = lightgbm.train(options, lightgbm.Dataset(x, y), 2)
    booster.save_model(tmp_path / "model.txt")
    got = glowplug.load(tmp_path / "model.txt").contributions(x[:50])
    expected, margin = booster.predict(x[:50], pred_contrib=True), booster.predict(x[:50], raw_score=True)
    assert_close(got, expected, 1e-3)
    assert_adds_up(got, margin, 1e-13)
    with pytest.raises(AssertionError):
        assert_adds_up(expected, margin, 1e-10)


@pytest.fixture(scope="module")
def fraud(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    x = test_trees.data(random, 600, 4)
    options = {"objective": "binary", "verbose": -1, "num_threads": 1}
    table = lightgbm.Dataset(x, np.nan_to_num(x).sum(axis=1) > 0, feature_name=["amount", "age", "hour", "country"])
    path = tmp_path_factory.mktemp("fraud") / "model.txt"
    lightgbm.train(options, table, 20).save_model(path)
    return path


def classes(folder: Path) -> glowplug.Model:
    random = np.random.default_rng(0)
    x = test_xgboost.data(random, 300, 3)
    options = {"objective": "multi:softprob", "num_class": 3, "nthread": 1}
    booster = xgboost.train(options, xgboost.DMatrix(x, random.integers(0, 3, 300)), 3)
    booster.save_model(folder / "classes.json")
    return glowplug.load(folder / "classes.json")


def test_plain_rows(fraud: Path, tmp_path: Path) -> None:
    model = glowplug.load(fraud)
    x = test_trees.data(np.random.default_rng(2), 7, 4)
    rows = [[None if math.isnan(value) else value for value in row] for row in x.tolist()]
    expected = [
        {"expected_value": row[-1], "contributions": dict(zip(["amount", "age", "hour", "country"], row, strict=False))}
        for row in model.contributions(x).tolist()
    ]
    assert model.predict_rows(rows, method="contributions") == expected
    named = [dict(zip(model.features or (), row, strict=True)) for row in rows]
    assert model.predict_rows(named, method="contributions") == expected
    renamed = glowplug.load(fraud, features=["a", "b", "c", "d"])
    assert list(renamed.predict_rows(rows[:1], method="contributions")[0]["contributions"]) == ["a", "b", "c", "d"]
    assert model.predict_rows(rows, method="margin") == model.predict(x, output="margin").tolist()
    assert model.predict_rows(rows, method="leaf") == model.predict(x, output="leaf").tolist()
    assert model.predict_rows([], method="contributions") == []
    unnamed = classes(tmp_path)
    assert unnamed.features is None
    x3 = test_xgboost.data(np.random.default_rng(2), 2, 3)
    answer = unnamed.predict_rows(
        [[None if math.isnan(v) else v for v in row] for row in x3.tolist()], method="contributions"
    )
    got = [[[*one["contributions"], one["expected_value"]] for one in row] for row in answer]
    np.testing.assert_array_equal(np.array(got), unnamed.contributions(x3), strict=True)


def test_json(fraud: Path, tmp_path: Path) -> None:
    model = glowplug.load(fraud)
    row = {"amount": 3.0, "age": 0.5, "hour": None, "country": -1.0}
    body = json.dumps({"instances": [row, row]})
    expected = model.predict_rows([row], method="contributions")[0]
    assert json.loads(model.predict_json(body, method="contributions")) == {"predictions": [expected, expected]}
    assert json.loads(model.predict_json(json.dumps(row), method="contributions")) == expected
    inputs = json.dumps({"inputs": {"features": [list(row.values())]}})
    assert json.loads(model.predict_json(inputs, method="contributions")) == {"outputs": [expected]}
    tensor = {"name": "features", "shape": [1, 4], "datatype": "FP64", "data": [3.0, 0.5, None, -1.0]}
    answer = json.loads(model.predict_json(json.dumps({"inputs": [tensor]}), method="contributions"))
    numbers = [*expected["contributions"].values(), expected["expected_value"]]
    assert answer["outputs"] == [{"name": "contributions", "datatype": "FP64", "shape": [1, 5], "data": numbers}]
    x = np.array([[3.0, 0.5, np.nan, -1.0]])
    assert (
        json.loads(model.predict_json(json.dumps([row]), method="margin")) == model.predict(x, output="margin").tolist()
    )
    assert json.loads(model.predict_json(json.dumps(row), method="leaf")) == model.predict(x, output="leaf")[0].tolist()
    unnamed = classes(tmp_path)
    answer = json.loads(unnamed.predict_json(b"[[0.5, 1, null]]", method="contributions"))
    expected = unnamed.contributions(np.array([[0.5, 1, np.nan]], np.float32))[0]
    np.testing.assert_array_equal([[*one["contributions"], one["expected_value"]] for one in answer[0]], expected)


def test_threads_pieces_and_progress(fraud: Path) -> None:
    x = test_trees.data(np.random.default_rng(5), 20_000, 4)
    one = glowplug.load(fraud, threads=1)
    expected = one.contributions(x)
    for threads, batch in ((2, "auto"), (2, "rows"), (1, "serial")):
        model = glowplug.load(fraud, threads=threads, batch=batch)
        seen: list[tuple[int, int]] = []
        for _ in range(2):
            got = model.contributions(x, progress=lambda done, total: seen.append((done, total)))  # noqa: B023
            np.testing.assert_array_equal(got, expected)
        assert seen[-1] == (20_000, 20_000)
        for output in ("margin", "leaf"):
            np.testing.assert_array_equal(model.predict(x, output=output), one.predict(x, output=output))
    for start in (0, 1, 17, 19_999):
        np.testing.assert_array_equal(one.contributions(x[start]), expected[start : start + 1])
    assert one.contributions(x[:0]).shape == (0, 5)


def test_what_progress_raises_ends_a_batch(tmp_path: Path) -> None:
    booster = test_trees.train(0, num_leaves=60)
    booster.save_model(tmp_path / "model.txt")
    model = glowplug.load(tmp_path / "model.txt", threads=1)
    x = test_trees.data(np.random.default_rng(5), 200_000, booster.num_feature())

    def stop(done: int, total: int) -> None:
        if done < total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.contributions(x, progress=stop)
    assert model.contributions(x[:3]).shape == (3, booster.num_feature() + 1)


def test_calls_are_counted_with_the_others(fraud: Path) -> None:
    model = glowplug.load(fraud.read_bytes())
    before = model.stats()
    model.predict(np.zeros((3, 4)), output="margin")
    model.predict_rows([[0.0] * 4], method="leaf")
    after = model.stats()
    assert (after["calls"] - before["calls"], after["rows"] - before["rows"]) == (2, 4)


def test_names_of_outputs_and_methods_are_checked(fraud: Path) -> None:
    model = glowplug.load(fraud)
    with pytest.raises(glowplug.OptionError, match='got \'leaves\', expected "score", "margin" or "leaf"'):
        model.predict(np.zeros((1, 4)), output="leaves")  # type: ignore[arg-type]
    with pytest.raises(glowplug.OptionError, match='or "contributions"'):
        model.predict_rows([[0.0] * 4], method="shap")  # type: ignore[arg-type]
    with pytest.raises(glowplug.InputError, match="4"):
        model.contributions(np.zeros((1, 5)))
    with pytest.raises(glowplug.InputError, match="row 1"):
        model.predict_rows([[0.0] * 4, [0.0]], method="contributions")


def test_other_models_say_what_to_do(fraud: Path, tmp_path: Path) -> None:
    for engine, reason in (("onnxruntime", "ONNX Runtime runs it"), ("native", "it is a network")):
        mlp = glowplug.load(models.mlp(), engine=engine)
        for call in (mlp.contributions, functools.partial(mlp.predict, output="leaf")):
            with pytest.raises(glowplug.UnsupportedModelError, match=rf"{reason}(.|\n)*own file"):
                call(np.zeros((1, 3), np.float32))
    # Another content than that of any file.
    of_bytes = glowplug.load(fraud.read_bytes() + b"\n")
    x = np.zeros((1, 4))
    with pytest.raises(glowplug.ModelReadError, match=r"loaded from bytes(.|\n)*write the bytes to a file"):
        of_bytes.contributions(x)
    np.testing.assert_array_equal(
        of_bytes.predict(x, output="margin"), glowplug.load(fraud).predict(x, output="margin")
    )
    assert of_bytes.predict(x, output="leaf").shape == (1, 20)
    (tmp_path / "model.txt").write_bytes(fraud.read_bytes() + b"\n")
    expected = glowplug.load(tmp_path / "model.txt").contributions(x)
    np.testing.assert_array_equal(of_bytes.contributions(x), expected)


def test_a_file_that_changed_since(fraud: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.txt"
    text = fraud.read_text() + "\n\n"
    x = np.full((2, 4), 0.5)
    path.write_text(text)
    model = glowplug.load(path)
    path.write_text(re.sub("leaf_value=[^ ]*", "leaf_value=7", text))
    for _ in range(2):
        with pytest.raises(glowplug.ModelReadError, match="changed or removed since it was loaded"):
            model.contributions(x)
    assert model.predict(x).shape == (2,)
    path.unlink()
    with pytest.raises(glowplug.ModelReadError, match="changed or removed since it was loaded"):
        model.contributions(x)
    path.write_text(text)
    again = glowplug.load(path)
    expected = again.contributions(x)
    path.unlink()
    np.testing.assert_array_equal(again.contributions(x), expected)


def test_any_file_that_still_has_the_content_will_do(fraud: Path, tmp_path: Path) -> None:
    current, kept = tmp_path / "current.txt", tmp_path / "kept.txt"
    text, x = fraud.read_text() + "\n\n\n", np.full((2, 4), 0.5)
    for path in (current, kept):
        path.write_text(text)
    # The one that goes is the first and the last that was found.
    model = [glowplug.load(path) for path in (current, kept)][1]
    os.utime(current, (1, 1))
    glowplug.load(current)
    current.unlink()
    np.testing.assert_array_equal(model.contributions(x), glowplug.load(fraud).contributions(x))


def test_a_reloaded_model_explains_the_new_one(fraud: Path, tmp_path: Path) -> None:
    path, new = tmp_path / "model.txt", tmp_path / "new.txt"
    path.write_text(fraud.read_text())
    model = glowplug.load(path, reload=0.0)
    x = np.full((1, 4), 0.5)
    before = model.contributions(x)
    new.write_text(re.sub("leaf_value=.*", lambda line: re.sub("=[^ ]*", "=9", line[0]), fraud.read_text(), count=1))
    new.rename(path)
    after = model.contributions(x)
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(after, glowplug.load(path).contributions(x))


BROKEN = {
    "leaf_count=[0-9]+ ": ("leaf_count=", "covers of"),
    "internal_count=.*": ("internal_count=", "covers of 0 splits"),
    "internal_count=[0-9]+": ("internal_count=0", "has no covers"),
    "leaf_count=[0-9]+": ("leaf_count=-1", "the cover -1"),
    "leaf_count=([0-9]+)": ("leaf_count=x", "expected a number"),
}


@pytest.mark.parametrize("pattern", BROKEN)
def test_broken_covers_are_refused_when_they_are_read(pattern: str, fraud: Path, tmp_path: Path) -> None:
    replacement, expected = BROKEN[pattern]
    broken, count = re.subn(pattern, replacement, fraud.read_text(), count=1)
    assert count == 1
    (tmp_path / "model.txt").write_text(broken)
    model = glowplug.load(tmp_path / "model.txt")
    assert model.predict(np.zeros((2, 4))).shape == (2,)
    with pytest.raises(glowplug.ModelError, match=expected):
        model.contributions(np.zeros((2, 4)))


def test_nothing_is_imported(fraud: Path) -> None:
    program = (
        f"import sys, glowplug\nmodel = glowplug.load({str(fraud)!r})\n"
        "for method in ('margin', 'leaf', 'contributions'):\n"
        "    model.predict_rows([[0.5] * 4], method=method), model.predict_json('[[1,2,3,4]]', method=method)\n"
        "print([name for name in ('numpy', 'lightgbm', 'json') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "[]"


def test_children_of_a_fork_explain(fraud: Path) -> None:
    program = (
        f"import os, sys, glowplug\nmodel = glowplug.load({str(fraud)!r})\n"
        "row = [[0.5] * 4]\nexpected = model.predict_rows(row, method='contributions')\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    os._exit(0 if model.predict_rows(row, method='contributions') == expected else 1)\n"
        "print(os.waitpid(pid, 0)[1])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "0"
