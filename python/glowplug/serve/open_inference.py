"""The Open Inference Protocol, version 2, over HTTP, as KServe, Triton and their clients speak it.

With its binary tensor extension (tensors as bytes behind the JSON, `Inference-Header-Content-Length`) and the index of the
model repository. Bodies are read and written by the core, where no interpreter and no NumPy is needed.
"""

from __future__ import annotations

from glowplug._core import __version__
from glowplug.serve.http import JSON, Problem, Response, decoded
from glowplug.serve.scoring import Measure
from glowplug.serve.warm import DATATYPES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from glowplug._core import TensorSpec
    from glowplug.serve.hosted import Hosted, Models
    from glowplug.serve.http import Limits, Request

EXTENSIONS = ("binary_tensor_data", "model_repository")
#: Smaller answers are not worth the time of compressing them.
COMPRESS_FROM = 1024
LENGTH = "inference-header-content-length"
BINARY = "application/octet-stream"


class OpenInference:
    """Answers the requests below `/v2`.

    Any number of threads may use one. Errors are `{"error": …}` with the status that says whose they are.

    Args:
        models: What there is.
        limits: What is too large to be looked at.
        timeout: Seconds that a run may take; a call may have less.
    """

    def __init__(self, models: Models, *, limits: Limits, timeout: float | None = None) -> None:
        self.models = models
        self.limits = limits
        self.timeout = timeout
        #: Whether the service takes no more requests.
        self.is_draining = False

    def respond(self, request: Request, *, timeout: float | None = None, measure: Measure | None = None) -> Response:
        """Answer a request.

        Args:
            request: What came; its path begins with `/v2`.
            timeout: Seconds that are left for a run.
            measure: Is told what it took.
        """
        measure = measure or Measure()
        hosted = None
        try:
            match request.path.strip("/").split("/"):
                case ["v2", "models", name, *rest] if name:
                    version = None
                    if len(rest) > 1 and rest[0] == "versions":
                        _, version, *rest = rest
                    hosted = self.models.find(name, version)
                    return self._model(request, hosted, version, rest, timeout=timeout, measure=measure)
                case ["v2"]:
                    only("GET", request)
                    return answered({"name": "glowplug", "version": __version__, "extensions": list(EXTENSIONS)})
                case ["v2", "health", "live"]:
                    only("GET", request)
                    return answered({"live": True})
                case ["v2", "health", "ready"]:
                    only("GET", request)
                    is_ready = self.models.is_ready and not self.is_draining
                    return answered({"ready": is_ready}, 200 if is_ready else 503)
                case ["v2", "repository", "index"]:
                    only("POST", request)
                    return answered([indexed(hosted) for hosted in self.models])
            raise Problem(404, f"got the path {request.path[:200]!r}, which there is not")
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets an answer
            measure.error = error
            problem = error if isinstance(error, Problem) else problem_of(error, hosted)
            return refused(problem)

    def _model(
        self,
        request: Request,
        hosted: Hosted,
        version: str | None,
        rest: list[str],
        *,
        timeout: float | None,
        measure: Measure,
    ) -> Response:
        match rest:
            case ["infer"]:
                only("POST", request)
                return self._infer(request, hosted, timeout, measure)
            case []:
                only("GET", request)
                versions = [version] if version else self.models.versions(hosted.name)
                return answered(metadata(hosted, versions))
            case ["ready"]:
                only("GET", request)
                is_ready = hosted.is_ready and not self.is_draining
                return answered({"name": hosted.name, "ready": is_ready}, 200 if is_ready else 503)
        raise Problem(404, f"got the path {request.path[:200]!r}, which there is not")

    def _infer(self, request: Request, hosted: Hosted, timeout: float | None, measure: Measure) -> Response:
        headers, limits, measure.model = request.headers, self.limits, hosted.name
        limits.check_length(headers.get("content-length"))
        body = decoded(request.body, headers.get("content-encoding"), limits)
        text_length = length_of_text(headers.get(LENGTH), len(body))
        left = min((time for time in (timeout, self.timeout) if time is not None), default=None)
        handle = hosted.scorer.model._handle  # noqa: SLF001 - of one package
        answer, text_length, took = handle.infer(body, text_length, hosted.name, hosted.version, left, limits.rows)
        measure.add(took)
        found = {"content-type": JSON}
        if text_length is not None:
            found = {"content-type": BINARY, LENGTH: str(text_length)}
        return compressed(Response(200, found, answer), headers.get("accept-encoding"))


