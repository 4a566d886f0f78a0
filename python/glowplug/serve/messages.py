"""Scoring messages of a queue or topic, where the platform delivers a message again if its function fails."""

from __future__ import annotations

from time import perf_counter

from glowplug.errors import DeadlineExceeded, EngineError, InputError
from glowplug.serve.http import Limits, Problem, check_parsed, decoded
from glowplug.serve.scoring import Measure, Scorer, forget
from glowplug.telemetry import recorder

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from typing import Any

    from glowplug.model import Model
    from glowplug.telemetry import Telemetry


class MessageScorer:
    """Scores messages one by one, and says what became of each.

    A message that can never be scored, because its rows do not fit the model or the model cannot be computed for them, is not
    an error of the function: it would come again for ever. It goes to `reject`, or to the log. Everything else that fails is
    raised, so that the platform delivers the message again.

    Args:
        model: A model, or the path of one.
        deliver: Called with the predictions, as plain Python, and the message or event.
        trigger: What telemetry calls that which comes.
        reject: Called with a `Problem` and the message or event that cannot be scored.
        telemetry: Is told of each message, its delivery included; see `glowplug.telemetry.recorder`.
        options: Of the `Scorer`.
    """

    def __init__(
        self,
        model: Model | str | os.PathLike[str],
        deliver: Callable[[Any, Any], object],
        *,
        trigger: str,
        reject: Callable[[Problem, Any], object] | None = None,
        telemetry: Telemetry = None,
        limits: Limits | None = None,
        **options: Any,
    ) -> None:
        self.scorer = Scorer(model, limits=limits, **options)
        self._deliver = deliver
        self._reject = reject or log_rejected
        self.telemetry = recorder(telemetry)
        self._trigger = trigger
        self._is_cold = True

    def score(self, body: Any, message: Any, *, encoding: str | None = None) -> None:
        """Score what a message holds: bytes of JSON, or plain Python that the platform has read from them."""
        began, measure = perf_counter(), Measure()
        try:
            self._score(body, message, encoding, measure)
        except Exception as error:
            measure.error = error
            raise
        finally:
            self._tell(measure, perf_counter() - began)

    def _score(self, body: Any, message: Any, encoding: str | None, measure: Measure) -> None:
        try:
            if isinstance(body, (bytes, str)):
                body = _parsed(body if isinstance(body, bytes) else body.encode(), encoding, self.scorer.limits)
            predictions = self.scorer.score(body, measure=measure)
        except (EngineError, InputError, Problem) as error:
            if isinstance(error, DeadlineExceeded):
                raise
            measure.error = error
            self._reject(self.scorer.problem(error), message)
            forget(error)
            return
        self._deliver(predictions, message)

    def refuse(self, problem: Problem, message: Any) -> None:
        """Give up a message that cannot be read."""
        measure = Measure()
        measure.error = problem
        self._tell(measure, 0.0)
        self._reject(problem, message)

    def _tell(self, measure: Measure, seconds: float) -> None:
        is_cold, self._is_cold = self._is_cold, False
        self.telemetry.record(measure, trigger=self._trigger, seconds=seconds, is_cold=is_cold)


def _parsed(body: bytes, encoding: str | None, limits: Limits) -> Any:
    from json import loads

    try:
        text = decoded(body, encoding, limits)
        check_parsed(text, limits)
        return loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError.about("message", f"is no JSON: {error}", "send rows as one JSON value") from None


def log_rejected(problem: Problem, message: Any) -> None:
    """Say that a message was given up."""
    from logging import getLogger

    getLogger("glowplug").error(
        "a message cannot be scored, and is not tried again: %s: %s", _name(message), problem.detail
    )


def log_failed(error: Exception, message: Any) -> None:
    """Say that a message failed whose error nobody sees otherwise."""
    from logging import getLogger

    words = "a message failed, after another of its batch: %s: %s"
    getLogger("glowplug").error(words, _name(message), error, exc_info=error)


def _name(message: Any) -> str:
    name = getattr(message, "id", None)
    if name is None and hasattr(message, "get"):
        # As events of Google's have it.
        name = message.get("id")
    return str(name or type(message).__name__)
