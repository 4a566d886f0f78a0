"""Names of the columns of a matrix: from the model's metadata or from the caller, checked, carried, used for frames."""

from __future__ import annotations

import copy
import json
import pickle
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import glowplug as gp
import models
from worker_tools import put, share

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MATRIX = models.identity(shape=("N", 3))
NAMES = ["amount", "hour", "größe"]
DUPLICATES: dict[str, Callable[[gp.Model], gp.Model]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
}


def with_metadata(model: bytes, **properties: str) -> bytes:
    proto = models.ModelProto.FromString(model)
    models.helper.set_model_props(proto, properties)
    return bytes(proto.SerializeToString())


# --- Where they come from ---------------------------------------------------------------------------------------------

METADATA: list[tuple[str, list[str] | None]] = [
    (json.dumps(NAMES), NAMES),
    (json.dumps(NAMES, ensure_ascii=False, indent=2), NAMES),
    ("amount, hour, größe", NAMES),
    ('["a,b", "🙂", "\\ud83d\\ude42x"]', ["a,b", "🙂", "🙂x"]),
    # What does not fit or cannot be read is as if it were not there.
    ("amount, hour", None),
    ("amount, hour, amount", None),
    ('["amount", "hour", 3]', None),
    ('["amount", "hour", "größe"', None),
    ("", None),
]


@pytest.mark.parametrize(("text", "expected"), METADATA)
def test_metadata_names_the_columns(text: str, expected: list[str] | None, tmp_path: Path) -> None:
    content = with_metadata(MATRIX, author="a, b, c", feature_names=text)
    assert gp.load(content).features == expected
    assert gp.load(put(tmp_path / "model.onnx", content)).features == expected


def test_models_without_names_have_none() -> None:
    for content in (MATRIX, models.two_inputs(), models.no_inputs(), with_metadata(MATRIX, features="a, b, c")):
        assert gp.load(content).features is None


@pytest.mark.parametrize("names", [["a", "b", "c"], ("a", "b", "c"), iter("abc"), {"a": 0, "b": 1, "c": 2}])
def test_the_callers_names_win(names: Any) -> None:
    content = with_metadata(MATRIX, feature_names=json.dumps(NAMES))
    given, own = gp.load(content, features=names), gp.load(content)
    assert (given.features, own.features) == (["a", "b", "c"], NAMES)
    assert share(given, own), "names are the holder's, not the session's"


REFUSED: list[tuple[str, bytes, Any, type[Exception], str]] = [
    ("too few", MATRIX, ["a", "b"], gp.OptionError, "got 2 names, expected 3, one for each column of input `x`"),
    ("too many", MATRIX, list("abcd"), gp.OptionError, "got 4 names, expected 3"),
    ("none", MATRIX, [], gp.OptionError, "got 0 names, expected 3"),
    ("twice", MATRIX, ["a", "b", "a"], gp.OptionError, "got `a` more than once"),
    ("text", MATRIX, "abc", gp.OptionTypeError, "got 'abc', expected a list of names"),
    ("number", MATRIX, 3, gp.OptionTypeError, "got 3, expected a list of names"),
    ("no text", MATRIX, ["a", "b", 3], gp.OptionTypeError, "got 3, expected names that are strings"),
    ("bytes", MATRIX, ["a", "b", b"c"], gp.OptionTypeError, "got b'c', expected names"),
    ("two inputs", models.two_inputs(), ["a", "b"], gp.OptionError, "the model has 2 inputs"),
    ("no inputs", models.no_inputs(), ["a"], gp.OptionError, "the model has 0 inputs"),
    ("vector", models.identity(shape=("N",)), ["a"], gp.OptionError, r"input `x` has shape \[N\]"),
    ("cube", models.identity(shape=("N", 2, 2)), ["a"], gp.OptionError, r"input `x` has shape \[N, 2, 2\]"),
    ("open", models.open_rank(), ["a"], gp.OptionError, "input `x` has shape"),
]


