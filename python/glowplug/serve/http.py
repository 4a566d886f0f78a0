"""Requests and answers without a server: what a platform hands in, and what it hands back."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

JSON, CSV, NPY = "application/json", "text/csv", "application/x-npy"
PROBLEM = "application/problem+json"
#: What functions of the user's answer that is bytes.
BYTES = "application/octet-stream"
#: Media types that are read as one of the three.
KNOWN_AS = {
    JSON: JSON,
    "text/json": JSON,
    # What `curl -d` and `requests.post(data=…)` say of everything, for bodies that are JSON far more often than forms.
    "application/x-www-form-urlencoded": JSON,
    CSV: CSV,
    "application/csv": CSV,
    NPY: NPY,
    "application/npy": NPY,
    "application/vnd.numpy.npy": NPY,
}
#: What JSON may become as Python's objects, as a multiple of the bytes that a body may have after decompression.
PARSED = 4
#: Bytes of Python's objects in a list, by the characters that come with each: a number, a list, a dict, a text (which has two).
SIZES = {",": 36, "[": 64, "{": 240, '"': 30}
TEXT = r'(?s)"(?:[^"\\]|\\.)*+"'
#: Members of one gzip body; each costs a copy of what follows it.
MOST_MEMBERS = 64
PHRASES = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Request:
    """A request as every platform has it.

    Args:
        method: `"GET"`, `"POST"`, …
        path: The path below the host, without the query.
        headers: Names in any case to values, or pairs of them. Values of a name that comes several times are joined with
            commas.
        body: The bytes as they came, still compressed.
    """

    __slots__ = ("body", "headers", "method", "path")

    def __init__(
        self, method: str, path: str, headers: Mapping[str, str] | Iterable[tuple[str, str]], body: bytes
    ) -> None:
        self.method = method.upper()
        self.path = path
        given = headers.items() if hasattr(headers, "items") else headers
        # Platforms send null for a header without a value.
        pairs = [(name.lower(), value) for name, value in given if value is not None]
        self.headers = dict(pairs)
        if len(self.headers) < len(pairs):
            self.headers = {name: ", ".join(value for other, value in pairs if other == name) for name in self.headers}
        self.body = body


class Response:
    """An answer: status, headers with names in lower case, and the bytes of the body."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def text(self) -> str | None:
        """The body as text, so that it can travel in JSON as it is; `None` if it is no UTF-8."""
        if self.headers.get("content-type") in {NPY, BYTES}:
            return None
        try:
            return self.body.decode()
        except UnicodeDecodeError:
            return None


