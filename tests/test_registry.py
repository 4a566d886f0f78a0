"""The same content with the same options is one session, for as long as it is wanted and no longer."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import glowplug as gp
import models
from worker_tasks import answer, zeros
from worker_tools import Watch, adding, forget_everything, put, rewrite, share, sources, together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

THREADS = 32
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")


@pytest.fixture(autouse=True)
def clean_registry() -> Iterator[None]:
    forget_everything()
    yield
    gp.configure(memory_budget=None)


def loaded_bytes() -> int:
    """Bytes of everything that is loaded, also by others in this process."""
    return sum(entry["bytes"] for entry in gp.models())


# --- Who a model is ---------------------------------------------------------------------------------------------------

WAYS: dict[str, Callable[[Path], Any]] = {
    "path": lambda folder: folder / "model.onnx",
    "text": lambda folder: str(folder / "model.onnx"),
    "dots": lambda folder: f"{folder}/./folder/../model.onnx",
    "slashes": lambda folder: f"{folder}//model.onnx",
    "relative": lambda folder: os.path.relpath(folder / "model.onnx"),
    "bare": lambda _: "model.onnx",
    "symlink": lambda folder: folder / "symlink.onnx",
    "folder_symlink": lambda folder: folder / "linked" / "model.onnx",
    "hardlink": lambda folder: folder / "hardlink.onnx",
    "copy": lambda folder: folder / "folder" / "copy.onnx",
    "bytes": lambda folder: (folder / "model.onnx").read_bytes(),
    "bytearray": lambda folder: bytearray((folder / "model.onnx").read_bytes()),
    "memoryview": lambda folder: memoryview((folder / "model.onnx").read_bytes()),
}


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which one content can be reached in many ways."""
    model = put(tmp_path / "model.onnx", adding(1))
    (tmp_path / "folder").mkdir()
    (tmp_path / "symlink.onnx").symlink_to(model)
    (tmp_path / "linked").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "hardlink.onnx").hardlink_to(model)
    shutil.copyfile(model, tmp_path / "folder" / "copy.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("first", WAYS)
def test_same_content_is_one_session_wherever_it_lies(first: str, places: Path) -> None:
    ours = gp.load(WAYS[first](places))
    others = {name: gp.load(way(places)) for name, way in WAYS.items()}
    assert [name for name, other in others.items() if not share(ours, other)] == []
    other_content = gp.load(put(places / "other.onnx", adding(2)))
    assert not share(ours, other_content)
    assert (answer(ours), answer(other_content)) == (1, 2)


def test_relative_path_stays_the_file_it_was(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = gp.load("model.onnx")
    put(places / "folder" / "model.onnx", adding(2))
    monkeypatch.chdir(places / "folder")
    assert answer(gp.load("model.onnx")) == 2
    assert answer(pickle.loads(pickle.dumps(ours))) == 1


@pytest.mark.parametrize("other", ["copy", "bytes"])
def test_place_that_shared_a_session_goes_its_own_way(other: str, places: Path) -> None:
    """A session found through another place must not vouch for the file in this one."""
    gp.load(WAYS[other](places))
    ours = places / "model.onnx"
    assert answer(gp.load(ours)) == 1
    put(ours, adding(2))
    assert answer(gp.load(ours)) == 2
    rewrite(ours, adding(3))
    assert answer(gp.load(ours)) == 3
    assert answer(gp.load(places / "folder" / "copy.onnx")) == 1


#: Threads of a model by default, on the machine of the test.
USABLE = gp.resources()["threads"]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"threads": USABLE + 1},
    {"optimization": "off"},
    {"optimization": "basic"},
    {"optimization": "extended"},
    {"threads": USABLE + 1, "optimization": "off"},
    {"batch": "serial"},
    {"batch": "rows"},
]
SAME_SESSION: list[dict[str, Any]] = [
    {"threads": USABLE},
    {"batch": "auto"},
    {"threads": None},
    {"optimization": "all"},
    {"casting": "strict"},
    {"reload": 3600},
]


