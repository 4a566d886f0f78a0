"""A model is held for as long as it is wanted: unloading, the budget, closing, and calls that run meanwhile."""

from __future__ import annotations

import copy
import os
import pickle
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import glowplug as gp
import models
from test_registry import OPTIONS, WAYS
from worker_tasks import answer, zeros
from worker_tools import adding, put, share, sources, together

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("clean_registry")


def loaded_bytes() -> int:
    """Bytes of everything that is loaded, also by others in this process."""
    return sum(entry["bytes"] for entry in gp.models())


# --- Unloading --------------------------------------------------------------------------------------------------------

UNLOADING: dict[str, Callable[[Path, gp.Model], Any]] = {
    "model": lambda _, model: model,
    "path": lambda folder, _: folder / "model.onnx",
    "text": lambda folder, _: str(folder / "model.onnx"),
    "dots": lambda folder, _: f"{folder}/./folder/../model.onnx",
    "slashes": lambda folder, _: f"{folder}//model.onnx",
    "relative": lambda folder, _: os.path.relpath(folder / "model.onnx"),
}


@pytest.mark.parametrize("way", UNLOADING.values(), ids=UNLOADING.keys())
def test_unload_forgets_and_holders_go_on(way: Callable[[Path, gp.Model], Any], places: Path) -> None:
    held = gp.load(places / "model.onnx")
    wanted = way(places, held)
    assert gp.unload(wanted) is True
    assert sources(places) == []
    assert gp.unload(wanted) is False
    assert answer(held) == 1
    anew = gp.load(places / "model.onnx")
    assert not share(held, anew)
    assert (answer(held), answer(anew)) == (1, 1)


@pytest.mark.parametrize("way", [way for way in WAYS if "byte" not in way and "memory" not in way])
def test_unload_takes_the_path_that_load_took(way: str, places: Path) -> None:
    path = WAYS[way](places)
    gp.load(path)
    assert gp.unload(path) is True
    assert sources(places) == []


def test_unload_by_path_forgets_every_session_of_it(places: Path) -> None:
    held = [gp.load(places / "model.onnx", **options) for options in OPTIONS]
    other = gp.load(put(places / "other.onnx", adding(9)))
    assert gp.unload(places / "model.onnx") is True
    assert sources(places) == ["other.onnx"]
    assert [answer(model) for model in held] == [1] * len(OPTIONS)
    assert answer(other) == 9


