"""What the tables of several files share: the peer, the entry paths, and how two answers are compared."""

from __future__ import annotations

import functools
import os
import pickle
import re
import shutil
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import onnxruntime
import pytest
from hypothesis import settings

import glowplug
from worker_tools import adding, forget_everything, put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Feeds: TypeAlias = "dict[str, np.ndarray[Any, Any]]"
    Answers: TypeAlias = "dict[str, Any]"
    Entry: TypeAlias = Callable[[bytes, Feeds, Path], Answers]

# The fast profile tries the same examples on every run, so that a red build is red again when it is repeated.
settings.register_profile("fast", max_examples=150, deadline=None, derandomize=True, database=None)
settings.register_profile("slow", max_examples=3000, deadline=None)
settings.load_profile(os.environ.get("GLOWPLUG_HYPOTHESIS", "fast"))


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """A handler that a test left behind is run in children of later tests, or forgotten by them while they are forked."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    left = {number: signal.getsignal(number) for number in handlers}
    for number, handler in handlers.items():
        if handler is not None:
            signal.signal(number, handler)
    assert left == handlers


@pytest.fixture
def clean_registry() -> Iterator[None]:
    """Nothing that nobody holds is loaded when a test begins, and no budget is left when it ends."""
    forget_everything()
    yield
    glowplug.configure(memory_budget=None)


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


@functools.cache
def _peer(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _oracle(model: bytes, feeds: Feeds) -> Answers:
    session = _peer(model)
    # Its own logger of runs is apart from that of the session.
    quiet = onnxruntime.RunOptions()
    quiet.log_severity_level = 4
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds, quiet), strict=True))


def _assert_same(got: Any, expected: Any, rounding: float = 0.0) -> None:
    if isinstance(expected, np.ndarray):
        assert type(got) is np.ndarray
        assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
        if expected.dtype.kind == "O":
            assert got.tolist() == expected.tolist()
        elif expected.dtype.kind == "f":
            # Bit for bit, so that -0.0 is not 0.0; only one NaN is like another.
            numbers = ~np.isnan(expected)
            assert np.array_equal(np.isnan(got), ~numbers)
            if rounding:
                largest = np.max(np.abs(expected[np.isfinite(expected)]), initial=0.1)
                np.testing.assert_allclose(got[numbers], expected[numbers], rounding, rounding * largest)
            else:
                assert got[numbers].tobytes() == expected[numbers].tobytes()
        else:
            assert got.tobytes() == expected.tobytes()
    elif isinstance(expected, list):
        assert type(got) is list
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            _assert_same(one, other, rounding)
    elif isinstance(expected, dict):
        assert type(got) is dict
        assert list(got) == list(expected)
        for name, one in expected.items():
            _assert_same(got[name], one, rounding)
    else:
        assert type(got) is type(expected)
        assert (isinstance(got, float) and got == pytest.approx(expected, rel=rounding, abs=rounding / 10)) or (
            got == expected or (got != got and expected != expected)  # noqa: PLR0124 - NaN
        )


def _as_lists(feeds: Feeds) -> dict[str, Any]:
    # Nested lists cannot tell the shape of an array without elements.
    return {name: array.tolist() if array.size else array for name, array in feeds.items()}


def _by_predict(model: bytes, feeds: Feeds, _: Path) -> Answers:
    loaded = glowplug.load(model)
    bare = loaded.predict(next(iter(feeds.values())) if len(feeds) == 1 else feeds)
    return {loaded.outputs[0].name: bare}


def _from_path(model: bytes, feeds: Feeds, folder: Path) -> Answers:
    path = folder / "modèle 🙂.onnx"
    path.write_bytes(model)
    return glowplug.load(str(path)).run(feeds)


def _pickled(model: bytes, feeds: Feeds, folder: Path) -> Answers:
    path = folder / "model.onnx"
    path.write_bytes(model)
    return pickle.loads(pickle.dumps(glowplug.load(path))).run(feeds)


def _one_by_one(model: bytes, feeds: Feeds, _: Path) -> Answers:
    loaded = glowplug.load(model)
    answers: Answers = {}
    for spec in reversed(loaded.outputs):
        only = loaded.run(feeds, [spec.name])
        assert list(only) == [spec.name]
        answers.update(only)
    return {spec.name: answers[spec.name] for spec in loaded.outputs}


def _again(model: bytes, feeds: Feeds, _: Path) -> Answers:
    loaded = glowplug.load(model, optimization="off")
    loaded.run(feeds)
    return loaded.run(feeds)


ENTRIES: dict[str, Entry] = {
    "predict": _by_predict,
    "run": lambda model, feeds, _: glowplug.load(model).run(feeds),
    "lists": lambda model, feeds, _: glowplug.load(model).run(_as_lists(feeds)),
    "fortran": lambda model, feeds, _: glowplug.load(model).run(
        {name: np.array(array, order="F") for name, array in feeds.items()}
    ),
    "path": _from_path,
    "bytearray": lambda model, feeds, _: glowplug.load(bytearray(model)).run(feeds),
    "memoryview": lambda model, feeds, _: glowplug.load(memoryview(model)).run(feeds),
    "pickled": _pickled,
    "one_by_one": _one_by_one,
    "again": _again,
}


@pytest.fixture(params=ENTRIES.values(), ids=ENTRIES.keys())
def entry(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[bytes, Feeds], Answers]:
    """Each way there is to hand over a model and its inputs; gives all outputs, `predict` the first."""
    return lambda model, feeds: request.param(model, feeds, tmp_path)


@pytest.fixture(scope="session")
def oracle() -> Callable[[bytes, Feeds], Answers]:
    """What ONNX Runtime's own Python binding answers."""
    return _oracle


@pytest.fixture(scope="session")
def assert_same() -> Callable[[Any, Any], None]:
    """Compare answers: type, dtype, shape and every bit, whatever they are nested in."""
    return _assert_same


@pytest.fixture(scope="session")
def assert_close() -> Callable[[Any, Any], None]:
    """Compare answers: the same but for rounding, where glowplug adds in float64 and ONNX Runtime in float32."""
    return functools.partial(_assert_same, rounding=3e-6)


@pytest.fixture(scope="session")
def assert_onnxruntimes() -> Callable[[bytes, str], None]:
    """Check that a model is ONNX Runtime's and not our own engine's, for a reason that an expression finds."""

    def check(content: bytes, reason: str) -> None:
        with pytest.raises(glowplug.UnsupportedModelError, match=rf"own engine(.|\n)*({reason})"):
            glowplug.load(content, engine="native")
        try:
            facts = glowplug.load(content).explain()
        except glowplug.ModelError:
            # It has no answer either.
            return
        assert facts["engine"] == "onnxruntime"
        assert re.search(reason, facts["why"])

    return check


@pytest.fixture(scope="session")
def count_inputs() -> Callable[[glowplug.Model], Any]:
    """Count the inputs that were read in place and those that were copied, in a `with` block."""

    @contextmanager
    def count(model: glowplug.Model) -> Iterator[dict[str, int]]:
        before, counted = model.stats(), dict[str, int]()
        yield counted
        after = model.stats()
        counted["in_place"] = after["zero_copy_inputs"] - before["zero_copy_inputs"]
        counted["copied"] = after["copied_inputs"] - before["copied_inputs"]

    return count
