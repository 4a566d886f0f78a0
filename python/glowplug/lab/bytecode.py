"""Modules without byte code that fits: a function's folder is read-only, so they are compiled at every cold start."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Compiled:
    """What is compiled in initialisation and first event, and the CPU seconds that it takes on this machine."""

    modules: tuple[str, ...]
    seconds: float


def compiled(seen: Mapping[str, Any]) -> Compiled:
    """Find and time them.

    Args:
        seen: What `trace.py` wrote.
    """
    names, seconds = [], 0.0
    for node in seen["nodes"]:
        cached, file = node.get("cached"), node["file"]
        if not cached or not file.endswith(".py") or _holds(Path(cached), Path(file)):
            continue
        names.append(node["name"])
        try:
            source = Path(file).read_bytes()
            began = time.thread_time()
            compile(source, file, "exec", dont_inherit=True)
            seconds += time.thread_time() - began
        except (OSError, SyntaxError, ValueError):
            # It has changed since, or is of a newer Python than this one.
            continue
    return Compiled(tuple(names), seconds)


def _holds(cached: Path, source: Path) -> bool:
    """Whether the interpreter would take the byte code."""
    try:
        with cached.open("rb") as file:
            head = file.read(16)
        found = source.stat()
    except OSError:
        return False
    # Other flags are those of hashes, which say that time stamps do not matter.
    stamp = (int(found.st_mtime) & 0xFFFFFFFF).to_bytes(4, "little") + (found.st_size & 0xFFFFFFFF).to_bytes(
        4, "little"
    )
    return head[4:8] != bytes(4) or head[8:16] == stamp
