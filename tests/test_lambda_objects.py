"""Objects in S3: scored in a stream, predictions beside them, in a stand-in of the store."""

from __future__ import annotations

import gzip
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

import glowplug
import models
from glowplug.serve import csv_rows
from glowplug.serve.aws_lambda import handler
from lambda_events import event_bridge, s3, sns, sqs
from serving import RuntimeApi
from test_aws_lambda import PLAIN, Recorder, context
from test_runtime_api import PEAK, client

boto3 = pytest.importorskip("boto3")
server = pytest.importorskip("moto.server")
pytest.importorskip("awslambdaric")

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the client is one for Linux")

BUCKET = "scores"
VARIABLES = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A store on this machine."""
    running = server.ThreadedMotoServer(port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def store(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, value in (VARIABLES | {"AWS_ENDPOINT_URL": endpoint}).items():
        monkeypatch.setenv(name, value)
    store = boto3.client("s3")
    store.create_bucket(Bucket=BUCKET)
    yield store
    for found in store.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        store.delete_object(Bucket=BUCKET, Key=found["Key"])
    store.delete_bucket(Bucket=BUCKET)
    store.close()


@pytest.fixture(scope="module")
def model() -> glowplug.Model:
    return glowplug.load(models.identity(shape=("N", 2)), features=["amount", "hour"])


def lines(store: Any, key: str) -> list[Any]:
    body = store.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    return [json.loads(line) for line in (gzip.decompress(body) if key.endswith(".gz") else body).splitlines()]


def errors(found: list[Any]) -> list[tuple[int, Any]]:
    """Row and field of those that are errors, which stand where the answer would."""
    said = [(index, line["error"]) for index, line in enumerate(found) if isinstance(line, dict) and "error" in line]
    assert all(index == error["row"] and error["detail"] for index, error in said)
    return [(error["row"], error.get("field")) for _, error in said]


LINES = b'[1, 2]\n{"hour": 4, "amount": 3}\n\n[[5, 6], [7, 8]]\n[9]\nnonsense\n[1, "x"]\n[10, 11]'
ANSWERS = [[1, 2], [3, 4], [[5, 6], [7, 8]]]
TABLE = "\ufeffhour,amount\n2,1\n4,3\n5\nx,1\n,7\n8,9\n".encode()


def test_lines(store: Any, model: glowplug.Model) -> None:
    scored = handler(model)
    store.put_object(Bucket=BUCKET, Key="in/day 1.jsonl", Body=LINES)
    (done,) = scored(s3(BUCKET, "in/day+1.jsonl"), context())
    assert done == {
        "input": "s3://scores/in/day 1.jsonl",
        "output": "s3://scores/in/day 1.jsonl.predictions.jsonl",
        "rows": 7,
        "errors": 3,
    }
    found = lines(store, "in/day 1.jsonl.predictions.jsonl")
    assert (found[:3], found[6]) == (ANSWERS, [10, 11])
    assert [row for row, _ in errors(found)] == [3, 4, 5]
    assert errors(found)[2] == (5, "hour")


def test_tables(store: Any, model: glowplug.Model) -> None:
    recorder = Recorder()
    scored = handler(model, output="s3://scores/out/", telemetry=recorder)
    store.put_object(Bucket=BUCKET, Key="t.csv", Body=TABLE)
    (done,) = scored(s3(BUCKET, "t.csv"), context())
    assert (done["output"], done["rows"], done["errors"]) == ("s3://scores/out/t.csv.predictions.jsonl", 6, 2)
    found = lines(store, "out/t.csv.predictions.jsonl")
    assert (found[:2], found[4:]) == ([[1, 2], [3, 4]], [[7, None], [9, 8]])
    assert [row for row, _ in errors(found)] == [2, 3]
    ((measure, facts),) = recorder.told
    assert (measure.rows, facts["trigger"], type(measure.error)) == (4, "s3", glowplug.InputError)


@pytest.mark.parametrize("members", [1, 3])
def test_gzip(store: Any, model: glowplug.Model, members: int) -> None:
    size = len(LINES) // members + 1
    packed = b"".join(gzip.compress(LINES[start : start + size]) for start in range(0, len(LINES), size))
    store.put_object(Bucket=BUCKET, Key="a.jsonl.gz", Body=packed + bytes(20))
    handler(model)(s3(BUCKET, "a.jsonl.gz"), context())
    assert lines(store, "a.jsonl.predictions.jsonl.gz")[:3] == ANSWERS
    store.put_object(Bucket=BUCKET, Key="b.csv", Body=gzip.compress(TABLE), ContentEncoding="gzip")
    handler(model)(s3(BUCKET, "b.csv"), context())
    assert lines(store, "b.csv.predictions.jsonl")[0] == [1, 2]


def test_what_we_wrote_is_never_scored(store: Any, model: glowplug.Model) -> None:
    scored = handler(model)
    for key in ("a.jsonl.predictions.jsonl", "a.jsonl.predictions.jsonl.gz", "gone.jsonl"):
        event = s3(BUCKET, key, name="ObjectRemoved:Delete" if key == "gone.jsonl" else "ObjectCreated:Put")
        assert scored(event, context()) == []
    assert "Contents" not in store.list_objects_v2(Bucket=BUCKET)


def test_broken_objects_leave_nothing(store: Any, model: glowplug.Model) -> None:
    scored = handler(model)
    cut = gzip.compress(LINES * 100)
    objects: dict[str, tuple[bytes, str]] = {
        "photo.png": (b"\x89PNG", "filter the notification"),
        "cut.jsonl.gz": (cut[: len(cut) // 2], "ends early"),
        "cut.csv.gz": (gzip.compress(TABLE * 1500)[:-9], "ends early"),
        "long.csv": (TABLE + b"1," * 4_500_000, "a line of more than"),
        "no.csv.gz": (TABLE, "is not gzip"),
        "long.jsonl": (b"[" * 9_000_000, "a line of more than"),
        "empty.csv": (b"", "is empty"),
        "quotes.csv": (b'"hour"x,amount\n1,1\n', "cannot be read"),
    }
    for key, (body, says) in objects.items():
        store.put_object(Bucket=BUCKET, Key=key, Body=body)
        with pytest.raises(glowplug.InputError, match=says):
            scored(s3(BUCKET, key), context())
    with pytest.raises(Exception, match="NoSuchKey"):
        scored(s3(BUCKET, "none.jsonl"), context())
    store.put_object(Bucket=BUCKET, Key="late.jsonl", Body=LINES)
    with pytest.raises(glowplug.DeadlineExceeded):
        scored(s3(BUCKET, "late.jsonl"), context(0))
    # A good one among bad ones is scored, and the invocation still fails, so that Lambda tries again.
    store.put_object(Bucket=BUCKET, Key="good.jsonl", Body=LINES)
    with pytest.raises(glowplug.InputError):
        scored(s3(BUCKET, "photo.png", "good.jsonl"), context())
    names = {found["Key"] for found in store.list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert names == {*objects, "late.jsonl", "good.jsonl", "good.jsonl.predictions.jsonl"}
    assert "Uploads" not in store.list_multipart_uploads(Bucket=BUCKET)


def test_other_ways_of_notifications(store: Any, model: glowplug.Model) -> None:
    """Through a bus, a queue, and a topic, and a topic that sends to a queue."""
    delivered: list[Any] = []
    scored = handler(model, deliver=delivered.extend, objects=True)
    put = s3(BUCKET, "a.jsonl")
    topic = sns(json.dumps(put))
    notification = json.dumps({"Type": "Notification", "TopicArn": "arn:x", "Message": json.dumps(put)})
    bus = event_bridge(
        {"bucket": {"name": BUCKET}, "object": {"key": "a.jsonl"}}, source="aws.s3", kind="Object Created"
    )
    test = json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": BUCKET})
    for event in (bus, topic, sqs(json.dumps(put)), sqs(notification), sqs(json.dumps(bus)), sqs(test)):
        store.put_object(Bucket=BUCKET, Key="a.jsonl", Body=LINES)
        store.delete_object(Bucket=BUCKET, Key="a.jsonl.predictions.jsonl")
        answer = scored(event, context())
        if "Records" in event and "messageId" in event["Records"][0]:
            assert answer == {"batchItemFailures": []}
        if event["Records"][0].get("body") != test if "Records" in event else True:
            assert lines(store, "a.jsonl.predictions.jsonl")[0] == [1, 2]
    assert len(delivered) == 5
    assert delivered[-1].answer == []
    assert scored(sqs(json.dumps(s3(BUCKET, "none.csv")), json.dumps(put), "[[1, 2]]"), context()) == {
        "batchItemFailures": [{"itemIdentifier": "m0"}]
    }


def test_messages_name_no_objects_unless_they_may(store: Any, model: glowplug.Model) -> None:
    store.put_object(Bucket=BUCKET, Key="a.jsonl", Body=LINES)
    scored = handler(model, deliver=lambda _: None)
    put = json.dumps(s3(BUCKET, "a.jsonl"))
    assert scored(sqs(put, "[[1, 2]]"), context()) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    with pytest.raises(glowplug.InputError, match="objects=True"):
        scored(sns(put), context())
    for kind in ("Object Deleted", "Object Tags Added"):
        event = event_bridge({"bucket": {"name": BUCKET}, "object": {"key": "a.jsonl"}}, source="aws.s3", kind=kind)
        assert scored(event, context()) == []
    assert [found["Key"] for found in store.list_objects_v2(Bucket=BUCKET)["Contents"]] == ["a.jsonl"]


def test_rows_that_are_no_csv_cost_the_others_nothing(store: Any, model: glowplug.Model) -> None:
    body = b'hour,amount\n2,1\n\xff,1\n"4"b,3\n6,5\n'
    store.put_object(Bucket=BUCKET, Key="a.csv", Body=body)
    (done,) = handler(model)(s3(BUCKET, "a.csv"), context())
    assert (done["rows"], done["errors"]) == (4, 2)
    first, latin, quotes, last = lines(store, "a.csv.predictions.jsonl")
    assert (first, last) == ([1, 2], [5, 6])
    assert "expected a number" in latin["error"]["detail"]
    assert "cannot be read" in quotes["error"]["detail"]


STRAY = {
    "opened": (b'"4,3\n', 1),
    "opened in a cell": (b'4,"3\n', 1),
    "closed too early": (b'"4"4,3\n', 1),
    # All that follows are cells of one row for whoever reads on, until there is one more quote.
    "opened and closed later": (b'4,"3\n1,1\n2,2\n"3,3\n', 2),
}


@pytest.mark.parametrize("stray", STRAY)
def test_a_stray_quote_costs_its_own_line(store: Any, model: glowplug.Model, stray: str) -> None:
    """What follows are rows, whether the quote is closed by another one, by the end, or by what one row may have."""
    wrong, count = STRAY[stray]
    for behind in (100, 3000):
        rows = [b"%01000d,%01000d\n" % (index, index + 1) for index in range(behind)]
        store.put_object(Bucket=BUCKET, Key="a.csv", Body=b"hour,amount\n2,1\n" + wrong + b"".join(rows))
        (done,) = handler(model)(s3(BUCKET, "a.csv"), context())
        assert done["errors"] == count
        found = lines(store, "a.csv.predictions.jsonl")
        assert found[0] == [1, 2]
        assert found[-behind:] == [[index + 1, index] for index in range(behind)]
        (first, *_) = (line["error"] for line in found if isinstance(line, dict))
        assert (first["row"], "line 3 cannot be read" in first["detail"]) == (1, True), first


def test_no_row_is_lost_among_stray_quotes(store: Any, model: glowplug.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each makes a row of what follows, up to the next one; where that cannot be read again, the object is an error."""
    stray, pad = b'"5 inch' + b" " * 1000 + b",1\n", b" " * 1000
    body = b"hour,amount\n" + b"".join(stray + b"%d,1%b\n" % (index, pad) for index in range(5000))
    store.put_object(Bucket=BUCKET, Key="a.csv", Body=body)
    (done,) = handler(model)(s3(BUCKET, "a.csv"), context())
    assert (done["rows"], done["errors"]) == (10_000, 5000)
    found = [line for line in lines(store, "a.csv.predictions.jsonl") if not isinstance(line, dict)]
    assert found == [[1, index] for index in range(5000)]
    monkeypatch.setattr(csv_rows, "AGAIN", 0)
    with pytest.raises(glowplug.InputError, match="line 2 cannot be read"):
        handler(model)(s3(BUCKET, "a.csv"), context())


