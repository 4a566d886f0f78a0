"""`python -m glowplug.serve model.onnx`: serve models on the port that the platform says."""

from __future__ import annotations

import argparse
import sys

from glowplug.errors import GlowplugError
from glowplug.serve.asgi import QUEUE, run
from glowplug.serve.http import Limits
from glowplug.serve.scoring import METHODS
from glowplug.telemetry import recorder
from glowplug.telemetry.prometheus import Prometheus


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM; what is wrong with the models or options is said without a traceback."""
    parser = argparse.ArgumentParser("python -m glowplug.serve", description="Serve models over HTTP.")
    parser.add_argument("models", nargs="+", help="paths, or name=path, of models")
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on")  # noqa: S104 - in a container
    parser.add_argument("--port", type=int, help="port to listen on: that of PORT, or 8080")
    parser.add_argument("--concurrency", type=int, help="requests that are scored at once")
    parser.add_argument("--queue", type=int, default=QUEUE, help="requests that may wait")
    parser.add_argument("--timeout", type=float, help="seconds from a request to its answer")
    parser.add_argument("--method", choices=METHODS, default="predict", help="what POST /predict answers")
    parser.add_argument("--metrics", action="store_true", help="answer GET /metrics, for Prometheus")
    parser.add_argument("--body-limit", type=int, help="bytes of the largest body")
    given = parser.parse_args(arguments)
    sources = dict(named(text) for text in given.models)
    if len(sources) < len(given.models):
        parser.error("two models have the same name; say name=path")
    limits = Limits() if given.body_limit is None else Limits(body=given.body_limit)
    try:
        run(
            sources,
            host=given.host,
            port=given.port,
            concurrency=given.concurrency,
            queue=given.queue,
            timeout=given.timeout,
            method=given.method,
            limits=limits,
            telemetry=[*recorder().sinks, Prometheus()] if given.metrics else None,
        )
    except GlowplugError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the command line
        return 1
    return 0


def named(text: str) -> tuple[str, str]:
    """`name=path`, or a path whose file gives the name."""
    import os.path
    from pathlib import Path

    name, equals, path = text.partition("=")
    # Folders may be called version=2.
    is_named = equals and "/" not in name and not os.path.exists(text)  # noqa: PTH110 - Path's raises for some names
    return (name, path) if is_named else (Path(text).stem, text)


if __name__ == "__main__":
    sys.exit(main())
