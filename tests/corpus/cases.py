"""What a broken model or input is, and how rows are written.

Everything is built in code; random damage comes from fixed seeds. `test_broken.py` runs each row in a child process.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, TensorProto, helper

import models

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from onnx import NodeProto, ValueInfoProto

MICROSOFT = "com.microsoft"
KINDS = {"float64": "float32"}
ROWS = np.array([[1, 2], [3, 4]], dtype=np.float32)
# What most rows feed: most models here have one input `x`, float32 [N, 2].
X = {"x": ROWS}

MODEL = "ModelError"
UNSUPPORTED = "UnsupportedModelError"
NOT_FOUND = "ModelNotFoundError"
READ = "ModelReadError"
INPUT = "InputError"
INPUT_TYPE = "InputTypeError"
OPTION = "OptionError"
OPTION_TYPE = "OptionTypeError"
ENGINE = "EngineError"
MEMORY = "OutOfMemoryError"
# Faults that one engine sees in the graph when it loads it and another when it computes.
LATE = (MODEL, ENGINE)
GREEDY = (MODEL, ENGINE, MEMORY)


@dataclass(frozen=True)
class Case:
    """One row: `make` writes files into a folder and returns the source and the inputs.

    Inputs that no file can hold come as a `functools.partial`, which the child calls.
    """

    name: str
    make: Callable[[Path], tuple[Any, Any]]
    # Name of the exception class, or several where each can be defended; None where a right answer is as good
    # as a clear error; empty where only a right answer will do.
    error: str | tuple[str, ...] | None
    mentions: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    outputs: Sequence[Any] | None = None
    # What an answer must be; where None, an answer must be the one that ONNX Runtime's own package gives.
    answer: Any = None
    skip: str | None = None
    # Why the engine ends the process here and nothing of ours can keep it from that.
    engine_fault: str | None = None


def content(name: str, build: Callable[[], bytes] | bytes, error: Any = MODEL, *mentions: str, inputs: Any = X) -> Case:
    """A row whose model is a file `model.onnx` of the given content."""

    def make(folder: Path) -> tuple[str, Any]:
        path = folder / "model.onnx"
        path.write_bytes(build if isinstance(build, bytes) else build())
        return str(path), inputs

    return Case(name, make, error, mentions)


def source(name: str, prepare: Callable[[Path], Any], error: Any, *mentions: str, skip: str | None = None) -> Case:
    """A row about where the model lies: `prepare` gets the folder and returns the source."""
    return Case(name, lambda folder: (prepare(folder), X), error, mentions, skip=skip)


def small(
    *nodes: NodeProto,
    weights: Sequence[TensorProto] = (),
    inputs: Sequence[ValueInfoProto] | None = None,
    outputs: Sequence[ValueInfoProto] | None = None,
    gives: str = "float32",
    **more: Any,
) -> bytes:
    """A model of `nodes` from `x` float32 [N, 2] to `y` of any rank and the dtype it `gives`, unchecked."""
    given = [models.value("x", shape=("N", 2))] if inputs is None else inputs
    wanted = [models.value("y", gives, None)] if outputs is None else outputs
    return models.model_bytes(models.graph(nodes, given, wanted, weights), **more)


def node(operator: str, inputs: str = "x", outputs: str = "y", **attributes: Any) -> NodeProto:
    """A node; names are given separated by spaces."""
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def over(
    *nodes: NodeProto, gives: str = "float32", domain: str | None = None, version: int = 1, **weights: Any
) -> Callable[[], bytes]:
    """A builder: `nodes` over `x` and constants; whole numbers become int64, others float32."""
    arrays = {name: np.asarray(numbers) for name, numbers in weights.items()}
    made = [models.constant(name, array, KINDS.get(array.dtype.name)) for name, array in arrays.items()]
    domains = {} if domain is None else {domain: version}
    return lambda: small(*nodes, weights=made, gives=gives, domains=domains)


def damaged(change: Callable[[ModelProto], object]) -> Callable[[], bytes]:
    """A builder: a sound model of two layers with `change` done to it."""

    def build() -> bytes:
        proto = ModelProto.FromString(models.mlp(2, 3))
        change(proto)
        return bytes(proto.SerializeToString())

    return build
