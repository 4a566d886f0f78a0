"""JSON in, JSON out: against `json`, NumPy and `predict`; what bodies are taken and refused is in `src/json/tests.rs`."""

from __future__ import annotations

import json
import math
import struct
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import glowplug
import models
from worker_tools import python

FEATURES = np.random.default_rng(3).normal(size=(5, models.CLASSIFIER_FEATURES)).astype(np.float32)
SAMPLES: dict[str, list[Any]] = {
    "float16": [0.5, -2.0, 65504.0, 0.1],
    "float32": [0.5, -2.0, 3.4e38, 0.1],
    "float64": [0.5, -2.0, 1e308, 0.1],
    "int8": [0, 1, -128, 127],
    "int16": [0, 1, -(2**15), 2**15 - 1],
    "int32": [0, 1, -(2**31), 2**31 - 1],
    "int64": [0, 2**53 + 1, -(2**63), 2**63 - 1],
    "uint8": [0, 1, 2, 255],
    "uint16": [0, 1, 2, 2**16 - 1],
    "uint32": [0, 1, 2, 2**32 - 1],
    "uint64": [0, 1, 2**53 + 1, 2**64 - 1],
    "bool": [True, False, False, True],
    "string": ["", 'a "quote" \\ \n\x01', "Überweisung", "🙂"],
}


def score(model: bytes, body: Any, **options: Any) -> Any:
    """The answer of the JSON path, parsed by `json`, which takes no answer that is not JSON."""
    with glowplug.load(model) as loaded:
        return strict(loaded.predict_json(json.dumps(body), **options))


def strict(answer: bytes) -> Any:
    def refuse(word: str) -> None:
        pytest.fail(f"{word} is no JSON")

    assert type(answer) is bytes
    return json.loads(answer, parse_constant=refuse)


def same_floats(got: Any, expected: np.ndarray[Any, Any]) -> None:
    """Bit for bit once read in the precision they were written in."""
    array = np.asarray(got, expected.dtype)
    assert array.shape == expected.shape
    assert array.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", models.DTYPES)
def test_every_dtype_comes_back(dtype: str) -> None:
    values = SAMPLES[dtype]
    rows = [values[:2], values[2:]]
    got = score(models.identity(dtype, ("N", 2)), rows)
    if dtype.startswith("float"):
        same_floats(got, np.array(rows, dtype))
    else:
        assert got == rows
        assert [type(value) for row in got for value in row] == [type(value) for value in values]
    if dtype != "string":
        with glowplug.load(models.identity(dtype, ("N", 2))) as model:
            assert np.array_equal(np.asarray(got, dtype), model.predict(np.array(rows, dtype)))


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_predictions_are_those_of_predict(rows: int) -> None:
    values = np.random.default_rng(1).normal(size=(rows, 30)).astype(np.float32)
    with glowplug.load(models.mlp()) as model:
        expected = model.predict(values) if rows else np.empty((0, 1), np.float32)
        body = values.tolist()
        answers = [
            strict(model.predict_json(json.dumps(body))),
            strict(model.predict_json(json.dumps({"instances": body})))["predictions"],
            strict(model.predict_json(json.dumps({"inputs": body})))["outputs"],
            strict(model.predict_json(json.dumps({"inputs": {"x": body}})))["outputs"] if rows else [],
        ]
        for answer in answers:
            same_floats(np.asarray(answer, np.float32).reshape(expected.shape), expected)
        tensor = {"name": "x", "shape": [rows, 30], "datatype": "FP32", "data": values.ravel().tolist()}
        answer = strict(model.predict_json(json.dumps({"id": "7", "inputs": [tensor]})))
        assert answer["id"] == "7"
        assert answer["model_name"]
        (output,) = answer["outputs"]
        assert (output["name"], output["datatype"], output["shape"]) == ("y", "FP32", [rows, 1])
        same_floats(np.reshape(output["data"], expected.shape), expected)
        if rows == 1:
            assert strict(model.predict_json(json.dumps(body[0]))) == answers[0][0]


