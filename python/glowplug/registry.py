"""What this process has loaded, and how much of it may stay."""

from __future__ import annotations

import os

from glowplug import _core
from glowplug.errors import OptionError, OptionTypeError
from glowplug.model import Model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from glowplug._core import LoadedModel
    from glowplug.display import Explanation


def models() -> list[LoadedModel]:
    """List the models this process has loaded, the most recently used first.

    Returns:
        One dict a session: `source` (path, or `bytes:` and a digest), `bytes` (size of the model and its external data),
        `age_seconds`, `uses` (how often `load` gave it out), `holders` (objects that hold it besides the registry),
        `calls`, `threads`, `batch`, `optimization`.
    """
    return _core.models()


def unload(model: Model | str | os.PathLike[str]) -> bool:
    """Forget a loaded model, so that its memory is freed as soon as nobody uses it.

    Objects that hold the model, and calls that are running, go on with it. The next `load` loads it anew.

    Args:
        model: A model, or the path it was loaded from.

    Returns:
        Whether it was loaded.

    Raises:
        OptionTypeError: This is neither a model nor a path.
    """
    if isinstance(model, Model):
        return model._handle.unload()  # noqa: SLF001 - the two modules share the handle
    if isinstance(model, (str, os.PathLike)):
        return _core.unload_path(os.fsdecode(model))
    subject, problem = (
        "argument `model`",
        f"got {type(model).__name__}, expected a model or the path it was loaded from",
    )
    raise OptionTypeError.about(subject, problem, 'pass for example `glowplug.unload("model.onnx")`')


def configure(*, memory_budget: int | None) -> None:
    """Bound the memory of loaded models.

    Args:
        memory_budget: Bytes that all loaded models together may have, counted as the sizes of their files; `None` for no
            bound, the default. Over it, models that nobody holds are unloaded, the least recently used first. Models that
            are held, or run, stay even if they exceed the budget.

    Raises:
        OptionError: The budget is negative.
        OptionTypeError: The budget is no whole number.
    """
    if memory_budget is not None:
        if not isinstance(memory_budget, int) or isinstance(memory_budget, bool):
            subject, problem = (
                "option `memory_budget`",
                f"got {memory_budget!r}, expected a whole number of bytes or None",
            )
            raise OptionTypeError.about(subject, problem, "pass for example `memory_budget=256 * 2**20`")
        if memory_budget < 0:
            subject, problem = "option `memory_budget`", f"got {memory_budget}, expected at least 0 bytes"
            raise OptionError.about(subject, problem, "pass None for no bound, or 0 to keep only models that are held")
        memory_budget = min(memory_budget, 2**64 - 1)
    _core.configure(memory_budget)


def resources(*, refresh: bool = False) -> Explanation:
    """Say which CPUs and how much memory this process may really use, whatever the machine has.

    The number of threads of a call follows from it. Affinity, the quotas of control groups along the process's own path,
    physical memory and the memory size of a Lambda function are read at the first call; the smallest wins.

    Args:
        refresh: Look again, after a snapshot was restored on another machine or a quota was changed. Models that are
            loaded keep their threads.

    Returns:
        A dict that prints as a table: `cpus` (whole or in part), `memory` (bytes, or `None`), `threads`, `threads_why`,
        `platform` (`"aws-lambda"`, `"cloud-run"`, `"azure-functions"` or `None`), and `sources`, a list of dicts with
        `name`, `place`, `cpus` and `memory` of everything that was found.

    Raises:
        OptionError: The environment variable GLOWPLUG_THREADS is no number of threads.
    """
    from glowplug.display import Explanation

    return Explanation(_core.usable_resources(refresh))
