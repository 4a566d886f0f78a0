"""Models go where work goes: through pickle, into pools of every kind, and across a fork at any moment."""

from __future__ import annotations

import copy
import gc
import itertools
import multiprocessing
import os
import pickle
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import glowplug as gp
import models
import worker_tasks
from worker_tasks import answer, zeros
from worker_tools import adding, eventually, forget_everything, forked, put, python, share, sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Task = Callable[..., Any]

METHODS = [method for method in ("fork", "forkserver", "spawn") if method in multiprocessing.get_all_start_methods()]
methods = pytest.mark.parametrize("method", METHODS)
can_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
# Later versions of Python warn of every fork of a process with threads, which is what is tried here.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")

SECONDS = 30
TASKS = 8


@pytest.fixture(autouse=True)
def clean_registry() -> Iterator[None]:
    forget_everything()
    yield
    gp.configure(memory_budget=None)


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


# --- Forks ------------------------------------------------------------------------------------------------------------


@can_fork
@pytest.mark.parametrize("threads", [1, 2])
def test_child_scores_with_an_inherited_model(threads: int, tmp_path: Path) -> None:
    model = gp.load(put(tmp_path / "mlp.onnx", models.mlp()), threads=threads, batch="serial")
    rows = np.random.default_rng(3).normal(size=(20, 30)).astype(np.float32)
    expected = worker_tasks.score(model, rows)[1]

    def score() -> tuple[bool, bytes, list[str], bool]:
        bits = worker_tasks.score(model, rows)[1]
        again = gp.load(tmp_path / "mlp.onnx", threads=threads, batch="serial")
        return bits == expected, worker_tasks.score(again, rows)[1], sources(tmp_path), share(model, again)

    assert forked(score) == (True, expected, ["mlp.onnx"], True)
    assert worker_tasks.score(model, rows)[1] == expected


@can_fork
def test_child_inherits_idle_models_without_loading(path: Path) -> None:
    """What is inherited goes on living when its file does not."""
    model, uses = gp.load(path), 3
    for _ in range(uses):
        gp.load(path)
    answer(model)
    path.unlink()
    number, entry = forked(lambda: (answer(model), gp.models()[0]))
    assert number == 1
    assert (entry["source"], entry["uses"], entry["calls"]) == (str(path), uses + 1, 2)


@can_fork
def test_child_loads_a_model_with_threads_anew(path: Path) -> None:
    model = gp.load(path, threads=2, batch="serial")
    answer(model)
    put(path, adding(2))
    assert forked(lambda: answer(model)) == 2
    assert answer(model) == 1
    path.unlink()

    def refused() -> str:
        with pytest.raises(gp.ModelNotFoundError) as raised:
            answer(model)
        return str(raised.value)

    assert "\n  fix: " in forked(refused)


@can_fork
def test_model_of_bytes_in_a_child() -> None:
    inherited, threaded = gp.load(adding(1)), gp.load(adding(2), threads=2, batch="serial")

    def use() -> tuple[float, str, float]:
        with pytest.raises(gp.EngineError) as raised:
            answer(threaded)
        return answer(inherited), str(raised.value), answer(gp.load(adding(2), threads=2, batch="serial"))

    one, message, two = forked(use)
    assert (one, two) == (1, 2)
    assert message.startswith("model bytes: was loaded from bytes and ")
    assert "\n  fix: " in message
    assert (answer(inherited), answer(threaded)) == (1, 2)


@can_fork
@pytest.mark.parametrize("threads", [1, 2])
def test_child_loads_new_models(threads: int, path: Path) -> None:
    held = gp.load(path, threads=threads, batch="serial")

    def load() -> list[float]:
        other = put(path.with_name("other.onnx"), adding(2))
        loaded = [
            gp.load(other, threads=threads, batch="serial"),
            gp.load(adding(3), threads=threads, batch="serial"),
            gp.load(path),
            held,
        ]
        return [answer(model) for model in loaded]

    assert forked(load) == [2, 3, 1, 1]
    assert sources(path.parent) == ["model.onnx"]


@can_fork
@pytest.mark.parametrize("threads", [1, 2])
def test_grandchild_scores(threads: int, path: Path) -> None:
    model = gp.load(path, threads=threads, batch="serial")

    def child() -> tuple[float, float, float]:
        before = answer(model)
        return before, forked(lambda: answer(model), seconds=6), answer(model)

    assert forked(child) == (1, 1, 1)
    # And a grandchild whose parent did not touch the model.
    assert forked(lambda: forked(lambda: answer(model), seconds=6)) == 1


@can_fork
@pytest.mark.parametrize("threads", [1, 2])
def test_many_forks_in_a_row(threads: int, path: Path) -> None:
    model = gp.load(path, threads=threads, batch="serial")
    assert [forked(lambda: answer(model)) for _ in range(20)] == [1] * 20
    assert answer(model) == 1


