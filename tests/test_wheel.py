"""The portable wheel: what is in it, what it needs, and that it scores where only NumPy is installed."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

import models

ROOT = Path(__file__).parent.parent
MEGABYTE = 2**20
#: The glibc of Amazon Linux 2023, on which Lambda's Python runs.
OLDEST_SYSTEM = (2, 34)
#: The glibc the wheel's name promises.
OLDEST_PROMISED = (2, 28)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the portable wheel is one for Linux")


@pytest.fixture(scope="module")
def wheel() -> Path:
    """The wheel `make wheel` built; `make test` names it, and builds it first."""
    named = os.environ.get("GLOWPLUG_WHEEL")
    if not named:
        subprocess.run(["make", "wheel"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        (found,) = (ROOT / "target" / "portable").glob("*.whl")
        return found
    return ROOT / named


@pytest.fixture(scope="module")
def contents(wheel: Path) -> dict[str, zipfile.ZipInfo]:
    with zipfile.ZipFile(wheel) as archive:
        return {entry.filename: entry for entry in archive.infolist()}


def read(wheel: Path, name: str) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(name)


def test_name_promises_old_systems(wheel: Path) -> None:
    assert re.fullmatch(rf"glowplug-[\d.]+-cp311-abi3-manylinux_2_28_{platform.machine()}\.whl", wheel.name)


def test_holds_what_it_must_and_nothing_else(contents: dict[str, zipfile.ZipInfo]) -> None:
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
    info = f"glowplug-{version}.dist-info"
    libraries = [name for name in contents if "libonnxruntime" in name]
    assert len(libraries) == 1
    assert libraries[0].startswith("glowplug/_lib/")
    wanted = {"glowplug/_core.abi3.so", "glowplug/_core.pyi", "glowplug/py.typed", "glowplug/__init__.py"}
    wanted |= {"glowplug/lab/facts.toml", f"{info}/entry_points.txt"}
    wanted |= {"glowplug/_lib/LICENSE", "glowplug/_lib/ThirdPartyNotices.txt"}
    wanted |= {f"{info}/licenses/{name}" for name in ("LICENSE-MIT", "LICENSE-APACHE", "THIRD-PARTY.md")}
    assert not wanted - contents.keys()
    strangers = [name for name in contents if not name.startswith(("glowplug/", info))]
    assert not strangers
    assert sum(name.endswith(".so") for name in contents) == 1


def test_size(wheel: Path, contents: dict[str, zipfile.ZipInfo], record_property: pytest.RecordProperty) -> None:
    zipped, unzipped = wheel.stat().st_size, sum(entry.file_size for entry in contents.values())
    record_property("zipped", zipped)
    record_property("unzipped", unzipped)
    print(f"wheel: {zipped / MEGABYTE:.1f} MiB zipped, {unzipped / MEGABYTE:.1f} MiB unzipped")
    assert zipped <= 15 * MEGABYTE
    assert unzipped <= 40 * MEGABYTE


def test_needs_only_numpy(wheel: Path, contents: dict[str, zipfile.ZipInfo]) -> None:
    (name,) = (name for name in contents if name.endswith(".dist-info/METADATA"))
    metadata = message_from_string(read(wheel, name).decode())
    needs = [need for need in metadata.get_all("Requires-Dist") or [] if "extra ==" not in need]
    assert [re.split(r"[^\w-]", need)[0] for need in needs] == ["numpy"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT OR Apache-2.0"


@pytest.mark.parametrize(("part", "oldest"), [("_core", OLDEST_PROMISED), ("libonnxruntime", OLDEST_SYSTEM)])
def test_runs_on_old_systems(
    wheel: Path, contents: dict[str, zipfile.ZipInfo], part: str, oldest: tuple[int, int]
) -> None:
    (name,) = (name for name in contents if part in name and ".so" in name)
    needed = glibc_versions(read(wheel, name))
    assert needed
    assert max(needed) <= oldest


def glibc_versions(content: bytes) -> set[tuple[int, ...]]:
    """The versions of glibc that a library's symbols need."""
    found = set()
    for section in ELFFile(BytesIO(content)).iter_sections():
        if isinstance(section, GNUVerNeedSection):
            for _, symbols in section.iter_versions():
                names = [symbol.name for symbol in symbols if symbol.name.startswith("GLIBC_")]
                found |= {tuple(map(int, name.removeprefix("GLIBC_").split("."))) for name in names}
    return found


def test_build_and_tests_name_the_same_engine() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (built_from,) = (need for need in project["build-system"]["requires"] if need.startswith("onnxruntime"))
    assert built_from in project["dependency-groups"]["test"]


SCORE = """
import importlib.util, json, sys
import glowplug
assert importlib.util.find_spec("onnxruntime") is None
model = glowplug.load(sys.argv[1], engine="onnxruntime")
rows = json.loads(sys.argv[2])
assert "site-packages/glowplug/_lib" in model.explain()["engine_library"]
print(json.dumps(model.predict(rows).tolist()))
"""


def test_scores_where_only_numpy_is_installed(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel], check=True, cwd=tmp_path
    )
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=json", "--disable-pip-version-check"],
        check=True,
        capture_output=True,
        cwd=tmp_path,
    )
    assert {entry["name"] for entry in json.loads(listed.stdout)} <= {"glowplug", "numpy", "pip", "setuptools"}
    (tmp_path / "model.onnx").write_bytes(models.mlp())
    rows = np.random.default_rng(0).standard_normal((3, 30)).astype(np.float32)
    command = [python, "-I", "-c", SCORE, "model.onnx", json.dumps(rows.tolist())]
    scored = subprocess.run(command, check=True, capture_output=True, cwd=tmp_path, text=True)

    import onnxruntime

    session = onnxruntime.InferenceSession(models.mlp())
    assert np.allclose(json.loads(scored.stdout), session.run(None, {"x": rows})[0], rtol=1e-6)
