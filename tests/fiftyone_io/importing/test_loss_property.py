"""Whatever people, commands and kills do: no photo's bytes, and no label made by hand, is lost or changed."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agar_pipeline.chain import build
from agar_pipeline.fiftyone_io.annotation_files.annotated_images import ImportSource
from agar_pipeline.fiftyone_io.importing.counts import ImportCounts
from agar_pipeline.fiftyone_io.importing.import_images import import_at
from agar_pipeline.fiftyone_io.reading import observe
from agar_pipeline.fiftyone_io.writing import restore
from agar_pipeline.ownership.inserted_samples import CLAIMS, INSERTIONS
from agar_pipeline.steps.__main__ import main as answer_step
from agar_pipeline.use_cases import accepting, reviewing, viewing
from tests.fiftyone_io.conftest import collection_of
from tests.fiftyone_io.importing.loss_world import LossWorld
from tests.fiftyone_io.importing.person import Person

SEQUENCES = int(os.environ.get("AGAR_LOSS_SEQUENCES", "20"))
"""Set AGAR_LOSS_SEQUENCES=300 for the full run, as `make acceptance` does."""
LENGTH = 20
FOLLOWED_BY = {
    "exports": ("edits_export", "adopts", "links_photos", "loses_list", "moves", "unmounts", "deletes_photo"),
    **dict.fromkeys(("edits_export", "adopts", "links_photos", "loses_list"), ("exports", "is_killed")),
    "unmounts": ("imports", "exports", "unmounts"),
    "deletes_photo": ("exports", "imports", "replaces_photo"),
    "restores": ("edits_restored", "is_killed", "restores"),
    "is_killed": ("edits_restored", "edits_export", "exports", "restores", "imports", "views"),
    "views": ("edits_predictions",),
    "reviews": ("judges", "accepts", "takes_review_back"),
    "judges": ("accepts", "reviews", "takes_review_back", "imports"),
    "accepts": ("corrects_copy", "accepts", "corrects"),
    "corrects_copy": ("accepts", "imports", "is_killed"),
    "edits_predictions": ("views", "takes_view_back", "is_killed", "imports"),
    "deletes_sample": ("restores_backup", "imports", "views"),
}
Steps = list[tuple[str, int, int]]
Play = Callable[[Steps], None]


@pytest.fixture
def play(
    uri: str,
    home: Path,
    database: Any,
    new_dataset: Callable[[], str],
    person: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> Play:
    """Plays a sequence of steps in a world of its own; one mongod and one home for all."""

    def run_child(module: str, request: dict[str, Any], log: Any) -> dict[str, Any]:
        return person.answers_as_child(request)

    for module in (observe, restore, viewing, reviewing, accepting):
        monkeypatch.setattr(module, "run_child", run_child)
    monkeypatch.setattr(build, "run_child", lambda module, request, log, **more: answer_step(request, log))

    def run(steps: Steps) -> None:
        def run_import(folder: Path, class_map: dict[str, int]) -> ImportCounts:
            source = ImportSource("agar", str(folder), class_map=class_map)
            return import_at(uri, source, dataset, home, lambda name, fields: None, lambda done, total: None)

        dataset = new_dataset()
        place = Path(tempfile.mkdtemp())
        world = LossWorld(
            place, home, dataset, database, database[collection_of(database, dataset)], run_import, person
        )
        try:
            for folder in (0, 1):
                world.imports(folder, 0)
            for step, folder, number in steps:
                getattr(world, step)(folder, number)
            for folder in (0, 1):
                world.imports(folder, 0)
        finally:
            for name in (f"{dataset}-0", f"{dataset}-1"):
                world._samples(name).drop()
                database.datasets.delete_one({"name": name})
            database[CLAIMS].delete_many({})
            database[INSERTIONS].delete_many({})
            shutil.rmtree(place)

    return run


def steps_of(seed: int) -> Steps:
    """An export, then steps of all kinds, each often followed by what meets its result."""
    draw = random.Random(seed)
    steps = [("exports", 0, draw.randrange(10_000))]
    while len(steps) < LENGTH:
        name, folder, number = draw.choice(LossWorld.STEPS), draw.randrange(2), draw.randrange(10_000)
        steps.append((name, folder, number))
        while name in FOLLOWED_BY and draw.random() < 0.7:
            name = draw.choice(FOLLOWED_BY[name])
            steps.append((name, folder, draw.randrange(10_000)))
    return steps


@pytest.mark.parametrize("seed", range(SEQUENCES))
def test_nothing_of_a_persons_is_lost_or_changed_by_any_sequence(seed: int, play: Play) -> None:
    play(steps_of(seed))
