"""The numbers of one invocation, the same for all sinks."""

from __future__ import annotations

from glowplug.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Protocol

    class Measured(Protocol):
        """What one invocation took; `serve.scoring.Measure` is one."""

        rows: int
        read_ns: int
        run_ns: int
        error: Exception | None


#: What became of an invocation.
OK: Final = "ok"
#: Its sender made a mistake.
REJECTED: Final = "rejected"
#: It failed, by no fault of its sender.
FAILED: Final = "failed"
#: Statuses of HTTP from here on are the server's own fault.
SERVER_ERRORS = 500


def outcome(error: BaseException | None) -> str:
    """What became of an invocation that ended with `error`: `OK`, `REJECTED` or `FAILED`."""
    if error is None:
        return OK
    # A `Problem` says whose fault it is by its status.
    status = getattr(error, "status", None)
    is_theirs = status < SERVER_ERRORS if isinstance(status, int) else isinstance(error, InputError)
    return REJECTED if is_theirs else FAILED


def model_of(measure: Measured) -> str | None:
    """The name of the model that was asked, if the server has several."""
    return getattr(measure, "model", None)
