"""Events as the services send them, cut to what a function may look at."""

from __future__ import annotations

import base64
from typing import Any

URL_HEADERS = {"content-type": "application/json", "accept": "*/*", "user-agent": "curl/8.5.0"}


def http_api(body: str | bytes, *, method: str = "POST", path: str = "/score", **headers: str) -> dict[str, Any]:
    """Of an API Gateway HTTP API, or a function URL, which use the same format 2.0."""
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": URL_HEADERS | {name.replace("_", "-"): value for name, value in headers.items()},
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "r3pmxmplak",
            "domainName": "r3pmxmplak.lambda-url.us-east-2.on.aws",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7"},
            "requestId": "e1506fd5-9e7b-434f-bd42-4f8fa224b599",
            "stage": "$default",
        },
    }
    return event | _body(body)


def rest_api(body: str | bytes | None, *, method: str = "POST", **headers: str) -> dict[str, Any]:
    """Of an API Gateway REST API, format 1.0."""
    named = {"Content-Type": "application/json", "Accept": "*/*"}
    named |= {name.replace("_", "-").title(): value for name, value in headers.items()}
    event: dict[str, Any] = {
        "resource": "/score",
        "path": "/score",
        "httpMethod": method,
        "headers": named,
        "multiValueHeaders": {name: [value] for name, value in named.items()},
        "queryStringParameters": None,
        "requestContext": {"resourcePath": "/score", "httpMethod": method, "apiId": "1234567890", "stage": "prod"},
        "body": None,
        "isBase64Encoded": False,
    }
    return event if body is None else event | _body(body)


def load_balancer(body: str | bytes, *, method: str = "POST", several: bool = False, **headers: str) -> dict[str, Any]:
    """Of an application load balancer, which sends either kind of headers alone."""
    named = {"content-type": "application/json", "accept": "*/*", "x-forwarded-proto": "https"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    arn = "arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/scores/49e9d65c45c6791a"
    event = {"requestContext": {"elb": {"targetGroupArn": arn}}, "httpMethod": method, "path": "/score"}
    held = {"multiValueHeaders": {name: [value] for name, value in named.items()}} if several else {"headers": named}
    return event | held | _body(body)


def _body(body: str | bytes) -> dict[str, Any]:
    if isinstance(body, bytes):
        return {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    return {"body": body, "isBase64Encoded": False}


def event_bridge(detail: Any, *, source: str = "shop.payments", kind: str = "Payment Made") -> dict[str, Any]:
    return {
        "version": "0",
        "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
        "detail-type": kind,
        "source": source,
        "account": "123456789012",
        "time": "2026-10-08T16:53:06Z",
        "region": "us-east-1",
        "resources": [],
        "detail": detail,
    }


def sqs(*bodies: str, groups: list[str] | None = None) -> dict[str, Any]:
    """Of a queue; with `groups` of a FIFO queue. Messages are called m0, m1, …"""
    records: list[dict[str, Any]] = []
    for index, body in enumerate(bodies):
        attributes = {"ApproximateReceiveCount": "1", "SentTimestamp": "1545082649183"}
        if groups is not None:
            attributes |= {"MessageGroupId": groups[index], "SequenceNumber": str(index)}
        records.append(
            {
                "messageId": f"m{index}",
                "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
                "body": body,
                "attributes": attributes,
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-2:123456789012:payments" + ("" if groups is None else ".fifo"),
                "awsRegion": "us-east-2",
            }
        )
    return {"Records": records}


def sns(*messages: str) -> dict[str, Any]:
    about = {"Type": "Notification", "TopicArn": "arn:aws:sns:us-east-1:123456789012:payments", "Subject": None}
    return {
        "Records": [
            {"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": about | {"MessageId": "95", "Message": message}}
            for message in messages
        ]
    }


def kinesis(*data: bytes) -> dict[str, Any]:
    """Of a shard; sequence numbers are 0, 1, …"""
    return {
        "Records": [
            {
                "kinesis": {
                    "partitionKey": "p",
                    "sequenceNumber": str(index),
                    "data": base64.b64encode(part).decode(),
                    "approximateArrivalTimestamp": 1545084650.987,
                },
                "eventSource": "aws:kinesis",
                "eventID": f"shardId-000000000006:{index}",
                "eventName": "aws:kinesis:record",
            }
            for index, part in enumerate(data)
        ]
    }


def dynamodb(*images: dict[str, Any] | None) -> dict[str, Any]:
    """Of a table's stream, with the new image of each item; `None` for one that is gone."""
    records: list[dict[str, Any]] = []
    for index, image in enumerate(images):
        change: dict[str, Any] = {"Keys": {"id": {"N": str(index)}}, "SequenceNumber": str(index)}
        change |= {"StreamViewType": "NEW_IMAGE"} | ({} if image is None else {"NewImage": image})
        name = "REMOVE" if image is None else "MODIFY"
        records.append({"eventSource": "aws:dynamodb", "eventName": name, "dynamodb": change})
    return {"Records": records}


def s3(bucket: str, *keys: str, name: str = "ObjectCreated:Put") -> dict[str, Any]:
    """Of a bucket's notifications; keys are encoded as in URLs."""
    return {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "eventName": name,
                "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 1024, "sequencer": "0A1B2C"}},
            }
            for key in keys
        ]
    }
