"""Models of tree libraries, run without those libraries: the answers are theirs, bit for bit."""

from __future__ import annotations

import json
import math
import platform
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np
import pytest

import glowplug
from seeds import seeds
from worker_tools import python

if TYPE_CHECKING:
    from pathlib import Path

SEEDS = seeds(32)
OBJECTIVES = (
    "binary", "regression", "regression_l1", "huber", "quantile", "mape", "poisson", "gamma", "tweedie", "multiclass",
    "multiclassova", "cross_entropy", "cross_entropy_lambda", "lambdarank", "rank_xendcg", "fair",
)  # fmt: skip
#: Numbers that are easily compared or read wrongly.
ODD = np.array([np.nan, 0.0, -0.0, np.inf, -np.inf, 1e-36, -1e-36, 5e-324, 1e-35, 2e-35, 1e300, -1.0, 2.5, 1e10])


def data(random: np.random.Generator, rows: int, columns: int) -> np.ndarray[Any, Any]:
    x = random.normal(size=(rows, columns)) * random.choice([1e-3, 1.0, 1e3], size=columns)
    x[:, 0] = random.integers(0, 40, size=rows)
    spots = random.random(x.shape)
    x[spots < 0.1] = np.nan
    x[spots > 0.9] = 0.0
    return x


def train(seed: int, **more: Any) -> lightgbm.Booster:
    """A booster with random parameters; those of `more` are set."""
    random = np.random.default_rng(seed)
    columns = int(random.integers(1, 12))
    objective = OBJECTIVES[seed % len(OBJECTIVES)]
    x = data(random, 400, columns)
    score = np.nan_to_num(x).sum(axis=1) + random.normal(size=400)
    high = score > np.median(score)
    classes = {"multiclass": 4, "multiclassova": 3}.get(objective, 1)
    target: Any = high.astype(float) if objective in {"binary", "cross_entropy", "cross_entropy_lambda"} else score
    if classes > 1:
        target = np.digitize(score, np.quantile(score, np.linspace(0, 1, classes + 1)[1:-1]))
    elif objective in {"poisson", "gamma", "tweedie", "lambdarank", "rank_xendcg", "mape"}:
        target = high + 1.0
    parameters: dict[str, Any] = {
        "objective": objective,
        "num_class": classes,
        "num_leaves": int(random.integers(2, 64)),
        "min_data_in_leaf": 3,
        "boosting": str(random.choice(["gbdt", "dart", "rf"])),
        "bagging_freq": 1,
        "bagging_fraction": 0.8,
        "use_missing": bool(random.random() < 0.8),
        "zero_as_missing": bool(random.random() < 0.4),
        "categorical_feature": [0] if random.random() < 0.5 else [],
        "verbose": -1,
        "num_threads": 1,
        "seed": seed,
    }
    if objective == "binary":
        parameters["sigmoid"] = 0.7
    if objective == "regression":
        parameters["reg_sqrt"] = bool(random.random() < 0.5)
    groups = [100] * 4 if objective in {"lambdarank", "rank_xendcg"} else None
    parameters |= more
    dataset = lightgbm.Dataset(x, target, group=groups, categorical_feature=parameters.pop("categorical_feature"))
    return lightgbm.train(parameters, dataset, num_boost_round=int(random.integers(1, 30)))


def saved(booster: lightgbm.Booster, folder: Path, name: str = "model.txt") -> Path:
    path = folder / name
    booster.save_model(path)
    return path


@pytest.mark.parametrize("seed", SEEDS)
def test_scores_are_those_of_lightgbm_bit_for_bit(seed: int, tmp_path: Path) -> None:
    booster = train(seed)
    path = saved(booster, tmp_path)
    model, original = glowplug.load(path), lightgbm.Booster(model_file=path)
    random = np.random.default_rng(seed + 1000)
    x = data(random, 300, booster.num_feature())
    x[:100] = random.choice(ODD, size=(100, x.shape[1]))
    single = np.nan_to_num(x, nan=np.nan, posinf=1e30, neginf=-1e30).clip(-1e30, 1e30).astype(np.float32)
    for rows in (x, x[:1], x[:7], single, np.asfortranarray(x)):
        expected = original.predict(rows)
        np.testing.assert_array_equal(model.predict(rows), expected, strict=True)
    np.testing.assert_array_equal(np.array(model.predict_rows(x.tolist())), original.predict(x))
    pieces = np.concatenate(list(model.predict_iter([x[:64], x[64:65], x[65:]])))
    np.testing.assert_array_equal(pieces, original.predict(x))


