"""The handler that all platforms share: a request or an event in, an answer out, and nothing that it meets stops it."""

from __future__ import annotations

from time import perf_counter_ns

from glowplug.errors import (
    DeadlineExceeded,
    EngineError,
    InputError,
    LimitError,
    OptionError,
    OptionTypeError,
    OutOfMemoryError,
)
from glowplug.model import Model, load
from glowplug.serve.http import (
    BYTES,
    CSV,
    JSON,
    NPY,
    Limits,
    Problem,
    Request,
    Response,
    check_parsed,
    decoded,
    media_type,
    wanted_type,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable
    from typing import Any, Literal, TypeAlias

    from glowplug.serve.hooks import Around, AroundSteps, Steps

    Method = Literal["predict", "predict_proba", "run"]
    Before: TypeAlias = Callable[[Any], Iterable[Any]]
    After: TypeAlias = Callable[[Any, Any], Any]

METHODS = ("predict", "predict_proba", "run")
MOST_CHAINED = 20
#: There is no fallback: `None` may be one.
NO_FALLBACK: Any = object()


class Measure:
    """What one call took, filled in while it is served.

    `rows` that were scored, `read_ns` and `run_ns`, the nanoseconds of reading the question and of running the model, and
    `error`, what went wrong, and the name of the `model`, where a server has several.
    """

    __slots__ = ("error", "model", "read_ns", "rows", "run_ns")

    def __init__(self) -> None:
        self.rows = self.read_ns = self.run_ns = 0
        self.error: Exception | None = None
        self.model: str | None = None

    def clear(self) -> None:
        """Begin anew."""
        self.rows = self.read_ns = self.run_ns = 0
        self.error = None

    def add(self, took: tuple[int, int, int]) -> None:
        """Add what the core counted."""
        self.rows += took[0]
        self.read_ns += took[1]
        self.run_ns += took[2]


def forget(error: BaseException | None) -> None:
    """Let go of the frames that an error came through, when it is answered and told.

    They hold the body, and who counts holds the error, and is held by the frames: a body of each bad request would wait for
    the collector of cycles.
    """
    # Whoever raises an error from itself makes a chain without an end.
    for _ in range(MOST_CHAINED):
        if error is None:
            return
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def check_functions(**hooks: object) -> None:
    """Make sure that options are functions, or left out.

    Raises:
        OptionTypeError: One is something else.
    """
    for name, hook in hooks.items():
        if hook is not None and not callable(hook):
            subject, problem = f"option `{name}`", f"got {type(hook).__name__}, expected a function"
            raise OptionTypeError.about(subject, problem, "pass a function, or leave it out")


class Scorer:
    """Scores requests and events with one model.

    Any number of threads may use one. What goes wrong becomes an answer that says so; the next request is scored as if
    nothing had happened.

    Args:
        model: A model, or the path of one, which is loaded here and now: in the phase that the platform starts us in.
        method: What a prediction is; see `Model.predict_json`.
        before: Makes rows, as for `Model.predict_rows`, of a question: what its JSON holds, a list of rows of CSV (dicts
            if there is a header), or an array. Without it the question itself is scored.
        after: Makes the answer of the predictions and the question: plain Python, bytes, or to requests also a `Response`.
        around: Both in one: a generator function of the question that yields rows, gets their predictions for them, and
            returns the answer. See `glowplug.serve.hooks.Steps`.
        limits: What is too large to be looked at.
        timeout: Seconds that a run may take; a call may have less.
        fallback: The whole answer, as plain Python, where a deadline ended the run. Without it the answer is 503.
    """

    def __init__(
        self,
        model: Model | str | os.PathLike[str],
        *,
        method: Method = "predict",
        before: Before | None = None,
        after: After | None = None,
        around: Around | None = None,
        limits: Limits | None = None,
        timeout: float | None = None,
        fallback: Any = NO_FALLBACK,
    ) -> None:
        if method not in METHODS:
            subject, problem = "option `method`", f'got {method!r}, expected "predict", "predict_proba" or "run"'
            raise OptionError.about(subject, problem, "leave `method` out for the first output")
        check_functions(before=before, after=after)
        if around is not None:
            if before is not None or after is not None:
                subject, problem = "option `around`", "got `before` or `after` beside it"
                raise OptionError.about(subject, problem, "do in `around`, before and after its `yield`, what they do")
            from glowplug.serve.hooks import check_around

            self._around_takes_call = check_around(around)
        if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, (int, float))):
            subject, problem = "option `timeout`", f"got {type(timeout).__name__}, expected a number of seconds"
            raise OptionTypeError.about(subject, problem, "leave `timeout` out for no bound")
        if limits is not None and not isinstance(limits, Limits):
            subject, problem = "option `limits`", f"got {type(limits).__name__}, expected glowplug.serve.http.Limits"
            raise OptionTypeError.about(subject, problem, "pass a `Limits`, or leave it out")
        self.model = model if isinstance(model, Model) else load(model)
        self.method = method
        self.before = before
        self.after = after
        self.around = around
        #: Whether functions of the user's are called.
        self.has_hooks = before is not None or after is not None or around is not None
        self.limits = limits or Limits()
        self.timeout = timeout
        self.fallback = fallback

    def respond(
        self, request: Request, *, timeout: float | None = None, measure: Measure | None = None, call: Any = None
    ) -> Response:
        """Score a request: a POST with rows as JSON, CSV or `.npy`, as it is or with gzip.

        The answer has the form of the question, or the one that `accept` names. Mistakes are problem documents (RFC 9457).

        Args:
            request: What came.
            timeout: Seconds that are left for the run and what comes before it.
            measure: Is told what it took.
            call: What the platform says of the call, for `around`.
        """
        measure = measure or Measure()
        try:
            if request.method != "POST":
                raise Problem(405, f"got {request.method[:20]}, expected POST", headers={"allow": "POST"})
            headers = request.headers
            self.limits.check_length(headers.get("content-length"))
            body = decoded(request.body, headers.get("content-encoding"), self.limits)
            kind = media_type(headers.get("content-type"))
            wanted = wanted_type(headers.get("accept"), kind)
            return self.answer(body, kind, wanted, timeout=timeout, measure=measure, call=call)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets an answer
            measure.error = error
            if isinstance(error, DeadlineExceeded) and self.fallback is not NO_FALLBACK:
                return Response(200, {"content-type": JSON, "glowplug-fallback": "deadline"}, json_bytes(self.fallback))
            return self.problem(error).response()

    def answer(
        self,
        body: bytes | str,
        kind: str = JSON,
        wanted: str = JSON,
        *,
        timeout: float | None = None,
        measure: Measure,
        call: Any = None,
    ) -> Response:
        """Score a body of the media type `kind`.

        Returns:
            The answer, of the media type `wanted`, or JSON where that cannot hold it. A hook's `Response` is left as it is.

        Raises:
            Problem, GlowplugError: As the model and the hooks have it.
        """
        if kind == JSON and wanted == JSON and not self.has_hooks:
            return Response(200, {"content-type": JSON}, self._json(body, timeout, measure))
        started = perf_counter_ns()
        question, has_header = self._question(body, kind)
        measure.read_ns += perf_counter_ns() - started
        if not self.has_hooks:
            answer = self._predictions(body, kind, question, _left(timeout, started), measure)
        else:
            steps = self.steps(question, call)

            def predictions() -> Any:
                left = _left(timeout, started)
                if steps.rows is not None:
                    return self._rows(steps.rows, left, measure)
                return self._predictions(body, kind, question, left, measure)

            answer = self._through(steps, measure, predictions)
            if isinstance(answer, Response):
                return answer
        form, text = _written(answer, wanted, has_header=has_header)
        return Response(200, {"content-type": form}, text)

    def score(
        self, data: Any, *, timeout: float | None = None, measure: Measure | None = None, call: Any = None
    ) -> Any:
        """Score what a platform has parsed already: an event's payload, which is plain Python, to plain Python.

        Raises:
            Problem, GlowplugError: As the model and the hooks have it.
        """
        from json import dumps, loads

        measure, started = measure or Measure(), perf_counter_ns()

        def predictions(rows: Any) -> Any:
            if rows is not None:
                return self._rows(rows, _left(timeout, started), measure)
            return loads(self._json(dumps(data), _left(timeout, started), measure))

        try:
            if not self.has_hooks:
                return predictions(None)
            steps = self.steps(data, call)
            return self._through(steps, measure, lambda: predictions(steps.rows))
        except DeadlineExceeded as error:
            measure.error = error
            if self.fallback is NO_FALLBACK:
                raise
            return self.fallback
        except Exception as error:
            measure.error = error
            raise

    def steps(self, question: Any, call: Any = None) -> Steps | AroundSteps:
        """A question on its way through the hooks."""
        from glowplug.serve.hooks import AroundSteps, Steps

        if self.around is None:
            return Steps(question, self.before, self.after)
        return AroundSteps(self.around(question, call) if self._around_takes_call else self.around(question))

    @staticmethod
    def _through(steps: Steps | AroundSteps, measure: Measure, score: Callable[[], Any]) -> Any:
        try:
            predictions = score()
        except Exception as error:  # noqa: BLE001 - `fail` raises what the hooks do not catch
            measure.error = error
            return steps.fail(error)
        return steps.finish(predictions)

    def _time(self, left: float | None) -> float | None:
        """Seconds for a run: the least of what the caller has left and what was configured."""
        if left is None or self.timeout is None:
            return self.timeout if left is None else left
        return min(left, self.timeout)

    def _json(self, body: bytes | str, timeout: float | None, measure: Measure) -> bytes:
        handle, limits = self.model._handle, self.limits  # noqa: SLF001 - of one package
        answer, took = handle.measured_json(body, self.method, self._time(timeout), limits.rows)
        measure.add(took)
        return answer

    def answers_to(self, bodies: list[Any], timeout: float | None) -> tuple[list[Any], tuple[int, int, int]]:
        """Score many bodies of JSON in one run, as far as that gives the same answers.

        Returns:
            For each body its answer, as bytes, or what is wrong with it; and what all of it took, for `Measure.add`.
        """
        handle, limits = self.model._handle, self.limits  # noqa: SLF001 - of one package
        return handle.measured_each(bodies, self.method, self._time(timeout), limits.rows)

    def _rows(self, rows: Iterable[Any], timeout: float | None, measure: Measure) -> Any:
        handle, limits = self.model._handle, self.limits  # noqa: SLF001 - of one package
        answer, took = handle.measured_rows(rows, self.method, self._time(timeout), limits.rows)
        measure.add(took)
        return answer

    def problem(self, error: Exception) -> Problem:
        """What the sender is told about an error: all about mistakes of their own, nothing about ours."""
        if isinstance(error, Problem):
            return error
        if isinstance(error, InputError):
            problem, fix = self._words(error)
            status = 413 if isinstance(error, LimitError) else 400
            return Problem(status, problem, fix=fix, row=error.row, field=error.field)
        if isinstance(error, DeadlineExceeded):
            return Problem(503, "the model was not done in the time there was", headers={"retry-after": "1"})
        if isinstance(error, EngineError):
            return Problem(422, "the model cannot be computed for these values")
        from logging import getLogger

        getLogger("glowplug").error("a request failed: %s", error, exc_info=error)
        if isinstance(error, OutOfMemoryError):
            return Problem(503, "there is not enough memory for so many rows", headers={"retry-after": "1"})
        return Problem(500, "the request failed; the log of the service has the reason")

    def _words(self, error: InputError) -> tuple[str, str | None]:
        """Problem and fix of an error. Where the model lies is the service's own affair."""
        text = str(error).replace(self.model._handle.name, "the model")  # noqa: SLF001 - of one package
        problem, _, fix = text.partition("\n  fix: ")
        return problem, fix or None

    def _question(self, body: bytes | str, kind: str) -> tuple[Any, bool]:
        """A body as Python objects, and whether it is CSV with a header. Rows of CSV are read as they are asked for."""
        if kind == JSON:
            from json import loads

            check_parsed(body, self.limits)
            try:
                return loads(body), False
            except (ValueError, RecursionError) as error:
                raise InputError.about("JSON body", f"cannot be read: {error}", "send one JSON value") from None
        body = body.encode() if isinstance(body, str) else body
        if kind == NPY:
            from glowplug.serve.npy import read_npy

            return read_npy(body), False
        from io import BytesIO, TextIOWrapper

        from glowplug.serve.csv_rows import MOST_ROW, csv_rows

        text = TextIOWrapper(BytesIO(body), "utf-8-sig", newline="")
        rows, has_header = csv_rows(iter(lambda: text.readline(MOST_ROW + 1), ""), self.model)
        if not self.has_hooks:
            return rows, has_header
        from itertools import islice

        held = list(islice(rows, self.limits.rows + 1))
        if len(held) > self.limits.rows:
            raise Problem(413, f"got more rows than {self.limits.rows}")
        return held, has_header

    def _predictions(self, body: bytes | str, kind: str, question: Any, timeout: float | None, measure: Measure) -> Any:
        if kind == CSV:
            return self._rows(question, timeout, measure)
        if kind == NPY:
            rows = len(question) if question.ndim else 1
            if rows > self.limits.rows:
                raise Problem(413, f"got {rows} rows, expected at most {self.limits.rows}")
            started = perf_counter_ns()
            predictions = getattr(self.model, self.method)(question, timeout=self._time(timeout))
            measure.add((rows, 0, perf_counter_ns() - started))
            return predictions
        from json import loads

        return loads(self._json(body, timeout, measure))


