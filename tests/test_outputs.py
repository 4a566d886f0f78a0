"""Outputs: every kind comes out as ONNX Runtime gives it, in memory that NumPy owns and nobody else writes to."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import glowplug
import models

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Answers, Feeds

    Run = Callable[[bytes, Feeds], Answers]
    Compare = Callable[[Any, Any], None]

PAIRS = np.array([[1, -2], [3, 4], [0, -0.0]], np.float32)
TRIPLES = np.array([[1, 0, 2], [0, 0, 3]], np.float32)
FEATURES = np.random.default_rng(3).normal(size=(5, models.CLASSIFIER_FEATURES)).astype(np.float32)
PAIR = ("N", 2)


def one_node(operator: str, *constants: TensorProto, output: models.Shape = PAIR, **attributes: Any) -> bytes:
    """`y` is one operator over `x` float32 [N, 2] and constants."""
    node = helper.make_node(operator, ["x", *(tensor.name for tensor in constants)], ["y"], **attributes)
    return models.model_bytes(
        models.graph([node], [models.value("x", shape=PAIR)], [models.value("y", shape=output)], constants)
    )


def loop(trips: int) -> bytes:
    """`y` is `x` float32 [N, 2] doubled as often as said: with no trip, a loop hands its input on."""
    body = models.graph(
        [helper.make_node("Identity", ["on"], ["still_on"]), helper.make_node("Add", ["state", "state"], ["next"])],
        [models.value("trip", "int64", ()), models.value("on", "bool", ()), models.value("state", shape=PAIR)],
        [models.value("still_on", "bool", ()), models.value("next", shape=PAIR)],
    )
    node = helper.make_node("Loop", ["trips", "", "x"], ["y"], body=body)
    constants = [models.constant("trips", trips, "int64")]
    return models.model_bytes(
        models.graph([node], [models.value("x", shape=PAIR)], [models.value("y", shape=PAIR)], constants)
    )


def branch() -> bytes:
    """`y` is `x` float32 [N, 2] itself where its sum is positive, and its negative elsewhere."""

    def side(operator: str) -> Any:
        return models.graph([helper.make_node(operator, ["x"], ["out"])], [], [models.value("out", shape=PAIR)])

    nodes = [
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        helper.make_node("Greater", ["total", "nothing"], ["is_positive"]),
        helper.make_node("If", ["is_positive"], ["y"], then_branch=side("Identity"), else_branch=side("Neg")),
    ]
    constants = [models.constant("nothing", 0, "float32")]
    return models.model_bytes(
        models.graph(nodes, [models.value("x", shape=PAIR)], [models.value("y", shape=PAIR)], constants)
    )


def chain() -> bytes:
    """Each of three outputs is made of the one before, the first of `x`: -`x`, the same again, and `x`."""
    nodes = [
        helper.make_node("Neg", ["x"], ["first"]),
        helper.make_node("Identity", ["first"], ["second"]),
        helper.make_node("Neg", ["second"], ["third"]),
    ]
    outputs = [models.value(name, shape=PAIR) for name in ("first", "second", "third")]
    return models.model_bytes(models.graph(nodes, [models.value("x", shape=PAIR)], outputs))


def constants() -> bytes:
    """Outputs that do not hang on the input: from a node, folded from an initializer, and `y`, -`x`."""
    nodes = [
        helper.make_node("Constant", [], ["given"], value=models.constant("value", [[1, 2]], "float32")),
        helper.make_node("Neg", ["table"], ["folded"]),
        helper.make_node("Neg", ["x"], ["y"]),
    ]
    outputs = [
        models.value("given", shape=(1, 2)),
        models.value("folded", "int64", (2,)),
        models.value("y", shape=PAIR),
    ]
    tables = [models.constant("table", [3, 4], "int64")]
    return models.model_bytes(models.graph(nodes, [models.value("x", shape=PAIR)], outputs, tables))


def default_as_output() -> bytes:
    """`scale`, an input that has a default of 10, is an output as well; `y` is `x` * `scale`."""
    node = helper.make_node("Mul", ["x", "scale"], ["y"])
    inputs = [models.value("x", shape=PAIR), models.value("scale", shape=(1,))]
    outputs = [models.value("scale", shape=(1,)), models.value("y", shape=PAIR)]
    return models.model_bytes(models.graph([node], inputs, outputs, [models.constant("scale", [10], "float32")]))


def lying_rows() -> bytes:
    """`y` is declared float32 [N, 2] and comes with twice as many rows."""
    return one_node("Concat", models.constant("more", np.zeros((0, 2)), "float32"), output=(None, 2), axis=0)


CASES: dict[str, tuple[bytes, dict[str, np.ndarray[Any, Any]]]] = {
    "matrix": (models.mlp(4), {"x": FEATURES}),
    "several": (models.two_outputs(), {"x": PAIRS}),
    "dtypes": (
        models.multi_dtype(),
        {
            "amount": np.array([[1.5], [-0.5]]),
            "hour": np.array([[3], [4]], np.int32),
            "flag": np.array([[True], [False]]),
            "merchant": np.array([["größe"], [""]], object),
        },
    ),
    "scalar": (models.scalar_output(), {"x": TRIPLES}),
    "scalar_of_no_rows": (models.scalar_output(), {"x": TRIPLES[:0]}),
    "depends_on_data": (models.nonzero(), {"x": TRIPLES}),
    "depends_on_data_no_hits": (models.nonzero(), {"x": TRIPLES * 0}),
    "depends_on_data_no_rows": (models.nonzero(), {"x": TRIPLES[:0]}),
    "open_rank": (models.open_rank(), {"x": TRIPLES.reshape(1, 2, 3, 1)}),
    "unnamed": (models.unnamed_dims(), {"x": TRIPLES}),
    "lying": (models.lying_shape(), {"x": np.ones((3, 4), np.float32)}),
    "lying_and_true_once": (models.lying_shape(), {"x": np.ones((1, 2), np.float32)}),
    "no_inputs": (models.no_inputs(), {}),
    "fixed_batch": (models.fixed_batch(3), {"x": PAIRS}),
    "unicode": (models.unicode_names(), {"größe→ß": PAIRS}),
    "passthrough": (models.passthrough(), {"x": PAIRS}),
    "passthrough_no_rows": (models.passthrough(), {"x": PAIRS[:0]}),
    "default_as_output": (default_as_output(), {"x": PAIRS}),
    "default_as_output_given": (default_as_output(), {"x": PAIRS, "scale": np.array([5], np.float32)}),
    "constants": (constants(), {"x": PAIRS}),
    "chain": (chain(), {"x": PAIRS}),
    "sequence": (models.sequence_output(), {"x": PAIRS}),
    "sequence_no_rows": (models.sequence_output(), {"x": PAIRS[:0]}),
    "optional": (models.optional_output(present=True), {"x": PAIRS}),
    "optional_absent": (models.optional_output(present=False), {"x": PAIRS}),
    "maps_of_ints": (models.zipmap_classifier(), {"x": FEATURES}),
    "maps_of_texts": (models.zipmap_classifier(models.STRING_LABELS), {"x": FEATURES}),
    "maps_no_rows": (models.zipmap_classifier(), {"x": FEATURES[:0]}),
    "classifier": (models.tensor_classifier(), {"x": FEATURES}),
    "classifier_of_texts": (models.tensor_classifier(models.STRING_LABELS), {"x": FEATURES}),
    "texts_no_rows": (models.identity("string", ("N", 2)), {"x": np.zeros((0, 2), object)}),
    "expanded": (
        models.expand_from_input(),
        {"x": np.array([7], np.float32), "shape": np.array([2, 1, 3])},
    ),
    # Operators that may hand their input's memory on.
    "identity": (one_node("Identity"), {"x": PAIRS}),
    "dropout": (one_node("Dropout"), {"x": PAIRS}),
    "flatten": (one_node("Flatten"), {"x": PAIRS}),
    "cast_to_same": (one_node("Cast", to=TensorProto.FLOAT), {"x": PAIRS}),
    "reshape": (one_node("Reshape", models.constant("shape", [-1, 2], "int64")), {"x": PAIRS}),
    "unsqueeze": (
        one_node("Unsqueeze", models.constant("axes", [1], "int64"), output=("N", 1, 2)),
        {"x": PAIRS},
    ),
    "concat_of_one": (one_node("Concat", axis=0), {"x": PAIRS}),
    "concat_with_nothing": (lying_rows(), {"x": PAIRS}),
    "loop": (loop(3), {"x": PAIRS}),
    "loop_without_trips": (loop(0), {"x": PAIRS}),
    "branch_handing_on": (branch(), {"x": PAIRS}),
    "branch_computing": (branch(), {"x": -PAIRS}),
}


@pytest.mark.parametrize("name", CASES)
def test_answers(name: str, entry: Run, oracle: Run, assert_same: Compare, assert_close: Compare) -> None:
    """Whatever kinds of outputs a model has, they are ONNX Runtime's, in its order, and bit for bit if it makes them."""
    model, feeds = CASES[name]
    expected = oracle(model, feeds)
    answers = entry(model, feeds)
    assert answers
    is_native = glowplug.load(model).explain()["engine"] == "native"
    (assert_close if is_native else assert_same)(answers, {output: expected[output] for output in answers})


