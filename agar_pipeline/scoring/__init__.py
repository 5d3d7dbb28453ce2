"""Scores detections against annotations: metrics and counts. No model is needed.

`suppression`, `count_rule`, `counted_area`: which detections count. `average_precision`, `counting`, `matching`,
`error_costs`, `reliability`, `uncertainty`: one kind of figure each. `cross_validation`: figures of predictions by
several models. `score`: all figures together. `usefulness`: whether a model is good enough for counting.
`class_agreement`, `prediction_file`, `misread_predictions`: predictions that are read from a file.
"""