def _left(timeout: float | None, started_ns: int) -> float | None:
    """Seconds that are left of `timeout` since then; less than none is for the core to refuse."""
    return None if timeout is None else timeout - (perf_counter_ns() - started_ns) / 1e9


def _written(answer: Any, wanted: str, *, has_header: bool) -> tuple[str, bytes]:
    """An answer as `wanted`, or as JSON where it is no table."""
    if isinstance(answer, bytes):
        return BYTES, answer
    if wanted == NPY:
        from glowplug.serve.npy import array_of, npy_bytes

        array = array_of(answer)
        if array is not None:
            return NPY, npy_bytes(array)
    answer = _plain(answer)
    if wanted == CSV:
        from glowplug.serve.csv_rows import csv_text

        table = answer
        if isinstance(answer, dict) and len(answer) == 1:
            table = answer.get("predictions", answer.get("outputs", answer))
        columns = table.values() if isinstance(table, dict) else [table]
        if all(isinstance(column, list) for column in columns):
            return CSV, csv_text(table, header=has_header)
    return JSON, json_bytes(answer)


def json_bytes(answer: Any) -> bytes:
    """Plain Python as JSON, with `null` for what JSON does not have."""
    from json import dumps

    try:
        text = dumps(answer, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = dumps(_finite(answer), ensure_ascii=False)
    return text.encode()


def _plain(answer: Any) -> Any:
    if hasattr(answer, "tolist"):
        return answer.tolist()
    return {name: _plain(value) for name, value in answer.items()} if isinstance(answer, dict) else answer


def _finite(answer: Any) -> Any:
    """Plain Python with `None` for what JSON does not have, as the core writes it."""
    if isinstance(answer, float):
        return answer if answer - answer == 0 else None
    if isinstance(answer, dict):
        return {key: _finite(value) for key, value in answer.items()}
    return [_finite(value) for value in answer] if isinstance(answer, (list, tuple)) else answer