@pytest.mark.parametrize("source", ["path", "bytes"])
def test_other_options_are_other_sessions(source: str, places: Path) -> None:
    path = WAYS[source](places)
    loaded = [gp.load(path, **options) for options in OPTIONS]
    again = [gp.load(path, **options) for options in OPTIONS]
    for index, one in enumerate(loaded):
        assert [share(one, other) for other in again] == [index == number for number in range(len(OPTIONS))]


@pytest.mark.parametrize("options", SAME_SESSION, ids=str)
def test_options_that_are_no_business_of_the_session_share_it(options: dict[str, Any], places: Path) -> None:
    assert share(gp.load(places / "model.onnx"), gp.load(places / "model.onnx", **options))


def external(folder: Path, factor: float = 1) -> Path:
    """A model whose weights lie beside it; `factor` tells them apart and leaves the model's own bytes the same."""
    folder.mkdir(exist_ok=True)
    models.external_data(folder)
    put(folder / "weights.bin", (models.external_weights() * np.float32(factor)).tobytes())
    return folder / "model.onnx"


def external_answer(model: gp.Model) -> bytes:
    predicted = model.predict(np.eye(1, models.EXTERNAL_INPUTS, dtype=np.float32))
    assert isinstance(predicted, np.ndarray)
    return predicted.tobytes()


def test_external_data_is_part_of_the_content(tmp_path: Path) -> None:
    ours, same, other = (
        external(tmp_path / "a"),
        external(tmp_path / "b"),
        external(tmp_path / "c", factor=2),
    )
    assert ours.read_bytes() == other.read_bytes()
    loaded = [gp.load(path) for path in (ours, same, other)]
    assert share(loaded[0], loaded[1])
    assert not share(loaded[0], loaded[2])
    row = models.external_weights()[0]
    assert [external_answer(model) for model in loaded] == [row.tobytes(), row.tobytes(), (row * 2).tobytes()]


def test_changed_external_data_is_loaded_anew(tmp_path: Path) -> None:
    path = external(tmp_path)
    old = gp.load(path)
    external(tmp_path, factor=3)
    new = gp.load(path)
    assert not share(old, new)
    row = models.external_weights()[0]
    assert (external_answer(old), external_answer(new)) == (row.tobytes(), (row * 3).tobytes())


def test_bytes_of_the_caller_may_change_after_the_load() -> None:
    content = bytearray(adding(1))
    model = gp.load(content)
    content[:] = bytes(len(content))
    assert answer(model) == 1


# --- Loading once -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ways", [["path"], ["path", "copy"], ["bytes"], ["copy", "bytes", "hardlink"]], ids="+".join)
def test_threads_that_load_at_once_load_once(ways: list[str], places: Path) -> None:
    before = len(gp.models())
    chosen = [WAYS[way](places) for way in ways]
    loaded = together(THREADS, lambda index: gp.load(chosen[index % len(chosen)]))
    assert len(gp.models()) == before + 1
    assert all(share(loaded[0], other) for other in loaded)
    assert gp.models()[0]["uses"] == THREADS
    assert {answer(model) for model in loaded} == {1}


