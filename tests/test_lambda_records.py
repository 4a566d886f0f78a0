"""Queues, streams and topics: good records are scored together, and only those that failed come again."""

from __future__ import annotations

import base64
import gzip
import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import glowplug
import models
from glowplug.serve.aws_lambda import handler
from glowplug.serve.http import Limits
from lambda_events import dynamodb, event_bridge, kinesis, sns, sqs
from serving import RuntimeApi
from test_aws_lambda import Recorder, context
from test_runtime_api import PEAK, client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from glowplug.serve.aws_lambda import Delivery

pytest.importorskip("awslambdaric")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the client is one for Linux")

#: Delivers into a file, so that the test sees what was delivered when.
FUNCTION = """
import json
from glowplug.serve.aws_lambda import handler
from glowplug.serve.http import Limits

def deliver(done):
    with open("delivered", "a") as file:
        for delivery in done:
            name = delivery.record.get("messageId") or delivery.record.get("eventID") or delivery.record.get("eventName")
            file.write(json.dumps([name, delivery.answer]) + "\\n")
    lost = [delivery for delivery in done if delivery.record.get("body") == "[[13, 0]]"]
    if any(delivery.record.get("body") == "[[99, 0]]" for delivery in done):
        raise OSError("the store is away")
    return lost

handler = handler("model.onnx", deliver=deliver)
"""


@pytest.fixture(scope="module")
def function(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RuntimeApi, Path]]:
    """Two numbers a row come back as they are, under the real client; and the file that it delivers into."""
    folder = tmp_path_factory.mktemp("function")
    (folder / "model.onnx").write_bytes(models.identity(shape=("N", 2)))
    with RuntimeApi() as api, client(folder, api, FUNCTION):
        api.wait_until_ready(20)
        yield api, folder / "delivered"


