"""Tensors that lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, SparseTensorProto, TensorProto

import models
from corpus.cases import (
    GREEDY,
    INPUT,
    MODEL,
    content,
    node,
    small,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def tensor(dims: Sequence[int], raw: bytes | None = None, kind: int = TensorProto.FLOAT, **fields: Any) -> TensorProto:
    """The initializer `w`, with nothing checked."""
    made = TensorProto(name="w", dims=dims, data_type=kind, **fields)
    if raw is not None:
        made.raw_data = raw
    return made


def adding(weight: TensorProto) -> Callable[[], bytes]:
    """A builder: `y` is `x` + `weight`."""
    return lambda: small(node("Add", "x w"), weights=[weight])


def echoing(weight: TensorProto, gives: str = "float32") -> Callable[[], bytes]:
    """A builder: `y` is `weight`, so that no other shape contradicts what it claims to be."""
    return lambda: small(node("Neg", "x", "unused"), node("Identity", "w"), weights=[weight], gives=gives)


def sparse(
    dims: Sequence[int], indices: Sequence[int], values: Sequence[float], **index_fields: Any
) -> Callable[[], bytes]:
    """A builder: `y` is `x` @ a sparse initializer."""

    def build() -> bytes:
        made = SparseTensorProto(
            values=models.constant("w", values, "float32"),
            indices=models.constant("", indices, "int64"),
            dims=dims,
        )
        for name, number in index_fields.items():
            setattr(made.indices, name, number)
        proto = ModelProto.FromString(small(node("MatMul", "x w")))
        proto.graph.sparse_initializer.append(made)
        return bytes(proto.SerializeToString())

    return build


def shaped(*dims: int) -> Callable[[], bytes]:
    """A builder: the input `x` is declared with these dimensions."""
    return lambda: small(node("Neg"), inputs=[models.value("x", shape=dims)])


AS_INTEGERS = node("Cast", "x", "i", to=TensorProto.INT64)
F2 = np.ones(2, dtype=np.float32).tobytes()
TENSORS = [
    content("dims_negative", echoing(tensor([-2], F2))),
    content("dims_huge", echoing(tensor([1 << 62], F2))),
    content("dims_contradict_graph", adding(tensor([1 << 62], F2))),
    content("dims_product_overflows", echoing(tensor([1 << 32, 1 << 32], b""))),
    content("dims_product_overflows_to_right_size", echoing(tensor([1 << 62, 2, 2, 2], b""))),
    content("dims_bytes_overflow", echoing(tensor([1 << 62], b""))),
    content("dims_tebi_elements_in_four_bytes", echoing(tensor([1 << 40], F2[:4]))),
    content("dims_tebi_elements_in_no_bytes", echoing(tensor([1 << 40]))),
    content("dims_zero_times_huge", echoing(tensor([0, 1 << 62], b"")), None),
    content("dims_zero_with_data", echoing(tensor([0], F2)), None),
    content("dims_many", echoing(tensor([1] * 10_000, F2[:4])), None),
    content("raw_data_short", echoing(tensor([2], F2[:4]))),
    content("raw_data_long", echoing(tensor([2], F2 * 2))),
    content("raw_data_odd", echoing(tensor([2], F2[:7]))),
    content("raw_data_missing", echoing(tensor([2]))),
    content("float_data_short", echoing(tensor([2], float_data=[1.0]))),
    content("float_data_long", echoing(tensor([2], float_data=[1.0, 2.0, 3.0])), None),
    content("data_in_wrong_field", echoing(tensor([2], int64_data=[1, 2]))),
    content("data_twice", echoing(tensor([2], F2, float_data=[1.0, 2.0])), None),
    content("strings_short", echoing(tensor([3], kind=8, string_data=[b"a"]), "string")),
    content("strings_in_raw_data", echoing(tensor([1], b"abcd", 8), "string")),
    content("strings_not_utf8", echoing(tensor([1], kind=8, string_data=[b"\xff"]), "string"), None),
    content("strings_tebi", echoing(tensor([1 << 40], kind=8, string_data=[b"a"]), "string"), GREEDY),
    content("element_type_undefined", echoing(tensor([2], F2, 0))),
    content("element_type_unknown", echoing(tensor([2], F2, 999))),
    content("sparse_index_past_end", sparse([2, 2], [0, 9], [1, 2])),
    content("sparse_index_negative", sparse([2, 2], [-5, 1], [1, 2])),
    content("sparse_index_huge", sparse([2, 2], [0, 1 << 60], [1, 2])),
    content("sparse_fewer_indices", sparse([2, 2], [0], [1, 2])),
    content("sparse_dims_huge", sparse([1 << 31, 1 << 31], [0, 3], [1, 2])),
    content("sparse_dims_negative", sparse([-2, 2], [0, 3], [1, 2])),
    content("sparse_dims_missing", sparse([], [0, 3], [1, 2])),
    content("sparse_indices_of_float", sparse([2, 2], [0, 3], [1, 2], data_type=TensorProto.FLOAT)),
    content("input_dim_negative", shaped(-5, 2), None),
    content("input_dim_huge", shaped(1 << 62, 2), (MODEL, INPUT)),
    content("input_dims_overflow", shaped(1 << 32, 1 << 32), (MODEL, INPUT)),
]
