"""The policy for dtypes: a value comes in exactly, or rounded where that is allowed, or not at all.

What is expected is reckoned with Python's whole numbers and fractions, not with NumPy's casts, which the library
uses.
"""

from __future__ import annotations

import array
import decimal
import fractions
import math
import struct
import tracemalloc
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import glowplug
import models

if TYPE_CHECKING:
    from collections.abc import Callable

    Compare = Callable[[Any, Any], None]

MODES = ("same_kind", "strict")
TARGETS = tuple(models.DTYPES)
NUMBERS = tuple(dtype for dtype in TARGETS if dtype != "string")
# Bits of the significand, and the format in which `struct` writes it, for each float dtype.
FLOATS = {"float16": (11, "<e"), "float32": (24, "<f"), "float64": (53, "<d")}

WHOLE = sorted(
    {sign * (2**power + step) for power in (0, 3, 7, 8, 11, 15, 16, 24, 31, 32, 53, 63, 64) for step in (-1, 0, 1, 2)
     for sign in (1, -1)}
    # The largest of float16, and either side of the middle between it and infinity.
    | {0, 65504, 65519, 65520, -65519, -65520}
)  # fmt: skip
REAL = [
    0.0, -0.0, 1.0, -1.5, 0.1, 1 / 3, math.nan, math.inf, -math.inf,
    2.0**11 + 1, 2.0**24 + 1, 2.0**53 + 2,
    # Largest values, and what is rounded to them, or to infinity.
    65504.0, 65519.9, -65520.0, 3.4028234663852886e38, 3.4028235677973362e38, 3.4028235677973366e38, 1.7976931348623157e308,
    # Smallest normal numbers, subnormal ones, and what is rounded to zero.
    2.0**-14, 2.0**-24, 2.0**-25, 2.0**-126, 2.0**-149, -(2.0**-150), 2.0**-1022, 5e-324, -5e-324,
]  # fmt: skip


def values(dtype: str) -> list[int] | list[float] | list[str]:
    """Values at the edges of what a dtype holds, and of what others hold, as Python objects."""
    kind = np.dtype("object" if dtype == "string" else dtype)
    if kind.kind == "b":
        return [0, 1]
    if kind.kind in "iu":
        return [number for number in WHOLE if np.iinfo(kind).min <= number <= np.iinfo(kind).max]
    if kind.kind == "f":
        found = []
        for number in REAL:
            try:
                found.append(struct.unpack(FLOATS[dtype][1], struct.pack(FLOATS[dtype][1], number))[0])
            except OverflowError:
                continue
        return found
    return ["", "1", "1.5", "true", "größe"]


def nearest(number: int, bits: int) -> int:
    """The nearest number with a significand of so many bits; of two, that whose last bit is 0."""
    unit = 2 ** max(number.bit_length() - bits, 0)
    return round(Fraction(number, unit)) * unit


def expected(value: Any, source: str, target: str, mode: str) -> Any:
    """What becomes of one value: a Python number or text, or the class of the error."""
    if source == target:
        return value
    if "string" in {source, target}:
        return glowplug.InputTypeError
    if target in FLOATS:
        return into_float(value, source, target, mode)
    if source in FLOATS:
        return glowplug.InputTypeError
    low, high = (0, 1) if target == "bool" else (np.iinfo(target).min, np.iinfo(target).max)
    return value if low <= value <= high else glowplug.InputError


def into_float(value: Any, source: str, target: str, mode: str) -> Any:
    """What becomes of a number that goes into a float dtype."""
    bits, written = FLOATS[target]
    if source in FLOATS and FLOATS[source][0] < bits:
        return value
    if mode == "strict":
        is_exact = source not in FLOATS and abs(value) <= 2**bits
        return float(value) if is_exact else glowplug.InputTypeError
    # A whole number is rounded in one step: by way of a double it would be rounded twice.
    number = value if source in FLOATS else float(nearest(value, bits))
    try:
        return struct.unpack(written, struct.pack(written, number))[0]
    except OverflowError:
        return glowplug.InputError


