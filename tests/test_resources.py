"""What a process may use: the real limits of this machine, and of groups that are made for the test."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import glowplug as gp
import models
from worker_tools import put, python

if TYPE_CHECKING:
    from collections.abc import Iterator

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads the files of Linux")
PRINT = "import glowplug as gp; found = gp.resources(); print(found['cpus'], found['threads'], found['memory'])"
LAMBDA = {"AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512"}


def test_this_process() -> None:
    found = gp.resources()
    assert set(found) == {"cpus", "memory", "threads", "threads_why", "platform", "sources"}
    assert 0 < found["cpus"] <= (os.cpu_count() or 1)
    assert found["threads"] >= 1
    assert found["cpus"] == min(source["cpus"] for source in found["sources"] if source["cpus"])
    assert gp.resources(refresh=True) == found
    assert "threads_why" in str(found)
    assert "<table>" in found._repr_html_()


@linux_only
def test_affinity() -> None:
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n" + PRINT
    assert python(code).split()[:2] == ["1.0", "1"]


@linux_only
@pytest.mark.parametrize(("megabytes", "threads"), [("128", 1), ("1769", 1), ("10240", 5)])
def test_lambda(megabytes: str, threads: int) -> None:
    variables = {**LAMBDA, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": megabytes}
    cpus, count, memory = python(PRINT, variables=variables).split()
    expected = min(int(megabytes) / 1769, gp.resources()["cpus"])
    assert float(cpus) == pytest.approx(expected)
    assert int(count) == max(1, min(threads, int(gp.resources()["cpus"])))
    assert int(memory) == min(int(megabytes) << 20, gp.resources()["memory"])


@pytest.mark.parametrize(("variables", "threads"), [({"GLOWPLUG_THREADS": "3"}, "3"), (LAMBDA, "1")], ids=str)
def test_models_get_that_many_threads(variables: dict[str, str], threads: str, tmp_path: Path) -> None:
    path = put(tmp_path / "mlp.onnx", models.mlp())
    code = """
import sys, glowplug as gp
facts = [gp.load(sys.argv[1], **options).explain() for options in ({}, {"threads": 5})]
print(*(entry["threads"] for entry in facts), gp.resources()["threads"], facts[0]["threads_why"])
"""
    chosen, asked, usable, why = python(code, path, variables=variables).split(maxsplit=3)
    assert (chosen, asked, usable) == (threads, "5", threads)
    assert why.startswith("GLOWPLUG_THREADS says so" if threads == "3" else "Lambda memory size allows 0.29 CPUs")


@pytest.mark.parametrize("text", ["0", "many", "-2", "1e3"])
def test_a_wrong_number_of_threads(text: str) -> None:
    code = """
import glowplug as gp
for call in (gp.resources, lambda: gp.load("none.onnx")):
    try:
        call()
    except gp.OptionError as error:
        print(error)
"""
    printed = python(code, variables={"GLOWPLUG_THREADS": text})
    assert printed.count("environment variable GLOWPLUG_THREADS") == 2
    assert printed.count(f'got "{text}"') == 2
    assert printed.count("fix: ") == 2


# --- Real quotas ------------------------------------------------------------------------------------------------------

VERSION_1 = Path("/sys/fs/cgroup/cpu")
VERSION_2 = Path("/sys/fs/cgroup/cgroup.controllers")


def _write(path: Path, text: str) -> None:
    # One write, as the kernel wants it.
    with path.open("w", encoding="ascii") as file:
        file.write(text)


@contextlib.contextmanager
def _group(quota: int) -> Iterator[Path]:
    """A new control group with this quota in microseconds of 100,000; skips the test where none can be made."""
    is_v2 = VERSION_2.exists()
    folder = (VERSION_2.parent if is_v2 else VERSION_1) / f"glowplug-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"control groups cannot be made here: {error}")
    try:
        try:
            if is_v2:
                _write(folder / "cpu.max", f"{quota} 100000")
            else:
                _write(folder / "cpu.cfs_period_us", "100000")
                _write(folder / "cpu.cfs_quota_us", str(quota))
        except OSError as error:
            pytest.skip(f"quotas cannot be set here: {error}")
        yield folder
    finally:
        folder.rmdir()


@linux_only
@pytest.mark.parametrize("quota", [14_000, 58_000, 100_000])
def test_a_real_quota(quota: int, tmp_path: Path) -> None:
    path = put(tmp_path / "mlp.onnx", models.mlp())
    code = """
import os, sys, time
with open(sys.argv[2] + "/cgroup.procs", "w") as group:
    group.write(str(os.getpid()))
import glowplug as gp
print(gp.resources()["cpus"], gp.load(sys.argv[1]).explain()["threads"], gp.resources()["threads_why"])
with open(sys.argv[3] + "/cgroup.procs", "w") as group:
    group.write(str(os.getpid()))
"""
    with _group(quota) as folder:
        cpus, threads, why = python(code, path, folder, folder.parent).split(maxsplit=2)
    assert float(cpus) == quota / 100_000
    assert threads == "1"
    assert why.startswith("cgroup v")
