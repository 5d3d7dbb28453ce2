"""Small networks of D-FINE and RT-DETRv2 with random weights, in folders that `save_pretrained` wrote."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

_SHARED = {
    "d_model": 32,
    "encoder_hidden_dim": 32,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "decoder_in_channels": [32, 32, 32],
    "encoder_in_channels": [32, 48, 64],
    "hidden_expansion": 0.5,
    "freeze_backbone_batch_norms": False,
}
_HGNET = {
    "model_type": "hgnet_v2",
    "out_indices": [2, 3, 4],
    "hidden_sizes": [16, 32, 48, 64],
    "stem_channels": [3, 8, 8],
    "stage_in_channels": [8, 16, 32, 48],
    "stage_mid_channels": [8, 8, 16, 16],
    "stage_out_channels": [16, 32, 48, 64],
    "stage_num_blocks": [1, 1, 1, 1],
    "stage_numb_of_layers": [1, 1, 1, 1],
}
_RESNET = {
    "model_type": "rt_detr_resnet",
    "out_indices": [2, 3, 4],
    "hidden_sizes": [16, 32, 48, 64],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
    "embedding_size": 16,
}
SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "dfine": ("d_fine", {**_SHARED, "depth_mult": 0.34, "decoder_n_points": [3, 6, 3], "backbone_config": _HGNET}),
    "rtdetr_v2": ("rt_detr_v2", {**_SHARED, "backbone_config": _RESNET}),
}
"""`model.name` → `model_type`, and the sizes."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Context in which torch uses one thread: between layers this small, threads wait longer than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def save_small(name: str, folder: Path, class_names: tuple[str, ...] = ("a", "b", "c"), **changes: Any) -> Any:
    """The network, saved in the folder."""
    from transformers import AutoConfig, AutoModelForObjectDetection
    from transformers.utils import logging

    logging.disable_progress_bar()
    kind, sizes = SMALL[name]
    names = dict(enumerate(class_names))
    config = AutoConfig.for_model(kind, **{**sizes, **changes}, num_labels=len(names), id2label=names)
    network = AutoModelForObjectDetection.from_config(config).eval()
    network.save_pretrained(folder)
    return network
