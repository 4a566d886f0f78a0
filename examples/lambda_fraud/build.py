"""Make the zip file of a function: its code, its model and glowplug, below 50 MB.

    python build.py                         # build/function.zip, and beside it the folder that SAM takes
    python build.py --source ../sqs_batch   # of another example

It installs for Lambda's platform, whatever this machine is. NumPy is left out: requests in JSON and CSV take none; `--numpy`
puts it in. `--native` leaves ONNX Runtime out as well, for models that `glowplug.load(…, engine="native")` takes.

Modules are compiled for the runtime, and marked to be taken without a look at their sources: a zip file does not keep time
stamps to the second, and a function that compiles all that it imports starts late, every time.
"""

from __future__ import annotations

import argparse
import compileall
import py_compile
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODEL = HERE.parent / "fraud" / "model.onnx"
#: What Lambda takes without a bucket, in bytes.
MOST = 50 * 2**20
#: Zip files have no date before.
EPOCH = (1980, 1, 1, 0, 0, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", type=Path, default=HERE, help="folder with function.py")
    parser.add_argument("--model", type=Path, default=MODEL, help="the model, which becomes model.onnx")
    parser.add_argument("--package", default="glowplug", help="glowplug as pip knows it: a version, or a wheel")
    parser.add_argument("--architecture", choices=("x86_64", "aarch64"), default="x86_64")
    parser.add_argument("--runtime", default="3.13", help="Python of the runtime")
    parser.add_argument("--numpy", action="store_true", help="with NumPy, for arrays and .npy")
    parser.add_argument("--native", action="store_true", help="without ONNX Runtime, for models that take none")
    parser.add_argument("--out", type=Path, default=None, help="folder to make; build/ in the source by default")
    options = parser.parse_args()
    out = options.out or options.source / "build"
    folder = out / "function"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    install(options, folder)
    shutil.copy(options.source / "function.py", folder)
    shutil.copy(options.model, folder / "model.onnx")
    compiled(folder, options.runtime)
    archive = out / "function.zip"
    zipped(folder, archive)
    size = archive.stat().st_size
    print(f"{archive}: {size / 2**20:.1f} MB, {sum(map(size_of, folder.rglob('*'))) / 2**20:.1f} MB unpacked")
    if size > MOST:
        sys.exit(f"Lambda takes {MOST / 2**20:.0f} MB: leave something out, or send it through a bucket")


def install(options: argparse.Namespace, folder: Path) -> None:
    """Install into the folder, for the platform of the runtime."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--target",
        str(folder),
    ]
    command += ["--only-binary=:all:", "--platform", f"manylinux_2_28_{options.architecture}"]
    command += ["--python-version", options.runtime, "--implementation", "cp", "--no-compile"]
    subprocess.run([*command, "--no-deps", options.package], check=True)
    if options.numpy:
        subprocess.run([*command, "numpy"], check=True)
    for unused in ("bin", "share", *(["glowplug/_lib"] if options.native else [])):
        shutil.rmtree(folder / unused, ignore_errors=True)


def compiled(folder: Path, runtime: str) -> None:
    """Compile all modules, if this is the Python of the runtime."""
    if runtime != f"{sys.version_info.major}.{sys.version_info.minor}":
        print(
            f"not compiled: run this with Python {runtime}, and the function will start some ms earlier",
            file=sys.stderr,
        )
        return
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(folder, quiet=1, stripdir=folder, invalidation_mode=mode):
        sys.exit("a module cannot be compiled")


def zipped(folder: Path, archive: Path) -> None:
    """The same files make the same zip file, so that nothing is deployed anew that has not changed."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as file:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            file.writestr(entry, path.read_bytes())


def size_of(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


if __name__ == "__main__":
    main()
