"""Chooses the settings that a config leaves to the data, from the boxes of train, before any model is built.

`data_choice`: scale, crops and batch size for `data: auto`. `model_fitting`: anchors and limits.
"""
