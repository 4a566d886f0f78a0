"""Weights in a file of their own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import models
from corpus.cases import (
    MODEL,
    NOT_FOUND,
    READ,
    Case,
    X,
    node,
    small,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def external(
    name: str,
    error: Any,
    *mentions: str,
    prepare: Callable[[Path], object] | None = None,
    **entries: str | None,
) -> Case:
    """A row: a model with external data, one of whose entries is wrong; `prepare` rearranges the files."""

    def make(folder: Path) -> tuple[str, Any]:
        place = folder / "models"
        place.mkdir()
        models.external_data(place)
        size = models.external_weights().nbytes
        found = {"location": "weights.bin", "offset": "0", "length": str(size), **entries}
        kept = {key: text for key, text in found.items() if text is not None}
        (place / "model.onnx").write_bytes(models.external_model(models.external_tensor(**kept)))
        if prepare is not None:
            prepare(place)
        return str(place / "model.onnx"), {"x": np.ones((2, models.EXTERNAL_INPUTS), np.float32)}

    return Case(f"external_{name}", make, error, mentions)


def escape(folder: Path) -> None:
    """Puts the weights above the model's folder."""
    (folder / "weights.bin").rename(folder.parent / "outside.bin")


def escape_by_link(folder: Path) -> None:
    """Puts the weights above the model's folder and a link to them inside."""
    escape(folder)
    (folder / "weights.bin").symlink_to(folder.parent / "outside.bin")


def escape_by_folder_link(folder: Path) -> None:
    """The link out of the model's folder is a folder on the way."""
    (folder / "sub").symlink_to(folder.parent)
    escape(folder)


def replace_weights(make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Something else in the place of the weights."""

    def prepare(folder: Path) -> None:
        (folder / "weights.bin").unlink()
        make(folder / "weights.bin")

    return prepare


def external_as_bytes(folder: Path) -> tuple[bytes, Any]:
    """A model with external data passed as bytes: there is no folder to look in."""
    return models.external_data(folder), {"x": np.ones((2, models.EXTERNAL_INPUTS), np.float32)}


def external_in_constant(folder: Path) -> tuple[str, Any]:
    """External data of a tensor inside an attribute, above the model's folder."""
    lent = models.external_tensor(location="../outside.bin", offset="0", length=str(models.external_weights().nbytes))
    (folder / "outside.bin").write_bytes(models.external_weights().tobytes())
    (folder / "models").mkdir()
    path = folder / "models" / "model.onnx"
    path.write_bytes(small(node("Neg", "x", "unused"), node("Constant", "", value=lent)))
    return str(path), X


EXTERNAL = [
    external("sound", ()),
    external(
        "file_missing",
        NOT_FOUND,
        "model.onnx",
        "weights.bin",
        prepare=lambda folder: (folder / "weights.bin").unlink(),
    ),
    external("file_missing_unicode", NOT_FOUND, "größe ü.bin", location="größe ü.bin"),
    external("escape", MODEL, "../outside.bin", prepare=escape, location="../outside.bin"),
    external("escape_to_missing", MODEL, "../nothing.bin", location="../nothing.bin"),
    external("escape_by_detour", MODEL, "outside.bin", prepare=escape, location="sub/../../outside.bin"),
    external("escape_backslashes", (MODEL, NOT_FOUND), "outside.bin", prepare=escape, location="..\\outside.bin"),
    external("absolute", MODEL, "/etc/passwd", location="/etc/passwd", offset="0", length="16"),
    external("link_outside", MODEL, "weights.bin", prepare=escape_by_link),
    external("folder_link_outside", MODEL, "outside.bin", prepare=escape_by_folder_link, location="sub/outside.bin"),
    external("memory_address", (MODEL, NOT_FOUND), location="*/_ORT_MEM_ADDR_/*", offset="4096", length="1228800"),
    external("location_missing", MODEL, location=None),
    external("location_empty", MODEL, location=""),
    external("location_dot", (MODEL, READ), location="."),
    external("location_nul", (MODEL, NOT_FOUND, READ), location="weights\0.bin"),
    external("location_too_long", (MODEL, NOT_FOUND, READ), location="w" * 5000),
    external("location_is_the_model", MODEL, location="model.onnx"),
    external("is_folder", (MODEL, READ), "weights.bin", prepare=replace_weights(lambda path: path.mkdir())),
    external("is_pipe", (MODEL, READ), "weights.bin", prepare=replace_weights(os.mkfifo)),
    external("is_endless", MODEL, "weights.bin", prepare=replace_weights(lambda path: path.symlink_to("/dev/zero"))),
    external("is_empty", MODEL, "weights.bin", prepare=replace_weights(lambda path: path.touch())),
    external("is_short", MODEL, "weights.bin", prepare=lambda folder: os.truncate(folder / "weights.bin", 1000)),
    external("offset_past_end", MODEL, "weights.bin", offset="9000000"),
    external("offset_makes_end_past_end", MODEL, "weights.bin", offset="4096"),
    external("offset_negative", MODEL, offset="-4096"),
    external("offset_no_number", MODEL, offset="start"),
    external("offset_overflows", MODEL, offset=str(1 << 64)),
    external("offset_with_length_overflows", MODEL, offset=str((1 << 63) - 8)),
    external("length_negative", MODEL, length="-1"),
    external("length_no_number", MODEL, length="1.2 MB"),
    external("length_empty", MODEL, length=""),
    external("length_too_large", MODEL, length="9000000"),
    external("length_too_small", MODEL, length="4096"),
    external("length_huge", MODEL, length=str(1 << 62)),
    Case("external_in_bytes_model", external_as_bytes, MODEL, ("weights.bin",)),
    Case("external_escape_in_constant", external_in_constant, MODEL, ("../outside.bin",)),
]
