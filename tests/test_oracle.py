"""Whatever shapes, dtypes, layouts and containers come in, the answer is ONNX Runtime's, bit for bit.

`GLOWPLUG_HYPOTHESIS=slow` tries many more examples.
"""

from __future__ import annotations

import functools
import pickle
import types
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from onnx import helper

import glowplug
import models

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import DrawFn, SearchStrategy

    from conftest import Answers, Feeds

    Array = np.ndarray[Any, Any]
    Run = Callable[[bytes, Feeds], Answers]
    Compare = Callable[[Any, Any], None]

NUMBERS = [dtype for dtype in models.DTYPES if dtype != "string"]
# What each operator takes; all of them work on elements one by one.
OPERATORS = {
    "Identity": NUMBERS,
    "Neg": ["float16", "float32", "float64", "int8", "int32", "int64"],
    "Abs": ["float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"],
    "Relu": ["float32", "float64", "int8", "int32"],
    "Not": ["bool"],
}
PAIRS = [(operator, dtype) for operator, dtypes in OPERATORS.items() for dtype in dtypes]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@functools.cache
def elementwise(operator: str, dtype: str, shape: tuple[int | str | None, ...] | None) -> bytes:
    """`y` is one operator over `x`, of the same shape."""
    node = helper.make_node(operator, ["x"], ["y"])
    body = models.graph([node], [models.value("x", dtype, shape)], [models.value("y", dtype, shape)])
    return models.model_bytes(body)


@functools.cache
def load(model: bytes) -> glowplug.Model:
    """One model for all examples."""
    return glowplug.load(model)


@st.composite
def declared(draw: DrawFn, shape: tuple[int, ...]) -> tuple[int | str | None, ...] | None:
    """A declaration that a shape fits: sizes, names that stand for one size each, neither, or no word of the rank."""
    if draw(st.integers(0, 9)) == 0:
        return None
    # A size of 0 is no size that a model declares.
    return tuple(
        draw(st.sampled_from([None, f"size_{size}", *([size] if size else [])])) if size else f"size_{size}"
        for size in shape
    )


def strided(array: Array, steps: list[int]) -> Array:
    """The same values with gaps between them, backwards along axes whose step is negative."""
    roomy = np.full([size * abs(step) for size, step in zip(array.shape, steps, strict=True)], 1, array.dtype)
    view = roomy[(..., *(slice(None, None, step) for step in steps))]
    assert view.shape == array.shape
    view[...] = array
    return view


def misaligned(array: Array) -> Array:
    """The same values one byte past where they should be."""
    moved = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    moved[...] = array
    return moved


def locked(array: Array) -> Array:
    """The same values, read-only."""
    array = array.copy()
    array.flags.writeable = False
    return array


def permuted(array: Array, order: list[int]) -> Array:
    """The same values, with the axes in another order in memory."""
    return array.transpose(order).copy().transpose(np.argsort(order))


class Vector(np.ndarray[Any, Any]):
    """A subclass of arrays that adds nothing."""


class Wrapped:
    """Something that NumPy can make an array of."""

    def __init__(self, array: Array) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, *, copy: bool | None = None) -> Array:
        return self.array.astype(dtype or self.array.dtype, copy=bool(copy))


@st.composite
def laid_out(draw: DrawFn, array: Array) -> Any:
    """The same values somewhere else: other strides, byte order, alignment, class or container."""
    ways: dict[str, Callable[[], Any]] = {
        "as_it_is": lambda: array,
        "fortran": lambda: np.array(array, order="F"),
        "misaligned": lambda: misaligned(array),
        "swapped": lambda: array.astype(array.dtype.newbyteorder()),
        "locked": lambda: locked(array),
        "subclass": lambda: array.view(Vector),
        "masked": lambda: np.ma.MaskedArray(array),
        "wrapped": lambda: Wrapped(array),
        "strided": lambda: strided(array, draw(st.lists(st.sampled_from([1, -1, 2, -3]), **exactly(array.ndim)))),
        "permuted": lambda: permuted(array, draw(st.permutations(range(array.ndim)))),
        "swapped_and_strided": lambda: strided(array.astype(array.dtype.newbyteorder()), [-2] * array.ndim),
    }
    if array.ndim and array.size:
        ways["list"] = array.tolist
        ways["rows"] = lambda: list(array)
        ways["tuple"] = lambda: tuple(array)
        ways["deque"] = lambda: deque(array)
    if array.dtype.kind in "iufb" and array.dtype != np.float16:
        ways["memoryview"] = lambda: memoryview(array)
    return ways[draw(st.sampled_from(sorted(ways)))]()


