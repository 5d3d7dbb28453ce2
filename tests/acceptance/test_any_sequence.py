"""Case 60: any sequence of edits, partial runs and kills, then `agar run`: what is there equals a build from nothing.

A failure that hypothesis finds is printed as a shrunk list of steps: keep it in `KNOWN`.
"""

from __future__ import annotations

import contextlib
import copy
import io
import itertools
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from agar_pipeline.artifacts import ARTIFACTS
from agar_pipeline.config import ExperimentConfig, PipelineConfig, SnapshotConfig, load_experiment, load_pipeline
from agar_pipeline.errors import PipelineError
from agar_pipeline.fiftyone_io.database.connection import connect, open_database
from agar_pipeline.plates.generate import generate_plates
from agar_pipeline.reports import plots
from agar_pipeline.steps import STEPS
from agar_pipeline.store import Key
from tests.acceptance.grading import right
from tests.acceptance.lab import FULL
from tests.conftest import copy_configs, runner
from tests.tiny_chain import TinyChain, quick_steps

PLATES, SIZE_PX = 8, 64
SEQUENCES = 300 if FULL else 20
SHARES = 4 if FULL else 1
"""Tests that the sequences are divided among, so that two processes may work on them."""
DATA_KEYS = tuple(Key(asset) for asset in ("snapshot", "split", "coco_cache", "bbox_report"))
TRAINING_KEYS = (
    *(Key(asset, name) for name in ("small", "other") for asset in ("smoke_run", "training_run", "evaluation")),
    Key("leaderboard"),
)
SETTINGS: dict[str, list[Any]] = {
    "seed": [0, 1, 2],
    "class_map": [
        {"S.aureus": 1, "C.albicans": 2, "E.coli": 3},
        {"S.aureus": 1, "C.albicans": 2, "E.coli": 2},
        {"E.coli": 1, "S.aureus": 2, "C.albicans": 3},
    ],
    "box_policy": [{}, {"small_box": "drop_box"}, {"degenerate_box": "keep"}, {"degenerate_box": "fail"}],
    "media": ["reference", "copy"],
    "lr": [0.01, 0.02],
    "code": ["note", "strict"],
}
Steps = list[tuple[Any, ...]]
WHOLE: tuple[Any, ...] = ("run_all",)
EVALUATION = [Key("evaluation", "small")]
KNOWN: dict[str, Steps] = {
    "a photo replaced in place": [WHOLE, ("photo", 0, True)],
    "a model and the cache of another split": [
        WHOLE, ("set", "seed", 1), ("run", list(DATA_KEYS)), ("run", EVALUATION), ("select", EVALUATION),
    ],
    "a model and the cache of other labels": [
        WHOLE, ("label", 0, "E.coli"), ("label", 1, "S.aureus"), ("select", list(DATA_KEYS)), ("select", EVALUATION),
    ],
    "there and back again": [WHOLE, ("set", "seed", 1), WHOLE, ("set", "seed", 0), ("run", [Key("split")])],
    "boxes that no report has judged": [
        WHOLE, ("box", 0, 0.0), ("set", "box_policy", {"degenerate_box": "fail"}), ("run", list(DATA_KEYS[:3])),
        ("run", list(TRAINING_KEYS)),
    ],
    "another policy of boxes that leaves the cache as it is": [
        WHOLE, ("set", "box_policy", {"small_box": "drop_box"}), ("set", "lr", 0.01),
        ("run", [Key("smoke_run", "small")]),
    ],
    "killed while the cache is made": [WHOLE, ("box", 0, 0.25), ("kill", list(DATA_KEYS), 20), ("run", EVALUATION)],
}  # fmt: skip
"""Faults that were found by people, and shrunk failures of the sequences below."""


@dataclass
class World:
    """The dataset, its photos and the configs, all of which may be edited; `reset` puts them back."""

    folder: Path
    samples: Any
    pipeline: PipelineConfig
    experiments: dict[str, ExperimentConfig]
    before: list[dict[str, Any]]
    photos: dict[Path, tuple[bytes, bytes]]
    """Path → two contents of one size."""
    numbers: Iterator[int]

    def reset(self) -> None:
        self.samples.delete_many({})
        self.samples.insert_many(copy.deepcopy(self.before))
        for path, (content, _) in self.photos.items():
            if path.read_bytes() != content:
                path.write_bytes(content)
        for asset, kind in ARTIFACTS.items():
            kind.code_version = VERSIONS[asset]

    def new_home(self) -> Path:
        return self.folder / f"home-{next(self.numbers)}"


VERSIONS = {asset: kind.code_version for asset, kind in ARTIFACTS.items()}


