"""Estimators of LightGBM, XGBoost and CatBoost: their own files are read, so these are what they become."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from glowplug.convert.file import Answer, wrap
from glowplug.errors import ModelError, UnsupportedModelError

#: Losses of CatBoost whose estimators predict classes, or powers of sums.
LINKED = {
    "Logloss", "CrossEntropy", "Focal", "MultiClass", "MultiClassOneVsAll", "MultiLogloss", "MultiCrossEntropy", "Poisson",
    "Tweedie",
}  # fmt: skip


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
    if estimator.get_params().get("pred_early_stop"):
        problem = "leaves out trees of rows that seem clear, `pred_early_stop=True`"
        raise UnsupportedModelError.about(
            kind, problem, "call `set_params(pred_early_stop=False)`, and compare the answers"
        )
    if not hasattr(estimator, "classes_"):
        return content
    if callable(estimator.objective_):
        problem = "has an objective of its own, whose classes are not known"
        raise UnsupportedModelError.about(kind, problem, "save its `booster_` with `save_model`")
    classes = estimator.classes_.tolist()
    if len(classes) < 2:
        problem = f"knows only the class {classes[0]!r}"
        raise UnsupportedModelError.about(kind, problem, "train with rows of several classes")
    choice = "beyond" if len(classes) == 2 else "largest"
    labels = classes if isinstance(classes[0], str) else [int(one) for one in classes]
    return wrap(content, "lightgbm", Answer(choice=choice, bound=0.5, labels=labels), f"LightGBM {kind}")


def of_xgboost(estimator: Any, kind: str) -> bytes:
    """XGBoost's own file, which knows that an estimator wrote it."""
    if not estimator.__sklearn_is_fitted__():
        raise not_fitted(kind)
    # Which number is missing is not in the file: XGBoost itself would answer otherwise once it had read it.
    missing = getattr(estimator, "missing", None)
    if missing is not None and missing == missing:  # noqa: PLR0124
        problem = f"takes {missing} for missing, which XGBoost's files do not say"
        raise UnsupportedModelError.about(kind, problem, "train it with `missing=nan`, on rows that have NaN there")
    return saved(estimator, "model.ubj")


def of_catboost(estimator: Any, kind: str) -> bytes:
    """CatBoost's JSON."""
    if not estimator.is_fitted():
        raise not_fitted(kind)
    loss = estimator.get_all_params().get("loss_function", "")
    # Of the file nobody can tell which class wrote it, and answers are those of a classifier or a regressor.
    if kind == "CatBoost" and loss.split(":")[0] in LINKED:
        problem = f"predicts sums of leaves, which are not those that the loss {loss} is about"
        fix = "train a `CatBoostClassifier` or `CatBoostRegressor`, or write the file with `save_model` and ask for margins"
        raise UnsupportedModelError.about(kind, problem, fix)
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
