"""LightGBM's C API for single rows, which prepares a prediction once: its fastest way to score one row."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np
from lightgbm.basic import _LIB  # The library has no public handle.

if TYPE_CHECKING:
    import lightgbm

FLOAT64, SCORES = 1, 0


class SingleRow:
    """Scores a contiguous row of float64; the array it gives is the same for each call."""

    def __init__(self, booster: lightgbm.Booster) -> None:
        """Prepares the prediction, with one thread."""
        self._booster = booster  # Owns what the prepared prediction points at.
        self._scores = np.empty((1, booster.num_model_per_iteration()))
        self._length = ctypes.c_int64()
        self._prepared = ctypes.c_void_p()
        columns, options = ctypes.c_int32(booster.num_feature()), ctypes.c_char_p(b"num_threads=1")
        handle = booster._handle  # noqa: SLF001
        code = _LIB.LGBM_BoosterPredictForMatSingleRowFastInit(
            handle, SCORES, 0, -1, FLOAT64, columns, options, ctypes.byref(self._prepared)
        )
        assert code == 0, "LightGBM's C API failed"
        self._call: Any = _LIB.LGBM_BoosterPredictForMatSingleRowFast
        self._into = ctypes.c_void_p(self._scores.__array_interface__["data"][0])
        self._length_at = ctypes.byref(self._length)

    def __call__(self, rows: Any) -> Any:
        """The scores `[1, classes]` of the first row."""
        at = ctypes.c_void_p(rows.__array_interface__["data"][0])
        code = self._call(self._prepared, at, self._length_at, self._into)
        assert code == 0, "LightGBM's C API failed"
        return self._scores
