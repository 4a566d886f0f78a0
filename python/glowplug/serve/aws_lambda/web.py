"""Requests of API Gateway, function URLs and load balancers, and the answers that each of them wants."""

from __future__ import annotations

from glowplug.serve.aws_lambda.triggers import BALANCER, HTTP
from glowplug.serve.http import PHRASES, Problem, Request, Response, from_base64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: What Lambda takes as the answer of an invocation, less the envelope of the body; in bytes.
MOST_ANSWER = 6 * 2**20 - 2**12
#: The same where the answer goes to a load balancer, which takes 1 MB of JSON.
MOST_BALANCED = 2**20 - 2**12


def request_of(event: dict[str, Any], trigger: str) -> Request:
    """The request that an event holds.

    Raises:
        Problem: 400 if its body is not the base64 that it is said to be, or if a part of it is no text: events made by hand.
    """
    if trigger == HTTP:
        about = event["requestContext"]["http"]
        method, path = about.get("method", ""), event.get("rawPath", "")
    else:
        method, path = event.get("httpMethod", ""), event.get("path", "")
    body = event.get("body") or b""
    for name, part in (("method", method), ("path", path or ""), ("body", body)):
        if not isinstance(part, (str, bytes)):
            raise Problem(400, f"got {type(part).__name__} as the {name}, expected text")
    if event.get("isBase64Encoded"):
        body = from_base64(body)
    elif isinstance(body, str):
        # Half of a pair of surrogates has no UTF-8; the reader says so.
        body = body.encode("utf-8", "surrogatepass")
    return Request(method, path or "", _headers(event), body)


def _headers(event: dict[str, Any]) -> dict[str, str]:
    headers = event.get("headers")
    # A load balancer with multi-value headers sends them alone.
    given = headers or event.get("multiValueHeaders") or {}
    if not isinstance(given, dict):
        raise Problem(400, f"got {type(given).__name__} as the headers, expected an object")
    found = {}
    for name, value in given.items():
        values = value if isinstance(value, list) else [value]
        texts = [_header(name, one) for one in values if one is not None and one != ""]
        if texts or value == "":
            found[name] = ",".join(texts)
    return found


def _header(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    # As a client of one's own writes the length of a body.
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise Problem(400, f"got {type(value).__name__} as the header {name[:40]!r}, expected text")


def is_health_check(request: Request) -> bool:
    """Whether a load balancer asks if the function is there."""
    return request.method == "GET" and request.headers.get("user-agent", "").startswith("ELB-HealthChecker/")


def answer_of(response: Response, event: dict[str, Any], trigger: str) -> dict[str, Any]:
    """The answer as the sender of the event wants it."""
    text = response.text()
    if text is None:
        from binascii import b2a_base64

        body, is_base64 = b2a_base64(response.body, newline=False).decode(), True
    else:
        body, is_base64 = text, False
    most = MOST_BALANCED if trigger == BALANCER else MOST_ANSWER
    # No escaping makes more than six bytes of one.
    if len(response.body) > most // 6 and (size := _size(body)) > most:
        detail = f"the answer has {size} bytes, and Lambda takes {most}: send fewer rows at once"
        return answer_of(Problem(413, detail).response(), event, trigger)
    answer: dict[str, Any] = {
        "statusCode": response.status,
        "headers": response.headers,
        "body": body,
        "isBase64Encoded": is_base64,
    }
    if trigger == BALANCER:
        answer["statusDescription"] = f"{response.status} {PHRASES.get(response.status, 'Unknown')}"
        if not event.get("headers") and "multiValueHeaders" in event:
            answer["multiValueHeaders"] = {name: [value] for name, value in answer.pop("headers").items()}
    return answer


def _size(body: str) -> int:
    """Bytes of the body as a JSON text, for runtimes that escape everything beyond ASCII as well."""
    from json import dumps

    return len(dumps(body))
