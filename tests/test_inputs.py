"""Inputs: every dtype, rank and kind comes in right, and what does not fit says so."""

from __future__ import annotations

import os
import pathlib
import pickle
from collections import OrderedDict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import glowplug
import models

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Answers, Feeds

    Run = Callable[[bytes, Feeds], Answers]
    Compare = Callable[[Any, Any], None]

NUMBERS = np.arange(1, 13, dtype=np.float32).reshape(4, 3)


class Convertible:
    """Something that NumPy can make an array of."""

    def __array__(self, dtype: Any = None, *, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """The numbers 0, 1, 2."""
        return np.array([[0, 1, 2]], dtype or np.float32)


def fail_with(kind: type[glowplug.GlowplugError], *mentions: str) -> Any:
    """Expect an error of just this class whose message tells all of this, and the fix on a line of its own."""

    def check(error: glowplug.GlowplugError) -> bool:
        message = str(error)
        missing = [mention for mention in ("\n  fix: ", *mentions) if mention not in message]
        assert not missing, f"{missing} not in {message}"
        assert type(error) is kind, f"{type(error).__name__}: {message}"
        return True

    return pytest.raises(glowplug.GlowplugError, check=check)


def sample(dtype: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Values that tell positions apart, with signs, zeros and the ends of the dtype's range among them."""
    size = int(np.prod(shape, dtype=int))
    if dtype == "string":
        texts = ["", "a", "größe", "結果 🙂", "zero\0byte", "x" * 300]
        return np.array([f"{texts[at % len(texts)]}{at}" for at in range(size)], object).reshape(shape)
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return (np.arange(size) % 3 == 0).reshape(shape)
    values = (np.arange(size) % 100).astype(kind)
    if kind.kind == "f":
        limits = np.finfo(kind)
        special = [limits.max, limits.min, limits.smallest_subnormal, -0.0, np.nan, np.inf, -np.inf]
    else:
        special = [np.iinfo(kind).max, np.iinfo(kind).min]
    values[1 : 1 + len(special)] = np.array(special, kind)[: max(size - 1, 0)]
    return values.reshape(shape)


def rows(*values: float, dtype: str = "float32") -> np.ndarray[Any, Any]:
    """Some rows of two numbers."""
    return np.array(values, dtype).reshape(-1, 2)


SHAPES: dict[tuple[int, ...], models.Shape] = {
    (): (),
    (5,): ("N",),
    (0,): ("N",),
    (4, 3): ("N", 3),
    (1, 1): ("N", 1),
    (0, 3): ("N", 3),
    (2, 0): ("N", "K"),
    (2, 3, 2): ("N", 3, None),
    (2, 1, 3, 2): (None, None, None, None),
    (2, 3, 1, 2, 2): ("A", "B", "C", "D", "E"),
    (1, 2, 0, 1, 3): None,
}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", models.DTYPES)
def test_dtypes_and_ranks(dtype: str, shape: tuple[int, ...], entry: Run, assert_same: Compare) -> None:
    """What goes in comes out: every dtype, any rank, with and without elements."""
    array = sample(dtype, shape)
    before = pickle.dumps(array)
    answers = entry(models.identity(dtype, SHAPES[shape]), {"x": array})
    assert_same(answers, {"y": array})
    assert pickle.dumps(array) == before, "the input was written to"


SEVERAL: dict[str, tuple[bytes, dict[str, np.ndarray[Any, Any]]]] = {
    "two": (models.two_inputs(), {"a": rows(1, 2, 3, 4), "b": rows(10, 20, 30, 40)}),
    "other_order": (models.two_inputs(), {"b": rows(10, 20, 30, 40), "a": rows(1, 2, 3, 4)}),
    "broadcast_by_the_model": (models.two_inputs(), {"a": rows(1, 2, 3, 4), "b": rows(10, 20)}),
    "no_rows": (models.two_inputs(), {"a": rows(), "b": rows()}),
    "default": (models.default_input(), {"x": rows(1, 2, 3, 4)}),
    "default_given": (models.default_input(), {"x": rows(1, 2, 3, 4), "scale": np.array([-2], np.float32)}),
    "default_given_first": (models.default_input(), {"scale": np.array([3], np.float32), "x": rows(1, 2, 3, 4)}),
    "columns": (
        models.multi_dtype(),
        {
            "amount": np.array([[1.5], [2.5]]),
            "hour": np.array([[3], [4]], np.int32),
            "flag": np.array([[True], [False]]),
            "merchant": np.array([["größe"], [""]], object),
        },
    ),
    "unicode_name": (models.unicode_names(), {"größe→ß": rows(1, 2)}),
    "none": (models.no_inputs(), {}),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_several_inputs(name: str, entry: Run, oracle: Run, assert_same: Compare) -> None:
    """Inputs by name, in any order, with and without those that have a default."""
    model, feeds = SEVERAL[name]
    expected = oracle(model, feeds)
    answers = entry(model, feeds)
    assert answers
    assert_same(answers, {output: expected[output] for output in answers})


@pytest.mark.parametrize("mapping", [dict, OrderedDict, MappingProxyType], ids=lambda kind: kind.__name__)
def test_mappings(mapping: Callable[[Any], Any]) -> None:
    """Any mapping will do, not only a dict."""
    feeds = mapping({"a": rows(1, 2), "b": rows(3, 4)})
    assert glowplug.load(models.two_inputs()).predict(feeds).tolist() == [[4, 6]]


CUBE = models.identity("float32", ("N", 2, 3))
WIDE = models.identity("float32", ("N", "K"))
ROW = models.identity("float32", ("N", 3))
COLUMN = models.identity("float32", ("N", 1))
VECTOR = models.identity("float32", ("N",))
INPUT, INPUT_TYPE = glowplug.InputError, glowplug.InputTypeError


@pytest.mark.parametrize(
    ("model", "given", "expected"),
    [
        pytest.param(ROW, [1, 2, 3], [[1, 2, 3]], id="row"),
        pytest.param(ROW, [[1, 2, 3]], [[1, 2, 3]], id="rows"),
        pytest.param(WIDE, [1, 2, 3, 4], [[1, 2, 3, 4]], id="row_of_open_width"),
        pytest.param(WIDE, [], [[]], id="empty_row_of_open_width"),
        pytest.param(COLUMN, [1, 2, 3], [[1], [2], [3]], id="column"),
        pytest.param(COLUMN, [1], [[1]], id="column_of_one"),
        pytest.param(COLUMN, [], [], id="column_of_none"),
        pytest.param(COLUMN, 5, [[5]], id="scalar_for_column"),
        pytest.param(COLUMN, 5.5, [[5.5]], id="float_for_column"),
        pytest.param(COLUMN, True, [[1]], id="bool_for_column"),
        pytest.param(VECTOR, 5, [5], id="scalar_for_vector"),
        pytest.param(VECTOR, [5, 6], [5, 6], id="vector"),
        pytest.param(VECTOR, [], [], id="empty_vector"),
        pytest.param(WIDE, 5, [[5]], id="scalar_for_open_width"),
        pytest.param(CUBE, [[[1, 2, 3], [4, 5, 6]]], [[[1, 2, 3], [4, 5, 6]]], id="cube"),
        pytest.param(models.identity("float32", ()), 5, 5, id="scalar"),
        pytest.param(models.fixed_batch(1), [1, -2], [[-1, 2]], id="row_of_fixed_batch"),
        pytest.param(models.open_rank(), [[[1]]], [[[-1]]], id="any_rank"),
        pytest.param(models.identity("string", ("N", 1)), ["a", "b"], [["a"], ["b"]], id="text_column"),
        pytest.param(models.identity("string", ("N", 1)), "a", [["a"]], id="text_scalar"),
        pytest.param(models.identity("string", ("N", 2)), ["a", "b"], [["a", "b"]], id="text_row"),
        pytest.param(models.identity("string", ("N", 1)), [], [], id="no_texts"),
        pytest.param(models.identity("int64", ("N", 1)), [], [], id="no_integers"),
    ],
)
@pytest.mark.parametrize("kind", ["python", "array"])
def test_missing_axes(kind: str, model: bytes, given: Any, expected: Any) -> None:
    """One row may come without its axis, as may one column and one value."""
    loaded = glowplug.load(model)
    dtype = loaded.inputs[0].dtype
    value = np.array(given, object if dtype == "string" else dtype) if kind == "array" else given
    answer = loaded.predict(value)
    assert answer.tolist() == expected
    assert answer.ndim == (len(loaded.inputs[0].shape) or np.ndim(given))
    assert loaded.predict({loaded.inputs[0].name: value}).tolist() == expected


@pytest.mark.parametrize(
    ("model", "given", "error", "mentions"),
    [
        pytest.param(ROW, np.ones((2, 4)), INPUT, ("`x`", "[2, 4]", "[N, 3]", "axis 1"), id="width"),
        pytest.param(ROW, [1, 2], INPUT, ("`x`", "[2]", "[N, 3]", "rank 2"), id="row_width"),
        pytest.param(ROW, 1.0, INPUT, ("`x`", "[]", "[N, 3]", "rank 2"), id="scalar_for_rows"),
        pytest.param(ROW, np.ones((1, 1, 3)), INPUT, ("`x`", "[1, 1, 3]", "rank 3", "rank 2"), id="rank"),
        pytest.param(ROW, [], INPUT, ("`x`", "[0]", "[N, 3]"), id="nothing_for_rows"),
        pytest.param(COLUMN, np.ones((2, 2)), INPUT, ("`x`", "[2, 2]", "[N, 1]", "axis 1"), id="two_columns"),
        pytest.param(CUBE, np.ones((2, 3)), INPUT, ("`x`", "[2, 3]", "[N, 2, 3]", "rank 3"), id="matrix_for_cube"),
        pytest.param(CUBE, np.ones((1, 3, 2)), INPUT, ("`x`", "[1, 3, 2]", "[N, 2, 3]", "axis 1"), id="cube_turned"),
        pytest.param(VECTOR, [[1.0]], INPUT, ("`x`", "[1, 1]", "[N]", "rank 1"), id="matrix_for_vector"),
        pytest.param(
            models.fixed_batch(4), np.ones((3, 2)), INPUT, ("`x`", "[3, 2]", "[4, 2]", "axis 0"), id="fixed_batch"
        ),
        pytest.param(models.fixed_batch(4), [1, 2], INPUT, ("`x`", "[2]", "[4, 2]"), id="row_for_fixed_batch"),
        pytest.param(ROW, {"X": [1, 2, 3]}, INPUT, ("unknown input `X`", "did you mean `x`?"), id="case_of_name"),
        pytest.param(ROW, {"features": [1, 2, 3]}, INPUT, ("unknown input `features`", "`x`"), id="unknown_name"),
        pytest.param(ROW, {"x": [1, 2, 3], "z": 1}, INPUT, ("unknown input `z`", "`x`"), id="one_too_many"),
        pytest.param(ROW, {}, INPUT, ("missing input `x`",), id="nothing_given"),
        pytest.param(models.two_inputs(), {"a": [[1, 2]]}, INPUT, ("missing input `b`",), id="one_missing"),
        pytest.param(models.two_inputs(), {}, INPUT, ("missing inputs `a`, `b`",), id="two_missing"),
        pytest.param(models.two_inputs(), [[1, 2]], INPUT, ("`a`, `b`", "mapping"), id="bare_for_two"),
        pytest.param(models.default_input(), {"scale": [1]}, INPUT, ("missing input `x`",), id="only_the_default"),
        pytest.param(
            models.multi_dtype(), {"amont": 1}, INPUT, ("unknown input `amont`", "did you mean `amount`?"), id="slip"
        ),
        pytest.param(
            models.unicode_names(),
            {"grösse→ß": [1, 2]},
            INPUT,
            ("unknown input `grösse→ß`", "did you mean `größe→ß`?"),
            id="unicode_slip",
        ),
        pytest.param(models.no_inputs(), [1], INPUT, ("pass `{}`",), id="value_for_no_inputs"),
        pytest.param(ROW, {1: [1, 2, 3]}, INPUT_TYPE, ("got 1", "string"), id="number_as_name"),
        pytest.param(ROW, None, INPUT_TYPE, ("`x`", "None", "float32"), id="nothing"),
        pytest.param(ROW, {"x": None}, INPUT_TYPE, ("`x`", "None", "float32"), id="nothing_by_name"),
        pytest.param(ROW, [[1, 2, 3], [4]], INPUT_TYPE, ("`x`", "list"), id="ragged"),
        pytest.param(ROW, {1, 2, 3}, INPUT_TYPE, ("`x`", "float32"), id="set"),
        pytest.param(ROW, (number for number in range(3)), INPUT_TYPE, ("`x`", "float32"), id="generator"),
        pytest.param(ROW, object(), INPUT_TYPE, ("`x`", "float32"), id="object"),
        pytest.param(
            ROW, np.zeros((1, 3), [("a", "f4")]), INPUT_TYPE, ("`x`", "('a', '<f4')", "float32"), id="structured"
        ),
        pytest.param(ROW, np.zeros(3, "V4"), INPUT_TYPE, ("`x`", "|V4", "float32"), id="void"),
        pytest.param(
            ROW, np.ma.MaskedArray([[1.0, 2, 3]], [[0, 1, 0]]), INPUT, ("`x`", "masked", "filled"), id="masked"
        ),
        pytest.param(
            ROW,
            {"x": np.ma.MaskedArray(NUMBERS, NUMBERS > 11)},
            INPUT,
            ("`x`", "masked", "filled"),
            id="masked_by_name",
        ),
    ],
)
def test_errors(model: bytes, given: Any, error: type[glowplug.GlowplugError], mentions: tuple[str, ...]) -> None:
    """What does not fit is refused before the engine sees it, with what was got, what was expected, and the fix."""
    with fail_with(error, *mentions):
        glowplug.load(model).run(given)


@pytest.mark.parametrize(
    "given", [np.ones(2, np.float32), [1.0, 2.0], {"x": {1: 2.0}}, {"x": np.ones(2, np.float32)}], ids=repr
)
def test_map_inputs(given: Any) -> None:
    """A map cannot be passed, whatever it is tried with; the error is always the same."""
    with fail_with(INPUT_TYPE, "`x`", "map(int64, float32)"):
        glowplug.load(models.map_input()).predict(given)


def test_conversions_that_fail() -> None:
    """What an object raises when it is made an array comes out as ours, with its cause; `__array__` is used."""

    class Broken:
        def __array__(self, dtype: Any = None, *, copy: bool | None = None) -> np.ndarray[Any, Any]:
            message = "the lake is empty"
            raise RuntimeError(message)

    model = glowplug.load(models.identity())
    assert model.predict(Convertible()).tolist() == [[0, 1, 2]]
    with fail_with(INPUT_TYPE, "`x`", "Broken", "the lake is empty") as caught:
        model.predict(Broken())
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_specs() -> None:
    """The model's inputs say what they take, in names, dtypes and shapes."""
    specs = glowplug.load(models.default_input()).inputs
    told = [(spec.name, spec.dtype, spec.shape, spec.required) for spec in specs]
    assert told == [("x", "float32", ("N", 2), True), ("scale", "float32", (1,), False)]
    for dtype in models.DTYPES:
        model = glowplug.load(models.identity(dtype, ("N", None, 3)))
        for spec in (*model.inputs, *model.outputs):
            assert (spec.dtype, spec.shape) == (dtype, ("N", None, 3))
    assert glowplug.load(models.no_inputs()).inputs == ()
    assert glowplug.load(models.unicode_names()).inputs[0].name == "größe→ß"


@pytest.mark.parametrize("convert", [str, pathlib.Path, os.fsencode], ids=["str", "Path", "bytes"])
def test_paths(convert: Callable[[Any], Any], tmp_path: Path) -> None:
    """A path may be a str or anything that stands for one, whatever characters are in it."""

    class Stand:
        def __init__(self, path: Path) -> None:
            self.path = path

        def __fspath__(self) -> Any:
            return os.fspath(convert(self.path))

    for name in ("model.onnx", "größe 🙂.onnx", "with space.onnx", "no_suffix", os.fsdecode(b"\xff.onnx")):
        path = tmp_path / name
        path.write_bytes(models.fixed_batch(1))
        # Bytes by themselves are a model, not a path.
        for source in (Stand(path), *([] if convert is os.fsencode else [convert(path)])):
            assert glowplug.load(source).predict([1, -2]).tolist() == [[-1, 2]]


def test_input_bytes_may_change_after_loading() -> None:
    """A model that was loaded from a bytearray does not hang on it."""
    content = bytearray(models.fixed_batch(1))
    model = glowplug.load(content)
    content[:] = bytes(len(content))
    assert model.predict([1, -2]).tolist() == [[-1, 2]]
    strided = memoryview(b"".join(bytes([byte, 0]) for byte in models.fixed_batch(1)))[::2]
    assert glowplug.load(strided).predict([1, -2]).tolist() == [[-1, 2]]


def test_frames_of_any_kind(assert_same: Compare) -> None:
    """What has columns goes in by column where the model has several inputs, and as a matrix where it has one."""

    class Frame:
        """As much of a data frame as is looked at."""

        def __init__(self, columns: dict[str, Any]) -> None:
            self.columns = list(columns)
            self._columns = columns

        def __getitem__(self, name: str) -> Any:
            return self._columns[name]

        def __array__(self, dtype: Any = None, *, copy: bool | None = None) -> np.ndarray[Any, Any]:
            return np.column_stack(list(self._columns.values()))

    rows_of_two = Frame({"first": np.array([1.0, 3.0]), "second": np.array([2.0, 4.0])})
    matrix = np.array([[1, 2], [3, 4]], np.float32)
    columns = Frame({"flag": [True, False], "merchant": ["a", "b"], "amount": [0.5, 1.5], "hour": [1, 2]})
    assert_same(glowplug.load(models.identity(shape=("N", 2))).predict(rows_of_two), matrix)
    answers = glowplug.load(models.multi_dtype()).run(columns)
    assert answers["score"].tolist() == [[2.5], [3.5]]
    assert answers["merchant_out"].tolist() == [["a"], ["b"]]
    # An input with a default does not make it a model of several inputs.
    assert_same(glowplug.load(models.default_input()).predict(rows_of_two), matrix * 10)
    with fail_with(INPUT, "unknown input `first`"):
        glowplug.load(models.multi_dtype()).run(rows_of_two)


def test_pandas(assert_same: Compare) -> None:
    """Frames and series of pandas, whatever dtypes their columns have."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.5, 2.5], "b": [3, 4], "c": [np.nan, 6]}, index=["one", "two"])
    matrix = frame.to_numpy(np.float32)
    assert_same(glowplug.load(models.identity()).predict(frame), matrix)
    assert_same(glowplug.load(models.identity()).predict(frame.iloc[::-1]), matrix[::-1].copy())
    assert_same(glowplug.load(models.identity()).predict(frame.iloc[0]), matrix[:1])
    assert_same(glowplug.load(models.identity()).predict(frame.iloc[:0]), matrix[:0])
    assert_same(glowplug.load(COLUMN).predict(frame["b"]), matrix[:, 1:2].copy())
    columns = pandas.DataFrame(
        {"amount": [0.5, 1.5], "hour": [1, 2], "flag": [True, False], "merchant": ["a", "größe"]}, index=[7, 3]
    )
    model = glowplug.load(models.multi_dtype())
    for given in (columns, columns[columns.columns[::-1]], columns.convert_dtypes(), columns.to_dict("series")):
        answers = model.run(given)
        assert answers["score"].tolist() == [[2.5], [3.5]]
        assert answers["merchant_out"].tolist() == [["a"], ["größe"]]
    with fail_with(INPUT_TYPE, "`merchant`", "element 1"):
        model.run(columns.assign(merchant=["a", None]))
    with fail_with(INPUT_TYPE, "`hour`", "float64", "int32"):
        model.run(columns.assign(hour=[1.0, np.nan]))
    with fail_with(INPUT, "missing input `flag`"):
        model.run(columns.drop(columns="flag"))
    with fail_with(INPUT_TYPE, "`x`", "object", "float32"):
        glowplug.load(models.identity()).predict(pandas.DataFrame([["a", 1, 2]]))