def exactly(size: int) -> dict[str, int]:
    """The bounds of a list of this length."""
    return {"min_size": size, "max_size": size}


def shapes(least: int = 0, most: int = 4) -> SearchStrategy[tuple[int, ...]]:
    """Shapes of few elements, one in four without any."""
    return npst.array_shapes(min_dims=least, max_dims=most, min_side=0, max_side=5)


@given(data=st.data(), pair=st.sampled_from(PAIRS), shape=shapes())
def test_elements(
    data: st.DataObject, pair: tuple[str, str], shape: tuple[int, ...], oracle: Run, assert_same: Compare
) -> None:
    """Every dtype, shape, layout and container, with any declaration of the shape that it fits."""
    operator, dtype = pair
    array = data.draw(npst.arrays(dtype, shape))
    model = elementwise(operator, dtype, data.draw(declared(shape)))
    value = data.draw(laid_out(array))
    expected = oracle(model, {"x": array})
    assert_same(load(model).predict(value), expected["y"])
    assert_same(load(model).run({"x": value}), expected)


@given(data=st.data(), shape=shapes(most=3))
def test_text(data: st.DataObject, shape: tuple[int, ...], oracle: Run, assert_same: Compare) -> None:
    """Any text in any shape, as Python's own, as NumPy's, and as UTF-8."""
    array = data.draw(npst.arrays(object, shape, elements=TEXT))
    model = elementwise("Identity", "string", data.draw(declared(shape)))
    expected = oracle(model, {"x": array})["y"]
    ways: dict[str, Callable[[], Any]] = {
        "objects": lambda: array,
        "fortran": lambda: np.array(array, order="F"),
        "strided": lambda: strided(array, [-2] * array.ndim),
    }
    if array.size and not any(text.endswith("\0") for text in array.flat):
        ways["fixed_width"] = lambda: array.astype(str)
        ways["utf_8"] = lambda: np.char.encode(array.astype(str), "utf-8")
    if hasattr(np.dtypes, "StringDType"):
        ways["variable_width"] = lambda: array.astype(np.dtypes.StringDType())
    if array.ndim and array.size:
        ways["list"] = array.tolist
    way = data.draw(st.sampled_from(sorted(ways)))
    assert_same(load(model).predict(ways[way]()), expected)


@given(data=st.data(), shape=shapes(1, 3), sources=st.lists(st.sampled_from(NUMBERS), **exactly(3)))
def test_casts(
    data: st.DataObject, shape: tuple[int, ...], sources: list[str], oracle: Run, assert_same: Compare
) -> None:
    """Values of other dtypes come in as NumPy would cast them, unless something would be lost."""
    target = data.draw(st.sampled_from(NUMBERS))
    model = elementwise("Identity", target, ("N", *(None for _ in shape[1:])))
    for source in sources:
        array = data.draw(npst.arrays(source, shape))
        with np.errstate(all="ignore"):
            cast = array.astype(target)
        # Whole numbers compare exactly only as Python's.
        is_float = np.dtype(target).kind == "f"
        if is_float:
            is_lost = bool((np.isinf(cast) & np.isfinite(array)).any())
        else:
            is_lost = np.dtype(source).kind == "f" or cast.tolist() != array.tolist()
        if is_lost and array.size:
            with pytest.raises(glowplug.InputError, match="\n  fix: "):
                load(model).predict(data.draw(laid_out(array)))
        else:
            value = data.draw(laid_out(array)) if source != "float16" else array
            assert_same(load(model).predict(value), oracle(model, {"x": cast})["y"])


