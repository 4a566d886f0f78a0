"""Broken models and broken inputs, and what each of them must come to."""

from corpus.cases import Case
from corpus.external import EXTERNAL
from corpus.files import DAMAGE, LOOKALIKES, SOURCES
from corpus.graphs import GRAPHS, NUMBERS
from corpus.inputs import INPUTS, OPTIONS
from corpus.libraries import TREE_FILES
from corpus.tabular import TABULAR
from corpus.tensors import TENSORS
from corpus.wire import WIRE

__all__ = ("CASES", "Case")

CASES = [
    *SOURCES, *LOOKALIKES, *TREE_FILES, *DAMAGE, *WIRE, *TENSORS, *GRAPHS, *NUMBERS, *TABULAR, *EXTERNAL, *INPUTS, *OPTIONS,
]  # fmt: skip