@can_fork
def test_what_a_child_does_is_no_business_of_its_parent(path: Path) -> None:
    model = gp.load(path)

    def change() -> list[float]:
        gp.configure(memory_budget=0)
        model.close()
        return [answer(gp.load(put(path.with_name("new.onnx"), adding(3))))]

    assert forked(change) == [3]
    assert answer(model) == 1
    other = put(path.with_name("other.onnx"), adding(2))
    gp.load(other)
    assert sources(path.parent) == ["other.onnx", "model.onnx"]


@can_fork
def test_child_holds_no_more_than_it_holds(path: Path) -> None:
    """What the parent's registry held must not count as a holder in the child, or nothing there could be unloaded."""
    model, idle = gp.load(path), put(path.with_name("idle.onnx"), adding(2))
    gp.load(idle)

    def give_up() -> list[object]:
        holders = {entry["source"]: entry["holders"] for entry in gp.models()}
        gp.configure(memory_budget=0)
        evicted = sources(path.parent)
        model.close()
        return [holders[str(path)], holders[str(idle)], evicted, sources(path.parent)]

    assert forked(give_up) == [1, 0, ["model.onnx"], []]


@can_fork
def test_child_keeps_the_order_of_use_and_the_budget(tmp_path: Path) -> None:
    paths = [put(tmp_path / f"{number}.onnx", adding(number, padding=10_000)) for number in range(8)]
    for path in paths:
        gp.load(path)
    gp.load(paths[3])
    order = sources(tmp_path)
    assert forked(lambda: sources(tmp_path)) == order
    others = sum(entry["bytes"] for entry in gp.models()) - 8 * paths[0].stat().st_size
    gp.configure(memory_budget=others + 8 * paths[0].stat().st_size)

    def load_another() -> list[str]:
        gp.load(put(tmp_path / "new.onnx", adding(99, padding=10_000)))
        return sources(tmp_path)

    assert forked(load_another) == ["new.onnx", *order[:7]]


@can_fork
def test_model_reloads_in_a_child(path: Path) -> None:
    model = gp.load(path, reload=0)

    def follow() -> list[float]:
        seen = [answer(model)]
        for number in (2, 3):
            put(path, adding(number))
            seen.append(answer(model))
        return seen

    assert forked(follow) == [1, 2, 3]
    assert answer(model) == 3


# --- Forks at the worst moment ----------------------------------------------------------------------------------------

RELEASES: dict[str, Callable[[list[gp.Model]], object]] = {
    "close": lambda held: held[0].close(),
    "delete": lambda held: held.clear(),
    "evict": lambda held: (held.clear(), gp.configure(memory_budget=0)),
}


@can_fork
@pytest.mark.parametrize("release", RELEASES.values(), ids=RELEASES.keys())
@pytest.mark.parametrize("is_registered", [True, False], ids=["registered", "unloaded"])
def test_child_gives_up_a_model_with_threads(
    release: Callable[[list[gp.Model]], object], path: Path, *, is_registered: bool
) -> None:
    """Its session's threads are not in the child, so nothing there may wait for them."""
    held = [gp.load(path, threads=2, batch="serial")]
    assert answer(held[0]) == 1
    if not is_registered:
        gp.unload(held[0])
    # By then its threads wait for work, which is how forks find them.
    time.sleep(0.02)

    def give_up() -> float:
        release(held)
        gc.collect()
        return answer(gp.load(path, threads=2, batch="serial"))

    assert forked(give_up, seconds=3) == 1
    assert answer(held[0]) == 1


EXITING = """
import os, signal, sys, time
import glowplug, worker_tasks
model = glowplug.load(sys.argv[1], threads=2, batch="serial")
assert worker_tasks.answer(model) == 1
if sys.argv[2] == "unloaded":
    glowplug.unload(model)
time.sleep(0.02)
child = os.fork()
if not child:
    signal.alarm(4)
    assert sys.argv[3] == "idle" or worker_tasks.answer(model) == 1
    sys.exit(7)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert code == 7, f"the child ended with {code}"
"""


@can_fork
@pytest.mark.parametrize("child_is", ["idle", "scoring"])
@pytest.mark.parametrize("model_is", ["registered", "unloaded"])
def test_child_exits_as_programs_do(model_is: str, child_is: str, path: Path) -> None:
    """The interpreter takes its objects down at the end, models with threads among them."""
    folders = os.pathsep.join(filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))))
    python(EXITING, path, model_is, child_is, variables={"PYTHONPATH": folders})


