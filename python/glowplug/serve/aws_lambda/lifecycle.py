"""What the platform does to an environment between invocations: it takes snapshots of it, and ends it."""

from __future__ import annotations

import gc
import os
import sys
import threading

from glowplug import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from glowplug.serve.aws_lambda.function import Handler
    from glowplug.telemetry import Recorder


def watch(handler: Handler) -> None:
    """Have the handler prepared for snapshots, and its telemetry sent before the end."""
    if handler.initialization == "snap-start":
        try:
            from glowplug.serve.aws_lambda.snapshots import register
        except ImportError:
            # Without the package there are no snapshots either.
            pass
        else:
            register(handler)
    if handler.telemetry.buffers and "AWS_LAMBDA_RUNTIME_API" in os.environ:
        _flush_at_end(handler.telemetry)


def before_snapshot(handler: Handler) -> None:
    """Leave nothing to do for the copies: the model has run, threads are parked, garbage is gone."""
    from glowplug.serve.warm import warm

    warm(handler.scorer.model)
    _core.park()
    gc.collect()


def after_restore(handler: Handler) -> None:
    """Forget what was true of the environment that the snapshot was taken of, and of no copy."""
    _core.usable_resources(True)
    handler.restored()
    # The same numbers in every copy would be no random numbers. What was never imported has no state.
    random: Any = sys.modules.get("random")
    if random is not None:
        random.seed()
    numpy: Any = sys.modules.get("numpy.random")
    if numpy is not None:
        numpy.seed()


_watched: list[Recorder] = []
_flushing = threading.RLock()
#: The two ends of the pipe that numbers of signals are written into.
_wakeup: list[int] = []


def _flush_at_end(telemetry: Recorder) -> None:
    """Send what was taken when SIGTERM comes.

    The runtime client waits for events in foreign code, where handlers of signals written in Python do not run. So a thread
    waits for the byte that Python's own part of the handling writes.
    """
    import signal

    from glowplug.telemetry.ending import in_children

    if any(known is telemetry for known in _watched) or threading.current_thread() is not threading.main_thread():
        return
    _watched.append(telemetry)
    if _wakeup:
        return
    previous = signal.getsignal(signal.SIGTERM)
    ours = _on_signal(previous)
    _wakeup.extend(os.pipe())
    reader, writer = _wakeup
    os.set_blocking(writer, False)
    other = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    if other != -1:
        # An event loop has it already, and runs handlers by it.
        signal.set_wakeup_fd(other)
    signal.signal(signal.SIGTERM, ours)
    in_children(lambda: _let_go(ours, previous))
    threading.Thread(target=_wait, args=(reader, ours), name="glowplug-end", daemon=True).start()


def _let_go(ours: Any, previous: Any) -> None:
    """In a forked child, which has no thread that waits; by the pipe a signal to it would end its parent."""
    import signal

    global _flushing  # noqa: PLW0603 - a thread that is not here may have held it
    _flushing = threading.RLock()
    other = signal.set_wakeup_fd(-1)
    if other not in {-1, *_wakeup}:
        signal.set_wakeup_fd(other)
    for end in _wakeup:
        os.close(end)
    _wakeup.clear()
    _watched.clear()
    if signal.getsignal(signal.SIGTERM) is ours:
        signal.signal(signal.SIGTERM, previous)


def _on_signal(previous: Any) -> Callable[[int, Any], None]:
    """The handler that comes before the one that there was."""

    def on_signal(number: int, frame: Any) -> None:
        _flush()
        if callable(previous):
            previous(number, frame)
        elif previous is not None and int(previous) == 0:
            # The default, which ends the process.
            raise SystemExit(128 + number)

    on_signal.previous = previous  # type: ignore[attr-defined]
    return on_signal


def _wait(reader: int, ours: Any) -> None:
    import signal

    while number := os.read(reader, 1):
        if number[0] == signal.SIGTERM:
            _flush()
            if ours.previous == signal.SIG_DFL and signal.getsignal(signal.SIGTERM) is ours:
                sys.stdout.flush()
                os._exit(128 + signal.SIGTERM)


def _flush() -> None:
    # Whoever comes second waits until all is sent; a second signal may come while the first is served.
    with _flushing:
        while _watched:
            telemetry = _watched.pop()
            try:
                telemetry.flush()
            except Exception:
                from logging import getLogger

                getLogger("glowplug").exception("telemetry could not be sent at the end")
