"""Builds one asset of the chain, or finds it built.

Dagster (`defs`), `agar export-coco` and the commands all build through `build_node`, so that they build alike.
Here: what is checked before a build, handing over the inputs, and starting a process for steps that need one.
Not here: what a step does (`steps`), how a folder is published (`store`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agar_pipeline import config as c
from agar_pipeline.artifacts import Artifact, Manifest
from agar_pipeline.artifacts.refusals import REFUSAL_OF, require
from agar_pipeline.chain.agreement import require_agreement
from agar_pipeline.chain.nodes import SOURCE, AssetNode
from agar_pipeline.cluster.partitions import launched_by
from agar_pipeline.errors import ArtifactError, ConfigError, DatasetMovedError, MissingPackageError
from agar_pipeline.preflight import require_ready
from agar_pipeline.processes.environment import MLFLOW_NEEDS, RAY_NEEDS
from agar_pipeline.processes.gpu_leases import leased, leased_devices
from agar_pipeline.processes.launch import run_child
from agar_pipeline.progress import Log
from agar_pipeline.snapshots.photo_content import require_same_photos
from agar_pipeline.steps import STEPS
from agar_pipeline.store import Built, Content, Key, KnownFiles, Store
from agar_pipeline.store.unfinished import remove_work, work_folder

READ_ATTEMPTS = 3


def build_node(
    store: Store,
    node: AssetNode,
    inputs: Mapping[Key, Artifact],
    log: Log,
    *,
    source_version: str | None = None,
    repoint: bool = True,
    launcher: c.Launcher = "torchrun",
) -> Built:
    """Build one asset, or find it built.

    Args:
        source_version: Version of the FiftyOne dataset; for the snapshot only.
        repoint: See `Store.build`.
        launcher: Where work on many images runs. The ranks of a training run where its own config says.

    Raises:
        GateError: an input forbids it: a bbox report that refuses the data, or a split that leaks.
        ArtifactError: inputs do not belong together.
        PipelineError: any error of the step.
    """
    _require_usable(node, inputs)
    contents = {str(key): Content.of(artifact.manifest) for key, artifact in inputs.items()}
    if source_version is not None:
        contents[str(SOURCE)] = Content(source_version, {})
    step, recorded = STEPS[node.key.asset], node.recorded_config

    def work_dir(root: Path) -> Path | None:
        fingerprint = root.name.removeprefix(".draft-")
        return work_folder(store, node.key, fingerprint) if step.resumable else None

    def write(out_dir: Path) -> KnownFiles | None:
        named, known = _by_name(node, inputs), None
        if step.reads_photos:
            require_same_photos(named["coco_cache"], store.home, log)
        earlier = {"earlier": store.roots(node.key)} if step.reuses else {}
        if step.own_process:
            alike = [str(root) for root in earlier.get("earlier", []) if _is_made_alike(node, root)]
            _run_in_own_process(node, named, out_dir, log, work_dir(out_dir), launcher, alike)
        else:
            with launched_by(launcher, log):
                known = step.build(node.config, out_dir, log, **named, **earlier)
        if source_version is not None:
            _require_version(out_dir, source_version)
        _require_same_config(node, recorded)
        return known

    uses = [artifact.root for artifact in inputs.values()]
    built = store.build(node.key, recorded, contents, write, log, repoint=repoint, uses=uses, made_by=node.made_by)
    if built.cached and (differences := node.differences(built.artifact.manifest)):
        log(f"note: {node.key} is kept, although it would be made differently today: {'; '.join(differences)}")
    if (left := work_dir(built.artifact.root)) is not None and (foreign := remove_work(left)):
        log(f"note: {left / foreign[0]} is not a file of agar_pipeline, so it is not removed")
    return built


def _require_usable(node: AssetNode, inputs: Mapping[Key, Artifact]) -> None:
    """Raise GateError or ArtifactError if an input refuses to be used, or if the inputs do not belong together."""
    for artifact in inputs.values():
        if refusal := REFUSAL_OF.get(artifact.asset):
            require(refusal(artifact))
    require_agreement(node.key, inputs)


def _require_same_config(node: AssetNode, recorded: Any) -> None:
    """Raise ConfigError if a file that the config names, such as weights, was edited while the step ran."""
    if node.recorded_config != recorded:
        raise ConfigError(
            "changed while it was read: weights or a list were edited",
            where=f"a file that the config of {node.key} names",
            next_step="run the command again when nobody edits the file any more",
        )


def build_snapshot(
    store: Store,
    node: AssetNode,
    observe: Callable[[], str],
    log: Log,
    *,
    repoint: bool = True,
    launcher: c.Launcher = "torchrun",
) -> Built:
    """Build the snapshot of the version that `observe` returns; retry if the dataset changed before it was read.

    Raises:
        DatasetMovedError: the dataset changed in each of the `READ_ATTEMPTS` attempts.
    """

    def build() -> Built:
        with launched_by(launcher, log):
            version = observe()
        return build_node(store, node, {}, log, source_version=version, repoint=repoint, launcher=launcher)

    for _ in range(READ_ATTEMPTS - 1):
        try:
            return build()
        except DatasetMovedError as moved:
            log(f"{moved.problem}; it is read again")
    return build()


def _require_version(out_dir: Path, source_version: str) -> None:
    read = json.loads((out_dir / "dataset.json").read_text())["source_version"]
    if read != source_version:
        raise DatasetMovedError(
            "the dataset changed after its version was determined and before it was read",
            next_step="wait until nobody edits the dataset any more, then run the command again",
        )


def _by_name(node: AssetNode, inputs: Mapping[Key, Artifact]) -> dict[str, Any]:
    """Return inputs as keyword arguments of a step: by asset name; for several experiments experiment → artifact."""
    named: dict[str, Any] = {}
    for key, artifact in inputs.items():
        if key.experiment in (None, node.key.experiment):
            named[key.asset] = artifact
        else:
            named.setdefault(key.asset, {})[key.experiment] = artifact
    return named


def _is_made_alike(node: AssetNode, root: Path) -> bool:
    """Whether today's code, libraries and machine made the artifact in this folder."""
    try:
        return not node.differences(Manifest.read(root))
    except ArtifactError:  # a folder without an intact manifest is none
        return False


