"""The handler that platforms share: requests to answers, hostile ones to a 4xx with a reason, and the next one unharmed."""

from __future__ import annotations

import base64
import gzip
import io
import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import glowplug
import models
from glowplug.serve.http import CSV, JSON, NPY, Limits, Problem, Request, Response, check_parsed, from_base64
from glowplug.serve.scoring import Measure, Scorer

if TYPE_CHECKING:
    from collections.abc import Iterator

ROW = [1.0] * 30
BODY = json.dumps([ROW]).encode()


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(glowplug.load(models.mlp(hidden=20)), limits=Limits(body=2**20, decompressed=2**22, rows=1000))


def post(scorer: Scorer, body: bytes, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return scorer.respond(Request("POST", "/", named, body))


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npy_header(shape: str, dtype: str = "<f4") -> bytes:
    """What comes before the elements, for a shape that NumPy would not write."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x02\x00" + len(header).to_bytes(4, "little") + header


FORMS = {
    "json": (BODY, {}),
    "gzip": (gzip.compress(BODY), {"content_encoding": "gzip"}),
    "csv": (",".join(map(str, ROW)).encode(), {"content_type": "text/csv; charset=utf-8", "accept": JSON}),
    "npy": (npy(np.array([ROW], np.float32)), {"content_type": NPY, "accept": JSON}),
}


@pytest.mark.parametrize(("body", "headers"), FORMS.values(), ids=FORMS)
def test_every_form_gives_the_same(scorer: Scorer, body: bytes, headers: dict[str, str]) -> None:
    answered = post(scorer, body, **headers)
    assert (answered.status, answered.headers["content-type"]) == (200, JSON), answered.body
    assert np.allclose(json.loads(answered.body), scorer.model.predict(np.array([ROW], np.float32)))


def test_answers_have_the_form_of_the_question(scorer: Scorer) -> None:
    table = post(scorer, FORMS["csv"][0], content_type=CSV)
    assert (table.headers["content-type"], len(table.body.splitlines())) == (CSV, 1)
    array = np.load(io.BytesIO(post(scorer, FORMS["npy"][0], content_type=NPY).body))
    assert float(table.body) == pytest.approx(float(array[0, 0]))


HOSTILE = {
    "declared length": (BODY, {"content_length": str(2**30)}, 413),
    "no length": (BODY, {"content_length": "-1"}, 400),
    "long body": (bytes(2**21), {}, 413),
    "gzip bomb": (gzip.compress(bytes(2**28)), {"content_encoding": "gzip"}, 413),
    "gzip in gzip": (gzip.compress(gzip.compress(bytes(2**28))), {"content_encoding": "gzip, gzip"}, 413),
    "cut gzip": (gzip.compress(BODY)[:-9], {"content_encoding": "gzip"}, 400),
    "no gzip": (BODY, {"content_encoding": "gzip"}, 400),
    "gzip members": (gzip.compress(b"") * 1000, {"content_encoding": "gzip"}, 400),
    "encoding": (BODY, {"content_encoding": "br"}, 415),
    "content type": (BODY, {"content_type": "image/png"}, 415),
    "charset": (BODY, {"content_type": "application/json; charset=utf-16"}, 415),
    "accept": (BODY, {"accept": "image/png"}, 406),
    "not UTF-8": (b'[["\xff"]]', {}, 400),
    "csv not UTF-8": (b"1,\xff", {"content_type": CSV}, 400),
    "nesting": (b"[" * 500_000, {}, 400),
    "no JSON": (b"hello", {}, 400),
    "empty": (b"", {}, 400),
    "empty csv": (b"", {"content_type": CSV}, 400),
    "csv quote": (b'"1,2', {"content_type": CSV}, 400),
    "rows": (json.dumps([[1] * 30] * 1001).encode(), {}, 413),
    "csv rows": (b"\n".join([b",".join([b"1"] * 30)] * 1001), {"content_type": CSV}, 413),
    "npy rows": (npy(np.zeros((1001, 30), np.float32)), {"content_type": NPY}, 413),
    "npy objects": (npy(np.array([[{}]], object)), {"content_type": NPY}, 400),
    "npy shape": (npy(np.zeros((1, 30), np.float32))[:-4], {"content_type": NPY}, 400),
    "npy cut": (b"\x93NUMPY", {"content_type": NPY}, 400),
    # Of nothing, but more than an array may have of it.
    "npy long axis": (npy_header("(0, 100000000000000000000)"), {"content_type": NPY}, 400),
    "npy long axes": (npy_header("(0, 4611686018427387904, 2)"), {"content_type": NPY}, 400),
    "npy axes": (npy_header(f"({'1, ' * 65})") + bytes(4), {"content_type": NPY}, 400),
    "npy no axes": (npy_header(f"({'0, ' * 65})"), {"content_type": NPY}, 400),
    "npy less than none": (npy_header("(-1, -30)") + bytes(120), {"content_type": NPY}, 400),
    "npy huge text": (npy_header("(0,)", "<U500000000"), {"content_type": NPY}, 400),
    "npy long header": (npy_header(f"({'1, ' * 20_000})"), {"content_type": NPY}, 400),
    "width": (b"[[1, 2]]", {}, 400),
}


@pytest.mark.parametrize(("body", "headers", "status"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_bodies_are_told_why(scorer: Scorer, body: bytes, headers: dict[str, str], status: int) -> None:
    answered = post(scorer, body, **headers)
    problem = json.loads(answered.body)
    assert (answered.status, problem["status"]) == (status, status), problem
    assert answered.headers["content-type"] == "application/problem+json"
    assert problem["detail"]
    assert post(scorer, BODY).status == 200


def test_hooks_answer_arrays_as_arrays(scorer: Scorer) -> None:
    """Their predictions are plain Python, and what they make of it may be anything."""
    body = FORMS["npy"][0]
    expected = scorer.model.predict(np.array([ROW], np.float32))
    answered = post(Scorer(scorer.model, before=lambda rows: rows), body, content_type=NPY)
    assert answered.headers["content-type"] == NPY, answered.body
    assert np.allclose(np.load(io.BytesIO(answered.body)), expected)
    for made in ([[1], [1, 2]], {"risk": 1}, [{"risk": 1}], [None], 7, [10**30]):
        after = Scorer(scorer.model, after=lambda *_, made=made: made)
        answered = post(after, body, content_type=NPY)
        assert (answered.status, answered.headers["content-type"], json.loads(answered.body)) == (200, JSON, made)


def test_problems_name_row_and_field(scorer: Scorer) -> None:
    problem = json.loads(post(scorer, json.dumps([ROW, [*ROW[:29], "x"]]).encode()).body)
    assert (problem["row"], problem["field"]) == (1, "29")


def test_nan_is_taken_and_answered_as_null(scorer: Scorer) -> None:
    answered = post(scorer, json.dumps([[float("nan")] * 30]).encode())
    assert (answered.status, json.loads(answered.body)) == (200, [[None]])


def test_truncated_base64() -> None:
    assert from_base64(base64.b64encode(BODY)) == BODY
    with pytest.raises(Problem) as raised:
        from_base64(base64.b64encode(BODY)[:-3])
    assert raised.value.status == 400


def test_hooks_and_faults(scorer: Scorer) -> None:
    hooked = Scorer(
        scorer.model,
        before=lambda data: [data["row"]],
        after=lambda found, data: {"id": data["id"], "risk": found[0][0]},
    )
    answer = json.loads(post(hooked, json.dumps({"id": 7, "row": ROW}).encode()).body)
    assert answer == hooked.score({"id": 7, "row": ROW})
    assert answer["id"] == 7
    failed = post(hooked, b"{}")
    assert failed.status == 500
    assert b"KeyError" not in failed.body


def test_time_is_bounded(scorer: Scorer) -> None:
    measure = Measure()
    late = scorer.respond(Request("POST", "/", {}, BODY), timeout=0, measure=measure)
    assert late.status == 503
    assert isinstance(measure.error, glowplug.DeadlineExceeded)
    fallback = Scorer(scorer.model, timeout=0, fallback={"risk": None})
    assert json.loads(post(fallback, BODY).body) == {"risk": None} == fallback.score([ROW])
    scorer.respond(Request("POST", "/", {}, BODY), timeout=60, measure=measure)
    assert measure.rows == 1
    assert measure.run_ns > 0


@pytest.mark.parametrize("hook", ["before", "around"])
def test_what_hooks_take_is_taken_from_the_time(hook: str) -> None:
    def before(question: Any) -> Any:
        time.sleep(0.05)
        return question

    def around(question: Any) -> Iterator[Any]:
        scores = yield before(question)
        return scores

    hooks: dict[str, Any] = {hook: {"before": before, "around": around}[hook]}
    scorer = Scorer(glowplug.load(models.mlp(hidden=10)), fallback="late", **hooks)
    row = [[1.0] * 30]
    assert scorer.score(row, timeout=0.04) == "late"
    assert json.loads(scorer.respond(Request("POST", "/", {}, json.dumps(row).encode()), timeout=0.04).body) == "late"
    assert len(scorer.score(row, timeout=60)) == 1


@pytest.mark.parametrize(
    ("body", "fits"),
    [
        (json.dumps([[0, 1] * 50] * 1000, separators=(",", ":")), True),
        (json.dumps([[0.5, 1.25]] * 20_000, separators=(",", ":")), True),
        (json.dumps([{"text": "a, [b], {c}, " * 50 + '"\\'}] * 1000), True),
        (json.dumps([{"text": "ä" * 500}] * 400, ensure_ascii=False), True),
        ("[" + "[]," * 300_000 + "[]]", False),
        ("[" + '"",' * 300_000 + '""]', False),
        ("[" + "{}," * 100_000 + "{}]", False),
    ],
)
@pytest.mark.parametrize("made", [str, str.encode])
def test_what_is_parsed_is_bounded_by_the_objects_it_makes(made: Any, body: str, fits: bool) -> None:
    limits = Limits(body=2**20, decompressed=2**20)
    if fits:
        check_parsed(made(body), limits)
        return
    with pytest.raises(Problem, match="when parsed") as caught:
        check_parsed(made(body), limits)
    assert caught.value.status == 413
