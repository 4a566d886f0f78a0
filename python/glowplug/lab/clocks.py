"""What the kernel says of another process's time: CPU time, and time it was ready to run and did not."""

from __future__ import annotations

import ctypes
import math
import platform
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Moment:
    """A process at a moment, or what passed between two, in seconds."""

    #: On the clock of `time.monotonic`.
    wall: float = 0.0
    #: CPU time of all threads; NaN where there is no clock for it.
    cpu: float = 0.0
    #: How long the main thread waited for a CPU that others had, or that its limit kept from it.
    waited: float = 0.0

    def __sub__(self, before: Moment) -> Moment:
        """What passed since."""
        return Moment(self.wall - before.wall, self.cpu - before.cpu, self.waited - before.waited)

    @property
    def undisturbed(self) -> float:
        """Wall time without waits for a CPU, where the process has no limit: what an idle machine would take."""
        return (
            self.wall - self.waited if math.isnan(self.cpu) else max(self.wall - self.waited, min(self.wall, self.cpu))
        )


def moment_of(pid: int) -> Moment:
    """The moment of a process, now."""
    return Moment(time.monotonic(), _cpu_seconds(pid), _waited(pid))


def marked(line: bytes) -> tuple[str, Moment]:
    """A line that `child.py` wrote: name, nanoseconds of wall and CPU time, and the kernel's account of waiting."""
    name, wall, cpu, *account = line.split()
    return name.decode(), Moment(int(wall) / 1e9, int(cpu) / 1e9, int(account[1]) / 1e9 if account else 0.0)


def _cpu_seconds(pid: int) -> float:
    if platform.system() != "Linux":
        return math.nan
    clock = ctypes.c_int()
    try:
        if ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)) != 0:
            return math.nan
        return time.clock_gettime(clock.value)
    except (OSError, AttributeError):
        return math.nan


def _waited(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_bytes().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0
