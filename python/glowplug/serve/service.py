"""What a server with a port of its own offers: scoring, the Open Inference Protocol, health. Servers call `respond`."""

from __future__ import annotations

from glowplug.serve.hosted import Models
from glowplug.serve.http import Limits, Problem, Response
from glowplug.serve.open_inference import OpenInference, refused
from glowplug.serve.scoring import Measure, forget
from glowplug.telemetry import recorder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from glowplug.serve.hosted import Sources
    from glowplug.serve.http import Request
    from glowplug.telemetry import Telemetry

PREDICT = "/predict"
METRICS = "/metrics"


def is_protocol(path: str) -> bool:
    """Whether a path is one of the Open Inference Protocol's."""
    return path.startswith("/v2") and path[3:4] in {"", "/"}


class Service:
    """Routes requests to models. Any number of threads may use one.

    `POST /predict` (or `/predict/{name}` where there are several models) scores rows as JSON, CSV or `.npy`; all below
    `/v2` is the Open Inference Protocol, with `/v2/health/live` and `/v2/health/ready`. `GET /metrics` is there if a sink of
    telemetry has a `text`, as `Prometheus` does.

    Args:
        models: As for `Models`.
        limits: What is too large to be looked at.
        timeout: Seconds that a run may take.
        anywhere: Score whatever is posted to any other path, as a function behind one URL does.
        telemetry: Is told of each request that asks for a score; see `glowplug.telemetry.recorder`.
        options: Of each `Scorer`.
    """

    def __init__(
        self,
        models: Sources,
        *,
        limits: Limits | None = None,
        timeout: float | None = None,
        anywhere: bool = False,
        telemetry: Telemetry = None,
        **options: Any,
    ) -> None:
        self.limits = limits or Limits()
        self.models = Models(models, limits=self.limits, timeout=timeout, **options)
        self.inference = OpenInference(self.models, limits=self.limits, timeout=timeout)
        self.anywhere = anywhere
        self.telemetry = recorder(telemetry)
        self._scraped: Any = next((sink for sink in self.telemetry.sinks if hasattr(sink, "text")), None)
        self._is_cold = True
        #: Whether there is an answer to those whose time is over.
        self.has_fallback = "fallback" in options
        #: Whether no code of the user's is called, which might wait for whatever it likes.
        self.is_only_ours = all(options.get(hook) is None for hook in ("before", "after", "around"))

    def load(self) -> None:
        """Load all models, and let each run once.

        Raises:
            GlowplugError: As `load` has it.
        """
        self.models.load()

    def respond(self, request: Request, *, timeout: float | None = None, measure: Measure | None = None) -> Response:
        """Answer a request; what goes wrong is an answer as well.

        Args:
            request: What came.
            timeout: Seconds that are left for the run.
            measure: Is told what it took.
        """
        path = request.path
        if is_protocol(path):
            return self.inference.respond(request, timeout=timeout, measure=measure)
        measure = measure or Measure()
        if path == METRICS and self._scraped is not None and request.method in {"GET", "HEAD"}:
            return Response(200, {"content-type": self._scraped.content_type}, self._scraped.text().encode())
        try:
            hosted = self.models.find(self._name(path))
            measure.model = hosted.name
            scorer = hosted.scorer
        except Problem as problem:
            measure.error = problem
            return problem.response()
        except Exception as error:  # noqa: BLE001 - the model cannot be loaded, which the caller need not know more of
            measure.error = error
            return self._unloaded(error)
        return scorer.respond(request, timeout=timeout, measure=measure)

    def tell(self, measure: Measure, seconds: float) -> None:
        """Tell the sinks of telemetry of a request that was answered `seconds` after it came."""
        if measure.model is None and measure.error is None:
            # It asked for no score.
            return
        is_cold, self._is_cold = self._is_cold, False
        self.telemetry.record(measure, trigger="http", seconds=seconds, is_cold=is_cold)
        forget(measure.error)

    @staticmethod
    def refused(request: Request, problem: Problem) -> Response:
        """The answer to a request that is refused before its body is read."""
        return refused(problem) if is_protocol(request.path) else problem.response()

    def _name(self, path: str) -> str | None:
        """The name of the model that a path asks for; `None` is the only one there is."""
        if path.rstrip("/") == PREDICT:
            return None
        if path.startswith(PREDICT + "/"):
            return path[len(PREDICT) + 1 :].rstrip("/")
        if self.anywhere:
            return None
        raise Problem(404, f"got the path {path[:200]!r}, expected {PREDICT} or one below /v2")

    @staticmethod
    def _unloaded(error: Exception) -> Response:
        from logging import getLogger

        getLogger("glowplug").error("a model cannot be loaded: %s", error, exc_info=error)
        return Problem(500, "the request failed; the log of the service has the reason").response()
