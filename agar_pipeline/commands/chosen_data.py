"""Determines what `data: auto` chooses for an experiment from the pipeline's current COCO cache.

It is used by `agar config`, `agar tune-data` and `agar plan`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agar_pipeline.chain.nodes import AssetNode
    from agar_pipeline.chain.plan import PlannedAsset
    from agar_pipeline.coco.columns import CocoColumns
    from agar_pipeline.config import DataConfig, ExperimentConfig, TrainingConfig
    from agar_pipeline.store import Key

CHOSEN_KEYS = ("input_size", "scale", "tiles", "batch_size")


def choose_from_cache(experiment: ExperimentConfig) -> tuple[TrainingConfig, str]:
    """Return the experiment's training config with every `auto` replaced, and the choice in words.

    Raises:
        ArtifactError: the COCO cache of today's config is missing; the message says what to run.
    """
    from agar_pipeline.chain.current import Current
    from agar_pipeline.chain.nodes import pipeline_nodes
    from agar_pipeline.coco.columns import read_coco
    from agar_pipeline.config import agar_home, load_pipeline
    from agar_pipeline.detection.fitting.data_choice import choose_data, say_choice, say_limit
    from agar_pipeline.store import Key, Store

    nodes = pipeline_nodes(load_pipeline(), {})
    cache = Current(Store(agar_home()), nodes).open(Key("coco_cache"))
    columns, training = read_coco(cache.json_path("train")), experiment.training_run
    settled = dataclasses.replace(training, data=choose_data(training, columns))
    return settled, f"{say_choice(settled, columns)}; {say_limit(settled.trainer)}"


def note_frozen_choices(plan: Sequence[PlannedAsset], nodes: Mapping[Key, AssetNode]) -> list[PlannedAsset]:
    """Add a note to each training in the plan for whose frozen data `auto` would now choose other values."""
    trainings = {key: node.config for key, node in nodes.items() if key.asset == "training_run"}
    frozen = {key: training for key, training in trainings.items() if training.data.frozen}
    cache = next((planned for planned in plan if str(planned.key) == "coco_cache"), None)
    if not frozen or cache is None or cache.path is None or cache.state != "fresh":
        return list(plan)
    from agar_pipeline.coco.columns import read_coco

    columns = read_coco(cache.key.kind.open(cache.path).json_path("train"))
    noted = []
    for planned in plan:
        training = frozen.get(planned.key)
        others = [] if training is None else list(other_choices(training, columns))
        if training is not None and others:
            words = f"frozen by agar tune-data; today auto would choose: {', '.join(others)}"
            planned = dataclasses.replace(planned, notes=(*planned.notes, words))
        noted.append(planned)
    return noted


def other_choices(training: TrainingConfig, columns: CocoColumns) -> Sequence[str]:
    """List the keys for which `auto` would choose another value than the frozen one: `scale 1056 in place of 1248`."""
    from agar_pipeline.detection.fitting.data_choice import choose_data

    now = choose_data(dataclasses.replace(training, data=unfreeze(training.data)), columns)
    phrases = []
    for key in CHOSEN_KEYS:
        before, after = _plain(training.data, key), _plain(now, key)
        if before != after:
            phrases.append(f"{key} {after} instead of {before}")
    return phrases


def _plain(data: DataConfig, key: str) -> object:
    """Return a value as the config file has it; for tiles their side, because only that is chosen."""
    value = getattr(data, key)
    return value.size if key == "tiles" and value is not None else value


def unfreeze(data: DataConfig, kept: Collection[str] = ()) -> DataConfig:
    """Set every key that `auto` chooses to `auto`, except those in `kept`."""
    asked: dict[str, Any] = {key: "auto" for key in CHOSEN_KEYS if key not in kept}
    return dataclasses.replace(data, frozen=False, **asked)