@pytest.mark.parametrize("labels", [models.INT_LABELS, models.STRING_LABELS])
@pytest.mark.parametrize("make", [models.zipmap_classifier, models.tensor_classifier])
def test_classifiers(make: Any, labels: Any) -> None:
    with glowplug.load(make(labels)) as model:
        answers = {
            method: strict(model.predict_json(json.dumps(FEATURES.tolist()), method=method))
            for method in ("predict", "predict_proba", "run")
        }
        assert answers["predict"] == model.predict(FEATURES).tolist()
        same_floats(answers["predict_proba"], model.predict_proba(FEATURES))
        for row, answer in enumerate(answers["run"]):
            assert answer["label"] == answers["predict"][row]
            found = answer["probabilities"]
            if make is models.zipmap_classifier:
                assert list(found) == [str(label) for label in sorted(labels)]
                found = [found[str(label)] for label in model.classes or ()]
            assert found == answers["predict_proba"][row]
        one = strict(model.predict_json(json.dumps(FEATURES[0].tolist()), method="run"))
        assert one == answers["run"][0]
        tensor = {"name": "x", "shape": [5, 4], "datatype": "FP32", "data": FEATURES.tolist()}
        asked = {"inputs": [tensor], "outputs": [{"name": "probabilities"}, {"name": "label"}]}
        probabilities, label = strict(model.predict_json(json.dumps(asked)))["outputs"]
        assert (probabilities["name"], probabilities["shape"]) == ("probabilities", [5, 3])
        same_floats(np.reshape(probabilities["data"], (5, 3)), model.predict_proba(FEATURES))
        assert (label["name"], label["shape"], label["data"]) == ("label", [5], answers["predict"])
        assert label["datatype"] == ("BYTES" if isinstance(labels[0], str) else "INT64")


def test_one_column_of_probabilities_becomes_two() -> None:
    values = np.random.default_rng(1).normal(size=(3, 30)).astype(np.float32)
    with glowplug.load(models.mlp()) as model:
        same_floats(
            strict(model.predict_json(json.dumps(values.tolist()), method="predict_proba")), model.predict_proba(values)
        )


def test_columns_of_several_dtypes() -> None:
    rows = [
        {"amount": 1.5, "hour": 3, "flag": True, "merchant": "a"},
        {"merchant": "b", "flag": False, "amount": 2, "hour": 4},
    ]
    expected = [{"score": [5.5], "merchant_out": ["a"]}, {"score": [6.0], "merchant_out": ["b"]}]
    model = models.multi_dtype()
    assert score(model, rows, method="run") == expected
    assert score(model, rows[0], method="run") == expected[0]
    assert score(model, [list(rows[0].values())]) == [[5.5]]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    assert score(model, {"inputs": columns}, method="run") == {
        "outputs": {"score": [[5.5], [6.0]], "merchant_out": [["a"], ["b"]]}
    }


def test_inputs_of_several_shapes() -> None:
    rows = [{"a": [1, 2], "b": [3, 4]}, {"b": [0.5, 0.25], "a": [0, 0]}]
    assert score(models.two_inputs(), rows) == [[4.0, 6.0], [0.5, 0.25]]
    assert score(models.two_outputs(), [[1, 2]], method="run") == [{"double": [2.0, 4.0], "square": [1.0, 4.0]}]
    assert score(models.default_input(), [[1, 2]]) == [[10.0, 20.0]]
    assert score(models.default_input(), {"x": [1, 2], "scale": 3}) == [3.0, 6.0]


