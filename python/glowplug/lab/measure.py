"""Starts functions, several at several memory sizes in turn, and adds up what was seen."""

from __future__ import annotations

import math
import os
import platform
import time
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import TYPE_CHECKING

from glowplug.lab.bytecode import Compiled, compiled
from glowplug.lab.clocks import Moment
from glowplug.lab.limits import throttled
from glowplug.lab.runtime import FailedError, Failure, Runtime, Settings
from glowplug.lab.sizes import Size, size_of, vendored
from glowplug.lab.split import Spent, packages, parts, stretch
from glowplug.registry import resources

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from glowplug.lab.facts import Facts
    from glowplug.lab.handlers import Handler

ARCHITECTURES = {"aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class Plan:
    """What is to be measured."""

    memory_mb: Sequence[int] = (512,)
    events: Sequence[bytes] = (b"{}",)
    #: Cold starts of each function at each size; figures are their medians.
    starts: int = 3
    #: Warm invocations over all starts; the events take turns.
    invocations: int = 100
    #: The part of invocations that are cold, for the costs.
    cold_share: float = 0.01
    architecture: str = ARCHITECTURES.get(platform.machine(), "x86_64")
    #: Whether warm invocations follow one another at once, so that the share of CPU is used up by them together.
    back_to_back: bool = False
    #: Whether to look into one more start of each function, for its parts and the files of its package.
    look_into: bool = True
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True)
class Start:
    """One start: what each phase took, in seconds."""

    interpreter: Spent
    client: Spent
    init: Spent
    first: Spent
    warm: tuple[Spent, ...]
    peak_mb: float
    answer: bytes

    @property
    def initialisation(self) -> Spent:
        """Until the function asked for an event."""
        return self.interpreter + self.client + self.init


@dataclass(frozen=True)
class Measured:
    """A function at a memory size; seconds, and `None` where it failed before."""

    handler: str
    memory_mb: int
    cpus: float
    failure: Failure | None
    #: Until the first event was asked for.
    init: Spent | None = None
    #: `interpreter`, `client`, `imports`, `library`, `model`; they add up to `init`.
    init_parts: dict[str, Spent] = field(default_factory=dict)
    first: Spent | None = None
    #: `imports`, `library`, `model`, `score`; they add up to `first`.
    first_parts: dict[str, Spent] = field(default_factory=dict)
    warm_p50: float | None = None
    warm_p99: float | None = None
    warm_mean: float | None = None
    #: Median CPU time of a warm invocation.
    warm_cpu: float | None = None
    #: Initialisation and first event of each start.
    colds: tuple[Spent, ...] = ()
    peak_mb: float | None = None
    cost_per_million: float | None = None
    answer: bytes = b""

    @property
    def cold(self) -> Spent | None:
        """Initialisation and first event."""
        return None if self.init is None or self.first is None else self.init + self.first


@dataclass(frozen=True)
class Package:
    """What is known of a function whatever its memory size."""

    handler: str
    size: Size | None
    #: Package → what its import took in the start that was looked into, without a limit of CPU.
    imports: dict[str, Spent]
    compiled: Compiled | None = None


@dataclass(frozen=True)
class Report:
    """All that was measured."""

    facts: Facts
    plan: Plan
    measured: list[Measured]
    packages: list[Package]
    #: Whether the kernel held all functions to their share of CPU and to their memory; and why not.
    cpu_held: bool
    memory_held: bool
    why_not: str
    notes: list[str]

    @property
    def failed(self) -> bool:
        """Whether any function did."""
        return any(one.failure is not None for one in self.measured)


