"""What pools of processes are given to do. It imports little, because every child that is spawned imports it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

import glowplug

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What `keep` was given: a model that reached the child once rather than with every task.
_kept: dict[str, glowplug.Model] = {}


def zeros() -> np.ndarray[Any, np.dtype[np.float32]]:
    """One row for the models of `worker_tools.adding`."""
    return np.zeros((1, 2), np.float32)


def answer(model: glowplug.Model) -> float:
    """The number by which a model of `worker_tools.adding` is known."""
    predicted = model.predict(zeros())
    assert isinstance(predicted, np.ndarray)
    assert predicted.shape == (1, 2)
    assert predicted[0, 0] == predicted[0, 1]
    return float(predicted[0, 0])


def score(model: glowplug.Model, rows: np.ndarray[Any, Any]) -> tuple[int, bytes]:
    """The process that scored, and the bits of its answer."""
    predicted = model.predict(rows)
    assert isinstance(predicted, np.ndarray)
    return os.getpid(), predicted.tobytes()


def keep(model: glowplug.Model) -> None:
    """Holds a model for `score_kept`."""
    _kept["model"] = model


def score_kept(rows: np.ndarray[Any, Any]) -> tuple[int, bytes]:
    """Scores with the model that `keep` was given."""
    return score(_kept["model"], rows)


def load_and_score(path: str, options: Mapping[str, Any], rows: np.ndarray[Any, Any]) -> tuple[int, bytes]:
    """Scores with a model that this process loads, or has loaded."""
    return score(glowplug.load(path, **options), rows)