def test_shapes() -> None:
    deep = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    assert score(models.identity("float32", ("N", 3, "k")), deep.tolist()) == deep.tolist()
    assert score(models.identity("float32", ("N",)), [1, 2]) == [1.0, 2.0]
    assert score(models.identity("float32", ("N",)), 1) == 1.0
    assert score(models.identity("float32", ()), 1.5) == 1.5
    assert score(models.unnamed_dims(), [[1, 2], [3, 4]]) == [[-1.0, -2.0], [-3.0, -4.0]]
    assert score(models.open_rank(), [[1], [2]]) == [[-1.0], [-2.0]]
    assert score(models.unicode_names(), [[1, 2]], method="run") == [{"結果 🙂": [-1.0, -2.0]}]


def test_outputs_without_rows() -> None:
    assert score(models.scalar_output(), [[1, 2, 3], [4, 5, 6]]) == 21.0
    parts = score(models.sequence_output(), [1, 2], method="run")
    assert parts == {"parts": [[[1.0, 2.0]], [[1.0], [2.0], [1.0], [2.0]]]}
    assert score(models.optional_output(present=False), [1, 2], method="run") == {"maybe": None, "y": [1.0, 2.0]}
    with pytest.raises(glowplug.InputError, match=r"output `total`.* does not have a value for each of the 2 rows"):
        score(models.scalar_output(), [[1, 2, 3], [4, 5, 6]], method="run")
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
    with pytest.raises(glowplug.InputError, match=r"output `parts`.* is not a tensor"):
        score(models.sequence_output(), {"inputs": [tensor]})


def test_nan_and_infinity_become_null() -> None:
    with glowplug.load(models.identity("float32", ("N",))) as model:
        assert model.predict_json("[NaN, null, Infinity, -Infinity, 1]") == b"[null,null,null,null,1.0]"


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda body: body.decode()])
def test_kinds_of_bodies(kind: Any) -> None:
    with glowplug.load(models.identity("string", ("N",))) as model:
        before = model.stats()
        assert model.predict_json(kind('["é"]'.encode())) == '["é"]'.encode()
        after = model.stats()
        assert [after[name] - before[name] for name in ("copied_inputs", "rows")] == [1, 1]


def test_views_of_any_layout() -> None:
    with glowplug.load(models.identity("int64", ("N",))) as model:
        assert model.predict_json(memoryview(b"[x1x,x2x]x")[::2]) == b"[1,2]"


@pytest.mark.parametrize(
    ("body", "options", "error", "says"),
    [
        (None, {}, glowplug.InputTypeError, "got NoneType, expected bytes, str"),
        ([[1, 2, 3]], {}, glowplug.InputTypeError, "got list"),
        ("[[1, 2, 3]]", {"method": "score"}, glowplug.OptionError, "option `method`"),
        ("\ud800", {}, glowplug.InputError, "UTF-8"),
        (b"\xff", {}, glowplug.InputError, "UTF-8 at byte 0"),
        (b"[[1, 2, 3], [1, 2]]", {}, glowplug.InputError, "row 1, input `x`"),
        (b'[[1, 2, "3"]]', {}, glowplug.InputTypeError, "row 0, position 2 of input `x`"),
        (b"[[1, 2, 3]", {}, glowplug.InputError, "line 1, column 10"),
        (b"[[1, 2, 3]]", {"method": "predict_proba"}, glowplug.InputError, "no output known to hold probabilities"),
    ],
)
def test_mistakes(body: Any, options: dict[str, Any], error: type[Exception], says: str) -> None:
    with glowplug.load(models.identity()) as model:
        with pytest.raises(error, match=says):
            model.predict_json(body, **options)
        assert model.predict_json("[[1, 2, 3]]") == b"[[1.0,2.0,3.0]]", "the model is none the worse"


def test_closed_models_refuse() -> None:
    model = glowplug.load(models.identity())
    model.close()
    with pytest.raises(glowplug.ModelClosedError):
        model.predict_json("[[1, 2, 3]]")


FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
FLOAT64 = st.floats(allow_nan=False, allow_infinity=False)
MATRICES = {name: models.identity(name, ("N",)) for name in ("float32", "float64", "int64", "string")}


