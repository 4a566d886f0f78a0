"""Records of queues, topics and streams: scored together, and only those that failed are sent again."""

from __future__ import annotations

from glowplug.errors import DeadlineExceeded, InputError, OptionError, OptionTypeError, OutOfMemoryError
from glowplug.serve.aws_lambda.function import Call, Delivery
from glowplug.serve.aws_lambda.triggers import DYNAMODB, KINESIS, SNS, SQS
from glowplug.serve.batches import NOTHING, Parsed, Room, score_batch
from glowplug.serve.http import Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from glowplug.serve.aws_lambda.function import Handler
    from glowplug.serve.batches import Scored
    from glowplug.serve.scoring import Measure

_GZIP = b"\x1f\x8b"
TOO_LARGE = 413
#: Of senders: what they sent will never be right.
_MISTAKES = (InputError, Problem)
#: How gzip begins in base64, as which it travels in text, and no JSON does.
_GZIP_BASE64 = "H4sI"
#: Where the name of a record stands by which it is reported.
_IDS = {SQS: ("messageId",), KINESIS: ("kinesis", "sequenceNumber"), DYNAMODB: ("dynamodb", "SequenceNumber")}


class Records:
    """One batch of records, on its way.

    A record that failed holds up those behind it where order matters: of its message group in a FIFO queue, and all of a
    shard. They are not answered now, because they will come again.
    """

    def __init__(self, handler: Handler, event: dict[str, Any], context: Any, trigger: str) -> None:
        self.handler = handler
        self.event = event
        self.context = context
        self.trigger = trigger
        self.records: list[dict[str, Any]] = event["Records"]
        #: Positions of the records that have to come again, and what went wrong first.
        self.failed: set[int] = set()
        self.error: Exception | None = None
        self._held = set[str]()
        #: Bytes that may still be decompressed: all records are held until they are scored.
        self._room = handler.scorer.limits.decompressed

    def serve(self, facts: dict[str, Any], measure: Measure) -> Any:
        """Score all, and say which failed; for a topic, which sends one record at a time, give the answer, or raise."""
        questions = [self._question(position) for position in range(len(self.records))]
        done = self._finished(questions, self._scored(questions, measure), measure)
        self._deliver(done)
        facts["records"], facts["failed"], measure.error = len(self.records), len(self.failed), self.error
        if self.failed:
            self._log()
        if self.trigger != SNS:
            return {"batchItemFailures": [{"itemIdentifier": self._id(position)} for position in self._reported()]}
        if self.failed and self.error is not None:
            raise self.error
        answers = [delivery.answer for delivery in done.values()]
        return answers[0] if len(answers) == 1 else answers or None

    def _scored(self, questions: list[Any], measure: Measure) -> dict[int, Scored]:
        """All questions in one run, by their positions; objects in S3 are no questions."""
        handler, scorer = self.handler, self.handler.scorer
        asked = [position for position, question in enumerate(questions) if not isinstance(question, Objects)]
        if asked and handler.deliver is None and self.trigger != SNS and scorer.after is None and scorer.around is None:
            subject, problem = f"predictions of {self.trigger} records", "have nowhere to go"
            raise OptionError.about(subject, problem, "pass `deliver=`, or use the handler as a decorator")
        batch = score_batch(
            scorer,
            (questions[position] for position in asked),
            timeout=handler.time_left(self.context),
            measure=measure,
            calls=lambda index: Call(self.event, self.context, self.records[asked[index]]),
            room=Room(scorer.limits),
        )
        return dict(zip(asked, batch, strict=True))

    def _finished(self, questions: list[Any], scored: dict[int, Scored], measure: Measure) -> dict[int, Delivery]:
        """Answers by position, without those that failed and those that wait for them."""
        done: dict[int, Delivery] = {}
        for position, record in enumerate(self.records):
            if self._is_held(position):
                self.failed.add(position)
                continue
            try:
                if position in scored:
                    answer = scored[position].finish()
                else:
                    answer = self.handler.score_objects(questions[position].event, self.context, measure)
            except Exception as error:  # noqa: BLE001 - it is one record's, and the others go on
                self._fail(position, error)
            else:
                done[position] = Delivery(record, answer)
        return done

    def _question(self, position: int) -> Any:
        record = self.records[position]
        try:
            if self.trigger == DYNAMODB:
                # Where an item is gone, there is nothing to score.
                return NOTHING if record.get("eventName") == "REMOVE" else self._item(record["dynamodb"])
            if self.trigger == KINESIS:
                return self._bytes(record["kinesis"]["data"])
            text = unwrapped(record["body"] if self.trigger == SQS else record["Sns"]["Message"])
            if isinstance(text, Objects) and not self.handler.objects:
                # Whoever may send a message would read and write with the function's rights.
                problem = "names objects in S3, which a message may not"
                fix = "if S3 alone sends these messages, pass `objects=True`"
                raise InputError.about("record", problem, fix)
            return self._bytes(text) if isinstance(text, str) and text.startswith(_GZIP_BASE64) else text
        except (InputError, OutOfMemoryError) as error:
            return error
        except Problem as problem:
            return InputError.about("record", problem.detail, "check what is put into the stream")
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            what = f"is not one of {self.trigger}: {type(error).__name__}: {error}"
            return InputError.about("record", what, "send it as the service does")

    def _bytes(self, data: str) -> bytes:
        """What travels as base64, without gzip."""
        from glowplug.serve.http import from_base64, inflated

        body = from_base64(data)
        if not body.startswith(_GZIP):
            return body
        most = self.handler.scorer.limits.decompressed
        try:
            body = inflated(body, "gzip", self._room)
        except Problem as problem:
            if problem.status != TOO_LARGE or self._room == most:
                raise
            # It may be right, but for those before it.
            what = f"records that came together have more than {most} bytes when decompressed"
            raise OutOfMemoryError.about("record", what, "give the event source smaller batches") from None
        self._room -= len(body)
        return body

    def _item(self, change: dict[str, Any]) -> Any:
        from glowplug.serve.aws_lambda.attributes import plain_item

        if "NewImage" not in change:
            problem = f"has no NewImage, with the view type {change.get('StreamViewType')}"
            return InputError.about("record", problem, "set the stream's view type to NEW_IMAGE or NEW_AND_OLD_IMAGES")
        item = plain_item(change["NewImage"])
        if self.handler.scorer.has_hooks:
            return Parsed(item)
        # Keys and other attributes are in every item; a row is what the model knows of it.
        model = self.handler.scorer.model
        known = model.features or [spec.name for spec in model.inputs]
        return Parsed({name: value for name, value in item.items() if name in known})

    def _group(self, position: int) -> str | None:
        """What a record must stay in order with."""
        if self.trigger in {KINESIS, DYNAMODB}:
            return "shard"
        record = self.records[position]
        if self.trigger == SQS and str(_member(record, "eventSourceARN")).endswith(".fifo"):
            group = _member(record, "attributes", "MessageGroupId")
            return group if isinstance(group, str) else None
        return None

    def _is_held(self, position: int) -> bool:
        return bool(self._held) and self._group(position) in self._held

    def _note(self, error: Exception) -> None:
        """Keep what went wrong first; mistakes of senders give way to what is ours to mend."""
        if self.error is None or (isinstance(self.error, _MISTAKES) and not isinstance(error, _MISTAKES)):
            self.error = error

    def _fail(self, position: int, error: Exception) -> None:
        self._note(error)
        if self.handler.reject is not None and isinstance(error, _MISTAKES):
            # It will never be right, so that sending it again is of no use.
            try:
                self.handler.reject(self.records[position], error)
            except Exception as failure:  # noqa: BLE001 - then it comes again
                self._note(failure)
            else:
                return
        self.failed.add(position)
        group = self._group(position)
        if group is not None:
            self._held.add(group)

    def _deliver(self, done: dict[int, Delivery]) -> None:
        deliver = self.handler.deliver
        ready = [delivery for delivery in done.values() if delivery.answer is not NOTHING]
        if deliver is None or not ready:
            return
        try:
            left = _given_back(deliver(ready), ready)
            error: Exception = RuntimeError("`deliver` gave records back")
        except Exception as failure:  # noqa: BLE001 - they come again
            left, error = {id(delivery) for delivery in ready}, failure
        if not left:
            return
        held = set[str | None]()
        for position, delivery in done.items():
            group = self._group(position)
            if id(delivery) in left:
                self._note(error)
                held.add(group)
            if id(delivery) in left or (group is not None and group in held):
                self.failed.add(position)

    def _reported(self) -> list[int]:
        """Who is named in the answer: of a shard the first, from which on all come again."""
        failed = sorted(self.failed)
        return failed[:1] if self.trigger in {KINESIS, DYNAMODB} else failed

    def _id(self, position: int) -> str:
        """Without one, which no service sends, empty: AWS then takes the whole batch as failed, and nothing is lost."""
        found = _member(self.records[position], *_IDS[self.trigger])
        return str(found) if isinstance(found, (str, int)) else ""

    def _log(self) -> None:
        from logging import getLogger

        count, total, error = len(self.failed), len(self.records), self.error
        # Where the mistake is not the sender's, the way to it is worth its lines.
        trace = None if isinstance(error, (*_MISTAKES, DeadlineExceeded)) else error
        words = "%d of %d %s records failed; the first: %s"
        getLogger("glowplug").warning(words, count, total, self.trigger, error, exc_info=trace)


