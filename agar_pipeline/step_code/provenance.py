"""The code and the libraries that make an artifact, as its manifest records them, and how today's differ.

Reading and walking all sources takes most of a second. So the result is cached in the home under the hash of all
sources: as long as the package is unchanged, only its files are read and hashed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import metadata
from typing import Any

from agar_pipeline.config.places import agar_home
from agar_pipeline.files.disk import replace_file
from agar_pipeline.step_code.reached_code import Package, read_sources
from agar_pipeline.step_code.syntax_tree import PACKAGE
from agar_pipeline.text.name_list import name_some

STEPS = (
    "snapshot",
    "split",
    "coco_cache",
    "bbox_report",
    "smoke_run",
    "training_run",
    "evaluation",
    "label_review",
    "leaderboard",
)
COMPUTING = {
    "PIL": "pillow",
    "bson": "pymongo",
    "fiftyone": "fiftyone",
    "hotcoco": "hotcoco",
    "imagehash": "ImageHash",
    "lightning": "lightning",
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "pandas": "pandas",
    "pillow_heif": "pillow-heif",
    "pyarrow": "pyarrow",
    "pycocotools": "pycocotools",
    "pymongo": "pymongo",
    "scipy": "scipy",
    "simplejpeg": "simplejpeg",
    "timm": "timm",
    "torch": "torch",
    "torchmetrics": "torchmetrics",
    "torchvision": "torchvision",
    "transformers": "transformers",
}
"""Import name → distribution, for each library whose version can change the numbers of an artifact."""
NOT_COMPUTING = {
    "click",
    "dagster",
    "dagster_webserver",
    "eta",
    "filelock",
    "fsspec",
    "hydra",
    "jinja2",
    "markupsafe",
    "matplotlib",
    "mlflow",
    "omegaconf",
    "onnx",
    "packaging",
    "orjson",
    "psutil",
    "pydantic",
    "ray",
    "rich",
    "safetensors",
    "sqlalchemy",
    "uvicorn",
    "yaml",
}
"""Libraries that display, store or configure, but compute nothing that an artifact holds."""
FORMAT = 1
"""Raise it when the way that digests are computed changes; older recorded digests are then not compared."""
_SHOWN = 4


@dataclass(frozen=True)
class Provenance:
    """The code and the libraries of one step, JSON-ready."""

    digest: str
    """Digest of all definitions that the step can reach, whichever files they are in."""
    modules: dict[str, str] = field(default_factory=dict)
    """File, relative to the package → digest of the reached definitions in it."""
    libraries: dict[str, str] = field(default_factory=dict)
    """Distribution → version, of the libraries in `COMPUTING` that the step uses."""
    format: int = FORMAT

    def to_plain(self) -> dict[str, Any]:
        return asdict(self)

    def differences(self, recorded: Mapping[str, Any]) -> list[str]:
        """Return how this differs from what a manifest recorded, one phrase each.

        Empty if the manifest has no record in this `FORMAT`, as those of earlier versions.
        """
        if recorded.get("format") != FORMAT:
            return []
        before, phrases = _as_named_now(recorded["modules"], self.modules), []
        changed = [path for path in sorted({*before, *self.modules}) if before.get(path) != self.modules.get(path)]
        if changed:
            phrases.append(f"made by other code: {name_some(changed, _SHOWN)}")
        old = recorded["libraries"]
        phrases += [
            f"{name} {old[name]} → {self.libraries[name]}"
            for name in sorted(old.keys() & self.libraries.keys())
            if old[name] != self.libraries[name]
        ]
        return phrases


def _as_named_now(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return the recorded files under today's paths: a file that was moved is found by its digest."""
    new = {digest: path for path, digest in now.items() if path not in before}
    return {path if path in now else new.get(digest, path): digest for path, digest in before.items()}


@cache
def provenance_of(asset: str) -> Provenance:
    """Return the installed code that builds an asset, and its libraries."""
    reached = _reached()[asset]
    found: dict[str, str] = {}
    for name in reached["libraries"]:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[COMPUTING[name]] = metadata.version(COMPUTING[name])
    return Provenance(reached["digest"], reached["modules"], found)


@cache
def _reached() -> dict[str, dict[str, Any]]:
    """Return asset → digest, modules, libraries; from the cache in the home if it was made from the same sources."""
    sources = read_sources()
    key = hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()
    path = agar_home() / "step_code.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(path.read_text())
        if known["sources"] == key:
            return dict(known["steps"])
    package = Package(sources)
    steps = {asset: reach_of(package, asset) for asset in STEPS}
    with contextlib.suppress(OSError):  # a home that cannot be written only costs the cache
        replace_file(path, json.dumps({"sources": key, "steps": steps}))
    return steps


def reach_of(package: Package, asset: str) -> dict[str, Any]:
    """Return what the step of an asset reaches, JSON-ready."""
    reached = package.reach(f"{PACKAGE}.steps.{asset}", "build")
    digest = hashlib.sha256("\n".join(sorted(reached.modules.values())).encode()).hexdigest()[:32]
    return {
        "digest": digest,
        "modules": reached.modules,
        "libraries": sorted(reached.libraries & COMPUTING.keys()),
    }
