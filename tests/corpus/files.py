"""Where models lie, and files that are something else or were damaged on their way."""

from __future__ import annotations

import functools
import gzip
import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import models
from corpus.cases import (
    MODEL,
    NOT_FOUND,
    OPTION,
    READ,
    ROWS,
    content,
    source,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def pipe(folder: Path) -> str:
    """A pipe that nobody writes to: opening it for reading would wait for ever."""
    os.mkfifo(folder / "pipe.onnx")
    return str(folder / "pipe.onnx")


def loop(folder: Path) -> str:
    """A link to itself."""
    (folder / "loop.onnx").symlink_to("loop.onnx")
    return str(folder / "loop.onnx")


def dangling(folder: Path) -> str:
    """A link to nothing."""
    (folder / "link.onnx").symlink_to("gone.onnx")
    return str(folder / "link.onnx")


def through_a_file(folder: Path) -> str:
    """A path that goes on behind a file."""
    (folder / "model.onnx").write_bytes(models.mlp(2, 3))
    return str(folder / "model.onnx" / "inner.onnx")


def no_permission(folder: Path) -> str:
    """A file that only root may read."""
    path = folder / "secret.onnx"
    path.write_bytes(models.mlp(2, 3))
    path.chmod(0)
    return str(path)


def damaged_under(name: str) -> Callable[[Path], str]:
    """A damaged model under a file name that is itself a trial."""

    def prepare(folder: Path) -> str:
        (folder / name).write_bytes(models.mlp(2, 3)[:-5])
        return str(folder / name)

    return prepare


SOURCES = [
    source("missing_file", lambda folder: str(folder / "absent.onnx"), NOT_FOUND, "absent.onnx"),
    source("missing_file_as_path", lambda folder: folder / "absent.onnx", NOT_FOUND, "absent.onnx"),
    source(
        "missing_folder",
        lambda folder: str(folder / "no" / "such" / "model.onnx"),
        NOT_FOUND,
        "such/model.onnx",
    ),
    source("missing_unicode_name", lambda folder: str(folder / "модель ü.onnx"), NOT_FOUND, "модель ü.onnx"),
    source("missing_name_not_utf8", lambda folder: str(folder / "\udcff.onnx"), (NOT_FOUND, READ), ".onnx"),
    source("empty_path", lambda _: "", (NOT_FOUND, READ, OPTION)),
    source("folder_as_path", str, READ, "folder_as_path"),
    source("pipe_as_path", pipe, READ, "pipe.onnx"),
    source("dev_null", lambda _: "/dev/null", (READ, MODEL), "/dev/null"),
    source("dev_zero", lambda _: "/dev/zero", READ, "/dev/zero"),
    source("dev_full", lambda _: "/dev/full", READ, "/dev/full"),
    source("proc_without_size", lambda _: "/proc/self/maps", (READ, MODEL), "/proc/self/maps"),
    source("link_to_itself", loop, READ, "loop.onnx"),
    source("link_to_nothing", dangling, NOT_FOUND, "link.onnx"),
    source("path_through_a_file", through_a_file, (NOT_FOUND, READ), "inner.onnx"),
    source(
        "no_permission",
        no_permission,
        READ,
        "secret.onnx",
        skip="root may read everything" if os.geteuid() == 0 else None,
    ),
    source("name_too_long", lambda folder: str(folder / ("n" * 300 + ".onnx")), (READ, NOT_FOUND), "nnnnn"),
    source("path_too_long", lambda folder: str(folder / ("d/" * 3000) / "m.onnx"), (READ, NOT_FOUND)),
    source("nul_in_path", lambda folder: f"{folder}/mod\0el.onnx", (NOT_FOUND, READ, OPTION)),
    source("damaged_unicode_name", damaged_under("模型 ü 🙂.onnx"), MODEL, "模型 ü 🙂.onnx"),
    source("damaged_name_not_utf8", damaged_under("\udcff.onnx"), MODEL, ".onnx"),
    source("damaged_name_with_line_break", damaged_under("a\nb.onnx"), MODEL, "b.onnx"),
    source("damaged_name_with_braces", damaged_under("{0} %s {x!r}.onnx"), MODEL, "{0} %s {x!r}.onnx"),
    source("bytes_empty", lambda _: b"", MODEL),
    source("bytes_text", lambda _: b"this is no model", MODEL),
    source("bytes_truncated", lambda _: models.mlp()[:-100], MODEL),
]


PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00"
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"5f" * 32 + b"\nsize 8123456\n"
HTML = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body>nothing here</body></html>\n"


def zipped() -> bytes:
    """A ZIP archive with the model inside."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model.onnx", models.mlp(2, 3))
    return buffer.getvalue()


def conflict() -> bytes:
    """What Git leaves behind when two versions of a pointer file collide."""
    other = LFS_POINTER.replace(b"5f", b"6a")
    return b"<<<<<<< HEAD\n" + LFS_POINTER + b"=======\n" + other + b">>>>>>> feature\n"


def saved_array() -> bytes:
    """An array written with `numpy.save`."""
    buffer = io.BytesIO()
    np.save(buffer, ROWS)
    return buffer.getvalue()


LOOKALIKES = [
    content("empty_file", b"", MODEL, "empty"),
    content("text_file", b"epoch 1 loss 0.3\nepoch 2 loss 0.2\n"),
    content("html_page", HTML),
    content("html_page_after_blank_lines", b"\n\n  " + HTML.lower()),
    content("json_file", json.dumps({"error": "not authorised"}).encode()),
    content("png_picture", PNG),
    content("zip_archive", zipped),
    content("gzip_of_a_model", lambda: gzip.compress(models.mlp(2, 3))),
    content("zstd_header", b"\x28\xb5\x2f\xfd" + bytes(40)),
    content("pickle_file", lambda: pickle.dumps({"weights": [1.0, 2.0]})),
    content("numpy_file", saved_array),
    content("hdf5_header", b"\x89HDF\r\n\x1a\n" + bytes(96)),
    content("elf_header", b"\x7fELF\x02\x01\x01" + bytes(57)),
    content("ort_format_header", b"\x18\x00\x00\x00ORTM" + bytes(56)),
    content("ort_format_garbage", lambda: b"\x18\x00\x00\x00ORTM" + np.random.default_rng(3).bytes(4000)),
    content("git_lfs_pointer", LFS_POINTER, MODEL, "git lfs pull"),
    content("git_conflict", conflict, MODEL, "conflict"),
    content("one_zero_byte", b"\x00"),
    content("zeros", bytes(4096)),
    content("ones", b"\xff" * 4096),
    content("noise", lambda: np.random.default_rng(5).bytes(4096)),
]


def truncated(fraction: float) -> bytes:
    """The first part of a model."""
    whole = models.mlp()
    return whole[: int(len(whole) * fraction)]


def flipped(seed: int) -> bytes:
    """A small model, in which most bytes are structure, with one bit turned over."""
    random = np.random.default_rng(seed)
    damaged_bytes = bytearray(models.mlp(2, 3))
    damaged_bytes[int(random.integers(len(damaged_bytes)))] ^= 1 << int(random.integers(8))
    return bytes(damaged_bytes)


def cut_out(seed: int) -> bytes:
    """A small model that lost one byte."""
    whole = models.mlp(2, 3)
    place = int(np.random.default_rng(seed).integers(len(whole)))
    return whole[:place] + whole[place + 1 :]


PERCENTS = (0.1, 1, 5, 10, 25, 50, 75, 90, 99, 99.9)
DAMAGE = [
    *(content(f"truncated_at_{percent}_percent", functools.partial(truncated, percent / 100)) for percent in PERCENTS),
    content("truncated_by_one_byte", lambda: models.mlp()[:-1]),
    content("garbage_behind", lambda: models.mlp(2, 3) + b"\xff" * 8),
    content("zeros_behind", lambda: models.mlp(2, 3) + bytes(8)),
    # Protobuf merges messages that follow each other, so this is one model whose names all come twice.
    content("model_twice", lambda: models.mlp(2, 3) * 2),
    content("line_ends_converted", lambda: models.mlp().replace(b"\n", b"\r\n")),
    content("decoded_as_text", lambda: models.mlp().decode("utf-8", "replace").encode()),
    *(content(f"bits_flipped_{seed}", functools.partial(flipped, seed), None) for seed in range(24)),
    *(content(f"byte_lost_{seed}", functools.partial(cut_out, seed), None) for seed in range(6)),
]
