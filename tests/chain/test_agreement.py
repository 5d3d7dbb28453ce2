"""Which inputs belong together, over a store of small, made-up artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agar_pipeline.artifacts import SmokeRun
from agar_pipeline.chain.agreement import find_conflict, require_agreement
from agar_pipeline.errors import ArtifactError
from agar_pipeline.store import Key, Store
from tests.history.test_lineage import Chain

CACHE, TRAINING, EVALUATION = Key("coco_cache"), Key("training_run", "e"), Key("evaluation", "e")


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    return Chain(Store(tmp_path))


def inputs(cache: Any, training: Any) -> dict[Key, Any]:
    return {CACHE: cache, TRAINING: training}


def test_what_was_built_in_one_go_belongs_together(chain: Chain) -> None:
    made = chain.after(chain.snapshot())
    assert find_conflict(EVALUATION, inputs(made["coco_cache"], made["training_run"])) is None
    recorded = made["evaluation"].manifest.ancestors
    assert set(recorded) == {"snapshot", "split", "coco_cache", "bbox_report", "e/smoke_run", "e/training_run"}


def test_a_model_and_the_cache_of_another_split_do_not_and_are_both_named(chain: Chain) -> None:
    snapshot = chain.snapshot()
    old, new = chain.after(snapshot), chain.after(snapshot, seed=1)
    with pytest.raises(ArtifactError) as refused:
        require_agreement(EVALUATION, inputs(new["coco_cache"], old["training_run"]))
    old_root, new_root = old["training_run"].root, new["coco_cache"].root
    assert str(refused.value).splitlines() == [
        f"e/training_run in {old_root} was made from another coco_cache than {new_root}, because of split",
        "build e/evaluation and its inputs: agar run +e/evaluation",
    ]


def test_two_inputs_are_held_to_an_ancestor_that_is_no_input(chain: Chain) -> None:
    old, new = chain.after(chain.snapshot(1)), chain.after(chain.snapshot(2))
    both = {EVALUATION: old["evaluation"], Key("evaluation", "f"): new["evaluation"]}
    conflict = find_conflict(Key("leaderboard"), both)
    assert conflict is not None
    assert conflict.what == "were made from different versions of snapshot"
    assert conflict.next_step == "build leaderboard and its inputs: agar run +leaderboard"
    smoke_runs = [SmokeRun.open(root) for root in chain.store.roots(Key("smoke_run", "e"))]
    found = [find_conflict(TRAINING, {CACHE: new["coco_cache"], Key("smoke_run", "e"): it}) for it in smoke_runs]
    assert [conflict is None for conflict in found].count(True) == 1, "though both hold the same"


def test_another_snapshot_that_leads_to_the_same_cache_changes_nothing(chain: Chain) -> None:
    """What the cache does not hold (a tag, a photo that is in no part) is no reason to train again."""
    first, second = chain.snapshot(1), chain.snapshot(2)
    old = chain.after(first)
    split = chain.build(Key("split"), {"seed": 0}, {"snapshot": second}, 0)
    box_hash = first.manifest.files[0]["sha256"]
    cache = chain.build(CACHE, {"media": "copy"}, {"snapshot": second, "split": split}, [box_hash, 0])
    assert cache.root != old["coco_cache"].root
    assert find_conflict(EVALUATION, inputs(cache, old["training_run"])) is None


def test_a_split_belongs_to_every_snapshot_with_the_images_that_it_read(chain: Chain) -> None:
    first, second = chain.snapshot(1), chain.snapshot(2)
    split = chain.after(first)["split"]
    assert first.data_version != second.data_version
    assert find_conflict(CACHE, {Key("snapshot"): second, Key("split"): split}) is None
    cache = chain.build(CACHE, {"media": "copy"}, {"snapshot": second, "split": split}, "another")
    together = {Key("snapshot"): second, Key("split"): split, CACHE: cache}
    assert find_conflict(Key("label_review", "e"), together) is None, "both agree with the snapshot that is given"
    assert find_conflict(Key("label_review", "e"), {**together, Key("snapshot"): first}) is not None
