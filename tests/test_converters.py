"""What converters make of real models runs natively, and answers as onnxruntime does."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np
import onnxruntime
import pytest
import xgboost
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm as lightgbm_in_pipelines
from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost as xgboost_in_pipelines
from skl2onnx import to_onnx, update_registered_converter
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)
from sklearn import (
    calibration,
    cluster,
    decomposition,
    discriminant_analysis,
    ensemble,
    feature_selection,
    linear_model,
    mixture,
    model_selection,
    multiclass,
    multioutput,
    naive_bayes,
    preprocessing,
    random_projection,
    svm,
    tree,
)
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline, make_union

import glowplug

if TYPE_CHECKING:
    from collections.abc import Callable

COLUMNS = 6
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(300, COLUMNS)).astype(np.float32)
TWO = (X[:, 0] > 0).astype(int)
THREE = np.digitize(X[:, 0], [-0.5, 0.5])
NUMBERS = X[:, 0] * 2 + X[:, 1] ** 2
TYPES = [("x", FloatTensorType([None, COLUMNS]))]


def of_lightgbm(model: Any, y: Any, **more: Any) -> bytes:
    fitted = model.set_params(n_estimators=10, verbose=-1, n_jobs=1).fit(X, y)
    content: bytes = convert_lightgbm(fitted, initial_types=TYPES, target_opset=15, **more).SerializeToString()
    return content


def of_xgboost(model: Any, y: Any) -> bytes:
    fitted = model.set_params(n_estimators=10, n_jobs=1).fit(X, y)
    content: bytes = convert_xgboost(fitted, initial_types=TYPES, target_opset=15).SerializeToString()
    return content


def of_sklearn(model: Any, y: Any, **more: Any) -> bytes:
    more = {"target_opset": {"": 15, "ai.onnx.ml": 2}} | more
    content: bytes = to_onnx(model.fit(X, y), X[:1], **more).SerializeToString()
    return content


WORDS = np.array(["no", "yes"])[TWO]
MODELS: dict[str, Callable[[], bytes]] = {
    "LGBMClassifier": lambda: of_lightgbm(lightgbm.LGBMClassifier(), TWO),
    "LGBMClassifier, a matrix": lambda: of_lightgbm(lightgbm.LGBMClassifier(), TWO, zipmap=False),
    "LGBMClassifier of three": lambda: of_lightgbm(lightgbm.LGBMClassifier(), THREE),
    "LGBMRegressor": lambda: of_lightgbm(lightgbm.LGBMRegressor(), NUMBERS),
    "LGBMRegressor in parts": lambda: of_lightgbm(lightgbm.LGBMRegressor(), NUMBERS, split=3),
    "XGBClassifier": lambda: of_xgboost(xgboost.XGBClassifier(), TWO),
    "XGBClassifier of three": lambda: of_xgboost(xgboost.XGBClassifier(), THREE),
    "XGBRegressor": lambda: of_xgboost(xgboost.XGBRegressor(), NUMBERS),
    "DecisionTreeClassifier": lambda: of_sklearn(tree.DecisionTreeClassifier(), THREE),
    "RandomForestClassifier": lambda: of_sklearn(ensemble.RandomForestClassifier(9, random_state=0), TWO),
    "RandomForestClassifier of words": lambda: of_sklearn(ensemble.RandomForestClassifier(9, random_state=0), WORDS),
    "RandomForestClassifier of three": lambda: of_sklearn(ensemble.RandomForestClassifier(9, random_state=0), THREE),
    "RandomForestRegressor": lambda: of_sklearn(ensemble.RandomForestRegressor(9, random_state=0), NUMBERS),
    "ExtraTreesClassifier": lambda: of_sklearn(ensemble.ExtraTreesClassifier(9, random_state=0), THREE),
    "GradientBoostingClassifier": lambda: of_sklearn(ensemble.GradientBoostingClassifier(n_estimators=9), TWO),
    "GradientBoostingClassifier of three": lambda: of_sklearn(
        ensemble.GradientBoostingClassifier(n_estimators=9), THREE
    ),
    "GradientBoostingRegressor": lambda: of_sklearn(ensemble.GradientBoostingRegressor(n_estimators=9), NUMBERS),
    "LogisticRegression": lambda: of_sklearn(linear_model.LogisticRegression(), TWO),
    "LogisticRegression of three": lambda: of_sklearn(linear_model.LogisticRegression(), THREE),
    "LinearRegression": lambda: of_sklearn(linear_model.LinearRegression(), NUMBERS),
    "imputer, scaler, LogisticRegression": lambda: of_sklearn(
        make_pipeline(SimpleImputer(), preprocessing.StandardScaler(), linear_model.LogisticRegression()), TWO
    ),
    "normalizer, forest": lambda: of_sklearn(
        make_pipeline(preprocessing.Normalizer(), ensemble.RandomForestClassifier(9, random_state=0)), THREE
    ),
}


FOREST = ensemble.RandomForestClassifier(9, max_depth=5, random_state=0)
MODELS |= {
    "scaled halves, LogisticRegression": lambda: of_sklearn(
        make_pipeline(
            make_column_transformer(
                (preprocessing.MinMaxScaler(), [0, 1, 2]), (preprocessing.RobustScaler(), [3]), ("passthrough", [4])
            ),
            linear_model.LogisticRegression(),
        ),
        TWO,
    ),
    "clipped, forest": lambda: of_sklearn(make_pipeline(preprocessing.MinMaxScaler(clip=True), FOREST), TWO),
    "union, LogisticRegression": lambda: of_sklearn(
        make_pipeline(
            make_union(preprocessing.StandardScaler(), decomposition.PCA(2)), linear_model.LogisticRegression()
        ),
        THREE,
    ),
    "chosen columns, forest": lambda: of_sklearn(make_pipeline(feature_selection.SelectKBest(k=3), FOREST), WORDS),
    "LinearSVC": lambda: of_sklearn(svm.LinearSVC(random_state=0), TWO),
    "GradientBoostingRegressor of two": lambda: of_sklearn(
        multioutput.MultiOutputRegressor(ensemble.GradientBoostingRegressor(n_estimators=3)), np.c_[NUMBERS, -NUMBERS]
    ),
    "SVC": lambda: of_sklearn(svm.SVC(), TWO),
    "SVC with probabilities": lambda: of_sklearn(svm.SVC(probability=True, random_state=0), TWO),
    "SVR": lambda: of_sklearn(svm.SVR(), NUMBERS),
    "OneVsRest": lambda: of_sklearn(multiclass.OneVsRestClassifier(linear_model.LogisticRegression()), THREE),
    "soft votes": lambda: of_sklearn(
        ensemble.VotingClassifier(
            [("a", linear_model.LogisticRegression()), ("b", FOREST)], voting="soft", flatten_transform=False
        ),
        WORDS,
    ),
    "stacked": lambda: of_sklearn(
        ensemble.StackingClassifier([("a", linear_model.LogisticRegression()), ("b", FOREST)], cv=2), TWO
    ),
    "calibrated": lambda: of_sklearn(calibration.CalibratedClassifierCV(FOREST, cv=2), THREE),
    "AdaBoostClassifier": lambda: of_sklearn(ensemble.AdaBoostClassifier(n_estimators=4, random_state=0), THREE),
    "BaggingClassifier": lambda: of_sklearn(ensemble.BaggingClassifier(FOREST, 3, random_state=0), TWO),
    "GaussianNB": lambda: of_sklearn(naive_bayes.GaussianNB(), THREE),
    "PoissonRegressor": lambda: of_sklearn(linear_model.PoissonRegressor(), np.abs(NUMBERS)),
    "TweedieRegressor": lambda: of_sklearn(linear_model.TweedieRegressor(power=1.5), np.abs(NUMBERS) + 1),
    "IsolationForest": lambda: of_sklearn(
        ensemble.IsolationForest(n_estimators=9, random_state=0), None, target_opset={"": 15, "ai.onnx.ml": 3}
    ),
    "binarized, forest": lambda: of_sklearn(make_pipeline(preprocessing.Binarizer(threshold=0.2), FOREST), TWO),
}

#: Estimators of other libraries as parts of scikit-learn's.
SHAPES = {
    "Classifier": calculate_linear_classifier_output_shapes,
    "Regressor": calculate_linear_regressor_output_shapes,
}
for estimator, convert in (
    (lightgbm.LGBMClassifier, lightgbm_in_pipelines),
    (lightgbm.LGBMRegressor, lightgbm_in_pipelines),
    (xgboost.XGBClassifier, xgboost_in_pipelines),
    (xgboost.XGBRegressor, xgboost_in_pipelines),
):
    kind = "Classifier" if "Classifier" in estimator.__name__ else "Regressor"
    of_classes = {"nocl": [True, False], "zipmap": [True, False, "columns"], "raw_scores": [True, False]}
    update_registered_converter(
        estimator, f"Part{estimator.__name__}", SHAPES[kind], convert,
        options=of_classes if kind == "Classifier" else {"split": None},
    )  # fmt: skip
LGBM, XGB = (
    lightgbm.LGBMClassifier(n_estimators=4, verbose=-1, n_jobs=1),
    xgboost.XGBClassifier(n_estimators=4, n_jobs=1),
)
LGBM_OF_NUMBERS = lightgbm.LGBMRegressor(n_estimators=4, verbose=-1, n_jobs=1)
LOGISTIC = linear_model.LogisticRegression()
BOTH = [("a", LGBM), ("b", XGB)]


def before(step: Any, y: Any = TWO) -> Callable[[], bytes]:
    return lambda: of_sklearn(make_pipeline(step, LOGISTIC), y)


MODELS |= {
    "KMeans": lambda: of_sklearn(cluster.KMeans(3, n_init=1, random_state=0), None),
    "MiniBatchKMeans": lambda: of_sklearn(cluster.MiniBatchKMeans(3, n_init=1, random_state=0), None),
    "GaussianMixture": lambda: of_sklearn(mixture.GaussianMixture(2, random_state=0), None),
    "GaussianMixture of diagonals": lambda: of_sklearn(mixture.GaussianMixture(2, covariance_type="diag"), None),
    "OneClassSVM": lambda: of_sklearn(svm.OneClassSVM(), None),
    "NuSVC of three": lambda: of_sklearn(svm.NuSVC(nu=0.1), THREE),
    "SVC of polynomials": lambda: of_sklearn(svm.SVC(kernel="poly"), THREE),
    "calibrated LinearSVC": lambda: of_sklearn(calibration.CalibratedClassifierCV(svm.LinearSVC(), cv=2), TWO),
    "calibrated LGBMClassifier": lambda: of_sklearn(calibration.CalibratedClassifierCV(LGBM, cv=2), THREE),
    "isotonic XGBClassifier": lambda: of_sklearn(calibration.CalibratedClassifierCV(XGB, cv=2, method="isotonic"), TWO),
    "stacked boosted trees": lambda: of_sklearn(ensemble.StackingClassifier(BOTH, LGBM, cv=2, passthrough=True), THREE),
    "stacked numbers": lambda: of_sklearn(
        ensemble.StackingRegressor([("a", LGBM_OF_NUMBERS), ("b", linear_model.Ridge())], cv=2), NUMBERS
    ),
    "votes for numbers": lambda: of_sklearn(
        ensemble.VotingRegressor([("a", LGBM_OF_NUMBERS), ("b", linear_model.Ridge())]), NUMBERS
    ),
    "hard votes": lambda: of_sklearn(
        ensemble.VotingClassifier([("a", LOGISTIC), ("b", FOREST)], flatten_transform=False), THREE
    ),
    "OneVsRest of LGBMClassifier": lambda: of_sklearn(multiclass.OneVsRestClassifier(LGBM), THREE),
    "LGBMRegressor of two": lambda: of_sklearn(
        multioutput.MultiOutputRegressor(LGBM_OF_NUMBERS), np.c_[NUMBERS, -NUMBERS]
    ),
    "dart": lambda: of_lightgbm(lightgbm.LGBMClassifier(boosting_type="dart"), TWO),
    "bagged parts of columns": lambda: of_sklearn(ensemble.BaggingClassifier(LOGISTIC, 4, max_features=0.5), THREE),
    "AdaBoost of forests": lambda: of_sklearn(ensemble.AdaBoostClassifier(FOREST, n_estimators=3, random_state=0), TWO),
    "LinearDiscriminantAnalysis": lambda: of_sklearn(discriminant_analysis.LinearDiscriminantAnalysis(), THREE),
    "RidgeClassifier": lambda: of_sklearn(linear_model.RidgeClassifier(), THREE),
    "SGDClassifier": lambda: of_sklearn(linear_model.SGDClassifier(loss="log_loss", random_state=0), THREE),
    "BernoulliNB": lambda: of_sklearn(naive_bayes.BernoulliNB(), THREE),
    "QuantileRegressor": lambda: of_sklearn(linear_model.QuantileRegressor(), NUMBERS),
    "GammaRegressor": lambda: of_sklearn(linear_model.GammaRegressor(), np.abs(NUMBERS) + 1),
    "PowerTransformer": before(preprocessing.PowerTransformer()),
    "KBinsDiscretizer": before(
        preprocessing.KBinsDiscretizer(4, encode="ordinal", quantile_method="averaged_inverted_cdf"), THREE
    ),
    "PolynomialFeatures": before(preprocessing.PolynomialFeatures(3, interaction_only=True)),
    "GaussianRandomProjection": before(random_projection.GaussianRandomProjection(3, random_state=0)),
    "VarianceThreshold": before(feature_selection.VarianceThreshold(), WORDS),
    "RFE": before(feature_selection.RFE(FOREST, n_features_to_select=3)),
    "PCA, whitened": before(decomposition.PCA(3, whiten=True)),
    "LGBMClassifier after PCA": lambda: of_sklearn(make_pipeline(decomposition.PCA(3), LGBM), THREE),
    "best of a search": lambda: of_sklearn(model_selection.GridSearchCV(FOREST, {"max_depth": [2, 3]}, cv=2), TWO),
}


def matrix(answer: Any) -> Any:
    """Maps as rows in the order of their keys."""
    return np.array([[row[key] for key in sorted(row)] for row in answer]) if isinstance(answer, list) else answer


@pytest.mark.parametrize("name", MODELS)
def test_answers_are_those_of_onnxruntime(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = MODELS[name]()
    model = glowplug.load(content, engine="native")
    x = np.random.default_rng(1).normal(size=(400, COLUMNS)).astype(np.float32)
    if "imputer" in name:
        x[x > 1.5] = np.nan
    options = onnxruntime.SessionOptions()
    # A converter declares labels of one row.
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options)
    expected = session.run(None, {session.get_inputs()[0].name: x})
    for got, want in zip(model.run(x).values(), expected, strict=True):
        got_matrix, want_matrix = matrix(got), matrix(want)
        assert (got_matrix.dtype, got_matrix.shape) == (want_matrix.dtype, want_matrix.shape)
        if got_matrix.dtype.kind == "f":
            # onnxruntime adds hundreds of support vectors in float32, and is ten times as far from scikit-learn.
            np.testing.assert_allclose(got_matrix, want_matrix, 1e-5, 3e-5 if name == "OneClassSVM" else 2e-6)
        else:
            np.testing.assert_array_equal(got_matrix, want_matrix)
