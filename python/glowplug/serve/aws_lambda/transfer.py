"""The two ends of a stream over a network, each in a thread of its own, so that no stall outlives a deadline.

A client's own timeouts count from each of its waits anew, name lookups and repeated attempts beside them. Whoever waits here
for a thread instead goes on at the deadline, whatever the thread waits for; it ends with that, drops what it then has, and
sends nothing more. What was on its way by then may arrive. Scoring, and with it functions of the user's, stays in the thread
that was called.
"""

from __future__ import annotations

from queue import Empty, Full, Queue
from threading import Event, Thread, current_thread
from time import monotonic

from glowplug.errors import DeadlineExceeded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from typing import Any, Self

#: Parts that wait between a thread and the caller.
AHEAD = 1
#: Seconds beyond the deadline in which an upload may be taken back; one that stalls is left alone.
ABORT_SECONDS = 0.1
_DONE: Any = object()


class _End(Thread):
    """A thread at one end of a stream."""

    def __init__(self, name: str, run: Callable[[], None]) -> None:
        super().__init__(target=run, name=name, daemon=True)
        #: Nobody waits for it any more.
        self.is_given_up = False
        self.start()


def refuse_given_up(**_: object) -> None:
    """Send nothing for whom nobody waits any more: a client's `before-send`, which it also asks before it tries again.

    Raises:
        GivenUpError: The caller is such a thread.
    """
    if getattr(current_thread(), "is_given_up", False):
        raise GivenUpError


class GivenUpError(Exception):
    """What a thread ends with for whom nobody waits any more."""


def left(end: float | None) -> float | None:
    """Seconds until the deadline; `None` if there is none.

    Raises:
        DeadlineExceeded: There are none.
    """
    if end is None:
        return None
    seconds = end - monotonic()
    if seconds <= 0:
        raise _late()
    return seconds


def fetched(read: Callable[[], Iterable[Any]], end: float | None) -> Generator[Any, None, None]:
    """What `read` gives, one ahead.

    Raises:
        Exception: What `read` raises.
        DeadlineExceeded: The time was over before all was there.
    """
    parts: Queue[Any] = Queue(AHEAD)
    is_left = Event()

    def fetch() -> None:
        try:
            for part in read():
                parts.put(part)
                if is_left.is_set():
                    return
            parts.put(_DONE)
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            parts.put(_Failure(error))

    thread = _End("glowplug-fetch", fetch)
    try:
        while True:
            try:
                part = parts.get(timeout=left(end))
            except Empty:
                raise _late() from None
            if part is _DONE:
                return
            if isinstance(part, _Failure):
                raise part.error
            yield part
    finally:
        is_left.set()
        thread.is_given_up = True
        _drain(parts)


class Upload:
    """Sends what is written, by a function of a file; leaving its block ends that, or takes it back after an error.

    Args:
        send: Reads all of a file, and sends it; an error of reading makes it send nothing.
        end: The deadline.
    """

    def __init__(self, send: Callable[[Any], None], end: float | None) -> None:
        self._end = end
        self._parts: Queue[Any] = Queue(AHEAD)
        self._error: BaseException | None = None
        self._is_over = Event()
        self._thread = _End("glowplug-send", lambda: self._run(send))

    def write(self, part: bytes) -> None:
        """Hand over a part.

        Raises:
            Exception: What sending failed with.
            DeadlineExceeded: The time was over.
        """
        if self._is_over.is_set():
            raise self._error or GivenUpError
        try:
            self._parts.put(part, timeout=left(self._end))
        except Full:
            raise _late() from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            try:
                self.write(_DONE)
                self._thread.join(left(self._end))
                if self._thread.is_alive():
                    raise _late()
            except BaseException as failure:
                self._take_back(failure)
                raise
            if self._error is not None:
                raise self._error
        else:
            self._take_back(error)

    def _take_back(self, error: BaseException) -> None:
        _drain(self._parts)
        # Who sends takes back what it has for an `Exception` only.
        self._parts.put(_Failure(error if isinstance(error, Exception) else GivenUpError()))
        seconds = None if self._end is None else max(self._end - monotonic(), 0) + ABORT_SECONDS
        self._thread.join(seconds)
        self._thread.is_given_up = True

    def _run(self, send: Callable[[Any], None]) -> None:
        try:
            send(_File(self._parts))
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            self._error = error
        self._is_over.set()
        # Who hands over a part meanwhile may wait for room.
        _drain(self._parts)


class _File:
    """What is written, as the file that an upload reads."""

    def __init__(self, parts: Queue[Any]) -> None:
        self._parts = parts
        self._held = bytearray()
        self._is_done = False

    def read(self, size: int = -1) -> bytes:
        while not self._is_done and not 0 <= size <= len(self._held):
            part = self._parts.get()
            if isinstance(part, _Failure):
                raise part.error
            if part is _DONE:
                self._is_done = True
            else:
                self._held += part
        end = len(self._held) if size < 0 else size
        taken = bytes(self._held[:end])
        del self._held[:end]
        return taken


class _Failure:
    """What went wrong at the other end of a queue."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _drain(parts: Queue[Any]) -> None:
    try:
        while True:
            parts.get_nowait()
    except Empty:
        pass


def _late() -> DeadlineExceeded:
    problem = "was not done in the time there was"
    return DeadlineExceeded.about("object", problem, "give the function more time, or make smaller objects")