def test_cells_with_lines_of_their_own(store: Any, model: glowplug.Model) -> None:
    @handler(model)
    def scored(row: Any) -> Any:
        found = yield [[row["amount"], row["hour"]]]
        return {"text": row["text"], "sum": sum(found[0])}

    body = b'text,amount,hour\n"a\nb, ""c""\n",1,2\n"' + b"long\n" * 20_000 + b'",3,4\n'
    store.put_object(Bucket=BUCKET, Key="a.csv", Body=body)
    (done,) = scored(s3(BUCKET, "a.csv"), context())
    assert (done["rows"], done["errors"]) == (2, 0)
    first, second = lines(store, "a.csv.predictions.jsonl")
    assert first == {"text": 'a\nb, "c"\n', "sum": 3}
    assert (len(second["text"]), second["sum"]) == (100_000, 7)


@pytest.mark.parametrize("key", ["a.csv", "a.jsonl", "a.jsonl.gz", "a.csv.gz"])
def test_late_objects_come_again_whole(store: Any, model: glowplug.Model, key: str) -> None:
    """A fallback would stand among predictions; and an object without rows takes time as well."""
    lasting = b"\n" * (32 << 20)
    for body, left in ((TABLE if "csv" in key else LINES, 0), (lasting, 0.21)):
        store.put_object(Bucket=BUCKET, Key=key, Body=gzip.compress(body, 1) if key.endswith("gz") else body)
        with pytest.raises(glowplug.DeadlineExceeded):
            handler(model, fallback=0.5, warm=0)(s3(BUCKET, key), context(left))
    assert [found["Key"] for found in store.list_objects_v2(Bucket=BUCKET)["Contents"]] == [key]


