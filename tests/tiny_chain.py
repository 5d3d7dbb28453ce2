"""The whole chain in one process, over real photos and the real database, quick enough for hundreds of sequences.

Plans, agreement, fingerprints, the store, the database and the data steps are the real ones. Dagster is replaced by its
memory of what was materialized. Training is replaced: `STAND_INS` are steps in the interface of the real ones that
write what they were given, files and pixels and config, so that a stale input shows in the content. What the real
trainings do with stale inputs is held by the cases 49 to 53.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from agar_pipeline.artifacts import ARTIFACTS, CocoCache, Evaluation, TrainingRun
from agar_pipeline.chain.build import build_node, build_snapshot
from agar_pipeline.chain.current import Current
from agar_pipeline.chain.nodes import AssetNode, pipeline_nodes, without_on_demand
from agar_pipeline.chain.observation import explain_input, explain_source
from agar_pipeline.chain.plan import DagsterRecord, Observation, PlannedAsset, make_plan
from agar_pipeline.config import ExperimentConfig, PipelineConfig, fingerprinted
from agar_pipeline.errors import PipelineError
from agar_pipeline.files import disk
from agar_pipeline.progress import Log
from agar_pipeline.snapshots.sources import observe_source
from agar_pipeline.steps import STEPS, Step
from agar_pipeline.store import Key, Store

KILLED_WITHIN_S = 60


def _quiet(text: str) -> None:
    pass


def _pixels(cache: CocoCache, part: str) -> list[str]:
    """What is in the photos of a part right now."""
    names = [image["file_name"] for image in json.loads(cache.json_path(part).read_text())["images"]]
    return [hashlib.sha256((cache.images_dir / name).read_bytes()).hexdigest() for name in sorted(names)]


def _labels(cache: CocoCache, part: str) -> str:
    return hashlib.sha256(cache.json_path(part).read_bytes()).hexdigest()


def _write(asset: str, out_dir: Path, main: str, content: Any) -> None:
    for name in ARTIFACTS[asset].files:
        (out_dir / name).parent.mkdir(exist_ok=True)
        (out_dir / name).write_text("{}")
    whole = {"code": ARTIFACTS[asset].code_version, **content}
    (out_dir / main).write_text(json.dumps(whole, sort_keys=True))


def smoke(config: Any, out_dir: Path, log: Log, coco_cache: CocoCache, bbox_report: Any) -> None:
    _write("smoke_run", out_dir, "smoke.json", {"config": fingerprinted(config), "report": bbox_report.report()["ok"]})


def train(config: Any, out_dir: Path, log: Log, coco_cache: CocoCache, smoke_run: Any) -> None:
    content = {
        "config": fingerprinted(config),
        "learnt": _pixels(coco_cache, "train"),
        "chosen_on": _pixels(coco_cache, "val"),
        "labels": [_labels(coco_cache, part) for part in ("train", "val")],
    }
    _write("training_run", out_dir, "checkpoints/best.ckpt", content)


def evaluate(config: Any, out_dir: Path, log: Log, coco_cache: CocoCache, training_run: TrainingRun) -> None:
    model = json.loads(training_run.best_checkpoint.read_text())
    scored = {"scored": _pixels(coco_cache, config.part), "labels": _labels(coco_cache, config.part)}
    _write("evaluation", out_dir, "metrics.json", {"config": fingerprinted(config), "model": model, **scored})


def compare(
    config: Any, out_dir: Path, log: Log, coco_cache: CocoCache, evaluation: Mapping[str, Evaluation] | None = None
) -> None:
    scores = {name: of.metrics() for name, of in (evaluation or {}).items()}
    _write("leaderboard", out_dir, "leaderboard.parquet", {"val": _labels(coco_cache, "val"), "scores": scores})


STAND_INS: dict[str, Callable[..., Any]] = {
    "smoke_run": smoke,
    "training_run": train,
    "evaluation": evaluate,
    "leaderboard": compare,
}


class InThisProcess(Step):
    """A step that starts no process: the real one where there is no stand-in."""

    @property
    def build(self) -> Callable[..., Any]:
        return STAND_INS.get(self.asset) or STEPS_AS_THEY_ARE[self.asset].build


STEPS_AS_THEY_ARE = dict(STEPS)


def quick_steps() -> dict[str, Step]:
    return {
        name: InThisProcess(name, step.config_type, False, reads_photos=step.reads_photos, reuses=step.reuses)
        for name, step in STEPS_AS_THEY_ARE.items()
    }


@dataclass
class TinyChain:
    """One home, the configs of now, and what Dagster would remember."""

    home: Path
    pipeline: PipelineConfig
    experiments: dict[str, ExperimentConfig]
    records: dict[Key, DagsterRecord] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        return Store(self.home)

    @property
    def nodes(self) -> dict[Key, AssetNode]:
        return without_on_demand(pipeline_nodes(self.pipeline, self.experiments))

    def plan(self) -> list[PlannedAsset]:
        nodes = self.nodes
        config = nodes[Key("snapshot")].config
        version = observe_source(config, self.home).version
        records = {key: self.records.get(key, DagsterRecord(None, None, {})) for key in nodes}
        return make_plan(
            self.store, nodes, Observation(version, records, partial(explain_source, config), explain_input)
        )

    def run(self, chosen: Collection[Key] = ()) -> None:
        """`agar run ASSET…`; of everything where nothing is named."""
        wanted = set(chosen) or self.nodes.keys()
        self.materialize([line.key for line in self.plan() if line.key in wanted and line.state != "fresh"])

    def materialize(self, keys: Collection[Key]) -> None:
        """`dagster asset materialize --select`: inputs first, ended by the first that is refused."""
        store, nodes, built = self.store, self.nodes, dict[Key, Path]()
        for key in [key for key in nodes if key in keys]:
            node = nodes[key]
            if key == Key("snapshot"):
                observed: list[str] = []

                def observe(node: AssetNode = node, observed: list[str] = observed) -> str:
                    observed.append(observe_source(node.config, self.home).version)
                    return observed[-1]

                artifact = build_snapshot(store, node, observe, _quiet).artifact
                inputs = {"fiftyone_dataset": observed[-1]}
            else:
                opened = Current(store, nodes, built.get).open_inputs(node)
                artifact = build_node(store, node, opened, _quiet).artifact
                inputs = {str(name): of.data_version for name, of in opened.items()}
            built[key] = artifact.root
            self.records[key] = DagsterRecord(node.code_version, artifact.data_version, inputs)

    def killed(self, keys: Collection[Key], at: int) -> None:
        """A materialization in a process that is killed at its `at`-th change of the disk that matters."""
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                _die_at(at)
                self.materialize(keys)
            os._exit(0)
        deadline = time.monotonic() + KILLED_WITHIN_S
        while os.waitpid(child, os.WNOHANG)[0] == 0:
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return
            time.sleep(0.002)

    def fresh(self, home: Path) -> tuple[dict[Key, str], str | None]:
        """Data versions of a build in an empty home, and why it was ended, if it was."""
        other = replace(self, home=home, records={})
        refused = None
        try:
            other.materialize(list(self.nodes))
        except PipelineError as error:
            refused = type(error).__name__
        return {key: of.data_version for key in self.nodes if (of := _latest(other.store, key))}, refused

    def versions(self, keys: Collection[Key]) -> dict[Key, str]:
        return {key: of.data_version for key in keys if (of := _latest(self.store, key))}

    def published(self, key: Key, name: str) -> Iterator[dict[str, Any]]:
        """What each artifact that was ever published holds in one file."""
        for path in sorted(self.home.glob(f"artifacts/{'/'.join(key.parts)}/[!.l]*/{name}")):
            yield json.loads(path.read_text())


def _latest(store: Store, key: Key) -> Any:
    root = store.latest(key)
    return None if root is None else key.kind.open(root)


def _die_at(at: int) -> None:
    left = [at]

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **more: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **more)

        return wrapped

    disk.sync = counted(disk.sync)
    for name in ("rename", "replace", "symlink", "mkdir", "utime"):
        setattr(os, name, counted(getattr(os, name)))
