"""`glowplug lab`: real functions under the real runtime client, under real limits where this machine permits them."""

from __future__ import annotations

import compileall
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import models
from glowplug.cli import main
from glowplug.lab.limits import Limits, hierarchies

pytest.importorskip("awslambdaric")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the runtime client is one for Linux")


@pytest.fixture(scope="module")
def held() -> None:
    """Skips where the kernel does not let us limit a process."""
    limits = Limits(256, 1, 20_000)
    limits.close()
    if not (limits.cpu_held and limits.memory_held):
        pytest.skip(f"control groups may not be made here: {limits.why_not}")


class Ran:
    """A run of the command, in this process."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(self.out)

    @property
    def only(self) -> dict[str, Any]:
        (one,) = self.data["results"]
        return one


@pytest.fixture
def lab(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Any:
    """Runs the command on a handler of this text."""

    def run(text: str, *arguments: str, memory: str = "1769", starts: int = 1, invocations: int = 3) -> Ran:
        (tmp_path / "function.py").write_text(text)
        few = ["--starts", str(starts), "--invocations", str(invocations), "--memory", memory]
        # A busy machine may need long; tests of timeouts name theirs.
        code = main(["lab", str(tmp_path / "function.py"), "--json", "--timeout", "30", *few, *arguments])
        return Ran(code, *capfd.readouterr())

    return run


EMPTY = "def handler(event, context):\n    return event\n"


def groups_left(pid: int | None = None) -> list[Path]:
    found: list[Path] = []
    for place in hierarchies():
        for parent in place.parents:
            found += parent.glob(f"glowplug-lab-{pid or os.getpid()}-*")
    return found


def test_a_function_that_works(lab: Any, tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text('{"amount": 12.5}')
    ran = lab(EMPTY, "--event", str(event), memory="512,1769", starts=2, invocations=5)
    assert (ran.code, ran.err) == (0, "")
    small, large = ran.data["results"]
    assert [small["memory_mb"], large["memory_mb"]] == [512, 1769]
    assert (small["cpus"], large["cpus"]) == (pytest.approx(512 / 1769, abs=1e-4), 1)
    for one in (small, large):
        assert json.loads(one["answer"]) == {"amount": 12.5}
        parts = one["init_ms"]["parts"]
        assert list(parts) == ["interpreter", "client", "imports", "library", "model"]
        for clock in ("wall", "cpu"):
            assert sum(part[clock] for part in parts.values()) == pytest.approx(one["init_ms"][clock], abs=0.01)
            first = sum(part[clock] for part in one["first_ms"]["parts"].values())
            assert first == pytest.approx(one["first_ms"][clock], abs=0.01)
        assert one["cold_ms"] == pytest.approx(one["init_ms"]["wall"] + one["first_ms"]["wall"], abs=0.01)
        assert 0 < one["init_ms"]["cpu"] <= one["cold_cpu_ms"]
        assert 0 < one["warm_ms"]["p50"] <= one["warm_ms"]["p99"]
        assert 0 < one["warm_ms"]["cpu"] < one["init_ms"]["cpu"]
        assert len(one["cold_of_starts_ms"]) == 2
        assert min(start["wall"] for start in one["cold_of_starts_ms"]) <= one["cold_ms"]
        assert 5 < one["peak_mb"] < 100
        assert one["cost_per_million"] > 0.2
    assert groups_left() == []


def test_share_of_cpu_is_what_the_function_gets(lab: Any, held: None) -> None:
    busy = (
        "import time\n"
        "def handler(event, context):\n"
        "    began = time.process_time()\n"
        "    while time.process_time() < began + 0.1: pass\n"
    )
    ran = lab(busy, memory="442", invocations=2)
    assert ran.data["limits"] == {"cpu": True, "memory": True, "why_not": ""}
    # A quarter of a CPU. The kernel hands shares out in pieces of 5 ms, so a little more than it may be had.
    assert ran.only["first_ms"]["cpu"] == pytest.approx(100, rel=0.2)
    assert ran.only["first_ms"]["wall"] > 250


def test_estimate_without_control_groups(lab: Any) -> None:
    busy = (
        "import time\n"
        "def handler(event, context):\n"
        "    began = time.process_time()\n"
        "    while time.process_time() < began + 0.1: pass\n"
    )
    ran = lab(busy, "--no-limits", memory="442", invocations=1)
    assert ran.data["limits"] == {"cpu": False, "memory": False, "why_not": "not asked for"}
    # 100 ms in shares of 5 ms: 19 waits of 15 ms at least.
    assert ran.only["first_ms"]["wall"] > 100 + 18 * 15
    # In shares of 1.4 ms that makes 1.3 s.
    slow = lab(busy, "--no-limits", "--timeout", "1.2", memory="128", invocations=1)
    assert slow.code == 1
    assert slow.only["failure"]["kind"] == "timeout"
    assert slow.only["failure"]["message"].startswith("estimated to take")


HOG = """
import mmap
def handler(event, context):
    hold = bytearray(300 << 20)
    for index in range(0, len(hold), 4096):
        hold[index] = 1
    import time
    time.sleep(event.get("sleep", 0))
    return len(hold)
