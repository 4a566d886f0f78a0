"""Broken files of tree libraries, and of glowplug itself: each kind of damage in each format.

The sound files are written by hand, each with a tree of three leaves, so that damage is where it is meant to be.
"""

from __future__ import annotations

import copy
import functools
import json
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from corpus.cases import MODEL, ROWS, UNSUPPORTED, content
from corpus.tabular import TREE, ml

if TYPE_CHECKING:
    from collections.abc import Callable

    from corpus.cases import Case

NAN = float("nan")
DEEP = 1_000_000

#: What can be wrong with a file, whatever its format.
KINDS = ("truncated", "counts", "cycle", "feature", "threshold", "size", "nesting")

# --- sound files, and others like them ------------------------------------------------------------------------


def lightgbm(**changes: str) -> bytes:
    """LightGBM's text with some lines changed."""
    head = {"max_feature_idx": "1", "num_tree_per_iteration": "1", "objective": "regression"}
    tree = {"num_leaves": "3", "split_feature": "0 1", "threshold": "0.5 1.5", "decision_type": "2 2"}
    tree |= {"left_child": "1 -1", "right_child": "-3 -2", "leaf_value": "1 2 3"}
    head, tree = ({key: changes.get(key, value) for key, value in lines.items()} for lines in (head, tree))
    lines = ["tree", *map("=".join, head.items()), "", "Tree=0", *map("=".join, tree.items()), "", "end of trees", ""]
    return "\n".join(lines).encode()


def dump(**changes: Any) -> bytes:
    """LightGBM's JSON whose first split, or whose head, is changed."""
    leaves = [{"leaf_index": at, "leaf_value": at + 1.0} for at in range(3)]
    kind = {"decision_type": "<=", "default_left": True, "missing_type": "None"}
    below: Any = {"split_index": 1, "split_feature": 1, "threshold": 1.5, **kind}
    root: Any = {"split_index": 0, "split_feature": 0, "threshold": 0.5, **kind}
    below |= {"left_child": leaves[0], "right_child": leaves[1]}
    root |= {"left_child": below, "right_child": leaves[2]}
    root |= {key: value for key, value in changes.items() if key in root}
    head = {"name": "tree", "max_feature_idx": 1, "num_tree_per_iteration": 1, "objective": "regression"}
    head |= {key: value for key, value in changes.items() if key in head}
    tree = {"num_leaves": changes.get("num_leaves", 3), "tree_structure": root}
    return json.dumps(head | {"tree_info": [tree]}).encode()


def xgboost(parameters: dict[str, str] | None = None, trees: int = 1, **changes: Any) -> dict[str, Any]:
    """What XGBoost writes as JSON or UBJSON, with some lists of the tree changed."""
    tree: dict[str, Any] = {
        "tree_param": {"num_nodes": "5", "size_leaf_vector": "1"},
        "left_children": [1, 3, -1, -1, -1],
        "right_children": [2, 4, -1, -1, -1],
        "split_indices": [0, 1, 0, 0, 0],
        "split_conditions": [0.5, 1.5, 3.0, 1.0, 2.0],
        "default_left": [0] * 5,
        "split_type": [0] * 5,
    }
    model = {"iteration_indptr": [0, 1], "tree_info": [0] * trees, "trees": [tree | changes]}
    model["gbtree_model_param"] = {"num_trees": "1", "num_parallel_tree": "1"}  # type: ignore[assignment]
    sizes = {"base_score": "0", "num_class": "0", "num_feature": "2", "num_target": "1"}
    learner = {
        "gradient_booster": {"name": "gbtree", "model": model},
        "learner_model_param": sizes | (parameters or {}),
        "objective": {"name": "reg:squarederror"},
    }
    return {"learner": learner, "version": [3, 0, 0]}


def xgboost_sets(trees: list[list[list[int]]]) -> bytes:
    """XGBoost's JSON of trees whose node 2 i splits column 0 by set i: members go right, to the next node."""
    made = []
    for sets in trees:
        inner, count = range(0, 2 * len(sets), 2), 2 * len(sets) + 1
        lists = {
            "left_children": [node + 1 if node in inner else -1 for node in range(count)],
            "right_children": [node + 2 if node in inner else -1 for node in range(count)],
            "split_indices": [0] * count,
            "split_conditions": list(range(count)),
            "default_left": [0] * count,
            "split_type": [int(node in inner) for node in range(count)],
            "categories": [category for one in sets for category in one],
            "categories_nodes": list(inner),
            "categories_segments": np.cumsum([0, *map(len, sets[:-1])]).tolist(),
            "categories_sizes": [*map(len, sets)],
        }
        made.append({"tree_param": {"num_nodes": str(count), "size_leaf_vector": "1"}} | lists)
    document = xgboost()
    model = document["learner"]["gradient_booster"]["model"]
    model |= {"iteration_indptr": list(range(len(made) + 1)), "tree_info": [0] * len(made), "trees": made}
    model["gbtree_model_param"]["num_trees"] = str(len(made))
    return json.dumps(document, separators=(",", ":")).encode()


