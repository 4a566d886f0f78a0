"""Metrics as Prometheus scrapes them: text of its exposition format, without its client."""

from __future__ import annotations

from threading import Lock

from glowplug.errors import OptionError
from glowplug.telemetry.numbers import model_of, outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TypeAlias

    from glowplug.telemetry.numbers import Measured

    Labels: TypeAlias = tuple[str, str]

#: Upper bounds, in seconds, of the buckets of times: from one tree to a large batch.
BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
#: Times of what did run: name → help.
TIMES = {
    "glowplug_request_seconds": "From the arrival of a request to its answer.",
    "glowplug_engine_seconds": "Running the model for a request.",
    "glowplug_parse_seconds": "Reading the rows of a request.",
}


class Histogram:
    """Counts of times by their upper bounds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        #: The last is of times above all bounds.
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count a time."""
        index = next((index for index, bound in enumerate(self.bounds) if seconds <= bound), len(self.bounds))
        self.counts[index] += 1
        self.total += seconds

    def lines(self, name: str, labels: str) -> Iterable[str]:
        """Its samples."""
        count = 0
        for bound, more in zip((*self.bounds, None), self.counts, strict=True):
            count += more
            yield f'{name}_bucket{{{labels},le="{"+Inf" if bound is None else bound}"}} {count}\n'
        yield f"{name}_sum{{{labels}}} {self.total!r}\n"
        yield f"{name}_count{{{labels}}} {count}\n"


class Prometheus:
    """Counts invocations by model and trigger, to be read as `text`; `serve.asgi` serves it at `/metrics`.

    `glowplug_requests_total` has the label `outcome`: `ok`, `rejected` (mistakes of the sender) or `failed`. Beside it are
    `glowplug_rows_total`, `glowplug_cold_starts_total`, `glowplug_failed_records_total`, and the histograms
    `glowplug_request_seconds`, `glowplug_engine_seconds` and `glowplug_parse_seconds`; the last two are of requests that came
    as far as the model.

    Any number of threads may use one. Each process has numbers of its own.

    Args:
        buckets: Upper bounds of the histograms, in seconds, rising.

    Raises:
        OptionError: The bounds do not rise.
    """

    #: Whether there is anything to flush.
    buffers = False
    #: Of `text`.
    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, *, buckets: Iterable[float] = BUCKETS) -> None:
        self._bounds = tuple(float(bound) for bound in buckets)
        if not self._bounds or any(not low < high for low, high in zip(self._bounds, self._bounds[1:], strict=False)):
            problem = f"got {self._bounds!r}, expected seconds that rise"
            raise OptionError.about("option `buckets`", problem, "leave it out for 0.1 ms to 10 s")
        self._lock = Lock()
        self._requests: dict[tuple[str, str, str], int] = {}
        self._rows: dict[Labels, int] = {}
        self._cold: dict[Labels, int] = {}
        self._failed: dict[Labels, int] = {}
        self._times: dict[str, dict[Labels, Histogram]] = {name: {} for name in TIMES}

    def record(
        self, measure: Measured, *, trigger: str, seconds: float, is_cold: bool, failed: int = 0, **_: Any
    ) -> None:
        """Count one invocation."""
        labels = model_of(measure) or "", trigger
        times = [seconds]
        if measure.run_ns:
            times += (measure.run_ns / 1e9, measure.read_ns / 1e9)
        with self._lock:
            key = (*labels, outcome(measure.error))
            self._requests[key] = self._requests.get(key, 0) + 1
            self._rows[labels] = self._rows.get(labels, 0) + measure.rows
            self._cold[labels] = self._cold.get(labels, 0) + is_cold
            self._failed[labels] = self._failed.get(labels, 0) + failed
            for histograms, took in zip(self._times.values(), times, strict=False):
                histogram = histograms.get(labels)
                if histogram is None:
                    histogram = histograms[labels] = Histogram(self._bounds)
                histogram.add(took)

    def flush(self) -> None:
        """Nothing waits to be sent."""

    def text(self) -> str:
        """All metrics, in the text format of version 0.0.4."""
        with self._lock:
            return "".join(self._lines())

    def _lines(self) -> Iterable[str]:
        name = "glowplug_requests_total"
        yield _head(name, "counter", "Requests, by what became of them.")
        for (model, trigger, what), count in self._requests.items():
            yield f'{name}{{{_labels((model, trigger))},outcome="{what}"}} {count}\n'
        counters = (
            ("glowplug_rows_total", "Rows that were scored.", self._rows),
            ("glowplug_cold_starts_total", "Requests that were the first of their process.", self._cold),
            ("glowplug_failed_records_total", "Records of queues and streams that come again.", self._failed),
        )
        for name, about, counts in counters:
            yield _head(name, "counter", about)
            for labels, count in counts.items():
                yield f"{name}{{{_labels(labels)}}} {count}\n"
        for name, about in TIMES.items():
            yield _head(name, "histogram", about)
            for labels, histogram in self._times[name].items():
                yield from histogram.lines(name, _labels(labels))


def _head(name: str, kind: str, about: str) -> str:
    return f"# HELP {name} {about}\n# TYPE {name} {kind}\n"


def _labels(labels: Labels) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(("model", "trigger"), labels, strict=True))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
