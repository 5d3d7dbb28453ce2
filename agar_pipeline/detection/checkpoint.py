"""Checkpoints: plain values and tensors, all that is needed to predict, nothing that is executed when loaded."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from agar_pipeline.detection.model import Detector, DetectorSpec, build_detector
from agar_pipeline.errors import ArtifactError

FORMAT = 1


@dataclass(frozen=True)
class CheckpointFacts:
    """What a checkpoint says besides its weights."""

    spec: DetectorSpec
    class_names: tuple[str, ...]
    """In the order of `category_ids`, 1…K inside the model."""
    category_ids: tuple[int, ...]
    precision: str
    """Asked for in training; prediction uses it where the hardware has it."""
    channels_last: bool
    epoch: int
    step: int
    score_threshold: float | None
    """From which detections count as colonies; chosen on val."""
    metrics: dict[str, float | None]
    """On val, of this very model."""


def save_checkpoint(path: Path, detector: Detector, facts: CheckpointFacts) -> None:
    """Write a checkpoint, whole or not at all: same folder, fsync, rename."""
    content = {
        "format": FORMAT,
        "spec": facts.spec.to_plain(),
        **{name: value for name, value in vars(facts).items() if name != "spec"},
        "class_names": list(facts.class_names),
        "category_ids": list(facts.category_ids),
        "state_dict": {name: value.detach().cpu().contiguous() for name, value in detector.state_dict().items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    with draft.open("wb") as stream:
        torch.save(content, stream)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)


def load_checkpoint(path: Path) -> tuple[Detector, CheckpointFacts]:
    """Read a checkpoint of ours; nothing in it is executed.

    Returns:
        The detector on the CPU, in evaluation mode, and what the checkpoint says about it.

    Raises:
        ArtifactError: it is missing, truncated, or not one of ours.
    """
    content = _read(Path(path))
    spec = DetectorSpec.from_plain(content["spec"])
    detector = build_detector(spec)
    detector.load_state_dict(content["state_dict"])
    facts = CheckpointFacts(
        spec=spec,
        class_names=tuple(content["class_names"]),
        category_ids=tuple(content["category_ids"]),
        **{name: content[name] for name in _PLAIN},
    )
    return detector.eval(), facts


_PLAIN = ("precision", "channels_last", "epoch", "step", "score_threshold", "metrics")


def _read(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ArtifactError(f"{path} does not exist: give a checkpoint of a training_run") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError, ValueError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ArtifactError(f"{path} is damaged or not a checkpoint ({first_line}): train again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise ArtifactError(f"{path} is no checkpoint of this version: format {found}, expected {FORMAT}; train again")
    return content
