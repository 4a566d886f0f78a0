"""Metrics through OpenTelemetry: its API alone, so that the application says where they go."""

from __future__ import annotations

from opentelemetry import metrics

from glowplug._core import __version__
from glowplug.telemetry.numbers import FAILED, REJECTED, model_of, outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from glowplug.telemetry.numbers import Measured

#: Bounds of histograms in seconds, for SDKs that take advice. Their defaults are for milliseconds.
BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class OpenTelemetry:
    """Records invocations with the instruments of a meter.

    `glowplug.request.duration`, `glowplug.engine.duration` and `glowplug.parse.duration` are histograms of seconds, the last
    two of requests that came as far as the model; `glowplug.rows`, `glowplug.coldstarts`, `glowplug.rejected`,
    `glowplug.errors` and `glowplug.records.failed` are counters. Attributes are `glowplug.model`, `faas.trigger`, and
    `error.type` of what went wrong.

    Args:
        provider: Of meters; the global one if left out, whichever that is when something is recorded.
        attributes: More, of each record.
        flush_seconds: How long `flush` may wait for the provider to send, where it can.
    """

    def __init__(
        self,
        provider: metrics.MeterProvider | None = None,
        *,
        attributes: Mapping[str, str | bool | int | float] | None = None,
        flush_seconds: float = 2.0,
    ) -> None:
        self._provider = provider
        self._attributes = dict(attributes or {})
        self._flush_seconds = flush_seconds
        meter = metrics.get_meter("glowplug", __version__, meter_provider=provider)

        def seconds(name: str, about: str) -> metrics.Histogram:
            return meter.create_histogram(name, "s", about, explicit_bucket_boundaries_advisory=BUCKETS)

        self._duration = seconds("glowplug.request.duration", "From the arrival of a request to its answer.")
        self._engine = seconds("glowplug.engine.duration", "Running the model for a request.")
        self._parse = seconds("glowplug.parse.duration", "Reading the rows of a request.")
        self._rows = meter.create_counter("glowplug.rows", "{row}", "Rows that were scored.")
        self._cold = meter.create_counter("glowplug.coldstarts", "{request}", "First requests of a process.")
        self._rejected = meter.create_counter("glowplug.rejected", "{request}", "Mistakes of senders.")
        self._failed = meter.create_counter("glowplug.records.failed", "{record}", "Records that come again.")
        self._errors = meter.create_counter("glowplug.errors", "{request}", "Requests that failed.")

    def record(
        self, measure: Measured, *, trigger: str, seconds: float, is_cold: bool, failed: int = 0, **_: Any
    ) -> None:
        """Record one invocation."""
        attributes = {**self._attributes, "faas.trigger": trigger}
        model = model_of(measure)
        if model is not None:
            attributes["glowplug.model"] = model
        if measure.rows:
            self._rows.add(measure.rows, attributes)
        if failed:
            self._failed.add(failed, attributes)
        if is_cold:
            self._cold.add(1, attributes)
        if measure.error is not None:
            attributes = {**attributes, "error.type": type(measure.error).__name__}
            what = outcome(measure.error)
            counter = {FAILED: self._errors, REJECTED: self._rejected}[what]
            counter.add(1, attributes)
        self._duration.record(seconds, attributes)
        if measure.run_ns:
            self._engine.record(measure.run_ns / 1e9, attributes)
            self._parse.record(measure.read_ns / 1e9, attributes)

    def flush(self) -> None:
        """Let the provider send what it has, if it can."""
        force = getattr(self._provider or metrics.get_meter_provider(), "force_flush", None)
        if force is not None:
            force(timeout_millis=self._flush_seconds * 1e3)
