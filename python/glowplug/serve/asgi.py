"""Models behind any ASGI server (uvicorn, hypercorn, granian …), without a web framework.

>>> from glowplug.serve import asgi
>>> app = asgi.app("fraud.onnx")  # doctest: +SKIP
>>> asgi.run("fraud.onnx")  # on the port that the platform says  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, thread_time

from glowplug._core import usable_resources
from glowplug.errors import DeadlineExceeded, DependencyError, OptionError, OptionTypeError
from glowplug.serve.http import Limits, Problem, Request, Response
from glowplug.serve.pace import MOST_SECONDS, Pace
from glowplug.serve.scoring import Measure
from glowplug.serve.service import Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping
    from concurrent.futures import Future
    from typing import Any, TypeAlias

    from glowplug.serve.hosted import Sources
    from glowplug.telemetry import Telemetry

    Message: TypeAlias = MutableMapping[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[Message]]
    Send: TypeAlias = Callable[[Message], Awaitable[None]]
    #: And the seconds of CPU it took.
    Answer: TypeAlias = tuple[Response, float]

#: Requests that may wait for a thread; the default concurrency of a Cloud Run instance is 80, Knative's target 100.
QUEUE = 128
#: Seconds in which a body has to arrive.
BODY_SECONDS = 30.0
#: Bytes above the limit, and seconds, in which the rest of a body that was refused may pass by.
MOST_DISCARDED = 8 * 2**20
DISCARD_SECONDS = 5.0
#: Seconds that running requests have to end after SIGTERM; Cloud Run kills after ten.
GRACE = 9.0
#: Bodies in memory at once, as a multiple of the largest one.
MOST_BODIES = 8
#: What a client is told to wait that was refused because others wait already.
RETRY_AFTER = {"retry-after": "1"}


class Gone(Exception):  # noqa: N818 - no error
    """The client went before its answer."""


def app(
    models: Sources,
    *,
    concurrency: int | None = None,
    queue: int = QUEUE,
    timeout: float | None = None,
    limits: Limits | None = None,
    grace: float = GRACE,
    telemetry: Telemetry = None,
    **options: Any,
) -> App:
    """Make an ASGI application of a model, or of several.

    `POST /predict` (`/predict/{name}` where there are several) scores rows as JSON, CSV or `.npy`. All below `/v2` is the
    Open Inference Protocol with binary tensors: `/v2/models/{name}/infer`, metadata, `/v2/health/live`, `/v2/health/ready`.

    Args:
        models: A model, or the path of one, whose file gives it its name; or a mapping from names to such, or from names to
            mappings from versions to such. They are loaded when the server starts, before it takes requests.
        concurrency: Requests that are scored at once, in threads of their own. The default is one more than the CPUs that
            this process may really use, so that one may read while others run.
        queue: Requests that may wait for a thread. One more is answered with 503 and `Retry-After` at once.
        timeout: Seconds from the arrival of a request to its answer. Whoever still waits then is answered with the fallback
            or 503, and a run is ended inside the engine.
        limits: What is too large to be looked at: 32 MiB of body, 128 MiB after decompression, a million rows.
        grace: Seconds that running requests have to end when the server stops.
        telemetry: Is told of each request that asks for a score; see `glowplug.telemetry.recorder`. With a `Prometheus`, its
            metrics are at `/metrics`.
        options: `method`, `before`, `after`, `around` and `fallback`, as for the handlers of functions.

    Raises:
        OptionError: An option has a value outside its range.
    """
    if concurrency is None:
        concurrency = int(usable_resources(False)["threads"]) + 1
    for name, number, least in (("concurrency", concurrency, 1), ("queue", queue, 0)):
        if not isinstance(number, int) or isinstance(number, bool):
            problem = f"got {number!r}, expected a whole number"
            raise OptionTypeError.about(f"option `{name}`", problem, "leave it out for the default")
        if number < least:
            raise OptionError.about(f"option `{name}`", f"got {number}, expected at least {least}", "leave it out")
    service = Service(models, limits=limits, timeout=timeout, telemetry=telemetry, **options)
    return App(service, concurrency, queue, timeout, grace)


class App:
    """An ASGI application round a `Service`; `app` makes it. It belongs to the event loop that calls it first."""

    def __init__(self, service: Service, concurrency: int, queue: int, timeout: float | None, grace: float) -> None:
        self.service = service
        self.timeout = timeout
        self.grace = grace
        self._concurrency = concurrency
        self._most = concurrency + queue
        self._threads = ThreadPoolExecutor(concurrency, "glowplug")
        self._pace = Pace()
        #: Requests that run or wait for a thread.
        self._active = 0
        #: Requests that came and are not answered.
        self._open = 0
        self._held = 0
        memory = usable_resources(False)["memory"]
        body = service.limits.body
        self._most_held = max(body, min(MOST_BODIES * body, (memory or 2**40) // 4))

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one connection of the server's: a request, or the server's own life."""
        if scope["type"] == "http":
            self._open += 1
            try:
                await self._serve(scope, receive, send)
            except Gone:
                pass
            finally:
                self._open -= 1
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000, "reason": "there are no web sockets here"})

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        path = scope["path"]
        root = scope.get("root_path", "")
        if root and path.startswith(root):
            path = path[len(root) :]
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        request = Request(scope["method"], path, headers, b"")
        if request.method == "POST":
            arrived, measure = monotonic(), Measure()
            response = await self._post(request, arrived, measure, receive)
            took = monotonic() - arrived
            await answer(response, send)
            self.service.tell(measure, took)
            return
        if self.service.models.is_ready or path.startswith("/v2/health/"):
            # Nothing here takes longer than going to another thread would.
            response = self.service.respond(request)
        else:
            response = await asyncio.get_running_loop().run_in_executor(None, self.service.respond, request)
        await answer(response, send, with_body=request.method != "HEAD")

    async def _post(self, request: Request, arrived: float, measure: Measure, receive: Receive) -> Response:
        held, more = 0, True
        try:
            self.service.limits.check_length(request.headers.get("content-length"))
            self._check_active()
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    chunks = []
                    while more:
                        message = await receive()
                        if message["type"] == "http.disconnect":
                            raise Gone
                        chunk, more = message.get("body", b""), message.get("more_body", False)
                        held += len(chunk)
                        self._held += len(chunk)
                        self._check_held(held)
                        chunks.append(chunk)
                request.body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
                chunks.clear()
                # Whoever sends slowly, or never all, takes no place from the others until here.
                self._check_active()
                self._active += 1
                try:
                    return await self._run(request, arrived, measure, receive)
                finally:
                    self._active -= 1
            finally:
                self._held -= held
        except TimeoutError:
            problem = Problem(408, f"got no whole body in {BODY_SECONDS:.0f} seconds", headers={"connection": "close"})
        except Problem as error:
            problem = error
            if problem.status == 413 and more and not await self._discard(request, receive):  # noqa: PLR2004
                problem.headers["connection"] = "close"
        measure.error = problem
        return self.service.refused(request, problem)

    async def _discard(self, request: Request, receive: Receive) -> bool:
        """Pass over the rest of a refused body, unless that is too much.

        A client that still sends when the connection is closed seldom sees the answer that tells it why.
        """
        declared = request.headers.get("content-length", "0")
        left = self.service.limits.body + MOST_DISCARDED
        if int(declared) > left:
            return False
        try:
            async with asyncio.timeout(DISCARD_SECONDS):
                while left > 0:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Gone
                    if not message.get("more_body", False):
                        return True
                    left -= len(message.get("body", b""))
        except TimeoutError:
            pass
        return False

    def _check_active(self) -> None:
        """Refuse a request for which there is neither a thread nor a place to wait for one."""
        if self._active >= self._most:
            raise Problem(503, f"got a request while {self._active} others run and wait", headers=RETRY_AFTER)

    def _check_held(self, held: int) -> None:
        """Refuse a body that is too large, or larger than what other bodies leave of the memory for them."""
        most = self.service.limits.body
        if held > most:
            raise Problem(413, f"got a body of more than {most} bytes")
        if self._held > self._most_held:
            raise Problem(503, "there is not enough memory for more bodies", headers=RETRY_AFTER)

    async def _run(self, request: Request, arrived: float, measure: Measure, receive: Receive) -> Response:
        if self.service.is_only_ours and self._pace.is_short(request):
            response = self._at_once(request, arrived, measure)
            if response is not None:
                return response
        job = self._threads.submit(self._respond, request, arrived, measure)
        done = asyncio.wrap_future(job)
        if self._active <= self._concurrency:
            response, took = await done
        else:
            response, took = await self._wait(job, done, receive)
        self._pace.note(request, took)
        return response

    def _at_once(self, request: Request, arrived: float, measure: Measure) -> Response | None:
        """Answer on the event loop; `None` if the run was ended because it would block that for too long."""
        left, began = MOST_SECONDS, thread_time()
        if self.timeout is not None:
            left = min(left, self.timeout - (monotonic() - arrived))
        response = self.service.respond(request, timeout=left, measure=measure)
        # What has no time left is answered with that, and not begun anew.
        is_ended = left == MOST_SECONDS and isinstance(measure.error, DeadlineExceeded)
        self._pace.note(request, thread_time() - began, is_ended=is_ended)
        if is_ended:
            measure.clear()
            return None
        return response

    async def _wait(self, job: Future[Answer], done: asyncio.Future[Answer], receive: Receive) -> Answer:
        """Wait for a job that waits for a thread, unless its client goes before it begins."""
        watch = asyncio.ensure_future(receive())
        both: set[asyncio.Future[Any]] = {done, watch}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not done.done() and watch.done() and watch.result()["type"] == "http.disconnect" and job.cancel():
                raise Gone
            return await done
        finally:
            watch.cancel()

    def _respond(self, request: Request, arrived: float, measure: Measure) -> Answer:
        """Answer a request in a thread of the pool, in what is left of its time."""
        left, began = None, thread_time()
        if self.timeout is not None:
            left = self.timeout - (monotonic() - arrived)
            if left <= 0 and not self.service.has_fallback:
                problem = Problem(503, "the time was over before a thread was free", headers=RETRY_AFTER)
                measure.error = problem
                return self.service.refused(request, problem), 0.0
        return self.service.respond(request, timeout=left, measure=measure), thread_time() - began

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await asyncio.get_running_loop().run_in_executor(None, self.service.load)
                except Exception as error:  # noqa: BLE001 - the server says why it does not start
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.drain()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def drain(self) -> None:
        """Say that no more requests are wanted, and wait for those that run."""
        self.service.inference.is_draining = True
        until = monotonic() + self.grace
        # Looked at once in the life of a process, so that requests need tell nobody when they end.
        while self._open and monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        self._threads.shutdown(wait=False, cancel_futures=True)
        # In a thread, since it may wait for a network.
        await asyncio.get_running_loop().run_in_executor(None, self.service.telemetry.flush)


