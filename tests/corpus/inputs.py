"""Inputs and options that no model takes."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import models
from corpus.cases import (
    ENGINE,
    INPUT,
    INPUT_TYPE,
    MEMORY,
    OPTION,
    OPTION_TYPE,
    ROWS,
    UNSUPPORTED,
    Case,
    X,
    content,
)
from corpus.graphs import DIVISION_FAULT, LOWEST

if TYPE_CHECKING:
    from collections.abc import Callable


def given(name: str, build: Callable[[], bytes], inputs: Any, error: Any = INPUT, *mentions: str, **more: Any) -> Case:
    """A row: a sound model, passed as bytes, and inputs that are not."""
    return Case(
        name if name.startswith("output_") else f"input_{name}",
        lambda _: (build(), inputs),
        error,
        mentions,
        **more,
    )


def takes(dtype: str, *shape: int | str | None) -> Callable[[], bytes]:
    """A builder: `y` is `x` of this dtype."""
    return functools.partial(models.identity, dtype, shape or ("N", 2))


def objects(*items: Any) -> np.ndarray[Any, Any]:
    """A column of Python objects."""
    made = np.empty((len(items), 1), dtype=object)
    made[:, 0] = items
    return made


def echoed(name: str, dtype: str, array: Any, answer: Any = None) -> Case:
    """A row: an odd but sound array that must come back as it is."""
    expected = (
        np.ascontiguousarray(array() if isinstance(array, functools.partial) else array) if answer is None else answer
    )
    return given(name, takes(dtype, *("N", *expected.shape[1:])), array, (), answer=expected)


def division(dividend: int, divisor: int) -> dict[str, np.ndarray[Any, Any]]:
    """Inputs of `integer_division`."""
    return {"a": np.array([dividend], np.int64), "b": np.array([divisor], np.int64)}


COLUMN = ("N", 1)
FLOATS, TEXTS = takes("float32"), takes("string", *COLUMN)
TABLE = {
    "amount": np.ones((2, 1)),
    "hour": np.ones((2, 1), np.int32),
    "flag": np.ones((2, 1), bool),
    "merchant": objects("a", "b"),
}
MISSPELT = {"merchent" if name == "merchant" else name: column for name, column in TABLE.items()}
ENDLESS: list[Any] = [1.0]
ENDLESS.append(ENDLESS)
STRUCTURED = np.array([(1.0, 2)], dtype=[("amount", "f4"), ("hour", "i4")])

INPUTS = [
    given("missing", models.two_inputs, {"a": ROWS}, INPUT, "`b`"),
    given("all_missing", models.two_inputs, {}, INPUT, "`a`", "`b`"),
    given("mapping_empty", FLOATS, {}, INPUT, "`x`"),
    given("name_unknown", models.two_inputs, {"a": ROWS, "b": ROWS, "zebra": ROWS}, INPUT, "zebra"),
    given("name_misspelt", models.multi_dtype, MISSPELT, INPUT, "merchent", "`merchant`"),
    given("name_unicode_missing", models.unicode_names, {}, INPUT, "größe→ß"),
    given("name_is_an_output", models.two_inputs, {"a": ROWS, "sum": ROWS}, INPUT, "`b`"),
    given("names_are_numbers", FLOATS, {1: ROWS}, (INPUT, INPUT_TYPE)),
    given("names_are_none", FLOATS, {None: ROWS}, (INPUT, INPUT_TYPE)),
    given("names_are_bytes", FLOATS, {b"x": ROWS}, (INPUT, INPUT_TYPE)),
    given("name_with_surrogate", FLOATS, {"\ud800": ROWS}, INPUT),
    given("bare_array_for_two_inputs", models.two_inputs, ROWS, INPUT, "`a`", "`b`"),
    given("list_for_two_inputs", models.two_inputs, [ROWS, ROWS], INPUT, "`a`", "`b`"),
    given("no_inputs_wanted", models.no_inputs, X, INPUT, "x"),
    given("map_wanted", models.map_input, {"x": ROWS}, (INPUT_TYPE, UNSUPPORTED), "x"),
    given("rows_differ", models.two_inputs, {"a": ROWS, "b": np.ones((3, 2), np.float32)}, (INPUT, ENGINE)),
    given("floats_for_integers", takes("int64"), np.ones((2, 2)), INPUT_TYPE, "`x`", "float64", "int64"),
    given("floats_for_bool", takes("bool"), np.ones((2, 2)), INPUT_TYPE, "`x`", "float64", "bool"),
    given("python_floats_for_integers", takes("int64"), [[1.0, 2.0]], INPUT_TYPE, "`x`", "int64"),
    given("text_for_floats", FLOATS, np.array([["a", "b"]]), INPUT_TYPE, "`x`", "float32"),
    given("numbers_as_text_for_floats", FLOATS, [["1.5", "2"]], INPUT_TYPE, "`x`", "float32"),
    given("bare_text_for_floats", FLOATS, "1.5", INPUT_TYPE, "`x`"),
    given("bytes_for_floats", FLOATS, np.array([[b"a", b"b"]]), INPUT_TYPE, "`x`"),
    given("floats_for_text", TEXTS, np.ones((2, 1)), INPUT_TYPE, "`x`", "float64", "string"),
    given("integers_for_text", TEXTS, [[1], [2]], INPUT_TYPE, "`x`", "string"),
    given("bool_for_text", TEXTS, np.ones((2, 1), bool), INPUT_TYPE, "`x`", "bool", "string"),
    given("complex", FLOATS, np.ones((2, 2), complex), INPUT_TYPE, "`x`", "complex128"),
    given("datetimes", FLOATS, np.zeros((2, 2), "datetime64[s]"), INPUT_TYPE, "`x`", "datetime64"),
    given(
        "datetimes_for_integers",
        takes("int64"),
        np.zeros((2, 2), "datetime64[ns]"),
        INPUT_TYPE,
        "`x`",
        "datetime64",
    ),
    given("durations", takes("int64"), np.zeros((2, 2), "timedelta64[s]"), INPUT_TYPE, "`x`", "timedelta64"),
    given("objects_mixed", FLOATS, objects(1, "a", None), INPUT_TYPE, "`x`", "object"),
    given("objects_none", FLOATS, objects(1.0, None), INPUT_TYPE, "`x`", "object"),
    given("structured", FLOATS, STRUCTURED, INPUT_TYPE, "`x`"),
    given("void", FLOATS, np.zeros((2, 2), "V4"), INPUT_TYPE, "`x`"),
    given(
        "long_double",
        FLOATS,
        np.ones((2, 2), np.longdouble) * 10 ** np.longdouble(400),
        (INPUT, INPUT_TYPE),
        "`x`",
    ),
    given("objects_for_text_number", TEXTS, objects("a", 1), INPUT_TYPE, "`x`"),
    given("objects_for_text_none", TEXTS, objects("a", None), INPUT_TYPE, "`x`"),
    given("objects_for_text_nan", TEXTS, objects("a", float("nan")), INPUT_TYPE, "`x`"),
    given("objects_for_text_bytes", TEXTS, objects("a", b"b"), None, answer=objects("a", "b")),
    given("objects_for_text_no_utf8", TEXTS, objects("a", b"\xff"), INPUT, "`x`"),
    given("objects_for_text_nested", TEXTS, objects("a", ["b"]), INPUT_TYPE, "`x`"),
    given("text_with_surrogate", TEXTS, [["\ud800"]], INPUT, "`x`"),
    given("objects_with_surrogate", TEXTS, objects("a", "\udfff"), INPUT, "`x`"),
    given("rank_too_high", FLOATS, np.ones((2, 2, 1), np.float32), INPUT, "`x`", "3"),
    given("rank_zero", FLOATS, np.float32(1), INPUT, "`x`"),
    given("rank_too_low", takes("float32", "N", 2, 2), ROWS, INPUT, "`x`"),
    given("array_for_scalar", functools.partial(models.identity, "float32", ()), ROWS, INPUT, "`x`"),
    given("rank_64", FLOATS, np.ones((1,) * 64, np.float32), INPUT, "`x`"),
    given("column_too_many", models.mlp, np.ones((5, 31), np.float32), INPUT, "`x`", "31", "30"),
    given("column_too_few", models.mlp, np.ones((5, 29), np.float32), INPUT, "`x`", "29", "30"),
    given("columns_none", models.mlp, np.ones((5, 0), np.float32), INPUT, "`x`", "30"),
    given("row_too_short", models.mlp, np.ones(29, np.float32), INPUT, "`x`", "29", "30"),
    given("rows_fixed", models.fixed_batch, np.ones((3, 2), np.float32), INPUT, "`x`", "3", "4"),
    given("ragged", FLOATS, [[1.0, 2.0], [3.0]], INPUT, "`x`"),
    given("ragged_deep", FLOATS, [[[1.0], 2.0], [3.0, 4.0]], INPUT, "`x`"),
    given("contains_itself", FLOATS, ENDLESS, INPUT, "`x`"),
    given("none", FLOATS, None, INPUT_TYPE, "`x`"),
    given("none_in_mapping", FLOATS, {"x": None}, INPUT_TYPE, "`x`"),
    given("object", FLOATS, object(), INPUT_TYPE, "`x`"),
    given("set", FLOATS, {1.0, 2.0}, INPUT_TYPE, "`x`"),
    given("path", FLOATS, Path("x.csv"), INPUT_TYPE, "`x`"),
    given("mapping_in_mapping", FLOATS, {"x": {"x": ROWS}}, INPUT_TYPE, "`x`"),
    given("empty_list", FLOATS, [], INPUT, "`x`"),
    given("bool_of_two", takes("bool"), [[0, 2]], INPUT, "`x`", "2"),
    given("byte_of_300", takes("uint8"), np.array([[1, 300]]), INPUT, "`x`", "300"),
    given("byte_of_minus_one", takes("uint8"), np.array([[1, -1]]), INPUT, "`x`", "-1"),
    given("integer_past_int64", takes("int64"), np.array([[1, 1 << 63]], np.uint64), INPUT, "`x`", str(1 << 63)),
    given("integer_past_everything", takes("int64"), [[1, 1 << 70]], INPUT, "`x`"),
    given("float_overflows", FLOATS, np.array([[1.0, 1e300]]), INPUT, "`x`", "e+300"),
    given("half_overflows", takes("float16"), np.array([[1.0, 70000.0]], np.float32), INPUT, "`x`", "70000"),
    given("strict_float64", FLOATS, np.ones((2, 2)), INPUT_TYPE, "`x`", "float64", options={"casting": "strict"}),
    given(
        "strict_integer_past_2_24",
        FLOATS,
        np.array([[1, (1 << 24) + 1]]),
        INPUT,
        "`x`",
        options={"casting": "strict"},
    ),
    given(
        "terabytes",
        models.mlp,
        functools.partial(np.broadcast_to, np.float32(0), (1 << 40, 30)),
        (MEMORY, INPUT),
    ),
    given(
        "terabytes_to_cast",
        models.mlp,
        functools.partial(np.broadcast_to, np.float64(0), (1 << 40, 30)),
        (MEMORY, INPUT),
    ),
    given("gigabytes", FLOATS, functools.partial(np.broadcast_to, np.float32(0), (1 << 30, 2)), (MEMORY, INPUT)),
    given(
        "terabytes_answered",
        models.expand_from_input,
        {"x": np.ones(1, np.float32), "shape": np.array([1 << 40])},
        (MEMORY, ENGINE),
    ),
    given(
        "exabytes_answered",
        models.expand_from_input,
        {"x": np.ones(1, np.float32), "shape": np.array([1 << 62, 9])},
        (MEMORY, ENGINE),
    ),
    given(
        "reshape_refused",
        models.reshape_from_input,
        {"x": np.ones(6, np.float32), "shape": np.array([4])},
        ENGINE,
        "Reshape",
    ),
    given("index_past_end", models.gather_from_input, np.array([0, 9]), ENGINE, "Gather"),
    given("division_by_zero", models.integer_division, division(7, 0), ENGINE, "Div"),
    given(
        "division_lowest_by_minus_one",
        models.integer_division,
        division(LOWEST, -1),
        None,
        engine_fault=DIVISION_FAULT,
    ),
    given("output_unknown", models.two_outputs, X, INPUT, "prob", "`double`", "`square`", outputs=["prob"]),
    given("output_misspelt", models.two_outputs, X, INPUT, "sqare", "`square`", outputs=["sqare"]),
    given("output_is_an_input", models.two_outputs, X, INPUT, "`x`", outputs=["x"]),
    given("output_not_text", models.two_outputs, X, (INPUT, INPUT_TYPE), outputs=[1]),
    given("output_with_nul", models.two_outputs, X, INPUT, outputs=["square\0"]),
    given("text_with_nul", TEXTS, [["a\0b"]], None, answer=objects("a\0b")),
    given("text_ends_with_nul", TEXTS, objects("a\0"), None, answer=objects("a\0")),
    echoed("text_odd", "string", objects("", " ", "é", "e\u0301", "🙂\u200d", "\n", "x" * 100_000)),
    echoed("no_rows", "float32", np.ones((0, 2), np.float32)),
    echoed("no_texts", "string", np.empty((0, 1), dtype=object)),
    echoed("special_floats", "float32", np.array([[np.nan, np.inf], [-np.inf, -0.0]], np.float32)),
    echoed("byte_order", "float32", ROWS.astype(">f4"), ROWS),
    echoed("byte_order_integers", "int64", ROWS.astype(">i8"), ROWS.astype(np.int64)),
    echoed("columns_first", "float32", np.asfortranarray(ROWS)),
    echoed("backwards", "float32", functools.partial(np.flip, ROWS)),
    echoed("one_row_many_times", "float32", functools.partial(np.broadcast_to, ROWS[0], (5, 2))),
    echoed("misaligned", "float32", functools.partial(np.ndarray, (2, 2), np.float32, b"\0" + ROWS.tobytes(), 1)),
    echoed("extreme_integers", "uint64", np.array([[0, (1 << 64) - 1]], np.uint64)),
]


def option(name: str, error: Any, *mentions: str, **options: Any) -> Case:
    """A row: a sound model file loaded with options that are not."""
    sound = content(f"option_{name}", lambda: models.mlp(2, 3), error, *mentions)
    return replace(sound, options=options)


def source_value(name: str, value: Any, error: Any = OPTION_TYPE) -> Case:
    """A row: something that is no source at all."""
    return Case(f"source_{name}", lambda _: (value, X), error)


OPTIONS = [
    option("threads_zero", OPTION, "threads", "0", threads=0),
    option("threads_negative", OPTION, "threads", "-1", threads=-1),
    option("threads_text", OPTION_TYPE, "threads", "two", threads="two"),
    option("threads_true", (OPTION_TYPE, OPTION), "threads", "True", threads=True),
    option("threads_fraction", (OPTION_TYPE, OPTION), "threads", "1.5", threads=1.5),
    option("threads_1e9", OPTION, "threads", "1000000000", threads=10**9),
    option("threads_1e30", OPTION, "threads", threads=10**30),
    option("batch_unknown", OPTION, "batch", "columns", batch="columns"),
    option("batch_none", (OPTION_TYPE, OPTION), "batch", "None", batch=None),
    option("optimization_unknown", OPTION, "optimization", "max", optimization="max"),
    option("optimization_capitals", OPTION, "optimization", "ALL", optimization="ALL"),
    option("optimization_number", OPTION_TYPE, "optimization", "3", optimization=3),
    option("optimization_none", (OPTION_TYPE, OPTION), "optimization", "None", optimization=None),
    option("casting_unsafe", OPTION, "casting", "unsafe", casting="unsafe"),
    option("casting_none", (OPTION_TYPE, OPTION), "casting", "None", casting=None),
    option("reload_negative", OPTION, "reload", "-1", reload=-1),
    option("reload_nan", OPTION, "reload", reload=float("nan")),
    option("reload_infinite", OPTION, "reload", "inf", reload=float("inf")),
    option("reload_text", OPTION_TYPE, "reload", "yes", reload="yes"),
    source_value("number", 42),
    source_value("none", None),
    source_value("list", ["model.onnx"]),
    source_value("mapping", {"path": "model.onnx"}),
    source_value("array", np.zeros(3)),
    source_value("object", object()),
]