def test_contents_a_path_had_do_not_pile_up(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    first = gp.load(put(path, adding(0)))
    for number in range(1, 6):
        assert answer(gp.load(put(path, adding(number)))) == number
    assert answer(first) == 0
    first.close()
    assert sources(tmp_path) == ["model.onnx"]
    assert gp.unload(path) is True
    assert sources(tmp_path) == []


def test_unload_of_bytes_and_of_strangers(tmp_path: Path) -> None:
    model = gp.load(adding(1))
    assert gp.unload(model) is True
    assert gp.unload(model) is False
    assert gp.unload(tmp_path / "never loaded") is False
    assert gp.unload("") is False


@pytest.mark.parametrize("wrong", [3, None, b"model.onnx", ["model.onnx"]], ids=repr)
def test_unload_wants_a_model_or_a_path(wrong: Any) -> None:
    with pytest.raises(gp.OptionTypeError, match=r"\n  fix: "):
        gp.unload(wrong)


# --- The budget -------------------------------------------------------------------------------------------------------


def fill(folder: Path, count: int) -> tuple[list[Path], int]:
    """Loads models of one size that nobody holds, and says how large they are."""
    paths = [put(folder / str(number), adding(number, padding=10_000)) for number in range(count)]
    for path in paths:
        gp.load(path)
    (size,) = {path.stat().st_size for path in paths}
    return paths, size


def test_budget_unloads_the_least_recently_used(tmp_path: Path) -> None:
    others = loaded_bytes()
    paths, size = fill(tmp_path, 5)
    gp.load(paths[1])
    assert sources(tmp_path) == ["1", "4", "3", "2", "0"]
    gp.configure(memory_budget=others + 3 * size)
    assert sources(tmp_path) == ["1", "4", "3"]
    gp.load(paths[3])
    gp.load(paths[0])
    assert sources(tmp_path) == ["0", "3", "1"]
    gp.configure(memory_budget=others + 3 * size - 1)
    assert sources(tmp_path) == ["0", "3"]
    gp.configure(memory_budget=None)
    for path in paths:
        gp.load(path)
    assert len(sources(tmp_path)) == 5


def test_budget_leaves_what_is_held(tmp_path: Path) -> None:
    paths, _ = fill(tmp_path, 4)
    held = [gp.load(paths[0]), gp.load(paths[2])]
    gp.configure(memory_budget=0)
    assert sources(tmp_path) == ["2", "0"]
    assert share(held[0], gp.load(paths[0]))
    assert [answer(model) for model in held] == [0, 2]
    large = gp.load(put(tmp_path / "large", adding(7, padding=100_000)))
    assert answer(large) == 7, "a model above the budget is loaded all the same"
    del held, large
    gp.load(paths[3])
    assert "large" not in sources(tmp_path), "what is not held any more goes at the next load"


@pytest.mark.parametrize(
    ("budget", "error"),
    [
        (-1, gp.OptionError),
        (-(2**70), gp.OptionError),
        (1.5, gp.OptionTypeError),
        ("1", gp.OptionTypeError),
        (True, gp.OptionTypeError),
        (b"", gp.OptionTypeError),
    ],
)
def test_budget_is_a_number_of_bytes(budget: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"option `memory_budget`: got .*expected .*\n  fix: ") as raised:
        gp.configure(memory_budget=budget)
    assert raised.type is error


def test_budget_may_be_beyond_all_memory(tmp_path: Path) -> None:
    gp.configure(memory_budget=2**80)
    fill(tmp_path, 2)
    assert len(sources(tmp_path)) == 2
    with pytest.raises(TypeError, match="memory_budget"):
        gp.configure()  # type: ignore[call-arg]


# --- Calls that run meanwhile -----------------------------------------------------------------------------------------


def test_calls_survive_eviction_unloading_and_loading(tmp_path: Path) -> None:
    paths = [put(tmp_path / str(number), adding(number)) for number in range(3)]
    held = gp.load(paths[0])
    stop, ready = threading.Event(), threading.Barrier(4)
    wrong: list[object] = []
    calls = [0] * 3

    def call(index: int) -> None:
        ready.wait()
        while not stop.is_set():
            model = held if index == 0 else gp.load(paths[index])
            if answer(model) != index:
                wrong.append((index, answer(model)))
            calls[index] += 1

    threads = [threading.Thread(target=call, args=(index,), daemon=True) for index in range(3)]
    for thread in threads:
        thread.start()
    ready.wait()
    for turn in range(200):
        gp.configure(memory_budget=0)
        gp.unload(held if turn % 2 else paths[turn % 3])
        gp.configure(memory_budget=None)
        gp.load(paths[turn % 3]).close()
        gp.load(paths[0])
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert min(calls) > 0


def test_running_call_outlives_its_session(tmp_path: Path) -> None:
    path = put(tmp_path / "model.onnx", models.big_matmul(512))
    rows = np.random.default_rng(5).normal(size=(512, 512)).astype(np.float32)
    first = gp.load(path).predict(rows)
    assert isinstance(first, np.ndarray)
    expected, overlaps = first.tobytes(), 0
    for _ in range(20):
        model, started, answers = gp.load(path), threading.Event(), []

        def call(model: gp.Model = model, started: threading.Event = started, answers: list[Any] = answers) -> None:
            started.set()
            answers.append(model.predict(rows))

        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        started.wait()
        # A call holds the session too, once it has its inputs.
        while not answers and gp.models()[0]["holders"] < 2:
            time.sleep(0)
        gp.unload(model)
        gp.configure(memory_budget=0)
        del model
        overlaps += not answers
        thread.join()
        gp.configure(memory_budget=None)
        assert answers[0].tobytes() == expected
        if overlaps:
            break
    assert overlaps, "no call was running when its session was unloaded"


# --- Closing ----------------------------------------------------------------------------------------------------------


def test_close_unloads_what_nobody_shares(tmp_path: Path) -> None:
    path = put(tmp_path / "model.onnx", adding(1))
    with gp.load(path) as model:
        assert answer(model) == 1
        assert not model.closed
    assert model.closed
    assert sources(tmp_path) == []
    model.close()


def test_close_leaves_what_others_share(tmp_path: Path) -> None:
    path = put(tmp_path / "model.onnx", adding(1))
    other = gp.load(path)
    with gp.load(path):
        pass
    assert sources(tmp_path) == ["model.onnx"]
    assert answer(other) == 1
    assert share(other, gp.load(path))
    other.close()
    assert sources(tmp_path) == []


def test_error_in_the_block_closes_and_comes_out(tmp_path: Path) -> None:
    path = put(tmp_path / "model.onnx", adding(1))
    message = "our own"
    with pytest.raises(KeyError, match=message), gp.load(path) as model:
        raise KeyError(message)
    assert model.closed


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_closing_a_duplicate_leaves_the_original(duplicate: Callable[[gp.Model], gp.Model], tmp_path: Path) -> None:
    model = gp.load(put(tmp_path / "model.onnx", adding(1)))
    with duplicate(model) as other:
        assert share(model, other)
    assert not model.closed
    assert answer(model) == 1


AFTER_CLOSE: dict[str, Callable[[gp.Model], object]] = {
    "predict": lambda model: model.predict(zeros()),
    "predict list": lambda model: model.predict([[1, 2]]),
    "predict_proba": lambda model: model.predict_proba(zeros()),
    "run": lambda model: model.run({"x": zeros()}),
    "inputs": lambda model: model.inputs,
    "outputs": lambda model: model.outputs,
    "classes": lambda model: model.classes,
    "explain": lambda model: model.explain(),
    "stats": lambda model: model.stats(),
    "pickle": pickle.dumps,
    "unload": gp.unload,
}


@pytest.mark.parametrize("use", AFTER_CLOSE.values(), ids=AFTER_CLOSE.keys())
@pytest.mark.parametrize("source", ["path", "bytes"])
def test_closed_model_says_so(use: Callable[[gp.Model], object], source: str, places: Path) -> None:
    if use is pickle.dumps and source == "bytes":
        pytest.skip("bytes do not pickle, closed or not")
    model = gp.load(WAYS[source](places))
    model.close()
    name = "model bytes" if source == "bytes" else str(places / "model.onnx")
    with pytest.raises(gp.ModelClosedError) as raised:
        use(model)
    assert str(raised.value).startswith(f"{name}: the model is closed\n  fix: ")


def test_closed_model_can_be_shown(tmp_path: Path) -> None:
    model = gp.load(put(tmp_path / "model.onnx", adding(1)))
    assert ", closed>" not in repr(model)
    assert "<i>closed</i>" not in model._repr_html_()
    model.close()
    assert ", closed>" in repr(model)
    assert "<i>closed</i>" in model._repr_html_()


def test_many_threads_close_one_model(tmp_path: Path) -> None:
    path = put(tmp_path / "model.onnx", adding(1))
    for _ in range(20):
        model = gp.load(path)
        together(8, lambda _, model=model: model.close())
        assert model.closed
        assert sources(tmp_path) == []