def served(function: tuple[RuntimeApi, Path], event: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The answer, and what was delivered by the names of records."""
    api, file = function
    file.write_text("")
    invocation = api.invoke(event)
    assert invocation.error_type is None, invocation.json()
    return invocation.json(), dict(json.loads(line) for line in file.read_text().splitlines())


def failures(*names: str) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": name} for name in names]}


def packed(body: bytes) -> str:
    """As binary data travels in messages."""
    return base64.b64encode(gzip.compress(body, 1)).decode()


NOTE = json.dumps({"Type": "Notification", "TopicArn": "arn:x", "Message": "[[7, 8]]"})
BAD = "[[1], 2]"
QUEUES: dict[str, tuple[dict[str, Any], list[str], dict[str, Any]]] = {
    "all good": (sqs("[[1, 2]]", "[[3, 4], [5, 6]]"), [], {"m0": [[1, 2]], "m1": [[3, 4], [5, 6]]}),
    "a bad one": (sqs("[[1, 2]]", BAD, "[[5, 6]]", "{"), ["m1", "m3"], {"m0": [[1, 2]], "m2": [[5, 6]]}),
    "a topic's and a bus's": (
        sqs(NOTE, json.dumps(event_bridge([[9, 1]])), '{"TopicArn": 1}'),
        ["m2"],
        {"m0": [[7, 8]], "m1": [[9, 1]]},
    ),
    "gzip": (
        sqs(packed(b"[[1, 2]]"), packed(b"[[1, 2]]")[:-8], packed(b"nonsense"), packed(bytes(2**27 + 1))),
        ["m1", "m2", "m3"],
        {"m0": [[1, 2]]},
    ),
    "fifo": (
        sqs("[[1, 2]]", BAD, "[[3, 4]]", "[[5, 6]]", groups=["a", "b", "a", "b"]),
        ["m1", "m3"],
        {"m0": [[1, 2]], "m2": [[3, 4]]},
    ),
    "one that is not delivered": (sqs("[[13, 0]]", "[[3, 4]]"), ["m0"], {"m0": [[13, 0]], "m1": [[3, 4]]}),
    "fifo, not delivered": (
        sqs("[[13, 0]]", "[[3, 4]]", "[[5, 6]]", groups=["a", "a", "b"]),
        ["m0", "m1"],
        {"m0": [[13, 0]], "m1": [[3, 4]], "m2": [[5, 6]]},
    ),
    "store away": (sqs("[[99, 0]]", BAD), ["m0", "m1"], {"m0": [[99, 0]]}),
    "none good": (sqs(BAD), ["m0"], {}),
}


@pytest.mark.parametrize("queue", QUEUES)
def test_queues(function: tuple[RuntimeApi, Path], queue: str) -> None:
    event, failed, delivered = QUEUES[queue]
    assert served(function, event) == (failures(*failed), delivered)


def test_shards(function: tuple[RuntimeApi, Path]) -> None:
    """From the first that failed on all come again, so that none behind it is delivered now."""
    good = [b"[[1, 2]]", gzip.compress(b"[[3, 4]]")]
    name = "shardId-000000000006:{}".format
    assert served(function, kinesis(*good)) == (failures(), {name(0): [[1, 2]], name(1): [[3, 4]]})
    assert served(function, kinesis(*good, b"\xff", b"[[5, 6]]", b"?")) == (
        failures("2"),
        {name(0): [[1, 2]], name(1): [[3, 4]]},
    )
    broken = kinesis(*good)
    broken["Records"][1]["kinesis"]["data"] = "W1s"
    assert served(function, broken) == (failures("1"), {name(0): [[1, 2]]})
    broken["Records"][0]["kinesis"].pop("data")
    assert served(function, broken) == (failures("0"), {})


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux for the peak of memory")
def test_gzip_of_a_batch_takes_bounded_memory(tmp_path: Path) -> None:
    """A function of 512 MB: 64 MiB for all records of a batch together, however little room each takes in the queue."""
    (tmp_path / "model.onnx").write_bytes(models.identity(shape=("N", 2)))
    function = """
from glowplug.serve.aws_lambda import handler as make
scored = make("model.onnx", deliver=lambda done: None, reject=lambda record, error: None)
def handler(event, context):
    return peak() if event == "peak" else scored(event, context)
"""
    large, small = packed(b" " * (40 << 20) + b"[[1, 2]]"), packed(b"[[1, 2]]")
    with RuntimeApi() as api, client(tmp_path, api, PEAK + function, AWS_LAMBDA_FUNCTION_MEMORY_SIZE="512"):
        before = api.invoke("peak", timeout=20).json()
        # More than all may have is hopeless; what only has no room beside others comes again.
        answer = api.invoke(sqs(packed(bytes(65 << 20)), large, large, large, small), timeout=60)
        after = api.invoke("peak").json()
    assert answer.json() == failures("m2", "m3")
    assert after - before < 160 << 20


def test_records_are_parsed_within_the_bounds_of_one() -> None:
    """What hooks hold of a batch: one record that is too large for all is hopeless, one that has no room comes again."""
    seen: list[Any] = []
    rejected: list[str] = []
    taken: list[Delivery] = []

    def before(question: Any) -> Any:
        seen.append(question)
        return question[-1:]

    scored = handler(
        glowplug.load(models.identity(shape=("N", 2))),
        before=before,
        deliver=taken.extend,
        reject=lambda record, _: rejected.append(record["messageId"]),
        limits=Limits(body=2**20, decompressed=2**18),
    )
    # Of 2^20 bytes, 8000 lists are taken to need 800,000.
    hopeless, large, small = (packed(b"[" + b"[]," * lists + b"[1, 2]]") for lists in (12_000, 8000, 10))
    event = sqs(small, large, hopeless, large, BAD, small)
    assert scored(event, context()) == failures("m3")
    assert [len(question) for question in seen] == [11, 8001, 2, 11]
    assert rejected == ["m2", "m4"]
    assert [delivery.record["messageId"] for delivery in taken] == ["m0", "m1", "m5"]
    again = {"Records": [event["Records"][3]]}
    assert scored(again, context()) == failures()


def test_records_that_no_service_sends(function: tuple[RuntimeApi, Path]) -> None:
    strange = sqs("[[1, 2]]", "[[3, 4]]", "[[5, 6]]")
    strange["Records"][0]["body"] = {"already": "parsed"}
    strange["Records"][2].pop("body")
    assert served(function, strange) == (failures("m0", "m2"), {"m1": [[3, 4]]})
    # AWS takes a name that is empty for a failure of all: nothing is lost, and the good ones are scored as ever.
    nameless = sqs("[[1, 2]]", "?", "[[5, 6]]")
    for record in nameless["Records"]:
        del record["messageId"]
    assert served(function, nameless) == (failures(""), {None: [[5, 6]]})
    fifo = sqs("?", "[[3, 4]]", groups=["a", "b"])
    fifo["Records"][0]["attributes"] = None
    assert served(function, fifo) == (failures("m0"), {"m1": [[3, 4]]})
    for record in (stream := kinesis(b"?"))["Records"]:
        record["kinesis"] = None
    assert served(function, stream)[0] == failures("")


def test_topics(function: tuple[RuntimeApi, Path]) -> None:
    assert served(function, sns("[[1, 2]]"))[0] == [[1, 2]]
    failed = function[0].invoke(sns("[[1]]"))
    assert (failed.error_type, "row 0" in failed.json()["errorMessage"]) == ("InputError", True)


ITEMS = """
import os
from glowplug.serve.aws_lambda import handler as make

served = make("model.onnx", deliver=lambda done: None)

def handler(event, context):
    if event == "resources":
        with open("/proc/self/statm") as file:
            return [len(os.listdir("/proc/self/fd")), int(file.read().split()[1]) * 4096]
    return served(event, context)
"""


def test_a_thousand_invocations(tmp_path: Path) -> None:
    """Neither memory nor open files grow, whatever comes."""
    (tmp_path / "model.onnx").write_bytes(models.identity(shape=("N", 2)))
    web = {"requestContext": {"http": {"method": "POST"}}, "headers": {}, "body": "[[1, 2]]"}
    events: list[Any] = [
        sqs("[[1, 2]]", BAD, "[[3, 4]]"),
        kinesis(b"[[1, 2]]", b"?"),
        sns("[[1]]"),
        [[1, 2]],
        {"x": 1},
        web,
        web | {"body": "["},
        web | {"body": "1,2\n3,4\n", "headers": {"content-type": "text/csv"}},
    ]
    with RuntimeApi() as api, client(tmp_path, api, ITEMS):
        for index in range(200):
            api.invoke(events[index % len(events)], timeout=20)
        files, memory = api.invoke("resources").json()
        for index in range(1000):
            api.invoke(events[index % len(events)])
        after = api.invoke("resources").json()
    assert after[0] <= files
    assert after[1] - memory < 2**20


def test_items_of_tables() -> None:
    taken: list[list[Delivery]] = []
    model = glowplug.load(models.integer_division())
    names = [spec.name for spec in model.inputs]
    scored = handler(model, deliver=taken.append)
    image = {name: {"N": str(position + 1)} for position, name in enumerate(names)}
    more = {"id": {"S": "x"}, "tags": {"SS": ["a"]}, "nested": {"M": {"l": {"L": [{"NULL": True}, {"B": "AQI="}]}}}}
    event = dynamodb(image, None, image | more, {names[0]: {"N": "1"}}, image)
    assert scored(event, context()) == failures("3")
    (done,) = taken
    assert [delivery.record["dynamodb"]["SequenceNumber"] for delivery in done] == ["0", "2"]
    assert done[0].answer == done[1].answer
    without = dynamodb(image)
    del without["Records"][0]["dynamodb"]["NewImage"]
    assert scored(without, context()) == failures("0")
    deep: Any = {"N": "1"}
    for _ in range(5000):
        deep = {"L": [deep]}
    assert scored(dynamodb(image, {names[0]: deep}), context()) == failures("1")
    assert [delivery.record["dynamodb"]["SequenceNumber"] for delivery in taken[-1]] == ["0"]


def test_attributes() -> None:
    from glowplug.serve.aws_lambda.attributes import plain_item

    assert plain_item(
        {
            "s": {"S": "x"}, "n": {"N": "12"}, "f": {"N": "-1.5e3"}, "b": {"B": "AQI="}, "o": {"BOOL": True},
            "z": {"NULL": True}, "l": {"L": [{"N": "1"}, {"M": {"k": {"S": "v"}}}]}, "ss": {"SS": ["a"]},
            "ns": {"NS": ["1", "2.5"]}, "bs": {"BS": ["AQ=="]},
        }
    ) == {
        "s": "x", "n": 12, "f": -1500.0, "b": b"\x01\x02", "o": True, "z": None,
        "l": [1, {"k": "v"}], "ss": ["a"], "ns": [1, 2.5], "bs": [b"\x01"],
    }  # fmt: skip
    for wrong in ({"x": {"Q": 1}}, {"x": {}}, {"x": {"N": "1", "S": "1"}}):
        with pytest.raises(glowplug.InputError, match="attribute of the types"):
            plain_item(wrong)


def test_hooks_see_each_record_and_share_a_run() -> None:
    taken: list[list[Delivery]] = []
    recorder = Recorder()
    model = glowplug.load(models.mlp(inputs=3, hidden=8))
    calls = model.stats()["calls"]

    @handler(model, deliver=taken.append, telemetry=recorder, warm=0)
    def scored(payment: Any, call: Any) -> Any:
        if payment["kind"] == "test":
            return "skipped"
        try:
            scores = yield (row for row in payment["rows"])
        except glowplug.InputError as error:
            if payment["kind"] == "careful":
                return {"wrong": error.row}
            raise
        return {"id": call.record["messageId"], "scores": len(scores)}

    bodies: list[Any] = [
        {"kind": "a", "rows": [[1, 2, np.float32(3).item()]] * 2},
        {"kind": "test"},
        {"rows": []},
        {"kind": "careful", "rows": [[1, 2, 3], [1]]},
        {"kind": "a", "rows": [[1]]},
        {"kind": "a", "rows": [[4, 5, 6]]},
    ]
    assert scored(sqs(*map(json.dumps, bodies), "{"), context()) == failures("m2", "m4", "m6")
    (done,) = taken
    assert [delivery.answer for delivery in done] == [
        {"id": "m0", "scores": 2}, "skipped", {"wrong": 1}, {"id": "m5", "scores": 1},
    ]  # fmt: skip
    # One run for all rows; a question without rows takes none.
    assert model.stats()["calls"] - calls <= 2
    ((measure, facts),) = recorder.told
    assert (measure.rows, facts["records"], facts["failed"], facts["trigger"]) == (3, 7, 3, "sqs")
    assert isinstance(measure.error, KeyError)


def test_rows_of_any_kind_come_back_as_from_predict_rows() -> None:
    from decimal import Decimal

    taken: list[list[Delivery]] = []
    model = glowplug.load(models.zipmap_classifier())
    rows = [[1, Decimal("0.5"), np.float32(2), True], np.arange(4.0)]
    scored = handler(model, method="run", before=lambda _: rows, after=lambda found, _: found, deliver=taken.append)
    scored(sqs("1"), context())
    (only,) = taken[0]
    plain = [[float(value) for value in row] for row in rows]
    expected = model.predict_rows(plain, method="run")
    assert only.answer["label"] == expected["label"]
    assert [list(row.values()) for row in only.answer["probabilities"]] == [
        pytest.approx(list(row.values())) for row in expected["probabilities"]
    ]


def test_hopeless_records_can_be_put_away() -> None:
    away: list[tuple[str, Exception]] = []

    def reject(record: dict[str, Any], error: Exception) -> None:
        if record["body"] == "[[2]]":
            raise OSError
        away.append((record["messageId"], error))

    scored = handler(glowplug.load(models.identity(shape=("N", 2))), deliver=lambda _: None, reject=reject)
    # What nobody takes comes again; so does what the deadline ended, which is not hopeless.
    event = sqs("[[1, 2]]", "[[3], 4]", '"x"', groups=["a", "a", "a"])
    assert scored(event, context()) == failures()
    assert [name for name, _ in away] == ["m1", "m2"]
    assert isinstance(away[0][1], glowplug.InputError)
    assert scored(sqs("[[1, 2]]", "[[1, 2]]"), context(0)) == failures("m0", "m1")
    assert len(away) == 2


def test_topics_do_not_send_again_what_was_put_away() -> None:
    away: list[Any] = []
    scored = handler(glowplug.load(models.identity(shape=("N", 2))), reject=lambda *came: away.append(came))
    assert scored(sns('[{"no": 1}]'), context()) is None
    assert len(away) == 1


@pytest.mark.parametrize(
    "given", [lambda done: [one.record for one in done], lambda done: [type(done[0])({}, 1)], len, lambda _: "m0"]
)
def test_nothing_is_lost_by_what_deliver_gives_back(given: Any, caplog: pytest.LogCaptureFixture) -> None:
    scored = handler(glowplug.load(models.identity(shape=("N", 2))), deliver=given)
    assert scored(sqs("[[1, 2]]", "[[3, 4]]"), context()) == failures("m0", "m1")
    assert "option `deliver`: gave back" in caplog.text


def test_hooks_have_their_part_of_the_time() -> None:
    import time

    @handler(models.endless_loop(), deliver=lambda _: None, warm=0)
    def scored(question: Any) -> Any:
        time.sleep(0.5)
        return (yield question)

    started = time.monotonic()
    assert scored(sqs("[1]", "[1]", "[1]"), context(1.9)) == failures("m0", "m1", "m2")
    # 1.9 seconds less the margin of 0.2 are left for hooks and run together; without that it takes 3.2.
    assert time.monotonic() - started < 3.1


def test_fallback_is_an_answer() -> None:
    taken: list[list[Delivery]] = []
    scored = handler(glowplug.load(models.identity(shape=("N", 2))), deliver=taken.append, fallback={"risk": None})
    assert scored(sqs("[[1, 2]]", "["), context(0)) == failures("m1")
    assert [delivery.answer for delivery in taken[0]] == [{"risk": None}]


def test_log_says_what_was_wrong(caplog: pytest.LogCaptureFixture) -> None:
    def deliver(done: list[Delivery]) -> None:
        raise KeyError(len(done))

    scored = handler(glowplug.load(models.identity(shape=("N", 2))), deliver=deliver)
    assert scored(sqs("[[1, 2]]", "["), context()) == failures("m0", "m1")
    scored(sqs("["), context())
    ours, theirs = caplog.records
    # What is ours to mend comes before mistakes of senders, and with the way to it.
    assert "2 of 2 sqs records failed" in ours.getMessage()
    assert ours.exc_info
    assert ours.exc_info[0] is KeyError
    assert "1 of 1 sqs records failed; the first: JSON body" in theirs.getMessage()
    assert not theirs.exc_info


def test_predictions_need_somewhere_to_go() -> None:
    scored = handler(glowplug.load(models.identity(shape=("N", 2))))
    with pytest.raises(glowplug.OptionError, match="nowhere to go"):
        scored(sqs("[[1, 2]]"), context())
    with pytest.raises(glowplug.OptionTypeError, match="`deliver`"):
        handler(scored.scorer.model, deliver="https://queue")  # type: ignore[arg-type]
