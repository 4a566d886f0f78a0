"""Tiny ONNX models, built in code: each function returns the bytes of one model.

They are built rather than stored so that a test shows what it feeds, and nothing binary lies in git. Weights
come from fixed seeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Shape: TypeAlias = "Sequence[int | str | None] | None"

# Versions that every supported release of ONNX Runtime reads.
OPSET = 17
IR_VERSION = 8
ML_DOMAIN = "ai.onnx.ml"
ML_OPSET = 3

# Every tensor type that has a NumPy dtype of its own.
DTYPES = {
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64,
    "bool": TensorProto.BOOL,
    "string": TensorProto.STRING,
}


def value(name: str, dtype: str = "float32", shape: Shape = ("N", 1)) -> ValueInfoProto:
    """A named tensor type: a dimension `None` has neither value nor name, a shape `None` has any rank."""
    return helper.make_tensor_value_info(name, DTYPES[dtype], shape)


def constant(name: str, array: Any, dtype: str | None = None) -> TensorProto:
    """An initializer from anything NumPy understands."""
    return numpy_helper.from_array(np.asarray(array, dtype=dtype), name)


def graph(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    initializers: Sequence[TensorProto] = (),
) -> GraphProto:
    """A graph with a name, which the format demands."""
    return helper.make_graph(list(nodes), "graph", list(inputs), list(outputs), list(initializers))


def model_proto(body: GraphProto, *, opset: int = OPSET, domains: dict[str, int] | None = None) -> ModelProto:
    """A model round a graph, deliberately unchecked: broken ones are made with it too."""
    imports = [helper.make_opsetid("", opset)]
    imports += [helper.make_opsetid(name, version) for name, version in (domains or {}).items()]
    return helper.make_model(body, opset_imports=imports, ir_version=IR_VERSION, producer_name="glowplug-tests")


def model_bytes(body: GraphProto, *, opset: int = OPSET, domains: dict[str, int] | None = None) -> bytes:
    """The bytes of a model round a graph."""
    return bytes(model_proto(body, opset=opset, domains=domains).SerializeToString())


def mlp_graph(inputs: int = 30, hidden: int = 64) -> GraphProto:
    """The graph of `mlp`, for tests that damage it before it is written."""
    random = np.random.default_rng(7)
    weights = [
        constant("w1", random.normal(0, inputs**-0.5, (inputs, hidden)), "float32"),
        constant("b1", random.normal(0, 0.1, hidden), "float32"),
        constant("w2", random.normal(0, hidden**-0.5, (hidden, 1)), "float32"),
        constant("b2", random.normal(0, 0.1, 1), "float32"),
    ]
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["pre"], "first"),
        helper.make_node("Relu", ["pre"], ["act"], "activation"),
        helper.make_node("Gemm", ["act", "w2", "b2"], ["logit"], "second"),
        helper.make_node("Sigmoid", ["logit"], ["y"], "score"),
    ]
    return graph(nodes, [value("x", shape=("N", inputs))], [value("y")], weights)


def mlp(inputs: int = 30, hidden: int = 64) -> bytes:
    """Two dense layers: `x` float32 [N, inputs] to `y` float32 [N, 1] between 0 and 1."""
    return model_bytes(mlp_graph(inputs, hidden))


def identity(dtype: str = "float32", shape: Shape = ("N", 3)) -> bytes:
    """`y` is `x`, for any dtype in `DTYPES` and any rank."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return model_bytes(graph([node], [value("x", dtype, shape)], [value("y", dtype, shape)]))


def two_inputs() -> bytes:
    """`sum` is `a` + `b`, both float32 [N, 2]."""
    node = helper.make_node("Add", ["a", "b"], ["sum"])
    shape = ("N", 2)
    return model_bytes(graph([node], [value("a", shape=shape), value("b", shape=shape)], [value("sum", shape=shape)]))


def two_outputs() -> bytes:
    """`double` and `square` of `x`, float32 [N, 2]."""
    nodes = [helper.make_node("Add", ["x", "x"], ["double"]), helper.make_node("Mul", ["x", "x"], ["square"])]
    outputs = [value("double", shape=("N", 2)), value("square", shape=("N", 2))]
    return model_bytes(graph(nodes, [value("x", shape=("N", 2))], outputs))


def default_input() -> bytes:
    """`y` is `x` * `scale`; `scale` is an input with an initializer (10): optional, overridable."""
    node = helper.make_node("Mul", ["x", "scale"], ["y"])
    inputs = [value("x", shape=("N", 2)), value("scale", shape=(1,))]
    return model_bytes(graph([node], inputs, [value("y", shape=("N", 2))], [constant("scale", [10], "float32")]))