def _run_in_own_process(
    node: AssetNode,
    inputs: Mapping[str, Artifact],
    out_dir: Path,
    log: Log,
    work_dir: Path | None,
    launcher: c.Launcher,
    earlier: list[str],
) -> None:
    request = {
        "asset": node.key.asset,
        "config": c.to_plain(node.config),
        "inputs": {name: str(artifact.root) for name, artifact in inputs.items()},
        "out_dir": str(out_dir),
        "work_dir": None if work_dir is None else str(work_dir),
        "launcher": launcher,
        "earlier": earlier,
    }
    trainer, needs = getattr(node.config, "trainer", None), _secrets_needed(node, launcher)
    if trainer is None:
        with leased_devices(getattr(node.config, "accelerator", "cpu"), c.agar_home(), log) as env:
            run_child("agar_pipeline.steps", request, log, env=env, needs=needs)
        return
    c.require_weights(node.config.model.name, node.config.model.weights)
    c.require_backbone(node.config.model.backbone, node.config.model.weights_backbone)
    MissingPackageError.require(*c.DETECTORS[node.config.model.name].packages)
    if trainer.logger == "mlflow":
        MissingPackageError.require("mlflow")
    if trainer.launcher == "ray":
        request["handler"] = "agar_pipeline.steps.__main__"
        run_child("agar_pipeline.cluster", request, log, needs=needs)
        return
    if trainer.devices * trainer.num_nodes > 1 and node.key.asset in ("training_run", "label_review"):
        require_ready(trainer, c.agar_home(), log)
    with leased(trainer, c.agar_home(), log) as env:
        env = {**env, **trainer.environment}
        run_child("agar_pipeline.steps", request, log, ranks=trainer.devices, env=env, needs=needs)


def _secrets_needed(node: AssetNode, launcher: c.Launcher) -> list[str]:
    """Names of the variables with passwords that this step uses: of a database, of MLflow, of the Ray cluster."""
    names: list[str] = []
    trainer = getattr(node.config, "trainer", None)
    if isinstance(node.config, c.SnapshotConfig):
        names += c.database_variables(node.config.database)
    if trainer is not None and trainer.logger == "mlflow":
        names += MLFLOW_NEEDS
    if "ray" in (launcher, getattr(trainer, "launcher", None)):
        names += RAY_NEEDS
    return names
