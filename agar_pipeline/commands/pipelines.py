"""Which pipeline file reads a dataset that a command names."""

from __future__ import annotations

from agar_pipeline.config import PipelineConfig, load_pipeline, names_in, pipeline_name
from agar_pipeline.errors import ConfigError


def pipeline_of(dataset: str) -> PipelineConfig | None:
    """The pipeline file that reads this FiftyOne dataset: the chosen one if it does, else the first of the others."""
    for name in sorted(names_in("pipeline"), key=lambda name: name != pipeline_name()):
        try:
            pipeline = load_pipeline(name)
        except ConfigError:  # somebody else's file; `agar plan` says what is wrong with it
            continue
        if pipeline.snapshot.source == "fiftyone" and pipeline.snapshot.dataset == dataset:
            return pipeline
    return None
