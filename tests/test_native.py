"""ONNX graphs that glowplug runs itself: the answers are ONNX Runtime's but for rounding, and nothing unknown is run."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
from onnx import helper

import glowplug
import models
from models import graph, value
from seeds import seeds

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from onnx import NodeProto

    Array = np.ndarray[Any, Any]

SEEDS = seeds(32)
FEATURES = 5
ML = models.ML_DOMAIN
#: In the order of the numbers that they have in version 5.
MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT")
#: Numbers that are easily compared wrongly.
ODD = np.array([np.nan, 0.0, -0.0, np.inf, -np.inf, 1e-40, -1e-40, 0.5, 1.0, 3e38], np.float32)


def model_bytes(body: Any, version: int = models.ML_OPSET) -> bytes:
    return models.model_bytes(body, domains={ML: version})


def trees(
    random: np.random.Generator, outputs: list[int], *, positive: bool, width: int, modes: tuple[str, ...] = MODES
) -> dict[str, list[Any]]:
    """The lists of an ensemble with random trees, whose leaves have weights for `width` outputs each."""
    nodes: dict[str, list[Any]] = {
        name: []
        for name in (
            "treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids",
            "missing_value_tracks_true",
        )
    }  # fmt: skip
    weights: dict[str, list[Any]] = {"treeids": [], "nodeids": [], "ids": [], "weights": []}
    for tree in range(int(random.integers(len(outputs), 25))):
        free, count = [0], 1
        leaves = int(random.integers(1, 40))
        children: dict[int, tuple[int, int]] = {}
        for _ in range(leaves - 1):
            at = free.pop(int(random.integers(len(free))))
            children[at] = (count, count + 1)
            free += [count, count + 1]
            count += 2
        for node in range(count):
            left, right = children.get(node, (0, 0))
            threshold = random.choice([*ODD[[1, 2, 5, 7, 8]], *random.normal(size=4)])
            nodes["treeids"].append(tree)
            nodes["nodeids"].append(node)
            nodes["featureids"].append(int(random.integers(FEATURES)) if node in children else 0)
            nodes["values"].append(float(np.float32(threshold)) if node in children else 0.0)
            nodes["modes"].append(str(random.choice(modes)) if node in children else "LEAF")
            nodes["truenodeids"].append(left)
            nodes["falsenodeids"].append(right)
            nodes["missing_value_tracks_true"].append(int(random.integers(2)) if node in children else 0)
            if node not in children:
                chosen = outputs if width > 1 else [outputs[tree % len(outputs)]]
                for output in chosen:
                    weight = random.random() if positive else random.normal()
                    weights["treeids"].append(tree)
                    weights["nodeids"].append(node)
                    weights["ids"].append(output)
                    weights["weights"].append(float(weight) / 20)
    return {f"nodes_{name}": items for name, items in nodes.items()} | weights


def ensemble(operator: str, lists: dict[str, list[Any]], names: list[str], **more: Any) -> NodeProto:
    prefix = "class" if operator == "TreeEnsembleClassifier" else "target"
    named = {key if key.startswith("nodes_") else f"{prefix}_{key}": items for key, items in lists.items()}
    return helper.make_node(operator, ["x"], names, domain=ML, **named, **more)


def classifier(random: np.random.Generator) -> bytes:
    """Two classes or more, by one score or many, with all transforms that are known."""
    kind = random.choice(["sigmoid", "probability", "raw", "second", "many", "forest", "sparse"])
    labels: dict[str, Any] = {"classlabels_int64s": [3, 7]}
    if kind == "second":
        labels = random.choice([{"classlabels_int64s": [0, 1]}, {"classlabels_strings": ["no", "yes"]}])
    if kind in {"many", "forest", "sparse"}:
        labels = (
            {"classlabels_strings": ["b", "a", "c"]} if random.random() < 0.5 else {"classlabels_int64s": [5, 1, 9]}
        )
    count = len(next(iter(labels.values())))
    more: dict[str, Any] = {"post_transform": "LOGISTIC" if kind == "sigmoid" else "NONE"}
    if kind in {"many", "second"}:
        more["post_transform"] = str(random.choice(["NONE", "LOGISTIC", "SOFTMAX"]))
    one = kind in {"sigmoid", "probability", "raw"}
    base = 1 if one else count
    if kind not in {"second", "sparse"} and random.random() < 0.5:
        more["base_values"] = random.normal(size=base).astype(np.float32).tolist()
    lists = trees(
        random,
        [0] if one else list(range(count)),
        positive=kind in {"probability", "sparse"},
        width=count if kind in {"forest", "second"} else 1,
    )
    if kind in {"sigmoid", "raw", "second"}:
        lists["weights"][0] = -0.01
    if kind == "sparse":
        # Leaves of one class each, as forests have them where trees are pure.
        lists["ids"] = [int(at) for at in random.integers(1, count, len(lists["ids"]))]
        lists["ids"][0], lists["ids"][-1] = 1, 2
    node = ensemble("TreeEnsembleClassifier", lists, ["label", "scores"], **labels, **more)
    zipped = helper.make_node("ZipMap", ["scores"], ["maps"], domain=ML, **labels)
    text = "classlabels_strings" in labels
    outputs = [
        value("label", "string" if text else "int64", ("N",)),
        value("scores", shape=("N", count)),
        helper.make_tensor_sequence_value_info("maps", 1, None),
    ]
    outputs[2].type.sequence_type.elem_type.map_type.key_type = 8 if text else 7
    outputs[2].type.sequence_type.elem_type.map_type.value_type.tensor_type.elem_type = 1
    return model_bytes(graph([node, zipped], [value("x", shape=("N", FEATURES))], outputs))


def regressor(random: np.random.Generator) -> bytes:
    targets = int(random.integers(1, 4))
    width = targets if random.random() < 0.5 else 1
    more: dict[str, Any] = {"n_targets": targets, "post_transform": "NONE"}
    if random.random() < 0.5:
        more["base_values"] = random.normal(size=targets).astype(np.float32).tolist()
    lists = trees(random, list(range(targets)), positive=False, width=width)
    node = ensemble("TreeEnsembleRegressor", lists, ["y"], **more)
    return model_bytes(graph([node], [value("x", shape=("N", FEATURES))], [value("y", shape=("N", targets))]))


def of_version_5(random: np.random.Generator, *, mode: int | None = None, **more: Any) -> bytes:
    """The same trees as one operator of version 5 has them, in float32 or float64."""
    targets = int(random.integers(1, 4))
    lists = trees(random, list(range(targets)), positive=False, width=1)
    while set(lists["nodes_modes"]) == {"LEAF"}:
        lists = trees(random, list(range(targets)), positive=False, width=1)
    dtype = str(random.choice(["float32", "float64"]))
    splits = [at for at, mode in enumerate(lists["nodes_modes"]) if mode != "LEAF"]
    keys = list(zip(lists["nodes_treeids"], lists["nodes_nodeids"], strict=True))
    leaves = {key: at for at, key in enumerate(zip(lists["treeids"], lists["nodeids"], strict=True))}
    numbers = {keys[at]: number for number, at in enumerate(splits)}
    attributes: dict[str, Any] = {"tree_roots": [], "n_targets": targets, "aggregate_function": 1, "post_transform": 0}
    for side in ("true", "false"):
        children = [(keys[at][0], lists[f"nodes_{side}nodeids"][at]) for at in splits]
        attributes[f"nodes_{side}leafs"] = [int(child in leaves) for child in children]
        attributes[f"nodes_{side}nodeids"] = [leaves.get(child, numbers.get(child)) for child in children]
    # A tree of one leaf has no node here: such trees are left out, and their leaves with them.
    attributes["tree_roots"] = [numbers[key] for key in keys if key[1] == 0 and key in numbers]
    for name in ("featureids", "missing_value_tracks_true"):
        attributes[f"nodes_{name}"] = [lists[f"nodes_{name}"][at] for at in splits]
    modes = np.array([MODES.index(lists["nodes_modes"][at]) if mode is None else mode for at in splits], np.uint8)
    attributes["nodes_modes"] = models.constant("m", modes)
    attributes["nodes_splits"] = models.constant("s", [lists["nodes_values"][at] for at in splits], dtype)
    attributes["leaf_weights"] = models.constant("w", lists["weights"], dtype)
    attributes["leaf_targetids"] = lists["ids"]
    node = helper.make_node("TreeEnsemble", ["x"], ["y"], domain=ML, **(attributes | more))
    ports = [value("x", dtype, ("N", FEATURES))], [value("y", dtype, ("N", targets))]
    return model_bytes(graph([node], *ports), 5)


def pipeline(random: np.random.Generator) -> bytes:
    """Imputer, scaler and normalizer before a linear model, and arithmetic after it."""
    classes = int(random.integers(2, 5))

    def floats(count: int) -> list[float]:
        numbers: list[float] = random.normal(size=count).astype(np.float32).tolist()
        return numbers

    norm = str(random.choice(["L1", "L2", "MAX"]))
    nodes = [
        helper.make_node("Imputer", ["x"], ["a"], domain=ML, imputed_value_floats=floats(FEATURES),
                         replaced_value_float=float(random.choice([np.nan, 0.0]))),
        helper.make_node("Scaler", ["a"], ["b"], domain=ML, offset=floats(FEATURES), scale=floats(FEATURES)),
        helper.make_node("Normalizer", ["b"], ["c"], domain=ML, norm=norm),
        helper.make_node("LinearRegressor", ["c"], ["d"], domain=ML, coefficients=floats(FEATURES * classes),
                         intercepts=floats(classes), targets=classes),
        helper.make_node("Cast", ["d"], ["wide"], to=11),
        helper.make_node("Sum", ["wide", "wide"], ["twice"]),
        helper.make_node("Cast", ["twice"], ["y"], to=1),
        helper.make_node("LinearClassifier", ["c"], ["label", "p"], domain=ML, coefficients=floats(FEATURES * classes),
                         intercepts=floats(classes), classlabels_ints=list(range(10, 10 + classes)),
                         post_transform=str(random.choice(["NONE", "LOGISTIC", "SOFTMAX"]))),
        *(helper.make_node(name, [before, "k"], [after])
          for name, before, after in (("Mul", "p", "e"), ("Add", "e", "f"), ("Sub", "f", "g"), ("Div", "g", "scores"))),
        helper.make_node("Identity", ["label"], ["same"]),
        helper.make_node("Cast", ["same"], ["out"], to=7),
    ]  # fmt: skip
    outputs = [value("y", shape=("N", classes)), value("scores", shape=("N", classes)), value("out", "int64", ("N",))]
    constant = models.constant("k", np.abs(floats(classes)).tolist(), "float32")
    return model_bytes(graph(nodes, [value("x", shape=("N", FEATURES))], outputs, [constant]))


def rows(random: np.random.Generator, count: int) -> Array:
    x = random.normal(size=(count, FEATURES)).astype(np.float32)
    spots = random.random(x.shape) < 0.2
    x[spots] = random.choice(ODD, size=int(spots.sum()))
    return x


@pytest.mark.parametrize("make", [classifier, regressor, of_version_5, pipeline])
@pytest.mark.parametrize("seed", SEEDS)
def test_answers_are_those_of_onnxruntime(seed: int, make: Any, assert_same: Any, assert_close: Any) -> None:
    random = np.random.default_rng(seed)
    content = make(random)
    native, other = (glowplug.load(content, engine=engine) for engine in ("native", "onnxruntime"))
    assert (native.explain()["engine"], other.explain()["engine"]) == ("native", "onnxruntime")
    assert [spec.name for spec in native.outputs] == [spec.name for spec in other.outputs]
    x = rows(random, 333)
    if make is pipeline:
        x[~np.isfinite(x) | (np.abs(x) > 1e9)] = np.nan
    x = x.astype(native.inputs[0].dtype)
    expected = onnxruntime.InferenceSession(content).run(None, {"x": x})
    with np.errstate(all="ignore"):
        for part in (x, x[:1], x[:7]):
            answers = native.run(part)
            for got, want in zip(answers.values(), expected, strict=True):
                assert_close(got, want[: len(part)])
    whole = native.run(x)
    apart = [native.run(x[at : at + 1]) for at in range(20)]
    for name, answer in whole.items():
        for at, one in enumerate(apart):
            assert_same(one[name], answer[at : at + 1])


def apart(items: list[Any], order: Array) -> list[Any]:
    return [items[at] for at in order]


@pytest.mark.parametrize("kind", ["weights", "nodes", "numbers", "late"])
def test_lists_may_be_in_another_order(kind: str, tmp_path: Path, assert_same: Any) -> None:
    """All converters have one tree after the other, its nodes from 0 on, and weights as they have nodes."""
    random = np.random.default_rng(5)
    lists = trees(random, [0, 1], positive=False, width=2)
    other = {name: list(items) for name, items in lists.items()}
    if kind == "weights":
        order = random.permutation(len(lists["weights"]))
        other |= {name: apart(lists[name], order) for name in ("treeids", "nodeids", "ids", "weights")}
    if kind == "nodes":
        # The root of each tree first, and trees in their order: sums are to be the same bits.
        by_number = np.lexsort((lists["nodes_treeids"], lists["nodes_nodeids"]))
        other |= {name: apart(items, by_number) for name, items in lists.items() if name.startswith("nodes_")}
    if kind == "numbers":
        numbers = {at: int(number) for at, number in enumerate(random.permutation(200) - 100)}
        named = ("nodeids", "nodes_nodeids", "nodes_truenodeids", "nodes_falsenodeids")
        other |= {name: [numbers[at] for at in lists[name]] for name in named}
    x = rows(random, 50)
    answers = []
    for content in (lists, other):
        node = ensemble("TreeEnsembleRegressor", content, ["y"], n_targets=2)
        if kind == "late" and content is other:
            # What no writer does: the operator, and names, behind the lists.
            node.attribute.sort(key=lambda attribute: attribute.name, reverse=True)
        graph_ = graph([node], [value("x", shape=("N", FEATURES))], [value("y", shape=("N", 2))])
        path = tmp_path / "model.onnx"
        path.write_bytes(model_bytes(graph_))
        for source in (path, path.read_bytes()):
            answers.append(glowplug.load(source, engine="native").predict(x))
    for answer in answers[1:]:
        assert_same(answer, answers[0])


PEAK = """
import sys, glowplug
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:")) * 1024
before = peak()
model = glowplug.load(sys.argv[1], engine="native")
print(peak() - before)
"""


def large(dtype: str, version: int) -> bytes:
    """Whole trees of ten levels, with the numbers in tensors where they may be."""
    depth, count = 10, 100
    splits, random = 2**depth - 1, np.random.default_rng(0)
    nodes = np.arange(2 * splits + 1)
    is_split = nodes < splits
    every = {
        "nodeids": nodes, "featureids": nodes % FEATURES * is_split, "truenodeids": (2 * nodes + 1) * is_split,
        "falsenodeids": (2 * nodes + 2) * is_split, "missing_value_tracks_true": nodes * 0,
    }  # fmt: skip
    lists: dict[str, Any] = {f"nodes_{name}": np.tile(items, count) for name, items in every.items()}
    lists["nodes_treeids"] = np.repeat(range(count), len(nodes))
    values, weights = random.normal(size=len(nodes) * count), random.normal(size=np.sum(~is_split) * count)
    if version == 5:
        # Splits and leaves of all trees are numbered apart.
        lists = {name: items[np.tile(is_split, count)] for name, items in lists.items()}
        tree, is_leaf = lists.pop("nodes_treeids"), lists["nodes_truenodeids"] >= splits
        del lists["nodes_nodeids"]
        for side in ("true", "false"):
            child = lists[f"nodes_{side}nodeids"]
            lists[f"nodes_{side}nodeids"] = np.where(
                is_leaf, tree * (splits + 1) + child - splits, tree * splits + child
            )
            lists[f"nodes_{side}leafs"] = is_leaf * 1
        lists |= {"leaf_targetids": np.zeros(len(weights), int), "tree_roots": np.arange(count) * splits}
        tensors = {"nodes_splits": values[np.tile(is_split, count)], "leaf_weights": weights}
        modes = models.constant("m", np.zeros(splits * count, np.uint8))
        more = {"nodes_modes": modes}
    else:
        lists["nodes_modes"] = np.tile(np.where(is_split, "BRANCH_LEQ", "LEAF"), count)
        leaves = nodes[~is_split]
        lists |= {"target_nodeids": np.tile(leaves, count), "target_treeids": np.repeat(range(count), len(leaves))}
        lists |= {"target_ids": np.zeros(len(weights), int)}
        tensors, more = {"nodes_values": values, "target_weights": weights, "nodes_hitrates": values * 0 + 1}, {}
        if dtype == "float32":
            lists, tensors = lists | tensors, {}
        tensors = {f"{name}_as_tensor": items for name, items in tensors.items()}
    attributes = {name: items.tolist() for name, items in lists.items()} | more | {"n_targets": 1}
    attributes |= {name: models.constant("t", items.astype(dtype)) for name, items in tensors.items()}
    operator = "TreeEnsemble" if version == 5 else "TreeEnsembleRegressor"
    node = helper.make_node(operator, ["x"], ["y"], domain=ML, **attributes)
    ports = [value("x", dtype, ("N", FEATURES))], [value("y", dtype if version == 5 else "float32", ("N", 1))]
    return model_bytes(graph([node], *ports), version)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    ("dtype", "version", "most"), [("float32", 3, 1.5), ("float64", 3, 1.5), ("float32", 5, 5.5), ("float64", 5, 4.5)]
)
def test_loading_takes_about_the_memory_of_the_file(
    dtype: str, version: int, most: float, tmp_path: Path, assert_close: Any
) -> None:
    """Tables of a tree ensemble's lists would take several times the file."""
    path = tmp_path / "model.onnx"
    path.write_bytes(large(dtype, version))
    grown = int(subprocess.check_output([sys.executable, "-c", PEAK, str(path)], text=True))
    print(grown / path.stat().st_size, path.stat().st_size)
    assert grown < most * path.stat().st_size
    x = rows(np.random.default_rng(1), 100).astype(dtype)
    (expected,) = onnxruntime.InferenceSession(path).run(None, {"x": x})
    for source in (path, path.read_bytes()):
        assert_close(glowplug.load(source, engine="native").predict(x), expected)


