"""Rows of plain Python: the same answers as with arrays, to the bit, whatever they are made of."""

from __future__ import annotations

import array
import collections
import decimal
import enum
import fractions
import json
import math
import struct
import threading
import types
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

import glowplug as gp
import models
from worker_tools import python, together

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MLP = models.mlp(3)
TRIPLES = models.identity(shape=("N", 3))
FEATURES = ["amount", "hour", "age"]
GOOD = [1.0, 2.0, 3.0]


def plain(answer: Any) -> Any:
    """What an answer with arrays is as plain Python."""
    if isinstance(answer, np.ndarray):
        return answer.tolist()
    if isinstance(answer, list):
        return [plain(one) for one in answer]
    if isinstance(answer, dict):
        return {name: plain(one) for name, one in answer.items()}
    return answer


def bits(value: Any) -> Any:
    """Plain Python with every type spelt out, and floats as their bits: NaN equals itself and 0.0 is not -0.0."""
    if type(value) is list:
        return [bits(one) for one in value]
    if type(value) is dict:
        return {name: bits(one) for name, one in value.items()}
    if type(value) is float:
        return "nan" if math.isnan(value) else struct.pack("d", value)
    return type(value), value


def assert_same(got: Any, expected: Any) -> None:
    assert bits(got) == bits(expected)


def made_of(content: bytes, rows: Any, **options: Any) -> Any:
    return gp.load(content, **options).predict_rows(rows)


# --- What rows can be -------------------------------------------------------------------------------------------------


class Sequence:
    """A sequence by the old protocol: no `__iter__`, no `__len__`."""

    def __init__(self, *values: Any) -> None:
        self.values = values

    def __getitem__(self, index: int) -> Any:
        return self.values[index]


class Mapping:
    """A mapping that is no dict and no `collections.abc.Mapping`."""

    def __init__(self, **values: Any) -> None:
        self.values = values

    def keys(self) -> Any:
        return iter(self.values)

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


class Float:
    def __float__(self) -> float:
        return 2.5


class Index:
    def __index__(self) -> int:
        return 3


class Level(enum.IntEnum):
    HIGH = 3


class Text(str):
    __slots__ = ()


Row = collections.namedtuple("Row", FEATURES)  # noqa: PYI024 - as users have them

