"""scikit-learn's estimators, and those of other libraries that behave like them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from glowplug.convert.check import check
from glowplug.convert.file import IN_SET, LEAF, MISSING_LEFT, MISSING_RIGHT, Answer, Contents, Tree, encode
from glowplug.convert.model import Converted
from glowplug.convert.wrappers import content_of, not_fitted
from glowplug.errors import DependencyError

try:
    from sklearn import dummy, ensemble, tree
    from sklearn.ensemble._iforest import _average_path_length as average_path_length
    from sklearn.exceptions import NotFittedError
    from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
    from sklearn.pipeline import Pipeline
    from sklearn.utils.validation import check_is_fitted

    from glowplug.convert.committees import adaboost, bagging
    from glowplug.convert.parts import feature_names, labels, of_trees, producer, tree_of, unsupported
    from glowplug.convert.pipelines import fold, transform
except ImportError as error:
    raise DependencyError.about(
        "scikit-learn", f"is needed to convert its estimators ({error})", "pip install 'glowplug[scikit-learn]'"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Callable

    Array = np.ndarray[Any, Any]

#: Categories that float64 rows can name and the engine takes.
MOST_CATEGORY = 2**31


def from_sklearn(estimator: Any) -> Converted:
    """Convert a fitted estimator. What `glowplug.load` makes of it answers as the estimator does.

    Known are trees and forests (`DecisionTree…`, `ExtraTree…`, `RandomForest…`, `ExtraTrees…`), `GradientBoosting…` and
    `HistGradientBoosting…`, each as classifier and regressor, `Bagging…` and `AdaBoostClassifier` of single trees,
    `IsolationForest`, a `Pipeline` that ends with one of these and has imputers, scalers and selectors of columns before it,
    the best estimator of a search, and the estimators of LightGBM, XGBoost and CatBoost. Names of features, and classes, are
    carried through.

    The answers of the converted model are compared with the estimator's on rows round its thresholds before it is given back.

    Args:
        estimator: What `fit` was called on.

    Returns:
        The model, to be saved.

    Raises:
        UnsupportedModelError: The estimator, or something in it, is not known.
        ModelError: It is not fitted, or the converted model answers otherwise.
    """
    kind = type(estimator).__name__
    if isinstance(estimator, GridSearchCV | RandomizedSearchCV):
        if not hasattr(estimator, "best_estimator_"):
            raise not_fitted(kind)
        return from_sklearn(estimator.best_estimator_)
    if isinstance(estimator, Pipeline):
        return of_pipeline(estimator, kind)
    contents = contents_of(estimator, kind)
    if contents is not None:
        converted = Converted(encode(contents), kind)
        check(estimator, converted)
        return converted
    content = content_of(estimator, kind)
    if content is not None:
        return Converted(content, kind)
    names = sorted({one.__name__ for known, _ in KNOWN for one in known})
    problem = f"is not an estimator that is converted; these are: {', '.join(names)}"
    if hasattr(estimator, "save_model"):
        raise unsupported(kind, problem, "load what its `save_model` writes (text or JSON), without a conversion")
    raise unsupported(kind, problem)


def contents_of(estimator: Any, kind: str) -> Contents | None:
    """What a file of the estimator is made of, if it is known."""
    for known, of_estimator in KNOWN:
        if isinstance(estimator, known):
            try:
                check_is_fitted(estimator)
            except NotFittedError:
                raise not_fitted(kind) from None
            return of_estimator(estimator, kind)
    return None


def of_pipeline(pipeline: Pipeline, kind: str) -> Converted:
    """The last step, with what the others do in its thresholds."""
    last = pipeline.steps[-1][1]
    contents = contents_of(last, type(last).__name__)
    if contents is None:
        problem = f"ends with {type(last).__name__}, which is not converted with the steps before it"
        fix = "convert its last step, and do what the others do before; or convert it with skl2onnx"
        raise unsupported(kind, problem, fix)
    converted = Converted(encode(fold(pipeline, contents, kind)), kind)
    check(last, converted, lambda x: transform(pipeline[:-1], x) if len(pipeline.steps) > 1 else x)
    return converted


def forest(estimator: Any, kind: str) -> Contents:
    """One tree, or the mean of many."""
    is_classifier = isinstance(
        estimator, tree.DecisionTreeClassifier | ensemble.RandomForestClassifier | ensemble.ExtraTreesClassifier
    )
    answer = Answer()
    if is_classifier:
        answer = Answer(choice="largest", labels=labels(estimator, kind))
    fitted = getattr(estimator, "estimators_", [estimator])
    trees = [tree_of(one) for one in fitted]
    return of_trees(estimator, kind, trees, answer, divisor=len(trees))


def isolation_forest(estimator: Any, kind: str) -> Contents:
    """The length of the paths to a row, each with what the leaf's rows would add, and the score that follows from it."""
    takes_all = estimator._max_features == estimator.n_features_in_
    trees = []
    for at, (one, columns) in enumerate(zip(estimator.estimators_, estimator.estimators_features_, strict=True)):
        tree = tree_of(one)
        lengths = estimator._decision_path_lengths[at] + estimator._average_path_length_per_tree[at] - 1.0
        # Columns of leaves are -2.
        feature = tree.feature if takes_all else np.asarray(columns)[np.maximum(tree.feature, 0)]
        trees.append(replace(tree, feature=feature, value=lengths[:, None]))
    expected = len(trees) * float(average_path_length([estimator._max_samples])[0])
    # Trees of one row each have paths of no length, and scikit-learn takes their scores for -0.5.
    start = 0.0 if expected else 1.0
    offset = float(estimator.offset_)
    bound = shortest_of_inliers(expected or 1.0, offset)
    return Contents(
        trees=trees,
        # Sums of lengths have scikit-learn's bits, powers have not: a training row at the percentile that `contamination` asks
        # for has a score of exactly 0 there, an inlier's, and here one that may be the last bit below.
        answer=Answer("isolation", expected or 1.0, "at_least", bound, True, labels=[-1, 1], link_offset=offset),
        features=estimator.n_features_in_,
        feature_names=feature_names(estimator),
        start=np.array([start]),
        is_float32=True,
        producer=producer(kind),
    )


