"""Models as functions of AWS Lambda, whatever triggers them.

>>> from glowplug.serve.aws_lambda import handler
>>> lambda_handler = handler("fraud.onnx")  # doctest: +SKIP
"""

from glowplug.serve.aws_lambda.function import Call, Delivery, Handler, handler

__all__ = ("Call", "Delivery", "Handler", "handler")
