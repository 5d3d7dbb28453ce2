"""A model that was saved and loaded predicts as before."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from agar_pipeline.coco.detections import Detections
from agar_pipeline.detection.training import round_trip


def test_a_round_trip_compares_every_tensor_and_on_a_gpu_the_best_boxes() -> None:
    weights = {"a": torch.ones(2), "b": torch.zeros(1)}
    assert round_trip.find_changed_tensors(weights, {name: value.clone() for name, value in weights.items()}) == []
    assert round_trip.find_changed_tensors(weights, {"a": torch.tensor([1, 1 + 1e-6]), "c": torch.ones(1)}) == [
        "a",
        "b",
        "c",
    ]
    boxes = np.random.default_rng(0).uniform(0, 1000, (200, 4))
    seen = Detections(np.repeat([1, 2], 100), np.ones(200, int), boxes, np.linspace(1, 0, 200))
    last_bit = dataclasses.replace(seen, boxes_xywh=boxes + 0.1).take(np.arange(198))
    assert round_trip.are_alike(seen, seen, exactly=True)
    assert not round_trip.are_alike(seen, last_bit, exactly=True)
    assert round_trip.are_alike(seen, last_bit, exactly=False)
    assert not round_trip.are_alike(seen, dataclasses.replace(seen, boxes_xywh=boxes + 4), exactly=False)
    assert not round_trip.are_alike(seen, seen.take(np.arange(150)), exactly=False)