def _member(record: Any, *names: str) -> Any:
    """What a record holds below the names; `None` if it has another form, as records made by hand do."""
    for name in names:
        record = record.get(name) if isinstance(record, dict) else None
    return record


def _given_back(given: Any, ready: list[Delivery]) -> set[int]:
    """Which deliveries come again, by identity.

    Raises:
        OptionError: Something else was given back. Nobody knows then what was delivered.
    """
    if given is None:
        return set()
    fix = "give back those of the deliveries that have to come again, or nothing"
    if not hasattr(given, "__iter__"):
        problem = f"gave back {type(given).__name__}, expected deliveries"
        raise OptionTypeError.about("option `deliver`", problem, fix)
    # Kept, so that no other object takes the place of one.
    back = list(given)
    left, known = {id(delivery) for delivery in back}, {id(delivery) for delivery in ready}
    if not left <= known:
        strange = next(one for one in back if id(one) not in known)
        problem = f"gave back {type(strange).__name__} that is none of the deliveries it got"
        raise OptionError.about("option `deliver`", problem, fix)
    return left


class Objects:
    """A message that says that objects were made in S3."""

    __slots__ = ("event",)

    def __init__(self, event: dict[str, Any]) -> None:
        self.event = event


def unwrapped(text: str) -> Any:
    """The payload of a message, without the envelopes of topics and event buses that send to queues.

    It is text, or what was parsed on the way: `Parsed`, or `Objects`.
    """
    if not isinstance(text, str):
        return InputError.about("record", f"got {type(text).__name__} as its body, expected text", "send it as text")
    while '"TopicArn"' in text or '"detail-type"' in text or '"aws:s3"' in text or '"s3:TestEvent"' in text:
        from json import loads

        try:
            envelope = loads(text)
        except (ValueError, RecursionError):
            break
        if not isinstance(envelope, dict):
            break
        records = envelope.get("Records")
        if envelope.get("Type") == "Notification" and isinstance(envelope.get("Message"), str):
            text = envelope["Message"]
        elif "detail-type" in envelope and "detail" in envelope:
            return Objects(envelope) if envelope.get("source") == "aws.s3" else Parsed(envelope["detail"])
        elif envelope.get("Event") == "s3:TestEvent":
            return Objects({"Records": []})
        elif isinstance(records, list) and records and isinstance(records[0], dict) and "s3" in records[0]:
            return Objects(envelope)
        else:
            break
    return text
