"""Objects in S3 that hold rows: scored in a stream, and the predictions written beside them as JSON lines."""

from __future__ import annotations

import zlib
from contextlib import closing
from itertools import chain
from time import monotonic
from urllib.parse import unquote_plus

import boto3
from boto3.s3.transfer import TransferConfig

from glowplug.errors import DeadlineExceeded, InputError
from glowplug.serve.aws_lambda.transfer import Upload, fetched, left, refuse_given_up
from glowplug.serve.batches import Parsed, Scored, score_batch
from glowplug.serve.csv_rows import csv_rows
from glowplug.serve.scoring import json_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from glowplug.serve.scoring import Measure, Scorer

#: What is written. Objects that end so are never scored: a notification for the whole bucket would not end.
SUFFIX = ".predictions.jsonl"
CSV_ENDS, LINES_ENDS = (".csv",), (".jsonl", ".ndjson")
#: Rows that are scored together, and bytes of lines that are held for it.
CHUNK_ROWS, CHUNK_BYTES = 4096, 2**20
READ_BYTES = 2**18
#: One part is held while it is sent. 8 MiB allow objects of 80 GB.
_TRANSFER = TransferConfig(multipart_threshold=2**23, multipart_chunksize=2**23, use_threads=False)
_GZIP = 31


def objects_of(event: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    """Bucket, key and version of the objects that an event says were made; of S3's own, or that of an event bus."""
    if "Records" not in event:
        if event.get("detail-type") != "Object Created":
            return []
        detail = event["detail"]
        return [(detail["bucket"]["name"], detail["object"]["key"], detail["object"].get("version-id"))]
    found = []
    for record in event["Records"]:
        if str(record.get("eventName", "")).startswith("ObjectCreated:"):
            about = record["s3"]
            key = unquote_plus(about["object"]["key"])
            found.append((about["bucket"]["name"], key, about["object"].get("versionId")))
    return found


class Store:
    """Scores objects with one scorer.

    Args:
        scorer: Whose model, hooks and limits. A line is a question.
        output: Where predictions go: `s3://bucket/prefix`, before the key of the object. Without it, beside the object.
    """

    def __init__(self, scorer: Scorer, output: str | None) -> None:
        self.scorer = scorer
        self.output = output
        self.client = boto3.client("s3")
        self.client.meta.events.register("before-send.s3", refuse_given_up)

    def score(
        self, bucket: str, key: str, version: str | None, *, timeout: float | None, measure: Measure, call: Any
    ) -> dict[str, Any] | None:
        """Score one object.

        Returns:
            Where the predictions are, and how many rows there were and how many of them are errors; `None` for an object
            that holds predictions.

        Raises:
            InputError: It is none of the formats there are, or cannot be read.
            DeadlineExceeded: There was not enough time. Nothing is written then, unless all of it was on its way already.
        """
        name = key.lower()
        is_zipped = name.endswith(".gz")
        name = name.removesuffix(".gz")
        if name.endswith(SUFFIX):
            return None
        if not name.endswith(CSV_ENDS + LINES_ENDS):
            problem = f"got {key[-200:]!r}, expected {', '.join(CSV_ENDS + LINES_ENDS)}, also with .gz"
            raise InputError.about("object", problem, "filter the notification by the suffix of keys")
        which = {"Bucket": bucket, "Key": key} | ({} if version is None else {"VersionId": version})
        into, path = self._place(bucket, key, is_zipped=is_zipped)
        end = None if timeout is None else monotonic() + timeout
        left(end)
        with closing(fetched(lambda: self._parts(which), end)) as parts:
            is_encoded = next(parts) == "gzip"
            lines = _lines(_until(end, _inflated(parts)) if is_zipped or is_encoded else parts, self.scorer.limits.body)
            work = _Work(self.scorer, end, measure, call)
            written = work.csv(lines) if name.endswith(CSV_ENDS) else work.json(lines)
            with Upload(lambda file: self.client.upload_fileobj(file, into, path, Config=_TRANSFER), end) as upload:
                for part in _deflated(written) if is_zipped else written:
                    upload.write(part)
        return {
            "input": f"s3://{bucket}/{key}",
            "output": f"s3://{into}/{path}",
            "rows": work.rows,
            "errors": work.errors,
        }

    def _parts(self, which: dict[str, Any]) -> Iterator[Any]:
        """The encoding of an object, and its parts."""
        found = self.client.get_object(**which)
        with closing(found["Body"]) as body:
            yield found.get("ContentEncoding")
            yield from body.iter_chunks(READ_BYTES)

    def _place(self, bucket: str, key: str, *, is_zipped: bool) -> tuple[str, str]:
        key = key.removesuffix(".gz") if is_zipped else key
        path = key + SUFFIX + (".gz" if is_zipped else "")
        if self.output is None:
            return bucket, path
        into, _, prefix = self.output.removeprefix("s3://").partition("/")
        return into, prefix + path


class _Work:
    """The rows of one object, chunk by chunk."""

    def __init__(self, scorer: Scorer, end: float | None, measure: Measure, call: Any) -> None:
        self.scorer = scorer
        self.end = end
        self.measure = measure
        self.call = call
        self.rows = self.errors = 0
        #: Bytes of lines that are in no chunk yet.
        self._read = 0

    def json(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        """Answers to JSON lines; each line is a question."""
        for chunk in _chunks((line for line in lines if line.strip()), len):
            yield self._written(self._scored(chunk), Scored.json)

    def csv(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        """Answers to rows of CSV."""

        # What is no UTF-8 is its own row's mistake: it comes through as what no number is, and no text may hold.
        def texts() -> Iterator[str]:
            for index, line in enumerate(lines):
                self._read += len(line)
                yield line.decode("utf-8-sig" if index == 0 else "utf-8", "surrogateescape")

        rows, _ = csv_rows(texts(), self.scorer.model, keep_going=True)
        has_hooks = self.scorer.has_hooks

        def question(row: Any) -> Any:
            if isinstance(row, Exception):
                return row
            return Parsed(row if has_hooks else [row])

        def size(_: Any) -> int:
            read, self._read = self._read, 0
            return read

        for chunk in _chunks(map(question, rows), size):
            yield self._written(self._scored(chunk), Scored.json if has_hooks else _only)

    def _scored(self, chunk: list[Any]) -> list[Scored]:
        left = None if self.end is None else self.end - monotonic()
        # A fallback in the place of predictions could not be told from them later.
        options: dict[str, Any] = {"timeout": left, "measure": self.measure, "calls": lambda _: self.call}
        return score_batch(self.scorer, chunk, has_fallback=False, **options)

    def _written(self, batch: list[Scored], text: Callable[[Scored], bytes]) -> bytes:
        lines = []
        for scored in batch:
            try:
                lines.append(text(scored))
            except DeadlineExceeded:
                # The object comes again as a whole.
                raise
            except Exception as error:  # noqa: BLE001 - it is one row's, and the others go on
                self.errors += 1
                self.measure.error = self.measure.error or error
                problem = self.scorer.problem(error)
                lines.append(
                    json_bytes(
                        {"error": {"row": self.rows, "detail": problem.detail} | problem.members | {"row": self.rows}}
                    )
                )
            self.rows += 1
        return b"\n".join(lines) + b"\n"


def _until(end: float | None, parts: Iterable[bytes]) -> Iterator[bytes]:
    """The parts, as long as there is time: an object may be long without holding a row."""
    for part in parts:
        left(end)
        yield part


def _only(scored: Scored) -> bytes:
    """The answer to the one row of a list."""
    return scored.json()[1:-1]


def _chunks(items: Iterable[Any], size: Callable[[Any], int]) -> Iterator[list[Any]]:
    chunk: list[Any] = []
    held = 0
    for item in items:
        chunk.append(item)
        held += size(item)
        if len(chunk) >= CHUNK_ROWS or held >= CHUNK_BYTES:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


def _lines(parts: Iterable[bytes], most: int) -> Iterator[bytes]:
    """Lines with their ends, none of them longer than `most` bytes."""
    left = b""
    for part in chain(parts, (b"",)):
        *whole, left = (left + part).split(b"\n") if part else [left]
        for line in whole:
            yield line + b"\n"
        if len(left) > most:
            raise InputError.about("object", f"got a line of more than {most} bytes", "put one row on each line")
    if left:
        yield left


def _inflated(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Decompress gzip of any number of members, never more than a part at a time."""
    inflate = zlib.decompressobj(_GZIP)
    try:
        for part in parts:
            rest = part
            # Zeros after the last member are padding.
            while rest and not (inflate.eof and not rest.strip(b"\0")):
                if inflate.eof:
                    inflate = zlib.decompressobj(_GZIP)
                data = inflate.decompress(rest, READ_BYTES)
                rest = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
                if data:
                    yield data
        if not inflate.eof:
            yield inflate.flush()
    except zlib.error as error:
        raise InputError.about("object", f"is not gzip: {error}", "name objects .gz that are") from None
    if not inflate.eof:
        raise InputError.about("object", "is gzip that ends early", "upload it again")


def _deflated(parts: Iterable[bytes]) -> Iterator[bytes]:
    deflate = zlib.compressobj(wbits=_GZIP)
    for part in parts:
        yield deflate.compress(part)
    yield deflate.flush()
