"""Broken models and broken inputs, and what each of them must come to.

A row is a `Case`. Everything is built in code; random damage comes from fixed seeds. `test_broken.py` runs
each row in a child process.
"""

from __future__ import annotations

import functools
import gzip
import io
import json
import os
import pickle
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import FunctionProto, ModelProto, SparseTensorProto, TensorProto, helper

import models

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from onnx import NodeProto, ValueInfoProto

MICROSOFT = "com.microsoft"
KINDS = {"float64": "float32"}
ROWS = np.array([[1, 2], [3, 4]], dtype=np.float32)
# What most rows feed: most models here have one input `x`, float32 [N, 2].
X = {"x": ROWS}

MODEL = "ModelError"
UNSUPPORTED = "UnsupportedModelError"
NOT_FOUND = "ModelNotFoundError"
READ = "ModelReadError"
INPUT = "InputError"
INPUT_TYPE = "InputTypeError"
OPTION = "OptionError"
OPTION_TYPE = "OptionTypeError"
ENGINE = "EngineError"
MEMORY = "OutOfMemoryError"
# Faults that one engine sees in the graph when it loads it and another when it computes.
LATE = (MODEL, ENGINE)
GREEDY = (MODEL, ENGINE, MEMORY)


@dataclass(frozen=True)
class Case:
    """One row: `make` writes files into a folder and returns the source and the inputs.

    Inputs that no file can hold come as a `functools.partial`, which the child calls.
    """

    name: str
    make: Callable[[Path], tuple[Any, Any]]
    # Name of the exception class, or several where each can be defended; None where a right answer is as good
    # as a clear error; empty where only a right answer will do.
    error: str | tuple[str, ...] | None
    mentions: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    outputs: Sequence[Any] | None = None
    # What an answer must be; where None, an answer must be the one that ONNX Runtime's own package gives.
    answer: Any = None
    skip: str | None = None
    # Why the engine ends the process here and nothing of ours can keep it from that.
    engine_fault: str | None = None


def content(name: str, build: Callable[[], bytes] | bytes, error: Any = MODEL, *mentions: str, inputs: Any = X) -> Case:
    """A row whose model is a file `model.onnx` of the given content."""

    def make(folder: Path) -> tuple[str, Any]:
        path = folder / "model.onnx"
        path.write_bytes(build if isinstance(build, bytes) else build())
        return str(path), inputs

    return Case(name, make, error, mentions)


def source(name: str, prepare: Callable[[Path], Any], error: Any, *mentions: str, skip: str | None = None) -> Case:
    """A row about where the model lies: `prepare` gets the folder and returns the source."""
    return Case(name, lambda folder: (prepare(folder), X), error, mentions, skip=skip)


def small(
    *nodes: NodeProto,
    weights: Sequence[TensorProto] = (),
    inputs: Sequence[ValueInfoProto] | None = None,
    outputs: Sequence[ValueInfoProto] | None = None,
    gives: str = "float32",
    **more: Any,
) -> bytes:
    """A model of `nodes` from `x` float32 [N, 2] to `y` of any rank and the dtype it `gives`, unchecked."""
    given = [models.value("x", shape=("N", 2))] if inputs is None else inputs
    wanted = [models.value("y", gives, None)] if outputs is None else outputs
    return models.model_bytes(models.graph(nodes, given, wanted, weights), **more)


def node(operator: str, inputs: str = "x", outputs: str = "y", **attributes: Any) -> NodeProto:
    """A node; names are given separated by spaces."""
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def over(
    *nodes: NodeProto, gives: str = "float32", domain: str | None = None, version: int = 1, **weights: Any
) -> Callable[[], bytes]:
    """A builder: `nodes` over `x` and constants; whole numbers become int64, others float32."""
    arrays = {name: np.asarray(numbers) for name, numbers in weights.items()}
    made = [models.constant(name, array, KINDS.get(array.dtype.name)) for name, array in arrays.items()]
    domains = {} if domain is None else {domain: version}
    return lambda: small(*nodes, weights=made, gives=gives, domains=domains)


def damaged(change: Callable[[ModelProto], object]) -> Callable[[], bytes]:
    """A builder: a sound model of two layers with `change` done to it."""

    def build() -> bytes:
        proto = ModelProto.FromString(models.mlp(2, 3))
        change(proto)
        return bytes(proto.SerializeToString())

    return build


# --- where the model lies -----------------------------------------------------------------------------------


def pipe(folder: Path) -> str:
    """A pipe that nobody writes to: opening it for reading would wait for ever."""
    os.mkfifo(folder / "pipe.onnx")
    return str(folder / "pipe.onnx")


def loop(folder: Path) -> str:
    """A link to itself."""
    (folder / "loop.onnx").symlink_to("loop.onnx")
    return str(folder / "loop.onnx")


def dangling(folder: Path) -> str:
    """A link to nothing."""
    (folder / "link.onnx").symlink_to("gone.onnx")
    return str(folder / "link.onnx")


def through_a_file(folder: Path) -> str:
    """A path that goes on behind a file."""
    (folder / "model.onnx").write_bytes(models.mlp(2, 3))
    return str(folder / "model.onnx" / "inner.onnx")


def no_permission(folder: Path) -> str:
    """A file that only root may read."""
    path = folder / "secret.onnx"
    path.write_bytes(models.mlp(2, 3))
    path.chmod(0)
    return str(path)


def damaged_under(name: str) -> Callable[[Path], str]:
    """A damaged model under a file name that is itself a trial."""

    def prepare(folder: Path) -> str:
        (folder / name).write_bytes(models.mlp(2, 3)[:-5])
        return str(folder / name)

    return prepare


SOURCES = [
    source("missing_file", lambda folder: str(folder / "absent.onnx"), NOT_FOUND, "absent.onnx"),
    source("missing_file_as_path", lambda folder: folder / "absent.onnx", NOT_FOUND, "absent.onnx"),
    source(
        "missing_folder",
        lambda folder: str(folder / "no" / "such" / "model.onnx"),
        NOT_FOUND,
        "such/model.onnx",
    ),
    source("missing_unicode_name", lambda folder: str(folder / "модель ü.onnx"), NOT_FOUND, "модель ü.onnx"),
    source("missing_name_not_utf8", lambda folder: str(folder / "\udcff.onnx"), (NOT_FOUND, READ), ".onnx"),
    source("empty_path", lambda _: "", (NOT_FOUND, READ, OPTION)),
    source("folder_as_path", str, READ, "folder_as_path"),
    source("pipe_as_path", pipe, READ, "pipe.onnx"),
    source("dev_null", lambda _: "/dev/null", (READ, MODEL), "/dev/null"),
    source("dev_zero", lambda _: "/dev/zero", READ, "/dev/zero"),
    source("dev_full", lambda _: "/dev/full", READ, "/dev/full"),
    source("proc_without_size", lambda _: "/proc/self/maps", (READ, MODEL), "/proc/self/maps"),
    source("link_to_itself", loop, READ, "loop.onnx"),
    source("link_to_nothing", dangling, NOT_FOUND, "link.onnx"),
    source("path_through_a_file", through_a_file, (NOT_FOUND, READ), "inner.onnx"),
    source(
        "no_permission",
        no_permission,
        READ,
        "secret.onnx",
        skip="root may read everything" if os.geteuid() == 0 else None,
    ),
    source("name_too_long", lambda folder: str(folder / ("n" * 300 + ".onnx")), (READ, NOT_FOUND), "nnnnn"),
    source("path_too_long", lambda folder: str(folder / ("d/" * 3000) / "m.onnx"), (READ, NOT_FOUND)),
    source("nul_in_path", lambda folder: f"{folder}/mod\0el.onnx", (NOT_FOUND, READ, OPTION)),
    source("damaged_unicode_name", damaged_under("模型 ü 🙂.onnx"), MODEL, "模型 ü 🙂.onnx"),
    source("damaged_name_not_utf8", damaged_under("\udcff.onnx"), MODEL, ".onnx"),
    source("damaged_name_with_line_break", damaged_under("a\nb.onnx"), MODEL, "b.onnx"),
    source("damaged_name_with_braces", damaged_under("{0} %s {x!r}.onnx"), MODEL, "{0} %s {x!r}.onnx"),
    source("bytes_empty", lambda _: b"", MODEL),
    source("bytes_text", lambda _: b"this is no model", MODEL),
    source("bytes_truncated", lambda _: models.mlp()[:-100], MODEL),
]


