"""Networks that glowplug runs itself: the answers are ONNX Runtime's but for rounding, a row's are the same bits anywhere."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

import glowplug
import models
from models import constant, graph, model_bytes, value
from seeds import seeds
from worker_tools import python

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from onnx import NodeProto, TensorProto

    Array = np.ndarray[Any, Any]

SEEDS = seeds(30)
#: Whether networks are run by glowplug itself unasked: with AVX2 and fused multiply-add.
IS_FAST = glowplug.load(models.mlp()).explain()["engine"] == "native"
#: Numbers that go through networks in odd ways.
ODD = np.array([np.nan, 0.0, -0.0, np.inf, -np.inf, 1e-40, 3e38], np.float32)


class Network:
    """A random graph: values of known dimensions for each row, from which the next node takes some."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self.inputs = [value("x", shape=("N", 6)), value("ids", "int64", ("N", 3))]
        self.values: dict[str, tuple[int, ...]] = {"x": (6,)}
        self.count = 0

    def name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"

    def weight(self, *shape: int, dtype: str = "float32") -> str:
        name = self.name("w")
        size = max(shape[0], 1) if len(shape) > 1 else 3
        self.weights.append(constant(name, self.random.normal(size=shape) / np.sqrt(size), dtype))
        return name

    def ints(self, *numbers: int) -> str:
        name = self.name("i")
        self.weights.append(constant(name, numbers, "int64"))
        return name

    def add(self, operator: str, inputs: list[str], dims: tuple[int, ...], **attributes: Any) -> str:
        name = self.name(operator.lower())
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        self.values[name] = dims
        return name

    def any(self, fits: Callable[[tuple[int, ...]], bool] = lambda _: True) -> str:
        """One of the newest values, so that graphs are long and not wide."""
        names = [name for name, dims in self.values.items() if fits(dims)][-4:]
        return str(self.random.choice(names)) if names else "x"

    def chance(self, part: float = 0.5) -> bool:
        return bool(self.random.random() < part)

    def step(self) -> None:
        kinds = [name for name in dir(self) if name.startswith("step_")]
        getattr(self, str(self.random.choice(kinds)))()

    def step_gemm(self) -> None:
        source = self.any(lambda dims: len(dims) == 1)
        (depth,), width = self.values[source], int(self.random.choice([1, 3, 16, 33, 70]))
        turned = self.chance()
        inputs = [source, self.weight(*((width, depth) if turned else (depth, width)))]
        if self.chance(0.8):
            inputs.append(self.weight(*[(width,), (1, width), (1,), ()][int(self.random.integers(4))]))
        more = {"alpha": 0.5, "beta": 2.0} if self.chance(0.2) else {}
        name = self.add("Gemm", inputs, (width,), transB=int(turned), **more)
        if self.chance():
            self.add("Relu", [name], (width,))

    def step_mat_mul(self) -> None:
        source = self.any(lambda dims: len(dims) > 0)
        *leading, depth = self.values[source]
        width = int(self.random.choice([1, 5, 32, 48]))
        name = self.add("MatMul", [source, self.weight(depth, width)], (*leading, width))
        if self.chance():
            name = self.add("Add", [name, self.weight(width)][:: int(self.random.choice([1, -1]))], (*leading, width))
        if self.chance(0.3):
            self.add("Relu", [name], (*leading, width))

    def step_heads(self) -> None:
        """A product whose columns are taken apart before anything is added to them, as those of several heads are."""
        source = self.any(lambda dims: len(dims) == 1)
        parts, width = int(self.random.integers(1, 5)), int(self.random.choice([1, 3, 8]))
        product = self.add("MatMul", [source, self.weight(self.values[source][0], parts * width)], (parts * width,))
        if self.chance(0.3):
            dims: tuple[int, ...] = (parts * width, 1)
            name = self.add("Unsqueeze", [product, self.ints(2)], dims)
        else:
            dims = (parts, width)
            name = self.add("Reshape", [product, self.ints(0, parts, width)], dims)
        shapes = [(), (1,), dims[-1:], dims, (1, 1, dims[-1])]
        weight = self.weight(*shapes[self.random.integers(5)])
        name = self.add("Add", [name, weight][:: int(self.random.choice([1, -1]))], dims)
        if self.chance():
            self.add("Relu", [name], dims)

    def step_function(self) -> None:
        source = self.any()
        operator = str(
            self.random.choice(
                ["Relu", "Sigmoid", "Tanh", "Erf", "LeakyRelu", "Elu", "Neg", "Abs", "Gelu", "Identity", "Clip", "Pow"]
            )
        )
        more: dict[str, Any] = {"alpha": 0.3} if operator in {"LeakyRelu", "Elu"} and self.chance() else {}
        inputs = [source]
        if operator == "Gelu" and self.chance():
            more = {"approximate": "tanh"}
        if operator == "Clip":
            low, high = self.name("w"), self.name("w")
            self.weights += [constant(low, -0.5, "float32"), constant(high, 1.0, "float32")]
            inputs += [[low], [low, high], ["", high]][int(self.random.integers(3))]
        if operator == "Pow":
            two = self.name("w")
            self.weights.append(constant(two, 2, str(self.random.choice(["float32", "int64"]))))
            inputs.append(two)
        self.add(operator, inputs, self.values[source], **more)

    def step_arithmetic(self) -> None:
        source = self.any()
        dims = self.values[source]
        operator = str(self.random.choice(["Add", "Sub", "Mul"]))
        same = [name for name, other in self.values.items() if other == dims]
        shapes = [(), (1,), dims[-1:], (1, *dims), dims, tuple(1 if self.chance() else dim for dim in dims)]
        other = str(self.random.choice(same)) if self.chance() else self.weight(*shapes[self.random.integers(6)])
        self.add(operator, [source, other][:: int(self.random.choice([1, -1]))], dims)

    def step_softmax(self) -> None:
        source = self.any(lambda dims: len(dims) > 0)
        self.add("Softmax", [source], self.values[source], axis=-1)

    def step_normalize(self) -> None:
        source = self.any(lambda dims: len(dims) > 0)
        dims = self.values[source]
        axis = int(self.random.integers(len(dims)))
        inputs = [source, self.weight(*dims[axis:])]
        if self.chance():
            inputs.append(self.weight(*dims[axis:]))
        self.add("LayerNormalization", inputs, dims, axis=axis + 1, epsilon=0.1)

    def step_batch_normalization(self) -> None:
        source = self.any(lambda dims: len(dims) > 0)
        dims = self.values[source]
        variance = self.name("w")
        self.weights.append(constant(variance, self.random.random(dims[0]) + 0.2, "float32"))
        inputs = [source, *(self.weight(dims[0]) for _ in range(3)), variance]
        self.add("BatchNormalization", inputs, dims)

    def step_reshape(self) -> None:
        source = self.any(lambda dims: len(dims) > 0)
        dims = self.values[source]
        size = int(np.prod(dims))
        kind = int(self.random.integers(6))
        if kind == 0:
            self.add("Flatten", [source], (size,))
        elif kind == 1:
            self.add("Unsqueeze", [source, self.ints(len(dims) + 1)], (*dims, 1))
        elif kind == 2 and dims[-1] == 1:
            self.add("Squeeze", [source, self.ints(-1)], dims[:-1])
        elif kind == 3 and len(dims) < 4:
            part = next(part for part in (4, 3, 2, 1) if size % part == 0)
            self.add("Reshape", [source, self.ints(-1, part, size // part)], (part, size // part))
        elif kind == 4:
            self.add("Reshape", [source, self.ints(0, -1)], (size,))
        else:
            order = self.random.permutation(len(dims))
            turned = tuple(dims[at] for at in order)
            self.add("Transpose", [source], turned, perm=[0, *(int(at) + 1 for at in order)])

    def step_part(self) -> None:
        source = self.any(lambda dims: len(dims) > 0 and max(dims) > 1)
        dims = self.values[source]
        axis = int(np.argmax(dims))
        if self.chance():
            at = int(self.random.integers(-dims[axis], dims[axis]))
            scalar = self.name("i")
            self.weights.append(constant(scalar, at, "int64"))
            self.add("Gather", [source, scalar], (*dims[:axis], *dims[axis + 1 :]), axis=axis + 1)
        else:
            start = int(self.random.integers(dims[axis]))
            inputs = [source, self.ints(start), self.ints(2**62), self.ints(axis + 1)]
            self.add("Slice", inputs, (*dims[:axis], dims[axis] - start, *dims[axis + 1 :]))

    def step_concat(self) -> None:
        source = self.any(lambda dims: len(dims) > 0)
        dims = self.values[source]
        others = [name for name, other in self.values.items() if other[1:] == dims[1:] and len(other) == len(dims)]
        chosen = [source, *(str(name) for name in self.random.choice(others, 2))]
        total = sum(self.values[name][0] for name in chosen)
        if total < 200:
            self.add("Concat", chosen, (total, *dims[1:]), axis=1)

    def step_reduce(self) -> None:
        source = self.any(lambda dims: len(dims) > 1)
        dims = self.values[source]
        if len(dims) < 2:
            return
        axis, keep = int(self.random.integers(len(dims))), self.chance()
        operator = str(self.random.choice(["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"]))
        left = (*dims[:axis], *((1,) if keep else ()), *dims[axis + 1 :])
        if operator == "ReduceSum":
            self.add(operator, [source, self.ints(axis + 1)], left, keepdims=int(keep))
        else:
            self.add(operator, [source], left, keepdims=int(keep), axes=[axis + 1])

    def step_look(self) -> None:
        table = self.weight(50, *((4,) if self.chance(0.8) else ()))
        self.add("Gather", [table, "ids"], (3, 4) if self.weights[-1].dims[1:] else (3,))

    def step_products(self) -> None:
        source = self.any(lambda dims: len(dims) > 1)
        dims = self.values[source]
        if len(dims) < 2:
            return
        perm = [*range(len(dims) - 1), len(dims), len(dims) - 1]
        turned = self.add("Transpose", [source], (*dims[:-2], dims[-1], dims[-2]), perm=perm)
        self.add("MatMul", [source, turned], (*dims[:-2], dims[-2], dims[-2]))

    def build(self) -> bytes:
        self.step_gemm()
        for _ in range(int(self.random.integers(3, 12))):
            self.step()
        self.step_look()
        names = [*list(self.values)[-2:], self.any()]
        outputs = [value(name, shape=("N", *self.values[name])) for name in dict.fromkeys(names)]
        inputs = self.inputs
        body = graph(self.nodes, inputs, outputs, self.weights)
        # `Gelu` came with version 20, and before 18 some axes are attributes: both are never in one graph.
        late = any(node.op_type == "Gelu" for node in self.nodes)
        for node in self.nodes if late else []:
            axes = next((item for item in node.attribute if item.name == "axes"), None)
            if axes is not None:
                node.input.append(self.ints(*axes.ints))
                node.attribute.remove(axes)
        body = graph(self.nodes, inputs, outputs, self.weights)
        return model_bytes(body, opset=20 if late else 17)


def feeds(random: np.random.Generator, rows: int) -> dict[str, Array]:
    x = random.normal(size=(rows, 6)).astype(np.float32)
    return {"x": x, "ids": random.integers(-50, 50, (rows, 3))}


def peer(content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(content, options)


def same(got: Array, expected: Array) -> None:
    """The same but for rounding, which is measured by what is largest in a row's values."""
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    finite = np.abs(expected[np.isfinite(expected)])
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5 * max(1.0, float(finite.max(initial=0))))


@pytest.mark.parametrize("seed", SEEDS)
def test_answers_are_those_of_onnxruntime(seed: int, assert_same: Any) -> None:
    content = Network(seed).build()
    model = glowplug.load(content, engine="native")
    inputs = feeds(np.random.default_rng(seed), 100)
    expected = dict(zip([spec.name for spec in model.outputs], peer(content).run(None, inputs), strict=True))
    whole = model.run(inputs)
    for name, answer in whole.items():
        same(answer, expected[name])
    for at in (slice(0, 1), slice(99, 100), slice(3, 16), slice(40, 53)):
        part = model.run({name: array[at] for name, array in inputs.items()})
        for name, answer in whole.items():
            assert_same(part[name], answer[at])
    none = model.run({name: array[:0] for name, array in inputs.items()})
    assert {name: answer.shape for name, answer in none.items()} == {
        name: (0, *answer.shape[1:]) for name, answer in expected.items()
    }


HEADS = {
    "two of three": ((6,), "Reshape", (0, 2, 3), (3,)),
    "three of two": ((6,), "Reshape", (0, 3, 2), (1, 2)),
    "one": ((3,), "Reshape", (0, 1, 3), (1, 1, 3)),
    "a column each": ((6,), "Unsqueeze", (2,), (1,)),
    "all in a column": ((6,), "Reshape", (0, 6, 1), (1, 1)),
    "of lists": ((2, 6), "Reshape", (0, 4, 3), (3,)),
}


@pytest.mark.parametrize("case", HEADS)
def test_what_is_added_to_columns_taken_apart_is_no_bias(case: str) -> None:
    width, operator, target, added = HEADS[case]
    random = np.random.default_rng(5)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node(operator, ["a", "i"], ["b"]),
        helper.make_node("Add", ["b", "c"], ["d"]),
        helper.make_node("Relu", ["d"], ["y"]),
    ]
    weights = [
        constant("w", random.normal(size=(2, width[-1])), "float32"),
        constant("i", target, "int64"),
        constant("c", random.normal(size=added), "float32"),
    ]
    shape = ("N", *width[:-1], 2)
    content = model_bytes(graph(nodes, [value("x", shape=shape)], [value("y", shape=None)], weights))
    x = random.normal(size=(40, *shape[1:])).astype(np.float32)
    same(glowplug.load(content, engine="native").predict(x), peer(content).run(None, {"x": x})[0])


FUNCTIONS = ["Relu", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "Erf", "Clip", "Exp", "Sqrt", "Neg", "Abs", "Reciprocal"]


@pytest.mark.parametrize("activation", [*FUNCTIONS, "Softmax"])
def test_odd_numbers_go_through_as_in_onnxruntime(activation: str) -> None:
    """A product of NaN or infinity is what IEEE 754 makes of it, and functions keep NaN."""
    random = np.random.default_rng(1)
    nodes = [
        helper.make_node("MatMul", ["x", "eye"], ["a"]),
        helper.make_node(activation, ["a"], ["b"]),
        helper.make_node("Gemm", ["b", "w"], ["y"]),
        # Where no product has made NaN of infinity, nor 0.0 of -0.0.
        helper.make_node(activation, ["x"], ["c"]),
    ]
    weights = [constant("eye", np.eye(6), "float32"), constant("w", random.normal(size=(6, 20)), "float32")]
    outputs = [value("b", shape=("N", 6)), value("y", shape=("N", 20)), value("c", shape=("N", 6))]
    content = model_bytes(graph(nodes, [value("x", shape=("N", 6))], outputs, weights))
    x = random.normal(size=(60, 6)).astype(np.float32)
    x[np.arange(60), np.arange(60) % 6] = np.resize(ODD, 60)
    expected = peer(content).run(None, {"x": x})
    for got, want in zip(glowplug.load(content, engine="native").run(x).values(), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    is_number = ~np.isnan(want)
    assert np.array_equal(np.signbit(got[is_number]), np.signbit(want[is_number]))


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("operator", ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"])
def test_odd_numbers_are_reduced(operator: str, axis: int) -> None:
    """A NaN anywhere is the answer; ONNX Runtime's largest and least are NaN only if it comes first."""
    axes = {} if operator == "ReduceSum" else {"axes": [axis]}
    nodes = [
        helper.make_node(operator, ["x", *([] if axes else ["i"])], ["y"], keepdims=0, **axes),
        helper.make_node("MatMul", ["x", "w"], ["a"]),
    ]
    weights = [constant("w", np.ones((3, 1)), "float32"), *([] if axes else [constant("i", [axis], "int64")])]
    x = np.random.default_rng(7).normal(size=(20, 3, 3)).astype(np.float32)
    x[0] = -0.0
    x[1, 1] = [np.inf, 1, -np.inf]
    content = model_bytes(graph(nodes, [value("x", shape=("N", 3, 3))], [value("y", shape=("N", 3))], weights))
    answer, expected = glowplug.load(content, engine="native").predict(x), peer(content).run(None, {"x": x})[0]
    np.testing.assert_allclose(answer, expected, rtol=1e-6, atol=1e-6)
    for at in range(3):
        x[2, at, at] = np.nan
    assert np.isnan(glowplug.load(content, engine="native").predict(x)[2]).all()


# --- Shapes that layers have -------------------------------------------------------------------------------------------


def perceptron(*widths: int) -> bytes:
    """Layers of Gemm and Relu."""
    network = Network(len(widths))
    network.inputs = [value("x", shape=("N", widths[0]))]
    source = "x"
    for depth, width in itertools.pairwise(widths):
        source = network.add("Gemm", [source, network.weight(depth, width), network.weight(width)], (width,))
        source = network.add("Relu", [source], (width,))
    return model_bytes(graph(network.nodes, network.inputs, [value(source, shape=("N", widths[-1]))], network.weights))


@pytest.mark.parametrize(
    "widths", [(1, 1), (7, 1), (1, 17), (300, 31, 33), (513, 600, 2), (40, 2000, 40), (600, 1100, 1100, 3)]
)
def test_rows_are_the_same_in_any_batch_and_with_any_threads(widths: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(perceptron(*widths))
    x = np.random.default_rng(0).normal(size=(2100, widths[0])).astype(np.float32)
    model = glowplug.load(path, engine="native")
    whole = model.predict(x)
    same(whole, peer(path.read_bytes()).run(None, {"x": x})[0])
    for rows in (1, 2, 11, 12, 13, 37, 239, 241, 1021):
        assert model.predict(x[-rows:]).tobytes() == whole[-rows:].tobytes()
    for threads in (1, 2, 3):
        threaded = glowplug.load(path, engine="native", threads=threads)
        for _ in range(3):
            assert threaded.predict(x).tobytes() == whole.tobytes()


@pytest.mark.parametrize(
    ("widths", "batch", "expected", "why"),
    [
        # A run of few rows is too little work to wake a thread for.
        ((40, 51, 2), "serial", (1, 1, 1), "one thread, since batches are not to be split"),
        ((40, 51, 2), "auto", (3, 1, 3), "for rows, which are independent"),
        ((600, 1100, 1090, 3), "serial", (3, 3, 1), "for products with large weights"),
        (
            (600, 1100, 1090, 3),
            "auto",
            (3, 3, 3),
            "for rows, which are independent, or for products with large weights",
        ),
    ],
)
def test_threads_are_told_as_they_are_used(
    widths: tuple[int, ...], batch: Any, expected: tuple[int, ...], why: str, tmp_path: Path
) -> None:
    """Products of one run may be shared among threads, whether or not batches may be split."""
    path = tmp_path / "model.onnx"
    path.write_bytes(perceptron(*widths))
    facts = glowplug.load(path, engine="native", threads=3, batch=batch).explain()
    assert (facts["threads"], facts["intra_op_threads"], facts["row_threads"]) == expected
    assert why in facts["threads_why"]
    assert ("shared among 3 threads" in facts["kernel"]) == (expected[1] == 3)
    # The most recently used first: no other test loads this content.
    assert glowplug.models()[0]["threads"] == expected[0]
    alone = glowplug.load(path, engine="native", threads=1, batch=batch).explain()
    assert (alone["threads"], alone["intra_op_threads"], alone["row_threads"]) == (1, 1, 1)


def test_every_way_in_gives_the_same(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(models.mlp(5, 40))
    model = glowplug.load(path, engine="native")
    x = np.random.default_rng(3).normal(size=(9, 5)).astype(np.float32)
    expected = model.predict(x)
    assert model.run({"x": x})["y"].tobytes() == expected.tobytes()
    assert model.run({"x": x.tolist()})["y"].tobytes() == expected.tobytes()
    assert model.predict(np.asfortranarray(x.astype(np.float64))).tobytes() == expected.tobytes()
    assert np.array_equal(np.array(model.predict_rows(x.tolist()), np.float32).reshape(9, 1), expected)
    answer = json.loads(model.predict_json(json.dumps(x.tolist())))
    assert np.array_equal(np.array(answer, np.float32).reshape(9, 1), expected)
    assert glowplug.load(path.read_bytes(), engine="native").predict(x).tobytes() == expected.tobytes()
    parts = list(model.predict_iter([x[:4], x[4:]]))
    assert np.concatenate(parts).tobytes() == expected.tobytes()


def test_wide_graphs_are_planned() -> None:
    """Of almost as many nodes as there may be, whose memories are all free at once."""
    half = 4_900
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"])]
    for function, names in (("Sigmoid", "s"), ("Tanh", "t")):
        nodes += [helper.make_node(function, ["a"], [f"{names}{at}"]) for at in range(half)]
        nodes.append(helper.make_node("Concat", [f"{names}{at}" for at in range(half)], [names], axis=1))
    nodes.append(helper.make_node("Sub", ["s", "t"], ["y"]))
    weights = [constant("w", np.array([[0.5], [-2.0]]), "float32")]
    outputs = [value("y", shape=("N", half))]
    content = model_bytes(graph(nodes, [value("x", shape=("N", 2))], outputs, weights))
    x = np.random.default_rng(3).normal(size=(5, 2)).astype(np.float32)
    a = x @ np.float32([[0.5], [-2.0]])
    expected = np.repeat(1 / (1 + np.exp(-a)) - np.tanh(a), half, axis=1)
    np.testing.assert_allclose(glowplug.load(content, engine="native").predict(x), expected, atol=1e-6)


# --- Ids -----------------------------------------------------------------------------------------------------------------


def embedding(dtype: str = "int64") -> bytes:
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["found"]),
        helper.make_node("Flatten", ["found"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    random = np.random.default_rng(2)
    weights = [
        constant("table", random.normal(size=(400, 3)), "float32"),
        constant("w", random.normal(size=(6, 2)), "float32"),
    ]
    return model_bytes(graph(nodes, [value("ids", dtype, ("N", 2))], [value("y", shape=("N", 2))], weights))


@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_ids_are_looked_up(dtype: str) -> None:
    content = embedding(dtype)
    model = glowplug.load(content, engine="native")
    ids = np.array([[0, 399], [-1, -400], [7, 7]], dtype)
    same(model.predict(ids), peer(content).run(None, {"ids": ids})[0])


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("kind", ["each once", "one twice", "one used before", "one turned"])
def test_what_is_looked_up_is_joined(axis: int, kind: str) -> None:
    """Entries go straight to where they are joined, unless somebody else needs them."""
    random = np.random.default_rng(4)
    node = helper.make_node
    nodes = [node("Gather", ["one", "ids"], ["a"]), node("Gather", ["two", "ids"], ["b"])]
    joined = {"one twice": ["a", "b", "a"], "one used before": ["a", "b", "r"], "one turned": ["b", "t"]}
    names = joined.get(kind, ["b", "a"])
    if "r" in names:
        nodes.append(node("Sigmoid", ["a"], ["r"]))
    if "t" in names:
        nodes.append(node("Transpose", ["a"], ["t"], perm=[0, 2, 1]))
    width = 3 * len(names)
    nodes += [
        node("Concat", names, ["c"], axis=axis), node("Flatten", ["c"], ["f"]), node("MatMul", ["f", "w"], ["y"])
    ]  # fmt: skip
    weights = [constant(name, random.normal(size=(50, 3)), "float32") for name in ("one", "two")]
    weights.append(constant("w", random.normal(size=(3 * width, 2)), "float32"))
    outputs = [value("y", shape=("N", 2)), value("c", shape=("N", *((width, 3) if axis == 1 else (3, width))))]
    content = model_bytes(graph(nodes, [value("ids", "int64", ("N", 3))], outputs, weights))
    ids = random.integers(-50, 50, (700, 3))
    for got, want in zip(
        glowplug.load(content, engine="native").run(ids).values(), peer(content).run(None, {"ids": ids}), strict=True
    ):
        same(got, want)


@pytest.mark.parametrize("wrong", [400, -401, 2**63 - 1, -(2**63)])
def test_ids_beyond_the_table_are_errors(wrong: int) -> None:
    model = glowplug.load(embedding(), engine="native")
    ids = np.zeros((300, 2), np.int64)
    ids[211, 1] = wrong
    with pytest.raises(glowplug.EngineError, match=rf"index {wrong} for a table of 400 entries, expected -400 to 399"):
        model.predict(ids)
    with pytest.raises(glowplug.EngineError, match="index"):
        model.predict(ids[211:212])
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument, match="out of data bounds"):
        peer(embedding()).run(None, {"ids": ids})
    ids[211] = 5
    assert model.predict(ids).shape == (300, 2)


def test_inputs_of_several_lengths_are_an_error() -> None:
    model = glowplug.load(Network(1).build(), engine="native")
    inputs = feeds(np.random.default_rng(0), 4)
    with pytest.raises(glowplug.InputError, match=r"`ids`(.|\n)*got 3 rows, but `x` has 4"):
        model.run(inputs | {"ids": inputs["ids"][:3]})


# --- What is not known ---------------------------------------------------------------------------------------------------


def layer(*more: NodeProto, shape: Any = ("N", 4), weights: Any = (), opset: int = 17, output: Any = None) -> bytes:
    """A product from `x` to `a`, and then nodes that make `y` of it."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), *more]
    random = np.random.default_rng(0)
    weights = [constant("w", random.normal(size=(4, 4)), "float32"), *weights]
    return model_bytes(graph(nodes, [value("x", shape=shape)], [value("y", shape=output)], weights), opset=opset)


def node(operator: str, inputs: str = "a", **attributes: Any) -> NodeProto:
    return helper.make_node(operator, inputs.split(), ["y"], **attributes)


def ints(*numbers: int) -> TensorProto:
    return constant("i", numbers, "int64")


def floats(*shape: int) -> TensorProto:
    return constant("f", np.ones(shape), "float32")


UNKNOWN: dict[str, tuple[str, Callable[[], bytes]]] = {
    "operator": ("the operator Softsign is not known", lambda: layer(node("Softsign"))),
    "fixed rows": ("the number of rows is fixed", lambda: layer(node("Relu"), shape=(3, 4))),
    "open rank": ("number of rows is fixed", lambda: layer(node("Relu"), shape=None)),
    "open width": ("the input x is of another type or shape", lambda: layer(node("Relu"), shape=("N", "M"))),
    "softmax over rows": ("Softmax works along the rows", lambda: layer(node("Softmax", axis=0))),
    "softmax before 13": (
        "Softmax has an axis",
        lambda: layer(
            helper.make_node("Reshape", ["a", "i"], ["b"]), node("Softmax", "b"), weights=[ints(-1, 2, 2)], opset=12
        ),
    ),
    "mean over rows": ("ReduceMean works along the rows", lambda: layer(node("ReduceMean", axes=[0]))),
    "mean over all": ("ReduceMean works along the rows", lambda: layer(node("ReduceMean"))),
    "reshape of rows": ("Reshape makes", lambda: layer(node("Reshape", "a i"), weights=[ints(-1, 2)])),
    "reshape with fixed rows": ("Reshape makes", lambda: layer(node("Reshape", "a i"), weights=[ints(3, 4)])),
    "transpose of rows": ("Transpose moves the rows", lambda: layer(node("Transpose", perm=[1, 0]))),
    "concat of rows": ("Concat works along the rows", lambda: layer(node("Concat", "a a", axis=0))),
    "rows of one beside columns of another": (
        "Add has values of several ranks",
        lambda: layer(helper.make_node("Unsqueeze", ["a", "i"], ["b"]), node("Add", "a b"), weights=[ints(2)]),
    ),
    "product of the rows themselves": (
        "MatMul has factors",
        lambda: layer(helper.make_node("Transpose", ["a"], ["b"], perm=[0, 1]), node("MatMul", "a b")),
    ),
    "constant with rows": ("Add has a constant of the shape", lambda: layer(node("Add", "a f"), weights=[floats(3, 4)])),
    "constant first": ("MatMul has an input that is not", lambda: layer(node("MatMul", "f a"), weights=[floats(4, 4)])),
    "gemm of turned rows": ("Gemm has a first input", lambda: layer(node("Gemm", "a f", transA=1), weights=[floats(4, 4)])),
    "bias with rows": (
        "Gemm has a third input",
        lambda: layer(node("Gemm", "a f g"), weights=[floats(4, 4), constant("g", np.ones((3, 4)), "float32")]),
    ),
    "weights of float64": ("Cast makes another type", lambda: layer(node("Cast", to=11))),
    "attribute": ("Relu has an attribute", lambda: layer(node("Relu", surprise=1))),
    "pow": ("Pow has an exponent", lambda: layer(node("Pow", "a f"), weights=[floats()])),
    "axis of 0": (
        "Add has an axis of 0",
        lambda: layer(
            helper.make_node("Slice", ["a", "i", "j", "j"], ["b"]),
            helper.make_node("Add", ["b", "f"], ["c"]),
            node("Softmax", "c"),
            weights=[ints(0), constant("j", [1], "int64"), floats(0)],
        ),
    ),
    "axis of 0 among others": (
        "Mul has an axis of 0",
        lambda: layer(
            helper.make_node("Reshape", ["a", "i"], ["b"]),
            helper.make_node("Mul", ["b", "f"], ["c"]),
            node("ReduceMax", "c", axes=[2]),
            weights=[ints(0, 4, 1), floats(4, 0)],
        ),
    ),
    "a constant for many nodes": (
        "Mul uses its constants more often than is known",
        lambda: layer(
            helper.make_node("MatMul", ["x", "v"], ["n0"]),
            *(helper.make_node("Mul", [f"n{at}", "f"], [f"n{at + 1}"]) for at in range(120)),
            node("Relu", "n120"),
            weights=[constant("v", np.ones((4, 100_000)), "float32"), floats(100_000)],
        ),
    ),
    "a list longer than axes": (
        "Reshape has a list that is not of int64, or too long",
        lambda: layer(node("Reshape", "a i"), weights=[ints(0, 4, *[1] * 9)]),
    ),
    "a constant of many axes": ("the constant f, whose shape", lambda: layer(node("Relu"), weights=[floats(*[1] * 11)])),
    "pow that is no root": (
        "Pow has an exponent",
        lambda: layer(node("Pow", "a f"), weights=[constant("f", 0.5, "float32")]),
    ),
    "no weights": (
        "no product with weights",
        lambda: model_bytes(
            graph(
                [helper.make_node("MatMul", ["x", "x"], ["y"])], [value("x", shape=("N", 2, 2))], [value("y", shape=None)]
            )
        ),
    ),
    "output of another shape": ("the output y is declared", lambda: layer(node("Relu"), output=("N", 5))),
    "late operator": ("Gelu is not as its version", lambda: layer(node("Gelu"), opset=17)),
    "old version": ("version 6 of the operators", lambda: layer(node("Relu"), opset=6)),
    "weights in a subgraph": ("the operator If", lambda: layer(node("If"))),
}  # fmt: skip


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_is_not_known_is_onnxruntimes(case: str, assert_onnxruntimes: Any) -> None:
    reason, make = UNKNOWN[case]
    assert_onnxruntimes(make(), reason)


# --- Broken files --------------------------------------------------------------------------------------------------------


def test_truncated_files_are_errors_or_onnxruntimes() -> None:
    """A file that ends early, or has a byte that is not right, is never run as another one by mistake."""
    content = embedding()
    x = np.array([[1, 2]])
    expected = glowplug.load(content, engine="native").predict(x)
    random = np.random.default_rng(5)
    for at in random.integers(1, len(content), 60):
        with pytest.raises(glowplug.GlowplugError):
            glowplug.load(content[: int(at)], engine="native")
    for at in random.integers(0, 120, 60):
        damaged = bytearray(content)
        damaged[int(at)] ^= 1 << int(random.integers(8))
        try:
            answer = glowplug.load(bytes(damaged), engine="native").predict(x)
        except glowplug.GlowplugError:
            continue
        assert answer.shape[0] == expected.shape[0]


def circle() -> bytes:
    proto = onnx.load_from_string(layer(node("Relu")))
    proto.graph.node[0].input[0] = "y"
    return bytes(proto.SerializeToString())


def twice() -> bytes:
    proto = onnx.load_from_string(layer(node("Relu")))
    proto.graph.node[1].output[0] = "a"
    return bytes(proto.SerializeToString())


def huge(dims: list[int]) -> bytes:
    proto = onnx.load_from_string(layer(node("Relu")))
    del proto.graph.initializer[0].dims[:]
    proto.graph.initializer[0].dims.extend(dims)
    return bytes(proto.SerializeToString())


def doubling(times: int) -> bytes:
    names = ["a", *(f"c{at}" for at in range(times)), "y"]
    nodes = [helper.make_node("Concat", [one, one], [two], axis=1) for one, two in itertools.pairwise(names)]
    return layer(*nodes)


@pytest.mark.parametrize(
    "content",
    [circle(), twice(), huge([1 << 40, 1 << 40]), huge([4, 5]), huge([-4, -4]), huge([0, 4]), doubling(40)],
    ids=["circle", "twice", "huge", "other", "negative", "empty", "doubling"],
)
def test_hostile_graphs_are_refused(content: bytes) -> None:
    with pytest.raises(glowplug.GlowplugError):
        glowplug.load(content, engine="native")


# --- No runtime ----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_the_runtime_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(models.mlp(5, 40))
    program = (
        f"import sys, glowplug\nm = glowplug.load({str(path)!r}, engine='native')\n"
        "print(m.predict_rows([[0.5] * 5] * 100)[0])\n"
        "print(m.predict_json(b'[[1,2,3,4,5]]'))\n"
        "print('onnxruntime' in open('/proc/self/maps').read(), 'numpy' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.splitlines()[-1] == "False False"


@pytest.mark.parametrize("asked", ["baseline", "avx2", "avx512"])
def test_instructions_can_be_taken_away_and_answers_stay(asked: str, tmp_path: Path) -> None:
    """What no product was measured with is ONNX Runtime's, unless our own engine is asked for."""
    path = tmp_path / "model.onnx"
    path.write_bytes(models.mlp(5, 40))
    np.save(tmp_path / "x.npy", np.random.default_rng(3).normal(size=(50, 5)).astype(np.float32))
    program = (
        f"import glowplug, numpy\nmodel = glowplug.load({str(path)!r}, engine='native')\n"
        f"numpy.save({str(tmp_path / 'answer.npy')!r}, model.predict(numpy.load({str(tmp_path / 'x.npy')!r})))\n"
        f"print(model.explain()['kernel'])\nprint(glowplug.load({str(path)!r}).explain()['engine'])"
    )
    kernel, engine = python(program, variables={"GLOWPLUG_INSTRUCTIONS": asked}).splitlines()
    expected = glowplug.load(path, engine="native").predict(np.load(tmp_path / "x.npy"))
    assert np.load(tmp_path / "answer.npy").tobytes() == expected.tobytes()
    assert engine == ("native" if "AVX" in kernel else "onnxruntime")
    if asked != "avx512":
        assert "AVX-512" not in kernel
    if asked == "baseline":
        assert "AVX" not in kernel


@pytest.mark.skipif(not IS_FAST, reason="networks are ONNX Runtime's here")
def test_engines_are_told_apart() -> None:
    native, other = (glowplug.load(models.mlp(), engine=engine) for engine in ("auto", "onnxruntime"))
    assert (native.explain()["engine"], other.explain()["engine"]) == ("native", "onnxruntime")
    assert "knows every operator" in native.explain()["why"]
    assert "products with" in native.explain()["kernel"]
    assert [spec.name for spec in native.outputs] == [spec.name for spec in other.outputs]
    assert [spec.shape for spec in native.outputs] == [spec.shape for spec in other.outputs]
    assert [spec.shape for spec in native.inputs] == [spec.shape for spec in other.inputs]