class Lab:
    """Measures functions by a plan.

    Args:
        handlers: The functions.
        plan: What is to be measured.
        facts: Of Lambda.
        say: Told what is being done, a line at a time.
    """

    def __init__(
        self, handlers: Sequence[Handler], plan: Plan, facts: Facts, say: Callable[[str], object] = lambda _: None
    ) -> None:
        """Take note; `run` does it."""
        self._handlers, self._plan, self._facts, self._say = handlers, plan, facts, say
        self._cpu_held = self._memory_held = True
        self._why_not = ""
        self._failures: dict[tuple[int, int], Failure] = {}
        # Before we add to it.
        self._load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0

    def run(self) -> Report:
        """Start every function at every size, in turn and as often as planned, then look into one start of each.

        Raises:
            DependencyError: The runtime client is not installed.
            OptionError: The interpreter, or a control group, cannot be used.
        """
        plan = self._plan
        places = [(index, memory) for memory in plan.memory_mb for index in range(len(self._handlers))]
        starts: dict[tuple[int, int], list[Start]] = {place: [] for place in places}
        for turn in range(plan.starts):
            for index, memory in places:
                if (index, memory) in self._failures:
                    continue
                self._say(f"{self._handlers[index].name}, {memory} MB, start {turn + 1} of {plan.starts}")
                try:
                    starts[index, memory].append(self._start(self._handlers[index], memory, turn))
                except FailedError as error:
                    self._failures[index, memory] = error.failure
        traces = [self._look_into(index) for index in range(len(self._handlers))]
        measured = [self._sum_up(index, memory, starts[index, memory], traces[index]) for index, memory in places]
        sizes = [self._package(handler, seen) for handler, seen in zip(self._handlers, traces, strict=True)]
        return Report(
            self._facts, plan, measured, sizes, self._cpu_held, self._memory_held, self._why_not, self._notes()
        )

    # --- Inside -------------------------------------------------------------------------------------------------------

    def _start(self, handler: Handler, memory: int, turn: int) -> Start:
        plan, cpus = self._plan, self._facts.cpus(memory)
        period = self._facts.cpu_period_us / 1e6
        with Runtime(handler, memory, cpus, plan.settings) as runtime:
            held = runtime.limits
            self._cpu_held &= held.cpu_held
            self._memory_held &= held.memory_held
            self._why_not = self._why_not or held.why_not
            ready = runtime.initialise()
            first, took = runtime.invoke(plan.events[0])
            once = self._as_on_lambda(held.cpu_held, took, cpus)
            warm = []
            share = plan.invocations // plan.starts + (turn < plan.invocations % plan.starts)
            for number in range(share):
                if not plan.back_to_back:
                    time.sleep(period)
                _, took = runtime.invoke(plan.events[number % len(plan.events)])
                warm.append(self._as_on_lambda(held.cpu_held, took, cpus))
            marks, begun = runtime.marks, Moment(runtime.started)
            interpreter, client, init = (
                self._as_on_lambda(held.cpu_held, after - before, cpus)
                for before, after in (
                    (begun, marks["interpreter"]), (marks["interpreter"], marks["client"]), (marks["client"], ready),
                )
            )  # fmt: skip
            start = Start(interpreter, client, init, once, tuple(warm), runtime.peak_mb, first.payload)
        self._check_estimates(start)
        return start

    def _as_on_lambda(self, held: bool, took: Moment, cpus: float) -> Spent:
        """What was measured, if the kernel held the function to its share; otherwise what that would have made of it."""
        if held:
            return Spent(took.wall, took.cpu)
        wall = took.undisturbed
        # No clock for CPU time: work is taken to be all CPU time.
        cpu = wall if math.isnan(took.cpu) else took.cpu
        return Spent(throttled(wall, cpu, cpus, self._facts.cpu_period_us / 1e6), took.cpu)

    def _check_estimates(self, start: Start) -> None:
        """Refuse what only the share of CPU, which nobody enforced, would have made too slow."""
        settings = self._plan.settings
        longest = max(spent.wall for spent in (start.first, *start.warm))
        for kind, took, limit in (
            ("init timeout", start.initialisation.wall, settings.init_timeout), ("timeout", longest, settings.timeout),
        ):  # fmt: skip
            if took > limit:
                message = f"estimated to take {took:.1f} s with its share of CPU, over the limit of {limit:g} s"
                raise FailedError(Failure(kind, message, "give the function more memory (and CPU with it), or do less"))

    def _look_into(self, index: int) -> dict[str, Any] | None:
        """One more start, traced, with the largest memory at which the function works and without a limit of CPU."""
        works = [memory for memory in self._plan.memory_mb if (index, memory) not in self._failures]
        if not works or not self._plan.look_into:
            return None
        handler = self._handlers[index]
        self._say(f"{handler.name}, looking into a start")
        try:
            with Runtime(handler, max(works), None, self._plan.settings, trace=True) as runtime:
                runtime.initialise()
                runtime.invoke(self._plan.events[0])
                return runtime.traced()
        except FailedError:
            return None

    def _sum_up(self, index: int, memory: int, starts: list[Start], seen: dict[str, Any] | None) -> Measured:
        handler, cpus = self._handlers[index], self._facts.cpus(memory)
        failure = self._failures.get((index, memory))
        if not starts:
            return Measured(handler.name, memory, cpus, failure)
        middle = {
            name: Spent(*(median(getattr(getattr(start, name), one) for start in starts) for one in ("wall", "cpu")))
            for name in ("interpreter", "client", "init", "first")
        }
        init = middle["interpreter"] + middle["client"] + middle["init"]
        init_parts = {name: middle[name] for name in ("interpreter", "client")}
        first_parts: dict[str, Spent] = {}
        if seen is not None:
            others = vendored(handler.root)
            for phase, into in (("init", init_parts), ("first", first_parts)):
                found = parts(seen, phase, handler.root, others)
                into.update(stretch(found, middle[phase]))
            # Scoring at the top of the module, to warm up, is a part of having the model ready.
            init_parts["model"] += init_parts.pop("score")
        warm = sorted(spent.wall for start in starts for spent in start.warm)
        mean = fmean(warm) if warm else middle["first"].wall
        cold = (init + middle["first"]).wall
        return Measured(
            handler.name, memory, cpus, failure, init, init_parts, middle["first"], first_parts,
            warm_p50=percentile(warm, 50), warm_p99=percentile(warm, 99), warm_mean=fmean(warm) if warm else None,
            warm_cpu=median(spent.cpu for start in starts for spent in start.warm) if warm else None,
            colds=tuple(start.initialisation + start.first for start in starts),
            peak_mb=max(start.peak_mb for start in starts),
            cost_per_million=self._facts.cost_per_million(
                memory, self._plan.architecture, mean, cold, self._plan.cold_share
            ),
            answer=starts[0].answer,
        )  # fmt: skip

    def _package(self, handler: Handler, seen: dict[str, Any] | None) -> Package:
        if seen is None:
            return Package(handler.name, None, {})
        self._say(f"{handler.name}, adding up its files")
        size = size_of(seen, handler.root, self._facts.provided, self._facts.zipped_mb)
        return Package(handler.name, size, packages(seen, handler.root, vendored(handler.root)), compiled(seen))

    def _notes(self) -> list[str]:
        notes = []
        busy, here = self._load, float(resources()["cpus"])
        large = [memory for memory in self._plan.memory_mb if self._facts.cpus(memory) > here]
        if large:
            names = ", ".join(map(str, large))
            notes.append(f"this machine lets us use {here:g} CPUs, fewer than come with {names} MB")
        if busy > here:
            notes.append(
                f"this machine was busy (load {busy:.1f} on {here:g} CPUs): times are too long, CPU times and their ratios "
                "hold; --no-limits leaves waiting for others out"
            )
        return notes


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """The smallest value that so many percent do not exceed; `None` of nothing."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else None
