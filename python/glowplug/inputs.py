"""What becomes of inputs that cannot be read in place: the policy for dtypes, layouts and containers.

One rule decides about lossy casts. Into a float dtype, values may be rounded, but not overflow to infinity. Into an integer
or bool dtype, every value must be representable exactly, and floats never go in. Text and numbers do not mix. With
`casting="strict"` rounding is refused as well, except for Python floats, which have no other dtype to come in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from glowplug.errors import InputError, InputTypeError, OutOfMemoryError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from glowplug._core import ModelHandle, TensorSpec

    Prepared = NDArray[Any] | dict[str, NDArray[Any]]

#: Largest whole number up to which every one is representable: 2 to the number of bits of the significand.
_EXACT_UP_TO = {"float16": 2**11, "float32": 2**24, "float64": 2**53}
_NUMBERS = "biuf"
_FLOAT = "f"


def prepare(handle: ModelHandle, inputs: Any, casting: str) -> tuple[Prepared, int]:
    """Make arrays that the core can read in place.

    Returns:
        The array for a single input, or a dict of them by input name; and how many had to be copied.
    """
    named = _by_name(handle, inputs)
    if named is None:
        array, copied = _convert(handle, handle.sole_input(), inputs, casting)
        return array, int(copied)
    arrays: dict[str, NDArray[Any]] = {}
    copies = 0
    for name, value in named.items():
        if not isinstance(name, str):
            message = f"{handle.name}: got {name!r} as an input's name, expected a string\n  fix: use the model's input names as keys"
            raise InputTypeError(message)
        arrays[name], copied = _convert(handle, handle.input(name), value, casting)
        copies += copied
    return arrays, copies


def both_columns(positive: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Probabilities `[rows, 2]` from those of the second class, `[rows]` or `[rows, 1]`."""
    column = positive.reshape(-1, 1)
    return np.concatenate([1 - column, column], axis=1)


def _by_name(handle: ModelHandle, inputs: Any) -> Mapping[Any, Any] | None:
    if isinstance(inputs, Mapping):
        return inputs
    # Frames of pandas and polars: by column for a model with several inputs, as a matrix for one.
    if hasattr(inputs, "columns") and hasattr(inputs, "__getitem__") and len(handle.inputs) > 1:
        return {str(name): inputs[name] for name in inputs.columns}
    return None


def _convert(handle: ModelHandle, spec: TensorSpec, value: Any, casting: str) -> tuple[NDArray[Any], bool]:
    subject = f"input `{spec.name}` of {handle.name}"
    try:
        return _ready(subject, spec, value, casting)
    except MemoryError as error:
        message = (
            f"{subject}: {error}\n"
            f"  fix: pass an array of dtype {spec.dtype} in C order, which is not copied, or fewer rows per call"
        )
        raise OutOfMemoryError(message) from error


def _ready(subject: str, spec: TensorSpec, value: Any, casting: str) -> tuple[NDArray[Any], bool]:
    if not spec.is_tensor:
        message = f"{subject}: the model wants {spec.dtype}, which cannot be made from an array\n  fix: export the model with tensor inputs"
        raise InputTypeError(message)
    array = _as_array(subject, spec, value)
    if spec.dtype == "string":
        ready = _texts(subject, array)
    else:
        is_strict = casting == "strict" and hasattr(value, "dtype")
        ready = _numbers(subject, spec.dtype, array, is_strict=is_strict)
    ready = np.asarray(ready, order="C")
    if not ready.flags.aligned:
        ready = ready.copy()
    return ready, not np.may_share_memory(ready, value) if isinstance(value, np.ndarray) else True


