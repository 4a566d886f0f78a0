"""Files of converted models that are damaged, or of another version, are errors, and never more than that."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from sklearn import tree

import glowplug
from glowplug.convert import from_sklearn
from test_convert import fitted, small


def content(**changes: Any) -> bytes:
    """A small model whose head is changed."""
    x, y = small()
    estimator = tree.DecisionTreeClassifier(max_leaf_nodes=4).fit(x, (y * 1 + (x[:, 1] > 0)))
    original = from_sklearn(estimator).content
    (length,) = struct.unpack_from("<I", original, 12)
    head = json.loads(original[16 : 16 + length])
    for name, value in changes.items():
        if value is None:
            del head[name]
        else:
            head[name] = value
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    return original[:12] + struct.pack("<I", len(text)) + text + original[16 + length :]


HEADS: list[tuple[dict[str, Any], str]] = [
    ({"features": 0}, "`features` is 0"),
    ({"features": 1}, "splits by column 1"),
    ({"features": 1e300}, "`features`"),
    ({"features": None}, "`features` is missing"),
    ({"features": "2"}, "no number"),
    ({"outputs": 4e9}, "`outputs` is 4000000000"),
    ({"outputs": 2}, "`width` is 3"),
    ({"width": 1}, "behind its lists"),
    ({"trees": 0}, "no binary tree"),
    ({"trees": 2**31}, "`trees`"),
    ({"nodes": 2**32 - 1}, "no binary tree"),
    ({"nodes": 2**32 - 1, "splits": 2**31 - 1}, "where 4294967295 times 1 are expected"),
    ({"splits": 2}, "no binary tree"),
    ({"sets": 2**31 - 1}, "times 4 are expected"),
    ({"words": 2**31 - 1}, "times 4 are expected"),
    ({"feature_bytes": 3}, "`feature_bytes` is 3"),
    ({"threshold_bytes": 2}, "`threshold_bytes` is 2"),
    ({"threshold_bytes": 8}, "expected"),
    ({"cover_bytes": 1}, "`cover_bytes` is 1"),
    ({"cover_bytes": 0}, "behind its lists"),
    ({"has_leaf_numbers": 2}, "`has_leaf_numbers`"),
    ({"input": "int8"}, '`input` is "int8"'),
    ({"link": "logit"}, '`link` is "logit"'),
    ({"link": "sigmoid", "link_factor": "x"}, "`link_factor`"),
    ({"link": "isolation", "link_offset": None}, "`link_offset`"),
    ({"link": "isolation", "link_factor": 0}, "expected more than 0"),
    ({"start": [0, 0]}, "`start` is not 3"),
    ({"start": [0, 0, float("nan")]}, "`start` is not 3"),
    ({"divisor": 0}, "`divisor` is 0"),
    ({"whole_columns": [2]}, "`whole_columns` has 2"),
    ({"whole_columns": [-1]}, "`whole_columns` has -1"),
    ({"choice": "random"}, '`choice` is "random"'),
    ({"choice": "beyond"}, "do not fit"),
    ({"int_labels": ["0", "1"]}, "2 labels of classes and 3 outputs"),
    ({"int_labels": ["0", "1", "x"]}, '`int_labels` has "x"'),
    ({"text_labels": ["0", "1", "x"]}, "two kinds"),
    ({"feature_names": 7}, "`feature_names`"),
    ({"feature_names": [[]]}, "`feature_names`"),
    ({"body": "pickle"}, 'kind "pickle"'),
    ({"body": "lightgbm"}, "LightGBM"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "words"), HEADS)
def test_broken_heads_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(glowplug.ModelError, match=words):
        glowplug.load(content(**changes))


def test_other_versions_are_named() -> None:
    original = content()
    assert glowplug.load(original).classes == [0, 1, 2]
    newer = original[:8] + struct.pack("<I", 2) + original[12:]
    with pytest.raises(glowplug.UnsupportedModelError, match="has version 2 of glowplug's own format, expected 1"):
        glowplug.load(newer)
    for length, words in ((2**32 - 1, "multiple of 8"), (2**32 - 8, "within its head"), (0, "not a valid model")):
        with pytest.raises(glowplug.ModelError, match=words):
            glowplug.load(original[:12] + struct.pack("<I", length) + original[16:])


def lists_of(original: bytes) -> int:
    (length,) = struct.unpack_from("<I", original, 12)
    return 16 + length


@pytest.mark.parametrize(
    ("at", "byte", "words"),
    [
        (0, 6, "complete"),
        (0, 8, "beyond the lists"),
        (0, 0, "not complete"),
        (8, 0, "beyond the lists"),
        (8, 200, "kind 200"),
        (8, 6, "beyond the sets"),
        (16, 9, "column 9"),
    ],
)
def test_broken_nodes_are_refused(at: int, byte: int, words: str) -> None:
    broken = bytearray(content())
    broken[lists_of(bytes(broken)) + at] = byte
    with pytest.raises(glowplug.ModelError, match=words):
        glowplug.load(bytes(broken))


def test_every_truncation_is_an_error_and_damage_is_bounded() -> None:
    original = from_sklearn(fitted(4)[0]).content
    for length in range(8, len(original), max(1, len(original) // 200)):
        with pytest.raises(glowplug.ModelError):
            glowplug.load(original[:length])
    with pytest.raises(glowplug.ModelError, match="behind its lists"):
        glowplug.load(original + b"\0" * 8)
    random, refused = np.random.default_rng(0), 0
    for _ in range(400):
        damaged = bytearray(original)
        for at in random.integers(16, len(original), size=3).tolist():
            damaged[at] = int(random.integers(256))
        try:
            model = glowplug.load(bytes(damaged))
        except glowplug.ModelError:
            refused += 1
            continue
        model.predict(np.zeros((3, model.inputs[0].shape[1])))
    assert 50 < refused < 400
