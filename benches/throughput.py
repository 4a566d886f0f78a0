"""Rows per second by number of rows and threads, beside onnxruntime with the same threads and the native libraries.

    python benches/throughput.py --models lightgbm mlp --most 10000

Everybody scores the same arrays in this process, in turn; answers are compared before anything is timed. The ratio is how
many times the peer's rows per second glowplug scores, and the last columns how many times its own with one
thread, and how many times one thread's work two threads do in the same rounds that need nothing but registers: a
loop that no program here could have beaten at that moment, less on a machine whose CPUs are two threads of one core or
which others use.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import onnxruntime

import glowplug
import harness
import models

SIZES = (1, 10, 100, 1_000, 10_000, 100_000)
#: Rows a heavy model is spared, for it would take minutes.
MOST = {"wide": 10_000, "encoder": 1_000}


def session(path: object, threads: int) -> onnxruntime.InferenceSession:
    """The peer with this many intra-op threads and everything else at its default; 0 for its own choice."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options)


#: Rows from which threads are expected to share the work.
MANY = 1_000


def loops() -> dict[str, Callable[[], object]]:
    """The same work on one thread, and on each of two: key derivation, which holds neither the interpreter nor memory."""
    pool = ThreadPoolExecutor(2)

    def one(_: int = 0) -> bytes:
        return hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 20_000)

    return {"loop": one, "two loops": lambda: list(pool.map(one, range(2)))}


def main() -> None:
    """Measure every model at every size."""
    arguments = harness.options(__doc__, most=100_000)
    rounds, seconds = (3, 0.05) if arguments.quick else (7, 0.15)
    rows = []
    for key, subject in models.chosen(arguments.models).items():
        alone = glowplug.load(subject.path, threads=1)
        for threads in (1, 2):
            model = glowplug.load(subject.path, threads=threads)
            peer = session(subject.path, threads)
            for size in (size for size in SIZES if size <= min(arguments.most, MOST.get(key, size))):
                feeds = subject.feeds(size)
                outputs = [subject.output]

                def ours(model: Any = model, feeds: Any = feeds, outputs: Any = outputs) -> Any:
                    return model.run(feeds, outputs)

                def theirs(peer: Any = peer, feeds: Any = feeds, outputs: Any = outputs) -> Any:
                    return peer.run(outputs, feeds)

                calls: dict[str, harness.Call] = {"glowplug": ours, "onnxruntime": theirs}
                expected = theirs()[0]
                models.same(ours()[subject.output], expected, 1e-5)
                for name, score in subject.peers.items():
                    models.same(score(feeds, threads), expected, subject.tolerance)
                    calls[name] = lambda score=score, feeds=feeds, threads=threads: score(feeds, threads)
                if threads > 1 and size >= MANY:
                    calls |= loops()
                if threads > 1:
                    calls["one thread"] = lambda feeds=feeds, outputs=outputs, alone=alone: alone.run(feeds, outputs)
                # What is learned on the way is learned once.
                for _ in range(20 if size >= 100 else 1):
                    ours()
                rest = 0.1 if threads > 1 else 0
                got = harness.interleaved(calls, rounds=rounds, seconds=seconds, rest=rest)
                row: dict[str, Any] = {"model": subject.name, "threads": threads, "rows": size}
                row["rows/s"] = float(f"{size / got['glowplug']:.3g}")
                row["× onnxruntime"] = got["onnxruntime"] / got["glowplug"]
                native = list(subject.peers)
                row["× native"] = got[native[0]] / got["glowplug"] if native else None
                row["native"] = native[0] if native else None
                row["× 1 thread"] = got["one thread"] / got["glowplug"] if threads > 1 else None
                row["a loop"] = 2 * got["loop"] / got["two loops"] if "loop" in got else None
                row["repeat"] = f"throughput.py --models {key} --most {size}"
                rows.append(row)
                print(harness.as_text([row]).splitlines()[1], flush=True)
    harness.record("throughput", "Rows per second", __doc__ or "", rows)


if __name__ == "__main__":
    main()
