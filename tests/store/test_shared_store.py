"""A store that several homes share, in a second folder by `file://`; tests/cluster does the same on an S3 server."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fsspec.registry import _registry as _loaded_file_systems

from agar_pipeline.artifacts import Manifest
from agar_pipeline.errors import ArtifactError, ConfigError, MissingPackageError, StorageError
from agar_pipeline.store import Built, Content, Key, Store, find_faults
from agar_pipeline.store.clean import find_droppable
from agar_pipeline.store.remote_files import RemoteFiles
from agar_pipeline.store.shared_store import SharedStore
from tests.store.test_store import INPUTS, KEY, write_split


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


@pytest.fixture
def lab_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "key"
    path.touch(mode=0o600)
    path.write_text(f"# of the lab\n{'a' * 64}\n")
    monkeypatch.setenv("AGAR_STORE_KEY_FILE", str(path))
    return path


def forge(url: str, root: Path, content: bytes) -> None:
    """As somebody would who can write to the store: another split, and every hash and checksum right again."""
    manifest = json.loads((root / "manifest.json").read_text())
    sha256 = hashlib.sha256(content).hexdigest()
    for file in manifest["files"]:
        if file["path"] == "split.parquet":
            file |= {"sha256": sha256, "size_bytes": len(content)}
    honest = Manifest.parse(json.dumps(manifest).encode())
    honest = replace(honest, data_version=Content.of(honest).data_version)
    honest = replace(honest, checksum=honest.own_checksum())
    files = RemoteFiles(url)
    files.write(f"objects/{sha256[:2]}/{sha256}", content)
    files.write(f"artifacts/split/{root.name}.json", json.dumps(asdict(honest)).encode())


def test_a_forged_artifact_is_taken_without_a_key_and_that_is_said(url: str, tmp_path: Path) -> None:
    forge(url, build(Store(tmp_path / "a"), []).artifact.root, b"forged")
    said: list[str] = []
    store = Store(tmp_path / "b")
    fetched = build(store, said, never).artifact.root
    assert (fetched / "split.parquet").read_bytes() == b"forged"
    trust = f"note: AGAR_STORE_KEY_FILE is not set, so that everybody who can write to {url} is trusted"
    assert said[1:] == [trust]
    build(Store(tmp_path / "a"), [], seed=1)
    build(store, said, never, seed=1)
    assert said.count(trust) == 1


def test_a_forged_artifact_is_refused_where_a_key_is_set(url: str, tmp_path: Path, lab_key: Path) -> None:
    built = build(Store(tmp_path / "a"), []).artifact
    assert build(Store(tmp_path / "b"), [], never).cached, "what the lab signed is fetched"
    forge(url, built.root, b"forged")
    with pytest.raises(
        ArtifactError, match=rf"split in {url} is refused: artifacts/split/{built.root.name}\.json is not"
    ):
        Store(tmp_path / "c").open_latest(KEY)
    assert not Store(tmp_path / "c").roots(KEY), "nothing of it is published here"
    said: list[str] = []
    assert not build(Store(tmp_path / "c"), said).cached
    assert "is refused" in said[0]
    assert Store(tmp_path / "d").open_latest(KEY).data_version == built.data_version, "replaced there, signed"


def test_signatures_hold_for_one_key_one_name_and_one_use(url: str, tmp_path: Path, lab_key: Path) -> None:
    """What the lab signed cannot be put elsewhere, nor can `latest` be moved to what was not `latest`."""
    store, files = Store(tmp_path / "a"), RemoteFiles(url)
    roots = [build(store, [], seed=seed).artifact.root for seed in (0, 1)]
    pointer = files.read("artifacts/split/latest") or b""
    for moved in (roots[0].name.encode(), pointer.replace(roots[1].name.encode(), roots[0].name.encode())):
        files.write("artifacts/split/latest", moved)
        with pytest.raises(ArtifactError, match="artifacts/split/latest is not signed"):
            Store(tmp_path / "b").open_latest(KEY)
    manifest = (roots[0] / "manifest.json").read_bytes()
    signature = f"{roots[0].name}.{hashlib.sha256(manifest).hexdigest()}.sig"
    other = Key("split", "elsewhere")
    for name in (f"{roots[0].name}.json", signature, "latest"):
        files.write(f"artifacts/{other}/{name}", files.read(f"artifacts/split/{name}") or b"")
    with pytest.raises(ArtifactError, match="is not signed"):
        SharedStore(url).find(other, roots[0].name)


def test_a_store_from_before_the_key_is_signed_by_whoever_has_its_artifacts(
    url: str, tmp_path: Path, lab_key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.delenv("AGAR_STORE_KEY_FILE")
        build(Store(tmp_path / "a"), [])
    with pytest.raises(ArtifactError, match="is refused"):
        Store(tmp_path / "b").open_latest(KEY)
    said: list[str] = []
    build(Store(tmp_path / "a"), said, never)
    assert "it is replaced by the one of this home" in said[0]
    assert Store(tmp_path / "b").open_latest(KEY)
    monkeypatch.delenv("AGAR_STORE_KEY_FILE")
    assert Store(tmp_path / "c").open_latest(KEY), "without a key a signed store is read as ever"


def test_keys_are_replaced_one_after_the_other(url: str, tmp_path: Path, lab_key: Path) -> None:
    build(Store(tmp_path / "a"), [])
    lab_key.write_text(f"{'b' * 64}\n{'a' * 64}\n")
    assert Store(tmp_path / "b").open_latest(KEY), "the old key still verifies"
    build(Store(tmp_path / "a"), [], seed=1)
    lab_key.write_text(f"{'b' * 64}\n")
    assert Store(tmp_path / "c").open_latest(KEY).manifest.config == {"seed": 1}, "the new one signs"
    lab_key.write_text(f"{'c' * 64}\n")
    with pytest.raises(ArtifactError, match="is refused"):
        Store(tmp_path / "d").open_latest(KEY)


@pytest.mark.parametrize(
    ("content", "mode", "told"),
    [
        ("a" * 64, 0o640, "can be read or changed by other users"),
        ("short", 0o600, "32 characters"),
        ("# none", 0o600, "32 characters"),
    ],
)
def test_a_key_file_that_others_can_read_or_that_holds_no_key_is_refused(
    url: str, tmp_path: Path, lab_key: Path, content: str, mode: int, told: str
) -> None:
    lab_key.write_text(content)
    lab_key.chmod(mode)
    with pytest.raises(ConfigError, match=told):
        Store(tmp_path / "a")


@pytest.mark.skipif(os.getuid() != 0, reason="another user's file needs root to make")
def test_a_key_file_of_another_user_is_refused(url: str, tmp_path: Path, lab_key: Path) -> None:
    os.chown(lab_key, 65534, 65534)
    with pytest.raises(ConfigError, match="belongs to user 65534"):
        Store(tmp_path / "a")


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
        (harm_object, "objects/.* does not have the content that its name says"),
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
    roots: list[Path] = []
    for home, part in zip(homes, ("train", "test"), strict=True):
        roots.append(build(home, [], partial(write_split, part=part)).artifact.root)
    assert roots[0].name == roots[1].name
    for turn in range(10):
        won, start = list[Any](), threading.Barrier(2)

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
    assert "there is no such folder" in said[0]
    assert "; the run continues without it" in said[0]
    assert "a later `agar run` publishes it there" in said[-1]
    assert store.open_latest(KEY) == built.artifact
    with pytest.raises(StorageError, match=r"the shared store file:.* cannot be used") as caught:
        Store(tmp_path / "b").open_latest(KEY)
    assert caught.value.where == str(KEY)
    assert str(caught.value.next_step).startswith(f"run `agar run +{KEY}`; or check AGAR_STORE")
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
    with pytest.raises(MissingPackageError, match="s3fs is not installed\n`make setup-cluster`"):
        Store(tmp_path).open_latest(KEY)