EXPECTED = [[1.0, 2.5, 3.0], [4.0, 5.0, 6.5]]
NAMED_ROWS = [dict(zip(FEATURES, row, strict=True)) for row in EXPECTED]
#: Ways to say these two rows.
ROWS: dict[str, Callable[[], Any]] = {
    "lists": lambda: EXPECTED,
    "tuples": lambda: tuple(tuple(row) for row in EXPECTED),
    "mixed": lambda: [(1, 2.5, 3), [4, 5, 6.5]],
    "generator": lambda: (row for row in EXPECTED),
    "generators": lambda: [(value for value in row) for row in EXPECTED],
    "iterators": lambda: iter(map(iter, EXPECTED)),
    "arrays": lambda: [array.array("d", row) for row in EXPECTED],
    "deque": lambda: collections.deque(map(collections.deque, EXPECTED)),
    "namedtuples": lambda: [Row(*row) for row in EXPECTED],
    "values_of_dicts": lambda: [dict(enumerate(row)).values() for row in EXPECTED],
    "keys_of_a_dict": lambda: dict.fromkeys(map(tuple, EXPECTED)).keys(),
    "old_sequences": lambda: Sequence(*(Sequence(*row) for row in EXPECTED)),
    "sequences_and_maps": lambda: [Sequence(1, 2.5, 3), map(float, [4, 5, 6.5])],
    "memoryviews": lambda: [memoryview(array.array("d", row)) for row in EXPECTED],
    "array_of_numpy": lambda: np.array(EXPECTED),
    "rows_of_numpy": lambda: [np.array(row, np.float16) for row in EXPECTED],
    "scalars_of_numpy": lambda: [
        [np.float64(1), np.float16(2.5), np.uint8(3)],
        [np.int64(4), np.array(5), np.array(6.5)],
    ],
    "decimals": lambda: [[decimal.Decimal(str(value)) for value in row] for row in EXPECTED],
    "fractions": lambda: [[fractions.Fraction(value) for value in row] for row in EXPECTED],
    "bools": lambda: [[True, 2.5, 3], [4, 5, 6.5]],
    "bools_of_numpy": lambda: [[np.True_, 2.5, 3], [4, 5, 6.5]],
    "objects": lambda: [[1, Float(), Index()], [4, 5, 6.5]],
    "subclasses": lambda: [[1, 2.5, Level.HIGH], [4, 5, 6.5]],
    "input_by_name": lambda: [{"x": row} for row in EXPECTED],
    "dicts": lambda: NAMED_ROWS,
    "dicts_in_any_order": lambda: [{"age": 3, "amount": 1, "hour": 2.5}, {"hour": 5, "age": 6.5, "amount": 4}],
    "ordered_dicts": lambda: [*map(collections.OrderedDict, NAMED_ROWS)],
    "proxies": lambda: [*map(types.MappingProxyType, NAMED_ROWS)],
    "mappings": lambda: [Mapping(**row) for row in NAMED_ROWS],
    "series": lambda: [row for _, row in pd.DataFrame(EXPECTED, columns=FEATURES).iterrows()],
    "records": lambda: pd.DataFrame(EXPECTED, columns=FEATURES).to_dict("records"),
    "dicts_with_other_keys": lambda: [{Text(name): value for name, value in row.items()} for row in NAMED_ROWS],
    "lists_and_dicts": lambda: [EXPECTED[0], {"hour": 5, "age": 6.5, "amount": 4}],
}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS.keys())
def test_rows_can_be_made_of_anything(rows: Callable[[], Any]) -> None:
    assert_same(made_of(TRIPLES, rows(), features=FEATURES), EXPECTED)


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS.keys())
def test_more_rows_of_the_same_kind(rows: Callable[[], Any]) -> None:
    """Rows after the first are read in ways of their own."""
    again = [row for _ in range(3) for row in iter(rows())]
    assert_same(made_of(TRIPLES, again, features=FEATURES), EXPECTED * 3)


COLUMN = [[1.0], [2.5], [-0.0]]


@pytest.mark.parametrize("shape", [("N",), ("N", 1)])
@pytest.mark.parametrize(
    "rows",
    [[1, 2.5, -0.0], (1.0, np.float32(2.5), -0.0), array.array("d", [1, 2.5, -0.0]), [True, 2.5, -0.0]],
    ids=lambda rows: type(rows).__name__,
)
def test_a_row_of_one_value_is_the_value(shape: tuple[Any, ...], rows: Any) -> None:
    expected = COLUMN if len(shape) == 2 else [value for (value,) in COLUMN]
    assert_same(made_of(models.identity(shape=shape), rows), expected)


def test_lists_of_one_value_are_rows_of_a_column() -> None:
    assert_same(made_of(models.identity(shape=("N", 1)), COLUMN), COLUMN)


def test_several_inputs_by_name_or_in_their_order() -> None:
    model = gp.load(models.multi_dtype())
    rows: list[Any] = [[1.5, 2, True, "a"], {"merchant": b"\xc3\xa9", "flag": False, "hour": -1, "amount": 3}]
    rows += [{"amount": [1], "hour": [2], "flag": [False], "merchant": ["c"]}]
    expected = {"score": [[4.5], [2.0], [3.0]], "merchant_out": [["a"], ["é"], ["c"]]}
    assert_same(model.predict_rows(rows, method="run"), expected)


def test_inputs_with_a_default_may_be_left_out() -> None:
    model = gp.load(models.default_input())
    assert_same(model.predict_rows([[1, 2], {"x": (3, 4)}]), [[10.0, 20.0], [30.0, 40.0]])
    assert_same(model.predict_rows([{"x": [1, 2], "scale": 3}]), [[3.0, 6.0]])