def test_hooks(store: Any, model: glowplug.Model) -> None:
    @handler(model)
    def scored(payment: Any) -> Any:
        found = yield [[payment["amount"], payment["hour"]]]
        return {"sum": sum(found[0])}

    store.put_object(Bucket=BUCKET, Key="a.csv", Body=b"hour,amount\n2,1\n4,3\n")
    store.put_object(Bucket=BUCKET, Key="a.jsonl", Body=b'{"hour": 4, "amount": 3}\n{"hour": 4}\n')
    scored(s3(BUCKET, "a.csv", "a.jsonl"), context())
    assert lines(store, "a.csv.predictions.jsonl") == [{"sum": 3}, {"sum": 7}]
    found = lines(store, "a.jsonl.predictions.jsonl")
    assert (found[0], found[1]["error"]["row"]) == ({"sum": 7}, 1)
    assert "KeyError" not in json.dumps(found)


PEAK_OR_SCORE = """
scored = handler
def handler(event, context): return peak() if event == 'peak' else scored(event, context)
"""


@pytest.mark.parametrize("kind", ["one line", "quoted lines", "wide rows"])
def test_rows_without_an_end_take_little_memory(store: Any, tmp_path: Path, endpoint: str, kind: str) -> None:
    """Of two characters a cell a reader makes 60 bytes, and a row may go on for ever: its quote is never closed."""
    (tmp_path / "model.onnx").write_bytes(models.identity(shape=("N", "M")))
    few, line = b"1,2\n" * 10_000, b'","'.join([b"11"] * 2000)
    body, error = {
        # It begins with the quote, and each of its lines leaves one open: two megabytes are read again for each.
        "quoted lines": (b'1,2\n"' + (line + b"\n") * 2000, "a row of more than"),
        "one line": (b"1,2\n" + b"1," * (12 << 20), "a line of more than"),
        # Which are right; all at once would be too many.
        "wide rows": ((b",".join([b"11"] * 4000) + b"\n") * 600, None),
    }[kind]
    store.put_object(Bucket=BUCKET, Key="few.csv", Body=few)
    store.put_object(Bucket=BUCKET, Key="many.csv", Body=body)
    with RuntimeApi() as api, client(tmp_path, api, PEAK + PLAIN + PEAK_OR_SCORE, AWS_ENDPOINT_URL=endpoint):
        assert api.invoke(s3(BUCKET, "few.csv"), timeout=60).error_type is None
        before = api.invoke("peak").json()
        many = api.invoke(s3(BUCKET, "many.csv"), timeout=60)
        after = api.invoke("peak").json()
        if error is None:
            assert many.error_type is None, many.json()
            (done,) = many.json()
            assert (done["rows"], done["errors"]) == (600, 0)
        else:
            assert error in many.json()["errorMessage"]
        assert api.invoke(s3(BUCKET, "few.csv"), timeout=60).error_type is None
    assert after - before < 80 << 20


