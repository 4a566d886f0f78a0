"""Protobuf that lies."""

from __future__ import annotations

import numpy as np

import models
from corpus.cases import (
    ENGINE,
    INPUT,
    MODEL,
    content,
    node,
    small,
)


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
