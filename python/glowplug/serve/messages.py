"""Scoring messages of a queue or topic, where the platform delivers a message again if its function fails."""

from __future__ import annotations

from glowplug.errors import DeadlineExceeded, EngineError, InputError
from glowplug.serve.http import Limits, Problem, decoded
from glowplug.serve.scoring import Measure, Scorer

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from typing import Any

    from glowplug.model import Model


class MessageScorer:
    """Scores messages one by one, and says what became of each.

    A message that can never be scored, because its rows do not fit the model or the model cannot be computed for them, is not
    an error of the function: it would come again for ever. It goes to `reject`, or to the log. Everything else that fails is
    raised, so that the platform delivers the message again.

    Args:
        model: A model, or the path of one.
        deliver: Called with the predictions, as plain Python, and the message or event.
        reject: Called with a `Problem` and the message or event that cannot be scored.
        options: Of the `Scorer`.
    """

    def __init__(
        self,
        model: Model | str | os.PathLike[str],
        deliver: Callable[[Any, Any], object],
        *,
        reject: Callable[[Problem, Any], object] | None = None,
        limits: Limits | None = None,
        **options: Any,
    ) -> None:
        self.scorer = Scorer(model, limits=limits, **options)
        self._deliver = deliver
        self._reject = reject or _log

    def score(self, body: Any, message: Any, *, encoding: str | None = None, measure: Measure | None = None) -> None:
        """Score what a message holds: bytes of JSON, or plain Python that the platform has read from them."""
        try:
            if isinstance(body, (bytes, str)):
                body = _parsed(body if isinstance(body, bytes) else body.encode(), encoding, self.scorer.limits)
            predictions = self.scorer.score(body, measure=measure)
        except (EngineError, InputError, Problem) as error:
            if isinstance(error, DeadlineExceeded):
                raise
            self.refuse(self.scorer.problem(error), message)
            return
        self._deliver(predictions, message)

    def refuse(self, problem: Problem, message: Any) -> None:
        """Give up a message that cannot be scored."""
        self._reject(problem, message)


def _parsed(body: bytes, encoding: str | None, limits: Limits) -> Any:
    from json import loads

    try:
        return loads(decoded(body, encoding, limits))
    except (ValueError, RecursionError) as error:
        raise InputError.about("message", f"is no JSON: {error}", "send rows as one JSON value") from None


def _log(problem: Problem, message: Any) -> None:
    from logging import getLogger

    name = getattr(message, "id", None) or type(message).__name__
    getLogger("glowplug").error("a message cannot be scored, and is not tried again: %s: %s", name, problem.detail)
