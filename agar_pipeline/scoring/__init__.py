"""Scores detections against annotations: metrics and counts. No model is needed.

`average_precision`, `counting`, `matching`, `error_costs`, `reliability`, `uncertainty`, `suppression`: one kind of
figure each. `cross_validation`: figures of predictions by several models. `counted_area`: the part of each image in
which boxes count. `score`: all figures together. `usefulness`: whether a model is good enough for counting.
`class_agreement`, `prediction_file`, `misread_predictions`: predictions that are read from a file.
"""
