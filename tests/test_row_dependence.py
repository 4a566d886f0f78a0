"""Whether rows depend on each other, told from the graph alone: held against what ONNX Runtime really does.

The claim that matters is one-sided. Where the graph is said to treat each row alone, rows must give the same answers in any
pieces, whatever the data; where nothing is said, nothing is claimed.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_state

import glowplug as gp
import models

onnxruntime.set_default_logger_severity(4)
ROWS = 6
PIECES = ((1,) * ROWS, (3, 3), (1, 5), (4, 2))
#: Random graphs of a run; raise it for a long search.
EXAMPLES = int(os.environ.get("GLOWPLUG_TEST_EXAMPLES", "150"))
Array = np.ndarray[Any, Any]
onnxruntime_errors = (onnxruntime_state.Fail, onnxruntime_state.InvalidArgument, onnxruntime_state.RuntimeException)


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> NodeProto:
    return models.helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def ml(operator: str, inputs: str, outputs: str, **attributes: Any) -> NodeProto:
    return node(operator, inputs, outputs, domain="ai.onnx.ml", **attributes)


def made_of(
    nodes: list[NodeProto],
    shape: tuple[int | str | None, ...],
    constants: dict[str, Any] | None = None,
    *,
    dtype: str = "float32",
    opset: int = models.OPSET,
) -> bytes:
    """`y`, of any shape, made of `x` of this shape."""
    weights = [
        models.constant(name, np.asarray(value), str(np.asarray(value).dtype))
        for name, value in (constants or {}).items()
    ]
    outputs = [models.helper.make_value_info("y", models.helper.make_tensor_type_proto(TensorProto.FLOAT, None))]
    body = models.graph(nodes, [models.value("x", dtype, shape)], outputs, weights)
    return models.model_bytes(body, opset=opset, domains={"ai.onnx.ml": 3})


def is_proven(content: bytes) -> bool:
    return all(reason is None for _, reason in gp.load(content)._handle.row_dependence())


def session_of(content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(content, options)


def data(shape: tuple[int, ...]) -> list[Array]:
    """Rows of many kinds: ordinary, all the same, one unlike the others, and such as hide a mean or a maximum."""
    random = np.random.default_rng(1)
    ordinary = random.standard_normal(shape).astype(np.float32)
    outlier = np.ones(shape, np.float32)
    outlier[-1] = 100
    steps = np.zeros(shape, np.float32)
    steps[::2] = 1
    return [ordinary, np.abs(ordinary) + 1, outlier, steps, np.sort(ordinary, axis=0)]


def assert_pieces_agree(content: bytes, batches: list[Array]) -> None:
    session = session_of(content)
    for x in batches:
        whole = session.run(["y"], {"x": x})[0]
        for sizes in PIECES:
            edges = np.cumsum(sizes)[:-1]
            parts = [session.run(["y"], {"x": piece})[0] for piece in np.split(x, edges)]
            assert len(whole) == len(x)
            np.testing.assert_allclose(np.concatenate(parts), whole, rtol=2e-5, atol=1e-5)


# --- Ordinary models are proven ---------------------------------------------------------------------------------------


def attention(width: int, heads: int, *, computed_shapes: bool) -> tuple[list[NodeProto], dict[str, Any]]:
    """Self-attention over `x` [N, S, width], the target of each Reshape constant or computed from the shape of `x`."""
    size = width // heads
    constants: dict[str, Any] = {
        "w": np.random.default_rng(0).standard_normal((width, width)).astype(np.float32) / width,
        "scale": np.float32(size**0.5),
        "split": np.array([0, -1, heads, size], np.int64),
        "joined": np.array([0, 0, width], np.int64),
    }
    nodes = []
    if computed_shapes:
        constants |= {"zero": np.int64(0), "one": np.int64(1), "at0": np.array([0], np.int64)}
        constants |= {"heads": np.array([heads], np.int64), "size": np.array([size], np.int64)}
        constants |= {"width": np.array([width], np.int64)}
        nodes = [
            node("Shape", "x", "shape"),
            node("Gather", "shape zero", "batch", axis=0),
            node("Gather", "shape one", "length", axis=0),
            node("Unsqueeze", "batch at0", "batch1"),
            node("Unsqueeze", "length at0", "length1"),
            node("Concat", "batch1 length1 heads size", "split_to", axis=0),
            node("Concat", "batch1 length1 width", "join_to", axis=0),
        ]
    split, joined = ("split_to", "join_to") if computed_shapes else ("split", "joined")
    for name in "qkv":
        nodes += [
            node("MatMul", "x w", f"{name}0"),
            node("Reshape", f"{name}0 {split}", f"{name}1"),
            node("Transpose", f"{name}1", name, perm=[0, 2, 3, 1] if name == "k" else [0, 2, 1, 3]),
        ]
    nodes += [
        node("MatMul", "q k", "scores"),
        node("Div", "scores scale", "scaled"),
        node("Softmax", "scaled", "weights", axis=-1),
        node("MatMul", "weights v", "mixed"),
        node("Transpose", "mixed", "moved", perm=[0, 2, 1, 3]),
        node("Reshape", f"moved {joined}", "y"),
    ]
    return nodes, constants


FLAT, DEEP, IMAGE = ("N", 4), ("N", 3, 4), ("N", 2, 8, 8)
ids = np.array([0, 2], np.int64)
weights = np.random.default_rng(2).standard_normal((4, 5)).astype(np.float32)
kernel = np.random.default_rng(3).standard_normal((3, 2, 3, 3)).astype(np.float32)
four = np.arange(1, 5, dtype=np.float32)
PROVEN: dict[str, tuple[list[NodeProto], tuple[Any, ...], dict[str, Any]]] = {
    "dense": ([node("MatMul", "x w", "h"), node("Add", "h b", "z"), node("Relu", "z", "y")], FLAT,
              {"w": weights, "b": np.ones(5, np.float32)}),
    "gemm": ([node("Gemm", "x w b", "y", transB=1)], FLAT, {"w": weights.T, "b": np.ones((1, 5), np.float32)}),
    "one row broadcast": ([node("Mul", "x b", "y")], FLAT, {"b": four[None]}),
    "scaled": ([ml("Scaler", "x", "s", offset=[0.0], scale=[2.0]), ml("Normalizer", "s", "y", norm="L2")], FLAT, {}),
    "linear": ([ml("LinearRegressor", "x", "y", coefficients=[1.0, 2.0, 3.0, 4.0], intercepts=[0.5])], FLAT, {}),
    "columns joined": ([node("Neg", "x", "n"), node("Concat", "x n", "y", axis=1)], FLAT, {}),
    "columns joined from behind": ([node("Neg", "x", "n"), node("Concat", "x n", "y", axis=-1)], FLAT, {}),
    "columns picked": ([node("Gather", "x ids", "y", axis=1)], FLAT, {"ids": ids}),
    "columns cut": ([node("Slice", "x a b c", "y")], FLAT,
                    {"a": np.array([1]), "b": np.array([3]), "c": np.array([1])}),
    "all rows, some columns": ([node("Slice", "x a b c", "y")], FLAT,
                               {"a": np.array([0, 1]), "b": np.array([2**63 - 1, 3]), "c": np.array([0, 1])}),
    "mean of a row": ([node("ReduceMean", "x", "y", axes=[1])], FLAT, {}),
    "mean from behind": ([node("ReduceMean", "x", "y", axes=[-1], keepdims=0)], DEEP, {}),
    "best of a row": ([node("ArgMax", "x", "a", axis=1), node("Cast", "a", "y", to=1)], FLAT, {}),
    "largest of a row": ([node("TopK", "x k", "y i", axis=-1)], FLAT, {"k": np.array([2])}),
    "running sum of a row": ([node("CumSum", "x a", "y")], FLAT, {"a": np.int64(1)}),
    "softmax": ([node("Softmax", "x", "y", axis=-1)], DEEP, {}),
    "layer norm": ([node("LayerNormalization", "x s", "y")], DEEP, {"s": four}),
    "embedding": ([node("Cast", "x", "i", to=7), node("Abs", "i", "j"), node("Mod", "j n", "k"),
                   node("Gather", "t k", "y")], FLAT, {"t": weights, "n": np.int64(4)}),
    "flattened": ([node("Flatten", "x", "f"), node("Neg", "f", "y")], DEEP, {}),
    "reshaped to rows": ([node("Reshape", "x s", "y")], DEEP, {"s": np.array([-1, 12])}),
    "reshaped by zero": ([node("Reshape", "x s", "y")], DEEP, {"s": np.array([0, -1])}),
    "turned within rows": ([node("Transpose", "x", "y", perm=[0, 2, 1])], DEEP, {}),
    "dot products": ([node("Transpose", "x", "t", perm=[0, 2, 1]), node("MatMul", "x t", "y")], DEEP, {}),
    "einsum": ([node("Einsum", "x x", "y", equation="bij,bkj->bik")], DEEP, {}),
    "convolution": ([node("Conv", "x k", "c"), node("MaxPool", "c", "y", kernel_shape=[2, 2])], IMAGE, {"k": kernel}),
    "pooled": ([node("GlobalAveragePool", "x", "y")], IMAGE, {}),
    "batch norm": ([node("BatchNormalization", "x a a a b", "y")], IMAGE,
                   {"a": np.ones(2, np.float32), "b": np.full(2, 2, np.float32)}),
    "attention": (attention(8, 2, computed_shapes=False)[0], ("N", 5, 8), attention(8, 2, computed_shapes=False)[1]),
    "attention of computed shapes": (attention(8, 2, computed_shapes=True)[0], ("N", "S", 8),
                                     attention(8, 2, computed_shapes=True)[1]),
    "as many zeros as rows": ([node("Shape", "x", "s"), node("ConstantOfShape", "s", "z"), node("Add", "x z", "y")],
                              DEEP, {}),
    "expanded to rows": ([node("Shape", "x", "s"), node("Expand", "b s", "e"), node("Add", "x e", "y")], FLAT,
                         {"b": four}),
    "padded columns": ([node("Pad", "x p", "y")], FLAT, {"p": np.array([0, 1, 0, 2])}),
    "split columns": ([node("Split", "x", "a b", axis=1, num_outputs=2), node("Add", "a b", "y")], FLAT, {}),
}  # fmt: skip


def size_of(shape: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(ROWS if size == "N" else 5 if size == "S" else size for size in shape)


@pytest.mark.parametrize("name", PROVEN)
def test_ordinary_models_are_proven(name: str) -> None:
    nodes, shape, constants = PROVEN[name]
    content = made_of(nodes, shape, constants, opset=18 if name == "split columns" else models.OPSET)
    assert gp.load(content)._handle.row_dependence() == [("y", None)]
    assert_pieces_agree(content, data(size_of(shape)))


# --- What mixes rows is not ---------------------------------------------------------------------------------------------

MIXING: dict[str, tuple[list[NodeProto], tuple[Any, ...], dict[str, Any]]] = {
    "mean of the batch": ([node("ReduceMean", "x", "m", axes=[0]), node("Sub", "x m", "y")], FLAT, {}),
    "mean of the batch from behind": ([node("ReduceMean", "x", "m", axes=[-2]), node("Sub", "x m", "y")], FLAT, {}),
    "mean of everything": ([node("ReduceMean", "x", "m"), node("Sub", "x m", "y")], FLAT, {}),
    "softmax over the batch": ([node("Softmax", "x", "y", axis=0)], FLAT, {}),
    "softmax over the batch from behind": ([node("Softmax", "x", "y", axis=-2)], FLAT, {}),
    "running sum of the batch": ([node("CumSum", "x a", "y")], FLAT, {"a": np.int64(0)}),
    "best of the batch": ([node("ArgMax", "x", "a"), node("Cast", "a", "f", to=1), node("Add", "x f", "y")], FLAT, {}),
    "turned over": ([node("Transpose", "x", "t"), node("MatMul", "x t", "y")], FLAT, {}),
    "rows swapped with columns": ([node("Transpose", "x", "y", perm=[1, 0, 2])], DEEP, {}),
    "rows against rows": ([node("Gemm", "x x", "y", transB=1)], FLAT, {}),
    "two rows in one": ([node("Reshape", "x s", "y")], FLAT, {"s": np.array([-1, 8])}),
    "rows in the middle": ([node("Reshape", "x s", "t"), node("Softmax", "t", "y", axis=1)], FLAT,
                           {"s": np.array([1, -1, 4])}),
    "rows behind": ([node("Unsqueeze", "x a", "y")], FLAT, {"a": np.array([0])}),
    "every second row": ([node("Slice", "x a b c d", "y")], FLAT,
                         {"a": np.array([0]), "b": np.array([99]), "c": np.array([0]), "d": np.array([2])}),
    "the first rows": ([node("Slice", "x a b", "y")], FLAT, {"a": np.array([0]), "b": np.array([2])}),
    "the first row for all": ([node("Gather", "x i", "f"), node("Sub", "x f", "y")], FLAT, {"i": np.int64(0)}),
    "row after row": ([node("Concat", "x x", "y", axis=0)], FLAT, {}),
    "as many as rows": ([node("Shape", "x", "s"), node("Cast", "s", "f", to=1), node("ReduceSum", "f", "n"),
                         node("Div", "x n", "y")], FLAT, {}),
    "a scale for the batch": ([node("DynamicQuantizeLinear", "x", "q s z"), node("DequantizeLinear", "q s z", "y")],
                              FLAT, {}),
    "one weight a row": ([node("Mul", "x w", "y")], FLAT, {"w": np.arange(24, dtype=np.float32).reshape(6, 4)}),
    "recurrent": ([node("RNN", "x w r", "o y", hidden_size=2)], DEEP,
                  {"w": np.ones((1, 2, 4), np.float32), "r": np.ones((1, 2, 2), np.float32)}),
    "einsum over rows": ([node("Einsum", "x", "y", equation="bi->i")], FLAT, {}),
    "training": ([node("BatchNormalization", "x a a a b", "y m v", training_mode=1)], IMAGE,
                 {"a": np.ones(2, np.float32), "b": np.full(2, 2, np.float32)}),
    "random": ([node("RandomNormalLike", "x", "r"), node("Add", "x r", "y")], FLAT, {}),
    "largest of all": ([node("Hardmax", "x", "y", axis=0)], FLAT, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", MIXING)
def test_what_mixes_rows_is_not_proven(name: str) -> None:
    nodes, shape, constants = MIXING[name]
    (_, reason), *_ = gp.load(made_of(nodes, shape, constants))._handle.row_dependence()
    assert reason is not None
    assert reason.strip()


def test_softmax_of_old_operator_sets_takes_axes_together() -> None:
    nodes = [node("Softmax", "x", "y", axis=1)]
    assert is_proven(made_of(nodes, DEEP, opset=11))
    assert not is_proven(made_of([node("Softmax", "x", "y", axis=0)], DEEP, opset=11))
    assert_pieces_agree(made_of(nodes, DEEP, opset=11), data(size_of(DEEP)))


def test_a_function_of_the_file_is_not_taken_for_the_operator() -> None:
    """A file may define an operator of its own under a name that the rules know in another domain."""
    content = made_of([ml("Scaler", "x", "y", offset=[0.0], scale=[1.0])], FLAT)
    assert is_proven(content)
    other = made_of([node("Scaler", "x", "y", domain="com.example")], FLAT)
    proto = ModelProto.FromString(other)
    body = [node("Softmax", "a", "b", axis=0)]
    opsets = [models.helper.make_opsetid("", models.OPSET)]
    proto.functions.append(models.helper.make_function("com.example", "Scaler", ["a"], ["b"], body, opsets))
    proto.opset_import.append(models.helper.make_opsetid("com.example", 1))
    assert not is_proven(proto.SerializeToString())


# --- Any graph ----------------------------------------------------------------------------------------------------------

axes = st.integers(-3, 3)
UNARY = ("Relu", "Neg", "Sigmoid", "Identity", "Softplus")


@st.composite
def steps(  # noqa: PLR0911 - one way out for each kind of node
    draw: st.DrawFn, number: int, names: list[str]
) -> tuple[list[NodeProto], dict[str, Any]]:
    """A node, or a few, that make `v<number>` of earlier values, whether that is possible or not."""
    out, source = f"v{number}", draw(st.sampled_from(names))
    other = draw(st.sampled_from(names))
    constant = f"c{number}"

    def ints(*values: int) -> dict[str, Any]:
        return {constant: np.array(values, np.int64)}

    kind = draw(st.sampled_from((
        "unary", "binary", "fixed", "reshape", "transpose", "reduce", "softmax", "concat", "matmul", "weights", "gather",
        "unsqueeze", "squeeze", "slice", "cumsum", "flatten", "expand", "by_shape", "norm", "topk",
    )))  # fmt: skip
    match kind:
        case "unary":
            return [node(draw(st.sampled_from(UNARY)), source, out)], {}
        case "binary":
            return [node(draw(st.sampled_from(("Add", "Mul", "Sub", "Max"))), f"{source} {other}", out)], {}
        case "fixed":
            shape = draw(st.lists(st.sampled_from((1, 2, 3, 4, 6)), max_size=4))
            return [node("Add", f"{source} {constant}", out)], {
                constant: np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(np.float32)
            }
        case "reshape":
            target = draw(st.lists(st.sampled_from((-1, 0, 1, 2, 3, 4, 6, 12)), min_size=1, max_size=4))
            return [node("Reshape", f"{source} {constant}", out)], ints(*target)
        case "transpose":
            return [node("Transpose", source, out, perm=draw(st.permutations(range(draw(st.integers(2, 4))))))], {}
        case "reduce":
            operator = draw(st.sampled_from(("ReduceMean", "ReduceMax", "ReduceL2")))
            reduced = draw(st.lists(axes, min_size=1, max_size=2))
            return [node(operator, source, out, axes=reduced, keepdims=draw(st.integers(0, 1)))], {}
        case "softmax":
            return [node("Softmax", source, out, axis=draw(axes))], {}
        case "concat":
            return [node("Concat", f"{source} {other}", out, axis=draw(axes))], {}
        case "matmul":
            return [node("MatMul", f"{source} {other}", out)], {}
        case "weights":
            shape = draw(st.lists(st.sampled_from((1, 2, 3, 4, 6)), min_size=1, max_size=3))
            pair = [source, constant] if draw(st.booleans()) else [constant, source]
            values = np.linspace(-1, 1, np.prod(shape, dtype=int)).reshape(shape).astype(np.float32)
            return [node("MatMul", " ".join(pair), out)], {constant: values}
        case "gather":
            places = draw(st.sampled_from((0, [0], [1, 0], [[0, 1]])))
            return [node("Gather", f"{source} {constant}", out, axis=draw(axes))], {
                constant: np.array(places, np.int64)
            }
        case "unsqueeze" | "squeeze":
            places = draw(st.lists(axes, min_size=1, max_size=2, unique=True))
            return [node(kind.capitalize(), f"{source} {constant}", out)], ints(*places)
        case "slice":
            values = [draw(st.integers(-2, 3)), draw(st.sampled_from((1, 2, -1, 2**63 - 1))), draw(axes)]
            names3 = [f"{constant}{part}" for part in "abc"]
            return [node("Slice", " ".join([source, *names3]), out)], {
                name: np.array([value], np.int64) for name, value in zip(names3, values, strict=True)
            }
        case "cumsum":
            return [node("CumSum", f"{source} {constant}", out)], {constant: np.int64(draw(axes))}
        case "flatten":
            return [node("Flatten", source, out, axis=draw(axes))], {}
        case "expand":
            target = draw(st.lists(st.sampled_from((1, 2, 3, 6)), min_size=1, max_size=4))
            return [node("Expand", f"{source} {constant}", out)], ints(*target)
        case "by_shape":
            start = draw(st.integers(0, 2))
            cut = {f"{constant}a": np.array([start]), f"{constant}b": np.array([start + 1])}
            rest = draw(st.lists(st.sampled_from((-1, 1, 2, 3, 4, 12)), min_size=1, max_size=2))
            return [
                node("Shape", other, f"{out}s"),
                node("Slice", f"{out}s {constant}a {constant}b", f"{out}n"),
                node("Concat", f"{out}n {constant}", f"{out}t", axis=0),
                node("Reshape", f"{source} {out}t", out),
            ], {**cut, **ints(*rest)}
        case "norm":
            return [node("LpNormalization", source, out, axis=draw(axes))], {}
        case _:
            nodes = [node("TopK", f"{source} {constant}", f"{out} {out}i", axis=draw(axes))]
            return nodes, ints(draw(st.integers(1, 2)))


@st.composite
def graphs(draw: st.DrawFn) -> tuple[bytes, tuple[int, ...]]:
    shape = draw(st.sampled_from((("N", 4), ("N", 2, 6), ("N", 3, 2, 2), ("N",))))
    names, nodes, constants = ["x"], [], {}
    for number in range(draw(st.integers(1, 6))):
        made, values = draw(steps(number, names))
        nodes += made
        constants |= values
        names.append(f"v{number}")
    nodes.append(node("Identity", names[-1], "y"))
    return made_of(nodes, shape, constants), size_of(shape)


# All examples are one test, whose time grows with them.
@pytest.mark.timeout(120 + EXAMPLES)
@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
@given(graphs())
def test_whatever_is_proven_holds(graph: tuple[bytes, tuple[int, ...]]) -> None:
    content, shape = graph
    try:
        model = gp.load(content)
    except gp.ModelError:
        return
    if model._handle.row_dependence() != [("y", None)]:
        return
    batches = data(shape)
    try:
        session_of(content).run(["y"], {"x": batches[0]})
    except onnxruntime_errors:
        # A graph that does not run for all rows has no answer that pieces could differ from.
        return
    assert_pieces_agree(content, batches)
