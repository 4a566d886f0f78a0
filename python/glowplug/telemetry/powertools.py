"""Metrics in the lines that AWS Lambda Powertools write anyway, for functions that have a `Metrics` of it.

Without this, both write lines of their own into the same namespace and service, which come from the same variables.
"""

from __future__ import annotations

from glowplug.telemetry.numbers import FAILED, REJECTED, outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from glowplug.telemetry.numbers import Measured

    class Metrics(Protocol):
        """What is needed of `aws_lambda_powertools.Metrics`."""

        def add_metric(self, name: str, unit: str, value: float) -> object:
            """Add a value."""


class Powertools:
    """Adds the metrics of each invocation to a `Metrics` of Powertools, which flushes them (`log_metrics`).

    The names are those of `Emf`, but for `ColdStart`, which Powertools counts itself if it is asked to.

    Args:
        metrics: An `aws_lambda_powertools.Metrics`.
    """

    #: Whether there is anything to flush.
    buffers = False

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def record(
        self, measure: Measured, *, seconds: float, records: int | None = None, failed: int = 0, **_: Any
    ) -> None:
        """Add one invocation."""
        what = outcome(measure.error)
        add = self._metrics.add_metric
        add("Rows", "Count", measure.rows)
        add("EngineTime", "Milliseconds", round(measure.run_ns / 1e6, 3))
        add("ParseTime", "Milliseconds", round(measure.read_ns / 1e6, 3))
        add("Duration", "Milliseconds", round(seconds * 1e3, 3))
        add("Rejected", "Count", int(what is REJECTED))
        add("Errors", "Count", int(what is FAILED))
        if records is not None:
            add("Records", "Count", records)
            add("FailedRecords", "Count", failed)

    def flush(self) -> None:
        """What was added is sent by Powertools."""
