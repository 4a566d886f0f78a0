"""What an import and a first call cost and leave behind: few modules, no threads, no files, no sockets, no variables."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

import pytest

import models
from worker_tools import python

if TYPE_CHECKING:
    from pathlib import Path

#: What `import glowplug` may import beyond what the interpreter has imported when it starts.
MAY_IMPORT = {
    "__future__",
    "glowplug",
    "glowplug._core",
    "glowplug.errors",
    "glowplug.model",
    "glowplug.registry",
}
#: What is heavy and easily imported by accident; the set above leaves no room for it, and these make the reason clear.
HEAVY = [
    "numpy",
    "typing",
    "json",
    "logging",
    "asyncio",
    "dataclasses",
    "enum",
    "inspect",
    "collections",
    "re",
    "pathlib",
]

LIST = "import sys\nprint(*sorted(sys.modules))"
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")

#: Whether the engine's library is in the process of a script.
MAPPED = """
def is_mapped():
    with open("/proc/self/maps") as file:
        return "libonnxruntime" in file.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(models.mlp())
    return path


def test_import_is_light() -> None:
    baseline, imported = (set(python(code + LIST).split()) for code in ("", "import glowplug\n"))
    assert "os" in baseline, "nothing was listed"
    assert "glowplug._core" in imported
    assert imported - baseline <= MAY_IMPORT
    assert [name for name in HEAVY if name in imported - baseline] == []


def test_load_imports_no_more(path: Path) -> None:
    code = """
import sys
import glowplug
before = set(sys.modules)
model = glowplug.load(sys.argv[1])
again = glowplug.load(open(sys.argv[1], "rb").read())
model.inputs, model.outputs, model.classes, model.stats(), glowplug.models(), glowplug.configure(memory_budget=None)
glowplug.unload(sys.argv[1])
print(*sorted(set(sys.modules) - before))
"""
    assert python(code, path).split() == []


def test_ready_array_is_scored_without_the_module_that_converts(path: Path) -> None:
    code = """
import sys
import numpy as np
import glowplug
model, rows = glowplug.load(sys.argv[1]), np.zeros((2, 30), np.float32)
before = set(sys.modules)
model.predict(rows), model.run({"x": rows})
assert set(sys.modules) == before, set(sys.modules) - before
model.predict(rows.tolist())
assert "glowplug.inputs" in sys.modules
"""
    python(code, path)


@linux_only
def test_library_is_opened_by_the_first_load(path: Path) -> None:
    code = f"""
import sys
{MAPPED}
import glowplug
assert not is_mapped()
glowplug.models(), glowplug.configure(memory_budget=None), glowplug.unload("none")
assert not is_mapped()
try:
    glowplug.load(sys.argv[1], engine="onnxruntime", optimization="fast")
except glowplug.OptionError:
    assert not is_mapped()
glowplug.load(sys.argv[1], engine="onnxruntime")
assert is_mapped()
"""
    python(code, path)


# --- What is left behind ----------------------------------------------------------------------------------------------


