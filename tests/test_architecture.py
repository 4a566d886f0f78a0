"""The layers of the house, held by tables: who may use whom, where unsafe code may be, and what must not be written."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RUST, PYTHON = ROOT / "src", ROOT / "python" / "glowplug"

# --- Rust -------------------------------------------------------------------------------------------------------------

#: Module → modules of this crate it may use. A file in a folder that has no row of its own has that of the folder.
#: `engine` is the trait; `engine/ort` is ONNX Runtime behind it, `engine/native` runs `trees`, `engine/network` has what is
#: `dense` run.
MAY_USE: dict[str, set[str]] = {
    # Leaves: what everything else is made of.
    "error": set(),
    "fork": set(),
    "digest": set(),
    "lru": set(),
    "single_flight": set(),
    "metrics": set(),
    "pace": set(),
    "ways": {"pace"},
    "stop": set(),
    "deadline": {"error", "fork", "stop"},
    "tensor": set(),
    "half": set(),
    "options": {"error"},
    "processor": {"error"},
    "trees": {"error", "processor"},
    "dense": {"processor"},
    # What a model is.
    "signature": {"error", "tensor"},
    "onnx": {"error"},
    "classifier": {"onnx", "signature", "tensor"},
    "contributions": {"tensor"},
    "rows": {"error", "half", "signature", "tensor"},
    "features": {"error", "onnx", "signature"},
    "source": {"digest", "error", "onnx"},
    # What runs it.
    "engine": {"error", "signature", "stop", "tensor"},
    "engine/native": {"engine", "error", "onnx", "signature", "stop", "tensor", "trees"},
    "engine/network": {"dense", "engine", "error", "onnx", "pace", "signature", "stop", "tensor", "threads", "ways"},
    "engine/ort": {"engine", "error", "fork", "onnx", "options", "signature", "stop", "tensor"},
    "threads": {"error", "fork"},
    "resources": {"error"},
    "session": {
        "classifier",
        "digest",
        "engine",
        "error",
        "fork",
        "metrics",
        "onnx",
        "options",
        "pace",
        "signature",
        "source",
        "stop",
        "tensor",
    },
    "batch": {"deadline", "error", "options", "session", "stop", "tensor", "threads", "ways"},
    # Who has it. These know sessions, and no engine.
    "registry": {"digest", "error", "fork", "lru", "onnx", "options", "session", "single_flight", "source"},
    "reload": {"digest", "error", "fork", "options", "registry", "session"},
    # JSON text in and out, over all of the above.
    "probabilities": {"classifier", "error", "half", "onnx", "session", "tensor"},
    "json": {
        "batch",
        "classifier",
        "contributions",
        "deadline",
        "error",
        "half",
        "options",
        "probabilities",
        "rows",
        "session",
        "signature",
        "tensor",
    },
    # Where everything meets.
    "loader": {
        "engine",
        "engine/native",
        "engine/network",
        "engine/ort",
        "error",
        "onnx",
        "options",
        "processor",
        "registry",
        "session",
        "source",
        "trees",
    },
    "lib": set(),
    # The shell, which only the crate's root names.
    "py": {
        "batch",
        "classifier",
        "contributions",
        "deadline",
        "error",
        "features",
        "half",
        "json",
        "probabilities",
        "onnx",
        "options",
        "py/engine",
        "registry",
        "reload",
        "resources",
        "rows",
        "session",
        "signature",
        "tensor",
        "threads",
    },
    "py/engine": {"engine/ort", "error", "loader"},
}
#: Leaves that are kept free of every other module but these: the error, and what kernels may use.
COMMON = {"error", "processor"}
LEAVES = {
    "dense",
    "digest",
    "error",
    "fork",
    "half",
    "lru",
    "metrics",
    "onnx",
    "options",
    "pace",
    "processor",
    "single_flight",
    "stop",
    "tensor",
    "trees",
}
#: Crates that are somebody's business alone → who may name them.
CRATES: dict[str, set[str]] = {
    "pyo3": {"py"},
    "numpy": {"py"},
    "ort": {"engine/ort"},
    "libloading": {"engine/ort"},
    "jiter": {"json", "trees"},
    "ch_cityhash102": {"trees"},
    "zmij": {"json"},
    "libc": {"fork"},
    "blake3": {"digest"},
    "arc_swap": {"deadline", "registry", "reload", "resources", "session", "threads"},
    "rayon_core": {"threads"},
}
#: Files that may hold unsafe code → why.
UNSAFE = {
    "dense/instructions.rs": "calls what is compiled for instructions that this processor has",
    "dense/target.rs": "lends columns of one matrix to several threads",
    "dense/tile.rs": "loads and stores vectors of numbers",
    "engine/ort/extract.rs": "takes values of the C API apart",
    "engine/ort/library.rs": "opens a library and changes a variable of the environment",
    "engine/ort/owned.rs": "releases objects of the C API",
    "engine/ort/run.rs": "calls the C API",
    "fork.rs": "registers a handler for forks",
    "py/array.rs": "reads and makes NumPy's arrays in place",
    "tensor/memory.rs": "carries memory of the caller to the engine",
    "threads/crew.rs": "lends what a caller borrows to threads that it waits for",
    "trees/instructions.rs": "calls what is compiled for instructions that this processor has",
    "trees/kernels/avx2/abreast.rs": "loads and stores vectors",
    "trees/kernels/avx2/mod.rs": "loads and stores vectors",
    "trees/kernels/avx2/planes.rs": "loads and stores vectors, of places that were checked",
    "trees/kernels/avx2/ranks.rs": "loads and stores vectors",
    "trees/kernels/avx512/abreast.rs": "loads and stores vectors",
    "trees/kernels/avx512/leaves.rs": "loads and stores vectors",
    "trees/kernels/avx512/mod.rs": "loads and stores vectors",
    "trees/kernels/avx512/planes.rs": "loads and stores vectors, of places that were checked",
    "trees/kernels/avx512/ranks.rs": "loads and stores vectors",
    "trees/kernels/chunks.rs": "loads and stores vectors",
    "trees/kernels/sums.rs": "loads and stores vectors",
    "trees/kernels/votes.rs": "loads and stores vectors, of places that were checked",
}
#: What would end the user's process or lose an error.
FORBIDDEN = re.compile(
    r"\.(unwrap|expect|unwrap_err|expect_err|unwrap_unchecked)\(|"
    r"\b(panic|todo|unimplemented|unreachable|dbg|println|eprintln|print|eprint)!"
)
COMMENT_OR_TEXT = re.compile(
    r"""
      //[^\n]*                              # a comment to the end of the line
    | /\*.*?\*/                             # a comment of several lines
    | \b[bc]?r(?P<hashes>\#*)".*?"(?P=hashes)  # a raw string
    | \b[bc]?"(?:\\.|[^"\\])*"              # a string
    | "(?:\\.|[^"\\])*"
    | \bb?'(?:\\.[^']*|[^'\\\n])'           # a character, which a lifetime is not
    | '(?:\\.[^']*|[^'\\\n])'
    """,
    re.VERBOSE | re.DOTALL,
)


def code_of(text: str) -> str:
    """Rust without comments and without what is in quotes; every line stays where it was."""
    return COMMENT_OR_TEXT.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)


def without_tests(code: str) -> str:
    """The code without the items behind `#[cfg(test)]`, whether they have a body or end with a semicolon."""
    while (found := re.search(r"#\[cfg\(test\)\]", code)) is not None:
        end, depth = found.end(), 0
        while end < len(code):
            character = code[end]
            depth += (character == "{") - (character == "}")
            end += 1
            if depth == 0 and character in "};":
                break
        code = code[: found.start()] + re.sub(r"[^\n]", " ", code[found.start() : end]) + code[end:]
    return code


def only_for_tests(sources: dict[str, str]) -> set[str]:
    """Files that are modules behind `#[cfg(test)]`."""
    files = set()
    for name, text in sources.items():
        folder = Path(name).parent if Path(name).stem in {"lib", "mod"} else Path(name).with_suffix("")
        for module in re.findall(r"#\[cfg\(test\)\]\s*(?:pub\S* )?mod (\w+);", code_of(text)):
            files |= {(folder / f"{module}.rs").as_posix(), (folder / module / "mod.rs").as_posix()}
    # And what such a module has in a folder of its own.
    folders = tuple(f"{name.removesuffix('.rs')}/" for name in files & set(sources))
    return files & set(sources) | {name for name in sources if name.startswith(folders)}


ALL_RUST = {path.relative_to(RUST).as_posix(): path.read_text("utf-8") for path in sorted(RUST.rglob("*.rs"))}
TEST_RUST = only_for_tests(ALL_RUST)
#: What is compiled into the library: file → code.
LIBRARY_RUST = {name: without_tests(code_of(text)) for name, text in ALL_RUST.items() if name not in TEST_RUST}


def module_of(name: str) -> str:
    """The row of a file: its own, or that of the nearest folder that has one."""
    path = Path(name).with_suffix("")
    if path.name == "mod":
        path = path.parent
    while path.as_posix() not in MAY_USE and path.parent != Path():
        path = path.parent
    return path.as_posix()


def expand(tree: str) -> list[str]:
    """The paths of a `use`: `a::{b, c::{d, e}}` is `a::b`, `a::c::d` and `a::c::e`."""
    tree = re.sub(r"\s+", " ", tree).strip()
    if "{" not in tree:
        return [re.sub(r" as .*", "", tree)]
    head, _, body = tree.partition("{")
    parts, depth, part = [], 0, ""
    for character in body.rpartition("}")[0]:
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += character
    return [head + path for one in [*parts, part] if one.strip() for path in expand(one)]


def used_paths(code: str) -> set[str]:
    """Every path the code names, in `use` and elsewhere."""
    uses = re.findall(r"\buse\s+([^;]+);", code)
    elsewhere = re.findall(r"(?<![\w:])((?:::)?[a-z_]\w*(?:::\w+)+)", re.sub(r"\buse\s+[^;]+;", "", code))
    return {path.removeprefix("::") for use in uses for path in expand(use)} | {
        path.removeprefix("::") for path in elsewhere
    }


def used_modules(name: str) -> set[str]:
    """The rows of the modules of this crate that a file uses."""
    here = Path(name).parent if Path(name).stem in {"lib", "mod"} else Path(name).with_suffix("")
    found = set()
    for path in used_paths(LIBRARY_RUST[name]):
        parts = path.split("::")
        if parts[0] not in {"crate", "super", "self"}:
            continue
        place = Path() if parts[0] == "crate" else here
        while parts and parts[0] in {"crate", "super", "self"}:
            place = place.parent if parts.pop(0) == "super" else place
        for part in parts:
            if not any((place / part).as_posix() + end in ALL_RUST for end in (".rs", "/mod.rs")):
                break
            place /= part
        if place != Path():
            found.add(module_of(f"{place.as_posix()}.rs"))
    return found - {module_of(name)}


def test_something_is_scanned() -> None:
    """A scan of nothing finds nothing, and would pass for ever."""
    assert len(LIBRARY_RUST) > 20
    assert {"registry.rs", "engine/ort/run.rs", "py/model.rs"} <= set(LIBRARY_RUST)
    assert TEST_RUST, "modules for tests were not found"
    assert not TEST_RUST & set(LIBRARY_RUST)
    assert used_modules("loader.rs") >= {"engine", "engine/ort", "registry"}
    assert used_modules("py/model.rs") >= {"session", "reload", "error"}
    assert sum("unsafe" in code for code in LIBRARY_RUST.values()) >= 3


def test_scanner_sees_through_rust() -> None:
    text = """
    // use crate::comment; x.unwrap()
    /* panic!("no")
       use crate::comment; */
    use crate::{error::{Error, Result as R}, tensor};
    use super::*;
    fn real<'a>(text: &'a str) -> char { let _ = "use crate::text; \\" .unwrap()"; let _ = r#"panic!(" "#; '"' }
    #[cfg(test)]
    mod tests { fn check() { if true { one.unwrap(); } } }
    fn after() { crate::fork::generation(); two.expect(""); }
    """
    code = without_tests(code_of(text))
    assert used_paths(code) >= {
        "crate::error::Error",
        "crate::error::Result",
        "crate::tensor",
        "crate::fork::generation",
    }
    assert not {path for path in used_paths(code) if "comment" in path or "text" in path}
    assert [found[0] for found in FORBIDDEN.finditer(code)] == [".expect("]
    assert code.count("\n") == text.count("\n")


def test_every_module_has_its_place() -> None:
    rows = {module_of(name) for name in LIBRARY_RUST}
    assert rows - set(MAY_USE) == set(), "a new module needs a row"
    assert set(MAY_USE) - rows == set(), "a row without a module"


@pytest.mark.parametrize("name", LIBRARY_RUST)
def test_module_uses_what_it_may(name: str) -> None:
    assert used_modules(name) <= MAY_USE[module_of(name)]


def test_no_right_is_left_unused() -> None:
    """A table that allows more than there is says nothing about what there is."""
    used: dict[str, set[str]] = {row: set() for row in MAY_USE}
    for name in LIBRARY_RUST:
        used[module_of(name)] |= used_modules(name)
    assert {row: MAY_USE[row] - modules for row, modules in used.items() if MAY_USE[row] - modules} == {}


def test_layers_have_no_cycles() -> None:
    done: set[str] = set()
    while len(done) < len(MAY_USE):
        ready = {row for row, uses in MAY_USE.items() if row not in done and uses <= done}
        assert ready, f"these use each other: {sorted(set(MAY_USE) - done)}"
        done |= ready


def test_leaves_are_leaves() -> None:
    assert {leaf: MAY_USE[leaf] - COMMON for leaf in LEAVES if MAY_USE[leaf] - COMMON} == {}


def test_engine_is_known_where_it_is_loaded() -> None:
    knows = {row for row, uses in MAY_USE.items() if "engine/ort" in uses}
    assert knows == {"loader", "py/engine"}
    assert {row for row, uses in MAY_USE.items() if "engine" in uses} == {
        "engine/native",
        "engine/network",
        "engine/ort",
        "loader",
        "session",
    }
    assert {row for row, uses in MAY_USE.items() if uses & {"py", "py/engine"}} == {"py"}


@pytest.mark.parametrize("crate", CRATES)
def test_crate_is_named_where_it_belongs(crate: str) -> None:
    # `use crate::engine::ort` is ours; the other crate of that name is written `::ort`.
    pattern = re.compile(r"(?<![\w:])::ort::" if crate == "ort" else rf"(?<![\w:])(?:::)?{crate}::")
    naming = {name for name, code in LIBRARY_RUST.items() if pattern.search(code)}
    assert naming, "the crate is nowhere: take it off the list"
    allowed = CRATES[crate]
    assert {
        name
        for name in naming
        if not any(module_of(name).split("/")[: len(row.split("/"))] == row.split("/") for row in allowed)
    } == set()


def documented(lines: list[str], index: int) -> bool:
    """Whether a comment with SAFETY stands above the statement that the line belongs to."""
    if "SAFETY:" in lines[index]:
        return True
    for above in reversed(lines[:index]):
        line = above.strip()
        if line.startswith("//"):
            if "SAFETY:" in line:
                return True
        elif not line or line.endswith((";", "}")):
            return False
    return False


def unsafe_code(name: str) -> list[tuple[int, str]]:
    """Line index and kind of each piece of unsafe code: a block, an implementation, or a function."""
    found = []
    for match in re.finditer(r"\bunsafe\s*(\{|impl\b|fn\b)", code_of(ALL_RUST[name])):
        found.append((ALL_RUST[name].count("\n", 0, match.start()), match[1]))
    return found


def test_unsafe_code_is_where_it_may_be() -> None:
    assert {name for name in LIBRARY_RUST if re.search(r"\bunsafe\b", LIBRARY_RUST[name])} == set(UNSAFE)
    allowing = {name for name in LIBRARY_RUST if re.search(r"allow\([^)]*\bunsafe_code\b", LIBRARY_RUST[name])}
    assert allowing == set(UNSAFE)
    manifest = (ROOT / "Cargo.toml").read_text("utf-8")
    assert 'unsafe_code = "deny"' in manifest, "the compiler has to hold it too"


@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe_code_says_why_it_is_sound(name: str) -> None:
    lines = ALL_RUST[name].splitlines()
    pieces = unsafe_code(name)
    assert pieces
    silent = []
    for index, kind in pieces:
        if kind == "fn":
            above = "\n".join(lines[max(0, index - 12) : index])
            if "# Safety" not in above:
                silent.append(index + 1)
        elif not documented(lines, index):
            silent.append(index + 1)
    assert silent == []


@pytest.mark.parametrize("name", LIBRARY_RUST)
def test_nothing_panics_or_prints(name: str) -> None:
    code = LIBRARY_RUST[name]
    found = [(code.count("\n", 0, match.start()) + 1, match[0]) for match in FORBIDDEN.finditer(code)]
    assert found == []


def cargo(*arguments: str) -> str:
    command = shutil.which("cargo")
    if command is None:
        pytest.skip("cargo is not installed")
    ran = subprocess.run([command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_core_is_built_without_python() -> None:
    tree = ("tree", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--offline", "--locked")
    core, shell = ({line.split()[0] for line in cargo(*tree, *more).splitlines()} for more in ([], ["-F", "python"]))
    foreign = {"pyo3", "numpy"}
    assert core & foreign == set()
    assert shell & foreign == foreign
    assert {"ort", "blake3"} <= core


# --- Python -----------------------------------------------------------------------------------------------------------

#: Module → modules of this package that are imported with it.
IMPORTS: dict[str, set[str]] = {
    "errors": set(),
    "model": {"_core", "errors"},
    "registry": {"_core", "errors", "model"},
    "__init__": {"_core", "errors", "model", "registry"},
    "inputs": {"errors"},
    "display": set(),
    # A folder is one leaf: its modules may use each other, and nobody uses them but the command line.
    "convert": {"convert.estimators", "convert.model"},
    "convert.check": {"errors"},
    "convert.committees": {"convert.file", "convert.parts"},
    "convert.estimators": {
        "convert.check",
        "convert.committees",
        "convert.file",
        "convert.model",
        "convert.parts",
        "convert.pipelines",
        "convert.wrappers",
        "errors",
    },
    "convert.file": {"_core"},
    "convert.model": {"model"},
    "convert.parts": {"convert.file", "errors"},
    "convert.pipelines": {"convert.file", "convert.parts"},
    "convert.wrappers": {"convert.file", "errors"},
    "lab": set(),
    "lab.runtime_api": set(),
    "lab.facts": {"errors"},
    "lab.handlers": {"errors"},
    "lab.limits": set(),
    "lab.runtime": {"errors", "lab.clocks", "lab.limits", "lab.runtime_api"},
    "lab.split": set(),
    "lab.sizes": set(),
    "lab.bytecode": set(),
    "lab.clocks": set(),
    "lab.measure": {"lab.bytecode", "lab.clocks", "lab.limits", "lab.runtime", "lab.sizes", "lab.split", "registry"},
    "lab.report": set(),
    "lab.command": {"errors", "lab.facts", "lab.handlers", "lab.measure", "lab.report", "lab.runtime"},
    # Run in the function's process, by their paths.
    "lab.child": set(),
    "lab.trace": set(),
    "cli": {"errors", "lab.command"},
    "__main__": {"cli"},
    "serve": set(),
    "serve.http": set(),
    "serve.csv_rows": {"errors"},
    "serve.npy": {"errors"},
    "serve.hooks": {"errors"},
    "serve.scoring": {"errors", "model", "serve.http"},
    "serve.warm": {"errors"},
    "serve.batches": {"errors", "serve.http", "serve.scoring"},
    "serve.aws_lambda": {"serve.aws_lambda.function"},
    "serve.aws_lambda.attributes": {"errors"},
    "serve.aws_lambda.function": {
        "errors",
        "serve.aws_lambda.triggers",
        "serve.http",
        "serve.scoring",
        "serve.warm",
        "telemetry",
    },
    "serve.pace": set(),
    "serve.hosted": {"errors", "model", "serve.http", "serve.scoring", "serve.warm"},
    "serve.open_inference": {"_core", "serve.http", "serve.scoring", "serve.warm"},
    "serve.service": {"serve.hosted", "serve.http", "serve.open_inference", "serve.scoring", "telemetry"},
    "serve.messages": {"errors", "serve.http", "serve.scoring", "telemetry"},
    "serve.asgi": {"_core", "errors", "serve.http", "serve.pace", "serve.scoring", "serve.service"},
    "serve.gcp": {"serve.http", "serve.messages", "serve.scoring", "serve.service", "telemetry.ending"},
    "serve.azure": {"serve.http", "serve.messages", "serve.scoring", "serve.service", "telemetry.ending"},
    "serve.server": set(),
    "serve.aws_lambda.lifecycle": {"_core"},
    "serve.aws_lambda.objects": {
        "errors",
        "serve.aws_lambda.transfer",
        "serve.batches",
        "serve.csv_rows",
        "serve.scoring",
    },
    "serve.aws_lambda.records": {
        "errors",
        "serve.aws_lambda.function",
        "serve.aws_lambda.triggers",
        "serve.batches",
        "serve.http",
    },
    "serve.aws_lambda.snapshots": {"serve.aws_lambda.lifecycle"},
    "serve.aws_lambda.transfer": {"errors"},
    "serve.aws_lambda.triggers": set(),
    "serve.aws_lambda.web": {"serve.aws_lambda.triggers", "serve.http"},
    "serve.__main__": {"errors", "serve.asgi", "serve.http", "serve.scoring", "telemetry", "telemetry.prometheus"},
    "telemetry": {"errors"},
    "telemetry.numbers": {"errors"},
    "telemetry.emf": {"errors", "telemetry.numbers"},
    "telemetry.prometheus": {"errors", "telemetry.numbers"},
    "telemetry.opentelemetry": {"_core", "telemetry.numbers"},
    "telemetry.powertools": {"telemetry.numbers"},
    "telemetry.ending": set(),
}
#: Module → leaves that it imports inside the functions that need them.
LAZY_IMPORTS: dict[str, set[str]] = {
    "model": {"display", "inputs"},
    "registry": {"display"},
    "serve.scoring": {"serve.csv_rows", "serve.hooks", "serve.npy"},
    "serve.asgi": {"serve.server"},
    "serve.aws_lambda.function": {
        "serve.aws_lambda.lifecycle",
        "serve.aws_lambda.objects",
        "serve.aws_lambda.records",
        "serve.aws_lambda.web",
        "serve.http",
    },
    "serve.aws_lambda.lifecycle": {"serve.aws_lambda.snapshots", "serve.warm", "telemetry.ending"},
    "serve.aws_lambda.records": {"serve.aws_lambda.attributes", "serve.http"},
    "telemetry": {"telemetry.emf"},
}
#: Leaf → packages of others at its top.
THIRD_PARTY: dict[str, set[str]] = {
    "convert.check": {"numpy"},
    "convert.committees": {"numpy", "sklearn"},
    "convert.estimators": {"numpy", "sklearn"},
    "convert.file": {"numpy"},
    "convert.parts": {"numpy", "sklearn"},
    "convert.pipelines": {"numpy", "sklearn"},
    "inputs": {"numpy"},
    "serve.aws_lambda.objects": {"boto3"},
    "serve.aws_lambda.snapshots": {"snapshot_restore_py"},
    "serve.npy": {"numpy"},
    "lab.child": {"awslambdaric"},
    "lab.trace": {"awslambdaric"},
    "serve.azure": {"azure"},
    "serve.server": {"uvicorn"},
    "telemetry.opentelemetry": {"opentelemetry"},
}
#: Standard modules that are imported with `import glowplug`, all of which the interpreter has imported by then.
STANDARD = {"__future__", "os"}


def dotted(path: Path) -> str:
    """The name of a module inside the package; a folder's `__init__` has the folder's name."""
    parts = path.relative_to(PYTHON).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


ALL_PYTHON = {dotted(path): ast.parse(path.read_text("utf-8")) for path in sorted(PYTHON.rglob("*.py"))}


def imports_of(nodes: list[ast.stmt], *, functions: bool) -> set[str]:
    """Names of the modules that are imported at run time, at the top or inside functions."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if functions:
                found |= {name for child in ast.walk(node) if isinstance(child, ast.stmt) for name in imported(child)}
            continue
        if not functions:
            found |= imported(node)
        for field in ("body", "orelse", "finalbody"):
            found |= imports_of(getattr(node, field, []), functions=functions)
    return found


def imported(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        if node.module == "glowplug":
            return {f"glowplug.{alias.name}" for alias in node.names}
        return {node.module or ""}
    return set()


def split(names: set[str]) -> tuple[set[str], set[str], set[str]]:
    """Our modules, those of others, those of the standard library."""
    ours = {name.removeprefix("glowplug.") for name in names if name.split(".")[0] == "glowplug"}
    tops = {name.split(".")[0] for name in names} - {"glowplug"}
    standard = {top for top in tops if top in sys.stdlib_module_names}
    return ours, tops - standard, standard


def test_every_python_module_has_its_place() -> None:
    assert set(ALL_PYTHON) == set(IMPORTS)
    packages = {name.split(".")[0] for name in IMPORTS if "." in name}
    assert {path.name for path in PYTHON.iterdir() if path.is_dir()} <= {"_lib", "__pycache__", *packages}


@pytest.mark.parametrize("module", ALL_PYTHON)
def test_python_module_imports_what_it_may(module: str) -> None:
    body = ALL_PYTHON[module].body
    ours, third_party, standard = split(imports_of(body, functions=False))
    assert ours == IMPORTS[module]
    assert third_party == THIRD_PARTY.get(module, set())
    if module in light_modules():
        assert standard <= STANDARD
    lazily, third_party_lazily, _ = split(imports_of(body, functions=True))
    assert lazily == LAZY_IMPORTS.get(module, set())
    assert third_party_lazily == set(), "a package of others is imported at the top of the leaf that needs it"


def top(module: str) -> str:
    """The leaf that a module is, or is a part of."""
    return module.split(".", maxsplit=1)[0]


def light_modules() -> set[str]:
    """What `import glowplug` imports."""
    found, left = set[str](), {"__init__"}
    while left:
        module = left.pop()
        found.add(module)
        left |= IMPORTS.get(module, set()) - found
    return found - {"_core"}


def test_packages_of_others_are_in_leaves() -> None:
    leaves = set(IMPORTS) - light_modules() - {"cli", "__main__"}
    tops = {"convert", "inputs", "display", "lab", "serve", "telemetry"}
    assert {top(leaf) for leaf in leaves} == tops
    assert set(THIRD_PARTY) <= leaves
    others = {(top(leaf), top(used)) for leaf in leaves for used in IMPORTS[leaf] & leaves if top(used) != top(leaf)}
    assert others == {("serve", "telemetry")}, "leaves never import each other, but that servers tell what they did"


def test_package_root_only_exports() -> None:
    root = PYTHON / "__init__.py"
    assert len(root.read_text("utf-8").splitlines()) <= 40
    kinds = {type(node) for node in ALL_PYTHON["__init__"].body}
    assert kinds <= {ast.Expr, ast.ImportFrom, ast.Assign}
    exported = next(node.value for node in ALL_PYTHON["__init__"].body if isinstance(node, ast.Assign))
    names = ast.literal_eval(exported)
    assert sorted(names) == list(names)
    assert len(set(names)) == len(names) > 10


def test_scanner_sees_through_python() -> None:
    body = ast.parse(
        "import a.b\nif TYPE_CHECKING:\n    import never\ntry:\n    import c\nfinally:\n    import d\n"
        "class K:\n    import e\n    def f(self):\n        if self:\n            from glowplug.g import h\n"
        "def i():\n    from glowplug import j\n"
    ).body
    assert imports_of(body, functions=False) == {"a.b", "c", "d", "e"}
    assert imports_of(body, functions=True) == {"glowplug.g", "glowplug.j"}
