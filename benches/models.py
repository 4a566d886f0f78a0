"""Models the benchmarks share, built in code."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def mlp(widths: tuple[int, ...] = (30, 64, 64, 1), seed: int = 0) -> bytes:
    """A multi-layer perceptron with ReLU between layers and a sigmoid at the end: input `x` `[N, widths[0]]`."""
    random = np.random.default_rng(seed)
    nodes, weights = [], []
    name = "x"
    for layer, (rows, columns) in enumerate(pairwise(widths)):
        weight = random.standard_normal((rows, columns), dtype=np.float32) / np.float32(np.sqrt(rows))
        bias = random.standard_normal(columns, dtype=np.float32) / np.float32(10)
        weights += [numpy_helper.from_array(weight, f"w{layer}"), numpy_helper.from_array(bias, f"b{layer}")]
        is_last = layer == len(widths) - 2
        nodes.append(helper.make_node("Gemm", [name, f"w{layer}", f"b{layer}"], [f"z{layer}"]))
        name = "y" if is_last else f"h{layer}"
        nodes.append(helper.make_node("Sigmoid" if is_last else "Relu", [f"z{layer}"], [name]))
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", widths[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", widths[-1]])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()
