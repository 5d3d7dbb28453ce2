"""What `data: auto` chooses for an experiment from the pipeline's current COCO cache: for `agar config` and
`agar tune-data`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agar_pipeline.config import ExperimentConfig, TrainingConfig

CHOSEN_KEYS = ("input_size", "scale", "tiles", "batch_size")


def choose_from_cache(experiment: ExperimentConfig) -> tuple[TrainingConfig, str]:
    """The experiment's training with every `auto` settled, and what was chosen in words.

    Raises:
        ArtifactError: the COCO cache of today's config is not at hand; says what to run.
    """
    from agar_pipeline.chain import pipeline_nodes
    from agar_pipeline.config import agar_home, load_pipeline
    from agar_pipeline.current import Current
    from agar_pipeline.detection.coco import read_coco
    from agar_pipeline.detection.data_choice import choose_data, say_choice, say_limit
    from agar_pipeline.store import Key, Store

    nodes = pipeline_nodes(load_pipeline(), {})
    cache = Current(Store(agar_home()), nodes).open(Key("coco_cache"))
    columns, training = read_coco(cache.json_path("train")), experiment.training_run
    settled = dataclasses.replace(training, data=choose_data(training, columns))
    return settled, f"{say_choice(settled, columns)}; {say_limit(settled.trainer)}"
