"""The parts of the lab that need no function to run: limits on other machines, estimates, prices, splits, sizes."""

from __future__ import annotations

import math
import os
import py_compile
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glowplug.errors import OptionError
from glowplug.lab.bytecode import compiled
from glowplug.lab.clocks import Moment, marked, moment_of
from glowplug.lab.facts import FILE, read_facts
from glowplug.lab.handlers import find
from glowplug.lab.limits import MEGABYTE, Hierarchy, Limits, hierarchies, throttled
from glowplug.lab.measure import percentile
from glowplug.lab.report import number
from glowplug.lab.sizes import size_of, vendored
from glowplug.lab.split import Spent, packages, parts, stretch

# --- Control groups of other machines, in folders of ours ---------------------------------------------------------------


def machine(folder: Path, mounts: list[str], own: list[str]) -> list[Hierarchy]:
    """What is found with these lines in `/proc`; `{}` stands for the folder."""
    (folder / "mounts").write_text("".join(f"{line.format(folder)}\n" for line in mounts))
    (folder / "own").write_text("".join(f"{line}\n" for line in own))
    return hierarchies(folder / "mounts", folder / "own")


def test_version_1_has_a_place_per_controller(tmp_path: Path) -> None:
    (tmp_path / "cpu" / "job").mkdir(parents=True)
    (tmp_path / "memory").mkdir()
    mounts = [
        "cgroup {}/cpu cgroup rw,cpu,cpuacct 0 0",
        "cgroup {}/memory cgroup rw,memory 0 0",
        "tmp /tmp tmpfs rw 0 0",
    ]
    own = ["4:memory:/gone", "3:cpu,cpuacct:/job", "1:name=systemd:/"]
    cpu, memory = machine(tmp_path, mounts, own)
    assert (cpu.version, cpu.controllers) == (1, {"cpu"})
    assert cpu.parents == (tmp_path / "cpu" / "job", tmp_path / "cpu")
    # In a container the process's group is often not to be seen; then the root of the mount is.
    assert memory.parents == (tmp_path / "memory",)

    limits = Limits(256, 0.5, 20_000, [cpu, memory])
    assert (limits.cpu_held, limits.memory_held, limits.why_not) == (True, True, "")
    (group,) = (tmp_path / "cpu" / "job").iterdir()
    (held,) = (path for path in (tmp_path / "memory").iterdir() if path.is_dir())
    assert (group / "cpu.cfs_period_us").read_text() == "20000"
    assert (group / "cpu.cfs_quota_us").read_text() == "10000"
    assert (held / "memory.limit_in_bytes").read_text() == str(256 * MEGABYTE)
    assert (held / "memory.memsw.limit_in_bytes").read_text() == str(256 * MEGABYTE)
    limits.set_cpus(0.01)
    assert (group / "cpu.cfs_quota_us").read_text() == "1000", "the kernel takes no less"
    (held / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    assert limits.kills() == 2

    ran = subprocess.run(limits.command([sys.executable, "-c", "print('in')"]), capture_output=True, check=True)
    assert ran.stdout == b"in\n"
    assert (group / "cgroup.procs").read_text() == (held / "cgroup.procs").read_text() == "0\n"


def test_version_2_has_one_place(tmp_path: Path) -> None:
    folder = tmp_path / "user.slice" / "shell"
    folder.mkdir(parents=True)
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (place,) = machine(tmp_path, ["cgroup2 {} cgroup2 rw,nosuid 0 0"], ["0::/user.slice/shell"])
    assert (place.version, place.controllers) == (2, {"cpu", "memory"})
    assert place.parents == (folder, folder.parent, tmp_path)

    limits = Limits(512, 0.25, 20_000, [place])
    assert (limits.cpu_held, limits.memory_held) == (True, True)
    (group,) = (path for path in folder.iterdir() if path.is_dir())
    assert (group / "cpu.max").read_text() == "5000 20000"
    assert (group / "memory.max").read_text() == str(512 * MEGABYTE)
    assert (group / "memory.swap.max").read_text() == "0"
    assert (folder / "cgroup.subtree_control").exists()
    assert limits.command(["true"]).count(str(group / "cgroup.procs")) == 1, "entered once for both controllers"
    (group / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\n")
    assert limits.kills() == 1


def test_group_that_holds_processes_gives_way_to_its_parent(tmp_path: Path) -> None:
    folder = tmp_path / "parent" / "own"
    folder.mkdir(parents=True)
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    # As the kernel refuses to enable controllers there.
    (folder / "cgroup.subtree_control").mkdir()
    (place,) = machine(tmp_path, ["cgroup2 {} cgroup2 rw 0 0"], ["0::/parent/own"])
    limits = Limits(512, 1, 20_000, [place])
    assert limits.cpu_held
    assert list(folder.iterdir()) == [folder / "cgroup.subtree_control"], "what was made in vain is gone"
    assert any(path.is_dir() for path in (tmp_path / "parent").iterdir() if path != folder)


class Reluctant(Limits):
    """Where a folder does not have the CPU controller, as a user's session often has not."""

    without: str

    def _hold(self, controller: str, version: int, folder: Path) -> None:
        assert version == 2
        if controller == "cpu" and folder.parent.name in self.without.split():
            raise OSError(2, "No such file or directory")
        # As the kernel's folders, ours are empty.


@pytest.mark.parametrize(
    ("without", "cpu_held", "at"),
    [("own", True, "parent"), ("own parent", True, "top"), ("own parent top", False, "own")],
)
def test_a_group_with_all_controllers_is_looked_for(tmp_path: Path, without: str, cpu_held: bool, at: str) -> None:
    top = tmp_path / "top"
    own = top / "parent" / "own"
    own.mkdir(parents=True)
    (top / "cgroup.controllers").write_text("cpu memory\n")
    places = machine(tmp_path, ["cgroup2 {}/top cgroup2 rw 0 0"], ["0::/parent/own"])
    kind = type("Kind", (Reluctant,), {"without": without})
    limits = kind(512, None, 20_000, places)
    assert (limits.cpu_held, limits.memory_held) == (cpu_held, True)
    assert ("No such file" in limits.why_not) is not cpu_held
    (group,) = top.rglob("glowplug-lab-*")
    assert group.parent.name == at
    limits.close()
    assert not group.exists()


PLACES = {
    "none are wanted": ([], "not asked for"),
    "may not be made": (
        [Hierarchy(1, frozenset({"cpu", "memory"}), Path("/no"), (Path("/no/job"),))],
        "/no: No such file",
    ),
}


@pytest.mark.parametrize("name", PLACES)
def test_why_limits_are_not_held(name: str) -> None:
    places, why_not = PLACES[name]
    limits = Limits(512, 1, 20_000, places)
    assert limits.why_not.startswith(why_not)
    assert (limits.cpu_held, limits.memory_held, limits.kills()) == (False, False, 0)
    assert limits.command(["true"]) == ["true"]
    limits.set_cpus(0.5)
    limits.close()


def test_a_user_who_may_not(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not hierarchies():
        pytest.skip("needs root to become somebody else, and control groups")
    text = (
        "import os\nfrom glowplug.lab.limits import Limits\nos.seteuid(65534)\n"
        "limits = Limits(512, 1, 20_000)\nprint(limits.cpu_held, limits.why_not)\n"
    )
    ran = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("False ")
    assert "Permission denied" in ran.stdout or "Read-only" in ran.stdout


def test_no_control_groups_at_all(tmp_path: Path) -> None:
    assert hierarchies(tmp_path / "mounts", tmp_path / "own") == []


def test_one_controller_only(tmp_path: Path) -> None:
    limits = Limits(512, 1, 20_000, machine(tmp_path, ["cgroup {} cgroup rw,memory 0 0"], ["2:memory:/"]))
    assert (limits.cpu_held, limits.memory_held) == (False, True)
    assert limits.why_not == "no control groups for cpu are mounted"


# --- Estimates ----------------------------------------------------------------------------------------------------------

ESTIMATES = [
    # wall, CPU, share, seconds
    (0.010, 0.010, 0.5, 0.010),  # a share's worth
    (0.020, 0.020, 0.5, 0.030),
    (0.025, 0.025, 0.5, 0.045),
    (1.0, 0.0, 0.1, 1.0),  # sleeps
    (1.0, 0.004, 0.1, 1.018),
    (0.5, 1.0, 2.0, 0.5),  # two threads, two CPUs
    (0.5, 1.5, 2.0, 0.75),  # three threads, two CPUs
]


@pytest.mark.parametrize(("wall", "cpu", "cpus", "seconds"), ESTIMATES)
def test_estimate(wall: float, cpu: float, cpus: float, seconds: float) -> None:
    assert throttled(wall, cpu, cpus, 0.02) == pytest.approx(seconds)


def test_waiting_for_others_is_not_the_functions(tmp_path: Path) -> None:
    assert Moment(5.0, 1.0, 3.0).undisturbed == 2.0
    assert Moment(5.0, 4.0, 3.0).undisturbed == 4.0, "other threads worked on"
    assert Moment(5.0, 8.0, 3.0).undisturbed == 5.0
    assert Moment(5.0, math.nan, 0.0).undisturbed == 5.0
    assert marked(b"client 2000000000 1000000000 900 500000000 7") == ("client", Moment(2.0, 1.0, 0.5))
    assert marked(b"client 2000000000 1000000000 ") == ("client", Moment(2.0, 1.0, 0.0))
    assert moment_of(os.getpid()).cpu == pytest.approx(time.process_time(), abs=0.5)
    assert math.isnan(moment_of(2**22 + 1).cpu)


@given(st.floats(0, 5), st.floats(0.05, 1), st.floats(0, 3))
def test_estimate_is_bounded(cpu: float, cpus: float, sleep: float) -> None:
    got = throttled(cpu + sleep, cpu, cpus, 0.02)
    assert cpu + sleep <= got <= cpu / cpus + sleep + 1e-6


# --- Facts --------------------------------------------------------------------------------------------------------------


def test_facts_and_costs() -> None:
    facts = read_facts()
    assert facts.cpus(1769) == 1
    assert facts.as_of == tomllib.loads(FILE.read_text("utf-8"))["as_of"].isoformat()
    # A GB for a second a million times: the price of a million GB-seconds and requests.
    assert facts.cost_per_million(1024, "x86_64", 1.0, 9.0, 0) == pytest.approx(0.20 + 16.6667)
    # Billed in whole milliseconds.
    assert facts.cost_per_million(1024, "arm64", 0.0012, 9.0, 0) == pytest.approx(0.20 + 2 * 0.0133334)
    half = facts.cost_per_million(512, "x86_64", 0.001, 0.201, 0.5)
    assert half == pytest.approx(0.20 + 1e6 * 0.101 * 0.5 * 0.0000166667)


def test_facts_of_a_user(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('region = "eu-north-1"\n[prices]\nmillion_requests = 1.5\ngb_second = { riscv = 1.0 }\n')
    facts, usual = read_facts(mine), read_facts()
    assert (facts.region, facts.million_requests, facts.gb_second["riscv"]) == ("eu-north-1", 1.5, 1.0)
    assert (facts.gb_second["arm64"], facts.unzipped_mb) == (usual.gb_second["arm64"], usual.unzipped_mb)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[prices]\nmilion_requests = 1\n", "no fact is called prices.milion_requests"),
        ("nothing = 1\n", "the names are as_of, region"),
        ("[function]\nmemory_mb = 5\n", "give values of the kinds"),
        ("prices = 3\n", "give values of the kinds"),
        ("[prices]\ngb_second = { x86_64 = 'much' }\n", "much"),
        ("= 1", "not TOML"),
    ],
)
def test_facts_that_cannot_be(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(OptionError, match=said) as refused:
        read_facts(tmp_path / "mine.toml")
    assert "mine.toml" in str(refused.value)


# --- Handlers -----------------------------------------------------------------------------------------------------------

NAMES = {
    "def handler(event, context): pass": "function.handler",
    "async def handler(event, context): pass": "function.handler",
    "def lambda_handler(event, context): pass": "function.lambda_handler",
    "def lambda_handler(a, b): pass\ndef handler(a, b): pass": "function.handler",
    "from elsewhere import score as handler": "function.handler",
    "from elsewhere import handler\nlambda_handler = handler('model')": "function.lambda_handler",
    "from elsewhere import handler\n@handler('model')\ndef lambda_handler(rows): yield": "function.lambda_handler",
    "handler = make()": "function.handler",
    "handler: object = make()": "function.handler",
    "class handler: pass": "function.handler",
    "def handler(:": "function.handler",
}


@pytest.mark.parametrize("text", NAMES)
def test_function_is_found_by_its_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "function.py").write_text(text)
    assert find(str(tmp_path / "function.py")).setting == NAMES[text]


def test_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "app" / "web").mkdir(parents=True)
    file = tmp_path / "app" / "web" / "main.py"
    file.write_text("def handler(event, context): pass")
    (tmp_path / "app" / "__init__.py").touch()
    assert find(f"{file}:other").root == file.parent
    assert find(f"{file}:other", tmp_path).setting == "app.web.main.other"
    monkeypatch.chdir(tmp_path)
    for text in ("app.web.main.handler", "app/web/main.handler", "app.handler"):
        assert (find(text).setting, find(text).root) == (text, tmp_path)


# --- Parts and sizes ----------------------------------------------------------------------------------------------------


def node(kind: str, name: str, file: str | None, seconds: float, phase: str = "init") -> dict[str, Any]:
    return {"kind": kind, "name": name, "file": file, "wall": seconds, "cpu": seconds, "phase": phase}


def test_parts_by_whose_module_it_is() -> None:
    own = Path("/code")
    seen = {
        "stdlib": "/lib/python3.12",
        "nodes": [
            node("code", "init", None, 1), node("import", "app", "/code/app.py", 2),
            node("import", "yaml.loader", "/code/yaml/loader.py", 4),
            node("import", "json", "/lib/python3.12/json/__init__.py", 8), node("import", "_x", None, 16),
            node("import", "numpy", "/lib/python3.12/site-packages/numpy/__init__.py", 32),
            node("import", "far", "/elsewhere/far.py", 64),
            node("import", "awslambdaric.x", "/lib/python3.12/site-packages/awslambdaric/x.py", 128),
            node("load", "load", None, 256), node("score", "predict", None, 512),
            node("code", "first", None, 1024, "first"), node("import", "csv", "/lib/python3.12/csv.py", 1, "first"),
        ],
    }  # fmt: skip
    walls = {name: spent.wall for name, spent in parts(seen, "init", own, ["yaml"]).items()}
    assert walls == {"imports": 8 + 16 + 128, "library": 4 + 32 + 64, "model": 1 + 2 + 256, "score": 512}
    walls = {name: spent.wall for name, spent in parts(seen, "first", own, ["yaml"]).items()}
    assert walls == {"imports": 1, "library": 0, "model": 0, "score": 1024}
    assert list(packages(seen, own, ["yaml"])) == ["far", "numpy", "yaml"]


def test_stretched_parts_add_up() -> None:
    found = {"a": Spent(1.0, 1.0), "b": Spent(3.0, 1.0)}
    # Two seconds are waited whatever the share; the rest goes with CPU time.
    assert stretch(found, Spent(10.0, 3.0)) == {"a": Spent(4.0, 1.5), "b": Spent(6.0, 1.5)}
    # A start that waited less than the one that was looked into.
    assert stretch(found, Spent(1.0, 2.0)) == {"a": Spent(0.25, 1.0), "b": Spent(0.75, 1.0)}
    nothing = {"a": Spent(), "b": Spent()}
    assert stretch(nothing, Spent(1.0, 1.0)) == nothing


@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), min_size=1), st.floats(0.1, 99), st.floats(0.1, 99))
def test_stretch_keeps_the_whole(pairs: list[tuple[float, float]], wall: float, cpu: float) -> None:
    found = {str(index): Spent(max(pair), min(pair)) for index, pair in enumerate(pairs)}
    if sum(spent.cpu for spent in found.values()) < 1e-6:
        return
    made = stretch(found, Spent(wall, cpu))
    assert sum(spent.wall for spent in made.values()) == pytest.approx(wall)
    assert sum(spent.cpu for spent in made.values()) == pytest.approx(cpu)
    assert all(spent.wall >= 0 for spent in made.values())