UNKNOWN: dict[str, Callable[[], bytes]] = {
    "the operator Erf is not known": lambda: of_one("Erf"),
    "no operator of ai.onnx.ml": lambda: of_one("Identity"),
    "the mode BRANCH_EQ": lambda: regressor_with(modes=("BRANCH_EQ",)),
    "an attribute that is not known": lambda: regressor_with(surprise=1),
    "aggregate_function": lambda: regressor_with(aggregate_function="MAX"),
    "70000 outputs": lambda: regressor_with(n_targets=70_000),
    "few of many outputs": lambda: regressor_with(n_targets=60_000, target_ids=[0, *[59_999] * 10_000]),
    "post_transform": lambda: regressor_with(post_transform="PROBIT"),
    "another aggregate_function than SUM": lambda: version_5_with(aggregate_function=3),
    "no tensor of float64 in `nodes_splits`": lambda: version_5_with(nodes_splits=[1.0]),
    "the mode 4": lambda: version_5_with(mode=4),
    "lists of different lengths for its nodes": lambda: version_5_with(
        nodes_modes=models.constant("m", np.zeros(1, "u1"))
    ),
    "lists of different lengths for its leaves": lambda: version_5_with(leaf_targetids=[0]),
    "nodes that are shared": lambda: version_5_with(tree_roots=[0] * 1000),
    "a root that is not there": lambda: version_5_with(tree_roots=[-1]),
    "70001 outputs": lambda: version_5_with(n_targets=70_001),
    "a constant of more than 64 elements": lambda: reshaped([-1, *[1] * 64]),
    "a value of 70 axes": lambda: reshaped(None),
    "nodes in a circle|a child that is not there|no root leads to": lambda: regressor_with(broken=True),
}


