"""Probabilities: found in whatever form a classifier gives them, and never made of what nothing calls so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import glowplug
import models

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Compare = Callable[[Any, Any], None]
    Labels = Sequence[int] | Sequence[str]

PAIRS = np.array([[1, -2], [3, 4], [0, -0.0]], np.float32)
FEATURES = np.random.default_rng(3).normal(size=(5, models.CLASSIFIER_FEATURES)).astype(np.float32)
PAIR = ("N", 2)


@pytest.mark.parametrize(
    "labels",
    [
        models.INT_LABELS,
        (8, 3, 5),
        (-1, 2**40, 0),
        models.STRING_LABELS,
        ("b", "a", "c"),
        ("", "z\u00fc", "A"),
        (1, 0),
        ("yes", "no"),
        tuple(range(40, 0, -1)),
    ],
    ids=str,
)
def test_probabilities_of_classifiers(labels: Labels, assert_same: Compare) -> None:
    """Maps and matrices come to the same columns, in the order of `classes`, sorted or not."""
    zipped, plain = (glowplug.load(make(labels)) for make in (models.zipmap_classifier, models.tensor_classifier))
    assert zipped.classes == plain.classes == list(labels)
    for rows in (FEATURES, FEATURES[:1], FEATURES[:0]):
        matrix = plain.run(rows)["probabilities"]
        assert matrix.shape == (len(rows), len(labels))
        assert_same(plain.predict_proba(rows), matrix)
        assert_same(zipped.predict_proba(rows), matrix)
        maps = zipped.run(rows)["probabilities"]
        assert [[row[label] for label in labels] for row in maps] == matrix.tolist()
        assert [set(row) for row in maps] == [set(labels)] * len(rows)
        best = [labels[at] for at in matrix.argmax(axis=1)] if len(rows) else []
        assert zipped.predict(rows).tolist() == plain.predict(rows).tolist() == best
    # One row without its axis, by name, and as a list, take the same way.
    row = FEATURES[0]
    for given in (row, {"x": row}, row.tolist(), {"x": [row.tolist()]}, row.astype(np.float64)):
        assert_same(zipped.predict_proba(given), plain.run(FEATURES[:1])["probabilities"])


@pytest.mark.parametrize("labels", [(3, 5, 8), ("a", "b", "c")], ids=str)
def test_maps_with_labels_of_their_own(labels: Labels) -> None:
    """If the maps call the classes otherwise than the classifier does, `classes` goes with the columns."""
    model = glowplug.load(models.zipmap_classifier(labels, zipped=labels[::-1]))
    maps, matrix = model.run(FEATURES)["probabilities"], model.predict_proba(FEATURES)
    assert model.classes is not None
    assert [[row[label] for label in model.classes] for row in maps] == matrix.tolist()


def scores(operator: str, name: str, columns: int | None) -> bytes:
    """One output of `operator` over a linear model, [N, columns], or [N] for no columns."""
    width = columns or 1
    weights = np.random.default_rng(5).normal(size=(models.CLASSIFIER_FEATURES, width))
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node(operator, ["z"], ["matrix"])]
    nodes.append(
        helper.make_node("Reshape", ["matrix", "flat"], [name])
        if columns is None
        else helper.make_node("Identity", ["matrix"], [name])
    )
    body = models.graph(
        nodes,
        [models.value("x", shape=("N", models.CLASSIFIER_FEATURES))],
        [models.value(name, shape=("N",) if columns is None else ("N", columns))],
        [models.constant("w", weights, "float32"), models.constant("flat", [-1], "int64")],
    )
    return models.model_bytes(body)


@pytest.mark.parametrize(
    ("model", "columns"),
    [
        pytest.param(scores("Softmax", "y", 3), 3, id="softmax"),
        pytest.param(scores("Sigmoid", "y", 1), 1, id="sigmoid"),
        pytest.param(scores("Sigmoid", "y", None), 1, id="sigmoid_vector"),
        pytest.param(scores("Identity", "Probability", 2), 2, id="by_name"),
        pytest.param(models.mlp(models.CLASSIFIER_FEATURES), 1, id="mlp"),
    ],
)
@pytest.mark.parametrize("count", [0, 1, 5])
def test_probabilities_of_one_output(model: bytes, columns: int, count: int, assert_same: Compare) -> None:
    """A model that gives nothing but probabilities; that of the second of two classes is completed by the first's."""
    loaded = glowplug.load(model)
    rows = FEATURES[:count]
    raw = loaded.predict(rows)
    matrix = loaded.predict_proba(rows)
    assert loaded.classes is None
    if columns > 1:
        assert_same(matrix, raw)
    else:
        second = raw.reshape(-1, 1)
        assert_same(matrix, np.concatenate([np.float32(1) - second, second], axis=1))
    if count:
        assert_same(loaded.predict_proba(rows[0]), matrix[:1])


@pytest.mark.parametrize(
    "model", [models.two_outputs(), scores("Identity", "logits", 2), models.nonzero()], ids=["sums", "logits", "hits"]
)
def test_no_probabilities(model: bytes) -> None:
    """Numbers that nothing calls probabilities are not passed off as such."""
    loaded = glowplug.load(model)
    with pytest.raises(glowplug.InputError, match=r"probabilities.*\n  fix: ") as caught:
        loaded.predict_proba(np.ones(loaded.inputs[0].shape[1], np.float32))
    assert all(f"`{output.name}`" in str(caught.value) for output in loaded.outputs)


def test_probability_that_is_called_a_score_and_the_score_of_a_detector(assert_same: Compare) -> None:
    """One number beside labels is a probability, but where the label is its sign."""
    nodes = [helper.make_node("ReduceSum", ["x", "columns"], ["z"]), helper.make_node("Neg", ["z"], ["m"])]
    nodes += [helper.make_node("Exp", ["m"], ["e"]), helper.make_node("Add", ["e", "one"], ["d"])]
    nodes += [helper.make_node("Reciprocal", ["d"], ["score"]), helper.make_node("Greater", ["score", "half"], ["b"])]
    constants = [
        helper.make_tensor("columns", TensorProto.INT64, [1], [1]),
        helper.make_tensor("one", TensorProto.FLOAT, [1], [1]),
        helper.make_tensor("half", TensorProto.FLOAT, [1], [0.5]),
    ]
    outputs = [models.value("label", "int64", ("N", 1)), models.value("score", shape=("N", 1))]
    label = [helper.make_node("Cast", ["b"], ["label"], to=TensorProto.INT64)]
    inputs = [models.value("x", shape=PAIR)]
    classifier = glowplug.load(models.model_bytes(models.graph([*nodes, *label], inputs, outputs, constants)))
    score = classifier.run(PAIRS)["score"]
    assert_same(classifier.predict_proba(PAIRS), np.hstack([1 - score, score]))
    label = [
        helper.make_node("Sign", ["score"], ["s"]),
        helper.make_node("Cast", ["s"], ["label"], to=TensorProto.INT64),
    ]
    detector = glowplug.load(models.model_bytes(models.graph([*nodes, *label], inputs, outputs, constants)))
    with pytest.raises(glowplug.InputError, match="no output known to hold probabilities"):
        detector.predict_proba(PAIRS)
