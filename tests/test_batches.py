"""Large batches: the same answer in one run and in pieces, watched, stopped, and after a fork."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import glowplug as gp
import models
from worker_tools import forked, put, together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

can_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
WAYS: list[dict[str, Any]] = [
    {"threads": threads, "batch": batch} for threads in (1, 2, 3) for batch in ("auto", "rows", "serial")
]
ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: "{batch}-{threads}".format(**way))
SIZES = (0, 1, 2, 17, 100, 3000, 1, 3001)


def rows_of(count: int, columns: int, dtype: str = "float32") -> np.ndarray[Any, Any]:
    return np.random.default_rng(count).standard_normal((count, columns)).astype(dtype)


def over_rows(*nodes: Any, constants: tuple[Any, ...] = (), rows: str | None = "N", columns: int = 3) -> bytes:
    """`y` [N, columns] made of `x` [N, columns] by these nodes."""
    shape = (rows, columns)
    body = models.graph(
        list(nodes), [models.value("x", shape=shape)], [models.value("y", shape=shape)], list(constants)
    )
    return models.model_bytes(body)


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    return models.helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


#: Models whose rows depend on each other, although their shapes look as if they did not.
DEPENDENT = {
    "centred": over_rows(node("ReduceMean", "x", "mean", axes=[0], keepdims=1), node("Sub", "x mean", "y")),
    "scaled by the largest": over_rows(
        node("ReduceMax", "x", "most", axes=[0], keepdims=1), node("Div", "x most", "y")
    ),
    "running sum": over_rows(
        node("CumSum", "x axis", "y"), constants=(models.constant("axis", 0, "int64"),)
    ),
    "shares of the batch": over_rows(node("Softmax", "x", "y", axis=0)),
    "unnamed rows": over_rows(
        node("ReduceSum", "x axes", "sum"), node("Div", "x sum", "y"), constants=(models.constant("axes", [0], "int64"),),
        rows=None,
    ),
}  # fmt: skip


@ways
def test_pieces_give_the_serial_answer(way: dict[str, Any]) -> None:
    serial = gp.load(models.mlp(), threads=1, batch="serial")
    model = gp.load(models.mlp(), **way)
    for count in SIZES:
        x = rows_of(count, 30)
        np.testing.assert_allclose(model.predict(x), serial.predict(x), rtol=2e-6, atol=1e-7)


@ways
@pytest.mark.parametrize("name", DEPENDENT)
def test_dependent_rows_stay_together(name: str, way: dict[str, Any]) -> None:
    serial, model = gp.load(DEPENDENT[name], threads=1, batch="serial"), gp.load(DEPENDENT[name], **way)
    for count in SIZES:
        x = np.abs(rows_of(count, 3)) + 1
        if count:
            np.testing.assert_array_equal(model.predict(x), serial.predict(x))


@pytest.mark.parametrize("name", DEPENDENT)
def test_dependent_rows_stay_together_when_the_first_batch_hides_it(name: str) -> None:
    """Equal rows look the same apart and together for some of these models: only the graph tells."""
    model, serial = (gp.load(DEPENDENT[name], threads=2, batch=batch) for batch in ("auto", "serial"))
    for _ in range(3):
        model.predict(np.ones((50_000, 3), np.float32))
    x = np.abs(rows_of(50_000, 3)) + 1
    np.testing.assert_array_equal(model.predict(x), serial.predict(x))
    assert model.explain()["batch_why"].startswith("as one run")


@ways
def test_every_kind_of_output(way: dict[str, Any]) -> None:
    for content in (models.zipmap_classifier(), models.tensor_classifier(("no", "yes", "maybe"))):
        serial, model = gp.load(content, threads=1, batch="serial"), gp.load(content, **way)
        columns = model.inputs[0].shape[1]
        for count in (100, 5000):
            x = rows_of(count, columns)
            expected, got = serial.run(x), model.run(x)
            for name, answer in expected.items():
                if isinstance(answer, list):
                    assert [sorted(row) for row in got[name]] == [sorted(row) for row in answer]
                    got_rows, rows = ([list(row.values()) for row in maps] for maps in (got[name], answer))
                    np.testing.assert_allclose(got_rows, rows, rtol=1e-5)
                elif answer.dtype.kind == "f":
                    np.testing.assert_allclose(got[name], answer, rtol=1e-5)
                else:
                    np.testing.assert_array_equal(got[name], answer)
            np.testing.assert_allclose(model.predict_proba(x), serial.predict_proba(x), rtol=1e-5)


@ways
def test_text_goes_in_and_out(way: dict[str, Any]) -> None:
    model = gp.load(models.identity("string"), **way)
    for count in (100, 20_000):
        x = np.array([[f"{row}", "ä" * (row % 5), ""] for row in range(count)], dtype=object)
        np.testing.assert_array_equal(model.predict(x), x)


@ways
def test_inputs_without_rows_go_to_every_piece(way: dict[str, Any]) -> None:
    model = gp.load(models.default_input(), **way)
    for count in (100, 50_000):
        x = rows_of(count, model.inputs[0].shape[1])
        np.testing.assert_array_equal(model.predict({"x": x, "scale": np.array([3], np.float32)}), x * 3)
        np.testing.assert_array_equal(model.predict(x), x * 10)


def test_a_call_counts_once() -> None:
    model = gp.load(models.mlp(hidden=65), threads=2, batch="rows")
    model.predict(rows_of(20_000, 30))
    stats = model.stats()
    assert (stats["calls"], stats["rows"]) == (1, 20_000)
    assert (stats["zero_copy_inputs"], stats["copied_inputs"]) == (1, 0)


def test_a_bad_row_is_an_error_and_the_next_batch_works() -> None:
    model = gp.load(models.gather_from_input(), threads=2, batch="rows")
    good = np.arange(50_000, dtype=np.int64) % 5
    expected = model.predict(good)
    bad = good.copy()
    bad[40_000] = 77
    for _ in range(3):
        with pytest.raises(gp.EngineError, match="77"):
            model.predict(bad)
        np.testing.assert_array_equal(model.predict(good), expected)


def test_explain_tells_what_was_chosen() -> None:
    by_rows = gp.load(models.mlp(), threads=2, batch="rows")
    facts = by_rows.explain()
    assert (facts["threads"], facts["row_threads"], facts["intra_op_threads"], facts["batch"]) == (2, 2, 1, "rows")
    for _ in range(6):
        by_rows.predict(rows_of(50_000, 30))
    assert by_rows.explain()["batch_why"].startswith("in pieces of about ")
    serial = gp.load(models.mlp(), threads=2, batch="serial", engine="onnxruntime").explain()
    assert (serial["threads"], serial["row_threads"], serial["intra_op_threads"]) == (2, 1, 2)
    assert (facts["spinning"], serial["spinning"]) == (False, True)
    assert serial["batch_why"] == "as one run: asked for by the caller"


# --- Watched ----------------------------------------------------------------------------------------------------------


def slow_rows() -> bytes:
    """`y` is `x` @ w @ w @ w, float32 [N, 512]: some 50 µs a row, none of which depends on another."""
    weights = models.constant("w", np.eye(512), "float32")
    nodes = [node("MatMul", "x w", "a"), node("MatMul", "a w", "b"), node("MatMul", "b w", "y")]
    shape = ("N", 512)
    return models.model_bytes(
        models.graph(nodes, [models.value("x", shape=shape)], [models.value("y", shape=shape)], [weights])
    )


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", ["rows", "serial"])
def test_progress_is_told(batch: str, threads: int) -> None:
    model, x = gp.load(slow_rows(), threads=threads, batch=batch), rows_of(20_000, 512)
    seen: list[tuple[int, int]] = []
    for call in (model.predict, model.run):
        seen.clear()
        call(x, progress=lambda done, total: seen.append((done, total)))
        assert seen[-1] == (20_000, 20_000)
        assert len(seen) > 2
        assert seen == sorted(seen)
        assert {total for _, total in seen} == {20_000}
        if batch == "rows":
            assert len({done for done, _ in seen}) > 2


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", ["rows", "serial"])
def test_what_progress_raises_ends_the_batch(batch: str, threads: int) -> None:
    model, x = gp.load(slow_rows(), threads=threads, batch=batch), rows_of(20_000, 512)

    def enough(done: int, _: int) -> None:
        message = f"enough at {done}"
        raise LookupError(message)

    for _ in range(3):
        with pytest.raises(LookupError, match="enough at"):
            model.predict(x, progress=enough)
    np.testing.assert_allclose(model.predict(x[:50]), x[:50], rtol=1e-6)


def test_an_endless_run_ends_at_its_timeout() -> None:
    model = gp.load(models.endless_loop())
    calls: list[Callable[[float], object]] = [
        lambda timeout: model.predict(np.int64(0), timeout=timeout),
        lambda timeout: model.run({"x": np.int64(0)}, timeout=timeout),
        lambda timeout: model.predict_json(b'{"inputs": {"x": 0}}', timeout=timeout),
    ]
    for call in calls * 2:
        with pytest.raises(gp.DeadlineExceeded, match="was not done within 100ms, and was ended"):
            call(0.1)
    assert model.stats()["errors"] == len(calls) * 2


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent to one process")
@pytest.mark.parametrize("way", [{"batch": "serial"}, {"batch": "rows"}, {"batch": "rows", "threads": 2}], ids=str)
def test_ctrl_c_ends_a_batch(way: dict[str, Any], tmp_path: Path) -> None:
    path = put(tmp_path / "slow.onnx", slow_rows())
    code = f"""
