"""The examples for AWS Lambda: packed as they are deployed, and run from there as far as a machine without a cloud can."""

from __future__ import annotations

import csv
import json
import os
import platform
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import glowplug
from lambda_events import http_api
from serving import RuntimeApi
from test_runtime_api import client

if TYPE_CHECKING:
    from collections.abc import Iterator

boto3 = pytest.importorskip("boto3")
server = pytest.importorskip("moto.server")
pytest.importorskip("awslambdaric")

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
MEGABYTE = 2**20

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in {"x86_64", "aarch64"},
    reason="packages are for Lambda's platforms",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The portable wheel that `make test` has built; otherwise this tree, packed as one."""
    if named := os.environ.get("GLOWPLUG_WHEEL"):
        return ROOT / named
    tag = f"cp311-abi3-manylinux_2_28_{platform.machine()}"
    path = tmp_path_factory.mktemp("wheel") / f"glowplug-{glowplug.__version__}-{tag}.whl"
    package, about = ROOT / "python" / "glowplug", f"glowplug-{glowplug.__version__}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for file in package.rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                archive.write(file, Path("glowplug", file.relative_to(package)))
        archive.writestr(
            f"{about}/METADATA", f"Metadata-Version: 2.1\nName: glowplug\nVersion: {glowplug.__version__}\n"
        )
        archive.writestr(f"{about}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n")
        archive.writestr(f"{about}/RECORD", "")
    return path


def built(example: str, wheel: Path, out: Path, *more: str) -> Path:
    """The folder that a function has in Lambda: what is in the zip file of an example."""
    command = [sys.executable, EXAMPLES / "lambda_fraud" / "build.py", "--source", EXAMPLES / example, "--out", out]
    command += ["--package", wheel, "--runtime", PYTHON, "--architecture", platform.machine(), *more]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    archive = out / "function.zip"
    assert archive.stat().st_size < 50 * MEGABYTE
    # What SAM and the image take has no file that the zip file does not have.
    folder = out / "function"
    with zipfile.ZipFile(archive) as file:
        names = set(file.namelist())
        assert names == {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        file.extractall(out / "task")
    return out / "task"


@pytest.fixture(scope="module")
def fraud(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("lambda_fraud", wheel, tmp_path_factory.mktemp("fraud"))


def start(folder: Path, api: RuntimeApi, **variables: str) -> Any:
    """The example under the real client, from its package."""
    return client(folder, api, (folder / "function.py").read_text(), function="lambda_handler", **variables)


def applicants() -> list[dict[str, Any]]:
    """As in the data: texts and numbers."""
    specs = {spec.name: spec.dtype for spec in glowplug.load(EXAMPLES / "fraud" / "model.onnx").inputs}
    with (EXAMPLES / "fraud" / "sample.csv").open(newline="") as file:
        return [
            {name: row[name] if kind == "string" else float(row[name]) for name, kind in specs.items()}
            for row in csv.DictReader(file)
        ]


def expected() -> list[float]:
    """What LightGBM says."""
    found = json.loads((EXAMPLES / "fraud" / "expected.json").read_text())
    return list(found.values())[-1] if isinstance(found, dict) else found


def test_function_of_the_zip_file(fraud: Path) -> None:
    with RuntimeApi() as api, start(fraud, api) as process:
        api.wait_until_ready(20)
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        assert f"{fraud}/glowplug/_core.abi3.so" in maps, "another glowplug than the package's"
        one = json.loads((EXAMPLES / "lambda_fraud" / "applicant.json").read_text())
        assert one == applicants()[0]
        risks = expected()
        asked = ((one, risks[:1]), (applicants()[:50], risks[:50]))
        for question, answer in asked:
            got = api.invoke(http_api(json.dumps(question)), timeout=20).json()
            assert got["statusCode"] == 200, got
            assert json.loads(got["body"])["risks"] == pytest.approx(answer, abs=2e-4)
        wrong = api.invoke(http_api(json.dumps({**one, "age_in_years": "old"}))).json()
        assert (wrong["statusCode"], json.loads(wrong["body"])["field"]) == (400, "age_in_years")


def test_modules_are_taken_as_compiled(fraud: Path) -> None:
    """Time stamps in a zip file are rough. Of the flags, bit 0 is for hashes in their place, bit 1 would have them checked."""
    compiled = list(fraud.rglob("*.pyc"))
    sources = list(fraud.rglob("*.py"))
    assert len(compiled) == len(sources) > 10
    assert {path.read_bytes()[4:8] for path in compiled} == {b"\x01\0\0\0"}


@pytest.mark.parametrize("example", ["lambda_fraud", "sqs_batch"])
def test_templates_name_what_there_is(example: str) -> None:
    template = yaml.safe_load((EXAMPLES / example / "template.yaml").read_text())
    functions = [
        part["Properties"] for part in template["Resources"].values() if part["Type"] == "AWS::Serverless::Function"
    ]
    assert functions
    for function in functions:
        module, name = function["Handler"].split(".")
        assert f"def {name}(" in (EXAMPLES / example / f"{module}.py").read_text()
        assert function["CodeUri"] == "build/function"
        assert function["Timeout"] > 1
    if example == "lambda_fraud":
        lines = (EXAMPLES / example / "Containerfile").read_text().splitlines()
        assert any(line.startswith("COPY build/function/ ") for line in lines)
        assert f'CMD ["{functions[0]["Handler"]}"]' in lines
    else:
        (event,) = functions[0]["Events"].values()
        assert event["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


VARIABLES = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture
def queues(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, dict[str, str]]]:
    """Queues on this machine, and where they are."""
    running = server.ThreadedMotoServer(port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    variables = VARIABLES | {"AWS_ENDPOINT_URL": f"http://{host}:{port}"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    queues = boto3.client("sqs")
    yield queues, variables
    queues.close()
    running.stop()


def received(queues: Any, url: str) -> list[dict[str, Any]]:
    """All messages of a queue."""
    found = []
    while part := queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=60).get("Messages"):
        found += part
    return found


def event_of(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """What Lambda makes of them."""
    return {
        "Records": [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:applicants",
            }
            for message in messages
        ]
    }


def test_queue_of_applicants(queues: tuple[Any, dict[str, str]], wheel: Path, tmp_path: Path) -> None:
    client_of_queues, variables = queues
    urls = {name: client_of_queues.create_queue(QueueName=name)["QueueUrl"] for name in ("applicants", "risks")}
    rows, risks = applicants()[:25], expected()[:25]
    bodies = [json.dumps({"id": index, "applicant": row}) for index, row in enumerate(rows)]
    bodies[3:3] = ["{", json.dumps({"id": "x", "applicant": {"age": 3}}), json.dumps({"applicant": rows[0]})]
    for body in bodies:
        client_of_queues.send_message(QueueUrl=urls["applicants"], MessageBody=body)
    messages = received(client_of_queues, urls["applicants"])
    assert len(messages) == len(bodies)
    folder = built("sqs_batch", wheel, tmp_path, "--native")
    assert (tmp_path / "function.zip").stat().st_size < 4 * MEGABYTE
    with RuntimeApi() as api, start(folder, api, RISKS=urls["risks"], **variables):
        answer = api.invoke(event_of(messages), timeout=30).json()
        failed = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        assert sorted(message["Body"] for message in messages if message["MessageId"] in failed) == sorted(bodies[3:6])
        found = {
            body["id"]: body["risk"]
            for body in (json.loads(each["Body"]) for each in received(client_of_queues, urls["risks"]))
        }
        assert [found[index] for index in range(25)] == pytest.approx(risks, abs=2e-4)
        # The other queue is gone: all come again, and the environment lives on.
        client_of_queues.delete_queue(QueueUrl=urls["risks"])
        answer = api.invoke(event_of(messages), timeout=30).json()
        assert len(answer["batchItemFailures"]) == len(messages)
