"""The command `glowplug lab`: its arguments, and what it exits with."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from typing import TYPE_CHECKING

from glowplug.errors import OptionError
from glowplug.lab.facts import Facts, read_facts
from glowplug.lab.handlers import find, read_events
from glowplug.lab.measure import Lab, Plan
from glowplug.lab.report import as_data, as_text
from glowplug.lab.runtime import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION = """\
Run functions for AWS Lambda on this machine: the real runtime client, Lambda's share of CPU and its memory limit, and
what they would cost. Any Python handler will do, so several can be compared.
"""
EPILOGUE = """\
examples:
  glowplug lab handler.py --event event.json --memory 128,512,1769
  glowplug lab ours.py theirs.py:lambda_handler --event event.json
  glowplug lab package.module.handler --root build/ --json

exit codes: 0 all functions worked; 1 one failed (error, timeout, out of memory); 2 the command cannot be carried out
"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    plan, settings = Plan(), Settings()
    parser = commands.add_parser(
        "lab", help="measure functions for AWS Lambda on this machine", description=DESCRIPTION, epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("handlers", nargs="+", metavar="HANDLER", help="handler.py, handler.py:function, or module.function")
    add("--event", action="append", default=[], metavar="FILE", help="an event as JSON; more than one take turns")
    add("--memory", type=_sizes, default=list(plan.memory_mb), metavar="MB,…", help="memory sizes (default: 512)")
    add("--root", metavar="FOLDER", help="the package's folder (default: the handler's)")
    add("--starts", type=_count, default=plan.starts, metavar="N", help=f"cold starts each (default: {plan.starts})")
    add(
        "--invocations", type=_count, default=plan.invocations, metavar="N",
        help=f"warm invocations each (default: {plan.invocations})",
    )  # fmt: skip
    add("--back-to-back", action="store_true", help="no pause between warm invocations: they share the share of CPU")
    add(
        "--timeout", type=_seconds, default=settings.timeout, metavar="S",
        help=f"the function's timeout (default: {settings.timeout:g})",
    )  # fmt: skip
    add(
        "--init-cpus", type=_seconds, metavar="CPUS",
        help="CPUs during initialisation (default: the share of the memory size)",
    )  # fmt: skip
    add("--env", action="append", default=[], metavar="NAME=VALUE", help="an environment variable of the function")
    add("--python", default=sys.executable, metavar="FILE", help="the function's interpreter (default: this one)")
    add("--arm64", action="store_true", help="prices of arm64, on whatever machine this is")
    add(
        "--cold-share", type=_share, default=plan.cold_share, metavar="PART",
        help=f"the part of invocations that are cold, for the costs (default: {plan.cold_share:g})",
    )  # fmt: skip
    add("--facts", metavar="FILE", help="prices and limits that differ from the package's, as TOML")
    add("--no-limits", action="store_true", help="no control groups: estimate what the limits would do")
    add("--json", action="store_true", help="print JSON")
    add("--quiet", action="store_true", help="say nothing of what is being done")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Carry the command out; gives the exit code.

    Raises:
        OptionError: An argument has no meaning.
        DependencyError: The runtime client is not installed.
    """
    if sys.platform == "win32":
        system = "system"
        raise OptionError.about(system, "the runtime client does not run on Windows", "use Linux, WSL or a container")
    facts = read_facts(arguments.facts)
    settings = Settings(
        timeout=arguments.timeout,
        init_timeout=facts.init_timeout,
        cpu_period_us=facts.cpu_period_us,
        init_cpus=arguments.init_cpus,
        python=arguments.python,
        variables=_variables(arguments.env),
        places=() if arguments.no_limits else None,
    )
    plan = Plan(
        memory_mb=arguments.memory,
        events=read_events(arguments.event),
        starts=arguments.starts,
        invocations=arguments.invocations,
        cold_share=arguments.cold_share,
        back_to_back=arguments.back_to_back,
        settings=settings,
    )
    if arguments.arm64:
        plan = dataclasses.replace(plan, architecture="arm64")
    _check(plan, facts)
    handlers = [find(text, arguments.root) for text in arguments.handlers]
    lively = not arguments.quiet and sys.stderr.isatty()
    try:
        found = Lab(handlers, plan, facts, _say if lively else lambda _: None).run()
    finally:
        if lively:
            _say("")
    text = json.dumps(as_data(found), indent=1) + "\n" if arguments.json else as_text(found)
    sys.stdout.write(text)
    return int(found.failed)


def _check(plan: Plan, facts: Facts) -> None:
    for memory in plan.memory_mb:
        if not facts.smallest_mb <= memory <= facts.largest_mb:
            subject, fix = f"memory {memory} MB", f"name sizes from {facts.smallest_mb} to {facts.largest_mb} MB"
            raise OptionError.about(subject, "Lambda has no such size", fix)
    if plan.settings.timeout > facts.longest_timeout:
        subject, problem = f"timeout {plan.settings.timeout:g} s", "longer than Lambda takes"
        raise OptionError.about(subject, problem, f"give at most {facts.longest_timeout:g} s")
    if plan.architecture not in facts.gb_second:
        subject, problem = f"architecture {plan.architecture}", f"no price; there are {', '.join(facts.gb_second)}"
        raise OptionError.about(subject, problem, "add it to prices.gb_second in a file for --facts")


def _say(line: str) -> None:
    """One line of a terminal, over the one before it."""
    sys.stderr.write(f"\r\x1b[2K{line}")
    sys.stderr.flush()


def _variables(given: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals:
            subject = f"--env {text}"
            raise OptionError.about(subject, "not NAME=VALUE", "write --env NAME=VALUE")
        found[name] = value
    return found


def _sizes(text: str) -> list[int]:
    """`128,512` as numbers, each once."""
    return list(dict.fromkeys(_count(part) for part in text.split(",")))


def _count(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        message = f"{text!r} is no whole number above 0"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        message = f"{text!r} is no number above 0"
        raise argparse.ArgumentTypeError(message)
    return value


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        message = f"{text!r} is no number from 0 to 1"
        raise argparse.ArgumentTypeError(message)
    return value
