"""What waits to be sent, sent before the process ends: at its exit, and at SIGTERM if nobody else looks after that."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

    from glowplug.telemetry import Recorder


#: Seconds that a flush may take at SIGTERM; platforms give ten, or less.
MOST_SECONDS = 2.0
_recorders: list[Recorder] = []


def flush_at_end(recorder: Recorder) -> None:
    """Flush at exit and at SIGTERM.

    A handler for SIGTERM is put where there is none, in the main thread; then the signal does what it did before.
    """
    if not recorder.buffers or recorder in _recorders:
        return
    import atexit
    import signal
    from threading import current_thread, main_thread

    if not _recorders:
        atexit.register(_flush)
    _recorders.append(recorder)
    if current_thread() is not main_thread() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return

    signal.signal(signal.SIGTERM, _end)


def _end(number: int, _: FrameType | None) -> None:
    """Have everything sent, and the signal repeated when that is done; the main thread goes on as long.

    It may hold a lock that a flush waits for, so it must neither flush nor wait here.
    """
    import signal
    from threading import Thread

    signal.signal(number, signal.SIG_DFL)
    try:
        # Not a daemon: the end of the main thread waits for it.
        Thread(target=_flush_and_repeat, args=(number,), name="glowplug-end").start()
    except RuntimeError:  # the interpreter ends already
        signal.raise_signal(number)


def _flush_and_repeat(number: int) -> None:
    import os
    from threading import Thread

    flushing = Thread(target=_flush, name="glowplug-flush", daemon=True)
    flushing.start()
    flushing.join(MOST_SECONDS)
    os.kill(os.getpid(), number)


def _flush() -> None:
    for recorder in _recorders:
        recorder.flush()
