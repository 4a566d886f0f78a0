"""What the tests of threads, processes and files share: models that tell who they are, and children with a time limit."""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, TypeVar

import glowplug
import models

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

Result = TypeVar("Result")

#: Seconds after which a child that was forked is taken to hang; the work in them takes milliseconds.
HANGS_AFTER = 40
#: Seconds that a change may take to show on a busy machine.
PATIENCE = 30


def adding(number: float, padding: int = 0) -> bytes:
    """`y` is `x` + `number`, float32 [N, 2]; `padding` makes the file larger by about as many bytes."""
    node = models.helper.make_node("Add", ["x", "number"], ["y"])
    ports = [models.value("x", shape=("N", 2))], [models.value("y", shape=("N", 2))]
    proto = models.model_proto(models.graph([node], *ports, [models.constant("number", [number], "float32")]))
    proto.doc_string = "p" * padding
    return bytes(proto.SerializeToString())


def put(path: Path, content: bytes) -> Path:
    """Writes another file and renames it over `path`, which is atomic."""
    fresh = path.with_name(f"{path.name}.fresh")
    fresh.write_bytes(content)
    return fresh.replace(path)


def rewrite(path: Path, content: bytes) -> Path:
    """Writes into the same file, again until the file system's clock has ticked."""
    before = path.stat()
    for _ in range(1000):
        path.write_bytes(content)
        after = path.stat()
        if after.st_mtime_ns != before.st_mtime_ns:
            return path
        time.sleep(0.001)
    message = f"the clock of {path} stands still"
    raise AssertionError(message)


def sources(folder: Path) -> list[str]:
    """Names of the files in `folder` that are loaded, the most recently used first."""
    listed = [entry["source"] for entry in glowplug.models()]
    return [os.path.relpath(source, folder) for source in listed if source.startswith(f"{folder}{os.sep}")]


def forget_everything() -> None:
    """Unloads what nobody holds, so that each test begins alike; what other modules hold stays."""
    gc.collect()
    glowplug.configure(memory_budget=0)
    glowplug.configure(memory_budget=None)


def share(one: glowplug.Model, other: glowplug.Model) -> bool:
    """Whether both are the same session."""
    return one._handle.shares_session_with(other._handle)


def eventually(happens: Callable[[], bool]) -> bool:
    """Whether it happens soon; asks until it does."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if happens():
            return True
        time.sleep(0.002)
    return False


def together(count: int, task: Callable[[int], Result]) -> list[Result]:
    """Runs `task` with 0 to `count` - 1 in threads that start at once; raises what one of them raised."""
    barrier = threading.Barrier(count)
    results: dict[int, Result] = {}
    errors: list[BaseException] = []

    def run(index: int) -> None:
        try:
            barrier.wait()
            results[index] = task(index)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [results[index] for index in range(count)]


def forked(task: Callable[[], Any], seconds: int = HANGS_AFTER) -> Any:
    """What `task` returns in a forked child; an error if it raises, crashes, or hangs, when it is killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _in_child(task, seconds, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        report = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code != -signal.SIGALRM, f"the child hangs: no answer after {seconds} s"
    assert code == 0, f"the child ended with {code}"
    result, error = pickle.loads(report)
    assert error is None, f"in the child:\n{error}"
    return result


def _in_child(task: Callable[[], Any], seconds: int, writing: int) -> None:
    # Python cannot run a handler while the child waits for a lock of the library; the signal's own action needs nobody.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)
    code = 1
    try:
        try:
            report = pickle.dumps((task(), None))
        except BaseException:
            report = pickle.dumps((None, traceback.format_exc()))
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(report)
        code = 0
    finally:
        # The rest of the parent's program is not the child's to run.
        os._exit(code)


def python(code: str, *arguments: object, variables: Mapping[str, str] | None = None, seconds: float = 60) -> str:
    """What a new interpreter prints that runs `code`; an error with its traceback if it fails or hangs."""
    environment = {**os.environ, **(variables or {})}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    ran = subprocess.run(command, env=environment, capture_output=True, timeout=seconds, check=False, text=True)
    assert ran.returncode == 0, f"ended with {ran.returncode}\n{ran.stdout}{ran.stderr}"
    return ran.stdout


class Watch:
    """Notices when a file is opened or read, in this process or any other (Linux only)."""

    _ACCESS, _OPEN = 0x1, 0x20
    _EVENT = struct.Struct("iIII")

    def __init__(self, *paths: Path) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self._descriptor >= 0, os.strerror(ctypes.get_errno())
        for path in paths:
            watch = self._library.inotify_add_watch(self._descriptor, os.fsencode(path), self._ACCESS | self._OPEN)
            assert watch >= 0, os.strerror(ctypes.get_errno())

    def seen(self) -> int:
        """How many events there were since this was asked last."""
        try:
            events = os.read(self._descriptor, 65536)
        except BlockingIOError:
            return 0
        return len(events) // self._EVENT.size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)
