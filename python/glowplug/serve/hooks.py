"""What users put round the scoring of a question: functions before and after it, or one generator function around it."""

from __future__ import annotations

from glowplug.errors import OptionError, OptionTypeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from typing import Any, TypeAlias

    Around: TypeAlias = Callable[..., Generator[Iterable[Any], Any, Any]]

#: Flags of the code of generator functions, and of functions that take any number of positional arguments.
_GENERATOR, _VARIADIC = 0x20, 0x04


def check_around(function: Any) -> bool:
    """Whether a generator function takes, beside the question, what the platform says of the call.

    Raises:
        OptionTypeError: This is no generator function, or takes no question.
    """
    fix = "write `rows = …`, `predictions = yield rows` and `return answer` in it"
    code = getattr(function, "__code__", None)
    if code is None or not code.co_flags & _GENERATOR:
        got = "a function without `yield`" if callable(function) else type(function).__name__
        raise OptionTypeError.about("option `around`", f"got {got}, expected a generator function", fix)
    bound = getattr(function, "__self__", None) is not None
    count = code.co_argcount - bound
    if not count and not code.co_flags & _VARIADIC:
        problem = "got a function without arguments, expected one that takes the question"
        raise OptionTypeError.about("option `around`", problem, fix)
    return bool(count > 1)


class Steps:
    """One question on its way through `before` and `after`.

    `rows` are what to score; `None` where it is the question itself.
    """

    __slots__ = ("_after", "_question", "rows")

    def __init__(
        self,
        question: Any,
        before: Callable[[Any], Iterable[Any]] | None,
        after: Callable[[Any, Any], Any] | None,
    ) -> None:
        self._question = question
        self._after = after
        self.rows = None if before is None else before(question)

    def finish(self, predictions: Any) -> Any:
        """Make the answer."""
        return predictions if self._after is None else self._after(predictions, self._question)

    def fail(self, error: Exception) -> Any:
        """Make the answer where scoring failed: there is none."""
        raise error


class AroundSteps:
    """One question on its way through a generator function.

    It yields the rows, once. Predictions come back from the `yield`, or the error is raised there, which it may catch. What it
    returns is the answer; if it returns before the `yield`, nothing is scored.
    """

    __slots__ = ("_answer", "_steps", "rows")

    def __init__(self, steps: Generator[Iterable[Any], Any, Any]) -> None:
        self._steps: Generator[Iterable[Any], Any, Any] | None = steps
        try:
            self.rows: Iterable[Any] | None = next(steps)
        except StopIteration as done:
            self._steps, self._answer, self.rows = None, done.value, ()

    def finish(self, predictions: Any) -> Any:
        """Make the answer."""
        return self._answer if self._steps is None else self._end(self._steps.send, predictions)

    def fail(self, error: Exception) -> Any:
        """Make the answer where scoring failed, if the function has one.

        Raises:
            Exception: The error itself, or what the function raises instead.
        """
        return self._answer if self._steps is None else self._end(self._steps.throw, error)

    def _end(self, go: Callable[[Any], Any], value: Any) -> Any:
        try:
            go(value)
        except StopIteration as done:
            return done.value
        if self._steps is not None:
            self._steps.close()
        fix = "yield all rows of a question at once, and return the answer"
        raise OptionError.about("option `around`", "yields a second time", fix)