def ubjson(value: Any) -> bytes:
    """A document as UBJSON, with lists of numbers as XGBoost writes them."""

    def text(string: str) -> bytes:
        return b"L" + struct.pack(">q", len(string)) + string.encode()

    if isinstance(value, dict):
        return b"{" + b"".join(text(key) + ubjson(one) for key, one in value.items()) + b"}"
    if isinstance(value, str):
        return b"S" + text(value)
    if value and all(isinstance(one, int | float) for one in value):
        dtype, kind = (">i4", b"l") if all(isinstance(one, int) for one in value) else (">f4", b"d")
        return b"[$" + kind + b"#L" + struct.pack(">q", len(value)) + np.array(value, dtype).tobytes()
    return b"[" + b"".join(ubjson(one) for one in value) + b"]"


def ubjson_lists(kind: bytes) -> bytes:
    """Lists in a list, each of as many elements that take no bytes as there may be: their square."""
    lists = b"".join(b"[$%c#l%s" % (kind, (8 * after).to_bytes(4, "big")) for after in range(19_999, -1, -1))
    return b"{L\0\0\0\0\0\0\0\x07learner[" + lists + b"]}"


def catboost(split: dict[str, Any] | None = None, **changes: Any) -> bytes:
    """CatBoost's JSON whose first split, or more, is changed."""
    splits: list[dict[str, Any]] = [
        {"split_type": "FloatFeature", "float_feature_index": at, "border": at + 0.5} for at in range(2)
    ]
    splits[0] |= split or {}
    features = [{"feature_index": at, "flat_feature_index": at} for at in range(2)]
    document: dict[str, Any] = {
        "features_info": {"float_features": features},
        "oblivious_trees": [{"splits": splits, "leaf_values": changes.pop("leaf_values", [1, 2, 3, 4])}],
        "scale_and_bias": [1, [0]],
    }
    return json.dumps(document | changes).encode()


def glow(body: bytes = b"", length: int | None = None, **head: Any) -> bytes:
    """A file of glowplug's own format whose head claims what it likes."""
    claims = dict.fromkeys(("trees", "nodes", "splits", "sets", "words", "cover_bytes", "has_leaf_numbers"), 0)
    claims |= {"features": 2, "outputs": 1, "width": 1, "feature_bytes": 2, "threshold_bytes": 4, "leaf_bytes": 4}
    claims |= {"divisor": 1, "adds_as_float32": 0}
    texts = {"body": "trees", "link": "identity", "choice": "none", "input": "float32", "output": "float64"}
    text = json.dumps(claims | texts | {"start": [0.0]} | head).encode()
    text += b" " * (-len(text) % 8)
    size = len(text) if length is None else length
    return b"GLOWTREE" + (1).to_bytes(4, "little") + size.to_bytes(4, "little") + text + body


def glow_tree(kinds: bytes = b"\1\1\0\0\0", threshold: float = 0.5, column: int = 0, **head: Any) -> bytes:
    """The tree in glowplug's own format."""
    lists = [struct.pack("<I", 5), kinds, struct.pack("<HH", column, 1), struct.pack("<ff", threshold, 1.5)]
    lists.append(struct.pack("<fff", 1, 2, 3))
    body = b"".join(part + bytes(-len(part) % 8) for part in lists)
    return glow(body, **{"trees": 1, "nodes": 5, "splits": 2, **head})


def onnx_tree(**changes: Any) -> bytes:
    """A tree of one split in an ONNX graph: 2 for what is beyond 0.5."""
    return ml("TreeEnsembleRegressor", **(copy.deepcopy(TREE) | changes))()


# --- each kind of damage in each format -----------------------------------------------------------------------

#: Either what is there, or why there cannot be such a thing. The first one is sound, with its answer.
Damaged = bytes | str
BIG = str(2**32 - 1)
LINKS = "nodes are inside of nodes, so that none can be its own ancestor"