def distribution(folder: Path, name: str, files: dict[str, int], requires: tuple[str, ...] = ()) -> None:
    """What pip leaves of an installed distribution."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    needs = "".join(f"Requires-Dist: {need}\n" for need in requires)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}")
    for file, size in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(os.urandom(size))
    listed = [*files, f"{info.name}/METADATA", f"{info.name}/RECORD"]
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in listed))


def test_sizes(tmp_path: Path) -> None:
    site, root = tmp_path / "site-packages", tmp_path / "function"
    distribution(
        site, "big_one", {"big/__init__.py": 10, "big/lib.so": 3 * MEGABYTE, "big/__pycache__/x.pyc": MEGABYTE},
        ("Small.One>=1; python_version > '3'", "unused; extra == 'all'", "absent"),
    )  # fmt: skip
    distribution(site, "small_one", {"small.py": MEGABYTE})
    distribution(site, "unused", {"unused.py": MEGABYTE})
    distribution(site, "botocore", {"botocore/__init__.py": MEGABYTE})
    checkout = tmp_path / "checkout" / "mine"
    checkout.mkdir(parents=True)
    (checkout / "__init__.py").write_bytes(b"x" * (MEGABYTE // 2))
    (root / "__pycache__").mkdir(parents=True)
    (root / ".venv").mkdir()
    (root / "environment" / "lib").mkdir(parents=True)
    (root / "environment" / "pyvenv.cfg").touch()
    for file in ("__pycache__/a.pyc", ".venv/b", ".env", "environment/lib/c"):
        (root / file).write_bytes(b"x" * MEGABYTE)
    (root / "model.onnx").write_bytes(bytes(2 * MEGABYTE))
    seen = {
        "stdlib": "/lib/python3.12",
        "path": [str(root), str(site)],
        "modules": {
            "app": str(root / "app.py"),
            "json": "/lib/python3.12/json/__init__.py",
            "big": str(site / "big/__init__.py"),
            "botocore": str(site / "botocore/__init__.py"),
            "mine": str(checkout / "__init__.py"),
        },
    }
    size = size_of(seen, root, frozenset({"botocore"}), None)
    assert {name: round(mb, 2) for name, mb in size.by_package.items()} == {
        "big-one": 3.0, "own files": 2.0, "small-one": 1.0, "mine": 0.5,
    }  # fmt: skip
    assert size.unzipped_mb == pytest.approx(6.5, abs=0.01)
    assert size.zipped_mb is None
    zipped = size_of(seen, root, frozenset({"botocore"}), 5).zipped_mb
    assert zipped == pytest.approx(4, abs=0.01), "zeros and one letter again and again take nothing, random bytes all"
    assert size_of(seen, root, frozenset({"botocore"}), 7).zipped_mb is None
    assert vendored(site) >= {"big", "small", "botocore"}
    assert vendored(root) == set()


def test_sizes_of_a_folder_that_is_packed_whole(tmp_path: Path) -> None:
    distribution(tmp_path, "Other_One", {"other/__init__.py": MEGABYTE, "other/lib.so": MEGABYTE})
    (tmp_path / "app.py").write_bytes(bytes(MEGABYTE))
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "app.pyc").write_bytes(bytes(MEGABYTE))
    modules = {"app": str(tmp_path / "app.py"), "other": str(tmp_path / "other/__init__.py")}
    seen = {"stdlib": "/lib/python3.12", "path": [str(tmp_path)], "modules": modules}
    size = size_of(seen, tmp_path, frozenset(), None)
    assert {name: round(mb, 2) for name, mb in size.by_package.items()} == {"other-one": 2.0, "own files": 2.0}


def test_modules_without_byte_code(tmp_path: Path) -> None:
    nodes: list[dict[str, Any]] = [
        {"kind": "import", "name": "extension", "file": str(tmp_path / "extension.so"), "cached": None},
        {"kind": "import", "name": "gone", "file": str(tmp_path / "gone.py"), "cached": str(tmp_path / "gone.pyc")},
        {"kind": "code", "name": "init", "file": None},
    ]
    modes = {
        "none": None,
        "stamped": PycInvalidationMode.TIMESTAMP,
        "stale": PycInvalidationMode.TIMESTAMP,
        "hashed": PycInvalidationMode.UNCHECKED_HASH,
    }
    for name, mode in modes.items():
        source, cached = tmp_path / f"{name}.py", tmp_path / f"{name}.pyc"
        source.write_text("x = 1\n" * 2000)
        if mode is not None:
            py_compile.compile(str(source), str(cached), invalidation_mode=mode)
        if name in {"stale", "hashed"}:
            os.utime(source, (0, 0))
        nodes.append({"kind": "import", "name": name, "file": str(source), "cached": str(cached)})
    got = compiled({"nodes": nodes})
    assert got.modules == ("gone", "none", "stale")
    assert got.seconds > 0


def test_percentiles() -> None:
    values = [float(value) for value in range(1, 201)]
    assert (percentile(values, 50), percentile(values, 99), percentile(values[:1], 99)) == (100, 198, 1)
    assert percentile([], 50) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0123456, "0.0123"),
        (0.5, "0.500"),
        (1.234, "1.23"),
        (99.94, "99.9"),
        (123.4, "123"),
        (float("nan"), "?"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_the_command_is_installed() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["scripts"] == {"glowplug": "glowplug.cli:main"}
    ran = subprocess.run(
        [sys.executable, "-m", "glowplug", "lab", "--help"], capture_output=True, text=True, check=True
    )
    assert "--memory MB" in ran.stdout
