"""LightGBM's own text model in glowplug beside LightGBM on one thread: equal bits, rows per second, and a cold process.

    python benches/trees.py

Scores are compared bit for bit before anything is timed; calls alternate. The cold process scores one row from a file.
"""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np

import glowplug
import harness
from processes import compare, measure

COLUMNS = 30
#: (trees, leaves).
SHAPES = {"small": (100, 31), "usual": (500, 31), "large": (500, 255)}
OURS = """
import sys, glowplug
row = [float(value) for value in sys.argv[2].split()]
print(glowplug.load(sys.argv[1]).predict_rows([row])[0])
assert "numpy" not in sys.modules
"""
THEIRS = """
import sys, lightgbm
row = [float(value) for value in sys.argv[2].split()]
print(float(lightgbm.Booster(model_file=sys.argv[1]).predict([row], num_threads=1)[0]))
"""


def main() -> None:
    """Measure every shape of model."""
    arguments = harness.options(__doc__)
    random = np.random.default_rng(0)
    x = random.normal(size=(20_000, COLUMNS))
    y = x @ random.normal(size=COLUMNS) + random.normal(size=len(x)) > 0
    folder = harness.TARGET / "bench" / "models"
    folder.mkdir(parents=True, exist_ok=True)
    warm: list[dict[str, Any]] = []
    cold: list[dict[str, Any]] = []
    for key in arguments.models or SHAPES:
        trees, leaves = SHAPES[key]
        name, path = f"LightGBM text {trees}×{leaves}", folder / f"trees-{key}.txt"
        options = {"objective": "binary", "num_leaves": leaves, "verbose": -1}
        lightgbm.train(options, lightgbm.Dataset(x, y), trees).save_model(path)
        booster, model = lightgbm.Booster(model_file=path), glowplug.load(path, threads=1)
        for count in (1, 10, 100, 1_000, 10_000):
            # Other rows in each call: of the same few, a processor learns the way through the trees.
            blocks = [x[start : start + count] for start in range(0, len(x) - count + 1, count)]
            turn = {"glowplug": 0, "LightGBM": 0}

            def following(name: str, blocks: list[Any] = blocks, turn: dict[str, int] = turn) -> Any:
                turn[name] += 1
                return blocks[turn[name] % len(blocks)]

            calls: dict[str, harness.Call] = {
                "glowplug": lambda model=model, following=following: model.predict(following("glowplug")),
                "LightGBM": lambda booster=booster, following=following: booster.predict(
                    following("LightGBM"), num_threads=1
                ),
            }
            np.testing.assert_array_equal(model.predict(blocks[0]), booster.predict(blocks[0], num_threads=1))
            got = harness.interleaved(calls, rounds=3 if arguments.quick else 15, seconds=0.01)
            warm.append({
                "model": name, "rows": count, "µs": got["glowplug"] * 1e6,
                "× LightGBM": got["LightGBM"] / got["glowplug"], "repeat": f"trees.py --models {key}",
            })  # fmt: skip
        row = " ".join(map(repr, x[0].tolist()))
        programs = {"bare": ("print(0)",), "glowplug": (OURS, str(path), row), "LightGBM": (THEIRS, str(path), row)}
        ours, theirs = (measure(*programs[who])[0] for who in ("glowplug", "LightGBM"))
        assert ours == theirs, "scores differ"
        got_cold = compare(programs, 2 if arguments.quick else 9)
        (_, bare, bare_peak), (_, cpu, peak), (_, their_cpu, their_peak) = (got_cold[who] for who in programs)
        cold.append({
            "model": name, "CPU beyond bare, ms": cpu - bare, "CPU beyond": (cpu - bare) / (their_cpu - bare),
            "peak beyond bare, MB": peak - bare_peak, "peak": peak / their_peak, "repeat": f"trees.py --models {key}",
        })  # fmt: skip
    harness.record(
        "trees", "LightGBM's own models, one thread; ratios: LightGBM's time / glowplug's", __doc__ or "", warm
    )
    harness.record("trees cold", "LightGBM's own models, a cold process that scores one row", __doc__ or "", cold)


if __name__ == "__main__":
    main()
