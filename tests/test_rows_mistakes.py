"""What is wrong with rows of plain Python is said with the row and the place in it, and harms nothing else."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import glowplug as gp
import models
from test_rows import FEATURES, GOOD, TRIPLES, assert_same, made_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

INT, BOOL, STRING = (models.identity(dtype) for dtype in ("int64", "bool", "string"))
LOOP: list[Any] = []
LOOP.append(LOOP)
MISTAKES: dict[str, tuple[bytes, Any, type[Exception], str]] = {
    "a number": (TRIPLES, 3, gp.InputTypeError, "^model bytes: got int, expected rows.*`.row.`"),
    "None": (TRIPLES, None, gp.InputTypeError, "got NoneType, expected rows"),
    "a text": (STRING, "abc", gp.InputTypeError, "got str, expected rows"),
    "bytes": (TRIPLES, b"abc", gp.InputTypeError, "got bytes, expected rows"),
    "a mapping": (TRIPLES, {"x": [GOOD]}, gp.InputTypeError, "got dict, expected rows"),
    "a frame": (TRIPLES, pd.DataFrame([GOOD]), gp.InputTypeError, "got pandas.*DataFrame, expected rows"),
    "one row": (TRIPLES, GOOD, gp.InputError, "row 0, input `x` of model bytes: got 1"),
    "too few": (TRIPLES, [GOOD, [1, 2]], gp.InputError, "row 1, input `x` of model bytes: got 2 values, expected 3"),
    "too many": (TRIPLES, [GOOD, [1, 2, 3, 4]], gp.InputError, "row 1, .*got 4 values, expected 3"),
    "nothing": (TRIPLES, [GOOD, ()], gp.InputError, "row 1, .*got 0 values, expected 3"),
    "a list in a row": (TRIPLES, [GOOD, [1, [2], 3]], gp.InputError, "row 1, position 1 of input `x`.*got a list"),
    "a dict in a row": (TRIPLES, [GOOD, [1, {}, 3]], gp.InputError, "row 1 .*got an object inside a row"),
    "a text for a float": (TRIPLES, [GOOD, [1, "2", 3]], gp.InputTypeError, 'row 1, position 1 .*got the text "2"'),
    "a text as row": (TRIPLES, [GOOD, "abc"], gp.InputError, "row 1, .*expected a list of 3 values"),
    "an object": (TRIPLES, [[1, object(), 3]], gp.InputTypeError, "row 0, position 1 of input `x`.*got object"),
    "complex": (TRIPLES, [[1, 2, 1j]], gp.InputTypeError, "row 0, position 2 .*got complex, expected numbers"),
    "complex of NumPy": (TRIPLES, [[np.complex64(1)] * 3], gp.InputTypeError, "got numpy.complex64"),
    "complex128 of NumPy": (TRIPLES, [[np.complex128(1)] * 3], gp.InputTypeError, "got numpy.complex128"),
    "a date": (TRIPLES, [[np.datetime64("2026-01-01")] * 3], gp.InputTypeError, "got numpy.datetime64"),
    "a duration": (TRIPLES, [[np.timedelta64(1)] * 3], gp.InputTypeError, "got numpy.timedelta64"),
    "missing of pandas": (TRIPLES, [[pd.NA] * 3], gp.InputTypeError, "got pandas.*NAType"),
    "infinite": (TRIPLES, [GOOD, [1, 1e39, 2]], gp.InputError, "row 1, position 1 .*got 1e39, .*fits float32"),
    "beyond floats": (TRIPLES, [[1, 2, 10**400]], gp.InputError, "row 0, position 2 .*beyond float64"),
    "a fraction": (
        INT,
        [[1, 2, 3], [1, 2.5, 3]],
        gp.InputError,
        "row 1, position 1 .*got 2.5, expected a whole number",
    ),
    "None for an int": (INT, [[1, None, 3]], gp.InputTypeError, "row 0, position 1 .*got null"),
    "beyond int64": (INT, [[1, 2**63, 3]], gp.InputError, "row 0, position 1 .*got 9223372036854775808"),
    "beyond 64 bits": (INT, [[1, 2, 2**64 + 1]], gp.InputError, "row 0, position 2 "),
    "far beyond 64 bits": (INT, [[1, 2, -(10**400)]], gp.InputError, "row 0, position 2 "),
    "NaN for an int": (INT, [[math.nan, 2, 3]], gp.InputError, "row 0, position 0 .*expected a whole number"),
    "an int for a bool": (BOOL, [[True, 2, False]], gp.InputTypeError, "row 0, position 1 .*got 2"),
    "a number for a text": (STRING, [["a", "b", 3]], gp.InputTypeError, "row 0, position 2 .*got 3, expected text"),
    "None for a text": (STRING, [["a", None, "c"]], gp.InputTypeError, "row 0, position 1 .*got null"),
    "a surrogate": (STRING, [["a", "b", "\ud800"]], gp.InputError, "row 0, position 2 .*not valid Unicode"),
    "other bytes": (STRING, [["a", "b", b"\xff"]], gp.InputError, "row 0, position 2 .*not valid Unicode"),
    "a number as name": (TRIPLES, [{1: 2}], gp.InputTypeError, "row 0 .*got int as a name, expected a str"),
    "an unknown name": (TRIPLES, [{"amount": 2}], gp.InputError, "row 0 .*unknown input `amount`.*`x`.*`features=`"),
    "endless lists": (TRIPLES, LOOP, gp.InputError, "row 0, "),
    "endless lists of any rank": (models.open_rank(), LOOP, gp.InputError, "row 0, .*nested"),
    "several inputs, too few": (models.multi_dtype(), [[1, 2]], gp.InputError, "row 0 .*got 2 values, expected 4"),
    "several inputs, a name": (models.multi_dtype(), [{"amount": 1}], gp.InputError, "row 0 .*missing inputs `hour`"),
    "several inputs, an object": (
        models.multi_dtype(),
        [[1, object()]],
        gp.InputTypeError,
        "row 0, position 1 .`hour`.",
    ),
    "too many rows": (models.fixed_batch(2), [[1, 2]] * 3, gp.InputError, "got 3 rows, expected 2"),
    "no inputs": (models.no_inputs(), [[]], gp.InputError, "no inputs"),
    "an input that is no tensor": (models.map_input(), [[1.0]], gp.InputTypeError, "map"),
}


@pytest.mark.parametrize(("content", "rows", "error", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_are_told_by_row_and_place(content: bytes, rows: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"(?s){message}") as raised:
        made_of(content, rows)
    assert "\n  fix: " in str(raised.value)


FEATURE_MISTAKES: list[tuple[Any, str]] = [
    ({"amount": 1, "hour": 2}, "row 2 .*missing feature `age`"),
    ({"amount": 1, "hour": 2, "agee": 3}, "row 2 .*unknown feature `agee`.*did you mean `age`"),
    ({"amount": 1, "hour": 2, "age": 3, "x": 4}, "row 2 .*unknown feature `x`"),
    ({"amount": 1, "hour": [2], "age": 3}, "row 2, feature `hour` of model bytes: got a list"),
    ({"amount": 1, "hour": "2", "age": 3}, "row 2, feature `hour` of model bytes: got the text"),
    ({"amount": 1, "hour": object(), "age": 3}, "row 2, feature `hour` of model bytes: got object"),
    ({"amount": 1, "hour": 1e39, "age": 3}, "row 2, feature `hour` of model bytes: got 1e39, .*fits float32"),
    ({}, "row 2 .*missing features `amount`, `hour`, `age`"),
    ([1, 2], "row 2, .*the first that is missing is `age`"),
    ([1, "2", 3], "row 2, position 1 .`hour`. of input `x`"),
]


NAMED = dict(zip(FEATURES, GOOD, strict=True))


@pytest.mark.parametrize(("row", "message"), FEATURE_MISTAKES, ids=[str(row) for row, _ in FEATURE_MISTAKES])
@pytest.mark.parametrize("before", [[GOOD] * 2, [NAMED] * 2, [tuple(GOOD), NAMED]], ids=["lists", "dicts", "both"])
def test_mistakes_are_told_by_feature(row: Any, message: str, before: list[Any]) -> None:
    with pytest.raises(gp.InputError, match=f"(?s){message}") as raised:
        made_of(TRIPLES, [*before, row], features=FEATURES)
    assert "\n  fix: " in str(raised.value)


def test_other_mistakes() -> None:
    model = gp.load(TRIPLES)
    with pytest.raises(gp.OptionError, match=r'option `method`: got "score", expected "predict"'):
        model.predict_rows([GOOD], method="score")  # type: ignore[arg-type]
    for rows in ([GOOD], []):
        with pytest.raises(gp.InputError, match="no output known to hold probabilities"):
            model.predict_rows(rows, method="predict_proba")
    model.close()
    with pytest.raises(gp.ModelClosedError):
        model.predict_rows([GOOD])


def test_errors_leave_the_model_usable() -> None:
    model = gp.load(TRIPLES)
    with pytest.raises(gp.InputError):
        model.predict_rows([GOOD, [1]])
    assert_same(model.predict_rows([GOOD]), [GOOD])


class Broken(Exception):  # noqa: N818 - not an error of ours
    """What somebody's object raises."""


