"""Finds the current label review of an experiment for the commands, and builds it if it is stale or missing."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agar_pipeline.artifacts import LabelReview
    from agar_pipeline.chain.current import Current


@dataclass(frozen=True)
class OpenReview:
    """The current label review of an experiment, and where to find what it was made from."""

    review: LabelReview
    current: Current


def open_review(experiment: str) -> OpenReview:
    """Return the current label review; what is stale of it and its inputs is built first.

    An experiment that the pipeline file lists is built in one Dagster run, as by `agar run +E/label_review`; another
    one from the COCO cache, as by `agar train`.

    Raises:
        PipelineError: any error of building it.
    """
    from agar_pipeline.chain.current import Current
    from agar_pipeline.chain.nodes import pipeline_nodes
    from agar_pipeline.commands.experiment import build_from_cache
    from agar_pipeline.commands.run import run_stale
    from agar_pipeline.config import agar_home, load_experiment, load_pipeline
    from agar_pipeline.store import Key, Store

    key, pipeline, settings = Key("label_review", experiment), load_pipeline(), load_experiment(experiment)
    if experiment in pipeline.experiments:
        run_stale((f"+{key}",))
    else:
        build_from_cache(settings, key.asset, as_configured=True)
    current = Current(Store(agar_home()), pipeline_nodes(pipeline, {experiment: settings}))
    return OpenReview(current.open(key), current)


def copy_review(review: LabelReview, out_dir: Path) -> None:
    """Copy suspects, numbers and page into a folder of the user; only a former review in it is replaced.

    Raises:
        PipelineError: the folder holds something else under these names.
    """
    from agar_pipeline.ownership.beside_photos import require_no_photos
    from agar_pipeline.ownership.folders import OwnFolder
    from agar_pipeline.ownership.originals import Originals
    from agar_pipeline.reports.review_files import REVIEW_FILES

    folder = OwnFolder(out_dir, "review", Originals([review.root]))
    require_no_photos(out_dir, "review")
    with folder.replacing(REVIEW_FILES) as draft:
        for name in REVIEW_FILES:
            shutil.copyfile(review.root / name, draft.root / name)
