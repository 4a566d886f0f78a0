"""Writes what fuzzing starts from: `.venv/bin/python fuzz/seeds.py [TARGET…]` fills `fuzz/corpus/`, from tests' models."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

FUZZ = Path(__file__).parent
sys.path.insert(0, str(FUZZ.parent / "tests"))

import numpy as np

import models
import test_catboost
import test_convert
import test_native
import test_networks
import test_pipelines
import test_random_graphs
import test_trees
import test_xgboost
from glowplug.convert import from_sklearn

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Longer ones are mutated too slowly to find much.
LONGEST = 40_000
COUNT = 40


def graphs() -> Iterator[bytes]:
    """Models that glowplug's own engines take, and some that they do not."""
    for seed in range(COUNT):
        random = np.random.default_rng(seed)
        grower = test_random_graphs.Grower(random)
        for _ in range(1 + seed // 3):
            grower.grow()
        yield grower.model()
        yield test_networks.Network(seed).build()
    for make in (test_native.classifier, test_native.regressor, test_native.of_version_5, test_native.pipeline):
        for seed in range(COUNT // 4):
            yield make(np.random.default_rng(seed))
    for name, opsets in zip(test_pipelines.FRAMES, test_pipelines.OPSETS * COUNT, strict=False):
        yield test_pipelines.of_frame(name, *opsets)[0]
    yield from (models.mlp(2, 3), models.zipmap_classifier(), models.tensor_classifier(), models.multi_dtype())
    yield from (models.counting_loop(), models.optional_output(present=True), models.sequence_output())


def trees() -> Iterator[bytes]:
    """Files of tree libraries behind a byte that says which reader they are for."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        for seed in range(COUNT):
            booster = test_trees.train(seed)
            yield b"\0" + booster.model_to_string().encode()
            yield b"\1" + json.dumps(booster.dump_model()).encode()
            booster = test_xgboost.train(seed)
            for form in ("json", "ubj"):
                booster.save_model(path.with_suffix(f".{form}"))
                yield b"\2" + path.with_suffix(f".{form}").read_bytes()
            test_catboost.fitted(seed, 3).save_model(str(path), format="json")
            yield b"\3" + path.read_bytes()
            yield b"\4" + from_sklearn(test_convert.fitted(seed)[0]).content


MAKERS = {make.__name__: make for make in (graphs, trees)}


def main() -> None:
    """Write them, those of one kind into one folder: of the fuzz targets that are named, or of all; `body` has none."""
    for make in (MAKERS[target] for target in sys.argv[1:] or MAKERS if target in MAKERS):
        folder = FUZZ / "corpus" / make.__name__
        folder.mkdir(parents=True, exist_ok=True)
        seeds = [seed for seed in make() if len(seed) <= LONGEST]
        for number, seed in enumerate(seeds):
            (folder / f"seed-{number}").write_bytes(seed)
        print(f"{len(seeds)} seeds in {folder}")


if __name__ == "__main__":
    main()
