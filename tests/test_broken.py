"""Every broken model and broken input comes to a clear error, and never to a crash or a wrong answer.

Each row of `corpus/` runs in a child process, because only from outside can a crash, a hang or a panic be
told from an error.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from corpus import CASES, Case
from corpus.libraries import KINDS, TABLES, TREE_FILES
from corpus_child import FIRST_OUTPUT, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

CHILD = Path(__file__).with_name("corpus_child.py")
TIMEOUT = 60
# A copy, because pytest changes `os.environ` while the threads here start children.
ENVIRONMENT = dict(os.environ)
FEWEST_CASES = 500
# Bytes that a case may take, and more of them for each byte of its file: with ONNX Runtime and NumPy where those are opened.
MOST_GROWN = (64 << 20, 300)
# The same for files of tree libraries, which are read by glowplug alone.
MOST_GROWN_OF_TREES = (8 << 20, 8)
OF_TREES = {case.name for case in TREE_FILES if not case.name.startswith("onnx")}
# Errors that are about a file, and so must name it.
ABOUT_FILES = {"ModelError", "ModelNotFoundError", "ModelReadError"}

Report = dict[str, Any]


def run_child(case: Case, folder: Path, engine: str = "glowplug") -> Report:
    """What became of the case, as the child tells it; a crash and a hang are outcomes too."""
    command = [sys.executable, str(CHILD), case.name, str(folder), engine]
    try:
        child = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
            stdin=subprocess.DEVNULL,
            env=ENVIRONMENT,
        )
    except subprocess.TimeoutExpired:
        return {"outcome": "hang", "message": f"no answer after {TIMEOUT} s"}
    if child.returncode != 0:
        number = -child.returncode
        how = signal.Signals(number).name if number > 0 else f"exit code {child.returncode}"
        return {"outcome": "crash", "message": f"{how}\n{child.stderr.decode(errors='replace')}"}
    report: Report = json.loads(child.stdout.splitlines()[-1])
    return report


def prepare_and_run(case: Case, folder: Path) -> Report:
    """Builds the case here, where onnx is at hand, and runs it in a child."""
    source, inputs = case.make(folder)
    row = {"source": source, "inputs": inputs, "outputs": case.outputs, "options": dict(case.options)}
    (folder / f"{case.name}.case").write_bytes(pickle.dumps(row))
    report = run_child(case, folder)
    if report["outcome"] == "answer" and case.answer is None:
        report["peer"] = run_child(case, folder, "onnxruntime")
    report["file"] = isinstance(source, (str, os.PathLike)) and Path(source).name == "model.onnx"
    report["size"] = Path(source).stat().st_size if report["file"] and Path(source).is_file() else 0
    return report


@pytest.fixture(scope="module")
def reports(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Report]]]:
    """The children of all selected cases, started a few at a time, so that no processor waits for another."""
    chosen = [
        item.callspec.params["case"]
        for item in request.session.items
        if item.path == request.path and hasattr(item, "callspec") and "case" in item.callspec.params
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {case.name: pool.submit(prepare_and_run, case, tmp_path_factory.mktemp(case.name)) for case in chosen}
        pool.shutdown(cancel_futures=True)


def rows() -> list[Any]:
    """The cases with their marks."""
    marked = []
    for case in CASES:
        marks = []
        if case.skip:
            marks.append(pytest.mark.skip(reason=case.skip))
        if case.engine_fault:
            marks.append(pytest.mark.xfail(reason=case.engine_fault, strict=True))
        marked.append(pytest.param(case, id=case.name, marks=marks))
    return marked


@pytest.mark.parametrize("case", rows())
def test_case(case: Case, reports: dict[str, Future[Report]]) -> None:
    """The child lives, and tells of the error that the row asks for, or of the right answer where allowed."""
    report = reports[case.name].result()
    assert report["outcome"] in {"error", "answer"}, report["message"]
    most, per_byte = MOST_GROWN_OF_TREES if case.name in OF_TREES else MOST_GROWN
    assert report["grown"] <= most + per_byte * report["size"], "more memory than a file of its size may take"
    if report["outcome"] == "error":
        check_error(case, report)
        return
    assert not case.error, f"expected {case.error}, got the answer {report['answer']}"
    if case.answer is not None:
        check_answer(report["answer"], {FIRST_OUTPUT: plain(case.answer)})
    elif report["peer"]["outcome"] == "answer":
        check_answer(report["answer"], report["peer"]["answer"])


def check_error(case: Case, report: Report) -> None:
    """The class is ours and the one that was asked for; the message says what, where and how to mend it."""
    kinds, message = report["mro"], report["message"]
    described = f"{kinds[0]}: {message}"
    assert "GlowplugError" in kinds, described
    allowed = (case.error,) if isinstance(case.error, str) else case.error
    assert allowed is None or set(allowed) & set(kinds), f"expected {case.error}, got {described}"
    # The fix has a line of its own, and the first line is a sentence in the house style.
    assert "\n  fix: " in message, described
    assert not message[:1].isspace(), described
    for mention in case.mentions:
        assert mention in message, f"`{mention}` is not in {described}"
    if report["file"] and ABOUT_FILES & set(kinds):
        assert "model.onnx" in message, described


def check_answer(got: Any, expected: Any) -> None:
    """Two answers as `plain` writes them are the same, floats up to rounding and one NaN like another."""
    assert type(got) is type(expected), f"{got} is not {expected}"
    if isinstance(expected, dict):
        assert got.keys() == expected.keys()
        for key, entry in expected.items():
            check_answer(got[key], entry)
    elif isinstance(expected, list):
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            check_answer(one, other)
    elif isinstance(expected, float):
        assert got == pytest.approx(expected, rel=1e-5, abs=1e-6, nan_ok=True)
    else:
        assert got == expected


def test_corpus_is_large_and_has_unique_names() -> None:
    """A corpus that shrank, or in which one row hides another, would pass in silence."""
    names = [case.name for case in CASES]
    assert len(names) >= FEWEST_CASES
    assert len(set(names)) == len(names)


def test_each_kind_of_damage_is_there_in_each_format() -> None:
    """Or a reason why there is none."""
    for name, (_, table) in TABLES.items():
        assert set(table) == {"sound", *KINDS}, name
        assert all(entry for entry in table.values())
    assert {
        f"{name}_{kind}" for name, (_, table) in TABLES.items() for kind in KINDS if isinstance(table[kind], bytes)
    } <= {case.name for case in TREE_FILES}