@pytest.mark.parametrize("norm", ["L1", "L2", "MAX", None])
def test_scaled_numbers_are_the_same_bits(norm: str | None, assert_same: Any) -> None:
    """Both compute float32 in one order, whatever the numbers: squares may be infinite or 0."""
    random = np.random.default_rng(4)
    attributes: dict[str, Any] = {"norm": norm} if norm else {"offset": [0.3, -2.0, 1e-3, 7.0], "scale": [0.7]}
    if not norm:
        attributes["scale"] = random.normal(size=4).tolist()
    node = helper.make_node("Normalizer" if norm else "Scaler", ["x"], ["y"], domain=ML, **attributes)
    content = model_bytes(graph([node], [value("x", shape=("N", 4))], [value("y", shape=("N", 4))]))
    x = (random.normal(size=(3000, 4)) * 10 ** random.uniform(-25, 25, (3000, 1))).astype(np.float32)
    x[:40] = random.choice(ODD, size=(40, 4))
    with np.errstate(all="ignore"):
        got, want = (glowplug.load(content, engine=engine).predict(x) for engine in ("native", "onnxruntime"))
    assert_same(got, want)


def test_a_leaf_may_have_weights_for_many_outputs() -> None:
    """And each tree may: what is looked at is bounded by the weights that there are."""
    count, width = 5, 30_000
    ids = {f"nodes_{name}ids": [0] * count for name in ("node", "feature", "truenode", "falsenode")}
    of_leaves = {"target_nodeids": [0] * (count * width), "target_ids": list(range(width)) * count}
    trees_of = {"nodes_treeids": list(range(count)), "target_treeids": np.repeat(range(count), width).tolist()}
    weights = np.random.default_rng(0).normal(size=(count, width)).astype(np.float32)
    node = helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["y"], domain=ML, n_targets=width, nodes_modes=["LEAF"] * count,
        nodes_values=[0.0] * count, target_weights=weights.ravel().tolist(), **ids, **of_leaves, **trees_of,
    )  # fmt: skip
    content = model_bytes(graph([node], [value("x", shape=("N", 1))], [value("y", shape=("N", width))]))
    answer = glowplug.load(content, engine="native").predict(np.zeros((2, 1), np.float32))
    expected = weights.astype(np.float64).sum(axis=0).astype(np.float32)
    assert np.array_equal(answer, np.stack([expected, expected]))


