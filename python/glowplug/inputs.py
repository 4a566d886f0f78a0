"""What becomes of inputs that cannot be read in place: the policy for dtypes, layouts and containers.

One rule decides about lossy casts. Into a float dtype, values may be rounded, but not overflow to infinity. Into an
integer or bool dtype, every value must be representable exactly, and floats never go in. Text and numbers do not mix.
With `casting="strict"` rounding is refused as well, except for Python floats, which have no other dtype to come in.
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
#: Bytes of the integers that no float dtype holds all of.
_WIDEST = 8
_WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")
#: Containers and numbers of Python itself, which have no dtype of their own.
_PYTHON = (list, tuple, range, int, float, str, bytes)


def prepare(handle: ModelHandle, inputs: Any, casting: str) -> tuple[Prepared, int]:
    """Make arrays that the core can read in place.

    Returns:
        The array for a single input, or a dict of them by input name; and how many had to be copied.
    """
    named = _by_name(handle, inputs)
    if named is None:
        array, copied = _convert(handle, handle.sole_input(), _in_order(handle, inputs), casting)
        return array, int(copied)
    arrays: dict[str, NDArray[Any]] = {}
    copies = 0
    for name, value in named.items():
        if not isinstance(name, str):
            problem = f"got {name!r} as an input's name, expected a string"
            raise InputTypeError.about(handle.name, problem, "use the model's input names as keys")
        arrays[name], copied = _convert(handle, handle.input(name), value, casting)
        copies += copied
    return arrays, copies


def _by_name(handle: ModelHandle, inputs: Any) -> Mapping[Any, Any] | None:
    if isinstance(inputs, Mapping):
        return inputs
    # Frames of pandas and polars: by column if the columns are inputs, as a matrix for the one input that is required.
    if hasattr(inputs, "columns") and hasattr(inputs, "__getitem__"):
        columns = [str(name) for name in inputs.columns]
        are_inputs = {spec.name for spec in handle.inputs}.issuperset(columns)
        if are_inputs or sum(spec.required for spec in handle.inputs) > 1:
            return {str(name): inputs[name] for name in inputs.columns}
    return None


def _in_order(handle: ModelHandle, inputs: Any) -> Any:
    """A frame with the columns that the model's features name, in their order, or a row of one; anything else as it is."""
    features = handle.features
    if features is None or not hasattr(inputs, "__getitem__"):
        return inputs
    if hasattr(inputs, "columns"):
        kind, columns = "a frame", list(inputs.columns)
    elif hasattr(inputs, "to_frame") and hasattr(inputs, "index") and len(features) > 1:
        # One column would be rows, whose labels are no names of features.
        kind, columns = "a row", list(inputs.index)
    else:
        return inputs
    # Columns without names, such as the numbers that pandas makes up, say nothing about their order.
    if columns == features or not all(isinstance(name, str) for name in columns):
        return inputs
    missing = [name for name in features if name not in columns]
    if missing:
        problem = f"got {kind} without the columns {missing}, expected {features}"
        raise InputError.about(handle.name, problem, "add or rename the columns, or load the model with `features=[…]`")
    return inputs[features]


def _convert(handle: ModelHandle, spec: TensorSpec, value: Any, casting: str) -> tuple[NDArray[Any], bool]:
    subject = f"input `{spec.name}` of {handle.name}"
    try:
        return _ready(subject, spec, value, casting)
    except MemoryError as error:
        fix = f"pass an array of dtype {spec.dtype} in C order, which is not copied, or fewer rows per call"
        raise OutOfMemoryError.about(subject, str(error), fix) from error