@pytest.mark.parametrize(
    ("content", "names", "error", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_names_that_do_not_fit_are_refused(content: bytes, names: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=rf"^option `features`: .*{message}[^\n]*\n  fix: "):
        gp.load(content, features=names)


def test_a_matrix_of_any_width_takes_any_number() -> None:
    assert gp.load(models.unnamed_dims(), features=["a", "b"]).features == ["a", "b"]
    assert gp.load(models.default_input(), features=["a", "b"]).features == ["a", "b"], "the other input has a default"


# --- How they travel --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("duplicate", DUPLICATES.values(), ids=DUPLICATES.keys())
@pytest.mark.parametrize("given", [None, ["a", "b", "c"]])
def test_duplicates_carry_them(
    duplicate: Callable[[gp.Model], gp.Model], given: list[str] | None, tmp_path: Path
) -> None:
    path = put(tmp_path / "model.onnx", with_metadata(MATRIX, feature_names=json.dumps(NAMES)))
    model = gp.load(path, features=given)
    other = duplicate(duplicate(model))
    assert other.features == model.features == (given or NAMES)
    assert share(model, other)


def test_closing_one_holder_leaves_the_other(tmp_path: Path) -> None:
    path = put(tmp_path / "model.onnx", MATRIX)
    with gp.load(path, features=NAMES) as named:
        plain = gp.load(path)
    with pytest.raises(gp.ModelClosedError):
        _ = named.features
    assert plain.features is None


def test_pickle_is_compared_before_names_are(tmp_path: Path) -> None:
    path = put(tmp_path / "model.onnx", MATRIX)
    pickled = pickle.dumps(gp.load(path, features=NAMES))
    put(path, models.identity(shape=("N", 2)))
    with pytest.raises(gp.ModelError, match="content with digest"):
        pickle.loads(pickled)


def test_reloads_read_them_anew(tmp_path: Path) -> None:
    path = put(tmp_path / "model.onnx", with_metadata(MATRIX, feature_names="a, b, c"))
    model, named = gp.load(path, reload=0), gp.load(path, reload=0, features=NAMES)
    put(path, with_metadata(models.identity(shape=("N", 2)), feature_names="d, e"))
    assert model.features == ["d", "e"]
    with pytest.raises(gp.OptionError, match="got 3 names, expected 2"):
        _ = named.features


def test_they_are_not_shown() -> None:
    plain, named = gp.load(MATRIX), gp.load(MATRIX, features=NAMES)
    assert repr(plain) == repr(named)
    assert set(plain.explain()) == set(named.explain())


# --- Frames -----------------------------------------------------------------------------------------------------------

FRAME = pd.DataFrame({"amount": [1.0, 2.0], "hour": [3.0, 4.0], "größe": [5.0, 6.0]})
ROWS = np.array([[1, 3, 5], [2, 4, 6]], dtype=np.float32)


@pytest.mark.parametrize(
    "frame",
    [
        FRAME,
        FRAME[["größe", "amount", "hour"]],
        FRAME.assign(other=7.0)[["other", "hour", "größe", "amount"]],
        FRAME.astype(np.float32)[["hour", "größe", "amount"]],
        # Columns without names are taken as they come.
        pd.DataFrame(ROWS),
    ],
)
def test_frames_are_put_in_order(frame: pd.DataFrame) -> None:
    model = gp.load(MATRIX, features=NAMES)
    assert np.array_equal(model.predict(frame), ROWS)
    assert np.array_equal(model.run(frame)["y"], ROWS)


def test_frames_without_a_feature_are_refused() -> None:
    model = gp.load(MATRIX, features=NAMES)
    with pytest.raises(gp.InputError, match=r"without the columns \['hour'\], expected .*\n  fix: add or rename"):
        model.predict(FRAME.rename(columns={"hour": "time"}))


def test_rows_of_frames_are_put_in_order() -> None:
    model, row = gp.load(MATRIX, features=NAMES), FRAME.iloc[1]
    for one in (row, row[["größe", "amount", "hour"]], pd.concat([pd.Series({"other": 7.0}), row]), pd.Series(ROWS[1])):
        assert np.array_equal(model.predict(one), ROWS[1:])
    with pytest.raises(gp.InputError, match=r"a row without the columns \['hour'\], expected "):
        model.predict(row.rename({"hour": "time"}))


#: What people try with a frame's rows, and what to do instead.
MISTAKES: dict[str, tuple[Callable[[gp.Model], object], str]] = {
    "a row by name": (lambda model: model.predict(dict(FRAME.iloc[0])), "unknown input `amount`.*\n.*`predict_rows`"),
    "columns by name": (lambda model: model.predict({"hour": ROWS[:, 0]}), "unknown input `hour`.*\n.*`predict_rows`"),
    "rows by name": (lambda model: model.predict(FRAME.to_dict("records")), "dtype object.*\n.*`predict_rows`"),
    "a sparse matrix": (lambda model: model.predict(sparse.csr_matrix(ROWS)), r"sparse csr_matrix.*\n.*toarray"),
    "a frame for rows": (lambda model: model.predict_rows(FRAME), r"DataFrame.*\n.*`predict`.*`frame\.to_dict"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_with_frames_name_the_method_that_takes_them(mistake: str) -> None:
    call, message = MISTAKES[mistake]
    with pytest.raises(gp.InputError, match=message):
        call(gp.load(MATRIX, features=NAMES))


def test_frames_of_models_without_names_are_taken_as_they_come() -> None:
    turned = FRAME[["größe", "amount", "hour"]]
    assert np.array_equal(gp.load(MATRIX).predict(turned), ROWS[:, [2, 0, 1]])


@pytest.mark.parametrize("kinds", [[3, 7, 200], ["FR", "DE", "BR"]])
def test_categories_of_frames_are_refused_where_codes_may_be_meant(kinds: list[Any]) -> None:
    """LightGBM learns codes: numbers that are categories would have been taken for them."""
    random = np.random.default_rng(0)
    country = pd.Categorical(random.choice(np.array(kinds), 300))
    table = pd.DataFrame({"amount": random.normal(size=300), "country": country})
    options = {"objective": "regression", "verbose": -1, "min_data_per_group": 5}
    booster = lightgbm.train(options, lightgbm.Dataset(table, country.codes + table["amount"]), 5)
    model = gp.load(booster.model_to_string().encode())
    with pytest.raises(gp.InputTypeError, match=r"categories in \['country'\].*\n.*cat.codes"):
        model.predict(table)
    codes = table.assign(country=table["country"].cat.codes)
    np.testing.assert_array_equal(model.predict(codes), booster.predict(table))
