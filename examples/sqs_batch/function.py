"""Applicants in a queue, their risks in another one: batches are scored in one run, bad messages alone come again."""

import json
import os

import boto3

from glowplug.serve.aws_lambda import handler

queue = boto3.client("sqs")


def deliver(done):
    """Send the answers in tens, and give back those that the queue did not take: they come again."""
    left = []
    for start in range(0, len(done), 10):
        part = done[start : start + 10]
        entries = [{"Id": str(at), "MessageBody": json.dumps(delivery.answer)} for at, delivery in enumerate(part)]
        sent = queue.send_message_batch(QueueUrl=os.environ["RISKS"], Entries=entries)
        left += [part[int(failed["Id"])] for failed in sent.get("Failed", [])]
    return left


@handler("model.onnx", method="predict_proba", deliver=deliver)
def lambda_handler(message):
    ((_, bad),) = yield [message["applicant"]]
    return {"id": message["id"], "risk": round(bad, 4)}
