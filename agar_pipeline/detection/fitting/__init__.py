"""What a config leaves to the data, settled from the boxes of train before any model is built.

`data_choice`: scale, crops and batch of `data: auto`. `model_fitting`: anchors and caps.
"""