LARGE_ROWS, WIDTH = 100_000, 64


def test_large_objects_take_little_memory(store: Any, tmp_path: Path, endpoint: str) -> None:
    """40 MB of rows, packed to little, are scored under the real client in far less memory than they have."""
    (tmp_path / "model.onnx").write_bytes(models.identity(shape=("N", WIDTH)))
    row = json.dumps([1.125] * WIDTH).encode() + b"\n"
    store.put_object(Bucket=BUCKET, Key="few.jsonl", Body=row * 30_000)
    store.put_object(Bucket=BUCKET, Key="many.jsonl.gz", Body=gzip.compress(row * LARGE_ROWS, 1))
    with RuntimeApi() as api, client(tmp_path, api, PEAK + PLAIN + PEAK_OR_SCORE, AWS_ENDPOINT_URL=endpoint):
        few = api.invoke(s3(BUCKET, "few.jsonl"), timeout=60)
        assert few.error_type is None, few.json()
        before = api.invoke("peak").json()
        many = api.invoke(s3(BUCKET, "many.jsonl.gz"), timeout=60)
        assert many.error_type is None, many.json()
        assert (many.json()[0]["rows"], many.json()[0]["errors"]) == (LARGE_ROWS, 0)
        after = api.invoke("peak").json()
        assert store.head_object(Bucket=BUCKET, Key="many.jsonl.predictions.jsonl.gz")
    # What is held are a chunk and a part of the upload, whatever the object has.
    assert after - before < 8 * 2**20
