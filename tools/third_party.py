"""Write THIRD-PARTY.md: every crate compiled into the extension, with its licence and the texts it asks to pass on.

python tools/third_party.py
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
HEAD = """# Third-party software in the wheel

ONNX Runtime 1.32, © Microsoft Corporation, lies in `glowplug/_lib/` under the MIT licence. Its text is
`glowplug/_lib/LICENSE`; the notices of what it contains are `glowplug/_lib/ThirdPartyNotices.txt`.

These Rust crates are compiled into `glowplug/_core.abi3.so`. Texts that several crates share stand once.

"""


def crates() -> list[dict[str, str]]:
    """Packages of a normal build for Python, without this one."""
    features = ["--features", "python", "--edges", "normal", "--prefix", "none", "--format", "{p}"]
    tree = subprocess.run(["cargo", "tree", *features], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    wanted = {tuple(line.split()[:2]) for line in tree.splitlines()}
    command = ["cargo", "metadata", "--format-version", "1", "--features", "python"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    found = [crate for crate in metadata["packages"] if (crate["name"], f"v{crate['version']}") in wanted]
    return sorted((crate for crate in found if crate["name"] != "glowplug"), key=lambda crate: crate["name"])


def texts(crate: dict[str, str]) -> list[str]:
    """The licence texts in a crate's folder; of a choice, MIT or the like, which is short, and not Apache-2.0."""
    folder = Path(crate["manifest_path"]).parent
    files = [
        path for path in sorted(folder.iterdir()) if path.name.upper().startswith(("LICENSE", "LICENCE", "COPYING"))
    ]
    short = [path for path in files if "APACHE" not in path.name.upper()] or files
    return [path.read_text(encoding="utf-8", errors="replace").strip() for path in short if path.is_file()]


def main() -> None:
    """Write the file."""
    table, shared = ["| crate | version | licence |", "|---|---|---|"], {}
    for crate in crates():
        table.append(f"| {crate['name']} | {crate['version']} | {crate['license']} |")
        for text in texts(crate):
            shared.setdefault(text, []).append(crate["name"])
    parts = [f"## {', '.join(names)}\n\n```text\n{text}\n```\n" for text, names in shared.items()]
    (ROOT / "THIRD-PARTY.md").write_text(HEAD + "\n".join(table) + "\n\n" + "\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
