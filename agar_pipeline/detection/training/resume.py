"""Points that an interrupted training goes on from, bit for bit.

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
"""Of the time, at most, goes into writing points at the ends of epochs…"""
EVERY_S = 600.0
"""…and where an epoch is long, one is written within it after so many seconds."""


@dataclass(eq=False)
class ResumePoints:
    """The points of one training, in a folder of their own.

    A point is `a.pt` or `b.pt`, and beside it `a.json` with its hash and what it is a point of, written after it: a
    torn one is seen as such, and the other generation is taken.
    """

    folder: Path
    identity: Mapping[str, Any]
    """What must be the same to go on: config, data, code version. JSON-ready."""
    unreadable: bool = False
    """After `load`: there were points, and none of them is whole."""
    written_at: float = field(default_factory=time.monotonic)
    """The last point; before the first one, when this was made."""
    took_s: float = 0.0

    def load(self) -> dict[str, Any] | None:
        """The newest whole point, on the CPU; None where there is none.

        Raises:
            TrainingError: it is of another config, data or code.
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
        """Why the unfinished training that lies beside this one, if there is one, is not this one."""
        beside = [folder for folder in self.folder.parent.glob("*") if folder != self.folder]
        headings = [heading for folder in beside for heading in ResumePoints(folder, {})._headings()]
        if not headings:
            return None
        newest = max(headings, key=lambda heading: str(heading.get("written_at")))
        return "; ".join(list(_differences(newest.get("identity", {}), self.identity))[:3])

    def _headings(self) -> list[dict[str, Any]]:
        """Of both generations, newest first."""
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
                f"the unfinished training in {self.folder} cannot be gone on with: {'; '.join(differences[:3])}\n"
                "undo that, or remove this folder to start from the beginning"
            )

    def is_due(self, *, epoch_ended: bool) -> bool:
        """Whether it is time for another point: all ranks need not agree, only the first one writes."""
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
    """Take up moments and steps. Which kernels run is this device's choice, not that of the interrupted run, and it
    decides where the count of steps lies."""
    pairs = zip(state["param_groups"], optimizer.param_groups, strict=True)
    groups = [{**saved, "fused": own.get("fused")} for saved, own in pairs]
    optimizer.load_state_dict({**state, "param_groups": groups})


def load_precision(plugin: Any, state: Mapping[str, Any]) -> None:
    """Take up the scale of the gradients, where both runs have one: 16-mixed alone does. Else it is found anew."""
    if state and plugin.state_dict():
        plugin.load_state_dict(dict(state))


def random_state() -> dict[str, Any]:
    """Of every generator that training draws from, as plain values and tensors."""
    name, keys, place, has_gauss, gauss = np.random.get_state()
    version, inner, following = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,  # asking would start it
        "numpy": [str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), place, has_gauss, gauss],
        "python": [version, list(inner), following],
    }


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Undo whatever was drawn since `random_state()`."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_initialized():
        torch.cuda.set_rng_state(state["cuda"])
    name, keys, place, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), place, has_gauss, gauss))
    version, inner, following = state["python"]
    random.setstate((version, tuple(inner), following))