def made(items: list[Any], dtype: str) -> np.ndarray[Any, Any]:
    """An array of Python objects, without rounding on the way."""
    return np.array(items, "object" if dtype == "string" else dtype)


def load(dtype: str, mode: Any, shape: models.Shape = ("N",)) -> glowplug.Model:
    """A model that gives back what it got."""
    return glowplug.load(models.identity(dtype, shape), casting=mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", TARGETS)
def test_every_dtype_to_every_dtype(source: str, target: str, mode: str, assert_same: Compare) -> None:
    """Each value alone, and all that are taken together; refusals name the value or the dtype, and the fix."""
    model = load(target, mode)
    taken = []
    for value in values(source):
        wanted = expected(value, source, target, mode)
        array_of_one = made([value], source)
        if not isinstance(wanted, type):
            assert_same(model.predict(array_of_one), made([wanted], target))
            # A scalar has the dtype of its array.
            assert_same(model.predict(array_of_one[0]), made([wanted], target))
            taken.append(value)
            continue
        for given in (array_of_one, made([value] * 3, source)):
            with pytest.raises(glowplug.InputError, match=r"^input `x` .*\n  fix: ") as caught:
                model.predict(given)
            assert type(caught.value) is wanted, f"{value!r}: {caught.value}"
            text = str(caught.value).splitlines()[0]
            assert target in text
            if wanted is glowplug.InputError:
                assert str(value) in text or repr(made([value], source)[0]) in text
            elif source != "string":
                assert source in text
    if not taken:
        return
    if taken:
        wanted_together = made([expected(value, source, target, mode) for value in taken], target)
        assert_same(model.predict(made(taken, source)), wanted_together)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("source", NUMBERS)
@pytest.mark.parametrize("target", NUMBERS)
def test_layout_makes_no_difference(source: str, target: str, mode: str) -> None:
    """Byte order, gaps and order in memory change nothing of the policy."""
    model = load(target, mode, (None, None))
    for value in (1, values(source)[-1]):
        square = np.array([[value, 0], [1, value]], source)
        gaps = np.zeros((4, 4), source)[::2, ::-2]
        gaps[...] = square
        answers = []
        for given in (square, square.astype(square.dtype.newbyteorder()), np.asfortranarray(square), gaps):
            try:
                answers.append(model.predict(given).tolist())
            except glowplug.InputError as error:
                answers.append(type(error))
        assert all(answer == answers[0] for answer in answers), answers


@pytest.mark.parametrize("target", NUMBERS)
def test_no_values(target: str) -> None:
    """Arrays without elements hold nothing that could be lost, and an empty list is one of float64."""
    for nothing in (np.zeros((0, 3), source) for source in NUMBERS):
        model = load(target, "same_kind", ("N", 3))
        assert model.predict(nothing).shape == (0, 3)


def variable_width(*texts: str) -> np.ndarray[Any, Any]:
    """Text as NumPy stores it from version 2 on."""
    return np.array(texts, np.dtypes.StringDType() if hasattr(np.dtypes, "StringDType") else str)


TYPE, VALUE = glowplug.InputTypeError, glowplug.InputError


@pytest.mark.parametrize(
    ("target", "given", "same_kind", "strict"),
    [
        pytest.param("float32", [0.1, 2], [0.1, 2.0], [0.1, 2.0], id="floats"),
        pytest.param("float16", [0.1], [0.1], [0.1], id="floats_for_half"),
        pytest.param("float32", [1, 2], [1.0, 2.0], [1.0, 2.0], id="integers"),
        pytest.param("float32", [2**24], [2.0**24], [2.0**24], id="integers_up_to_2**24"),
        pytest.param("float32", [2**24 + 1], [2.0**24], VALUE, id="integers_above_2**24"),
        pytest.param("float64", [2**53 + 1], [2.0**53], VALUE, id="integers_above_2**53"),
        pytest.param("float16", [2**11 + 1], [2.0**11], VALUE, id="integers_above_2**11"),
        pytest.param("float64", [1, 2**64 - 1], [1.0, 2.0**64], VALUE, id="integers_of_two_dtypes"),
        pytest.param("float32", [-1, 2**64 - 1], [-1.0, 2.0**64], VALUE, id="integers_of_no_dtype"),
        pytest.param("float16", [70000], VALUE, VALUE, id="integers_above_half"),
        pytest.param("float32", [1e39], VALUE, VALUE, id="floats_to_infinity"),
        pytest.param("float32", [1.0, -1e300], VALUE, VALUE, id="one_float_to_infinity"),
        pytest.param("float32", [math.inf, math.nan], [math.inf, math.nan], [math.inf, math.nan], id="infinite"),
        pytest.param("float32", [True, False], [1.0, 0.0], [1.0, 0.0], id="bools"),
        pytest.param("float32", [True, 2, 0.5], [1.0, 2.0, 0.5], [1.0, 2.0, 0.5], id="mixed"),
        pytest.param("float32", [10**30], [1e30], VALUE, id="integers_above_64_bits"),
        pytest.param("float32", [10**40], VALUE, VALUE, id="integers_to_infinity"),
        pytest.param("float32", [1.5, None], TYPE, TYPE, id="missing"),
        pytest.param("float32", [1.5, "2"], TYPE, TYPE, id="text_among_numbers"),
        pytest.param("float32", ["1.5"], TYPE, TYPE, id="numbers_as_text"),
        pytest.param("float32", [b"1.5"], TYPE, TYPE, id="numbers_as_bytes"),
        pytest.param("float32", [1j], TYPE, TYPE, id="complex"),
        pytest.param("float32", [[1.0], [2.0]], VALUE, VALUE, id="nested"),
        pytest.param("float32", [np.float64(0.1)], [0.1], [0.1], id="list_of_numpy_floats"),
        pytest.param("float32", [np.float32(0.1)], [0.1], [0.1], id="list_of_same_floats"),
        pytest.param("float32", (0.5, 1), [0.5, 1.0], [0.5, 1.0], id="tuple"),
        pytest.param("float32", range(3), [0.0, 1.0, 2.0], [0.0, 1.0, 2.0], id="range"),
        pytest.param("float32", array.array("f", [0.5]), [0.5], [0.5], id="buffer"),
        pytest.param("float32", array.array("d", [0.5]), [0.5], TYPE, id="buffer_of_doubles"),
        pytest.param("float32", memoryview(np.array([0.5])), [0.5], TYPE, id="memoryview_of_doubles"),
        pytest.param("float32", 0.1, [0.1], [0.1], id="float"),
        pytest.param("float32", 3, [3.0], [3.0], id="integer"),
        pytest.param("float32", True, [1.0], [1.0], id="bool"),
        pytest.param("float32", np.float32(0.1), [0.1], [0.1], id="numpy_float32"),
        pytest.param("float32", np.float16(0.5), [0.5], [0.5], id="numpy_float16"),
        pytest.param("float32", np.float64(0.5), [0.5], TYPE, id="numpy_float64"),
        pytest.param("float32", np.longdouble(0.5), [0.5], TYPE, id="numpy_longdouble"),
        pytest.param("float64", np.longdouble(0.5), [0.5], TYPE, id="numpy_longdouble_for_double"),
        pytest.param("float32", np.int64(5), [5.0], [5.0], id="numpy_int64"),
        pytest.param("float32", np.int64(2**24 + 1), [2.0**24], TYPE, id="numpy_int64_above_2**24"),
        pytest.param("float32", np.bool_(True), [1.0], [1.0], id="numpy_bool"),
        pytest.param("float32", np.str_("1"), TYPE, TYPE, id="numpy_text"),
        pytest.param("float32", np.datetime64(1, "s"), TYPE, TYPE, id="numpy_time"),
        pytest.param("float32", decimal.Decimal(1), TYPE, TYPE, id="decimal"),
        pytest.param("float32", fractions.Fraction(1, 2), TYPE, TYPE, id="fraction"),
        pytest.param("float32", np.array([1.5], object), TYPE, TYPE, id="objects"),
        pytest.param("int64", [1, 2], [1, 2], [1, 2], id="whole"),
        pytest.param("int64", [1.0], TYPE, TYPE, id="floats_for_whole"),
        pytest.param("int64", 1.0, TYPE, TYPE, id="float_for_whole"),
        pytest.param("int64", [True], [1], [1], id="bools_for_whole"),
        pytest.param("int64", [2**63 - 1, -(2**63)], [2**63 - 1, -(2**63)], [2**63 - 1, -(2**63)], id="all_of_int64"),
        pytest.param("int64", [2**63], VALUE, VALUE, id="above_int64"),
        pytest.param("int64", [0, 2**63], VALUE, VALUE, id="one_above_int64"),
        pytest.param("int64", [2**64], VALUE, VALUE, id="above_64_bits"),
        pytest.param("uint64", [2**64 - 1], [2**64 - 1], [2**64 - 1], id="most_of_uint64"),
        pytest.param("uint64", [1, 2**64 - 1], [1, 2**64 - 1], [1, 2**64 - 1], id="all_of_uint64"),
        pytest.param("uint64", [-1], VALUE, VALUE, id="below_uint64"),
        pytest.param("int8", [127, -128], [127, -128], [127, -128], id="all_of_int8"),
        pytest.param("int8", [128], VALUE, VALUE, id="above_int8"),
        pytest.param("uint8", [-1], VALUE, VALUE, id="below_uint8"),
        pytest.param("bool", [0, 1], [False, True], [False, True], id="whole_for_bool"),
        pytest.param("bool", [2], VALUE, VALUE, id="two_for_bool"),
        pytest.param("bool", [1.0], TYPE, TYPE, id="floats_for_bool"),
        pytest.param("string", ["a", ""], ["a", ""], ["a", ""], id="texts"),
        pytest.param("string", ["a\0", "b"], ["a\0", "b"], ["a\0", "b"], id="texts_ending_in_zero"),
        pytest.param("string", ["a", 1], TYPE, TYPE, id="number_among_texts"),
        pytest.param("string", ["a", True], TYPE, TYPE, id="bool_among_texts"),
        pytest.param("string", ["a", 1.5], TYPE, TYPE, id="float_among_texts"),
        pytest.param("string", ["a", None], TYPE, TYPE, id="missing_text"),
        pytest.param("string", ["a", math.nan], TYPE, TYPE, id="nan_text"),
        pytest.param("string", [1], TYPE, TYPE, id="numbers_for_text"),
        pytest.param("string", [b"gr\xc3\xb6\xc3\x9fe"], ["größe"], ["größe"], id="bytes_for_text"),
        pytest.param("string", np.array([b"a", b"gr\xc3\xb6"]), ["a", "grö"], ["a", "grö"], id="array_of_bytes"),
        pytest.param("string", [b"\xff"], VALUE, VALUE, id="bytes_that_are_no_text"),
        pytest.param("string", ["\ud800"], VALUE, VALUE, id="lone_surrogate"),
        pytest.param("string", "a", ["a"], ["a"], id="text"),
        pytest.param("string", np.array(["a", "größe"]), ["a", "größe"], ["a", "größe"], id="fixed_width"),
        pytest.param("string", variable_width("a", "größe"), ["a", "größe"], ["a", "größe"], id="variable_width"),
        pytest.param("string", np.array([b"a", b"b"], object), ["a", "b"], ["a", "b"], id="objects_of_bytes"),
        pytest.param("string", np.array([b"a", "b"], object)[::-1], ["b", "a"], ["b", "a"], id="objects_of_both"),
        pytest.param("string", np.array(["a", np.str_("b")], object), ["a", "b"], ["a", "b"], id="objects_of_text"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mode", MODES)
def test_python_values(
    mode: str, target: str, given: Any, *, same_kind: Any, strict: Any, assert_same: Compare
) -> None:
    """Python's numbers have no dtype to be held to, but whole numbers are not rounded in strict mode either."""
    wanted = strict if mode == "strict" else same_kind
    for value in (given, {"x": given}):
        if isinstance(wanted, type):
            with pytest.raises(glowplug.InputError, match=r"^input `x` .*\n  fix: ") as caught:
                load(target, mode).predict(value)
            assert isinstance(caught.value, wanted), caught.value
        else:
            assert_same(load(target, mode).predict(value), made(wanted, target))


def test_lists_of_text_are_not_blown_up() -> None:
    """One long text among short ones does not make all of them long, as NumPy's own idea of such a list does."""
    texts = ["x" * 2**20, *["a"] * 30]
    model = load("string", "same_kind")
    tracemalloc.start()
    try:
        assert model.predict(texts).tolist() == texts
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * 2**20


@pytest.mark.parametrize("mode", MODES)
def test_state_of_numpy_makes_no_difference(mode: str) -> None:
    """Neither signalling NaNs nor what the caller set for NumPy's floating-point errors gets in the way."""
    signalling = np.array([0x7FF0000000000001, 0x7FF8000000000000], np.uint64).view(np.float64)
    halves = np.array([0x7C01, 0x7E00], np.uint16).view(np.float16)
    assert np.isnan(load("float32", mode).predict(halves)).all()
    if mode == "strict":
        return
    model = load("float32", mode)
    assert np.isnan(model.predict(signalling)).all()
    with np.errstate(all="raise"):
        assert model.predict(np.array([1e-310, -(2.0**-149), 0.5])).tolist() == [0.0, -(2.0**-149), 0.5]
        with pytest.raises(glowplug.InputError, match=r"1e\+300"):
            model.predict(np.array([1e300]))
    assert model.predict([1e-310]).tolist() == [0.0]


def test_frames_in_strict_mode(assert_same: Compare) -> None:
    """The columns of a frame have dtypes, and are held to them like arrays."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [0.1], "b": [0.2]})
    single, columns = load("float32", "strict", ("N", 2)), glowplug.load(models.two_inputs(), casting="strict")
    narrow = frame.astype(np.float32)
    assert_same(single.predict(narrow), narrow.to_numpy())
    pairs = {"a": [[1, 2]], "b": [[3, 4]]}
    assert columns.predict(pairs).tolist() == [[4, 6]]
    for given in (frame, frame["a"], frame.to_numpy()):
        with pytest.raises(glowplug.InputTypeError, match=r"float64.*\n  fix: "):
            load("float32", "strict", ("N", None)).predict(given)
    whole = pandas.DataFrame({"a": [2**24], "b": [1]})
    assert single.predict(whole).tolist() == [[2.0**24, 1]]
    with pytest.raises(glowplug.InputError, match="\n  fix: "):
        single.predict(whole + 1)


@pytest.mark.parametrize("target", ["float16", "float32", "int8"])
@pytest.mark.parametrize("name", ["bfloat16", "float8_e5m2", "float8_e4m3fn", "float8_e4m3", "int4", "uint4"])
def test_extension_dtypes(name: str, target: str) -> None:
    """Dtypes that NumPy does not know itself are refused or right, never taken for others of their size."""
    extensions = pytest.importorskip("ml_dtypes")
    try:
        answer = load(target, "same_kind").predict(np.array([1, 2, 3], getattr(extensions, name)))
    except glowplug.InputTypeError as error:
        told = str(error)
    else:
        assert answer.tolist() == [1, 2, 3]
        return
    assert name in told


def test_casting_is_part_of_the_model() -> None:
    """The mode belongs to the object: two of one session may differ."""
    content, doubles = models.identity(), np.full((1, 3), 0.5)
    lenient, strict = glowplug.load(content), glowplug.load(content, casting="strict")
    assert lenient.predict(doubles).tolist() == [[0.5] * 3]
    with pytest.raises(glowplug.InputTypeError, match="strict"):
        strict.predict(doubles)
    assert lenient.predict(doubles).tolist() == [[0.5] * 3]
    assert strict.predict(doubles.tolist()).tolist() == [[0.5] * 3]
    for mode in ("unsafe", "", None, 1):
        with pytest.raises(glowplug.OptionError, match=r"`casting`.*\n  fix: "):
            glowplug.load(content, casting=mode)  # type: ignore[arg-type]