def cut(whole: bytes) -> bytes:
    """The most of a file; what ends it is not all of it."""
    return whole[: len(whole) * 2 // 3]


def of_xgboost(write: Callable[[Any], bytes], nesting: bytes) -> dict[str, Damaged]:
    """The table of a format of XGBoost."""
    return {
        "sound": write(xgboost()),
        "truncated": cut(write(xgboost())),
        "counts": write(xgboost(trees=2)),
        "cycle": write(xgboost(left_children=[1, 0, -1, -1, -1])),
        "feature": write(xgboost(split_indices=[2, 1, 0, 0, 0])),
        "threshold": write(xgboost(split_conditions=[NAN, 1.5, 3.0, 1.0, 2.0])),
        "size": write(xgboost({"num_class": BIG})),
        "nesting": nesting,
    }


TABLES: dict[str, tuple[float, dict[str, Damaged]]] = {
    "lightgbm": (3.0, {
        "sound": lightgbm(),
        "truncated": cut(lightgbm()),
        "counts": lightgbm(num_leaves="4"),
        "cycle": lightgbm(left_child="1 0"),
        "feature": lightgbm(split_feature="0 2"),
        "threshold": lightgbm(threshold="nan 1.5"),
        "size": lightgbm(num_tree_per_iteration=BIG),
        "nesting": "lines have no depth",
    }),
    "lightgbm_json": (3.0, {
        "sound": dump(),
        "truncated": cut(dump()),
        "counts": dump(num_leaves=4),
        "cycle": LINKS,
        "feature": dump(split_feature=2),
        "threshold": dump(threshold=NAN),
        "size": dump(num_tree_per_iteration=2**32 - 1),
        "nesting": dump().split(b'{"split_index"')[0] + b'{"left_child":' * DEEP,
    }),
    "xgboost": (3.0, of_xgboost(lambda document: json.dumps(document).encode(), b'{"learner": ' + b'{"a":' * DEEP)),
    "xgboost_ubjson": (3.0, of_xgboost(ubjson, b"{L\0\0\0\0\0\0\0\x07learner" + b"[" * DEEP)),
    "catboost": (4.0, {
        "sound": catboost(),
        "truncated": cut(catboost()),
        "counts": catboost(leaf_values=[1, 2, 3]),
        "cycle": LINKS,
        "feature": catboost({"float_feature_index": 2}),
        "threshold": catboost({"border": NAN}),
        "size": catboost(scale_and_bias=[1, [0] * ((1 << 16) + 1)]),
        "nesting": b'{"features_info": ' + b'{"a": ' * DEEP,
    }),
    "glow": (3.0, {
        "sound": glow_tree(),
        "truncated": glow_tree()[:-8],
        "counts": glow_tree(nodes=7),
        "cycle": "nodes do not say where their children are",
        "feature": glow_tree(column=2),
        "threshold": glow_tree(threshold=NAN),
        "size": glow_tree(trees=2**31 - 1, nodes=2**32 - 1, splits=2**30),
        "nesting": glow_tree(start=json.loads("[" * 900 + "]" * 900)),
    }),
    "onnx_tree": (2.0, {
        "sound": onnx_tree(),
        "truncated": cut(onnx_tree()),
        "counts": onnx_tree(nodes_featureids=[0]),
        "cycle": onnx_tree(nodes_modes=["BRANCH_LEQ"] * 3, nodes_truenodeids=[1, 2, 0], nodes_falsenodeids=[1, 2, 0]),
        "feature": onnx_tree(nodes_featureids=[2_000_000_000, 0, 0]),
        "threshold": "a comparison with NaN is false to ONNX: the answer is that of the right child",
        "size": onnx_tree(n_targets=1 << 40),
        "nesting": "trees are lists; graphs within graphs are among the cases of protobuf",
    }),
}  # fmt: skip

# --- more of the same -----------------------------------------------------------------------------------------


def row(name: str, file: bytes | Callable[[], bytes], error: Any = MODEL, *mentions: str) -> Case:
    """A row about a file of trees, asked for the answer to a bare array."""
    return content(name, file, error, *mentions, inputs=ROWS)


def rows() -> list[Case]:
    """A row for each entry of the tables that can be."""
    made = []
    for name, (answer, table) in TABLES.items():
        sound = functools.partial(bytes, table["sound"])  # type: ignore[arg-type]
        shape = (2, 1) if name == "onnx_tree" else (2,)
        dtype = np.float32 if name.startswith(("xgboost", "onnx")) else np.float64
        made.append(replace(row(f"{name}_sound", sound, ()), answer=np.full(shape, answer, dtype)))
        errors = (MODEL, "EngineError", "OutOfMemoryError") if name == "onnx_tree" else MODEL
        made += [row(f"{name}_{kind}", table[kind], errors) for kind in KINDS if isinstance(table[kind], bytes)]
    return made


TREE_FILES = [
    *rows(),
    row("lightgbm_without_trees", lightgbm().split(b"\nTree=0")[0]),
    row("lightgbm_of_many_leaves", lightgbm(num_leaves="4000000000")),
    row("lightgbm_of_the_last_feature", lightgbm(max_feature_idx="2147483647"), None),
    row("lightgbm_linear_counts", lightgbm(num_leaves="1", leaf_value="1\nis_linear=1\nleaf_const=1\n"
        "num_features=18446744073709551615\nleaf_features=\nleaf_coeff="), MODEL, "linear leaves"),
    replace(row("lightgbm_infinite_threshold", lightgbm(threshold="inf 1.5"), ()), answer=np.full(2, 2.0)),
    row("lightgbm_infinite_leaf", lightgbm(leaf_value="1 inf 3"), MODEL, "finite"),
    row("lightgbm_json_skipped_deep", dump()[:-1] + b', "other": ' + b"[" * DEEP),
    row("lightgbm_json_large_set", dump(threshold="4294967295", decision_type="==")),
    row("lightgbm_json_leaf_numbers", dump().replace(b'"leaf_index": 2', b'"leaf_index": 4294967295')),
    row("catboost_many_splits", catboost(oblivious_trees=[{"leaf_values": [1], "splits": [
        {"split_type": "FloatFeature", "border": 1, "float_feature_index": 0}] * 1000}]), MODEL, "1000 splits"),
    row("catboost_far_feature", catboost(features_info={"float_features": [
        {"feature_index": 0, "flat_feature_index": 2**31 - 2}]}, oblivious_trees=[]), MODEL, "count the features"),
    row("catboost_without_features", catboost(features_info={}, oblivious_trees=[])),
    row("xgboost_elements_without_bytes", lambda: ubjson_lists(b"Z"), MODEL, "takes no bytes"),
    row("xgboost_truths_without_bytes", lambda: ubjson_lists(b"T"), MODEL, "takes no bytes"),
    row("xgboost_long_list", ubjson(xgboost()).replace(b"[$l#L" + struct.pack(">q", 5), b"[$l#L" + struct.pack(">q", 2**62))),
    row("xgboost_negative_list", ubjson(xgboost()).replace(b"[$l#L" + struct.pack(">q", 5), b"[$l#L" + struct.pack(">q", -5))),
    # Each of 50,000 categories would have a bit for each of 5,000 splits.
    replace(content("xgboost_large_and_small_sets", functools.partial(
        xgboost_sets, [[[*range(50_000)]]] + [[[category] for category in range(250)]] * 20), (),
        inputs=np.arange(512, dtype=np.float32)[:, None] * [7, 1]),
        answer=np.array([2 + 20 * 3] + [2 + 20] * 511, np.float32)),
    row("xgboost_wide_leaves", json.dumps(xgboost(tree_param={"size_leaf_vector": BIG})).encode()),
    row("xgboost_many_features", json.dumps(xgboost({"num_feature": "18446744073709551616"})).encode(), MODEL, "num_feature"),
    row("glow_cut", b"GLOWTREE", MODEL, "head"),
    row("glow_long_head", glow(length=2**32 - 8), MODEL, "head"),
    row("glow_version", b"GLOWTREE" + b"\x09" + bytes(100), UNSUPPORTED, "version 9"),
    row("glow_many_trees", glow(trees=2**31 - 1, nodes=2**31 - 1), MODEL, "2147483647 times 4"),
    row("glow_many_nodes", glow(trees=1, nodes=2**32 - 1, splits=2**31 - 1), MODEL, "expected"),
    row("glow_many_outputs", glow(outputs=2**31), MODEL, "outputs"),
    row("glow_empty_tree", glow(bytes(24), trees=1, nodes=1), MODEL, "not complete"),
    row("glow_open_tree", glow_tree(b"\1\1\1\0\0"), MODEL),
    row("glow_closed_tree", glow_tree(b"\0\1\1\0\0"), MODEL),
]  # fmt: skip