# Three classes over four features; row sums keep the classes apart.
CLASSIFIER_FEATURES = 4
INT_LABELS = (3, 5, 8)
STRING_LABELS = ("cheque", "card", "Überweisung")


def _classifier_node(labels: Sequence[int] | Sequence[str], scores: str) -> NodeProto:
    random = np.random.default_rng(11)
    named: dict[str, Any] = {"classlabels_strings" if isinstance(labels[0], str) else "classlabels_ints": list(labels)}
    return helper.make_node(
        "LinearClassifier",
        ["x"],
        ["label", scores],
        domain=ML_DOMAIN,
        coefficients=random.normal(size=len(labels) * CLASSIFIER_FEATURES).tolist(),
        intercepts=random.normal(size=len(labels)).tolist(),
        post_transform="SOFTMAX",
        **named,
    )


def zipmap_classifier(
    labels: Sequence[int] | Sequence[str] = INT_LABELS, *, zipped: Sequence[int] | Sequence[str] | None = None
) -> bytes:
    """A classifier as skl2onnx writes it: `label`, and `probabilities` as a sequence of maps, label to score.

    `zipped` gives the maps other labels than the classifier has.
    """
    strings = isinstance(labels[0], str)
    named: dict[str, Any] = {"classlabels_strings" if strings else "classlabels_int64s": list(zipped or labels)}
    zipmap = helper.make_node("ZipMap", ["scores"], ["probabilities"], domain=ML_DOMAIN, **named)
    scores_type = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    key = TensorProto.STRING if strings else TensorProto.INT64
    sequence = helper.make_sequence_type_proto(helper.make_map_type_proto(key, scores_type))
    outputs = [
        value("label", "string" if strings else "int64", ("N",)),
        helper.make_value_info("probabilities", sequence),
    ]
    inputs = [value("x", shape=("N", CLASSIFIER_FEATURES))]
    nodes = [_classifier_node(labels, "scores"), zipmap]
    return model_bytes(graph(nodes, inputs, outputs), domains={ML_DOMAIN: ML_OPSET})


def tensor_classifier(labels: Sequence[int] | Sequence[str] = INT_LABELS) -> bytes:
    """The same classifier without ZipMap: `label` [N] and `probabilities` float32 [N, classes]."""
    outputs = [
        value("label", "string" if isinstance(labels[0], str) else "int64", ("N",)),
        value("probabilities", shape=("N", len(labels))),
    ]
    inputs = [value("x", shape=("N", CLASSIFIER_FEATURES))]
    body = graph([_classifier_node(labels, "probabilities")], inputs, outputs)
    return model_bytes(body, domains={ML_DOMAIN: ML_OPSET})