def without_columns(operator: str, **attributes: Any) -> bytes:
    """An operator of the columns of a slice that has none."""
    nodes = [
        helper.make_node("Slice", ["x", "zero", "zero", "one"], ["none"]),
        helper.make_node(operator, ["none"], ["y"], domain="ai.onnx.ml", **attributes),
    ]
    bounds = [models.constant("zero", [0], "int64"), models.constant("one", [1], "int64")]
    return model_bytes(graph(nodes, [value("x", shape=("N", 2))], [value("y", shape=None)], bounds))


def reshaped(target: list[int] | None) -> bytes:
    """A Reshape to `target`, or to 70 axes by steps of a few."""
    nodes = [helper.make_node("Normalizer", ["x"], ["n0"], domain=ML)]
    lists = [target or [-1, *[1] * 35]]
    if target is None:
        nodes.append(helper.make_node("Unsqueeze", ["n1", "axes"], ["n2"]))
        lists.append(list(range(1, 35)))
    nodes.append(helper.make_node("Reshape", ["n0", "target"], ["n1"]))
    nodes.sort(key=lambda node: node.output[0])
    constants = [
        models.constant(name, numbers, "int64") for name, numbers in zip(("target", "axes"), lists, strict=False)
    ]
    outputs = [value(nodes[-1].output[0], shape=None)]
    return model_bytes(graph(nodes, [value("x", shape=("N", 1))], outputs, constants))


