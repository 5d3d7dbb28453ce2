"""A published artifact is complete and verified, or absent."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from agar_pipeline.artifacts import ARTIFACTS, CocoCache, Manifest, Snapshot, Split
from agar_pipeline.errors import ArtifactError, StorageError
from agar_pipeline.ownership.home import open_home
from agar_pipeline.ownership.scratch_folders import scratch_folder, sweep_scratch
from agar_pipeline.store import Built, Content, Key, Store, find_faults, fingerprint

KEY = Key("split")
INPUTS = {"snapshot": Content("abc", {"image_ids.parquet": "def"})}


def write_split(out_dir: Path, part: str = "train") -> None:
    for name in KEY.kind.files:
        (out_dir / name).write_text("{}")
    pd.DataFrame({"image_id": [1, 2], "part": [part, "val"]}).to_parquet(out_dir / "split.parquet")


def build(store: Store, seed: int = 0, write: Callable[[Path], None] = write_split) -> Built:
    return store.build(KEY, {"seed": seed}, INPUTS, write, lambda text: None)


def test_build_publishes_once_and_then_finds_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = build(store)
    again = build(store, write=lambda out_dir: pytest.fail("built twice"))
    assert not first.cached
    assert again.cached
    assert again.artifact.root == first.artifact.root == store.latest(KEY)
    manifest = json.loads((first.artifact.root / "manifest.json").read_text())
    assert set(manifest) == {
        "asset", "fingerprint", "data_version", "code_version", "config", "inputs", "reads", "files", "created_at",
        "seconds", "versions", "code", "machine", "checksum", "ancestors",
    }  # fmt: skip
    assert first.artifact.root.name == fingerprint("split", Split.code_version, {"seed": 0}, manifest["reads"])
    assert str(tmp_path) not in json.dumps({k: manifest[k] for k in ("fingerprint", "data_version", "files")})


def test_latest_follows_the_config_back_and_forth(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first, second = build(store, 0), build(store, 1)
    assert store.latest(KEY) == second.artifact.root
    assert build(store, 0).cached
    assert store.latest(KEY) == first.artifact.root
    assert (store.folder(KEY) / "latest").is_symlink()


def test_data_version_follows_content_not_time_or_place(tmp_path: Path) -> None:
    here, there = build(Store(tmp_path / "a")), build(Store(tmp_path / "b"))
    other = build(Store(tmp_path / "c"), write=lambda out_dir: write_split(out_dir, "val"))
    assert here.artifact.data_version == there.artifact.data_version != other.artifact.data_version


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        pytest.param(lambda p: p.write_bytes(p.read_bytes()[:-1] + b"\0"), "was altered", id="a bit flipped"),
        pytest.param(lambda p: p.write_bytes(b""), "was altered", id="truncated to nothing"),
        pytest.param(lambda p: p.unlink(), "is missing", id="deleted"),
        pytest.param(
            lambda p: (p.parent / "manifest.json").write_text((p.parent / "manifest.json").read_text()[:-9]),
            "damaged",
            id="half a manifest",
        ),
        pytest.param(
            lambda p: (p.parent / "manifest.json").write_text(
                (p.parent / "manifest.json").read_text().replace('"seed": 0', '"seed": 7')
            ),
            "fingerprint should be",
            id="a manifest that lies about its config",
        ),
        pytest.param(
            lambda p: (p.parent / "manifest.json").write_text(
                (p.parent / "manifest.json").read_text().replace('"snapshot": "abc"', '"snapshot": "abd"')
            ),
            "checksum should be",
            id="a manifest that lies about where it comes from",
        ),
    ],
)
def test_damage_is_found_before_use_and_rebuilt(tmp_path: Path, harm: Callable[[Path], object], reason: str) -> None:
    store = Store(tmp_path)
    before = build(store).artifact.data_version
    built = store.latest(KEY)
    assert built is not None
    harm(built / "split.parquet")
    harmed = store.latest(KEY)
    assert harmed is not None
    assert any(reason in fault for fault in find_faults(harmed))
    with pytest.raises(ArtifactError, match="agar run split"):
        store.open_latest(KEY)
    rebuilt = build(store)
    assert not rebuilt.cached
    assert reason in rebuilt.why
    assert rebuilt.artifact.data_version == before
    assert len(list((tmp_path / "quarantine").iterdir())) == 1


def test_a_step_that_fails_leaves_nothing_and_the_old_artifact_stays(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old = build(store, 0).artifact.root

    def fail(out_dir: Path) -> None:
        (out_dir / "split.parquet").write_text("half")
        raise OSError(28, "No space left on device", str(out_dir))

    with pytest.raises(
        StorageError, match=r"because no space is left: split needs about .* the size of its last .*B are free"
    ):
        build(store, 1, fail)
    assert store.latest(KEY) == old
    assert not find_faults(old)
    assert {path.name for path in store.folder(KEY).iterdir() if not path.name.startswith(".")} == {"latest", old.name}
    assert not list(store.folder(KEY).glob(".draft-*"))


def test_a_step_that_forgets_a_file_publishes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"did not write split\.parquet"):
        build(Store(tmp_path), write=lambda out_dir: None)
    assert Store(tmp_path).latest(KEY) is None


def _build_slowly(home: Path, marks: Path, seconds: float) -> None:
    def write(out_dir: Path) -> None:
        (marks / str(os.getpid())).touch()
        time.sleep(seconds)
        write_split(out_dir)

    build(Store(home), write=write)


def test_two_at_once_build_once_and_a_killed_builder_frees_the_key(tmp_path: Path) -> None:
    marks = tmp_path.parent / f"{tmp_path.name}-marks"
    marks.mkdir()
    spawn = multiprocessing.get_context("fork")
    doomed = spawn.Process(target=_build_slowly, args=(tmp_path, marks, 60))
    doomed.start()
    while not list(marks.iterdir()):
        time.sleep(0.01)
    pair = [spawn.Process(target=_build_slowly, args=(tmp_path, marks, 0.5)) for _ in range(2)]
    for process in pair:
        process.start()
    time.sleep(0.2)
    assert len(list(marks.iterdir())) == 1, "the others wait for the lock"
    os.kill(doomed.pid, signal.SIGKILL)  # type: ignore[arg-type]
    for process in [doomed, *pair]:
        process.join(20)
    assert [process.exitcode for process in pair] == [0, 0]
    assert len(list(marks.iterdir())) == 2, "one of the two built, the other found it"
    assert not find_faults(Store(tmp_path).latest(KEY))  # type: ignore[arg-type]
    assert not list(Store(tmp_path).folder(KEY).glob(".draft-*"))


def test_the_drafts_of_dead_processes_are_swept_by_the_next_build_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    marks = tmp_path.parent / f"{tmp_path.name}-marks"
    marks.mkdir()
    spawn = multiprocessing.get_context("fork")
    living = spawn.Process(target=_build_slowly, args=(tmp_path, marks, 60))
    living.start()
    while not list(marks.iterdir()):
        time.sleep(0.01)
    store = Store(tmp_path)
    (draft,) = store.folder(KEY).glob(".draft-*")
    for dead in (store.folder(KEY) / f".draft-{'0' * 32}", store.folder(Key("coco_cache")) / f".draft-{'1' * 32}-77"):
        dead.mkdir(parents=True)
        (dead / "half").touch()
    (store.folder(KEY) / f".latest-{'2' * 32}").symlink_to("2" * 32)
    build(store, seed=1)
    assert [path for path in tmp_path.rglob("*") if path.name.startswith((".draft", ".latest"))] == [draft]
    os.kill(living.pid, signal.SIGKILL)  # type: ignore[arg-type]
    living.join()
    assert store.sweep() == [draft]
    assert not draft.exists()


def test_a_scratch_folder_goes_with_its_block_or_at_the_next_call_after_its_process(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, "child-") as folder:
        assert not sweep_scratch(tmp_path), "its owner lives"
        assert folder.is_dir()
    assert not folder.exists()

    def die_in_it() -> None:
        with scratch_folder(tmp_path, "child-"):
            os.kill(os.getpid(), signal.SIGKILL)

    process = multiprocessing.get_context("fork").Process(target=die_in_it)
    process.start()
    process.join()
    assert len(list((tmp_path / "tmp").glob("child-*"))) == 1
    with scratch_folder(tmp_path, "child-") as folder:
        assert list((tmp_path / "tmp").glob("child-*")) == [folder]


def test_a_manifest_of_another_shape_is_a_fault_not_a_crash(tmp_path: Path) -> None:
    root = build(Store(tmp_path)).artifact.root
    manifest = root / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"path"', '"pbth"'))
    assert "was altered on disk" in find_faults(root)[0]
    assert not build(Store(tmp_path)).cached


def test_an_input_that_was_dropped_meanwhile_is_named(tmp_path: Path) -> None:
    gone = Store(tmp_path).artifacts / "snapshot" / "gone"
    gone.parent.mkdir(parents=True)
    with pytest.raises(ArtifactError, match="was dropped a moment ago"):
        Store(tmp_path).build(KEY, {}, INPUTS, write_split, lambda text: None, uses=[gone])


def test_open_refuses_another_kind(tmp_path: Path) -> None:
    root = build(Store(tmp_path)).artifact.root
    with pytest.raises(ArtifactError, match="holds a split, not a coco_cache"):
        CocoCache.open(root)
    with pytest.raises(ArtifactError, match="holds no artifact"):
        Snapshot.open(tmp_path)


def test_where_images_lie_is_not_part_of_the_data_version() -> None:
    assert "dataset.json" in Snapshot.unhashed
    assert all(set(kind.unhashed) <= set(kind.files) for kind in ARTIFACTS.values())


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    open_home(tmp_path)
    (tmp_path / "artifacts").write_text("a file where a folder should be")
    with pytest.raises(
        StorageError, match=f"{tmp_path / 'artifacts' / 'split'} cannot be read or written: Not a directory"
    ):
        build(Store(tmp_path))


def test_manifest_survives_its_own_reading(tmp_path: Path) -> None:
    artifact = build(Store(tmp_path)).artifact
    assert Manifest.read(artifact.root) == artifact.manifest
