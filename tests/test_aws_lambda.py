"""Functions of AWS Lambda: events of requests and of callers, under the real runtime client."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import glowplug
import models
from glowplug.lab.runtime_api import RuntimeGoneError
from glowplug.serve.aws_lambda import Handler, handler
from glowplug.serve.http import Problem, Response
from lambda_events import event_bridge, http_api, load_balancer, rest_api
from serving import RuntimeApi
from test_runtime_api import client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from glowplug.serve.scoring import Measure

ric = pytest.importorskip("awslambdaric.lambda_context")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the client is one for Linux")

ROW = [0.5] * 30
ROWS = json.dumps([ROW, [1.0] * 30])
PLAIN = "from glowplug.serve.aws_lambda import handler\nhandler = handler('model.onnx')\n"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeApi]:
    """A function of one line, under the real client."""
    folder = tmp_path_factory.mktemp("function")
    (folder / "model.onnx").write_bytes(models.mlp(hidden=20))
    with RuntimeApi() as api, client(folder, api, PLAIN):
        api.wait_until_ready(20)
        yield api


@pytest.fixture(scope="module")
def expected() -> list[Any]:
    model = glowplug.load(models.mlp(hidden=20))
    return json.loads(model.predict_json(ROWS))


def context(seconds: float = 60) -> Any:
    """What the real client gives, with so much time left."""
    return ric.LambdaContext("id", None, None, int((time.time() + seconds) * 1000), "arn")


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


WEB: dict[str, Callable[..., dict[str, Any]]] = {
    "http api": http_api,
    "rest api": rest_api,
    "balancer": load_balancer,
    "balancer, several": lambda body, **more: load_balancer(body, several=True, **more),
}
TABLE = np.array(json.loads(ROWS), np.float32)
FORMS: dict[str, tuple[str | bytes, dict[str, str]]] = {
    "text": (ROWS, {}),
    "base64": (ROWS.encode(), {}),
    "gzip": (gzip.compress(ROWS.encode()), {"content_encoding": "gzip"}),
    "csv": (
        "\n".join(",".join(map(str, row)) for row in TABLE),
        {"content_type": "text/csv", "accept": "application/json"},
    ),
    "npy": (npy(TABLE), {"content_type": "application/x-npy", "accept": "application/json"}),
    "no headers that matter": (ROWS, {"content_type": "", "accept": ""}),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("web", WEB)
def test_requests(api: RuntimeApi, expected: list[Any], web: str, form: str) -> None:
    body, headers = FORMS[form]
    invocation = api.invoke(WEB[web](body, **headers))
    answer = invocation.json()
    assert (invocation.error_type, answer["statusCode"]) == (None, 200), answer
    assert np.allclose(json.loads(answer["body"]), expected)
    assert answer["isBase64Encoded"] is False
    if web == "balancer, several":
        assert answer["multiValueHeaders"]["content-type"] == ["application/json"]
        assert "headers" not in answer
    else:
        assert answer["headers"]["content-type"] == "application/json"
    assert answer.get("statusDescription") == ("200 OK" if "balancer" in web else None)


def test_binary_answers(api: RuntimeApi, expected: list[Any]) -> None:
    answer = api.invoke(http_api(npy(TABLE), content_type="application/x-npy")).json()
    assert answer["isBase64Encoded"] is True
    assert np.allclose(np.load(io.BytesIO(base64.b64decode(answer["body"]))), expected)


def test_answers_of_functions_that_are_bytes() -> None:
    picture = b"\x89PNG\xff\0"
    scored = handler(glowplug.load(models.mlp(hidden=20)), warm=0, after=lambda *_: picture)
    for web in WEB.values():
        answer = scored(web(ROWS), context())
        assert (answer["statusCode"], answer["isBase64Encoded"]) == (200, True)
        assert base64.b64decode(answer["body"]) == picture


NO_TEXT: dict[str, tuple[dict[str, str], bytes]] = {
    "picture": ({"content-type": "image/png"}, b"\x89PNG\xff\0"),
    "packed": ({"content-type": "application/json", "content-encoding": "gzip"}, gzip.compress(b"[1]", mtime=0)),
    # Whoever says that these are bytes gets them as such, whatever they look like.
    "bytes": ({"content-type": "application/octet-stream"}, b"text"),
    "no type": ({}, b"\xff"),
}


@pytest.mark.parametrize("kind", NO_TEXT)
@pytest.mark.parametrize("web", WEB)
def test_answers_of_ones_own_that_are_no_text(web: str, kind: str) -> None:
    """JSON has no place for them, so that the service has to be told that they are base64."""
    headers, body = NO_TEXT[kind]
    made = glowplug.load(models.mlp(hidden=20))
    answer = handler(made, warm=0, after=lambda *_: Response(200, dict(headers), body))(WEB[web](ROWS), context())
    assert (answer["statusCode"], answer["isBase64Encoded"]) == (200, True), answer
    assert base64.b64decode(answer["body"], validate=True) == body
    json.dumps(answer)


def test_answers_with_a_status_of_ones_own() -> None:
    @handler(glowplug.load(models.mlp(hidden=20)), warm=0)
    def scored(question: Any) -> Any:
        if not question:
            raise Problem(404, "no such payment", payment="x")
        found = yield question
        return Response(201, {"content-type": "text/plain", "set-cookie": "seen=1"}, str(len(found)).encode())

    for web in WEB.values():
        answer = scored(web(ROWS), context())
        assert (answer["statusCode"], answer["body"]) == (201, "2")
        headers = answer.get("headers") or answer["multiValueHeaders"]
        assert headers["set-cookie"] in ("seen=1", ["seen=1"])
        missing = scored(web("[]"), context())
        assert (missing["statusCode"], json.loads(missing["body"])["payment"]) == (404, "x")


PROBLEMS: dict[str, tuple[str | bytes | None, dict[str, str], int]] = {
    "no JSON": ("hello", {}, 400),
    "a word for a number": (json.dumps([ROW, [*ROW[:29], "x"]]), {}, 400),
    "no body": ("", {}, 400),
    "half a pair": ('["\ud800"]', {}, 400),
    "method": (None, {"method": "GET"}, 405),
    "accept": (ROWS, {"accept": "image/png"}, 406),
    "length": (ROWS, {"content_length": str(2**30)}, 413),
    "content type": (ROWS, {"content_type": "image/png"}, 415),
}


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("web", WEB)
def test_mistakes_are_answered(api: RuntimeApi, web: str, problem: str) -> None:
    body, more, status = PROBLEMS[problem]
    answer = api.invoke(WEB[web]("" if body is None else body, **more)).json()
    document = json.loads(answer["body"])
    assert (answer["statusCode"], document["status"]) == (status, status), document
    kind = (answer.get("headers") or answer["multiValueHeaders"])["content-type"]
    assert kind in ("application/problem+json", ["application/problem+json"])
    if problem == "a word for a number":
        assert (document["row"], document["field"]) == (1, "29")


def test_bombs_are_not_inflated(api: RuntimeApi) -> None:
    bomb = gzip.compress(bytes(2**27 + 1), 1)
    answer = api.invoke(rest_api(bomb, content_encoding="gzip")).json()
    assert (answer["statusCode"], "when decompressed" in answer["body"]) == (413, True)


def test_base64_that_is_none(api: RuntimeApi) -> None:
    answer = api.invoke({**http_api(ROWS), "body": "W1s", "isBase64Encoded": True}).json()
    assert answer["statusCode"] == 400
    assert "base64" in answer["body"]


def test_health_checks_of_load_balancers(api: RuntimeApi) -> None:
    check = load_balancer("", method="GET", user_agent="ELB-HealthChecker/2.0")
    assert api.invoke(check).json()["statusCode"] == 200


def test_payloads(api: RuntimeApi, expected: list[Any]) -> None:
    """Callers, Step Functions and EventBridge pass data as it is, and take what the model says."""
    data = json.loads(ROWS)
    assert api.invoke(data).json() == expected
    assert api.invoke(data[0]).json() == expected[0]
    assert api.invoke({"instances": data}).json() == {"predictions": expected}
    assert api.invoke(event_bridge(data)).json() == expected
    assert api.invoke({"Items": data, "BatchInput": {"run": 1}}).json() == expected
    assert api.invoke(event_bridge({}, source="aws.events", kind="Scheduled Event")).json() is None


def test_errors_of_payloads_are_the_callers(api: RuntimeApi) -> None:
    failed = api.invoke([ROW, [1]])
    assert failed.error_type == "InputError"
    assert "row 1" in failed.json()["errorMessage"]
    assert api.invoke([ROW]).error_type is None


def test_deadline(tmp_path: Path) -> None:
    """A model that never answers is ended in time, and the environment lives on."""
    (tmp_path / "model.onnx").write_bytes(models.endless_loop())
    # It would not end in the INIT phase either.
    lines = (
        "from glowplug.serve.aws_lambda import handler as make",
        "plain = make('model.onnx', warm=0.2, margin=1.5)",
        "other = make('model.onnx', warm=0, timeout=0.1, fallback={'count': None})",
        "calls = 0",
        "def handler(event, context):",
        "    global calls",
        "    calls += 1",
        "    return calls if event == 'calls' else (other if event == 2 else plain)(event, context)",
    )
    with RuntimeApi() as api, client(tmp_path, api, "\n".join(lines)):
        assert api.wait_until_ready(20)
        # An answer after the deadline would be none: `invoke` raises then. The margin is for busy machines.
        late = api.invoke({"inputs": {"x": 1}}, timeout=2)
        assert late.error_type == "DeadlineExceeded"
        answer = api.invoke(http_api('{"inputs": {"x": 1}}'), timeout=2).json()
        assert (answer["statusCode"], answer["headers"]["retry-after"]) == (503, "1")
        assert api.invoke(2, timeout=60).json() == {"count": None}
        assert api.invoke("calls").json() == 4


def test_failed_initialisation_names_the_fix(tmp_path: Path) -> None:
    with RuntimeApi() as api, client(tmp_path, api, PLAIN):
        with pytest.raises(RuntimeGoneError, match=r"model\.onnx"):
            api.wait_until_ready(20)
        assert api.init_error is not None
        assert api.init_error["errorType"] == "ModelNotFoundError"


AROUND = """
from glowplug.serve.aws_lambda import handler