def shortest_of_inliers(expected: float, offset: float) -> float:
    """The least sum of lengths of paths whose score, as NumPy computes it, is an inlier's."""

    def is_inlier(length: float) -> bool:
        # An array, as of numbers alone NumPy's powers are others.
        return bool((-(2 ** -(np.array([length]) / expected)) - offset >= 0)[0])

    # Powers of what is longer are 0.
    below, bound = 0.0, 1100 * expected
    if is_inlier(below):
        return below
    if not is_inlier(bound):
        return float(np.finfo(np.float64).max)
    while below < (middle := (below + bound) / 2) < bound:
        below, bound = (below, middle) if is_inlier(middle) else (middle, bound)
    return bound


def boosted_answer(estimator: Any, kind: str, *, is_classifier: bool, bound: str) -> Answer:
    """What a loss makes of sums. Of two classes, the second one is chosen where the sum is beyond or at 0."""
    name = type(estimator._loss.link).__name__
    links = {
        "IdentityLink": ("identity", 1.0),
        "LogLink": ("exp", 1.0),
        "LogitLink": ("sigmoid", 1.0),
        "HalfLogitLink": ("sigmoid", 2.0),
        "MultinomialLogit": ("softmax", 1.0),
    }
    if name not in links:
        raise unsupported(kind, f"has the loss {estimator.loss!r} with the link {name}, which is not known")
    link, factor = links[name]
    if not is_classifier:
        return Answer(link, factor)
    classes = labels(estimator, kind)
    choice = bound if len(classes) == 2 else "largest"
    return Answer(link, factor, choice, 0.0, chooses_by_sums=True, labels=classes)


def gradient_boosting(estimator: Any, kind: str) -> Contents:
    """Trees of float32 rows that add up, one for each class."""
    is_classifier = isinstance(estimator, ensemble.GradientBoostingClassifier)
    known = dummy.DummyClassifier | dummy.DummyRegressor
    if not isinstance(estimator.init_, str | known):
        first = type(estimator.init_).__name__
        raise unsupported(
            kind, f"begins with the predictions of another estimator, `init={first}`", "train it without `init`"
        )
    stages = estimator.estimators_
    return Contents(
        trees=[tree_of(one, estimator.learning_rate) for stage in stages for one in stage],
        answer=boosted_answer(estimator, kind, is_classifier=is_classifier, bound="at_least"),
        features=estimator.n_features_in_,
        feature_names=feature_names(estimator),
        start=estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_), np.float32))[0],
        is_float32=True,
        producer=producer(kind),
    )


