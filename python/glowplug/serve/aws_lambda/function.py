"""The handler: what it does while the environment starts, and with each event."""

from __future__ import annotations

from os import environ
from time import perf_counter_ns

from glowplug.errors import OptionError
from glowplug.serve.aws_lambda.triggers import BATCHES, DIRECT, EVENT_BRIDGE, ITEMS, S3, WEB, trigger_of
from glowplug.serve.http import Limits
from glowplug.serve.scoring import NO_FALLBACK, Measure, Scorer, check_functions, forget
from glowplug.serve.warm import warm as warm_up
from glowplug.telemetry import recorder

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable
    from typing import Any, TypeAlias

    from glowplug.model import Model
    from glowplug.serve.aws_lambda.objects import Store
    from glowplug.serve.hooks import Around
    from glowplug.serve.scoring import After, Before, Method
    from glowplug.telemetry import Recorder, Telemetry

    Deliver: TypeAlias = Callable[[list["Delivery"]], Iterable["Delivery"] | None]
    Reject: TypeAlias = Callable[[dict[str, Any], Exception], object]

#: Bytes of a body: Lambda's own limit, with room for what is not counted in it.
MOST_BODY = 8 * 2**20
#: The part of the function's memory that bodies may take when decompressed: they are held beside what is made of them.
_DECOMPRESSED = 1 / 8
#: Options that are the handler's own, and not its scorer's.
_ENDS = ("margin", "deliver", "reject", "objects", "output", "telemetry")


class Call:
    """What a function around the scoring may know beside the question: `event`, `context`, and the `record`, if it is one."""

    __slots__ = ("context", "event", "record")

    def __init__(self, event: Any, context: Any, record: dict[str, Any] | None = None) -> None:
        self.event = event
        self.context = context
        self.record = record


class Delivery:
    """What is delivered of one record: `record` as it came, and the `answer` to it."""

    __slots__ = ("answer", "record")

    def __init__(self, record: dict[str, Any], answer: Any) -> None:
        self.record = record
        self.answer = answer


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
    deliver: Deliver | None = None,
    reject: Reject | None = None,
    objects: bool = False,
    output: str | None = None,
    warm: float = 5.0,
    telemetry: Telemetry = None,
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
        limits: What is too large to be looked at; left out, bodies of 8 MiB, and an eighth of the function's memory, at most
            128 MiB, for what is decompressed, together for all records of a batch, and four times that for what functions
            of yours get parsed.
        timeout: Seconds that a run may take, if less than the invocation has left.
        margin: Seconds of an invocation's time that are kept for answering.
        fallback: The answer, as plain Python, where a deadline ended the run; not for objects in S3, which come again.
        deliver: Takes the answers to the records of one queue, stream or topic, all at once, and gives those back that have to
            come again, if any. If it raises, or gives anything else back, all come again.
        reject: Takes a record that can never be scored, and what is wrong with it, to be put away; it does not come again.
            Without it such records are reported as failed, and come as often as the queue or stream is configured.
        objects: Whether messages of queues and topics may name objects in S3 to score. The function reads and writes them
            with its own rights, so say yes only where nobody but S3, or a topic or bus that S3 sends to, may send messages.
        output: Where the predictions of objects in S3 go, `"s3://bucket/prefix"`; left out, beside each object.
        warm: Seconds that the first run of the model may take; 0 for none. Its values are made up from the signature.
        telemetry: Is told what each invocation took: metrics of CloudWatch if left out, `False` for none. See
            `glowplug.telemetry.recorder`.

    Raises:
        GlowplugError: As `load` has it; options that make no sense.
    """
    for name, value in (("margin", margin), ("warm", warm)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
            subject, problem = f"option `{name}`", f"got {value!r}, expected seconds of at least 0"
            raise OptionError.about(subject, problem, f"leave `{name}` out")
    check_functions(deliver=deliver, reject=reject)
    if output is not None and not (isinstance(output, str) and output.startswith("s3://") and output[5:].strip("/")):
        subject, problem = "option `output`", f"got {output!r}, expected s3://bucket/prefix"
        raise OptionError.about(subject, problem, "leave `output` out to write beside each object")
    options: dict[str, Any] = {
        "method": method,
        "limits": limits or Limits(body=MOST_BODY, decompressed=_most_decompressed()),
        "timeout": timeout,
        "fallback": fallback,
    }
    scorer = Scorer(model, before=before, after=after, **options)
    if warm:
        warm_up(scorer.model, timeout=float(warm))
    told = recorder(telemetry)
    ends: dict[str, Any] = {
        "deliver": deliver,
        "reject": reject,
        "objects": objects,
        "output": output,
        "telemetry": told,
    }
    made = Handler(scorer, options, margin=float(margin), **ends)
    made.begin()
    return made


def _most_decompressed() -> int:
    """Bytes; what Lambda says of the function's memory is in MB."""
    memory = environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
    most = Limits().decompressed
    return min(most, int(int(memory) * 2**20 * _DECOMPRESSED)) if memory.isdecimal() else most


