"""What waits to be sent, sent before the process ends: at its exit, and at SIGTERM if nobody else looks after that."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
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
    in_children(_let_go)


def _let_go() -> None:
    import signal

    if signal.getsignal(signal.SIGTERM) is _end:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def in_children(let_go: Callable[[], None]) -> None:
    """Let forked children end as they would without us: what waits is the parent's to send, and so may be the locks.

    SIGTERM waits until the child has let go. Before that Python forgets the signals that come to a new child, if they have a
    handler written in Python.
    """
    import os

    if not hasattr(os, "register_at_fork"):
        # Windows, where there are no forks, nor masks of signals.
        return
    from signal import SIG_BLOCK, SIG_SETMASK, SIGTERM, pthread_sigmask
    from threading import get_ident

    masks = {}

    def before() -> None:
        # Known before it is changed: handlers of signals run in here as well, and what they raise ends it anywhere.
        masks[get_ident()] = pthread_sigmask(SIG_BLOCK, ())
        pthread_sigmask(SIG_BLOCK, {SIGTERM})

    def after() -> None:
        mask = masks.pop(get_ident(), None)
        if mask is not None:
            pthread_sigmask(SIG_SETMASK, mask)

    def in_child() -> None:
        let_go()
        after()

    os.register_at_fork(before=before, after_in_parent=after, after_in_child=in_child)


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
