"""One function in a process of its own: the real runtime client, under limits, fed by our Runtime API."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glowplug.errors import DependencyError, OptionError
from glowplug.lab.clocks import marked, moment_of
from glowplug.lab.limits import NOT_LAUNCHED, Limits, Watch, resident_mb
from glowplug.lab.runtime_api import RuntimeApi, RuntimeGoneError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from glowplug.lab.clocks import Moment
    from glowplug.lab.handlers import Handler
    from glowplug.lab.limits import Hierarchy
    from glowplug.lab.runtime_api import Invocation

CHILD, TRACE = (str(Path(__file__).with_name(name)) for name in ("child.py", "trace.py"))
#: How `child.py` ends without the runtime client.
NO_CLIENT = 3
#: How a shell ends that cannot become the command.
CANNOT_RUN = (126, 127)
#: Seconds within which a process that reported or met its end is gone.
PATIENCE = 5.0
#: Of what a function printed: bytes that are read, lines that are shown, and their length.
LOG, LINES, LINE = 65_536, 8, 200


@dataclass(frozen=True)
class Failure:
    """Why a function did not do its work, in words that name the fix."""

    #: `init error`, `init timeout`, `handler error`, `timeout`, `out of memory` or `exit`.
    kind: str
    message: str
    fix: str
    #: The stack of an error, innermost last.
    trace: tuple[str, ...] = ()
    #: The last lines that the function printed.
    printed: tuple[str, ...] = ()


class FailedError(Exception):
    """Carries a failure to who asked for the work."""

    def __init__(self, failure: Failure) -> None:
        """Keep it."""
        super().__init__(failure.message)
        self.failure = failure


@dataclass(frozen=True)
class Settings:
    """How functions are run. Times in seconds."""

    timeout: float = 3.0
    init_timeout: float = 10.0
    cpu_period_us: int = 20_000
    #: CPUs during initialisation; `None` is the share of the memory size.
    init_cpus: float | None = None
    python: str = sys.executable
    variables: Mapping[str, str] = field(default_factory=dict)
    #: Where control groups may be made; `None` looks for them.
    places: Sequence[Hierarchy] | None = None


class Runtime:
    """A function's process, from its start to its end; a context manager.

    Attributes:
        limits: What holds the process.
        started: When it was started.
        marks: The moments that `child.py` marked, by name.
    """

    def __init__(
        self, handler: Handler, memory_mb: int, cpus: float | None, settings: Settings, *, trace: bool = False
    ) -> None:
        """Take note; the process starts with the `with` block.

        Args:
            handler: What to run.
            memory_mb: Its memory.
            cpus: Its share of CPUs; `None` leaves it free.
            settings: How.
            trace: Whether to look into initialisation and first event; see `trace.py`.
        """
        self._handler, self._memory_mb, self._cpus, self._settings = handler, memory_mb, cpus, settings
        self._trace = TRACE if trace else ""
        self._calls: dict[str, Moment] = {}
        self._stack = ExitStack()
        self._peak_mb = 0.0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            settings = self._settings
            cpus = self._cpus if settings.init_cpus is None else settings.init_cpus
            self.limits = Limits(self._memory_mb, cpus, settings.cpu_period_us, settings.places)
            stack.callback(self.limits.close)
            self._api = stack.enter_context(RuntimeApi(self._handler.function, self._called))
            self._seen = stack.enter_context(tempfile.TemporaryFile())
            self._log = stack.enter_context(tempfile.TemporaryFile())
            out = self._seen.fileno()
            command = [settings.python, CHILD, str(out), str(self._handler.root), self._handler.setting, self._trace]
            # Loaded now, so that the process's first reading is not late.
            moment_of(os.getpid())
            self.started = time.monotonic()
            try:
                self._process = subprocess.Popen(  # noqa: S603 - the user's own function is what this is for
                    self.limits.command(command), cwd=self._handler.root, env=self._environment(), pass_fds=(out,),
                    stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                raise self._no_interpreter(error.strerror or str(error)) from None
            self._watch = None if self.limits.memory_held else Watch(self._process.pid, self._memory_mb)
            self._ended = threading.Thread(target=self._wait, daemon=True)
            self._ended.start()
            stack.callback(self._end)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def initialise(self) -> Moment:
        """Wait until the function is initialised; gives the moment in which it asked for the first event."""
        try:
            at = self._api.wait_until_ready(self._settings.init_timeout)
        except TimeoutError:
            limit = self._settings.init_timeout
            raise self._failed(
                "init timeout",
                f"initialisation took longer than {limit:g} s, at which Lambda stops it",
                "import and load less, give the function more memory (and CPU with it), or load at the first event; to "
                "measure it all the same, set function.init_timeout_s in a file for --facts",
            ) from None
        except RuntimeGoneError as error:
            when = "initialisation"
            raise self._why(when, str(error)) from None
        self._note_peak()
        if self._settings.init_cpus is not None and self._cpus is not None:
            self.limits.set_cpus(self._cpus)
        return dataclasses.replace(self._calls["next"], wall=at)

    def invoke(self, event: bytes) -> tuple[Invocation, Moment]:
        """Send an event; gives the invocation and what passed until its answer."""
        before = moment_of(self._process.pid)
        try:
            invocation = self._api.invoke(event, timeout=self._settings.timeout)
        except TimeoutError:
            limit = self._settings.timeout
            raise self._failed(
                "timeout",
                f"no answer within {limit:g} s",
                "raise the function's timeout (here --timeout), give it more memory (and CPU with it), or do less",
            ) from None
        except RuntimeGoneError as error:
            when = "the event"
            raise self._why(when, str(error)) from None
        self._note_peak()
        if self.limits.kills():
            # One that the function started; Lambda would have ended all of them.
            raise self._out_of_memory("a process of the function")
        if invocation.error_type is not None:
            kind = "handler error"
            raise FailedError(_raised(kind, invocation.json()))
        return invocation, dataclasses.replace(self._calls["response"] - before, wall=invocation.seconds)

    @property
    def marks(self) -> dict[str, Moment]:
        """What `child.py` marked until now."""
        lines = self._read(self._seen).splitlines()
        return dict(marked(line.removeprefix(b"mark ")) for line in lines if line.startswith(b"mark "))

    @property
    def peak_mb(self) -> float:
        """Peak resident memory until the last answer, in MB; 0 where Linux is not."""
        return self._peak_mb

    @property
    def log(self) -> str:
        """What the function printed, or the last of it."""
        return self._read(self._log, LOG).decode("utf-8", "replace").replace("\r", "\n")

    def traced(self, patience: float = PATIENCE) -> dict[str, Any] | None:
        """What `trace.py` saw; it writes that after the first answer."""
        until = time.monotonic() + patience
        while time.monotonic() < until and self._process.returncode is None:
            *_, last = [b"", *self._read(self._seen).split(b"\n")[:-1]]
            if last.startswith(b"trace "):
                seen: dict[str, Any] = json.loads(last.removeprefix(b"trace "))
                return seen
            time.sleep(0.005)
        return None

    # --- Inside -------------------------------------------------------------------------------------------------------

    def _environment(self) -> dict[str, str]:
        name, region = self._handler.function, os.environ.get("AWS_REGION", "us-east-1")
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return {
            **os.environ,
            "TZ": ":UTC",
            # Lambda's folder is read-only.
            "PYTHONDONTWRITEBYTECODE": "1",
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self._memory_mb),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": "local",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python{version}",
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "LAMBDA_TASK_ROOT": str(self._handler.root),
            "LAMBDA_RUNTIME_DIR": "/var/runtime",
            **self._settings.variables,
            "AWS_LAMBDA_RUNTIME_API": self._api.address,
            "_HANDLER": self._handler.setting,
        }

    def _called(self, call: str) -> None:
        self._calls[call] = moment_of(self._process.pid)

    def _note_peak(self) -> None:
        self._peak_mb = resident_mb(self._process.pid, "VmHWM") or self._peak_mb

    def _wait(self) -> None:
        self._api.gone(f"the process ended with {self._process.wait()}")

    def _end(self) -> None:
        # The processes that the function started as well; those that left its session are in its control group.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self.limits.end_all()
        self._ended.join(PATIENCE)
        if self._watch is not None:
            self._watch.stop()

    @staticmethod
    def _read(file: Any, last: int | None = None) -> bytes:
        # The function's process writes through the same open file, whose position is shared.
        size = os.fstat(file.fileno()).st_size
        begin = 0 if last is None else max(0, size - last)
        return os.pread(file.fileno(), size - begin, begin)

    def _why(self, when: str, gone: str) -> Exception:
        """What stopped a process that is gone, or is about to be after it reported an error."""
        self._ended.join(PATIENCE)
        code = self._process.returncode
        if (self._watch is not None and self._watch.killed) or self.limits.kills():
            return self._out_of_memory(when)
        if self._api.init_error is not None:
            return FailedError(_raised("init error", self._api.init_error))
        if code == NO_CLIENT and b"missing" in self._read(self._seen):
            fix = "install the client there: python -m pip install 'glowplug[lab]'"
            return DependencyError.about("package awslambdaric", f"not installed for {self._settings.python}", fix)
        if code in CANNOT_RUN and not self.marks:
            return self._no_interpreter("not found" if code == CANNOT_RUN[1] else "not executable")
        if code == NOT_LAUNCHED and not self.marks:
            return OptionError.about("control groups", "cannot be entered", "measure without: --no-limits")
        how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
        fix = "a library crashed, or called exit: look at what was printed, and try the same outside of the lab"
        message = f"the process ended {how} during {when}" if code is not None else gone
        return self._failed("exit", message, fix)

    def _no_interpreter(self, why: str) -> OptionError:
        return OptionError.about(
            f"python {self._settings.python}", f"cannot be run: {why}", "name an interpreter with --python"
        )

    def _out_of_memory(self, what: str) -> FailedError:
        self._peak_mb = float(self._memory_mb)
        return self._failed(
            "out of memory",
            f"{what} took more than {self._memory_mb} MB, and was killed",
            "give the function more memory, or hold less: smaller batches, a smaller model, fewer packages",
        )

    def _failed(self, kind: str, message: str, fix: str) -> FailedError:
        lines = [line[:LINE] for line in self.log.splitlines() if line.strip()]
        return FailedError(Failure(kind, message, fix, printed=tuple(lines[-LINES:])))


#: Class of an error → its fix.
FIXES = {
    "Runtime.ImportModuleError": "install the module for this interpreter and into the function's package, or name its "
    "folder with --root",
    "Runtime.HandlerNotFound": "name the function behind the file: handler.py:function",
    "Runtime.UserCodeSyntaxError": "correct the line",
    "Runtime.MarshalError": "return what JSON can hold: numbers of Python, not of NumPy; text, lists, dicts",
    "Function.ResponseSizeTooLarge": "answer with less than 6 MB, or write to a bucket and return the address",
    "MemoryError": "give the function more memory, or hold less",
}
FIX = "correct the handler, or give it the event it expects with --event"


def _raised(kind: str, described: dict[str, Any]) -> Failure:
    """An error as the runtime client describes it."""
    name, said = str(described.get("errorType", "Unknown")), described.get("errorMessage", "")
    trace = [line.rstrip() for entry in described.get("stackTrace") or [] for line in entry.splitlines()]
    return Failure(kind, f"{name}: {said}" if said else name, FIXES.get(name, FIX), tuple(trace))
