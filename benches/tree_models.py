"""The models of the tree benchmarks: of LightGBM, XGBoost and scikit-learn, trained once and kept in the target folder."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import harness
from tree_data import DATA, Array, Data

FOLDER = harness.TARGET / "bench" / "models"
#: Rows that models are trained on at most: enough for 500 trees of 255 leaves. One thread trains, since LightGBM's spin
#: when others are at work.
TRAINED = 40_000


@dataclass(frozen=True)
class Subject:
    """A model: the library's own file, the same in ONNX if it can be converted, and rows to score."""

    key: str
    name: str
    library: str
    data: Data
    path: Path
    onnx: Path | None
    #: What tl2cgen and lleaves compile within seconds.
    compiles: bool

    @property
    def classifies(self) -> bool:
        """Whether scores are probabilities of classes."""
        return self.data.y.dtype != np.float64

    def scores(self) -> str:
        """The output of the ONNX file that has the library's scores."""
        return "probabilities" if self.classifies else "variable"


@dataclass(frozen=True)
class Shape:
    """What is trained on which data; `compiles` is true where compilers take seconds."""

    library: str
    data: str
    options: dict[str, Any]
    trees: int
    leaves: str
    compiles: bool = False


def _lightgbm(data: str, trees: int, leaves: int, compiles: bool = False) -> Shape:
    return Shape("LightGBM", data, {"num_leaves": leaves}, trees, f"×{leaves} leaves", compiles)


def _xgboost(data: str, trees: int, depth: int, compiles: bool = False) -> Shape:
    return Shape("XGBoost", data, {"max_depth": depth}, trees, f"×depth {depth}", compiles)


def _sklearn(data: str, trees: int, estimator: str, depth: int | None, compiles: bool = False) -> Shape:
    leaves = f"×depth {depth}" if depth else ""
    return Shape("scikit-learn", data, {"estimator": estimator, "max_depth": depth}, trees, leaves, compiles)


#: `trees` counts those of all classes.
SHAPES: dict[str, Shape] = {
    "cancer": _lightgbm("cancer", 100, 31, compiles=True),
    "flights": _lightgbm("flights", 500, 31, compiles=True),
    "large": _lightgbm("flights", 500, 255),
    "long": _lightgbm("diamonds", 2000, 31),
    "images": _lightgbm("images", 500, 31),
    "routes": _lightgbm("routes", 300, 63),
    "flights-xgb": _xgboost("flights", 500, 6, compiles=True),
    "diamonds-xgb": _xgboost("diamonds", 1000, 8),
    "digits-xgb": _xgboost("digits", 1000, 6),
    "diabetes-xgb": _xgboost("diabetes", 100, 4, compiles=True),
    "forest": _sklearn("flights", 200, "RandomForestClassifier", 12),
    "flights-forest": _sklearn("flights", 100, "RandomForestClassifier", None),
    "diamonds-forest": _sklearn("diamonds", 100, "RandomForestRegressor", None),
    "digits-forest": _sklearn("digits", 300, "ExtraTreesClassifier", None),
    "wine": _sklearn("wine", 100, "RandomForestClassifier", None, compiles=True),
    "diabetes": _sklearn("diabetes", 300, "GradientBoostingRegressor", 3),
}


def subject(key: str) -> Subject:
    """The subject of this name, trained now if it was not before."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    shape = SHAPES[key]
    data = DATA[shape.data]()
    if shape.library == "scikit-learn":
        data = data.filled()  # ONNX does not say where its trees send missing numbers.
    ending = {"LightGBM": "txt", "XGBoost": "ubj", "scikit-learn": "pickle"}[shape.library]
    path = FOLDER / f"tree-{key}.{ending}"
    # Sets of thousands of categories become chains of as many nodes in ONNX.
    onnx = None if data.categories else path.with_suffix(".onnx")
    if not path.exists() or (onnx and not onnx.exists()):
        fit = {"LightGBM": _fit_lightgbm, "XGBoost": _fit_xgboost, "scikit-learn": _fit_sklearn}[shape.library]
        fit(shape, data, path, onnx)
    name = f"{shape.library} {shape.trees}{shape.leaves}, {shape.data}"
    return Subject(key, name, shape.library, data, path, onnx, shape.compiles)


def _classes(y: Array) -> int:
    return 1 if y.dtype in {np.dtype(float), np.dtype(bool)} else len(np.unique(y))


def _fit_lightgbm(shape: Shape, data: Data, path: Path, onnx: Path | None) -> None:
    import lightgbm
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    classes = _classes(data.y)
    classes = 1 if classes == 2 else classes
    objective = "regression" if data.y.dtype == np.float64 else "multiclass" if classes > 1 else "binary"
    options = {"objective": objective, "num_class": classes, "verbose": -1, "num_threads": 1, "seed": 0}
    table = lightgbm.Dataset(data.x[:TRAINED], data.y[:TRAINED], categorical_feature=list(data.categories))
    booster = lightgbm.train(options | shape.options, table, shape.trees // classes)
    booster.save_model(path)
    if onnx:
        kinds = [("x", FloatTensorType([None, data.x.shape[1]]))]
        converted = convert_lightgbm(booster, initial_types=kinds, zipmap=False, target_opset=15)
        onnx.write_bytes(converted.SerializeToString())


def _fit_xgboost(shape: Shape, data: Data, path: Path, onnx: Path | None) -> None:
    import xgboost
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    classes = _classes(data.y)
    options: dict[str, Any] = {"objective": "reg:squarederror", "nthread": 1, "seed": 0}
    if data.y.dtype == bool:
        options["objective"] = "binary:logistic"
    elif classes > 1:
        options |= {"objective": "multi:softprob", "num_class": classes}
    table = xgboost.DMatrix(data.x[:TRAINED].astype(np.float32), data.y[:TRAINED])
    booster = xgboost.train(options | shape.options, table, shape.trees // classes)
    booster.save_model(path)
    if onnx:
        kinds = [("x", FloatTensorType([None, data.x.shape[1]]))]
        onnx.write_bytes(convert_xgboost(booster, initial_types=kinds, target_opset=15).SerializeToString())


def _fit_sklearn(shape: Shape, data: Data, path: Path, onnx: Path | None) -> None:
    from skl2onnx import to_onnx
    from sklearn import ensemble

    kind = getattr(ensemble, shape.options["estimator"])
    model = kind(n_estimators=shape.trees, max_depth=shape.options["max_depth"], random_state=0)
    x = data.x[:TRAINED].astype(np.float32)
    model.fit(x, data.y[:TRAINED])
    path.write_bytes(pickle.dumps(model))
    if onnx:
        options = {"zipmap": False} if hasattr(model, "classes_") else {}
        onnx.write_bytes(to_onnx(model, x[:1], options=options, target_opset=17).SerializeToString())
