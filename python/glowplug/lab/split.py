"""Who spent the time of a start: from what `trace.py` saw of one start to the parts of the others.

The start that is looked into runs without a limit of CPU, since a function that has used up its share is stopped for
milliseconds wherever it happens to be. Its parts are then stretched to the times of the starts under limits: CPU time by
the same factor everywhere, waiting not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: What the initialisation of a function is made of beyond the interpreter and the runtime client, in the usual order.
#: `imports` is the standard library, `library` packages of others, `model` the function's own code outside of functions
#: and glowplug's loading, and `score` its code in the handler.
PARTS = ("imports", "library", "model", "score")


@dataclass(frozen=True)
class Spent:
    """Seconds on the wall clock and of CPU time."""

    wall: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        """Both."""
        return Spent(self.wall + other.wall, self.cpu + other.cpu)


def parts(seen: Mapping[str, Any], phase: str, own: Path, vendored: Iterable[str]) -> dict[str, Spent]:
    """Time by part.

    Args:
        seen: What `trace.py` wrote.
        phase: `"init"` or `"first"`.
        own: The function's folder.
        vendored: Names of modules in that folder which are packages of others.
    """
    found = dict.fromkeys(PARTS, Spent())
    others = frozenset(vendored)
    for node in seen["nodes"]:
        if node["phase"] == phase:
            part = _part(node, seen["stdlib"], own, others)
            found[part] += Spent(node["wall"], node["cpu"])
    return found


def packages(seen: Mapping[str, Any], own: Path, vendored: Iterable[str]) -> dict[str, Spent]:
    """Time of importing by top-level package, in both phases, the longest first; own code and standard library are not here."""
    found: dict[str, Spent] = {}
    others = frozenset(vendored)
    for node in seen["nodes"]:
        if _part(node, seen["stdlib"], own, others) == "library":
            top = node["name"].partition(".")[0]
            found[top] = found.get(top, Spent()) + Spent(node["wall"], node["cpu"])
    return dict(sorted(found.items(), key=lambda item: -item[1].wall))


def stretch(found: Mapping[str, Spent], whole: Spent) -> dict[str, Spent]:
    """Parts of one start as those of another one that took `whole`."""
    wall, cpu = (sum(getattr(spent, name) for spent in found.values()) for name in ("wall", "cpu"))
    waits = {name: max(0.0, spent.wall - spent.cpu) for name, spent in found.items()}
    waited = sum(waits.values())
    cpu_factor = whole.cpu / cpu if cpu > 0 else 0.0
    if cpu > 0 and whole.wall > waited:
        factor = (whole.wall - waited) / cpu
        return {name: Spent(waits[name] + spent.cpu * factor, spent.cpu * cpu_factor) for name, spent in found.items()}
    # Waits, for a busy machine perhaps, that the other start did not have.
    factor = whole.wall / wall if wall > 0 else 0.0
    return {name: Spent(spent.wall * factor, spent.cpu * cpu_factor) for name, spent in found.items()}


def _part(node: Mapping[str, Any], stdlib: str, own: Path, vendored: frozenset[str]) -> str:
    kind, name, file = node["kind"], node["name"], node["file"]
    if kind != "import":
        return "model" if kind == "load" or name == "init" else "score"
    # What the client imports late is its own.
    if file is None or file in {"built-in", "frozen"} or name.startswith("awslambdaric"):
        return "imports"
    path = Path(file)
    if "site-packages" not in path.parts and "dist-packages" not in path.parts:
        if path.is_relative_to(own):
            return "library" if name.partition(".")[0] in vendored else "model"
        if path.is_relative_to(stdlib):
            return "imports"
    return "library"
