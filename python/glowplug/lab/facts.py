"""Prices and limits of AWS Lambda, from a dated file that a user may override, and what follows from them."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glowplug.errors import OptionError

FILE = Path(__file__).with_name("facts.toml")


@dataclass(frozen=True)
class Facts:
    """Memory in MB, times in seconds, prices in dollars."""

    as_of: str
    region: str
    smallest_mb: int
    largest_mb: int
    mb_per_cpu: float
    cpu_period_us: int
    init_timeout: float
    longest_timeout: float
    zipped_mb: float
    unzipped_mb: float
    million_requests: float
    gb_second: dict[str, float]
    billed_step_ms: float
    #: Names of distributions, in lower case with hyphens.
    provided: frozenset[str]

    def cpus(self, memory_mb: int) -> float:
        """The share of CPUs that comes with a memory size."""
        return memory_mb / self.mb_per_cpu

    def cost_per_million(self, memory_mb: int, architecture: str, warm: float, cold: float, cold_share: float) -> float:
        """Dollars for a million invocations.

        Args:
            memory_mb: The function's memory.
            architecture: `"x86_64"` or `"arm64"`.
            warm: Mean seconds of a warm invocation.
            cold: Seconds of an initialisation and the invocation after it.
            cold_share: The part of invocations that are cold, 0 to 1.
        """
        step = self.billed_step_ms / 1000
        billed = [math.ceil(round(seconds / step, 6)) * step for seconds in (warm, cold)]
        seconds = (1 - cold_share) * billed[0] + cold_share * billed[1]
        return self.million_requests + 1e6 * seconds * memory_mb / 1024 * self.gb_second[architecture]


def read_facts(override: str | Path | None = None) -> Facts:
    """The facts of the package, with those of another file of the same form in their place."""
    content = _parsed(FILE)
    if override is not None:
        _merge(content, _parsed(Path(override)), str(override), "")
    function, package, prices = content["function"], content["package"], content["prices"]
    try:
        return Facts(
            as_of=str(content["as_of"]),
            region=str(content["region"]),
            smallest_mb=int(function["memory_mb"][0]),
            largest_mb=int(function["memory_mb"][1]),
            mb_per_cpu=float(function["memory_mb_per_cpu"]),
            cpu_period_us=int(function["cpu_period_us"]),
            init_timeout=float(function["init_timeout_s"]),
            longest_timeout=float(function["timeout_s"][1]),
            zipped_mb=float(package["zipped_mb"]),
            unzipped_mb=float(package["unzipped_mb"]),
            million_requests=float(prices["million_requests"]),
            gb_second={str(name): float(price) for name, price in prices["gb_second"].items()},
            billed_step_ms=float(prices["billed_step_ms"]),
            provided=frozenset(content["runtime"]["provided"]),
        )
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise _refusal(override, str(error), f"give values of the kinds that {FILE} has") from None


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise _refusal(path, error.strerror or str(error), "name a file that can be read") from None
    except ValueError as error:
        raise _refusal(path, f"not TOML: {error}", f"write it in the form of {FILE}") from None


def _refusal(file: object, problem: str, fix: str) -> OptionError:
    return OptionError.about(f"facts in {file}", problem, fix)


def _merge(into: dict[str, Any], other: dict[str, Any], file: str, table: str) -> None:
    for name, value in other.items():
        if name not in into and table != "prices.gb_second.":
            raise _refusal(file, f"no fact is called {table}{name}", f"the names are {', '.join(into)}")
        if isinstance(into.get(name), dict) and isinstance(value, dict):
            _merge(into[name], value, file, f"{table}{name}.")
        else:
            into[name] = value
