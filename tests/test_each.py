"""Many bodies in one run: each has the answer, or the error, that it has alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

import glowplug
import models

if TYPE_CHECKING:
    from collections.abc import Callable


def alone(model: glowplug.Model, body: bytes, method: str = "predict") -> Any:
    try:
        return model._handle.predict_json(body, method, None)
    except glowplug.GlowplugError as error:
        return (type(error), str(error))


def together(model: glowplug.Model, bodies: list[bytes], method: str = "predict", rows: int = 10**6) -> list[Any]:
    answers, took = model._handle.measured_each(bodies, method, None, rows)
    assert len(answers) == len(bodies)
    assert took[0] >= 0
    return [(type(answer), str(answer)) if isinstance(answer, Exception) else answer for answer in answers]


def bodies_of(*values: Any) -> list[bytes]:
    return [value if isinstance(value, bytes) else json.dumps(value).encode() for value in values]


X2 = [[1.0, 2.0], [3.0, 4.0]]
CASES: dict[str, tuple[Callable[[], bytes], list[Any]]] = {
    "forms": (models.passthrough, [X2, X2[0], {"instances": X2}, {"inputs": {"x": X2}}, {"inputs": X2}, [], X2]),
    "bad ones between": (models.passthrough, [X2, [[1]], b"nonsense", X2, [["x", 1]], b"", X2[1], b"[[1, 2], [3]]"]),
    "open inference": (
        models.passthrough,
        [X2, {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [5, 6]}], "id": "7"}, X2],
    ),
    "maps and text": (
        lambda: models.zipmap_classifier(models.STRING_LABELS),
        [[[0.1, 0.2, 0.3, 0.4]], [0.4, 0.3, 0.2, 0.1], [[1, 2, 3, 4]] * 3, [[1]], {"instances": [[4, 3, 2, 1]]}],
    ),
    "several inputs": (models.two_inputs, [{"inputs": {}}, [], 7]),
    "refused by the engine": (models.gather_from_input, [[0], [9], [1, 2], [3], [4, 9], [4]]),
    "rows that depend": (models.scalar_output, [[[1, 2, 3]], [[4, 5, 6]]]),
    "a fixed number of rows": (models.fixed_batch, [[[1, 2]] * 4, [[1, 2]] * 3, [[3, 4]] * 4]),
    "an overridden default": (
        models.default_input,
        [X2, {"inputs": {"x": X2, "scale": [2.0]}}, {"inputs": {"x": X2}}, X2],
    ),
}


@pytest.mark.parametrize("method", ["predict", "predict_proba", "run"])
@pytest.mark.parametrize("case", CASES)
def test_each_answer_is_its_own(case: str, method: str) -> None:
    content, values = CASES[case]
    model, bodies = glowplug.load(content()), bodies_of(*values)
    assert together(model, bodies, method) == [alone(model, body, method) for body in bodies]


ROWS = st.lists(st.lists(st.floats(-8, 8, width=32), min_size=3, max_size=5), max_size=4)


@given(st.lists(st.one_of(ROWS, st.binary(max_size=9)), max_size=9))
def test_any_bodies(values: list[Any]) -> None:
    # Rows of three are right; whatever else comes is told what is wrong with it.
    model, bodies = glowplug.load(models.identity()), bodies_of(*values)
    assert together(model, bodies) == [alone(model, body) for body in bodies]


def test_good_ones_share_a_run() -> None:
    model = glowplug.load(models.mlp(inputs=3, hidden=8))
    before = model.stats()
    bodies = bodies_of(*([[[index, 1, 2]], [[index]]][index % 3 == 2] for index in range(300)))
    answers = together(model, bodies)
    after = model.stats()
    assert (after["calls"] - before["calls"], after["rows"] - before["rows"]) == (1, 200)
    assert sum(isinstance(answer, bytes) for answer in answers) == 200


def test_engine_errors_are_found_by_halves() -> None:
    model = glowplug.load(models.gather_from_input())
    before = model.stats()["calls"]
    answers = together(model, bodies_of(*([9 if index == 700 else index % 5] for index in range(1000))))
    assert [index for index, answer in enumerate(answers) if not isinstance(answer, bytes)] == [700]
    assert answers[700][0] is glowplug.EngineError
    assert answers[999] == b"[40.0]"
    assert model.stats()["calls"] - before <= 22


def test_limits() -> None:
    model = glowplug.load(models.identity())
    before = model.stats()["calls"]
    answers = together(model, bodies_of(*[[[1, 2, 3]] * 4] * 5, [[1, 2, 3]] * 11), rows=10)
    assert [answer if isinstance(answer, bytes) else answer[0] for answer in answers[4:]] == [
        alone(model, json.dumps([[1, 2, 3]] * 4).encode()),
        glowplug.LimitError,
    ]
    # Runs of at most ten rows: two bodies, two bodies, one; and the one that it is compared with.
    assert model.stats()["calls"] - before == 4


def test_deadline_is_for_all() -> None:
    model = glowplug.load(models.endless_loop())
    body = b'{"inputs": {"x": 1}}'
    answers, _ = model._handle.measured_each([body, b"x", body], "predict", 0.2, 100)
    assert [type(answer) for answer in answers] == [
        glowplug.DeadlineExceeded,
        glowplug.InputError,
        glowplug.DeadlineExceeded,
    ]
    with pytest.raises(glowplug.InputTypeError):
        model._handle.measured_each([7], "predict", None, 100)


@pytest.mark.parametrize("batch", ["auto", "rows"])
def test_one_that_takes_for_ever_leaves_time_for_the_others(batch: Any) -> None:
    model = glowplug.load(models.counting_loop(), batch=batch)
    bodies = bodies_of([1], [2], [10**15], *([index % 7] for index in range(20)), [10**15])
    answers, _ = model._handle.measured_each(bodies, "predict", 4.0, 100)
    late = [index for index, answer in enumerate(answers) if not isinstance(answer, bytes)]
    assert late == [2, 23], answers
    assert all(isinstance(answers[index], glowplug.DeadlineExceeded) for index in late)
    assert answers[5] == b"[2]"


def unproven() -> bytes:
    """`y` is `x` and nothing times the sum of all rows: each row stays what it is, which no look at the graph can tell."""
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=1),
        helper.make_node("Mul", ["total", "nothing"], ["zero"]),
        helper.make_node("Add", ["x", "zero"], ["y"]),
    ]
    inputs, outputs = [models.value("x", shape=("N", 2))], [models.value("y", shape=("N", 2))]
    return models.model_bytes(models.graph(nodes, inputs, outputs, [models.constant("nothing", 0, "float32")]))


@pytest.mark.parametrize(("batch", "runs"), [("auto", 3), ("rows", 1)])
def test_rows_that_the_graph_does_not_prove(batch: Any, runs: int) -> None:
    """Each body has its own run, unless whoever loaded the model vouches for its rows."""
    model = glowplug.load(unproven(), batch=batch)
    before = model.stats()["calls"]
    answers = together(model, bodies_of([[1, 2]], [[3, 4]], [[5, 6]]))
    assert answers == [b"[[1.0,2.0]]", b"[[3.0,4.0]]", b"[[5.0,6.0]]"]
    assert model.stats()["calls"] - before == runs