class Busy:
    """Threads that repeat a task as long as the block lasts."""

    def __init__(self, task: Callable[[], object], count: int = 2) -> None:
        self._task = task
        self._stop = threading.Event()
        self._rounds = [0] * count
        self._threads = [threading.Thread(target=self._repeat, args=(index,), daemon=True) for index in range(count)]

    def _repeat(self, index: int) -> None:
        while not self._stop.is_set():
            self._task()
            self._rounds[index] += 1

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()
        assert eventually(lambda: min(self._rounds) > 0)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@can_fork
@pytest.mark.parametrize("threads", [1, 2])
def test_fork_while_threads_run_the_model(threads: int, tmp_path: Path) -> None:
    path = put(tmp_path / "model.onnx", models.big_matmul(256))
    model = gp.load(path, threads=threads, batch="serial")
    rows = np.random.default_rng(1).normal(size=(256, 256)).astype(np.float32)
    expected = worker_tasks.score(model, rows)[1]
    with Busy(lambda: model.predict(rows)):
        for _ in range(10):
            assert forked(lambda: worker_tasks.score(model, rows)[1]) == expected
    assert worker_tasks.score(model, rows)[1] == expected


@can_fork
def test_fork_while_threads_run_a_model_of_bytes() -> None:
    model = gp.load(models.big_matmul(256))
    rows = np.eye(256, dtype=np.float32)

    def use() -> str:
        try:
            return str(worker_tasks.score(model, rows)[1] == rows.tobytes())
        except gp.EngineError as error:
            return str(error)

    with Busy(lambda: model.predict(rows)):
        outcomes = {forked(use) for _ in range(10)}
    refused = outcomes - {"True"}
    assert refused, "no fork met a running call"
    assert all(message.startswith("model bytes: was loaded from bytes and was busy") for message in refused)
    assert forked(use) == "True", "idle again, it is inherited again"


def chain(length: int) -> bytes:
    """`y` is `x` + `length`, one at a time: a graph whose loading is all looking up and rewriting of nodes."""
    names = ["x", *(f"v{number}" for number in range(1, length)), "y"]
    nodes = [models.helper.make_node("Add", [before, "one"], [after]) for before, after in itertools.pairwise(names)]
    ports = [models.value("x", shape=("N", 2))], [models.value("y", shape=("N", 2))]
    return models.model_bytes(models.graph(nodes, *ports, [models.constant("one", [1], "float32")]))


@pytest.fixture
def one_processor() -> Iterator[None]:
    """With one processor a thread is interrupted anywhere, also where it holds a lock, and the fork comes right then."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("threads cannot be kept on one processor")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@can_fork
@pytest.mark.usefixtures("one_processor")
@pytest.mark.parametrize("content", [chain(500), models.zipmap_classifier()], ids=["long", "short"])
def test_fork_while_threads_load(content: bytes, tmp_path: Path) -> None:
    """The child's first load must not wait for a load that only its parent goes on with, not even in the library."""
    other = put(tmp_path / "other.onnx", adding(5))
    with Busy(lambda: gp.unload(gp.load(content)), count=1):
        for _ in range(100):
            assert forked(lambda: answer(gp.load(other)), seconds=4) == 5


@pytest.fixture
def slow_to_hash(tmp_path: Path) -> Path:
    """A model whose digest takes a while: most of its external data is a hole that no tensor lies in."""
    models.external_data(tmp_path)
    os.truncate(tmp_path / "weights.bin", 2**29)
    return tmp_path / "model.onnx"


def is_open(path: Path) -> bool:
    """Whether this process has the file open."""
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            if descriptor.readlink() == path:
                return True
        except FileNotFoundError:
            continue
    return False


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")


@linux_only
def test_fork_while_the_digest_is_computed(slow_to_hash: Path) -> None:
    model = gp.load(slow_to_hash)
    thread = threading.Thread(target=pickle.dumps, args=(model,), daemon=True)
    thread.start()
    assert eventually(lambda: is_open(slow_to_hash.with_name("weights.bin")))
    assert forked(lambda: len(pickle.dumps(model)), seconds=6) > 0
    thread.join()


@linux_only
def test_fork_while_a_reload_is_under_way(slow_to_hash: Path) -> None:
    """The call that looks at the file stays in the parent; in the child others have to look."""
    model, weights = gp.load(slow_to_hash, reload=0), slow_to_hash.with_name("weights.bin")
    row = np.eye(1, models.EXTERNAL_INPUTS, dtype=np.float32)
    os.utime(weights, (1, 1))
    thread = threading.Thread(target=model.predict, args=(row,), daemon=True)
    thread.start()
    assert eventually(lambda: is_open(weights))

    def follow() -> list[float]:
        put(weights, (models.external_weights() * np.float32(2)).tobytes())
        predicted = model.predict(row)
        assert isinstance(predicted, np.ndarray)
        return sorted(set((predicted / models.external_weights()[0]).ravel().tolist()))

    assert forked(follow, seconds=6) == [2]
    thread.join()
