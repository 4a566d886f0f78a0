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
ORDER = ("cold", "single", "load", "throughput", "quota", "bodies", "memory", "trees", "trees cold")
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
    cold_trees, used = rows("trees cold"), "CPU beyond bare, ms"

    def of_trees(count: int, ratio: str) -> list[float]:
        return [row[ratio] for row in rows("trees") if row["rows"] == count]

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
        at_least("2 threads over 1 at 10,000 rows: ≥ 1.8",
                 [row["× 1 thread"] for row in many if row["threads"] == 2 and row["rows"] == 10_000], 1.8),
        at_least("rows per second, same threads: ≥ 1 × onnxruntime in every row",
                 [row["× onnxruntime"] for row in many], 1),
        at_least("p99 under quotas: ≥ 1 × onnxruntime with one thread", [row["p99 × 1 thread"] for row in quota], 1),
        at_least("p99 of 100 rows of trees under quotas: ≥ 5 × onnxruntime's default",
                 [row["p99 × default"] for row in trees], 5),
        at_least("trees, 10,000 rows: ≥ 20 × onnxruntime", of_trees(10_000, "× onnxruntime"), 20),
        at_least("trees, 10,000 rows: ≥ 8 × the library", of_trees(10_000, "× library"), 8),
        at_least("trees, one row: ≥ 5 × onnxruntime", of_trees(1, "× onnxruntime"), 5),
        at_least("trees, 10 rows: ≥ 3 × the library", of_trees(10, "× library"), 3),
        at_most("LightGBM 500×31 leaves, cold process: ≤ 12 ms CPU beyond the bare interpreter",
                [row[used] for row in cold_trees if row["model"].endswith("500×31 leaves")], 12),
        at_most("LightGBM 500×255 leaves, cold process: ≤ 40 ms CPU beyond the bare interpreter",
                [row[used] for row in cold_trees if row["model"].endswith("500×255 leaves")], 40),
        at_most("LightGBM, cold process: ≤ 8 MB beyond the bare interpreter",
                [row["peak beyond bare, MB"] for row in cold_trees], 8),
    ]  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Rows in Markdown, bold where a peer wins."""
    heads = list(dict.fromkeys(head for row in rows for head in row))
    heads.sort(key="repeat".__eq__)
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


def main() -> None:
    """Write the page."""
    results = json.loads(harness.RESULTS.read_text())
    measures = results["measures"]
    parts = [INTRODUCTION, "| what | |\n|---|---|"]
    parts[-1] += "".join(f"\n| {name} | {value} |" for name, value in results["machine"].items())
    parts.append("## Goals\n\nThe worst row counts.\n\n| goal | measured | reached |\n|---|---|---|")
    parts[-1] += "".join(f"\n| {' | '.join(line)} |" for line in goals(measures))
    for name in ORDER:
        if name in measures:
            measure = measures[name]
            note = "\n".join(line for line in measure["note"].splitlines()[1:] if not line.startswith("    "))
            parts.append(f"## {measure['title']}\n\n{note.strip()}\n\n{table(measure['rows'])}")
    PAGE.write_text("\n\n".join(part.strip() for part in parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
