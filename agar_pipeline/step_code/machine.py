"""Determines without torch what a training would use on this machine: its precision, and the named weights.

A training records what it used in `machine.json`; a plan compares the two.
Not here: resolving for a run (`detection.loading.devices`), which asks torch.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agar_pipeline.artifacts.manifest import MACHINE
from agar_pipeline.config import ModelConfig, hash_content, weights_file
from agar_pipeline.processes.devices import uses_gpus

_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


def expected_machine(config: Any) -> dict[str, Any]:
    """Return device, precision and weights of a training of this config here; empty for a config without training.

    The precision is None if only torch can determine it.
    """
    if not hasattr(config, "trainer"):
        return {}
    trainer = config.trainer
    device = (
        "cuda" if uses_gpus(trainer.accelerator) else "cpu" if trainer.accelerator == "auto" else trainer.accelerator
    )
    precision = expected_precision(trainer.precision, device)
    return {"device": device, "precision": precision, "weights": hash_named_weights(config.model)}


def expected_precision(precision: str, device: str) -> str | None:
    """Return the precision that `detection.loading.devices.resolve_precision` would choose here.

    None on CUDA, where it depends on the device, and on the CPU of a system other than Linux.

    >>> expected_precision("32-true", "cuda")
    '32-true'
    >>> expected_precision("auto", "cuda") is None
    True
    """
    if precision == "32-true" or device not in ("cpu", "cuda"):
        return precision
    if device == "cuda" or not sys.platform.startswith("linux"):
        return None
    return "bf16-mixed" if _cpu_has_bf16() else "32-true"


def _cpu_has_bf16() -> bool:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return False
    of_a_core = (line.partition(":")[2] for line in lines if line.lower().startswith(("flags", "features")))
    flags = next(of_a_core, "").split()
    return not _BF16_FLAGS.isdisjoint(flags)


def hash_named_weights(model: ModelConfig) -> dict[str, str]:
    """Hash the weights file that torchvision or timm has downloaded for a name of weights.

    Returns:
        `detector COCO_V1` or `backbone DEFAULT` → sha256 of the file. Empty if the config names no weights, or if the
        file is not on this machine.
    """
    word = model.weights or model.weights_backbone
    of_backbone = model.weights is None
    name = weights_file(model.name, word, of_backbone) if word else None
    path = None if name is None else _hub_folder() / name
    if of_backbone and word == "DEFAULT" and model.backbone:
        path = _timm_file(model.backbone)
    if path is None or not path.is_file():
        return {}
    return {f"{'backbone' if of_backbone else 'detector'} {word}": hash_content(path)}


def _timm_file(backbone: str) -> Path | None:
    """Return the file in the cache of the Hugging Face hub that timm reads for a backbone's name with its tag."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    home = Path(os.environ.get("HF_HOME") or cache) / "hub"
    named = os.path.expanduser(os.environ.get("HF_HUB_CACHE") or home)  # noqa: PTH111 - as the hub's client does
    folder = Path(named) / f"models--{backbone.replace('/', '--')}"
    try:
        files = folder / "snapshots" / (folder / "refs" / "main").read_text().strip()
    except OSError:
        return None
    found = (files / name for name in ("model.safetensors", "pytorch_model.bin"))
    return next((path for path in found if path.is_file()), None)


def _hub_folder() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch"
    named = os.path.expanduser(os.environ.get("TORCH_HOME") or cache)  # noqa: PTH111 - as torch does; needs no $HOME
    return Path(named) / "hub" / "checkpoints"


def record_machine(out_dir: Path, device: str, precision: str, model: ModelConfig | None = None) -> None:
    """Write `machine.json` into the folder of an artifact that is being built."""
    plain: dict[str, Any] = {"device": device, "precision": precision}
    if model is not None:
        plain["weights"] = hash_named_weights(model)
    (out_dir / MACHINE).write_text(json.dumps(plain, indent=1))


def machine_differences(recorded: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Return how this machine differs from an artifact's in what may change its numbers, one phrase each."""
    phrases = []
    before, now = recorded.get("precision"), expected.get("precision")
    if before and now and before != now:
        phrases.append(f"made in {before} on {recorded.get('device')}, this machine would compute in {now}")
    weights = expected.get("weights", {})
    for word, sha256 in recorded.get("weights", {}).items():
        if word in weights and weights[word] != sha256:
            phrases.append(f"weights of the {word} were replaced: {sha256[:12]} → {weights[word][:12]}")
    return phrases