def test_thousands_of_categories_are_those_of_lightgbm(tmp_path: Path) -> None:
    random = np.random.default_rng(11)
    codes = random.integers(0, (5000, 90, 7), size=(6000, 3))
    x = np.column_stack([codes, random.normal(size=6000)])
    target = np.sin(codes).sum(axis=1) + x[:, 3]
    options = {"objective": "regression", "num_leaves": 60, "min_data_per_group": 5, "cat_smooth": 1, "verbose": -1}
    table = lightgbm.Dataset(x, target, categorical_feature=[0, 1, 2])
    path = saved(lightgbm.train(options | {"num_threads": 1}, table, 40), tmp_path)
    model, original = glowplug.load(path), lightgbm.Booster(model_file=path)
    odd = [np.nan, -1, -0.5, 0.5, 6.5, 4999.9, 5000, 90, 1e10, np.inf, -np.inf]
    x[::7] = random.choice(odd, size=x[::7].shape)
    expected = original.predict(x)
    for size in (1, 7, 64, 700, 6000):
        rows = x[: 20 * size]
        got = np.concatenate([model.predict(rows[at : at + size]) for at in range(0, len(rows), size)])
        np.testing.assert_array_equal(got, expected[: len(rows)])
    single = x.astype(np.float32)
    np.testing.assert_array_equal(model.predict(single), original.predict(single))
    assert "blocks" in model.explain()["kernel"]


def test_rows_keep_their_answers_whatever_is_beside_them(tmp_path: Path) -> None:
    booster = train(0)
    path = saved(booster, tmp_path)
    x = data(np.random.default_rng(5), 5000, booster.num_feature())
    expected = lightgbm.Booster(model_file=path).predict(x)
    for threads in (1, 2):
        for batch in ("serial", "rows", "auto"):
            model = glowplug.load(path, threads=threads, batch=batch)
            for _ in range(3):
                np.testing.assert_array_equal(model.predict(x), expected)


def test_probabilities_have_a_column_per_class(tmp_path: Path) -> None:
    for seed, classes in ((OBJECTIVES.index("binary"), 2), (OBJECTIVES.index("multiclass"), 4)):
        booster = train(seed, boosting="gbdt")
        model = glowplug.load(saved(booster, tmp_path, f"{seed}.txt"))
        x = data(np.random.default_rng(1), 20, booster.num_feature())
        probabilities = model.predict_proba(x)
        assert probabilities.shape == (20, classes)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)


def test_bytes_names_and_reports(tmp_path: Path) -> None:
    booster = train(0)
    path = saved(booster, tmp_path)
    model = glowplug.load(path.read_bytes())
    x = data(np.random.default_rng(2), 9, booster.num_feature())
    np.testing.assert_array_equal(model.predict(x), lightgbm.Booster(model_file=path).predict(x))
    names = booster.feature_name()
    assert model.features == names
    named = [dict(zip(names, row, strict=True)) for row in x.tolist()]
    np.testing.assert_array_equal(model.predict_rows(named), model.predict(x))
    why = model.explain()
    assert why["engine"] == "native"
    assert "itself" in why["why"]
    assert re.search("16 walks at once.*; from [0-9]+ rows on blocks of 64 ", why["kernel"])


def test_rows_alone_get_the_scores_of_batches_however_many_came_before(tmp_path: Path) -> None:
    for seed in range(3):
        booster = train(seed)
        model = glowplug.load(saved(booster, tmp_path))
        x = data(np.random.default_rng(seed), 200, booster.num_feature())
        alone = [model.predict(x[row : row + 1]) for row in range(len(x))]
        np.testing.assert_array_equal(np.concatenate(alone), model.predict(x))
        np.testing.assert_array_equal(np.concatenate(alone), booster.predict(x))


SMALL: dict[str, Any] = {"min_data_in_leaf": 3, "verbose": -1, "num_threads": 1, "objective": "regression"}


