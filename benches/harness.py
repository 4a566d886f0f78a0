"""What all benchmarks share: interleaved timing, tables of ratios, facts of the machine, results on disk."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import functools
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

TARGET = Path(__file__).resolve().parent.parent / "target"
RESULTS = TARGET / "bench" / "results.json"
PACKAGES = (
    "glowplug",
    "onnxruntime",
    "numpy",
    "lightgbm",
    "xgboost-cpu",
    "scikit-learn",
    "treelite",
    "tl2cgen",
    "lleaves",
    "orjson",
    "starlette",
    "uvicorn",
)

Call = Callable[[], object]
#: `--clock cpu` counts this process's CPU time instead, which others at work on the machine distort less; the page does not
#: take these.
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def installed(package: str) -> bool:
    """Whether a peer can take part; if not, says so once."""
    if importlib.util.find_spec(package):
        return True
    _without(package)
    return False


@functools.cache
def _without(package: str) -> None:
    print(f"{package} is not installed, and left out")


def options(description: str | None, **more: Any) -> argparse.Namespace:
    """The command line every benchmark has: which models, and whether to hurry."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--models", nargs="*", help="only these models")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: the ratios are rougher")
    for name, default in more.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    return parser.parse_args()


def timed(call: Call, seconds: float) -> float:
    """Seconds per call, over as many calls as fit into `seconds`, at least one."""
    started = time.perf_counter()
    call()
    once = time.perf_counter() - started
    count = max(1, int(seconds / max(once, 1e-7)))
    started = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - started) / count


def interleaved(calls: dict[str, Call], *, rounds: int, seconds: float, rest: float = 0) -> dict[str, float]:
    """Seconds per call of each, the median of rounds that time every call in turn, so that drift of the machine hits all.

    `rest` is slept before each turn: onnxruntime's threads spin for some 40 ms after a run, which would take a CPU from
    whoever comes next.
    """
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            time.sleep(rest)
            times[name].append(timed(call, seconds))
    return {name: median(values) for name, values in times.items()}


def interleaved_within(
    calls: dict[str, Call], *, budget: float, seconds: float, rest: float = 0, clock: str = "wall"
) -> dict[str, float]:
    """Like `interleaved` with as many rounds as fit into about `budget` seconds, from 2 to 15.

    Calls that take longer than `seconds` are made once a round, and not twice as `timed` does to find out.
    """

    def clocked(call: Call, count: int = 1) -> float:
        started = CLOCKS[clock]()
        for _ in range(count):
            call()
        return (CLOCKS[clock]() - started) / count

    # What is prepared by a first call is not the time of the second.
    once = {}
    for name, call in calls.items():
        first = clocked(call)
        once[name] = first if first > 10 * seconds else clocked(call)
    counts = {name: max(1, int(seconds / time_of)) for name, time_of in once.items()}
    a_round = sum(counts[name] * once[name] + rest for name in calls)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(min(15, max(2, int(budget / a_round)))):
        for name, call in calls.items():
            time.sleep(rest)
            times[name].append(clocked(call, counts[name]))
    return {name: median(values) for name, values in times.items()}


def latencies(calls: dict[str, Call], *, count: int) -> dict[str, tuple[float, float]]:
    """Median and 99th percentile in seconds of `count` calls of each, one of each in turn."""
    times = {name: np.empty(count) for name in calls}
    for index in range(count):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            times[name][index] = time.perf_counter() - started
    return {name: (float(np.median(got)), float(np.percentile(got, 99))) for name, got in times.items()}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Sends what native code prints to standard error nowhere."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def machine() -> dict[str, str]:
    """What the figures depend on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = names[0] if names else cpu
    facts = {
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "CPU": f"{cpu}, {os.cpu_count()} visible",
        "system": f"{platform.system()} {platform.release()}, CPython {platform.python_version()}",
    }
    for package in PACKAGES:
        try:
            facts[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            facts[package] = "not installed"
    return facts


def record(name: str, title: str, note: str, rows: list[dict[str, Any]], *, keep: bool = True) -> None:
    """Print a measure's rows as a table, and keep them for the report; rows of models not measured this time stay."""
    print(f"\n{title}")
    print(as_text(rows))
    if not keep:
        return
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"measures": {}}
    results["machine"] = machine()
    measured = {row.get("model") for row in rows}
    others = [row for row in results["measures"].get(name, {}).get("rows", []) if row.get("model") not in measured]
    results["measures"][name] = {"title": title, "note": note, "rows": others + rows}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1))


def columns(rows: list[dict[str, Any]]) -> list[str]:
    """All columns of the rows; the command that repeats a row is the last."""
    heads = list(dict.fromkeys(head for row in rows for head in row))
    heads.sort(key="repeat".__eq__)
    return heads


def as_text(rows: Iterable[dict[str, Any]]) -> str:
    """Rows as aligned columns."""
    rows = list(rows)
    if not rows:
        return "nothing to show"
    heads = columns(rows)
    cells = [heads, *([shown(row.get(head)) for head in heads] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(heads))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


def shown(value: object) -> str:
    """A number with three digits that matter."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return str(value)