@pytest.mark.parametrize("depth", [3, 4])
def test_values_of_a_row_can_be_nested(depth: int) -> None:
    values = np.arange(2**depth, dtype=np.float32).reshape((2,) * depth)
    content = models.identity(shape=("N",) + (2,) * (depth - 1))
    assert_same(made_of(content, values.tolist()), values.tolist())
    assert_same(made_of(content, values), values.tolist())
    assert_same(made_of(models.open_rank(), values.tolist()), (-values).tolist())


# --- The same as with arrays ------------------------------------------------------------------------------------------

INTEGERS = {name: np.iinfo(name) for name in models.DTYPES if "int" in name}
#: Values by dtype; -0.0, subnormals, infinities and the ends of the ranges among them.
VALUES: dict[str, list[Any]] = {
    "float16": [0.1, -0.0, 65504.0, 6e-8, 1e-9, math.inf, -math.inf, math.nan, 2049, 1 / 3],
    "float32": [0.1, -0.0, 3.4e38, 1e-45, 1e-50, math.inf, -math.inf, math.nan, 2**24 + 1, 1 / 3],
    "float64": [0.1, -0.0, 1.7e308, 5e-324, 1e-400, math.inf, -math.inf, math.nan, 2**53 + 1, 1 / 3],
    **{name: [int(info.min), int(info.max), 0, 1] for name, info in INTEGERS.items()},
    "bool": [True, False],
    "string": ["", "a", "größe 🙂", "x" * 1000, "a\0b"],
}


@pytest.mark.parametrize("dtype", VALUES)
@pytest.mark.parametrize("shape", [("N",), ("N", 1), ("N", "K")])
def test_every_dtype_goes_in_and_out(dtype: str, shape: tuple[Any, ...]) -> None:
    assert set(VALUES) == set(models.DTYPES)
    with np.errstate(all="ignore"):
        values = np.array(VALUES[dtype], dtype=object if dtype == "string" else dtype)
    rows = {1: VALUES[dtype], 2: [VALUES[dtype]]}[len(shape)] if shape != ("N", 1) else [[v] for v in VALUES[dtype]]
    shaped = values.reshape({("N",): (-1,), ("N", 1): (-1, 1)}.get(shape, (1, -1)))
    model = gp.load(models.identity(dtype, shape))
    assert_same(model.predict_rows(rows), shaped.tolist())
    assert_same(model.predict_rows(rows), model.predict(shaped).tolist())


numbers = st.one_of(
    st.floats(width=32),
    st.floats(min_value=-3e38, max_value=3e38),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
)


@given(st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=1, max_size=20))
def test_random_rows_are_the_same_as_arrays(rows: list[list[float]]) -> None:
    # Each value by itself: an array of ints and floats together would have rounded the ints to float64 first.
    expected = np.array([[np.float32(value) for value in row] for row in rows])
    assert_same(made_of(TRIPLES, rows), expected.tolist())
    model = gp.load(MLP)
    named = [dict(zip(FEATURES, row, strict=True)) for row in rows]
    assert_same(made_of(TRIPLES, named, features=FEATURES), expected.tolist())
    turned = [dict(reversed(row.items())) for row in named]
    assert_same(made_of(TRIPLES, turned, features=FEATURES), expected.tolist())
    finite = [[value if math.isfinite(value) else 0.0 for value in row] for row in rows]
    assert_same(model.predict_rows(finite), model.predict(np.array(finite, np.float32)).tolist())


@given(st.lists(st.tuples(st.floats(), st.integers(-(2**31), 2**31 - 1), st.booleans(), st.text()), min_size=1))
def test_random_rows_of_several_inputs_are_the_same_as_arrays(rows: list[tuple[float, int, bool, str]]) -> None:
    model = gp.load(models.multi_dtype())
    dtypes = {spec.name: object if spec.dtype == "string" else spec.dtype for spec in model.inputs}
    columns = zip(dtypes.items(), zip(*rows, strict=True), strict=True)
    with np.errstate(all="ignore"):
        arrays = {name: np.array(values, dtype).reshape(-1, 1) for (name, dtype), values in columns}
        expected = plain(model.run(arrays))
    assert_same(model.predict_rows(rows, method="run"), expected)
    named = [dict(zip(dtypes, row, strict=True)) for row in rows]
    assert_same(model.predict_rows(named, method="run"), expected)