# --- files that are something else --------------------------------------------------------------------------

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00"
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"5f" * 32 + b"\nsize 8123456\n"
HTML = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body>nothing here</body></html>\n"


def zipped() -> bytes:
    """A ZIP archive with the model inside."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model.onnx", models.mlp(2, 3))
    return buffer.getvalue()


def conflict() -> bytes:
    """What Git leaves behind when two versions of a pointer file collide."""
    other = LFS_POINTER.replace(b"5f", b"6a")
    return b"<<<<<<< HEAD\n" + LFS_POINTER + b"=======\n" + other + b">>>>>>> feature\n"


def saved_array() -> bytes:
    """An array written with `numpy.save`."""
    buffer = io.BytesIO()
    np.save(buffer, ROWS)
    return buffer.getvalue()


LOOKALIKES = [
    content("empty_file", b"", MODEL, "empty"),
    content("text_file", b"epoch 1 loss 0.3\nepoch 2 loss 0.2\n"),
    content("html_page", HTML),
    content("html_page_after_blank_lines", b"\n\n  " + HTML.lower()),
    content("json_file", json.dumps({"error": "not authorised"}).encode()),
    content("png_picture", PNG),
    content("zip_archive", zipped),
    content("gzip_of_a_model", lambda: gzip.compress(models.mlp(2, 3))),
    content("zstd_header", b"\x28\xb5\x2f\xfd" + bytes(40)),
    content("pickle_file", lambda: pickle.dumps({"weights": [1.0, 2.0]})),
    content("numpy_file", saved_array),
    content("hdf5_header", b"\x89HDF\r\n\x1a\n" + bytes(96)),
    content("elf_header", b"\x7fELF\x02\x01\x01" + bytes(57)),
    content("ort_format_header", b"\x18\x00\x00\x00ORTM" + bytes(56)),
    content("ort_format_garbage", lambda: b"\x18\x00\x00\x00ORTM" + np.random.default_rng(3).bytes(4000)),
    content("git_lfs_pointer", LFS_POINTER, MODEL, "git lfs pull"),
    content("git_conflict", conflict, MODEL, "conflict"),
    content("one_zero_byte", b"\x00"),
    content("zeros", bytes(4096)),
    content("ones", b"\xff" * 4096),
    content("noise", lambda: np.random.default_rng(5).bytes(4096)),
]


# --- own files of tree libraries ---------------------------------------------------------------------------

LIGHTGBM = b"tree\nmax_feature_idx=%d\nnum_tree_per_iteration=1\nobjective=regression\n\nTree=0\n"
DUMP = b'{"name": "tree", "max_feature_idx": 1, "num_tree_per_iteration": 1, "tree_info": [{"tree_structure": %s}]}'
CATBOOST = b'{"features_info": %s, "oblivious_trees": [%s], "scale_and_bias": [1, [0]]}'
FLOATS = b'{"float_features": [{"feature_index": 0, "flat_feature_index": 0}]}'


def ubjson_lists(kind: bytes) -> bytes:
    """Lists in a list, each of as many elements that take no bytes as there may be: their square."""
    lists = b"".join(b"[$%c#l%s" % (kind, (8 * after).to_bytes(4, "big")) for after in range(19_999, -1, -1))
    return b"{L\0\0\0\0\0\0\0\x07learner[" + lists + b"]}"


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


TREE_FILES = [
    content("lightgbm_without_trees", LIGHTGBM % 1),
    content("lightgbm_of_many_leaves", LIGHTGBM % 1 + b"num_leaves=4000000000\nleaf_value=1\nend of trees\n"),
    content("lightgbm_child_cycle", LIGHTGBM % 1 + b"num_leaves=2\nleaf_value=1 2\nsplit_feature=0\nthreshold=0\n"
            b"decision_type=2\nleft_child=0\nright_child=-1\nend of trees\n", MODEL, "node"),
    content("lightgbm_linear_counts", LIGHTGBM % 1 + b"num_leaves=1\nleaf_value=1\nis_linear=1\nleaf_const=1\n"
            b"num_features=18446744073709551615\nleaf_features=\nleaf_coeff=\nend of trees\n", MODEL, "linear leaves"),
    content("lightgbm_json_deep", DUMP.split(b"%s")[0] + b'{"left_child":' * 1_000_000, MODEL, "deeper"),
    content("lightgbm_json_skipped_deep", DUMP % (b'{"other": ' + b"[" * 1_000_000), MODEL),
    content("lightgbm_json_large_set", DUMP % b'{"threshold": "4294967295", "decision_type": "==", "split_index": 0}'),
    content("lightgbm_json_leaf_numbers", DUMP % b'{"leaf_value": 1, "leaf_index": 4294967295}', MODEL),
    content("catboost_deep", b'{"features_info": ' + b'{"a": ' * 1_000_000, MODEL, "deeper"),
    content("catboost_many_splits", CATBOOST % (FLOATS, b'{"leaf_values": [1], "splits": [%s]}' % b",".join(
        [b'{"split_type": "FloatFeature", "border": 1, "float_feature_index": 0}'] * 1000)), MODEL, "1000 splits"),
    content("catboost_far_feature", CATBOOST % (FLOATS.replace(b'flat_feature_index": 0', b'flat_feature_index": 2147483646'),
            b""), MODEL, "count the features"),
    content("catboost_without_features", CATBOOST % (b"{}", b""), MODEL),
    content("xgboost_elements_without_bytes", lambda: ubjson_lists(b"Z"), MODEL, "takes no bytes"),
    content("xgboost_truths_without_bytes", lambda: ubjson_lists(b"T"), MODEL, "takes no bytes"),
    content("glow_cut", b"GLOWTREE", MODEL, "head"),
    content("glow_long_head", glow(length=2**32 - 8), MODEL, "head"),
    content("glow_version", b"GLOWTREE" + b"\x09" + bytes(100), UNSUPPORTED, "version 9"),
    content("glow_many_trees", glow(trees=2**31 - 1, nodes=2**31 - 1), MODEL, "2147483647 times 4"),
    content("glow_many_nodes", glow(trees=1, nodes=2**32 - 1, splits=2**31 - 1), MODEL, "expected"),
    content("glow_many_outputs", glow(outputs=2**31), MODEL, "outputs"),
    content("glow_empty_tree", glow(bytes(24), trees=1, nodes=1), MODEL, "not complete"),
    content("glow_open_tree", glow((1).to_bytes(8, "little") + b"\x01" + bytes(15), trees=1, nodes=1), MODEL),
    content("glow_deep_head", glow(start=json.loads("[" * 900 + "]" * 900)), MODEL, "deeper"),
]  # fmt: skip


# --- damage in transit --------------------------------------------------------------------------------------


def truncated(fraction: float) -> bytes:
    """The first part of a model."""
    whole = models.mlp()
    return whole[: int(len(whole) * fraction)]


def flipped(seed: int) -> bytes:
    """A small model, in which most bytes are structure, with one bit turned over."""
    random = np.random.default_rng(seed)
    damaged_bytes = bytearray(models.mlp(2, 3))
    damaged_bytes[int(random.integers(len(damaged_bytes)))] ^= 1 << int(random.integers(8))
    return bytes(damaged_bytes)


def cut_out(seed: int) -> bytes:
    """A small model that lost one byte."""
    whole = models.mlp(2, 3)
    place = int(np.random.default_rng(seed).integers(len(whole)))
    return whole[:place] + whole[place + 1 :]


PERCENTS = (0.1, 1, 5, 10, 25, 50, 75, 90, 99, 99.9)
DAMAGE = [
    *(content(f"truncated_at_{percent}_percent", functools.partial(truncated, percent / 100)) for percent in PERCENTS),
    content("truncated_by_one_byte", lambda: models.mlp()[:-1]),
    content("garbage_behind", lambda: models.mlp(2, 3) + b"\xff" * 8),
    content("zeros_behind", lambda: models.mlp(2, 3) + bytes(8)),
    # Protobuf merges messages that follow each other, so this is one model whose names all come twice.
    content("model_twice", lambda: models.mlp(2, 3) * 2),
    content("line_ends_converted", lambda: models.mlp().replace(b"\n", b"\r\n")),
    content("decoded_as_text", lambda: models.mlp().decode("utf-8", "replace").encode()),
    *(content(f"bits_flipped_{seed}", functools.partial(flipped, seed), None) for seed in range(24)),
    *(content(f"byte_lost_{seed}", functools.partial(cut_out, seed), None) for seed in range(6)),
]


# --- protobuf that lies -------------------------------------------------------------------------------------


def varint(number: int) -> bytes:
    """Protobuf's variable-length integer."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def part(number: int, payload: bytes, length: int | None = None) -> bytes:
    """A length-delimited protobuf field, whose length may lie."""
    return varint(number << 3 | 2) + varint(len(payload) if length is None else length) + payload


