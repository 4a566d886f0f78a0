"""Writes glowplug's own format for trees, which `src/trees/native.rs` reads: see decision 18."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from glowplug._core import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    Array = np.ndarray[Any, Any]

MARK = b"GLOWTREE"
VERSION = 1
#: Kinds of nodes.
LEAF, MISSING_LEFT, MISSING_RIGHT = 0, 1, 2
IN_SET = 6


@dataclass(frozen=True)
class Tree:
    """Arrays with an element for each node, the root first."""

    #: Children; -1 for both of a leaf. What is at most the threshold, or in the set, goes left.
    left: Array
    right: Array
    feature: Array
    #: Of no meaning for sets and leaves.
    threshold: Array
    kind: Array
    #: [nodes, width]; of no meaning for splits.
    value: Array
    #: How much of the training came to each node.
    cover: Array
    #: The categories of each node that is about a set.
    sets: dict[int, list[int]] = field(default_factory=dict)

    def order(self) -> Array:
        """Nodes in the order of the file: before a node's right child comes all that is left of it."""
        left, right = self.left.tolist(), self.right.tolist()
        order, open_nodes = [], [0]
        while open_nodes:
            node = open_nodes.pop()
            order.append(node)
            if left[node] >= 0:
                open_nodes += (right[node], left[node])
        return np.array(order)


@dataclass(frozen=True)
class Answer:
    """What becomes of the sums of a row."""

    link: str = "identity"
    link_factor: float = 1.0
    #: How the class is chosen: `largest`, or for one output `beyond` or `at_least` the bound. `none` for numbers.
    choice: str = "none"
    bound: float = 0.0
    chooses_by_sums: bool = False
    #: All `int`, or all `str`.
    labels: Sequence[int | str] | None = None
    #: Of the link `isolation`, which divides by its factor.
    link_offset: float = 0.0

    def head(self) -> dict[str, Any]:
        """What the file's head says of it."""
        are_texts = self.labels is not None and all(isinstance(label, str) for label in self.labels)
        # JSON's numbers are floats for many readers; as texts, whole numbers are what they are.
        labels = None if self.labels is None else [str(label) for label in self.labels]
        return {
            "link": self.link,
            "link_factor": self.link_factor,
            "link_offset": self.link_offset,
            "choice": self.choice,
            "bound": self.bound,
            "chooses_by_sums": self.chooses_by_sums,
            "int_labels": None if are_texts else labels,
            "text_labels": labels if are_texts else None,
        }


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a file is made of."""

    #: In the order in which their leaves are added. One whose leaves have one number adds to the next output, any other to all.
    trees: Sequence[Tree]
    answer: Answer
    #: Columns of a row, and their names.
    features: int
    feature_names: list[str] | None
    #: What the sums of the outputs begin with, and are divided by.
    start: Array
    divisor: int = 1
    #: Whether rows are float32, and not float64. Thresholds are rounded down to it: the same numbers are at most what is
    #: rounded.
    is_float32: bool
    #: Columns in which fractions and negative numbers are missing.
    whole_columns: Sequence[int] = ()
    #: Whether sums are rounded to float32 after each tree.
    adds_as_float32: bool = False
    #: What wrote the file, for people.
    producer: str


def encode(contents: Contents) -> bytes:
    """The file of some trees."""
    trees, is_float32 = contents.trees, contents.is_float32
    counts, kinds, columns, thresholds, leaves, covers, numbers = ([] for _ in range(7))
    sets: list[Array] = []
    for tree in trees:
        order = tree.order()
        kind = tree.kind[order]
        is_split, is_leaf = kind != LEAF, kind == LEAF
        counts.append(len(order))
        kinds.append(kind)
        columns.append(tree.feature[order][is_split])
        threshold = np.where(kind == IN_SET, 0.0, tree.threshold[order])[is_split]
        thresholds.append(round_down(threshold) if is_float32 else threshold)
        leaves.append(tree.value[order][is_leaf])
        covers.append(tree.cover[order])
        numbers.append((order[is_leaf], np.flatnonzero(is_leaf)))
        sets += [bits(tree.sets[node]) for node in order[kind == IN_SET].tolist()]
    width = trees[0].value.shape[1]
    in_order = all(np.array_equal(*pair) for pair in numbers)
    lists = [
        np.array(counts, "<u4"),
        np.concatenate(kinds).astype("u1"),
        np.concatenate(columns).astype("<u2" if contents.features <= 1 << 16 else "<u4"),
        shortest(np.concatenate(thresholds)),
        shortest(np.concatenate(leaves).ravel()),
        shortest(np.concatenate(covers)),
        *([] if in_order else [np.concatenate([number for number, _ in numbers]).astype("<u4")]),
        np.array([len(words) for words in sets], "<u4"),
        np.concatenate([np.zeros(0, "<u4"), *sets]),
    ]
    head = {
        "producer": f"glowplug {__version__}, {contents.producer}",
        "features": contents.features,
        "feature_names": contents.feature_names,
        "outputs": len(contents.start),
        "width": width,
        "trees": len(trees),
        "nodes": sum(counts),
        "splits": len(lists[3]),
        "sets": len(sets),
        "words": len(lists[-1]),
        "feature_bytes": lists[2].itemsize,
        "threshold_bytes": lists[3].itemsize,
        "leaf_bytes": lists[4].itemsize,
        "cover_bytes": lists[5].itemsize,
        "has_leaf_numbers": not in_order,
        "input": "float32" if is_float32 else "float64",
        "output": "float32" if contents.adds_as_float32 else "float64",
        "start": [float(number) for number in contents.start],
        "divisor": contents.divisor,
        "adds_as_float32": contents.adds_as_float32,
        "whole_columns": list(contents.whole_columns),
        "body": "trees",
    } | contents.answer.head()
    return with_head(head, b"".join(padded(one.tobytes(), b"\0") for one in lists))


def wrap(content: bytes, body: str, answer: Answer, producer: str) -> bytes:
    """Another library's file whose answers are classes with labels, which that library keeps elsewhere."""
    head = {"producer": f"glowplug {__version__}, {producer}", "body": body} | answer.head()
    return with_head(head, content)


def with_head(head: dict[str, Any], body: bytes) -> bytes:
    """The whole file."""
    text = padded(json.dumps(head, allow_nan=False, separators=(",", ":")).encode(), b" ")
    return MARK + struct.pack("<II", VERSION, len(text)) + text + body


def padded(content: bytes, by: bytes) -> bytes:
    """Filled up to a multiple of 8 bytes."""
    return content + by * (-len(content) % 8)


def round_down(numbers: Array) -> Array:
    """The largest float32 that is at most each number."""
    with np.errstate(over="ignore"):
        single = numbers.astype(np.float32)
    is_beyond = single > numbers
    single[is_beyond] = np.nextafter(single[is_beyond], np.float32(-np.inf))
    return single


def shortest(numbers: Array) -> Array:
    """As float32 if that is exact for all, else as float64."""
    with np.errstate(over="ignore"):
        single = numbers.astype("<f4")
    return single if np.array_equal(single, numbers, equal_nan=True) else numbers.astype("<f8")


def bits(members: list[int]) -> Array:
    """A bit for each whole number up to the largest."""
    words = np.zeros(max(members, default=0) // 32 + 1, "<u4")
    for member in members:
        words[member // 32] |= np.uint32(1 << member % 32)
    return words
