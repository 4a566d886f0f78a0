"""How large the package of a function is: its own folder, and the distributions whose modules it imported."""

from __future__ import annotations

import importlib.metadata
import os
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MEGABYTE = 2**20
#: Folders that nobody packs.
NOT_PACKED = frozenset({"__pycache__", "node_modules"})


@dataclass(frozen=True)
class Size:
    """What a function's package takes, in MB of 2**20 bytes."""

    unzipped_mb: float
    #: As a zip file; `None` if it was not asked for.
    zipped_mb: float | None
    #: Distribution or folder → its MB, the largest first.
    by_package: dict[str, float]


def vendored(root: Path) -> set[str]:
    """Names of top-level modules in a function's folder that `pip install --target` put there."""
    return {
        _top(str(file))
        for distribution in importlib.metadata.distributions(path=[str(root)])
        for file in distribution.files or ()
    }


def vendored_files(root: Path) -> dict[str, set[Path]]:
    """Distribution → its files, for those in a function's folder."""
    return {
        _normal(one.metadata["Name"]): {Path(str(one.locate_file(file))) for file in one.files or ()}
        for one in importlib.metadata.distributions(path=[str(root)])
    }


def size_of(seen: Mapping[str, Any], root: Path, provided: frozenset[str], zip_from_mb: float | None) -> Size:
    """Add up the files of a function.

    Args:
        seen: What `trace.py` wrote.
        root: The function's folder.
        provided: Distributions that Lambda has, as `Facts.provided`.
        zip_from_mb: Compress, to know the zipped size, from this size on; a smaller package is smaller than it zipped as
            well. `None` never does.
    """
    here = vendored_files(root)
    found = {"own files": dict(_own(root, whole=bool(here)))}
    for name, listed in here.items():
        found[name] = {file: found["own files"].pop(file) for file in listed & found["own files"].keys()}
    modules = {
        name: Path(file)
        for name, file in seen["modules"].items()
        if Path(file).is_absolute() and not Path(file).is_relative_to(root)
    }
    stdlib = Path(seen["stdlib"])
    wanted = {
        name.partition(".")[0]: file
        for name, file in sorted(modules.items(), reverse=True)
        if "site-packages" in file.parts or "dist-packages" in file.parts or not file.is_relative_to(stdlib)
    }
    known = _by_module(seen["path"])
    taken: set[str] = set()
    for top, file in wanted.items():
        for distribution in known.get(top, []):
            for one in _with_needs(distribution, seen["path"]):
                name = _normal(one.metadata["Name"])
                if name not in provided | taken:
                    taken.add(name)
                    found[name] = dict(_files(one))
        # Not installed the usual way: a checkout on the path.
        if not known.get(top) or not any(file in files for files in found.values()):
            if any(_normal(one.metadata["Name"]) in provided for one in known.get(top, [])):
                continue
            folder = _package_folder(top, file)
            files = dict(_own(folder)) if folder is not None else {file: file.stat().st_size} if file.is_file() else {}
            found.setdefault(top, {}).update(files)
    by_package = {name: sum(files.values()) / MEGABYTE for name, files in found.items() if files}
    unzipped = sum(by_package.values())
    zipped = None
    if zip_from_mb is not None and unzipped > zip_from_mb:
        zipped = sum(_zipped(file) for files in found.values() for file in files) / MEGABYTE
    return Size(unzipped, zipped, dict(sorted(by_package.items(), key=lambda item: -item[1])))


def _own(folder: Path, *, whole: bool = False) -> Iterator[tuple[Path, int]]:
    """Files that would be packed: all of a folder made for that, else no hidden ones, caches and environments."""
    for parent, folders, files in os.walk(folder):
        if "pyvenv.cfg" in files and not whole:
            folders.clear()
            continue
        folders[:] = [name for name in folders if whole or (name not in NOT_PACKED and not name.startswith("."))]
        for name in files:
            file = Path(parent, name)
            if (whole or not name.startswith(".")) and not file.is_symlink() and file.is_file():
                yield file, file.stat().st_size


def _files(distribution: importlib.metadata.Distribution) -> Iterator[tuple[Path, int]]:
    """Files of a distribution that `pip install --target` would put into a package; byte code is left out, as many do."""
    for file in distribution.files or ():
        path = Path(str(distribution.locate_file(file)))
        if ".." not in file.parts and path.suffix != ".pyc" and path.is_file():
            yield path, path.stat().st_size


def _by_module(path: list[str]) -> dict[str, list[importlib.metadata.Distribution]]:
    """Top-level module → distributions that have files of it."""
    found: dict[str, list[importlib.metadata.Distribution]] = {}
    for distribution in importlib.metadata.distributions(path=[entry for entry in path if entry]):
        for top in {_top(str(file)) for file in distribution.files or ()}:
            found.setdefault(top, []).append(distribution)
    return found


def _with_needs(
    distribution: importlib.metadata.Distribution, path: list[str]
) -> Iterator[importlib.metadata.Distribution]:
    """A distribution and what it requires without extras; what is not installed is left out."""
    left, done = [distribution], set[str]()
    while left:
        one = left.pop()
        name = _normal(one.metadata["Name"])
        if name in done:
            continue
        done.add(name)
        yield one
        for need in one.requires or ():
            if "extra ==" not in need.replace("'", '"'):
                named = re.split(r"[^\w.-]", need, maxsplit=1)[0]
                left += list(importlib.metadata.distributions(name=named, path=path))[:1]


def _top(file: str) -> str:
    """The top-level module that a distribution's file belongs to."""
    return file.partition("/")[0].partition(".")[0]


def _package_folder(top: str, file: Path) -> Path | None:
    for parent in file.parents:
        if parent.name == top:
            return parent
    return None


def _normal(name: str | None) -> str:
    return re.sub(r"[-_.]+", "-", name or "").lower()


def _zipped(file: Path) -> int:
    """Bytes of a file in a zip file."""
    packer, size = zlib.compressobj(6, zlib.DEFLATED, -15), 0
    with file.open("rb") as content:
        while piece := content.read(MEGABYTE):
            size += len(packer.compress(piece))
    # Headers, and the name twice.
    return size + len(packer.flush()) + 76 + 2 * len(str(file.name))