"""


@pytest.mark.parametrize("limits", [True, False])
def test_memory_over_the_limit(lab: Any, tmp_path: Path, limits: bool, request: pytest.FixtureRequest) -> None:
    if limits:
        request.getfixturevalue("held")
    (tmp_path / "event.json").write_text('{"sleep": 0.2}')
    arguments = ["--event", str(tmp_path / "event.json"), *([] if limits else ["--no-limits"])]
    ran = lab(HOG, *arguments, memory="200")
    assert ran.code == 1
    assert ran.only["failure"]["kind"] == "out of memory"
    assert "200 MB" in ran.only["failure"]["message"]
    assert "more memory" in ran.only["failure"]["fix"]
    assert ran.only["cold_ms"] is None
    assert groups_left() == []
    enough = lab(HOG, *arguments, memory="1024", invocations=1)
    assert enough.code == 0
    assert 300 < enough.only["peak_mb"] < 400


#: Handler → kind of its failure, and words of the message, the fix, or what was printed.
FAILURES = {
    "import": ("import no_such_module\n" + EMPTY, "init error", "no_such_module", "install the module"),
    "syntax": ("def handler(:\n", "init error", "UserCodeSyntaxError", "correct the line"),
    "raises in init": ("raise ValueError('no key')\n" + EMPTY, "init error", "ValueError: no key", "correct the"),
    "exits in init": ("import sys\nprint('bye')\nsys.exit(3)\n" + EMPTY, "exit", "exit code 3", "called exit"),
    "raises": (
        "def handler(event, context):\n    return event['amount']\n",
        "handler error",
        "KeyError: 'amount'",
        "--event",
    ),
    "no JSON": ("def handler(event, context):\n    return {1, 2}\n", "handler error", "MarshalError", "JSON can hold"),
    "sleeps": ("import time\ndef handler(event, context):\n    time.sleep(9)\n", "timeout", "0.4 s", "--timeout"),
    "crashes": (
        "import ctypes\ndef handler(event, context):\n    print('near the end', flush=True)\n    ctypes.string_at(0)\n",
        "exit",
        "by signal 11",
        "crashed",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_function_that_fails(lab: Any, name: str) -> None:
    text, kind, message, fix = FAILURES[name]
    ran = lab(text, *(["--timeout", "0.4"] if name == "sleeps" else []))
    assert ran.code == 1, ran.out
    failure = ran.only["failure"]
    assert failure["kind"] == kind
    assert message in failure["message"]
    assert fix in failure["fix"]
    if name == "raises":
        assert "function.py" in "".join(failure["trace"])
    if name in {"exits in init", "crashes"}:
        assert {"bye", "near the end"} & set(failure["printed"])
    assert groups_left() == []


def test_initialisation_that_takes_too_long(lab: Any, tmp_path: Path) -> None:
    (tmp_path / "facts.toml").write_text("[function]\ninit_timeout_s = 0.6\n")
    ran = lab("import time\ntime.sleep(5)\n" + EMPTY, "--facts", str(tmp_path / "facts.toml"))
    assert ran.code == 1
    assert ran.only["failure"]["kind"] == "init timeout"
    assert "0.6 s" in ran.only["failure"]["message"]


def test_fails_late_and_keeps_what_was_measured(lab: Any) -> None:
    text = "calls = 0\ndef handler(event, context):\n    global calls\n    calls += 1\n    return [1][calls > 3]\n"
    ran = lab(text, invocations=9)
    assert ran.code == 1
    assert "IndexError" in ran.only["failure"]["message"]


def test_folder_with_a_name_that_lambda_has_not(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "où est \N{SNOWMAN} it"
    folder.mkdir()
    (folder / "fünction.py").write_text("import os\ndef handler(e, c): return os.environ['AWS_LAMBDA_FUNCTION_NAME']\n")
    assert main(["lab", str(folder / "fünction.py"), "--starts", "1", "--invocations", "1", "--json"]) == 0
    assert json.loads(json.loads(capfd.readouterr().out)["results"][0]["answer"]) == "o-est-it"


def test_function_that_prints_a_lot(lab: Any) -> None:
    ran = lab("def handler(event, context):\n    print('x' * 1_000_000)\n    return 'done'\n", invocations=4)
    assert ran.code == 0
    assert ran.only["answer"] == '"done"'


def test_processes_of_the_function_are_ended_with_it(lab: Any, tmp_path: Path) -> None:
    text = (
        "import os, subprocess, sys\n"
        "def handler(event, context):\n"
        "    # Away from the function's session, as a daemon goes.\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)\n"
        "    inside = os.fork()\n"
        "    if inside == 0:\n"
        "        os.execvp('sleep', ['sleep', '60'])\n"
        "    return [child.pid, inside]\n"
    )
    ran = lab(text, invocations=1)
    assert ran.code == 0
    assert groups_left() == []
    daemon, inside = json.loads(ran.only["answer"])
    until = time.monotonic() + 30
    gone = [inside] if not ran.data["limits"]["cpu"] else [daemon, inside]
    while any(is_running(pid) for pid in gone) and time.monotonic() < until:
        time.sleep(0.01)
    assert not any(is_running(pid) for pid in gone)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_memory_of_another_process_of_the_function(lab: Any, held: None) -> None:
    text = (
        "import subprocess, sys\n"
        "def handler(event, context):\n"
        "    return subprocess.run([sys.executable, '-c', 'x = b\"x\" * (400 << 20)']).returncode\n"
    )
    ran = lab(text, memory="256")
    assert ran.code == 1
    assert ran.only["failure"]["kind"] == "out of memory"


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_lab_that_is_stopped(tmp_path: Path, sent: int, code: int, held: None) -> None:
    mark = tmp_path / "running"
    (tmp_path / "function.py").write_text(f"import time\nopen({str(mark)!r}, 'w').close()\ntime.sleep(60)\n" + EMPTY)
    command = [sys.executable, "-m", "glowplug", "lab", "function.py"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as lab:
        while not mark.exists():
            time.sleep(0.01)
        assert groups_left(lab.pid) != []
        lab.send_signal(sent)
        printed, _ = lab.communicate(timeout=20)
    assert (lab.returncode, printed) == (code, b"")
    if sent == signal.SIGKILL:
        # Nobody could do it then; the next lab does.
        Limits(256, 1, 20_000).close()
    assert groups_left(lab.pid) == []


def test_parts_of_a_start(lab: Any, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(models.mlp())
    (tmp_path / "own.py").write_text(spin(0.03))
    text = (
        "import os, graphlib, own, glowplug\n" + spin(0.06) + "here = os.path.dirname(__file__)\n"
        "model = glowplug.load(here + '/model.onnx')\n"
        "def handler(event, context):\n"
        "    import tomllib\n"
        "    return model.predict_rows([[0.0] * 30])\n"
    )  # fmt: skip
    ran = lab(text)
    assert ran.code == 0, ran.out
    parts = {name: spent["cpu"] for name, spent in ran.only["init_ms"]["parts"].items()}
    assert parts["model"] > 80
    assert 0 < parts["library"] < 60
    assert parts["imports"] > 0
    first = {name: spent["cpu"] for name, spent in ran.only["first_ms"]["parts"].items()}
    assert first["imports"] > 0
    assert first["score"] > 0
    (package,) = ran.data["packages"]
    assert set(package["imports_ms"]) == {"glowplug"}
    assert package["by_package_mb"]["glowplug"] > 20
    assert package["by_package_mb"]["numpy"] > 10
    assert package["zipped_mb"] < package["unzipped_mb"] < package["limits_mb"]["unzipped"]


def spin(seconds: float) -> str:
    return f"import time\nuntil = time.process_time() + {seconds}\nwhile time.process_time() < until: pass\n"


def test_byte_code_that_is_missing(lab: Any, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("x = [1, 2]\n" * 3000)
    text = "import own\n" + EMPTY
    missing = lab(text, invocations=1).data["packages"][0]["without_byte_code"]
    assert missing["modules"] == ["function", "own"]
    assert missing["compile_cpu_ms"] > 1
    compileall.compile_file(tmp_path / "own.py", quiet=1)
    assert lab(text, invocations=1).data["packages"][0]["without_byte_code"]["modules"] == ["function"]


def test_several_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(EMPTY)
    (tmp_path / "b.py").write_text("import decimal\nhold = b'x' * (50 << 20)\ndef score(event, context): return 1\n")
    (tmp_path / "c.py").write_text("raise OSError('no disk')\n" + EMPTY)
    few = ["--starts", "1", "--invocations", "2", "--memory", "512,1769"]
    command = [sys.executable, "-m", "glowplug", "lab", "a.py", "b.py:score", "c.py", *few]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (1, "")
    lines = ran.stdout.splitlines()
    assert len([line for line in lines if line.startswith("  a.py ")]) == 4
    beside = lines[lines.index("Divided by a.py") + 2]
    name, memory, _, *ratios = beside.split()
    assert (name, memory) == ("b.py:score", "512")
    assert float(ratios[4]) > 2
    assert "c.py at 512 MB failed (init error): OSError: no disk" in lines
    assert "  fix: correct the handler, or give it the event it expects with --event" in lines


REFUSALS = [
    (["missing.py"], "missing.py: no such file"),
    (["ok.py:other", "--memory", "64"], "memory 64 MB: Lambda has no such size"),
    (["ok.py", "--event", "none.json"], "none.json: No such file"),
    (["ok.py", "--event", "ok.py"], "not JSON"),
    (["ok.py", "--event", "large.json"], "large.json: has 6291458 bytes, and Lambda takes 6291456"),
    (["ok.py", "--env", "A"], "not NAME=VALUE"),
    (["ok.py", "--facts", "ok.py"], "not TOML"),
    (["ok.py", "--timeout", "1000"], "longer than Lambda takes"),
    (["ok.py", "--python", "/no/python"], "cannot be run"),
    (["nameless.py"], "its functions are one, two"),
    (["ok.handler", "--root", "/"], "no module ok in /"),
    (["ok.py", "--root", "/usr"], "not inside of the root /usr"),
    (["ok"], "neither a Python file nor module.function"),
]


@pytest.mark.parametrize(("arguments", "said"), REFUSALS)
def test_refusals(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ok.py").write_text(EMPTY)
    (tmp_path / "large.json").write_text(f'"{"x" * 6 * 2**20}"')
    (tmp_path / "nameless.py").write_text("def one(): pass\ndef two(): pass\n")
    assert main(["lab", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert "fix: " in printed.err


def test_sigterm_does_afterwards_what_it_did_before(lab: Any) -> None:
    seen: list[int] = []

    def own(number: int, _: object) -> None:
        seen.append(number)

    before = signal.signal(signal.SIGTERM, own)
    try:
        assert lab(EMPTY).code == 0
        assert main(["lab", "ok"]) == 2
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == []


@pytest.mark.parametrize(
    "arguments",
    [["--memory", "a"], ["--starts", "0"], ["--cold-share", "2"], ["--timeout", "nan"], ["--init-cpus", "-1"], []],
)
def test_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["lab", *arguments])
    assert ended.value.code == 2
    assert "usage: glowplug lab" in capsys.readouterr().err


def test_interpreter_without_the_client(lab: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    ran = lab(EMPTY, "--python", str(bare))
    assert ran.code == 2
    assert "awslambdaric: not installed" in ran.err
    assert "glowplug[lab]" in ran.err
