"""Models go where work goes: through pickle, and into pools of every kind."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import glowplug as gp
import models
import worker_tasks
from worker_tasks import answer, zeros
from worker_tools import adding, put, share, sources

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


METHODS = [method for method in ("fork", "forkserver", "spawn") if method in multiprocessing.get_all_start_methods()]
methods = pytest.mark.parametrize("method", METHODS)
pytestmark = [
    pytest.mark.usefixtures("clean_registry"),
    # Later versions of Python warn of every fork of a process with threads, which is what is tried here.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]

SECONDS = 30
TASKS = 8


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return put(tmp_path / "model.onnx", adding(1))


# --- Pickle and copy --------------------------------------------------------------------------------------------------

PROTOCOLS = range(2, pickle.HIGHEST_PROTOCOL + 1)
DUPLICATES: dict[str, Callable[[gp.Model], gp.Model]] = {
    **{
        f"pickle{number}": lambda model, number=number: pickle.loads(pickle.dumps(model, number))
        for number in PROTOCOLS
    },
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "deepcopy_nested": lambda model: copy.deepcopy({"models": [model]})["models"][0],
}
duplicates = pytest.mark.parametrize("duplicate", DUPLICATES.values(), ids=DUPLICATES.keys())
OPTIONS: list[dict[str, Any]] = [
    {},
    {"threads": 2},
    {"threads": 2, "batch": "serial"},
    {"batch": "rows"},
    {"optimization": "basic"},
    {"casting": "strict"},
    {"reload": 0},
    {"reload": 3600.5},
    {"threads": 2, "optimization": "off", "casting": "strict", "reload": True},
]


@duplicates
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_duplicate_is_the_same_session_with_the_same_options(
    duplicate: Callable[[gp.Model], gp.Model], options: dict[str, Any], path: Path
) -> None:
    model = gp.load(path, **options)
    other = duplicate(model)
    assert share(model, other)
    assert len(sources(path.parent)) == 1
    assert other._handle.reference() == model._handle.reference()
    explained = other.explain()
    assert (explained["threads"], explained["optimization"]) == (
        options.get("threads", explained["threads"]),
        options.get("optimization", "all"),
    )
    assert answer(other) == 1
    too_wide = zeros().astype(np.float64)
    if options.get("casting") == "strict":
        with pytest.raises(gp.InputTypeError, match="casting is strict"):
            other.predict(too_wide)
    else:
        assert other.predict(too_wide) is not None


@duplicates
def test_duplicate_of_a_model_that_reloads_follows_the_file(
    duplicate: Callable[[gp.Model], gp.Model], path: Path
) -> None:
    model = duplicate(gp.load(path, reload=0))
    put(path, adding(2))
    assert answer(model) == 2
    assert answer(duplicate(model)) == 2


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_model_of_bytes_can_be_copied(duplicate: Callable[[gp.Model], gp.Model]) -> None:
    model = gp.load(adding(1))
    assert share(model, duplicate(model))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_model_of_bytes_cannot_be_pickled(protocol: int) -> None:
    with pytest.raises(gp.GlowplugError, match=r"model bytes: was loaded from bytes.*\n  fix: .*path"):
        pickle.dumps(gp.load(adding(1)), protocol)


def test_pickle_is_a_reference(path: Path) -> None:
    put(path, adding(1, padding=100_000))
    assert len(pickle.dumps(gp.load(path))) < 1000


def test_pickle_refuses_another_content(path: Path) -> None:
    pickled = pickle.dumps(gp.load(path))
    put(path, adding(2))
    with pytest.raises(gp.ModelError, match=r"model\.onnx: got content with digest .*expected.*\n  fix: ") as raised:
        pickle.loads(pickled)
    assert raised.type is gp.ModelError
    put(path, adding(1))
    assert answer(pickle.loads(pickled)) == 1


def test_pickle_refuses_other_external_data(tmp_path: Path) -> None:
    models.external_data(tmp_path)
    pickled = pickle.dumps(gp.load(tmp_path / "model.onnx"))
    put(tmp_path / "weights.bin", (models.external_weights() * np.float32(2)).tobytes())
    with pytest.raises(gp.ModelError, match="got content with digest"):
        pickle.loads(pickled)


def test_pickle_of_a_file_that_is_gone(path: Path) -> None:
    model = gp.load(path)
    pickled = pickle.dumps(model)
    path.unlink()
    with pytest.raises(gp.ModelNotFoundError, match=r"model\.onnx.*\n  fix: "):
        pickle.loads(pickled)
    assert pickle.dumps(model) == pickled, "the digest is known by now"


def test_file_that_changed_before_its_digest_was_known_cannot_be_pickled(path: Path) -> None:
    model = gp.load(path)
    put(path, adding(2))
    with pytest.raises(gp.ModelReadError, match=r"model\.onnx: its file has changed.*\n  fix: "):
        pickle.dumps(model)
    assert answer(model) == 1


def test_model_of_a_path_pickles_although_bytes_were_first(path: Path) -> None:
    of_bytes = gp.load(path.read_bytes())
    model = gp.load(path)
    assert share(model, of_bytes)
    assert share(model, pickle.loads(pickle.dumps(model)))


# --- Pools ------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[1, 2], ids=["threads1", "threads2"])
def mlp(request: pytest.FixtureRequest, tmp_path: Path) -> gp.Model:
    return gp.load(put(tmp_path / "mlp.onnx", models.mlp()), threads=request.param, batch="serial")


@pytest.fixture
def batches() -> list[np.ndarray[Any, Any]]:
    random = np.random.default_rng(3)
    return [random.normal(size=(number + 1, 30)).astype(np.float32) for number in range(TASKS)]


def expected_of(model: gp.Model, batches: list[np.ndarray[Any, Any]]) -> list[bytes]:
    return [worker_tasks.score(model, batch)[1] for batch in batches]


def check(scored: list[tuple[int, bytes]], expected: list[bytes]) -> None:
    """The answers are those of this process, and others gave them."""
    assert [bits for _, bits in scored] == expected
    assert os.getpid() not in {process for process, _ in scored}


@methods
def test_pool_is_given_a_model_with_every_task(method: str, mlp: gp.Model, batches: list[np.ndarray[Any, Any]]) -> None:
    with multiprocessing.get_context(method).Pool(2) as pool:
        scored = pool.starmap_async(worker_tasks.score, [(mlp, batch) for batch in batches]).get(SECONDS)
    check(scored, expected_of(mlp, batches))


@methods
def test_pool_is_given_a_model_once(method: str, mlp: gp.Model, batches: list[np.ndarray[Any, Any]]) -> None:
    expected = expected_of(mlp, batches)
    with multiprocessing.get_context(method).Pool(2, worker_tasks.keep, (mlp,)) as pool:
        scored = pool.map_async(worker_tasks.score_kept, batches).get(SECONDS)
    check(scored, expected)


@methods
def test_executor_loads_in_its_processes(
    method: str, mlp: gp.Model, batches: list[np.ndarray[Any, Any]], tmp_path: Path
) -> None:
    path, options = str(tmp_path / "mlp.onnx"), {"threads": mlp.explain()["threads"], "batch": "serial"}
    executor = ProcessPoolExecutor(2, multiprocessing.get_context(method))
    try:
        futures = [executor.submit(worker_tasks.load_and_score, path, options, batch) for batch in batches]
        futures += [executor.submit(worker_tasks.score, mlp, batch) for batch in batches]
        scored = [future.result(SECONDS) for future in futures]
    except BaseException:
        for process in executor._processes.values():
            process.kill()
        raise
    finally:
        executor.shutdown(cancel_futures=True)
    check(scored, expected_of(mlp, batches) * 2)


def test_loky(mlp: gp.Model, batches: list[np.ndarray[Any, Any]]) -> None:
    joblib = pytest.importorskip("joblib")
    from joblib.externals.loky import get_reusable_executor

    try:
        parallel = joblib.Parallel(n_jobs=2, backend="loky", timeout=SECONDS)
        scored = parallel(joblib.delayed(worker_tasks.score)(mlp, batch) for batch in batches)
    finally:
        get_reusable_executor().shutdown(wait=True, kill_workers=True)
    check(scored, expected_of(mlp, batches))


def test_error_comes_back_from_a_pool(path: Path) -> None:
    """An exception that does not survive pickling would leave the caller of a pool waiting or puzzled."""
    model = gp.load(path)
    wrong = np.zeros((1, 3), np.float32)
    with pytest.raises(gp.InputError) as here:
        model.predict(wrong)
    with (
        multiprocessing.get_context("spawn").Pool(1) as pool,
        pytest.raises(gp.InputError) as there,
    ):
        pool.apply_async(worker_tasks.score, (model, wrong)).get(SECONDS)
    assert (there.type, str(there.value)) == (here.type, str(here.value))
