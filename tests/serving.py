"""What the tests of servers share: a server as a process of its own, and a client that may send what it likes."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Self

#: Seconds after which a server is taken to hang.
PATIENCE = 30


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
