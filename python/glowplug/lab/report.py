"""What the lab prints, and the same as plain data for `--json`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from glowplug.lab.measure import Measured, Package, Report
    from glowplug.lab.split import Spent

#: Of the packages that were imported and of the largest, so many are named.
NAMED = 5
#: A part of the first event that is worth a line, and the seconds from which on it is.
NOTEWORTHY, NOTICED = 0.1, 1e-3
DIGITS = 3


def as_data(report: Report) -> dict[str, Any]:
    """The report for programs: milliseconds, MB of 2**20 bytes, dollars; `null` is what could not be measured."""
    facts, plan = report.facts, report.plan
    return {
        "facts": {"as_of": facts.as_of, "region": facts.region, "architecture": plan.architecture},
        "limits": {"cpu": report.cpu_held, "memory": report.memory_held, "why_not": report.why_not},
        "plan": {"starts": plan.starts, "invocations": plan.invocations, "cold_share": plan.cold_share},
        "results": [_measured(one) for one in report.measured],
        "packages": [_package(one, report) for one in report.packages],
        "notes": list(report.notes),
    }


def _measured(one: Measured) -> dict[str, Any]:
    failure = one.failure
    return {
        "handler": one.handler,
        "memory_mb": one.memory_mb,
        "cpus": round(one.cpus, 4),
        "failure": failure
        and {
            "kind": failure.kind,
            "message": failure.message,
            "fix": failure.fix,
            "trace": list(failure.trace),
            "printed": list(failure.printed),
        },
        "init_ms": _spent(one.init, one.init_parts),
        "first_ms": _spent(one.first, one.first_parts),
        "cold_ms": None if one.cold is None else _ms(one.cold.wall),
        "cold_cpu_ms": None if one.cold is None else _ms(one.cold.cpu),
        "cold_of_starts_ms": [{"wall": _ms(spent.wall), "cpu": _ms(spent.cpu)} for spent in one.colds],
        "warm_ms": {
            "p50": _ms(one.warm_p50),
            "p99": _ms(one.warm_p99),
            "mean": _ms(one.warm_mean),
            "cpu": _ms(one.warm_cpu),
        },
        "peak_mb": one.peak_mb and round(one.peak_mb, 2),
        "cost_per_million": one.cost_per_million and round(one.cost_per_million, 6),
        "answer": one.answer.decode("utf-8", "replace"),
    }


def _spent(whole: Spent | None, parts: Mapping[str, Spent]) -> dict[str, Any] | None:
    if whole is None:
        return None
    named = {name: {"wall": _ms(spent.wall), "cpu": _ms(spent.cpu)} for name, spent in parts.items()}
    return {"wall": _ms(whole.wall), "cpu": _ms(whole.cpu), "parts": named}


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None or math.isnan(seconds) else round(seconds * 1e3, 4)


def _package(one: Package, report: Report) -> dict[str, Any]:
    size = one.size
    return {
        "handler": one.handler,
        "unzipped_mb": size and round(size.unzipped_mb, 3),
        "zipped_mb": size and size.zipped_mb and round(size.zipped_mb, 3),
        "limits_mb": {"unzipped": report.facts.unzipped_mb, "zipped": report.facts.zipped_mb},
        "by_package_mb": size and {name: round(mb, 3) for name, mb in size.by_package.items()},
        "without_byte_code": one.compiled
        and {"modules": list(one.compiled.modules), "compile_cpu_ms": _ms(one.compiled.seconds)},
        "imports_ms": {name: {"wall": _ms(spent.wall), "cpu": _ms(spent.cpu)} for name, spent in one.imports.items()},
    }


def as_text(report: Report) -> str:
    """The report for people."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    # An estimate is marked wherever it stands.
    mark = "" if report.cpu_held else "~"
    worked = [one for one in report.measured if one.init is not None]
    if worked:
        yield "Cold start, ms: initialisation in its parts, the first event, both together, and their CPU time"
        heads = ("interpreter", "client", "imports", "library", "model")
        yield from _table(
            ["handler", "memory", "CPUs", *heads, "first", "all", "CPU"],
            [
                [
                    one.handler, f"{one.memory_mb} MB", f"{one.cpus:.2f}",
                    *(mark + number(one.init_parts[head].wall * 1e3) if head in one.init_parts else "" for head in heads),
                    *(mark + number(spent.wall * 1e3) for spent in (one.first, one.cold) if spent is not None),
                    number(one.cold.cpu * 1e3) if one.cold is not None else "",
                ]
                for one in worked
            ],
        )  # fmt: skip
        yield ""
        cold = f"{report.plan.cold_share:.1%}".replace(".0%", "%")
        yield f"Warm invocations, peak memory, and dollars per million invocations of which {cold} are cold"
        yield from _table(
            ["handler", "memory", "p50 ms", "p99 ms", "CPU ms", "peak MB", "$ per million"],
            [
                [
                    one.handler, f"{one.memory_mb} MB",
                    *("" if took is None else mark + number(took * 1e3) for took in (one.warm_p50, one.warm_p99)),
                    "" if one.warm_cpu is None else number(one.warm_cpu * 1e3), number(one.peak_mb or math.nan),
                    mark + number(one.cost_per_million or math.nan),
                ]
                for one in worked
            ],
        )  # fmt: skip
        yield from _beside(worked)
    for package in report.packages:
        yield from _of_package(package, report)
    for one in report.measured:
        yield from _failed(one)
    yield ""
    if not (report.cpu_held and report.memory_held):
        yield from _not_held(report)
    yield from (f"note: {note}" for note in report.notes)
    facts = report.facts
    yield f"Prices of {facts.region}, {report.plan.architecture}, as of {facts.as_of}; others: --facts FILE"


