"""Fast machine-learning inference for Python serverless functions.

>>> import glowplug
>>> model = glowplug.load("fraud.onnx")  # doctest: +SKIP
>>> model.predict(rows)  # doctest: +SKIP
"""

from glowplug._core import TensorSpec, __version__
from glowplug.errors import (
    DeadlineExceeded,
    DependencyError,
    EngineError,
    GlowplugError,
    InputError,
    InputTypeError,
    LibraryError,
    LimitError,
    ModelClosedError,
    ModelError,
    ModelNotFoundError,
    ModelReadError,
    OptionError,
    OptionTypeError,
    OutOfMemoryError,
    UnsupportedModelError,
)
from glowplug.model import Model, load
from glowplug.registry import configure, models, resources, unload

__all__ = (
    "DeadlineExceeded", "DependencyError", "EngineError", "GlowplugError", "InputError", "InputTypeError", "LibraryError",
    "LimitError", "Model", "ModelClosedError", "ModelError", "ModelNotFoundError", "ModelReadError", "OptionError",
    "OptionTypeError", "OutOfMemoryError", "TensorSpec", "UnsupportedModelError", "__version__", "configure", "load",
    "models", "resources", "unload",
)  # fmt: skip
