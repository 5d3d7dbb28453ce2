"""Sizes of the layers of D-FINE and RT-DETRv2 by the names of their authors, as configs of `transformers`.

Sources: `get_d_fine_config` and `get_rt_detr_config` in the scripts with which transformers converted the authors'
checkpoints (src/transformers/models/d_fine/convert_d_fine_original_pytorch_checkpoint_to_hf.py and
rt_detr_v2/convert_rt_detr_v2_weights_to_hf.py), and D-FINE's configs/dfine/dfine_hgnetv2_x_coco.yml for `reg_scale`.
What is not stated here is as in `DFineConfig` and `RTDetrV2Config`.
"""

from __future__ import annotations

from typing import Any


def _hgnet(width: int, stem: tuple[int, int], blocks: tuple[int, ...], layers: int, light: bool) -> dict[str, Any]:
    """HGNetV2.

    Args:
        width: Channels of its last stage.
        stem: Channels inside the stem, and after it.
        blocks: Blocks of each stage.
        layers: Layers of each block.
        light: Whether it has the learnable affine blocks of the small sizes.
    """
    out = [width // 16, width // 4, width // 2, width]
    return {
        "model_type": "hgnet_v2",
        "out_indices": [2, 3, 4],
        "hidden_sizes": [width // 8, *out[1:]],
        "stem_channels": [3, *stem],
        "stage_in_channels": [stem[1], *out[:3]],
        "stage_mid_channels": [stem[1] * factor for factor in (1, 2, 4, 8)],
        "stage_out_channels": out,
        "stage_num_blocks": list(blocks),
        "stage_numb_of_layers": [layers] * 4,
        "use_learnable_affine_block": light,
    }


def _resnet(depths: tuple[int, ...], *, is_basic: bool = False) -> dict[str, Any]:
    basic = {"hidden_sizes": [64, 128, 256, 512], "layer_type": "basic"} if is_basic else {}
    return {"model_type": "rt_detr_resnet", "out_indices": [2, 3, 4], "depths": list(depths), **basic}


_THREE_LEVELS = {"decoder_n_points": [3, 6, 3]}
_DFINE: dict[str, dict[str, Any]] = {
    "dfine_n": {
        "backbone_config": {**_hgnet(1024, (16, 16), (1, 1, 2, 1), 3, light=True), "out_indices": [3, 4]},
        "feat_strides": [16, 32],
        "num_feature_levels": 2,
        "encoder_in_channels": [512, 1024],
        "encode_proj_layers": [1],
        "encoder_hidden_dim": 128,
        "encoder_ffn_dim": 512,
        "d_model": 128,
        "decoder_ffn_dim": 512,
        "decoder_in_channels": [128, 128],
        "decoder_n_points": [6, 6],
        "decoder_layers": 3,
        "depth_mult": 0.5,
        "hidden_expansion": 0.34,
    },
    "dfine_s": {
        **_THREE_LEVELS,
        "backbone_config": _hgnet(1024, (16, 16), (1, 1, 2, 1), 3, light=True),
        "encoder_in_channels": [256, 512, 1024],
        "decoder_layers": 3,
        "depth_mult": 0.34,
        "hidden_expansion": 0.5,
    },
    "dfine_m": {
        **_THREE_LEVELS,
        "backbone_config": _hgnet(1536, (24, 32), (1, 1, 3, 1), 4, light=True),
        "encoder_in_channels": [384, 768, 1536],
        "decoder_layers": 4,
        "depth_mult": 0.67,
    },
    "dfine_l": {**_THREE_LEVELS, "backbone_config": _hgnet(2048, (32, 48), (1, 1, 3, 1), 6, light=False)},
    "dfine_x": {
        **_THREE_LEVELS,
        "backbone_config": _hgnet(2048, (32, 64), (1, 2, 5, 2), 6, light=False),
        "encoder_hidden_dim": 384,
        "encoder_ffn_dim": 2048,
        "decoder_in_channels": [384, 384, 384],
        "reg_scale": 8.0,
    },
}
_RTDETR_V2: dict[str, dict[str, Any]] = {
    "rtdetr_v2_r18": {
        "backbone_config": _resnet((2, 2, 2, 2), is_basic=True),
        "encoder_in_channels": [128, 256, 512],
        "hidden_expansion": 0.5,
        "decoder_layers": 3,
    },
    "rtdetr_v2_r34": {
        "backbone_config": _resnet((3, 4, 6, 3), is_basic=True),
        "encoder_in_channels": [128, 256, 512],
        "hidden_expansion": 0.5,
        "decoder_layers": 4,
    },
    "rtdetr_v2_r50": {"backbone_config": _resnet((3, 4, 6, 3))},
    "rtdetr_v2_r101": {
        "backbone_config": _resnet((3, 4, 23, 3)),
        "encoder_hidden_dim": 384,
        "encoder_ffn_dim": 2048,
        "decoder_in_channels": [384, 384, 384],
    },
}
SIZES: dict[str, dict[str, Any]] = {
    **{name: {"model_type": "d_fine", **sizes} for name, sizes in _DFINE.items()},
    **{name: {"model_type": "rt_detr_v2", **sizes} for name, sizes in _RTDETR_V2.items()},
}
"""Model → its config, JSON-ready."""
