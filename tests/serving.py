"""What the tests of servers share: a server as a process of its own, and a client that may send what it likes."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

import models
from glowplug.lab import runtime_api

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Self

    from glowplug.serve import asgi

#: Seconds after which a server is taken to hang.
PATIENCE = 30
DATATYPES = {
    "float16": "FP16", "float32": "FP32", "float64": "FP64", "int8": "INT8", "int16": "INT16", "int32": "INT32",
    "int64": "INT64", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "bool": "BOOL",
}  # fmt: skip
HOSTED = {
    # Sessions are shared by content, and other tests count the calls of theirs.
    "mlp": models.mlp(hidden=24),
    "columns": models.multi_dtype(),
    "two": models.two_outputs(),
    "classes": models.zipmap_classifier(models.STRING_LABELS),
    "parts": models.sequence_output(),
    "grösse": models.unicode_names(),
    "loop": models.counting_loop(),
    **{dtype: models.identity(dtype) for dtype in DATATYPES},
}
SERVE = """
from pathlib import Path
from glowplug.serve import asgi
from glowplug.serve.http import Limits
models = {path.stem: path for path in Path("models").iterdir()}
models["versions"] = {"2": models["mlp"], "10": models["two"]}
if __name__ == "__main__":
    asgi.run(models, host="127.0.0.1", timeout=3, limits=Limits(body=2**20, decompressed=2**22, rows=5000))
"""
ROWS = np.random.default_rng(0).normal(size=(5, 30)).astype(np.float32)


class RuntimeApi(runtime_api.RuntimeApi):
    """Lambda's, whose functions have as long as busy machines need unless a test says otherwise."""

    def invoke(self, event: object, *, timeout: float = PATIENCE, **more: Any) -> runtime_api.Invocation:
        return super().invoke(event, timeout=timeout, **more)


class Server:
    """A process that listens on a port, which it is told by `PORT`."""

    def __init__(self, *command: str, folder: Path, variables: Mapping[str, str] | None = None) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = folder / f"server-{self.port}.log"
        environment = {**os.environ, "PORT": str(self.port), **(variables or {})}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", *command], cwd=folder, env=environment, stdout=log, stderr=log
            )
        until = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            if self.process.poll() is not None or time.monotonic() > until:
                self.close()
                raise AssertionError(self.log.read_text("utf-8"))
            time.sleep(0.02)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own: status, headers with names in lower case, body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            got = {name.lower(): value for name, value in response.getheaders()}
            return response.status, got, response.read()

    def peak(self) -> int:
        """Bytes of memory that the process has had at most."""
        with open(f"/proc/{self.process.pid}/status") as file:  # noqa: PTH123 - a name, not a path
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:")) * 1024

    def close(self) -> None:
        """End it, whatever it does."""
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def wait_for(path: Path) -> None:
    """Until a file is there."""
    until = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < until, path
        time.sleep(0.01)


@contextlib.contextmanager
def hosting(folder: Path) -> Iterator[Server]:
    """All of `HOSTED` behind uvicorn, with low limits; it has to live as long as the block."""
    (folder / "models").mkdir()
    for name, content in HOSTED.items():
        (folder / "models" / f"{name}.onnx").write_bytes(content)
    (folder / "main.py").write_text(SERVE)
    with Server("main.py", folder=folder) as running:
        yield running
        assert running.process.poll() is None, running.log.read_text("utf-8")


def row(first: float) -> str:
    return json.dumps([[first] + [0.0] * 29])


class Caller:
    """A client as an application sees it."""

    def __init__(self, app: asgi.App) -> None:
        self.app = app

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        root: str = "",
        *,
        gone: asyncio.Event | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> tuple[int, dict[bytes, bytes], bytes] | None:
        """The answer, or nothing for a client that goes before it."""
        got: list[Any] = []
        incoming = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if incoming:
                return incoming.pop()
            await (gone or asyncio.Event()).wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            got.append(message)

        scope = {"type": "http", "method": method, "path": root + path, "root_path": root, "headers": headers}
        await self.app(scope, receive, send)
        if not got:
            return None
        named = dict(got[0]["headers"])
        assert len(named) == len(got[0]["headers"]), "a header came twice"
        return got[0]["status"], named, got[1]["body"]

    async def score(self, first: float, gone: asyncio.Event | None = None) -> Any:
        return await self.ask("POST", "/predict", row(first).encode(), gone=gone)

    async def until_open(self, count: int) -> None:
        while self.app._active != count:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