def _ready(subject: str, spec: TensorSpec, value: Any, casting: str) -> tuple[NDArray[Any], bool]:
    if not spec.is_tensor:
        problem = f"the model wants {spec.dtype}, which cannot be made from an array"
        raise InputTypeError.about(subject, problem, "export the model with tensor inputs")
    array = _as_array(subject, spec, value, casting)
    if spec.dtype == "string":
        # The core copies text in any case, and counts it.
        return _texts(subject, array), False
    is_strict = casting == "strict" and not (array.dtype.kind == _FLOAT and _is_python(value))
    ready = np.asarray(_numbers(subject, spec.dtype, array, is_strict=is_strict), order="C")
    if not ready.flags.aligned:
        ready = ready.copy()
    # An array of its own memory that is not the value was made from a list or the like.
    is_view = array is value or array.base is not None
    return ready, not (is_view and np.may_share_memory(ready, array))


def _refuse_categories(subject: str, value: Any) -> None:
    """Categories of pandas that are numbers would be read as these, where LightGBM and XGBoost have learned their codes."""
    dtypes = getattr(value, "dtypes", None)
    if dtypes is None or not hasattr(value, "columns"):
        return
    names = [
        str(name)
        for name, dtype in zip(value.columns, dtypes, strict=False)
        if getattr(dtype, "name", "") == "category"
    ]
    if names:
        problem = f"got a frame with categories in {names}, which a model may know by their codes or by their values"
        fix = (
            "pass what it was trained with: for LightGBM and XGBoost `frame[name].cat.codes`, with the training's categories"
            " and NaN for -1; for scikit-learn numbers, as `frame.astype(float)`"
        )
        raise InputTypeError.about(subject, problem, fix)


def _as_array(subject: str, spec: TensorSpec, value: Any, casting: str) -> NDArray[Any]:
    if value is None:
        raise InputTypeError.about(subject, f"got None, expected an array of {spec.dtype}", "pass the input's values")
    # Not by `numpy.ma.MaskedArray`: naming it imports `numpy.ma`, 20 ms that nearly nobody needs.
    if isinstance(value, np.ndarray) and np.any(getattr(value, "mask", False)):
        problem, fix = "got an array with masked values, expected plain values", "fill them: `array.filled(numpy.nan)`"
        raise InputError.about(subject, problem, fix)
    if spec.dtype != "string":
        _refuse_categories(subject, value)
    if hasattr(value, "toarray"):
        problem = f"got a sparse {type(value).__name__}, expected an array of {spec.dtype}"
        fix = "pass `matrix.toarray()`; what is not stored is 0 there, which XGBoost takes for missing: put NaN in its place"
        raise InputTypeError.about(subject, problem, fix)
    kind = type(value).__name__
    try:
        if spec.dtype == "string" and _is_python(value):
            # NumPy's own text would cut zero characters off, pad all to the longest, and make text of numbers.
            return np.asarray(value, dtype=object)
        array = np.asarray(value)
        if array.dtype.kind in "fO" and (spec.dtype in _WHOLE or casting == "strict") and _is_python(value):
            return _whole_numbers(array, value)
    except (ValueError, TypeError) as error:
        problem = f"got a {kind} that NumPy makes no array of ({error})"
        raise InputTypeError.about(subject, problem, "pass rows of equal length") from error
    except MemoryError:
        raise
    except Exception as error:
        problem = f"got a {kind} whose conversion to an array fails ({error!r})"
        raise InputTypeError.about(subject, problem, "pass a NumPy array") from error
    return array


def _is_python(value: Any) -> bool:
    # `numpy.float64` is a `float`, but has a dtype.
    return isinstance(value, _PYTHON) and not hasattr(value, "dtype")


def _whole_numbers(array: NDArray[Any], value: Any) -> NDArray[Any]:
    """The array of Python integers that no dtype holds together, such as -1 and 2**63, or of none at all."""
    objects = np.asarray(value, dtype=object)
    return objects if _are_whole(objects) else array


def _texts(subject: str, array: NDArray[Any]) -> NDArray[Any]:
    kind = array.dtype.kind
    if kind not in "OUTS" and array.size:
        problem = f"got dtype {array.dtype}, expected string"
        raise InputTypeError.about(subject, problem, "pass an array of str, for example `array.astype(str)`")
    # Bytes are decoded by the core.
    return np.asarray(array.astype(object, copy=False), order="C")