def arrays_in(answer: Any) -> list[np.ndarray[Any, Any]]:
    """All arrays, however deep they lie."""
    if isinstance(answer, np.ndarray):
        return [answer]
    inner = answer.values() if isinstance(answer, dict) else answer if isinstance(answer, list) else []
    return [array for entry in inner for array in arrays_in(entry)]


@pytest.mark.parametrize("name", CASES)
def test_memory(name: str, assert_same: Compare) -> None:
    """Each array owns its memory, may be written to, and shares it with no input and no other answer."""
    source, feeds = CASES[name]
    model = glowplug.load(source)
    untouched = pickle.dumps(feeds)
    first = model.run(feeds)
    kept = pickle.loads(pickle.dumps(first))
    second = model.run(feeds)
    for array in arrays_in(first):
        assert type(array) is np.ndarray
        assert array.base is None
        assert array.flags.owndata
        assert array.flags.writeable
        assert array.flags.aligned
        assert array.flags.c_contiguous
        assert array.dtype.isnative
        others = [*feeds.values(), *arrays_in(second), *(other for other in arrays_in(first) if other is not array)]
        assert not any(np.shares_memory(array, other) for other in others)
        array[...] = "overwritten" if array.dtype.kind == "O" else 1
    assert_same(second, kept)
    assert_same(model.run(feeds), kept)
    assert pickle.dumps(feeds) == untouched


