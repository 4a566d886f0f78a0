"""The same content with the same options is one session, loaded once, whatever it is called."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import glowplug as gp
import models
from worker_tasks import answer
from worker_tools import Watch, adding, put, rewrite, share, sources, together

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS = 32
pytestmark = pytest.mark.usefixtures("clean_registry")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")


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