HEAD = b"\x08\x08" + part(8, b"\x10\x11")  # IR version 8, operator set 17
GRAPH, NODE, ATTRIBUTE, SUBGRAPH = 7, 1, 5, 6


def nested(levels: int) -> bytes:
    """`If` inside `If` inside `If`, written by hand because protobuf's own writers refuse it."""
    body = part(NODE, part(1, b"x") + part(2, b"y") + part(4, b"Identity"))
    for _ in range(levels):
        branch = part(1, b"then_branch") + part(SUBGRAPH, body) + b"\xa0\x01\x05"
        body = part(NODE, part(1, b"x") + part(2, b"y") + part(4, b"If") + part(ATTRIBUTE, branch))
    return HEAD + part(GRAPH, body)


def many_inputs(count: int) -> bytes:
    """A product that a node takes over and over again."""
    weights = models.constant("w", np.ones((2, 1)), "float32")
    return small(node("MatMul", "x w", "a"), node("Concat", "a " * count, axis=1), weights=[weights])


WIRE = [
    content("varint_without_end", HEAD + part(2, b"tests") + b"\x28" + b"\xff" * 11),
    content("varint_key_without_end", HEAD + b"\xff" * 12),
    content("length_past_end", HEAD + part(GRAPH, b"\x0a\x00", 1 << 20)),
    content("length_two_gibibytes", HEAD + part(GRAPH, b"\x0a\x00", 1 << 31)),
    content("length_overflows", HEAD + part(GRAPH, b"\x0a\x00", (1 << 64) - 1)),
    content("inner_length_past_outer", HEAD + part(GRAPH, part(NODE, b"\x22\x7fAdd"))),
    content("field_number_zero", HEAD + b"\x02\x01\x00"),
    content("wire_type_seven", HEAD + b"\x3f\x00"),
    content("group_without_end", HEAD + b"\x3b"),
    content("group_end_alone", HEAD + b"\x3c"),
    content("groups_nested", HEAD + b"\x3b" * 100_000),
    content("graph_is_a_number", HEAD + b"\x38\x01"),
    content("subgraphs_nested_40", lambda: nested(40)),
    content("subgraphs_nested_2000", lambda: nested(2000)),
    content("subgraphs_nested_20000", lambda: nested(20_000)),
    content("inputs_of_one_node", lambda: many_inputs(250_000), None),
    content("name_not_utf8", lambda: models.mlp(2, 3).replace(b"activation", b"activat\xff\xfe\xfd"), None),
    content(
        "input_name_not_utf8",
        lambda: small(node("Neg", "xxx"), inputs=[models.value("xxx", shape=("N", 2))]).replace(b"xxx", b"x\xff\xfe"),
        (MODEL, INPUT),
    ),
    content(
        "input_name_with_nul",
        lambda: small(node("Neg", "xxx"), inputs=[models.value("xxx", shape=("N", 2))]).replace(b"xxx", b"x\x00x"),
        (MODEL, INPUT, ENGINE),
    ),
]


# --- tensors that lie ---------------------------------------------------------------------------------------


def tensor(dims: Sequence[int], raw: bytes | None = None, kind: int = TensorProto.FLOAT, **fields: Any) -> TensorProto:
    """The initializer `w`, with nothing checked."""
    made = TensorProto(name="w", dims=dims, data_type=kind, **fields)
    if raw is not None:
        made.raw_data = raw
    return made


def adding(weight: TensorProto) -> Callable[[], bytes]:
    """A builder: `y` is `x` + `weight`."""
    return lambda: small(node("Add", "x w"), weights=[weight])


def echoing(weight: TensorProto, gives: str = "float32") -> Callable[[], bytes]:
    """A builder: `y` is `weight`, so that no other shape contradicts what it claims to be."""
    return lambda: small(node("Neg", "x", "unused"), node("Identity", "w"), weights=[weight], gives=gives)


def sparse(
    dims: Sequence[int], indices: Sequence[int], values: Sequence[float], **index_fields: Any
) -> Callable[[], bytes]:
    """A builder: `y` is `x` @ a sparse initializer."""

    def build() -> bytes:
        made = SparseTensorProto(
            values=models.constant("w", values, "float32"),
            indices=models.constant("", indices, "int64"),
            dims=dims,
        )
        for name, number in index_fields.items():
            setattr(made.indices, name, number)
        proto = ModelProto.FromString(small(node("MatMul", "x w")))
        proto.graph.sparse_initializer.append(made)
        return bytes(proto.SerializeToString())

    return build


def shaped(*dims: int) -> Callable[[], bytes]:
    """A builder: the input `x` is declared with these dimensions."""
    return lambda: small(node("Neg"), inputs=[models.value("x", shape=dims)])


AS_INTEGERS = node("Cast", "x", "i", to=TensorProto.INT64)
F2 = np.ones(2, dtype=np.float32).tobytes()
TENSORS = [
    content("dims_negative", echoing(tensor([-2], F2))),
    content("dims_huge", echoing(tensor([1 << 62], F2))),
    content("dims_contradict_graph", adding(tensor([1 << 62], F2))),
    content("dims_product_overflows", echoing(tensor([1 << 32, 1 << 32], b""))),
    content("dims_product_overflows_to_right_size", echoing(tensor([1 << 62, 2, 2, 2], b""))),
    content("dims_bytes_overflow", echoing(tensor([1 << 62], b""))),
    content("dims_tebi_elements_in_four_bytes", echoing(tensor([1 << 40], F2[:4]))),
    content("dims_tebi_elements_in_no_bytes", echoing(tensor([1 << 40]))),
    content("dims_zero_times_huge", echoing(tensor([0, 1 << 62], b"")), None),
    content("dims_zero_with_data", echoing(tensor([0], F2)), None),
    content("dims_many", echoing(tensor([1] * 10_000, F2[:4])), None),
    content("raw_data_short", echoing(tensor([2], F2[:4]))),
    content("raw_data_long", echoing(tensor([2], F2 * 2))),
    content("raw_data_odd", echoing(tensor([2], F2[:7]))),
    content("raw_data_missing", echoing(tensor([2]))),
    content("float_data_short", echoing(tensor([2], float_data=[1.0]))),
    content("float_data_long", echoing(tensor([2], float_data=[1.0, 2.0, 3.0])), None),
    content("data_in_wrong_field", echoing(tensor([2], int64_data=[1, 2]))),
    content("data_twice", echoing(tensor([2], F2, float_data=[1.0, 2.0])), None),
    content("strings_short", echoing(tensor([3], kind=8, string_data=[b"a"]), "string")),
    content("strings_in_raw_data", echoing(tensor([1], b"abcd", 8), "string")),
    content("strings_not_utf8", echoing(tensor([1], kind=8, string_data=[b"\xff"]), "string"), None),
    content("strings_tebi", echoing(tensor([1 << 40], kind=8, string_data=[b"a"]), "string"), GREEDY),
    content("element_type_undefined", echoing(tensor([2], F2, 0))),
    content("element_type_unknown", echoing(tensor([2], F2, 999))),
    content("sparse_index_past_end", sparse([2, 2], [0, 9], [1, 2])),
    content("sparse_index_negative", sparse([2, 2], [-5, 1], [1, 2])),
    content("sparse_index_huge", sparse([2, 2], [0, 1 << 60], [1, 2])),
    content("sparse_fewer_indices", sparse([2, 2], [0], [1, 2])),
    content("sparse_dims_huge", sparse([1 << 31, 1 << 31], [0, 3], [1, 2])),
    content("sparse_dims_negative", sparse([-2, 2], [0, 3], [1, 2])),
    content("sparse_dims_missing", sparse([], [0, 3], [1, 2])),
    content("sparse_indices_of_float", sparse([2, 2], [0, 3], [1, 2], data_type=TensorProto.FLOAT)),
    content("input_dim_negative", shaped(-5, 2), None),
    content("input_dim_huge", shaped(1 << 62, 2), (MODEL, INPUT)),
    content("input_dims_overflow", shaped(1 << 32, 1 << 32), (MODEL, INPUT)),
]


