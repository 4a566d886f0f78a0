"""Pipelines of tables, with numbers and texts, run natively once they are converted, and answer as onnxruntime does."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
from skl2onnx import convert_sklearn, update_registered_converter
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType, StringTensorType
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)
from sklearn import ensemble, linear_model, preprocessing
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

import glowplug

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(300, 3)).astype(np.float32)
TWO = (X[:, 0] > 0).astype(int)
THREE = np.digitize(X[:, 0], [-0.5, 0.5])
WORDS = np.array(["no", "yes"])[TWO]
NUMBERS = X[:, 0] * 2 + X[:, 1] ** 2
#: Columns of several types, as tables have them.
CITIES, KINDS = np.array(["Paris", "Rom", "Zürich", ""], object), np.array(["x", "y", "z"], object)
FRAME = pd.DataFrame(
    {
        "amount": X[:, 0],
        "age": X[:, 1],
        "exact": X[:, 2].astype(np.float64),
        "count": RANDOM.integers(0, 5, len(X)),
        "city": RANDOM.choice(CITIES, len(X)),
        "kind": RANDOM.choice(KINDS, len(X)),
    }
).astype({"city": object, "kind": object})
TYPE_OF = {"amount": FloatTensorType, "age": FloatTensorType, "exact": DoubleTensorType, "count": Int64TensorType}

for estimator, shapes, convert in (
    (lightgbm.LGBMClassifier, calculate_linear_classifier_output_shapes, convert_lightgbm),
    (lightgbm.LGBMRegressor, calculate_linear_regressor_output_shapes, convert_lightgbm),
    (xgboost.XGBClassifier, calculate_linear_classifier_output_shapes, convert_xgboost),
    (xgboost.XGBRegressor, calculate_linear_regressor_output_shapes, convert_xgboost),
):
    of_classes = {"nocl": [True, False], "zipmap": [True, False, "columns"], "raw_scores": [True, False]}
    options = of_classes if "Classifier" in estimator.__name__ else {"split": None}
    update_registered_converter(estimator, f"Tested{estimator.__name__}", shapes, convert, options=options)

ONE_HOT = preprocessing.OneHotEncoder(handle_unknown="ignore", sparse_output=False)
ORDINAL = preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
FOREST = ensemble.RandomForestClassifier(9, max_depth=5, random_state=0)
LOGISTIC = linear_model.LogisticRegression()
USUAL = make_column_transformer((ONE_HOT, ["city", "kind"]), (preprocessing.StandardScaler(), ["amount", "age"]))
LGBM, XGB = {"n_estimators": 8, "verbose": -1, "n_jobs": 1}, {"n_estimators": 8, "n_jobs": 1}


def boosted(**more: Any) -> Any:
    return make_pipeline(USUAL, lightgbm.LGBMClassifier(**LGBM, **more))


#: Estimator, what it learns, and how it is converted.
FRAMES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "one-hot, LogisticRegression": (make_pipeline(USUAL, LOGISTIC), TWO, {}),
    "one-hot, forest of words": (make_pipeline(USUAL, FOREST), WORDS, {}),
    "one-hot, forest, columns": (make_pipeline(USUAL, FOREST), THREE, {"options": {"zipmap": "columns"}}),
    "one-hot, LGBMClassifier": (boosted(), TWO, {}),
    "one-hot, LGBMClassifier of three": (boosted(), THREE, {"options": {"zipmap": False}}),
    "one-hot, LGBMRegressor": (make_pipeline(USUAL, lightgbm.LGBMRegressor(**LGBM)), NUMBERS, {}),
    "one-hot, XGBClassifier": (make_pipeline(USUAL, xgboost.XGBClassifier(**XGB)), TWO, {}),
    "one-hot, XGBRegressor": (make_pipeline(USUAL, xgboost.XGBRegressor(**XGB)), NUMBERS, {}),
    "ordinal, forest": (
        make_pipeline(make_column_transformer((ORDINAL, ["city", "kind"]), ("passthrough", ["amount"])), FOREST), TWO, {},
    ),
    "counts one-hot": (make_pipeline(make_column_transformer((ONE_HOT, ["count"])), LOGISTIC), TWO, {}),
    "columns of three types": (
        make_pipeline(make_column_transformer((ONE_HOT, ["kind"]), ("passthrough", ["count", "amount"])), FOREST), THREE, {},
    ),
    "imputed": (
        make_pipeline(
            make_column_transformer(
                (make_pipeline(SimpleImputer(strategy="most_frequent", missing_values=""), ONE_HOT), ["city"]),
                (make_pipeline(SimpleImputer(), preprocessing.StandardScaler()), ["amount", "age"]),
            ),
            LOGISTIC,
        ),
        TWO, {},
    ),
    "target encoder": (
        make_pipeline(make_column_transformer((preprocessing.TargetEncoder(), ["city", "kind"])), FOREST), TWO, {},
    ),
    "in bins": (
        make_pipeline(
            make_column_transformer((
                preprocessing.KBinsDiscretizer(4, encode="onehot-dense", quantile_method="averaged_inverted_cdf"),
                ["amount", "age"],
            )),
            LOGISTIC,
        ),
        TWO, {},
    ),
    "products": (
        make_pipeline(make_column_transformer((preprocessing.PolynomialFeatures(2), ["amount", "age"])), FOREST), TWO, {},
    ),
    "only one-hot": (make_pipeline(make_column_transformer((ONE_HOT, ["city", "kind"]))), None, {}),
}  # fmt: skip
OPSETS = ((12, 2), (15, 2), (17, 3), (21, 3), (21, 4))


def of_frame(name: str, opset: int, ml: int) -> tuple[bytes, pd.DataFrame]:
    estimator, target, more = FRAMES[name]
    steps = [columns for _, _, columns in estimator[0].transformers]
    frame = FRAME[[column for column in FRAME if any(column in columns for columns in steps)]]
    types = [(column, TYPE_OF.get(column, StringTensorType)([None, 1])) for column in frame]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = estimator.fit(frame) if target is None else estimator.fit(frame, target)
        model = convert_sklearn(fitted, "m", types, target_opset={"": opset, "ai.onnx.ml": ml}, **more)
    return model.SerializeToString(), frame


def matrix(answer: Any) -> Any:
    """Maps as rows in the order of their keys."""
    return np.array([[row[key] for key in sorted(row)] for row in answer]) if isinstance(answer, list) else answer


def rows_of(frame: pd.DataFrame, random: np.random.Generator) -> dict[str, Any]:
    """Rows with categories that were not trained with."""
    rows = {name: frame[name].to_numpy()[random.integers(0, len(frame), 150)].reshape(-1, 1) for name in frame}
    for column in {"city", "kind"} & rows.keys():
        rows[column][random.random(150) < 0.2] = "unheard of"
    return rows


@pytest.mark.parametrize("name", FRAMES)
def test_pipelines_of_several_inputs_are_onnxruntimes(name: str, assert_same: Any) -> None:
    random = np.random.default_rng(len(name))
    opset, ml = OPSETS[len(name) % len(OPSETS)]
    content, frame = of_frame(name, opset, ml)
    model, other = (glowplug.load(content, engine=engine) for engine in ("native", "onnxruntime"))
    rows = rows_of(frame, random)
    got, want = model.run(rows), other.run(rows)
    assert list(got) == list(want)
    for one, another in zip(got.values(), want.values(), strict=True):
        one_matrix, other_matrix = matrix(one), matrix(another)
        assert (one_matrix.dtype, one_matrix.shape) == (other_matrix.dtype, other_matrix.shape)
        if one_matrix.dtype.kind == "f":
            np.testing.assert_allclose(one_matrix, other_matrix, 1e-5, 2e-6)
        else:
            np.testing.assert_array_equal(one_matrix, other_matrix)
    for at in range(5):
        part = model.run({name: column[at : at + 1] for name, column in rows.items()})
        for output, whole in got.items():
            assert_same(part[output], whole[at : at + 1])


EXAMPLE = Path(__file__).parent.parent / "examples" / "fraud"


def test_the_example_is_run_by_all_entries(assert_close: Any) -> None:
    """Its answers are `LightGBM`'s, from arrays, plain rows and JSON, a frame and a batch in pieces."""
    frame = pd.read_csv(EXAMPLE / "sample.csv", keep_default_na=False)
    expected = np.array(json.loads((EXAMPLE / "expected.json").read_text())["probability_of_bad_credit"])
    model = glowplug.load(EXAMPLE / "model.onnx")
    assert model.explain()["engine"] == "native"
    names = [spec.name for spec in model.inputs]
    frame = frame[names]
    rows = frame.to_dict("records")
    kinds = {spec.name: object if spec.dtype == "string" else np.float32 for spec in model.inputs}
    arrays = {name: frame[name].to_numpy(kinds[name]) for name in names}
    by_json = json.loads(model.predict_json(json.dumps(rows).encode(), method="predict_proba"))
    plain = model.predict_rows(rows, method="predict_proba")
    many = glowplug.load(EXAMPLE / "model.onnx", threads=2, batch="rows").predict_proba(
        {name: np.tile(array, 50) for name, array in arrays.items()}
    )
    for got in (
        model.predict_proba(arrays), model.predict_proba(frame.astype(kinds)), np.array(plain), np.array(by_json), many[:200],
        many[-200:],
    ):  # fmt: skip
        np.testing.assert_allclose(got[:, 1], expected, 1e-6, 1e-6)
    other = glowplug.load(EXAMPLE / "model.onnx", engine="onnxruntime").run(arrays)
    assert_close(model.run(arrays)["probabilities"], other["probabilities"])
    assert model.predict(arrays).tolist() == other["label"].tolist()


def test_the_example_does_not_open_the_runtime() -> None:
    program = (
        "import csv, sys, glowplug\n"
        f"model = glowplug.load({str(EXAMPLE / 'model.onnx')!r})\n"
        f"row = next(csv.DictReader(open({str(EXAMPLE / 'sample.csv')!r}, encoding='utf-8')))\n"
        "names = {spec.name: spec.dtype for spec in model.inputs}\n"
        "row = {name: row[name] if dtype == 'string' else float(row[name]) for name, dtype in names.items()}\n"
        "model.predict_rows([row], method='predict_proba')\n"
        "maps = open('/proc/self/maps').read() if sys.platform == 'linux' else ''\n"
        "print('onnxruntime' in maps, 'numpy' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.split() == ["False", "False"]
