"""What fuzzing starts from is made for the target that is fuzzed, and for no other."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

SEEDS = Path(__file__).parents[1] / "fuzz/seeds.py"


@pytest.mark.parametrize(
    ("targets", "expected"),
    [(["body"], []), (["trees"], ["trees"]), (["graphs"], ["graphs"]), ([], ["graphs", "trees"])],
)
def test_seeds_are_those_of_the_targets(
    targets: list[str], expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    spec = importlib.util.spec_from_file_location("seeds", SEEDS)
    assert spec is not None
    assert spec.loader is not None
    seeds = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(seeds)
    monkeypatch.setattr(seeds, "FUZZ", tmp_path)
    monkeypatch.setattr(seeds, "COUNT", 4)
    monkeypatch.setattr(sys, "argv", ["seeds.py", *targets])
    seeds.main()
    folders = sorted(tmp_path.glob("corpus/*"))
    assert [folder.name for folder in folders] == expected
    assert all(any(folder.iterdir()) for folder in folders)