async def answer(response: Response, send: Send, *, with_body: bool = True) -> None:
    """Send an answer."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
    length = (b"content-length", b"%d" % len(response.body))
    if "content-length" in response.headers:
        # A function's own; two lengths are none to servers.
        headers = [(name, value) for name, value in headers if name != length[0]]
    headers.append(length)
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body if with_body else b""})


def run(
    models: Sources,
    *,
    host: str = "0.0.0.0",  # noqa: S104 - a container is reached from outside
    port: int | None = None,
    **options: Any,
) -> None:
    """Serve models with uvicorn until SIGTERM or Ctrl-C; then let running requests end.

    Args:
        models: As for `app`.
        host: The address to listen on.
        port: The port; that of the environment variable `PORT`, which Cloud Run, Knative and others set, or else 8080.
        options: As for `app`.

    Raises:
        DependencyError: uvicorn is not installed.
        OptionError: `PORT` is no port.
    """
    if port is None:
        port = port_of(os.environ.get("PORT"))
    application = app(models, **options)
    try:
        from glowplug.serve.server import serve
    except ImportError as error:
        message = f"cannot be imported: {error}"
        raise DependencyError.about("uvicorn", message, "install it with `pip install 'glowplug[asgi]'`") from error
    serve(application, host, port, application.grace)


def port_of(text: str | None) -> int:
    """The port that an environment variable says."""
    if not text:
        return 8080
    if text.isascii() and text.isdigit() and int(text) < 2**16:
        return int(text)
    raise OptionError.about("environment variable PORT", f"got {text[:40]!r}, expected a port", "set it to 8080")
