"""Tree models of real data in glowplug beside everybody else who scores them, by rows and threads.

    python benches/trees.py --models flights

All score the same rows, in turn, other rows in each call. Answers are compared first, and peers whose answers differ are
left out. Ratios are the peer's time / glowplug's, of the library's own file, and of the ONNX file for scikit-learn's
models and where the column says ONNX. "LightGBM's C API" is that for single rows; "lleaves float32" the faster of two
sizes of blocks. Compilers take part where they need seconds. 100,000 rows are scored by onnxruntime, the library, and
whoever else was fastest with 10,000.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import glowplug
import harness
import tree_models
from tree_peers import Peer, assert_same, ours, theirs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree_models import Array, Subject

SIZES = (1, 10, 100, 1_000, 10_000)
#: Measured with every number of rows and threads; the others with one thread, and with two at 10,000 rows.
FULL = ("flights", "flights-xgb")
#: Measured again without AVX-512, with these numbers of rows.
NARROW, NARROW_SIZES = ("flights", "large", "images", "flights-xgb", "diamonds-xgb", "forest"), (1, 10, 10_000)
MEASURES = {"LightGBM": "trees", "XGBoost": "trees of XGBoost", "scikit-learn": "trees of scikit-learn"}
OURS = ("own file", "ONNX file")
Scorers = dict[str, Peer]


def windows(x: Array, count: int) -> Iterator[Array]:
    """So many rows at a time, from the first to the last, over and over.

    Of the same few rows, a processor learns the way through the trees.
    """
    while True:
        for start in range(0, len(x) - count + 1, count):
            yield x[start : start + count]


def timed(scorers: Scorers, x: Array, count: int, **how: Any) -> dict[str, float]:
    """Seconds per call of each with `count` rows."""

    def call(peer: Peer) -> harness.Call:
        turns = windows(x.astype(peer.dtype), count)
        return lambda: peer.predict(next(turns))

    calls = {name: call(peer) for name, peer in scorers.items() if count == 1 or not peer.single_rows_only}
    return harness.interleaved_within(calls, seconds=0.01, **how)


def compare(scorers: Scorers, x: Array) -> set[str]:
    """The peers whose scores differ from those of the library, which comes first of them. Ours must not."""
    library = next(peer for name, peer in scorers.items() if name not in OURS)
    expected = library.predict(x.astype(library.dtype))
    wrong = set()
    for name, peer in scorers.items():
        rows, wanted = (x[:1], expected[:1]) if peer.single_rows_only else (x, expected)
        try:
            assert_same(peer.predict(rows.astype(peer.dtype)), wanted, peer.tolerance)
        except AssertionError:
            if name in OURS:
                raise
            wrong.add(name)
    return wrong


def row_of(subject: Subject, threads: int, count: int, got: dict[str, float]) -> dict[str, Any]:
    """The ratios of one cell."""
    mine = got.pop("own file", got.get("ONNX file"))
    onnx = got.pop("ONNX file", None)
    alone = got.pop("one thread", None)
    assert mine is not None
    one_block = got.pop("lleaves float32, one block", None)
    if one_block is not None:
        got["lleaves float32"] = min(got["lleaves float32"], one_block)
    best = min(got, key=lambda name: got[name])
    row: dict[str, Any] = {"model": subject.name, "threads": threads, "rows": count, "µs": mine * 1e6}
    row |= {"× best peer": got[best] / mine, "best peer": best}
    row |= {f"× {name}": got.get(name, 0) / mine or None for name in columns(subject.library)}
    if subject.library != "scikit-learn":
        row["ONNX × onnxruntime"] = got["onnxruntime"] / onnx if onnx else None
    row["× 1 thread"] = alone / mine if alone else None
    row["repeat"] = f"trees.py --models {subject.key}"
    return row


def columns(library: str) -> list[str]:
    """The peers that a library's models can have."""
    names = ["onnxruntime", library, "GTIL", "tl2cgen", "tl2cgen quantized"]
    return [*names, "LightGBM's C API", "lleaves", "lleaves float32"] if library == "LightGBM" else names


def of_subject(key: str, sizes: tuple[int, ...], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """All rows of one model."""
    subject = tree_models.subject(key)
    x = subject.data.rows(20_000)
    found = []
    alone: Peer | None = None
    for threads in (1, 2) if arguments.clock == "wall" else (1,):
        scorers = ours(subject, threads) | theirs(subject, threads)
        wrong = compare(scorers, x[:1_000])
        for name in wrong:
            del scorers[name]
            print(f"{subject.name}: {name} is left out, for its scores differ")
        first = next(iter(scorers.values()))
        if alone is not None:
            scorers["one thread"] = alone
        alone = first
        rest = 0.05 if threads > 1 else 0
        for count in sizes if threads == 1 or (key in FULL and not arguments.quick) else sizes[-1:]:
            budget = 0.2 if arguments.quick else 1 if count < 10_000 else 4
            got = timed(scorers, x, count, budget=budget, rest=rest, clock=arguments.clock)
            found.append(row_of(subject, threads, count, got) | {f"× {name}": "differs" for name in wrong})
        if key in FULL and sizes[-1] == 10_000 and not arguments.quick:
            fastest = found[-1]["best peer"]
            fastest = fastest if fastest in scorers else "lleaves float32"
            few = {"own file", "ONNX file", "onnxruntime", subject.library, fastest, "one thread"}
            scorers = {name: peer for name, peer in scorers.items() if name in few}
            got = timed(scorers, subject.data.rows(200_000), 100_000, budget=4, rest=rest, clock=arguments.clock)
            found.append(row_of(subject, threads, 100_000, got))
    print(f"{subject.name}: measured", flush=True)
    return found


def has_avx512() -> bool:
    """Whether kernels use AVX-512."""
    return "AVX-512" in glowplug.load(tree_models.subject("cancer").path).explain()["kernel"]


def main() -> None:
    """Measure every model, and some again without AVX-512."""
    arguments = harness.options(__doc__, most=10_000, clock="wall")
    narrow = os.environ.get("GLOWPLUG_INSTRUCTIONS") == "avx2"
    if narrow and has_avx512():
        print("kernels cannot be held to AVX2, which is not measured")
        return
    keys = arguments.models or list(NARROW if narrow else tree_models.SHAPES)
    sizes = tuple(size for size in (NARROW_SIZES if narrow else SIZES) if size <= arguments.most)
    by_library: dict[str, list[dict[str, Any]]] = {}
    for key in keys:
        by_library.setdefault(tree_models.SHAPES[key].library, []).extend(of_subject(key, sizes, arguments))
    if narrow:
        rows = [row for found in by_library.values() for row in found]
        harness.record("trees avx2", "Trees with AVX2 instead of AVX-512", __doc__ or "", rows)
        return
    for library, rows in by_library.items():
        harness.record(MEASURES[library], f"Trees of {library}", __doc__ or "", rows)
    again = [key for key in keys if key in NARROW]
    if again and has_avx512():
        flags = ["--models", *again, "--most", str(arguments.most), "--clock", arguments.clock]
        command = [sys.executable, __file__, *flags, *(["--quick"] if arguments.quick else [])]
        subprocess.run(command, env={**os.environ, "GLOWPLUG_INSTRUCTIONS": "avx2"}, check=True)


if __name__ == "__main__":
    main()
