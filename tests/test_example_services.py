"""The examples of services, run as their containers and platforms would run them."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import runpy
import shutil
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import azure.functions as func
import numpy as np
import pytest
import tritonclient.http as triton

import glowplug
from serving import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
RECOMMENDER, AZURE, FRAUD = (ROOT / "examples" / name for name in ("cloud_run_recommender", "azure_fraud", "fraud"))


# --- Cloud Run --------------------------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """Instructions of the container file: name, arguments."""
    text = (RECOMMENDER / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    lines = (line.strip() for line in text.splitlines())
    found = [(name, rest) for name, _, rest in (line.partition(" ") for line in lines if line and line[0] != "#")]
    assert [name for name, _ in found].count("FROM") == 2
    return found


def test_container_copies_what_there_is_and_what_the_model_needs(recommender: Server) -> None:
    built = {path.name for path in recommender.log.parent.iterdir()}
    ignored = (RECOMMENDER / ".dockerignore").read_text("utf-8").split()
    copied = set()
    for arguments in (arguments.split() for name, arguments in instructions() if name == "COPY"):
        for source in arguments[:-1]:
            if source.startswith("--from=") or source == "*.whl":
                continue
            name = Path(source).name
            copied.add(name)
            assert name in built
            if "/" not in source:
                assert f"!*{Path(source).suffix}" in ignored, "it never reaches the build"
    assert {"main.py", "train.py", "recommender.onnx", "catalogue.json"} <= copied
    (requirement,) = (RECOMMENDER / "requirements.txt").read_text("utf-8").split()
    extra = re.match(r"glowplug\[(\w+)\]", requirement)
    assert extra is not None
    assert f"\n{extra[1]} = [" in (ROOT / "pyproject.toml").read_text("utf-8")


@pytest.fixture(scope="module")
def recommender(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("recommender") / "app"
    shutil.copytree(RECOMMENDER, folder, ignore=shutil.ignore_patterns("__pycache__", "*.onnx", "*.json"))
    runpy.run_path(str(folder / "train.py"), run_name="__main__")
    (command,) = (json.loads(arguments) for name, arguments in instructions() if name == "CMD")
    assert command[0] == "python"
    with Server(*command[1:], folder=folder) as running:
        yield running
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) in {0, -signal.SIGTERM}
        assert "Traceback" not in running.log.read_text("utf-8")


def asked(server: Server, **question: Any) -> tuple[int, Any]:
    status, _, body = server.ask("POST", "/predict", json.dumps(question))
    return status, json.loads(body)


def test_recommender_answers_users(recommender: Server) -> None:
    status, answer = asked(recommender, user=7)
    assert status == 200
    ids = [item["id"] for item in answer["items"]]
    assert len(set(ids)) == 10
    scores = [item["score"] for item in answer["items"]]
    assert scores == sorted(scores, reverse=True)
    catalogue = json.loads((recommender.log.parent / "catalogue.json").read_text("utf-8"))
    assert [item["title"] for item in answer["items"]] == [catalogue["titles"][item] for item in ids]
    status, answer = asked(recommender, user=7, count=3, seen=ids[:2])
    assert (status, [item["id"] for item in answer["items"]]) == (200, ids[2:5])
    model = glowplug.load(recommender.log.parent / "recommender.onnx")
    expected = model.run({"user": np.arange(64)})
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda user: asked(recommender, user=user), range(64)))
    for user, (status, answer) in enumerate(answers):
        assert (status, [item["id"] for item in answer["items"]]) == (200, expected["items"][user, :10].tolist())


@pytest.mark.parametrize(
    ("question", "status"),
    [
        ({}, 400),
        ({"user": "7"}, 400),
        ({"user": -1}, 404),
        ({"user": 10**30}, 404),
        ({"user": 7, "count": 0}, 400),
        ({"user": 7, "count": 2.5}, 400),
        ({"user": 7, "seen": 3}, 400),
    ],
)
def test_recommender_says_what_it_expects(recommender: Server, question: dict[str, Any], status: int) -> None:
    got, problem = asked(recommender, **question)
    assert (got, problem["status"]) == (status, status)
    assert asked(recommender, user=7, seen=["a", None, [1]])[0] == 200


def test_recommender_answers_batches_probes_and_scrapes(recommender: Server) -> None:
    client = triton.InferenceServerClient(f"127.0.0.1:{recommender.port}")
    users = triton.InferInput("user", [1000], "INT64")
    users.set_data_from_numpy(np.arange(1000))
    answer = client.infer("recommender", [users])
    assert answer.as_numpy("items").shape == answer.as_numpy("scores").shape == (1000, 100)
    client.close()
    service = (RECOMMENDER / "service.yaml").read_text("utf-8")
    probes = re.findall(r"path: (\S+)", service)
    assert len(probes) == 2
    assert [recommender.ask("GET", path)[0] for path in probes] == [200, 200]
    _, _, text = recommender.ask("GET", "/metrics")
    assert b'glowplug_requests_total{model="recommender",trigger="http",outcome="ok"}' in text


# --- Azure ------------------------------------------------------------------------------------------------------------


class Out(func.Out[str]):
    """An output binding, as the worker passes it."""

    def __init__(self) -> None:
        self.value: str | None = None

    def set(self, val: str) -> None:
        self.value = val

    def get(self) -> str:
        assert self.value is not None
        return self.value


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("azure") / "app"
    shutil.copytree(AZURE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(FRAUD / "model.onnx", folder)
    spec = importlib.util.spec_from_file_location("function_app", folder / "function_app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["function_app"] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules["function_app"]
    return {function.get_function_name(): function for function in module.app.get_functions()}


@pytest.fixture(scope="module")
def applicants() -> list[dict[str, Any]]:
    model = glowplug.load(FRAUD / "model.onnx")
    lines = (FRAUD / "sample.csv").read_text("utf-8").splitlines()
    kinds = {spec.name: spec.dtype for spec in model.inputs}
    rows = list(csv.DictReader(lines))[:20]
    return [
        {name: value if kinds[name] == "string" else float(value) for name, value in row.items() if name in kinds}
        for row in rows
    ]


@pytest.fixture(scope="module")
def risks() -> list[float]:
    """What LightGBM says of them."""
    expected = json.loads((FRAUD / "expected.json").read_text("utf-8"))
    return [float(risk) for risk in expected["probability_of_bad_credit"][:20]]


def test_azure_functions_are_bound(functions: dict[str, Any]) -> None:
    triggers = {name: function.get_trigger().get_binding_name() for name, function in functions.items()}
    assert triggers == {
        "glowplug_predict": "httpTrigger",
        "glowplug_inference": "httpTrigger",
        "score_applications": "queueTrigger",
    }
    bindings = [binding.name for binding in functions["score_applications"].get_bindings()]
    assert sorted(bindings) == ["msg", "rejected", "scores"]
    host = json.loads((AZURE / "host.json").read_text("utf-8"))
    assert host["version"] == "2.0"
    assert host["extensions"]["http"]["routePrefix"] == "api"
    assert json.loads((AZURE / "local.settings.json").read_text("utf-8"))["IsEncrypted"] is False


def test_azure_function_scores_over_http(
    functions: dict[str, Any], applicants: list[dict[str, Any]], risks: list[float]
) -> None:
    call = functions["glowplug_predict"].get_user_function()
    url = "https://h/api/predict"
    answer = call(func.HttpRequest("POST", url, body=json.dumps(applicants).encode()))
    assert answer.status_code == 200
    assert np.allclose([bad for _, bad in json.loads(answer.get_body())], risks, atol=1e-5)
    wrong = [applicants[0], {**applicants[1], "credit_amount": "much"}]
    answer = call(func.HttpRequest("POST", url, body=json.dumps(wrong).encode()))
    problem = json.loads(answer.get_body())
    assert (answer.status_code, problem["row"], problem["field"]) == (400, 1, "credit_amount")


def test_azure_function_scores_a_queue(
    functions: dict[str, Any], applicants: list[dict[str, Any]], risks: list[float]
) -> None:
    call = functions["score_applications"].get_user_function()
    scores, rejected = Out(), Out()
    call(func.QueueMessage(id="a", body=json.dumps(applicants)), scores, rejected)
    got = json.loads(scores.get())
    assert got["id"] == "a"
    assert np.allclose(got["risks"], risks, atol=1e-5)
    assert rejected.value is None
    scores, rejected = Out(), Out()
    call(func.QueueMessage(id="b", body=json.dumps([{**applicants[0], "job": 3}])), scores, rejected)
    assert scores.value is None
    got = json.loads(rejected.get())
    assert (got["id"], got["row"], got["field"]) == ("b", 0, "job")
