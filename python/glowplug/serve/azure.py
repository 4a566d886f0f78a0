"""Models as Azure functions, in the programming model v2 of `azure-functions`.

>>> import azure.functions as func
>>> from glowplug.serve import azure
>>> app = func.FunctionApp()  # doctest: +SKIP
>>> app.register_functions(azure.blueprint("fraud.onnx"))  # doctest: +SKIP
"""

from __future__ import annotations

from time import perf_counter
from urllib.parse import unquote, urlsplit

import azure.functions as func

from glowplug.serve.http import JSON, Limits, Problem, Request
from glowplug.serve.messages import MessageScorer, log_failed, log_rejected
from glowplug.serve.scoring import Measure
from glowplug.serve.service import PREDICT, Service
from glowplug.telemetry.ending import flush_at_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from typing import Any

    from glowplug.model import Model
    from glowplug.serve.hosted import Sources
    from glowplug.telemetry import Telemetry

#: What `host.json` puts before all routes unless it says otherwise.
PREFIX = "/api"


def handler(
    models: Sources,
    *,
    prefix: str = PREFIX,
    limits: Limits | None = None,
    timeout: float | None = None,
    telemetry: Telemetry = None,
    **options: Any,
) -> Callable[..., func.HttpResponse]:
    """Make the body of an HTTP function of a model, or of several; call it from a function with a route.

    Any path takes rows as JSON, CSV or `.npy` by POST (`…/predict/{name}` where there are several models); all below
    `{prefix}/v2` is the Open Inference Protocol. The worker calls synchronous functions from several threads at once.

    Args:
        models: As for `serve.asgi.app`; they are loaded here and now, while the worker starts.
        prefix: `extensions.http.routePrefix` of `host.json`.
        limits: What is too large to be looked at.
        timeout: Seconds that a run may take. Then it is ended, and the answer is 503.
        telemetry: Is told of each request; see `glowplug.telemetry.recorder`.
        options: `method`, `before`, `after`, `around` and `fallback`, as for the handlers of other functions.

    Returns:
        A function of a request, and of the path that it is taken for instead of its own.

    Raises:
        GlowplugError: As `load` has it.
    """
    service = Service(models, limits=limits, timeout=timeout, anywhere=True, telemetry=telemetry, **options)
    service.load()
    flush_at_end(service.telemetry)
    start = "/" + prefix.strip("/") if prefix.strip("/") else ""

    def handle(req: func.HttpRequest, path: str | None = None) -> func.HttpResponse:
        began, measure = perf_counter(), Measure()
        if path is None:
            path = unquote(urlsplit(req.url).path)
            if path.startswith(start + "/"):
                path = path[len(start) :]
        response = service.respond(Request(req.method, path, dict(req.headers), req.get_body()), measure=measure)
        service.tell(measure, perf_counter() - began)
        kind = response.headers.get("content-type", JSON)
        return func.HttpResponse(
            response.body, status_code=response.status, headers=response.headers, mimetype=kind, charset="utf-8"
        )

    return handle


def blueprint(
    models: Sources, *, route: str = "predict", auth_level: func.AuthLevel | None = None, **options: Any
) -> func.Blueprint:
    """Make functions of a model, or of several, to be registered with `app.register_functions`.

    Args:
        models: As for `handler`.
        route: Where rows are posted to; `{route}/{name}` for one of several models.
        auth_level: Who may call; the app's own level if left out.
        options: As for `handler`.

    Returns:
        A blueprint with the functions `glowplug_predict`, at `route`, and `glowplug_inference`, at `v2`.
    """
    handle = handler(models, **options)
    functions: Any = func.Blueprint()  # type: ignore[no-untyped-call]

    def glowplug_predict(req: func.HttpRequest) -> func.HttpResponse:
        name = req.route_params.get("name")
        return handle(req, f"{PREDICT}/{name}" if name else PREDICT)

    def glowplug_inference(req: func.HttpRequest) -> func.HttpResponse:
        return handle(req)

    # What follows a route may be missing.
    at_route = functions.route(f"{route}/{{name?}}", methods=["POST"], auth_level=auth_level)
    at_route(glowplug_predict)
    at_v2 = functions.route("v2/{*path}", methods=["GET", "HEAD", "POST"], auth_level=auth_level)
    at_v2(glowplug_inference)
    return functions  # type: ignore[no-any-return]


def message_handler(
    model: Model | str | os.PathLike[str],
    deliver: Callable[..., object],
    *,
    reject: Callable[..., object] | None = None,
    telemetry: Telemetry = None,
    limits: Limits | None = None,
    **options: Any,
) -> Callable[..., None]:
    """Make the body of a function for messages of Queue Storage, Service Bus or Event Hubs: rows as JSON in each.

    A message that the model cannot score is rejected and not delivered again; whatever else fails, such as `deliver`, makes
    the platform deliver it again. In a batch all are tried; then the first of the errors is raised, and the others are in
    the log. The platform delivers the whole batch again, so that `deliver` should bear to see a message twice.

    Args:
        model: A model, or the path of one; it is loaded here and now.
        deliver: Called with the predictions, as plain Python, the message, and the bindings, if there are any.
        reject: Called with what is wrong (a `Problem`), the message and the bindings; without it, that is logged.
        telemetry: Is told of each message; see `glowplug.telemetry.recorder`.
        limits: What is too large to be looked at.
        options: `method`, `before`, `after`, `around`, `timeout` and `fallback`, as for the handlers of other functions.

    Returns:
        A function of a message, or of a list of them, and of any output bindings of the function.
    """

    def delivered(predictions: Any, came: tuple[Any, ...]) -> None:
        deliver(predictions, *came)

    def rejected(problem: Problem, came: tuple[Any, ...]) -> None:
        if reject is None:
            log_rejected(problem, came[0])
        else:
            reject(problem, *came)

    scorer = MessageScorer(
        model, delivered, trigger="message", reject=rejected, telemetry=telemetry, limits=limits, **options
    )
    flush_at_end(scorer.telemetry)

    def handle(msg: Any, *bindings: Any) -> None:
        if not isinstance(msg, list):
            scorer.score(msg.get_body(), (msg, *bindings))
            return
        failed: list[Exception] = []
        for message in msg:
            try:
                scorer.score(message.get_body(), (message, *bindings))
            except Exception as error:  # noqa: BLE001 - it is one message's, and the others go on
                if failed:
                    log_failed(error, message)
                failed.append(error)
        if failed:
            # There is no way to say which: the platform knows only of the whole function that it failed.
            failed[0].add_note(f"{len(failed)} of {len(msg)} messages failed; the platform delivers all of them again")
            raise failed[0]

    return handle
