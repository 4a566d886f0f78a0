"""What invocations took, for whoever operates them: CloudWatch, OpenTelemetry, Prometheus, Powertools.

Servers call `record` of what `recorder` makes. A sink is any object with `record` and `flush`:

>>> from glowplug.telemetry.prometheus import Prometheus
>>> from glowplug.serve import asgi
>>> app = asgi.app("fraud.onnx", telemetry=Prometheus())  # served at /metrics  # doctest: +SKIP
"""

from __future__ import annotations

from os import environ

from glowplug.errors import OptionError, OptionTypeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Literal, Protocol, TypeAlias

    from glowplug.telemetry.numbers import Measured

    class Sink(Protocol):
        """Takes what invocations took."""

        def record(self, measure: Measured, *, trigger: str, seconds: float, is_cold: bool, **facts: Any) -> object:
            """Take one invocation; the arguments are those of `Recorder.record`."""

        def flush(self) -> object:
            """Send what was taken."""

    #: What servers take as `telemetry`.
    Telemetry: TypeAlias = Sink | Iterable[Sink] | Literal[False] | None

VARIABLE = "GLOWPLUG_TELEMETRY"
#: Of the environment variable; empty is as if it were not set.
OFF, ON = ("0", "off", "false", "no"), ("1", "on", "true", "yes")


class Recorder:
    """Tells sinks of invocations. Whatever goes wrong in a sink is logged, once for each, and fails nobody's request.

    Args:
        sinks: Who is told, in order.
    """

    def __init__(self, sinks: Iterable[Sink]) -> None:
        self.sinks = tuple(sinks)
        self._failed: set[int] = set()

    @property
    def buffers(self) -> bool:
        """Whether there may be anything to flush; sinks that do not say so with `buffers` may have something."""
        return any(getattr(sink, "buffers", True) for sink in self.sinks)

    def record(
        self,
        measure: Measured,
        *,
        trigger: str,
        seconds: float,
        is_cold: bool = False,
        context: Any = None,
        **facts: Any,
    ) -> None:
        """Tell all sinks of one invocation.

        Args:
            measure: What was counted: `rows`, `read_ns`, `run_ns`, `error`, and `model`, if it has that.
            trigger: What came: `"http"`, `"sqs"`, …
            seconds: From the arrival of the invocation to its answer.
            is_cold: Whether it was the first of its process.
            context: Of the invocation, as its platform has it.
            facts: More, which sinks may use: how many `records` there were, and how many of them `failed`.
        """
        for sink in self.sinks:
            try:
                sink.record(measure, trigger=trigger, seconds=seconds, is_cold=is_cold, context=context, **facts)
            except Exception as error:  # noqa: BLE001 - a request is worth more than what is told of it
                self._note(sink, error)

    def flush(self) -> None:
        """Let all sinks send what they were told."""
        for sink in self.sinks:
            try:
                sink.flush()
            except Exception as error:  # noqa: BLE001 - as above
                self._note(sink, error)

    def _note(self, sink: Sink, error: Exception) -> None:
        if id(sink) in self._failed:
            return
        self._failed.add(id(sink))
        from logging import getLogger

        name = type(sink).__name__
        getLogger("glowplug").warning("telemetry by %s fails, which is said once: %s", name, error, exc_info=error)


def recorder(telemetry: Telemetry = None) -> Recorder:
    """What tells the sinks that a user wants.

    Args:
        telemetry: A sink, or several; `False` for none. Left out, it is metrics of CloudWatch on AWS Lambda, and nothing
            elsewhere. The environment variable `GLOWPLUG_TELEMETRY` changes that to `off`, or to `on` everywhere.

    Raises:
        OptionError: The environment variable has another value.
        OptionTypeError: Something is no sink.
    """
    if telemetry is None:
        return Recorder(_default())
    if telemetry is False:
        return Recorder(())
    given: Any = telemetry
    sinks = tuple(given) if hasattr(given, "__iter__") else (given,)
    for sink in sinks:
        is_sink = callable(getattr(sink, "record", None)) and callable(getattr(sink, "flush", None))
        if not is_sink or isinstance(sink, type):
            problem = f"got {type(sink).__name__}, expected an object with `record` and `flush`"
            raise OptionTypeError.about(
                "option `telemetry`", problem, "pass for example `Prometheus()`, or False for none"
            )
    return Recorder(sinks)


def _default() -> tuple[Sink, ...]:
    wanted = environ.get(VARIABLE, "").lower()
    if wanted not in {"", *OFF, *ON}:
        problem = f"got {wanted[:40]!r}, expected on or off"
        raise OptionError.about(f"environment variable {VARIABLE}", problem, "set it to off for no telemetry")
    if wanted in OFF or (not wanted and "AWS_LAMBDA_FUNCTION_NAME" not in environ):
        return ()
    from glowplug.telemetry.emf import Emf

    return (Emf(),)
