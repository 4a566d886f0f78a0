"""Models as Google Cloud functions, by `functions-framework`; for a container of its own on Cloud Run see `serve.asgi`.

>>> from glowplug.serve import gcp
>>> predict = gcp.handler("fraud.onnx")  # functions-framework --target predict  # doctest: +SKIP
"""

from __future__ import annotations

from io import BytesIO
from time import perf_counter

from glowplug.serve.http import Limits, Problem, Request, from_base64
from glowplug.serve.messages import MessageScorer
from glowplug.serve.scoring import Measure
from glowplug.serve.service import Service
from glowplug.telemetry.ending import flush_at_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from typing import Any

    from cloudevents.http import CloudEvent
    from flask import Request as FlaskRequest

    from glowplug.model import Model
    from glowplug.serve.hosted import Sources
    from glowplug.telemetry import Telemetry


def handler(
    models: Sources,
    *,
    limits: Limits | None = None,
    timeout: float | None = None,
    telemetry: Telemetry = None,
    **options: Any,
) -> Callable[[FlaskRequest], tuple[bytes, int, dict[str, str]]]:
    """Make an HTTP function of a model, or of several.

    Any path takes rows as JSON, CSV or `.npy` by POST (`/predict/{name}` where there are several models); all below `/v2` is
    the Open Inference Protocol. `functions-framework` calls it from many threads at once.

    Args:
        models: As for `serve.asgi.app`; they are loaded here and now, while the instance starts.
        limits: What is too large to be looked at.
        timeout: Seconds that a run may take. Then it is ended, and the answer is 503.
        telemetry: Is told of each request; see `glowplug.telemetry.recorder`.
        options: `method`, `before`, `after`, `around` and `fallback`, as for the handlers of other functions.

    Raises:
        GlowplugError: As `load` has it.
    """
    service = Service(models, limits=limits, timeout=timeout, anywhere=True, telemetry=telemetry, **options)
    service.load()
    flush_at_end(service.telemetry)

    def handle(request: FlaskRequest) -> tuple[bytes, int, dict[str, str]]:
        began, measure = perf_counter(), Measure()
        came = Request(request.method, request.path, dict(request.headers.items()), b"")
        try:
            service.limits.check_length(came.headers.get("content-length"))
            # One byte more than is allowed tells that there is more, whatever the headers say.
            came.body = request.stream.read(service.limits.body + 1)
            if len(came.body) > service.limits.body:
                raise Problem(413, f"got a body of more than {service.limits.body} bytes")
        except Problem as problem:
            # The framework reads what is left of a body into memory, however much that is.
            request.stream = BytesIO()
            measure.error = problem
            response = service.refused(came, problem)
        else:
            response = service.respond(came, measure=measure)
        service.tell(measure, perf_counter() - began)
        return response.body, response.status, response.headers

    return handle


def event_handler(
    model: Model | str | os.PathLike[str],
    deliver: Callable[[Any, CloudEvent], object],
    *,
    reject: Callable[[Problem, CloudEvent], object] | None = None,
    telemetry: Telemetry = None,
    limits: Limits | None = None,
    **options: Any,
) -> Callable[[CloudEvent], None]:
    """Make a CloudEvent function of a model: rows in an event's data, or in a message of Pub/Sub.

    The data is scored as `Model.predict_json` does. An event that the model cannot score is rejected and not delivered
    again; whatever else fails, such as `deliver`, makes the platform deliver it again. Deploy it with the signature type
    `cloudevent`.

    Args:
        model: A model, or the path of one; it is loaded here and now.
        deliver: Called with the predictions, as plain Python, and the event.
        reject: Called with what is wrong (a `Problem`) and the event; without it, that is logged.
        telemetry: Is told of each event; see `glowplug.telemetry.recorder`.
        limits: What is too large to be looked at.
        options: `method`, `before`, `after`, `around`, `timeout` and `fallback`, as for the handlers of other functions.
    """
    scorer = MessageScorer(
        model, deliver, trigger="event", reject=reject, telemetry=telemetry, limits=limits, **options
    )
    flush_at_end(scorer.telemetry)

    def handle(event: CloudEvent) -> None:
        data = event.data
        encoding = None
        if isinstance(data, dict) and isinstance(data.get("message"), dict) and "data" in data["message"]:
            message = data["message"]
            attributes = message.get("attributes")
            encoding = attributes.get("content-encoding") if isinstance(attributes, dict) else None
            try:
                data = from_base64(message["data"])
            except Problem as problem:
                scorer.refuse(problem, event)
                return
        scorer.score(data, event, encoding=encoding)

    return handle
