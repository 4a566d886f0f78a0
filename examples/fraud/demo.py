"""Score credit applicants with the model beside this file, check every answer, and show what it costs.

    python demo.py

Needs glowplug and numpy alone. Texts and numbers go into the model as they stand in the data.
"""

from __future__ import annotations

import time

SCRIPT_BEGAN = time.perf_counter()  # before the other imports, which are part of a cold start

from pathlib import Path

import glowplug as gp

HERE = Path(__file__).resolve().parent
# The first row of `sample.csv`, written out so that the first score waits for no file but the model's.
FIRST_APPLICANT: dict[str, str | float] = {
    "status_of_existing_checking_account": "no checking account",
    "duration_in_month": 30.0,
    "credit_history": "existing credits paid back duly till now",
    "purpose": "radio/television",
    "credit_amount": 2333.0,
    "savings_account_and_bonds": "500 <= ... < 1000 DM",
    "present_employment_since": "... >= 7 years",
    "installment_rate_in_percentage_of_disposable_income": 4.0,
    "other_debtors_or_guarantors": "none",
    "present_residence_since": 2.0,
    "property": "car or other, not in attribute Savings account/bonds",
    "age_in_years": 30.0,
    "other_installment_plans": "bank",
    "housing": "own",
    "number_of_existing_credits_at_this_bank": 1.0,
    "job": "management/ self-employed/ highly qualified employee/ officer",
    "number_of_people_being_liable_to_provide_maintenance_for": 1.0,
    "telephone": "none",
    "foreign_worker": "yes",
}

model = gp.load(HERE / "model.onnx")
first_score = float(model.predict_proba(FIRST_APPLICANT)[0, 1])
first_score_at = time.perf_counter()
cold_cpu = time.process_time()

# Everything below runs after the first score and costs the cold start nothing.
import csv
import json
import os
import sys

import numpy as np

TOLERANCE = 1e-4
ROUNDS = 3
BATCH_COPIES = 10


def cold_wall() -> tuple[float, str]:
    """Seconds until the first score, and from which moment they count."""
    since_script = first_score_at - SCRIPT_BEGAN
    try:
        # The name may hold spaces, so fields count from its closing bracket: 22 is the start time.
        ticks = int(Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return since_script, "script's first line"
    since_start = age - (time.perf_counter() - first_score_at)
    # Some sandboxes count these clocks from different moments; an impossible difference gives it away.
    if not since_script <= since_start < since_script + 60:
        return since_script, "script's first line"
    return since_start, "process start, known to 10 ms"


def in_words(row: dict[str, str]) -> str:
    """One applicant as a person would tell it."""
    return (
        f"{row['age_in_years']} years old, {row['job']}\n"
        f"    wants {row['credit_amount']} DM over {row['duration_in_month']} months: {row['purpose']}\n"
        f"    checking account: {row['status_of_existing_checking_account']}\n"
        f"    savings: {row['savings_account_and_bonds']}\n"
        f"    history: {row['credit_history']}"
    )


def check(what: str, scores: np.typing.NDArray[np.floating], expected: np.typing.NDArray[np.float64]) -> float:
    """Stop the demo unless each score is LightGBM's own."""
    if scores.shape != expected.shape:
        sys.exit(f"{what}: got {len(scores)} scores for {len(expected)} rows")
    difference = np.nan_to_num(np.abs(scores - expected), nan=np.inf)
    worst = int(np.argmax(difference))
    if difference[worst] > TOLERANCE:
        sys.exit(f"{what}: row {worst} got {scores[worst]:.6f}, LightGBM says {expected[worst]:.6f}")
    return float(difference[worst])


def main() -> None:
    """Check single rows and the batch, time both, report."""
    wall, since = cold_wall()
    with (HERE / "sample.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    answers = json.loads((HERE / "expected.json").read_text(encoding="utf-8"))
    expected = np.array(answers["probability_of_bad_credit"])
    texts = {spec.name for spec in model.inputs if spec.dtype == "string"}
    names = [spec.name for spec in model.inputs]
    applicants = [{name: row[name] if name in texts else float(row[name]) for name in names} for row in rows]

    differences = [check("first score", np.array([first_score]), expected[:1])]
    single = np.empty(len(rows))
    single_ms = []
    for _ in range(ROUNDS):
        for index, applicant in enumerate(applicants):
            began = time.perf_counter_ns()
            probabilities = model.predict_proba(applicant)
            single_ms.append((time.perf_counter_ns() - began) / 1e6)
            single[index] = probabilities[0, 1]
        differences.append(check("single rows", single, expected))

    kinds = {name: object if name in texts else np.float32 for name in names}
    columns = {name: np.array([one[name] for one in applicants], kinds[name]) for name in names}
    batch = {name: np.tile(column, BATCH_COPIES) for name, column in columns.items()}
    batch_seconds = []
    for _ in range(10 * ROUNDS):
        began = time.perf_counter_ns()
        probabilities = model.predict_proba(batch)
        batch_seconds.append((time.perf_counter_ns() - began) / 1e9)
        differences.append(check("batch", probabilities[:, 1], np.tile(expected, BATCH_COPIES)))
    batch_rows = len(rows) * BATCH_COPIES

    print(f"model      {len(names)} inputs ({len(texts)} texts, {len(names) - len(texts)} numbers)")
    print(f"engine     {model.explain()['engine']}")
    by_risk = np.argsort(single)
    examples = {"safest": by_risk[0], "middle": by_risk[len(rows) // 2], "riskiest": by_risk[-1]}
    for label, index in examples.items():
        print(f"\n{label}: {in_words(rows[index])}")
        print(f"    risk of bad credit: {single[index]:.1%} (turned out {rows[index]['creditability']})")
    print(f"\nanswers    {len(rows)} single rows and a batch of {batch_rows:,} agree with {answers['by']}")
    print(f"           largest difference {max(differences):.1e}, allowed {TOLERANCE:.0e}")
    print(f"cold start {wall * 1000:.0f} ms to the first score (from {since}), {cold_cpu * 1000:.0f} ms CPU")
    p50, p99 = np.percentile(single_ms, [50, 99])
    print(f"single row p50 {p50:.3f} ms, p99 {p99:.3f} ms ({len(single_ms)} calls)")
    print(f"batch      {batch_rows / np.median(batch_seconds):,.0f} rows/s ({batch_rows:,} rows a call)")


if __name__ == "__main__":
    main()
