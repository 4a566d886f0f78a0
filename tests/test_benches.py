"""The benchmarks run, agree with their peers, and leave results that make a page; what they measure is not looked at."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
#: Part → the arguments that make it short. They need no peer that is not installed for the tests.
PARTS = {
    "single": ["--models", "mlp"],
    "throughput": ["--models", "mlp", "recommender", "--most", "10"],
    "bodies": ["--models", "mlp"],
    "cold": ["--models", "mlp"],
    "memory": ["--models", "mlp"],
    "trees": ["--models", "cancer", "diabetes-xgb", "wine", "--most", "10"],
    "trees_cold": ["--models", "cancer"],
    "contributions": ["--models", "cancer", "diabetes-xgb", "--most", "100"],
    "serving": ["--models", "mlp"],
    "lambda": ["--models", "mlp"],
    "handler": ["--models", "mlp"],
}


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, so that results in the target folder stay as they are."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "benches", root / "benches", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "docs").mkdir()
    return root / "benches"


def run(benches: Path, part: str, *arguments: str) -> str:
    command = [sys.executable, f"{part}.py", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(benches)}
    ran = subprocess.run(
        command, cwd=benches, env=environment, capture_output=True, text=True, check=False, timeout=110
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="reads the files of Linux")
@pytest.mark.parametrize("part", PARTS)
def test_part_runs(part: str, benches: Path) -> None:
    printed = run(benches, part, *PARTS[part], "--quick")
    assert ("30-64-64-1 MLP" if "mlp" in PARTS[part] else "LightGBM 100") in printed
    assert f"{part}.py" in printed


@pytest.mark.skipif(sys.platform != "linux", reason="reads the files of Linux")
def test_report_is_written(benches: Path) -> None:
    if not (benches.parent / "target" / "bench" / "results.json").exists():
        run(benches, "bodies", *PARTS["bodies"], "--quick")
    results = json.loads((benches.parent / "target" / "bench" / "results.json").read_text("utf-8"))
    run(benches, "report")
    page = (benches.parent / "docs" / "benchmarks.md").read_text("utf-8")
    for measure in results["measures"].values():
        assert f"## {measure['title']}" in page
    assert "## Goals" in page
    assert results["machine"]["onnxruntime"] in page
