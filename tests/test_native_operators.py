"""Operators of glowplug's own engine, one by one: on numbers that are easily got wrong, the answers are ONNX Runtime's."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import helper

import glowplug
import models
from models import graph, value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import NodeProto

    Array = np.ndarray[Any, Any]

ROWS = 48
ODD = [np.nan, 0.0, -0.0, np.inf, -np.inf, 1e-40, -1e-40, 0.5, 1.0, 3e38, -7.5, 2.5]
#: What an input of a case can be.
INPUTS: dict[str, tuple[str, models.Shape]] = {
    "x": ("float32", ("N", 4)),
    "x2": ("float32", ("N", 4)),
    "v": ("float32", ("N",)),
    "m": ("float32", ("N", 1)),
    "t": ("float32", ("N", 2, 3)),
    "d": ("float64", ("N", 4)),
    "i": ("int64", ("N", 4)),
    "i1": ("int64", ("N", 1)),
    "k": ("int32", ("N", 4)),
    "b": ("bool", ("N", 4)),
    "s": ("string", ("N", 2)),
}
ML = models.ML_DOMAIN


@dataclasses.dataclass(frozen=True)
class Case:
    """Nodes whose last output is `y`, of `out`; equal but for rounding if `close`, on finite numbers if `tame`."""

    nodes: Sequence[NodeProto]
    out: str
    close: bool
    tame: bool
    opset: int
    ml: int
    constants: dict[str, Any]

    def content(self) -> bytes:
        """A model of the nodes, and one operator of `ai.onnx.ml` beside them."""
        scaler = helper.make_node("Scaler", ["x"], ["scaled"], domain=ML, offset=[1.0], scale=[2.0])
        names = {name for node in self.nodes for name in node.input} & set(INPUTS) | {"x"}
        body = graph(
            [scaler, *self.nodes],
            [value(name, *INPUTS[name]) for name in sorted(names)],
            [value("y", self.out, None), value("scaled", "float32", ("N", 4))],
            [models.constant(name, array) for name, array in self.constants.items()],
        )
        return models.model_bytes(body, opset=self.opset, domains={ML: self.ml})


def feeds(
    model: glowplug.Model, random: np.random.Generator, *, tame: bool = False, rows: int = ROWS
) -> dict[str, Array]:
    """Random inputs, many of them odd."""
    made: dict[str, Array] = {}
    for spec in model.inputs:
        shape = (rows, *(int(size) for size in spec.shape[1:]))
        if spec.dtype.startswith("float"):
            array = random.normal(size=shape) * 2
            spots = random.random(shape) < (0.0 if tame else 0.4)
            array[spots] = random.choice(ODD, size=int(spots.sum()))
            made[spec.name] = array.astype(spec.dtype)
        elif spec.dtype == "bool":
            made[spec.name] = random.random(shape) < 0.5
        elif spec.dtype == "string":
            made[spec.name] = random.choice(["", "a", "b", "Zürich", "naïve 🙂", "B"], size=shape).astype(object)
        else:
            made[spec.name] = random.integers(0, 3, shape).astype(spec.dtype)
    return made


def node(operator: str, inputs: str, output: str = "y", **attributes: Any) -> NodeProto:
    """A node whose inputs and outputs are named in a text; one that is called `-` is left out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    domain = ML if operator in MACHINE_LEARNING else ""
    return helper.make_node(operator, names, output.split(), domain=domain, **attributes)


def case(
    *nodes: NodeProto,
    out: str = "float32",
    close: bool = False,
    tame: bool = False,
    opset: int = 17,
    ml: int = models.ML_OPSET,
    **constants: Any,
) -> Case:
    return Case(nodes, out, close, tame, opset, ml, {name: np.asarray(array) for name, array in constants.items()})


MACHINE_LEARNING = {
    "ArrayFeatureExtractor", "Binarizer", "CategoryMapper", "FeatureVectorizer", "Imputer", "LabelEncoder", "LinearClassifier",
    "LinearRegressor", "Normalizer", "OneHotEncoder", "SVMClassifier", "SVMRegressor", "Scaler",
}  # fmt: skip
F32, F64, I64 = np.float32, np.float64, np.int64
ROW = F32([0.5, -2, 3, 1e30])