ODD = st.one_of(st.none(), st.just([1.0]), st.just(2**70), st.text(max_size=2), st.floats(), st.booleans())
NAMED_VALUES = {
    "amount": st.floats(width=32) | st.integers(-5, 5) | ODD,
    "hour": st.integers(-(2**31), 2**31 - 1),
    "flag": st.booleans(),
    "merchant": st.text(max_size=3),
}


@st.composite
def named_rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows of `multi_dtype`, most of them right, their names in any order."""
    names = draw(st.permutations(list(NAMED_VALUES)))
    rows = draw(st.lists(st.fixed_dictionaries({name: NAMED_VALUES[name] for name in names}), max_size=3))
    if rows and draw(st.integers(0, 3)) == 0:
        row = rows[draw(st.integers(0, len(rows) - 1))]
        name = draw(st.sampled_from([*names, "other"]))
        if draw(st.booleans()):
            row.pop(name, None)
        else:
            row[name] = draw(ODD)
    return rows


@given(named_rows())
def test_rows_of_names_are_the_same_however_they_come(rows: list[dict[str, Any]]) -> None:
    """Lists of dicts and of objects are read in a shorter way than other iterables, as long as nothing is wrong."""

    def outcome(call: Callable[[], Any]) -> Any:
        try:
            return bits(call())
        except gp.InputError as error:
            return type(error), str(error)

    model = gp.load(models.multi_dtype())
    told = outcome(lambda: model.predict_rows(iter(rows), method="run"))
    assert outcome(lambda: model.predict_rows(rows, method="run")) == told
    # The other order of names makes no difference, nor do bodies.
    texts = json.dumps(rows), json.dumps([dict(reversed(row.items())) for row in rows])
    bodies = [outcome(lambda text=text: model.predict_json(text, method="run")) for text in texts]
    whole = outcome(lambda: model.predict_json(f'{{"instances": {texts[0]}}}', method="run"))
    if not isinstance(told, dict):
        assert whole == bodies[0]
        return
    assert bodies[0] == bodies[1]
    answers = json.loads(bodies[0][1])
    assert json.loads(whole[1]) == {"predictions": answers}
    told = model.predict_rows(rows, method="run")
    assert [answer["merchant_out"] for answer in answers] == told["merchant_out"]
    scores = np.array([answer["score"] for answer in answers], np.float32)
    expected = np.array(told["score"], np.float32)
    np.testing.assert_array_equal(scores, np.where(np.isfinite(expected), expected, np.nan))


def one_probability(dtype: str) -> bytes:
    """Only the second class's probability, `x` [N, 1] itself but for the Sigmoid's name."""
    node = helper.make_node("Identity", ["x"], ["probability"])
    ports = [models.value("x", dtype)], [models.value("probability", dtype)]
    return models.model_bytes(models.graph([node], *ports))


RANDOM = np.random.default_rng(5).normal(size=(7, models.CLASSIFIER_FEATURES)).astype(np.float32)
#: Models → what goes in.
KINDS: dict[str, tuple[bytes, np.ndarray[Any, Any]]] = {
    "ints": (models.zipmap_classifier(), RANDOM),
    "strings": (models.zipmap_classifier(models.STRING_LABELS), RANDOM),
    # The engine sorts the keys of its maps; `classes` has the order.
    "another_order": (models.zipmap_classifier((8, 3, 5)), RANDOM),
    "tensor": (models.tensor_classifier(), RANDOM),
    "tensor_strings": (models.tensor_classifier(models.STRING_LABELS), RANDOM),
    "mlp": (MLP, RANDOM[:, :3]),
    "positive16": (one_probability("float16"), np.linspace(0, 1, 4096, dtype=np.float16).reshape(-1, 1)),
    "positive32": (one_probability("float32"), np.abs(RANDOM[:, :1]) / 10),
    "positive64": (one_probability("float64"), np.abs(RANDOM[:, :1].astype(np.float64)) / 9),
}


@pytest.mark.parametrize(("content", "values"), KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("method", ["predict", "predict_proba", "run"])
def test_methods_give_what_they_give_with_arrays(content: bytes, values: np.ndarray[Any, Any], method: str) -> None:
    model = gp.load(content)
    expected = plain(getattr(model, method)(values))
    assert_same(model.predict_rows(values.tolist(), method=method), expected)  # type: ignore[arg-type]


#: Outputs that have no rows, or are no tensors, come as they are.
SHAPELESS = {
    "scalar": (models.scalar_output(), [[1, 2, 3], [4, 5, 6]]),
    "columns": (models.nonzero(), [[1, 0, 2], [0, 0, 3]]),
    "sequence": (models.sequence_output(), [[1, 2], [3, 4], [5, 6]]),
    "absent": (models.optional_output(present=False), [[1, 2]]),
    "present": (models.optional_output(present=True), [[1, 2]]),
    "passthrough": (models.passthrough(), [[1, 2], [3, 4], [5, 6]]),
    "fixed": (models.fixed_batch(2), [[1, 2], [3, 4]]),
    "lie": (models.lying_shape(), [[1, 2], [3, 4]]),
    "unicode": (models.unicode_names(), [[1, 2], [3, 4]]),
    "unnamed": (models.unnamed_dims(), [[1, 2], [3, 4]]),
}


@pytest.mark.parametrize(("content", "rows"), SHAPELESS.values(), ids=SHAPELESS.keys())
@pytest.mark.parametrize("method", ["predict", "run"])
def test_other_outputs_come_as_they_are(content: bytes, rows: list[list[float]], method: str) -> None:
    model = gp.load(content)
    expected = plain(getattr(model, method)(np.array(rows, np.float32)))
    assert_same(model.predict_rows(rows, method=method), expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("rows", [[], (), {}.values(), Sequence(), np.zeros((0, 3), np.float32)], ids=type)
def test_no_rows_give_no_answers(rows: Any) -> None:
    model = gp.load(models.zipmap_classifier())
    calls = model.stats()["calls"]
    assert model.predict_rows(rows) == []
    assert model.predict_rows(rows, method="predict_proba") == []
    assert model.predict_rows(rows, method="run") == {"label": [], "probabilities": []}
    assert model.stats()["calls"] == calls


def test_none_is_nan_for_floats() -> None:
    assert_same(made_of(TRIPLES, [[None, 1, {}.get("amount")]]), [[math.nan, 1.0, math.nan]])
    assert_same(made_of(TRIPLES, [{"amount": None, "age": 1, "hour": 2}], features=FEATURES), [[math.nan, 2.0, 1.0]])


BIG = [2**63, 2**64 - 1, 2**64, -(2**64), 10**30, -(10**38)]


@pytest.mark.parametrize("number", BIG)
def test_ints_beyond_64_bits_are_rounded_into_floats(number: int) -> None:
    assert_same(made_of(models.identity("float64", ("N",)), [number]), [float(number)])
    assert_same(made_of(models.identity("float32", ("N",)), [number]), [float(np.float32(number))])


def test_calls_are_counted_as_those_with_arrays_are() -> None:
    model = gp.load(models.mlp(7))
    before = model.stats()
    model.predict_rows([[0] * 7] * 5)
    after = model.stats()
    difference = {name: after[name] - before[name] for name in after}  # type: ignore[literal-required]
    assert (difference["calls"], difference["rows"], difference["errors"]) == (1, 5, 0)
    assert (difference["copied_inputs"], difference["zero_copy_inputs"]) == (1, 0)
    assert after["cold"] is False


# --- Threads ----------------------------------------------------------------------------------------------------------


def test_many_threads_get_their_own_answers() -> None:
    model = gp.load(models.mlp(3), features=FEATURES)
    values = np.random.default_rng(1).normal(size=(8, 20, 3)).astype(np.float32)
    expected = [model.predict(part).tolist() for part in values]

    def work(number: int) -> None:
        rows = values[number].tolist()
        named = [dict(zip(FEATURES, row, strict=True)) for row in rows]
        for _ in range(50):
            assert_same(model.predict_rows(rows), expected[number])
            assert_same(model.predict_rows(named), expected[number])

    together(8, work)


def test_rows_may_change_while_they_are_read() -> None:
    """Whatever happens is an answer or an exception of Python's; a crash would end the process."""
    model = gp.load(TRIPLES, features=FEATURES)
    rows: list[Any] = []
    row: dict[str, Any] = {}
    stop = threading.Event()

    class Meddling:
        """Changes the containers it is in, as another thread could at this moment."""

        def __float__(self) -> float:
            rows.clear()
            row.update(dict.fromkeys(map(str, range(100)), 1.0))
            return 1.0

    def meddle() -> None:
        while not stop.is_set():
            rows[:] = [list(GOOD) for _ in range(50)]
            for part in rows[:5]:
                part.clear()
            del rows[10:]
            row.clear()
            row.update(dict(zip(FEATURES, GOOD, strict=True)))

    thread = threading.Thread(target=meddle)
    thread.start()
    outcomes = collections.Counter[str]()
    try:
        for _ in range(2000):
            for given in (rows, [row], [[Meddling(), 1, 2], row]):
                try:
                    answer = model.predict_rows(given)
                    outcomes["answer"] += 1
                    assert all(len(one) == 3 for one in answer)
                except (gp.InputError, RuntimeError, KeyError):
                    outcomes["error"] += 1
    finally:
        stop.set()
        thread.join()
    assert outcomes["answer"] > 0


