"""Under CPU quotas: p50 and p99 of one row and of 100 rows, with the threads each package chooses itself.

    python benches/quota.py --models lightgbm

Three processes share one control group with the quota, one after the other in short turns: glowplug, onnxruntime with one
thread, and onnxruntime's default. Each rests before its turn, since onnxruntime's default threads spin for some 40 ms after a
run and would use up the quota of whoever comes next; who begins changes from round to round, and the group goes before
other work on the machine, which the quota alone would let in.

A period of the quota that ends within a call makes it tens of milliseconds longer, so the p99 of a turn depends on where in the
period it began. Ratios are therefore those of the p99 of turns in the same round, the median of all rounds, with the
quartiles beside it: where 1 is between them, the rounds do not tell who is faster. "pooled" is the ratio of the p99 of
all calls of all rounds, in which one bad round decides. Calls follow each other at once, so where one takes more than a
hundredth of what a period gives (0.14 ms of CPU at 0.14), more than one in a hundred meets the end of a period, whoever made
it: there p99 is the rest of the period and ratios are near 1; the ratio of means tells more. Needs the right to make control
groups with CPU quotas (root, cgroup v1 or v2).
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
WHO = ("glowplug", "one thread", "default")
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
            (folder / "cpu.weight").write_text("10000")
        else:
            (folder / "cpu.cfs_period_us").write_text(str(PERIOD))
            (folder / "cpu.cfs_quota_us").write_text(str(int(quota * PERIOD)))
            (folder / "cpu.shares").write_text("100000")
        yield folder
    finally:
        folder.rmdir()


def turns(subject: models.Subject, quota: float, rounds: int) -> dict[tuple[str, int], list[list[float]]]:
    """Seconds per call of each round, by package and number of rows."""
    import numpy as np

    files = []
    for size in (1, 100):
        file = models.FOLDER / f"{subject.path.stem}-{size}.npz"
        np.savez(file, **subject.feeds(size))
        files.append(str(file))
    times: dict[tuple[str, int], list[list[float]]] = {}
    with group(quota) as folder:
        workers = {}
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        for who in WHO:
            command = [sys.executable, "-c", WORKER, str(folder), who, str(subject.path), subject.output, "400", *files]
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            workers[who] = subprocess.Popen(command, text=True, env=environment, **pipes)
            assert workers[who].stdout.readline() == "ready\n"
        for number in range(rounds):
            for index, size in enumerate((1, 100)):
                for at in range(len(WHO)):
                    who = WHO[(number + at) % len(WHO)]
                    worker = workers[who]
                    time.sleep(0.05 + 0.1 / quota)
                    worker.stdin.write(f"{index}\n")
                    worker.stdin.flush()
                    times.setdefault((who, size), []).append(json.loads(worker.stdout.readline()))
        for worker in workers.values():
            worker.stdin.close()
            worker.wait()
    return times


def main() -> None:
    """Measure under every quota, or say why that is not possible here."""
    import numpy as np

    arguments = harness.options(__doc__)
    quotas, rounds = ((0.29, 1.0), 3) if arguments.quick else (QUOTAS, 5)
    rows = []
    for key, subject in models.chosen(arguments.models or ["mlp", "lightgbm", "forest", "encoder"]).items():
        for quota in quotas:
            try:
                times = turns(subject, quota, rounds)
            except OSError as error:
                print(f"CPU quotas cannot be set here: {error}")
                return
            for size in (1, 100):
                rounds_of = {who: [np.percentile(turn, 99) for turn in times[who, size]] for who in WHO}
                every = {who: np.concatenate(times[who, size]) for who in WHO}
                row: dict[str, Any] = {"model": subject.name, "CPUs": quota, "rows": size}
                row["p99 ms"] = float(np.median(rounds_of["glowplug"])) * 1e3
                for who, name in (("one thread", "1 thread"), ("default", "default")):
                    ratios = np.array(rounds_of[who]) / rounds_of["glowplug"]
                    low, middle, high = map(float, np.percentile(ratios, [25, 50, 75]))
                    row[f"p99 × {name}"] = middle
                    row[f"quartiles of {name}"] = f"{harness.shown(low)} to {harness.shown(high)}"
                    pooled = np.percentile(every[who], 99) / np.percentile(every["glowplug"], 99)
                    row[f"pooled × {name}"] = float(pooled)
                    row[f"mean × {name}"] = float(every[who].mean() / every["glowplug"].mean())
                row["repeat"] = f"quota.py --models {key}"
                rows.append(row)
    title = "Under CPU quotas; ratios: onnxruntime's time / glowplug's"
    harness.record("quota", title, __doc__ or "", rows)


if __name__ == "__main__":
    main()
