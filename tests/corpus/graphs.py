"""Graphs and numbers that make no sense."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import FunctionProto, ModelProto, helper

import models
from corpus.cases import (
    GREEDY,
    LATE,
    MICROSOFT,
    MODEL,
    UNSUPPORTED,
    Case,
    content,
    damaged,
    node,
    over,
    small,
)
from corpus.tensors import AS_INTEGERS, F2, tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onnx import NodeProto


def branches(then: Sequence[NodeProto], otherwise: Sequence[NodeProto]) -> bytes:
    """An `If` on a constant condition."""
    wanted = [models.value("inner", shape=None)]
    chosen = models.constant("chosen", True, "bool")
    bodies = {
        "then_branch": models.graph(then, [], wanted),
        "else_branch": models.graph(otherwise, [], wanted),
    }
    return small(node("If", "chosen", **bodies), weights=[chosen])


def calling_functions(**bodies: str) -> Callable[[], bytes]:
    """A builder: model-local functions, each calling the one that is named, starting with `first`."""

    def build() -> bytes:
        proto = ModelProto.FromString(small(node("first", domain="local"), domains={"local": 1}))
        for name, callee in bodies.items():
            function = FunctionProto(name=name, domain="local", input=["x"], output=["y"])
            function.opset_import.extend([helper.make_opsetid("", models.OPSET), helper.make_opsetid("local", 1)])
            domain = "" if callee[0].isupper() else "local"
            function.node.append(node(callee, domain=domain))
            proto.functions.append(function)
        return bytes(proto.SerializeToString())

    return build


def alpha_twice(proto: ModelProto) -> None:
    """Two values of one attribute."""
    proto.graph.node[0].attribute.extend(helper.make_attribute("alpha", number) for number in (1.0, 2.0))


def with_opset(version: int) -> Callable[[], bytes]:
    """A builder: the model asks for this version of the standard operators."""
    return damaged(lambda proto: setattr(proto.opset_import[0], "version", version))


def fix_model_fields() -> list[Case]:
    """Models with one field of the outermost message wrong."""
    return [
        content("opset_999", with_opset(999), UNSUPPORTED, "999"),
        content("opset_0", with_opset(0)),
        content("opset_negative", with_opset(-7)),
        content("opset_missing", damaged(lambda proto: proto.ClearField("opset_import"))),
        content(
            "opset_of_other_domain_only",
            damaged(lambda proto: setattr(proto.opset_import[0], "domain", "ai.onnx.ml")),
        ),
        content("ir_version_999", damaged(lambda proto: setattr(proto, "ir_version", 999)), UNSUPPORTED, "999"),
        content("ir_version_0", damaged(lambda proto: setattr(proto, "ir_version", 0)), None),
        content("ir_version_negative", damaged(lambda proto: setattr(proto, "ir_version", -1)), None),
        content("ir_version_missing", damaged(lambda proto: proto.ClearField("ir_version"))),
        content("graph_missing", damaged(lambda proto: proto.ClearField("graph"))),
        content("graph_empty", damaged(lambda proto: proto.graph.Clear())),
        content("outputs_missing", damaged(lambda proto: proto.graph.ClearField("output"))),
        content("nodes_missing", damaged(lambda proto: proto.graph.ClearField("node"))),
        content("inputs_missing", damaged(lambda proto: proto.graph.ClearField("input"))),
        content("initializers_missing", damaged(lambda proto: proto.graph.ClearField("initializer"))),
        content("input_twice", damaged(lambda proto: proto.graph.input.append(proto.graph.input[0]))),
        content("output_twice", damaged(lambda proto: proto.graph.output.append(proto.graph.output[0])), None),
        content(
            "initializer_twice",
            damaged(lambda proto: proto.graph.initializer.append(proto.graph.initializer[0])),
            None,
        ),
        content("node_twice", damaged(lambda proto: proto.graph.node.append(proto.graph.node[0]))),
        content("input_without_type", damaged(lambda proto: proto.graph.input[0].ClearField("type"))),
        content("output_without_type", damaged(lambda proto: proto.graph.output[0].ClearField("type")), None),
        content("input_without_name", damaged(lambda proto: setattr(proto.graph.input[0], "name", ""))),
        content("output_without_name", damaged(lambda proto: setattr(proto.graph.output[0], "name", ""))),
        content("output_of_wrong_type", lambda: small(node("Neg"), outputs=[models.value("y", "int64", ("N", 2))])),
        content("output_nobody_makes", lambda: small(node("Neg"), outputs=[models.value("z")])),
    ]


GRAPHS = [
    *fix_model_fields(),
    content("operator_unknown", over(node("Frobnicate")), UNSUPPORTED, "Frobnicate"),
    content("operator_empty", over(node(""))),
    content("operator_newer_than_opset", over(node("Gelu")), (UNSUPPORTED, MODEL), "Gelu"),
    content(
        "operator_of_other_engine",
        over(node("Nope", domain=MICROSOFT), domain=MICROSOFT),
        UNSUPPORTED,
        "Nope",
    ),
    content("domain_unknown", over(node("Neg", domain="org.acme"), domain="org.acme"), UNSUPPORTED, "org.acme"),
    content("domain_not_imported", over(node("Scaler", domain=models.ML_DOMAIN))),
    content(
        "domain_of_the_future",
        over(node("Neg"), domain=models.ML_DOMAIN, version=999),
        (UNSUPPORTED, MODEL),
        "999",
    ),
    content("cycle", over(node("Add", "x b", "a"), node("Neg", "a", "b"), node("Neg", "b"))),
    content("cycle_of_one", over(node("Add", "x y"))),
    content("name_undefined", over(node("Add", "x nothing")), MODEL, "nothing"),
    content("name_undefined_unicode", over(node("Add", "x größe")), MODEL, "größe"),
    content("names_made_twice", over(node("Neg", "x", "y"), node("Abs", "x", "y"))),
    content("input_overwritten", over(node("Neg", "x", "x"), node("Neg"))),
    content("attribute_of_wrong_type", over(node("Softmax", axis="first"))),
    content("attribute_missing", over(node("Concat", "x x"))),
    content("attribute_unknown", over(node("Neg", strength=3))),
    content("attribute_twice", damaged(alpha_twice)),
    content("inputs_too_few", over(node("Add", "x"))),
    content("inputs_too_many", over(node("Neg", "x x x"))),
    content("outputs_too_many", over(node("Neg", "x", "y z"))),
    content("element_types_mixed", over(AS_INTEGERS, node("Add", "x i"))),
    content("cast_to_unknown_type", over(node("Cast", to=999))),
    content("constant_without_value", over(node("Constant", "", "c"), node("Add", "x c"))),
    content("constant_that_lies", over(node("Constant", "", value=tensor([1 << 40], F2)))),
    content("branch_missing", over(node("If", "c"), c=True)),
    content(
        "branch_undefined_name",
        lambda: branches([node("Neg", "ghost", "inner")], [node("Neg", "x", "inner")]),
    ),
    content("branch_without_output", lambda: branches([], [node("Neg", "x", "inner")])),
    content("loop_body_too_short", over(node("Loop", "a x", body=models.graph([], [], [])), a=3)),
    content("function_calls_itself", calling_functions(first="first")),
    content("functions_call_each_other", calling_functions(first="second", second="first")),
    content("function_calls_nothing", calling_functions(first="third")),
]


def pooling(operator: str, **attributes: Any) -> Callable[[], bytes]:
    """A builder: an operator with a window over `x` as one picture, and weights for those that want them."""
    wanted = "u" if "Pool" in operator else "u w"
    ahead = node("Reshape", "x s", "u")
    return over(ahead, node(operator, wanted, **attributes), s=[1, 1, 2, 2], w=np.ones((1, 1, 1, 1), np.float32))


PICTURE = {"x": np.ones((1, 4, 4, 4), np.float32)}


def transposed_without_groups() -> bytes:
    """A convolution whose channels form no groups; the open rank of `x` hides it from shape inference."""
    weights = [models.constant("w", np.ones((4, 4, 2, 2)), "float32")]
    return small(node("ConvTranspose", "x w", group=0), inputs=[models.value("x", shape=None)], weights=weights)


DIVISION_FAULT = "ONNX Runtime 1.32 divides -2**63 by -1 unchecked, and the process ends with SIGFPE"
LOWEST, HIGHEST = -(1 << 63), (1 << 63) - 1
NUMBERS = [
    content("axis_past_rank", over(node("Softmax", axis=7)), LATE),
    content("shapes_do_not_fit", over(node("MatMul", "x w"), w=np.ones((5, 5), np.float32)), LATE),
    content("permutation_impossible", over(node("Transpose", perm=[0, 5])), LATE),
    content("permutation_repeated", over(node("Transpose", perm=[0, 0])), LATE),
    content("split_sizes_wrong", over(node("Split", "x w", "y z", axis=1), w=[5, 9]), LATE),
    content("slice_extremes", over(node("Slice", "x a b"), a=[LOWEST], b=[HIGHEST]), None),
    content("slice_step_zero", over(node("Slice", "x a b a a"), a=[0], b=[2]), LATE),
    content("range_step_zero", over(node("Range", "a b a"), a=0, b=9, gives="int64"), LATE),
    content("range_endless", over(node("Range", "a b c"), a=0, b=HIGHEST, c=1, gives="int64"), GREEDY),
    content("tile_huge", over(node("Tile", "x w"), w=[1 << 40, 1 << 20]), GREEDY),
    content("pad_huge", over(node("Pad", "x w"), w=[0, 0, 1 << 40, 1 << 20]), GREEDY),
    content("pad_negative_past_end", over(node("Pad", "x w"), w=[-50, 0, 0, -50]), LATE),
    content("one_hot_huge", over(AS_INTEGERS, node("OneHot", "i d v"), d=1 << 50, v=[0.0, 1.0]), GREEDY),
    content("gather_past_end", over(node("Gather", "x w", axis=1), w=[7]), LATE),
    content("scatter_past_end", over(node("ScatterND", "x a w"), a=[[99, 99]], w=[1.0]), LATE),
    content("reshape_impossible", over(node("Reshape", "x w"), w=[7, 11]), LATE),
    content("filled_tebi_elements", over(node("ConstantOfShape", "s"), s=[1 << 40]), GREEDY),
    content("filled_overflow", over(node("ConstantOfShape", "s"), s=[1 << 32, 1 << 32]), GREEDY),
    content("filled_negative", over(node("ConstantOfShape", "s"), s=[-3]), GREEDY),
    content("divide_by_zero", over(AS_INTEGERS, node("Div", "i w"), w=[0], gives="int64"), LATE),
    content("modulo_zero", over(AS_INTEGERS, node("Mod", "i w"), w=[0], gives="int64"), LATE),
    content("modulo_lowest_by_minus_one", over(node("Mod", "a w"), a=[LOWEST], w=[-1], gives="int64"), None),
    content("window_stride_zero", pooling("MaxPool", kernel_shape=[1, 1], strides=[0, 0]), LATE),
    content("window_empty", pooling("AveragePool", kernel_shape=[0, 0]), LATE),
    content("window_huge", pooling("MaxPool", kernel_shape=[1 << 40, 1 << 40]), LATE),
    content("convolution_group_zero", pooling("Conv", group=0), LATE),
    # ONNX Runtime 1.32 divides by the number of groups while it loads, which ends the process with SIGFPE.
    content("transposed_convolution_group_zero", transposed_without_groups, LATE, inputs=PICTURE),
    content("block_size_zero", pooling("DepthToSpace", blocksize=0), LATE),
    content("einsum_nonsense", over(node("Einsum", "x x", equation="ij,kl->z")), LATE),
    # The quotient is 2**63, which int64 does not have: ONNX Runtime 1.32 ends the process with SIGFPE.
    replace(
        content("divide_lowest_by_minus_one", over(node("Div", "a w"), a=[LOWEST], w=[-1], gives="int64"), None),
        engine_fault=DIVISION_FAULT,
    ),
]
