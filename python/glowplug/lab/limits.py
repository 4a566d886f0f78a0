"""A function's CPU share and memory limit on this machine: Linux control groups where we may make them, else a watch.

Version 1 has a hierarchy of folders per controller, version 2 one for all. A folder is made inside the process's own group
if that is allowed, else at the root of the mount.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MOUNTS, OWN = Path("/proc/self/mounts"), Path("/proc/self/cgroup")
MEGABYTE = 2**20
#: Version 1 refuses a smaller quota.
SMALLEST_QUOTA_US = 1000
#: Joins the groups and becomes the command, so that not even the interpreter's start is outside of them.
LAUNCHER = 'while [ "$1" != -- ]; do echo 0 > "$1" || exit 125; shift; done; shift; exec "$@"'
NOT_LAUNCHED = 125
#: The files of each version.
LIMIT = {1: "memory.limit_in_bytes", 2: "memory.max"}
KILLS = {1: "memory.oom_control", 2: "memory.events"}
QUOTA = {1: "cpu.cfs_quota_us", 2: "cpu.max"}
UNLIMITED = {1: "-1", 2: "max"}
#: Names of groups: this, the lab's process, and a number.
PREFIX = "glowplug-lab-"
#: So often a group is tried to be removed, 5 ms apart.
CLOSINGS = 200
_numbers = itertools.count()


@dataclass(frozen=True)
class Hierarchy:
    """A place where control groups may be made."""

    version: int
    #: Controllers mounted here, of `cpu` and `memory`.
    controllers: frozenset[str]
    mount: Path
    #: The folders to try, the best first.
    parents: tuple[Path, ...]


def hierarchies(mounts: Path = MOUNTS, own: Path = OWN) -> list[Hierarchy]:
    """What `/proc` says of control groups; nothing where there are none."""
    try:
        mounted = [line.split(" ") for line in mounts.read_text("utf-8").splitlines()]
        groups = [line.split(":", 2) for line in own.read_text("utf-8").splitlines()]
    except OSError:
        return []
    found = []
    for _, folder, kind, options, *_ in mounted:
        mount = Path(folder)
        if kind == "cgroup":
            controllers = frozenset(options.split(",")) & {"cpu", "memory"}
            paths = [path for _, names, path in groups if controllers & set(names.split(","))]
            version = 1
        elif kind == "cgroup2":
            with suppress(OSError):
                controllers = frozenset((mount / "cgroup.controllers").read_text().split()) & {"cpu", "memory"}
            paths = [path for number, names, path in groups if (number, names) == ("0", "")]
            version = 2
        else:
            continue
        if controllers:
            here = [mount / path.lstrip("/") for path in paths]
            # With version 2 a group that holds processes takes no controllers for groups below it; its parent may.
            above = [folder.parent for folder in here if kind == "cgroup2" and folder != mount]
            parents = dict.fromkeys(folder for folder in (*here, *above, mount) if folder.is_dir())
            found.append(Hierarchy(version, controllers, mount, tuple(parents)))
    return found


class Limits:
    """The limits of one process: made before it starts, left when it has ended.

    Attributes:
        cpu_held: Whether the kernel holds the process to its share of CPU; if not, times have to be estimated.
        memory_held: Whether the kernel holds it to its memory; if not, `watch` does.
        why_not: Why the kernel does not, in words.
    """

    def __init__(
        self, memory_mb: int, cpus: float | None, period_us: int, places: Sequence[Hierarchy] | None = None
    ) -> None:
        """Make the groups, as far as it is permitted.

        Args:
            memory_mb: The limit, swap included.
            cpus: The share of CPUs; `None` leaves it free.
            period_us: Length of the period that a share is given out for, in µs.
            places: Where to make groups; `None` looks for them, an empty sequence makes none.
        """
        self.memory_mb, self.period_us = memory_mb, period_us
        self.why_not = ""
        self._folders: dict[str, tuple[int, Path]] = {}
        self._name = f"{PREFIX}{os.getpid()}-{next(_numbers)}"
        refused = []
        asked = places if places is None else tuple(places)
        for place in hierarchies() if asked is None else asked:
            try:
                self._make(place)
            except OSError as error:
                refused.append(f"{place.mount}: {error.strerror or error}")
        missing = {"cpu", "memory"} - set(self._folders)
        if asked == ():
            self.why_not = "not asked for"
        elif missing:
            self.why_not = "; ".join(refused) or f"no control groups for {' and '.join(sorted(missing))} are mounted"
        self.cpu_held, self.memory_held = "cpu" in self._folders, "memory" in self._folders
        if cpus is not None:
            self.set_cpus(cpus)

    @property
    def versions(self) -> set[int]:
        """The versions of control groups in use."""
        return {version for version, _ in self._folders.values()}

    def command(self, command: Sequence[str]) -> list[str]:
        """The command that runs another one inside the groups; its process is the same."""
        if not self._folders:
            return list(command)
        files = dict.fromkeys(str(folder / "cgroup.procs") for _, folder in self._folders.values())
        return ["/bin/sh", "-c", LAUNCHER, "sh", *files, "--", *command]

    def set_cpus(self, cpus: float) -> None:
        """Change the share of CPUs, also of a running process."""
        if "cpu" in self._folders:
            version, folder = self._folders["cpu"]
            quota = max(int(cpus * self.period_us), SMALLEST_QUOTA_US)
            if version == 1:
                (folder / "cpu.cfs_period_us").write_text(str(self.period_us))
            (folder / QUOTA[version]).write_text(str(quota) if version == 1 else f"{quota} {self.period_us}")

    def kills(self) -> int:
        """How many processes the kernel killed because the memory was used up."""
        if "memory" not in self._folders:
            return 0
        version, folder = self._folders["memory"]
        with suppress(OSError):
            counts = dict(line.split() for line in (folder / KILLS[version]).read_text().splitlines())
            return int(counts.get("oom_kill", 0))
        return 0

    def end_all(self) -> None:
        """Kill every process in the groups, whoever started it."""
        for _, folder in self._folders.values():
            _end_all(folder)

    def close(self) -> None:
        """Remove the groups; what is still in them is killed."""
        for _, folder in dict.fromkeys(self._folders.values()):
            _remove(folder)
        self._folders.clear()

    def _make(self, place: Hierarchy) -> None:
        wanted = place.controllers - set(self._folders)
        if not wanted:
            return
        for parent in place.parents:
            _sweep(parent)
        problem: OSError | None = None
        best: tuple[set[str], Path] = (set(), Path())
        for folder in (parent / self._name for parent in place.parents):
            held, refused = self._try(folder, place.version, wanted)
            problem = problem or refused
            # A process is in one group of version 2, so one that has all controllers is worth looking for.
            loser = folder
            if len(held) > len(best[0]):
                loser, best = best[1], (held, folder)
            if loser.name == self._name:
                _remove(loser)
            if best[0] == wanted:
                break
        self._folders |= dict.fromkeys(best[0], (place.version, best[1]))
        if problem is not None and best[0] != wanted:
            raise problem

    def _try(self, folder: Path, version: int, wanted: frozenset[str]) -> tuple[set[str], OSError | None]:
        """Make a group; gives the controllers that it has, and why others are not among them."""
        held, problem = set[str](), None
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            return held, error
        for controller in sorted(wanted):
            try:
                self._hold(controller, version, folder)
                held.add(controller)
            except OSError as error:
                problem = error
        return held, problem

    def _hold(self, controller: str, version: int, folder: Path) -> None:
        """Prove that the file of the limit may be written; for memory, write it."""
        file = folder / (LIMIT if controller == "memory" else QUOTA)[version]
        if version != 1 and not file.exists():
            (folder.parent / "cgroup.subtree_control").write_text(f"+{controller}")
        if controller == "cpu":
            file.write_text(UNLIMITED[version])
            return
        limit = str(self.memory_mb * MEGABYTE)
        file.write_text(limit)
        # Lambda has no swap. A kernel without swap has no such file.
        with suppress(OSError):
            if version == 1:
                (folder / "memory.memsw.limit_in_bytes").write_text(limit)
            else:
                (folder / "memory.swap.max").write_text("0")


def _sweep(parent: Path) -> None:
    """Remove what a lab left there that was killed itself."""
    for folder in parent.glob(f"{PREFIX}*-*"):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdecimal() and not Path("/proc", owner).exists():
            _remove(folder)


def _end_all(folder: Path) -> None:
    """Kill every process of a group."""
    with suppress(OSError):
        for pid in map(int, (folder / "cgroup.procs").read_text().split()):
            # 0 is a process of another namespace, and for `kill` our own group.
            if pid > 0:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _remove(folder: Path) -> None:
    for _ in range(CLOSINGS):
        with suppress(OSError):
            folder.rmdir()
        if not folder.exists():
            return
        # A killed process leaves its group a moment later.
        _end_all(folder)
        time.sleep(0.005)


class Watch:
    """Kills a process whose resident memory goes over a limit, as the kernel would; looks a hundred times a second."""

    def __init__(self, pid: int, memory_mb: int) -> None:
        """Begin to look."""
        self.killed = False
        self._pid, self._memory_mb = pid, memory_mb
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.01):
            if (resident_mb(self._pid) or 0) > self._memory_mb:
                self.killed = True
                with suppress(ProcessLookupError):
                    os.kill(self._pid, signal.SIGKILL)
                return


def resident_mb(pid: int, field: str = "VmRSS") -> float | None:
    """Resident memory of a process in MB, now (`VmRSS`) or at its peak (`VmHWM`); `None` where Linux is not."""
    for line in _status(pid):
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return None


def _status(pid: int) -> Iterator[str]:
    with suppress(OSError):
        yield from Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()


def throttled(wall: float, cpu: float, cpus: float, period: float) -> float:
    """Estimate the seconds that work would take with a share of CPUs, from those it took without a limit.

    Within a period the work runs until its share is used up, then it waits for the next one. Time that is not CPU time
    (network, sleep) stays as it is.
    """
    share = cpus * period
    if cpus >= 1:
        return max(wall, cpu / cpus)
    # Work that ends exactly with its share waits no more.
    waits = max(0, -int(-cpu // share) - 1) if cpu > 0 else 0
    return wall + waits * (period - share)