def of_one(operator: str) -> bytes:
    node = helper.make_node(operator, ["x"], ["y"])
    return model_bytes(graph([node], [value("x", shape=("N", 2))], [value("y", shape=("N", 2))]))


def regressor_with(*, modes: tuple[str, ...] = MODES, broken: bool = False, **more: Any) -> bytes:
    lists = trees(np.random.default_rng(4), [0], positive=False, width=1, modes=modes)
    if broken:
        lists["nodes_truenodeids"][0] = 0
    if "target_ids" in more:
        lists["ids"] = more.pop("target_ids")[: len(lists["ids"])]
    node = ensemble("TreeEnsembleRegressor", lists, ["y"], **({"n_targets": 1} | more))
    return model_bytes(graph([node], [value("x", shape=("N", FEATURES))], [value("y", shape=("N", 1))]))


def version_5_with(**more: Any) -> bytes:
    return of_version_5(np.random.default_rng(4), **more)


@pytest.mark.parametrize("problem", UNKNOWN)
def test_what_is_not_known_is_onnxruntimes(problem: str, assert_onnxruntimes: Any) -> None:
    assert_onnxruntimes(UNKNOWN[problem](), problem)


def test_a_graph_without_outputs_is_refused() -> None:
    node = helper.make_node("Scaler", ["x"], ["y"], domain=ML, offset=[0.0], scale=[2.0])
    content = model_bytes(graph([node], [value("x", shape=("N", 2))], []))
    with pytest.raises(glowplug.ModelError, match="has no outputs"):
        glowplug.load(content)
    with pytest.raises(glowplug.UnsupportedModelError, match="there is no output"):
        glowplug.load(content, engine="native")