SIZES = st.one_of(st.none(), st.sampled_from(["N", "K"]), st.integers(1, 3))


def fitted(shape: tuple[int, ...], dims: tuple[int | str | None, ...]) -> tuple[int, ...] | None:
    """The shape that one is taken for by a model that declares `dims`, `None` if it does not fit."""
    candidates = [shape]
    if len(dims) == 2 and len(shape) == 1:
        candidates += [(1, *shape), (*shape, 1)]
    elif len(dims) in {1, 2} and shape == ():
        candidates += [(1,) * len(dims)]
    elif dims == () and shape == (1,):
        candidates += [()]
    for candidate in candidates:
        if len(candidate) == len(dims) and all(
            not isinstance(dim, int) or dim == size for dim, size in zip(dims, candidate, strict=True)
        ):
            return candidate
    return None


@given(dims=st.lists(SIZES, max_size=4), shape=npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3))
def test_shapes(dims: list[int | str | None], shape: tuple[int, ...], oracle: Run, assert_same: Compare) -> None:
    """A shape fits exactly, or for want of an axis that can only be one, or is refused before the engine sees it."""
    model = elementwise("Neg", "float32", tuple(dims))
    array = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    taken = fitted(shape, tuple(dims))
    if taken is None:
        with pytest.raises(glowplug.InputError, match=r"^input `x` .*got shape \[.*\n  fix: "):
            load(model).predict(array)
        return
    # One name in two places may have two sizes as far as ONNX Runtime is concerned.
    assert_same(load(model).predict(array), oracle(model, {"x": array.reshape(taken)})["y"])


@st.composite
def several(draw: DrawFn) -> tuple[bytes, dict[str, Array]]:
    """A model that adds up inputs of several dtypes, and what goes in."""
    dtypes = draw(st.lists(st.sampled_from(["float32", "float64", "int32", "int64", "bool"]), min_size=1, max_size=5))
    rows, columns = draw(st.integers(0, 6)), draw(st.integers(1, 4))
    names = [f"column {at} é" for at in range(len(dtypes))]
    nodes = [helper.make_node("Cast", [name], [f"{name} cast"], to=models.DTYPES["float64"]) for name in names]
    nodes.append(helper.make_node("Sum", [f"{name} cast" for name in names], ["total"]))
    nodes += [helper.make_node("Identity", [name], [f"{name} out"]) for name in names]
    shape = ("N", columns)
    inputs = [models.value(name, dtype, shape) for name, dtype in zip(names, dtypes, strict=True)]
    outputs = [models.value("total", "float64", shape)]
    outputs += [models.value(f"{name} out", dtype, shape) for name, dtype in zip(names, dtypes, strict=True)]
    feeds = {name: draw(npst.arrays(dtype, (rows, columns))) for name, dtype in zip(names, dtypes, strict=True)}
    return models.model_bytes(models.graph(nodes, inputs, outputs)), feeds


@given(data=st.data(), case=several())
def test_several_inputs_and_outputs(
    data: st.DataObject, case: tuple[bytes, dict[str, Array]], oracle: Run, assert_same: Compare
) -> None:
    """Inputs in any order and any mapping, each laid out in its own way; any choice of outputs, in any order."""
    source, feeds = case
    model = glowplug.load(source)
    expected = oracle(source, feeds)
    order = data.draw(st.permutations(sorted(feeds)))
    mapping = data.draw(st.sampled_from([dict, OrderedDict, types.MappingProxyType]))
    given_feeds = mapping({name: data.draw(laid_out(feeds[name])) for name in order})
    assert_same(model.run(given_feeds), expected)
    wanted = data.draw(st.lists(st.sampled_from(sorted(expected)), min_size=1, unique=True))
    assert_same(model.run(given_feeds, wanted), {name: expected[name] for name in wanted})
    first = model.outputs[0].name
    assert_same(model.predict(given_feeds), expected[first])
    # The engine may take any number of rows for one that it cannot tell from others, so a model is asked again.
    fewer = {name: array[:1] for name, array in feeds.items()}
    assert_same(model.run(fewer), oracle(source, fewer))
    glowplug.unload(model)


