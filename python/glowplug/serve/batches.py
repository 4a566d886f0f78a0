"""Many questions that came together: scored in one run, each answered, or failed, on its own."""

from __future__ import annotations

from json import dumps, loads
from time import perf_counter_ns

from glowplug.errors import DeadlineExceeded, InputError, OutOfMemoryError
from glowplug.serve.http import PARSED, check_parsed
from glowplug.serve.scoring import NO_FALLBACK, json_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from glowplug.serve.hooks import AroundSteps, Steps
    from glowplug.serve.http import Limits
    from glowplug.serve.scoring import Measure, Scorer


#: A question that there is nothing to say to, and its own answer.
NOTHING: Any = object()


class Room:
    """What questions that came together may take as Python's objects: hooks hold all of them until they are answered.

    As much as one question may take alone, so that one that has no room is right by itself.
    """

    __slots__ = ("left", "most")

    def __init__(self, limits: Limits) -> None:
        self.most = self.left = PARSED * limits.decompressed

    def check(self, size: int) -> None:
        """Refuse a question that only those before it leave no room for.

        Raises:
            OutOfMemoryError: It has to come again, with fewer others.
        """
        if size > self.left:
            what = f"records that came together take more than {self.most} bytes when parsed"
            raise OutOfMemoryError.about("record", what, "give the event source smaller batches")


class Answers:
    """What the core said to a batch, as JSON; Python objects are made of all at once, and only if somebody looks at one."""

    __slots__ = ("_values", "texts")

    def __init__(self, texts: list[Any]) -> None:
        self.texts = texts
        self._values: list[Any] | None = None

    def value(self, index: int) -> Any:
        """One answer as plain Python."""
        if self._values is None:
            texts = (text if isinstance(text, bytes) else b"null" for text in self.texts)
            self._values = loads(b"[" + b",".join(texts) + b"]")
        return self._values[index]


class Scored:
    """One question of a batch. `finish` makes its answer, or raises its error; it is called once."""

    __slots__ = ("_answer", "_answers", "_fallback", "_scorer", "_steps")

    def __init__(self, scorer: Scorer, fallback: Any) -> None:
        self._scorer = scorer
        self._fallback = fallback
        self._steps: Steps | AroundSteps | None = None
        #: What went wrong, what is known without the core, or the place in its answers.
        self._answer: Any = None
        self._answers: Answers | None = None

    def json(self) -> bytes:
        """The answer as JSON: what `finish` gives, without making Python objects of it where nobody looks at them."""
        if self._steps is None and self._answers is not None:
            text = self._answers.texts[self._answer]
            if isinstance(text, bytes):
                return text
        return json_bytes(self.finish())

    def finish(self) -> Any:
        """The answer as plain Python.

        Raises:
            Exception: What is wrong with the question, or went wrong.
        """
        answer, steps, answers = self._answer, self._steps, self._answers
        if answers is not None:
            text = answers.texts[answer]
            answer = answers.value(answer) if isinstance(text, bytes) else text
        if answer is NOTHING:
            return NOTHING
        try:
            if isinstance(answer, Exception):
                if steps is None:
                    raise answer
                return steps.fail(answer)
            if steps is None:
                return answer
            if steps.rows is not None:
                answer = _by_output(answer["predictions"], self._scorer)
            return steps.finish(answer)
        except DeadlineExceeded:
            if self._fallback is NO_FALLBACK:
                raise
            return self._fallback


def score_batch(
    scorer: Scorer,
    questions: Iterable[Any],
    *,
    timeout: float | None = None,
    measure: Measure,
    calls: Callable[[int], Any] = lambda _: None,
    has_fallback: bool = True,
    room: Room | None = None,
) -> list[Scored]:
    """Score questions in one run, as far as the model's rows do not depend on each other.

    Args:
        scorer: Whose model, hooks, limits and fallback.
        questions: Each is JSON as text or bytes, plain Python in a `Parsed`, or an exception: what is wrong with it already.
        timeout: Seconds that are left for all runs together.
        measure: Is told what it took.
        calls: Gives what the platform says of the question of an index, for `around`.
        has_fallback: Whether the scorer's fallback answers where the time was over.
        room: What all may take together when they are parsed for hooks; without it only each is bounded, which is enough
            where they are short.
    """
    started = perf_counter_ns()
    fallback = scorer.fallback if has_fallback else NO_FALLBACK
    batch: list[Scored] = []
    bodies: list[Any] = []
    for index, question in enumerate(questions):
        scored = Scored(scorer, fallback)
        batch.append(scored)
        try:
            bodies.append(_body(scorer, scored, question, calls, index, room=room))
        except Exception as error:  # noqa: BLE001 - it is one question's, and the others go on
            scored._answer = error  # noqa: SLF001 - a function of this module
            bodies.append(None)
    asked = [index for index, body in enumerate(bodies) if body is not None]
    # Hooks have had their part of the time.
    left = None if timeout is None else timeout - (perf_counter_ns() - started) / 1e9
    texts, took = scorer.answers_to([bodies[index] for index in asked], left)
    measure.add(took)
    answers = Answers(texts)
    for place, index in enumerate(asked):
        scored = batch[index]
        scored._answer, scored._answers = place, answers  # noqa: SLF001 - a function of this module
    return batch


class Parsed:
    """A question that a platform has parsed already."""

    __slots__ = ("data",)

    def __init__(self, data: Any) -> None:
        self.data = data


def _body(
    scorer: Scorer, scored: Scored, question: Any, calls: Callable[[int], Any], index: int, *, room: Room | None
) -> Any:
    """What the core is asked, as JSON; `None` if there is nothing to ask."""
    if isinstance(question, Exception):
        raise question
    if question is NOTHING:
        scored._answer = NOTHING  # noqa: SLF001 - a function of this module
        return None
    if not scorer.has_hooks:
        return dumps(question.data) if isinstance(question, Parsed) else question
    if isinstance(question, Parsed):
        data = question.data
    else:
        size = check_parsed(question, scorer.limits)
        if room is not None:
            room.check(size)
        try:
            data = loads(question)
        except (ValueError, RecursionError) as error:
            raise InputError.about("JSON body", f"cannot be read: {error}", "send one JSON value") from None
        if room is not None:
            room.left -= size
    steps = scored._steps = scorer.steps(data, calls(index))  # noqa: SLF001 - a function of this module
    if steps.rows is None:
        return dumps(data) if isinstance(question, Parsed) else question
    rows = list(steps.rows)
    if rows:
        return dumps({"instances": rows}, default=_plain)
    scored._answer = {"predictions": []}  # noqa: SLF001 - a function of this module
    return None


def _plain(value: Any) -> Any:
    """What rows may hold beside JSON's own: NumPy's scalars and arrays, text in UTF-8, numbers of other kinds, iterables."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (bytes, bytearray)):
        return value.decode()
    if hasattr(value, "__float__"):
        return float(value)
    return list(value)


def _by_output(predictions: list[Any], scorer: Scorer) -> Any:
    """Predictions of rows in the form that `Model.predict_rows` gives them."""
    if scorer.method != "run":
        return predictions
    return {spec.name: [row[spec.name] for row in predictions] for spec in scorer.model.outputs}