# --- graphs that make no sense ------------------------------------------------------------------------------


def branches(then: Sequence[NodeProto], otherwise: Sequence[NodeProto]) -> bytes:
    """An `If` on a constant condition."""
    wanted = [models.value("inner", shape=None)]
    chosen = models.constant("chosen", True, "bool")
    bodies = {
        "then_branch": models.graph(then, [], wanted),
        "else_branch": models.graph(otherwise, [], wanted),
    }
    return small(node("If", "chosen", **bodies), weights=[chosen])


def calling_functions(**bodies: str) -> Callable[[], bytes]:
    """A builder: model-local functions, each calling the one that is named, starting with `first`."""

    def build() -> bytes:
        proto = ModelProto.FromString(small(node("first", domain="local"), domains={"local": 1}))
        for name, callee in bodies.items():
            function = FunctionProto(name=name, domain="local", input=["x"], output=["y"])
            function.opset_import.extend([helper.make_opsetid("", models.OPSET), helper.make_opsetid("local", 1)])
            domain = "" if callee[0].isupper() else "local"
            function.node.append(node(callee, domain=domain))
            proto.functions.append(function)
        return bytes(proto.SerializeToString())

    return build


def alpha_twice(proto: ModelProto) -> None:
    """Two values of one attribute."""
    proto.graph.node[0].attribute.extend(helper.make_attribute("alpha", number) for number in (1.0, 2.0))


def with_opset(version: int) -> Callable[[], bytes]:
    """A builder: the model asks for this version of the standard operators."""
    return damaged(lambda proto: setattr(proto.opset_import[0], "version", version))


def fix_model_fields() -> list[Case]:
    """Models with one field of the outermost message wrong."""
    return [
        content("opset_999", with_opset(999), UNSUPPORTED, "999"),
        content("opset_0", with_opset(0)),
        content("opset_negative", with_opset(-7)),
        content("opset_missing", damaged(lambda proto: proto.ClearField("opset_import"))),
        content(
            "opset_of_other_domain_only",
            damaged(lambda proto: setattr(proto.opset_import[0], "domain", "ai.onnx.ml")),
        ),
        content("ir_version_999", damaged(lambda proto: setattr(proto, "ir_version", 999)), UNSUPPORTED, "999"),
        content("ir_version_0", damaged(lambda proto: setattr(proto, "ir_version", 0)), None),
        content("ir_version_negative", damaged(lambda proto: setattr(proto, "ir_version", -1)), None),
        content("ir_version_missing", damaged(lambda proto: proto.ClearField("ir_version"))),
        content("graph_missing", damaged(lambda proto: proto.ClearField("graph"))),
        content("graph_empty", damaged(lambda proto: proto.graph.Clear())),
        content("outputs_missing", damaged(lambda proto: proto.graph.ClearField("output"))),
        content("nodes_missing", damaged(lambda proto: proto.graph.ClearField("node"))),
        content("inputs_missing", damaged(lambda proto: proto.graph.ClearField("input"))),
        content("initializers_missing", damaged(lambda proto: proto.graph.ClearField("initializer"))),
        content("input_twice", damaged(lambda proto: proto.graph.input.append(proto.graph.input[0]))),
        content("output_twice", damaged(lambda proto: proto.graph.output.append(proto.graph.output[0])), None),
        content(
            "initializer_twice",
            damaged(lambda proto: proto.graph.initializer.append(proto.graph.initializer[0])),
            None,
        ),
        content("node_twice", damaged(lambda proto: proto.graph.node.append(proto.graph.node[0]))),
        content("input_without_type", damaged(lambda proto: proto.graph.input[0].ClearField("type"))),
        content("output_without_type", damaged(lambda proto: proto.graph.output[0].ClearField("type")), None),
        content("input_without_name", damaged(lambda proto: setattr(proto.graph.input[0], "name", ""))),
        content("output_without_name", damaged(lambda proto: setattr(proto.graph.output[0], "name", ""))),
        content("output_of_wrong_type", lambda: small(node("Neg"), outputs=[models.value("y", "int64", ("N", 2))])),
        content("output_nobody_makes", lambda: small(node("Neg"), outputs=[models.value("z")])),
    ]


GRAPHS = [
    *fix_model_fields(),
    content("operator_unknown", over(node("Frobnicate")), UNSUPPORTED, "Frobnicate"),
    content("operator_empty", over(node(""))),
    content("operator_newer_than_opset", over(node("Gelu")), (UNSUPPORTED, MODEL), "Gelu"),
    content(
        "operator_of_other_engine",
        over(node("Nope", domain=MICROSOFT), domain=MICROSOFT),
        UNSUPPORTED,
        "Nope",
    ),
    content("domain_unknown", over(node("Neg", domain="org.acme"), domain="org.acme"), UNSUPPORTED, "org.acme"),
    content("domain_not_imported", over(node("Scaler", domain=models.ML_DOMAIN))),
    content(
        "domain_of_the_future",
        over(node("Neg"), domain=models.ML_DOMAIN, version=999),
        (UNSUPPORTED, MODEL),
        "999",
    ),
    content("cycle", over(node("Add", "x b", "a"), node("Neg", "a", "b"), node("Neg", "b"))),
    content("cycle_of_one", over(node("Add", "x y"))),
    content("name_undefined", over(node("Add", "x nothing")), MODEL, "nothing"),
    content("name_undefined_unicode", over(node("Add", "x größe")), MODEL, "größe"),
    content("names_made_twice", over(node("Neg", "x", "y"), node("Abs", "x", "y"))),
    content("input_overwritten", over(node("Neg", "x", "x"), node("Neg"))),
    content("attribute_of_wrong_type", over(node("Softmax", axis="first"))),
    content("attribute_missing", over(node("Concat", "x x"))),
    content("attribute_unknown", over(node("Neg", strength=3))),
    content("attribute_twice", damaged(alpha_twice)),
    content("inputs_too_few", over(node("Add", "x"))),
    content("inputs_too_many", over(node("Neg", "x x x"))),
    content("outputs_too_many", over(node("Neg", "x", "y z"))),
    content("element_types_mixed", over(AS_INTEGERS, node("Add", "x i"))),
    content("cast_to_unknown_type", over(node("Cast", to=999))),
    content("constant_without_value", over(node("Constant", "", "c"), node("Add", "x c"))),
    content("constant_that_lies", over(node("Constant", "", value=tensor([1 << 40], F2)))),
    content("branch_missing", over(node("If", "c"), c=True)),
    content(
        "branch_undefined_name",
        lambda: branches([node("Neg", "ghost", "inner")], [node("Neg", "x", "inner")]),
    ),
    content("branch_without_output", lambda: branches([], [node("Neg", "x", "inner")])),
    content("loop_body_too_short", over(node("Loop", "a x", body=models.graph([], [], [])), a=3)),
    content("function_calls_itself", calling_functions(first="first")),
    content("functions_call_each_other", calling_functions(first="second", second="first")),
    content("function_calls_nothing", calling_functions(first="third")),
]


# --- numbers that make no sense -----------------------------------------------------------------------------


def pooling(operator: str, **attributes: Any) -> Callable[[], bytes]:
    """A builder: an operator with a window over `x` as one picture, and weights for those that want them."""
    wanted = "u" if "Pool" in operator else "u w"
    ahead = node("Reshape", "x s", "u")
    return over(ahead, node(operator, wanted, **attributes), s=[1, 1, 2, 2], w=np.ones((1, 1, 1, 1), np.float32))


PICTURE = {"x": np.ones((1, 4, 4, 4), np.float32)}


def transposed_without_groups() -> bytes:
    """A convolution whose channels form no groups; the open rank of `x` hides it from shape inference."""
    weights = [models.constant("w", np.ones((4, 4, 2, 2)), "float32")]
    return small(node("ConvTranspose", "x w", group=0), inputs=[models.value("x", shape=None)], weights=weights)