@given(st.lists(FLOAT32, max_size=20))
def test_float32_round_trips(values: list[float]) -> None:
    got = score(MATRICES["float32"], values)
    assert [struct.pack("f", value) for value in got] == [struct.pack("f", value) for value in values]


@given(st.lists(FLOAT64, max_size=20))
def test_float64_round_trips(values: list[float]) -> None:
    assert [value.hex() for value in score(MATRICES["float64"], values)] == [value.hex() for value in values]


@given(st.floats(allow_nan=False))
def test_float64_is_rounded_as_numpy_does(value: float) -> None:
    with glowplug.load(MATRICES["float32"]) as model, np.errstate(over="ignore"):
        rounded = np.float32(value)
        if math.isinf(rounded) and not math.isinf(value):
            with pytest.raises(glowplug.InputError, match="fits float32"):
                model.predict_json(json.dumps([value]))
        else:
            (got,) = strict(model.predict_json(json.dumps([value])))
            assert got is None if math.isinf(rounded) else np.float32(got) == rounded


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20))
def test_int64_round_trips(values: list[int]) -> None:
    assert score(MATRICES["int64"], values) == values


@given(st.lists(st.text(), max_size=10), st.booleans())
def test_text_round_trips(values: list[str], ascii_only: bool) -> None:
    with glowplug.load(MATRICES["string"]) as model:
        body = json.dumps(values, ensure_ascii=ascii_only)
        assert strict(model.predict_json(body)) == values


# Any value at all: taken or refused with an error of ours, and what is not JSON is never taken.
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "inputs", "id"]), inner),
    max_leaves=12,
)


@given(ANYTHING, st.integers(0, 200))
def test_any_value_has_an_outcome(value: Any, cut: int) -> None:
    text = json.dumps(value)
    with glowplug.load(models.two_inputs()) as model:
        for body in (text, text[:cut]):
            try:
                strict(model.predict_json(body))
            except glowplug.InputError:
                continue
            json.loads(body)


def test_numpy_is_never_imported(tmp_path: Any) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(models.zipmap_classifier(models.STRING_LABELS))
    code = f"""
import sys, glowplug
model = glowplug.load({str(path)!r})
print(model.predict_json("[[1, 2, 3, 4]]").decode("utf-8"))
for method in ("predict_proba", "run"):
    model.predict_json(b'{{"instances": [[1, 2, 3, 4]]}}', method=method)
try:
    model.predict_json("[[1]]")
except glowplug.InputError:
    print("refused")
print([name for name in ("numpy", "json", "logging", "re", "typing") if name in sys.modules])
"""
    answer, refused, imported = python(code).splitlines()
    assert json.loads(answer)[0] in models.STRING_LABELS
    assert (refused, imported) == ("refused", "[]")


def test_many_threads_at_once() -> None:
    values = np.random.default_rng(5).normal(size=(64, 30)).astype(np.float32)
    with glowplug.load(models.mlp()) as model:
        bodies = [json.dumps(values[row : row + 1].tolist()).encode() for row in range(len(values))]
        expected = [model.predict_json(body) for body in bodies]
        wrong: list[int] = []
        barrier = threading.Barrier(8)

        def work() -> None:
            barrier.wait()
            for _ in range(20):
                wrong.extend(row for row, body in enumerate(bodies) if model.predict_json(body) != expected[row])

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert model.stats()["calls"] == len(bodies) * (1 + 8 * 20)


def test_an_output_that_is_an_input_outlives_it() -> None:
    """The engine hands it through: its memory is that of the body's numbers, which are gone when the answer is written."""
    rows = [[float(row), float(row) / 2] for row in range(500)]
    for _ in range(20):
        answer = score(models.passthrough(), {"instances": rows}, method="predict")
        assert answer == {"predictions": rows}
