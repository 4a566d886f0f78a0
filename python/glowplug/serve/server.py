"""uvicorn round an application, with the settings that models want."""

from __future__ import annotations

import uvicorn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def serve(application: Any, host: str, port: int, grace: float) -> None:
    """Serve until SIGTERM or Ctrl-C; then take no more requests, and give those that run `grace` seconds."""
    uvicorn.run(
        application,
        host=host,
        port=port,
        lifespan="on",
        # There are none, and looking for their packages takes time.
        ws="none",
        # A line for each request costs more than scoring a row, and the platform writes one anyway.
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=max(1, int(grace)),
    )