def _as_array(subject: str, spec: TensorSpec, value: Any) -> NDArray[Any]:
    if value is None:
        message = f"{subject}: got None, expected an array of {spec.dtype}\n  fix: pass the input's values"
        raise InputTypeError(message)
    # Not by `numpy.ma.MaskedArray`: naming it imports `numpy.ma`, 20 ms that nearly nobody needs.
    if isinstance(value, np.ndarray) and getattr(value, "mask", None) is not None and np.any(value.mask):
        message = f"{subject}: got an array with masked values, expected plain values\n  fix: fill them, for example with `array.filled(numpy.nan)`"
        raise InputError(message)
    try:
        return np.asarray(value)
    except (ValueError, TypeError) as error:
        message = f"{subject}: got a {type(value).__name__} that NumPy makes no array of ({error})\n  fix: pass rows of equal length"
        raise InputTypeError(message) from error
    except MemoryError:
        raise
    except Exception as error:
        message = f"{subject}: got a {type(value).__name__} whose conversion to an array fails ({error!r})\n  fix: pass a NumPy array"
        raise InputTypeError(message) from error


def _texts(subject: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind in "OUT":
        return array.astype(object, copy=False)
    if array.dtype.kind == "S":
        try:
            return np.char.decode(array, "utf-8").astype(object)
        except UnicodeDecodeError as error:
            message = f"{subject}: got bytes that are not UTF-8 ({error})\n  fix: decode them to str first"
            raise InputError(message) from error
    message = f"{subject}: got dtype {array.dtype}, expected string\n  fix: pass an array of str, for example `array.astype(str)`"
    raise InputTypeError(message)


def _numbers(subject: str, wanted: str, array: NDArray[Any], *, is_strict: bool) -> NDArray[Any]:
    target = np.dtype(wanted)
    kind = array.dtype.kind
    if array.dtype == target or np.can_cast(array.dtype, target, "safe"):
        if kind in _NUMBERS:
            return array.astype(target, order="C", copy=False)
    elif kind in _NUMBERS and target.kind == _FLOAT:
        return _rounded(subject, target, array, is_strict=is_strict)
    elif kind in "biu":
        return _exact(subject, target, array)
    raise _refused(subject, wanted, array)


def _rounded(subject: str, target: np.dtype[Any], array: NDArray[Any], *, is_strict: bool) -> NDArray[Any]:
    if is_strict:
        limit = _EXACT_UP_TO[target.name]
        if array.dtype.kind == _FLOAT or array.size and (int(array.max()) > limit or int(array.min()) < -limit):
            message = (
                f"{subject}: got dtype {array.dtype}, expected {target}, and casting is strict\n"
                f"  fix: pass `array.astype(numpy.{target})`, or load the model without `casting=\"strict\"`"
            )
            raise InputTypeError(message)
    with np.errstate(over="ignore"):
        rounded = array.astype(target, order="C")
    overflowed = np.isinf(rounded)
    if overflowed.any():
        overflowed &= np.isfinite(array)
        if overflowed.any():
            worst = array[overflowed].flat[0]
            message = f"{subject}: got the value {worst!r}, expected values that fit {target}\n  fix: scale or clip the values"
            raise InputError(message)
    return rounded


def _exact(subject: str, target: np.dtype[Any], array: NDArray[Any]) -> NDArray[Any]:
    low, high = (0, 1) if target.kind == "b" else (np.iinfo(target).min, np.iinfo(target).max)
    if array.size and not (low <= int(array.min()) and int(array.max()) <= high):
        worst = array.min() if int(array.min()) < low else array.max()
        message = f"{subject}: got the value {int(worst)}, expected {low} to {high} for dtype {target}\n  fix: check the values; none may be lost"
        raise InputError(message)
    return array.astype(target, order="C")


def _refused(subject: str, wanted: str, array: NDArray[Any]) -> InputTypeError:
    kind = array.dtype.kind
    if kind == _FLOAT:
        fix = f"floats are not cut to {wanted}; if that is meant, pass `array.astype(numpy.{wanted})`"
    elif kind == "O":
        fix = f"pass an array of numbers, for example `array.astype(numpy.{wanted})`; fill missing values first"
    elif kind in "UST":
        fix = f"text is not parsed; if it holds numbers, pass `array.astype(numpy.{wanted})`"
    else:
        fix = f"convert the values to {wanted} first"
    return InputTypeError(f"{subject}: got dtype {array.dtype}, expected {wanted}\n  fix: {fix}")
