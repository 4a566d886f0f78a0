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
    from threading import Thread, current_thread, main_thread

    if not _recorders:
        atexit.register(_flush)
    _recorders.append(recorder)
    if current_thread() is not main_thread() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return

    def end(number: int, _: FrameType | None) -> None:
        # Not here: the main thread may hold a lock that a flush waits for.
        flushing = Thread(target=_flush, daemon=True)
        flushing.start()
        flushing.join(MOST_SECONDS)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    signal.signal(signal.SIGTERM, end)


def _flush() -> None:
    for recorder in _recorders:
        recorder.flush()