def _beside(worked: Sequence[Measured]) -> Iterator[str]:
    """Each handler as a part of the first one, at the same size."""
    first = worked[0].handler
    base = {one.memory_mb: one for one in worked if one.handler == first}
    rows = []
    for one in worked:
        other = base.get(one.memory_mb)
        if one.handler != first and other is not None and one.cold is not None and other.cold is not None:
            pairs = (
                (one.cold.wall, other.cold.wall), (one.cold.cpu, other.cold.cpu), (one.warm_p50, other.warm_p50),
                (one.warm_cpu, other.warm_cpu),
                (one.peak_mb, other.peak_mb), (one.cost_per_million, other.cost_per_million),
            )  # fmt: skip
            ratios = [f"{ours / theirs:.2f}" if ours and theirs else "" for ours, theirs in pairs]
            rows.append([one.handler, f"{one.memory_mb} MB", *ratios])
    if rows:
        yield ""
        yield f"Divided by {first}"
        yield from _table(["handler", "memory", "cold", "cold CPU", "warm p50", "warm CPU", "peak", "$"], rows)


def _of_package(one: Package, report: Report) -> Iterator[str]:
    if one.size is None:
        return
    facts, size = report.facts, one.size
    yield ""
    over = "" if size.unzipped_mb <= facts.unzipped_mb else " - TOO LARGE, except as a container image"
    yield f"{one.handler}: {number(size.unzipped_mb)} MB unzipped of {facts.unzipped_mb:g} MB that Lambda takes{over}"
    if size.zipped_mb is not None:
        over = "" if size.zipped_mb <= facts.zipped_mb else " - uploaded by way of S3 only"
        yield f"  {number(size.zipped_mb)} MB zipped of {facts.zipped_mb:g} MB{over}"
    largest = list(size.by_package.items())[:NAMED]
    yield "  largest: " + ", ".join(f"{name} {number(mb)} MB" for name, mb in largest)
    imports = [(name, spent.wall * 1e3) for name, spent in one.imports.items()][:NAMED]
    if imports:
        named = ", ".join(f"{name} {number(took)} ms" for name, took in imports)
        yield f"  imports of packages, with as much CPU as they want: {named}"
    if one.compiled is not None and one.compiled.seconds > NOTICED:
        count, took = len(one.compiled.modules), number(one.compiled.seconds * 1e3)
        modules = f"{count} modules have" if count > 1 else f"{one.compiled.modules[0]} has"
        yield f"  {modules} no byte code that fits, and must be compiled at every start, {took} ms of CPU"
        yield "    fix: python -m compileall -q --invalidation-mode unchecked-hash FOLDER, with Lambda's version of Python,"
        yield "    before it is packed: a zip file rounds the time stamps that byte code has otherwise"
    for measured in report.measured:
        if measured.handler == one.handler and measured.first is not None:
            late = [
                f"{name} {number(spent.wall * 1e3)} ms"
                for name, spent in measured.first_parts.items()
                if name != "score" and spent.wall > max(NOTEWORTHY * measured.first.wall, NOTICED)
            ]
            if late:
                yield f"  in the first event at {measured.memory_mb} MB, and not in initialisation: {', '.join(late)}"


def _failed(one: Measured) -> Iterator[str]:
    if one.failure is None:
        return
    failure = one.failure
    yield ""
    yield f"{one.handler} at {one.memory_mb} MB failed ({failure.kind}): {failure.message}"
    yield f"  fix: {failure.fix}"
    yield from (f"  | {line}" for line in failure.trace)
    if failure.printed:
        yield "  printed at last:"
        yield from (f"  > {line}" for line in failure.printed)


def _not_held(report: Report) -> Iterator[str]:
    what = [name for name, held in (("CPU", report.cpu_held), ("memory", report.memory_held)) if not held]
    yield f"Not limited by the kernel: {' and '.join(what)} ({report.why_not})"
    if not report.cpu_held:
        yield "  times with ~ are estimates: CPU time that was used, given out in the shares of the memory size"
    if not report.memory_held:
        yield "  memory was watched instead: a process over its limit is killed, but a short peak may be missed"
    yield "  fix: run as root, or where control groups are delegated to you (systemd-run --user --scope -p Delegate=yes)"


def _table(heads: list[str], rows: list[list[str]]) -> Iterator[str]:
    """Aligned columns; names to the left, numbers to the right."""
    lines = [heads, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    for line in lines:
        name, *figures = line
        cells = [name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(figures, widths[1:], strict=True))]
        yield ("  " + "  ".join(cells)).rstrip()


def number(value: float) -> str:
    """Three digits that matter."""
    if math.isnan(value):
        return "?"
    before = math.floor(math.log10(abs(value))) + 1 if value else DIGITS
    return f"{value:.{max(0, DIGITS - before)}f}"