# The engine's own memory and NumPy's together do not fit; one of them does.
LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
import numpy as np
import glowplug

mebi = 2**20
model = glowplug.load(sys.argv[1])
model.predict(np.ones((2, 1), np.float32))
rows = np.ones((200 * mebi // 4096, 1), np.float32)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300 * mebi, resource.RLIM_INFINITY))
try:
    print(int(model.predict(rows).sum()))
except glowplug.OutOfMemoryError as error:
    print("OutOfMemoryError", "\\n  fix: " in str(error))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to RLIMIT_AS")
@pytest.mark.parametrize(
    ("output", "shape", "expected"),
    [
        pytest.param("wide", ("N", 1024), "52428800\n", id="known"),
        pytest.param("wide", (None, 1024), "52428800\n", id="learned_in_the_first_call"),
        # The engine has to make the array and NumPy its copy, which shows that the limit holds.
        pytest.param("shaped", None, "OutOfMemoryError True\n", id="unknown"),
    ],
)
def test_written_in_place(output: str, shape: models.Shape, expected: str, tmp_path: Path) -> None:
    """Where the shape is known, the engine writes into the array that the caller gets: there is no second one."""
    nodes = [
        helper.make_node("Add", ["x", "zeros"], ["wide"]),
        # What the shape is, hangs on the data.
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        helper.make_node("Cast", ["total"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Min", ["whole", "shape"], ["rows"]),
        helper.make_node("Reshape", ["wide", "rows"], ["shaped"]),
    ]
    tables = [models.constant("zeros", np.zeros(1024), "float32"), models.constant("shape", [-1], "int64")]
    body = models.graph(nodes, [models.value("x")], [models.value(output, shape=shape)], tables)
    (tmp_path / "model.onnx").write_bytes(models.model_bytes(body))
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", LITTLE_MEMORY, tmp_path / "model.onnx"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (child.stdout, child.returncode) == (expected, 0), child.stderr


def concat_twice() -> bytes:
    """`y` is `x` twice, one below the other: twice as many rows as the input, and no name for them."""
    node = helper.make_node("Concat", ["x", "x"], ["y"], axis=0)
    inputs, outputs = [models.value("x", shape=(None, 3))], [models.value("y", shape=(None, 3))]
    return models.model_bytes(models.graph([node], inputs, outputs))


def hits() -> bytes:
    """`y` int64 [hits, 2] has a row for each number in `x` that is not 0: now and then as many as rows."""
    nodes = [helper.make_node("NonZero", ["x"], ["where"]), helper.make_node("Transpose", ["where"], ["y"])]
    inputs, outputs = [models.value("x", shape=(None, 3))], [models.value("y", "int64", (None, 2))]
    return models.model_bytes(models.graph(nodes, inputs, outputs))


def half_named() -> bytes:
    """`y` is -`x` with rows that have no name in the output, and one in the input."""
    node = helper.make_node("Neg", ["x"], ["y"])
    inputs, outputs = [models.value("x", shape=("N", 3))], [models.value("y", shape=(None, 3))]
    return models.model_bytes(models.graph([node], inputs, outputs))


def renamed() -> bytes:
    """`y` is the sums of `x`'s columns, with rows called after the wrong dimension: [M, 1] for `x` [N, M]."""
    node = helper.make_node("ReduceSum", ["x", "axes"], ["y"])
    inputs, outputs = [models.value("x", shape=("N", "M"))], [models.value("y", shape=("M", 1))]
    return models.model_bytes(models.graph([node], inputs, outputs, [models.constant("axes", [1], "int64")]))


@pytest.mark.parametrize("sizes", [(1, 4, 1, 7, 2), (3, 3, 1), (0, 2, 0, 1), (5, 0, 5), (1, 1, 2)], ids=str)
@pytest.mark.parametrize("make", [models.unnamed_dims, half_named, concat_twice, hits, renamed, models.lying_shape])
def test_rows_that_are_not_named(
    make: Callable[[], bytes], sizes: tuple[int, ...], oracle: Run, assert_same: Compare
) -> None:
    """What the first call teaches about an output's shape never spoils a later answer."""
    model = glowplug.load(make())
    # Other tests may have taught a session of this model already.
    glowplug.unload(model)
    model = glowplug.load(make())
    columns = 4 if make is models.lying_shape else 3
    for size in sizes:
        rows = np.zeros((size, columns), np.float32)
        rows[:, 0] = np.arange(1, size + 1)
        assert_same(model.run(rows), oracle(make(), {"x": rows}))
        assert_same(model.run(rows + 1), oracle(make(), {"x": rows + 1}))


def sides(then: str, otherwise: str) -> bytes:
    """`y` float32 [1, 2] is `x` treated in one way where its sum is positive, and in another elsewhere."""
    made = {
        "computed": ([helper.make_node("Neg", ["x"], ["out"])], []),
        "input": ([helper.make_node("Identity", ["x"], ["out"])], []),
        "reshaped": ([helper.make_node("Reshape", ["x", "shape"], ["out"])], []),
        "outside": ([helper.make_node("Identity", ["table"], ["out"])], []),
        "stored": ([], [models.constant("out", [[7, 8]], "float32")]),
    }
    shape = (1, 2)
    then_branch, else_branch = (
        models.graph(nodes, [], [models.value("out", shape=shape)], stored)
        for nodes, stored in (made[then], made[otherwise])
    )
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        helper.make_node("Greater", ["total", "nothing"], ["is_positive"]),
        helper.make_node("If", ["is_positive"], ["y"], then_branch=then_branch, else_branch=else_branch),
    ]
    tables = [
        models.constant("nothing", 0, "float32"),
        models.constant("table", [[5, 6]], "float32"),
        models.constant("shape", [1, 2], "int64"),
    ]
    outputs = [models.value("y", shape=shape)]
    return models.model_bytes(models.graph(nodes, [models.value("x", shape=shape)], outputs, tables))


WAYS = ("computed", "input", "reshaped", "outside", "stored")


@pytest.mark.parametrize("optimization", ["all", "off"])
@pytest.mark.parametrize("otherwise", WAYS)
@pytest.mark.parametrize("then", WAYS)
def test_outputs_made_now_in_one_way_now_in_another(
    then: str, otherwise: str, optimization: Any, oracle: Run, assert_same: Compare
) -> None:
    """That an output was written into its buffer once does not mean that every run does."""
    source = sides(then, otherwise)
    model = glowplug.load(source, optimization=optimization)
    for pair in [(1, 2), (-1, -2), (3, 4), (-3, 1), (-2, 1), (5, 6)]:
        row = np.array([pair], np.float32)
        assert_same(model.run(row), oracle(source, {"x": row}))


def test_named_outputs(assert_same: Compare) -> None:
    """Outputs come in the order asked for, once each, and only those."""
    model = glowplug.load(models.two_outputs())
    both = model.run(PAIRS)
    assert list(both) == ["double", "square"]
    for names in (["square"], ["square", "double"], ("double",), "square", ["square", "square"], iter(["double"])):
        wanted = [names] if isinstance(names, str) else list(names)
        answers = model.run(PAIRS, names if not hasattr(names, "__next__") else iter(wanted))
        assert_same(answers, {name: both[name] for name in wanted})
    for names, mentions in [
        (["sqare"], ("unknown output `sqare`", "did you mean `square`?")),
        (["double", "x"], ("unknown output `x`", "`double`, `square`")),
        ([1], ("1",)),
    ]:
        with pytest.raises(glowplug.InputError, match="\n  fix: ") as caught:
            model.run(PAIRS, names)
        assert all(mention in str(caught.value) for mention in mentions)


def test_names_of_outputs_of_other_kinds() -> None:
    """Any text names an output, keys are plain texts, and what an iterable raises is raised."""
    model = glowplug.load(models.two_outputs())

    class Name(str):
        __slots__ = ()

    def broken() -> Iterator[str]:
        yield "double"
        raise LookupError

    for names in ([Name("double")], Name("double")):
        assert [type(name) for name in model.run(PAIRS, names)] == [str]
    with pytest.raises(LookupError):
        model.run(PAIRS, broken())
    for lists in ([[1.0, 2.0]], [[1, 2]]):
        assert list(model.run(lists, (name for name in ["square"]))) == ["square"], "inputs are converted first"
    with pytest.raises(glowplug.InputTypeError, match=r"outputs: got b'double', expected a name\n  fix: pass names"):
        model.run(PAIRS, ["square", b"double"])  # type: ignore[list-item]


def test_no_outputs() -> None:
    """Who asks for nothing, gets nothing, but is told of wrong inputs all the same."""
    model = glowplug.load(models.two_outputs())
    assert model.run(PAIRS, []) == {}
    with pytest.raises(glowplug.InputError, match=r"missing input `x`.*\n  fix: "):
        model.run({}, [])


def test_specs() -> None:
    """The model's outputs say what they are, in names, dtypes and shapes."""

    def told(model: bytes) -> list[tuple[str, str, tuple[int | str | None, ...]]]:
        return [(spec.name, spec.dtype, spec.shape) for spec in glowplug.load(model).outputs]

    assert told(models.two_outputs()) == [("double", "float32", ("N", 2)), ("square", "float32", ("N", 2))]
    assert told(models.nonzero()) == [("where", "int64", (2, "hits"))]
    assert told(models.scalar_output()) == [("total", "float32", ())]
    assert told(models.unicode_names()) == [("結果 🙂", "float32", ("Zeilen ü", 2))]
    assert told(models.unnamed_dims()) == [("y", "float32", (None, None))]
    assert told(models.sequence_output())[0][:2] == ("parts", "sequence(tensor(float32))")
    kinds = {spec[0]: spec[1] for spec in told(models.zipmap_classifier(models.STRING_LABELS))}
    assert kinds == {"label": "string", "probabilities": "sequence(map(string, float32))"}


def test_external_data(tmp_path: Path, assert_same: Compare) -> None:
    """Weights that lie in a file beside the model are found from its path, relative or not, also after pickling."""
    rows = np.random.default_rng(1).normal(size=(3, models.EXTERNAL_INPUTS)).astype(np.float32)
    models.external_data(tmp_path)
    model = glowplug.load(tmp_path / "model.onnx")
    answer = model.predict(rows)
    # Sums of 512 products in float32, in another order than NumPy's.
    assert np.allclose(answer, rows @ models.external_weights(), rtol=1e-4, atol=1e-3)
    assert_same(pickle.loads(pickle.dumps(model)).predict(rows), answer)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert_same(glowplug.load("model.onnx").predict(rows), answer)
    with pytest.raises(glowplug.ModelError, match="\n  fix: "):
        glowplug.load((tmp_path / "model.onnx").read_bytes())


@pytest.mark.parametrize(
    ("model", "feeds"),
    [
        (models.reshape_from_input(), {"x": np.ones(5, np.float32), "shape": np.array([2, 2])}),
        (models.gather_from_input(), {"index": np.array([0, 5])}),
        (models.two_inputs(), {"a": np.ones((3, 2)), "b": np.ones((2, 2))}),
    ],
    ids=["reshape", "gather", "rows"],
)
def test_failed_runs(model: bytes, feeds: Feeds) -> None:
    """A run that fails is an error of ours, is counted, and does not spoil the next one."""
    loaded = glowplug.load(model)
    before = loaded.stats()
    for _ in range(2):
        with pytest.raises((glowplug.EngineError, glowplug.InputError), match="\n  fix: "):
            loaded.run(feeds)
    after = loaded.stats()
    assert after["calls"] == before["calls"]
    good = {name: np.ones_like(array)[:1] if array.dtype.kind == "i" else array[:1] for name, array in feeds.items()}
    assert all(np.size(answer) for answer in loaded.run(good).values())
