"""Estimators of LightGBM, XGBoost and CatBoost: their own files are read, so these are what they become."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from glowplug.convert.file import Answer, wrap
from glowplug.errors import ModelError, UnsupportedModelError


def content_of(estimator: Any, kind: str) -> bytes | None:
    """The model's content, or nothing if the estimator is of none of them. None of the libraries is imported."""
    for one in type(estimator).__mro__:
        of_library = LIBRARIES.get(one.__module__.split(".")[0])
        if of_library is not None and hasattr(one, "fit"):
            return of_library(estimator, kind)
    return None


def of_lightgbm(estimator: Any, kind: str) -> bytes:
    """LightGBM's text. Labels of classes, which are not in it, come before it."""
    if not estimator.__sklearn_is_fitted__():
        raise not_fitted(kind)
    # Up to the best iteration, if the training was stopped early: as `predict` does.
    content: bytes = estimator.booster_.model_to_string().encode()
    if not hasattr(estimator, "classes_"):
        return content
    if callable(estimator.objective_):
        problem = "has an objective of its own, whose classes are not known"
        raise UnsupportedModelError.about(kind, problem, "save its `booster_` with `save_model`")
    classes = estimator.classes_.tolist()
    choice = "beyond" if len(classes) == 2 else "largest"
    labels = classes if isinstance(classes[0], str) else [int(one) for one in classes]
    return wrap(content, "lightgbm", Answer(choice=choice, bound=0.5, labels=labels), f"LightGBM {kind}")


def of_xgboost(estimator: Any, kind: str) -> bytes:
    """XGBoost's own file, which knows that an estimator wrote it."""
    if not estimator.__sklearn_is_fitted__():
        raise not_fitted(kind)
    return saved(estimator, "model.ubj")


def of_catboost(estimator: Any, kind: str) -> bytes:
    """CatBoost's JSON."""
    if not estimator.is_fitted():
        raise not_fitted(kind)
    return saved(estimator, "model.json", format="json")


def saved(estimator: Any, name: str, **how: Any) -> bytes:
    """What `save_model` writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        estimator.save_model(str(path), **how)
        return path.read_bytes()


def not_fitted(kind: str) -> ModelError:
    """The error of an estimator without a model."""
    return ModelError.about(kind, "is not fitted", "call `fit` first")


LIBRARIES = {"lightgbm": of_lightgbm, "xgboost": of_xgboost, "catboost": of_catboost}
