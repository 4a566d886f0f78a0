"""Runs one case of the corpus in a process of its own: `corpus_child.py NAME FOLDER [onnxruntime]`.

The parent has pickled the case into `FOLDER/NAME.case`, so that this process builds nothing and imports no
onnx. Limits on memory and CPU time turn a model that asks for everything into a quick death, which the parent
sees as a signal. One JSON line on stdout tells the rest:
`{"outcome": "error", "class", "mro", "message"}` or `{"outcome": "answer", "answer": {output: …}}`, and the bytes
`grown` of memory that it took at most.
"""

from __future__ import annotations

import functools
import json
import pickle
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MEMORY_LIMIT = 4 << 30
CPU_SECONDS = 10
# What `predict` gives has no name; both engines use this one.
FIRST_OUTPUT = "first output"


def main(name: str, folder: str, engine: str = "glowplug") -> None:
    """Runs the case with `engine` and prints what came of it."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    case = pickle.loads((Path(folder) / f"{name}.case").read_bytes())
    run = {"glowplug": run_glowplug, "onnxruntime": run_onnxruntime}[engine]
    if engine == "glowplug":
        # Not a part of what the model takes.
        import glowplug  # noqa: F401
    before = forget_peak()
    try:
        # Inputs that cannot be written to a file, such as a view of 2**40 rows, come as a call to make here.
        inputs = case["inputs"]() if isinstance(case["inputs"], functools.partial) else case["inputs"]
        answer = run(case["source"], inputs, case["outputs"], case["options"])
        report = {"outcome": "answer", "answer": {key: plain(value) for key, value in answer.items()}}
    except BaseException as error:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        report = {"outcome": "error", "class": kinds[0], "mro": kinds, "message": str(error)}
    report["grown"] = memory("VmHWM") - before
    sys.stdout.buffer.write(b"\n" + json.dumps(report).encode() + b"\n")


def memory(name: str) -> int:
    """A number of bytes of this process; `ru_maxrss` would have the parent's as well."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith(name)), 0)


def forget_peak() -> int:
    """What the process takes now, from which on the most that it takes is counted."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")
    return memory("VmRSS")


def run_glowplug(source: Any, inputs: Any, outputs: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Loads and runs as a user would: `predict` for a bare array, `run` for inputs or outputs with names."""
    import glowplug

    model = glowplug.load(source, **options)
    if outputs is None and not isinstance(inputs, Mapping):
        return {FIRST_OUTPUT: model.predict(inputs)}
    return dict(model.run(inputs, outputs))


def run_onnxruntime(source: Any, inputs: Any, outputs: Any, options: dict[str, Any]) -> dict[str, Any]:
    """The same with ONNX Runtime's own package; it knows none of our `options`."""
    import onnxruntime

    del options
    onnxruntime.set_default_logger_severity(4)
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    names = outputs or [output.name for output in session.get_outputs()]
    if isinstance(inputs, Mapping):
        return dict(zip(names, session.run(outputs, inputs), strict=True))
    bare = {session.get_inputs()[0].name: inputs}
    return {FIRST_OUTPUT: session.run(names[:1], bare)[0]}


def plain(value: Any) -> Any:
    """An output as JSON can hold it: arrays by dtype, shape and values."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        # ONNX Runtime's package gives strings as objects, which need not be our way.
        dtype = "string" if value.dtype.kind in "OUT" else str(value.dtype)
        return {"dtype": dtype, "shape": list(value.shape), "values": value.tolist()}
    return value


if __name__ == "__main__":
    main(*sys.argv[1:])
