"""XGBoost's own files, run without XGBoost: the answers are its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xgboost

import glowplug
from seeds import seeds

if TYPE_CHECKING:
    from pathlib import Path

    Array = np.ndarray[Any, Any]

SEEDS = seeds(32)
OBJECTIVES = (
    "binary:logistic", "reg:squarederror", "reg:squaredlogerror", "reg:logistic", "binary:logitraw", "binary:hinge",
    "count:poisson", "reg:gamma", "reg:tweedie", "reg:pseudohubererror", "reg:absoluteerror", "rank:pairwise",
    "rank:ndcg", "survival:cox", "multi:softprob", "multi:softmax",
)  # fmt: skip
ODD = np.array([np.nan, 0.0, -0.0, 1e-40, -1e-40, 3e38, -3e38, 0.5, 1.0], np.float32)


def data(random: np.random.Generator, rows: int, columns: int) -> Array:
    x = random.normal(size=(rows, columns)).astype(np.float32)
    x[:, 0] = random.integers(0, 9, size=rows)
    spots = random.random(x.shape) < 0.2
    x[spots] = random.choice(ODD, size=int(spots.sum()))
    return x


def train(seed: int, **more: Any) -> xgboost.Booster:
    """A booster with random parameters; those of `more` are set."""
    random = np.random.default_rng(seed)
    columns = int(random.integers(1, 12))
    objective = more.get("objective", OBJECTIVES[seed % len(OBJECTIVES)])
    x = data(random, 400, columns)
    score = np.nan_to_num(x).clip(-9, 9).sum(axis=1) + random.normal(size=400)
    high = score > np.median(score)
    target: Any = score
    if objective.startswith("multi:"):
        target = np.digitize(score, np.quantile(score, [0.25, 0.5, 0.75]))
    elif objective.startswith(("binary:", "reg:logistic", "rank:")):
        target = high.astype(float)
    elif objective not in {"reg:squarederror", "reg:pseudohubererror", "reg:absoluteerror"}:
        target = high + 1.0
    parameters: dict[str, Any] = {
        "objective": objective,
        "booster": str(random.choice(["gbtree", "gbtree", "dart"])),
        "rate_drop": 0.3,
        "max_depth": int(random.integers(1, 9)),
        "tree_method": str(random.choice(["hist", "exact"])),
        "grow_policy": "depthwise",
        "num_parallel_tree": int(random.integers(1, 3)),
        "eta": float(random.choice([0.1, 0.5])),
        "nthread": 1,
        "seed": seed,
        "verbosity": 0,
    }
    if objective.startswith("multi:"):
        parameters["num_class"] = 4
    if random.random() < 0.3:
        parameters["base_score"] = 0.4
    if parameters["booster"] == "gbtree":
        del parameters["rate_drop"]
    matrix = xgboost.DMatrix(x, target, group=[100] * 4 if objective.startswith("rank:") else None)
    return xgboost.train(parameters | more, matrix, int(random.integers(1, 30)))


def predicted(booster: xgboost.Booster, rows: Array) -> Array:
    answer: Array = booster.predict(xgboost.DMatrix(rows))
    return answer


@pytest.mark.parametrize("seed", SEEDS)
def test_scores_are_those_of_xgboost(seed: int, tmp_path: Path) -> None:
    booster = train(seed)
    for form in ("json", "ubj"):
        path = tmp_path / f"model.{form}"
        booster.save_model(path)
        model = glowplug.load(path)
        x = data(np.random.default_rng(seed + 1000), 333, booster.num_features())
        expected = predicted(booster, x)
        got = model.predict(x)
        assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
        # Sums and links are computed in float32, in XGBoost's order and with its exponential.
        np.testing.assert_array_equal(got, expected)
        for part in (x[:1], x[:7], np.asfortranarray(x)):
            np.testing.assert_array_equal(model.predict(part), got[: len(part)])
        rows = [[None if np.isnan(number) else number for number in row] for row in x[:20].tolist()]
        np.testing.assert_array_equal(np.array(model.predict_rows(rows), np.float32), got[:20])


def test_a_wider_model_and_probabilities(tmp_path: Path) -> None:
    for objective, classes in (("binary:logistic", 2), ("multi:softprob", 4)):
        booster = train(3, objective=objective, max_depth=9, booster="gbtree")
        path = tmp_path / f"{classes}.ubj"
        booster.save_model(path)
        probabilities = glowplug.load(path).predict_proba(data(np.random.default_rng(0), 20, booster.num_features()))
        assert probabilities.shape == (20, classes)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)


def test_batches_after_many_rows_go_bit_by_bit_to_the_same_scores(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    x = data(random, 4000, 6)
    target = np.nan_to_num(x).clip(-9, 9).sum(axis=1)
    booster = xgboost.train({"max_depth": 7, "max_bin": 32, "nthread": 1}, xgboost.DMatrix(x, target), 40)
    booster.save_model(path := tmp_path / "model.ubj")
    model = glowplug.load(path)
    rows = np.resize(x, (40_000, 6))
    expected = predicted(booster, rows)
    assert "bit by bit" not in model.explain()["kernel"]
    np.testing.assert_array_equal(model.predict(rows), expected)
    if "AVX" in (kernel := model.explain()["kernel"]):
        assert "bit by bit" in kernel
    for count in (1, 63, 64, 100, 513, 5000):
        np.testing.assert_array_equal(model.predict(rows[:count]), expected[:count])


def test_names_and_reports(tmp_path: Path) -> None:
    x = data(np.random.default_rng(1), 100, 2)
    matrix = xgboost.DMatrix(x, np.arange(100.0), feature_names=["age", "amount"])
    path = tmp_path / "model.json"
    xgboost.train({"nthread": 1}, matrix, 3).save_model(path)
    model = glowplug.load(path)
    assert model.features == ["age", "amount"]
    assert model.predict_rows([{"amount": 1.0, "age": 2.0}]) == model.predict_rows([[2.0, 1.0]])
    assert model.explain()["engine"] == "native"


def test_neither_a_library_nor_numpy_is_needed(tmp_path: Path) -> None:
    booster = train(0)
    path = tmp_path / "model.ubj"
    booster.save_model(path)
    program = (
        f"import sys, glowplug\nprint(glowplug.load({str(path)!r}).predict_rows([[0.5] * {booster.num_features()}])[0])\n"
        "maps = open('/proc/self/maps').read() if sys.platform == 'linux' else ''\n"
        "print('onnxruntime' in maps, [m for m in ('numpy', 'xgboost') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.splitlines()[1] == "False []"


def test_what_is_not_read_is_named() -> None:
    text = train(1).save_raw("json").decode().replace("reg:squarederror", "guess")
    with pytest.raises(glowplug.UnsupportedModelError, match="objective `guess`"):
        glowplug.load(text.encode())


def changed(**more: Any) -> bytes:
    document = json.loads(train(1, max_depth=3, booster="gbtree").save_raw("json").decode())
    model = document["learner"]["gradient_booster"]["model"]
    model["trees"][0] |= more
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "more",
    [
        {"left_children": [0]},
        {"left_children": [1.5] * 15},
        {"split_indices": [99] * 15},
        {"split_conditions": []},
        {"default_left": "x"},
        {"tree_param": {"size_leaf_vector": "3"}},
    ],
)
def test_broken_trees_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(glowplug.ModelError):
        glowplug.load(changed(**more))


def test_every_truncation_and_damage_is_an_error_or_another_model() -> None:
    random = np.random.default_rng(0)
    for form in ("json", "ubj"):
        content = bytes(train(0, max_depth=3).save_raw(form))
        for length in range(40, len(content) - 1, max(1, len(content) // 100)):
            with pytest.raises(glowplug.ModelError):
                glowplug.load(content[:length])
        for _ in range(200):
            damaged = bytearray(content)
            at = int(random.integers(12, len(content)))
            damaged[at] = int(random.integers(256))
            try:
                model = glowplug.load(bytes(damaged))
            except (glowplug.ModelError, glowplug.UnsupportedModelError):
                continue
            columns = model.inputs[0].shape[1]
            if isinstance(columns, int) and columns < 1000:
                model.predict(np.full((3, columns), np.nan, np.float32))