DIVISION_FAULT = "ONNX Runtime 1.32 divides -2**63 by -1 unchecked, and the process ends with SIGFPE"
LOWEST, HIGHEST = -(1 << 63), (1 << 63) - 1
NUMBERS = [
    content("axis_past_rank", over(node("Softmax", axis=7)), LATE),
    content("shapes_do_not_fit", over(node("MatMul", "x w"), w=np.ones((5, 5), np.float32)), LATE),
    content("permutation_impossible", over(node("Transpose", perm=[0, 5])), LATE),
    content("permutation_repeated", over(node("Transpose", perm=[0, 0])), LATE),
    content("split_sizes_wrong", over(node("Split", "x w", "y z", axis=1), w=[5, 9]), LATE),
    content("slice_extremes", over(node("Slice", "x a b"), a=[LOWEST], b=[HIGHEST]), None),
    content("slice_step_zero", over(node("Slice", "x a b a a"), a=[0], b=[2]), LATE),
    content("range_step_zero", over(node("Range", "a b a"), a=0, b=9, gives="int64"), LATE),
    content("range_endless", over(node("Range", "a b c"), a=0, b=HIGHEST, c=1, gives="int64"), GREEDY),
    content("tile_huge", over(node("Tile", "x w"), w=[1 << 40, 1 << 20]), GREEDY),
    content("pad_huge", over(node("Pad", "x w"), w=[0, 0, 1 << 40, 1 << 20]), GREEDY),
    content("pad_negative_past_end", over(node("Pad", "x w"), w=[-50, 0, 0, -50]), LATE),
    content("one_hot_huge", over(AS_INTEGERS, node("OneHot", "i d v"), d=1 << 50, v=[0.0, 1.0]), GREEDY),
    content("gather_past_end", over(node("Gather", "x w", axis=1), w=[7]), LATE),
    content("scatter_past_end", over(node("ScatterND", "x a w"), a=[[99, 99]], w=[1.0]), LATE),
    content("reshape_impossible", over(node("Reshape", "x w"), w=[7, 11]), LATE),
    content("filled_tebi_elements", over(node("ConstantOfShape", "s"), s=[1 << 40]), GREEDY),
    content("filled_overflow", over(node("ConstantOfShape", "s"), s=[1 << 32, 1 << 32]), GREEDY),
    content("filled_negative", over(node("ConstantOfShape", "s"), s=[-3]), GREEDY),
    content("divide_by_zero", over(AS_INTEGERS, node("Div", "i w"), w=[0], gives="int64"), LATE),
    content("modulo_zero", over(AS_INTEGERS, node("Mod", "i w"), w=[0], gives="int64"), LATE),
    content("modulo_lowest_by_minus_one", over(node("Mod", "a w"), a=[LOWEST], w=[-1], gives="int64"), None),
    content("window_stride_zero", pooling("MaxPool", kernel_shape=[1, 1], strides=[0, 0]), LATE),
    content("window_empty", pooling("AveragePool", kernel_shape=[0, 0]), LATE),
    content("window_huge", pooling("MaxPool", kernel_shape=[1 << 40, 1 << 40]), LATE),
    content("convolution_group_zero", pooling("Conv", group=0), LATE),
    # ONNX Runtime 1.32 divides by the number of groups while it loads, which ends the process with SIGFPE.
    content("transposed_convolution_group_zero", transposed_without_groups, LATE, inputs=PICTURE),
    content("block_size_zero", pooling("DepthToSpace", blocksize=0), LATE),
    content("einsum_nonsense", over(node("Einsum", "x x", equation="ij,kl->z")), LATE),
    # The quotient is 2**63, which int64 does not have: ONNX Runtime 1.32 ends the process with SIGFPE.
    replace(
        content("divide_lowest_by_minus_one", over(node("Div", "a w"), a=[LOWEST], w=[-1], gives="int64"), None),
        engine_fault=DIVISION_FAULT,
    ),
]


# --- tabular operators --------------------------------------------------------------------------------------


def ml(operator: str, outputs: str = "y", **attributes: Any) -> Callable[[], bytes]:
    """A builder: one operator of `ai.onnx.ml` on `x`."""
    wanted = [models.value(name, "int64" if name == "label" else "float32", None) for name in outputs.split()]
    work = node(operator, "x", outputs, domain=models.ML_DOMAIN, **attributes)
    return lambda: small(work, outputs=wanted, domains={models.ML_DOMAIN: models.ML_OPSET})


# A tree of one split: 1 where the first feature is at most 0.5, else 2.
TREE: dict[str, Any] = {
    "n_targets": 1,
    "nodes_treeids": [0, 0, 0],
    "nodes_nodeids": [0, 1, 2],
    "nodes_featureids": [0, 0, 0],
    "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
    "nodes_values": [0.5, 0.0, 0.0],
    "nodes_truenodeids": [1, 0, 0],
    "nodes_falsenodeids": [2, 0, 0],
    "target_treeids": [0, 0],
    "target_nodeids": [1, 2],
    "target_ids": [0, 0],
    "target_weights": [1.0, 2.0],
}


def tree(name: str, error: Any = LATE, **changes: Any) -> Case:
    """A row: the tree with some of its lists changed, or left out where None."""
    return content(f"tree_{name}", ml("TreeEnsembleRegressor", **{**TREE, **changes}), error)


def class_tree(name: str, **changes: Any) -> Case:
    """A row: the tree as a classifier."""
    lists = {key.replace("target_", "class_"): entries for key, entries in TREE.items() if key != "n_targets"}
    return content(f"tree_{name}", ml("TreeEnsembleClassifier", "label y", **{**lists, **changes}), LATE)


def deep_tree(levels: int) -> bytes:
    """A tree that is one long branch: each level has a leaf beside it."""
    inner, leaves = range(levels), range(levels, 2 * levels + 1)
    onward = [*range(1, levels), 2 * levels]
    changes = {
        "nodes_treeids": [0] * (2 * levels + 1),
        "nodes_nodeids": [*inner, *leaves],
        "nodes_featureids": [0] * (2 * levels + 1),
        "nodes_modes": ["BRANCH_LEQ"] * levels + ["LEAF"] * (levels + 1),
        "nodes_values": [float(level) for level in inner] + [0.0] * (levels + 1),
        "nodes_truenodeids": onward + [0] * (levels + 1),
        "nodes_falsenodeids": [*range(levels, 2 * levels), *[0] * (levels + 1)],
    }
    return ml("TreeEnsembleRegressor", **{**TREE, **changes, "target_nodeids": [levels, levels + 1]})()


SVM: dict[str, Any] = {"kernel_type": "RBF", "kernel_params": [0.1, 0.0, 3.0], "rho": [0.0]}
SHORT_SVM: dict[str, Any] = {**SVM, "coefficients": [1.0], "support_vectors": [1.0]}
LINEAR: dict[str, Any] = {"coefficients": [1.0] * 6, "intercepts": [0.0] * 3, "classlabels_ints": [0, 1, 2]}
PICKED = node("ArrayFeatureExtractor", "x w", domain=models.ML_DOMAIN)
TFIDF: dict[str, Any] = {
    "mode": "TF",
    "min_gram_length": 1,
    "max_gram_length": 1,
    "max_skip_count": 0,
    "pool_int64s": [1, 2],
}


def linear(name: str, **changes: Any) -> Case:
    """A row: a linear classifier of three classes and two features, some of whose lists are wrong."""
    return content(f"linear_{name}", ml("LinearClassifier", "label y", **{**LINEAR, **changes}), LATE)


