"""One shared session against one session per thread: what a pool would buy.

    python benches/shared_session.py

Two threads score together, first on one session that both share, then on a session each (different options make the
registry keep them apart). The answers are compared with the serial ones before and after.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

import glowplug
import models

ROUNDS = 9
SECONDS = 0.3


def rate(calls: list[Callable[[], object]]) -> float:
    """Calls per second of all threads together."""
    counts = [0] * len(calls)
    barrier = threading.Barrier(len(calls) + 1)
    stop = threading.Event()

    def work(index: int) -> None:
        barrier.wait()
        while not stop.is_set():
            for _ in range(20):
                calls[index]()
            counts[index] += 20

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    barrier.wait()
    started = time.perf_counter()
    time.sleep(SECONDS)
    stop.set()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - started)


def main() -> None:
    """Print, per model and batch, how two threads scale on one session and on two."""
    print(f"{'model':<18}{'rows':>6}{'one session':>14}{'two sessions':>14}   (calls per second of 2 threads / of 1)")
    with tempfile.TemporaryDirectory() as folder:
        for name, widths in (("30-64-64-1", (30, 64, 64, 1)), ("512-2048-2048-1", (512, 2048, 2048, 1))):
            path = Path(folder) / f"{name}.onnx"
            path.write_bytes(models.mlp(widths))
            shared = glowplug.load(path)
            other = glowplug.load(path, optimization="extended")
            for rows in (1, 64):
                x = np.random.default_rng(1).standard_normal((rows, widths[0]), dtype=np.float32)
                expected = shared.predict(x)
                assert np.allclose(other.predict(x), expected, rtol=1e-5)
                ratios: dict[str, list[float]] = {"one": [], "two": []}
                for _ in range(ROUNDS):
                    single = rate([lambda x=x: shared.predict(x)])
                    ratios["one"].append(rate([lambda x=x: shared.predict(x)] * 2) / single)
                    ratios["two"].append(rate([lambda x=x: shared.predict(x), lambda x=x: other.predict(x)]) / single)
                assert np.array_equal(shared.predict(x), expected)
                print(f"{name:<18}{rows:>6}{median(ratios['one']):>14.2f}{median(ratios['two']):>14.2f}")


if __name__ == "__main__":
    main()
