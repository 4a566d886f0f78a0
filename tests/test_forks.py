"""Models across a fork, at any moment."""

from __future__ import annotations

import gc
import itertools
import os
import pickle
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import glowplug as gp
import models
import worker_tasks
from worker_tasks import answer
from worker_tools import adding, eventually, forked, put, python, share, sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


can_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
pytestmark = [
    pytest.mark.usefixtures("clean_registry"),
    # Later versions of Python warn of every fork of a process with threads, which is what is tried here.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return put(tmp_path / "model.onnx", adding(1))


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
        return before, forked(lambda: answer(model), seconds=30), answer(model)

    assert forked(child) == (1, 1, 1)
    # And a grandchild whose parent did not touch the model.
    assert forked(lambda: forked(lambda: answer(model), seconds=30)) == 1


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

    assert forked(give_up, seconds=30) == 1
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
    signal.alarm(30)
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
            assert forked(lambda: answer(gp.load(other)), seconds=30) == 5


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
    assert forked(lambda: len(pickle.dumps(model)), seconds=30) > 0
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

    assert forked(follow, seconds=30) == [2]
    thread.join()
