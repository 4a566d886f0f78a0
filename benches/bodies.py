"""A JSON body to a JSON answer, beside `json` or `orjson` with NumPy and onnxruntime.

    python benches/bodies.py

The body is `{"instances": [[…], …]}`. The peers parse it, make an array, score it on one thread, and write the same answer;
answers are compared as numbers first.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

import glowplug
import harness
import models
from throughput import session

try:
    import orjson
except ImportError:  # pragma: no cover - only a peer fewer
    orjson = None  # type: ignore[assignment]


def main() -> None:
    """Measure bodies of 1, 10 and 1,000 rows, and rows of plain Python."""
    arguments = harness.options(__doc__)
    rounds, seconds = (5, 0.05) if arguments.quick else (11, 0.2)
    rows = []
    for key, subject in models.chosen(arguments.models or ["mlp", "lightgbm"]).items():
        model, peer = glowplug.load(subject.path, threads=1), session(subject.path, 1)
        first = model.outputs[0].name
        for size in (1, 10, 1_000):
            (name, x), *_ = subject.feeds(size).items()
            plain = x.tolist()
            body = json.dumps({"instances": plain}).encode()

            def by_json(body: Any = body, peer: Any = peer, name: Any = name, first: Any = first) -> bytes:
                x = np.array(json.loads(body)["instances"], dtype=np.float32)
                return json.dumps({"predictions": peer.run([first], {name: x})[0].tolist()}).encode()

            def by_orjson(body: Any = body, peer: Any = peer, name: Any = name, first: Any = first) -> bytes:
                x = np.array(orjson.loads(body)["instances"], dtype=np.float32)
                return orjson.dumps({"predictions": peer.run([first], {name: x})[0].tolist()})

            def by_arrays(plain: Any = plain, peer: Any = peer, name: Any = name, first: Any = first) -> Any:
                return peer.run([first], {name: np.array(plain, dtype=np.float32)})[0].tolist()

            calls: dict[str, harness.Call] = {
                "glowplug": lambda model=model, body=body: model.predict_json(body),
                "json": by_json,
                "rows": lambda model=model, plain=plain: model.predict_rows(plain),
                "arrays": by_arrays,
                "engine": lambda model=model, x=x: model.predict(x),
            }
            if orjson is not None:
                calls["orjson"] = by_orjson
            expected = json.loads(by_json())["predictions"]
            models.same(np.array(json.loads(model.predict_json(body))["predictions"]), np.array(expected), 1e-5)
            models.same(np.array(model.predict_rows(plain)), np.array(by_arrays()), 1e-5)
            got = harness.interleaved(calls, rounds=rounds, seconds=seconds)
            row: dict[str, Any] = {"model": subject.name, "rows": size, "predict_json µs": got["glowplug"] * 1e6}
            row["× json"] = got["json"] / got["glowplug"]
            row["× orjson"] = got["orjson"] / got["glowplug"] if "orjson" in got else None
            row["predict (arrays) µs"] = got["engine"] * 1e6
            row["predict_rows µs"] = got["rows"] * 1e6
            row["× lists by NumPy"] = got["arrays"] / got["rows"]
            row["repeat"] = f"bodies.py --models {key}"
            rows.append(row)
    harness.record("bodies", "JSON body to JSON answer, and rows of plain Python", __doc__ or "", rows)


if __name__ == "__main__":
    main()