def _numbers(subject: str, wanted: str, array: NDArray[Any], *, is_strict: bool) -> NDArray[Any]:
    target = np.dtype(wanted)
    kind = array.dtype.kind
    if array.size == 0 and kind in _NUMBERS:
        # Nothing can be lost, and an empty list has the dtype float64.
        return array.astype(target, order="C", copy=False)
    # NumPy calls int64 to float64 safe, but float64 has 53 bits for it.
    is_wide = target.kind == _FLOAT and kind in "iu" and array.dtype.itemsize == _WIDEST
    if array.dtype == target or (np.can_cast(array.dtype, target, "safe") and not is_wide):
        if kind in _NUMBERS:
            return array.astype(target, order="C", copy=False)
    elif kind == "O" and not _are_whole(array):
        pass
    elif kind in _NUMBERS + "O" and target.kind == _FLOAT:
        return _rounded(subject, target, array, is_strict=is_strict)
    elif kind in "biuO":
        return _exact(subject, target, array)
    raise _refused(subject, wanted, array)


def _are_whole(objects: NDArray[Any]) -> bool:
    """Whether these are Python integers only, which come as objects if they need more than 64 bits."""
    return objects.size > 0 and all(isinstance(item, (int, np.integer)) for item in objects.flat)


def _rounded(subject: str, target: np.dtype[Any], array: NDArray[Any], *, is_strict: bool) -> NDArray[Any]:
    if is_strict:
        limit = _EXACT_UP_TO[target.name]
        is_beyond = array.dtype.kind != _FLOAT and array.size > 0 and (array.max() > limit or array.min() < -limit)
        if array.dtype.kind == _FLOAT or is_beyond:
            problem = f"got dtype {array.dtype}, expected {target}, and casting is strict"
            fix = f'pass `array.astype(numpy.{target})`, or load the model without `casting="strict"`'
            raise InputTypeError.about(subject, problem, fix)
    try:
        with np.errstate(all="ignore"):
            rounded = array.astype(target, order="C")
    except OverflowError as error:
        raise InputError.about(
            subject, f"got a value that does not fit {target} ({error})", "scale the values"
        ) from error
    overflowed = np.isinf(rounded)
    if overflowed.any():
        if array.dtype.kind == _FLOAT:
            overflowed &= np.isfinite(array)
        if overflowed.any():
            worst = array[overflowed].flat[0]
            problem = f"got the value {worst}, expected values that fit {target}"
            raise InputError.about(subject, problem, "scale or clip the values")
    return rounded


def _exact(subject: str, target: np.dtype[Any], array: NDArray[Any]) -> NDArray[Any]:
    low, high = (0, 1) if target.kind == "b" else (int(np.iinfo(target).min), int(np.iinfo(target).max))
    if array.size:
        least, most = int(array.min()), int(array.max())
        if least < low or most > high:
            problem = f"got the value {least if least < low else most}, expected {low} to {high} for dtype {target}"
            raise InputError.about(subject, problem, "check the values; none may be lost")
    return array.astype(target, order="C")


def _refused(subject: str, wanted: str, array: NDArray[Any]) -> InputTypeError:
    kind = array.dtype.kind
    if kind == _FLOAT:
        fix = f"floats are not cut to {wanted}; if that is meant, pass `array.astype(numpy.{wanted})`"
    elif kind == "O" and array.size and isinstance(array.flat[0], Mapping):
        fix = "rows by name go to `predict_rows`; pass a matrix, or a frame"
    elif kind == "O":
        fix = f"pass an array of numbers, for example `array.astype(numpy.{wanted})`; fill missing values first"
    elif kind in "UST":
        fix = f"text is not parsed; if it holds numbers, pass `array.astype(numpy.{wanted})`"
    else:
        fix = f"convert the values to {wanted} first"
    return InputTypeError.about(subject, f"got dtype {array.dtype}, expected {wanted}", fix)
