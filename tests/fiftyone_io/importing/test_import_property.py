"""Whatever happens to folders and dataset between imports: no label made by hand is lost or changed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agar_pipeline.fiftyone_io.annotation_files.annotated_images import ImportSource
from agar_pipeline.fiftyone_io.importing.counts import ImportCounts
from agar_pipeline.fiftyone_io.importing.import_images import import_at
from tests.fiftyone_io.conftest import collection_of
from tests.fiftyone_io.importing.import_world import ImportWorld
from tests.fiftyone_io.importing.person import Person

SEQUENCES = int(os.environ.get("AGAR_LOSS_SEQUENCES", "20"))
"""Set AGAR_LOSS_SEQUENCES=300 for a long run."""
COPY_OF_A_FOLDER_THAT_IS_AWAY = [
    ("copies", 0, 3), ("imports", 1, 0), ("moves", 0, 0), ("makes_uncountable", 1, 1), ("imports", 1, 0),
]  # fmt: skip
COPIES_THAT_CHANGE_PLACES_WITH_OTHERS = [("copies", 1, 0), ("imports", 1, 0), ("swaps", 0, 0), ("imports", 1, 0)]
STEP = st.tuples(
    st.one_of(st.just("imports"), st.sampled_from(ImportWorld.STEPS)), st.integers(0, 1), st.integers(0, 7)
)


@settings(max_examples=SEQUENCES, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEP, min_size=4, max_size=25))
@example(steps=COPY_OF_A_FOLDER_THAT_IS_AWAY)
@example(steps=COPIES_THAT_CHANGE_PLACES_WITH_OTHERS)
def test_no_label_made_by_hand_is_lost_or_changed_by_any_sequence_of_imports(
    steps: list[tuple[str, int, int]],
    uri: str,
    home: Path,
    database: Any,
    new_dataset: Callable[[], str],
    person: Person,
) -> None:
    def run_import(folder: Path, class_map: dict[str, int]) -> ImportCounts:
        source = ImportSource("agar", str(folder), class_map=class_map)
        return import_at(uri, source, dataset, home, lambda name, fields: None, lambda done, total: None)

    dataset = new_dataset()
    with tempfile.TemporaryDirectory() as place:
        samples = database[collection_of(database, dataset)]
        world = ImportWorld(Path(place), dataset, samples, run_import, person)
        for folder in (0, 1):
            world.imports(folder, 0)
        for step, folder, number in steps:
            getattr(world, step)(folder, number)
        for folder in (0, 1):
            world.imports(folder, 0)
