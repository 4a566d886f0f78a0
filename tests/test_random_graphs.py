"""Random graphs over columns of numbers and texts: glowplug's own engine answers as onnxruntime does, in pieces of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import helper

import glowplug
import models
from models import graph, value
from seeds import seeds

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

    Array = np.ndarray[Any, Any]

SEEDS = seeds(30)
ML = models.ML_DOMAIN
WORDS = ["", "a", "b", "Zürich", "naïve 🙂"]
ROWS = 600


class Grower:
    """Adds random nodes to a graph, each of values `[N, columns]` that are there."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.inputs = {
            "f": ("float32", 3),
            "g": ("float32", 1),
            "n": ("int64", 2),
            "s": ("string", 1),
            "t": ("string", 2),
        }
        self.values = dict(self.inputs)

    def constant(self, array: Any, dtype: str) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(models.constant(name, array, dtype))
        return name

    def pick(self, dtype: str) -> tuple[str, int]:
        names = [name for name, (own, _) in self.values.items() if own == dtype]
        name = str(self.random.choice(names))
        return name, self.values[name][1]

    def add(self, operator: str, inputs: list[str], dtype: str, columns: int, **attributes: Any) -> None:
        name = f"v{len(self.nodes)}"
        domain = (
            ML if operator in {"OneHotEncoder", "LabelEncoder", "Scaler", "Imputer", "ArrayFeatureExtractor"} else ""
        )
        self.nodes.append(helper.make_node(operator, inputs, [name], domain=domain, **attributes))
        self.values[name] = (dtype, columns)

    def floats(self, count: int) -> list[float]:
        numbers: list[float] = self.random.normal(size=count).astype(np.float32).tolist()
        return numbers

    def grow(self) -> None:
        kind = str(self.random.choice(KINDS))
        name, columns = self.pick("float32")
        if kind == "one-hot":
            text, width = self.pick("string")
            count = int(self.random.integers(1, len(WORDS)))
            self.add("OneHotEncoder", [text], "float32", 0, cats_strings=WORDS[:count])
            shape = self.constant([-1, width * count], "int64")
            self.add("Reshape", [self.nodes[-1].output[0], shape], "float32", width * count)
            del self.values[self.nodes[-2].output[0]]
        elif kind == "labels":
            text, width = self.pick("string")
            numbers = self.random.integers(-3, 3, 2).tolist()
            self.add(
                "LabelEncoder", [text], "int64", width, keys_strings=WORDS[1:3], values_int64s=numbers, default_int64=9
            )
        elif kind == "names":
            whole, width = self.pick("int64")
            self.add("LabelEncoder", [whole], "string", width, keys_int64s=[0, 1], values_strings=["a", "one"])
        elif kind == "cast":
            whole, width = self.pick("int64")
            self.add("Cast", [whole], "float32", width, to=1)
        elif kind == "concat":
            others = [self.pick("float32") for _ in range(int(self.random.integers(1, 4)))]
            names = [name, *(other for other, _ in others)]
            self.add("Concat", names, "float32", columns + sum(width for _, width in others), axis=1)
        elif kind == "arithmetic":
            other, width = self.pick("float32")
            by = other if width in {1, columns} else self.constant(self.floats(columns), "float32")
            self.add(str(self.random.choice(["Add", "Sub", "Mul", "Max", "Min"])), [name, by], "float32", columns)
        elif kind == "scale":
            self.add("Scaler", [name], "float32", columns, offset=self.floats(columns), scale=self.floats(columns))
        elif kind == "impute":
            missing = float(self.random.choice([0.0, np.nan]))
            self.add(
                "Imputer",
                [name],
                "float32",
                columns,
                imputed_value_floats=self.floats(columns),
                replaced_value_float=missing,
            )
        elif kind == "choose":
            order = self.random.integers(0, columns, int(self.random.integers(1, 4))).tolist()
            inputs = [name, self.constant(order, "int64")]
            if self.random.random() < 0.5:
                self.add("Gather", inputs, "float32", len(order), axis=1)
            else:
                self.add("ArrayFeatureExtractor", inputs, "float32", len(order))
        elif kind == "where":
            other, width = self.pick("float32")
            no = other if width in {1, columns} else self.constant(self.floats(1), "float32")
            self.add("Less", [name, self.constant(self.floats(1), "float32")], "bool", columns)
            self.add("Where", [self.nodes[-1].output[0], name, no], "float32", columns)
        elif kind == "largest":
            self.add("ArgMax", [name], "int64", 1, axis=1, keepdims=1)
        else:
            self.add(str(self.random.choice(["Sigmoid", "Tanh", "Abs", "Neg", "Floor"])), [name], "float32", columns)

    def model(self) -> bytes:
        made = [name for name in self.values if name not in self.inputs][-6:]
        inputs = [value(name, dtype, ("N", columns)) for name, (dtype, columns) in self.inputs.items()]
        self.nodes.append(helper.make_node("Scaler", ["f"], ["last"], domain=ML, offset=[0.0], scale=[1.0]))
        outputs = [value(name, self.values[name][0], None) for name in made] + [value("last", "float32", None)]
        return models.model_bytes(graph(self.nodes, inputs, outputs, self.constants), domains={ML: models.ML_OPSET})

    def rows(self) -> dict[str, Array]:
        random = self.random
        rows: dict[str, Array] = {}
        for name, (dtype, columns) in self.inputs.items():
            if dtype == "string":
                rows[name] = random.choice([*WORDS, "unheard of"], (ROWS, columns)).astype(object)
            else:
                rows[name] = (random.normal(size=(ROWS, columns)) * 2).astype(dtype)
        rows["g"][random.random((ROWS, 1)) < 0.1] = 0.0
        return rows


KINDS = (
    "one-hot", "labels", "names", "cast", "concat", "arithmetic", "scale", "impute", "choose", "where", "largest", "function",
)  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_answers_are_those_of_onnxruntime(seed: int, oracle: Any, assert_same: Any, assert_close: Any) -> None:
    random = np.random.default_rng(seed)
    grower = Grower(random)
    for _ in range(int(random.integers(3, 25))):
        grower.grow()
    content, rows = grower.model(), grower.rows()
    model = glowplug.load(content, engine="native")
    got = model.run(rows)
    for name, expected in oracle(content, rows).items():
        assert_close(got[name], expected)
    start = 0
    while start < ROWS:
        end = start + int(random.integers(1, 400))
        part = model.run({name: column[start:end] for name, column in rows.items()})
        for name, whole in got.items():
            assert_same(part[name], whole[start:end])
        start = end


@pytest.mark.parametrize("seed", SEEDS)
def test_damaged_models_end_in_errors(seed: int) -> None:
    """Bytes that are changed at random: a model is refused, or it runs to an answer or an error, and never to a panic."""
    random = np.random.default_rng(seed)
    grower = Grower(random)
    for _ in range(12):
        grower.grow()
    content, rows = grower.model(), {name: column[:3] for name, column in grower.rows().items()}
    for _ in range(20):
        damaged = bytearray(content)
        for at in random.integers(0, len(damaged), int(random.integers(1, 4))):
            damaged[at] = random.choice([0, 1, 127, 128, 255, int(random.integers(256))])
        try:
            model = glowplug.load(bytes(damaged), engine="native")
            model.run({spec.name: rows[spec.name] for spec in model.inputs if spec.name in rows})
        except glowplug.GlowplugError:
            pass