FOUR = {"x": np.ones((2, models.CLASSIFIER_FEATURES), np.float32)}
TABULAR = [
    tree("sound", ()),
    tree("empty", None, **dict.fromkeys(key for key in TREE if key != "n_targets")),
    tree("values_short", nodes_values=[0.5]),
    tree("modes_short", nodes_modes=["BRANCH_LEQ"]),
    tree("features_short", nodes_featureids=[0]),
    tree("children_short", nodes_truenodeids=[1]),
    tree("weights_short", target_weights=[1.0]),
    tree("targets_short", target_ids=[0]),
    tree("target_trees_short", target_treeids=[0]),
    tree("node_numbers_short", nodes_nodeids=[0]),
    tree("node_twice", nodes_nodeids=[0, 1, 1]),
    tree("child_absent", nodes_truenodeids=[77, 0, 0]),
    tree("child_negative", nodes_truenodeids=[-1, 0, 0]),
    tree("child_is_itself", nodes_truenodeids=[0, 0, 0]),
    tree(
        "children_go_round",
        nodes_modes=["BRANCH_LEQ"] * 3,
        nodes_truenodeids=[1, 2, 0],
        nodes_falsenodeids=[1, 2, 0],
    ),
    tree("mode_unknown", nodes_modes=["BRANCH_MAYBE", "LEAF", "LEAF"]),
    tree("feature_far_past_end", nodes_featureids=[2_000_000_000, 0, 0]),
    tree("feature_past_end", nodes_featureids=[2, 0, 0]),
    tree("feature_negative", nodes_featureids=[-1_000_000, 0, 0]),
    tree("target_past_end", target_ids=[0, 99]),
    tree("target_far_past_end", target_ids=[0, 1 << 40]),
    tree("target_negative", target_ids=[0, -3]),
    tree("target_of_absent_node", target_nodeids=[1, 88]),
    tree("targets_huge", GREEDY, n_targets=1 << 40),
    tree("targets_negative", n_targets=-1),
    tree("targets_missing", n_targets=0),
    tree("aggregate_unknown", aggregate_function="MODE"),
    tree("base_values_short", n_targets=3, base_values=[1.0]),
    # ONNX Runtime 1.32 walks down by recursion while it loads, and overflows the stack here (SIGSEGV).
    content("tree_of_50000_levels", lambda: deep_tree(50_000), None),
    class_tree("labels_missing"),
    class_tree("class_past_end", classlabels_int64s=[4, 5], class_ids=[0, 9]),
    linear("coefficients_short", coefficients=[1.0]),
    linear("intercepts_short", intercepts=[0.0]),
    linear("labels_short", classlabels_ints=[0]),
    linear("labels_missing", classlabels_ints=None),
    content("linear_regressor_short", ml("LinearRegressor", coefficients=[1.0], targets=1), LATE),
    content("linear_regressor_huge", ml("LinearRegressor", coefficients=[1.0, 2.0], targets=1 << 40), GREEDY),
    content("scaler_short", ml("Scaler", offset=[1.0], scale=[1.0, 2.0, 3.0]), LATE),
    content("imputer_short", ml("Imputer", imputed_value_floats=[1.0, 2.0, 3.0]), None),
    content("normalizer_unknown", ml("Normalizer", norm="L7"), LATE),
    content("label_encoder_short", ml("LabelEncoder", keys_floats=[1.0, 2.0], values_floats=[3.0]), LATE),
    content("one_hot_without_categories", ml("OneHotEncoder"), LATE),
    content("features_picked_past_end", over(PICKED, domain=models.ML_DOMAIN, version=3, w=[5]), LATE),
    content("features_picked_negative", over(PICKED, domain=models.ML_DOMAIN, version=3, w=[-5]), LATE),
    content(
        "zipmap_labels_short",
        functools.partial(models.zipmap_classifier, zipped=models.INT_LABELS[:1]),
        LATE,
        inputs=FOUR,
    ),
    content("svm_short", ml("SVMRegressor", **SHORT_SVM, n_supports=50), LATE),
    content(
        "svm_classifier_short",
        ml("SVMClassifier", "label y", **SHORT_SVM, vectors_per_class=[30, 40], classlabels_ints=[0, 1]),
        LATE,
    ),
    content(
        "tfidf_short",
        over(
            AS_INTEGERS,
            node("TfIdfVectorizer", "i", ngram_counts=[0, 9], ngram_indexes=[0, 1 << 40], **TFIDF),
        ),
        LATE,
    ),
]


# --- weights in a file of their own -------------------------------------------------------------------------


def external(
    name: str,
    error: Any,
    *mentions: str,
    prepare: Callable[[Path], object] | None = None,
    **entries: str | None,
) -> Case:
    """A row: a model with external data, one of whose entries is wrong; `prepare` rearranges the files."""

    def make(folder: Path) -> tuple[str, Any]:
        place = folder / "models"
        place.mkdir()
        models.external_data(place)
        size = models.external_weights().nbytes
        found = {"location": "weights.bin", "offset": "0", "length": str(size), **entries}
        kept = {key: text for key, text in found.items() if text is not None}
        (place / "model.onnx").write_bytes(models.external_model(models.external_tensor(**kept)))
        if prepare is not None:
            prepare(place)
        return str(place / "model.onnx"), {"x": np.ones((2, models.EXTERNAL_INPUTS), np.float32)}

    return Case(f"external_{name}", make, error, mentions)


def escape(folder: Path) -> None:
    """Puts the weights above the model's folder."""
    (folder / "weights.bin").rename(folder.parent / "outside.bin")


def escape_by_link(folder: Path) -> None:
    """Puts the weights above the model's folder and a link to them inside."""
    escape(folder)
    (folder / "weights.bin").symlink_to(folder.parent / "outside.bin")


def escape_by_folder_link(folder: Path) -> None:
    """The link out of the model's folder is a folder on the way."""
    (folder / "sub").symlink_to(folder.parent)
    escape(folder)


