"""One row at a time: p50 and p99 beside onnxruntime on one thread, the time around the engine, and `load` when warm.

    python benches/single.py --models mlp

Calls alternate, so that both meet the same moments of the machine. The time around the engine is what a call takes in all
less what the engine's own counters say.
"""

from __future__ import annotations

import os
import timeit
from typing import Any

import glowplug
import harness
import models
from throughput import session


def main() -> None:
    """Measure every model with one row."""
    arguments = harness.options(__doc__)
    count = 2_000 if arguments.quick else 10_000
    rows = []
    for key, subject in models.chosen(arguments.models).items():
        model, peer, feeds = glowplug.load(subject.path, threads=1), session(subject.path, 1), subject.feeds(1)
        bare = next(iter(feeds.values())) if len(feeds) == 1 else feeds
        first = model.outputs[0].name
        models.same(model.predict(bare), peer.run([first], feeds)[0], 1e-5)
        calls: dict[str, harness.Call] = {
            "glowplug": lambda model=model, bare=bare: model.predict(bare),
            "onnxruntime": lambda peer=peer, feeds=feeds, first=first: peer.run([first], feeds),
        }
        heavy = key in {"wide", "encoder"}
        got = harness.latencies(calls, count=count // 10 if heavy else count)
        before = model.stats()
        number = count // 10 if heavy else 2 * count
        whole = timeit.timeit(calls["glowplug"], number=number) / number
        engine = (model.stats()["busy_ms"] - before["busy_ms"]) / 1e3 / number
        row: dict[str, Any] = {
            "model": subject.name,
            "p50 µs": got["glowplug"][0] * 1e6,
            "p99 µs": got["glowplug"][1] * 1e6,
        }
        row["p50 ratio"] = got["onnxruntime"][0] / got["glowplug"][0]
        row["p99 ratio"] = got["onnxruntime"][1] / got["glowplug"][1]
        row["around the engine µs"] = (whole - engine) * 1e6
        row["repeat"] = f"single.py --models {key}"
        rows.append(row)
    harness.record("single", "One row, one thread; ratios: onnxruntime's time / glowplug's", __doc__ or "", rows)
    path = os.fspath(next(iter(models.chosen(arguments.models).values())).path)
    held = glowplug.load(path)
    calls = {"load": lambda: glowplug.load(path), "os.stat": lambda: os.stat(path)}
    got_load = harness.interleaved(calls, rounds=9, seconds=0.05)
    row = {
        "call": "load of a loaded path",
        "µs": got_load["load"] * 1e6,
        "os.stat of it, µs": got_load["os.stat"] * 1e6,
    }
    harness.record("load", "`load` in a handler's body", "", [row])
    held.close()


if __name__ == "__main__":
    main()
