"""Runs in the function's process in the start that is looked into: who spent the time of initialisation and first event.

Every module that is imported, every load of a model and every scoring is a node: its own time is what its children do not
have. It costs some microseconds a module, so the figures of the other starts are the ones that count; this one says
how they split. `child.py` executes this file; it puts `out` among the names.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time

from awslambdaric import bootstrap  # type: ignore[import-untyped]
from awslambdaric.lambda_runtime_client import LambdaRuntimeClient  # type: ignore[import-untyped]

# Not from `typing`, whose import may be the function's to pay for.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Put here by `child.py`: where to write.
out: int = globals()["out"]
#: Methods that score, of glowplug's `Model`.
SCORING = ("predict", "predict_proba", "run", "predict_rows", "predict_json")

_nodes: list[dict[str, Any]] = []
_stack: list[dict[str, Any]] = []
_thread = threading.get_ident()


try:
    _account = os.open("/proc/self/schedstat", os.O_RDONLY)
except OSError:
    _account = -1


def now() -> tuple[float, float]:
    """Wall clock, without waits for a CPU that others had, and CPU time."""
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        # 1 µs; the file stands for this process as long as it is open.
        return wall - int(os.pread(_account, 99, 0).split()[1]) / 1e9, cpu
    except (OSError, IndexError):
        return wall, cpu


class Section:
    """Time of a node, while it is on top of the stack; entered more than once, times add up."""

    def __init__(self, node: dict[str, Any]) -> None:
        """Of this node."""
        self.node = node

    def __enter__(self) -> None:
        _stack.append(self.node)
        self.wall, self.cpu = now()

    def __exit__(self, *_: object) -> None:
        wall, cpu = (after - before for after, before in zip(now(), (self.wall, self.cpu), strict=True))
        _stack.pop()
        for node, sign in ((self.node, 1), (_stack[-1] if _stack else None, -1)):
            if node is not None:
                node["wall"] += sign * wall
                node["cpu"] += sign * cpu
        self.node["total"] += wall


def node(kind: str, name: str, file: str | None = None) -> dict[str, Any]:
    """A node that has no time yet."""
    made = {"kind": kind, "name": name, "file": file, "wall": 0.0, "cpu": 0.0, "total": 0.0, "phase": _phase}
    _nodes.append(made)
    return made


def timed(kind: str, name: str, call: Any) -> Any:
    """The call, as a node of its own unless one of its kind is running."""

    def run(*arguments: Any, **options: Any) -> Any:
        if threading.get_ident() != _thread or any(one["kind"] == kind for one in _stack):
            return call(*arguments, **options)
        with Section(node(kind, name)):
            return call(*arguments, **options)

    # Not functools.wraps: that would import what the function has not.
    run.__name__, run.__doc__, run.__wrapped__ = name, call.__doc__, call  # type: ignore[attr-defined]
    return run


class Finder:
    """First on `sys.meta_path`: asks the others, and times what their loader does."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        """What another finder finds, with a loader that is timed."""
        if threading.get_ident() != _thread:
            return None
        began = now()
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec = None if finder is _finder or find is None else find(name, path, target)
            if spec is not None:
                break
        else:
            return None
        loader = spec.loader
        # Loaders of built-in and frozen modules are classes, and cost nothing.
        if isinstance(loader, type) or not hasattr(loader, "__dict__") or not hasattr(loader, "exec_module"):
            return spec
        made = node("import", name, spec.origin)
        made["cached"] = spec.cached
        wall, cpu = (after - before for after, before in zip(now(), began, strict=True))
        for one, sign in ((made, 1), (_stack[-1] if _stack else None, -1)):
            if one is not None:
                one["wall"] += sign * wall
                one["cpu"] += sign * cpu
        made["total"] += wall
        create, execute = getattr(loader, "create_module", None), loader.exec_module

        def create_module(spec: Any) -> Any:
            with Section(made):
                return create(spec) if create else None

        def exec_module(module: Any) -> Any:
            with Section(made):
                execute(module)
            if name == "glowplug.model":
                look_into(module)

        loader.create_module, loader.exec_module = create_module, exec_module
        return spec


def look_into(module: Any) -> None:
    """Make glowplug's loading and scoring nodes of their own, before anybody imports them from here."""
    module.load = timed("load", "load", module.load)
    for name in SCORING:
        if hasattr(module.Model, name):
            setattr(module.Model, name, timed("score", name, getattr(module.Model, name)))


def in_phase(phase: str, call: Any) -> Any:
    """The call as a node that begins a phase."""

    def run(*arguments: Any, **options: Any) -> Any:
        global _phase  # noqa: PLW0603 - one process, one function
        _phase = phase
        with Section(node("code", phase)):
            return call(*arguments, **options)

    return run


def finish() -> None:
    """Write what was seen, one JSON text; the descriptor is a file, so a long text does not wait for a reader."""
    modules = {
        name: getattr(module, "__file__", None) for name, module in list(sys.modules.items()) if name not in _before
    }
    seen = {
        "nodes": _nodes,
        "modules": {name: file for name, file in modules.items() if isinstance(file, str)},
        "path": sys.path,
        "stdlib": os.path.dirname(os.__file__),  # noqa: PTH120
    }
    text = b"trace " + json.dumps(seen).encode() + b"\n"
    while text:
        text = text[os.write(out, text) :]


_phase = "init"
_calls = 0
#: What the interpreter, its site packages and the client have imported.
_before = frozenset(sys.modules)
_wait = LambdaRuntimeClient.wait_next_invocation


def wait_next_invocation(self: Any) -> Any:
    """Ends the first event: all was seen."""
    global _calls  # noqa: PLW0603
    _calls += 1
    if _calls > 1 and _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
        finish()
    return _wait(self)


_finder = Finder()
sys.meta_path.insert(0, _finder)
bootstrap._get_handler = in_phase("init", bootstrap._get_handler)  # noqa: SLF001
bootstrap.handle_event_request = in_phase("first", bootstrap.handle_event_request)
LambdaRuntimeClient.wait_next_invocation = wait_next_invocation