import sys, time
import numpy as np
import glowplug
model = glowplug.load(sys.argv[1], **{way!r})
x = np.ones((20_000, 512), np.float32)
model.predict(x[:200])
print("ready", flush=True)
try:
    for _ in range(1000):
        started = time.monotonic()
        model.predict(x)
except KeyboardInterrupt:
    print("stopped", flush=True)
print(float(model.predict(x[:100]).sum()))
"""
    child = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.7)
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=60)
    assert out == "stopped\n51200.0\n"


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent to one process")
def test_ctrl_c_ends_a_run_after_one_that_a_deadline_ended(tmp_path: Path) -> None:
    path = put(tmp_path / "endless.onnx", models.endless_loop())
    code = """
import os, signal, sys, threading
import numpy as np
import glowplug
model = glowplug.load(sys.argv[1])
try:
    model.predict(np.int64(0), timeout=0.1)
except glowplug.DeadlineExceeded:
    print("ended", flush=True)
try:
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    model.predict(np.int64(0))
except KeyboardInterrupt:
    print("stopped", flush=True)
"""
    command = [sys.executable, "-c", code, path]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=30, check=False)
    assert (ran.stdout, ran.returncode) == ("ended\nstopped\n", 0)


# --- More than memory -------------------------------------------------------------------------------------------------


def test_batches_are_asked_for_one_by_one() -> None:
    model, asked = gp.load(models.mlp()), []

    def batches() -> Iterator[np.ndarray[Any, Any]]:
        for count in (3, 0, 500):
            asked.append(count)
            yield rows_of(count, 30)

    answers = model.predict_iter(batches())
    assert asked == []
    for count in (3, 0, 500):
        np.testing.assert_array_equal(next(answers), model.predict(rows_of(count, 30)))
        assert asked[-1] == count
    assert next(answers, None) is None


def test_a_batch_that_does_not_fit_is_an_error_in_its_turn() -> None:
    model = gp.load(models.mlp())
    answers = model.predict_iter([rows_of(3, 30), rows_of(3, 29)])
    assert next(answers).shape == (3, 1)
    with pytest.raises(gp.InputError):
        next(answers)


# --- Threads and processes --------------------------------------------------------------------------------------------


def test_many_threads_with_batches_at_once() -> None:
    model = gp.load(models.mlp(), threads=2, batch="rows")
    inputs = [rows_of(count, 30) for count in (1, 20, 4000, 20_000)]
    expected = [model.predict(x) for x in inputs]

    def task(index: int) -> bool:
        for number in range(30):
            at = (index + number) % len(inputs)
            np.testing.assert_allclose(model.predict(inputs[at]), expected[at], rtol=2e-6, atol=1e-7)
        return True

    assert together(6, task) == [True] * 6


@can_fork
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_batches_in_a_forked_child(tmp_path: Path) -> None:
    model = gp.load(put(tmp_path / "mlp.onnx", models.mlp()), threads=2, batch="rows")
    x = rows_of(50_000, 30)
    for _ in range(3):
        expected = model.predict(x)

    def task() -> bool:
        answers = [model.predict(x) for _ in range(3)]
        for answer in answers:
            np.testing.assert_allclose(answer, expected, rtol=2e-6, atol=1e-7)
        return True

    for _ in range(3):
        assert forked(task)
        assert task()
    assert forked(lambda: forked(task))
