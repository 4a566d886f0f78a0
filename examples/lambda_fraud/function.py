"""The risk of bad credit, behind a function URL: one applicant or a list of them in, as in the data; their risks out."""

from glowplug.serve.aws_lambda import handler


@handler("model.onnx", method="predict_proba")
def lambda_handler(applicants):
    rows = applicants if isinstance(applicants, list) else [applicants]
    probabilities = yield rows
    return {"risks": [round(bad, 4) for _, bad in probabilities]}
