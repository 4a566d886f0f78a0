"""Rows and predictions as NumPy's `.npy`; imported by the first request that has such a body."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.lib import format as npy

from glowplug.errors import InputError, InputTypeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Bytes of a `.npy` header, which `numpy.save` fills with the shape and the dtype of even a record in far less.
MOST_HEADER = 10_000


def read_npy(body: bytes) -> np.ndarray[Any, Any]:
    """Read an array in place, believing the bytes that are there and not the header that describes them.

    Raises:
        InputError: This is no `.npy`, holds Python objects, or its bytes are not those of its shape.
    """
    fix = "send what `numpy.save` writes of an array of numbers"
    stream = BytesIO(body)
    try:
        readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
        shape, is_fortran, dtype = readers[npy.read_magic(stream)](stream, max_header_size=MOST_HEADER)
    except Exception as error:  # noqa: BLE001 - the header is Python text, and its readers raise what they like
        problem = f"is not a .npy file: {str(error).splitlines()[0][:200] if str(error) else type(error).__name__}"
        raise InputError.about(".npy body", problem, fix) from None
    if dtype.kind not in "biufSU" or not dtype.itemsize:
        raise InputTypeError.about(".npy body", f"got the dtype {dtype!s:.60}, expected numbers", fix)
    count, start = 1, stream.tell()
    for size in shape:
        count *= size
    if min(shape, default=0) < 0 or count * dtype.itemsize != len(body) - start:
        expected = f"expected {count * dtype.itemsize} for {dtype!s} of shape {tuple(shape)!s:.100}"
        raise InputError.about(".npy body", f"got {len(body) - start} bytes of elements, {expected}", fix)
    array = np.frombuffer(body, dtype, count, start) if count else np.empty(0, dtype)
    try:
        return array.reshape(shape, order="F" if is_fortran else "C")
    except (ValueError, OverflowError) as error:
        # More axes, or more in one of them, than an array may have.
        problem = f"has the shape {tuple(shape)!s:.100}, which no array has: {error!s:.100}"
        raise InputError.about(".npy body", problem, fix) from None


def array_of(answer: Any) -> np.ndarray[Any, Any] | None:
    """The answer as an array of numbers or text, or `None` if it is none: a hook may have made anything of it."""
    if isinstance(answer, np.ndarray):
        return answer
    if not isinstance(answer, list):
        return None
    try:
        array = np.asarray(answer)
    except (ValueError, OverflowError):
        return None
    return array if array.dtype.kind in "biufU" else None


def npy_bytes(array: np.ndarray[Any, Any]) -> bytes:
    """The array as `numpy.save` writes it."""
    stream = BytesIO()
    npy.write_array(stream, array, allow_pickle=False)
    return stream.getvalue()