@linux_only
def test_one_thread_no_files_no_sockets(path: Path, tmp_path: Path) -> None:
    home, scratch, working = (tmp_path / name for name in ("home", "scratch", "working"))
    for folder in (home, scratch, working):
        folder.mkdir()
    code = """
import os, sys
os.chdir(sys.argv[2])
import numpy as np
import glowplug

def facts():
    descriptors = [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
    return len(os.listdir("/proc/self/task")), [name for name in descriptors if "socket:" in name]

before = facts()
model = glowplug.load(sys.argv[1], engine="onnxruntime")
for _ in range(3):
    model.predict(np.zeros((5, 30), np.float32))
assert facts() == before == (1, []), (before, facts())
other = glowplug.load(sys.argv[1], engine="onnxruntime", threads=3, batch="serial")
assert facts() == (3, []), facts()
print(*sorted(os.listdir("/proc/self/fd")))
"""
    variables = {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "TMPDIR": str(scratch),
        # NumPy's linear algebra has threads of its own.
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    assert python(code, path, working, variables=variables)
    assert [list(folder.iterdir()) for folder in (home, scratch, working)] == [[], [], []]


VARIABLE = "ORT_DISABLE_TELEMETRY"
ENVIRONMENT = f"""
import ctypes, os, subprocess, sys

def values():
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_char_p
    of_library = getenv(b"{VARIABLE}")
    of_child = subprocess.run(["env"], capture_output=True, text=True).stdout.splitlines()
    with open("/proc/self/environ") as file:
        of_kernel = file.read().split("\\0")
    return [
        os.environ.get("{VARIABLE}"),
        None if of_library is None else of_library.decode(),
        *(next((line.partition("=")[2] for line in lines if line.startswith("{VARIABLE}=")), None)
          for lines in (of_child, of_kernel)),
    ]

before = values()
import glowplug
glowplug.load(sys.argv[1], engine="onnxruntime")
assert values() == before, (before, values())
print(*before)
"""


@linux_only
@pytest.mark.parametrize("value", [None, "", "0", "1", "yes"])
def test_environment_is_as_it_was(value: str | None, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    variables = {} if value is None else {VARIABLE: value}
    assert python(ENVIRONMENT, path, variables=variables).rstrip("\n") == " ".join([str(value)] * 4)


@linux_only
def test_telemetry_is_off_whatever_the_variable_says(path: Path) -> None:
    """The library's telemetry would open a database in the user's folder and talk to the network."""
    code = """
import os, sys
import glowplug
glowplug.load(sys.argv[1], engine="onnxruntime")
print(len(os.listdir("/proc/self/task")))
"""
    assert python(code, path, variables={VARIABLE: "0", "HOME": str(path.parent)}) == "1\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["model.onnx"]


def test_failed_open_leaves_no_variable(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    code = f"""
import os, subprocess, sys
import glowplug
try:
    glowplug.load(sys.argv[1], engine="onnxruntime")
except glowplug.LibraryError:
    print(subprocess.run([sys.executable, "-c", "import os; print(os.environ.get('{VARIABLE}'))"],
                         capture_output=True, text=True).stdout)
"""
    broken = tmp_path / "libonnxruntime.so"
    broken.write_text("no library")
    assert python(code, path, variables={"GLOWPLUG_ORT_LIBRARY": os.fspath(broken)}).strip() == "None"


# --- Which library ----------------------------------------------------------------------------------------------------

LOAD = """
import sys
import glowplug
try:
    model = glowplug.load(sys.argv[1], engine="onnxruntime")
except glowplug.LibraryError as error:
    assert isinstance(error, RuntimeError)
    print(error)
else:
    print("loaded", model.explain()["engine_library"])
"""
#: Finds a library that every process has, and that is not the one wanted.
LIBM = """
import ctypes, ctypes.util
ctypes.CDLL(ctypes.util.find_library("m"))
with open("/proc/self/maps") as file:
    print(next(line.split()[-1] for line in file if "/libm" in line))
"""


def library(tmp_path: Path, kind: str) -> str:
    """What GLOWPLUG_ORT_LIBRARY is set to."""
    path = tmp_path / "libonnxruntime.so"
    match kind:
        case "text":
            path.write_text("no library, but plain text\n" * 1000)
        case "empty":
            path.touch()
        case "head":
            path.write_bytes(b"\x7fELF" + bytes(100))
        case "libm":
            return python(LIBM).strip()
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "device":
            return os.devnull
        case "dangling":
            path.symlink_to(tmp_path / "nothing")
        case "cut":
            with open(good_library(tmp_path), "rb") as whole:  # noqa: PTH123 - a name, not a path
                path.write_bytes(whole.read(2**20))
    return str(path)


def good_library(tmp_path: Path) -> str:
    """The library that is used when nobody names one."""
    model = tmp_path / "model.onnx"
    model.write_bytes(models.mlp())
    word, _, used = python(LOAD, model, variables={"GLOWPLUG_ORT_LIBRARY": ""}).strip().partition(" ")
    assert word == "loaded"
    return used


CUT = pytest.param(
    "cut",
    "cannot be opened",
    marks=pytest.mark.xfail(strict=True, reason="the dynamic loader dies of a library that was cut off"),
)


@linux_only
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "no such file"),
        ("dangling", "no such file"),
        ("text", "cannot be opened: .*(ELF|format)"),
        ("empty", "cannot be opened: .*(short|ELF|format)"),
        ("head", "cannot be opened: .*(ELF|format)"),
        ("libm", "is not ONNX Runtime"),
        ("fifo", "pipe|not a file"),
        ("folder", "folder|directory|not a file"),
        ("device", "device|not a file"),
        CUT,
    ],
)
def test_library_that_cannot_be_used_is_an_error(kind: str, says: str, path: Path, tmp_path: Path) -> None:
    named = library(tmp_path, kind)
    told = python(LOAD, path, variables={"GLOWPLUG_ORT_LIBRARY": named})
    first, _, rest = told.partition("\n")
    before, _, problem = first.partition(named)
    assert before
    assert rest.startswith("  fix: ")
    assert re.search(says, problem), first


@linux_only
def test_library_of_the_users_choice(path: Path, tmp_path: Path) -> None:
    bundled = good_library(tmp_path)
    chosen = tmp_path / "my library 🙂.so"
    chosen.symlink_to(bundled)
    told = python(LOAD, path, variables={"GLOWPLUG_ORT_LIBRARY": str(chosen)})
    assert told == f"loaded {chosen}\n"


@linux_only
def test_failed_library_is_not_remembered(path: Path, tmp_path: Path) -> None:
    code = """
import os, sys
import glowplug
for _ in range(2):
    try:
        glowplug.load(sys.argv[1], engine="onnxruntime")
    except glowplug.LibraryError:
        print("refused")
del os.environ["GLOWPLUG_ORT_LIBRARY"]
glowplug.load(sys.argv[1], engine="onnxruntime")
print("loaded")
"""
    for kind in ("missing", "text", "libm"):
        told = python(code, path, variables={"GLOWPLUG_ORT_LIBRARY": library(tmp_path, kind)})
        assert told.split() == ["refused", "refused", "loaded"]
        (tmp_path / "libonnxruntime.so").unlink(missing_ok=True)


OTHER_INTERPRETER = """
import sys
try:
    import _interpreters
    other = _interpreters.create("legacy")
except ImportError:
    import _xxsubinterpreters as _interpreters
    other = _interpreters.create(isolated=False)
try_it = "try: import glowplug\\nexcept ImportError as error: print(error)\\nelse: print('imported', flush=True)"
if sys.argv[1] == "first":
    import glowplug
_interpreters.run_string(other, try_it)
_interpreters.destroy(other)
try:
    import glowplug
    glowplug.load(b"")
except (ImportError, ValueError) as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize("order", ["first", "second"])
def test_one_interpreter_of_a_process_has_it(order: str) -> None:
    """Another one would be raised errors of classes that it cannot name."""
    said = python(OTHER_INTERPRETER, order).splitlines()
    refused = "glowplug: another interpreter of this process has it already"
    expected = (refused, "ModelError") if order == "first" else ("imported", "ImportError")
    assert (said[0], said[-1]) == expected