def test_values_that_change_their_containers() -> None:
    model = gp.load(TRIPLES, features=FEATURES)
    rows: list[Any] = []
    row: list[Any] = []
    named: dict[str, Any] = {}

    class Meddling:
        def __float__(self) -> float:
            rows.clear()
            row.clear()
            named.update(dict.fromkeys(map(str, range(100)), 1.0))
            return 1.0

    rows += [GOOD, [Meddling(), 2, 3], GOOD]
    assert_same(model.predict_rows(rows), [GOOD, GOOD])
    row += [1, Meddling(), 3]
    with pytest.raises(gp.InputError, match=r"row 0, .*got 2 values, expected 3"):
        model.predict_rows([row])
    named.clear()
    named |= {"amount": Meddling(), "hour": 2, "age": 3}
    with pytest.raises(RuntimeError, match="dictionary changed size during iteration"):
        model.predict_rows([named])


# --- Without NumPy ----------------------------------------------------------------------------------------------------

LIGHT = """
import sys
import glowplug
before = set(sys.modules)
model = glowplug.load(sys.argv[1], features=["a", "b", "c"])
rows = [[1, 2.0, 3], (4.0, 5, True), {"c": 1, "b": None, "a": 3}]
assert len(model.predict_rows(rows)) == 3
assert model.predict_rows(rows, method="predict_proba")[0][0] > 0
assert list(model.predict_rows(rows, method="run")) == ["y"]
for bad in ([[1, 2]], [["a", 2, 3]], [[object()] * 3], 3):
    try:
        model.predict_rows(bad)
    except glowplug.InputError as error:
        assert "fix: " in str(error)
    else:
        raise AssertionError(bad)
print(*sorted(set(sys.modules) - before))
"""


def test_nothing_is_imported(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(MLP)
    assert python(LIGHT, path).split() == []


def test_it_works_where_numpy_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(MLP)
    block = "import sys\nsys.modules['numpy'] = None\n"
    code = "import glowplug\nprint(glowplug.load(sys.argv[1]).predict_rows([[1, 2, 3]]))"
    assert python(block + code, path).strip() == str(gp.load(MLP).predict_rows([[1, 2, 3]]))