def sequence_output() -> bytes:
    """`parts` is a sequence of two tensors of different shapes: `x` [N, 2] and its transpose, twice."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["turned"]),
        helper.make_node("Concat", ["turned", "turned"], ["long"], axis=0),
        helper.make_node("SequenceConstruct", ["x", "long"], ["parts"]),
    ]
    element = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    parts = helper.make_value_info("parts", helper.make_sequence_type_proto(element))
    return model_bytes(graph(nodes, [value("x", shape=("N", 2))], [parts]))


def map_input() -> bytes:
    """The input `x` is a map from int64 to float, which is no tensor; `y` is its values in order of the keys.

    No standard operator gives a bare map, so this is the only place where one can stand alone.
    """
    element = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    source = helper.make_value_info("x", helper.make_map_type_proto(TensorProto.INT64, element))
    node = helper.make_node("CastMap", ["x"], ["y"], domain=ML_DOMAIN, cast_to="TO_FLOAT", map_form="DENSE")
    return model_bytes(graph([node], [source], [value("y", shape=(1, None))]), domains={ML_DOMAIN: ML_OPSET})


def optional_output(*, present: bool) -> bytes:
    """`maybe` is an optional tensor, with `x` in it or with nothing."""
    element = helper.make_tensor_type_proto(TensorProto.FLOAT, ("N", 2))
    maybe = helper.make_value_info("maybe", helper.make_optional_type_proto(element))
    if present:
        nodes = [helper.make_node("Optional", ["x"], ["maybe"])]
    else:
        nodes = [helper.make_node("Optional", [], ["maybe"], type=element)]
    nodes.append(helper.make_node("Identity", ["x"], ["y"]))
    shape = ("N", 2)
    return model_bytes(graph(nodes, [value("x", shape=shape)], [maybe, value("y", shape=shape)]))


def nonzero() -> bytes:
    """`where` int64 [rank, hits]: an output whose shape depends on the data."""
    node = helper.make_node("NonZero", ["x"], ["where"])
    return model_bytes(graph([node], [value("x", shape=("N", 3))], [value("where", "int64", (2, "hits"))]))


def fixed_batch(rows: int = 4) -> bytes:
    """`y` is -`x`, and takes exactly `rows` rows of two numbers."""
    node = helper.make_node("Neg", ["x"], ["y"])
    return model_bytes(graph([node], [value("x", shape=(rows, 2))], [value("y", shape=(rows, 2))]))


def unnamed_dims() -> bytes:
    """`y` is -`x`, of rank 2, with dimensions that have neither value nor name."""
    node = helper.make_node("Neg", ["x"], ["y"])
    return model_bytes(graph([node], [value("x", shape=(None, None))], [value("y", shape=(None, None))]))


def open_rank() -> bytes:
    """`y` is -`x`, and nothing at all is said about the shape."""
    node = helper.make_node("Neg", ["x"], ["y"])
    return model_bytes(graph([node], [value("x", shape=None)], [value("y", shape=None)]))


def scalar_output() -> bytes:
    """`total` is the sum over all of `x`: rank 0."""
    node = helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0)
    return model_bytes(graph([node], [value("x", shape=("N", 3))], [value("total", shape=())]))


def passthrough() -> bytes:
    """Outputs that no node computes: the input `x` and the initializer `table`, [[1, 2], [3, 4]]; and `y`."""
    node = helper.make_node("Neg", ["x"], ["y"])
    outputs = [value("x", shape=("N", 2)), value("table", shape=(2, 2)), value("y", shape=("N", 2))]
    table = constant("table", [[1, 2], [3, 4]], "float32")
    return model_bytes(graph([node], [value("x", shape=("N", 2))], outputs, [table]))


def no_inputs() -> bytes:
    """`y` is a constant [1, 2, 3]: nothing is asked for."""
    node = helper.make_node("Neg", ["table"], ["y"])
    return model_bytes(graph([node], [], [value("y", shape=(3,))], [constant("table", [-1, -2, -3], "float32")]))


def lying_shape() -> bytes:
    """`y` is declared as [1, 1] and comes as [N, 2]: ONNX Runtime logs a warning at each run and answers.

    The shape hangs on the data, or ONNX Runtime would see through the lie when it loads the model.
    """
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        helper.make_node("Mul", ["total", "nothing"], ["zero"]),
        helper.make_node("Cast", ["zero"], ["zero_whole"], to=TensorProto.INT64),
        helper.make_node("Add", ["zero_whole", "rows"], ["shape"]),
        helper.make_node("Reshape", ["x", "shape"], ["y"]),
    ]
    constants = [constant("rows", [-1, 2], "int64"), constant("nothing", 0, "float32")]
    return model_bytes(graph(nodes, [value("x", shape=("N", "M"))], [value("y", shape=(1, 1))], constants))


def reshape_from_input() -> bytes:
    """`y` is `x` float32 [N] reshaped to the int64 `shape`: fails at run time where they do not fit."""
    node = helper.make_node("Reshape", ["x", "shape"], ["y"])
    inputs = [value("x", shape=("N",)), value("shape", "int64", ("rank",))]
    return model_bytes(graph([node], inputs, [value("y", shape=None)]))


def gather_from_input() -> bytes:
    """`y` is the entry of a table of five at each `index` int64 [N]: fails at run time where out of range."""
    node = helper.make_node("Gather", ["table", "index"], ["y"])
    table = constant("table", [0, 10, 20, 30, 40], "float32")
    return model_bytes(graph([node], [value("index", "int64", ("N",))], [value("y", shape=("N",))], [table]))


def integer_division() -> bytes:
    """`y` is `a` / `b`, all int64 [N]: what cannot be divided is for the engine to refuse."""
    node = helper.make_node("Div", ["a", "b"], ["y"])
    inputs = [value("a", "int64", ("N",)), value("b", "int64", ("N",))]
    return model_bytes(graph([node], inputs, [value("y", "int64", ("N",))]))


def expand_from_input() -> bytes:
    """`y` is `x` float32 [1] expanded to the int64 `shape`: asks for as much memory as it is told to."""
    node = helper.make_node("Expand", ["x", "shape"], ["y"])
    inputs = [value("x", shape=(1,)), value("shape", "int64", ("rank",))]
    return model_bytes(graph([node], inputs, [value("y", shape=None)]))


def counting_body() -> GraphProto:
    """The body of a loop that adds one to its state at each turn."""
    return graph(
        [
            helper.make_node("Identity", ["going_in"], ["going_out"]),
            helper.make_node("Add", ["state_in", "one"], ["state_out"]),
        ],
        [value("step", "int64", ()), value("going_in", "bool", ()), value("state_in", "int64", ())],
        [value("going_out", "bool", ()), value("state_out", "int64", ())],
        [constant("one", 1, "int64")],
    )


def endless_loop() -> bytes:
    """`count` grows from `x` int64 [] until int64 runs out: in human terms the model never answers."""
    node = helper.make_node("Loop", ["", "going", "x"], ["count"], body=counting_body())
    inputs, outputs = [value("x", "int64", ())], [value("count", "int64", ())]
    return model_bytes(graph([node], inputs, outputs, [constant("going", True, "bool")]))


def counting_loop() -> bytes:
    """`y` is `x`, int64 [N], after as many turns of a loop as the largest `x`."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["turns"], keepdims=0),
        helper.make_node("Loop", ["turns", "going", "nothing"], ["count"], body=counting_body()),
        helper.make_node("Mul", ["count", "nothing"], ["zero"]),
        helper.make_node("Add", ["x", "zero"], ["y"]),
    ]
    inputs, outputs = [value("x", "int64", ("N",))], [value("y", "int64", ("N",))]
    return model_bytes(
        graph(nodes, inputs, outputs, [constant("going", True, "bool"), constant("nothing", 0, "int64")])
    )


