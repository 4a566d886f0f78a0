"""Writes docs/benchmarks.md from the results that the benchmarks left in the target folder.

python benches/report.py
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

import harness

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
TREES = ("trees", "trees of XGBoost", "trees of scikit-learn")
ORDER = (
    "cold", "single", "load", "throughput", "quota", "bodies", "memory", *TREES, "trees avx2", "trees cold", "contributions",
    "serving", "lambda", "handler", "handler records",
)  # fmt: skip
INTRODUCTION = """# Benchmarks

Everybody is measured in the same run, in turn; outputs are compared before anything is timed. Ratios above 1 are in
glowplug's favour where a column begins with ×, below 1 where it is a part of onnxruntime's. Rows that a peer wins are bold.
Absolute figures belong to the machine, the ratios travel better. `make bench` repeats all of it, `make bench QUICK=1` in a few
minutes; the last column repeats one row, in the folder `benches`.
"""


def goals(measures: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What the project wants to reach, what was measured, and whether it is reached."""

    def rows(measure: str) -> list[dict[str, Any]]:
        return measures.get(measure, {}).get("rows", [])

    def goal(text: str, values: list[float], good: bool, worst: float) -> tuple[str, str, str]:
        return text, f"{worst:.2f}" if values else "not measured", "yes" if values and good else "no" if values else ""

    def at_most(text: str, values: list[float], limit: float) -> tuple[str, str, str]:
        worst = max(values, default=0)
        return goal(text, values, worst <= limit, worst)

    def at_least(text: str, values: list[float], limit: float) -> tuple[str, str, str]:
        worst = min(values, default=0)
        return goal(text, values, worst >= limit, worst)

    cold, single, many, quota = rows("cold"), rows("single"), rows("throughput"), rows("quota")
    small = "30-64-64-1 MLP"
    # The same program beside every model.
    imports = [row["import, CPU ms"] - row["bare, CPU ms"] for row in cold]
    mlp = [row for row in single if row["model"] == small]
    trees = [row for row in quota if row["model"] in {"LightGBM 500×31", "random forest 100×12"} and row["rows"] == 100]
    functions = rows("lambda")
    cold_trees = [row for row in rows("trees cold") if row["program"] == "glowplug" and "LightGBM" in row["model"]]
    used = "CPU beyond bare, ms"
    shared = [row for row in many if row["threads"] == 2 and row["rows"] == 10_000]
    # What two threads reach that need nothing but registers, in the same rounds: the most that could be measured.
    most = [row["a loop"] for row in shared if row.get("a loop")]
    ceiling = f", of {median(most):.2f} that two loops in registers reached in these rounds" if most else ""

    def of_trees(count: int, ratio: str, *parts: str) -> list[float]:
        found = [row for part in parts or TREES for row in rows(part) if row["rows"] == count and row["threads"] == 1]
        return [row[ratio] for row in found if row.get(ratio)]

    return [
        at_most("cold start CPU beyond the bare interpreter, small model: ≤ 0.2 of onnxruntime's",
                [row["CPU beyond"] for row in cold if row["model"] == small], 0.2),
        at_most("import of glowplug: ≤ 8 ms CPU beyond the bare interpreter",
                [median(imports)] if imports else [], 8),
        at_most("peak memory of a process that scores once: ≤ 0.65 of onnxruntime's, every model",
                [row["peak"] for row in cold], 0.65),
        at_least("one row of the MLP: ≥ 2 × onnxruntime", [row["p50 ratio"] for row in mlp], 2),
        at_most("one row of the MLP: ≤ 1.5 µs around the engine", [row["around the engine µs"] for row in mlp], 1.5),
        at_least("JSON body to JSON answer, small model: ≥ 3 × json + NumPy + onnxruntime",
                 [row["× json"] for row in rows("bodies") if row["model"] == small], 3),
        at_least("one row over HTTP, CPU of the server: ≥ 2 × Starlette with json, NumPy and onnxruntime in threads",
                 [row["CPU × threads"] for row in rows("serving")], 2),
        at_least("the same on Starlette's event loop: ≥ 1 ×", [row["CPU × loop"] for row in rows("serving")], 1),
        at_most("a warm function of AWS Lambda over predict_json: ≤ 60 µs", [row["adds, µs"] for row in rows("handler")], 60),
        at_most("a function of AWS Lambda at 512 MB, initialisation and first request, CPU: ≤ 1.6 of an empty one's",
                [row["CPU over empty"] for row in functions], 1.6),
        at_most("the same: ≤ 1/3 of one on onnxruntime", [row["CPU"] for row in functions], 1 / 3),
        at_most("its peak memory: ≤ 1/2 of one on onnxruntime", [row["peak"] for row in functions], 0.5),
        at_least(f"2 threads over 1 at 10,000 rows: ≥ 1.8{ceiling}", [row["× 1 thread"] for row in shared], 1.8),
        at_least("rows per second, same threads: ≥ 1 × onnxruntime in every row",
                 [row["× onnxruntime"] for row in many], 1),
        at_least("p99 under quotas: ≥ 1 × onnxruntime with one thread", [row["p99 × 1 thread"] for row in quota], 1),
        at_least("p99 of 100 rows of trees under quotas: ≥ 5 × onnxruntime's default",
                 [row["p99 × default"] for row in trees], 5),
        at_least("trees, 10,000 rows: ≥ 20 × onnxruntime", of_trees(10_000, "× onnxruntime"), 20),
        at_least("trees, 10,000 rows: ≥ 8 × the best peer", of_trees(10_000, "× best peer"), 8),
        at_least("trees, 10,000 rows, AVX2: ≥ 12 × onnxruntime", of_trees(10_000, "× onnxruntime", "trees avx2"), 12),
        at_least("trees, 10,000 rows, AVX2: ≥ 5 × the best peer", of_trees(10_000, "× best peer", "trees avx2"), 5),
        at_least("trees, one row: ≥ 5 × onnxruntime", of_trees(1, "× onnxruntime"), 5),
        at_least("trees, 10 rows: ≥ 3 × the best peer", of_trees(10, "× best peer"), 3),
        at_most("LightGBM 500×31 leaves, cold process: ≤ 12 ms CPU beyond the bare interpreter",
                [row[used] for row in cold_trees if "500×31 leaves" in row["model"]], 12),
        at_most("LightGBM 500×255 leaves, cold process: ≤ 40 ms CPU beyond the bare interpreter",
                [row[used] for row in cold_trees if "500×255 leaves" in row["model"]], 40),
        at_most("LightGBM, cold process: ≤ 8 MB beyond the bare interpreter",
                [row["peak beyond bare, MB"] for row in cold_trees], 8),
    ]  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Rows in Markdown, bold where a peer wins."""
    heads = harness.columns(rows)
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in rows:
        cells = [cell(head, row.get(head)) for head in heads]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(head: str, value: object) -> str:
    """One figure, bold if a peer wins."""
    text = f"`{value}`" if head == "repeat" else harness.shown(value)
    loses = isinstance(value, float) and ("×" in head or "ratio" in head) and value < 0.995
    return f"**{text}**" if loses else text


def won_by_peers(measures: dict[str, Any]) -> str:
    """The rows of trees in which somebody else was faster."""
    lines = ["| measure | model | threads | rows | peer | × |\n|---|---|---|---|---|---|"]
    for name in (*TREES, "trees avx2"):
        for row in measures.get(name, {}).get("rows", []):
            if row["× best peer"] < 0.995:
                cells = [measures[name]["title"], row["model"], row["threads"], row["rows"], row["best peer"]]
                lines.append("| " + " | ".join(map(harness.shown, [*cells, row["× best peer"]])) + " |")
    return "\n".join(lines) if len(lines) > 1 else "Nobody."


def main() -> None:
    """Write the page."""
    results = json.loads(harness.RESULTS.read_text())
    measures = results["measures"]
    parts = [INTRODUCTION, "| what | |\n|---|---|"]
    parts[-1] += "".join(f"\n| {name} | {value} |" for name, value in results["machine"].items())
    parts.append("## Goals\n\nThe worst row counts.\n\n| goal | measured | reached |\n|---|---|---|")
    parts[-1] += "".join(f"\n| {' | '.join(line)} |" for line in goals(measures))
    if any(name in measures for name in TREES):
        parts.append(f"## Who is faster with trees\n\n{won_by_peers(measures)}")
    for name in ORDER:
        if name in measures:
            measure = measures[name]
            note = "\n".join(line for line in measure["note"].splitlines()[1:] if not line.startswith("    "))
            parts.append(f"## {measure['title']}\n\n{note.strip()}\n\n{table(measure['rows'])}")
    PAGE.write_text("\n\n".join(part.strip() for part in parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
