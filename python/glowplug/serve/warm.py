"""The first run of a model, with values made up from its signature, so that no caller waits for what it prepares."""

from __future__ import annotations

from glowplug.errors import GlowplugError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from glowplug.model import Model

#: The Open Inference Protocol's names for dtypes.
DATATYPES = {
    "float16": "FP16", "float32": "FP32", "float64": "FP64", "int8": "INT8", "int16": "INT16", "int32": "INT32",
    "int64": "INT64", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "bool": "BOOL",
    "string": "BYTES",
}  # fmt: skip
#: Elements of one made-up input. A model that wants more in one row is warm after its first run in any case.
MOST_ELEMENTS = 1_000_000


def warm(model: Model, *, timeout: float | None = 5.0) -> bool:
    """Run the model once on one row of zeros and empty texts.

    Returns:
        Whether it ran. Zeros may mean nothing to a model, or `timeout` seconds may be over: neither is an error.
    """
    from json import dumps

    body = made_up(model)
    if body is None:
        return False
    try:
        model._handle.measured_json(dumps(body), "predict", timeout, 1_000_000)  # noqa: SLF001 - of one package
    except GlowplugError:
        return False
    return True


def made_up(model: Model) -> dict[str, Any] | None:
    """An inference request of one row, or `None` if the signature does not say enough for one."""
    tensors = []
    for spec in model.inputs:
        if not spec.required:
            continue
        if not spec.is_tensor:
            return None
        shape = [size if isinstance(size, int) else 1 for size in spec.shape]
        count = 1
        for size in shape:
            count *= size
        if count > MOST_ELEMENTS:
            return None
        value: Any = {"bool": False, "string": ""}.get(spec.dtype, 0)
        tensors.append({"name": spec.name, "shape": shape, "datatype": DATATYPES[spec.dtype], "data": [value] * count})
    return {"inputs": tensors} if tensors else None
