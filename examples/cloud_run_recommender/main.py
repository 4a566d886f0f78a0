"""Recommendations over HTTP: `{"user": 7}` → the items that this user may like. Listens on `PORT`.

python main.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glowplug.serve import asgi
from glowplug.serve.http import Problem
from glowplug.telemetry.prometheus import Prometheus

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
CATALOGUE = json.loads((HERE / "catalogue.json").read_text("utf-8"))
MOST = 100


def recommend(question: Any) -> Iterator[Any]:
    """Answer `{"user": 7, "count": 10, "seen": [3, 5]}`; what was seen in the meantime is left out."""
    if not isinstance(question, dict) or type(user := question.get("user")) is not int:
        raise Problem(400, 'expected {"user": number}', fix='send for example {"user": 7, "count": 5}')
    if not 0 <= user < CATALOGUE["users"]:
        raise Problem(404, f"there is no user {user}")
    count, seen = question.get("count", 10), question.get("seen", [])
    if type(count) is not int or not 1 <= count <= MOST or not isinstance(seen, list):
        raise Problem(400, f"expected `count` of 1 to {MOST}, and `seen` as a list of items")
    answer = yield [{"user": user}]
    seen = {item for item in seen if isinstance(item, int)}
    best = zip(answer["items"][0], answer["scores"][0], strict=True)
    fresh = [(item, score) for item, score in best if item not in seen][:count]
    return {"items": [{"id": item, "title": CATALOGUE["titles"][item], "score": score} for item, score in fresh]}


if __name__ == "__main__":
    asgi.run(HERE / "recommender.onnx", method="run", around=recommend, timeout=1.0, telemetry=Prometheus())
