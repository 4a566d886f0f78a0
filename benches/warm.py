"""Warm calls beside onnxruntime: one row, a batch, and `load` in a handler's body.

    python benches/warm.py

Both engines run in this process, in turn, on one thread; answers are compared before anything is timed. The figures to
trust are the ratios.
"""

from __future__ import annotations

import os
import tempfile
import timeit
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime

import glowplug
import models

ROUNDS = 15


def interleaved(calls: dict[str, object], number: int) -> dict[str, float]:
    """Median microseconds per call; every round times each call once, so that drift of the machine hits all."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            times[name].append(timeit.timeit(call, number=number) / number * 1e6)  # type: ignore[arg-type]
    return {name: median(values) for name, values in times.items()}


def main() -> None:
    """Print one line per comparison."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mlp.onnx"
        path.write_bytes(models.mlp())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        peer = onnxruntime.InferenceSession(os.fspath(path), options)
        model = glowplug.load(path)
        print("30-64-64-1 MLP, one thread, microseconds per call (median of interleaved rounds)")
        for rows in (1, 100, 10_000):
            x = np.random.default_rng(rows).standard_normal((rows, 30), dtype=np.float32)
            assert np.array_equal(model.predict(x), peer.run(None, {"x": x})[0])
            calls = {"glowplug": lambda x=x: model.predict(x), "onnxruntime": lambda x=x: peer.run(None, {"x": x})}
            got = interleaved(calls, max(20_000 // rows, 5))
            ratio = got["onnxruntime"] / got["glowplug"]
            print(
                f"{rows:>6} rows   glowplug {got['glowplug']:9.2f}   onnxruntime {got['onnxruntime']:9.2f}   ratio {ratio:.2f}"
            )
        before = model.stats()
        one_row = np.zeros((1, 30), dtype=np.float32)
        number = 20_000
        total = timeit.timeit(lambda: model.predict(one_row), number=number) * 1e6
        engine = (model.stats()["busy_ms"] - before["busy_ms"]) * 1e3
        whole, inner = total / number, engine / number
        print(f"one row: {whole:.2f} in all, {inner:.2f} of it in the engine, {whole - inner:.2f} around it")
        text = os.fspath(path)
        calls = {"load": lambda: glowplug.load(text), "stat": lambda: os.stat(text)}
        got = interleaved(calls, 10_000)
        print(f"warm load of a path: {got['load']:.2f} (os.stat of the same path alone: {got['stat']:.2f})")


if __name__ == "__main__":
    main()
