"""Metrics of CloudWatch as lines of the log, in its embedded metric format: no agent, no call, no package.

On AWS Lambda, what is written to standard output becomes metrics by itself. One line is made without `json`, `logging` or
locks: a cold start would notice each.
"""

from __future__ import annotations

import os
import sys
from os import environ
from time import time_ns

from glowplug.errors import OptionError, OptionTypeError
from glowplug.telemetry.numbers import FAILED, REJECTED, model_of, outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TextIO, TypeAlias

    from glowplug.telemetry.numbers import Measured

    #: What invocations that share a line have in common: model, trigger, class of the error, whether they brought records.
    Kind: TypeAlias = tuple[str | None, str, str | None, bool]

#: Metric → unit.
METRICS = {
    "Rows": "Count",
    "EngineTime": "Milliseconds",
    "ParseTime": "Milliseconds",
    "Duration": "Milliseconds",
    "ColdStart": "Count",
    "Rejected": "Count",
    "Errors": "Count",
}
#: More of invocations that bring records of a queue, stream or topic.
METRICS_OF_RECORDS = {**METRICS, "Records": "Count", "FailedRecords": "Count"}
#: What a metric may be split by. Each combination of values is metrics of its own, which cost money.
DIMENSIONS = ("service", "model", "trigger")
#: The numbers of a line, without and with those of records.
TEMPLATES = tuple(",".join(f'"{name}":%s' for name in metrics) for metrics in (METRICS, METRICS_OF_RECORDS))
MOST_KINDS = 1000
#: Values that one metric may have in one line.
MOST_VALUES = 100
#: Characters that CloudWatch takes in the value of a dimension.
MOST_TEXT = 1024


class Emf:
    """Writes a line with the metrics of each invocation, or of several together.

    The metrics are `Rows`, `EngineTime`, `ParseTime`, `Duration` (milliseconds), `ColdStart`, `Rejected` (mistakes of
    the sender) and `Errors` (everything else that failed); for queues, streams and topics also `Records` and `FailedRecords`,
    which come again or are given up. A line has the `model`, the `trigger`, the class of an `error`
    and the id of the invocation (`function_request_id`, as in the log of Powertools) as well, for CloudWatch Logs Insights.

    Args:
        namespace: Of the metrics: that of `POWERTOOLS_METRICS_NAMESPACE`, or else `glowplug`.
        service: The value of the dimension `service`: that of `POWERTOOLS_SERVICE_NAME`, or else the name of the function.
        dimensions: What metrics are split by, of `service`, `model` and `trigger`.
        batch: Invocations of a kind that share a line, which is paid for by its bytes. Those that wait when an environment
            ends without SIGTERM are lost; Lambda sends it only where there is an extension.
        stream: Where lines go: standard output.

    Raises:
        OptionError: An option has a value outside its range.
    """

    def __init__(
        self,
        *,
        namespace: str | None = None,
        service: str | None = None,
        dimensions: Iterable[str] = ("service",),
        batch: int = 1,
        stream: TextIO | None = None,
    ) -> None:
        if namespace is None:
            namespace = environ.get("POWERTOOLS_METRICS_NAMESPACE") or "glowplug"
        if service is None:
            service = environ.get("POWERTOOLS_SERVICE_NAME") or environ.get("AWS_LAMBDA_FUNCTION_NAME") or "glowplug"
        dimensions = (dimensions,) if isinstance(dimensions, str) else tuple(dimensions)
        _check(namespace, service, dimensions, batch)
        self._stream = stream
        self._dimensions = dimensions
        self._batch = batch
        #: Invocations that are not written yet, by what they have in common. Lists are added to and taken from by single
        #: steps of the interpreter, so that a signal in the midst of it meets no lock.
        self._waiting: dict[Kind, list[tuple[float, ...]]] = {}
        if batch > 1 and hasattr(os, "register_at_fork"):
            # A forked child has a copy of what waits, which is its parent's to write.
            os.register_at_fork(after_in_child=self._waiting.clear)
        keys = ",".join(f'"{name}"' for name in dimensions)

        def head(metrics: dict[str, str]) -> str:
            names = ",".join(f'{{"Name":"{name}","Unit":"{unit}"}}' for name, unit in metrics.items())
            directive = f'{{"Namespace":{quoted(namespace)},"Dimensions":[[{keys}]],"Metrics":[{names}]}}'
            return f'"CloudWatchMetrics":[{directive}]}},"service":{quoted(service)}'

        self._heads = head(METRICS), head(METRICS_OF_RECORDS)
        self._abouts: dict[Kind, str] = {}

    @property
    def buffers(self) -> bool:
        """Whether there is anything to flush."""
        return self._batch > 1

    def record(
        self,
        measure: Measured,
        *,
        trigger: str,
        seconds: float,
        is_cold: bool,
        context: Any = None,
        records: int | None = None,
        failed: int = 0,
        **_: Any,
    ) -> None:
        """Write the line of one invocation, or of all that wait if there are enough of them."""
        error = measure.error
        what = outcome(error)
        numbers: tuple[float, ...] = (
            measure.rows,
            round(measure.run_ns / 1e6, 3),
            round(measure.read_ns / 1e6, 3),
            round(seconds * 1e3, 3),
            int(is_cold),
            int(what is REJECTED),
            int(what is FAILED),
        )
        if records is not None:
            numbers += (records, failed)
        kind = type(error).__name__ if error is not None else None
        key = (model_of(measure), trigger, kind, records is not None)
        if self._batch == 1:
            self._write(key, numbers, getattr(context, "aws_request_id", None))
            return
        waiting = self._waiting.setdefault(key, [])
        waiting.append(numbers)
        if len(waiting) >= self._batch:
            self._send(key, waiting)

    def flush(self) -> None:
        """Write what waits."""
        for key, waiting in list(self._waiting.items()):
            self._send(key, waiting)

    def _send(self, kind: Kind, waiting: list[tuple[float, ...]]) -> None:
        taken: list[tuple[float, ...]] = []
        while waiting and len(taken) < self._batch:
            try:
                taken.append(waiting.pop())
            except IndexError:  # another thread took the last
                break
        if taken:
            columns = (f"[{','.join(map(repr, values))}]" for values in zip(*taken, strict=True))
            self._write(kind, tuple(columns))

    def _write(self, kind: Kind, values: tuple[object, ...], request: str | None = None) -> None:
        about = self._abouts.get(kind)
        if about is None:
            about = self._about(kind)
            # Kinds are few, unless somebody makes up classes of errors.
            if len(self._abouts) < MOST_KINDS:
                self._abouts[kind] = about
        of_request = "" if request is None else f'"function_request_id":{quoted(str(request))},'
        numbers = TEMPLATES[kind[3]] % values
        stream = self._stream or sys.stdout
        # One call, so that lines of several threads do not mix.
        stream.write(f'{{"_aws":{{"Timestamp":{time_ns() // 1_000_000},{about}{of_request}{numbers}}}\n')
        # The environment may be frozen as soon as it has answered.
        stream.flush()

    def _about(self, kind: Kind) -> str:
        """What lines of a kind have in common."""
        model, trigger, error, has_records = kind
        if "model" in self._dimensions:
            model = _value(model or "")
        if "trigger" in self._dimensions:
            trigger = _value(trigger)
        about = {"trigger": trigger, "model": model, "error": error}
        texts = (f'"{name}":{quoted(text)},' for name, text in about.items() if text is not None)
        return f"{self._heads[has_records]},{''.join(texts)}"


