"""Finds the pipeline file that reads a dataset, and writes a first one for a dataset that has none."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from itertools import chain, count
from pathlib import Path

from agar_pipeline.config import PipelineConfig, class_map_of, load_pipeline, names_in, own_configs_dir, pipeline_name
from agar_pipeline.errors import ConfigError
from agar_pipeline.ownership.single_files import create_file

_FIRST = """\
# Yours to edit. `agar config --keys` describes every key, `agar plan` checks the values.
snapshot:
  dataset: {dataset}{database}
class_map:                # label in FiftyOne: category_id; two labels may share an id
{class_map}
split:
{split}
box_policy:
  degenerate_box: drop_box
experiments: [{experiment}]{_}# of configs/experiment/
"""
_RANDOM = """\
  method: random          # keep plates of one dish together: group_by
  stratify_by: class      # spreads each class over the parts; a class on a single photo is in one part
  seed: 0
  fractions: {train: 0.8, val: 0.2}"""
_TAGS = """\
  method: tags            # the parts that the imported files name
  views: {{{views}}}"""
_EXPERIMENTS = {
    False: """\
# @package _global_
# Yours to edit. Scale, crops and batch follow from the data: `agar config experiment={name}` says which, and why.
# Three minutes on the CPU; more of them give a better detector.
defaults:
  - override /data: auto
  - override /trainer: cpu_minute

trainer:
  max_seconds: 180
""",
    True: """\
# @package _global_
# Yours to edit. Scale, crops and batch follow from the data: `agar config experiment={name}` says which, and why.
# One GPU, and a detector that torchvision has trained on COCO.
defaults:
  - override /data: auto
  - override /model: fasterrcnn_resnet50_fpn_v2
  - override /optimizer: sgd

trainer:
  max_epochs: 26
  precision: 16-mixed
  channels_last: true
""",
}
"""Whether there is a GPU → the text of the experiment file."""


def pipeline_of(dataset: str) -> PipelineConfig | None:
    """Return the pipeline that reads this FiftyOne dataset: the chosen one if it does, else the first by name."""
    for name in sorted(names_in("pipeline"), key=lambda name: name != pipeline_name()):
        try:
            pipeline = load_pipeline(name)
        except ConfigError:  # an invalid file of another dataset must not stop us; `agar plan` reports it
            continue
        if pipeline.snapshot.source == "fiftyone" and pipeline.snapshot.dataset == dataset:
            return pipeline
    return None


def free_name(dataset: str) -> str:
    """Return an unused name for a dataset's pipeline file, made of the characters of its name that a file may have."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", dataset).strip("_-") or "mine"
    taken = set(names_in("pipeline"))
    return next(each for each in chain([name], (f"{name}_{n}" for n in count(2))) if each not in taken)


def pipeline_named(name: str, dataset: str) -> PipelineConfig | None:
    """Return the pipeline of this name; None if its file does not exist yet.

    Raises:
        ConfigError: the name is no file name, the file reads another dataset, or there is no place for a new file.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise ConfigError(
            "cannot be the name of a file",
            where="--pipeline",
            value=repr(name),
            next_step="use only letters, digits, _ and -",
        )
    if name not in names_in("pipeline"):
        own_configs_dir()  # it will be written there; an import should not fail after its work
        return None
    pipeline = load_pipeline(name)
    if pipeline.snapshot.source != "fiftyone" or pipeline.snapshot.dataset != dataset:
        raise ConfigError(
            f"exists already, and does not read the dataset {dataset!r}",
            where=f"configs/pipeline/{name}.yaml",
            next_step="give --pipeline another name, or --dataset the dataset that the file reads",
        )
    return pipeline


def spell_views(parts: Collection[str]) -> str:
    """Write the views of a split by tags in YAML.

    >>> spell_views({"val", "train"})
    'train: "tag:train", val: "tag:val"'
    """
    return ", ".join(f'{part}: "tag:{part}"' for part in ("train", "val", "test") if part in parts)


def write_pipeline(
    name: str, dataset: str, database: str, labels: Iterable[str], parts: Collection[str] = ()
) -> list[Path]:
    """Write the first pipeline file of a dataset and an experiment of the same name for the user to edit.

    If the imported files assign all images to `parts`, the split uses these, which are tags now. An existing
    experiment of this name is kept and used.

    Returns:
        The written paths.

    Raises:
        StorageError: a file of this name was created since; it is kept.
    """
    from agar_pipeline.processes.devices import visible_gpus

    def quoted(text: str) -> str:
        return json.dumps(text, ensure_ascii=False)  # YAML reads JSON's strings

    written = []
    if name not in names_in("experiment"):
        experiment = own_configs_dir() / "experiment" / f"{name}.yaml"
        create_file(experiment, _EXPERIMENTS[bool(visible_gpus())].format(name=name))
        written.append(experiment)
    path = own_configs_dir() / "pipeline" / f"{name}.yaml"
    text = _FIRST.format(
        dataset=quoted(dataset),
        database="" if database == "embedded" else f"\n  database: {quoted(database)}",
        class_map="\n".join(f"  {quoted(label)}: {i}" for label, i in class_map_of(sorted(labels)).items()),
        split=_TAGS.format(views=spell_views(parts)) if parts else _RANDOM,
        experiment=name,
        _=" " * (max(11 - len(name), 1)),
    )
    create_file(path, text)
    return [path, *written]