def two_contents(path: Path) -> tuple[bytes, bytes]:
    """A photo and its negative, of the same number of bytes."""
    content, negative = path.read_bytes(), io.BytesIO()
    with Image.open(path) as photo:
        ImageOps.invert(photo.convert("RGB")).save(negative, "JPEG")
    size = max(len(content), len(negative.getvalue()))
    return content.ljust(size, b"\0"), negative.getvalue().ljust(size, b"\0")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A few plates in the real database, which stays up."""
    folder = tmp_path_factory.mktemp("sequences")
    configs, plates = copy_configs(folder / "configs"), folder / "plates"
    generate_plates(plates, PLATES, SIZE_PX, 3, None, (2, 4))
    photos = {path: two_contents(path) for path in sorted(plates.glob("*.jpg"))}
    for path, (content, _) in photos.items():
        path.write_bytes(content)
    env = {"AGAR_HOME": str(folder / "home"), "AGAR_CONFIGS": str(configs), "AGAR_PIPELINE": "small"}
    done = runner(env)("agar", "import", "agar", "--images-dir", str(plates), "--dataset", "small")
    assert done.returncode == 0, done.stderr
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        for name, step in quick_steps().items():
            patch.setitem(STEPS, name, step)
        patch.setattr(plots, "to_svg_uri", lambda figure: "")  # half of the time, and no content
        with open_database("embedded", folder / "home") as uri, connect(uri) as client:
            database = client["fiftyone"]
            dataset = database["datasets"].find_one({"name": "small"})
            assert dataset is not None
            samples = database[dataset["sample_collection_name"]]
            pipeline = load_pipeline("small")
            assert isinstance(pipeline.snapshot, SnapshotConfig)
            pipeline = replace(pipeline, snapshot=replace(pipeline.snapshot, database=uri))
            experiments = {name: load_experiment(name) for name in pipeline.experiments}
            made = World(folder, samples, pipeline, experiments, list(samples.find()), photos, itertools.count())
            yield made
            made.reset()
    shutil.rmtree(folder)


class Play:
    """One sequence in a home of its own."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.chain = TinyChain(world.new_home(), world.pipeline, dict(world.experiments))

    def step(self, word: str, *values: Any) -> None:
        getattr(self, f"do_{word}")(*values)

    def do_photo(self, number: int, keep_mtime: bool) -> None:
        """In place, and the same size."""
        path = list(self.world.photos)[number]
        before, contents = path.stat(), self.world.photos[path]
        path.write_bytes(contents[path.read_bytes() == contents[0]])
        if keep_mtime:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def do_box(self, number: int, width: float) -> None:
        self._set(number, "bounding_box.2", width)

    def do_label(self, number: int, label: str) -> None:
        self._set(number, "label", label)

    def _set(self, number: int, name: str, value: Any) -> None:
        sample = self.world.before[number]["_id"]
        self.world.samples.update_one({"_id": sample}, {"$set": {f"ground_truth.detections.0.{name}": value}})

    def do_set(self, name: str, value: Any) -> None:
        pipeline = self.chain.pipeline
        if name == "lr":
            small = self.chain.experiments["small"]
            self.chain.experiments["small"] = replace(small, optimizer=replace(small.optimizer, lr=value))
        elif name == "seed":
            self.chain.pipeline = replace(pipeline, split=replace(pipeline.split, seed=value))
        else:
            self.chain.pipeline = replace(pipeline, **{name: value})

    def do_code(self, asset: str, version: str) -> None:
        ARTIFACTS[asset].code_version = version

    def do_run(self, keys: list[Key]) -> None:
        self._tried(lambda: self.chain.run(keys))

    def do_select(self, keys: list[Key]) -> None:
        self._tried(lambda: self.chain.materialize(keys))

    def do_kill(self, keys: list[Key], at: int) -> None:
        self.chain.killed(keys, at)

    def _tried(self, call: Any) -> None:
        with contextlib.suppress(PipelineError):
            call()
        self.require_honest_scores()

    def do_run_all(self) -> None:
        """`agar run`, and what must hold after it."""
        refused = None
        try:
            self.chain.run()
        except PipelineError as error:
            refused = type(error).__name__
        self.require_honest_scores()
        empty = self.world.new_home()
        built, refused_there = self.chain.fresh(empty)
        right(refused == refused_there, f"refused: {refused}; in an empty home: {refused_there}")
        found = self.chain.versions(built)
        wrong = [str(key) for key in built if found.get(key) != built[key]]
        right(not wrong, f"not what an empty home builds: {', '.join(wrong)}")
        if refused is None:
            stale = {str(line.key): line.why() for line in self.chain.plan() if line.state != "fresh"}
            right(not stale, f"after a whole run the plan still has {stale}")
        shutil.rmtree(empty)

    def require_honest_scores(self) -> None:
        """Of everything that was ever published."""
        for evaluation in self.chain.published(Key("evaluation", "*"), "metrics.json"):
            self._require_honest(evaluation)
        for board in self.chain.published(Key("leaderboard"), "leaderboard.parquet"):
            for evaluation in board["scores"].values():
                self._require_honest(evaluation)
                right(evaluation["labels"] == board["val"], "scores on another val are compared")

    def _require_honest(self, evaluation: dict[str, Any]) -> None:
        both = set(evaluation["scored"]) & set(evaluation["model"]["learnt"])
        right(not both, f"a model was scored on {len(both)} photos that it was trained on")
        right(
            evaluation["labels"] == evaluation["model"]["labels"][1], "scored on another cache than it was trained on"
        )