@handler("model.onnx")
def handler(payment, call):
    if "row" not in payment:
        return {"risk": None, "trigger": sorted(call.event)[0]}
    try:
        scores = yield [payment["row"]]
    except ValueError as error:
        return {"wrong": error.field}
    return {"id": payment["id"], "risk": scores[0][0], "arn": call.context.invoked_function_arn}
"""


def test_decorator(tmp_path: Path, expected: list[Any]) -> None:
    (tmp_path / "model.onnx").write_bytes(models.mlp(hidden=20))
    with RuntimeApi("scorer") as api, client(tmp_path, api, AROUND):
        answer = api.invoke({"id": 7, "row": ROW}, timeout=20).json()
        assert (answer["id"], answer["risk"]) == (7, pytest.approx(expected[0][0]))
        assert answer["arn"].endswith(":scorer")
        assert api.invoke({"id": 7}).json() == {"risk": None, "trigger": "id"}
        web = api.invoke(http_api(json.dumps({"id": 8, "row": [*ROW[:3], "x", *ROW[4:]]}))).json()
        assert (web["statusCode"], json.loads(web["body"])) == (200, {"wrong": "3"})
        broken = api.invoke(http_api('"payment"')).json()
        assert (broken["statusCode"], "TypeError" in broken["body"]) == (200, False)
        broken = api.invoke(http_api("7")).json()
        assert (broken["statusCode"], "TypeError" in broken["body"]) == (500, False)


def test_around_is_told_apart() -> None:
    scored = handler(glowplug.load(models.mlp(hidden=20)), warm=0)
    with pytest.raises(glowplug.OptionTypeError, match="without `yield`"):
        scored(lambda question: question)

    @scored
    def twice(question: Any) -> Any:
        yield [question]
        yield [question]

    with pytest.raises(glowplug.OptionError, match="a second time"):
        twice(ROW, context())

    def nothing() -> Any:
        yield

    with pytest.raises(glowplug.OptionTypeError, match="without arguments"):
        scored(nothing)
    with pytest.raises(glowplug.OptionError, match="`around`"):
        handler(scored.scorer.model, warm=0, before=lambda question: [question])(twice.scorer.around)
    with pytest.raises(glowplug.OptionError, match="`margin`"):
        handler(scored.scorer.model, margin=-1)


class Recorder:
    """What was told of invocations."""

    def __init__(self) -> None:
        self.told: list[tuple[Measure, dict[str, Any]]] = []

    def record(self, measure: Measure, **facts: Any) -> None:
        self.told.append((measure, facts))

    def flush(self) -> None:
        self.told.clear()


def test_telemetry_is_told_once_an_invocation() -> None:
    recorder = Recorder()
    scored = handler(glowplug.load(models.mlp(hidden=20)), telemetry=recorder)
    assert isinstance(scored, Handler)
    scored(json.loads(ROWS), context())
    scored(http_api("[1]"), context())
    with pytest.raises(glowplug.InputError):
        scored([1], context())
    (first, facts), (second, _), (third, last) = recorder.told
    assert (first.rows, first.error, facts["trigger"], facts["is_cold"]) == (2, None, "direct", True)
    assert 0 < first.run_ns / 1e9 < facts["seconds"]
    assert (type(second.error), type(third.error)) == (glowplug.InputError, glowplug.InputError)
    assert last["is_cold"] is False


def test_answer_that_lambda_would_not_take() -> None:
    scored = handler(glowplug.load(models.identity(shape=("N", 3))), warm=0)
    fits = scored(http_api(json.dumps([[1.25, 2.5, 3.5]] * 200_000)), context())
    assert fits["statusCode"] == 200
    large = scored(http_api(json.dumps([[1.25, 2.5, 3.5]] * 420_000)), context())
    assert (large["statusCode"], "fewer rows" in large["body"]) == (413, True)


def test_answer_that_a_load_balancer_would_not_take() -> None:
    """It takes 1 MB of JSON, and answers with a 502 of its own where there is more."""
    scored = handler(glowplug.load(models.identity(shape=("N", 3))), warm=0)
    for count, status in ((60_000, 200), (80_000, 413)):
        body = json.dumps([[1.25, 2.5, 3.5]] * count)
        answer = scored(load_balancer(body), context())
        assert answer["statusCode"] == status, count
        assert len(json.dumps(answer)) <= 2**20
        assert scored(http_api(body), context())["statusCode"] == 200
    # The body may be small enough, and its base64 is not.
    large = handler(scored.scorer.model, warm=0, after=lambda *_: bytes(900_000))
    assert large(load_balancer("[[1, 2, 3]]"), context())["statusCode"] == 413
    assert large(rest_api("[[1, 2, 3]]"), context())["statusCode"] == 200


@pytest.mark.parametrize("web", WEB)
def test_headers_without_a_value_are_as_if_they_were_not_there(web: str) -> None:
    scored = handler(glowplug.load(models.mlp(hidden=20)), warm=0)
    event = WEB[web](ROWS)
    key = "headers" if "headers" in event else "multiValueHeaders"
    named: dict[str, Any] = event[key]
    named.clear()
    named |= {"Accept": None, "content-encoding": None, "content-length": None}
    if key == "headers":
        named["Content-Type"] = "application/json"
    else:
        named |= {"Content-Type": ["application/json"], "content-encoding": [None], "accept": []}
    named["content-type"] = None
    answer = scored(event, context())
    assert answer["statusCode"] == 200, answer
    assert len(json.loads(answer["body"])) == 2
    named["user-agent"] = None
    assert scored({**WEB[web]("", method="GET"), key: named}, context())["statusCode"] == 405


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"timeout": "3"}, "`timeout`: got str, expected a number of seconds"),
        ({"timeout": True}, "`timeout`: got bool"),
        ({"limits": {"rows": 3}}, "`limits`: got dict, expected glowplug.serve.http.Limits"),
        ({"limits": 2**20}, "`limits`: got int"),
        ({"deliver": "queue"}, "`deliver`: got str"),
        ({"reject": 3}, "`reject`: got int"),
        ({"before": 3}, "`before`: got int"),
    ],
)
def test_options_are_looked_at_before_the_first_event(options: dict[str, Any], says: str) -> None:
    with pytest.raises(glowplug.OptionTypeError, match=re.escape(says)) as raised:
        handler(glowplug.load(models.mlp(hidden=20)), warm=0, **options)
    assert isinstance(raised.value, TypeError)


HEAVY = {
    "numpy",
    "asyncio",
    "logging",
    "boto3",
    "email",
    "urllib",
    "json",
    "csv",
    "zlib",
    "base64",
    "typing",
    "http",
    "re",
}


def test_import_is_light() -> None:
    """The INIT phase is the product; what it costs is paid in every cold start."""
    code = "import os, sys; old = set(sys.modules); import glowplug.serve.aws_lambda; print(*sorted(set(sys.modules) - old))"
    command = [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}; {code}"]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert {name for name in found if not name.startswith("glowplug")} & HEAVY == set()
    assert {name.split(".")[0] for name in found} - {"glowplug"} <= {"__future__", "time"}


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=6),
        st.sampled_from(["POST", ROWS, "gzip"]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["method", "content-type"]), inner),
    max_leaves=5,
)
FIELDS = ("headers", "multiValueHeaders", "body", "isBase64Encoded", "path", "rawPath", "httpMethod")


@given(
    st.sampled_from([{"elb": {}}, {"http": {}}, {"http": {"method": "POST"}}, {"http": {"method": 7}}]),
    st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, VALUES)),
)
def test_requests_of_any_shape_are_answered(about: dict[str, Any], fields: dict[str, Any]) -> None:
    scored = handler(glowplug.load(models.mlp(hidden=20)), warm=0)
    answer = scored({"requestContext": about, **fields}, context())
    assert answer["statusCode"] in {200, 400, 405, 406, 413, 415}
    assert json.dumps(answer)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"headers": {"content-type": "application/json", "content-length": 9, "x": ["a", None, "b"]}}, 200),
        ({"headers": {"content-type": {"a": 1}}}, 400),
        ({"headers": {"x": True}}, 400),
        ({"headers": ["content-type"]}, 400),
        ({"body": {"already": "parsed"}}, 400),
        ({"path": 7}, 400),
    ],
)
def test_parts_of_requests_that_are_no_text(fields: dict[str, Any], status: int) -> None:
    scored = handler(glowplug.load(models.mlp(hidden=20)), warm=0)
    answer = scored(load_balancer(ROWS) | fields, context())
    assert answer["statusCode"] == status, answer


def test_decorators_of_powertools() -> None:
    powertools = pytest.importorskip("aws_lambda_powertools")
    scored = handler(glowplug.load(models.mlp(hidden=20)), warm=0)
    logger = powertools.Logger(service="scorer", stream=io.StringIO())
    wrapped = logger.inject_lambda_context(scored)
    about = context()
    about.function_name, about.memory_limit_in_mb, about.invoked_function_arn = "scorer", 512, "arn"
    assert wrapped(json.loads(ROWS), about) == scored(json.loads(ROWS), about)
    assert scored.__name__ == "handler"
