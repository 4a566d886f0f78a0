"""Fresh processes and what the kernel accounts to them: wall and CPU time, peak memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from compileall import compile_dir
from importlib.util import find_spec
from pathlib import Path
from statistics import median

PEAK = """
for line in open("/proc/self/status"):
    if line.startswith("VmHWM"):
        print(line.split()[1])
"""


def compile_package() -> None:
    """Write the package's byte code, as pip does where it installs: a development tree may lack it."""
    spec = find_spec("glowplug")
    assert spec is not None
    assert spec.origin is not None
    compile_dir(Path(spec.origin).parent, quiet=1)


def measure(program: str, *arguments: str, python: tuple[str, ...] = ()) -> tuple[str, float, float, float]:
    """What the program prints, its wall and CPU milliseconds, and its peak memory in MB.

    CPU time is what the kernel accounts to the finished child. Peak resident memory is the child's own VmHWM at its end
    (Linux), because the usual ru_maxrss starts at the size of the process that forked.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    started = time.perf_counter()
    command = [sys.executable, *python, "-c", program + PEAK, *arguments]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert child.stdout is not None
    answer, peak = child.stdout.read().rsplit("\n", 2)[:2]
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, program
    return answer.strip(), wall * 1e3, (usage.ru_utime + usage.ru_stime) * 1e3, int(peak) / 1024


def compare(programs: dict[str, tuple[str, ...]], runs: int) -> dict[str, list[float]]:
    """Medians of wall, CPU and peak of each program over interleaved runs; the first round warms the page cache."""
    compile_package()
    results: dict[str, list[tuple[float, float, float]]] = {name: [] for name in programs}
    for index in range(runs + 1):
        for name, (program, *arguments) in programs.items():
            _, *figures = measure(program, *arguments)
            if index:
                results[name].append((figures[0], figures[1], figures[2]))
    return {name: [median(column) for column in zip(*rows, strict=True)] for name, rows in results.items()}
