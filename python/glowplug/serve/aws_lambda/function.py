"""The handler: what it does while the environment starts, and with each event."""

from __future__ import annotations

from os import environ
from time import perf_counter_ns

from glowplug.errors import OptionError
from glowplug.serve.aws_lambda.triggers import DIRECT, EVENT_BRIDGE, ITEMS, WEB, trigger_of
from glowplug.serve.http import Limits
from glowplug.serve.scoring import NO_FALLBACK, Measure, Scorer
from glowplug.serve.warm import warm as warm_up

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from typing import Any, Protocol

    from glowplug.model import Model
    from glowplug.serve.hooks import Around
    from glowplug.serve.scoring import After, Before, Method

    class Telemetry(Protocol):
        """What is told of each invocation."""

        def record(self, measure: Measure, **facts: Any) -> object:
            """Take what one invocation was: see `Handler.__call__`."""

        def flush(self) -> object:
            """Send what was taken."""


#: Bytes of a body: Lambda's own limit, with room for what is not counted in it.
MOST_BODY = 8 * 2**20


class Call:
    """What a function around the scoring may know beside the question: `event`, `context`, and the `record`, if it is one."""

    __slots__ = ("context", "event", "record")

    def __init__(self, event: Any, context: Any, record: dict[str, Any] | None = None) -> None:
        self.event = event
        self.context = context
        self.record = record


def handler(
    model: Model | str | os.PathLike[str],
    *,
    method: Method = "predict",
    before: Before | None = None,
    after: After | None = None,
    limits: Limits | None = None,
    timeout: float | None = None,
    margin: float = 0.2,
    fallback: Any = NO_FALLBACK,
    warm: float = 5.0,
    telemetry: Telemetry | None = None,
) -> Handler:
    """Make a function of AWS Lambda of a model: assign it to the name that the function's configuration has.

    It is also a decorator, for a generator function that makes rows of a question, yields them, and makes the answer of the
    predictions that come back.

    >>> @handler("fraud.onnx")  # doctest: +SKIP
    ... def lambda_handler(payment):
    ...     scores = yield [[payment["amount"], payment["hour"]]]
    ...     return {"risk": scores[0]}

    The model is loaded and run once here, while the environment starts. The time that an invocation has left, less a margin,
    bounds its run; after it the caller gets the fallback, status 503, or `DeadlineExceeded`, and the next one is served.

    Args:
        model: A model, or the path of one.
        method: What a prediction is; see `Model.predict_json`.
        before: Makes rows of a question, as for `Scorer`.
        after: Makes the answer of predictions and a question.
        limits: What is too large to be looked at.
        timeout: Seconds that a run may take, if less than the invocation has left.
        margin: Seconds of an invocation's time that are kept for answering.
        fallback: The answer, as plain Python, where a deadline ended the run.
        warm: Seconds that the first run of the model may take; 0 for none. Its values are made up from the signature.
        telemetry: Is told what each invocation took.

    Raises:
        GlowplugError: As `load` has it; options that make no sense.
    """
    for name, value in (("margin", margin), ("warm", warm)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
            subject, problem = f"option `{name}`", f"got {value!r}, expected seconds of at least 0"
            raise OptionError.about(subject, problem, f"leave `{name}` out")
    options: dict[str, Any] = {
        "method": method,
        "limits": limits or Limits(body=MOST_BODY),
        "timeout": timeout,
        "fallback": fallback,
    }
    scorer = Scorer(model, before=before, after=after, **options)
    if warm:
        warm_up(scorer.model, timeout=float(warm))
    return Handler(scorer, options, margin=float(margin), telemetry=telemetry)


class Handler:
    """A function of AWS Lambda; `handler` makes it.

    `initialization` says how the environment was started: `"on-demand"`, `"provisioned-concurrency"`, `"snap-start"`, or `None`
    outside of Lambda. `is_cold` holds until the first invocation is over.
    """

    def __init__(self, scorer: Scorer, options: dict[str, Any], *, margin: float, telemetry: Telemetry | None) -> None:
        self.scorer = scorer
        self.margin = margin
        self.telemetry = telemetry
        self.is_cold = True
        self.initialization = environ.get("AWS_LAMBDA_INITIALIZATION_TYPE")
        self._options = options
        if self.initialization not in {None, "on-demand"}:
            # Nobody waits for it now.
            from glowplug.serve.aws_lambda.web import answer_of as _  # noqa: F401

    def around(self, function: Around) -> Handler:
        """The same function with a generator function around its scoring; what the handler as a decorator does."""
        scorer = Scorer(self.scorer.model, around=function, **self._options)
        return Handler(scorer, self._options, margin=self.margin, telemetry=self.telemetry)

    def __call__(self, event: Any, context: Any = None) -> Any:
        """Serve one invocation.

        `telemetry.record` gets its `Measure` and, by name: `trigger`, `seconds`, `is_cold`, `initialization` and `context`.

        Returns:
            For requests the answer that their sender wants; for queues and streams the records that failed; otherwise what
            the model, or the function around it, says.

        Raises:
            Exception: What an invocation that is no request, queue or stream fails with, which Lambda reports to its caller.
        """
        if context is None and callable(event):
            return self.around(event)
        started, measure = perf_counter_ns(), Measure()
        trigger = trigger_of(event)
        try:
            return self._serve(event, context, trigger, measure)
        except Exception as error:
            measure.error = measure.error or error
            raise
        finally:
            if self.telemetry is not None:
                self.telemetry.record(
                    measure,
                    trigger=trigger,
                    seconds=(perf_counter_ns() - started) / 1e9,
                    is_cold=self.is_cold,
                    initialization=self.initialization,
                    context=context,
                )
            self.is_cold = False

    def _serve(self, event: Any, context: Any, trigger: str, measure: Measure) -> Any:
        timeout = None if context is None else context.get_remaining_time_in_millis() / 1000 - self.margin
        if trigger in WEB:
            return self._answer(event, context, trigger, timeout, measure)
        if trigger == DIRECT:
            data = event
        elif trigger == EVENT_BRIDGE:
            data = event["detail"]
            if not data and event.get("source") == "aws.events":
                # A schedule that only keeps the environment alive.
                return None
        elif trigger == ITEMS:
            data = event["Items"]
        else:
            raise NotImplementedError(trigger)
        return self.scorer.score(data, timeout=timeout, measure=measure, call=Call(event, context))

    def _answer(self, event: Any, context: Any, trigger: str, timeout: float | None, measure: Measure) -> Any:
        from glowplug.serve.aws_lambda.web import answer_of, is_health_check, request_of
        from glowplug.serve.http import Response

        try:
            request = request_of(event, trigger)
        except Exception as error:  # noqa: BLE001 - a request that cannot be read is answered as well
            measure.error = error
            return answer_of(self.scorer.problem(error).response(), event, trigger)
        if is_health_check(request):
            return answer_of(Response(200, {}, b""), event, trigger)
        response = self.scorer.respond(request, timeout=timeout, measure=measure, call=Call(event, context))
        return answer_of(response, event, trigger)