class Handler:
    """A function of AWS Lambda; `handler` makes it.

    `initialization` says how the environment was started: `"on-demand"`, `"provisioned-concurrency"`, `"snap-start"`, or `None`
    outside of Lambda. `is_cold` holds until the first invocation is over.
    """

    def __init__(
        self,
        scorer: Scorer,
        options: dict[str, Any],
        *,
        margin: float,
        deliver: Deliver | None,
        reject: Reject | None,
        objects: bool,
        output: str | None,
        telemetry: Recorder,
    ) -> None:
        self.scorer = scorer
        self.margin = margin
        self.deliver = deliver
        self.reject = reject
        self.objects = objects
        self.output = output
        self.telemetry = telemetry
        self.is_cold = True
        self.initialization = environ.get("AWS_LAMBDA_INITIALIZATION_TYPE")
        #: What decorators of others read.
        self.__name__ = getattr(scorer.around, "__name__", "handler")
        self._options = options
        self._store: Store | None = None

    def begin(self) -> None:
        """Prepare, in the phase in which the environment starts, for what comes later."""
        if self.initialization not in {None, "on-demand"}:
            # Nobody waits for these now.
            import glowplug.serve.aws_lambda.records
            import glowplug.serve.aws_lambda.web  # noqa: F401
        if self.initialization == "snap-start" or self.telemetry.buffers:
            from glowplug.serve.aws_lambda.lifecycle import watch

            watch(self)

    def around(self, function: Around) -> Handler:
        """The same function with a generator function around its scoring; what the handler as a decorator does."""
        # Which are refused beside it.
        others: dict[str, Any] = {"before": self.scorer.before, "after": self.scorer.after}
        scorer = Scorer(self.scorer.model, around=function, **others, **self._options)
        made = Handler(scorer, self._options, **{name: getattr(self, name) for name in _ENDS})
        made.begin()
        return made

    def __call__(self, event: Any, context: Any = None) -> Any:
        """Serve one invocation.

        `telemetry.record` gets its `Measure` and, by name: `trigger`, `seconds`, `is_cold`, `initialization`, `context`, and
        for batches of records how many `records` there were and how many of them `failed`.

        Returns:
            For requests the answer that their sender wants; for queues and streams the records that failed; otherwise what
            the model, or the function around it, says.

        Raises:
            Exception: What an invocation that is no request, queue or stream fails with, which Lambda reports to its caller.
        """
        if context is None and callable(event):
            return self.around(event)
        started, measure = perf_counter_ns(), Measure()
        facts: dict[str, Any] = {"trigger": trigger_of(event)}
        is_raised = False
        try:
            return self._serve(event, context, facts, measure)
        except Exception as error:
            is_raised, measure.error = True, measure.error or error
            raise
        finally:
            facts["seconds"] = (perf_counter_ns() - started) / 1e9
            facts |= {"is_cold": self.is_cold, "initialization": self.initialization, "context": context}
            self.telemetry.record(measure, **facts)
            self.is_cold = False
            if not is_raised:
                forget(measure.error)

    def restored(self) -> None:
        """Forget what belonged to the environment that a snapshot was taken of: connections, and that it was warm."""
        self.is_cold = True
        self._store = None

    def time_left(self, context: Any) -> float | None:
        """Seconds that a run may take now."""
        return None if context is None else context.get_remaining_time_in_millis() / 1000 - self.margin

    def _serve(self, event: Any, context: Any, facts: dict[str, Any], measure: Measure) -> Any:
        trigger = facts["trigger"]
        if trigger in WEB:
            return self._answer(event, context, trigger, measure)
        if trigger in BATCHES:
            from glowplug.serve.aws_lambda.records import Records

            return Records(self, event, context, trigger).serve(facts, measure)
        if trigger == S3 or (trigger == EVENT_BRIDGE and event.get("source") == "aws.s3"):
            facts["trigger"] = S3
            return self.score_objects(event, context, measure)
        data = event if trigger == DIRECT else event["Items"] if trigger == ITEMS else event["detail"]
        if trigger == EVENT_BRIDGE and not data and event.get("source") == "aws.events":
            # A schedule that only keeps the environment alive.
            return None
        return self.scorer.score(data, timeout=self.time_left(context), measure=measure, call=Call(event, context))

    def _answer(self, event: Any, context: Any, trigger: str, measure: Measure) -> Any:
        from glowplug.serve.aws_lambda.web import answer_of, is_health_check, request_of
        from glowplug.serve.http import Response

        try:
            request = request_of(event, trigger)
        except Exception as error:  # noqa: BLE001 - a request that cannot be read is answered as well
            measure.error = error
            return answer_of(self.scorer.problem(error).response(), event, trigger)
        if is_health_check(request):
            return answer_of(Response(200, {}, b""), event, trigger)
        call = Call(event, context)
        response = self.scorer.respond(request, timeout=self.time_left(context), measure=measure, call=call)
        return answer_of(response, event, trigger)

    def score_objects(self, event: dict[str, Any], context: Any, measure: Measure) -> list[dict[str, Any]]:
        """Score the objects that an event of S3 says were made; see `Store.score`.

        Raises:
            Exception: What went wrong first, when all other objects are done.
        """
        from glowplug.serve.aws_lambda.objects import Store, objects_of

        store = self._store = self._store or Store(self.scorer, self.output)
        done, failed = list[dict[str, object]](), None
        for bucket, key, version in objects_of(event):
            timeout, call = self.time_left(context), Call(event, context)
            try:
                found = store.score(bucket, key, version, timeout=timeout, measure=measure, call=call)
            except Exception as error:  # noqa: BLE001 - the others go on
                failed = failed or error
            else:
                done += [] if found is None else [found]
        if failed is not None:
            raise failed
        return done
