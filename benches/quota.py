"""Under CPU quotas: p50 and p99 of one row and of 100 rows, with the threads each package chooses itself.

    python benches/quota.py --models lightgbm

Three processes share one control group with the quota, one after the other in short turns: glowplug, onnxruntime with one
thread, and onnxruntime's default. Each rests before its turn, since onnxruntime's default threads spin for some 40 ms after a
run and would use up the quota of whoever comes next. Needs the right to make control groups
with CPU quotas (root, cgroup v1 or v2).
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import harness
import models

QUOTAS = (0.14, 0.29, 0.58, 1.0)
PERIOD = 100_000
VERSION_1, VERSION_2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
WORKER = """
import json, os, sys, time
with open(sys.argv[1] + "/cgroup.procs", "w") as group:
    group.write(str(os.getpid()))
import numpy as np
who, path, output, count = sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5])
feeds = [dict(np.load(file)) for file in sys.argv[6:]]
if who == "glowplug":
    import glowplug
    model = glowplug.load(path)
    call = lambda feed: model.run(feed, [output])
else:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if who == "one thread":
        options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)
    call = lambda feed: session.run([output], feed)
for feed in feeds:
    for _ in range(3):
        call(feed)
print("ready", flush=True)
for line in sys.stdin:
    times = []
    feed, until = feeds[int(line)], time.perf_counter() + 1.0
    while len(times) < count and (time.perf_counter() < until or len(times) < 5):
        started = time.perf_counter()
        call(feed)
        times.append(time.perf_counter() - started)
    print(json.dumps(times), flush=True)
"""


@contextlib.contextmanager
def group(quota: float) -> Iterator[Path]:
    """A control group that may use so many CPUs."""
    is_v2 = (VERSION_2 / "cgroup.controllers").exists()
    folder = (VERSION_2 if is_v2 else VERSION_1) / f"glowplug-bench-{os.getpid()}"
    folder.mkdir()
    try:
        if is_v2:
            (folder / "cpu.max").write_text(f"{int(quota * PERIOD)} {PERIOD}")
        else:
            (folder / "cpu.cfs_period_us").write_text(str(PERIOD))
            (folder / "cpu.cfs_quota_us").write_text(str(int(quota * PERIOD)))
        yield folder
    finally:
        folder.rmdir()


def turns(subject: models.Subject, quota: float, rounds: int) -> dict[tuple[str, int], list[float]]:
    """Seconds per call, by package and number of rows."""
    import numpy as np

    files = []
    for size in (1, 100):
        file = models.FOLDER / f"{subject.path.stem}-{size}.npz"
        np.savez(file, **subject.feeds(size))
        files.append(str(file))
    times: dict[tuple[str, int], list[float]] = {}
    with group(quota) as folder:
        workers = {}
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        for who in ("glowplug", "one thread", "default"):
            command = [sys.executable, "-c", WORKER, str(folder), who, str(subject.path), subject.output, "400", *files]
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            workers[who] = subprocess.Popen(command, text=True, env=environment, **pipes)
            assert workers[who].stdout.readline() == "ready\n"
        for _ in range(rounds):
            for index, size in enumerate((1, 100)):
                for who, worker in workers.items():
                    time.sleep(0.05 + 0.1 / quota)
                    worker.stdin.write(f"{index}\n")
                    worker.stdin.flush()
                    times.setdefault((who, size), []).extend(json.loads(worker.stdout.readline()))
        for worker in workers.values():
            worker.stdin.close()
            worker.wait()
    return times


def main() -> None:
    """Measure under every quota, or say why that is not possible here."""
    import numpy as np

    arguments = harness.options(__doc__)
    quotas, rounds = ((0.29, 1.0), 2) if arguments.quick else (QUOTAS, 6)
    rows = []
    for key, subject in models.chosen(arguments.models or ["mlp", "lightgbm", "forest", "encoder"]).items():
        for quota in quotas:
            try:
                times = turns(subject, quota, rounds)
            except OSError as error:
                print(f"CPU quotas cannot be set here: {error}")
                return
            for size in (1, 100):
                p99 = {who: float(np.percentile(times[who, size], 99)) for who in ("glowplug", "one thread", "default")}
                mean = {who: float(np.mean(times[who, size])) for who in p99}
                row: dict[str, Any] = {
                    "model": subject.name,
                    "CPUs": quota,
                    "rows": size,
                    "p99 ms": p99["glowplug"] * 1e3,
                }
                row["p99 × 1 thread"] = p99["one thread"] / p99["glowplug"]
                row["p99 × default"] = p99["default"] / p99["glowplug"]
                row["mean × 1 thread"] = mean["one thread"] / mean["glowplug"]
                row["mean × default"] = mean["default"] / mean["glowplug"]
                row["repeat"] = f"quota.py --models {key}"
                rows.append(row)
    title = "Under CPU quotas; ratios: onnxruntime's time / glowplug's"
    harness.record("quota", title, __doc__ or "", rows)


if __name__ == "__main__":
    main()
