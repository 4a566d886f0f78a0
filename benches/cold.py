"""Cold start: a fresh process imports, loads and scores one row, beside onnxruntime and a bare interpreter.

    python benches/cold.py [--runs 15]

Each round starts every program once, in turn. CPU time (user and system) is what the kernel accounts to the finished
child; peak resident memory is the child's own VmHWM at its end (Linux), because the usual ru_maxrss starts at the size of
the process that forked. All programs score the same row; their answers are compared first.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

import models

PROGRAMS = {
    "bare interpreter": "print('none')",
    "import numpy": "import numpy\nprint('none')",
    "glowplug": """
import sys, numpy, glowplug
model = glowplug.load(sys.argv[1])
row = numpy.full((1, 30), 0.5, dtype=numpy.float32)
print(repr(float(model.predict(row)[0, 0])))
""",
    "onnxruntime": """
import sys, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options)
row = numpy.full((1, 30), 0.5, dtype=numpy.float32)
print(repr(float(session.run(None, {session.get_inputs()[0].name: row})[0][0, 0])))
""",
    "glowplug, import and load only": """
import sys, glowplug
glowplug.load(sys.argv[1])
print('none')
""",
}


PEAK = """
for line in open("/proc/self/status"):
    if line.startswith("VmHWM"):
        print(line.split()[1])
"""


def measure(program: str, model: str) -> tuple[str, float, float, float]:
    """What the program prints, its wall and CPU milliseconds, and its peak memory in MB."""
    started = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-c", program + PEAK, model], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    answer, peak = child.stdout.read().split()
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, program
    return answer, wall * 1e3, (usage.ru_utime + usage.ru_stime) * 1e3, int(peak) / 1024


def main() -> None:
    """Print a table of medians, and the ratio of what glowplug and onnxruntime add to the bare interpreter."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mlp.onnx"
        path.write_bytes(models.mlp())
        # The first round warms the page cache and is not counted; its answers are compared.
        answers = {name: measure(program, os.fspath(path))[0] for name, program in PROGRAMS.items()}
        assert np.isclose(float(answers["glowplug"]), float(answers["onnxruntime"]), rtol=1e-6)
        results: dict[str, list[tuple[float, float, float]]] = {name: [] for name in PROGRAMS}
        for _ in range(runs):
            for name, program in PROGRAMS.items():
                results[name].append(measure(program, os.fspath(path))[1:])
    medians = {name: [median(column) for column in zip(*rows, strict=True)] for name, rows in results.items()}
    print(f"30-64-64-1 MLP, medians of {runs} interleaved runs")
    print(f"{'process':<32}{'wall ms':>9}{'CPU ms':>9}{'peak MB':>9}")
    for name, (wall, cpu, peak) in medians.items():
        print(f"{name:<32}{wall:>9.0f}{cpu:>9.0f}{peak:>9.0f}")
    bare, ours, theirs = medians["bare interpreter"], medians["glowplug"], medians["onnxruntime"]
    print(
        f"CPU beyond the bare interpreter: glowplug {ours[1] - bare[1]:.0f} ms, onnxruntime {theirs[1] - bare[1]:.0f} ms"
    )
    ratios = [ours[index] / theirs[index] for index in range(3)]
    print(f"glowplug / onnxruntime: wall {ratios[0]:.2f}, CPU {ratios[1]:.2f}, peak memory {ratios[2]:.2f}")


if __name__ == "__main__":
    main()