@functools.cache
def classifiers(labels: tuple[int, ...] | tuple[str, ...]) -> tuple[bytes, bytes]:
    """A classifier with and without maps."""
    return models.zipmap_classifier(labels), models.tensor_classifier(labels)


LABELS = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=6, unique=True),
    st.lists(TEXT.filter(lambda text: "\0" not in text), min_size=2, max_size=6, unique=True),
).map(tuple)


@given(labels=LABELS, rows=npst.arrays(np.float32, st.tuples(st.integers(0, 5), st.just(models.CLASSIFIER_FEATURES))))
def test_classifiers(
    labels: tuple[int, ...] | tuple[str, ...], rows: Array, oracle: Run, assert_same: Compare, assert_close: Compare
) -> None:
    """Any labels in any order: maps and matrices come to the same probabilities, in the order of `classes`."""
    # Of NaNs, the greatest is anybody's.
    assume(np.isfinite(rows).all())
    with_maps, plain = classifiers(labels)
    zipped = glowplug.load(with_maps)
    try:
        expected = oracle(plain, {"x": rows})
        assert zipped.classes == list(labels)
        assert_close(zipped.predict_proba(rows), expected["probabilities"])
        assert_same(zipped.predict(rows), expected["label"])
        assert_close(zipped.run(rows), oracle(with_maps, {"x": rows}))
    finally:
        glowplug.unload(zipped)


FEATURES = 8
MLP = models.mlp(FEATURES, 16)


@given(
    sizes=st.lists(st.integers(0, 70), min_size=1, max_size=6),
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(["float32", "float64", "float16"]),
)
def test_batches(sizes: list[int], seed: int, dtype: str, oracle: Run) -> None:
    """A model with weights gives a row the same answer in any batch, up to the rounding of sums in another order."""
    rows = np.random.default_rng(seed).normal(0, 3, (sum(sizes), FEATURES)).astype(dtype)
    model, native = glowplug.load(MLP, engine="onnxruntime"), load(MLP)
    assert native.explain()["engine"] == "native"
    whole = model.predict(rows)
    peer = oracle(MLP, {"x": rows.astype(np.float32)})["y"]
    assert np.array_equal(whole, peer)
    parts = [model.predict(part) for part in np.split(rows, np.cumsum(sizes)[:-1])]
    assert [len(part) for part in parts] == sizes
    assert np.allclose(np.concatenate(parts), whole, rtol=1e-5, atol=1e-6, equal_nan=True)
    # Its own engine rounds in one order.
    assert np.allclose(native.predict(rows), whole, rtol=1e-5, atol=1e-6, equal_nan=True)
    parts = [native.predict(part) for part in np.split(rows, np.cumsum(sizes)[:-1])]
    assert np.array_equal(np.concatenate(parts), native.predict(rows), equal_nan=True)


@given(data=st.data(), shape=shapes(1, 3))
def test_pickled_models(
    data: st.DataObject, shape: tuple[int, ...], tmp_path_factory: pytest.TempPathFactory, assert_same: Compare
) -> None:
    """A model that was pickled answers as before."""
    path = tmp_path_factory.getbasetemp() / f"rank-{len(shape)}.onnx"
    if not path.exists():
        path.write_bytes(elementwise("Neg", "float64", ("N", *(None for _ in shape[1:]))))
    array = data.draw(npst.arrays(np.float64, shape))
    model = glowplug.load(path)
    assert_same(pickle.loads(pickle.dumps(model)).predict(data.draw(laid_out(array))), -array)
