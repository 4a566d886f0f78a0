"""Any number of threads share a model: nobody waits for the interpreter, and every answer is the serial one."""

from __future__ import annotations

import os
import pickle
import random
import sys
import threading
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pytest

import glowplug as gp
import models
from worker_tasks import answer
from worker_tools import adding, eventually, put, together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Self

THREADS = 8
pytestmark = pytest.mark.usefixtures("clean_registry")
CALLS = 2000
Frozen: TypeAlias = "tuple[object, ...]"


# --- The interpreter is left ------------------------------------------------------------------------------------------


@pytest.fixture
def no_forced_switches() -> Iterator[None]:
    """No thread is made to give way: another one runs only if the interpreter is left."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(before)


class Ticking:
    """Counts, in a thread of its own, how often it gets a turn."""

    def __init__(self) -> None:
        self.ticks = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def _tick(self) -> None:
        while not self._stop.wait(0.0001):
            self.ticks += 1

    def during(self, task: Callable[[], object]) -> int:
        """Ticks between the beginning and the end of a task."""
        before = self.ticks
        task()
        return self.ticks - before

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def long_calls(folder: Path) -> dict[str, Callable[[], object]]:
    matmul = gp.load(models.big_matmul(1024))
    rows = np.eye(1024, dtype=np.float32)
    large = models.mlp(2000, 2000)
    path = put(folder / "large.onnx", large)
    # Most of its external data is a hole, which costs time only where the content is hashed.
    models.external_data(folder)
    os.truncate(folder / "weights.bin", 2**28)
    hashed = gp.load(folder / "model.onnx")
    return {
        "predict": lambda: matmul.predict(rows),
        "run": lambda: matmul.run({"x": rows}),
        # Of its own engine's, a load of 16 MB may be over before another thread has a turn.
        "load_path": lambda: gp.load(path, engine="onnxruntime", optimization="off"),
        "load_bytes": lambda: gp.load(large, engine="onnxruntime", optimization="basic"),
        "pickle": lambda: pickle.dumps(hashed),
    }


@pytest.mark.usefixtures("no_forced_switches")
@pytest.mark.parametrize("name", ["predict", "run", "load_path", "load_bytes", "pickle"])
def test_other_threads_go_on_during_long_calls(name: str, tmp_path: Path) -> None:
    task = long_calls(tmp_path)[name]
    with Ticking() as ticking:
        assert ticking.during(task) > 0
        # The same measure sees nothing of work that keeps the interpreter.
        assert ticking.during(lambda: sum(range(300_000))) == 0


def counting() -> bytes:
    """`count` is `n`, both int64 [], reached in steps of one: a call takes as long as its input is large."""
    body = models.graph(
        [
            models.helper.make_node("Identity", ["going_in"], ["going_out"]),
            models.helper.make_node("Add", ["state_in", "one"], ["state_out"]),
        ],
        [
            models.value("step", "int64", ()),
            models.value("going_in", "bool", ()),
            models.value("state_in", "int64", ()),
        ],
        [models.value("going_out", "bool", ()), models.value("state_out", "int64", ())],
        [models.constant("one", 1, "int64")],
    )
    node = models.helper.make_node("Loop", ["n", "", "zero"], ["count"], body=body)
    ports = [models.value("n", "int64", ())], [models.value("count", "int64", ())]
    return models.model_bytes(models.graph([node], *ports, [models.constant("zero", 0, "int64")]))


def test_short_runs_end_while_a_long_one_goes_on() -> None:
    """They would wait for the long one if runs of a session were queued anywhere."""
    model, answers = gp.load(counting()), list[Any]()
    thread = threading.Thread(target=lambda: answers.append(model.predict(np.array(300_000))), daemon=True)
    thread.start()
    # A call holds the session too, once it has its inputs.
    assert eventually(lambda: gp.models()[0]["holders"] == 2)
    assert [model.predict(np.array(3)) for _ in range(50)] == [3] * 50
    assert answers == []
    thread.join()
    assert answers == [300_000]


# --- Every answer is the serial one -----------------------------------------------------------------------------------


def frozen(value: Any) -> object:
    """An answer with every bit of it, to be compared with `==`."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, tuple(value.ravel()) if value.dtype.kind == "O" else value.tobytes()
    if isinstance(value, dict):
        return tuple((key, frozen(entry)) for key, entry in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(frozen(entry) for entry in value)
    return type(value).__name__, repr(value)


def outcome(call: Callable[[], object]) -> object:
    try:
        return frozen(call())
    except gp.GlowplugError as error:
        return type(error).__name__, str(error)


def mixed_calls(folder: Path) -> list[Callable[[], object]]:
    """Calls of different models, shapes, dtypes and entry points; some are wrong, some fail in the engine."""
    rng = np.random.default_rng(17)
    mlp, mlp_off = gp.load(models.mlp()), gp.load(models.mlp(), optimization="off")
    mlp_threaded = gp.load(put(folder / "mlp.onnx", models.mlp()), threads=2)
    zipmap, strings = gp.load(models.zipmap_classifier()), gp.load(models.zipmap_classifier(models.STRING_LABELS))
    matrix, columns = gp.load(models.tensor_classifier()), gp.load(models.multi_dtype())
    texts, nonzero = gp.load(models.identity("string")), gp.load(models.nonzero())
    gather, reshape = gp.load(models.gather_from_input()), gp.load(models.reshape_from_input())
    both, sequence = gp.load(models.two_inputs()), gp.load(models.sequence_output())
    lying, unnamed = gp.load(models.lying_shape()), gp.load(models.unnamed_dims())
    calls: list[Callable[[], object]] = []
    for rows in (1, 2, 7, 64):
        wide = rng.normal(size=(rows, 30)).astype(np.float32)
        narrow = rng.normal(size=(rows, models.CLASSIFIER_FEATURES)).astype(np.float32)
        pair, third = rng.normal(size=(rows, 2)).astype(np.float32), rng.normal(size=(rows, 3)).astype(np.float32)
        named = {
            "amount": rng.normal(size=(rows, 1)),
            "hour": rng.integers(0, 24, size=(rows, 1), dtype=np.int32),
            "flag": rng.random(size=(rows, 1)) < 0.5,
            "merchant": np.array([[f"händler {row}"] for row in range(rows)], dtype=object),
        }
        words = np.array([[f"{row}-{column}" for column in range(3)] for row in range(rows)], dtype=object)
        calls += [
            lambda wide=wide: mlp.predict(wide),
            lambda wide=wide: mlp.predict(wide.astype(np.float64)),
            lambda wide=wide: mlp.predict(np.asfortranarray(wide)),
            lambda wide=wide: mlp.predict(wide.tolist()),
            lambda wide=wide: mlp.predict(wide[:, :29]),
            lambda wide=wide: mlp.predict(wide.astype("S8")),
            lambda wide=wide: mlp_off.run({"x": wide}),
            lambda wide=wide: mlp_threaded.predict(wide),
            lambda narrow=narrow: zipmap.run(narrow),
            lambda narrow=narrow: zipmap.predict_proba(narrow),
            lambda narrow=narrow: strings.predict(narrow),
            lambda narrow=narrow: matrix.predict_proba(narrow),
            lambda named=named: columns.run(named),
            lambda named=named: columns.run({**named, "stranger": 1}),
            lambda words=words: texts.predict(words),
            lambda third=third: nonzero.predict(third * (third > 0)),
            lambda pair=pair: both.run({"a": pair, "b": pair}, ["sum"]),
            lambda pair=pair: both.run({"a": pair}),
            lambda pair=pair: sequence.run(pair),
            lambda pair=pair: lying.predict(pair),
            lambda pair=pair: unnamed.predict(pair),
            lambda rows=rows: gather.predict(np.arange(rows) % 5),
            lambda rows=rows: gather.predict(np.arange(rows) + 5),
            lambda rows=rows: reshape.run({"x": np.ones(rows, np.float32), "shape": np.array([rows + 1])}),
            lambda: (mlp.inputs[0].name, zipmap.classes, mlp.explain()["threads"]),
        ]
    return calls


def test_mixed_calls_of_many_threads_equal_the_serial_ones(tmp_path: Path) -> None:
    calls = mixed_calls(tmp_path)
    # Twice, because a model learns from its first answers where it may write the next ones.
    expected = [[outcome(call) for call in calls] for _ in range(2)][1]
    kinds = {entry[0] for entry in expected if isinstance(entry, tuple) and isinstance(entry[0], str)}
    assert {"InputError", "InputTypeError", "EngineError"} <= kinds, "errors are to be in the mixture"

    def call(thread: int) -> list[int]:
        order = random.Random(thread)
        chosen = [order.randrange(len(calls)) for _ in range(CALLS)]
        return [index for index in chosen if outcome(calls[index]) != expected[index]]

    assert together(THREADS, call) == [[]] * THREADS


def test_counters_lose_nothing() -> None:
    model, wrong = gp.load(models.gather_from_input()), np.array([9])

    def call(_: int) -> None:
        for rows in range(1, 101):
            model.predict(np.zeros(rows, np.int64))
            with pytest.raises(gp.EngineError):
                model.predict(wrong)

    together(THREADS, call)
    stats = model.stats()
    assert (stats["calls"], stats["rows"], stats["errors"]) == (THREADS * 100, THREADS * 5050, THREADS * 100)
    assert stats["zero_copy_inputs"] == THREADS * 200


def test_errors_of_one_thread_never_disturb_another() -> None:
    model, rows = gp.load(models.gather_from_input()), np.arange(5)
    right = frozen(model.predict(rows))
    wrong: list[object] = [np.array([5]), np.array([0.5]), np.zeros((2, 2), np.int64), "text", None, {"nothing": 1}]

    def call(thread: int) -> set[object]:
        if thread % 2:
            return {frozen(model.predict(rows)) for _ in range(1000)}
        return {outcome(lambda index=index: model.predict(wrong[index % len(wrong)]))[0] for index in range(1000)}  # type: ignore[index]

    results = together(THREADS, call)
    for thread, seen in enumerate(results):
        assert seen == {right} if thread % 2 else seen == {"EngineError", "InputError", "InputTypeError"}


def test_inputs_may_leave_their_dict_during_the_call() -> None:
    """What was passed is held by the call, whatever another thread does with the dict it came in."""
    model = gp.load(models.two_inputs())
    feeds = {"a": np.ones((200_000, 2), np.float32), "b": np.ones((200_000, 2), np.float32)}
    stop = threading.Event()

    def replace() -> None:
        while not stop.is_set():
            for name in feeds:
                feeds[name] = np.ones((200_000, 2), np.float32)

    thread = threading.Thread(target=replace, daemon=True)
    thread.start()
    try:
        for _ in range(50):
            total = model.run(feeds)["sum"]
            assert isinstance(total, np.ndarray)
            assert total.min() == total.max() == 2
            del total
    finally:
        stop.set()
        thread.join()


# --- Loading, unloading and calling at once ---------------------------------------------------------------------------


def test_storm_of_loading_unloading_and_calling(tmp_path: Path) -> None:
    paths = [put(tmp_path / str(number), adding(number, padding=1000)) for number in range(4)]
    contents = [path.read_bytes() for path in paths]
    before = len(gp.models())

    def rage(thread: int) -> list[object]:
        order, held, wrong = random.Random(thread), {}, []
        for _ in range(250):
            number, action = order.randrange(4), order.randrange(10)
            if action < 4:
                held[number] = gp.load(paths[number] if action % 2 else contents[number])
            elif action == 4:
                gp.unload(paths[number])
            elif action == 5:
                gp.configure(memory_budget=order.choice([0, 3000, None]))
            elif action == 6 and number in held:
                held.pop(number).close()
            elif action == 7:
                held[number] = pickle.loads(pickle.dumps(gp.load(paths[number])))
            elif action == 8:
                with gp.load(paths[number], optimization="off") as model:
                    wrong += [answer(model)] if answer(model) != number else []
            elif len(gp.models()) > before + 100:
                wrong.append("too many models")
            wrong += [(number, answer(model)) for number, model in held.items() if answer(model) != number]
        return wrong

    assert together(THREADS, rage) == [[]] * THREADS


def test_model_closed_by_another_thread_answers_or_says_so(tmp_path: Path) -> None:
    path = put(tmp_path / "model.onnx", adding(1))
    for _ in range(30):
        model, first = gp.load(path), threading.Event()

        def call(thread: int, model: gp.Model = model, first: threading.Event = first) -> set[object]:
            if thread == 0:
                first.wait()
                model.close()
                return set()
            seen = set()
            for _ in range(200):
                seen.add(outcome(lambda: (answer(model),)))
                first.set()
            return seen

        closed = f"{path}: the model is closed\n  fix: load it again with `glowplug.load`"
        for seen in together(4, call)[1:]:
            assert seen <= {(("float", "1.0"),), ("ModelClosedError", closed)}


def test_threads_that_pickle_at_once_agree(tmp_path: Path) -> None:
    model = gp.load(put(tmp_path / "model.onnx", adding(1, padding=3_000_000)))
    assert len(set(together(16, lambda _: pickle.dumps(model)))) == 1
