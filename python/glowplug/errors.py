"""What can go wrong. Each class is also the built-in exception that says the same."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class GlowplugError(Exception):
    """Base of every error this package raises; its message names what was got, what was expected, and the fix."""

    @classmethod
    def about(cls, subject: str, problem: str, fix: str) -> Self:
        """Make an error in the words of the core: `subject` names the input, file or option."""
        return cls(f"{subject}: {problem}\n  fix: {fix}")


class ModelNotFoundError(GlowplugError, FileNotFoundError):
    """The model file, or a file its external data lies in, does not exist."""


class ModelReadError(GlowplugError, OSError):
    """The path exists but cannot be read as a file: a folder, a pipe, no permission, an I/O error."""


class ModelError(GlowplugError, ValueError):
    """The content is not a usable model: empty, truncated, corrupt, not ONNX, or an invalid graph."""


class UnsupportedModelError(ModelError, NotImplementedError):
    """A valid model that asks for an opset, operator or tensor type the engine does not have."""


class LibraryError(GlowplugError, RuntimeError):
    """ONNX Runtime's shared library is missing, broken or too old."""


class DependencyError(GlowplugError, ImportError):
    """A Python package that this call needs is not installed."""


class InputError(GlowplugError, ValueError):
    """Names, rank, dimensions or values of what was passed do not fit the model.

    `row` is the index of the row that does not fit, counted from 0, and `field` what in it does not: a feature, an input, or
    a position. They are `None` where the mistake is not about one, or where whole arrays were passed.
    """

    row: int | None = None
    field: str | None = None


class InputTypeError(InputError, TypeError):
    """The dtype of what was passed does not fit the model, or is no array at all."""


class LimitError(InputError):
    """There are more rows than the caller takes."""


class OptionError(GlowplugError, ValueError):
    """An option has a value outside its range."""


class OptionTypeError(OptionError, TypeError):
    """An option has the wrong type."""


class EngineError(GlowplugError, RuntimeError):
    """The engine failed while it ran."""


class DeadlineExceeded(EngineError, TimeoutError):  # noqa: N818 - the name that this has everywhere
    """A call's `timeout` was over before its run, which was ended inside the engine. The model can be used as before."""


class OutOfMemoryError(GlowplugError, MemoryError):
    """Memory for a tensor or a model could not be had."""


class ModelClosedError(GlowplugError, RuntimeError):
    """The model was closed before the call."""
