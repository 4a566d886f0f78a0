"""Compilers of tree models to machine code: what they made is kept beside the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import harness
from tree_models import Array, Subject

Predict = Callable[[Array], Any]


def by_tl2cgen(model: Any, subject: Subject, threads: int) -> dict[str, Predict]:
    """By tl2cgen and the C compiler, with thresholds as they are and with their ranks (`quantize`)."""
    import tl2cgen

    def scorer(quantize: int) -> Predict:
        path = subject.path.with_suffix(f".quantize{quantize}.so")
        if not path.exists():
            options = {"quantize": quantize, "parallel_comp": 8}
            tl2cgen.export_lib(model, toolchain="gcc", libpath=path, params=options, nthread=2, options=["-O2"])
        predictor = tl2cgen.Predictor(path, nthread=threads)
        return lambda rows: predictor.predict(tl2cgen.DMatrix(rows))

    with harness.quiet():
        return {"tl2cgen": scorer(0), "tl2cgen quantized": scorer(1)}


def by_lleaves(subject: Subject, threads: int) -> dict[str, Predict]:
    """By lleaves at its defaults, and in float32 with its usual blocks of trees and with all trees in one block."""
    import lleaves

    def scorer(name: str, **options: Any) -> Predict:
        model = lleaves.Model(str(subject.path))
        if options.get("fblocksize") == 0:
            options["fblocksize"] = model.num_trees()
        model.compile(cache=str(subject.path.with_suffix(f".{name}.elf")), **options)
        return lambda rows: model.predict(rows, n_jobs=threads)

    small: dict[str, Any] = {"use_fp64": False, "fcodemodel": "small", "finline": False}
    return {
        "lleaves": scorer("lleaves"),
        "lleaves float32": scorer("lleaves32", **small),
        "lleaves float32, one block": scorer("lleaves32-1", **small, fblocksize=0),
    }