EXTERNAL_INPUTS = 512


def external_weights() -> np.ndarray[Any, np.dtype[np.float32]]:
    """The weights that `external_data` stores beside the model: float32 [512, 600], 1.2 MB."""
    return np.random.default_rng(13).normal(size=(EXTERNAL_INPUTS, 600)).astype(np.float32)


def external_tensor(**entries: str) -> TensorProto:
    """The weights as an initializer whose bytes lie elsewhere; `entries` are its `external_data`."""
    weights = external_weights()
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=weights.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in entries.items():
        tensor.external_data.add(key=key, value=text)
    return tensor


def external_model(tensor: TensorProto) -> bytes:
    """`y` = `x` @ `w`, float32 [N, 512] to [N, 600], round a weight made with `external_tensor`."""
    rows, columns = external_weights().shape
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    body = graph([node], [value("x", shape=("N", rows))], [value("y", shape=("N", columns))], [tensor])
    return model_bytes(body)


def external_data(folder: Path, location: str = "weights.bin") -> bytes:
    """Writes `model.onnx` and, in a file of their own, its weights into `folder`; returns the model."""
    content = external_weights().tobytes()
    model = external_model(external_tensor(location=location, offset="0", length=str(len(content))))
    (folder / "model.onnx").write_bytes(model)
    (folder / location).write_bytes(content)
    return model


def big_matmul(size: int = 1024) -> bytes:
    """`y` = `x` @ `x` @ `x` @ `x`, float32 [size, size]: 6 * size**3 operations, about 50 ms at 1024."""
    nodes = [
        helper.make_node("MatMul", ["x", "x"], ["two"]),
        helper.make_node("MatMul", ["two", "x"], ["three"]),
        helper.make_node("MatMul", ["three", "x"], ["y"]),
    ]
    return model_bytes(graph(nodes, [value("x", shape=(size, size))], [value("y", shape=(size, size))]))


def multi_dtype() -> bytes:
    """A tabular model as pipelines export it: one [N, 1] input per column, of several dtypes.

    `score` float32 [N, 1] is amount + hour + (1 if flag) and `merchant_out` the strings unchanged.
    """
    columns = [("amount", "float64"), ("hour", "int32"), ("flag", "bool")]
    nodes = [helper.make_node("Cast", [name], [f"{name}_f"], to=TensorProto.FLOAT) for name, _ in columns]
    nodes += [
        helper.make_node("Sum", [f"{name}_f" for name, _ in columns], ["score"]),
        helper.make_node("Identity", ["merchant"], ["merchant_out"]),
    ]
    inputs = [value(name, dtype) for name, dtype in [*columns, ("merchant", "string")]]
    return model_bytes(graph(nodes, inputs, [value("score"), value("merchant_out", "string")]))


def unicode_names() -> bytes:
    """Input `größe→ß`, output `結果 🙂`: `y` is -`x`, float32 [N, 2]."""
    node = helper.make_node("Neg", ["größe→ß"], ["結果 🙂"])
    inputs = [value("größe→ß", shape=("Zeilen ü", 2))]
    return model_bytes(graph([node], inputs, [value("結果 🙂", shape=("Zeilen ü", 2))]))