def quoted(text: str) -> str:
    """Text as JSON."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    from json import dumps

    return dumps(text)


def _value(text: str) -> str:
    """Text as a value of a dimension: characters that CloudWatch does not take there become question marks."""
    if not (text.isascii() and text.isprintable()):
        text = "".join(letter if " " <= letter <= "~" else "?" for letter in text)
    return text[:MOST_TEXT] if text.strip() else "none"


def _check(namespace: str, service: str, dimensions: tuple[str, ...], batch: int) -> None:
    for name, value, most in (("namespace", namespace, 255), ("service", service, MOST_TEXT)):
        if not isinstance(value, str):
            problem = f"got {type(value).__name__}, expected text"
            raise OptionTypeError.about(f"option `{name}`", problem, "leave it out for the default")
        if not value.strip() or len(value) > most or not (value.isascii() and value.isprintable()):
            problem = f"got {value[:40]!r}, expected 1 to {most} printable characters of ASCII"
            raise OptionError.about(f"option `{name}`", problem, "leave it out for the default")
    if not dimensions or len(set(dimensions)) < len(dimensions) or not set(dimensions) <= set(DIMENSIONS):
        problem = f"got {dimensions!r}, expected some of {', '.join(DIMENSIONS)}"
        raise OptionError.about("option `dimensions`", problem, "leave it out for the service alone")
    if not isinstance(batch, int) or isinstance(batch, bool):
        problem = f"got {batch!r}, expected a whole number"
        raise OptionTypeError.about("option `batch`", problem, "leave it out for a line each")
    if not 1 <= batch <= MOST_VALUES:
        problem = f"got {batch}, expected 1 to {MOST_VALUES}"
        raise OptionError.about("option `batch`", problem, "leave it out for a line each")