def hist_gradient_boosting(estimator: Any, kind: str) -> Contents:
    """Trees of float64 rows that add up, one for each class, with categories."""
    is_classifier = isinstance(estimator, ensemble.HistGradientBoostingClassifier)
    columns, categories = columns_of(estimator, kind)
    baseline = estimator._baseline_prediction
    return Contents(
        trees=[hist_tree(one, columns, categories) for stage in estimator._predictors for one in stage],
        answer=boosted_answer(estimator, kind, is_classifier=is_classifier, bound="beyond"),
        features=estimator.n_features_in_,
        feature_names=feature_names(estimator),
        start=np.ravel(baseline),
        is_float32=False,
        whole_columns=sorted(int(columns[column]) for column in categories),
        adds_as_float32=baseline.dtype == np.float32,
        producer=producer(kind),
    )


def columns_of(estimator: Any, kind: str) -> tuple[Array, dict[int, list[int]]]:
    """Which column of the caller each column of the trees is, and the categories of those that have them.

    The estimator puts columns of categories first, and numbers their categories.
    """
    encoder = estimator._preprocessor
    if encoder is None:
        return np.arange(estimator.n_features_in_), {}
    has_categories = np.asarray(estimator.is_categorical_)
    columns = np.concatenate([np.flatnonzero(has_categories), np.flatnonzero(~has_categories)])
    names = feature_names(estimator)
    all_categories: dict[int, list[int]] = {}
    for at, known in enumerate(encoder.named_transformers_["encoder"].categories_):
        # The last one may stand for what is missing.
        members = [one for one in known.tolist() if one is not None and one == one]  # noqa: PLR0124
        wrong = [one for one in members if isinstance(one, str) or not (0 <= one < MOST_CATEGORY and int(one) == one)]
        if wrong:
            column = names[columns[at]] if names else columns[at]
            problem = f"has the category {wrong[0]!r} in column {column}, expected whole numbers from 0 on"
            raise unsupported(kind, problem, "number the categories before you train, for example with OrdinalEncoder")
        all_categories[at] = [int(one) for one in members]
    return columns, all_categories


def hist_tree(predictor: Any, columns: Array, categories: dict[int, list[int]]) -> Tree:
    """A tree of the histogram kind; its columns become those of the caller."""
    nodes = predictor.nodes
    is_leaf = nodes["is_leaf"].astype(bool)
    left, right = (np.where(is_leaf, -1, nodes[side].astype(np.int64)) for side in ("left", "right"))
    kind = np.where(nodes["missing_go_to_left"], MISSING_LEFT, MISSING_RIGHT)
    kind[is_leaf] = LEAF
    sets = {}
    for node in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~is_leaf).tolist():
        words = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]].tolist()
        known = categories[int(nodes["feature_idx"][node])]
        goes_left = [bool(words[number // 32] >> number % 32 & 1) for number in range(len(known))]
        # Missing and unknown categories go together: what goes the other way is the set.
        to_left = not nodes["missing_go_to_left"][node]
        sets[node] = [one for one, left_too in zip(known, goes_left, strict=True) if left_too == to_left]
        if not to_left:
            left[node], right[node] = right[node], left[node]
        kind[node] = IN_SET
    return Tree(
        left=left,
        right=right,
        feature=columns[np.where(is_leaf, 0, nodes["feature_idx"])],
        threshold=nodes["num_threshold"],
        kind=kind,
        value=nodes["value"][:, None],
        cover=nodes["count"].astype(np.float64),
        sets=sets,
    )


#: Classes of estimators, and what converts them.
KNOWN: tuple[tuple[tuple[type, ...], Callable[[Any, str], Contents]], ...] = (
    (
        (
            tree.DecisionTreeClassifier,
            tree.DecisionTreeRegressor,
            ensemble.RandomForestClassifier,
            ensemble.RandomForestRegressor,
            ensemble.ExtraTreesClassifier,
            ensemble.ExtraTreesRegressor,
        ),
        forest,
    ),
    ((ensemble.BaggingClassifier, ensemble.BaggingRegressor), bagging),
    ((ensemble.AdaBoostClassifier,), adaboost),
    ((ensemble.IsolationForest,), isolation_forest),
    ((ensemble.GradientBoostingClassifier, ensemble.GradientBoostingRegressor), gradient_boosting),
    ((ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor), hist_gradient_boosting),
)