@pytest.mark.parametrize(
    ("operator", "attributes"),
    [
        ("Scaler", {"offset": [0.0], "scale": [2.0]}),
        ("Imputer", {"imputed_value_floats": [0.0], "replaced_value_float": np.nan}),
        ("Normalizer", {"norm": "L2"}),
        ("LinearRegressor", {"intercepts": [1.0], "targets": 1}),
        ("SVMRegressor", {"rho": [0.0]}),
        (
            "TreeEnsembleRegressor",
            {f"nodes_{name}ids": [0] for name in ("tree", "node", "feature", "truenode", "falsenode")}
            | {"nodes_modes": ["LEAF"], "nodes_values": [0.0], "target_weights": [1.0], "n_targets": 1}
            | {f"target_{name}": [0] for name in ("ids", "treeids", "nodeids")},
        ),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_rows_without_columns_are_onnxruntimes(
    operator: str, attributes: dict[str, Any], assert_onnxruntimes: Any
) -> None:
    assert_onnxruntimes(without_columns(operator, **attributes), "Slice has rows without columns")


def test_the_runtime_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(classifier(np.random.default_rng(1)))
    program = (
        f"import sys, glowplug\nm = glowplug.load({str(path)!r})\nprint(m.predict_rows([[0.5] * {FEATURES}]))\n"
        "maps = open('/proc/self/maps').read() if sys.platform == 'linux' else ''\n"
        "print('onnxruntime' in maps, 'numpy' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.splitlines()[1] == "False False"


def test_engines_are_told_apart() -> None:
    content = regressor(np.random.default_rng(2))
    native, other = (glowplug.load(content, engine=engine) for engine in ("auto", "onnxruntime"))
    assert "knows every operator" in native.explain()["why"]
    assert "walks" in native.explain()["kernel"]
    assert other.explain()["why"] == "onnxruntime, as asked for"
    assert other.explain()["kernel"] == ""
    with pytest.raises(glowplug.OptionError, match="engine"):
        glowplug.load(content, engine="tensorrt")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="engine"):
        glowplug.load(content, engine=1)  # type: ignore[arg-type]
