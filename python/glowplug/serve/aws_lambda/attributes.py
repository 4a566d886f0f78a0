"""DynamoDB's typed attributes as plain Python."""

from __future__ import annotations

from glowplug.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def plain_item(item: dict[str, Any]) -> dict[str, Any]:
    """An item without its types: numbers are whole where they are written so, sets are lists, binary is bytes.

    Raises:
        InputError: It holds a type that there is not.
    """
    return {name: plain(value) for name, value in item.items()}


def plain(attribute: dict[str, Any]) -> Any:
    """One attribute, such as `{"N": "1.5"}`."""
    if len(attribute) == 1:
        ((kind, value),) = attribute.items()
        if kind in _AS_IS:
            return value
        if kind in _READERS:
            return _READERS[kind](value)
    problem = f"got an attribute of the types {sorted(attribute)}, expected one of {sorted(_AS_IS | set(_READERS))}"
    raise InputError.about("DynamoDB item", problem, "pass the stream's records as they came")


def _number(text: str) -> int | float:
    # 38 digits, beyond what float64 holds, are what the model could not hold either.
    try:
        return int(text)
    except ValueError:
        return float(text)


def _bytes(value: str | bytes) -> bytes:
    from binascii import a2b_base64

    return value if isinstance(value, bytes) else a2b_base64(value)


_AS_IS = {"S", "BOOL", "SS"}
_READERS: dict[str, Callable[[Any], Any]] = {
    "N": _number,
    "NULL": lambda _: None,
    "M": plain_item,
    "L": lambda values: [plain(value) for value in values],
    "NS": lambda values: [_number(value) for value in values],
    "B": _bytes,
    "BS": lambda values: [_bytes(value) for value in values],
}