def play(world: World, steps: Steps) -> None:
    world.reset()
    one = Play(world)
    for step in [*steps, ("run_all",)]:
        one.step(*step)
    shutil.rmtree(one.chain.home, ignore_errors=True)


def settings_steps() -> st.SearchStrategy[tuple[Any, ...]]:
    return st.one_of(
        [st.tuples(st.just("set"), st.just(name), st.sampled_from(values)) for name, values in SETTINGS.items()]
    )


NUMBERS = st.integers(0, PLATES - 1)
FIRST = st.integers(1, len(DATA_KEYS)).map(lambda count: list(DATA_KEYS[:count]))
LAST = st.lists(st.sampled_from(TRAINING_KEYS), min_size=1, max_size=2, unique=True)
ANY = st.lists(st.sampled_from((*DATA_KEYS, *TRAINING_KEYS)), min_size=1, max_size=6, unique=True)
EDIT = st.one_of(
    st.tuples(st.just("photo"), NUMBERS, st.booleans()),
    st.tuples(st.just("box"), NUMBERS, st.sampled_from([0.2, 0.25, 0.0])),
    st.tuples(st.just("label"), NUMBERS, st.sampled_from(["E.coli", "S.aureus", "unknown"])),
    settings_steps(),
    settings_steps(),
    st.tuples(st.just("code"), st.sampled_from(sorted(ARTIFACTS)), st.sampled_from(["101", "102"])),
)


def run_of(chosen: st.SearchStrategy[list[Key]]) -> st.SearchStrategy[tuple[Any, ...]]:
    killed = st.tuples(st.just("kill"), chosen, st.integers(0, 120))
    return st.one_of(st.tuples(st.just("run"), chosen), st.tuples(st.just("select"), chosen), killed)


FREE = st.tuples(
    EDIT,
    st.one_of(run_of(FIRST), run_of(ANY), EDIT),
    st.one_of(run_of(LAST), run_of(LAST), run_of(ANY), st.just(("run_all",))),
)
"""An edit, a run of what comes first, and one of what comes after."""
NEW_CACHE = st.one_of(
    st.tuples(st.just("photo"), NUMBERS, st.booleans()),
    st.tuples(st.just("label"), NUMBERS, st.sampled_from(["E.coli", "S.aureus"])),
    st.tuples(st.just("set"), st.just("seed"), st.sampled_from([1, 2])),
    st.tuples(st.just("set"), st.just("class_map"), st.sampled_from(SETTINGS["class_map"][1:])),
)
RUN = st.sampled_from(["run", "select"])
MIXED = st.tuples(
    NEW_CACHE,
    st.tuples(RUN, st.sampled_from([list(DATA_KEYS), list(DATA_KEYS[:3])])),
    st.tuples(
        RUN,
        st.lists(
            st.sampled_from([key for key in TRAINING_KEYS if key.asset != "smoke_run"]),
            min_size=1,
            max_size=2,
            unique=True,
        ),
    ),
)
"""Data of a new state, and something made from it beside what was made from the old one: what must never be mixed."""
SEQUENCE = st.lists(st.one_of(FREE, MIXED), min_size=1, max_size=2).map(
    lambda rounds: [WHOLE, *itertools.chain(*rounds)]
)


@pytest.mark.parametrize("share", range(SHARES))
def test_case_60_after_any_sequence_a_run_gives_what_an_empty_home_gives(world: World, share: int) -> None:
    @seed(share)
    @settings(
        max_examples=SEQUENCES // SHARES,
        deadline=None,
        database=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(SEQUENCE)
    def sequences(steps: Steps) -> None:
        play(world, steps)

    sequences()


@pytest.mark.parametrize("name", KNOWN)
def test_case_60_a_sequence_that_was_once_wrong(world: World, name: str) -> None:
    play(world, KNOWN[name])