def raising(*_: Any) -> Any:
    raise Broken


def broken(**methods: Any) -> Any:
    return type("Row", (), methods)()


def failing_rows() -> Iterator[list[float]]:
    yield GOOD
    raise Broken


BROKEN: dict[str, Callable[[], Any]] = {
    "__float__": lambda: [GOOD, [1, broken(__float__=raising), 3]],
    "__index__": lambda: [GOOD, [1, broken(__index__=raising), 3]],
    "__index__ beside __float__": lambda: [GOOD, [1, broken(__index__=raising, __float__=float), 3]],
    "__iter__": lambda: [GOOD, broken(__iter__=raising)],
    "__next__": lambda: [GOOD, broken(__iter__=lambda row: row, __next__=raising)],
    "__getitem__": lambda: [GOOD, broken(__getitem__=raising)],
    "__getitem__ of a mapping": lambda: [GOOD, broken(__getitem__=raising, keys=lambda _: FEATURES)],
    "keys": lambda: [GOOD, broken(__getitem__=raising, keys=raising)],
    "__getattr__": lambda: [GOOD, broken(__getattr__=raising)],
    "rows": failing_rows,
    "row": lambda: [GOOD, (raising() if value == 2 else value for value in range(3))],
}


@pytest.mark.parametrize("rows", BROKEN.values(), ids=BROKEN.keys())
def test_what_objects_raise_is_raised_with_the_row(rows: Callable[[], Any]) -> None:
    model = gp.load(TRIPLES, features=FEATURES)
    with pytest.raises(Broken) as raised:
        model.predict_rows(rows())
    assert raised.value.__notes__ == ["while reading row 1 for model bytes"]
    assert_same(model.predict_rows([GOOD]), [GOOD])


def test_an_iter_that_fails_is_no_number() -> None:
    def iterate(_: Any) -> Any:
        message = "mine"
        raise TypeError(message)

    with pytest.raises(TypeError, match="mine"):
        made_of(TRIPLES, [broken(__iter__=iterate)])
