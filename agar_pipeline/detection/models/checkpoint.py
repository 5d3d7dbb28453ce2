"""Reads and writes checkpoints: all that prediction needs, as plain values and tensors, without executable code."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from agar_pipeline.detection.models.detector import Detector, build_detector
from agar_pipeline.detection.models.spec import DetectorSpec
from agar_pipeline.errors import ArtifactError
from agar_pipeline.files.disk import sha256_of

FORMAT = 1


@dataclass(frozen=True)
class CheckpointFacts:
    """The contents of a checkpoint besides its weights."""

    spec: DetectorSpec
    class_names: tuple[str, ...]
    """In the order of `category_ids`, 1…K inside the model."""
    category_ids: tuple[int, ...]
    precision: str
    """As requested for training; prediction uses it if the hardware supports it."""
    channels_last: bool
    epoch: int
    step: int
    score_threshold: float | None
    """Score from which a detection counts as a colony; chosen on val."""
    metrics: dict[str, float | None]
    """Metrics of this model on val."""
    data_words: str = ""
    """One sentence on the scale and the crops of the training; empty in files of earlier versions."""

    def to_plain(self) -> dict[str, Any]:
        lists = {"class_names": list(self.class_names), "category_ids": list(self.category_ids)}
        return {**vars(self), **lists, "spec": self.spec.to_plain()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> CheckpointFacts:
        """Inverse of `to_plain`; unknown keys are ignored."""
        values = {name: plain[name] for name in cls.__dataclass_fields__ if name in plain or name != "data_words"}
        lists = {"class_names": tuple(plain["class_names"]), "category_ids": tuple(plain["category_ids"])}
        return cls(**{**values, **lists, "spec": DetectorSpec.from_plain(plain["spec"])})


def save_checkpoint(path: Path, detector: Detector, facts: CheckpointFacts) -> dict[str, Any]:
    """Write a checkpoint atomically, and return its content."""
    content = {
        "format": FORMAT,
        **facts.to_plain(),
        "state_dict": {name: value.detach().cpu().clone() for name, value in detector.state_dict().items()},
    }
    write_whole(path, content)
    return content


def write_whole(path: Path, content: dict[str, Any]) -> None:
    """Save plain values and tensors atomically: a draft in the same folder, fsync, rename.

    There is one writer, and its draft always has the same name, so that the draft of a killed process is overwritten.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    with draft.open("wb") as stream:
        torch.save(content, stream)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)


def load_checkpoint(path: Path) -> tuple[Detector, CheckpointFacts]:
    """Read a checkpoint of this project; no code in it is executed.

    Returns:
        The detector on the CPU, in evaluation mode, and the facts about it.

    Raises:
        ArtifactError: it is missing, truncated, or not a checkpoint of this project, or this version of it, or of a
            library that builds the network, builds another network.
    """
    content = _read(Path(path))
    facts = CheckpointFacts.from_plain(content)
    detector = build_detector(facts.spec)
    try:
        detector.load_state_dict(content["state_dict"])
    except RuntimeError as error:
        first = next((line.strip() for line in str(error).splitlines()[1:]), str(error))
        raise ArtifactError(
            f"is of another version: its weights do not fit the network {facts.spec.name} that is built here ({first})",
            where=path,
            next_step="train again, or install the versions that it was trained with",
        ) from error
    return detector.eval(), facts


def _require_hash(path: Path) -> None:
    """Reject a checkpoint whose hash differs from its artifact's manifest; one outside an artifact is not checked."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        manifest = json.loads((path.resolve().parent.parent / "manifest.json").read_text())
        wanted = {file["path"]: file["sha256"] for file in manifest["files"]}.get(f"checkpoints/{path.name}")
        found = sha256_of(path)
        if wanted is not None and wanted != found:
            raise ArtifactError(
                "was altered on disk since it was trained",
                where=path,
                next_step="run `agar verify`, then `agar run`",
            )


def _read(path: Path) -> dict[str, Any]:
    _require_hash(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ArtifactError(
            "does not exist", where=path, next_step="give a checkpoint of a training_run, checkpoints/best.ckpt"
        ) from None
    except pickle.UnpicklingError as error:
        if zipfile.is_zipfile(path):
            why = "it holds more than plain values, which could run code, and was not loaded"
        else:
            why = "a checkpoint is a ZIP file that torch writes, and this file is no ZIP file"
        raise ArtifactError(
            f"is damaged or not a checkpoint of ours: {why}",
            where=path,
            next_step="train again, or give a checkpoint of a training_run",
        ) from error
    except (RuntimeError, EOFError, OSError, LookupError, ValueError, AttributeError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ArtifactError(
            f"is damaged or not a checkpoint ({first_line})",
            where=path,
            next_step="train again, or give a checkpoint of a training_run",
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise ArtifactError(
            f"is not a checkpoint of this version: its format is {found}, not {FORMAT}",
            where=path,
            next_step="train again",
        )
    return content