@pytest.mark.parametrize(("trees", "features"), [(20_000, 4), (300, 5_000)])
def test_models_may_be_large(trees: int, features: int, tmp_path: Path) -> None:
    random = np.random.default_rng(trees)
    x = random.normal(size=(200, features))
    x[random.random(x.shape) < 0.1] = np.nan
    y = np.nan_to_num(x).sum(axis=1)
    options = SMALL | {
        "num_leaves": 4,
        "max_bin": 15,
        "learning_rate": 0.01,
        "feature_fraction": max(0.01, 4 / features),
    }
    booster = lightgbm.train(options, lightgbm.Dataset(x, y), trees)
    assert booster.num_trees() == trees
    model = glowplug.load(saved(booster, tmp_path))
    assert model.inputs[0].shape == ("rows", features)
    x = np.concatenate([x, random.normal(size=(500, features)) * 10])
    expected = booster.predict(x)
    for rows in (1, 3, 60, 700):
        np.testing.assert_array_equal(model.predict(x[:rows]), expected[:rows])
        np.testing.assert_array_equal(model.predict(x[-rows:]), expected[-rows:])


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_nodes_take_few_bytes(tmp_path: Path) -> None:
    """A model takes at most 32 bytes for each node at any time, with all that is made for rows alone and for batches."""
    random, copies, most = np.random.default_rng(1), 200, 32
    x = random.normal(size=(5000, 20))
    booster = lightgbm.train(SMALL | {"num_leaves": 255}, lightgbm.Dataset(x, x[:, 0] * x[:, 1]), 10)
    trees = booster.dump_model()["tree_info"]
    nodes = copies * sum(2 * tree["num_leaves"] - 1 for tree in trees)
    text = re.sub("tree_sizes=.*\n", "", booster.model_to_string())
    head, *bodies = re.split(r"(?m)^Tree=\d+\n", text.split("end of trees")[0])
    assert len(bodies) == len(trees)
    path = tmp_path / "model.txt"
    path.write_text(head + "".join(f"Tree={at}\n{body}" for at, body in enumerate(bodies * copies)) + "end of trees\n")
    np.save(tmp_path / "x.npy", x)
    program = (
        "import glowplug, numpy, re\n"
        "def peak():\n    return int(re.search(r'VmHWM:\\s*([0-9]+)', open('/proc/self/status').read())[1]) * 1024\n"
        f"x = numpy.load({str(tmp_path / 'x.npy')!r})[:600]\n"
        f"start = peak()\nmodel = glowplug.load({str(path)!r})\n"
        "for rows in (1, 120, *[600] * 60, 2):\n    model.predict(x[:rows])\nprint(peak() - start)"
    )
    taken = int(python(program))
    assert 0 < taken <= most * nodes
    original = lightgbm.Booster(model_file=path)
    assert original.num_trees() == copies * len(trees)
    np.testing.assert_array_equal(glowplug.load(path).predict(x[:20]), original.predict(x[:20]))


def test_instructions_can_be_taken_away_and_scores_stay(tmp_path: Path) -> None:
    booster = train(0)
    path = saved(booster, tmp_path)
    x = data(np.random.default_rng(3), 300, booster.num_feature())
    np.save(tmp_path / "x.npy", x)
    program = (
        f"import glowplug, numpy\nmodel = glowplug.load({str(path)!r})\n"
        f"numpy.save({str(tmp_path / 'scores.npy')!r}, model.predict(numpy.load({str(tmp_path / 'x.npy')!r})))\n"
        "print(model.explain()['kernel'])"
    )
    usual = {"x86_64": "SSE2", "AMD64": "SSE2", "arm64": "NEON", "aarch64": "NEON"}
    for asked, shown in {"baseline": usual[platform.machine()], "avx2": "AVX2|SSE2|NEON", "": ""}.items():
        assert re.search(f"[(]{shown}", python(program, variables={"GLOWPLUG_INSTRUCTIONS": asked}))
        np.testing.assert_array_equal(np.load(tmp_path / "scores.npy"), booster.predict(x))
    program = (
        f"import glowplug\ntry:\n    glowplug.load({str(path)!r})\nexcept glowplug.OptionError as e:\n    print(e)"
    )
    assert 'got "mmx", expected `baseline`' in python(program, variables={"GLOWPLUG_INSTRUCTIONS": "mmx"})


