"""Resume points: an interrupted training continues from one of them, bit for bit.

Here: two generations on disk, each with its hash, and what is in them. Not here: when one is written (`training_loop`).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agar_pipeline.detection.models.checkpoint import write_whole
from agar_pipeline.errors import TrainingError
from agar_pipeline.files.disk import sha256_of

FORMAT = 1
GENERATIONS = ("a", "b")
WRITING_SHARE = 0.05
"""Maximum share of the time that writing points at the ends of epochs may take."""
EVERY_S = 600.0
"""Within a long epoch, a point is written after this many seconds."""


@dataclass(eq=False)
class ResumePoints:
    """The resume points of one training, in a folder of their own.

    A point is the file `a.pt` or `b.pt`, with a heading in `a.json` or `b.json`: the hash of the file and the identity
    of the training. The heading is written after the file. If a file is incomplete, its hash does not match, and the
    other generation is used.
    """

    folder: Path
    identity: Mapping[str, Any]
    """What must be equal for a training to continue: config, data, code version. JSON-ready."""
    unreadable: bool = False
    """Set by `load`: points exist, but none of them is complete."""
    written_at: float = field(default_factory=time.monotonic)
    """When the last point was written; before the first one: when this object was made."""
    took_s: float = 0.0

    def load(self) -> dict[str, Any] | None:
        """The newest complete point, on the CPU; None if there is none.

        Raises:
            TrainingError: the point belongs to another config, other data or other code.
        """
        for heading in self._headings():
            self._require_same(heading)
            path = self.folder / f"{heading['generation']}.pt"
            with contextlib.suppress(OSError):
                if sha256_of(path) == heading["sha256"]:
                    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
                    return content
        self.unreadable = any((self.folder / f"{name}.pt").exists() for name in GENERATIONS)
        return None

    def others(self) -> str | None:
        """How the newest unfinished training in the neighbouring folders differs from this one; None: there is none."""
        beside = [folder for folder in self.folder.parent.glob("*") if folder != self.folder]
        headings = [heading for folder in beside for heading in ResumePoints(folder, {})._headings()]
        if not headings:
            return None
        newest = max(headings, key=lambda heading: str(heading.get("written_at")))
        return "; ".join(list(_differences(newest.get("identity", {}), self.identity))[:3])

    def _headings(self) -> list[dict[str, Any]]:
        """The headings of both generations, newest first; unreadable ones are left out."""
        found = []
        for generation in GENERATIONS:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                heading = json.loads((self.folder / f"{generation}.json").read_text())
                if heading["format"] == FORMAT and heading["generation"] == generation:
                    found.append({**heading, "number": int(heading["number"])})
        return sorted(found, key=lambda heading: -heading["number"])

    def _require_same(self, heading: Mapping[str, Any]) -> None:
        differences = list(_differences(heading.get("identity", {}), self.identity))
        if differences:
            raise TrainingError(
                f"cannot be continued, because its inputs changed: {'; '.join(differences[:3])}",
                where=f"the unfinished training in {self.folder}",
                next_step="undo these changes, or remove this folder to start from the beginning",
            )

    def is_due(self, *, epoch_ended: bool) -> bool:
        """Whether it is time to write another point. The ranks may disagree, because only the first one's answer
        counts.
        """
        since = time.monotonic() - self.written_at
        return since * WRITING_SHARE >= self.took_s if epoch_ended else since >= EVERY_S

    def save(self, content: Mapping[str, Any]) -> None:
        """Write a point in place of the older generation."""
        started_at = time.monotonic()
        headings = self._headings()
        newest = headings[0]["generation"] if headings else GENERATIONS[-1]
        generation = next(name for name in GENERATIONS if name != newest)
        path = self.folder / f"{generation}.pt"
        write_whole(path, dict(content))
        heading = {
            "format": FORMAT,
            "generation": generation,
            "number": headings[0]["number"] + 1 if headings else 1,
            "sha256": sha256_of(path),
            "identity": dict(self.identity),
            "progress": content["progress"],
            "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        draft = self.folder / f"{generation}.json.part"
        draft.write_text(json.dumps(heading, indent=1))
        with draft.open("rb") as stream:
            os.fsync(stream.fileno())
        draft.replace(self.folder / f"{generation}.json")
        self.written_at = time.monotonic()
        self.took_s = self.written_at - started_at


def _differences(then: Any, now: Any, path: str = "") -> Iterator[str]:
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in sorted({*then, *now}):
            yield from _differences(then.get(key), now.get(key), f"{path}.{key}" if path else str(key))
    elif then != now:
        yield f"{path.removeprefix('config.')} {then} → {now}"


def load_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Restore moments and step counts, but keep this run's own choice of fused kernels.

    The kernels depend on this run's device, and they decide on which device the step counts must be.
    """
    pairs = zip(state["param_groups"], optimizer.param_groups, strict=True)
    groups = [{**saved, "fused": own.get("fused")} for saved, own in pairs]
    optimizer.load_state_dict({**state, "param_groups": groups})


def load_precision(plugin: Any, state: Mapping[str, Any]) -> None:
    """Restore the gradient scale if both runs have one, that is, with 16-mixed only; else it is determined anew."""
    if state and plugin.state_dict():
        plugin.load_state_dict(dict(state))


def random_state() -> dict[str, Any]:
    """State of all generators that a training draws from, as plain values and tensors."""
    name, keys, place, has_gauss, gauss = np.random.get_state()
    version, inner, following = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,  # the call would initialise CUDA
        "numpy": [str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), place, has_gauss, gauss],
        "python": [version, list(inner), following],
    }


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Reset all generators to a state that `random_state()` returned."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_initialized():
        torch.cuda.set_rng_state(state["cuda"])
    name, keys, place, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), place, has_gauss, gauss))
    version, inner, following = state["python"]
    random.setstate((version, tuple(inner), following))