def only(method: str, request: Request) -> None:
    """Refuse other methods; what may be got may be asked for its head."""
    if request.method != method and not (method == "GET" and request.method == "HEAD"):
        raise Problem(405, f"got {request.method[:20]}, expected {method}", headers={"allow": method})


def length_of_text(declared: str | None, most: int) -> int | None:
    """How many bytes of a body are JSON text, as its header says.

    Raises:
        Problem: 400 if it is no number or more than there is.
    """
    if declared is None:
        return None
    if not (declared.isascii() and declared.isdigit()) or len(declared) > 20 or int(declared) > most:  # noqa: PLR2004
        raise Problem(400, f"got Inference-Header-Content-Length {declared[:40]!r}, expected at most {most} bytes")
    return int(declared)


def metadata(hosted: Hosted, versions: list[str]) -> dict[str, Any]:
    """What a model takes and gives; a dimension of any size is -1."""
    model = hosted.scorer.model
    handle, outputs = model._handle, model.outputs  # noqa: SLF001 - of one package
    return {
        "name": hosted.name,
        "versions": versions,
        "platform": f"glowplug_{model.explain()['engine']}",
        "inputs": [tensor(spec) for spec in model.inputs if spec.is_tensor],
        "outputs": [tensor(outputs[index], len(model.classes or ()) or -1) for index in handle.inferable],
    }


def tensor(spec: TensorSpec, classes: int = -1) -> dict[str, Any]:
    """A tensor of the metadata. Maps of probabilities are answered as a matrix with a column for each class."""
    if not spec.is_tensor:
        return {"name": spec.name, "datatype": "FP32", "shape": [-1, classes]}
    shape = [size if isinstance(size, int) else -1 for size in spec.shape]
    return {"name": spec.name, "datatype": DATATYPES[spec.dtype], "shape": shape}


def indexed(hosted: Hosted) -> dict[str, str]:
    """An entry of the repository's index."""
    state = "READY" if hosted.is_ready else "UNAVAILABLE"
    return {"name": hosted.name, "version": hosted.version, "state": state, "reason": ""}


def problem_of(error: Exception, hosted: Hosted | None) -> Problem:
    """What the sender is told about an error."""
    if hosted is not None and hosted.is_ready:
        return hosted.scorer.problem(error)
    from logging import getLogger

    getLogger("glowplug").error("a request failed: %s", error, exc_info=error)
    return Problem(500, "the request failed; the log of the service has the reason")


def refused(problem: Problem) -> Response:
    """The protocol's answer for a mistake."""
    fix = problem.members.get("fix")
    text = f"{problem.detail}; {fix}" if fix else problem.detail
    response = answered({"error": text}, problem.status)
    response.headers |= problem.headers
    return response


def answered(document: Any, status: int = 200) -> Response:
    """A small answer."""
    from json import dumps

    return Response(status, {"content-type": JSON}, dumps(document, ensure_ascii=False).encode())


def compressed(response: Response, accepted: str | None) -> Response:
    """The answer as gzip or deflate, where the caller takes it and it is large enough."""
    if not accepted or len(response.body) < COMPRESS_FROM:
        return response
    names = {part.partition(";")[0].strip() for part in accepted.lower().split(",") if not _is_refused(part)}
    name = next((name for name in ("gzip", "deflate") if name in names), None)
    if name is None:
        return response
    import zlib

    # Level 1 takes a fifth of the time of the usual one, for answers that are a tenth larger.
    deflate = zlib.compressobj(1, zlib.DEFLATED, 31 if name == "gzip" else 15)
    body = deflate.compress(response.body) + deflate.flush()
    headers = {**response.headers, "content-encoding": name, "vary": "accept-encoding"}
    return Response(response.status, headers, body)


def _is_refused(part: str) -> bool:
    return part.replace(" ", "").partition(";q=")[2] in {"0", "0.", "0.0", "0.00", "0.000"}
