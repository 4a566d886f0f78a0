"""Which requests are so short that going to another thread would take longer than answering them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from glowplug.serve.http import Request

#: Larger or compressed bodies always go to a thread: what reading them takes is not bounded by a deadline.
MOST_BYTES = 16 * 2**10
#: Seconds of CPU that an answer may take to be short: about ten times what changing threads takes. By the clock, a busy machine
#: or a used-up quota would make any answer a long one, and changing threads dearer still.
SHORT = 0.0005
#: Seconds after which a run on the event loop is ended, to begin anew in a thread.
MOST_SECONDS = 0.01
#: Short answers of a kind, one after the other, before the next is expected to be short.
TRIES = 3
#: Answers of a kind in threads after one that was not short.
PENALTY = 200
#: Kinds that are kept apart. There are as many as models and content types, unless somebody makes them up.
MOST_KINDS = 256


class Pace:
    """Learns from how long answers took; one thread may use it at a time."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        #: Kind → how many short answers are still missing.
        self._left: dict[tuple[str, str | None], int] = {}

    def is_short(self, request: Request) -> bool:
        """Whether an answer is expected to be short."""
        headers = request.headers
        if len(request.body) > MOST_BYTES or "content-encoding" in headers:
            return False
        return self._left.get((request.path, headers.get("content-type")), TRIES) <= 0

    def note(self, request: Request, seconds: float, *, is_ended: bool = False) -> None:
        """Note how much CPU of its thread the answer to a small body took, and whether it was ended on the event loop.

        What was ended after little CPU had to wait for it, and is not to blame; nor is the first of a kind, which prepares
        what the others find.
        """
        if len(request.body) > MOST_BYTES:
            return
        kind = request.path, request.headers.get("content-type")
        before = self._left.get(kind)
        left = TRIES if before is None or is_ended else max(before - 1, 0)
        if seconds > SHORT and before is not None:
            left = PENALTY
        if len(self._left) >= MOST_KINDS:
            self._left.clear()
        self._left[kind] = left