def test_neither_a_library_nor_numpy_is_needed(tmp_path: Path) -> None:
    booster = train(0)
    path = saved(booster, tmp_path)
    row = [0.5] * booster.num_feature()
    program = (
        f"import sys, glowplug\nprint(glowplug.load({str(path)!r}).predict_rows([{row!r}])[0])\n"
        "maps = open('/proc/self/maps').read() if sys.platform == 'linux' else ''\n"
        "print('onnxruntime' in maps, [m for m in ('numpy', 'lightgbm') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    score, rest = answer.stdout.splitlines()
    assert float(score) == lightgbm.Booster(model_file=path).predict([row])[0]
    assert rest == "False []"


def linear(seed: int, **more: Any) -> lightgbm.Booster:
    """A booster whose leaves are functions of the row, of an objective that allows it."""
    objective = ("regression", "binary", "huber", "poisson", "multiclass", "quantile")[seed % 6]
    seed += OBJECTIVES.index(objective) - seed % len(OBJECTIVES) + 16
    options: dict[str, Any] = {"linear_tree": True, "boosting": ("gbdt", "dart")[seed % 2], "zero_as_missing": False}
    if objective == "regression":
        options["reg_sqrt"] = False
    return train(seed, **(options | {"linear_lambda": 0.1} | more))


@pytest.mark.parametrize("seed", SEEDS)
def test_linear_leaves_are_those_of_lightgbm(seed: int, tmp_path: Path) -> None:
    booster = linear(seed)
    path = saved(booster, tmp_path)
    assert "leaf_coeff" in path.read_text()
    model, original = glowplug.load(path), lightgbm.Booster(model_file=path)
    random = np.random.default_rng(seed + 1000)
    x = data(random, 300, booster.num_feature())
    x[:100] = random.choice(ODD, size=(100, x.shape[1]))
    with np.errstate(all="ignore"):
        expected = original.predict(x)
    np.testing.assert_array_equal(model.predict(x), expected, strict=True)
    np.testing.assert_array_equal(np.concatenate([model.predict(x[at : at + 1]) for at in range(20)]), expected[:20])
    np.testing.assert_array_equal(model.predict(x, output="margin"), original.predict(x, raw_score=True))
    np.testing.assert_array_equal(model.predict(x, output="leaf"), original.predict(x, pred_leaf=True))
    if re.search("num_features=.*[1-9]", path.read_text()):
        with pytest.raises(glowplug.UnsupportedModelError, match="linear functions"):
            model.contributions(x)
    np.testing.assert_array_equal(glowplug.load(dumped(booster, tmp_path)).predict(x), expected)


def dumped(booster: lightgbm.Booster, folder: Path, **how: Any) -> Path:
    path = folder / "model.json"
    path.write_text(json.dumps(booster.dump_model(), **how))
    return path


@pytest.mark.parametrize("seed", SEEDS)
def test_a_dump_is_the_same_model(seed: int, tmp_path: Path) -> None:
    booster = train(seed)
    how: dict[str, Any] = ({}, {"indent": 2}, {"sort_keys": True}, {"separators": (",", ":")})[seed % 4]
    model, text = glowplug.load(dumped(booster, tmp_path, **how)), glowplug.load(saved(booster, tmp_path))
    random = np.random.default_rng(seed + 1000)
    x = data(random, 300, booster.num_feature())
    x[:100] = random.choice(ODD, size=(100, x.shape[1]))
    np.testing.assert_array_equal(model.predict(x), text.predict(x), strict=True)
    for output in ("margin", "leaf"):
        np.testing.assert_array_equal(model.predict(x, output=output), text.predict(x, output=output), strict=True)
    np.testing.assert_array_equal(model.contributions(x), text.contributions(x), strict=True)
    assert (model.features, model.inputs, model.outputs) == (text.features, text.inputs, text.outputs)


def test_a_dump_of_a_deep_tree() -> None:
    """A tree that grew to one side only is as deep as it has leaves."""
    x = np.arange(3000.0)[:, None]
    options = {"num_leaves": 1500, "min_data_in_leaf": 1, "min_sum_hessian_in_leaf": 0, "verbose": -1, "max_bin": 4000}
    booster = lightgbm.train(options, lightgbm.Dataset(x, np.exp(x[:, 0] / 50)), 3)
    model = glowplug.load(json.dumps(booster.dump_model()).encode())
    np.testing.assert_array_equal(model.predict(x), booster.predict(x))


DUMP = {
    "num_leaves": (lambda tree: tree.update(num_leaves=3), "`num_leaves` is 3"),
    "no structure": (lambda tree: tree.pop("tree_structure"), "tree_structure"),
    "column": (lambda tree: tree["tree_structure"].update(split_feature=99), "column 99"),
    "a fraction": (lambda tree: tree["tree_structure"].update(split_feature=0.5), "split_feature"),
    "no number": (lambda tree: tree["tree_structure"].update(split_feature=-1), "split_feature"),
    "kind": (lambda tree: tree["tree_structure"].update(decision_type="<"), "decision_type"),
    "missing": (lambda tree: tree["tree_structure"].update(missing_type="null"), "missing_type"),
    "set": (lambda tree: tree["tree_structure"].update(decision_type="=="), "does not fit"),
    "category": (lambda tree: tree["tree_structure"].update(decision_type="==", threshold="1||x"), "category"),
    "large set": (
        lambda tree: tree["tree_structure"].update(decision_type="==", threshold="4000000000"),
        "categories take more than 64 MB",
    ),
    "threshold": (lambda tree: tree["tree_structure"].update(threshold=math.nan), "NaN"),
    "one child": (lambda tree: tree["tree_structure"].pop("left_child"), "two children"),
    "no threshold": (lambda tree: tree["tree_structure"].pop("threshold"), "no `threshold`"),
    "twice": (lambda tree: tree["tree_structure"].update(split_index=1), "twice"),
    "empty child": (lambda tree: tree["tree_structure"].update(left_child={}), "leaf_value"),
    "leaf": (lambda tree: tree.update(num_leaves=1, tree_structure={"leaf_value": math.inf}), "finite"),
    "leaf number": (
        lambda tree: tree.update(num_leaves=1, tree_structure={"leaf_value": 1, "leaf_index": 2**32 - 1}),
        "4294967295",
    ),
    "unequal": (
        lambda tree: tree.update(
            num_leaves=1, tree_structure={"leaf_value": 1, "leaf_const": 0, "leaf_features": [0], "leaf_coeff": []}
        ),
        "1 columns and 0 coefficients",
    ),
}


@pytest.mark.parametrize("name", DUMP)
def test_broken_dumps_are_refused(name: str) -> None:
    booster = train(1, num_leaves=7, boosting="gbdt", categorical_feature=[], objective="regression")
    model = booster.dump_model()
    change, words = DUMP[name]
    change(model["tree_info"][0])
    with pytest.raises(glowplug.ModelError, match=words):
        glowplug.load(json.dumps(model).encode())


def test_dumps_that_are_nested_too_deep_or_cut_are_refused() -> None:
    head = b'{"name": "tree", "max_feature_idx": 0, "num_tree_per_iteration": 1, "tree_info": [{"tree_structure": '
    with pytest.raises(glowplug.ModelError, match="deeper"):
        glowplug.load(head + b'{"left_child":' * 300_000)
    text = json.dumps(train(4).dump_model()).encode()
    for length in range(20, len(text), max(1, len(text) // 200)):
        with pytest.raises(glowplug.ModelError):
            glowplug.load(text[:length])
    for key in ("max_feature_idx", "num_tree_per_iteration", "tree_info"):
        with pytest.raises(glowplug.ModelError, match=f"`{key}` is missing"):
            glowplug.load(text.replace(key.encode(), b"other", 1))


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    text = saved(train(1), tmp_path).read_text()
    with pytest.raises(glowplug.UnsupportedModelError, match="objective `guess`"):
        glowplug.load(re.sub("objective=.*", "objective=guess", text).encode())


BROKEN = {
    "max_feature_idx=.*": ("max_feature_idx=x", "max_feature_idx"),
    "max_feature_idx=[0-9]+": ("max_feature_idx=0", "column"),
    "num_tree_per_iteration=.*": ("num_tree_per_iteration=0", "num_tree_per_iteration"),
    "num_leaves=.*": ("num_leaves=4000000000", "num_leaves"),
    "left_child=[-0-9]+": ("left_child=0", "node"),
    "right_child=[-0-9]+": ("right_child=99999", "node"),
    "decision_type=[0-9]+": ("decision_type=12", "decision_type"),
    "threshold=[^ \n]+": ("threshold=nan", "NaN"),
    "leaf_value=[^ \n]+": ("leaf_value=inf", "finite"),
    "split_feature=[0-9]+": ("split_feature=", "entries"),
    "end of trees": ("", "end of trees"),
    "is_linear=0": ("is_linear=1", "linear leaves"),
    "objective=.*": ("objective=binary sigmoid:nan", "objective"),
    "objective=[a-z]+": ("objective=binary sigmoid:inf", "objective"),
}
#: Of models with linear leaves.
BROKEN_LINEAR = {
    "leaf_const=[^ \n]+": ("leaf_const=nan", "finite"),
    "leaf_coeff=[^ \n]+": ("leaf_coeff=inf", "finite"),
    "leaf_features=[^ \n]+": ("leaf_features=99", "column 99"),
    "num_features=[0-9]+": ("num_features=18446744073709551615", "linear leaves"),
    "num_features=.*": ("num_features=", "linear leaves"),
    "leaf_coeff=.*": ("leaf_coeff=", "linear leaves"),
}


@pytest.mark.parametrize("pattern", BROKEN)
def test_broken_files_are_refused(pattern: str, tmp_path: Path) -> None:
    booster = train(1, num_leaves=31, boosting="gbdt", categorical_feature=[], objective="regression")
    text = saved(booster, tmp_path).read_text()
    replacement, expected = BROKEN[pattern]
    broken, count = re.subn(pattern, replacement, text, count=1)
    assert count == 1
    with pytest.raises(glowplug.ModelError, match=expected):
        glowplug.load(broken.encode())


@pytest.mark.parametrize("pattern", BROKEN_LINEAR)
def test_broken_linear_leaves_are_refused(pattern: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(200, 3))
    options = {"linear_tree": True, "num_leaves": 4, "verbose": -1}
    text = lightgbm.train(options, lightgbm.Dataset(x, x.sum(axis=1)), 3).model_to_string()
    # The first tree has no functions yet.
    first, second = text.split("Tree=1")
    replacement, expected = BROKEN_LINEAR[pattern]
    broken, count = re.subn(pattern, replacement, second, count=1)
    assert count == 1
    with pytest.raises(glowplug.ModelError, match=expected):
        glowplug.load((first + "Tree=1" + broken).encode())


def test_every_truncation_is_an_error(tmp_path: Path) -> None:
    text = saved(train(4), tmp_path).read_bytes()
    end = text.index(b"end of trees")
    for length in range(5, end, max(1, end // 200)):
        with pytest.raises(glowplug.ModelError):
            glowplug.load(text[:length])


def test_damage_is_an_error_or_another_model(tmp_path: Path) -> None:
    text = saved(train(0, num_leaves=8, categorical_feature=[0]), tmp_path).read_bytes()
    end = text.index(b"end of trees")
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(500):
        damaged = bytearray(text)
        for _ in range(int(random.integers(1, 4))):
            at = int(random.integers(5, end))
            damaged[at : at + int(random.integers(0, 3))] = random.choice(list(b"0123456789-. =\nenai")).tobytes()[:1]
        try:
            model = glowplug.load(bytes(damaged))
        except (glowplug.ModelError, glowplug.UnsupportedModelError):
            refused += 1
            continue
        columns = model.inputs[0].shape[1]
        if isinstance(columns, int) and columns < 1000:
            model.predict(np.full((3, columns), np.nan))
    assert 50 < refused < 500


def test_objectives_of_the_caller_give_margins(tmp_path: Path) -> None:
    x = data(np.random.default_rng(3), 200, 4)
    options = {"objective": lambda scores, _: (scores - 1.0, np.ones_like(scores)), "verbose": -1, "num_threads": 1}
    path = saved(lightgbm.train(options, lightgbm.Dataset(x, np.zeros(200)), 5), tmp_path)
    np.testing.assert_array_equal(glowplug.load(path).predict(x), lightgbm.Booster(model_file=path).predict(x))


def test_batches_that_are_not_split_have_one_thread(tmp_path: Path) -> None:
    path = saved(train(0), tmp_path)
    for batch, threads in (("serial", 1), ("rows", 2), ("auto", 2)):
        why = glowplug.load(path, threads=2, batch=batch).explain()
        assert (why["threads"], why["row_threads"], why["intra_op_threads"]) == (threads, threads, 1)
