"""Whatever way numbers lie in memory they come in right; what can be read in place is, and the rest is copied once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tracemalloc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import helper

import glowplug
import models
from test_inputs import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Answers, Feeds

    Run = Callable[[bytes, Feeds], Answers]
    Compare = Callable[[Any, Any], None]

MEBI = 2**20


class Vector(np.ndarray[Any, Any]):
    """A subclass of arrays that adds nothing."""


def misaligned(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same values, at an address that is no multiple of their size."""
    memory = np.zeros(array.nbytes + 1, np.uint8)
    moved = memory[1:].view(array.dtype).reshape(array.shape)
    moved[...] = array
    assert not moved.flags.aligned
    return moved


def field(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same values as one field of a structured array."""
    record = np.zeros(array.shape, [("before", "u1"), ("value", array.dtype)])
    record["value"] = array
    return record["value"]


def read_only(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same array, not to be written to."""
    array.flags.writeable = False
    return array


def stored(array: np.ndarray[Any, Any], mode: str, folder: Path) -> np.ndarray[Any, Any]:
    """The same values in a file that is mapped into memory."""
    array.tofile(folder / "values")
    return np.memmap(folder / "values", array.dtype, mode, shape=array.shape)


@dataclass(frozen=True)
class Layout:
    """How the same numbers can lie in memory."""

    make: Callable[[np.ndarray[Any, Any], Path], Any]
    copied: bool


LAYOUTS = {
    "contiguous": Layout(lambda x, _: x, copied=False),
    "read_only": Layout(lambda x, _: read_only(x), copied=False),
    "from_bytes": Layout(lambda x, _: np.frombuffer(x.tobytes(), np.float32).reshape(x.shape), copied=False),
    "slice_of_rows": Layout(lambda x, _: np.concatenate([x, x, x])[4:8], copied=False),
    "matrix": Layout(lambda x, _: x.view(np.matrix), copied=False),
    "subclass": Layout(lambda x, _: x.view(Vector), copied=False),
    "nothing_masked": Layout(lambda x, _: np.ma.MaskedArray(x, mask=np.zeros(x.shape, bool)), copied=False),
    "memmap": Layout(lambda x, folder: stored(x, "r", folder), copied=False),
    "memmap_for_writing": Layout(lambda x, folder: stored(x, "r+", folder), copied=False),
    "memoryview": Layout(lambda x, _: memoryview(x), copied=False),
    "fortran": Layout(lambda x, _: np.asfortranarray(x), copied=True),
    "reversed": Layout(lambda x, _: x[::-1, ::-1].copy()[::-1, ::-1], copied=True),
    "every_second": Layout(lambda x, _: np.repeat(x, 2, axis=0)[::2], copied=True),
    "columns_of_more": Layout(lambda x, _: np.concatenate([x, x], axis=1)[:, :3], copied=True),
    "transposed": Layout(lambda x, _: x.T.copy().T, copied=True),
    "big_endian": Layout(lambda x, _: x.astype(">f4"), copied=True),
    "misaligned": Layout(lambda x, _: misaligned(x), copied=True),
    "field": Layout(lambda x, _: field(x), copied=True),
    "fortran_subclass": Layout(lambda x, _: np.asfortranarray(x).view(Vector), copied=True),
    "other_dtype": Layout(lambda x, _: x.astype(np.int16), copied=True),
    "list": Layout(lambda x, _: x.tolist(), copied=True),
    "list_of_rows": Layout(lambda x, _: list(x), copied=True),
    "tuple": Layout(lambda x, _: tuple(map(tuple, x.tolist())), copied=True),
}


@pytest.mark.parametrize("by_name", [False, True], ids=["bare", "by_name"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name: str, tmp_path: Path, assert_same: Compare, count_inputs: Any, *, by_name: bool) -> None:
    """Whatever way the numbers lie, the answer is the same; they are copied only where they must be, and counted."""
    layout = LAYOUTS[name]
    given = layout.make(NUMBERS.copy(), tmp_path)
    model = glowplug.load(models.identity())
    with count_inputs(model) as counted:
        answer = model.predict({"x": given} if by_name else given)
    assert_same(answer, NUMBERS)
    assert counted == {"in_place": int(not layout.copied), "copied": int(layout.copied)}
    assert_same(np.asarray(given, np.float32), NUMBERS)


def test_broadcast_views() -> None:
    """A row that NumPy only pretends to repeat is repeated."""
    model = glowplug.load(models.identity())
    row = np.array([[1, 2, 3]], np.float32)
    assert model.predict(np.broadcast_to(row, (3, 3))).tolist() == row.tolist() * 3
    assert model.predict(np.broadcast_to(np.float32(7), (2, 3))).tolist() == [[7, 7, 7]] * 2
    assert model.predict(np.broadcast_to(np.float32(7), (0, 3))).shape == (0, 3)


def test_counts_of_several_inputs(count_inputs: Any) -> None:
    """Each input counts for itself; text is always copied."""
    model = glowplug.load(models.multi_dtype())
    columns = {
        "amount": np.ones((2, 1)),
        "hour": np.ones((2, 1), np.int32),
        "flag": np.ones((2, 1), bool),
        "merchant": np.array([["a"], ["b"]], object),
    }
    for changes, in_place in [
        ({}, 3),
        ({"hour": np.ones((2, 1), np.int16)}, 2),
        ({"hour": [1, 2], "flag": [True, False]}, 1),
        ({"merchant": ["a", "b"]}, 3),
        ({"amount": [1, 2], "merchant": ["a", "b"]}, 2),
        ({"amount": [1, 2], "hour": [1, 2], "flag": [True, False], "merchant": ["a", "b"]}, 0),
    ]:
        with count_inputs(model) as counted:
            model.run({**columns, **changes})
        assert counted == {"in_place": in_place, "copied": 4 - in_place}, changes


def second_row(columns: int | str = "K") -> bytes:
    """`y` is the second row of `x` float32 [N, columns]: nothing else of `x` is looked at."""
    node = helper.make_node("Gather", ["x", "second"], ["y"], axis=0)
    body = models.graph(
        [node],
        [models.value("x", shape=("N", columns))],
        [models.value("y", shape=(1, columns))],
        [models.constant("second", [1], "int64")],
    )
    return models.model_bytes(body)


def run_child(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own, which may crash or get little memory."""
    command = [sys.executable, "-W", "error", "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


# Each page of memory is one row. All pages but that of the second row are locked: who reads one, dies. The
# engine looks at the second row only, so that the array lives through the call just if nobody copies it.
LOCKED_PAGES = """
import ctypes, mmap, resource, sys, types
import numpy as np
import glowplug

path, file, how = sys.argv[1:]
page = mmap.PAGESIZE
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
if how == "memmap":
    array = np.memmap(file, np.float32, "r+", shape=(4, page // 4))
else:
    array = np.frombuffer(mmap.mmap(-1, 4 * page), np.float32).reshape(4, page // 4)
array[1] = np.arange(page // 4)
model = glowplug.load(path)
ways = {
    "bare": lambda: array,
    "dict": lambda: {"x": array},
    "mapping": lambda: types.MappingProxyType({"x": array}),
    "read_only": lambda: np.lib.stride_tricks.as_strided(array, writeable=False),
    "matrix": lambda: array.view(np.matrix),
    "masked": lambda: np.ma.MaskedArray(array),
    "memoryview": lambda: memoryview(array),
    "memmap": lambda: array,
    "reversed": lambda: array[:, ::-1],
    "big_endian": lambda: array.view(">f4"),
}
inputs = ways[how]()
protect = ctypes.CDLL(None, use_errno=True).mprotect
for row in (0, 2, 3):
    failed = protect(ctypes.c_void_p(array.ctypes.data + row * page), ctypes.c_size_t(page), 0)
    assert not failed, ctypes.get_errno()
for answer in (model.predict(inputs), model.run(inputs)["y"], model.predict(inputs)):
    assert answer.shape == (1, page // 4) and (answer == np.arange(page // 4)).all()
print("alive")
"""


@pytest.mark.skipif(os.name != "posix", reason="pages are locked with mprotect")
@pytest.mark.parametrize(
    ("how", "in_place"),
    [
        ("bare", True),
        ("dict", True),
        ("mapping", True),
        ("read_only", True),
        ("matrix", True),
        ("masked", True),
        ("memoryview", True),
        ("memmap", True),
        # These two cannot be read in place, and so show that the locks hold.
        ("reversed", False),
        ("big_endian", False),
    ],
)
def test_read_in_place(how: str, tmp_path: Path, *, in_place: bool) -> None:
    """An array that is read in place is read by the engine alone: locked memory round it does no harm."""
    (tmp_path / "model.onnx").write_bytes(second_row())
    (tmp_path / "rows").write_bytes(bytes(4 * 2**16))
    child = run_child(LOCKED_PAGES, tmp_path / "model.onnx", tmp_path / "rows", how)
    if in_place:
        assert (child.stdout, child.returncode) == ("alive\n", 0), child.stderr
    else:
        assert child.returncode in {-signal.SIGSEGV, -signal.SIGBUS}, child.stdout + child.stderr


# The process may have half as much more memory as the array it holds already.
LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
import numpy as np
import glowplug

path, order, mebi = sys.argv[1], sys.argv[2], 2**20
model = glowplug.load(path)
model.predict(np.zeros((2, 64), np.float32))
model.predict(np.zeros((2, 64), np.float64))
array = np.ones((200 * mebi // 256, 64), np.float32, order=order)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 100 * mebi, resource.RLIM_INFINITY))
try:
    print(model.predict(array).sum())
except glowplug.OutOfMemoryError as error:
    print("OutOfMemoryError", "\\n  fix: " in str(error))
except MemoryError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to RLIMIT_AS")
@pytest.mark.parametrize(("order", "expected"), [("C", "64.0\n"), ("F", "OutOfMemoryError True\n")])
def test_memory_of_large_inputs(order: str, expected: str, tmp_path: Path) -> None:
    """200 MB are scored where there is no room for a copy of them; where a copy is needed, an error says so."""
    (tmp_path / "model.onnx").write_bytes(second_row(64))
    child = run_child(LITTLE_MEMORY, tmp_path / "model.onnx", order)
    assert (child.stdout, child.returncode) == (expected, 0), child.stderr


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("contiguous", 0),
        ("fortran", 1),
        ("big_endian", 1),
        ("misaligned", 1),
        ("reversed", 1),
        ("fortran_subclass", 1),
        ("other_dtype", 2),
    ],
)
def test_copied_once(name: str, most: int, tmp_path: Path) -> None:
    """What has to be converted is held twice for no moment: at most the converted array is made, and what checks it."""
    array = LAYOUTS[name].make(np.ones((4 * MEBI // 64, 16), np.float32), tmp_path)
    model = glowplug.load(second_row(16))
    model.predict(array[:2])
    tracemalloc.start()
    try:
        model.predict(array)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most * 4 * MEBI + MEBI // 4
