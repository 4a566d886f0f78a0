"""What triggered the function, told by the shape of the event."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DIRECT = "direct"
REST, HTTP, BALANCER = "api-gateway-rest", "api-gateway-http", "load-balancer"
SQS, SNS, KINESIS, DYNAMODB, S3 = "sqs", "sns", "kinesis", "dynamodb", "s3"
EVENT_BRIDGE, ITEMS = "event-bridge", "step-functions-items"

WEB = frozenset({REST, HTTP, BALANCER})
BATCHES = frozenset({SQS, SNS, KINESIS, DYNAMODB})
#: `eventSource` of records, and SNS's own spelling of it.
RECORDS = {"aws:sqs": SQS, "aws:sns": SNS, "aws:kinesis": KINESIS, "aws:dynamodb": DYNAMODB, "aws:s3": S3}


def trigger_of(event: Any) -> str:
    """The name of the trigger; `DIRECT` for all payloads that are no event of a service.

    Function URLs send the events of HTTP APIs. What Step Functions pass is the payload that the state machine makes, but for
    the batches of a distributed map.
    """
    if not isinstance(event, dict):
        return DIRECT
    found = _web(event.get("requestContext"), event) or _records(event.get("Records"))
    if found is None and "detail-type" in event and "detail" in event:
        found = EVENT_BRIDGE
    elif found is None and isinstance(event.get("Items"), list) and set(event) <= {"Items", "BatchInput"}:
        found = ITEMS
    return found or DIRECT


def _web(about: Any, event: dict[str, Any]) -> str | None:
    if not isinstance(about, dict):
        return None
    if "elb" in about:
        return BALANCER
    if isinstance(about.get("http"), dict):
        return HTTP
    return REST if "httpMethod" in event else None


def _records(records: Any) -> str | None:
    if not isinstance(records, list) or not records or not isinstance(records[0], dict):
        return None
    source = records[0].get("eventSource") or records[0].get("EventSource")
    return RECORDS.get(source) if isinstance(source, str) else None
