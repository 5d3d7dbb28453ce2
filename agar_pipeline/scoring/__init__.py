"""Detections against annotations: metrics and counts. No model is needed, and none is known.

`average_precision`, `counting`, `matching`, `error_gains`, `uncertainty`, `suppression`: one question each. `score`:
all of them. `usefulness`: whether anybody should count with the model. `class_agreement`, `prediction_file`,
`misread_predictions`: predictions that come as a file.
"""