class Problem(Exception):  # noqa: N818 - the name that RFC 9457 gives it
    """A mistake that its sender is told about, as a problem document (RFC 9457). Hooks may raise it.

    Args:
        status: The status of the answer.
        detail: What is wrong, for the one who sent it.
        members: More members of the document, such as `row` and `field`. Those that are `None` are left out.
        headers: More headers of the answer.
    """

    def __init__(self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = {name: value for name, value in members.items() if value is not None}

    def response(self) -> Response:
        """The answer that says it."""
        from json import dumps

        document = {"type": "about:blank", "title": PHRASES.get(self.status, "Error"), "status": self.status}
        document |= {"detail": self.detail, **self.members}
        headers = {"content-type": PROBLEM, **self.headers}
        return Response(self.status, headers, dumps(document, ensure_ascii=False).encode())


class Limits:
    """How much of a request is taken. What is larger is refused with 413 before it takes memory.

    Args:
        body: Bytes of a body as it comes, 6 MiB in Lambda by its own limits.
        decompressed: Bytes of a body after decompression. What functions of the user's get parsed may be four times as large
            as Python's objects.
        rows: Rows of a body.
    """

    __slots__ = ("body", "decompressed", "rows")

    def __init__(self, *, body: int = 32 * 2**20, decompressed: int = 128 * 2**20, rows: int = 1_000_000) -> None:
        self.body = body
        self.decompressed = decompressed
        self.rows = rows

    def check_length(self, declared: str | None) -> None:
        """Refuse a body by the length that its headers declare, before any of it is read.

        Raises:
            Problem: 413 if it is too long, 400 if it is no length.
        """
        if declared is None:
            return
        if not (declared.isascii() and declared.isdigit()) or len(declared) > 20:  # noqa: PLR2004 - 2^64 has 20 digits
            raise Problem(400, f"got the content length {declared[:40]!r}, expected a number of bytes")
        if int(declared) > self.body:
            raise Problem(413, f"got a body of {int(declared)} bytes, expected at most {self.body}")


def media_type(content_type: str | None) -> str:
    """Which of the formats a body has: `JSON`, `CSV` or `NPY`; JSON if nobody says.

    Raises:
        Problem: 415 for others, and for text that is not in UTF-8.
    """
    if not content_type or content_type == JSON:
        return JSON
    name, *parameters = (part.strip() for part in content_type.lower().split(";"))
    known = KNOWN_AS.get(name) or (JSON if name.endswith("+json") else None)
    if known is None:
        detail = f"got the content type {name[:100]!r}, expected {JSON}, {CSV} or {NPY}"
        raise Problem(415, detail, headers={"accept-post": f"{JSON}, {CSV}, {NPY}"})
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "charset" and value.strip(" \"'") not in {"utf-8", "utf8", "us-ascii"}:
            raise Problem(415, f"got the charset {value.strip()[:40]}, expected utf-8")
    return known


def wanted_type(accept: str | None, asked_in: str) -> str:
    """The format of the answer: the one of the question, unless `accept` names only other ones that there are.

    Raises:
        Problem: 406 if none of the accepted ones is there.
    """
    if not accept or accept == "*/*":
        return asked_in
    names = []
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        if not any(parameter.replace(" ", "") in {"q=0", "q=0.0", "q=0.00", "q=0.000"} for parameter in parameters):
            names.append(name)
    kinds = {KNOWN_AS.get(name, name) for name in names}
    if asked_in in kinds or kinds & {"*/*", f"{asked_in.partition('/')[0]}/*"}:
        return asked_in
    for name in names:
        known = {"application/*": JSON, "text/*": CSV}.get(name) or KNOWN_AS.get(name)
        if known is not None:
            return known
    raise Problem(406, f"got accept: {accept[:100]}, expected {JSON}, {CSV} or {NPY}")


def decoded(body: bytes, encoding: str | None, limits: Limits) -> bytes:
    """The body without its content encodings.

    Raises:
        Problem: 413 if it is or becomes too long, 415 for an unknown encoding, 400 if it is damaged.
    """
    if len(body) > limits.body:
        raise Problem(413, f"got a body of {len(body)} bytes, expected at most {limits.body}")
    if not encoding or encoding == "identity":
        return body
    encodings = [name.strip() for name in encoding.lower().split(",")]
    if len(encodings) > 3:  # noqa: PLR2004 - nobody does, but for work
        raise Problem(415, "got more than 3 content encodings")
    for name in reversed(encodings):
        if name in {"gzip", "x-gzip", "deflate"}:
            body = inflated(body, name, limits.decompressed)
        elif name != "identity":
            detail = f"got the content encoding {name[:40]!r}, expected gzip, deflate or none"
            raise Problem(415, detail, headers={"accept-encoding": "gzip, deflate"})
    return body


def inflated(body: bytes, encoding: str, most: int) -> bytes:
    """Decompress gzip of any number of members, or zlib, into at most `most` bytes, taking no more memory than that.

    Raises:
        Problem: 413 if there is more in it, 400 if it is damaged.
    """
    import zlib

    window = 15 if encoding == "deflate" else 31
    parts, room = list[bytes](), most
    for _ in range(MOST_MEMBERS):
        inflate = zlib.decompressobj(window)
        try:
            # One byte more than there is room for tells that there is more.
            part = inflate.decompress(body, room + 1)
        except zlib.error as error:
            raise Problem(400, f"got a body that is not {encoding}: {error}") from None
        room -= len(part)
        if room < 0:
            raise Problem(413, f"got a body of more than {most} bytes when decompressed")
        parts.append(part)
        if not inflate.eof:
            raise Problem(400, f"got a body whose {encoding} ends early")
        body = inflate.unused_data
        # Zeros after the last member are padding.
        if not body or encoding == "deflate" or not body.strip(b"\0"):
            return parts[0] if len(parts) == 1 else b"".join(parts)
    raise Problem(400, f"got a body of more than {MOST_MEMBERS} gzip members")


def check_parsed(body: bytes | str, limits: Limits) -> int:
    """Refuse JSON that would become too many objects of Python's, of which `[[],[]` takes thirty bytes for each of its own.

    Returns:
        How many bytes they may take.

    Raises:
        Problem: 413 if they may take more than four times what a body may have.
    """
    most = PARSED * limits.decompressed
    texts = len(body) * (1 if body.isascii() else 4)
    size = texts + _objects_size(body)
    if size > most:
        # What stands in texts makes no objects.
        from re import sub

        size = texts + _objects_size(sub(TEXT, '""', body if isinstance(body, str) else body.decode("latin-1")))
    if size > most:
        raise Problem(413, f"got a body of some {size} bytes when parsed, expected at most {most}")
    return size


def _objects_size(body: bytes | str) -> int:
    if isinstance(body, str):
        return sum(size * body.count(mark) for mark, size in SIZES.items())
    return sum(size * body.count(mark.encode()) for mark, size in SIZES.items())


def from_base64(text: str | bytes) -> bytes:
    """The bytes that a platform wrapped in base64.

    Raises:
        Problem: 400 if it is truncated or no base64.
    """
    from binascii import Error, a2b_base64

    try:
        return a2b_base64(text, strict_mode=True)
    except (Error, TypeError, ValueError) as error:
        raise Problem(400, f"got a body that is not base64: {error}") from None
