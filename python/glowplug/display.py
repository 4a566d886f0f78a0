"""Models in words: for the console, for notebooks."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from glowplug._core import TensorSpec
    from glowplug.model import Model


class Explanation(dict[str, Any]):
    """Facts with their reasons: how a model runs, what a process may use. A dict that prints as a table."""

    def __str__(self) -> str:
        width = max((len(key) for key in self), default=0)
        return "\n".join(f"{key:<{width}}  {_short(value)}" for key, value in self.items())

    def _repr_html_(self) -> str:
        return _table((key, _short(value)) for key, value in self.items())


def model_text(model: Model) -> str:
    """One line: file, inputs, outputs."""
    name = model._handle.name  # noqa: SLF001 - the handle is private to the package
    if model.closed:
        return f"<glowplug.Model {name}, closed>"
    return f"<glowplug.Model {name}: {_ports(model.inputs)} -> {_ports(model.outputs)}>"


def model_html(model: Model) -> str:
    """Inputs, outputs and counters as HTML tables."""
    name = html.escape(model._handle.name)  # noqa: SLF001 - the handle is private to the package
    if model.closed:
        return f"<b>glowplug.Model</b> {name} <i>closed</i>"
    ports = [("input", port) for port in model.inputs] + [("output", port) for port in model.outputs]
    rows = ((f"{noun} {port.name}", f"{port.dtype} {_shape(port)}") for noun, port in ports)
    facts, stats = model.explain(), model.stats()
    summary = (
        ("engine", f"{facts['engine']} {facts['engine_version']}, {facts['threads']} thread(s)"),
        ("size", f"{facts['bytes']:,} bytes"),
        (
            "calls",
            f"{stats['calls']:,} ({stats['rows']:,} rows), p50 {stats['p50_us']:.0f} µs, p99 {stats['p99_us']:.0f} µs",
        ),
    )
    return f"<b>glowplug.Model</b> {name}{_table((*rows, *summary))}"


def _ports(ports: tuple[TensorSpec, ...]) -> str:
    shown = [f"{port.name} {port.dtype}{_shape(port)}" for port in ports[:4]]
    if len(ports) > len(shown):
        shown.append(f"… {len(ports) - len(shown)} more")
    return ", ".join(shown)


def _shape(port: TensorSpec) -> str:
    return "[" + ", ".join("?" if size is None else str(size) for size in port.shape) + "]"


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(item)}" for key, item in value.items() if item is not None)
    if isinstance(value, list):
        return "; ".join(_short(item) for item in value)
    return str(value)


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = (
        f"<tr><th style='text-align:left'>{html.escape(key)}</th><td>{html.escape(value)}</td></tr>"
        for key, value in rows
    )
    return f"<table>{''.join(cells)}</table>"
