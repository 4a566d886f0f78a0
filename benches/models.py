"""The models of the benchmarks, built in code and kept in the target folder, with rows to score and their native peers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

import harness

FOLDER = harness.TARGET / "bench" / "models"
Array = np.ndarray[Any, Any]
Feeds = dict[str, Array]


@dataclass(frozen=True)
class Subject:
    """A model: its file, its inputs for a number of rows, the output that is compared, and who else can score it."""

    name: str
    path: Path
    feeds: Callable[[int], Feeds]
    output: str
    #: Name of a library → its score of these inputs with this many threads.
    peers: dict[str, Callable[[Feeds, int], Array]]
    #: Relative difference that the peers' other arithmetic explains.
    tolerance: float = 1e-4


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
    return _model(nodes, {"x": (TensorProto.FLOAT, ["N", widths[0]])}, ["N", widths[-1]], weights)


def recommender(tables: int = 8, entries: int = 20_000, width: int = 16, dense: int = 13) -> bytes:
    """Like DLRM: `ids` `[N, tables]` of int64 looked up in tables of 10 MB, `dense` `[N, dense]` through a perceptron.

    Then the dot products of all pairs, and a perceptron over them.
    """
    random = np.random.default_rng(1)

    def weight(name: str, *shape: int) -> TensorProto:
        values = random.standard_normal(shape, dtype=np.float32) / np.float32(np.sqrt(shape[0]))
        return numpy_helper.from_array(values, name)

    def ints(name: str, *values: int) -> TensorProto:
        return numpy_helper.from_array(np.array(values, np.int64), name)

    node = helper.make_node
    pairs = tables + 1
    weights = [
        weight("d0", dense, 64), weight("d1", 64, width), weight("t0", width + pairs * pairs, 64), weight("t1", 64, 1),
        ints("as_column", 0, 1, width), ints("flat", 0, pairs * pairs),
    ]  # fmt: skip
    nodes = [
        node("MatMul", ["dense", "d0"], ["e0"]), node("Relu", ["e0"], ["e1"]), node("MatMul", ["e1", "d1"], ["e2"]),
        node("Relu", ["e2"], ["bottom"]), node("Reshape", ["bottom", "as_column"], ["v0"]),
    ]  # fmt: skip
    for table in range(tables):
        weights += [weight(f"table{table}", entries, width), ints(f"at{table}", table)]
        nodes += [
            node("Gather", ["ids", f"at{table}"], [f"id{table}"], axis=1),
            node("Gather", [f"table{table}", f"id{table}"], [f"v{table + 1}"], axis=0),
        ]
    nodes += [
        node("Concat", [f"v{at}" for at in range(pairs)], ["all"], axis=1),
        node("Transpose", ["all"], ["turned"], perm=[0, 2, 1]),
        node("MatMul", ["all", "turned"], ["dots"]),
        node("Reshape", ["dots", "flat"], ["dots1"]),
        node("Concat", ["bottom", "dots1"], ["joined"], axis=1),
        node("MatMul", ["joined", "t0"], ["f0"]), node("Relu", ["f0"], ["f1"]),
        node("MatMul", ["f1", "t1"], ["f2"]), node("Sigmoid", ["f2"], ["y"]),
    ]  # fmt: skip
    inputs = {"ids": (TensorProto.INT64, ["N", tables]), "dense": (TensorProto.FLOAT, ["N", dense])}
    return _model(nodes, inputs, ["N", 1], weights)


def encoder(layers: int = 4, width: int = 128, heads: int = 4, length: int = 32, words: int = 4000) -> bytes:
    """A transformer encoder over `ids` `[N, length]` of int64, the mean of its positions as `y` `[N, width]`."""
    random = np.random.default_rng(2)
    weights, nodes = [], []

    def weight(name: str, *shape: int) -> str:
        values = random.standard_normal(shape, dtype=np.float32) * np.float32(0.08)
        weights.append(numpy_helper.from_array(values, name))
        return name

    def add(operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def norm(source: str, name: str) -> str:
        weights.append(numpy_helper.from_array(np.ones(width, np.float32), f"{name}.s"))
        weights.append(numpy_helper.from_array(np.zeros(width, np.float32), f"{name}.b"))
        return add("LayerNormalization", [source, f"{name}.s", f"{name}.b"], name, axis=-1)

    size = width // heads
    for name, shape in (("split", (0, length, heads, size)), ("join", (0, length, width))):
        weights.append(numpy_helper.from_array(np.array(shape, np.int64), name))
    weights.append(numpy_helper.from_array(np.float32(size**-0.5), "scale"))
    at = add("Gather", [weight("words", words, width), "ids"], "embedded")
    at = add("Add", [at, weight("places", length, width)], "placed")
    for layer in range(layers):
        at_norm = norm(at, f"{layer}.n0")
        for part, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
            made = add("MatMul", [at_norm, weight(f"{layer}.w{part}", width, width)], f"{layer}.{part}0")
            made = add("Reshape", [made, "split"], f"{layer}.{part}1")
            add("Transpose", [made], f"{layer}.{part}", perm=order)
        scores = add("MatMul", [f"{layer}.q", f"{layer}.k"], f"{layer}.s0")
        scores = add("Softmax", [add("Mul", [scores, "scale"], f"{layer}.s1")], f"{layer}.s", axis=-1)
        mixed = add(
            "Transpose", [add("MatMul", [scores, f"{layer}.v"], f"{layer}.m0")], f"{layer}.m1", perm=[0, 2, 1, 3]
        )
        mixed = add("Reshape", [mixed, "join"], f"{layer}.m")
        mixed = add("MatMul", [mixed, weight(f"{layer}.wo", width, width)], f"{layer}.o")
        at = add("Add", [at, mixed], f"{layer}.r0")
        wide = add("MatMul", [norm(at, f"{layer}.n1"), weight(f"{layer}.w1", width, 4 * width)], f"{layer}.f0")
        wide = add(
            "MatMul", [add("Relu", [wide], f"{layer}.f1"), weight(f"{layer}.w2", 4 * width, width)], f"{layer}.f"
        )
        at = add("Add", [at, wide], f"{layer}.r1")
    add("ReduceMean", [at], "y", axes=[1], keepdims=0)
    return _model(nodes, {"ids": (TensorProto.INT64, ["N", length])}, ["N", width], weights)


def _model(
    nodes: list[NodeProto], inputs: dict[str, tuple[int, list[Any]]], output: list[Any], weights: list[TensorProto]
) -> bytes:
    values = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()]
    made = [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)]
    graph = helper.make_graph(nodes, "benchmark", values, made, weights)
    model: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


# --- Trees ------------------------------------------------------------------------------------------------------------

COLUMNS = 30


@functools.cache
def _data() -> tuple[Array, Array]:
    from sklearn.datasets import make_classification

    x, y = make_classification(20_000, COLUMNS, n_informative=15, n_clusters_per_class=4, flip_y=0.05, random_state=0)
    return x.astype(np.float32), y


def _tabular(rows: int) -> Feeds:
    x, _ = _data()
    return {"x": np.ascontiguousarray(np.resize(x, (rows, COLUMNS)))}


def _probability_last(scores: Array) -> Array:
    return scores[:, -1] if scores.ndim == 2 else scores


def _lightgbm() -> Subject:
    import lightgbm

    path, native = FOLDER / "lightgbm.onnx", FOLDER / "lightgbm.txt"
    if not path.exists():
        from onnxmltools import convert_lightgbm
        from onnxmltools.convert.common.data_types import FloatTensorType

        x, y = _data()
        model = lightgbm.LGBMClassifier(n_estimators=500, num_leaves=31, verbose=-1, n_jobs=1).fit(x, y)
        model.booster_.save_model(native)
        converted = convert_lightgbm(model, initial_types=[("x", FloatTensorType([None, COLUMNS]))], zipmap=False,
                                     target_opset=15)  # fmt: skip
        path.write_bytes(converted.SerializeToString())
    booster = lightgbm.Booster(model_file=native)
    peers = {"LightGBM": lambda feeds, threads: booster.predict(feeds["x"], num_threads=threads)}
    return Subject("LightGBM 500×31", path, _tabular, "probabilities", peers)


def _xgboost() -> Subject:
    import xgboost

    path, native = FOLDER / "xgboost.onnx", FOLDER / "xgboost.ubj"
    if not path.exists():
        from onnxmltools import convert_xgboost
        from onnxmltools.convert.common.data_types import FloatTensorType

        x, y = _data()
        model = xgboost.XGBClassifier(n_estimators=300, max_depth=6, n_jobs=1, base_score=0.5).fit(x, y)
        model.get_booster().save_model(native)
        converted = convert_xgboost(model, initial_types=[("x", FloatTensorType([None, COLUMNS]))], target_opset=15)
        path.write_bytes(converted.SerializeToString())
    booster = xgboost.Booster(model_file=native)

    def score(feeds: Feeds, threads: int) -> Array:
        booster.set_param({"nthread": threads})
        return booster.inplace_predict(feeds["x"])

    return Subject("XGBoost 300×6", path, _tabular, "probabilities", {"XGBoost": score})


def _forest() -> Subject:
    import pickle

    path, native = FOLDER / "forest.onnx", FOLDER / "forest.pickle"
    if not path.exists():
        from skl2onnx import to_onnx
        from sklearn.ensemble import RandomForestClassifier

        x, y = _data()
        model = RandomForestClassifier(100, max_depth=12, n_jobs=1, random_state=0).fit(x, y)
        native.write_bytes(pickle.dumps(model))
        path.write_bytes(to_onnx(model, x[:1], options={"zipmap": False}, target_opset=17).SerializeToString())
    model = pickle.loads(native.read_bytes())

    def score(feeds: Feeds, threads: int) -> Array:
        model.n_jobs = threads
        return model.predict_proba(feeds["X"])

    def feeds(rows: int) -> Feeds:
        return {"X": _tabular(rows)["x"]}

    return Subject("random forest 100×12", path, feeds, "probabilities", {"scikit-learn": score})


# --- All --------------------------------------------------------------------------------------------------------------


def _built(name: str, file: str, build: Callable[[], bytes], feeds: Callable[[int], Feeds]) -> Subject:
    path = FOLDER / file
    if not path.exists():
        path.write_bytes(build())
    return Subject(name, path, feeds, "y", {})


def _dense(width: int) -> Callable[[int], Feeds]:
    return lambda rows: {"x": np.random.default_rng(rows).standard_normal((rows, width), dtype=np.float32)}


def _ids(rows: int, columns: int, most: int) -> Array:
    return np.random.default_rng(rows).integers(0, most, (rows, columns), dtype=np.int64)


BUILDERS: dict[str, Callable[[], Subject]] = {
    "mlp": lambda: _built("30-64-64-1 MLP", "mlp.onnx", mlp, _dense(30)),
    "wide": lambda: _built("24 MB MLP", "wide.onnx", lambda: mlp((512, 2048, 2048, 512)), _dense(512)),
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
    "forest": _forest,
    "recommender": lambda: _built(
        "recommender", "recommender.onnx", recommender,
        lambda rows: {"ids": _ids(rows, 8, 20_000), "dense": _dense(13)(rows)["x"]},
    ),
    "encoder": lambda: _built("encoder 4×128", "encoder.onnx", encoder, lambda rows: {"ids": _ids(rows, 32, 4000)}),
}  # fmt: skip


def chosen(names: list[str] | None) -> dict[str, Subject]:
    """The subjects of these names, or all; those whose library is not installed are left out with a word."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    subjects = {}
    for name in names or BUILDERS:
        try:
            subjects[name] = BUILDERS[name]()
        except ImportError as error:
            print(f"{name} is left out: {error}")
    return subjects


def same(one: Array, other: Array, tolerance: float) -> None:
    """Assert that two scores agree, whatever columns they come in."""
    one, other = np.asarray(one), np.asarray(other)
    if one.shape != other.shape:
        one, other = _probability_last(one).ravel(), _probability_last(other).ravel()
    np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)