def tensor(kind: str, elements: Sequence[Any]) -> Any:
    values = [item.encode() for item in elements] if kind == "string" else elements
    return helper.make_tensor("t", models.DTYPES[kind], [len(elements)], values)


def vectors(random: np.random.Generator, *counts: int) -> dict[str, Any]:
    """What support vector machines have in common, for classes of so many vectors; one number of them for a regressor."""
    total = sum(counts)
    return {
        "support_vectors": random.normal(size=total * 4).astype(F32).tolist(),
        "coefficients": random.normal(size=max(1, len(counts) - 1) * total).astype(F32).tolist(),
        "rho": random.normal(size=max(1, len(counts) * (len(counts) - 1) // 2)).astype(F32).tolist(),
        "kernel_params": [0.3, 0.5, 3.0],
    }


def machine(kernel: str, *counts: int, probabilities: bool = False, **more: Any) -> NodeProto:
    shared = vectors(np.random.default_rng(len(kernel)), *counts) | {"kernel_type": kernel}
    if len(counts) == 1:
        return node("SVMRegressor", "x", n_supports=counts[0], **shared, **more)
    if probabilities:
        shared |= {"prob_a": [-1.5] * len(shared["rho"]), "prob_b": [0.1] * len(shared["rho"])}
    labels = {"classlabels_strings": ["one", "two", "three"][: len(counts)]}
    return node("SVMClassifier", "x", "label y", vectors_per_class=list(counts), **shared, **labels, **more)


CASES: dict[str, Case] = {
    **{
        f"{operator} of {name}": case(node(operator, f"{name} c"), out=out, c=np.array([2, -3, 1, 5], out))
        for operator in ("Add", "Sub", "Mul")
        for name, out in (("x", "float32"), ("d", "float64"), ("i", "int64"), ("k", "int32"))
    },
    "Div": case(node("Div", "x c"), c=ROW),
    "Div by rows": case(node("Div", "x m")),
    "Div of float64": case(node("Div", "c d"), out="float64", c=F64([[1, 0, -1, 5]])),
    "Add of two inputs": case(node("Add", "x x2")),
    "Sub of a column": case(node("Sub", "m x")),
    "Mul by one number": case(node("Mul", "x c"), c=F32(3)),
    "Mul by a matrix of one number": case(node("Mul", "t c"), c=F32([[[-0.0]]])),
    "Add in three dimensions": case(node("Add", "t c"), c=F32([[1], [2]])),
    "Sum": case(node("Sum", "x x2 c"), close=True, c=ROW),
    "Mean": case(node("Mean", "x x2"), close=True),
    "Max": case(node("Max", "x x2 c"), c=ROW),
    "Min": case(node("Min", "x c"), c=ROW),
    "Max of int64": case(node("Max", "i c"), out="int64", c=I64([1, 0, 2, -5])),
    "Pow": case(node("Pow", "x c"), close=True, c=F32(2)),
    "Pow of a column": case(node("Pow", "x c"), close=True, tame=True, c=F32([2, 1, 3, 0])),
    "Clip": case(node("Clip", "x low high"), low=F32(-1), high=F32(0.75)),
    "Clip from below": case(node("Clip", "d low"), out="float64", low=F64(0.0)),
    "Clip from above": case(node("Clip", "x - high"), high=F32(1.5)),
    "Clip by attributes": case(node("Clip", "x", min=-0.5, max=2.0), opset=10),
    **{
        operator: case(node(operator, "x"))
        for operator in ("Neg", "Abs", "Sqrt", "Relu", "Floor", "Ceil", "Reciprocal")
    },
    "Sign": case(node("Sign", "x"), tame=True),
    **{operator: case(node(operator, "x"), close=True) for operator in ("Exp", "Log", "Tanh", "Sigmoid")},
    **{
        f"Cast {name} to {to}": case(node("Cast", name, to=models.DTYPES[to]), out=to)
        for name in ("x", "d", "i", "k", "b")
        for to in ("float32", "float64", "int64", "int32", "bool")
    },
    "Cast by way of whole numbers": case(node("Cast", "d", "n", to=7), node("Cast", "n", to=1)),
    "Concat": case(node("Concat", "x m x2", axis=1)),
    "Concat from the end": case(node("Concat", "i i1", axis=-1), out="int64"),
    "Concat of texts": case(node("Concat", "s s", axis=1), out="string"),
    "Concat inside": case(node("Concat", "t t", axis=1)),
    "Concat of bools": case(node("Concat", "b b", axis=1), out="bool"),
    "Identity of texts": case(node("Identity", "s"), out="string"),
    "Reshape to rows": case(node("Reshape", "m shape"), shape=I64([-1])),
    "Reshape, a dimension kept": case(node("Reshape", "t shape"), shape=I64([0, -1])),
    "Reshape of texts": case(node("Reshape", "s shape"), out="string", shape=I64([-1, 1, 2])),
    "Flatten": case(node("Flatten", "t")),
    "Squeeze": case(node("Squeeze", "m axes"), axes=I64([1])),
    "Squeeze by an attribute": case(node("Squeeze", "m", axes=[-1]), opset=11),
    "Unsqueeze": case(node("Unsqueeze", "v axes"), axes=I64([-1])),
    "Transpose twice": case(node("Transpose", "t", "u", perm=[2, 0, 1]), node("Transpose", "u", perm=[1, 0, 2])),
    "Transpose to a row": case(node("Transpose", "m", "u"), node("Mul", "u c", "w"), node("Transpose", "w"), c=F32(2)),
    "Gather": case(node("Gather", "x c", axis=1), c=I64([3, 0, -1])),
    "Gather one": case(node("Gather", "s c", axis=1), out="string", c=I64(1)),
    "Gather inside": case(node("Gather", "t c", axis=1), c=I64([[1, 0]])),
    "Gather by rows": case(node("Gather", "c i1"), c=ROW),
    "Slice": case(node("Slice", "x a e axis"), a=I64([1]), e=I64([99]), axis=I64([1])),
    "Slice with steps": case(node("Slice", "x a e axis step"), a=I64([0]), e=I64([-1]), axis=I64([-1]), step=I64([2])),
    "Slice by attributes": case(node("Slice", "x", starts=[1], ends=[3], axes=[1]), opset=9),
    "Split": case(node("Split", "x sizes", "a y", axis=1), sizes=I64([1, 3])),
    "Shape, and as many ones": case(
        node("Shape", "v", "shape"),
        node("ConstantOfShape", "shape", value=helper.make_tensor("one", 7, [1], [1])),
        out="int64",
    ),
    "constants are computed at once": case(
        node("Constant", "", "three", value=helper.make_tensor("three", 1, [1, 4], [1, 2, 3, 4])),
        node("Mul", "three c", "c3"),
        node("Add", "x c3"),
        c=F32(0.1),
    ),
    "MatMul": case(node("MatMul", "x c"), close=True, tame=True, c=np.arange(8, dtype=F32).reshape(4, 2) - 3),
    "MatMul with a vector": case(node("MatMul", "d c"), out="float64", close=True, tame=True, c=F64([1, 2, 3, 4])),
    "Gemm": case(
        node("Gemm", "x c e", transB=1),
        close=True,
        tame=True,
        c=np.arange(12, dtype=F32).reshape(3, 4),
        e=F32([1, 2, 3]),
    ),
    "Gemm by factors": case(
        node("Gemm", "x c e", alpha=-2.0, beta=0.5),
        close=True,
        tame=True,
        c=np.arange(12, dtype=F32).reshape(4, 3),
        e=F32([[1, 2, 3]]),
    ),
    "Gemm and what is multiplied by 0": case(
        node("Gemm", "x c e", beta=0.0), close=True, tame=True, c=np.ones((4, 2), F32), e=F32([np.nan, np.inf])
    ),
    "Gemm and a number of each row": case(
        node("Gemm", "x c m", alpha=-2.0, transB=1), close=True, tame=True, c=np.arange(12, dtype=F32).reshape(3, 4)
    ),
    "Gemm and numbers of each row": case(
        node("Gemm", "d c d"), out="float64", close=True, tame=True, c=np.arange(16, dtype=F64).reshape(4, 4) - 5
    ),
    "Scaler of int64": case(node("Scaler", "i", offset=[1.0, 2.0, 3.0, 0.5], scale=[0.1] * 4)),
    "Scaler of float64": case(node("Scaler", "d", offset=[0.1, 2.0, 3.0, 0.5], scale=[0.1, 1.0, 2.0, 3.0])),
    "Scaler of int32": case(node("Scaler", "k", offset=[1.0], scale=[0.1])),
    "Imputer": case(node("Imputer", "x", imputed_value_floats=[1.0, 2.0, 3.0, 4.0], replaced_value_float=float("nan"))),
    "Imputer of zeros": case(node("Imputer", "x", imputed_value_floats=[9.0], replaced_value_float=0.0)),
    "Imputer of int64": case(
        node("Imputer", "i", imputed_value_int64s=[7, 8, 9, 10], replaced_value_int64=1), out="int64"
    ),
    **{
        f"Normalizer {norm}": case(node("Normalizer", "x", norm=norm), close=True, tame=True)
        for norm in ("L1", "L2", "MAX")
    },
    "Binarizer": case(node("Binarizer", "x", threshold=0.5), tame=True),
    "FeatureVectorizer": case(node("FeatureVectorizer", "x m", inputdimensions=[4, 1])),
    "ArrayFeatureExtractor": case(node("ArrayFeatureExtractor", "x c"), c=I64([[2, 0, 2]])),
    "ArrayFeatureExtractor of texts": case(node("ArrayFeatureExtractor", "s c"), out="string", c=I64([1])),
    "ArrayFeatureExtractor by rows": case(
        node("ArrayFeatureExtractor", "names i1", "row"),
        node("Reshape", "row shape"),
        out="string",
        names=np.array(["no", "yes", "perhaps"], object),
        shape=I64([-1]),
    ),
    **{
        f"{operator} of {name}": case(node(operator, f"{name} c"), out="bool", c=np.array(numbers, dtype))
        for operator in ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")
        for name, dtype, numbers in (
            ("x", F32, ODD[:4]),
            ("d", F64, [0.5, np.inf, 2.5, -0.0]),
            ("i", I64, [0, 1, 2, 3]),
        )
    },
    "Equal of texts": case(node("Equal", "s c"), out="bool", opset=19, c=np.array(["Zürich", ""], object)),
    "Equal of bools": case(node("Equal", "b c"), out="bool", c=np.array([[True, False, True, True]])),
    **{
        operator: case(node(operator, "b c"), out="bool", c=np.array([True, False] * 2))
        for operator in ("And", "Or", "Xor")
    },
    "Not": case(node("Not", "b"), out="bool"),
    "IsNaN": case(node("IsNaN", "x"), out="bool"),
    "IsNaN of float64": case(node("IsNaN", "d"), out="bool"),
    # ONNX Runtime makes 0.0 of -0.0 here.
    "Where": case(node("Where", "b x c"), tame=True, c=F32(-1)),
    "Where of texts": case(
        node("Equal", "s c", "is"),
        node("Where", "is c other"),
        out="string",
        opset=19,
        c=np.array(["a"], object),
        other=np.array([["no", "neither"]], object),
    ),
    **{
        f"{operator} of {name}": case(node(operator, name, axes=[-1], keepdims=keep), out=out, close=True, tame=tame)
        for operator, tame in (
            ("ReduceMax", True),
            ("ReduceMin", True),
            ("ReduceMean", True),
            ("ReduceProd", True),
            ("ReduceL1", True),
            ("ReduceL2", True),
            ("ReduceSumSquare", True),
            ("ReduceLogSumExp", True),
        )
        for name, out, keep in (("x", "float32", 1), ("t", "float32", 0), ("d", "float64", 0))
        if not (name == "d" and operator == "ReduceLogSumExp")
    },
    "ReduceSum": case(node("ReduceSum", "x axes"), close=True, tame=True, axes=I64([1])),
    "ReduceSum of int64": case(node("ReduceSum", "i axes", keepdims=0), out="int64", axes=I64([-1])),
    "ReduceSum of int32": case(node("ReduceSum", "k axes", keepdims=0), out="int32", axes=I64([-1])),
    "ReduceMax of int64": case(node("ReduceMax", "i", axes=[1]), out="int64"),
    "ReduceMin of int64": case(node("ReduceMin", "i axes"), out="int64", opset=18, axes=I64([1])),
    "ReduceSum inside": case(node("ReduceSum", "t axes", keepdims=0), close=True, tame=True, axes=I64([1])),
    "ReduceSum of all but rows": case(node("ReduceSum", "t axes"), close=True, tame=True, axes=I64([1, 2])),
    **{
        f"{operator} of {name}, last {last}": case(
            node(operator, name, axis=1, select_last_index=last), out="int64", tame=name == "x"
        )
        for operator in ("ArgMax", "ArgMin")
        for name in ("x", "i", "k", "t")
        for last in (0, 1)
        if (name, operator, last) != ("t", "ArgMin", 1)
    },
    "ArgMax without its axis": case(node("ArgMax", "d", axis=-1, keepdims=0), out="int64", tame=True),
    "Softmax": case(node("Softmax", "x"), close=True, tame=True),
    "Softmax of float64": case(node("Softmax", "d", axis=1), out="float64", close=True, tame=True),
    "Softmax before version 13": case(node("Softmax", "x"), close=True, tame=True, opset=12),
    "LpNormalization": case(node("LpNormalization", "x", axis=1, p=1), close=True, tame=True),
    "OneHotEncoder of texts": case(node("OneHotEncoder", "s", cats_strings=["a", "Zürich", "", "c"])),
    "OneHotEncoder of int64": case(node("OneHotEncoder", "i1", cats_int64s=[2, 0])),
    "OneHotEncoder of numbers": case(node("OneHotEncoder", "x", cats_int64s=[2, 0, -7, -(2**63)])),
    "OneHotEncoder of float64": case(node("OneHotEncoder", "d", cats_int64s=[2, 0, -7])),
    "OneHotEncoder of a vector": case(node("OneHotEncoder", "v", cats_int64s=[2, 1, 0])),
    "LabelEncoder of texts": case(
        node("LabelEncoder", "s", keys_strings=["a", "", "a"], values_int64s=[5, 6, 7], default_int64=-3), out="int64"
    ),
    "LabelEncoder to texts": case(
        node("LabelEncoder", "i", keys_int64s=[0, 2], values_strings=["ü", "b"]), out="string"
    ),
    "LabelEncoder of numbers": case(
        node("LabelEncoder", "x", keys_floats=[0.0, 1.0, np.inf], values_floats=[1.5, 2.5, -1.0])
    ),
    "LabelEncoder from texts to texts": case(
        node("LabelEncoder", "s", keys_strings=["a"], values_strings=["A"], default_string="?"), out="string"
    ),
    "LabelEncoder of int64": case(node("LabelEncoder", "i", keys_int64s=[1], values_floats=[0.25])),
    "LabelEncoder of NaN": case(
        node("LabelEncoder", "x", keys_floats=[float("nan"), 0.5], values_floats=[9.0, 8.0], default_float=7.0), ml=4
    ),
    "LabelEncoder by tensors": case(
        node(
            "LabelEncoder",
            "d",
            keys_tensor=tensor("float64", [0.0, 0.5, float("nan")]),
            values_tensor=tensor("string", ["zero", "half", "none"]),
            default_tensor=tensor("string", ["else"]),
        ),
        out="string",
        ml=4,
    ),
    "LabelEncoder of version 1": case(
        node("LabelEncoder", "s", classes_strings=["b", "a"], default_int64=7), out="int64", ml=1
    ),
    "LabelEncoder of version 1, back": case(
        node("LabelEncoder", "i", classes_strings=["b", "a"], default_string="?"), out="string", ml=1
    ),
    "CategoryMapper": case(node("CategoryMapper", "s", cats_strings=["a", "b"], cats_int64s=[3, 1]), out="int64"),
    "CategoryMapper, back": case(
        node("CategoryMapper", "i", cats_strings=["a", "b"], cats_int64s=[2, 1]), out="string"
    ),
    **{
        f"SVMRegressor {kernel}": case(machine(kernel, 9), close=True, tame=True)
        for kernel in ("RBF", "LINEAR", "POLY", "SIGMOID")
    },
    "SVMRegressor without vectors": case(
        node(
            "SVMRegressor",
            "x",
            n_supports=0,
            coefficients=[1.0, 2.0, -1.0, 0.5],
            rho=[0.25],
            kernel_params=[0.0, 0.0, 0.0],
        ),
        close=True,
        tame=True,
    ),
    "SVMRegressor of one class": case(machine("RBF", 9, one_class=1), tame=True),
    "SVMClassifier": case(machine("RBF", 3, 4), close=True, tame=True),
    "SVMClassifier of three": case(machine("SIGMOID", 3, 1, 4), close=True, tame=True),
    "SVMClassifier with probabilities": case(machine("RBF", 3, 4, probabilities=True), close=True, tame=True),
    "LinearClassifier of int64": case(
        node(
            "LinearClassifier",
            "i",
            "label y",
            coefficients=[1.0, 2.0, 3.0, 0.5] * 2,
            intercepts=[1.0, 2.0],
            classlabels_ints=[4, 5],
        ),
        close=True,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_operators_are_onnxruntimes(name: str, oracle: Any, assert_same: Any, assert_close: Any) -> None:
    chosen = CASES[name]
    content = chosen.content()
    model = glowplug.load(content, engine="native")
    inputs = feeds(model, np.random.default_rng(len(name)), tame=chosen.tame)
    expected, got = oracle(content, inputs), model.run(inputs)
    (assert_close if chosen.close else assert_same)(got["y"], expected["y"])
    for at in range(3):
        one = model.run({name: array[at : at + 1] for name, array in inputs.items()})
        assert_same(one["y"], got["y"][at : at + 1])
    empty = {name: array[:0] for name, array in inputs.items()}
    assert model.run(empty)["y"].shape == (0, *got["y"].shape[1:])


#: What depends on the number of rows, or on more than one of them, or is not known: nodes, and what is said of them.
REFUSED: dict[str, Case] = {
    "axes that are not of size 1": case(node("Squeeze", "m")),
    "shapes that do not fit each other|rows beside rows": case(node("Add", "v m")),
    "another number of rows": case(node("Reshape", "x shape"), shape=I64([-1])),
    "a choice of rows": case(node("Gather", "x c", axis=0), c=I64([0])),
    "rows below rows": case(node("Concat", "x x2", axis=0)),
    "no rows": case(node("Identity", "c"), c=F32([1])),
    "a step back": case(
        node("Slice", "x a e axis step"), a=I64([3]), e=I64([-9]), axis=I64([1]), step=I64([-1])
    ),
    "a column that is not there": case(node("ArrayFeatureExtractor", "x c"), c=I64([4])),
    "the axis 4 of 4": case(node("Gather", "x c", axis=1), c=I64([4])),
    "inputs of types that are not known": case(node("Div", "i c"), out="int64", c=I64([2])),
    "between texts and numbers": case(node("Cast", "s", to=1)),
    "more values than any model has": case(
        node("Concat", " ".join(["x"] * 1024), "a", axis=1),
        node("Concat", " ".join(["a"] * 1024), "y", axis=1),
    ),
    "a row of more than": case(
        node("Shape", "c", "shape"),
        node("ConstantOfShape", "big", "y", value=helper.make_tensor("one", 7, [1], [1])),
        big=I64([1 << 40]), c=F32([1]),
    ),
    "an input that is not of float32": case(node("LinearRegressor", "i", coefficients=[1.0] * 4)),
    "lists of different lengths": case(node("Scaler", "x", offset=[1.0] * 4, scale=[1.0])),
    "rows among its axes": case(node("ReduceMax", "x", axes=[0])),
    "rows as its axis": case(node("ArgMax", "x", axis=0), out="int64"),
    "another axis than the last": case(node("Softmax", "t", axis=1)),
    "keys of another type than its input of int32": case(node("LabelEncoder", "k", keys_int64s=[1], values_floats=[1.0])),
    "a missing number as a key": case(node("LabelEncoder", "x", keys_floats=[float("nan")], values_floats=[1.0])),
    "other numbers of keys than of values": case(node("LabelEncoder", "s", keys_strings=["a"], values_floats=[1.0, 2.0])),
    "one category twice": case(node("OneHotEncoder", "s", cats_strings=["a", "a"])),
    "categories that are not one to one": case(
        node("CategoryMapper", "s", cats_strings=["a", "a"], cats_int64s=[1, 2]), out="int64"
    ),
    "lists of other lengths": case(
        node("SVMRegressor", "x", n_supports=1, support_vectors=[1.0] * 4, coefficients=[1.0, 2.0], rho=[1.0],
             kernel_params=[0.0] * 3)
    ),
    "a kernel that is not known": case(machine("COSINE", 3)),
    "an attribute that is not known": case(node("Concat", "x x2", axis=1, surprise=1)),
    "version 26 of ONNX's operators": case(node("Concat", "x x2", axis=1), opset=26),
    "version 6 of ONNX's operators": case(node("Add", "x x2"), opset=6),
}  # fmt: skip


@pytest.mark.parametrize("problem", REFUSED)
def test_what_is_not_known_is_refused(problem: str) -> None:
    with pytest.raises(glowplug.UnsupportedModelError, match=f"own engine.*({problem})"):
        glowplug.load(REFUSED[problem].content(), engine="native")


def test_rows_have_to_agree() -> None:
    model = glowplug.load(CASES["Add of two inputs"].content(), engine="native")
    with pytest.raises(glowplug.InputError, match=r"inputs of 3 and of 2 rows\n  fix: pass as many rows"):
        model.run({"x": np.zeros((3, 4), F32), "x2": np.zeros((2, 4), F32)})


def test_a_number_that_names_nothing_ends_the_run() -> None:
    model = glowplug.load(CASES["Gather by rows"].content(), engine="native")
    rows = {"x": np.zeros((2, 4), F32), "i1": np.array([[3], [4]])}
    with pytest.raises(glowplug.InputError, match="got the number 4 to look up, expected one below 4"):
        model.run(rows)
    assert model.run({**rows, "i1": np.array([[3], [-4]])})["y"].tolist() == [[F32(1e30)], [0.5]]


def test_missing_numbers_are_neither_zero_nor_one() -> None:
    model = glowplug.load(CASES["Binarizer"].content(), engine="native")
    with pytest.raises(glowplug.InputError, match="got NaN where the model makes 0 or 1"):
        model.run(np.array([[0, 1, np.nan, 2]], F32))


def test_unknown_categories_end_the_run() -> None:
    content = case(node("OneHotEncoder", "s", cats_strings=["a", "b"], zeros=0)).content()
    model = glowplug.load(content, engine="native")
    texts = np.array([["a", "b"], ["b", "cd" * 40]], object)
    rows = {"x": np.zeros((2, 4), F32), "s": texts}
    with pytest.raises(glowplug.InputError, match=r'got the category "cdcd.*", which the model does not know'):
        model.run(rows)
    assert model.run({"x": rows["x"][:1], "s": texts[:1]})["y"].tolist() == [[[1, 0], [0, 1]]]


def test_missing_numbers_stay_missing() -> None:
    """In ONNX Runtime it depends on the place of a NaN whether `ReduceMax` and `ReduceMin` see it."""
    x = np.array([[1, np.nan, 2, 0], [np.nan, 1, 2, 3], [0, 1, 2, np.nan], [3, 2, 1, 0]], F32)
    for name, expected in (("ReduceMax of x", 3), ("ReduceMin of x", 0)):
        answer = glowplug.load(CASES[name].content(), engine="native").run(x)["y"].ravel()
        assert np.isnan(answer[:3]).all()
        assert answer[3] == expected