def replace_weights(make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Something else in the place of the weights."""

    def prepare(folder: Path) -> None:
        (folder / "weights.bin").unlink()
        make(folder / "weights.bin")

    return prepare


def external_as_bytes(folder: Path) -> tuple[bytes, Any]:
    """A model with external data passed as bytes: there is no folder to look in."""
    return models.external_data(folder), {"x": np.ones((2, models.EXTERNAL_INPUTS), np.float32)}


def external_in_constant(folder: Path) -> tuple[str, Any]:
    """External data of a tensor inside an attribute, above the model's folder."""
    lent = models.external_tensor(location="../outside.bin", offset="0", length=str(models.external_weights().nbytes))
    (folder / "outside.bin").write_bytes(models.external_weights().tobytes())
    (folder / "models").mkdir()
    path = folder / "models" / "model.onnx"
    path.write_bytes(small(node("Neg", "x", "unused"), node("Constant", "", value=lent)))
    return str(path), X


EXTERNAL = [
    external("sound", ()),
    external(
        "file_missing",
        NOT_FOUND,
        "model.onnx",
        "weights.bin",
        prepare=lambda folder: (folder / "weights.bin").unlink(),
    ),
    external("file_missing_unicode", NOT_FOUND, "größe ü.bin", location="größe ü.bin"),
    external("escape", MODEL, "../outside.bin", prepare=escape, location="../outside.bin"),
    external("escape_to_missing", MODEL, "../nothing.bin", location="../nothing.bin"),
    external("escape_by_detour", MODEL, "outside.bin", prepare=escape, location="sub/../../outside.bin"),
    external("escape_backslashes", (MODEL, NOT_FOUND), "outside.bin", prepare=escape, location="..\\outside.bin"),
    external("absolute", MODEL, "/etc/passwd", location="/etc/passwd", offset="0", length="16"),
    external("link_outside", MODEL, "weights.bin", prepare=escape_by_link),
    external("folder_link_outside", MODEL, "outside.bin", prepare=escape_by_folder_link, location="sub/outside.bin"),
    external("memory_address", (MODEL, NOT_FOUND), location="*/_ORT_MEM_ADDR_/*", offset="4096", length="1228800"),
    external("location_missing", MODEL, location=None),
    external("location_empty", MODEL, location=""),
    external("location_dot", (MODEL, READ), location="."),
    external("location_nul", (MODEL, NOT_FOUND, READ), location="weights\0.bin"),
    external("location_too_long", (MODEL, NOT_FOUND, READ), location="w" * 5000),
    external("location_is_the_model", MODEL, location="model.onnx"),
    external("is_folder", (MODEL, READ), "weights.bin", prepare=replace_weights(lambda path: path.mkdir())),
    external("is_pipe", (MODEL, READ), "weights.bin", prepare=replace_weights(os.mkfifo)),
    external("is_endless", MODEL, "weights.bin", prepare=replace_weights(lambda path: path.symlink_to("/dev/zero"))),
    external("is_empty", MODEL, "weights.bin", prepare=replace_weights(lambda path: path.touch())),
    external("is_short", MODEL, "weights.bin", prepare=lambda folder: os.truncate(folder / "weights.bin", 1000)),
    external("offset_past_end", MODEL, "weights.bin", offset="9000000"),
    external("offset_makes_end_past_end", MODEL, "weights.bin", offset="4096"),
    external("offset_negative", MODEL, offset="-4096"),
    external("offset_no_number", MODEL, offset="start"),
    external("offset_overflows", MODEL, offset=str(1 << 64)),
    external("offset_with_length_overflows", MODEL, offset=str((1 << 63) - 8)),
    external("length_negative", MODEL, length="-1"),
    external("length_no_number", MODEL, length="1.2 MB"),
    external("length_empty", MODEL, length=""),
    external("length_too_large", MODEL, length="9000000"),
    external("length_too_small", MODEL, length="4096"),
    external("length_huge", MODEL, length=str(1 << 62)),
    Case("external_in_bytes_model", external_as_bytes, MODEL, ("weights.bin",)),
    Case("external_escape_in_constant", external_in_constant, MODEL, ("../outside.bin",)),
]


# --- inputs -------------------------------------------------------------------------------------------------


def given(name: str, build: Callable[[], bytes], inputs: Any, error: Any = INPUT, *mentions: str, **more: Any) -> Case:
    """A row: a sound model, passed as bytes, and inputs that are not."""
    return Case(
        name if name.startswith("output_") else f"input_{name}",
        lambda _: (build(), inputs),
        error,
        mentions,
        **more,
    )


def takes(dtype: str, *shape: int | str | None) -> Callable[[], bytes]:
    """A builder: `y` is `x` of this dtype."""
    return functools.partial(models.identity, dtype, shape or ("N", 2))


def objects(*items: Any) -> np.ndarray[Any, Any]:
    """A column of Python objects."""
    made = np.empty((len(items), 1), dtype=object)
    made[:, 0] = items
    return made


def echoed(name: str, dtype: str, array: Any, answer: Any = None) -> Case:
    """A row: an odd but sound array that must come back as it is."""
    expected = (
        np.ascontiguousarray(array() if isinstance(array, functools.partial) else array) if answer is None else answer
    )
    return given(name, takes(dtype, *("N", *expected.shape[1:])), array, (), answer=expected)


def division(dividend: int, divisor: int) -> dict[str, np.ndarray[Any, Any]]:
    """Inputs of `integer_division`."""
    return {"a": np.array([dividend], np.int64), "b": np.array([divisor], np.int64)}


COLUMN = ("N", 1)
FLOATS, TEXTS = takes("float32"), takes("string", *COLUMN)
TABLE = {
    "amount": np.ones((2, 1)),
    "hour": np.ones((2, 1), np.int32),
    "flag": np.ones((2, 1), bool),
    "merchant": objects("a", "b"),
}
MISSPELT = {"merchent" if name == "merchant" else name: column for name, column in TABLE.items()}
ENDLESS: list[Any] = [1.0]
ENDLESS.append(ENDLESS)
STRUCTURED = np.array([(1.0, 2)], dtype=[("amount", "f4"), ("hour", "i4")])

INPUTS = [
    given("missing", models.two_inputs, {"a": ROWS}, INPUT, "`b`"),
    given("all_missing", models.two_inputs, {}, INPUT, "`a`", "`b`"),
    given("mapping_empty", FLOATS, {}, INPUT, "`x`"),
    given("name_unknown", models.two_inputs, {"a": ROWS, "b": ROWS, "zebra": ROWS}, INPUT, "zebra"),
    given("name_misspelt", models.multi_dtype, MISSPELT, INPUT, "merchent", "`merchant`"),
    given("name_unicode_missing", models.unicode_names, {}, INPUT, "größe→ß"),
    given("name_is_an_output", models.two_inputs, {"a": ROWS, "sum": ROWS}, INPUT, "`b`"),
    given("names_are_numbers", FLOATS, {1: ROWS}, (INPUT, INPUT_TYPE)),
    given("names_are_none", FLOATS, {None: ROWS}, (INPUT, INPUT_TYPE)),
    given("names_are_bytes", FLOATS, {b"x": ROWS}, (INPUT, INPUT_TYPE)),
    given("name_with_surrogate", FLOATS, {"\ud800": ROWS}, INPUT),
    given("bare_array_for_two_inputs", models.two_inputs, ROWS, INPUT, "`a`", "`b`"),
    given("list_for_two_inputs", models.two_inputs, [ROWS, ROWS], INPUT, "`a`", "`b`"),
    given("no_inputs_wanted", models.no_inputs, X, INPUT, "x"),
    given("map_wanted", models.map_input, {"x": ROWS}, (INPUT_TYPE, UNSUPPORTED), "x"),
    given("rows_differ", models.two_inputs, {"a": ROWS, "b": np.ones((3, 2), np.float32)}, (INPUT, ENGINE)),
    given("floats_for_integers", takes("int64"), np.ones((2, 2)), INPUT_TYPE, "`x`", "float64", "int64"),
    given("floats_for_bool", takes("bool"), np.ones((2, 2)), INPUT_TYPE, "`x`", "float64", "bool"),
    given("python_floats_for_integers", takes("int64"), [[1.0, 2.0]], INPUT_TYPE, "`x`", "int64"),
    given("text_for_floats", FLOATS, np.array([["a", "b"]]), INPUT_TYPE, "`x`", "float32"),
    given("numbers_as_text_for_floats", FLOATS, [["1.5", "2"]], INPUT_TYPE, "`x`", "float32"),
    given("bare_text_for_floats", FLOATS, "1.5", INPUT_TYPE, "`x`"),
    given("bytes_for_floats", FLOATS, np.array([[b"a", b"b"]]), INPUT_TYPE, "`x`"),
    given("floats_for_text", TEXTS, np.ones((2, 1)), INPUT_TYPE, "`x`", "float64", "string"),
    given("integers_for_text", TEXTS, [[1], [2]], INPUT_TYPE, "`x`", "string"),
    given("bool_for_text", TEXTS, np.ones((2, 1), bool), INPUT_TYPE, "`x`", "bool", "string"),
    given("complex", FLOATS, np.ones((2, 2), complex), INPUT_TYPE, "`x`", "complex128"),
    given("datetimes", FLOATS, np.zeros((2, 2), "datetime64[s]"), INPUT_TYPE, "`x`", "datetime64"),
    given(
        "datetimes_for_integers",
        takes("int64"),
        np.zeros((2, 2), "datetime64[ns]"),
        INPUT_TYPE,
        "`x`",
        "datetime64",
    ),
    given("durations", takes("int64"), np.zeros((2, 2), "timedelta64[s]"), INPUT_TYPE, "`x`", "timedelta64"),
    given("objects_mixed", FLOATS, objects(1, "a", None), INPUT_TYPE, "`x`", "object"),
    given("objects_none", FLOATS, objects(1.0, None), INPUT_TYPE, "`x`", "object"),
    given("structured", FLOATS, STRUCTURED, INPUT_TYPE, "`x`"),
    given("void", FLOATS, np.zeros((2, 2), "V4"), INPUT_TYPE, "`x`"),
    given(
        "long_double",
        FLOATS,
        np.ones((2, 2), np.longdouble) * 10 ** np.longdouble(400),
        (INPUT, INPUT_TYPE),
        "`x`",
    ),
    given("objects_for_text_number", TEXTS, objects("a", 1), INPUT_TYPE, "`x`"),
    given("objects_for_text_none", TEXTS, objects("a", None), INPUT_TYPE, "`x`"),
    given("objects_for_text_nan", TEXTS, objects("a", float("nan")), INPUT_TYPE, "`x`"),
    given("objects_for_text_bytes", TEXTS, objects("a", b"b"), None, answer=objects("a", "b")),
    given("objects_for_text_no_utf8", TEXTS, objects("a", b"\xff"), INPUT, "`x`"),
    given("objects_for_text_nested", TEXTS, objects("a", ["b"]), INPUT_TYPE, "`x`"),
    given("text_with_surrogate", TEXTS, [["\ud800"]], INPUT, "`x`"),
    given("objects_with_surrogate", TEXTS, objects("a", "\udfff"), INPUT, "`x`"),
    given("rank_too_high", FLOATS, np.ones((2, 2, 1), np.float32), INPUT, "`x`", "3"),
    given("rank_zero", FLOATS, np.float32(1), INPUT, "`x`"),
    given("rank_too_low", takes("float32", "N", 2, 2), ROWS, INPUT, "`x`"),
    given("array_for_scalar", functools.partial(models.identity, "float32", ()), ROWS, INPUT, "`x`"),
    given("rank_64", FLOATS, np.ones((1,) * 64, np.float32), INPUT, "`x`"),
    given("column_too_many", models.mlp, np.ones((5, 31), np.float32), INPUT, "`x`", "31", "30"),
    given("column_too_few", models.mlp, np.ones((5, 29), np.float32), INPUT, "`x`", "29", "30"),
    given("columns_none", models.mlp, np.ones((5, 0), np.float32), INPUT, "`x`", "30"),
    given("row_too_short", models.mlp, np.ones(29, np.float32), INPUT, "`x`", "29", "30"),
    given("rows_fixed", models.fixed_batch, np.ones((3, 2), np.float32), INPUT, "`x`", "3", "4"),
    given("ragged", FLOATS, [[1.0, 2.0], [3.0]], INPUT, "`x`"),
    given("ragged_deep", FLOATS, [[[1.0], 2.0], [3.0, 4.0]], INPUT, "`x`"),
    given("contains_itself", FLOATS, ENDLESS, INPUT, "`x`"),
    given("none", FLOATS, None, INPUT_TYPE, "`x`"),
    given("none_in_mapping", FLOATS, {"x": None}, INPUT_TYPE, "`x`"),
    given("object", FLOATS, object(), INPUT_TYPE, "`x`"),
    given("set", FLOATS, {1.0, 2.0}, INPUT_TYPE, "`x`"),
    given("path", FLOATS, Path("x.csv"), INPUT_TYPE, "`x`"),
    given("mapping_in_mapping", FLOATS, {"x": {"x": ROWS}}, INPUT_TYPE, "`x`"),
    given("empty_list", FLOATS, [], INPUT, "`x`"),
    given("bool_of_two", takes("bool"), [[0, 2]], INPUT, "`x`", "2"),
    given("byte_of_300", takes("uint8"), np.array([[1, 300]]), INPUT, "`x`", "300"),
    given("byte_of_minus_one", takes("uint8"), np.array([[1, -1]]), INPUT, "`x`", "-1"),
    given("integer_past_int64", takes("int64"), np.array([[1, 1 << 63]], np.uint64), INPUT, "`x`", str(1 << 63)),
    given("integer_past_everything", takes("int64"), [[1, 1 << 70]], INPUT, "`x`"),
    given("float_overflows", FLOATS, np.array([[1.0, 1e300]]), INPUT, "`x`", "e+300"),
    given("half_overflows", takes("float16"), np.array([[1.0, 70000.0]], np.float32), INPUT, "`x`", "70000"),
    given("strict_float64", FLOATS, np.ones((2, 2)), INPUT_TYPE, "`x`", "float64", options={"casting": "strict"}),
    given(
        "strict_integer_past_2_24",
        FLOATS,
        np.array([[1, (1 << 24) + 1]]),
        INPUT,
        "`x`",
        options={"casting": "strict"},
    ),
    given(
        "terabytes",
        models.mlp,
        functools.partial(np.broadcast_to, np.float32(0), (1 << 40, 30)),
        (MEMORY, INPUT),
    ),
    given(
        "terabytes_to_cast",
        models.mlp,
        functools.partial(np.broadcast_to, np.float64(0), (1 << 40, 30)),
        (MEMORY, INPUT),
    ),
    given("gigabytes", FLOATS, functools.partial(np.broadcast_to, np.float32(0), (1 << 30, 2)), (MEMORY, INPUT)),
    given(
        "terabytes_answered",
        models.expand_from_input,
        {"x": np.ones(1, np.float32), "shape": np.array([1 << 40])},
        (MEMORY, ENGINE),
    ),
    given(
        "exabytes_answered",
        models.expand_from_input,
        {"x": np.ones(1, np.float32), "shape": np.array([1 << 62, 9])},
        (MEMORY, ENGINE),
    ),
    given(
        "reshape_refused",
        models.reshape_from_input,
        {"x": np.ones(6, np.float32), "shape": np.array([4])},
        ENGINE,
        "Reshape",
    ),
    given("index_past_end", models.gather_from_input, np.array([0, 9]), ENGINE, "Gather"),
    given("division_by_zero", models.integer_division, division(7, 0), ENGINE, "Div"),
    given(
        "division_lowest_by_minus_one",
        models.integer_division,
        division(LOWEST, -1),
        None,
        engine_fault=DIVISION_FAULT,
    ),
    given("output_unknown", models.two_outputs, X, INPUT, "prob", "`double`", "`square`", outputs=["prob"]),
    given("output_misspelt", models.two_outputs, X, INPUT, "sqare", "`square`", outputs=["sqare"]),
    given("output_is_an_input", models.two_outputs, X, INPUT, "`x`", outputs=["x"]),
    given("output_not_text", models.two_outputs, X, (INPUT, INPUT_TYPE), outputs=[1]),
    given("output_with_nul", models.two_outputs, X, INPUT, outputs=["square\0"]),
    given("text_with_nul", TEXTS, [["a\0b"]], None, answer=objects("a\0b")),
    given("text_ends_with_nul", TEXTS, objects("a\0"), None, answer=objects("a\0")),
    echoed("text_odd", "string", objects("", " ", "é", "e\u0301", "🙂\u200d", "\n", "x" * 100_000)),
    echoed("no_rows", "float32", np.ones((0, 2), np.float32)),
    echoed("no_texts", "string", np.empty((0, 1), dtype=object)),
    echoed("special_floats", "float32", np.array([[np.nan, np.inf], [-np.inf, -0.0]], np.float32)),
    echoed("byte_order", "float32", ROWS.astype(">f4"), ROWS),
    echoed("byte_order_integers", "int64", ROWS.astype(">i8"), ROWS.astype(np.int64)),
    echoed("columns_first", "float32", np.asfortranarray(ROWS)),
    echoed("backwards", "float32", functools.partial(np.flip, ROWS)),
    echoed("one_row_many_times", "float32", functools.partial(np.broadcast_to, ROWS[0], (5, 2))),
    echoed("misaligned", "float32", functools.partial(np.ndarray, (2, 2), np.float32, b"\0" + ROWS.tobytes(), 1)),
    echoed("extreme_integers", "uint64", np.array([[0, (1 << 64) - 1]], np.uint64)),
]


# --- options of `load` --------------------------------------------------------------------------------------


def option(name: str, error: Any, *mentions: str, **options: Any) -> Case:
    """A row: a sound model file loaded with options that are not."""
    sound = content(f"option_{name}", lambda: models.mlp(2, 3), error, *mentions)
    return replace(sound, options=options)


def source_value(name: str, value: Any, error: Any = OPTION_TYPE) -> Case:
    """A row: something that is no source at all."""
    return Case(f"source_{name}", lambda _: (value, X), error)


OPTIONS = [
    option("threads_zero", OPTION, "threads", "0", threads=0),
    option("threads_negative", OPTION, "threads", "-1", threads=-1),
    option("threads_text", OPTION_TYPE, "threads", "two", threads="two"),
    option("threads_true", (OPTION_TYPE, OPTION), "threads", "True", threads=True),
    option("threads_fraction", (OPTION_TYPE, OPTION), "threads", "1.5", threads=1.5),
    option("threads_1e9", OPTION, "threads", "1000000000", threads=10**9),
    option("threads_1e30", OPTION, "threads", threads=10**30),
    option("batch_unknown", OPTION, "batch", "columns", batch="columns"),
    option("batch_none", (OPTION_TYPE, OPTION), "batch", "None", batch=None),
    option("optimization_unknown", OPTION, "optimization", "max", optimization="max"),
    option("optimization_capitals", OPTION, "optimization", "ALL", optimization="ALL"),
    option("optimization_number", OPTION_TYPE, "optimization", "3", optimization=3),
    option("optimization_none", (OPTION_TYPE, OPTION), "optimization", "None", optimization=None),
    option("casting_unsafe", OPTION, "casting", "unsafe", casting="unsafe"),
    option("casting_none", (OPTION_TYPE, OPTION), "casting", "None", casting=None),
    option("reload_negative", OPTION, "reload", "-1", reload=-1),
    option("reload_nan", OPTION, "reload", reload=float("nan")),
    option("reload_infinite", OPTION, "reload", "inf", reload=float("inf")),
    option("reload_text", OPTION_TYPE, "reload", "yes", reload="yes"),
    source_value("number", 42),
    source_value("none", None),
    source_value("list", ["model.onnx"]),
    source_value("mapping", {"path": "model.onnx"}),
    source_value("array", np.zeros(3)),
    source_value("object", object()),
]


CASES = [
    *SOURCES,
    *LOOKALIKES,
    *TREE_FILES,
    *DAMAGE,
    *WIRE,
    *TENSORS,
    *GRAPHS,
    *NUMBERS,
    *TABULAR,
    *EXTERNAL,
    *INPUTS,
    *OPTIONS,
]
