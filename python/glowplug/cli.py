"""The command line: `glowplug`, or `python -m glowplug`."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from glowplug.errors import GlowplugError
from glowplug.lab.command import add_to as add_lab

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command; gives the exit code.

    Args:
        arguments: Those of the process by default.
    """
    parser = argparse.ArgumentParser("glowplug", description="Machine-learning inference for serverless functions.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add_lab(commands)
    chosen = parser.parse_args(arguments)
    try:
        with _ended_by_sigterm():
            code: int = chosen.run(chosen)
    except GlowplugError as error:
        sys.stderr.write(f"glowplug: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return code


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """What a command has begun is ended with it.

    Afterwards the signal does what it did before: a child that was forked while a handler of Python's was left behind may
    forget the signal that is to end it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        # None stands for a handler that Python did not install, and cannot be given back.
        if before is not None:
            signal.signal(signal.SIGTERM, before)
