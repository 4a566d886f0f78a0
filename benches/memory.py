"""Memory that stays after a large batch: resident before it, at its peak, and a moment after.

python benches/memory.py --models mlp
"""

from __future__ import annotations

import json
from typing import Any

import harness
import models
from processes import measure

PROGRAM = """
import sys, json, gc, time
import numpy as np
who, path, output, rows = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
sys.path.insert(0, sys.argv[5])
def resident():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS")) / 1024
feeds = dict(np.load(sys.argv[6]))
large = {name: np.resize(array, (rows, *array.shape[1:])) for name, array in feeds.items()}
if who == "glowplug":
    import glowplug
    model = glowplug.load(path, threads=1)
    call = lambda feed: model.run(feed, [output])
else:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)
    call = lambda feed: session.run([output], feed)
call(feeds)
before = resident()
call(large)
gc.collect()
time.sleep(0.2)
print(json.dumps([before, resident()]))
"""


def main() -> None:
    """Measure every model with a batch that is large for it."""
    import numpy as np

    arguments = harness.options(__doc__)
    rows = []
    for key, subject in models.chosen(arguments.models).items():
        size = {"wide": 5_000, "encoder": 1_000}.get(key, 50_000)
        one = models.FOLDER / f"{key}-1.npz"
        np.savez(one, **subject.feeds(1))
        figures = {}
        for who in ("glowplug", "onnxruntime"):
            arguments_of = (who, str(subject.path), subject.output, str(size), "", str(one))
            answer, *_, peak = measure(PROGRAM, *arguments_of)
            figures[who] = (*json.loads(answer), peak)
        ours, theirs = figures["glowplug"], figures["onnxruntime"]
        row: dict[str, Any] = {"model": subject.name, "rows": size}
        row["stays MB"], row["onnxruntime stays MB"] = ours[1] - ours[0], theirs[1] - theirs[0]
        row["peak MB"], row["onnxruntime peak MB"] = ours[2], theirs[2]
        row["repeat"] = f"memory.py --models {key}"
        rows.append(row)
    harness.record("memory", "Memory after a large batch (with NumPy, which holds the batch)", __doc__ or "", rows)


if __name__ == "__main__":
    main()