BROKEN: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("this is no model"),
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(adding(1)[: len(adding(1)) // 2]),
    "missing": lambda path: path.unlink(missing_ok=True),
    "folder": lambda path: path.mkdir(),
    "refused": lambda path: path.write_bytes(models.model_bytes(models.mlp_graph(), opset=999)),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_failed_load_is_not_remembered(broken: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    broken(path)
    for _ in range(2):
        with pytest.raises(gp.GlowplugError, match=r"(?s)model\.onnx.*\n  fix: "):
            gp.load(path)
    assert sources(tmp_path) == []
    if path.is_dir():
        path.rmdir()
    path.write_bytes(adding(1))
    assert answer(gp.load(path)) == 1


def test_threads_that_wait_for_a_failing_load_fail_each(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(models.model_bytes(models.mlp_graph(), opset=999))

    def load(_: int) -> type[BaseException]:
        with pytest.raises(gp.UnsupportedModelError) as raised:
            gp.load(path)
        return raised.type

    assert len(together(16, load)) == 16
    assert answer(gp.load(put(path, adding(1)))) == 1


@linux_only
def test_unchanged_path_is_not_even_opened_again(tmp_path: Path) -> None:
    path = external(tmp_path)
    with Watch(path, tmp_path / "weights.bin") as watch:
        first = gp.load(path)
        assert watch.seen()
        assert all(share(first, gp.load(path)) for _ in range(50))
        assert not watch.seen()
        # Other options are another session, for which the file is read; so the watch is awake.
        gp.load(path, optimization="off")
        assert watch.seen()


@linux_only
def test_first_load_hashes_nothing(tmp_path: Path) -> None:
    """Of the padding of its weights' file the engine reads nothing, and glowplug only for the digest."""
    path, padding = external(tmp_path), 64 * 2**20
    os.truncate(tmp_path / "weights.bin", padding)

    def read_bytes() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    before = read_bytes()
    model = gp.load(path)
    loading = read_bytes() - before
    assert loading < padding / 8
    pickle.dumps(model)
    assert read_bytes() - before - loading >= padding
    hashed = read_bytes()
    pickle.dumps(model)
    assert read_bytes() - hashed < padding / 8


# --- What is loaded ---------------------------------------------------------------------------------------------------


def test_models_lists_what_is_loaded(tmp_path: Path) -> None:
    first, second = put(tmp_path / "first", adding(1)), put(tmp_path / "second", adding(2, padding=1000))
    model = gp.load(first)
    other = gp.load(second, threads=2, optimization="basic")
    of_bytes = gp.load(adding(3))
    assert sources(tmp_path) == ["second", "first"]
    gp.load(first)
    assert sources(tmp_path) == ["first", "second"]
    answer(other)
    entries = {entry["source"]: entry for entry in gp.models()}
    ages = entries[str(first)].pop("age_seconds"), entries[str(second)].pop("age_seconds")
    assert ages[0] > ages[1] > 0
    assert entries[str(first)] == {
        "source": str(first),
        "bytes": first.stat().st_size,
        "uses": 2,
        "holders": 1,
        "calls": 0,
        "threads": USABLE,
        "batch": "auto",
        "optimization": "all",
    }
    assert entries[str(second)] == {
        "source": str(second),
        "bytes": second.stat().st_size,
        "uses": 1,
        "holders": 1,
        "calls": 1,
        "threads": 2,
        "batch": "auto",
        "optimization": "basic",
    }
    assert f"bytes:{of_bytes._handle.digest()}" in entries
    assert {str(first)} == {entry["source"] for entry in gp.models() if entry["age_seconds"] > ages[0]} & {str(first)}
    assert answer(model) == 1


def test_bytes_of_a_model_count_its_external_data(tmp_path: Path) -> None:
    path = external(tmp_path)
    model = gp.load(path)
    entry = next(entry for entry in gp.models() if entry["source"] == str(path))
    assert entry["bytes"] == path.stat().st_size + (tmp_path / "weights.bin").stat().st_size
    assert model.explain()["bytes"] == entry["bytes"]


def test_holders_come_and_go(tmp_path: Path) -> None:
    path = put(tmp_path / "model.onnx", adding(1))

    def entry() -> tuple[int, int]:
        (one,) = [entry for entry in gp.models() if entry["source"] == str(path)]
        return one["holders"], one["uses"]

    models_held = [gp.load(path) for _ in range(3)]
    assert entry() == (3, 3)
    models_held.pop()
    assert entry() == (2, 3)
    models_held.pop().close()
    assert entry() == (1, 3)
    models_held.clear()
    assert entry() == (0, 3), "what nobody holds stays for the next load"


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
