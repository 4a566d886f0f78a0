"""Runs in the function's own process, in place of the platform's start-up script: the real runtime client, and two marks.

Started by its path: an import of `glowplug.lab` would be part of what is measured. It is compiled at every start, so it is
short.
"""

import os
import sys
import time

_out, _root, _handler, _trace = int(sys.argv[1]), *sys.argv[2:5]


def _mark(name: str) -> None:
    try:
        file = os.open("/proc/self/schedstat", os.O_RDONLY)
        waited = os.read(file, 99).decode()
        os.close(file)
    except OSError:
        waited = ""
    os.write(_out, f"mark {name} {time.monotonic_ns()} {time.process_time_ns()} {waited.strip()}\n".encode())


_mark("interpreter")
sys.path[0] = _root
try:
    from awslambdaric.__main__ import main  # type: ignore[import-untyped]
except ImportError as error:
    os.write(_out, f"missing {error}\n".encode())
    sys.exit(3)
_mark("client")
if _trace:
    with open(_trace, encoding="utf-8") as _file:  # noqa: PTH123 - pathlib is none of the function's
        exec(compile(_file.read(), _trace, "exec"), {"__name__": "glowplug_lab_trace", "out": _out})  # noqa: S102
main(["bootstrap", _handler])
