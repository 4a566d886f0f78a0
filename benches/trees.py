"""Tree models of real data in glowplug beside everybody else who scores them, by rows and threads.

    python benches/trees.py --models flights

All score the same rows, in turn, other rows in each call. Answers are compared first, and peers whose answers differ are
left out. Ratios are the peer's time / glowplug's, of the library's own file, and of the ONNX file for scikit-learn's
models and where the column says ONNX. "LightGBM's C API" is that for single rows; "lleaves float32" the faster of two
sizes of blocks. Compilers take part where they need seconds. From 10,000 rows on, whoever took three times as long as
the fastest peer with fewer is spared, unless it is the library or onnxruntime.
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
#: From 10,000 rows on, no turn is given to those who took so many times the fastest peer's time with fewer.
SLOW = 3
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
        got["lleaves float32"] = min(got.get("lleaves float32", one_block), one_block)
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


def cells(key: str, threads: int, arguments: argparse.Namespace) -> list[int]:
    """Numbers of rows to score with so many threads."""
    if os.environ.get("GLOWPLUG_INSTRUCTIONS"):
        sizes = NARROW_SIZES if threads == 1 else ()
    elif arguments.quick:
        sizes = (*SIZES[:-1], *(SIZES[-1:] if key in FULL else ())) if threads == 1 else ()
    elif key in FULL:
        sizes = (*SIZES, 100_000)
    else:
        sizes = SIZES if threads == 1 else SIZES[-1:]
    return [size for size in sizes if size <= arguments.most]


def of_subject(key: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """All rows of one model."""
    subject = tree_models.subject(key)
    found: list[dict[str, Any]] = []
    before: dict[str, Peer] = {}
    slow: set[str] = set()
    for threads in (1, 2) if arguments.clock == "wall" else (1,):
        sizes = cells(key, threads, arguments)
        if not sizes:
            continue
        scorers = ours(subject, threads) | theirs(subject, threads)
        wrong = compare(scorers, subject.data.rows(1_000))
        for name in wrong:
            del scorers[name]
            print(f"{subject.name}: {name} is left out, for its scores differ")
        scorers |= before
        before = {"one thread": next(iter(scorers.values()))}
        for count in sizes:
            many = count >= 10_000
            taking = {name: peer for name, peer in scorers.items() if not (many and name in slow)}
            how = {"budget": 0.2 if arguments.quick else 4 if many else 1, "rest": 0.05 if threads > 1 else 0}
            got = timed(taking, subject.data.rows(max(20_000, 2 * count)), count, clock=arguments.clock, **how)
            fastest = min(time for name, time in got.items() if name not in {*OURS, *before})
            slow |= {name for name, time in got.items() if time > SLOW * fastest} - {subject.library, "onnxruntime"}
            found.append(row_of(subject, threads, count, got) | {f"× {name}": "differs" for name in wrong})
    print(f"{subject.name}: measured", flush=True)
    return found


def has_avx512() -> bool:
    """Whether kernels use AVX-512."""
    return "AVX-512" in glowplug.load(tree_models.subject("cancer").path).explain()["kernel"]


def main() -> None:
    """Measure every model, and some again without AVX-512."""
    arguments = harness.options(__doc__, most=100_000, clock="wall")
    narrow = os.environ.get("GLOWPLUG_INSTRUCTIONS") == "avx2"
    assert not (narrow and has_avx512()), "kernels are not held to AVX2"
    keys = arguments.models or list(NARROW if narrow else tree_models.SHAPES)
    keep = arguments.clock == "wall"
    by_library: dict[str, list[dict[str, Any]]] = {}
    for key in keys:
        by_library.setdefault(tree_models.SHAPES[key].library, []).extend(of_subject(key, arguments))
    if narrow:
        rows = [row for found in by_library.values() for row in found]
        harness.record("trees avx2", "Trees with AVX2 instead of AVX-512", __doc__ or "", rows, keep=keep)
        return
    for library, rows in by_library.items():
        harness.record(MEASURES[library], f"Trees of {library}", __doc__ or "", rows, keep=keep)
    again = [key for key in keys if key in NARROW]
    if again and has_avx512():
        flags = ["--models", *again, "--most", str(arguments.most), "--clock", arguments.clock]
        command = [sys.executable, __file__, *flags, *(["--quick"] if arguments.quick else [])]
        subprocess.run(command, env={**os.environ, "GLOWPLUG_INSTRUCTIONS": "avx2"}, check=True)


if __name__ == "__main__":
    main()
