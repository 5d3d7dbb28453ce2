"""A store that several homes share, in a second folder by `file://`; tests/cluster does the same on an S3 server."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec.registry import _registry as _loaded_file_systems

from agar_pipeline.errors import ArtifactError, MissingPackageError, StorageError
from agar_pipeline.store import Built, Key, Store, find_faults
from agar_pipeline.store.remote_files import RemoteFiles
from agar_pipeline.store.shared import SharedStore
from agar_pipeline.store.upkeep import find_droppable
from tests.test_store import INPUTS, KEY, write_split


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "shared").mkdir()
    monkeypatch.setenv("AGAR_STORE", f"file://{tmp_path}/shared")
    return f"file://{tmp_path}/shared"


def shared_at(url: str, name: str) -> SharedStore:
    """A store of its own below the address."""
    if url.startswith("file://"):
        Path(url.removeprefix("file://"), name).mkdir(exist_ok=True)
    return SharedStore(f"{url}/{name}")


def build(store: Store, said: list[str], write: Callable[[Path], None] = write_split, seed: int = 0) -> Built:
    return store.build(KEY, {"seed": seed}, INPUTS, write, said.append)


def never(out_dir: Path) -> None:
    pytest.fail("built where it could be fetched")


def write_with_photo(out_dir: Path) -> None:
    """As a COCO cache has them: known by their mtime, so that they need not be hashed to be verified."""
    write_split(out_dir)
    (out_dir / "images").mkdir()
    (out_dir / "images" / "1.jpg").write_bytes(b"photo")


def object_of(root: Path, name: str) -> str:
    files = json.loads((root / "manifest.json").read_text())["files"]
    sha256 = next(file["sha256"] for file in files if file["path"] == name)
    return f"objects/{sha256[:2]}/{sha256}"


def test_what_one_home_built_another_fetches_and_verifies(url: str, tmp_path: Path) -> None:
    said: list[str] = []
    here, there, third = (Store(tmp_path / name) for name in "abc")
    first = build(here, said, write_with_photo)
    assert not first.cached
    assert said == [f"split: published in {url}"]
    fetched = build(there, said, never)
    assert fetched.cached
    assert fetched.why == f"fetched from {url}"
    assert fetched.artifact.manifest == first.artifact.manifest
    assert not find_faults(fetched.artifact.root, thorough=True)
    assert there.latest(KEY) == fetched.artifact.root
    assert third.open_latest(KEY).data_version == first.artifact.data_version, "fetched where it is first opened"
    del said[:]
    assert build(there, said, never).why == "nothing changed"
    assert said == []
    build(here, said, seed=1)
    assert Store(tmp_path / "d").open_latest(KEY).manifest.config == {"seed": 1}, "`latest` goes along"
    assert [item.path.name for item in find_droppable(here)] == [first.artifact.root.name]


def test_what_has_no_manifest_there_is_absent(url: str, tmp_path: Path) -> None:
    """An upload that was killed: some objects, one of them short, and no manifest."""
    root = build(Store(tmp_path / "a"), []).artifact.root
    other = shared_at(url, "other")
    other.files.write(object_of(root, "split.parquet"), (root / "split.parquet").read_bytes()[:100])
    assert other.find(KEY, root.name) is None
    assert other.latest(KEY) is None
    assert other.publish(KEY, root)
    found, _ = other.find(KEY, root.name) or pytest.fail("not published")
    other.fetch_files(KEY, found, tmp_path / "whole")
    assert (tmp_path / "whole" / "split.parquet").read_bytes() == (root / "split.parquet").read_bytes()


def harm_object(files: RemoteFiles, root: Path) -> None:
    files.write(object_of(root, "split.parquet"), b"PAR1" + (root / "split.parquet").read_bytes()[4:-1] + b"\0")


def harm_manifest(files: RemoteFiles, root: Path) -> None:
    text = (root / "manifest.json").read_bytes()
    files.write(f"artifacts/split/{root.name}.json", text.replace(b'"seed": 0', b'"seed": 7'))


def cut_manifest(files: RemoteFiles, root: Path) -> None:
    files.write(f"artifacts/split/{root.name}.json", (root / "manifest.json").read_bytes()[:-9])


def lead_outside(files: RemoteFiles, root: Path) -> None:
    text = (root / "manifest.json").read_bytes()
    files.write(f"artifacts/split/{root.name}.json", text.replace(b'"split.parquet"', b'"../split.parquet"'))


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (harm_object, "objects/.* is not what its name says"),
        (harm_manifest, r"artifacts/split/.*\.json: its fingerprint should be"),
        (cut_manifest, r"artifacts/split/.*\.json: JSONDecodeError"),
        (lead_outside, r"'\.\./split\.parquet' leads out of it"),
    ],
)
def test_what_was_damaged_there_is_named_never_used_and_replaced(
    url: str, tmp_path: Path, harm: Callable[[RemoteFiles, Path], None], named: str
) -> None:
    whole = build(Store(tmp_path / "a"), []).artifact
    harm(RemoteFiles(url), whole.root)
    with pytest.raises(ArtifactError, match=f"split in {url} is damaged: .*{named}"):
        Store(tmp_path / "b").open_latest(KEY)
    assert not Store(tmp_path / "b").roots(KEY)
    said: list[str] = []
    rebuilt = build(Store(tmp_path / "c"), said)
    assert not rebuilt.cached
    assert "it is built again here, and replaced there" in said[0]
    assert Store(tmp_path / "d").open_latest(KEY).data_version == whole.data_version


def test_of_two_that_publish_at_once_one_counts_and_none_is_mixed(url: str, tmp_path: Path) -> None:
    """The same fingerprint with other bytes, as two trainings are; often, so that they meet."""
    key, homes = Key("split"), [Store(tmp_path / name) for name in "ab"]
    for home in homes:
        home.shared = None
    roots = []
    for home, part in zip(homes, ("train", "test"), strict=True):
        roots.append(build(home, [], lambda out_dir, part=part: write_split(out_dir, part)).artifact.root)
    assert roots[0].name == roots[1].name
    for turn in range(10):
        won, start = [], threading.Barrier(2)

        def publish(root: Path, turn: int = turn, won: list[Any] = won, start: threading.Barrier = start) -> None:
            start.wait()
            won.append((shared_at(url, str(turn)).publish(key, root), root))

        pair = [threading.Thread(target=publish, args=(root,)) for root in roots]
        for thread in pair:
            thread.start()
        for thread in pair:
            thread.join()
        first = [root for counts, root in won if counts]
        assert len(first) == 1
        found, text = shared_at(url, str(turn)).find(key, roots[0].name) or pytest.fail("not published")
        assert text == (first[0] / "manifest.json").read_bytes()
        shared_at(url, str(turn)).fetch_files(key, found, tmp_path / f"got-{turn}")


def test_a_store_that_is_not_there_stops_no_work_and_gets_it_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "not mounted"
    monkeypatch.setenv("AGAR_STORE", f"file://{place}")
    said: list[str] = []
    store = Store(tmp_path / "a")
    built = build(store, said)
    assert not built.cached
    assert not place.exists(), "a disk that is not mounted is not filled"
    assert "there is no such folder: make it, or mount it" in said[0]
    assert "a later `agar run` puts it there" in said[-1]
    assert store.open_latest(KEY) == built.artifact
    with pytest.raises(StorageError, match=r"the shared store file:.* cannot be used"):
        Store(tmp_path / "b").open_latest(KEY)
    place.mkdir()
    build(Store(tmp_path / "a"), said, never)
    assert Store(tmp_path / "b").open_latest(KEY).data_version == built.artifact.data_version


def test_addresses_that_make_no_sense_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGAR_STORE", "nosuch://user:secret@place")
    with pytest.raises(StorageError, match="nosuch://place cannot be used: Protocol not known: nosuch"):
        Store(tmp_path).open_latest(KEY)
    monkeypatch.setenv("AGAR_STORE", "oci://lab@namespace/agar")
    with pytest.raises(StorageError, match="cannot be used: Install ocifs"):
        Store(tmp_path).open_latest(KEY)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(_loaded_file_systems, "s3", raising=False)  # where another test has loaded it
    monkeypatch.setenv("AGAR_STORE", "s3://lab/agar")
    with pytest.raises(MissingPackageError, match="s3fs is not installed: `make setup-cluster`"):
        Store(tmp_path).open_latest(KEY)
